"""Draw stretches to check, so that each has a known chance, and likely errors a higher one.

All recordings are cut into units of some seconds. Units with similar expected errors form a
stratum, and units are drawn at random within strata, without repetition. Most draws are spread over
the strata by their size, so that a network which is sure of its errors is found out, and the others
equally, which favours the small strata with responses and doubt.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mpar.labels.scorings import Recording

NUM_STRATA = 4
_RESPONSE_WEIGHT = 4.0
_DISTRUST = 0.1  # share of the probabilities that is replaced by the share of each class
_MIN_UNITS = 5  # a rarer class counts as if predicted for the time of so many units
_BY_SIZE = 0.7  # share of the draws that strata get by their size


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """All units of all recordings, in order.

    Parameters
    ----------
    recording, start, stop : (N,) int64 arrays
        Position of the recording, and its frames, half-open.
    animal : (N,) int64 array
        Position in `animals`.
    animals : tuple of str
        Names of the animals, sorted.
    seconds : (N,) float64 array
        How long each unit lasts.
    predicted : (N, 2K) float64 array
        Frames predicted as each class, then seconds.
    stratum : (N,) int64 array
        0 for the least expected errors.
    """

    recording: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    animal: NDArray[np.int64]
    animals: tuple[str, ...]
    seconds: NDArray[np.float64]
    predicted: NDArray[np.float64]
    stratum: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.recording)


def cut_units(
    predictions: Sequence[Recording],
    class_names: Sequence[str],
    unit_seconds: float,
    num_strata: int = NUM_STRATA,
    *,
    responses: Collection[str],
) -> Units:
    """Cut recordings into units of about `unit_seconds` and group them into strata.

    An error in one of the `responses` counts as much as four others.
    """
    animals = tuple(sorted({item.animal for item in predictions}))
    pieces: list[tuple[int, int, int, int]] = []
    seconds, predicted, probable = [], [], []
    for number, item in enumerate(predictions):
        edges = item.clock.edges
        cuts = _cut(edges, unit_seconds)
        for start, stop in pairwise(cuts.tolist()):
            pieces.append((number, start, stop, animals.index(item.animal)))
        lengths = np.diff(edges)
        seconds.append(np.add.reduceat(lengths, cuts[:-1]))
        is_class = item.labels[:, None] == np.arange(len(class_names))
        both = np.hstack([is_class, is_class * lengths[:, None]])
        predicted.append(np.add.reduceat(both, cuts[:-1], axis=0))
        # seconds of each class by probability: in frames predicted so, and in others
        shares = item.probabilities * lengths[:, None]
        both = np.hstack([shares * is_class, shares * ~is_class])
        probable.append(np.add.reduceat(both, cuts[:-1], axis=0))
    columns = np.array(pieces, np.int64).reshape(-1, 4).T
    unit_lengths, counts = np.concatenate(seconds), np.concatenate(predicted)
    weight = np.where([name in responses for name in class_names], _RESPONSE_WEIGHT, 1)
    size = _expected_error(
        unit_lengths, counts[:, len(class_names) :], np.concatenate(probable), weight
    )
    recording, start, stop, animal = columns
    return Units(
        recording, start, stop, animal, animals, unit_lengths, counts, _group(size, num_strata)
    )


def _cut(edges: NDArray[np.float64], unit_seconds: float) -> NDArray[np.int64]:
    """Return the first frame of each unit, and the number of frames at the end."""
    num_units = max(1, round((edges[-1] - edges[0]) / unit_seconds))
    times = np.linspace(edges[0], edges[-1], num_units + 1)[1:-1]
    inner = np.searchsorted(edges[:-1], times - 1e-9)
    return np.unique(np.concatenate([[0], inner, [len(edges) - 1]])).astype(np.int64)


def _expected_error(
    seconds: NDArray[np.float64],
    predicted: NDArray[np.float64],
    probable: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return a size for each unit, (N,), that grows with its expected errors.

    Errors count relative to the totals of the classes, so that those of rare classes count most.
    The best chance of a unit is in proportion to the root of its expected squared error (Kossen et
    al. 2021, section 4). In simulations a steeper rule, the power 1.5 of the expected error, gave
    smaller errors, because probabilities of a network spread over all frames.
    """
    num_classes = len(weight)
    total = predicted.sum(axis=0)
    share = total / max(total.sum(), 1e-9)
    trusted_in, trusted_out = probable[:, :num_classes], probable[:, num_classes:]
    true_in = (1 - _DISTRUST) * trusted_in + _DISTRUST * share * predicted
    others = seconds[:, None] - predicted
    missed = (1 - _DISTRUST) * trusted_out + _DISTRUST * share * others
    error = np.maximum(predicted - true_in, 0) + missed
    total = np.maximum(total, _MIN_UNITS * seconds.mean())
    return np.asarray((weight * error / total**2).sum(axis=1) ** 1.5)


def _group(size: NDArray[np.float64], num_strata: int) -> NDArray[np.int64]:
    """Group units of similar size, so that the sizes in each stratum add up to about the same."""
    order = np.argsort(size, kind="stable")
    sums = np.cumsum(size[order])
    place = np.minimum(sums / max(sums[-1], 1e-300) * num_strata - 1e-9, num_strata - 1)
    stratum = np.empty(len(size), np.int64)
    stratum[order] = place.astype(np.int64)
    return np.unique(stratum, return_inverse=True)[1].astype(np.int64)


def draw_order(stratum: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return all units in the order in which they are checked.

    Parameters
    ----------
    stratum : (N,) int64 array
        Stratum of each unit, 0 to H - 1.
    rng : numpy.random.Generator
        Shuffles the units of each stratum.

    Returns
    -------
    (N,) int64 array
        After any number of units, each stratum has its share of them, to within about one: the
        next unit is of the stratum that is furthest behind (Sainte-Laguë). So the chance of a unit
        is the number of checked units of its stratum over their number in all.
    """
    sizes = np.bincount(stratum)
    share = _BY_SIZE * sizes / len(stratum) + (1 - _BY_SIZE) / len(sizes)
    queues = [rng.permutation(np.flatnonzero(stratum == h)) for h in range(len(sizes))]
    # the j-th unit of stratum h is due at (j + 1/2) / share; used-up strata simply end
    due = np.concatenate(
        [(np.arange(n) + 0.5) / part for n, part in zip(sizes, share, strict=True)]
    )
    return np.concatenate(queues)[np.argsort(due, kind="stable")].astype(np.int64)
