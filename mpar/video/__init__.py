"""Videos: open them, decode them to grey frames, find their times and their oddities.

Imports only `mpar.system`.
"""
