"""Compare predictions with human labels; write scores and figures for publication."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mpar.cache.joined import Caches, as_text
from mpar.cache.scenes import check_scenes
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.bouts import as_labels
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap
from mpar.matching.label_options import DEFAULT_OPTIONS, LabelOptions
from mpar.predictions.postprocess import PostConfig
from mpar.report.evaluation_files import (
    Strips,
    check_output,
    film_strips,
    wants_page,
    write_evaluation,
)
from mpar.scores.comparison import Comparison, compare_folders
from mpar.video.timeline import TimeLine

log = logging.getLogger(__name__)


def evaluate_and_save_results(
    y_true: ArrayLike | Mapping[str, ArrayLike],
    y_pred: ArrayLike | Mapping[str, ArrayLike],
    class_names: Sequence[str],
    output_dir: Path | str,
    *,
    responses: Collection[str] | None = None,
    fps: float | Fraction = 30,
    html: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Score predicted labels and write metrics, a report and figures.

    Parameters
    ----------
    y_true, y_pred : (T,) integer arrays, or mappings of recording name to such arrays
        Class index per frame, -1 for unlabelled. Frames without a true label are left out.
    class_names : sequence of str
        Names of the classes.
    output_dir : Path or str
        Gets the files of `write_evaluation`.
    responses : collection of str, optional
        Classes that count as responses and come first in the report; by default those of the
        default class map.
    fps : float or Fraction
        Frames per second, for the time axis.
    html : bool
        As for `write_evaluation`.
    overwrite : bool
        Replace an existing evaluation.

    Returns
    -------
    dict
        The content of ``metrics.json``.

    Raises
    ------
    ValueError
        The arrays differ in names or length, are out of range, or hold no labelled frame.
    """
    truths = dict(y_true) if isinstance(y_true, Mapping) else {"recording": y_true}
    predictions = dict(y_pred) if isinstance(y_pred, Mapping) else {"recording": y_pred}
    if truths.keys() != predictions.keys():
        different = sorted(truths.keys() ^ predictions.keys())
        raise ValueError(
            f"y_true, y_pred: found {', '.join(different[:5])} in only one of them, expected the "
            "same recordings in both"
        )
    comparisons = [
        Comparison(
            name=name,
            truth=as_labels(truth, num_classes=len(class_names), name=f"y_true {name}"),
            predicted=as_labels(
                predictions[name], num_classes=len(class_names), name=f"y_pred {name}"
            ),
            line=TimeLine(np.size(truth), Fraction(fps)),
        )
        for name, truth in truths.items()
    ]
    if responses is None:
        responses = DEFAULT_CLASS_MAP.responses
    return write_evaluation(
        output_dir, comparisons, class_names, responses=responses, html=html, overwrite=overwrite
    )


def evaluate_checkpoint(
    checkpoint_path: Path | str,
    cache_path: Caches | None,
    output_folder: Path | str,
    *,
    selection: str = "held-out",
    raw: bool = False,
    html: bool = False,
    device: str = "auto",
    overwrite: bool = False,
    quiet: bool = True,
    features: Path | str | None = None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on recordings of a cache.

    Parameters
    ----------
    checkpoint_path : Path or str
        A ``.pt`` file of mpar-train.
    cache_path : Path, str or sequence of them, optional
        By default the cache it was trained on, with the same access ("mmap" or "pread").
    output_folder : Path or str
        Gets the files of `write_evaluation`.
    selection : str
        As for `select_recordings`. If training used this cache without a test part, "val"
        replaces an empty "held-out".
    raw : bool
        Take the most probable class of each frame, without post-processing.
    html : bool
        As for `write_evaluation`; with frames of the worst disagreements.
    device, features
        As for `ActionRecognitionInference`.
    overwrite, quiet
        As for `write_evaluation` and `compare_with_store`.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    from mpar.network.comparing import compare_with_store, select_recordings
    from mpar.network.predictor import (
        ActionRecognitionInference,  # here, since scoring CSVs needs no torch
    )

    check_output(Path(output_folder), overwrite)
    network = ActionRecognitionInference(
        checkpoint_path,
        device,
        PostConfig() if raw else None,
        features=None if features is None else str(features),
    )
    checkpoint = network.checkpoint
    data = checkpoint.data
    with Store(cache_path or data["path"], access=data.get("access", "mmap")) as store:
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
        strips: Strips = ()
        if wants_page(Path(output_folder), html):
            strips = film_strips(store, recordings, comparisons, checkpoint.class_map)
        notes = []
        if store.fingerprint == data["fingerprint"] and selection in ("held-out", "test"):
            learnt = select_recordings(checkpoint, store, "train")
            notes = check_scenes(store, learnt, recordings)
        provenance = {
            "checkpoint": str(checkpoint_path),
            "checkpoint_sha256": checkpoint.digest,
            "cache": as_text(store.paths),
            "cache_fingerprint": store.fingerprint,
            "selection": selection,
            "postprocessing": network.post.to_dict(),
        }
    return write_evaluation(
        output_folder,
        comparisons,
        network.class_names,
        responses=checkpoint.class_map.responses,
        provenance=provenance,
        html=html,
        strips=strips,
        notes=notes,
        overwrite=overwrite,
    )


def evaluate_folders(
    prediction_folder: Path | str,
    annotation_folder: Path | str,
    output_folder: Path | str,
    *,
    class_map: ClassMap | None = None,
    options: LabelOptions = DEFAULT_OPTIONS,
    html: bool = False,
    overwrite: bool = False,
) -> tuple[dict[str, Any], list[Problem]]:
    """Evaluate a folder of predictions against a folder of label files.

    Parameters as for `compare_folders` and `write_evaluation`.

    Returns
    -------
    metrics : dict
        The content of ``metrics.json``.
    problems : list of Problem
        Files that were left out.

    Raises
    ------
    InputError
        Nothing could be compared.
    """
    comparisons, class_map, problems = compare_folders(
        prediction_folder, annotation_folder, class_map=class_map, options=options
    )
    if not any((c.truth != UNLABELLED).any() for c in comparisons):
        raise InputError(
            problems
            or [
                Problem(
                    str(annotation_folder),
                    0,
                    "holds no labelled frame of these predictions",
                    "unlabelled",
                )
            ]
        )
    named = {int(k) for c in comparisons for k in np.unique(c.truth)} - {UNLABELLED}
    if len(named) == 1 and options.unscored is None:
        log.warning(
            "every labelled frame is %s; if you scored only this behaviour, pass --unscored CLASS, "
            "the class of all other frames",
            class_map.class_names[named.pop()],
        )
    metrics = write_evaluation(
        output_folder,
        comparisons,
        class_map.class_names,
        responses=class_map.responses,
        provenance={
            "predictions": str(prediction_folder),
            "annotations": str(annotation_folder),
            "group_pattern": options.group_pattern,
            "left_out": [str(problem) for problem in problems],
        },
        html=html,
        overwrite=overwrite,
    )
    return metrics, problems


def headline(metrics: dict[str, Any]) -> str:
    """Return the main scores of a result of `write_evaluation`, in one line."""
    scores, intervals = metrics["scores"], metrics["intervals"]
    ends = intervals["macro_f1"]
    num_animals = intervals["num_animals"]
    text = f" [{ends[0]:.3f}, {ends[1]:.3f}] over {num_animals} animals" if ends else ""
    named = [name for name, of_class in scores["classes"].items() if of_class["support"]]
    if len(named) == 1:
        recall = scores["classes"][named[0]]["recall"]
        return (
            f"recall of {named[0]} {recall:.3f}; no macro-F1, since the labels hold no other class"
        )
    return f"macro-F1 {scores['macro_f1']:.3f}{text}, accuracy {scores['accuracy']:.3f}"
