"""Figures of an assay: ethograms, time course and groups, in the style of `mpar.report.plots`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from mpar.labels.bouts import as_labels
from mpar.labels.classes import UNLABELLED
from mpar.matching.metadata import Animal
from mpar.report.style import (
    INK,
    SMALL_PT,
    TEXT_PT,
    TEXT_WIDTH_IN,
    add_legend,
    class_colors,
    draw_strip,
    new_figure,
    num_legend_columns,
    plain,
    strip_styles,
    text_inches,
)

_GROUP_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#222222", "linestyle": "-", "marker": "o"},
    {"color": "#777777", "linestyle": "--", "marker": "s", "markerfacecolor": "white"},
    {"color": "#222222", "linestyle": ":", "marker": "^", "markerfacecolor": "white"},
    {"color": "#777777", "linestyle": "-.", "marker": "D"},
    {"color": "#222222", "linestyle": "--", "marker": "v"},
    {"color": "#777777", "linestyle": "-", "marker": "P", "markerfacecolor": "white"},
)
_MIN_BOX = 3  # quartiles of fewer values only repeat the points


def plot_raster(animals: Sequence[Animal], class_names: Sequence[str]) -> Figure:
    """Plot the scorings of many animals as thin strips, below the name of their group.

    Animals are sorted by group. Time begins at 0, or is negative before a dashed line at 0; its
    unit is minutes if it exceeds three minutes. Bouts look as in `plot_ethogram`.
    """
    arrays = [as_labels(a.recording.labels, num_classes=len(class_names)) for a in animals]
    edges = [animal.recording.clock.edges - float(animal.onset) for animal in animals]
    begin, end = min(0.0, *(e[0] for e in edges)), max(e[-1] for e in edges)
    unit, unit_seconds = _time_unit(end)
    styles = strip_styles(len(class_names))
    names = [plain(name) for name in class_names]
    if any((array == UNLABELLED).any() for array in arrays):
        names.append("unlabelled")

    groups = [animal.group for animal in animals]
    counts = {
        group: len({animal.animal for animal in animals if animal.group == group})
        for group in groups
    }
    num_lines = len(animals) + len(counts)
    num_columns = num_legend_columns(names)
    num_legend_lines = -(-len(names) // num_columns)
    figure = new_figure(TEXT_WIDTH_IN, 0.17 * num_lines + 0.17 * num_legend_lines + 0.6)
    axes = figure.add_subplot()
    positions = []
    line = 0
    for i, group in enumerate(groups):
        if i == 0 or group != groups[i - 1]:
            text = f"{plain(group)} (n = {counts[group]})"
            left = begin / unit_seconds
            axes.text(left, line + 0.1, text, size=TEXT_PT, va="center", weight="bold", color=INK)
            line += 1
        length = (end - begin) / unit_seconds
        draw_strip(axes, line, arrays[i], styles, edges[i] / unit_seconds, length)
        positions.append(line)
        line += 1
    if begin < 0:
        axes.axvline(0, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlim(begin / unit_seconds, end / unit_seconds)
    axes.set_ylim(num_lines - 0.4, -0.6)
    axes.set_yticks(positions, [plain(animal.recording.name) for animal in animals])
    axes.tick_params(labelsize=TEXT_PT)
    axes.tick_params(axis="y", length=0, labelsize=SMALL_PT)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.set_xlabel(f"time{' from the stimulus' if begin < 0 else ''} ({unit})", size=TEXT_PT)
    add_legend(figure, styles, names, num_columns)
    return figure


def plot_time_course(by_group: pd.DataFrame, class_names: Sequence[str]) -> Figure:
    """Plot the share of each class over time for each group: means with bands of one SEM.

    `by_group` holds one measure in percent, by bin, from `mpar.summarize.summarize_groups`. Each
    class has a panel with a bar in its colour; groups differ in line, marker and grey. Points lie
    in the middle of their bins. Bins without an animal have no point, bins with one animal no band.
    """
    groups = list(dict.fromkeys(by_group["Group"]))
    unit, unit_seconds = _time_unit(by_group["Window_stop_s"].max())
    num_columns = min(3, len(class_names))
    num_rows = -(-len(class_names) // num_columns)
    labels = {
        group: f"{plain(group)} ({_range_text(by_group[by_group['Group'] == group]['N'])})"
        for group in groups
    }
    figure = new_figure(TEXT_WIDTH_IN * num_columns / 3, 1.55 * num_rows + 0.5)
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True)
    for k, axes in enumerate(grid.flat):
        if k >= len(class_names):
            axes.set_visible(False)
            continue
        for g, group in enumerate(groups):
            is_mine = (by_group["Group"] == group) & (by_group["Class"] == class_names[k])
            mine = by_group[is_mine & (by_group["N"] > 0)]
            middle = (mine["Window_start_s"] + mine["Window_stop_s"]) / 2 / unit_seconds
            mean, sem = mine["Mean"].astype(float), mine["SEM"].astype(float)
            style = _GROUP_STYLES[g % len(_GROUP_STYLES)]
            axes.fill_between(
                middle, mean - sem, mean + sem, color=style["color"], alpha=0.22, linewidth=0
            )
            axes.plot(middle, mean, label=labels[group], linewidth=1.1, markersize=3.5, **style)
        _mark_class(axes, class_names[k], class_colors(len(class_names))[k])
        _fit_from_zero(axes)
        axes.set_xlim(0, by_group["Window_stop_s"].max() / unit_seconds)
        axes.tick_params(labelsize=SMALL_PT)
        if k + num_columns >= len(class_names):  # no panel below it
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(f"time ({unit})", size=TEXT_PT)
    figure.supylabel("% of the bin, mean ± SEM", size=TEXT_PT)
    handles, texts = grid.flat[0].get_legend_handles_labels()
    figure.legend(
        handles,
        texts,
        loc="outside lower center",
        ncols=max(1, min(len(groups), 4)),
        frameon=False,
        fontsize=TEXT_PT,
        handlelength=3,
    )
    return figure


def plot_groups(by_animal: pd.DataFrame, class_names: Sequence[str], *, title: str = "") -> Figure:
    """Plot groups side by side for each class: seconds, bouts and latency, one point per animal.

    `by_animal` holds one window, from `mpar.summarize.summarize_animals`. Left of the points, boxes
    span the quartiles with a line at the median; whiskers extend to the last point within 1.5 box
    lengths. Groups of fewer than three animals have no box. Latencies have no box either, because
    quartiles cannot include animals without a bout. Triangles mark these animals, at the end of
    their observation time.
    """
    groups = list(dict.fromkeys(by_animal["Group"]))
    colors = class_colors(len(class_names))
    keys = ["Group", "Animal", "Class"]
    has_never = (by_animal["Latency_censored"] == "yes").any()
    latency = "latency (s)\n△ no bout" if has_never else "latency (s)"
    measures = {"Seconds": "time (s)", "Bouts": "bouts", "Latency_s": latency}
    table = by_animal.assign(
        **{name: by_animal[name].astype(float) for name in measures},
        Is_censored=(by_animal["Latency_censored"] == "yes").astype(float),
    )
    table = table.groupby(keys, sort=False)[[*measures, "Observed_s", "Is_censored"]].mean()
    table = table.reset_index()
    counts = {group: table[table["Group"] == group]["Animal"].nunique() for group in groups}
    ticks = [f"{textwrap.fill(plain(group), 16)}\nn = {counts[group]}" for group in groups]
    panel_in = (TEXT_WIDTH_IN - 1.2) / len(measures)
    is_tight = text_inches(ticks, SMALL_PT) * len(groups) > panel_in
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if is_tight else {}
    foot_in = text_inches(ticks, SMALL_PT) * 0.7 if is_tight else 0.3
    figure = new_figure(TEXT_WIDTH_IN, 1.25 * len(class_names) + foot_in + 0.25 * bool(title))
    grid = figure.subplots(len(class_names), len(measures), squeeze=False, sharex=True)
    for k, name in enumerate(class_names):
        mine = table[table["Class"] == name]
        for axes, (measure, label) in zip(grid[k], measures.items(), strict=True):
            for g, group in enumerate(groups):
                part = mine[mine["Group"] == group]
                values = part[measure].dropna().to_numpy()
                if measure != "Latency_s" and len(values) >= _MIN_BOX:
                    _draw_box(axes, g - 0.2, values, colors[k])
                at = g if measure == "Latency_s" else g + 0.2
                _draw_points(axes, at, values, "o")
                if measure == "Latency_s":
                    never = part[part["Latency_s"].isna() & (part["Is_censored"] > 0)]
                    _draw_points(axes, at, never["Observed_s"].to_numpy(), "^")
            _mark_class(axes, name if measure == "Seconds" else "", colors[k])
            axes.set_xlim(-0.6, len(groups) - 0.4)
            _fit_from_zero(axes, is_count=measure == "Bouts")
            axes.tick_params(labelsize=SMALL_PT)
            axes.set_xticks(range(len(groups)), ticks, size=SMALL_PT, **turned)
            axes.set_ylabel(label, size=TEXT_PT)
    if title:
        figure.suptitle(plain(title), size=TEXT_PT)
    return figure


def _draw_box(axes: Axes, position: float, values: np.ndarray, color: str) -> None:
    """Draw quartiles, median and whiskers, without points."""
    line = {"color": INK, "linewidth": 0.8}
    # the white rim keeps the median visible on dark boxes
    median = {"color": INK, "linewidth": 1.2}
    drawn = axes.boxplot(
        values,
        positions=[position],
        widths=0.32,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": color, "edgecolor": INK, "linewidth": 0.8},
        whiskerprops=line,
        capprops=line,
        medianprops=median,
        manage_ticks=False,
    )
    for artist in drawn["medians"]:
        artist.set_path_effects([withStroke(linewidth=2.4, foreground="white")])


def _draw_points(axes: Axes, position: float, values: np.ndarray, marker: str) -> None:
    """Draw one point per animal, side by side in order of value, so that equal ones are visible."""
    values = np.sort(values)
    step = min(0.06, 0.3 / max(1, len(values)))
    offsets = step * (np.arange(len(values)) - (len(values) - 1) / 2)
    axes.plot(
        position + offsets,
        values,
        marker,
        markersize=3.2,
        markerfacecolor="white",
        markeredgecolor=INK,
        markeredgewidth=0.7,
    )


def _mark_class(axes: Axes, name: str, color: str) -> None:
    """Write a class above a panel, with a bar in its colour."""
    axes.set_title(plain(name), size=TEXT_PT, pad=7, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    bar = Rectangle((0, 1.01), 1, 0.035, transform=axes.transAxes, clip_on=False)
    bar.set(facecolor=color, edgecolor=INK, linewidth=0.4)
    axes.add_patch(bar)


def _fit_from_zero(axes: Axes, *, is_count: bool = False) -> None:
    """Start the y axis at zero, with room for whole markers at both ends."""
    top = axes.dataLim.ymax if axes.dataLim.ymax > 0 else 1  # no data: -inf
    axes.set_ylim(-0.05 * top, 1.1 * top)
    steps = [1, 2, 2.5, 5, 10]
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=steps, integer=is_count, min_n_ticks=2))
    axes.spines["left"].set_bounds(0, 1.1 * top)


def _time_unit(seconds: float) -> tuple[str, int]:
    """Return the unit of a time axis and its seconds: minutes above 180 s."""
    return ("min", 60) if seconds > 180 else ("s", 1)


def _range_text(counts: pd.Series) -> str:
    """Return the number of animals as text: n = 6, or n = 4-6 if it varies."""
    low, high = int(counts.min()), int(counts.max())
    return f"n = {low}" if low == high else f"n = {low}-{high}"
