"""Tests through the commands and over several rooms."""
