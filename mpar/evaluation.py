"""Compare predictions with human labels; write scores and figures that can be published."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

import mpar
from mpar.cache.store import Store
from mpar.comparisons import (
    compare_folders,
    compare_with_store,
    select_recordings,
)
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.bouts import as_labels
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.preprocess import PreprocessConfig
from mpar.report.html_report import evaluation_page
from mpar.report.plots import plot_class_f1, plot_confusion, plot_ethogram
from mpar.report.score_plots import plot_bland_altman, plot_event_f1, plot_reliability
from mpar.report.score_report import report_text
from mpar.report.style import add_remark, save_figure
from mpar.scores.agreement import (
    compare_raters,
    effect_of_postprocessing,
    measure_agreement,
    recording_table,
)
from mpar.scores.calibration import measure_calibration
from mpar.scores.comparison import MODEL, TRUTH, Comparison, one_class_remark, same_animal_remark
from mpar.scores.disagreements import find_disagreements
from mpar.scores.metrics import frame_scores
from mpar.scores.postprocess import PostConfig
from mpar.system.files import write_json, write_table, write_text

log = logging.getLogger(__name__)

Strips = Sequence[Sequence[tuple[int, NDArray[np.uint8]]]]

_NUM_TILES = 8

_FIGURES = (
    *("confusion_matrix", "confusion_matrix_normalized", "class_f1"),
    *("event_f1", "bout_counts", "latencies", "reliability"),
)
_OUTPUTS = (
    "metrics.json",
    "classification_report.txt",
    "events.csv",
    "recordings.csv",
    "ethograms",
    "report.html",
    *(f"{name}.{suffix}" for name in _FIGURES for suffix in ("png", "pdf")),
)


def evaluate_and_save_results(
    y_true: ArrayLike | Mapping[str, ArrayLike],
    y_pred: ArrayLike | Mapping[str, ArrayLike],
    class_names: Sequence[str],
    output_dir: Path | str,
    *,
    fps: float | Fraction = 30,
    html: bool = False,
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
    html : bool
        As for `write_evaluation`.
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
    return write_evaluation(output_dir, comparisons, class_names, html=html, overwrite=overwrite)


def write_evaluation(
    output_folder: Path | str,
    comparisons: Sequence[Comparison],
    class_names: Sequence[str],
    *,
    provenance: dict[str, Any] | None = None,
    html: bool = False,
    strips: Strips = (),
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write scores, a report, tables and figures.

    Parameters
    ----------
    output_folder : Path or str
        Gets ``metrics.json`` (all of it), ``classification_report.txt``, ``events.csv`` (bouts
        by class and by what counts as found), ``recordings.csv`` (bouts, seconds and latencies),
        and as PNG and PDF ``confusion_matrix``, ``confusion_matrix_normalized``, ``class_f1``,
        ``event_f1``, ``bout_counts``, ``latencies``, ``reliability`` (where confidences are
        known) and ``ethograms/<recording>``; where asked for, ``report.html``.
    comparisons : sequence of Comparison
        At least one labelled frame in all.
    class_names : sequence of str
        Names of the classes.
    provenance : dict, optional
        Where the labels come from; goes into ``metrics.json``.
    html : bool
        Write ``report.html``. One that is there already is written again in any case, so that it
        never stands beside the scores of another evaluation.
    strips : sequence
        Frames of the worst disagreements for it, as for `mpar.report.html_report.evaluation_page`.
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
    agreement = measure_agreement(comparisons, class_names)
    calibration = measure_calibration(comparisons)
    raters = compare_raters(comparisons, class_names)
    table = recording_table(comparisons, class_names)
    effect = effect_of_postprocessing(comparisons, class_names)
    learnt = same_animal_remark(sum(c.is_learnt for c in comparisons), len(comparisons))
    remark = "; ".join(filter(None, (learnt, one_class_remark(agreement.frames))))
    metrics = {
        "mpar_version": mpar.__version__,
        "remark": remark,
        **(provenance or {}),
        "scores": agreement.frames.to_dict(),
        "intervals": agreement.to_dict(),
        "events": agreement.events.to_dict(),
        "calibration": calibration.to_dict() if calibration else None,
        "effect_of_postprocessing": effect,
        "raters": [pair.to_dict(class_names) for pair in raters],
        "recordings": {c.name: _scores_or_none(c, class_names) for c in comparisons},
    }
    report = report_text(agreement, calibration, raters, effect) + (f"\n{remark}" if remark else "")
    write_text(folder / "classification_report.txt", report + "\n")
    write_table(folder / "events.csv", _marked(agreement.events.table(), remark))
    write_table(folder / "recordings.csv", _marked(table, remark))
    between = [pair.f1 for pair in raters if not pair.with_network]
    figures = {
        "confusion_matrix": plot_confusion(agreement.frames, normalize=False),
        "confusion_matrix_normalized": plot_confusion(agreement.frames, normalize=True),
        "class_f1": plot_class_f1(
            agreement.frames,
            intervals=agreement.intervals["f1"],
            macro_interval=agreement.intervals["macro_f1"],
            num_animals=len(agreement.animals),
            human=between,
        ),
        "event_f1": plot_event_f1(agreement.events),
        "bout_counts": plot_bland_altman(table, class_names),
        "latencies": plot_bland_altman(table, class_names, what="latency_s", unit="latency in s"),
    }
    if calibration is not None:
        figures["reliability"] = plot_reliability(calibration)
    for name, figure in figures.items():
        save_figure(add_remark(figure, remark), folder / name)
    file_names: set[str] = set()
    for c in comparisons:
        if len(c.truth):
            rows = [(TRUTH, c.truth), (MODEL, c.predicted)]
            figure = plot_ethogram(rows, class_names, fps=c.fps, line=c.clock, title=c.name)
            file_name = _file_name(c.name, file_names)
            save_figure(add_remark(figure, remark), folder / "ethograms" / file_name)
    if wants_page(folder, html):
        page = evaluation_page(metrics, comparisons, figures, strips)
        write_text(folder / "report.html", page)
    write_json(folder / "metrics.json", metrics)
    return metrics


def wants_page(folder: Path, html: bool) -> bool:
    """Tell whether `write_evaluation` will write a page: asked for, or in place of an old one."""
    return html or (folder / "report.html").exists()


def film_strips(
    store: Store,
    recordings: Sequence[int],
    comparisons: Sequence[Comparison],
    class_names: Sequence[str],
) -> Strips:
    """Return frames around each of the worst disagreements, with their positions.

    Parameters
    ----------
    store : Store
        Holds the frames.
    recordings : sequence of int
        The recording of each comparison.
    comparisons, class_names
        As for `mpar.scores.disagreements.find_disagreements`.
    """
    strips = []
    for item in find_disagreements(comparisons, class_names):
        recording = recordings[item.recording]
        last = store.recordings[recording].num_frames - 1
        reach = max(2, (item.stop - item.start) // 4)
        ends = max(0, item.start - reach), min(last, item.stop - 1 + reach)
        shown = np.unique(np.linspace(*ends, _NUM_TILES).round().astype(int)).tolist()
        frames = np.empty((len(shown), *store.frame_size), np.uint8)
        for i, frame in enumerate(shown):
            store.copy_frames(recording, frame, frame + 1, frames[i : i + 1])
        strips.append(list(zip(shown, frames, strict=True)))
    return strips


def _marked(table: pd.DataFrame, remark: str) -> pd.DataFrame:
    """Repeat a remark in every row, so that it stays with what is copied from them."""
    return table.assign(Remark=remark) if remark else table


def _check_output(folder: Path, overwrite: bool) -> None:
    found = [name for name in _OUTPUTS if (folder / name).exists()]
    if found and not overwrite:
        raise ConfigError(
            f"{folder}: holds an evaluation already ({found[0]}); pass --overwrite to replace it, "
            "or choose another --output"
        )


def _file_name(name: str, taken: set[str]) -> str:
    """Make a file name of a recording's that works everywhere and is not taken yet."""
    file_name = "".join("_" if c in '\\/:*?"<>|' else c for c in name)
    while file_name.lower() in taken:
        file_name += "_"
    taken.add(file_name.lower())
    return file_name


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
    raw: bool = False,
    html: bool = False,
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
        By default the cache it was trained on. Read as in training, mapped or not.
    output_folder : Path or str
        Gets the files of `write_evaluation`.
    selection : str
        As for `select_recordings`. Where "held-out" finds nothing in the very cache of
        training, which was then split without a test part, "val" takes its place.
    raw : bool
        Take the best class of each frame, without post-processing.
    html : bool
        As for `write_evaluation`; with frames of the worst disagreements.
    device, overwrite, quiet
        As elsewhere.

    Returns
    -------
    dict
        What ``metrics.json`` holds.
    """
    from mpar.inference import ActionRecognitionInference  # scoring CSVs does not wait for torch

    _check_output(Path(output_folder), overwrite)
    network = ActionRecognitionInference(checkpoint_path, device, PostConfig() if raw else None)
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
            strips = film_strips(store, recordings, comparisons, network.class_names)
        provenance = {
            "checkpoint": str(checkpoint_path),
            "checkpoint_sha256": checkpoint.digest,
            "cache": str(store.path),
            "cache_fingerprint": store.fingerprint,
            "selection": selection,
            "postprocessing": network.post.to_dict(),
        }
    return write_evaluation(
        output_folder,
        comparisons,
        network.class_names,
        provenance=provenance,
        html=html,
        strips=strips,
        overwrite=overwrite,
    )


def evaluate_folders(
    prediction_folder: Path | str,
    annotation_folder: Path | str,
    output_folder: Path | str,
    *,
    class_map: ClassMap | None = None,
    config: PreprocessConfig | None = None,
    html: bool = False,
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
        prediction_folder, annotation_folder, class_map=class_map, config=config
    )
    if not any((c.truth != UNLABELLED).any() for c in comparisons):
        raise InputError(
            problems
            or [Problem(str(annotation_folder), 0, "holds no labelled frame of these predictions")]
        )
    named = {int(k) for c in comparisons for k in np.unique(c.truth)} - {UNLABELLED}
    if len(named) == 1 and (config is None or config.unscored is None):
        log.warning(
            "every labelled frame is %s; if only this behaviour was scored, pass --unscored CLASS, "
            "the class of all other frames",
            class_map.class_names[named.pop()],
        )
    metrics = write_evaluation(
        output_folder,
        comparisons,
        class_map.class_names,
        provenance={
            "predictions": str(prediction_folder),
            "annotations": str(annotation_folder),
            "group_pattern": None if config is None else config.group_pattern,
            "left_out": [str(problem) for problem in problems],
        },
        html=html,
        overwrite=overwrite,
    )
    return metrics, problems


def headline(metrics: dict[str, Any]) -> str:
    """Return the scores that matter most of what `write_evaluation` returned, in one line."""
    scores, intervals = metrics["scores"], metrics["intervals"]
    ends = intervals["macro_f1"]
    num_animals = intervals["num_animals"]
    text = f" [{ends[0]:.3f}, {ends[1]:.3f}] over {num_animals} animals" if ends else ""
    named = [name for name, of_class in scores["classes"].items() if of_class["support"]]
    if len(named) == 1:
        recall = scores["classes"][named[0]]["recall"]
        return f"recall of {named[0]} {recall:.3f}, the only class in the labels: no macro-F1"
    return f"macro-F1 {scores['macro_f1']:.3f}{text}, accuracy {scores['accuracy']:.3f}"
