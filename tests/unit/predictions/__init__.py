"""Tests of mpar.predictions."""
