"""Predict recordings of a cache and compare them with its labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.labels.classes import UNLABELLED
from mpar.network.checkpoint import Checkpoint
from mpar.network.predictor import ActionRecognitionInference
from mpar.scores.comparison import Comparison, by_annotator
from mpar.system.progress import Bar
from mpar.video.timeline import is_same_tempo

log = logging.getLogger(__name__)

SELECTIONS = ("held-out", "train", "val", "test", "all")


def select_recordings(
    checkpoint: Checkpoint, store: Store, selection: str = "held-out"
) -> list[int]:
    """Return the recordings of a cache to evaluate a checkpoint on.

    Parameters
    ----------
    checkpoint : Checkpoint
        Lists the animals and videos of its training and validation.
    store : Store
        The cache it was trained on, or any other.
    selection : {"held-out", "train", "val", "test", "all"}
        "held-out": recordings whose animals and videos took no part in training or validation.

    Returns
    -------
    list of int
        Positions in the cache, without recordings that have no label.

    Raises
    ------
    ConfigError
        No recording remains.
    """
    if selection not in SELECTIONS:
        raise ConfigError(f"part: found {selection!r}, expected one of {', '.join(SELECTIONS)}")
    chosen = _labelled(checkpoint, store, selection)
    if not chosen:
        others = [name for name in SELECTIONS if _labelled(checkpoint, store, name)]
        raise ConfigError(
            f"{store.path}: found no labelled recording in the selection {selection!r}; pass "
            + (f"--part {' or '.join(others)}, or another cache" if others else "another cache")
        )
    return chosen


def _labelled(checkpoint: Checkpoint, store: Store, selection: str) -> list[int]:
    """Return the recordings of a selection that have a label."""
    if selection in checkpoint.split:
        chosen = [i for i, info in enumerate(store.recordings) if checkpoint.holds(selection, info)]
    else:
        chosen = [
            i
            for i, info in enumerate(store.recordings)
            if selection == "all"
            or not checkpoint.learnt_part(sha256=info.sha256, region=info.region, group=info.group)
        ]
    return [i for i in chosen if (store.labels(i) != UNLABELLED).any()]


def compare_with_store(
    network: ActionRecognitionInference,
    store: Store,
    recordings: Sequence[int],
    *,
    quiet: bool = True,
) -> list[Comparison]:
    """Predict recordings of a cache and compare them with its labels.

    Raises
    ------
    ConfigError
        The cache has other classes or another frame size than the network.
    """
    if store.class_names != network.class_names:
        raise ConfigError(
            f"{store.path}: found the classes {', '.join(store.class_names)}, expected those of "
            f"the network, {', '.join(network.class_names)}; preprocess with the class map of "
            "training into another --output"
        )
    others = [
        info.name
        for info in (store.recordings[i] for i in recordings)
        if network.rate is not None and not is_same_tempo(info.rate or info.fps, network.rate)
    ]
    if others:
        log.warning(
            "%s: %d recordings (%s, ...) do not have the %g steps per second of training, so every "
            "movement lasts another number of steps; preprocess with --rate %s into another "
            "--output",
            *(store.path, len(others), others[0], float(network.rate or 0), network.rate),
        )
    comparisons = []
    for recording in Bar(recordings, desc="predicting", unit="video", quiet=quiet):
        prediction = network.predict_recording(store, recording, with_each=True)
        comparisons.append(
            Comparison(
                name=prediction.name,
                truth=store.labels(recording),
                predicted=prediction.labels,
                line=prediction.line,
                is_learnt=bool(prediction.learnt_part),
                group=store.recordings[recording].group,
                confidence=prediction.confidence(),
                raw=prediction.raw,
                alone=prediction.alone,
                annotators=by_annotator(
                    store.recordings[recording].annotators, store.codes(recording), store.class_map
                ),
            )
        )
    return comparisons
