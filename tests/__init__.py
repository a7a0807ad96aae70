"""Tests of mpar: unit tests mirror the package, whole commands are tested in test_cli_*.py."""
