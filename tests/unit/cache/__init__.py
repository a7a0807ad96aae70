"""Tests of mpar.cache."""
