"""Tests of mpar.learning."""
