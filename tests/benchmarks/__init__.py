"""Speed of mpar beside its limits and its peers: ``python -m tests.benchmarks``.

Only ratios within one run mean anything; nothing here is part of the test suite.
"""
