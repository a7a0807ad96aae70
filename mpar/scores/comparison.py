"""True and predicted labels side by side, and warnings about them. Shapes: T frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mpar.labels.classes import UNLABELLED
from mpar.scores.metrics import FrameScores, frame_scores
from mpar.video.timeline import TimeLine

SAME_ANIMAL = "same-animal: holds recordings of animals that the network was trained or chosen on"


def same_animal_warning(num_learnt: int, num_recordings: int) -> str:
    """Return the warning about recordings that the network learnt from; empty if there are none."""
    return f"{SAME_ANIMAL} ({num_learnt} of {num_recordings})" if num_learnt else ""


def one_class_warning(frames: FrameScores) -> str:
    """Return the warning that all labels are of one class; empty if there are several classes."""
    named = [n for n, support in zip(frames.class_names, frames.support, strict=True) if support]
    if len(named) > 1:
        return ""
    return (
        f"one class: every labelled frame is {named[0]}, so macro-F1 and accuracy only measure how "
        "many of these frames were found, not how many false ones"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """True and predicted labels of one recording, for every frame of it.

    Parameters
    ----------
    name : str
        Name of the recording.
    truth, predicted : (T,) integer arrays
        Class index, -1 for unlabelled.
    line : TimeLine
        When its frames are shown.
    is_learnt : bool
        True if the network learnt from this video or animal.
    group : str
        The animal; if empty, the recording counts as one animal.
    confidence : (T,) float array, optional
        Probability of the predicted class.
    raw : (T,) integer array, optional
        Predicted labels before post-processing.
    annotators : mapping of str to (T,) integer array
        The labels of each annotator, if there are several.
    movement : (T,) integer array, optional
        Labels of the movement model alone, a baseline.
    """

    name: str
    truth: np.ndarray
    predicted: np.ndarray
    line: TimeLine
    is_learnt: bool = False
    group: str = ""
    confidence: np.ndarray | None = None
    raw: np.ndarray | None = None
    annotators: Mapping[str, np.ndarray] = field(default_factory=dict)
    movement: np.ndarray | None = None

    @property
    def animal(self) -> str:
        """The animal in the recording."""
        return self.group or self.name


def confusion_by_animal(
    comparisons: Sequence[Comparison], predicted: Sequence[np.ndarray], class_names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the confusion matrix of each animal with labels, (K, K + 1), in their first order.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Their true labels and animals.
    predicted : sequence of (T,) integer arrays
        Predicted labels for each of them.
    class_names : sequence of str, length K
        Names of the classes.
    """
    found: dict[str, np.ndarray] = {}
    for c, labels in zip(comparisons, predicted, strict=True):
        if (c.truth != UNLABELLED).any():
            confusion = frame_scores(c.truth, labels, class_names).confusion
            found[c.animal] = found.get(c.animal, 0) + confusion
    return found


TRUTH, MODEL = "human", "mpar"


def row_names(comparisons: Sequence[Comparison]) -> tuple[str, str]:
    """Return the names of true and predicted labels, which differ from every annotator's name."""
    taken = {name for c in comparisons for name in c.annotators}
    return (
        f"{TRUTH} (majority)" if TRUTH in taken else TRUTH,
        f"{MODEL} (network)" if MODEL in taken else MODEL,
    )
