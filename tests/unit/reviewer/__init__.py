"""Tests of mpar.reviewer."""
