"""Scores: of frames and bouts, agreement, intervals, post-processing, predictions on the disk.

Imports `mpar.labels` and below; never torch.
"""
