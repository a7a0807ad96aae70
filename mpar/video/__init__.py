"""Videos: opened, decoded to grey frames, their times, and what is odd about them.

Imports only `mpar.system`.
"""
