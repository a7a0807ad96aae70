"""Scores as one HTML page that needs nothing else: no network, no other file, no library.

All text is escaped, all figures are inside, and a policy in the page forbids it to load anything.
Ethograms are drawn by the script below from the bouts of each recording, so that an hour of frames
costs what is in sight of it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from html import escape
from typing import Any, NamedTuple

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mpar.agreement import MODEL, Comparison
from mpar.bouts import find_bouts
from mpar.classes import PAIN_CLASSES, UNLABELLED
from mpar.events import SHOWN_CRITERIA
from mpar.metrics import score_text
from mpar.plots import class_colors
from mpar.score_report import FEW_ANIMALS

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
    "event_f1": "F1 of bouts over what counts as found.",
    "bout_counts": "Bouts of each recording, mpar less human, with bias and limits of agreement "
    "(Bland-Altman).",
    "latencies": "Latency to the first bout, of recordings in which both found one.",
    "reliability": "Share of right frames over confidence: on the diagonal it is what it says.",
}


_SAME_ANIMAL = ' <strong class="remark">same-animal</strong>'


class _Markup(str):
    """Text that is HTML already; all other text is escaped."""

    __slots__ = ()


class Disagreement(NamedTuple):
    """A run of frames with one true and another predicted label.

    Parameters
    ----------
    recording : int
        Position in the comparisons that were searched.
    start, stop : int
        Positions in the arrays of that comparison, half-open.
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
    remark = _remark(metrics["remark"])

    def draw(*keys: str) -> str:
        return _pictures(figures, {key: _CAPTIONS[key] for key in keys})

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
    return _page(
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
        As for `mpar.assay_plots.plot_raster`: an ethogram each.
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
    remark = _remark(settings["remark"])
    tables = _note(
        "Mean ± SEM (N animals). A latency leaves out the animals that never did it, and is too "
        "short then; N tells."
    )
    shown = by_group[by_group["Window_type"] != "bin"]
    for window, part in shown.groupby("Window", sort=False):
        tables += f"<h3>{escape(str(window))}</h3>" + _group_table(part, class_names)
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
        ("figures", "Figures", remark + _pictures(figures, dict.fromkeys(figures, ""))),
        ("recordings", "Recordings", remark + _legend(class_names) + "\n".join(ethograms)),
        ("provenance", "Where this comes from", _provenance(settings)),
    ]
    return _page("mpar: summary", sections, class_names, data)


def _group_table(part: pd.DataFrame, names: Sequence[str]) -> str:
    """Make the table of one window: a row for each class and group, a column for each measure."""
    measures = list(dict.fromkeys(part["Measure"]))
    rows: list[list[str]] = []
    for name in names:
        for group, found in part[part["Class"] == name].groupby("Group", sort=False):
            values = found.set_index("Measure").loc[measures, ["Mean", "SEM", "N"]]
            rows.append([_class(names, name), str(group)])
            for mean, sem, n in values.itertuples(index=False):
                text = "n/a" if pd.isna(mean) else f"{mean:,.2f}"
                rows[-1].append(f"{text}{'' if pd.isna(sem) else f' ± {sem:,.2f}'} ({n})")
    return _table(["class", "group", *(m.replace("_", " ") for m in measures)], rows, "dense")


def _page(
    title: str,
    sections: Sequence[tuple[str, str, str]],
    class_names: Sequence[str],
    recordings: Sequence[Mapping[str, Any]],
) -> str:
    """Put sections (key, title, HTML) and the data of the script into a page."""
    data = {
        "classes": [*class_names, "unlabelled"],
        "colors": [*class_colors(len(class_names)), "#ffffff"],
        "recordings": recordings,
    }
    links = " ".join(f'<a href="#{key}">{escape(name)}</a>' for key, name, _ in sections)
    body = "\n".join(
        f'<section id="{key}">\n<h2>{escape(name)}</h2>\n{html}\n</section>'
        for key, name, html in sections
    )
    # JSON inside a script element ends at the first "</script"; without "<" there is none.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>
<nav>{links}</nav></header>
<main>
{body}
</main>
<script type="application/json" id="data">{text}</script>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _source(metrics: Mapping[str, Any]) -> str:
    """Say what was scored, as far as it is known."""
    keys = ("checkpoint", "predictions", "cache", "annotations", "selection")
    texts = [f"{key} {metrics[key]}" for key in keys if key in metrics]
    return _note(", ".join([*texts, f"mpar {metrics['mpar_version']}"]))


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
        [_class(scores["class_names"], name)]
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
            f"{intervals['num_resamples']:,} draws."
        )
    if 2 <= num_animals < FEW_ANIMALS:
        notes.append(f"{num_animals} animals are few: the intervals are rough.")
    title = "pain class" if named else "class"
    table = _table([title, "recall", "specificity", "F1"], rows)
    return f'<div class="tiles">{tiles}</div>{table}{_note(" ".join(notes))}'


def _frames(metrics: Mapping[str, Any]) -> str:
    scores, intervals = metrics["scores"], metrics["intervals"]
    names = scores["class_names"]
    keys = ("precision", "recall", "specificity", "f1")
    rows = [
        [_class(names, name)]
        + [
            _with_interval(scores["classes"][name][key], intervals["classes"][name][key])
            for key in keys
        ]
        + [f"{scores['classes'][name]['support']:,}"]
        for name in names
    ]
    columns = [*names, "unlabelled"] if scores["num_unpredicted"] else names
    counts = [
        [_class(names, name), *(f"{n:,}" for n in line[: len(columns)])]
        for name, line in zip(names, scores["confusion"], strict=True)
    ]
    notes = ["n/a: no frame of this class in the truth; left out of all means."]
    if scores["num_unlabelled_ignored"]:
        notes.append(f"Unlabelled in the truth, ignored: {scores['num_unlabelled_ignored']:,}.")
    if scores["num_unpredicted"]:
        notes.append(f"Predicted as unlabelled, all misses: {scores['num_unpredicted']:,}.")
    return (
        _table(["class", "precision", "recall", "specificity", "F1", "frames"], rows)
        + _note(" ".join(notes))
        + "<h3>Confusion matrix</h3>"
        + _table(["frames: true down, predicted across", *columns], counts)
    )


def _bouts(metrics: Mapping[str, Any]) -> str:
    names, events = metrics["scores"]["class_names"], metrics["events"]
    shown = [str(criterion) for criterion in SHOWN_CRITERIA]
    rows = [
        [
            _class(names, name),
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
    return _table(head, rows) + _note(
        "Bouts are matched one to one: by the distance of their first frames, or by their "
        "temporal intersection over union."
    )


def _confidence(metrics: Mapping[str, Any]) -> str:
    calibration, effect = metrics["calibration"], metrics["effect_of_postprocessing"]
    text = _note("Not known: these predictions came without confidences.")
    if calibration:
        error = score_text(calibration["expected_calibration_error"])
        text = _note(
            f"Expected calibration error {error}: mean distance of confidence and share of right "
            "frames."
        )
    if effect:
        rows = [
            [words, score_text(effect[key]["macro_f1"]), score_text(effect[key]["event_f1"])]
            for words, key in (("without", "raw"), ("with", "post"))
        ]
        text += _table(["post-processing", "macro-F1", "mean F1 of bouts"], rows)
    return text


def _annotators(metrics: Mapping[str, Any]) -> str:
    if not metrics["raters"]:
        return _note("Not known: no recording was scored by two or more people.")
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
    head = ["scored by", "Cohen's kappa", "frames", *(f"F1 {name}" for name in names)]
    return _table(head, rows) + _note(
        f"{MODEL} is the network; how well annotators agree is the ceiling for it."
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
    legend = "".join(f"<li>{_class(names, name)}</li>" for name in names)
    return (
        f'<ul class="legend">{legend}<li>{_swatch("unlabelled", "")}unlabelled</li></ul>'
        + _note(
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
        return _note("None: mpar agrees with every labelled frame.")
    rows = []
    for item in worst:
        c = comparisons[item.recording]
        first, last = (_frame_number(c, i) for i in (item.start, item.stop - 1))
        place = f'data-recording="{item.recording}" data-start="{item.start}"'
        link = (
            f'<a class="show" href="#recording-{item.recording}" {place} '
            f'data-stop="{item.stop}">{escape(c.name)}</a>'
        )
        learnt = _SAME_ANIMAL if c.is_learnt else ""
        sure = "" if c.confidence is None else f"{c.confidence[item.start : item.stop].mean():.2f}"
        rows.append(
            [
                _Markup(link + learnt),
                f"{first}-{last}" if last > first else str(first),
                f"{float(item.start / c.fps):.2f}",
                _class(names, names[item.truth]),
                "unlabelled" if item.predicted < 0 else _class(names, names[item.predicted]),
                sure,
            ]
        )
    head = ["recording", "frames", "from (s)", "human", "mpar", "mean confidence"]
    note = (
        f"Runs of frames with one human and another predicted label: those of pain classes first, "
        f"then by frames times confidence; at most {MAX_BY_RECORDING} of a recording. Frames count "
        "from 0, both ends included. A click on a recording shows the place in its ethogram."
    )
    films = [
        _film(comparisons[item.recording], item, strip)
        for item, strip in zip(worst, strips, strict=False)
    ]
    if films:
        note += " Outlined pictures are of frames in dispute."
    return _note(note) + _table(head, rows, "texts", films)


def _film(
    comparison: Comparison, item: Disagreement, strip: Sequence[tuple[int, NDArray[np.uint8]]]
) -> str:
    tiles = []
    for i, picture in strip:
        step = -(-max(picture.shape) // _TILE_PX)
        _, png = cv2.imencode(".png", np.ascontiguousarray(picture[::step, ::step]))
        number = _frame_number(comparison, i)
        inside = ' class="inside"' if item.start <= i < item.stop else ""
        tiles.append(
            f'<span{inside}><img alt="frame {number}" src="{_uri("image/png", png.tobytes())}">'
            f"{number}</span>"
        )
    return f'<div class="film">{"".join(tiles)}</div>'


def _provenance(metrics: Mapping[str, Any]) -> str:
    items = []
    for key, value in metrics.items():
        if key not in _COMPUTED:
            lines = value if isinstance(value, list) else [value]
            texts = [x if isinstance(x, str) else json.dumps(x, sort_keys=True) for x in lines]
            shown = "<br>".join(escape(text) for text in texts) or "none"
            items.append(f"<dt>{escape(key.replace('_', ' '))}</dt><dd>{shown}</dd>")
    return f"<dl>{''.join(items)}</dl>"


def _ethogram_data(c: Comparison) -> dict[str, Any]:
    """Give bouts, and the confidence in percent, one byte a frame."""
    rows = [("human", c.truth), *c.annotators.items(), (MODEL, c.predicted)]
    steps = set() if c.frames is None else set(np.diff(c.frames).tolist())
    is_regular = len(steps) < 2
    percent = None
    if c.confidence is not None:
        percent = np.round(100 * np.nan_to_num(c.confidence)).clip(0, 100).astype(np.uint8)
    return {
        "name": c.name,
        "fps": float(c.fps),
        "onset": 0,
        "numFrames": len(c.truth),
        "first": _frame_number(c, 0) if len(c.truth) else 0,
        "step": steps.pop() if is_regular and steps else 1,
        "frames": None if is_regular or c.frames is None else c.frames.tolist(),
        "rows": [{"name": name, "runs": _runs(labels)} for name, labels in rows],
        "confidence": None if percent is None else base64.b64encode(percent).decode(),
    }


def _runs(labels: NDArray[np.integer]) -> list[int]:
    """Return start and label of every run, one after the other; unlabelled is -1."""
    # Shifted by one, unlabelled runs are found like any others.
    runs = find_bouts(labels.astype(np.int64) + 1)
    return np.stack([runs["start"], runs["label"] - 1], axis=1).ravel().tolist()


def _frame_number(c: Comparison, i: int) -> int:
    return i if c.frames is None else int(c.frames[i])


def _pictures(figures: Mapping[str, Figure], captions: Mapping[str, str]) -> str:
    """Put those figures that there are into the page, each with its caption."""
    shown = []
    for name, caption in captions.items():
        if name in figures:
            file = io.BytesIO()
            with mpl.rc_context({"svg.hashsalt": "mpar", "svg.fonttype": "path"}):
                figures[name].savefig(
                    file,
                    format="svg",
                    bbox_inches="tight",
                    pad_inches=0.04,
                    metadata={"Date": None},
                )
            shown.append(
                f'<figure><img alt="{escape(caption or name)}" '
                f'src="{_uri("image/svg+xml", file.getvalue())}">'
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
    return f'<div class="figures">{"".join(shown)}</div>' if shown else ""


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    kind: str = "numbers",
    below: Sequence[str] = (),
) -> str:
    """Make a table, with HTML below each row; cells are escaped unless they are HTML already."""
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    lines = []
    for i, (first, *rest) in enumerate(rows):
        cells = "".join(f"<td>{_html(cell)}</td>" for cell in rest)
        kind_of_row = ' class="filmed"' if below else ""
        lines.append(f'<tr{kind_of_row}><th scope="row">{_html(first)}</th>{cells}</tr>')
        if below:
            lines.append(f'<tr><td colspan="{len(head)}">{below[i]}</td></tr>')
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table class="{kind}">\n<thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
    )


def _html(text: str) -> str:
    return str(text) if isinstance(text, _Markup) else escape(text)


def _class(names: Sequence[str], name: str) -> _Markup:
    """Write a class with its colour beside it."""
    color = class_colors(len(names))[list(names).index(name)]
    return _Markup(f"{_swatch('', color)}{escape(name)}")


def _swatch(kind: str, color: str) -> str:
    style = f' style="background:{color}"' if color else ""
    return f'<i class="swatch {kind}"{style}></i>'


def _remark(text: str) -> str:
    return f'<p class="remark">{escape(text)}</p>' if text else ""


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _interval(ends: Sequence[float] | None) -> str:
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def _with_interval(score: float | None, ends: Sequence[float] | None) -> str:
    return f"{score_text(score)} {_interval(ends)}".strip()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_STYLE = """
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff; }
header, main { max-width: 1160px; margin: 0 auto; padding: 0 20px; }
h1 { font-size: 24px; margin: 20px 0 4px; }
h2 { font-size: 19px; margin: 36px 0 8px; border-bottom: 1px solid #bbb; }
h3 { font-size: 16px; margin: 20px 0 6px; }
nav a { margin-right: 14px; }
a { color: #0b4f8a; }
.remark { font-style: italic; font-weight: 600; border-left: 4px solid #222; padding: 2px 8px;
  background: #fff3c4; }
strong.remark { border: 0; font-size: 13px; }
.note { color: #555; font-size: 13px; max-width: 75ch; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 14px 0; }
.tile { border: 1px solid #bbb; border-radius: 4px; padding: 8px 16px; min-width: 150px; }
.tile b { display: block; font-size: 28px; line-height: 1.2; }
.tile span { color: #555; font-size: 13px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 10px 0; font-size: 14px; }
th, td { padding: 3px 12px; border-bottom: 1px solid #ddd; text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { border-bottom: 1px solid #222; vertical-align: bottom; white-space: normal; }
tbody th { font-weight: 500; }
.dense { font-size: 12.5px; }
.dense th, .dense td { padding: 3px 7px; }
.dense td:nth-child(2), .dense th:nth-child(2) { text-align: left; }
th:first-child, .texts th, .texts td { text-align: left; }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 6px;
  border: 1px solid #222; }
.unlabelled { background: repeating-linear-gradient(45deg, #fff 0 3px, #999 3px 4px); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; list-style: none; }
.figures { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-end; }
figure { margin: 12px 0; }
figure img { max-width: 100%; display: block; }
figcaption { color: #555; font-size: 13px; }
.ethogram { border-top: 1px solid #ddd; padding-top: 8px; }
.ethogram figcaption b { color: #222; font-size: 15px; overflow-wrap: anywhere; }
.ethogram figcaption span { margin-left: 8px; }
.plot { position: relative; }
canvas { display: block; width: 100%; cursor: crosshair; touch-action: pan-y; }
canvas:focus-visible { outline: 2px solid #0b4f8a; }
.mark { position: absolute; top: 0; pointer-events: none; background: rgba(0, 0, 0, 0.2);
  border-left: 1px solid #222; display: none; }
.tools { display: flex; margin: 4px 0; gap: 4px; align-items: baseline; font-size: 13px; }
.tools button { font: inherit; min-width: 30px; }
output { margin-left: 8px; font-variant-numeric: tabular-nums; }
.filmed th, .filmed td { border-bottom: 0; padding-top: 12px; }
.film { display: flex; gap: 3px; padding-bottom: 6px; }
.film span { font-size: 11px; color: #555; text-align: center; border: 2px solid transparent; }
.film .inside { border-color: #d04838; color: #222; }
.film img { display: block; width: 112px; }
dt { font-weight: 600; margin-top: 6px; }
dd { margin: 0; overflow-wrap: anywhere; }
@media print { nav, .tools { display: none; } section { break-inside: avoid-page; } }
"""

_SCRIPT = r"""
"use strict";
window.onerror = (message) => { document.documentElement.dataset.error = message; };
(() => {
const INK = "#222222", LEFT = 90, RIGHT = 14, ROW = 20, THIN = 7, TRACE = 22, GAP = 4, AXIS = 22;
const MIN_FRAMES = 8;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
  3600, 7200, 14400];
const data = JSON.parse(document.getElementById("data").textContent);
const nameOf = (label) => data.classes.at(label);  // -1 is the last: unlabelled
const make = (tag, parent, properties) =>
  parent.appendChild(Object.assign(document.createElement(tag), properties));

// Which run holds a frame; runs are [start, label, start, label, ...].
function runAt(runs, frame) {
  let low = 0, high = runs.length / 2 - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (runs[2 * middle] <= frame) low = middle; else high = middle - 1;
  }
  return low;
}

function stopOf(runs, run, numFrames) {
  return 2 * run + 2 < runs.length ? runs[2 * run + 2] : numFrames;
}

// Runs of 1 where two rows disagree; frames that the first has no label for disagree with none.
function differences(a, b, numFrames) {
  const runs = [];
  for (let frame = 0; frame < numFrames;) {
    const i = runAt(a, frame), j = runAt(b, frame);
    const differs = a[2 * i + 1] >= 0 && a[2 * i + 1] !== b[2 * j + 1] ? 1 : 0;
    if (!runs.length || runs.at(-1) !== differs) runs.push(frame, differs);
    frame = Math.min(stopOf(a, i, numFrames), stopOf(b, j, numFrames));
  }
  return runs;
}

function timeText(seconds, step) {
  if (seconds < 0) return "\u2212" + timeText(-seconds, step);
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  if (seconds < 60 && step < 60) return seconds.toFixed(digits) + " s";
  const rest = (seconds % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return Math.floor(seconds / 60) + ":" + rest;
}

const hatch = (() => {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const pen = tile.getContext("2d");
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = "#999999";
  pen.beginPath();
  for (const x of [-3, 3, 9]) { pen.moveTo(x - 3, 6); pen.lineTo(x + 3, 0); }
  pen.stroke();
  return tile;
})();

function isDark(color) {
  const [red, green, blue] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 120;
}

function ethogram(figure, recording) {
  const numFrames = recording.numFrames, rows = recording.rows;
  if (!numFrames) return null;
  const confidence = recording.confidence &&
    Uint8Array.from(atob(recording.confidence), (c) => c.charCodeAt(0));
  const differ = rows.length > 1 && differences(rows[0].runs, rows.at(-1).runs, numFrames);
  const secondsAt = (frame) => frame / recording.fps - recording.onset;
  const orders = rows.map(({runs}) => {  // of drawing: rare classes above frequent ones
    const counts = new Map();
    for (let run = 0; run < runs.length / 2; run++) {
      const frames = stopOf(runs, run, numFrames) - runs[2 * run];
      counts.set(runs[2 * run + 1], (counts.get(runs[2 * run + 1]) || 0) + frames);
    }
    return [...counts].sort((a, b) => b[1] - a[1]).map(([label]) => label);
  });
  const bands = rows.length * (ROW + GAP) + (differ ? THIN + GAP : 0)
    + (confidence ? TRACE + GAP : 0);
  const tools = make("div", figure, {className: "tools"});
  const plot = make("div", figure, {className: "plot"});
  const canvas = make("canvas", plot, {tabIndex: 0});
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "ethogram of " + recording.name);
  canvas.style.height = bands + AXIS + "px";
  const mark = make("div", plot, {className: "mark"});
  mark.style.height = bands + "px";
  let start = 0, stop = numFrames, width = 0, dragged = null;
  const x = (frame) => LEFT + (frame - start) / (stop - start) * width;
  const frameAt = (position) => Math.min(numFrames - 1, Math.max(0,
    Math.floor(start + (position - LEFT) / width * (stop - start))));

  function look(from, to) {
    const span = Math.min(numFrames, Math.max(Math.min(MIN_FRAMES, numFrames), to - from));
    const middle = (from + to) / 2;
    start = Math.max(0, Math.min(numFrames - span, middle - span / 2));
    stop = start + span;
    draw();
  }
  const zoom = (factor) => {
    const middle = (start + stop) / 2, half = (stop - start) / 2 * factor;
    look(middle - half, middle + half);
  };
  const shift = (share) => {
    const step = (stop - start) * share;
    const moved = Math.max(-start, Math.min(numFrames - stop, step));
    look(start + moved, stop + moved);
  };
  const all = () => look(0, numFrames);

  function drawRuns(pen, runs, top, height, order, style) {
    const first = runAt(runs, Math.floor(start));
    for (const label of order) {
      pen.fillStyle = style(label, pen);
      for (let run = first; 2 * run < runs.length && runs[2 * run] < stop; run++) {
        if (runs[2 * run + 1] !== label) continue;
        const left = x(Math.max(start, runs[2 * run]));
        const right = x(Math.min(stop, stopOf(runs, run, numFrames)));
        pen.fillRect(left, top, Math.max(1, right - left), height);
      }
    }
  }

  function nameRuns(pen, runs, top) {
    for (let run = runAt(runs, Math.floor(start)); 2 * run < runs.length; run++) {
      if (runs[2 * run] >= stop) break;
      const left = x(Math.max(start, runs[2 * run]));
      const right = x(Math.min(stop, stopOf(runs, run, numFrames)));
      const label = runs[2 * run + 1];
      if (label < 0 || right - left < 30) continue;
      if (pen.measureText(data.classes[label]).width > right - left - 8) continue;
      pen.fillStyle = isDark(data.colors[label]) ? "#ffffff" : INK;
      pen.fillText(data.classes[label], left + 4, top + ROW / 2 + 1);
    }
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1, full = canvas.clientWidth;
    width = Math.max(50, full - LEFT - RIGHT);
    canvas.width = Math.round(full * ratio);
    canvas.height = Math.round((bands + AXIS) * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    const pattern = pen.createPattern(hatch, "repeat");
    const paint = (label) => label < 0 ? pattern : data.colors[label];
    const title = (text, middle) => {
      pen.fillStyle = INK;
      pen.fillText(text, 0, middle, LEFT - 8);
    };
    let top = 0;
    rows.forEach((row, r) => {
      title(row.name, top + ROW / 2);
      drawRuns(pen, row.runs, top, ROW, orders[r], paint);
      nameRuns(pen, row.runs, top);
      top += ROW + GAP;
    });
    if (differ) {
      title("differ", top + THIN / 2);
      drawRuns(pen, differ, top, THIN, [1], () => INK);
      top += THIN + GAP;
    }
    if (confidence) {
      title("confidence", top + TRACE / 2);
      pen.fillStyle = "#9a9a9a";
      const cell = Math.max(1, width / (stop - start));
      for (let left = 0; left < width - 0.01; left += cell) {
        const from = frameAt(LEFT + left + 0.01);
        const to = Math.max(from + 1, Math.ceil(start + (left + cell) / width * (stop - start)));
        let sum = 0, count = 0;
        for (let i = from; i < Math.min(to, numFrames); i++) { sum += confidence[i]; count++; }
        const height = TRACE * sum / count / 100;
        const right = Math.min(cell + 0.5, width - left);  // no seam between neighbours
        pen.fillRect(LEFT + left, top + TRACE - height, right, height);
      }
      pen.strokeStyle = "#cccccc";
      pen.strokeRect(LEFT, top, width, TRACE);
      top += TRACE + GAP;
    }
    const seconds = (stop - start) / recording.fps;
    const step = STEPS.find((s) => seconds / s <= 8) || STEPS.at(-1);
    pen.fillStyle = pen.strokeStyle = INK;
    pen.textAlign = "center";
    pen.beginPath();
    pen.moveTo(LEFT, top + 0.5);
    pen.lineTo(LEFT + width, top + 0.5);
    for (let n = Math.ceil(secondsAt(start) / step - 1e-9);
         n * step <= secondsAt(stop) + 1e-9; n++) {
      const at = x((n * step + recording.onset) * recording.fps);
      pen.moveTo(at, top);
      pen.lineTo(at, top + 4);
      if (at < LEFT + width - 8) pen.fillText(timeText(n * step, step), at, top + 13);
    }
    pen.stroke();
  }

  const button = (text, title, act) =>
    make("button", tools, {type: "button", textContent: text, title, onclick: act});
  button("+", "larger", () => zoom(0.5));
  button("\u2212", "smaller", () => zoom(2));
  button("\u25c2", "earlier", () => shift(-0.5));
  button("\u25b8", "later", () => shift(0.5));
  button("all", "the whole recording", all);
  const output = make("output", tools, {textContent: "\u00a0"});

  function read(frame) {
    const number = recording.frames ? recording.frames[frame]
      : recording.first + frame * recording.step;
    const parts = ["frame " + number, secondsAt(frame).toFixed(3) + " s"];
    for (const {name, runs} of rows) {
      parts.push(name + " " + nameOf(runs[2 * runAt(runs, frame) + 1]));
    }
    if (confidence) parts.push("confidence " + (confidence[frame] / 100).toFixed(2));
    output.textContent = parts.join(" \u00b7 ");
  }
  const place = (event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener("pointerdown", (event) => { dragged = place(event); });
  canvas.addEventListener("pointermove", (event) => {
    const at = Math.min(LEFT + width, Math.max(LEFT, place(event)));
    const from = dragged === null ? at : Math.max(LEFT, Math.min(dragged, at));
    mark.style.display = "block";
    mark.style.left = from + "px";
    mark.style.width = (dragged === null ? 0 : Math.abs(at - Math.max(LEFT, dragged))) + "px";
    read(frameAt(at));
  });
  canvas.addEventListener("pointerup", (event) => {
    const from = dragged;
    dragged = null;
    mark.style.width = "0";
    if (from === null || Math.abs(place(event) - from) < 5) return;
    const ends = [from, place(event)].map((at) => Math.min(LEFT + width, Math.max(LEFT, at)));
    const [a, b] = ends.map((at) => start + (at - LEFT) / width * (stop - start));
    look(Math.min(a, b), Math.max(a, b));
  });
  canvas.addEventListener("pointerleave", () => {
    dragged = null;
    mark.style.display = "none";
  });
  canvas.addEventListener("dblclick", all);
  canvas.addEventListener("keydown", (event) => {
    const acts = {"+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": all,
      ArrowLeft: () => shift(-0.25), ArrowRight: () => shift(0.25)};
    if (!acts[event.key] || event.ctrlKey || event.metaKey) return;
    acts[event.key]();
    event.preventDefault();
  });
  draw();
  return {draw, look, read};
}

const ethograms = data.recordings.map((recording, i) =>
  ethogram(document.getElementById("recording-" + i), recording));
let timer = 0;
window.addEventListener("resize", () => {
  clearTimeout(timer);
  timer = setTimeout(() => ethograms.forEach((one) => one && one.draw()), 100);
});
for (const link of document.querySelectorAll("a.show")) {
  link.addEventListener("click", () => {
    const {recording, start, stop} = link.dataset;
    const margin = Math.max(15, 1.5 * (stop - start));
    ethograms[recording].look(Number(start) - margin, Number(stop) + margin);
    ethograms[recording].read(Number(start));
  });
}
document.documentElement.dataset.drawn = String(ethograms.filter(Boolean).length);
})();
"""
