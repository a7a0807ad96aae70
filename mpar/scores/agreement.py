"""Agreement of predicted and true labels over frames, bouts, recordings and animals.

Shapes: T frames, K classes, G animals, C criteria of matching bouts.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from mpar.labels.bouts import summarize
from mpar.labels.classes import UNLABELLED
from mpar.scores.bootstrap import LEVEL, NUM_RESAMPLES, bootstrap_intervals
from mpar.scores.comparison import Comparison, row_names
from mpar.scores.events import CRITERIA, SHOWN_CRITERIA, EventScores, event_scores
from mpar.scores.metrics import FrameScores, frame_scores, none_for_nan, ratio
from mpar.scores.post_fitting import score_labels

FloatArray = NDArray[np.float64]

_MEANS = ("macro_f1", "balanced_accuracy", "accuracy")
_BY_CLASS = ("recall", "specificity", "precision", "f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Scores over all recordings, with confidence intervals.

    Parameters
    ----------
    frames : FrameScores
        Over all labelled frames.
    events : EventScores
        Over all bouts.
    animals : tuple of str
        Animals with at least one labelled frame.
    intervals : dict
        95 % confidence intervals over animals, (low, high), NaN where there is none. Keys are
        ``macro_f1``, ``balanced_accuracy`` and ``accuracy``; by class, as arrays (K, 2),
        ``recall``, ``specificity``, ``precision`` and ``f1``; and ``event_f1``, which maps each
        criterion to an array (K, 2).
    """

    frames: FrameScores
    events: EventScores
    animals: tuple[str, ...]
    intervals: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the intervals as plain values for JSON, None where there is none."""
        names = self.frames.class_names
        return {
            "level": LEVEL,
            "method": "expanded percentile bootstrap over animals",
            "num_resamples": NUM_RESAMPLES,
            "num_animals": len(self.animals),
            **{mean: _ends(self.intervals[mean]) for mean in _MEANS},
            "classes": {
                name: {score: _ends(self.intervals[score][k]) for score in _BY_CLASS}
                | {
                    "event_f1": {
                        str(criterion): _ends(self.intervals["event_f1"][criterion][k])
                        for criterion in SHOWN_CRITERIA
                    }
                }
                for k, name in enumerate(names)
            },
        }


def measure_agreement(comparisons: Sequence[Comparison], class_names: Sequence[str]) -> Agreement:
    """Score recordings by frames and by bouts, with intervals over animals.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Together they hold at least one labelled frame.
    class_names : sequence of str, length K
        Names of the classes.

    Returns
    -------
    Agreement

    Raises
    ------
    ValueError
        No frame is labelled, or array lengths differ.
    """
    by_animal: dict[str, list[Comparison]] = {}
    for c in comparisons:
        if (c.truth != UNLABELLED).any():
            by_animal.setdefault(c.animal, []).append(c)
    if not by_animal:
        raise ValueError("truth: found no labelled frame, so there is nothing to score")
    frames = [
        frame_scores(
            np.concatenate([c.truth for c in group]),
            np.concatenate([c.predicted for c in group]),
            class_names,
        )
        for group in by_animal.values()
    ]
    events = [
        event_scores([c.truth for c in group], [c.predicted for c in group], class_names)
        for group in by_animal.values()
    ]
    num_ignored = sum(int((c.truth == UNLABELLED).sum()) for c in comparisons)
    return Agreement(
        frames=FrameScores(
            class_names=tuple(class_names),
            confusion=np.sum([scores.confusion for scores in frames], axis=0),
            num_unlabelled_ignored=num_ignored,
        ),
        events=_sum_events(events),
        animals=tuple(by_animal),
        intervals=_frame_intervals(frames) | {"event_f1": _event_intervals(events)},
    )


def _sum_events(events: Sequence[EventScores]) -> EventScores:
    names = ("num_true", "num_predicted", "num_matched")
    sums = {name: np.sum([getattr(scores, name) for scores in events], axis=0) for name in names}
    return EventScores(class_names=events[0].class_names, **sums)


def _frame_intervals(animals: Sequence[FrameScores]) -> dict[str, Any]:
    names = animals[0].class_names

    def score(confusion: NDArray[np.int64]) -> FloatArray:
        scores = FrameScores(class_names=names, confusion=confusion)
        means = [getattr(scores, name) for name in _MEANS]
        return np.concatenate([means, *(getattr(scores, name) for name in _BY_CLASS)])

    ends = bootstrap_intervals(np.stack([scores.confusion for scores in animals]), score).T
    means, rest = ends[: len(_MEANS)], ends[len(_MEANS) :].reshape(len(_BY_CLASS), len(names), 2)
    return dict(zip(_MEANS, means, strict=True)) | dict(zip(_BY_CLASS, rest, strict=True))


def _event_intervals(animals: Sequence[EventScores]) -> dict[Any, FloatArray]:
    names = animals[0].class_names
    shown = [CRITERIA.index(criterion) for criterion in SHOWN_CRITERIA]

    def score(counts: NDArray[np.int64]) -> FloatArray:
        scores = EventScores(
            class_names=names,
            num_true=counts[0],
            num_predicted=counts[1],
            num_matched=counts[2:],
        )
        return scores.f1.ravel()

    counts = [np.stack([s.num_true, s.num_predicted, *s.num_matched[shown]]) for s in animals]
    ends = bootstrap_intervals(np.stack(counts), score).T.reshape(len(shown), len(names), 2)
    return dict(zip(SHOWN_CRITERIA, ends, strict=True))


def recording_table(comparisons: Sequence[Comparison], class_names: Sequence[str]) -> pd.DataFrame:
    """Return bouts, seconds and latency of each class in each recording, true and predicted.

    Parameters
    ----------
    comparisons, class_names
        As for `measure_agreement`.

    Returns
    -------
    pandas.DataFrame
        One row per recording and class: ``Recording``, ``Animal``, ``Class``, and bouts, seconds
        and latency to the first bout (empty if there is none), each with the prefixes ``True_``
        and ``Predicted_``. Both leave out frames without a true label.
    """
    rows = []
    for c in comparisons:
        if not (c.truth != UNLABELLED).any():
            continue
        predicted = np.where(c.truth == UNLABELLED, UNLABELLED, c.predicted)
        found = [summarize(labels, c.line, class_names) for labels in (c.truth, predicted)]
        for name in class_names:
            row: dict[str, Any] = {"Recording": c.name, "Animal": c.animal, "Class": name}
            for which, summary in zip(("True", "Predicted"), found, strict=True):
                row[f"{which}_bouts"] = summary[f"{name}_bouts"]
                row[f"{which}_s"] = summary["seconds"] * summary[f"{name}_percent"] / 100
                row[f"{which}_latency_s"] = summary[f"{name}_latency_s"]
            rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Bias and limits of agreement of predicted values.

    Parameters
    ----------
    num : int
        Recordings.
    bias : float
        Mean of predicted less true values.
    low, high : float
        Limits of agreement. If the differences are normally distributed, 95 % of them lie between
        these limits. NaN with fewer than two recordings.

    Notes
    -----
    ``bias ± 1.96 s``, s the standard deviation of the differences. Source: Bland and Altman 1986,
    "Statistical methods for assessing agreement between two methods of clinical measurement".
    """

    num: int
    bias: float
    low: float
    high: float


def bland_altman(true: FloatArray, predicted: FloatArray) -> BlandAltman:
    """Compare true and predicted values of recordings; leave out pairs with a missing value (NaN).

    Examples
    --------
    >>> found = bland_altman(np.array([1.0, 2, 3]), np.array([2.0, 2, 5]))
    >>> found.bias, round(found.high, 2)
    (1.0, 2.96)
    """
    differences = predicted - true
    differences = differences[~np.isnan(differences)]
    num = len(differences)
    bias = float(differences.mean()) if num else np.nan
    reach = 1.96 * float(differences.std(ddof=1)) if num > 1 else np.nan
    return BlandAltman(num, bias, bias - reach, bias + reach)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterPair:
    """Agreement of two scorings of the same frames: two annotators, or the network and one.

    Parameters
    ----------
    first, second : str
        Displayed names of the annotators or the network.
    with_network : bool
        True if the first is the network.
    num_frames : int
        Frames that both labelled.
    kappa : float
        Cohen's kappa, -1 to 1: agreement beyond chance.
    f1 : (K,) float array
        F1 by class, which does not depend on who counts as the truth; NaN where neither has the
        class.

    Notes
    -----
    Source of kappa: Cohen 1960, "A coefficient of agreement for nominal scales".
    """

    first: str
    second: str
    with_network: bool
    num_frames: int
    kappa: float
    f1: FloatArray

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return the scores as plain values for JSON, None where one does not exist."""
        return {
            "first": self.first,
            "second": self.second,
            "with_network": self.with_network,
            "num_frames": self.num_frames,
            "kappa": None if np.isnan(self.kappa) else self.kappa,
            "f1": dict(zip(class_names, none_for_nan(self.f1), strict=True)),
        }


def effect_of_postprocessing(
    comparisons: Sequence[Comparison], class_names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return `mpar.scores.post_fitting.score_labels` of the predictions, ``raw`` and ``post``.

    Empty if the predictions before post-processing are not known for every recording.
    """
    known = [(c.truth, c.raw, c.predicted) for c in comparisons if c.raw is not None]
    if len(known) < len(comparisons) or not known:
        return {}
    truths, raw, post = zip(*known, strict=True)
    return {
        "raw": score_labels(truths, raw, class_names),
        "post": score_labels(truths, post, class_names),
    }


def compare_raters(
    comparisons: Sequence[Comparison], class_names: Sequence[str]
) -> list[RaterPair]:
    """Compare every annotator with every other and with the network, over what both scored.

    Pairs of annotators come first, by name.
    """
    names = sorted({name for c in comparisons for name in c.annotators})
    network = row_names(comparisons)[1]
    # None stands for the network, since an annotator may have its name
    pairs: list[tuple[str | None, str]] = [*itertools.combinations(names, 2)]
    pairs += [(None, name) for name in names]
    found = []
    for first, second in pairs:
        both = [
            (c.predicted if first is None else c.annotators[first], c.annotators[second])
            for c in comparisons
            if second in c.annotators and (first is None or first in c.annotators)
        ]
        if not both:
            continue
        a, b = (np.concatenate(part) for part in zip(*both, strict=True))
        known = (a != UNLABELLED) & (b != UNLABELLED)
        a, b = a[known], b[known]
        if not len(a):
            continue
        classes = np.arange(len(class_names))[:, None]
        shared = ((a == classes) & (b == classes)).sum(axis=1)
        either = (a == classes).sum(axis=1) + (b == classes).sum(axis=1)
        found.append(
            RaterPair(
                first=network if first is None else first,
                second=second,
                with_network=first is None,
                num_frames=len(a),
                # kappa is not defined if both name the same single class
                kappa=float(cohen_kappa_score(a, b)) if len({*a, *b}) > 1 else np.nan,
                f1=ratio(2 * shared, either),
            )
        )
    return found


def _ends(interval: FloatArray) -> list[float] | None:
    return None if np.isnan(interval).any() else [float(end) for end in interval]
