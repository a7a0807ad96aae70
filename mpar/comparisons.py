"""Compare predicted with human labels, frame by frame: from a cache, or from folders of CSVs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from mpar.aligning.laying import check_unscored, lay_on_frames
from mpar.aligning.recordings import check_recording
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError, Problem
from mpar.formats.annotations import read_annotation
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap, agree_on
from mpar.matching.groups import find_group, warn_of_groups
from mpar.matching.pairing import find_label_files, share_out, warn_of_unread_labels
from mpar.matching.sources import Source, split_source
from mpar.predictions.reading import choose_predictions, line_of, read_sidecars
from mpar.predictions.writing import OUTPUT_ENDINGS
from mpar.preprocess import PreprocessConfig
from mpar.scores.comparison import Comparison
from mpar.system.faults import contained
from mpar.system.folders import warn_of_unread
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine, is_same_tempo

if TYPE_CHECKING:  # scoring CSVs needs no torch
    from mpar.inference import ActionRecognitionInference
    from mpar.network.checkpoint import Checkpoint

log = logging.getLogger(__name__)

USUAL_FPS = Fraction(30)  # of predictions that other programs wrote
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
    for recording in tqdm(recordings, desc="predicting", unit="video", disable=quiet or None):
        prediction = network.predict_recording(store, recording)
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
                movement=network.predict_movement(store, recording),
                annotators=_by_annotator(
                    store.recordings[recording].annotators, store.codes(recording), store.class_map
                ),
            )
        )
    return comparisons


def _by_annotator(
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
    config: PreprocessConfig | None = None,
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
    config : PreprocessConfig, optional
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
    config = config or PreprocessConfig()
    warn_of_unread(OUTPUT_ENDINGS, prediction_folder)
    warn_of_unread_labels(annotation_folder)
    predicted, left_out, problems = read_sidecars(prediction_folder)
    class_map = class_map or _shared_class_map(prediction_folder, [p.sidecar for p in predicted])
    check_unscored(config.unscored, class_map)
    chosen, misnamed, more = choose_predictions(predicted)
    problems += more
    paths = {*left_out, *(item.path for item in predicted)}
    others = {*left_out.values(), *misnamed}
    sources, more = _find_labels(annotation_folder, paths, [*chosen], others, class_map, config)
    problems += more
    comparisons: list[Comparison] = []
    learnt = set()
    for key, item in chosen.items():
        source = sources.get(key, Source(item.video, region=item.region))
        try:
            group = find_group(source.path, config.group_pattern)
            if item.sidecar.get("learnt_part"):
                learnt.add(group)
            if source.problems:
                raise InputError(source.problems)
            if not source.labels:
                raise InputError.of(item.path, f"has no labels in {annotation_folder}")
            with contained(item.path, with_disk=True):
                comparisons += _compare_files(
                    source, group, item.path, item.sidecar, class_map, config
                )
        except InputError as error:
            problems += error.problems
    found: dict[str, Comparison] = {}
    for c in comparisons:  # names must be unique, since results are stored by name
        if found.setdefault(c.name, c) is not c:
            message = "has the same name as another recording; rename its video, or move one away"
            problems.append(Problem.of(c.name, message))
    problems += [
        Problem.of(c.name, "has no labelled frame; score it, or move its prediction away")
        for c in found.values()
        if (c.truth == UNLABELLED).all()
    ]
    comparisons = [
        dataclasses.replace(c, is_learnt=c.group in learnt)
        for c in found.values()
        if (c.truth != UNLABELLED).any()
    ]
    warn_of_groups([c.name for c in comparisons], config.group_pattern)
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
    config: PreprocessConfig,
) -> tuple[dict[tuple[Path, Region | None], Source], list[Problem]]:
    """Return the label files of each animal of each video."""
    predictions = {path.resolve() for path in predictions}
    paths, problems = [], []
    for path in find_label_files(folder):
        if path.resolve() in predictions:
            problems.append(
                Problem.of(path, "is a prediction, expected human labels; move it away")
            )
        else:
            paths.append(path)
    videos = list(dict.fromkeys([*(video for video, _ in wanted), *others]))
    sources, more = share_out(
        paths, videos, class_map, label_format=config.label_format, channel=config.channel
    )
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
    path: Path,
    sidecar: dict[str, Any],
    class_map: ClassMap,
    config: PreprocessConfig,
) -> list[Comparison]:
    # only the JSON file states how many frames a row stands for
    predicted = read_annotation(path, class_map, allow_gaps=bool(sidecar), with_confidence=True)
    num_frames = int(sidecar.get("num_frames", predicted.frames[-1] + 1))
    if predicted.frames[-1] >= num_frames:
        raise InputError.of(
            path,
            f"found frames up to {predicted.frames[-1]}, expected at most {num_frames - 1}; "
            "predict again",
        )
    line = line_of(sidecar) if sidecar else TimeLine(num_frames)
    recordings = check_recording(
        source,
        lay_on_frames(
            source.labels, class_map, line, unscored=config.unscored, several=config.several
        ),
        line,
        class_map,
        group=group,
        several=config.several,
        label_offset=config.label_offset,
    )
    rows = _rows_of_frames(predicted.frames, num_frames, int(sidecar.get("stride", 1)))
    labels_T = np.where(rows < 0, UNLABELLED, class_map.merge(predicted.codes)[rows])
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
                annotators=_by_annotator(
                    recording.annotators,
                    np.where(is_predicted, recording.codes, UNLABELLED),
                    class_map,
                ),
            )
        )
    return comparisons


def _rows_of_frames(frames_N: np.ndarray, num_frames: int, stride: int) -> np.ndarray:
    """Return the row that stands for each frame of a video, (T,) int64, -1 for none."""
    all_frames = np.arange(num_frames)
    rows = np.searchsorted(frames_N, all_frames, side="right") - 1
    is_near = all_frames - frames_N[rows] < stride  # not valid where rows is -1, excluded below
    return np.where((rows >= 0) & is_near, rows, -1)
