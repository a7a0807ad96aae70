"""Score the network, mixed with the movement model, on the validation recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpar.cache.store import Store
from mpar.learning.movement_fitting import fit_powers
from mpar.network.movement import NETWORK_ONLY, UNMEASURED, mix
from mpar.scores.metrics import (
    FrameScores,
    WorstFrame,
    find_worst_frames,
    frame_scores,
    mean_log_loss,
)
from mpar.scores.post_fitting import fit_postprocessing, shortest_bouts

_NUM_WORST, _MAX_WORST_PER_RECORDING = 8, 2


@dataclass(frozen=True, slots=True)
class Validation:
    """Scores and predictions of the validation recordings.

    Parameters
    ----------
    scores : FrameScores
        Over all labelled frames.
    loss : float
        Mean negative log-likelihood of these frames, without class weights.
    worst : list of WorstFrame
        The worst frames; `recording` is a position in the validation part.
    powers : (float, float)
        Powers of the network and of the movement model, fitted on these frames.
    truths : sequence of (T,) int8 arrays
        Labels of the validation recordings.
    probabilities : sequence of (T, K) float arrays
        Mixed output of network and movement model for the same frames.
    """

    scores: FrameScores
    loss: float
    worst: list[WorstFrame]
    powers: tuple[float, float] = NETWORK_ONLY
    truths: Sequence[np.ndarray] = ()
    probabilities: Sequence[np.ndarray] = ()


def score_validation(
    store: Store,
    recordings: Sequence[int],
    network: Sequence[np.ndarray],
    movement: Sequence[np.ndarray] | None,
    *,
    clip_length: int,
    has_enough_classes: bool,
) -> Validation:
    """Mix the probabilities of both models and score them.

    Parameters
    ----------
    store : Store
        Holds the labels.
    recordings : sequence of int
        The validation recordings.
    network : sequence of (T, K) float arrays
        Probabilities of the network for every step of them.
    movement : sequence of (T, K) float arrays, optional
        Those of the movement model; None leaves it out.
    clip_length : int
        The worst frames lie at least so far apart.
    has_enough_classes : bool
        The labels can tell how much each model should count; otherwise the movement model counts
        more.
    """
    truths = [store.step_labels(recording) for recording in recordings]
    powers = NETWORK_ONLY
    probabilities = list(network)
    if movement is not None:
        powers = fit_powers(truths, network, movement) if has_enough_classes else UNMEASURED
        probabilities = [mix(*pair, powers) for pair in zip(network, movement, strict=True)]
    return Validation(
        scores=frame_scores(
            np.concatenate(truths),
            np.concatenate(probabilities).argmax(axis=1),
            store.class_names,
        ),
        loss=mean_log_loss(truths, probabilities),
        worst=find_worst_frames(
            truths,
            probabilities,
            num_frames=_NUM_WORST,
            max_per_recording=_MAX_WORST_PER_RECORDING,
            min_distance=clip_length,
        ),
        powers=powers,
        truths=truths,
        probabilities=probabilities,
    )


def fit_post(store: Store, learnt: Sequence[int], validation: Validation) -> dict[str, Any]:
    """Fit post-processing on a validation; return its ``config`` and ``effect`` as plain types.

    Parameters
    ----------
    store : Store
        The cache.
    learnt : sequence of int
        The training recordings, whose bouts set the shortest bout.
    validation : Validation
        From `score_validation`.
    """
    names = store.class_names
    shortest = shortest_bouts([store.step_labels(i) for i in learnt], len(names))
    config, effect = fit_postprocessing(
        validation.truths, validation.probabilities, names, shortest
    )
    return {"config": config.to_dict(), "effect": effect}
