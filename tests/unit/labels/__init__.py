"""Tests of mpar.labels."""
