"""Read the class probabilities of predictions from the disk."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpar.errors import InputError, Problem
from mpar.labels.classes import ClassMap
from mpar.labels.groups import find_group, warn_of_groups
from mpar.labels.scorings import Labelled
from mpar.scores.stored_predictions import read_folder, read_prediction, read_sidecar
from mpar.system.files import read_rows

_ROUNDING = 0.01  # the CSV has six decimals


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predicted:
    """A predicted recording: its labels, and the probabilities behind them.

    Parameters
    ----------
    recording : Labelled
        Name, video, time line and the predicted label of each frame.
    probabilities : (T, K) float32 array
        One row per frame; rows add up to 1.
    animal : str
        Which animal it shows; by default the name of the recording.
    """

    recording: Labelled
    probabilities: np.ndarray
    animal: str = ""

    def __post_init__(self) -> None:
        if self.probabilities.shape[:1] != self.labels.shape:
            raise ValueError(
                f"probabilities: found {self.probabilities.shape}, expected one row for each of "
                f"{len(self.labels)} frames"
            )
        if not self.animal:
            object.__setattr__(self, "animal", self.name)

    @property
    def name(self) -> str:
        """Name of the recording."""
        return self.recording.name

    @property
    def labels(self) -> np.ndarray:
        """Predicted class of each frame, (T,) int8, -1 for none."""
        return self.recording.labels

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return len(self.labels)


def read_probabilities(
    folder: Path | str, *, group_pattern: str | None = None, quiet: bool = True
) -> tuple[list[Predicted], tuple[str, ...], list[Problem]]:
    """Read the predictions of a folder with their probabilities.

    Parameters
    ----------
    folder, quiet
        As for `mpar.scores.stored_predictions.read_predictions`. If predictions hold every n-th
        frame, each row stands for n frames.
    group_pattern : str, optional
        Regular expression that finds the animal in the name of a recording, as in training; by
        default each recording is an animal.

    Returns
    -------
    predictions : list of Predicted
        Sorted by name.
    class_names : tuple of str, length K
        Their classes.
    problems : list of Problem
        Predictions that cannot be read, or that lack probabilities or the times of frames.

    Raises
    ------
    ConfigError, InputError
        As `read_predictions`.
    """
    read_one = functools.partial(_read_one, group_pattern)
    predictions, class_map, problems = read_folder(folder, read_one, quiet=quiet)
    warn_of_groups([item.name for item in predictions], group_pattern)
    return predictions, class_map.class_names, problems


def _read_one(group_pattern: str | None, path: Path, name: str) -> tuple[Predicted, ClassMap]:
    recording, class_map = read_prediction(path, name)
    _ = recording.clock  # raises InputError if it is unknown when frames are shown
    rows = read_columns(path, class_map.class_names)
    stride = int(read_sidecar(path)["stride"])
    rows = np.repeat(rows, stride, axis=0)[: len(recording.labels)]
    animal = find_group(Path(f"{name}.mp4"), group_pattern)  # of the name: it may hold a region
    return Predicted(recording=recording, probabilities=rows, animal=animal), class_map


def read_columns(path: Path, class_names: tuple[str, ...]) -> np.ndarray:
    """Return the probabilities of a prediction CSV, (N, K) float32.

    Raises
    ------
    InputError
        It has none, or they do not add up to 1.
    """
    columns = [f"{name}_prob" for name in class_names]
    try:
        header, *rows = read_rows(path)
    except ValueError as error:
        raise InputError.of(path, f"cannot be read ({error}); predict again") from None
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError.of(path, f"lacks the columns {', '.join(missing)}; predict again")
    at = [header.index(name) for name in columns]
    try:
        values = np.array([[row[i] for i in at] for row in rows if row], np.float32)
        is_sound = bool((values >= 0).all() and (abs(values.sum(axis=1) - 1) < _ROUNDING).all())
    except (IndexError, ValueError):
        is_sound = False
    if not is_sound:
        raise InputError.of(
            path, "has probabilities that do not add up to 1 in each row; predict again"
        )
    return values
