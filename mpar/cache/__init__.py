"""The cache: staging of decoded videos, the file, its clips, and how recordings look.

Imports `mpar.labels`, `mpar.video` and `mpar.system`.
"""
