"""True and predicted labels side by side, from arrays or from folders of files.

Shapes: T frames.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mpar.aligning.laying import check_unscored, events_to_frames
from mpar.aligning.recordings import check_recording, describe_trials
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap, agree_on
from mpar.matching.groups import find_group, warn_of_groups
from mpar.matching.label_options import DEFAULT_OPTIONS, LabelOptions
from mpar.matching.pairing import assign_label_files, find_label_files, warn_of_unread_labels
from mpar.matching.sources import Source, split_source
from mpar.predictions.reading import (
    StoredPrediction,
    choose_predictions,
    line_of,
    read_sidecars,
)
from mpar.predictions.writing import OUTPUT_ENDINGS
from mpar.scores.metrics import FrameScores, frame_scores
from mpar.system.faults import contained
from mpar.system.folders import warn_of_unread
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine

log = logging.getLogger(__name__)

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
    alone : mapping of str to (T,) integer array
        Labels of each expert alone, before post-processing.
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
    alone: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def animal(self) -> str:
        """The animal in the recording."""
        return self.group or self.name


def confusion_by_animal(
    comparisons: Sequence[Comparison], predicted: Sequence[np.ndarray], class_names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the confusion matrix of each animal with labels, (K, K + 1), in their first order."""
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


USUAL_FPS = Fraction(30)  # of predictions that other programs wrote


def by_annotator(
    names: Sequence[str], codes_AT: np.ndarray, class_map: ClassMap
) -> dict[str, np.ndarray]:
    """Return the labels of each annotator; empty if only one scored the recording."""
    if len(names) < 2:
        return {}
    return {name: class_map.merge(codes) for name, codes in zip(names, codes_AT, strict=True)}


def compare_folders(
    prediction_folder: Path | str,
    annotation_folder: Path | str,
    *,
    class_map: ClassMap | None = None,
    options: LabelOptions = DEFAULT_OPTIONS,
) -> tuple[list[Comparison], ClassMap, list[Problem]]:
    """Compare a folder of predictions with a folder of label files.

    Parameters
    ----------
    prediction_folder : Path or str
        Folder with ``NAME_predictions.csv`` of mpar-predict and their JSON files.
    annotation_folder : Path or str
        Label files, which belong to videos by the rules of `find_recordings`.
    class_map : ClassMap, optional
        By default that of the predictions.
    options : LabelOptions
        How to read label files, and how to find the animal in a video's name.

    Returns
    -------
    comparisons : list of Comparison
        One per recording, in frames of its video. A row of a prediction with a stride stands for
        its frame and the frames up to the next row (`mpar.labels.bouts.bout_table`). Frames
        without a row have no true label. If the network learnt from one recording of an animal,
        all its recordings count as learnt.
    class_map : ClassMap
        The class map used.
    problems : list of Problem
        Predictions without labels, labels without predictions, files that cannot be read.

    Raises
    ------
    ConfigError
        The folder has no predictions, or they have different class maps.
    """
    warn_of_unread(OUTPUT_ENDINGS, prediction_folder)
    warn_of_unread_labels(annotation_folder)
    predicted, left_out, problems = read_sidecars(prediction_folder)
    class_map = class_map or _shared_class_map(prediction_folder, [p.sidecar for p in predicted])
    check_unscored(options.unscored, class_map)
    chosen, misnamed, more = choose_predictions(predicted)
    problems += more
    paths = {*left_out, *(item.path for item in predicted)}
    others = {*left_out.values(), *misnamed}
    sources, more = _find_labels(annotation_folder, paths, [*chosen], others, class_map, options)
    problems += more
    comparisons: list[Comparison] = []
    learnt = set()
    for key, item in chosen.items():
        source = sources.get(key, Source(item.video, region=item.region))
        try:
            group = find_group(source.path, options.group_pattern)
            if item.sidecar.get("learnt_part"):
                learnt.add(group)
            if source.problems:
                raise InputError(source.problems)
            if not source.labels:
                raise InputError.of(item.path, "no-labels", f"has no labels in {annotation_folder}")
            with contained(item.path, with_disk=True):
                comparisons += _compare_files(
                    source, group, item, class_map, options, annotation_folder
                )
        except InputError as error:
            problems += error.problems
    found: dict[str, Comparison] = {}
    for c in comparisons:  # names must be unique, since results are stored by name
        if found.setdefault(c.name, c) is not c:
            message = "has the same name as another recording; rename its video, or move one away"
            problems.append(Problem.of(c.name, "same-name", message))
    problems += [
        Problem.of(
            c.name, "unlabelled", "has no labelled frame; score it, or move its prediction away"
        )
        for c in found.values()
        if (c.truth == UNLABELLED).all()
    ]
    comparisons = [
        dataclasses.replace(c, is_learnt=c.group in learnt)
        for c in found.values()
        if (c.truth != UNLABELLED).any()
    ]
    warn_of_groups([c.name for c in comparisons], options.group_pattern)
    places = prediction_folder, annotation_folder
    return comparisons, class_map, sorted(problem.below(*places) for problem in problems)


def _shared_class_map(folder: Path | str, sidecars: Iterable[dict[str, Any]]) -> ClassMap:
    """Return the class map of all predictions, or the default if they state none."""
    maps = {ClassMap.from_dict(s["class_map"]) for s in sidecars if "class_map" in s}
    shared = agree_on(maps or {DEFAULT_CLASS_MAP})
    if shared is None:
        raise ConfigError(
            f"{folder}: found predictions of {len(maps)} different class maps, expected one; pass "
            "--class-map, or evaluate them separately"
        )
    return shared


def _find_labels(
    folder: Path | str,
    predictions: set[Path],
    wanted: Sequence[tuple[Path, Region | None]],
    others: Iterable[Path],
    class_map: ClassMap,
    options: LabelOptions,
) -> tuple[dict[tuple[Path, Region | None], Source], list[Problem]]:
    """Return the label files of each animal of each video."""
    predictions = {path.resolve() for path in predictions}
    paths, problems = [], []
    for path in find_label_files(folder):
        if path.resolve() in predictions:
            problems.append(
                Problem.of(
                    path, "is-prediction", "is a prediction, expected human labels; move it away"
                )
            )
        else:
            paths.append(path)
    videos = list(dict.fromkeys([*(video for video, _ in wanted), *others]))
    sources, more = assign_label_files(paths, videos, class_map, options)
    problems += more
    found: dict[tuple[Path, Region | None], Source] = {}
    for source in sources:
        regions = [r for video, r in wanted if video == source.video and r is not None]
        split, more = split_source(source, regions) if regions else ([source], [])
        problems += more
        found |= {(source.video, part.region): part for part in split}
    return found, problems


def _compare_files(
    source: Source,
    group: str,
    stored: StoredPrediction,
    class_map: ClassMap,
    options: LabelOptions,
    folder: Path | str,
) -> list[Comparison]:
    sidecar = stored.sidecar
    predicted = stored.read_rows(class_map, with_confidence=True)
    num_frames = int(sidecar.get("num_frames", predicted.frames[-1] + 1))
    if predicted.frames[-1] >= num_frames:
        raise InputError.of(
            stored.path,
            "row-count",
            f"found frames up to {predicted.frames[-1]}, expected at most {num_frames - 1}; "
            "predict again",
        )
    line = line_of(sidecar) if sidecar else TimeLine(num_frames)
    scorings = events_to_frames(source.labels, class_map, line, options)
    recordings = check_recording(source, scorings, line, class_map, options, group=group)
    remarks = [(item.path, text) for item in scorings for text in item.warnings]
    if len(recordings) > 1 and options.several is None and (text := describe_trials(scorings)):
        remarks.append((source.path, text))
    for path, text in remarks:
        log.warning("%s", Problem.of(path, "warning", text).below(folder))
    rows = predicted.of_frames(num_frames)
    labels_T = np.where(rows < 0, UNLABELLED, predicted.labels[rows])
    confidence_T = None
    if predicted.confidence is not None:
        confidence_T = np.where(rows < 0, 0.0, predicted.confidence[rows])
    comparisons = []
    for recording in recordings:
        span = slice(recording.start_frame, recording.start_frame + recording.num_frames)
        is_predicted = rows[span] >= 0
        comparisons.append(
            Comparison(
                name=recording.name,
                truth=np.where(is_predicted, recording.labels, UNLABELLED),
                predicted=labels_T[span],
                line=recording.line if sidecar else TimeLine(recording.num_frames, USUAL_FPS),
                group=recording.group,
                confidence=None if confidence_T is None else confidence_T[span],
                annotators=by_annotator(
                    recording.annotators,
                    np.where(is_predicted, recording.codes, UNLABELLED),
                    class_map,
                ),
            )
        )
    return comparisons
