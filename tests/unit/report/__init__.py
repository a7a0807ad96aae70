"""Tests of mpar.report."""
