"""The numbers of an assay: stimuli, windows, responses, tables, group tests, and their figures.

Imports `mpar.report` (the look of figures) and below; never torch.
"""
