"""Tests of mpar.scores."""
