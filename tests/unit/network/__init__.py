"""Tests of mpar.network."""
