"""Campaigns that try to make mpar lose or lie: ``python -m tests.campaigns``.

Each is a function of (seed, size, folder, plant) that yields a verdict a case. Bad is wrong data
with no word, a traceback, a signal, a hang, or acknowledged work lost. `plant` is a function that
takes a protection away: a campaign that then finds nothing bad would be worth nothing.
The short forms run in the test suite (``tests/test_reliability.py``).
"""
