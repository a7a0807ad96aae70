"""The cache: staging of decoded videos, the file, clips out of it, what recordings look like.

Imports `mpar.labels`, `mpar.video` and `mpar.system`.
"""
