"""Figures of bouts, counts and confidences, in the style of `mpar.report.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from mpar.report.style import INK, SMALL_PT, TEXT_PT, TEXT_WIDTH_IN, class_colors, new_figure, plain
from mpar.scores.agreement import bland_altman
from mpar.scores.calibration import Calibration
from mpar.scores.events import CRITERIA, EventScores

_TINY = 1e-9
_MARKERS = "osD^vPX*<>hd"
_RIM = [withStroke(linewidth=2.2, foreground=INK)]  # keeps pale colours visible


def plot_event_f1(scores: EventScores) -> Figure:
    """Plot the F1 of bouts over the matching criterion: distance of onsets, and overlap.

    Each panel has one line per class that has true bouts, whose number the legend gives. Markers at
    one threshold are side by side, so that equal scores are visible.
    """
    figure = new_figure(TEXT_WIDTH_IN, 2.9)
    panels = figure.subplots(1, 2, sharey=True)
    labels = {"onset": "onset within ± frames", "iou": "temporal IoU of at least"}
    colors = class_colors(len(scores.class_names))
    for axes, (kind, label) in zip(panels, labels.items(), strict=True):
        rows = [c for c, criterion in enumerate(CRITERIA) if criterion.kind == kind]
        thresholds = [CRITERIA[c].threshold for c in rows]
        shown = np.flatnonzero(scores.num_true)
        step_pt = min(2.0, 11 / max(1, len(shown)))
        for place, k in enumerate(shown):
            shift_in = step_pt * (place - (len(shown) - 1) / 2) / 72
            aside = ScaledTranslation(shift_in, 0, figure.dpi_scale_trans)
            axes.plot(
                thresholds,
                scores.f1[rows, k],
                color=colors[k],
                marker=_MARKERS[k % len(_MARKERS)],
                markersize=4,
                markeredgecolor=INK,
                markeredgewidth=0.5,
                linewidth=1.2,
                path_effects=_RIM,
                transform=axes.transData + aside,
                clip_on=False,
                label=f"{plain(scores.class_names[k])} (n = {scores.num_true[k]:,})",
            )
        edge = 0.06 * (thresholds[-1] - thresholds[0])
        axes.set_xticks(thresholds)
        axes.set_xlim(thresholds[0] - edge, thresholds[-1] + edge)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(label, size=TEXT_PT)
        _tidy(axes)
    panels[0].set_ylabel("F1 of bouts", size=TEXT_PT)
    handles, names = panels[0].get_legend_handles_labels()
    if names:
        figure.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=3,
            frameon=False,
            fontsize=TEXT_PT,
        )
    return figure


def plot_bland_altman(
    table: pd.DataFrame, class_names: Sequence[str], *, what: str = "bouts", unit: str = "bouts"
) -> Figure:
    """Plot the difference of predicted and true values of recordings over their mean, by class.

    The table comes from `mpar.scores.agreement.recording_table`; `what` is its column, without
    ``True_`` and ``Predicted_``: bouts, s or latency_s. Each point is a recording, larger where
    several coincide; lines show the bias and the 95 % limits of agreement.
    """
    num_columns = min(3, len(class_names))
    num_rows = -(-len(class_names) // num_columns)
    figure = new_figure(TEXT_WIDTH_IN, 1.9 * num_rows)
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axes, name, color in zip(panels, class_names, class_colors(len(class_names)), strict=False):
        rows = table[table["Class"] == name]
        true, predicted = (rows[f"{w}_{what}"].to_numpy(float) for w in ("True", "Predicted"))
        known = ~np.isnan(true) & ~np.isnan(predicted)
        points = np.stack([(true + predicted) / 2, predicted - true])[:, known].T
        places, counts = np.unique(points, axis=0, return_counts=True)
        axes.scatter(
            *places.T, s=14 * counts, color=color, edgecolor=INK, linewidth=0.5, clip_on=False
        )
        found = bland_altman(true, predicted)
        axes.axhline(0, color="#AAAAAA", linewidth=0.8)
        for level, style in ((found.bias, "-"), (found.low, "--"), (found.high, "--")):
            if not np.isnan(level):
                axes.axhline(level, color=INK, linewidth=0.8, linestyle=style)
        text = f"{plain(name)}, n = {found.num}"
        if found.num > 1:
            text += f"\nbias {_signed(found.bias)} [{_signed(found.low)}, {_signed(found.high)}]"
        axes.set_title(text, size=SMALL_PT)
        if not found.num:
            axes.set(xticks=[], yticks=[])
        axes.margins(0.12, 0.2)
        if found.num:  # with equal values, matplotlib cannot choose the length of an axis
            if np.ptp(points[:, 0]) < _TINY:
                axes.set_xlim(points[0, 0] - 1, points[0, 0] + 1)
            if np.ptp([*points[:, 1], 0]) < _TINY:
                axes.set_ylim(-1, 1)
        if what == "bouts":
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 5, 10]))
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        _tidy(axes)
    for axes in panels[len(class_names) :]:
        axes.set_visible(False)
    figure.supxlabel(
        f"mean of human and mpar ({unit}); larger points: several recordings; dashed: bias ± 1.96 "
        "SD",
        size=TEXT_PT,
    )
    figure.supylabel(f"mpar - human ({unit})", size=TEXT_PT)
    return figure


def plot_reliability(calibration: Calibration) -> Figure:
    """Plot the share of correct frames and the number of frames over the confidence.

    On the diagonal, confidence equals the share of correct frames; below it, the network is
    overconfident.
    """
    figure = new_figure(3.0, 3.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges = np.linspace(0, 1, len(calibration.num_frames) + 1)
    known = calibration.num_frames > 0
    upper.plot([0, 1], [0, 1], color="#AAAAAA", linewidth=0.8)
    upper.plot(
        calibration.confidence[known],
        calibration.accuracy[known],
        color=INK,
        marker="o",
        markersize=4,
        linewidth=1,
        clip_on=False,
    )
    upper.set_ylim(-0.03, 1.03)
    upper.set_ylabel("share of correct frames", size=TEXT_PT)
    error, num = calibration.expected_error, calibration.num_frames.sum()
    upper.set_title(f"expected calibration error {error:.3f}\nn = {num:,} frames", size=TEXT_PT)
    lower.bar(
        edges[:-1],
        calibration.num_frames,
        width=np.diff(edges),
        align="edge",
        color="#BBBBBB",
        edgecolor=INK,
        linewidth=0.5,
    )
    lower.set_yscale("symlog", linthresh=1)
    lower.set_ylabel("frames", size=TEXT_PT)
    lower.set_xlabel("confidence", size=TEXT_PT)
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        _tidy(axes)
    return figure


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−") if abs(value) > _TINY else "0"


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=SMALL_PT)
    axes.spines[["top", "right"]].set_visible(False)


def plot_learning_curve(curve: Mapping[str, Any]) -> Figure:
    """Plot scores over the number of animals to learn from (`learning_curve.measure_curve`).

    Macro-F1 and the F1 of each shown class have intervals over test animals; labels below the axis
    give the animals and the bouts of the shown classes.
    """
    points = curve["points"]
    places = [point["num_animals"] for point in points]
    lines = {"macro-F1": [point["macro_f1"] for point in points]}
    lines |= {name: [point["f1"][name] for point in points] for name in curve["shown"]}
    indices = curve["class_indices"]
    palette = class_colors(max(indices) + 1)
    colors = [INK, *(palette[k] for k in indices)]
    figure = new_figure(4.6, 3.0)
    axes = figure.add_subplot()
    step = 0.012 * max(1, places[-1] - places[0])
    for i, (name, values) in enumerate(lines.items()):
        scores = np.array(values, float)
        x = np.array(places) + step * (i - (len(lines) - 1) / 2)  # whiskers side by side
        reach = np.abs(scores[:, 1:] - scores[:, :1]).T
        axes.errorbar(
            x,
            scores[:, 0],
            yerr=np.nan_to_num(reach),
            color=colors[i],
            marker=_MARKERS[i % len(_MARKERS)],
            markersize=4,
            linewidth=1.8 if i == 0 else 1,
            elinewidth=0.8,
            capsize=2,
            label=plain(name) + (" (n/a)" if np.isnan(scores[:, 0]).all() else ""),
        )
    axes.set_xticks(places, [f"{p['num_animals']}\n({p['num_events']:,})" for p in points])
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("animals to learn from (their bouts of these classes)", size=TEXT_PT)
    axes.set_ylabel("F1 on test animals", size=TEXT_PT)
    _tidy(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=TEXT_PT)
    return figure
