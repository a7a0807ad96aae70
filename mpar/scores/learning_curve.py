"""How scores grow with the number of scored animals, and what more animals are likely to bring.

Shapes: N sizes of the training part, G test animals, K classes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpar.labels.classes import responses_or_all
from mpar.scores.bootstrap import bootstrap_intervals
from mpar.scores.comparison import Comparison, confusion_by_animal
from mpar.scores.metrics import FrameScores, none_for_nan

NUM_MORE = 6  # animals
_MIN_TEST_ANIMALS = 3  # for a forecast


def measure_curve(
    num_animals: Sequence[int],
    num_events: Sequence[int],
    comparisons: Sequence[Sequence[Comparison]],
    class_names: Sequence[str],
    *,
    responses: Collection[str],
) -> dict[str, Any]:
    """Score networks that learnt from more and more animals, on the same test animals.

    Parameters
    ----------
    num_animals : sequence of int, length N
        Animals that each network learnt from, in rising order.
    num_events : sequence of int, length N
        Bouts of the classes shown, in these animals.
    comparisons : sequence of sequence of Comparison, length N
        The same test recordings for each network.
    class_names : sequence of str, length K
        Names of the classes.
    responses : collection of str
        Those that count as responses.

    Returns
    -------
    dict
        ``points``: for each network ``num_animals``, ``num_events``, ``macro_f1`` and ``f1`` by
        shown class, each as [score, low, high], the interval over test animals (None where there
        is none); ``shown``: the responses, or all classes if there are none, with their
        ``class_indices``; ``forecast``:
        ``more_animals``, ``gain`` of macro-F1 and its ``interval``, or None; ``verdict``.

    Notes
    -----
    The forecast is a straight line through macro-F1 over the logarithm of the number of animals,
    fitted to each draw of test animals. Our choice, since three points allow no curve: scores
    level off, so that the true gain is rather lower.
    """
    shown = responses_or_all(class_names, responses)
    columns = [class_names.index(name) for name in shown]
    by_animal = [
        confusion_by_animal(found, [c.predicted for c in found], class_names)
        for found in comparisons
    ]
    animals = sorted(by_animal[0])
    confusions = np.stack([[found[animal] for found in by_animal] for animal in animals])

    def score(pair: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return macro-F1 and F1 of the shown classes of each network, then the forecast."""
        found = [FrameScores(class_names=tuple(class_names), confusion=one) for one in pair]
        macro = np.array([scores.macro_f1 for scores in found])
        rows = [[m, *scores.f1[columns]] for m, scores in zip(macro, found, strict=True)]
        return np.array([*np.concatenate(rows), _gain(num_animals, macro)])

    values = score(confusions.sum(axis=0))
    low, high = bootstrap_intervals(confusions, score)
    width = 1 + len(columns)
    ends = np.stack([values, low, high], axis=1)
    points = []
    for i, (number, events) in enumerate(zip(num_animals, num_events, strict=True)):
        macro, *by_class = ends[i * width : (i + 1) * width]
        points.append(
            {
                "num_animals": int(number),
                "num_events": int(events),
                "macro_f1": none_for_nan(macro),
                "f1": {name: none_for_nan(one) for name, one in zip(shown, by_class, strict=True)},
            }
        )
    forecast = None
    is_enough = len(confusions) >= _MIN_TEST_ANIMALS and len(set(num_animals)) > 1
    if is_enough and not np.isnan(ends[-1]).any():
        gain, *interval = ends[-1].tolist()
        forecast = {"more_animals": NUM_MORE, "gain": gain, "interval": interval}
    return {
        "points": points,
        "shown": shown,
        "class_indices": columns,
        "num_test_animals": len(confusions),
        "forecast": forecast,
        "verdict": _verdict(points, forecast, len(confusions)),
    }


def _gain(num_animals: Sequence[int], macro_N: NDArray[np.float64]) -> float:
    """Return the gain of macro-F1 that `NUM_MORE` more animals bring, on a straight line."""
    x = np.log2(np.asarray(num_animals, float))
    if np.ptp(x) == 0 or np.isnan(macro_N).any():
        return np.nan
    slope = np.polyfit(x, macro_N, 1)[0]
    gain = slope * np.log2((num_animals[-1] + NUM_MORE) / num_animals[-1])
    return round(float(gain), 9)  # equal scores have a slope of 1e-17


def _verdict(
    points: Sequence[dict[str, Any]], forecast: dict[str, Any] | None, num_test: int
) -> str:
    steps = ", ".join(f"{p['macro_f1'][0]:.2f} with {p['num_animals']}" for p in points)
    found = f"Macro-F1 was {steps} animals to learn from, on {num_test} test animals."
    if forecast is None:
        return (
            f"{found} What more animals would bring cannot be told: that takes "
            f"{_MIN_TEST_ANIMALS} or more test animals that show every class."
        )
    gain, (low, high) = forecast["gain"], forecast["interval"]
    ends = f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]"
    if low <= 0 <= high:
        return (
            f"{found} mpar cannot tell whether {NUM_MORE} more would help (expected macro-F1 "
            f"{ends})."
        )
    return (
        f"{found} {NUM_MORE} more are likely to change macro-F1 by {ends}, or less, since scores "
        "level off."
    )
