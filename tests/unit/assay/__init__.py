"""Tests of mpar.assay."""
