"""Write the files of an evaluation: scores, a text report, tables, figures and an HTML page."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

import mpar
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.report.html_report import evaluation_page
from mpar.report.plots import plot_class_f1, plot_confusion, plot_ethogram
from mpar.report.score_plots import plot_bland_altman, plot_event_f1, plot_reliability
from mpar.report.score_report import report_text
from mpar.report.style import add_warning, save_figure
from mpar.scores.agreement import (
    Agreement,
    RaterPair,
    compare_raters,
    effect_of_postprocessing,
    measure_agreement,
    recording_table,
)
from mpar.scores.baselines import measure_baselines
from mpar.scores.calibration import Calibration, measure_calibration
from mpar.scores.comparison import MODEL, TRUTH, Comparison, one_class_warning, same_animal_warning
from mpar.scores.disagreements import Disagreement, find_disagreements
from mpar.scores.metrics import frame_scores
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


def write_evaluation(
    output_folder: Path | str,
    comparisons: Sequence[Comparison],
    class_names: Sequence[str],
    *,
    responses: Collection[str],
    provenance: dict[str, Any] | None = None,
    html: bool = False,
    strips: Strips = (),
    notes: Sequence[str] = (),
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write scores, a report, tables and figures.

    Parameters
    ----------
    output_folder : Path or str
        Gets ``metrics.json`` (all scores), ``classification_report.txt``, ``events.csv`` (bouts
        by class and matching criterion), ``recordings.csv`` (bouts, seconds and latencies), and as
        PNG and PDF ``confusion_matrix``, ``confusion_matrix_normalized``, ``class_f1``,
        ``event_f1``, ``bout_counts``, ``latencies``, ``reliability`` (if confidences are known)
        and ``ethograms/<recording>``; with `html` also ``report.html``.
    comparisons : sequence of Comparison
        Together they hold at least one labelled frame.
    class_names : sequence of str
        Names of the classes.
    responses : collection of str
        Those that count as responses and come first.
    provenance : dict, optional
        Sources of the labels, for ``metrics.json``.
    html : bool
        Write ``report.html``. An existing page is always replaced, so that it never belongs to
        another evaluation than the scores beside it.
    strips : sequence
        Frames of the worst disagreements for the page, as for
        `mpar.report.html_report.evaluation_page`.
    notes : sequence of str
        Reasons to doubt the scores, for the report and the page.
    overwrite : bool
        Replace an existing evaluation.

    Returns
    -------
    dict
        The content of ``metrics.json``.

    Raises
    ------
    ConfigError
        The folder holds an evaluation and `overwrite` is False.
    ValueError
        No frame is labelled.
    """
    folder = Path(output_folder)
    check_output(folder, overwrite)
    agreement = measure_agreement(comparisons, class_names)
    calibration = measure_calibration(comparisons)
    raters = compare_raters(comparisons, class_names)
    table = recording_table(comparisons, class_names)
    effect = effect_of_postprocessing(comparisons, class_names)
    baselines = measure_baselines(comparisons, class_names, responses=responses)
    learnt = same_animal_warning(sum(c.is_learnt for c in comparisons), len(comparisons))
    warning = "; ".join(filter(None, (learnt, one_class_warning(agreement.frames))))
    worst = find_disagreements(comparisons, class_names, responses=responses)
    metrics = {
        "mpar_version": mpar.__version__,
        "warning": warning,
        "responses": [name for name in class_names if name in responses],
        **(provenance or {}),
        "scores": agreement.frames.to_dict(),
        "intervals": agreement.to_dict(),
        "events": agreement.events.to_dict(),
        "calibration": calibration.to_dict() if calibration else None,
        "effect_of_postprocessing": effect,
        "baselines": baselines,
        "notes": list(notes),
        "raters": [pair.to_dict(class_names) for pair in raters],
        "disagreements": [_as_place(item, comparisons, class_names) for item in worst],
        "recordings": {c.name: _scores_or_none(c, class_names) for c in comparisons},
    }
    report = report_text(agreement, responses, calibration, raters, effect, baselines)
    report = "\n".join([report, *filter(None, [warning, *notes]), ""])
    write_text(folder / "classification_report.txt", report)
    write_table(folder / "events.csv", _marked(agreement.events.table(), warning))
    write_table(folder / "recordings.csv", _marked(table, warning))
    figures = _draw(agreement, calibration, raters, table)
    for name, figure in figures.items():
        save_figure(add_warning(figure, warning), folder / name)
    _save_ethograms(folder / "ethograms", comparisons, class_names, warning)
    if wants_page(folder, html):
        page = evaluation_page(metrics, comparisons, figures, strips)
        write_text(folder / "report.html", page)
    write_json(folder / "metrics.json", metrics)
    return metrics


def _draw(
    agreement: Agreement,
    calibration: Calibration | None,
    raters: Sequence[RaterPair],
    recordings: pd.DataFrame,
) -> dict[str, Figure]:
    """Return the figures over all recordings, by file name."""
    scores, names = agreement.frames, agreement.frames.class_names
    figures = {
        "confusion_matrix": plot_confusion(scores, normalize=False),
        "confusion_matrix_normalized": plot_confusion(scores, normalize=True),
        "class_f1": plot_class_f1(
            scores,
            intervals=agreement.intervals["f1"],
            macro_interval=agreement.intervals["macro_f1"],
            num_animals=len(agreement.animals),
            human=[pair.f1 for pair in raters if not pair.with_network],
        ),
        "event_f1": plot_event_f1(agreement.events),
        "bout_counts": plot_bland_altman(recordings, names),
        "latencies": plot_bland_altman(recordings, names, what="latency_s", unit="latency in s"),
    }
    if calibration is not None:
        figures["reliability"] = plot_reliability(calibration)
    return figures


def _save_ethograms(
    folder: Path, comparisons: Sequence[Comparison], class_names: Sequence[str], warning: str
) -> None:
    file_names: set[str] = set()
    for c in comparisons:
        if len(c.truth):
            rows = [(TRUTH, c.truth), (MODEL, c.predicted)]
            figure = plot_ethogram(
                rows, class_names, fps=c.line.fps or 30, line=c.line, title=c.name
            )
            path = folder / _file_name(c.name, file_names)
            try:
                save_figure(add_warning(figure, warning), path)
            except OSError as error:  # a long name must not cost the other figures and the scores
                log.warning("%s: its ethogram cannot be written (%s)", c.name, error.strerror)


def wants_page(folder: Path, html: bool) -> bool:
    """Return True if `write_evaluation` will write a page: on request, or to replace an old one."""
    return html or (folder / "report.html").exists()


def film_strips(
    store: Store,
    recordings: Sequence[int],
    comparisons: Sequence[Comparison],
    class_map: ClassMap,
) -> Strips:
    """Return frames around each of the worst disagreements, with their positions.

    `recordings` has the index of the recording of each comparison.
    """
    strips = []
    names, responses = class_map.class_names, class_map.responses
    for item in find_disagreements(comparisons, names, responses=responses):
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


def _marked(table: pd.DataFrame, warning: str) -> pd.DataFrame:
    """Repeat a warning in every row, so that copied rows keep it."""
    return table.assign(Warning=warning) if warning else table


def check_output(folder: Path, overwrite: bool) -> None:
    """Raise ConfigError if a folder holds an evaluation and `overwrite` is False."""
    found = [name for name in _OUTPUTS if (folder / name).exists()]
    if found and not overwrite:
        raise ConfigError(
            f"{folder}: already holds an evaluation ({found[0]}); pass --overwrite to replace it, "
            "or choose another --output"
        )


def _file_name(name: str, taken: set[str]) -> str:
    """Return a file name for a recording that is valid on every system and not yet taken."""
    file_name = "".join("_" if c in '\\/:*?"<>|' else c for c in name)
    while file_name.lower() in taken:
        file_name += "_"
    taken.add(file_name.lower())
    return file_name


def _as_place(
    item: Disagreement, comparisons: Sequence[Comparison], class_names: Sequence[str]
) -> dict[str, Any]:
    """Return a disagreement with its names, and its frames as numbered in the recording."""
    return {
        "recording": comparisons[item.recording].name,
        "start": item.start,
        "stop": item.stop,
        "truth": class_names[item.truth],
        "predicted": "unlabelled" if item.predicted < 0 else class_names[item.predicted],
    }


def _scores_or_none(comparison: Comparison, class_names: Sequence[str]) -> dict[str, Any] | None:
    if (comparison.truth == UNLABELLED).all():
        return None
    return frame_scores(comparison.truth, comparison.predicted, class_names).to_dict()
