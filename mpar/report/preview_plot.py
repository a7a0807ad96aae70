"""Figure of what a network will see: the median frame, its regions, and the cut-outs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mpar.report.glyphs import make_readable
from mpar.report.plots import SMALL_PT, TEXT_PT, TEXT_WIDTH_IN, plain
from mpar.video.following import WHOLE, Square
from mpar.video.regions import Region

_ROW_IN = 1.9
_MAX_CUTS = 4
_FIRST_RATIO = 1.6  # width of the median frame to that of a cut-out
_LEAST_PT = 3
_EDGE = "#F8B010"
_STRIP_IN, _CAPTION_PT, _NAME_LETTERS = 1.25, 6, 40
_FRAME_RATIO = 1.3  # width of a whole frame to that of a cut-out


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """The row of one video.

    Parameters
    ----------
    name : str
        Its file name.
    median : (H, W) array
        Its median frame, 0-255.
    regions : tuple of Region
        Regions of the animals; empty for the whole picture.
    cuts : tuple of (h, w) uint8 array
        Cut-outs of one frame as the network sees them, one per region.
    """

    name: str
    median: np.ndarray
    regions: tuple[Region, ...]
    cuts: tuple[np.ndarray, ...]


class Shown(NamedTuple):
    """A frame, or a cut-out of it, with its caption and its square."""

    caption: str
    picture: np.ndarray
    square: Square


@dataclass(frozen=True, slots=True)
class FollowRow:
    """The strip of one animal.

    Parameters
    ----------
    name : str
        Of its video, and of its region.
    frames : tuple of Shown
        Evenly spaced whole frames of its region.
    cuts : tuple of Shown
        What the network sees of some frames.
    side : int
        Side of the squares in px of the frames.
    """

    name: str
    frames: tuple[Shown, ...]
    cuts: tuple[Shown, ...]
    side: int


def plot_following(rows: Sequence[FollowRow]) -> Figure:
    """Draw one row per animal: frames with its square, then what the network sees."""
    num_frames = len(rows[0].frames)
    num_cuts = max(len(row.cuts) for row in rows)
    figure = Figure(figsize=(TEXT_WIDTH_IN, 0.35 + _STRIP_IN * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(
        len(rows),
        num_frames + num_cuts,
        squeeze=False,
        width_ratios=[_FRAME_RATIO] * num_frames + [1.0] * num_cuts,
    )
    for axes_row, row in zip(grid, rows, strict=True):
        for axes in axes_row:
            axes.set_axis_off()
        for axes, shown in zip(axes_row, row.frames, strict=False):
            axes.imshow(shown.picture, cmap="gray", vmin=0, vmax=255)
            axes.set_title(shown.caption, fontsize=_CAPTION_PT, loc="left", pad=2)
            square = shown.square
            if square.x != WHOLE:
                corner = (square.x - 0.5, square.y - 0.5)
                axes.add_patch(Rectangle(corner, row.side, row.side, fill=False, ec=_EDGE, lw=1))
        size = "x".join(map(str, row.frames[0].picture.shape[::-1]))
        name = _shortened(plain(row.name), _NAME_LETTERS)
        axes_row[0].set_title(
            f"{name}, {size} px\n{row.frames[0].caption}", fontsize=_CAPTION_PT, loc="left", pad=2
        )
        for axes, shown in zip(axes_row[num_frames:], row.cuts, strict=False):
            axes.imshow(shown.picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            whole = " (whole)" * (shown.square.x == WHOLE)
            axes.set_title(
                shown.caption.replace(": ", whole + "\n"), fontsize=_CAPTION_PT, loc="left", pad=2
            )
    make_readable(figure)
    return figure


def plot_preview(rows: Sequence[PreviewRow]) -> Figure:
    """Draw one row per video: its median frame with the regions, and up to four cut-outs."""
    num_cuts = min(_MAX_CUTS, max(len(row.cuts) for row in rows))
    figure = Figure(figsize=(TEXT_WIDTH_IN, 0.35 + _ROW_IN * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    first_in = TEXT_WIDTH_IN * _FIRST_RATIO / (_FIRST_RATIO + num_cuts)
    grid = figure.subplots(
        len(rows),
        1 + num_cuts,
        squeeze=False,
        width_ratios=[_FIRST_RATIO, *[1.0] * num_cuts],
    )
    for axes_row, row in zip(grid, rows, strict=True):
        for axes in axes_row:
            axes.set_axis_off()
        first, *others = axes_row
        height, width = row.median.shape
        first.imshow(row.median, cmap="gray", vmin=0, vmax=255)
        name = _shortened(plain(row.name), int(first_in / _letter_in(TEXT_PT)))
        first.set_title(f"{name}\n{width}x{height} px", fontsize=TEXT_PT, loc="left")
        for region in row.regions:
            corner = (region.x - 0.5, region.y - 0.5)
            box = Rectangle(corner, region.width, region.height, fill=False, ec=_EDGE, lw=1.2)
            first.add_patch(box)
            animal = plain(region.animal)
            room_in = first_in * region.width / width / max(1, len(animal))
            first.text(
                region.x + 2,
                region.y + 2,
                animal,
                color=_EDGE,
                fontsize=max(_LEAST_PT, SMALL_PT * min(1, room_in / _letter_in(SMALL_PT))),
                va="top",
            )
        for number, axes in enumerate(others[: len(row.cuts)]):
            cut = row.cuts[number]
            axes.imshow(cut, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            animal = plain(row.regions[number].animal) if row.regions else ""
            size = f"{cut.shape[1]}x{cut.shape[0]} px"
            axes.set_title(f"{animal} {size}".strip(), fontsize=SMALL_PT, loc="left")
        hidden = len(row.cuts) - num_cuts
        if hidden > 0:
            others[-1].text(
                1,
                -0.04,
                f"and {hidden} more",
                fontsize=SMALL_PT,
                ha="right",
                va="top",
                transform=others[-1].transAxes,
            )
    make_readable(figure)
    return figure


def _letter_in(size_pt: float) -> float:
    """Return the approximate width of a letter, in inches."""
    return 0.7 * size_pt / 72


def _shortened(name: str, length: int) -> str:
    """Replace the middle of a name by an ellipsis if the name is longer than `length` letters."""
    half = max(3, (length - 1) // 2)
    return name if len(name) <= length else f"{name[:half]}…{name[-half:]}"
