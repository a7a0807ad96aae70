"""Compare groups of animals: effect sizes with intervals, and permutation tests.

This is exploratory: with few animals and many comparisons, it shows where to look, not what is
true.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mpar.scores.assay_tables import average_animals
from mpar.scores.windows import MEASURES

NUM_RESAMPLES = 9_999
LEVEL = 0.95
EXPLORATORY = (
    "exploratory: confirm what you see here in animals of a new study, with one comparison planned "
    "before"
)
Values = NDArray[np.float64]


def compare_groups(by_animal: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Compare each pair of groups in every window, class and measure.

    Parameters
    ----------
    by_animal : DataFrame
        From `mpar.scores.windows.summarize_animals`. Recordings of one animal are averaged first.
    seed : int
        Fixes the resamples.

    Returns
    -------
    DataFrame
        One row per window, measure, class and pair of groups A and B: ``N_A``, ``N_B``,
        ``Mean_A``, ``Mean_B``, ``Difference`` (B minus A) and ``Hedges_g`` with their 95 %
        bootstrap intervals ``_low`` and ``_high`` (empty where the draws cannot tell),
        ``P_permutation`` (two-sided) and ``P_Holm``, corrected over the classes and pairs of this
        window and measure. Cells are empty where a group has fewer than two animals with a value,
        or nothing varies.

    Notes
    -----
    Each draw of the bootstrap takes animals within each group. The intervals are expanded
    percentiles, as in `mpar.scores.bootstrap`, with N_A + N_B - 2 degrees of freedom; draws in
    which nothing varies have no Hedges' g and are left out. The test permutes animals between the
    two groups, all ways if there are at most 9,999, else 9,999 random ones
    (`scipy.stats.permutation_test`).

    Sources: Hedges 1981, "Distribution Theory for Glass's Estimator of Effect Size", with the
    correction 1 - 3 / (4 (N_A + N_B) - 9); Holm 1979, "A Simple Sequentially Rejective Multiple
    Test Procedure".
    """
    means = average_animals(by_animal)
    groups = list(dict.fromkeys(means["Group"]))
    rows = []
    for window, of_window in means.groupby("Window", sort=False):
        for measure in MEASURES:
            family = []
            for name, part in of_window.groupby("Class", sort=False):
                values = {g: part.loc[part["Group"] == g, measure].dropna() for g in groups}
                for a, b in itertools.combinations(groups, 2):
                    pair = values[a].to_numpy(float), values[b].to_numpy(float)
                    family.append(
                        {
                            **{"Window": window, "Measure": measure, "Class": name},
                            **{"Group_A": a, "Group_B": b},
                            **_compare(*pair, seed),
                        }
                    )
            adjusted = adjust_holm([row["P_permutation"] for row in family])
            rows += [row | {"P_Holm": p} for row, p in zip(family, adjusted, strict=True)]
    return pd.DataFrame(rows)


def _compare(a: Values, b: Values, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "N_A": len(a),
        "N_B": len(b),
        "Mean_A": a.mean() if len(a) else None,
        "Mean_B": b.mean() if len(b) else None,
        "Difference": b.mean() - a.mean() if len(a) and len(b) else None,
    }
    names = ("Difference_low", "Difference_high", "Hedges_g", "Hedges_g_low", "Hedges_g_high")
    row |= dict.fromkeys((*names, "P_permutation"))
    if min(len(a), len(b)) < 2 or np.ptp(np.concatenate([a, b])) == 0:
        return row
    row["Difference_low"], row["Difference_high"] = _interval(a, b, _difference, seed)
    g = hedges_g(a, b)
    if np.isfinite(g):
        row["Hedges_g"] = float(g)
        row["Hedges_g_low"], row["Hedges_g_high"] = _interval(a, b, hedges_g, seed)
    test = stats.permutation_test(
        (a, b),
        _difference,
        vectorized=True,
        n_resamples=NUM_RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    row["P_permutation"] = float(test.pvalue)
    return row


def _difference(a: Values, b: Values, axis: int = -1) -> Any:
    return b.mean(axis=axis) - a.mean(axis=axis)


def hedges_g(a: Values, b: Values, axis: int = -1) -> Any:
    """Return Hedges' g of two samples: the difference B minus A in pooled standard deviations.

    Parameters
    ----------
    a, b : float arrays
        Values of the animals along `axis`, at least two each.

    Returns
    -------
    float or float array
        NaN or infinite if no value differs within the groups.
    """
    na, nb = a.shape[axis], b.shape[axis]
    pooled = (na - 1) * a.var(axis=axis, ddof=1) + (nb - 1) * b.var(axis=axis, ddof=1)
    correction = 1 - 3 / (4 * (na + nb) - 9)
    with np.errstate(divide="ignore", invalid="ignore"):
        return correction * _difference(a, b, axis) / np.sqrt(pooled / (na + nb - 2))


def _interval(a: Values, b: Values, statistic: Any, seed: int) -> tuple[float | None, float | None]:
    """Return the ends of a bootstrap interval, None where the draws cannot tell.

    They cannot if fewer than half of them count, or if those that count are all equal: an interval
    without width would look certain.
    """
    rng = np.random.default_rng(seed)
    draws = [x[rng.integers(len(x), size=(NUM_RESAMPLES, len(x)))] for x in (a, b)]
    found = statistic(*draws)
    known = found[np.isfinite(found)]
    if 2 * len(known) < NUM_RESAMPLES or np.ptp(known) < 1e-9:
        return None, None
    degrees = len(a) + len(b) - 2
    reach = stats.t.ppf((1 + LEVEL) / 2, degrees) * np.sqrt((degrees + 2) / degrees)
    low, high = np.quantile(known, stats.norm.cdf([-reach, reach]))
    return float(low), float(high)


def adjust_holm(p_values: list[float | None]) -> list[float | None]:
    """Return p-values after Holm's correction; None stays None and does not count.

    Examples
    --------
    >>> adjust_holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[i] = highest
    return adjusted
