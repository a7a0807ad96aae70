"""Where human and network disagree most."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from mpar.labels.bouts import find_bouts
from mpar.labels.classes import UNLABELLED
from mpar.scores.comparison import Comparison

MAX_DISAGREEMENTS, MAX_BY_RECORDING = 12, 3


class Disagreement(NamedTuple):
    """A run of frames with one true and another predicted label.

    Parameters
    ----------
    recording : int
        Position in the comparisons that were searched.
    start, stop : int
        Frames of that recording, half-open.
    truth, predicted : int
        Class indices; predicted may be -1, unlabelled.
    weight : float
        Number of frames, each weighted by the confidence of the prediction if that is known.
    """

    recording: int
    start: int
    stop: int
    truth: int
    predicted: int
    weight: float


def find_disagreements(
    comparisons: Sequence[Comparison], class_names: Sequence[str], *, responses: Collection[str]
) -> list[Disagreement]:
    """Find where human and network disagree most: responses first, then by weight.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Recordings to search. Frames without a true label do not count as disagreements.
    class_names : sequence of str, length K
        Names of the classes.
    responses : collection of str
        Those that count as responses.

    Returns
    -------
    list of Disagreement
        Worst first, at most 12, and at most three of one recording, so that one bad recording
        does not fill the list. Runs with a true or predicted response come before all others.
        This is our choice: long runs are of frequent classes, which matter least.
    """
    first = {k for k, name in enumerate(class_names) if name in responses}

    def rank(found: Disagreement) -> tuple[bool, float]:
        return not first & {found.truth, found.predicted}, -found.weight

    worst: list[Disagreement] = []
    for i, c in enumerate(comparisons):
        width = len(class_names) + 1
        pairs = c.truth.astype(np.int64) * width + c.predicted + 1
        is_wrong = (c.truth != UNLABELLED) & (c.truth != c.predicted)
        runs = find_bouts(np.where(is_wrong, pairs, UNLABELLED))
        weights = np.ones(len(c.truth)) if c.confidence is None else c.confidence
        sums = np.concatenate([[0.0], np.cumsum(weights, dtype=np.float64)])
        found = [
            Disagreement(
                i, start, stop, pair // width, pair % width - 1, float(sums[stop] - sums[start])
            )
            for start, stop, pair in runs.itertuples(index=False)
        ]
        worst += sorted(found, key=rank)[:MAX_BY_RECORDING]
    return sorted(worst, key=rank)[:MAX_DISAGREEMENTS]
