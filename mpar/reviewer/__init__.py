"""Scoring on a local web page: frames by number, the scorer's lane with its history, the server.

Imports only `mpar.video`, `mpar.labels`, `mpar.scores` and `mpar.system`. The page is in ``page/``.
"""
