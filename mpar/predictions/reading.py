"""Read the files of predictions, join trials, and export them for other programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mpar.errors import ConfigError, InputError, Problem
from mpar.formats.annotations import read_annotation
from mpar.formats.registry import write_labels_of_each
from mpar.labels.classes import ClassMap, agree_on
from mpar.labels.scorings import JOINT, Recording
from mpar.matching.groups import find_group, warn_of_groups
from mpar.matching.regions import recording_name
from mpar.predictions.writing import OUTPUT_ENDINGS, SUFFIX
from mpar.system.csv_text import number_columns, read_text
from mpar.system.faults import LOG_NAME, contained, logged
from mpar.system.files import parse_json
from mpar.system.folders import find_files, warn_of_unread
from mpar.system.progress import Bar
from mpar.video.following import SquarePath
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine, join_lines

Item = TypeVar("Item")

_ROUNDING = 0.01  # the CSV has six decimals


def name_of(path: Path) -> str | None:
    """Return NAME of ``NAME_predictions.csv``, or None for other files."""
    is_prediction = path.suffix == ".csv" and path.stem.endswith(SUFFIX)
    return path.stem.removesuffix(SUFFIX) if is_prediction else None


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return how a prediction CSV was made; empty if it has no JSON file beside it.

    InputError if the JSON file cannot be read.
    """
    sidecar_path = path.with_suffix(".json")
    try:
        sidecar = parse_json(sidecar_path.read_text(encoding="utf-8"))
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


@dataclass(frozen=True, slots=True, eq=False)
class PredictedRows:
    """The rows of a prediction CSV.

    Parameters
    ----------
    path : Path
        The file.
    stride : int
        Frames that a row stands for, from its own on.
    frames : (N,) int64 array
        Strictly increasing.
    labels : (N,) int8 array
        Class index, -1 for no class.
    confidence : (N,) float64 array, optional
        0 to 1; None unless asked for and there.
    probabilities : (N, K) float32 array, optional
        Of each class; None unless asked for.
    """

    path: Path
    stride: int
    frames: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray | None
    probabilities: np.ndarray | None

    def of_frames(self, num_frames: int) -> np.ndarray:
        """Return the row that stands for each frame of a video, (T,) int64, -1 for none."""
        all_frames = np.arange(num_frames)
        rows = np.searchsorted(self.frames, all_frames, side="right") - 1
        is_near = all_frames - self.frames[rows] < self.stride  # -1 is excluded below
        return np.where((rows >= 0) & is_near, rows, -1)

    def of_all_frames(self, num_frames: int) -> np.ndarray:
        """Return `of_frames`; raise InputError unless the rows are those of so many frames."""
        if not np.array_equal(self.frames, np.arange(0, num_frames, self.stride)):
            raise InputError.of(
                self.path,
                "row-count",
                f"has {len(self.frames)} rows up to frame {self.frames[-1]}, expected frames 0 to "
                f"{num_frames - 1} in steps of {self.stride}; predict again",
            )
        return self.of_frames(num_frames)


@dataclass(frozen=True)
class StoredPrediction:
    """The CSV of a prediction and the JSON file beside it."""

    path: Path
    name: str
    sidecar: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> StoredPrediction:
        """Read the JSON file of ``NAME_predictions.csv``, as `read_sidecar`."""
        return cls(path, path.stem.removesuffix(SUFFIX), read_sidecar(path))

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

    def squares(self) -> SquarePath | None:
        """Return the squares that it was made from, if any; InputError if they are damaged."""
        data = self.sidecar.get("squares")
        if data is None:
            return None
        try:
            return SquarePath.from_dict(data, int(self.sidecar["num_frames"]))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            path = self.path.with_suffix(".json")
            message = "holds squares that mpar-predict did not write; predict again"
            raise InputError.of(path, "damaged", message) from None

    def read_rows(
        self,
        class_map: ClassMap | None = None,
        *,
        with_confidence: bool = False,
        with_probabilities: bool = False,
    ) -> PredictedRows:
        """Read the CSV, by default with the class map of the JSON file.

        InputError if it cannot be read, if it lacks probabilities that were asked for, or if these
        do not add up to 1.
        """
        class_map = class_map or ClassMap.from_dict(self.sidecar["class_map"])
        text = read_text(self.path)
        # only the JSON file states how many frames a row stands for
        scoring = read_annotation(
            self.path,
            class_map,
            allow_gaps=bool(self.sidecar),
            with_confidence=with_confidence,
            text=text,
        )
        return PredictedRows(
            self.path,
            int(self.sidecar.get("stride", 1)),
            scoring.frames,
            class_map.merge(scoring.codes),
            scoring.confidence,
            _probabilities(self.path, text, class_map) if with_probabilities else None,
        )

    def read(
        self, *, with_confidence: bool = False, with_probabilities: bool = False
    ) -> tuple[Recording, PredictedRows]:
        """Read the prediction of every frame, with columns as for `read_rows`.

        InputError as for `read_rows`; also if the JSON file is missing, or belongs to other frames.
        """
        if not self.sidecar:
            raise InputError.of(
                self.path,
                "missing-file",
                f"lacks {self.path.with_suffix('.json').name}, which holds its frame rate; predict "
                "again",
            )
        rows = self.read_rows(
            with_confidence=with_confidence, with_probabilities=with_probabilities
        )
        at = rows.of_all_frames(int(self.sidecar["num_frames"]))
        recording = Recording(
            name=self.name,
            video=self.sidecar["video"],
            line=line_of(self.sidecar),
            labels=rows.labels[at],
            learnt_part=str(self.sidecar.get("learnt_part", "")),
            start_frame=int(self.sidecar.get("start_frame", 0)),
            video_num_frames=int(self.sidecar.get("video_num_frames", 0)),
            region=str(self.sidecar.get("region", "")),
        )
        if rows.probabilities is not None:
            recording = replace(recording, probabilities=rows.probabilities[at])
        return recording, rows


def _probabilities(path: Path, text: str, class_map: ClassMap) -> np.ndarray:
    """Return the probabilities of a prediction CSV, (N, K) float32."""
    try:
        values = number_columns(text, [f"{name}_prob" for name in class_map.class_names])
        is_sound = bool((values >= 0).all() and (abs(values.sum(axis=1) - 1) < _ROUNDING).all())
    except KeyError as error:
        raise InputError.of(
            path, "columns", f"lacks the columns {error.args[0]}; predict again"
        ) from None
    except ValueError:
        is_sound = False
    if not is_sound:
        raise InputError.of(
            path,
            "damaged",
            "has probabilities that do not add up to 1 in each row; predict again",
        )
    return values


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
                predicted.append(StoredPrediction.open(path))
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
    """Read the predictions of a folder and its subfolders, one label for every frame.

    If a prediction holds every n-th frame, each row stands for n frames
    (`mpar.labels.bouts.bout_table`). Returns recordings by name; their class map, which marks no
    responses if predictions disagree on them; and problems of predictions that cannot be read, or
    whose name occurs twice. ConfigError if there are none, or their class maps differ; InputError
    if none can be read.
    """
    return read_folder(folder, lambda stored: stored.read()[0], quiet=quiet)


def read_probabilities(
    folder: Path | str, *, group_pattern: str | None = None, quiet: bool = True
) -> tuple[list[Recording], ClassMap, list[Problem]]:
    """Read the predictions of a folder with their probabilities, else as `read_predictions`.

    Predictions that lack probabilities or the times of frames are problems. `group_pattern` finds
    the animal in the name of a recording, as in training; by default each recording is an animal.
    """

    def read_one(stored: StoredPrediction) -> Recording:
        recording, _ = stored.read(with_probabilities=True)
        _ = recording.clock  # raises InputError if it is unknown when frames are shown
        # the name, not the video: it may hold a region
        group = find_group(Path(f"{stored.name}.mp4"), group_pattern)
        return replace(recording, group=group, squares=stored.squares())

    predictions, class_map, problems = read_folder(folder, read_one, quiet=quiet)
    warn_of_groups([item.name for item in predictions], group_pattern)
    return predictions, class_map, problems


def read_folder(
    folder: Path | str, read_one: Callable[[StoredPrediction], Item], *, quiet: bool = True
) -> tuple[list[Item], ClassMap, list[Problem]]:
    """Read each prediction of a folder with `read_one`; else as `read_predictions`."""
    warn_of_unread(OUTPUT_ENDINGS, folder)
    names = {path: name_of(path) for path in find_files(folder, [".csv"])}
    paths = sorted((name, path) for path, name in names.items() if name is not None)
    found: dict[str, Item] = {}
    maps: set[ClassMap] = set()
    problems: list[Problem] = []
    for name, path in Bar(paths, desc="reading", unit="video", quiet=quiet):
        try:
            with contained(path, with_disk=True):
                stored = StoredPrediction.open(path)
                item = read_one(stored)
        except InputError as error:
            problems += error.problems
            continue
        maps.add(ClassMap.from_dict(stored.sidecar["class_map"]))
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


def export_predictions(
    folder: Path | str,
    output_folder: Path | str,
    label_format: str,
    *,
    unscored: str | None = None,
    overwrite: bool = False,
) -> tuple[list[Path], list[Problem]]:
    """Write the predictions of a folder as files of another program.

    mpar joins the trials of a video, since other programs count the frames of videos. Options and
    errors are those of `mpar.formats.registry.write_labels_of_each`. Returns the written paths, and
    problems of predictions that were left out, for instance of a video with a missing trial.
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
