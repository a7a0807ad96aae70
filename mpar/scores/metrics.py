"""Frame-by-frame agreement of predicted labels with a human scoring.

Shapes: T frames, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpar.labels.bouts import as_labels
from mpar.labels.classes import UNLABELLED
from mpar.system.text import text_table

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrameScores:
    """Agreement of predictions with the truth, frame by frame.

    Holds only counts and computes every score from them. The sum of the counts of several
    recordings gives the scores of all their frames together.

    Parameters
    ----------
    class_names : tuple of str, length K
        Name of each class.
    confusion : numpy.ndarray of int64, shape (K, K + 1)
        Frames by true class (row) and predicted class (column); the last column counts frames
        predicted as unlabelled. Stored as a read-only copy.
    num_unlabelled_ignored : int
        Frames left out because they have no true label.

    Raises
    ------
    ValueError
        Names are missing, repeated or not as many as the rows; or counts have another shape, are
        not integers, negative, or all zero.

    Notes
    -----
    A class without a frame in the truth has no recall and no F1: they are NaN here, None in
    `to_dict` and "n/a" in `report`, and the means leave that class out. A class that does occur
    but is never predicted has precision 0 and F1 0, by the convention of scikit-learn's
    ``zero_division=0``.

    Source of precision, recall and F1: van Rijsbergen, Information Retrieval, 2nd edition 1979,
    chapter 7. Macro-F1 as the mean of the F1 of the classes (not the F1 of mean precision and
    recall): Opitz and Burst, "Macro F1 and Macro F1", arXiv:1911.03347. Leaving out classes
    without support is our choice, because a recording without a behaviour says nothing about
    how well that behaviour is recognized.
    """

    class_names: tuple[str, ...]
    confusion: IntArray
    num_unlabelled_ignored: int = 0

    def __post_init__(self) -> None:
        names = tuple(self.class_names)
        counts = np.array(self.confusion)
        if not names or len(set(names)) != len(names) or not all(names):
            raise ValueError(f"class_names: found {names}, expected distinct names, at least one")
        if counts.shape != (len(names), len(names) + 1) or counts.dtype.kind not in "iu":
            raise ValueError(
                f"confusion: found {counts.dtype} of shape {counts.shape},"
                f" expected integers of shape {(len(names), len(names) + 1)}"
            )
        if (counts < 0).any() or self.num_unlabelled_ignored < 0:
            raise ValueError("confusion: found a negative number of frames")
        if not counts.any():
            raise ValueError("truth: found no labelled frame, so there is nothing to score")
        counts = counts.astype(np.int64)
        counts.flags.writeable = False
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "confusion", counts)

    @property
    def support(self) -> IntArray:
        """Frames of each class in the truth, shape (K,)."""
        return self.confusion.sum(axis=1)

    @property
    def num_frames(self) -> int:
        """Number of scored frames: those with a true label."""
        return int(self.confusion.sum())

    @property
    def num_unpredicted(self) -> int:
        """Number of scored frames without a predicted label; each counts as a miss."""
        return int(self.confusion[:, -1].sum())

    @property
    def precision(self) -> FloatArray:
        """TP / (TP + FP) by class, shape (K,), 0 to 1; NaN: neither true nor predicted."""
        predicted = self.confusion[:, :-1].sum(axis=0)
        precision = ratio(self.confusion.diagonal(), predicted)
        return np.where((predicted == 0) & (self.support > 0), 0.0, precision)

    @property
    def recall(self) -> FloatArray:
        """TP / (TP + FN) by class, shape (K,), 0 to 1; NaN without support."""
        return ratio(self.confusion.diagonal(), self.support)

    @property
    def f1(self) -> FloatArray:
        """2 TP / (2 TP + FP + FN) by class, shape (K,), 0 to 1; NaN without support."""
        predicted = self.confusion[:, :-1].sum(axis=0)
        f1 = ratio(2 * self.confusion.diagonal(), self.support + predicted)
        return np.where(self.support > 0, f1, np.nan)

    @property
    def specificity(self) -> FloatArray:
        """TN / (TN + FP) by class, shape (K,), 0 to 1; NaN where all frames are of the class.

        Of the frames of other classes, the share that was not predicted as this class. For a rare
        class, 0.99 can still mean more false frames than true ones.
        """
        others = self.num_frames - self.support
        false = self.confusion[:, :-1].sum(axis=0) - self.confusion.diagonal()
        return ratio(others - false, others)

    @property
    def accuracy(self) -> float:
        """Share of the scored frames that are predicted right, 0 to 1."""
        return float(self.confusion.diagonal().sum() / self.num_frames)

    @property
    def macro_f1(self) -> float:
        """Mean of F1 over the classes with support, 0 to 1."""
        return float(self.f1[self.support > 0].mean())

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall over the classes with support, 0 to 1."""
        return float(self.recall[self.support > 0].mean())

    def to_dict(self) -> dict[str, Any]:
        """Return counts and scores as plain values for JSON, None where a score is n/a."""
        columns = {
            "support": self.support.tolist(),
            "precision": none_for_nan(self.precision),
            "recall": none_for_nan(self.recall),
            "specificity": none_for_nan(self.specificity),
            "f1": none_for_nan(self.f1),
        }
        return {
            "num_frames": self.num_frames,
            "num_unlabelled_ignored": self.num_unlabelled_ignored,
            "num_unpredicted": self.num_unpredicted,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "classes": {
                name: {key: values[k] for key, values in columns.items()}
                for k, name in enumerate(self.class_names)
            },
            "class_names": list(self.class_names),
            "confusion": self.confusion.tolist(),
        }

    def report(self) -> str:
        """Return the scores as a text table of fixed width, without a newline at the end."""
        has_support = self.support > 0
        macro_precision = float(self.precision[has_support].mean())
        total = self.num_frames
        head = ("class", "precision", "recall", "F1", "frames")
        classes = [
            (name, *map(score_text, scores), f"{support:,}")
            for name, support, *scores in zip(
                self.class_names, self.support, self.precision, self.recall, self.f1, strict=True
            )
        ]
        averages = (macro_precision, self.balanced_accuracy, self.macro_f1)
        feet = [
            ("macro average", *map(score_text, averages), f"{total:,}"),
            ("accuracy", "", "", score_text(self.accuracy), f"{total:,}"),
        ]
        notes = [
            f"macro-F1 {score_text(self.macro_f1)}: mean F1 of the {has_support.sum()}"
            f" of {len(self.class_names)} classes that occur in the human labels"
        ]
        if not has_support.all():
            notes.append("n/a: the human labels hold no frame of this class; left out of averages")
        if self.num_unpredicted:
            notes.append(
                f"frames without a predicted label, counted as misses: {self.num_unpredicted:,}"
            )
        if self.num_unlabelled_ignored:
            notes.append(f"frames without a human label, left out: {self.num_unlabelled_ignored:,}")
        return "\n".join([*text_table([head, *classes, (), *feet]), "", *notes])


def frame_scores(truth: ArrayLike, predicted: ArrayLike, class_names: Sequence[str]) -> FrameScores:
    """Score predicted labels against true ones.

    Parameters
    ----------
    truth : array_like of int, shape (T,)
        Class index per frame, 0 to K - 1; frames with -1 are ignored.
    predicted : array_like of int, shape (T,)
        Predicted class index per frame; -1 (confidence below the threshold) counts as a miss of
        the true class and as a false positive of no class.
    class_names : sequence of str, length K
        Distinct names of the classes.

    Returns
    -------
    FrameScores

    Raises
    ------
    ValueError
        Shapes differ, labels are out of range, or no frame has a true label.

    Examples
    --------
    >>> scores = frame_scores([0, 0, 1, -1], [0, 1, 1, 1], ["rest", "walk"])
    >>> scores.confusion.tolist(), scores.accuracy
    ([[1, 1, 0], [0, 1, 0]], 0.6666666666666666)
    """
    num_classes = len(class_names)
    true = as_labels(truth, num_classes=num_classes, name="truth")
    guess = as_labels(predicted, num_classes=num_classes, name="predicted")
    if true.shape != guess.shape:
        raise ValueError(f"predicted: found {len(guess)} frames, expected {len(true)}")
    known = true != UNLABELLED
    if not known.any():
        raise ValueError("truth: found no labelled frame, so there is nothing to score")
    # unlabelled is one more column
    column = np.where(guess == UNLABELLED, num_classes, guess)
    cells = true[known].astype(np.int64) * (num_classes + 1) + column[known]
    counts = np.bincount(cells, minlength=num_classes * (num_classes + 1))
    return FrameScores(
        class_names=tuple(class_names),
        confusion=counts.reshape(num_classes, num_classes + 1),
        num_unlabelled_ignored=int((~known).sum()),
    )


def mean_log_loss(
    truths: Sequence[IntArray], probabilities: Sequence[NDArray[np.floating]]
) -> float:
    """Return the mean negative log-likelihood of the true classes over all labelled frames.

    Parameters
    ----------
    truths : sequence of (T,) integer arrays
        Class index per frame of each recording, -1 for unlabelled. At least one frame is labelled.
    probabilities : sequence of (T, K) float arrays
        Class probabilities of the same frames.

    Returns
    -------
    float
        In nats, with equal weight for every frame. A probability rounded to 0 counts as the
        smallest normal float32, so the mean stays finite.

    Examples
    --------
    >>> round(mean_log_loss([np.array([0, -1])], [np.array([[0.5, 0.5], [0.1, 0.9]])]), 3)
    0.693
    """
    true = np.concatenate(
        [_true_probabilities(*pair) for pair in zip(truths, probabilities, strict=True)]
    )
    known = true[~np.isnan(true)]
    return float(-np.log(np.maximum(known, np.finfo(np.float32).tiny)).mean())


class WorstFrame(NamedTuple):
    """A labelled frame whose true class got a low probability.

    Parameters
    ----------
    recording : int
        Position in the searched sequence.
    frame : int
        Counted from 0.
    truth, predicted : int
        Class indices.
    probability : float
        Of the true class.
    """

    recording: int
    frame: int
    truth: int
    predicted: int
    probability: float


def find_worst_frames(
    truths: Sequence[IntArray],
    probabilities: Sequence[FloatArray],
    *,
    num_frames: int,
    max_per_recording: int,
    min_distance: int,
) -> list[WorstFrame]:
    """Find the labelled frames whose true class got the lowest probability, worst first.

    At most `max_per_recording` are of one recording, so that one bad recording does not fill the
    list, `min_distance` frames apart, because neighbours are usually the same mistake.
    """
    found = []
    for recording, (truth, scores) in enumerate(zip(truths, probabilities, strict=True)):
        left = np.nan_to_num(_true_probabilities(truth, scores), nan=np.inf)
        for _ in range(max_per_recording):
            frame = int(left.argmin())
            if left[frame] == np.inf:
                break
            found.append(
                WorstFrame(
                    recording,
                    frame,
                    int(truth[frame]),
                    int(scores[frame].argmax()),
                    float(left[frame]),
                )
            )
            left[max(0, frame - min_distance + 1) : frame + min_distance] = np.inf
    return sorted(found, key=lambda worst: worst.probability)[:num_frames]


def _true_probabilities(truth: IntArray, probabilities: NDArray[np.floating]) -> FloatArray:
    """Return the probability of each frame's true class, NaN if it has none."""
    picked = probabilities[np.arange(len(truth)), np.maximum(truth, 0)].astype(np.float64)
    return np.where(truth == UNLABELLED, np.nan, picked)


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> FloatArray:
    """Divide counts or sums, with NaN for 0 / 0."""
    with np.errstate(invalid="ignore"):
        return part / whole


def none_for_nan(scores: FloatArray) -> list[float | None]:
    """Return scores as a list for JSON, with None for NaN."""
    return [None if np.isnan(score) else float(score) for score in scores]


def score_text(score: float | None) -> str:
    """Format a score with three decimals; n/a if it does not exist (NaN, None)."""
    return "n/a" if score is None or np.isnan(score) else f"{score:.3f}"
