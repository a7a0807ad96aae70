"""Figure of what a network will see: the median frame, its regions, and the cut-outs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mpar.report.glyphs import make_readable
from mpar.report.plots import SMALL_PT, TEXT_PT, TEXT_WIDTH_IN, plain
from mpar.video.regions import Region

_ROW_IN = 1.9
_MAX_CUTS = 4
_FIRST_RATIO = 1.6  # width of the median frame to that of a cut-out
_LEAST_PT = 3
_EDGE = "#F8B010"


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
