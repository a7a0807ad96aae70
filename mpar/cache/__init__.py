"""The cache: decoding videos into it, the file, its clips, and how recordings look.

Imports `mpar.aligning` and below.
"""
