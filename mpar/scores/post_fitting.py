"""Fit post-processing on recordings that the network did not learn from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from mpar.labels.bouts import find_runs
from mpar.labels.classes import UNLABELLED
from mpar.predictions.postprocess import (
    EDGES,
    SHORTEST_PERCENTILE,
    SMOOTHINGS,
    PostConfig,
    Probabilities,
    apply_temperature,
    postprocess,
)
from mpar.scores.events import SHOWN_CRITERIA, event_scores
from mpar.scores.metrics import frame_scores, mean_log_loss


def shortest_bouts(truths: Sequence[np.ndarray], num_classes: int) -> tuple[int, ...]:
    """Return the first percentile of the bout lengths of each class, in frames.

    Parameters
    ----------
    truths : sequence of (T,) integer arrays
        Labels of the training recordings. Bouts at the ends of a recording or beside unlabelled
        frames may be cut off and are left out.
    num_classes : int
        K.

    Returns
    -------
    tuple of int, length K
        1 for a class without a whole bout.
    """
    lengths: list[list[int]] = [[] for _ in range(num_classes)]
    for truth in truths:
        starts, stops, runs = find_runs(truth).T.tolist()
        for i in range(1, len(runs) - 1):
            if UNLABELLED not in runs[i - 1 : i + 2]:
                lengths[runs[i]].append(stops[i] - starts[i])
    return tuple(
        int(np.percentile(found, SHORTEST_PERCENTILE, method="lower")) if found else 1
        for found in lengths
    )


def fit_postprocessing(
    truths: Sequence[np.ndarray],
    probabilities: Sequence[Probabilities],
    class_names: Sequence[str],
    min_frames: tuple[int, ...],
) -> tuple[PostConfig, dict[str, dict[str, float]]]:
    """Choose temperature, edges, smoothing, and whether to remove short bouts.

    Parameters
    ----------
    truths : sequence of (T,) integer arrays
        Labels of the validation recordings, -1 for unlabelled.
    probabilities : sequence of (T, K) float arrays
        Output of the network for the same frames.
    class_names : sequence of str, length K
        Names of the classes.
    min_frames : tuple of int
        From `shortest_bouts`.

    Returns
    -------
    config : PostConfig
        The temperature with the lowest log loss, and the edges, smoothing and shortest bouts with
        the highest sum of macro-F1 over frames and over bouts. Among equals, the least
        post-processing. The sum is our choice, since labs publish both time and events.
    effect : dict
        ``raw`` and ``post``, each with ``macro_f1`` and ``event_f1``, on these same recordings
        and therefore too optimistic.
    """
    if not truths:
        return PostConfig(), {}
    temperature = fit_temperature(truths, probabilities)
    candidates = [
        PostConfig(
            temperature=temperature, edge_frames=edge, smooth_frames=width, min_frames=shortest
        )
        for edge, width, shortest in itertools.product(EDGES, SMOOTHINGS, ((), min_frames))
    ]
    scored = [(_score(truths, probabilities, class_names, config), config) for config in candidates]
    best, config = max(scored, key=lambda pair: sum(pair[0].values()))  # the first of equals
    return config, {"raw": scored[0][0], "post": best}


def fit_temperature(truths: Sequence[np.ndarray], probabilities: Sequence[Probabilities]) -> float:
    """Return the temperature, 0.25 to 4, with the lowest mean log loss."""

    def loss(log_temperature: float) -> float:
        heated = [apply_temperature(p, float(np.exp(log_temperature))) for p in probabilities]
        return mean_log_loss(truths, heated)

    bounds = np.log(0.25), np.log(4)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 0.01})
    return round(float(np.exp(found.x)), 3)


def _score(
    truths: Sequence[np.ndarray],
    probabilities: Sequence[Probabilities],
    class_names: Sequence[str],
    config: PostConfig,
) -> dict[str, float]:
    labels = [postprocess(p, config)[0] for p in probabilities]
    return score_labels(truths, labels, class_names)


def score_labels(
    truths: Sequence[np.ndarray], labels: Sequence[np.ndarray], class_names: Sequence[str]
) -> dict[str, float]:
    """Return the ``macro_f1`` of frames, and the ``event_f1``: the mean over classes with bouts.

    The latter is the mean over both criteria of `mpar.scores.events.SHOWN_CRITERIA`.
    """
    frames = frame_scores(np.concatenate(truths), np.concatenate(labels), class_names)
    events = event_scores(truths, labels, class_names, SHOWN_CRITERIA)
    return {
        "macro_f1": frames.macro_f1,
        "event_f1": float(np.nanmean(events.f1)),
    }
