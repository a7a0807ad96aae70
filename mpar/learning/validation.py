"""Score all experts together on the validation recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpar.cache.store import Store
from mpar.learning.stacking import Found
from mpar.network.experts import mix
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
    powers : mapping of str to float
        Powers of the experts.
    truths : sequence of (T,) int8 arrays
        Labels of the validation recordings.
    probabilities : sequence of (T, K) float arrays
        Their mixture for the same frames.
    """

    scores: FrameScores
    loss: float
    worst: list[WorstFrame]
    powers: Mapping[str, float]
    truths: Sequence[np.ndarray]
    probabilities: Sequence[np.ndarray]


def score_validation(
    store: Store,
    recordings: Sequence[int],
    found: Found,
    powers: Mapping[str, float],
    *,
    clip_length: int,
) -> Validation:
    """Mix the (T, K) probabilities of the experts for the validation recordings, and score them.

    The worst frames lie at least `clip_length` apart.
    """
    truths = [store.step_labels(recording) for recording in recordings]
    probabilities = [
        mix(dict(zip(found, row, strict=True)), powers) for row in zip(*found.values(), strict=True)
    ]
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

    The bouts of the recordings `learnt` set the shortest bout.
    """
    names = store.class_names
    shortest = shortest_bouts([store.step_labels(i) for i in learnt], len(names))
    config, effect = fit_postprocessing(
        validation.truths, validation.probabilities, names, shortest
    )
    return {"config": config.to_dict(), "effect": effect}
