"""Predictions: writing and reading their files, post-processing, and NWB.

Imports `mpar.aligning` and below; never torch.
"""
