"""The data set of clips for training loops of your own."""

from mpar.cache.clips import ClipSampler, MouseActionDataset

__all__ = ["ClipSampler", "MouseActionDataset"]
