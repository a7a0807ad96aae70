"""Tests of mpar.system."""
