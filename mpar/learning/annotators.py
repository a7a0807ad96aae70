"""Soft labels from several annotators: each window is learnt as one of them scored it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mpar.cache.store import Store
from mpar.labels.classes import UNLABELLED


class AnnotatorLabels:
    """Labels of single annotators, for recordings that several people scored.

    Parameters
    ----------
    store : Store
        The cache.
    recordings : sequence of int
        Positions in the cache; those with one annotator are left out.

    Notes
    -----
    The cross entropy of a label drawn at random has, on average, the gradient of the cross entropy
    of the shares of all annotators (it is linear in the label). Where the annotator drawn left a
    frame unlabelled, that frame is not learnt this time.
    """

    def __init__(self, store: Store, recordings: Sequence[int]) -> None:
        self._labels = {
            i: store.class_map.merge(store.codes(i))[:, store.source_frame(i)]
            for i in recordings
            if len(store.recordings[i].annotators) > 1
        }

    def __len__(self) -> int:
        return len(self._labels)

    def draw(
        self, samples: np.ndarray, labels_BK: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the labels of windows, each from one annotator drawn at random.

        Parameters
        ----------
        samples : (B, 2) integer array
            Rows of (recording, first labelled position).
        labels_BK : (B, K) int64 array
            The majority's labels, kept where a recording has one annotator.
        rng : numpy.random.Generator
            Source of random numbers.

        Returns
        -------
        (B, K) int64 array
            -1 for unlabelled, and beyond the ends of a recording.
        """
        drawn = labels_BK.copy()
        places = np.arange(labels_BK.shape[1])
        for row, (recording, first) in enumerate(samples.tolist()):
            if recording in self._labels:
                labels_AT = self._labels[recording]
                own = labels_AT[rng.integers(len(labels_AT))]
                shown = first + places
                is_inside = (shown >= 0) & (shown < len(own))
                drawn[row] = np.where(is_inside, own[shown * is_inside], UNLABELLED)
        return drawn
