"""Tests of single rooms: one folder for each, named as in mpar."""
