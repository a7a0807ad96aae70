"""Scores of bouts, matched one to one by onset or by overlap.

Shapes: T frames, K classes, C criteria.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from mpar.labels.bouts import as_labels, find_runs
from mpar.labels.classes import UNLABELLED
from mpar.scores.metrics import none_for_nan, ratio

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Criterion(NamedTuple):
    """When a predicted bout matches a true one.

    Parameters
    ----------
    kind : {"onset", "iou"}
        Compare the first frames, or the temporal intersection over union.
    threshold : float
        Largest distance in frames, or smallest overlap, 0 to 1.
    """

    kind: str
    threshold: float

    def __str__(self) -> str:
        if self.kind == "onset":
            return f"onset ± {self.threshold:g} frames"
        return f"IoU ≥ {self.threshold:g}"


CRITERIA = (
    *(Criterion("onset", k) for k in (0, 1, 2, 3, 5, 10, 15)),
    *(Criterion("iou", round(x / 10, 1)) for x in range(1, 8)),
)
SHOWN_CRITERIA = Criterion("onset", 3), Criterion("iou", 0.5)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EventScores:
    """Agreement of predicted and true bouts. Holds only counts, which add up over recordings.

    Parameters
    ----------
    class_names : tuple of str, length K
        Name of each class.
    num_true, num_predicted : (K,) int64 arrays
        Bouts of each class.
    num_matched : (C, K) int64 array
        Number of matched pairs of a true and a predicted bout, by criterion: the largest number of
        pairs in which no bout occurs twice.
    criteria : tuple of Criterion, length C
        When a predicted bout matches a true one.

    Notes
    -----
    Precision is the share of predicted bouts that are matched, recall that of true ones, F1
    ``2 matched / (true + predicted)``. A class without a true bout has no recall and no F1: NaN.

    Source of scoring events by onset with a collar and a one-to-one matching: Mesaros, Heittola
    and Virtanen 2016, "Metrics for Polyphonic Sound Event Detection", section 3.2. Source of
    temporal IoU: Caba Heilbron et al. 2015, "ActivityNet", section 5. The onset criterion ignores
    the end of a bout, because people disagree on when a reflex ends.
    """

    class_names: tuple[str, ...]
    num_true: IntArray
    num_predicted: IntArray
    num_matched: IntArray
    criteria: tuple[Criterion, ...] = CRITERIA

    @property
    def precision(self) -> FloatArray:
        """Matched of predicted bouts, (C, K), 0 to 1; NaN without predicted bouts."""
        return ratio(self.num_matched, self.num_predicted)

    @property
    def recall(self) -> FloatArray:
        """Matched of true bouts, (C, K), 0 to 1; NaN without true bouts."""
        return ratio(self.num_matched, self.num_true)

    @property
    def f1(self) -> FloatArray:
        """Harmonic mean of precision and recall, (C, K), 0 to 1; NaN without true bouts."""
        f1 = ratio(2 * self.num_matched, self.num_true + self.num_predicted)
        return np.where(self.num_true > 0, f1, np.nan)

    def table(self) -> pd.DataFrame:
        """Return one row per class and criterion, NaN where a score does not exist."""
        rows = [
            (
                name,
                criterion.kind,
                criterion.threshold,
                int(self.num_true[k]),
                int(self.num_predicted[k]),
                int(self.num_matched[c, k]),
                self.precision[c, k],
                self.recall[c, k],
                self.f1[c, k],
            )
            for k, name in enumerate(self.class_names)
            for c, criterion in enumerate(self.criteria)
        ]
        columns = "Class Criterion Threshold True_bouts Predicted_bouts Matched Precision Recall F1"
        return pd.DataFrame(rows, columns=columns.split())

    def to_dict(self) -> dict[str, Any]:
        """Return counts and F1 as plain values for JSON, None where a score does not exist."""
        return {
            name: {
                "true_bouts": int(self.num_true[k]),
                "predicted_bouts": int(self.num_predicted[k]),
                "f1": {
                    str(criterion): score
                    for criterion, score in zip(
                        self.criteria, none_for_nan(self.f1[:, k]), strict=True
                    )
                },
            }
            for k, name in enumerate(self.class_names)
        }


def event_scores(
    truths: Sequence[ArrayLike],
    predictions: Sequence[ArrayLike],
    class_names: Sequence[str],
    criteria: tuple[Criterion, ...] = CRITERIA,
) -> EventScores:
    """Score the bouts of recordings.

    Parameters
    ----------
    truths, predictions : sequences of (T,) integer arrays
        Class index per frame of each recording, -1 for unlabelled.
    class_names : sequence of str, length K
        Names of the classes.
    criteria : tuple of Criterion
        When a predicted bout matches a true one.

    Returns
    -------
    EventScores

    Raises
    ------
    ValueError
        Lengths differ, or labels are out of range.

    Notes
    -----
    Predictions for frames without a true label do not count: a predicted bout ends where the
    true labels end.

    Examples
    --------
    >>> truth, predicted = [0, 1, 1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0, 0, 0]
    >>> scores = event_scores([truth], [predicted], ["rest", "walk"])
    >>> dict(zip(map(str, CRITERIA), scores.num_matched[:, 1].tolist()))["onset ± 1 frames"]
    1
    """
    num_classes = len(class_names)
    num_true, num_predicted = np.zeros((2, num_classes), np.int64)
    num_matched = np.zeros((len(criteria), num_classes), np.int64)
    for truth, predicted in zip(truths, predictions, strict=True):
        true = as_labels(truth, num_classes=num_classes, name="truth")
        guess = as_labels(predicted, num_classes=num_classes, name="predicted")
        if true.shape != guess.shape:
            raise ValueError(f"predicted: found {len(guess)} frames, expected {len(true)}")
        guess = np.where(true == UNLABELLED, UNLABELLED, guess)
        true_runs, predicted_runs = find_runs(true), find_runs(guess)
        for k in range(num_classes):
            own, other = (runs[runs[:, 2] == k, :2] for runs in (true_runs, predicted_runs))
            num_true[k] += len(own)
            num_predicted[k] += len(other)
            if len(own) and len(other):
                num_matched[:, k] += _count_matches(own, other, criteria)
    return EventScores(
        class_names=tuple(class_names),
        num_true=num_true,
        num_predicted=num_predicted,
        num_matched=num_matched,
        criteria=criteria,
    )


def _count_matches(
    true_N2: IntArray, predicted_M2: IntArray, criteria: Sequence[Criterion]
) -> list[int]:
    """Return for each criterion how many bouts can be matched one to one."""
    start, stop = true_N2[:, 0, None], true_N2[:, 1, None]
    other_start, other_stop = predicted_M2[:, 0], predicted_M2[:, 1]
    distance = np.abs(start - other_start)
    shared = np.minimum(stop, other_stop) - np.maximum(start, other_start)
    union = np.maximum(stop, other_stop) - np.minimum(start, other_start)
    counts = []
    for kind, threshold in criteria:
        # integers, so that rounding does not decide a value at the threshold
        is_match = (
            distance <= threshold
            if kind == "onset"
            else 10 * shared >= round(10 * threshold) * union
        )
        matching = maximum_bipartite_matching(csr_array(is_match), perm_type="column")
        counts.append(int((matching >= 0).sum()))
    return counts
