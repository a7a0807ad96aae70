"""Tests of mpar.formats."""
