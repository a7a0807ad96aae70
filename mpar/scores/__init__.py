"""Scores of frames and bouts, agreement, intervals, baselines, and estimates from samples.

Imports `mpar.cache`, `mpar.predictions` and below; never torch.
"""
