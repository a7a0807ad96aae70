"""What a person looks at, corrects and checks: the page with its frames, the queue, estimates.

Imports `mpar.video`, `mpar.labels`, `mpar.scores` and `mpar.system`; never torch. The page itself
is in ``page/``.
"""
