"""Is mpar better than something simple, and what carries it? Scores on the same frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpar.labels.classes import UNLABELLED
from mpar.scores.bootstrap import bootstrap_intervals
from mpar.scores.comparison import Comparison, confusion_by_animal
from mpar.scores.metrics import FrameScores, none_for_nan

# mpar mixes these experts; each of them alone is a baseline
_EXPERTS = {
    "network": "the network",
    "movement": "the movement model",
    "features": "frozen features",
}
BASELINE_NAMES = {
    "mpar": "mpar",
    **{key: f"{name} alone" for key, name in _EXPERTS.items()},
    "most_frequent": "always the most frequent class",
}


def measure_baselines(
    comparisons: Sequence[Comparison], class_names: Sequence[str], *, responses: Collection[str]
) -> dict[str, Any]:
    """Score mpar, each of its experts alone, and a constant on the same frames.

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
        ``scores``: for ``mpar``, its experts ``network``, ``movement`` and ``features`` alone
        (absent if not known) and ``most_frequent`` (the most frequent class of these very labels,
        the best that a constant can do) the ``macro_f1``, its 95 % confidence ``interval`` over
        animals, ``accuracy`` and ``f1`` by class; ``gain``: the macro-F1 of mpar minus that of the
        movement model, or, if mpar is nothing else, of the constant; ``interval``: that of the
        gain; intervals are None with fewer than two animals; ``verdict``: a sentence that says
        what this means; ``best_alone``: one that says which expert scores best alone, "" if
        there is only one.
    """
    truths = [c.truth for c in comparisons]
    counts = np.bincount(np.concatenate([t[t != UNLABELLED] for t in truths]))
    frequent = int(counts.argmax())
    labels = {
        "mpar": [c.predicted for c in comparisons],
        "most_frequent": [np.full(len(truth), frequent) for truth in truths],
    }
    experts = [key for key in _EXPERTS if all(key in c.alone for c in comparisons)]
    labels |= {key: [c.alone[key] for c in comparisons] for key in experts}
    rival = "movement" if "movement" in experts and len(experts) > 1 else "most_frequent"
    confusions = {
        name: np.stack([*confusion_by_animal(comparisons, predicted, class_names).values()])
        for name, predicted in labels.items()
    }
    scores = {
        name: FrameScores(class_names=tuple(class_names), confusion=found.sum(axis=0))
        for name, found in confusions.items()
    }
    names = [name for name in BASELINE_NAMES if name in scores]

    def measure(parts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the macro-F1 of each, then the gain."""
        found = [FrameScores(class_names=tuple(class_names), confusion=c).macro_f1 for c in parts]
        return np.array([*found, found[0] - found[names.index(rival)]])

    together = np.stack([confusions[name] for name in names], axis=1)
    ends = [
        None if np.isnan(pair).any() else pair.tolist()
        for pair in bootstrap_intervals(together, measure).T
    ]
    gain, interval = scores["mpar"].macro_f1 - scores[rival].macro_f1, ends[-1]
    return {
        "scores": {
            name: {
                "macro_f1": scores[name].macro_f1,
                "interval": ends[i],
                "accuracy": scores[name].accuracy,
                "f1": dict(zip(class_names, none_for_nan(scores[name].f1), strict=True)),
            }
            for i, name in enumerate(names)
        },
        "most_frequent_class": class_names[frequent],
        "rival": rival,
        "gain": gain,
        "interval": interval,
        "verdict": _verdict(gain, interval, rival, scores["mpar"], responses, experts),
        "best_alone": _best_alone({name: scores[name].macro_f1 for name in ("mpar", *experts)}),
    }


def _best_alone(macro_f1: Mapping[str, float]) -> str:
    """Say which expert scores best alone, by the macro-F1 of mpar (first) and of each alone.

    It may be one that does not count in mpar, such as the movement model with ``--no-movement``.
    """
    together, *alone = macro_f1.values()
    if len(alone) < 2:
        return ""
    best = max([*macro_f1][1:], key=lambda name: macro_f1[name])
    name = _EXPERTS[best]
    difference = round(together, 3) - round(macro_f1[best], 3)
    return (
        f"Of the experts alone, {name} score{'s' * (not name.endswith('s'))} best: macro-F1 "
        f"{macro_f1[best]:.3f}; mpar, which weighs them and smooths their labels, "
        f"{together:.3f} ({difference:+.3f})."
    )


def _verdict(
    gain: float,
    interval: list[float] | None,
    rival: str,
    ours: FrameScores,
    responses: Collection[str],
    experts: Collection[str],
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
    own = "the rest of it" if experts and "network" not in experts else "its network"
    return (
        f"On these animals mpar is not measurably better than {what} ({difference}), so {own} "
        f"is not worth using yet. Score more animals{above_all}."
    )
