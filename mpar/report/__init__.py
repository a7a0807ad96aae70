"""Reports: figures, text and pages.

Imports `mpar.scores` and below; never torch.
"""
