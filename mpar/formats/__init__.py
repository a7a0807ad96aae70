"""Label files: one module for each format, and one registry that recognises and writes them.

Imports `mpar.labels` and below.
"""
