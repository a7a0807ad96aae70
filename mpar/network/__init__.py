"""The network: its layers, dense evaluation, checkpoints and devices.

Imports `mpar.cache` and below, no scores.
"""
