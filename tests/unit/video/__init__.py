"""Tests of mpar.video."""
