"""Predictions: reading, writing and post-processing them."""
