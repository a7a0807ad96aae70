"""Compare predictions with human labels; write scores and figures that can be published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

import mpar
from mpar.annotations import ANNOTATION_SUFFIXES, read_annotation
from mpar.bouts import as_labels
from mpar.checkpoint import Checkpoint
from mpar.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap
from mpar.errors import ConfigError, InputError, Problem
from mpar.files import write_json, write_text
from mpar.inference import ActionRecognitionInference
from mpar.metrics import frame_scores
from mpar.plots import plot_class_f1, plot_confusion, plot_ethogram, save_figure
from mpar.predictions import name_of, read_sidecar
from mpar.recordings import Source, check_recording, find_files, find_owner
from mpar.store import Store

SELECTIONS = ("held-out", "train", "val", "test", "all")
SAME_ANIMAL = "same-animal: holds recordings that the network was trained or chosen on"

_FIGURES = ("confusion_matrix", "confusion_matrix_normalized", "class_f1")
_OUTPUTS = (
    "metrics.json",
    "classification_report.txt",
    "ethograms",
    *(f"{name}.{suffix}" for name in _FIGURES for suffix in ("png", "pdf")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """True and predicted labels of one recording, frame by frame.

    Parameters
    ----------
    name : str
        The recording.
    truth, predicted : (T,) integer arrays
        Class index, -1 for unlabelled.
    fps : Fraction
        Frames per second of these arrays.
    is_learnt : bool
        The network learnt from this video or animal.
    """

    name: str
    truth: np.ndarray
    predicted: np.ndarray
    fps: Fraction
    is_learnt: bool = False


def evaluate_and_save_results(
    y_true: ArrayLike | Mapping[str, ArrayLike],
    y_pred: ArrayLike | Mapping[str, ArrayLike],
    class_names: Sequence[str],
    output_dir: Path | str,
    *,
    fps: float | Fraction = 30,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Score predicted labels and write metrics, a report and figures.

    Parameters
    ----------
    y_true, y_pred : (T,) integer arrays, or mappings of recording name to such arrays
        Class index per frame, -1 for unlabelled. Unlabelled true frames are left out.
    class_names : sequence of str
        Names of the classes.
    output_dir : Path or str
        Gets the files of `write_evaluation`.
    fps : float or Fraction
        Frames per second, for the time axis.
    overwrite : bool
        Replace an evaluation that is there already.

    Returns
    -------
    dict
        What ``metrics.json`` holds.

    Raises
    ------
    ValueError
        Arrays disagree in names, length or range, or hold no labelled frame.
    """
    truths = dict(y_true) if isinstance(y_true, Mapping) else {"recording": y_true}
    predictions = dict(y_pred) if isinstance(y_pred, Mapping) else {"recording": y_pred}
    if truths.keys() != predictions.keys():
        different = sorted(truths.keys() ^ predictions.keys())
        raise ValueError(f"y_true, y_pred: {', '.join(different[:5])} is only in one of them")
    comparisons = [
        Comparison(
            name=name,
            truth=as_labels(truths[name], num_classes=len(class_names), name=f"y_true {name}"),
            predicted=as_labels(
                predictions[name], num_classes=len(class_names), name=f"y_pred {name}"
            ),
            fps=Fraction(fps),
        )
        for name in truths
    ]
    return write_evaluation(output_dir, comparisons, class_names, overwrite=overwrite)


def write_evaluation(
    output_folder: Path | str,
    comparisons: Sequence[Comparison],
    class_names: Sequence[str],
    *,
    provenance: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write ``metrics.json``, ``classification_report.txt`` and the figures.

    Parameters
    ----------
    output_folder : Path or str
        Also gets ``confusion_matrix``, ``confusion_matrix_normalized``, ``class_f1`` and
        ``ethograms/<recording>``, each as PNG and PDF.
    comparisons : sequence of Comparison
        At least one labelled frame in all.
    class_names : sequence of str
        Names of the classes.
    provenance : dict, optional
        Where the labels come from; goes into ``metrics.json``.
    overwrite : bool
        Replace an evaluation that is there already.

    Returns
    -------
    dict
        What ``metrics.json`` holds.

    Raises
    ------
    ConfigError
        The folder holds an evaluation and `overwrite` is not set.
    ValueError
        No frame is labelled.
    """
    folder = Path(output_folder)
    _check_output(folder, overwrite)
    scores = frame_scores(
        np.concatenate([c.truth for c in comparisons]),
        np.concatenate([c.predicted for c in comparisons]),
        class_names,
    )
    num_learnt = sum(c.is_learnt for c in comparisons)
    remark = f"{SAME_ANIMAL} ({num_learnt} of {len(comparisons)})" if num_learnt else ""
    metrics = {
        "mpar_version": mpar.__version__,
        "remark": remark,
        **(provenance or {}),
        "scores": scores.to_dict(),
        "recordings": {c.name: _scores_or_none(c, class_names) for c in comparisons},
    }
    report = scores.report() + (f"\n{remark}" if remark else "")
    write_text(folder / "classification_report.txt", report + "\n")
    figures = {
        "confusion_matrix": plot_confusion(scores, normalize=False),
        "confusion_matrix_normalized": plot_confusion(scores, normalize=True),
        "class_f1": plot_class_f1(scores),
    }
    for c in (c for c in comparisons if len(c.truth)):
        rows = [("human", c.truth), ("mpar", c.predicted)]
        figure = plot_ethogram(rows, class_names, fps=c.fps, title=c.name)
        figures[f"ethograms/{_file_name(c.name)}"] = figure
    for name, figure in figures.items():
        save_figure(_titled(figure, remark), folder / name)
    write_json(folder / "metrics.json", metrics)
    return metrics


def _check_output(folder: Path, overwrite: bool) -> None:
    found = [name for name in _OUTPUTS if (folder / name).exists()]
    if found and not overwrite:
        raise ConfigError(
            f"{folder}: holds an evaluation already ({found[0]}); pass --overwrite to replace it, "
            "or choose another --output"
        )


def _titled(figure: Any, remark: str) -> Any:
    """Write a remark below a figure."""
    if remark:
        figure.text(0.5, -0.01, remark, ha="center", va="top", fontsize=6, style="italic")
    return figure


def _file_name(name: str) -> str:
    return "".join("_" if c in '\\/:*?"<>|' else c for c in name)


def _scores_or_none(comparison: Comparison, class_names: Sequence[str]) -> dict[str, Any] | None:
    if (comparison.truth == UNLABELLED).all():
        return None
    return frame_scores(comparison.truth, comparison.predicted, class_names).to_dict()


def evaluate_checkpoint(
    checkpoint_path: Path | str,
    cache_path: Path | str | None,
    output_folder: Path | str,
    *,
    selection: str = "held-out",
    device: str = "auto",
    overwrite: bool = False,
    quiet: bool = True,
) -> dict[str, Any]:
    """Evaluate a checkpoint on recordings of a cache.

    Parameters
    ----------
    checkpoint_path : Path or str
        A ``.pt`` file of mpar-train.
    cache_path : Path or str, optional
        By default the cache it was trained on.
    output_folder : Path or str
        Gets the files of `write_evaluation`.
    selection : str
        As for `select_recordings`. Where "held-out" finds nothing in the very cache of
        training, which was then split without a test part, "val" takes its place.
    device, overwrite, quiet
        As elsewhere.

    Returns
    -------
    dict
        What ``metrics.json`` holds.
    """
    _check_output(Path(output_folder), overwrite)
    network = ActionRecognitionInference(checkpoint_path, device)
    checkpoint = network.checkpoint
    with Store(cache_path or checkpoint.data["path"]) as store:
        try:
            recordings = select_recordings(checkpoint, store, selection)
        except ConfigError:
            if (
                selection != "held-out"
                or checkpoint.split["test"]
                or store.fingerprint != checkpoint.data["fingerprint"]
            ):
                raise
            selection = "val"
            recordings = select_recordings(checkpoint, store, selection)
        comparisons = compare_with_store(network, store, recordings, quiet=quiet)
        provenance = {
            "checkpoint": str(checkpoint_path),
            "checkpoint_sha256": checkpoint.digest,
            "cache": str(store.path),
            "cache_fingerprint": store.fingerprint,
            "selection": selection,
        }
    return write_evaluation(
        output_folder,
        comparisons,
        network.class_names,
        provenance=provenance,
        overwrite=overwrite,
    )


def evaluate_folders(
    prediction_folder: Path | str,
    annotation_folder: Path | str,
    output_folder: Path | str,
    *,
    class_map: ClassMap | None = None,
    several: str | None = None,
    label_offset: int | None = None,
    overwrite: bool = False,
) -> tuple[dict[str, Any], list[Problem]]:
    """Evaluate a folder of predictions against a folder of label files.

    Parameters as for `compare_folders` and `write_evaluation`.

    Returns
    -------
    metrics : dict
        What ``metrics.json`` holds.
    problems : list of Problem
        Files that were left out.

    Raises
    ------
    InputError
        Nothing could be compared.
    """
    comparisons, class_map, problems = compare_folders(
        prediction_folder,
        annotation_folder,
        class_map=class_map,
        several=several,
        label_offset=label_offset,
    )
    if not any((c.truth != UNLABELLED).any() for c in comparisons):
        raise InputError(
            problems
            or [Problem(str(annotation_folder), 0, "holds no labelled frame of these predictions")]
        )
    metrics = write_evaluation(
        output_folder,
        comparisons,
        class_map.class_names,
        provenance={
            "predictions": str(prediction_folder),
            "annotations": str(annotation_folder),
            "left_out": [str(problem) for problem in problems],
        },
        overwrite=overwrite,
    )
    return metrics, problems


def select_recordings(
    checkpoint: Checkpoint, store: Store, selection: str = "held-out"
) -> list[int]:
    """Choose the recordings of a cache that a checkpoint is evaluated on.

    Parameters
    ----------
    checkpoint : Checkpoint
        Knows the animals and videos it was trained and chosen on.
    store : Store
        The cache it was trained on, or any other.
    selection : {"held-out", "train", "val", "test", "all"}
        "held-out": those of animals and videos that had no part in training and validation.

    Returns
    -------
    list of int
        Positions in the cache; those without any label are left out.

    Raises
    ------
    ConfigError
        No recording is left.
    """
    if selection not in SELECTIONS:
        raise ConfigError(f"part: found {selection!r}, expected one of {', '.join(SELECTIONS)}")
    is_used = [
        bool(checkpoint.learnt_part(sha256=info.sha256, group=info.group))
        for info in store.recordings
    ]
    if selection in checkpoint.split:
        names = {(item["name"], item["sha256"]) for item in checkpoint.split[selection]}
        chosen = [i for i, r in enumerate(store.recordings) if (r.name, r.sha256) in names]
    else:
        chosen = [i for i in range(len(store)) if selection == "all" or not is_used[i]]
    chosen = [i for i in chosen if (store.labels(i) != UNLABELLED).any()]
    if not chosen:
        raise ConfigError(
            f"{store.path}: found no labelled recording in the selection {selection!r}; pass "
            f"another --part ({', '.join(SELECTIONS)}) or another cache"
        )
    return chosen


def compare_with_store(
    network: ActionRecognitionInference,
    store: Store,
    recordings: Sequence[int],
    *,
    quiet: bool = True,
) -> list[Comparison]:
    """Predict recordings of a cache and set them against its labels.

    Raises
    ------
    ConfigError
        The cache has other classes or another frame size than the network.
    """
    if store.class_names != network.class_names:
        raise ConfigError(
            f"{store.path}: found the classes {', '.join(store.class_names)}, the network knows "
            f"{', '.join(network.class_names)}; preprocess with the class map of its training"
        )
    comparisons = []
    for recording in tqdm(recordings, desc="predicting", unit="video", disable=quiet or None):
        prediction = network.predict_recording(store, recording)
        comparisons.append(
            Comparison(
                name=prediction.name,
                truth=store.labels(recording),
                predicted=prediction.labels(),
                fps=prediction.fps,
                is_learnt=bool(prediction.learnt_part),
            )
        )
    return comparisons


def compare_folders(
    prediction_folder: Path | str,
    annotation_folder: Path | str,
    *,
    class_map: ClassMap | None = None,
    several: str | None = None,
    label_offset: int | None = None,
) -> tuple[list[Comparison], ClassMap, list[Problem]]:
    """Set a folder of predictions against a folder of label files.

    Parameters
    ----------
    prediction_folder : Path or str
        Holds ``NAME_predictions.csv`` of mpar-predict with their json.
    annotation_folder : Path or str
        Label files, which belong to videos by the rules of `find_recordings`.
    class_map : ClassMap, optional
        By default that of the predictions.
    several, label_offset
        As for `check_recording`.

    Returns
    -------
    comparisons : list of Comparison
        One a recording; only the frames that were predicted.
    class_map : ClassMap
        The one used.
    problems : list of Problem
        Predictions without labels, labels without predictions, files that cannot be read.

    Raises
    ------
    ConfigError
        There are no predictions, or they have different class maps.
    """
    names = {path: name_of(path) for path in find_files(prediction_folder, [".csv"])}
    paths = {path: name for path, name in names.items() if name is not None}
    if not paths:
        raise ConfigError(f"{prediction_folder}: found no NAME_predictions.csv; check the path")
    problems: list[Problem] = []
    sidecars = {}
    left_out = set()  # they still own their label files, which fit no other video
    for path, name in paths.items():
        try:
            sidecars[path] = read_sidecar(path)
        except InputError as error:
            problems += error.problems
            left_out.add(Path(f"{name}.mp4"))
    maps = {ClassMap.from_dict(s["class_map"]) for s in sidecars.values() if "class_map" in s}
    if class_map is None:
        if len(maps) > 1:
            raise ConfigError(
                f"{prediction_folder}: found predictions of {len(maps)} different class maps; pass "
                "--class-map, or evaluate them apart"
            )
        class_map = maps.pop() if maps else DEFAULT_CLASS_MAP
    videos: dict[Path, Path] = {}
    for path, sidecar in sidecars.items():
        video = Path(sidecar.get("video", f"{paths[path]}.mp4"))
        if video.stem != paths[path]:
            left_out.add(video)
            problems.append(
                Problem.of(
                    path,
                    f"is named other than its video {video}, like a trial of a cache, so that its "
                    "labels cannot be laid on it; predict the video, or evaluate checkpoint and "
                    "cache",
                )
            )
        elif videos.setdefault(video, path) != path:
            problems.append(
                Problem.of(path, f"predicts {video} like {videos[video]}; move one of them away")
            )
    predicted = {path.resolve() for path in paths}
    owned: dict[Path, list[Path]] = {video: [] for video in videos}
    for path in find_files(annotation_folder, ANNOTATION_SUFFIXES):
        owner = find_owner(path.stem, {**videos, **dict.fromkeys(left_out)})
        if path.resolve() in predicted:
            problems.append(
                Problem.of(path, "is a prediction, expected human labels; move it away")
            )
        elif owner is None:
            problems.append(Problem.of(path, f"fits no predictions in {prediction_folder}"))
        elif owner in owned:
            owned[owner].append(path)
    comparisons = []
    for video, path in videos.items():
        if not owned[video]:
            problems.append(Problem.of(path, f"has no labels in {annotation_folder}"))
            continue
        try:
            comparisons += _compare_files(
                Source(video, tuple(owned[video])),
                path,
                sidecars[path],
                class_map,
                several,
                label_offset,
            )
        except InputError as error:
            problems += error.problems
    return comparisons, class_map, sorted(problems)


def _compare_files(
    source: Source,
    path: Path,
    sidecar: dict[str, Any],
    class_map: ClassMap,
    several: str | None,
    label_offset: int | None,
) -> list[Comparison]:
    predicted = read_annotation(path, class_map, allow_gaps=True)
    num_frames = int(sidecar.get("num_frames", predicted.frames[-1] + 1))
    if predicted.frames[-1] >= num_frames:
        raise InputError.of(
            path,
            f"its frames end at {predicted.frames[-1]}, expected at most "
            f"{num_frames - 1}; predict again",
        )
    fps = Fraction(sidecar.get("fps", 30)) / int(sidecar.get("stride", 1))
    problems: list[Problem] = []
    annotations = []
    for annotation_path in source.annotations:
        try:
            annotations.append(read_annotation(annotation_path, class_map))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    recordings = check_recording(
        source,
        annotations,
        num_frames,
        class_map,
        group=source.name,
        several=several,
        label_offset=label_offset,
    )
    labels = class_map.merge(predicted.codes)
    comparisons = []
    for recording in recordings:
        frames = predicted.frames - recording.start_frame
        is_inside = (frames >= 0) & (frames < recording.num_frames)
        comparisons.append(
            Comparison(
                name=recording.name,
                truth=recording.labels[frames[is_inside]],
                predicted=labels[is_inside],
                fps=fps,
                is_learnt=bool(sidecar.get("learnt_part")),
            )
        )
    return comparisons


def headline(metrics: dict[str, Any]) -> str:
    """Return the scores that matter most of what `write_evaluation` returned, in one line."""
    scores = metrics["scores"]
    return f"macro-F1 {scores['macro_f1']:.3f}, accuracy {scores['accuracy']:.3f}"
