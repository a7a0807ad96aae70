"""What a person looks at, corrects and checks: stretches, the queue, estimates, the page.

Imports `mpar.video`, `mpar.labels`, `mpar.scores` and `mpar.system`; never torch.
"""
