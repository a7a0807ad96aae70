"""What the scorer may compare with: predictions, and the labels of others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpar.aligning.laying import events_to_frames
from mpar.errors import InputError
from mpar.labels.classes import ClassMap
from mpar.labels.names import added_to, folded
from mpar.matching.pairing import assign_label_files
from mpar.matching.regions import recording_name, share_labels
from mpar.predictions.reading import StoredPrediction
from mpar.system.csv_text import read_text
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine

_LEVELS = 255  # a probability takes one byte


@dataclass(frozen=True, slots=True)
class PredictedLane:
    """A prediction of one recording.

    Parameters
    ----------
    codes : (T,) int16 array
        First code of the class of each frame, -1 for none.
    probabilities : (T, K) uint8 array
        Of each class, in parts of 255; K is 0 if the file has none.
    source : dict
        What made it, for the JSON file: the CSV, the checkpoint and its digest.
    """

    codes: np.ndarray
    probabilities: np.ndarray
    source: dict[str, Any]


def read_predicted(stored: StoredPrediction, class_map: ClassMap, num_frames: int) -> PredictedLane:
    """Read a prediction for each frame of a recording; InputError if it is of other frames."""
    try:
        rows = stored.read_rows(class_map, with_probabilities=True)
    except InputError:
        rows = stored.read_rows(class_map)
    at = rows.of_all_frames(num_frames)
    firsts = np.array([*map(class_map.code_of_class, class_map.class_names), -1], np.int16)
    source = {"csv": stored.path.name} | {
        name: stored.sidecar[name]
        for name in ("checkpoint", "checkpoint_sha256", "mpar_version")
        if name in stored.sidecar
    }
    parts = np.zeros((num_frames, 0), np.uint8)
    if rows.probabilities is not None:
        parts = np.rint(np.clip(rows.probabilities, 0, 1) * _LEVELS).astype(np.uint8)[at]
    return PredictedLane(firsts[rows.labels[at]], parts, source)


def may_name(path: Path, video: Path) -> bool:
    """Return False if a label file surely does not name a video.

    Only the text is searched: it takes seconds to read the labels of hundreds of videos.
    """
    stem = folded(video.stem)
    if not re.fullmatch(r"[a-z0-9_.-]+", stem):  # programs write other letters in many ways
        return True
    try:
        text = folded(read_text(path))
    except InputError:
        return True
    return re.search(re.escape(stem) + "(?![a-z0-9])", text) is not None


def read_others(
    paths: Sequence[Path],
    video: Path,
    region: Region | None,
    regions: Sequence[Region],
    class_map: ClassMap,
    line: TimeLine,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the labels of others for one recording, (T,) int16 codes by annotator, and problems.

    `region` is that of the recording, `regions` are all of the video, `line` is its time line.
    """
    (source,), problems = assign_label_files(paths, [video], class_map, warns=False)
    problems = [*problems, *source.problems]
    labels = source.labels
    if region is not None and regions:
        shared, more = share_labels(video, labels, regions)
        labels, problems = shared[region], problems + more
    lanes: dict[str, np.ndarray] = {}
    own = recording_name(video.stem, region)
    for item in labels:
        try:
            (laid,) = events_to_frames([item], class_map, line)
            if laid.frames[0] != 0 or len(laid.codes) != line.num_frames:
                raise InputError.of(
                    laid.path,
                    "row-count",
                    f"has {len(laid.codes)} rows from frame {laid.frames[0]}, expected "
                    f"{line.num_frames} from 0",
                )
        except InputError as error:
            problems += error.problems
            continue
        name = item.annotator or added_to(item.path.stem, own).strip("_.- ") or item.path.stem
        lanes[name if name not in lanes else item.path.stem] = laid.codes
    return lanes, [str(problem) for problem in problems]
