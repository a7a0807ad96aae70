"""Confidence intervals of scores, by bootstrap over animals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

LEVEL = 0.95
NUM_RESAMPLES = 2000


def bootstrap_intervals(
    counts: NDArray[np.int64],
    score: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    *,
    level: float = LEVEL,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return the confidence intervals of scores over animals.

    Parameters
    ----------
    counts : (G, ...) integer array
        Counts of each of G animals; counts of several animals add up. Frames of one animal are
        not independent samples, so each draw takes whole animals.
    score : callable
        Turns the summed counts of several animals, (...), into scores, (S,); NaN for a score that
        does not exist, for instance if no animal shows a behaviour.
    level : float
        Confidence level: the share of studies whose interval holds the true score, 0 to 1.
    num_resamples : int
        Number of draws of G animals with replacement.
    seed : int
        Fixes the draws.

    Returns
    -------
    (2, S) float array
        Lower and upper end; NaN with fewer than two animals. The interval of a score leaves out
        draws in which the score does not exist.

    Notes
    -----
    This is the expanded percentile interval: the fewer animals, the further out its quantiles, as
    a t interval is wider than a normal one. With ten animals, plain percentiles held the truth in
    88 % of simulated studies instead of 95 %, expanded ones in 93 % (five animals: 89 %). No
    method accounts for kinds of animals that the study does not contain.

    Source: Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3,
    doi:10.1080/00031305.2015.1089789. Drawing clusters, not their members: Davison and Hinkley
    1997, "Bootstrap Methods and Their Application", section 3.8.
    """
    num_groups = len(counts)
    if num_groups < 2:
        return np.full((2, len(score(counts.sum(axis=0)))), np.nan)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), num_resamples)
    totals = np.tensordot(weights, counts, axes=1)
    scores = np.array([score(total) for total in totals])
    reach = special.stdtrit(num_groups - 1, (1 + level) / 2) * np.sqrt(
        num_groups / (num_groups - 1)
    )
    ends = special.ndtr([-reach, reach])
    intervals = np.full((2, scores.shape[1]), np.nan)
    for i, column in enumerate(scores.T):
        known = column[~np.isnan(column)]
        if len(known):
            intervals[:, i] = np.quantile(known, ends)
    return intervals
