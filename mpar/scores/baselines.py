"""Is mpar better than something simple? Baselines on the same frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpar.labels.classes import UNLABELLED
from mpar.scores.bootstrap import bootstrap_intervals
from mpar.scores.comparison import Comparison, confusion_by_animal
from mpar.scores.metrics import FrameScores, none_for_nan

BASELINE_NAMES = {
    "mpar": "mpar",
    "movement": "the movement model alone",
    "most_frequent": "always the most frequent class",
}


def measure_baselines(
    comparisons: Sequence[Comparison], class_names: Sequence[str], *, responses: Collection[str]
) -> dict[str, Any]:
    """Score mpar and two baselines on the same frames.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Together they hold at least one labelled frame.
    class_names : sequence of str, length K
        Names of the classes.
    responses : collection of str
        Those that count as responses; the verdict names one of them.

    Returns
    -------
    dict
        ``scores``: for ``mpar``, ``movement`` (a linear model of movement, absent if not known)
        and ``most_frequent`` (the most frequent class of these very labels, the best that a
        constant can do) the ``macro_f1``, ``accuracy`` and ``f1`` by class; ``gain``: the
        macro-F1 of mpar minus that of the movement model, or, without one, of the constant;
        ``interval``: its 95 % confidence interval over animals, None with fewer than two;
        ``verdict``: a sentence that says what this means.
    """
    truths = [c.truth for c in comparisons]
    counts = np.bincount(np.concatenate([t[t != UNLABELLED] for t in truths]))
    frequent = int(counts.argmax())
    labels = {
        "mpar": [c.predicted for c in comparisons],
        "most_frequent": [np.full(len(truth), frequent) for truth in truths],
    }
    rival = "most_frequent"
    if all(c.movement is not None for c in comparisons):
        rival = "movement"
        labels[rival] = [np.asarray(c.movement) for c in comparisons]
    confusions = {
        name: np.stack([*confusion_by_animal(comparisons, predicted, class_names).values()])
        for name, predicted in labels.items()
    }
    scores = {
        name: FrameScores(class_names=tuple(class_names), confusion=found.sum(axis=0))
        for name, found in confusions.items()
    }
    pairs = np.stack([confusions["mpar"], confusions[rival]], axis=1)
    low, high = bootstrap_intervals(pairs, lambda pair: _gain(pair, class_names))[:, 0].tolist()
    gain = scores["mpar"].macro_f1 - scores[rival].macro_f1
    interval = None if np.isnan(low) else [low, high]
    return {
        "scores": {
            name: {
                "macro_f1": scores[name].macro_f1,
                "accuracy": scores[name].accuracy,
                "f1": dict(zip(class_names, none_for_nan(scores[name].f1), strict=True)),
            }
            for name in BASELINE_NAMES
            if name in scores
        },
        "most_frequent_class": class_names[frequent],
        "rival": rival,
        "gain": gain,
        "interval": interval,
        "verdict": _verdict(gain, interval, rival, scores["mpar"], responses),
    }


def _gain(pair: NDArray[np.int64], class_names: Sequence[str]) -> NDArray[np.float64]:
    ours, rival = (
        FrameScores(class_names=tuple(class_names), confusion=confusion).macro_f1
        for confusion in pair
    )
    return np.array([ours - rival])


def _verdict(
    gain: float,
    interval: list[float] | None,
    rival: str,
    ours: FrameScores,
    responses: Collection[str],
) -> str:
    """Say in plain words whether the network is worth using."""
    what = BASELINE_NAMES[rival]
    if rival == "most_frequent":
        what = f'"{what}"'
    difference = f"macro-F1 {gain:+.3f}"
    if interval is None:
        return (
            f"With one animal, mpar cannot tell whether it beats {what} ({difference}). "
            "Test more animals."
        )
    low, high = interval
    difference += f" [{low:+.3f}, {high:+.3f}]"
    if low > 0:
        return f"mpar is better than {what} ({difference})."
    named = [
        k for k, name in enumerate(ours.class_names) if ours.support[k] and name in responses
    ] or list(np.flatnonzero(ours.support))
    worst = min(named, key=lambda k: ours.f1[k])
    f1 = f"{ours.f1[worst]:.2f}"
    # where nothing is left to gain, more of the class would not help
    above_all = "" if f1 == "1.00" else f", above all bouts of {ours.class_names[worst]} (F1 {f1})"
    return (
        f"On these animals mpar is not measurably better than {what} ({difference}), so its "
        f"network is not worth using yet. Score more animals{above_all}."
    )
