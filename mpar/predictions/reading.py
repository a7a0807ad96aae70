"""Read the files of predictions, join trials, and export them for other programs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from mpar.errors import ConfigError, InputError, Problem
from mpar.formats.annotations import read_annotation
from mpar.formats.registry import write_labels_of_each
from mpar.labels.classes import ClassMap, agree_on
from mpar.labels.scorings import JOINT, Recording
from mpar.matching.regions import recording_name
from mpar.predictions.writing import OUTPUT_ENDINGS, SUFFIX
from mpar.system.faults import LOG_NAME, contained, logged
from mpar.system.folders import find_files, warn_of_unread
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine, join_lines

Item = TypeVar("Item")


def name_of(path: Path) -> str | None:
    """Return NAME of ``NAME_predictions.csv``, or None for other files."""
    is_prediction = path.suffix == ".csv" and path.stem.endswith(SUFFIX)
    return path.stem.removesuffix(SUFFIX) if is_prediction else None


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return how a prediction CSV was made; empty if it has no JSON file beside it.

    Raises
    ------
    InputError
        The JSON file cannot be read.
    """
    sidecar_path = path.with_suffix(".json")
    try:
        sidecar = json.loads(sidecar_path.read_text(encoding="utf-8"))
        ClassMap.from_dict(sidecar["class_map"])
        is_sound = (
            isinstance(sidecar["video"], str)
            and int(sidecar["num_frames"]) > 0
            and int(sidecar["stride"]) > 0
            and Fraction(sidecar["fps"]) > 0
            and int(sidecar.get("start_frame", 0)) >= 0
            and int(sidecar.get("video_num_frames", 0)) >= 0
            and line_of(sidecar) is not None
        )
    except FileNotFoundError:
        return {}
    except (OSError, ArithmeticError, KeyError, TypeError, ValueError):  # ConfigError is one
        is_sound = False
    if not is_sound:
        raise InputError.of(
            sidecar_path, "damaged", "is damaged or was not written by mpar-predict; predict again"
        )
    return sidecar


def line_of(sidecar: dict[str, Any]) -> TimeLine:
    """Return the time line of a predicted recording."""
    return TimeLine.from_dict(sidecar)


@dataclass(frozen=True)
class StoredPrediction:
    """The CSV of a prediction and the JSON file beside it."""

    path: Path
    name: str
    sidecar: dict[str, Any]

    @property
    def video(self) -> Path:
        """Name of the video."""
        return Path(self.sidecar.get("video", f"{self.name}.mp4"))

    @property
    def region(self) -> Region | None:
        """Region of the animal, None for the whole picture."""
        text = self.sidecar.get("region", "")
        animal = self.name.removeprefix(self.video.stem).removeprefix(JOINT)
        return Region.parse(text, animal) if text else None


def read_sidecars(
    folder: Path | str,
) -> tuple[list[StoredPrediction], dict[Path, Path], list[Problem]]:
    """Return the predictions of a folder, and the videos of unreadable ones by path.

    These videos still own their label files, which then belong to no other video.
    """
    names = {path: name_of(path) for path in find_files(folder, [".csv"])}
    predicted: list[StoredPrediction] = []
    left_out: dict[Path, Path] = {}
    problems: list[Problem] = []
    for path, name in names.items():
        if name is None:
            continue
        try:
            with contained(path):
                predicted.append(StoredPrediction(path, name, read_sidecar(path)))
        except InputError as error:
            problems += error.problems
            left_out[path] = Path(f"{name}.mp4")
    if not predicted and not problems:
        raise ConfigError(f"{folder}: found no NAME_predictions.csv; check the path")
    return predicted, left_out, problems


def choose_predictions(
    predicted: Sequence[StoredPrediction],
) -> tuple[dict[tuple[Path, Region | None], StoredPrediction], set[Path], list[Problem]]:
    """Return one prediction per animal of each video, and the videos of misnamed predictions."""
    chosen: dict[tuple[Path, Region | None], StoredPrediction] = {}
    misnamed: set[Path] = set()
    problems: list[Problem] = []
    for item in predicted:
        if item.name != recording_name(item.video.stem, item.region):
            misnamed.add(item.video)
            problems.append(
                Problem.of(
                    item.path,
                    "other-video",
                    f"has another name than its video {item.video}, like a trial of a cache, so "
                    "mpar cannot compare it with label files; predict the video, or evaluate the "
                    "checkpoint on the cache",
                )
            )
            continue
        other = chosen.setdefault((item.video, item.region), item)
        if other is not item:
            message = f"predicts {item.video}, as does {other.path}; move one of them away"
            problems.append(Problem.of(item.path, "duplicate", message))
    return chosen, misnamed, problems


def read_predictions(
    folder: Path | str, *, quiet: bool = True
) -> tuple[list[Recording], ClassMap, list[Problem]]:
    """Read the predictions of a folder, one label for every frame.

    Parameters
    ----------
    folder : Path or str
        Folder with ``NAME_predictions.csv`` and their JSON files; also searched below. If
        predictions hold every n-th frame, each row stands for n frames
        (`mpar.labels.bouts.bout_table`).
    quiet : bool
        Show no progress bar.

    Returns
    -------
    predictions : list of Recording
        Sorted by name.
    class_map : ClassMap
        Their classes. It marks no responses if predictions disagree on them.
    problems : list of Problem
        Predictions that cannot be read, or whose name occurs twice.

    Raises
    ------
    ConfigError
        The folder has no predictions, or they have different class maps.
    InputError
        No prediction can be read.
    """
    return read_folder(folder, read_prediction, quiet=quiet)


def read_folder(
    folder: Path | str,
    read_one: Callable[[Path, str], tuple[Item, ClassMap]],
    *,
    quiet: bool = True,
) -> tuple[list[Item], ClassMap, list[Problem]]:
    """Read the predictions of a folder with `read_one`, which gets a path and its NAME.

    Returns and raises as `read_predictions`.
    """
    warn_of_unread(OUTPUT_ENDINGS, folder)
    names = {path: name_of(path) for path in find_files(folder, [".csv"])}
    paths = sorted((name, path) for path, name in names.items() if name is not None)
    found: dict[str, Item] = {}
    maps: set[ClassMap] = set()
    problems: list[Problem] = []
    for name, path in tqdm(paths, desc="reading", unit="video", disable=quiet or None):
        try:
            with contained(path, with_disk=True):
                item, class_map = read_one(path, name)
        except InputError as error:
            problems += error.problems
            continue
        maps.add(class_map)
        if found.setdefault(name, item) is not item:
            problems.append(
                Problem.of(path, "same-name", "has the name of another prediction; move one away")
            )
    if problems and not found:
        raise InputError(problems)
    if not found:
        raise ConfigError(f"{folder}: found no NAME_predictions.csv; check the path")
    shared = agree_on(maps)
    if shared is None:
        raise ConfigError(
            f"{folder}: found predictions of {len(maps)} different class maps; keep those of one "
            "network in a folder"
        )
    return list(found.values()), shared, problems


def read_prediction(path: Path, name: str) -> tuple[Recording, ClassMap]:
    """Read one prediction, without its probabilities."""
    sidecar = read_sidecar(path)
    if not sidecar:
        raise InputError.of(
            path,
            "missing-file",
            f"lacks {path.with_suffix('.json').name}, which holds its frame rate; predict again",
        )
    class_map = ClassMap.from_dict(sidecar["class_map"])
    rows = read_annotation(path, class_map, allow_gaps=True)
    num_frames, stride = int(sidecar["num_frames"]), int(sidecar["stride"])
    if not np.array_equal(rows.frames, np.arange(0, num_frames, stride)):
        raise InputError.of(
            path,
            "damaged",
            f"does not have the rows of its json, expected frames 0 to {num_frames - 1} in steps "
            f"of {stride}; predict again",
        )
    labels = np.repeat(class_map.merge(rows.codes), stride)[:num_frames]
    item = Recording(
        name=name,
        video=sidecar["video"],
        line=line_of(sidecar),
        labels=labels,
        learnt_part=str(sidecar.get("learnt_part", "")),
        start_frame=int(sidecar.get("start_frame", 0)),
        video_num_frames=int(sidecar.get("video_num_frames", 0)),
        region=str(sidecar.get("region", "")),
    )
    return item, class_map


def export_predictions(
    folder: Path | str,
    output_folder: Path | str,
    label_format: str,
    *,
    unscored: str | None = None,
    overwrite: bool = False,
) -> tuple[list[Path], list[Problem]]:
    """Write the predictions of a folder as files of another program.

    Parameters
    ----------
    folder : Path or str
        Folder with ``NAME_predictions.csv`` of mpar-predict and their JSON files. mpar joins the
        trials of a video, since other programs count the frames of videos.
    output_folder, label_format, unscored, overwrite
        As for `mpar.formats.registry.write_labels_of_each`.

    Returns
    -------
    paths : list of Path
        The written files.
    problems : list of Problem
        Predictions that were left out, for instance of a video with a missing trial.

    Raises
    ------
    ConfigError, InputError
        As `read_predictions` and `mpar.formats.registry.write_labels_of_each`.
    """
    predictions, class_map, problems = read_predictions(folder)
    whole, more = _join_trials(predictions)
    problems += more
    if not whole:
        raise InputError(problems)
    paths, more = write_labels_of_each(
        output_folder,
        label_format,
        whole,
        class_map.class_names,
        unscored=unscored,
        overwrite=overwrite,
    )
    problems = logged([*problems, *more], Path(output_folder, LOG_NAME))
    if not paths:
        raise InputError(problems)
    return paths, sorted(problems)


def _join_trials(predictions: Sequence[Recording]) -> tuple[list[Recording], list[Problem]]:
    """Return whole videos, by name; trials that do not make one up are problems."""
    videos: dict[str, Recording] = {}
    trials: dict[tuple[str, str], list[Recording]] = defaultdict(list)
    problems = []
    for item in predictions:
        if item.is_trial:
            trials[item.video, item.region].append(item)
        elif Path(item.video).stem == item.name or item.region:
            videos[item.name] = item
        else:
            problems.append(
                Problem.of(
                    f"{item.name}{SUFFIX}.csv",
                    "other-video",
                    f"has another name than its video {item.video}, so its frames may not be those "
                    "of the video; predict the video",
                )
            )
    for (video, region), parts in trials.items():
        parts.sort(key=lambda part: part.start_frame)
        stops = np.cumsum([part.num_frames for part in parts]).tolist()
        names = ", ".join(part.name for part in parts)
        path = f"{parts[0].name}{SUFFIX}.csv"
        whole = parts[0].name.rpartition("_trial")[0] if region else Path(video).stem
        if whole in videos:
            message = (
                f"is a trial of {video}, of which the folder also holds the whole video; move one "
                "of them away"
            )
            problems.append(Problem.of(path, "duplicate", message))
        elif [part.start_frame for part in parts] != [0, *stops[:-1]] or {
            part.video_num_frames for part in parts
        } != {stops[-1]}:
            problems.append(
                Problem.of(
                    path,
                    "row-count",
                    f"the trials of {video} in this folder ({names}) do not add up to its "
                    f"{parts[0].video_num_frames} frames; predict all of them from one cache",
                )
            )
        else:
            labels = np.concatenate([part.labels for part in parts])
            line = join_lines([part.clock for part in parts])
            videos[whole] = Recording(
                name=whole, video=video, line=line, labels=labels, region=region
            )
    return sorted(videos.values(), key=lambda item: item.name), problems
