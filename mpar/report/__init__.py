"""Reports: figures, text reports and HTML pages.

Imports `mpar.scores` and below; never torch.
"""
