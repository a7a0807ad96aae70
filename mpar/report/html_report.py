"""Reports as one HTML page that needs no internet, no other file and no library.

The script of the page draws ethograms from the bouts of each recording, and only the visible part,
so long recordings stay fast.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mpar.labels.bouts import find_runs
from mpar.labels.classes import NO_RESPONSES
from mpar.matching.metadata import Animal
from mpar.report.html_page import make_page
from mpar.report.score_report import FEW_ANIMALS
from mpar.scores.baselines import BASELINE_NAMES
from mpar.scores.comparison import MODEL, TRUTH, Comparison, row_names
from mpar.scores.disagreements import MAX_BY_RECORDING, find_disagreements
from mpar.scores.events import SHOWN_CRITERIA

# what `mpar.report.evaluation_files` computes; everything else in its metrics is provenance
_COMPUTED = {
    *("warning", "responses", "scores", "intervals", "events", "calibration"),
    *("effect_of_postprocessing", "baselines", "notes", "raters", "recordings", "disagreements"),
}
_SOURCES = ("checkpoint", "predictions", "cache", "annotations", "selection")


def evaluation_page(
    metrics: Mapping[str, Any],
    comparisons: Sequence[Comparison],
    figures: Mapping[str, Figure],
    strips: Sequence[Sequence[tuple[int, NDArray[np.uint8]]]] = (),
) -> str:
    """Return an evaluation as an HTML page; the same inputs give the same page.

    All numbers come from `metrics`, the content of ``metrics.json``. The page embeds those figures
    that it has a caption for, as SVG, and for each result of `find_disagreements` some frames with
    their numbers, `strips`.
    """
    names = metrics["scores"]["class_names"]
    sources = [f"{key} {metrics[key]}" for key in _SOURCES if key in metrics]
    return make_page(
        "evaluation.html",
        names,
        [_ethogram_data(c) for c in comparisons],
        metrics=metrics,
        warning=metrics["warning"],
        sources=[*sources, f"mpar {metrics['mpar_version']}"],
        facts=_facts(metrics),
        comparisons=comparisons,
        worst=_worst(comparisons, metrics, strips),
        figures=figures,
        no_responses="" if metrics["responses"] else NO_RESPONSES,
        few_animals=FEW_ANIMALS,
        criteria=[str(criterion) for criterion in SHOWN_CRITERIA],
        max_by_recording=MAX_BY_RECORDING,
        truth=TRUTH,
        model=MODEL,
        baseline_names=BASELINE_NAMES,
    )


def summary_page(
    settings: Mapping[str, Any],
    by_group: pd.DataFrame,
    animals: Sequence[Animal],
    class_names: Sequence[str],
    figures: Mapping[str, Figure],
    warnings: Sequence[str] = (),
    learnt: Collection[str] = (),
) -> str:
    """Return the summary of an assay as an HTML page; the same inputs give the same page.

    `settings` are those of ``settings.json``, `by_group` comes from
    `mpar.summarize.summarize_groups`: the tables leave out bins, which the figure of the time
    course shows. The page embeds all figures in their order. `learnt` names the recordings of
    animals that the network learnt from.
    """
    data = []
    for animal in animals:
        item, labels = animal.recording, animal.recording.labels
        comparison = Comparison(name=item.name, truth=labels, predicted=labels, line=item.line)
        only = {"rows": [{"name": MODEL, "runs": _runs(labels)}], "onset": float(animal.onset)}
        data.append(_ethogram_data(comparison) | only)
    shown = by_group[by_group["Window_type"] != "bin"]
    return make_page(
        "summary.html",
        class_names,
        data,
        warning=settings["warning"],
        facts=_facts(settings),
        warnings=warnings,
        windows=[
            (window, *_group_rows(part, class_names))
            for window, part in shown.groupby("Window", sort=False)
        ],
        places=[(animal.group, animal.recording.name) for animal in animals],
        learnt=learnt,
        figures=figures,
        captions={name: _caption_of(name) for name in figures},
    )


def _caption_of(name: str) -> str:
    """Return the caption of a figure of an assay."""
    if name == "ethograms":
        return "Ethograms of all recordings, by group."
    if name == "time_course":
        return "Time course: mean over animals in each bin; bands show ± SEM."
    if name.startswith("peri_event"):
        return (
            "Above, what happened around each stimulus (time 0), by group; below, the percentage "
            "of stimuli in which each class is seen. Dotted lines: the window for responses."
        )
    return (
        "Each point is one animal. Boxes show the median and quartiles; whiskers extend to the "
        "last point within 1.5 box lengths. Triangles mark animals without a bout, at the end of "
        "their observation time."
    )


def _group_rows(part: pd.DataFrame, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return the measures of one window, and a row for each class and group."""
    measures = list(dict.fromkeys(part["Measure"]))
    rows: list[list[str]] = []
    for name in names:
        for group, found in part[part["Class"] == name].groupby("Group", sort=False):
            values = found.set_index("Measure").loc[measures, ["Mean", "SEM", "N"]]
            rows.append([name, str(group)])
            for mean, sem, n in values.itertuples(index=False):
                text = "n/a" if pd.isna(mean) else f"{mean:,.2f}"
                rows[-1].append(f"{text}{'' if pd.isna(sem) else f' ± {sem:,.2f}'} ({n})")
    return [measure.replace("_", " ") for measure in measures], rows


def _worst(
    comparisons: Sequence[Comparison],
    metrics: Mapping[str, Any],
    strips: Sequence[Sequence[tuple[int, NDArray[np.uint8]]]],
) -> list[dict[str, Any]]:
    """Return the values that the page shows for each result of `find_disagreements`."""
    names = metrics["scores"]["class_names"]
    found = find_disagreements(comparisons, names, responses=metrics["responses"])
    worst = []
    for i, item in enumerate(found):
        c = comparisons[item.recording]
        sure = None if c.confidence is None else c.confidence[item.start : item.stop].mean()
        worst.append(
            {
                "recording": item.recording,
                "name": c.name,
                "is_learnt": c.is_learnt,
                "start": item.start,
                "stop": item.stop,
                "seconds": float(c.line.start_of(item.start)),
                "truth": names[item.truth],
                "predicted": "unlabelled" if item.predicted < 0 else names[item.predicted],
                "confidence": sure,
                "film": strips[i] if i < len(strips) else None,
            }
        )
    return worst


def _facts(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the provenance: each value as lines of text, by its name in words."""
    facts = {}
    for key, value in values.items():
        if key in _COMPUTED:
            continue
        lines = value if isinstance(value, list) else [] if value is None else [value]
        facts[key.replace("_", " ")] = [
            line if isinstance(line, str) else json.dumps(line, sort_keys=True) for line in lines
        ]
    return facts


def _ethogram_data(c: Comparison) -> dict[str, Any]:
    """Return the bouts, and the confidence in percent, one byte per frame."""
    truth, network = row_names([c])
    rows = [(truth, c.truth), *c.annotators.items(), (network, c.predicted)]
    percent = None
    if c.confidence is not None:
        percent = np.round(100 * np.nan_to_num(c.confidence)).clip(0, 100).astype(np.uint8)
    return {
        "name": c.name,
        "fps": float(c.line.fps or 0),
        "edges": None if c.line.times is None else c.line.edges.round(3).tolist(),
        "onset": 0,
        "numFrames": len(c.truth),
        "rows": [{"name": name, "runs": _runs(labels)} for name, labels in rows],
        "confidence": None if percent is None else base64.b64encode(percent).decode(),
    }


def _runs(labels: NDArray[np.integer]) -> list[int]:
    """Return start and label of every run as a flat list; unlabelled is -1."""
    return find_runs(labels)[:, [0, 2]].ravel().tolist()
