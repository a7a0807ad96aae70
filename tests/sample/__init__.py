"""Drawn mice and small videos for tests, benchmarks and the sample in ``data/``."""
