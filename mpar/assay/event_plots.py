"""Figures around stimuli: an ethogram of each, and the share of each class over time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from matplotlib.figure import Figure

from mpar.assay.stimuli import Stimulus
from mpar.labels.classes import UNLABELLED
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
)

_MAX_ROWS = 120  # more strips would be thinner than a line
_NUM_BINS = 60
_MAX_NAME = 50  # letters of the name of an event in that of its file


def plot_peri_event(
    stimuli: Sequence[Stimulus],
    class_names: Sequence[str],
    window: tuple[float, float],
    *,
    title: str = "",
) -> Figure:
    """Plot what happened around each stimulus, and on average; time 0 is the stimulus.

    Above, a strip for each of at most 120 stimuli, evenly spaced, by group; below, the percentage
    of all stimuli in which each class other than the first is seen. Responses may begin in
    `window`, in seconds from the stimulus; the figure shows as much before.
    """
    span = max(window[1], 0.5)
    begin, end = min(window[0], 0.0) - span, window[1] + span
    shown = np.unique(np.linspace(0, len(stimuli) - 1, min(len(stimuli), _MAX_ROWS)).astype(int))
    styles = strip_styles(len(class_names))
    names = [plain(name) for name in class_names]
    if any((item.animal.recording.labels == UNLABELLED).any() for item in stimuli):
        names.append("unlabelled")
    num_columns = num_legend_columns(names)
    strips = 0.07 * len(shown) + 0.4
    figure = new_figure(TEXT_WIDTH_IN, strips + 1.9 + 0.17 * -(-len(names) // num_columns))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[strips, 1.3])
    groups = [stimuli[i].animal.group for i in shown]
    for row, i in enumerate(shown):
        edges = stimuli[i].animal.recording.clock.edges - float(stimuli[i].start)
        keep = np.flatnonzero((edges[:-1] < end) & (edges[1:] > begin))
        if len(keep):
            part = stimuli[i].animal.recording.labels[keep]
            ends = np.clip(edges[keep[0] : keep[-1] + 2], begin, end)
            draw_strip(upper, row, part, styles, ends, end - begin)
        if row and groups[row] != groups[row - 1]:
            upper.axhline(row - 0.5, color=INK, linewidth=0.6)
    firsts = [i for i in range(len(groups)) if i == 0 or groups[i] != groups[i - 1]]
    upper.set_yticks(firsts, [plain(groups[i]) for i in firsts])
    upper.set_ylim(len(shown) - 0.4, -0.6)
    upper.tick_params(axis="y", length=0, labelsize=SMALL_PT)
    upper.spines[["top", "left", "right"]].set_visible(False)
    upper.set_title(title or f"{len(stimuli):,} stimuli", size=TEXT_PT)
    times = np.linspace(begin, end, _NUM_BINS + 1)[:-1] + (end - begin) / (2 * _NUM_BINS)
    colors = class_colors(len(class_names))
    shares = _shares(stimuli, times, len(class_names))
    for k in range(1, len(class_names)):
        lower.plot(times, 100 * shares[:, k], color=colors[k], linewidth=1.4)
    for axes in (upper, lower):
        axes.axvline(0, color=INK, linewidth=0.8, linestyle="--")
    for edge in window:
        lower.axvline(edge, color="#999999", linewidth=0.6, linestyle=":")
    lower.set_xlim(begin, end)
    lower.set_ylim(bottom=0)
    lower.set_xlabel("time from the stimulus (s)", size=TEXT_PT)
    lower.set_ylabel("% of stimuli", size=TEXT_PT)
    lower.tick_params(labelsize=TEXT_PT)
    lower.spines[["top", "right"]].set_visible(False)
    add_legend(figure, styles, names, num_columns)
    return figure


def plot_events(
    stimuli: Sequence[Stimulus],
    class_names: Sequence[str],
    window: tuple[Fraction, Fraction],
) -> dict[str, Figure]:
    """Return a figure for each kind of stimulus, by file name; see `plot_peri_event`."""
    figures: dict[str, Figure] = {}
    for event in dict.fromkeys(item.event for item in stimuli):
        mine = [item for item in stimuli if item.event == event]
        # a disk takes 255 bytes, of which a letter may need four
        plain_name = re.sub(r"[^\w.+-]+", "_", event)[:_MAX_NAME].strip("._")
        name = f"peri_event_{plain_name or 'event'}"
        while name.lower() in {other.lower() for other in figures}:
            name += "_"
        figures[name] = plot_peri_event(
            mine,
            class_names,
            (float(window[0]), float(window[1])),
            title=f"{plain(event)} (n = {len(mine):,})",
        )
    return figures


def _shares(stimuli: Sequence[Stimulus], times: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the share of stimuli in which each class is seen at some times, (N, K).

    Stimuli that were not filmed or have no label at a time do not count there.
    """
    counts = np.zeros((len(times), num_classes))
    for item in stimuli:
        edges = item.animal.recording.clock.edges
        places = np.searchsorted(edges, times + float(item.start), side="right") - 1
        is_filmed = (places >= 0) & (places < len(edges) - 1)
        labels = item.animal.recording.labels[np.clip(places, 0, len(edges) - 2)]
        rows = np.flatnonzero(is_filmed & (labels != UNLABELLED))
        counts[rows, labels[rows]] += 1
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
