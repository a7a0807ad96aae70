"""Figures of scores and of scorings, in one style and with one colour per class.

Every function returns a `matplotlib.figure.Figure` with its own canvas. The functions do not
touch pyplot, the global backend or the global settings, so they work without a display and inside
other programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from mpar.labels.bouts import as_labels
from mpar.labels.classes import UNLABELLED
from mpar.report.style import (
    INK,
    NO_DATA,
    PALETTE,
    SMALL_PT,
    TEXT_PT,
    TEXT_WIDTH_IN,
    WHISKER,
    add_legend,
    class_colors,
    draw_strip,
    new_figure,
    num_legend_columns,
    plain,
    strip_styles,
    text_inches,
)
from mpar.scores.metrics import FrameScores
from mpar.video.timeline import TimeLine

HUMAN: dict[str, Any] = {
    "linestyle": "none",
    "marker": "D",
    "markersize": 4.5,
    "color": "white",
    "markeredgecolor": INK,
}


_TILE_IN, _TILE_PX = 0.8, 128  # longer side of a frame in a film strip


def plot_confusion(scores: FrameScores, *, normalize: bool) -> Figure:
    """Plot the confusion matrix: true classes down, predicted classes across.

    `normalize` writes percent of the true class in the cells instead of numbers of frames; the
    shade always shows the percentage, since by numbers all but the most frequent class would be
    white. A class without true frames is a hatched row with n/a. The column "unlabelled" appears
    only if some frames have no predicted label.
    """
    names = [plain(name) for name in scores.class_names]
    num_columns = len(names) + (scores.num_unpredicted > 0)
    counts = scores.confusion[:, :num_columns]
    columns = [*names, "unlabelled"][:num_columns]
    support = scores.support[:, None]
    percent = np.divide(100 * counts, support, out=np.zeros(counts.shape), where=support > 0)
    rows = [f"{name}\nn = {n:,}" for name, n in zip(names, scores.support, strict=True)]
    cells = [
        [_percent_text(p) if normalize else f"{n:,}" for n, p in zip(*line, strict=True)]
        for line in zip(counts, percent, strict=True)
    ]

    cell_in = max(0.34, text_inches([text for line in cells for text in line], SMALL_PT) + 0.08)
    label_in = text_inches([*rows, *columns], TEXT_PT)
    figure = new_figure(
        cell_in * num_columns + label_in + 0.6, cell_in * len(names) + 0.75 * label_in + 0.9
    )
    axes = figure.add_subplot()
    # from white to a medium blue only, so that black text is readable on all cells
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=180)
    for row, column in np.argwhere(support.repeat(num_columns, axis=1) > 0).tolist():
        axes.text(column, row, cells[row][column], size=SMALL_PT, ha="center", va="center")
    for row in np.flatnonzero(scores.support == 0).tolist():
        axes.add_patch(Rectangle((-0.5, row - 0.5), num_columns, 1, linewidth=0, **NO_DATA))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(
            (num_columns - 1) / 2, row, "n/a", size=SMALL_PT, ha="center", va="center", bbox=box
        )

    axes.set_xticks(range(num_columns), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), rows)
    # white lines separate the cells, a dark one the column "unlabelled"
    axes.set_xticks(np.arange(num_columns - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0, labelsize=TEXT_PT)
    if num_columns > len(names):
        axes.axvline(len(names) - 0.5, color=INK, linewidth=1)
    axes.set_xlabel("predicted", size=TEXT_PT)
    axes.set_ylabel("true", size=TEXT_PT)
    title = "% of true class" if normalize else "frames (shade: % of true class)"
    axes.set_title(title, size=TEXT_PT)
    return figure


def plot_class_f1(
    scores: FrameScores,
    *,
    intervals: NDArray[np.float64] | None = None,
    macro_interval: NDArray[np.float64] | None = None,
    num_animals: int = 0,
    human: Sequence[NDArray[np.float64]] = (),
) -> Figure:
    """Plot the F1 score of every class as a bar, with the macro-F1 as a line.

    Whiskers are the confidence intervals over `num_animals`, (K, 2) and (2,), NaN for none;
    diamonds the F1 of annotators against each other, (K,) for each pair. The number of true frames
    stands beside each name; a class without any has n/a.
    """
    num_classes = len(scores.class_names)
    labels = [
        f"{plain(name)}\nn = {n:,}"
        for name, n in zip(scores.class_names, scores.support, strict=True)
    ]
    figure = new_figure(2.4 + text_inches(labels, TEXT_PT), 0.34 * num_classes + 0.9)
    axes = figure.add_subplot()
    has_support = scores.support > 0
    _draw_class_f1(axes, scores, intervals, human)
    label = f"macro-F1 = {scores.macro_f1:.2f} ({has_support.sum()} of {num_classes} classes)"
    if macro_interval is not None and not np.isnan(macro_interval).any():
        label += f"\n95 % CI {macro_interval[0]:.2f} to {macro_interval[1]:.2f}"
    # the white rim keeps the line visible across dark bars
    rim = [withStroke(linewidth=2.5, foreground="white")]
    axes.axvline(
        scores.macro_f1, color=INK, linewidth=1, linestyle="--", label=label, path_effects=rim
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(num_classes - 0.5, -0.5)
    axes.set_yticks(range(num_classes), labels)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelsize=TEXT_PT)
    has_whiskers = intervals is not None and not np.isnan(intervals).all()
    over = f"\nwhiskers: 95 % CI over {num_animals} animals" if has_whiskers else ""
    axes.set_xlabel(f"F1{over}", size=TEXT_PT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=TEXT_PT)
    return figure


def _draw_class_f1(
    axes: Axes,
    scores: FrameScores,
    intervals: np.ndarray | None,
    human: Sequence[np.ndarray],
) -> None:
    """Draw one bar per class, with whiskers, diamonds of annotators, and the score beside it."""
    num_classes = len(scores.class_names)
    has_support = scores.support > 0
    heights = np.where(has_support, scores.f1, 0.0)
    axes.barh(
        range(num_classes),
        heights,
        height=0.7,
        color=class_colors(num_classes),
        edgecolor=INK,
        linewidth=0.6,
    )
    known = np.flatnonzero(has_support)
    if intervals is not None and len(known):
        middle, half = intervals[known].mean(axis=1), np.diff(intervals[known])[:, 0] / 2
        whiskers = axes.errorbar(middle, known, xerr=half, **WHISKER)
        for artist in (*whiskers.lines[1], *whiskers.lines[2]):
            artist.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    for f1 in human:
        shown = np.flatnonzero(~np.isnan(f1))
        axes.plot(f1[shown], shown, **HUMAN)
    if len(human):
        axes.plot([], [], label="annotators against each other", **HUMAN)
    for k, score in enumerate(heights):
        text = f"{score:.2f}" if has_support[k] else "n/a"
        axes.text(1.03, k, text, size=TEXT_PT, va="center", color=INK)
        if not has_support[k]:
            axes.add_patch(Rectangle((0, k - 0.35), 1, 0.7, linewidth=0, **NO_DATA))


def plot_ethogram(
    rows: Sequence[tuple[str, ArrayLike]],
    class_names: Sequence[str],
    *,
    fps: Fraction | float,
    line: TimeLine | None = None,
    title: str = "",
) -> Figure:
    """Plot scorings over time, one coloured strip per row.

    Parameters
    ----------
    rows : sequence of (str, array_like of int, shape (T,))
        Name and labels of each strip from top to bottom, for instance truth above prediction.
        Labels are the class index per frame, -1 where unlabelled. T may differ between rows.
    class_names : sequence of str, length K
        Name of each class.
    fps : fractions.Fraction or float
        Frames per second.
    line : TimeLine, optional
        When the frames of all rows are shown; by default one every 1 / fps seconds.
    title : str
        Shown above the strips.

    Returns
    -------
    matplotlib.figure.Figure
        Unlabelled frames are hatched white; a shorter row ends early.

    Raises
    ------
    ValueError
        There is no row or no frame, labels are out of range, or fps is not positive.

    Notes
    -----
    Bouts have an outline of 0.4 pt in their own colour, and in each strip rarer classes lie above
    more frequent ones. A rare event of one frame is therefore visible in any recording, but drawn
    0.4 pt too wide (about 0.1 % of the time axis): many single frames look like more than they
    are. Plot a part of the recording to see how long events last.
    """
    arrays = [(name, as_labels(array, num_classes=len(class_names))) for name, array in rows]
    num_frames = max((len(array) for _, array in arrays), default=0)
    if num_frames == 0:
        raise ValueError("rows: found no frames, expected at least one")
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps: found {fps}, expected a positive number")
    has_unlabelled = any((array == UNLABELLED).any() for _, array in arrays)
    names = [plain(name) for name in class_names]
    if has_unlabelled:
        names.append("unlabelled")
    styles = strip_styles(len(class_names))

    num_columns = num_legend_columns(names)
    num_legend_lines = -(-len(names) // num_columns)
    height = 0.36 * len(arrays) + 0.17 * num_legend_lines + 0.65 + 0.2 * bool(title)
    figure = new_figure(TEXT_WIDTH_IN, height)
    axes = figure.add_subplot()
    edges = (line or TimeLine(num_frames, Fraction(fps))).edges
    for row, (_, array) in enumerate(arrays):
        draw_strip(axes, row, array, styles, edges, edges[-1] - edges[0])
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(len(arrays) - 0.5, -0.5)
    axes.set_yticks(range(len(arrays)), [plain(name) for name, _ in arrays])
    axes.tick_params(labelsize=TEXT_PT)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.set_xlabel("time (s)", size=TEXT_PT)
    if title:
        axes.set_title(plain(title), size=TEXT_PT)
    add_legend(figure, styles, names, num_columns)
    return figure


def plot_clips(
    clips: Sequence[NDArray[np.uint8]], captions: Sequence[str], *, offsets: Sequence[int]
) -> Figure:
    """Plot clips as film strips, one row each, with an outline around the classified frame.

    All clips are (F, H, W) uint8. Captions have up to four lines. `offsets`, of length F, are the
    positions of the frames relative to the outlined one, which is 0.
    """
    step = -(-max(clips[0].shape[1:]) // _TILE_PX)  # finer detail would not be visible
    strips = [clip[:, ::step, ::step] for clip in clips]
    num_frames, height, width = strips[0].shape
    # rows of flat frames must still hold four lines of text
    scale = _TILE_IN / max(height, width)
    pitch = max(height + 4, round(5.6 * TEXT_PT / 72 / scale))
    canvas = np.full((pitch * len(strips), (width + 2) * num_frames), 255, np.uint8)
    for row, strip in enumerate(strips):
        top = row * pitch + (pitch - height) // 2
        for column, frame in enumerate(strip):
            left = column * (width + 2) + 1
            canvas[top : top + height, left : left + width] = frame

    # no automatic layout: all sizes are known, and training draws this figure every epoch
    captions = [plain(caption) for caption in captions]
    label_in, foot_in, rim_in = text_inches(captions, TEXT_PT) + 0.2, 0.45, 0.05
    canvas_height_in, canvas_width_in = (scale * n for n in canvas.shape)
    width_in = label_in + canvas_width_in + rim_in
    height_in = foot_in + canvas_height_in + rim_in
    figure = new_figure(width_in, height_in, layout=None)
    axes = figure.add_axes(
        (
            label_in / width_in,
            foot_in / height_in,
            canvas_width_in / width_in,
            canvas_height_in / height_in,
        )
    )
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=255, aspect="auto")
    marked = list(offsets).index(0)
    for row in range(len(strips)):
        corner = (marked * (width + 2) - 0.5, row * pitch + (pitch - height) // 2 - 1.5)
        axes.add_patch(
            Rectangle(
                corner, width + 2, height + 2, fill=False, edgecolor=PALETTE[1], linewidth=1.5
            )
        )
    centres = np.arange(num_frames) * (width + 2) + width / 2
    axes.set_xticks(centres, [f"{offset:+d}" if offset else "0" for offset in offsets])
    axes.set_yticks(np.arange(len(strips)) * pitch + pitch / 2, captions)
    axes.tick_params(length=0, labelsize=TEXT_PT)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("frames before and after the classified frame", size=TEXT_PT)
    return figure


def _percent_text(percent: float) -> str:
    """Format a percentage with one decimal; 0 and 100 only if they are exact."""
    if percent in (0, 100):
        return f"{percent:.0f}"
    if percent < 0.05:
        return "<0.1"
    return ">99.9" if percent >= 99.95 else f"{percent:.1f}"
