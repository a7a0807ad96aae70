"""Squares that follow the animal, through the commands."""
