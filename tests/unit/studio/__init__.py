"""Tests of mpar.studio."""
