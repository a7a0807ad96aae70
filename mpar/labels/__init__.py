"""Labels: classes, bouts, one module a format, pairing with videos, and laying on frames.

Imports `mpar.video` (its time line) and `mpar.system`.
"""
