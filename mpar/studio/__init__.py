"""The study: a folder with everything that belongs together, in fixed places.

Imports `mpar.errors` only; the commands ask it for their arguments.
"""
