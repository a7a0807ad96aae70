"""The page on which people score, correct and check, and the queue of what to look at.

Imports `mpar.scores` and below; never torch. The page itself is in ``page/``.
"""
