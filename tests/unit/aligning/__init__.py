"""Tests of mpar.aligning."""
