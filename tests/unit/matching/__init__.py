"""Tests of mpar.matching."""
