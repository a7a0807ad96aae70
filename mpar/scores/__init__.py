"""Scores of frames and bouts, agreement, intervals, post-processing, and prediction files.

Imports `mpar.labels` and below; never torch.
"""
