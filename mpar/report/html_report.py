"""Scores as one HTML page that needs nothing else: no network, no other file, no library.

Ethograms are drawn by the page's script from the bouts of each recording, so that an hour of
frames costs what is in sight of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from html import escape
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mpar.labels.bouts import find_bouts
from mpar.labels.classes import PAIN_CLASSES, UNLABELLED
from mpar.report.html_page import (
    Markup,
    data_uri,
    make_note,
    make_page,
    make_remark,
    make_swatch,
    make_table,
    show_class,
    show_figures,
)
from mpar.report.score_report import FEW_ANIMALS
from mpar.scores.agreement import MODEL, TRUTH, Comparison, row_names
from mpar.scores.events import SHOWN_CRITERIA
from mpar.scores.metrics import score_text

MAX_DISAGREEMENTS, MAX_BY_RECORDING = 12, 3
_TILE_PX = 128

# What `mpar.evaluation.write_evaluation` computes; all else in its metrics is provenance.
_COMPUTED = {
    *("remark", "scores", "intervals", "events", "calibration"),
    *("effect_of_postprocessing", "raters", "recordings"),
}
_CAPTIONS = {
    "confusion_matrix_normalized": "What is taken for what, in percent of the true class.",
    "class_f1": "F1 of frames by class; whiskers: 95 % intervals over animals.",
    "event_f1": "F1 of bouts over what counts as found; markers of a threshold side by side.",
    "bout_counts": "Bouts of each recording, mpar less human, with bias and limits of agreement "
    "(Bland-Altman).",
    "latencies": "Latency to the first bout, of recordings in which both found one.",
    "reliability": "Share of right frames over confidence: on the diagonal it is what it says.",
}


_SAME_ANIMAL = ' <strong class="remark">same-animal</strong>'


class Disagreement(NamedTuple):
    """A run of frames with one true and another predicted label.

    Parameters
    ----------
    recording : int
        Position in the comparisons that were searched.
    start, stop : int
        Frames of that recording, half-open.
    truth, predicted : int
        Class indices; predicted may be -1, unlabelled.
    weight : float
        Frames, each times the confidence of the prediction where that is known.
    """

    recording: int
    start: int
    stop: int
    truth: int
    predicted: int
    weight: float


def find_disagreements(
    comparisons: Sequence[Comparison], class_names: Sequence[str]
) -> list[Disagreement]:
    """Find where human and network disagree most: pain first, then the longest and surest.

    Parameters
    ----------
    comparisons : sequence of Comparison
        What is searched. Frames without a true label disagree with nothing.
    class_names : sequence of str, length K
        Names of the classes.

    Returns
    -------
    list of Disagreement
        Worst first, at most 12, and at most three of a recording, so that one bad recording does
        not fill the list. Runs in which either names a pain class come before all others (our
        choice, because long runs are of the frequent classes, which a study of pain asks least
        about).
    """
    pain = {k for k, name in enumerate(class_names) if name in PAIN_CLASSES}

    def rank(found: Disagreement) -> tuple[bool, float]:
        return not pain & {found.truth, found.predicted}, -found.weight

    worst: list[Disagreement] = []
    for i, c in enumerate(comparisons):
        width = len(class_names) + 1
        pairs = c.truth.astype(np.int64) * width + c.predicted + 1
        is_wrong = (c.truth != UNLABELLED) & (c.truth != c.predicted)
        runs = find_bouts(np.where(is_wrong, pairs, UNLABELLED))
        weights = np.ones(len(c.truth)) if c.confidence is None else c.confidence
        sums = np.concatenate([[0.0], np.cumsum(weights, dtype=np.float64)])
        found = [
            Disagreement(
                i, start, stop, pair // width, pair % width - 1, float(sums[stop] - sums[start])
            )
            for start, stop, pair in runs.itertuples(index=False)
        ]
        worst += sorted(found, key=rank)[:MAX_BY_RECORDING]
    return sorted(worst, key=rank)[:MAX_DISAGREEMENTS]


def evaluation_page(
    metrics: Mapping[str, Any],
    comparisons: Sequence[Comparison],
    figures: Mapping[str, Figure],
    strips: Sequence[Sequence[tuple[int, NDArray[np.uint8]]]] = (),
) -> str:
    """Lay an evaluation out as an HTML page.

    Parameters
    ----------
    metrics : mapping
        What ``metrics.json`` holds, from `mpar.evaluation.write_evaluation`: every number of the
        page is one of these.
    comparisons : sequence of Comparison
        Of the same recordings, for the ethograms and the worst disagreements.
    figures : mapping of str to Figure
        Figures by file name; those that the page knows are put into it as SVG.
    strips : sequence of sequence of (int, (H, W) uint8 array), optional
        For each of `find_disagreements`, frames of it by their position in the arrays.

    Returns
    -------
    str
        The page. Equal inputs give equal pages.
    """
    names = metrics["scores"]["class_names"]
    remark = make_remark(metrics["remark"])

    def draw(*keys: str) -> str:
        return show_figures(figures, {key: _CAPTIONS[key] for key in keys})

    parts = {
        "headline": ("Headline", _source(metrics) + _headline(metrics)),
        "frames": ("Frames", _frames(metrics) + draw("confusion_matrix_normalized", "class_f1")),
        "bouts": ("Bouts", _bouts(metrics) + draw("event_f1", "bout_counts", "latencies")),
        "confidence": ("Confidence", _confidence(metrics) + draw("reliability")),
        "annotators": ("Annotators", _annotators(metrics)),
        "recordings": ("Recordings", _recordings(metrics, comparisons)),
        "worst": ("Worst disagreements", _worst(comparisons, names, strips)),
    }
    has_scores = dict.fromkeys(parts, True) | {
        "confidence": bool(metrics["calibration"] or metrics["effect_of_postprocessing"]),
        "annotators": bool(metrics["raters"]),
    }
    provenance = "provenance", "Where this comes from", _provenance(metrics)
    shown = [(key, title, remark * has_scores[key] + body) for key, (title, body) in parts.items()]
    return make_page(
        "mpar: evaluation", [*shown, provenance], names, [_ethogram_data(c) for c in comparisons]
    )


def summary_page(
    settings: Mapping[str, Any],
    by_group: pd.DataFrame,
    rows: Sequence[tuple[str, str, NDArray[np.integer], Fraction, Fraction]],
    class_names: Sequence[str],
    figures: Mapping[str, Figure],
    warnings: Sequence[str] = (),
    learnt: Collection[str] = (),
) -> str:
    """Lay the summary of an assay out as an HTML page.

    Parameters
    ----------
    settings : mapping
        Where the numbers come from, as in ``settings.json``.
    by_group : pandas.DataFrame
        From `mpar.assay.summarize_groups`; bins are left to the figure of the time course.
    rows : sequence of (str, str, (T,) integer array, Fraction, Fraction)
        As for `mpar.report.assay_plots.plot_raster`: an ethogram each.
    class_names : sequence of str, length K
        Name of each class.
    figures : mapping of str to Figure
        All are put into the page as SVG, in this order.
    warnings : sequence of str
        What to know before comparing groups.
    learnt : collection of str
        Names of the recordings of animals that the network learnt from.

    Returns
    -------
    str
        The page. Equal inputs give equal pages.
    """
    remark = make_remark(settings["remark"])
    tables = make_note(
        "Mean ± SEM (N animals). A latency leaves out the animals that never did it, and is too "
        "short then; N tells."
    )
    shown = by_group[by_group["Window_type"] != "bin"]
    for window, part in shown.groupby("Window", sort=False):
        tables += f"<h3>{escape(str(window))}</h3>" + _group_table(part, class_names)
    captions = {name: _caption_of(name) for name in figures}
    ethograms = []
    data = []
    for i, (group, name, labels, fps, onset) in enumerate(rows):
        mark = _SAME_ANIMAL if name in learnt else ""
        ethograms.append(_ethogram(i, name, f" in {escape(group)}{mark}"))
        comparison = Comparison(name=name, truth=labels, predicted=labels, fps=fps)
        only = {"rows": [{"name": MODEL, "runs": _runs(labels)}], "onset": float(onset)}
        data.append(_ethogram_data(comparison) | only)
    sections = [
        ("groups", "Groups", remark + "".join(f"<p>{escape(w)}</p>" for w in warnings) + tables),
        ("figures", "Figures", remark + show_figures(figures, captions)),
        ("recordings", "Recordings", remark + _legend(class_names) + "\n".join(ethograms)),
        ("provenance", "Where this comes from", _provenance(settings)),
    ]
    return make_page("mpar: summary", sections, class_names, data)


def _caption_of(name: str) -> str:
    """Return the caption of a figure of an assay."""
    if name == "ethograms":
        return "All recordings by group."
    if name == "time_course":
        return "Means of animals over the bins, bands: ± SEM."
    return (
        "A point an animal. Boxes: quartiles and median, whiskers to the last point within 1.5 box "
        "lengths. Triangles: animals that never did it, at the end of what was observed of them."
    )


def _group_table(part: pd.DataFrame, names: Sequence[str]) -> str:
    """Make the table of one window: a row for each class and group, a column for each measure."""
    measures = list(dict.fromkeys(part["Measure"]))
    rows: list[list[str]] = []
    for name in names:
        for group, found in part[part["Class"] == name].groupby("Group", sort=False):
            values = found.set_index("Measure").loc[measures, ["Mean", "SEM", "N"]]
            rows.append([show_class(names, name), str(group)])
            for mean, sem, n in values.itertuples(index=False):
                text = "n/a" if pd.isna(mean) else f"{mean:,.2f}"
                rows[-1].append(f"{text}{'' if pd.isna(sem) else f' ± {sem:,.2f}'} ({n})")
    return make_table(["class", "group", *(m.replace("_", " ") for m in measures)], rows, "dense")


def _source(metrics: Mapping[str, Any]) -> str:
    """Say what was scored, as far as it is known."""
    keys = ("checkpoint", "predictions", "cache", "annotations", "selection")
    texts = [f"{key} {metrics[key]}" for key in keys if key in metrics]
    return make_note(", ".join([*texts, f"mpar {metrics['mpar_version']}"]))


def _headline(metrics: Mapping[str, Any]) -> str:
    scores, intervals = metrics["scores"], metrics["intervals"]
    titles = {
        "macro_f1": "macro-F1",
        "balanced_accuracy": "balanced accuracy",
        "accuracy": "accuracy",
    }
    tiles = "".join(
        f'<div class="tile"><span>{title}</span><b>{score_text(scores[key])}</b>'
        f"<span>{_interval(intervals[key]) or 'no interval'}</span></div>"
        for key, title in titles.items()
    )
    named = [name for name in scores["class_names"] if name in PAIN_CLASSES]
    rows = [
        [show_class(scores["class_names"], name)]
        + [
            _with_interval(scores["classes"][name][key], intervals["classes"][name][key])
            for key in ("recall", "specificity", "f1")
        ]
        for name in named or scores["class_names"]
    ]
    num_animals = intervals["num_animals"]
    notes = [
        f"{len(metrics['recordings'])} recordings of {num_animals} animals, "
        f"{scores['num_frames']:,} labelled frames."
    ]
    if num_animals < 2:
        notes.append("No intervals: all recordings are of one animal.")
    else:
        notes.append(
            f"Brackets: {100 * intervals['level']:.0f} % intervals, {intervals['method']}, "
            f"{intervals['num_resamples']:,} draws. One without width says that these animals did "
            "not differ, not that no animal would."
        )
    if 2 <= num_animals < FEW_ANIMALS:
        notes.append(f"{num_animals} animals are few: the intervals are rough.")
    title = "pain class" if named else "class"
    table = make_table([title, "recall", "specificity", "F1"], rows)
    return f'<div class="tiles">{tiles}</div>{table}{make_note(" ".join(notes))}'


def _frames(metrics: Mapping[str, Any]) -> str:
    scores, intervals = metrics["scores"], metrics["intervals"]
    names = scores["class_names"]
    keys = ("precision", "recall", "specificity", "f1")
    rows = [
        [show_class(names, name)]
        + [
            _with_interval(scores["classes"][name][key], intervals["classes"][name][key])
            for key in keys
        ]
        + [f"{scores['classes'][name]['support']:,}"]
        for name in names
    ]
    columns = [*names, "unlabelled"] if scores["num_unpredicted"] else names
    counts = [
        [show_class(names, name), *(f"{n:,}" for n in line[: len(columns)])]
        for name, line in zip(names, scores["confusion"], strict=True)
    ]
    notes = ["n/a: no frame of this class in the truth; left out of all means."]
    if scores["num_unlabelled_ignored"]:
        notes.append(f"Unlabelled in the truth, ignored: {scores['num_unlabelled_ignored']:,}.")
    if scores["num_unpredicted"]:
        notes.append(f"Predicted as unlabelled, all misses: {scores['num_unpredicted']:,}.")
    return (
        make_table(["class", "precision", "recall", "specificity", "F1", "frames"], rows)
        + make_note(" ".join(notes))
        + "<h3>Confusion matrix</h3>"
        + make_table(["frames: true down, predicted across", *columns], counts)
    )


def _bouts(metrics: Mapping[str, Any]) -> str:
    names, events = metrics["scores"]["class_names"], metrics["events"]
    shown = [str(criterion) for criterion in SHOWN_CRITERIA]
    rows = [
        [
            show_class(names, name),
            f"{events[name]['true_bouts']:,}",
            f"{events[name]['predicted_bouts']:,}",
        ]
        + [
            _with_interval(
                events[name]["f1"][criterion],
                metrics["intervals"]["classes"][name]["event_f1"][criterion],
            )
            for criterion in shown
        ]
        for name in names
    ]
    head = ["class", "true bouts", "predicted bouts", *(f"F1, {text}" for text in shown)]
    return make_table(head, rows) + make_note(
        "Bouts are matched one to one: by the distance of their first frames, or by their "
        "temporal intersection over union."
    )


def _confidence(metrics: Mapping[str, Any]) -> str:
    calibration, effect = metrics["calibration"], metrics["effect_of_postprocessing"]
    text = make_note("Not known: these predictions came without confidences.")
    if calibration:
        error = score_text(calibration["expected_calibration_error"])
        num_frames = sum(part["frames"] for part in calibration["bins"])
        text = make_note(
            f"Expected calibration error {error} over {num_frames:,} frames: mean distance of "
            "confidence and share of right frames."
        )
    if effect:
        rows = [
            [words, score_text(effect[key]["macro_f1"]), score_text(effect[key]["event_f1"])]
            for words, key in (("without", "raw"), ("with", "post"))
        ]
        text += make_table(["post-processing", "macro-F1", "mean F1 of bouts"], rows)
        shown = " and ".join(str(criterion) for criterion in SHOWN_CRITERIA)
        text += make_note(f"On these recordings; mean F1 of bouts: over classes, at {shown}.")
    return text


def _annotators(metrics: Mapping[str, Any]) -> str:
    if not metrics["raters"]:
        return make_note("Not known: no recording was scored by two or more people.")
    names = metrics["scores"]["class_names"]
    rows = [
        [
            f"{pair['first']} and {pair['second']}",
            score_text(pair["kappa"]),
            f"{pair['num_frames']:,}",
        ]
        + [score_text(pair["f1"][name]) for name in names]
        for pair in metrics["raters"]
    ]
    networks = [pair["first"] for pair in metrics["raters"] if pair["with_network"]]
    head = ["scored by", "Cohen's kappa", "frames", *(f"F1 {name}" for name in names)]
    return make_table(head, rows) + make_note(
        " ".join(f"{name} is the network." for name in dict.fromkeys(networks))
        + " How well annotators agree is the ceiling for it."
    )


def _recordings(metrics: Mapping[str, Any], comparisons: Sequence[Comparison]) -> str:
    figures = []
    for i, c in enumerate(comparisons):
        scores = metrics["recordings"][c.name]
        text = "no labelled frame"
        if scores is not None:
            macro_f1, accuracy = (score_text(scores[key]) for key in ("macro_f1", "accuracy"))
            text = f"macro-F1 {macro_f1}, accuracy {accuracy}"
        animal = f" of {escape(c.group)}" if c.group and c.group != c.name else ""
        about = f"{animal}{_SAME_ANIMAL if c.is_learnt else ''} <span>{text}</span>"
        figures.append(_ethogram(i, c.name, about))
    return _legend(metrics["scores"]["class_names"]) + "\n".join(figures)


def _ethogram(i: int, name: str, about: str) -> str:
    """Make the place that the script draws an ethogram into."""
    return (
        f'<figure class="ethogram" id="recording-{i}"><figcaption><b>{escape(name)}</b>{about}'
        "</figcaption></figure>"
    )


def _legend(names: Sequence[str]) -> str:
    legend = "".join(f"<li>{show_class(names, name)}</li>" for name in names)
    return (
        f'<ul class="legend">{legend}<li>{make_swatch("unlabelled", "")}unlabelled</li></ul>'
        + make_note(
            "Point at a frame to read it. Drag over a stretch to see it larger, double-click to "
            "see all; or click and use the keys +, -, 0 and the arrows. Bouts shorter than a "
            "pixel are drawn one pixel wide, rare classes above frequent ones. Time is in seconds, "
            "or in minutes:seconds."
        )
        + "<noscript><p>Ethograms need JavaScript; pictures of them lie beside this page."
        "</p></noscript>"
    )


def _worst(
    comparisons: Sequence[Comparison],
    names: Sequence[str],
    strips: Sequence[Sequence[tuple[int, NDArray[np.uint8]]]],
) -> str:
    worst = find_disagreements(comparisons, names)
    if not worst:
        return make_note("None: mpar agrees with every labelled frame.")
    rows = []
    for item in worst:
        c = comparisons[item.recording]
        first, last = item.start, item.stop - 1
        place = f'data-recording="{item.recording}" data-start="{item.start}"'
        link = (
            f'<a class="show" href="#recording-{item.recording}" {place} '
            f'data-stop="{item.stop}">{escape(c.name)}</a>'
        )
        learnt = _SAME_ANIMAL if c.is_learnt else ""
        sure = "" if c.confidence is None else f"{c.confidence[item.start : item.stop].mean():.2f}"
        rows.append(
            [
                Markup(link + learnt),
                f"{first}-{last}" if last > first else str(first),
                f"{float(item.start / c.fps):.2f}",
                show_class(names, names[item.truth]),
                "unlabelled" if item.predicted < 0 else show_class(names, names[item.predicted]),
                sure,
            ]
        )
    head = ["recording", "frames", "from (s)", TRUTH, MODEL, "mean confidence"]
    note = (
        f"Runs of frames with one human and another predicted label: those of pain classes first, "
        f"then by frames times confidence; at most {MAX_BY_RECORDING} of a recording. Frames count "
        "from 0, both ends included. A click on a recording shows the place in its ethogram."
    )
    films = [_film(item, strip) for item, strip in zip(worst, strips, strict=False)]
    if films:
        note += " Outlined pictures are of frames in dispute."
    return make_note(note) + make_table(head, rows, "texts", films)


def _film(item: Disagreement, strip: Sequence[tuple[int, NDArray[np.uint8]]]) -> str:
    tiles = []
    for i, picture in strip:
        step = -(-max(picture.shape) // _TILE_PX)
        _, png = cv2.imencode(".png", np.ascontiguousarray(picture[::step, ::step]))
        inside = ' class="inside"' if item.start <= i < item.stop else ""
        tiles.append(
            f'<span{inside}><img alt="frame {i}" src="{data_uri("image/png", png.tobytes())}">'
            f"{i}</span>"
        )
    return f'<div class="film">{"".join(tiles)}</div>'


def _provenance(metrics: Mapping[str, Any]) -> str:
    items = []
    for key, value in metrics.items():
        if key not in _COMPUTED:
            lines = value if isinstance(value, list) else [] if value is None else [value]
            texts = [x if isinstance(x, str) else json.dumps(x, sort_keys=True) for x in lines]
            shown = "<br>".join(escape(text) for text in texts) or "none"
            items.append(f"<dt>{escape(key.replace('_', ' '))}</dt><dd>{shown}</dd>")
    return f"<dl>{''.join(items)}</dl>"


def _ethogram_data(c: Comparison) -> dict[str, Any]:
    """Give bouts, and the confidence in percent, one byte a frame."""
    truth, network = row_names([c])
    rows = [(truth, c.truth), *c.annotators.items(), (network, c.predicted)]
    percent = None
    if c.confidence is not None:
        percent = np.round(100 * np.nan_to_num(c.confidence)).clip(0, 100).astype(np.uint8)
    return {
        "name": c.name,
        "fps": float(c.fps),
        "onset": 0,
        "numFrames": len(c.truth),
        "rows": [{"name": name, "runs": _runs(labels)} for name, labels in rows],
        "confidence": None if percent is None else base64.b64encode(percent).decode(),
    }


def _runs(labels: NDArray[np.integer]) -> list[int]:
    """Return start and label of every run, one after the other; unlabelled is -1."""
    # Shifted by one, unlabelled runs are found like any others.
    runs = find_bouts(labels.astype(np.int64) + 1)
    return np.stack([runs["start"], runs["label"] - 1], axis=1).ravel().tolist()


def _interval(ends: Sequence[float] | None) -> str:
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def _with_interval(score: float | None, ends: Sequence[float] | None) -> str:
    return f"{score_text(score)} {_interval(ends)}".strip()
