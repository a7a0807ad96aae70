"""Name the classes that have too few frames or bouts to be learnt or to be scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mpar.errors import counted
from mpar.labels.bouts import find_bouts

if TYPE_CHECKING:  # the window of a study uses the limits below, without torch
    from mpar.cache.store import Store
    from mpar.learning.splits import Split

# Our choice: fewer bouts than these are as often learnt by heart, or scored by chance, as not.
# Frames of one bout look alike, so bouts count; frames only rule out bouts of a moment.
MIN_TRAIN_BOUTS = 5
MIN_TRAIN_FRAMES = 50
MIN_SCORED_BOUTS = 3


def count_bouts(store: Store, recordings: Sequence[int]) -> np.ndarray:
    """Count frames and bouts of each class in some recordings, (2, K) int64."""
    counts = np.zeros((2, len(store.class_names)), np.int64)
    for recording in recordings:
        bouts = find_bouts(store.step_labels(recording))
        np.add.at(counts[0], bouts["label"], bouts["stop"] - bouts["start"])
        np.add.at(counts[1], bouts["label"], 1)
    return counts


def find_scarce(split: Split, store: Store) -> list[str]:
    """Return at most one warning: the classes with few frames or bouts in some part of a split.

    Parts without any frame of a class are left to `mpar.learning.splits.check_split`.
    """
    scarce = []
    counts = {
        part: count_bouts(store, split.part(part))
        for part in ("train", "val", "test")
        if split.part(part)
    }
    for k, name in enumerate(store.class_names):
        if any(_is_scarce(part, *counts_2K[:, k].tolist()) for part, counts_2K in counts.items()):
            shown = ", ".join(
                f"{part} {counted(int(frames[k]), 'frame')} in {counted(int(bouts[k]), 'bout')}"
                for part, (frames, bouts) in counts.items()
            )
            scarce.append(f"{name} ({shown})")
    if not scarce:
        return []
    return [
        f"too few labels to learn or to score: {'; '.join(scarce)}; expected at least "
        f"{MIN_TRAIN_BOUTS} bouts and {MIN_TRAIN_FRAMES} frames of a class in train and "
        f"{MIN_SCORED_BOUTS} bouts in val and test; label more, or merge classes in the --class-map"
    ]


def _is_scarce(part: str, num_frames: int, num_bouts: int) -> bool:
    if not num_frames:
        return False
    if part == "train":
        return num_bouts < MIN_TRAIN_BOUTS or num_frames < MIN_TRAIN_FRAMES
    return num_bouts < MIN_SCORED_BOUTS
