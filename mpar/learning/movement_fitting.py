"""Fit the movement model on training recordings, and its share on validation recordings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mpar.cache.store import Store
from mpar.labels.classes import UNLABELLED
from mpar.learning.splits import class_counts
from mpar.network.movement import MovementModel, mix, movement_of

MAX_STEPS = 100_000  # of all recordings, a minute of reading at 64 x 64 px
_REGULARIZATION = 0.01  # sklearn's C; found on real recordings of a few seconds
_MAX_ITERATIONS = 300
_DEFAULT_RATE = 30.0  # of a cache whose videos do not state their rate


def fit_movement(
    store: Store, recordings: Sequence[int], *, max_steps: int = MAX_STEPS
) -> MovementModel:
    """Fit a linear model of movement on the labelled steps of some recordings.

    Parameters
    ----------
    store : Store
        The cache.
    recordings : sequence of int
        Positions in the cache.
    max_steps : int
        Read no more steps than this. Of longer recordings, the model then learns from the stretch
        of each that holds most of the rare classes.

    Returns
    -------
    MovementModel
        Its power is 0, so that it does not count yet.

    Notes
    -----
    Logistic regression with an L2 penalty, each class with the same total weight
    (`sklearn.linear_model.LogisticRegression`).
    """
    labels = [store.step_labels(i) for i in recordings]
    counts = class_counts(store, recordings)
    share = max(1, max_steps // max(1, len(labels)))
    rate = _rate_of(store, recordings)
    features, truths = [], []
    for recording, truth in zip(recordings, labels, strict=True):
        start, stop = _richest_stretch(truth, counts, share)
        is_known = truth[start:stop] != UNLABELLED
        if is_known.any():
            features.append(movement_of(store, recording, rate, start, stop)[is_known])
            truths.append(truth[start:stop][is_known])
    x_ND, y_N = np.concatenate(features), np.concatenate(truths)
    scaler = StandardScaler().fit(x_ND)
    return _as_model(scaler, scaler.transform(x_ND), y_N, counts, rate)


def _as_model(
    scaler: StandardScaler, z_ND: np.ndarray, y_N: np.ndarray, counts: np.ndarray, rate: float
) -> MovementModel:
    num_classes = len(counts)
    coefficients = np.zeros((num_classes, z_ND.shape[1]))
    intercepts = np.zeros(num_classes)
    present = np.unique(y_N)
    if len(present) > 1:
        model = LogisticRegression(
            C=_REGULARIZATION, class_weight="balanced", max_iter=_MAX_ITERATIONS
        ).fit(z_ND, y_N)
        own, bias = model.coef_, model.intercept_
        if len(present) == 2:  # sklearn keeps one row for two classes
            own, bias = np.concatenate([-own / 2, own / 2]), np.concatenate([-bias / 2, bias / 2])
        # a class without frames here gets the mean of the others: no opinion
        coefficients[:], intercepts[:] = own.mean(axis=0), bias.mean()
        coefficients[present], intercepts[present] = own, bias
    return MovementModel(
        rate=rate,
        mean=scaler.mean_,
        scale=scaler.scale_,
        coefficients=coefficients,
        intercepts=intercepts,
        counts=counts,
    )


def _rate_of(store: Store, recordings: Sequence[int]) -> float:
    """Return the steps per second of the recordings."""
    rates = [float(rate) for i in recordings if (rate := store.recordings[i].rate)]
    return float(np.median(rates)) if rates else _DEFAULT_RATE


def _richest_stretch(truth: np.ndarray, counts: np.ndarray, length: int) -> tuple[int, int]:
    """Return start and stop of the stretch in which rare classes weigh most."""
    if len(truth) <= length:
        return 0, len(truth)
    weights = np.where(truth >= 0, 1 / np.maximum(counts, 1)[np.maximum(truth, 0)], 0.0)
    sums = np.concatenate([[0.0], weights.cumsum()])
    start = int((sums[length:] - sums[:-length]).argmax())
    return start, start + length


def fit_powers(
    truths: Sequence[np.ndarray], network: Sequence[np.ndarray], own: Sequence[np.ndarray]
) -> tuple[float, float]:
    """Return the powers of network and movement model with the lowest log loss.

    Parameters
    ----------
    truths : sequence of (T,) integer arrays
        Labels of the validation recordings, -1 for unlabelled.
    network, own : sequence of (T, K) float arrays
        Probabilities of the network and of the movement model for the same steps, with at least
        one label.

    Returns
    -------
    (float, float)
        Each 0 or more. Every class that occurs has the same weight in the loss, as in training.

    Notes
    -----
    Source: Wolpert 1992, "Stacked Generalization".
    """
    truth = np.concatenate(truths)
    is_known = truth != UNLABELLED
    truth = truth[is_known]
    one, other = (np.concatenate(parts)[is_known] for parts in (network, own))
    weights = 1 / np.bincount(truth)[truth]
    weights /= weights.sum()
    rows = np.arange(len(truth))

    def loss(powers: np.ndarray) -> float:
        mixed = mix(one, other, (float(powers[0]), float(powers[1])))
        return float(-weights @ np.log(np.maximum(mixed[rows, truth], 1e-7)))

    found = minimize(
        loss, [0.5, 0.5], method="Nelder-Mead", bounds=[(0, 4), (0, 4)], options={"xatol": 1e-3}
    )
    return round(float(found.x[0]), 3), round(float(found.x[1]), 3)
