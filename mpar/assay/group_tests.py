"""Compare groups of animals: effect sizes with intervals, and permutation tests.

This is exploratory: with few animals and many comparisons, it shows where to look, not what is
true.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mpar.assay.tables import average_animals
from mpar.assay.windows import MEASURES
from mpar.errors import ConfigError

NUM_RESAMPLES = 9_999
LEVEL = 0.95
EXPLORATORY = (
    "exploratory: confirm what you see here in animals of a new study, with one comparison planned "
    "before"
)
Values = NDArray[np.float64]
_DECIMALS = 9  # what differs behind them comes from the errors of floats
_FLOAT_ERROR = 10.0**-_DECIMALS


def compare_groups(by_animal: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Compare each pair of groups in every window, class and measure.

    Parameters
    ----------
    by_animal : DataFrame
        From `mpar.assay.windows.summarize_animals`. Recordings of one animal are averaged first.
    seed : int
        Fixes the resamples.

    Returns
    -------
    DataFrame
        One row per window, measure, class and pair of groups A and B: ``Design`` ("paired" if the
        same animals are in both groups, else "independent"), ``N_A``, ``N_B``, ``Mean_A``,
        ``Mean_B``, ``Difference`` (B minus A) and ``Hedges_g`` with their 95 % bootstrap intervals
        ``_low`` and ``_high`` (empty where the draws cannot tell), ``P_permutation`` (two-sided)
        and ``P_Holm``, corrected over the classes and pairs of this window and measure. Cells are
        empty where a group has fewer than two animals with a value, or nothing varies. In a paired
        row, all numbers are of the animals with a value in both groups.

    Raises
    ------
    ConfigError
        Some animals are in both groups of a pair and others in one of them.

    Notes
    -----
    Each draw of the bootstrap takes animals within each group; where the groups are paired, it
    takes animals with both of their values. The intervals are expanded percentiles, as in
    `mpar.scores.bootstrap`, with N_A + N_B - 2 degrees of freedom (paired: N - 1); draws in which
    nothing varies have no Hedges' g and are left out. The test permutes animals between the two
    groups, or the sign of each animal's difference where they are paired: all ways if there are at
    most 9,999, else 9,999 random ones (`scipy.stats.permutation_test`).

    Sources: Hedges 1981, "Distribution Theory for Glass's Estimator of Effect Size", with the
    correction 1 - 3 / (4 f - 1) for f degrees of freedom. The paired difference is in standard
    deviations of the values, not of the differences, so that both designs can be compared: Lakens
    2013, "Calculating and reporting effect sizes", Cohen's d_av with pooled variances. Holm 1979,
    "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    means = average_animals(by_animal)
    groups = list(dict.fromkeys(means["Group"]))
    is_paired = find_designs(means)
    rows = []
    for window, of_window in means.groupby("Window", sort=False):
        for measure in MEASURES:
            family = []
            for name, part in of_window.groupby("Class", sort=False):
                table = part.pivot(index="Animal", columns="Group", values=measure)
                for a, b in itertools.combinations(groups, 2):
                    paired = is_paired[a, b]
                    both = table[[a, b]].dropna() if paired else table
                    pair = both[a].dropna().to_numpy(float), both[b].dropna().to_numpy(float)
                    family.append(
                        {
                            **{"Window": window, "Measure": measure, "Class": name},
                            **{"Group_A": a, "Group_B": b},
                            "Design": "paired" if paired else "independent",
                            **_compare(*pair, seed, is_paired=paired),
                        }
                    )
            adjusted = adjust_holm([row["P_permutation"] for row in family])
            rows += [row | {"P_Holm": p} for row, p in zip(family, adjusted, strict=True)]
    return pd.DataFrame(rows)


def find_designs(means: pd.DataFrame) -> dict[tuple[str, str], bool]:
    """Return for each pair of groups whether they hold the same animals.

    Raises
    ------
    ConfigError
        Some animals are in both groups and others in one of them.
    """
    members = {group: {*part["Animal"]} for group, part in means.groupby("Group", sort=False)}
    designs, mixed = {}, []
    for a, b in itertools.combinations(members, 2):
        both, one = members[a] & members[b], members[a] ^ members[b]
        designs[a, b] = not one
        if both and one:
            mixed.append(
                f"{', '.join(sorted(both)[:3])}{' ...' * (len(both) > 3)} in {a} and in {b}, "
                f"{', '.join(sorted(one)[:3])}{' ...' * (len(one) > 3)} in one of them"
            )
    if mixed:
        raise ConfigError(
            f"compare: found {'; '.join(mixed)}; expected every animal in both groups (paired) or "
            "none (independent); leave the recordings of the others out of the metadata"
        )
    return designs


def _compare(a: Values, b: Values, seed: int, *, is_paired: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "N_A": len(a),
        "N_B": len(b),
        "Mean_A": a.mean() if len(a) else None,
        "Mean_B": b.mean() if len(b) else None,
        "Difference": b.mean() - a.mean() if len(a) and len(b) else None,
    }
    names = ("Difference_low", "Difference_high", "Hedges_g", "Hedges_g_low", "Hedges_g_high")
    row |= dict.fromkeys((*names, "P_permutation"))
    if min(len(a), len(b)) < 2 or np.ptp(np.concatenate([a, b])) < _FLOAT_ERROR:
        return row
    standardize = functools.partial(hedges_g, is_paired=is_paired)
    ends = functools.partial(_interval, a, b, seed=seed, is_paired=is_paired)
    row["Difference_low"], row["Difference_high"] = ends(_difference)
    g = standardize(a, b)
    if np.isfinite(g):
        row["Hedges_g"] = float(g)
        row["Hedges_g_low"], row["Hedges_g_high"] = ends(standardize)
    test = stats.permutation_test(
        (a, b),
        _rounded_difference,
        permutation_type="samples" if is_paired else "independent",
        vectorized=True,
        n_resamples=NUM_RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    row["P_permutation"] = float(test.pvalue)
    return row


def _difference(a: Values, b: Values, axis: int = -1) -> Any:
    return b.mean(axis=axis) - a.mean(axis=axis)


def _rounded_difference(a: Values, b: Values, axis: int = -1) -> Any:
    """Return differences in which equal ones are equal, despite the errors of floats.

    scipy tolerates errors in proportion to the difference. Those of two means of 300 s that differ
    by a frame are larger, and a tie that is missed halves the p-value.
    """
    return np.round(_difference(a, b, axis), _DECIMALS)


def _degrees(a: Values, b: Values, axis: int, *, is_paired: bool) -> int:
    """Return the degrees of freedom of a difference of means."""
    return a.shape[axis] - 1 if is_paired else a.shape[axis] + b.shape[axis] - 2


def hedges_g(a: Values, b: Values, axis: int = -1, *, is_paired: bool = False) -> Any:
    """Return Hedges' g of two samples: the difference B minus A in pooled standard deviations.

    Parameters
    ----------
    a, b : float arrays
        Values of the animals along `axis`, at least two each.
    is_paired : bool
        Both are of the same animals, so that there are fewer degrees of freedom.

    Returns
    -------
    float or float array
        NaN or infinite if no value differs within the groups, NaN for two pairs, which are too few
        for the correction.
    """
    na, nb = a.shape[axis], b.shape[axis]
    pooled = (na - 1) * a.var(axis=axis, ddof=1) + (nb - 1) * b.var(axis=axis, ddof=1)
    degrees = _degrees(a, b, axis, is_paired=is_paired)
    correction = 1 - 3 / (4 * degrees - 1) if degrees > 1 else np.nan
    spread = np.sqrt(pooled / (na + nb - 2))
    # three equal values may differ from their mean by an error of floats
    spread = np.where(spread < _FLOAT_ERROR, 0.0, spread)
    with np.errstate(divide="ignore", invalid="ignore"):
        return correction * _difference(a, b, axis) / spread


def _interval(
    a: Values, b: Values, statistic: Any, *, seed: int, is_paired: bool
) -> tuple[float | None, float | None]:
    """Return the ends of a bootstrap interval, None where the draws cannot tell.

    They cannot if fewer than half of them count, or if those that count are all equal: an interval
    without width would look certain.
    """
    rng = np.random.default_rng(seed)
    places = rng.integers(len(a), size=(NUM_RESAMPLES, len(a)))
    others = places if is_paired else rng.integers(len(b), size=(NUM_RESAMPLES, len(b)))
    found = statistic(a[places], b[others])
    known = found[np.isfinite(found)]
    if 2 * len(known) < NUM_RESAMPLES or np.ptp(known) < _FLOAT_ERROR:
        return None, None
    degrees = _degrees(a, b, -1, is_paired=is_paired)
    num = len(a) if is_paired else len(a) + len(b)
    reach = stats.t.ppf((1 + LEVEL) / 2, degrees) * np.sqrt(num / degrees)
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
