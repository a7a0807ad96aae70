"""The network: its layers, dense evaluation, checkpoints and devices.

Imports `mpar.cache`, `mpar.scores` and below.
"""
