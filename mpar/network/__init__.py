"""The network: its layers, dense evaluation, checkpoints, devices, and predicting with it.

Imports `mpar.cache`, `mpar.scores` and below.
"""
