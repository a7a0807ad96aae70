"""Labels: classes, bouts, one module per format, pairing with videos, and laying on frames.

Imports `mpar.video` (its time line) and `mpar.system`.
"""
