"""Read the class probabilities of predictions from the disk."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np

from mpar.errors import InputError, Problem
from mpar.labels.classes import ClassMap
from mpar.labels.scorings import Recording
from mpar.matching.groups import find_group, warn_of_groups
from mpar.predictions.reading import read_folder, read_prediction, read_sidecar
from mpar.system.files import read_header, read_numbers

_ROUNDING = 0.01  # the CSV has six decimals


def read_probabilities(
    folder: Path | str, *, group_pattern: str | None = None, quiet: bool = True
) -> tuple[list[Recording], tuple[str, ...], list[Problem]]:
    """Read the predictions of a folder with their probabilities.

    Parameters
    ----------
    folder, quiet
        As for `mpar.predictions.reading.read_predictions`. If predictions hold every n-th
        frame, each row stands for n frames.
    group_pattern : str, optional
        Regular expression that finds the animal in the name of a recording, as in training; by
        default each recording is an animal.

    Returns
    -------
    predictions : list of Recording
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


def _read_one(group_pattern: str | None, path: Path, name: str) -> tuple[Recording, ClassMap]:
    recording, class_map = read_prediction(path, name)
    _ = recording.clock  # raises InputError if it is unknown when frames are shown
    rows = read_columns(path, class_map.class_names)
    stride = int(read_sidecar(path)["stride"])
    rows = np.repeat(rows, stride, axis=0)[: recording.num_frames]
    animal = find_group(Path(f"{name}.mp4"), group_pattern)  # of the name: it may hold a region
    return replace(recording, probabilities=rows, group=animal), class_map


def read_columns(path: Path, class_names: tuple[str, ...]) -> np.ndarray:
    """Return the probabilities of a prediction CSV, (N, K) float32.

    Raises
    ------
    InputError
        It has none, or they do not add up to 1.
    """
    columns = [f"{name}_prob" for name in class_names]
    try:
        header = read_header(path)
    except ValueError as error:
        raise InputError.of(path, "malformed", f"cannot be read ({error}); predict again") from None
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError.of(
            path, "columns", f"lacks the columns {', '.join(missing)}; predict again"
        )
    try:
        values = read_numbers(path, columns).astype(np.float32)
        is_sound = bool((values >= 0).all() and (abs(values.sum(axis=1) - 1) < _ROUNDING).all())
    except ValueError:
        is_sound = False
    if not is_sound:
        raise InputError.of(
            path, "damaged", "has probabilities that do not add up to 1 in each row; predict again"
        )
    return values
