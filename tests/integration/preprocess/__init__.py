"""Preprocessing: videos and label files become a cache."""
