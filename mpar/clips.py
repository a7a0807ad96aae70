"""The data set of clips, for your own training loops."""

from mpar.cache.clips import ClipSampler, MouseActionDataset

__all__ = ["ClipSampler", "MouseActionDataset"]
