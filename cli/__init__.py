"""The commands of mpar, one module each."""
