"""Totals and scores from checked units, with intervals.

Columns are classes (twice: in frames and in seconds), rows are units. Of each unit the predicted
amounts are known, of checked units also what of them is right ("hits") and what was missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpar.scores.sampling import Units

LEVEL = 0.95
NUM_DRAWS = 1000
_UNSEEN_MISS = 0.5  # pseudo-units with an unseen error, in the stratum of the heaviest units
_UNSEEN_HIT = 0.5  # the same for predicted amounts, in all
_BORROWED = 1.5  # how many units an animal borrows from the others of a stratum
_MAX_LENDERS = 30  # that they share in it, the first that were drawn; more would only take time

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """The checked units: rows of `Units`, hits and misses.

    Parameters
    ----------
    rows : (n,) int64 array
        Which units.
    predicted, hits, misses : (n, 2K) float64 arrays
        Amounts predicted as each class, those of them that are right, and true amounts with
        another prediction; in units that were scored in part, scaled up.
    """

    rows: NDArray[np.int64]
    predicted: Array
    hits: Array
    misses: Array


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """Estimated hits and misses of all units, with draws for the two ends of intervals.

    Parameters
    ----------
    predicted, hits, misses : (2K,) float64 arrays
        Known, estimated and estimated totals.
    low, high : pairs of (B, 2K) float64 arrays
        Draws of hits and misses, as few and as many as may be.
    """

    predicted: Array
    hits: Array
    misses: Array
    low: tuple[Array, Array]
    high: tuple[Array, Array]


def estimate_totals(
    units: Units, checked: Checked, rng: np.random.Generator, animal: int | None = None
) -> Totals:
    """Estimate the hits and misses of all units, or those of one animal.

    Notes
    -----
    In each stratum, checked units stand for the others. Hits are a ratio estimate, predicted amount
    times the share of it that was right; misses are the mean of checked units times their number
    (Horvitz and Thompson). Each animal borrows the weight of some units from the others.

    Draws: what the unchecked units of a stratum hold is drawn from the checked ones by a Pólya urn
    (finite Bayesian bootstrap; Ghosh and Meeden 1997, "Bayesian Methods for Finite Population
    Sampling"), with fewer balls than units (n - 2), so that the variance equals that of the mean.
    Since errors that nobody has seen may exist, the high end adds pseudo-units with errors, as
    Jeffreys' interval of a share adds half a success. The values are our choice, by simulation
    (``tests/benchmarks/coverage.py``).
    """
    in_group = np.ones(len(units), bool) if animal is None else units.animal == animal
    own = in_group[checked.rows]
    num_columns = checked.hits.shape[1]
    counts = np.zeros((NUM_DRAWS, len(own)))
    weight = np.zeros(len(own))
    misses_high = np.zeros((NUM_DRAWS, num_columns))
    unseen = np.zeros((NUM_DRAWS, num_columns))
    stratum = units.stratum[checked.rows]
    sizes, numbers = np.bincount(units.stratum), np.bincount(stratum)
    weights = [(a - b) / b for a, b in zip(sizes, numbers, strict=False) if b]
    heaviest = max(weights, default=1)
    for h in np.unique(units.stratum).tolist():
        here = np.flatnonzero(stratum == h)
        num_left = int((in_group & (units.stratum == h)).sum() - own[here].sum())
        if not num_left or not len(here):
            continue
        num_checked = len(here)
        lenders = here[~own[here]][:_MAX_LENDERS]
        here = np.concatenate([here[own[here]], lenders])
        balls = np.where(own[here], 1.0, _BORROWED / max(1, len(lenders)))
        weight[here] = num_left * balls / balls.sum()
        balls *= max(balls.sum() - 2, 0.4 * balls.sum()) / balls.sum()
        shares = rng.gamma(balls, size=(NUM_DRAWS, len(here))) + 1e-300
        shares /= shares.sum(axis=1, keepdims=True)
        counts[:, here] = rng.multinomial(num_left, shares)
        pseudo = _UNSEEN_MISS * num_left / num_checked / heaviest
        share = rng.beta(pseudo, num_checked, size=unseen.shape)
        more = rng.binomial(num_left, share)
        unseen += more
        misses_high += counts[:, here] @ checked.misses[here] * (1 - more / num_left)
    predicted = units.predicted[in_group].sum(axis=0)
    seen = [column[own].sum(axis=0) for column in (checked.predicted, checked.hits, checked.misses)]
    left = np.maximum(predicted - seen[0], 0)
    share_right = _ratio(weight @ checked.hits, weight @ checked.predicted, 0.0)
    mine = counts * own
    drawn = counts @ checked.predicted
    doubt = _unseen_hits(units, checked, weight, own, rng)
    right_low = (1 - doubt) * _ratio(mine @ checked.hits, drawn, 0.0)
    right_high = (1 - doubt) * _ratio(counts @ checked.hits, drawn, 1.0) + doubt
    size = _draw_sizes(units, checked, rng)
    return Totals(
        predicted,
        seen[1] + left * share_right,
        seen[2] + weight @ checked.misses,
        (seen[1] + left * right_low, seen[2] + mine @ checked.misses),
        (seen[1] + left * right_high, seen[2] + misses_high + unseen * size),
    )


def _unseen_hits(
    units: Units,
    checked: Checked,
    weight: Array,
    own: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Array:
    """Draw which share of the unchecked predicted amounts may be unlike the checked ones."""
    weighted = weight[:, None] * checked.predicted
    number = _ratio(weighted.sum(axis=0) ** 2, (weighted**2).sum(axis=0), 0.0)
    if not own.all():
        number = np.minimum(
            number, (own[:, None] & (checked.predicted > 0)).sum(axis=0) + _BORROWED
        )
    drawn = rng.beta(_UNSEEN_HIT, np.maximum(number, 1e-6), size=(NUM_DRAWS, len(number)))
    return np.where(number > 0, drawn, 1.0)


def _draw_sizes(units: Units, checked: Checked, rng: np.random.Generator) -> Array:
    """Draw the amounts of missed classes in a unit: a seen one, or the usual predicted amount."""
    num_columns = checked.hits.shape[1]
    sizes = np.empty((NUM_DRAWS, num_columns))
    lengths = [(units.stop - units.start).mean(), units.seconds.mean()]
    for column, length in enumerate(np.repeat(lengths, num_columns // 2)):
        found, known = checked.misses[:, column], units.predicted[:, column]
        usual = known[known > 0].mean() if known.any() else length / 2
        sizes[:, column] = rng.choice(np.append(found[found > 0], usual), size=NUM_DRAWS)
    return sizes


def _ratio(part: Array, whole: Array, otherwise: float) -> Array:
    """Divide; `otherwise` where the divisor is 0."""
    is_known = whole > 0
    return np.where(is_known, part / np.where(is_known, whole, 1), otherwise)


def precision_of(totals: Totals) -> tuple[Array, Array]:
    """Return the precision of each column, (2K,), and its interval, (2, 2K)."""
    whole = totals.predicted
    low, high = (
        _ratio(hits, np.broadcast_to(whole, hits.shape), 0.0)
        for hits in (totals.low[0], totals.high[0])
    )
    return _ratio(totals.hits, whole, np.nan), _ends(low, high)


def recall_of(totals: Totals) -> tuple[Array, Array]:
    """Return the recall of each column, (2K,), and its interval, (2, 2K)."""
    (hits_low, misses_low), (hits_high, misses_high) = totals.low, totals.high
    low = _ratio(hits_low, hits_low + misses_high, 0.0)
    high = _ratio(hits_high, hits_high + misses_low, 1.0)
    return _ratio(totals.hits, totals.hits + totals.misses, np.nan), _ends(low, high)


def f1_of(totals: Totals) -> tuple[Array, Array]:
    """Return the F1 of each column, (2K,), and its interval, (2, 2K)."""
    (hits_low, misses_low), (hits_high, misses_high) = totals.low, totals.high
    whole = totals.predicted
    low = _ratio(2 * hits_low, whole + hits_low + misses_high, 0.0)
    high = _ratio(2 * hits_high, whole + hits_high + misses_low, 1.0)
    true = totals.hits + totals.misses
    return _ratio(2 * totals.hits, whole + true, np.nan), _ends(low, high)


def amount_of(totals: Totals) -> tuple[Array, Array]:
    """Return the true amount of each column, (2K,), and its interval, (2, 2K)."""
    low, high = totals.low[0] + totals.low[1], totals.high[0] + totals.high[1]
    return totals.hits + totals.misses, _ends(low, high)


def _ends(low: Array, high: Array) -> Array:
    tail = (1 - LEVEL) / 2
    return np.stack([np.quantile(low, tail, axis=0), np.quantile(high, 1 - tail, axis=0)])


def num_to_halve(num_checked: int, num_units: int) -> int:
    """Return how many more units halve an interval, whose width is about sqrt(1/n - 1/N)."""
    if not num_checked:
        return num_units
    wanted = 4 / (1 / num_checked + 3 / num_units)
    return max(0, int(np.ceil(wanted - 1e-9)) - num_checked)
