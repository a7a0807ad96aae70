"""Style of figures: colours, sizes, strips of labels and legends; and how to save figures."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath

from mpar.labels.bouts import find_runs
from mpar.report.glyphs import font_of, make_readable
from mpar.system.files import atomic_path

TEXT_PT = 8.0


SMALL_PT = 7.0


INK = "#222222"


NO_DATA: dict[str, Any] = {"facecolor": "white", "edgecolor": "#999999", "hatch": "//////"}


WHISKER: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1, "capsize": 2.5}


PNG_DPI = 300


TEXT_WIDTH_IN = 7.2


OUTLINE_PT = 0.4


# A search maximized the smallest CIELAB distance between any two of these colours, for normal
# vision and for full protanopia, deuteranopia and tritanopia (Machado et al. 2009,
# doi:10.1109/TVCG.2009.113). Each has its own lightness for grey print. The first is pale, since
# class 0 (rest) is the background of all events.
PALETTE = (
    "#E0E0E0",
    "#D04838",
    "#002890",
    "#F8B010",
    "#10A0E8",
    "#803860",
    "#90B888",
    "#9000F8",
    "#880020",
    "#30F078",
    "#A880A8",
    "#380048",
)


def class_colors(num_classes: int) -> tuple[str, ...]:
    """Return the colour of each class, the same in every figure, as ``#rrggbb``.

    Class k has the same colour for every K. The first 12 are distinct for colour-blind readers and
    in grey print. Later ones are darker shades of these and need the legend.
    """
    if num_classes < 0:
        raise ValueError(f"num_classes: found {num_classes}, expected 0 or more")
    colors = []
    for k in range(num_classes):
        cycle, position = divmod(k, len(PALETTE))
        # each further cycle is darker, but never black
        red, green, blue = (0.8**cycle * value for value in to_rgb(PALETTE[position]))
        colors.append(to_hex((red, green, blue)))
    return tuple(colors)


def save_figure(figure: Figure, path: Path | str) -> tuple[Path, Path]:
    """Save a figure as PNG (300 dpi) and as PDF beside it, at a path without suffix; return both.

    Both files are written under temporary names and renamed when they are complete. The PDF holds
    no date, so equal figures give equal files. It embeds its fonts as TrueType, since many
    journals refuse Type 3.
    """
    path = Path(path)
    make_readable(figure)
    finals = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.pdf")
    drawn: dict[str, bytes] = {}
    for kind, metadata in (("png", {}), ("pdf", {"CreationDate": None})):
        buffer = io.BytesIO()  # matplotlib mishandles a disk that is full or fails
        with mpl.rc_context({"pdf.fonttype": 42}):
            figure.savefig(
                buffer,
                format=kind,
                dpi=PNG_DPI,
                bbox_inches="tight",
                pad_inches=0.04,
                metadata=metadata,
            )
        drawn[kind] = buffer.getvalue()
    with atomic_path(finals[0]) as png, atomic_path(finals[1]) as pdf:
        png.write_bytes(drawn["png"])
        pdf.write_bytes(drawn["pdf"])
    return finals


def add_warning(figure: Figure, warning: str) -> Figure:
    """Write a warning above a figure, no wider than the figure, and return the figure."""
    if warning:
        make_readable(figure)
        figure.draw_without_rendering()  # otherwise legends have no position yet
        top = max(1.0, figure.get_tightbbox().y1 / figure.get_figheight())
        text = textwrap.fill(warning, int(18 * figure.get_figwidth()))
        figure.text(0.5, top, text, ha="center", va="bottom", size=SMALL_PT, style="italic")
    return figure


def new_figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """Return an empty figure, sizes in inches, that needs no display."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def strip_styles(num_classes: int) -> list[dict[str, Any]]:
    """Return the style of the runs of each class; the last is that of unlabelled runs."""
    styles: list[dict[str, Any]] = [
        {"facecolor": color, "edgecolor": color} for color in class_colors(num_classes)
    ]
    return [*styles, NO_DATA]


def add_legend(
    figure: Figure, styles: Sequence[dict[str, Any]], names: Sequence[str], num_columns: int
) -> None:
    """Add the names of the classes below a figure of strips."""
    figure.legend(
        [Patch(linewidth=OUTLINE_PT, **style) for style in styles[: len(names)]],
        names,
        loc="outside lower center",
        ncols=num_columns,
        frameon=False,
        fontsize=TEXT_PT,
        handlelength=1.2,
        columnspacing=1.2,
    )


def draw_strip(
    axes: Axes,
    row: int,
    labels: np.ndarray,
    styles: Sequence[dict[str, Any]],
    edges: np.ndarray,
    length: float,
) -> None:
    """Draw the runs of every label of a strip, (T,) class indices, -1 for unlabelled.

    The last of `styles`, at index -1, is that of unlabelled frames. `edges`, (T + 1,), are the
    begin of each frame on the time axis and the end of the last one; `length` is that of the axis.
    """
    runs = find_runs(labels)
    values, counts = np.unique(labels, return_counts=True)
    for label in values[np.argsort(-counts, kind="stable")]:
        start, stop = runs[runs[:, 2] == label, :2].T
        # join runs across gaps that the outlines close anyway, which bounds the size of the PDF
        is_apart = edges[start[1:]] - edges[stop[:-1]] > length / 4000
        start, stop = start[np.append(True, is_apart)], stop[np.append(is_apart, True)]
        spans = list(zip(edges[start], edges[stop] - edges[start], strict=True))
        axes.broken_barh(spans, (row - 0.4, 0.8), linewidth=OUTLINE_PT, **styles[label])


def num_legend_columns(names: Sequence[str]) -> int:
    """Return the largest number of legend columns that fit, filled evenly as in matplotlib."""
    for num_columns in range(len(names), 1, -1):
        columns = np.array_split(np.array(names, dtype=object), num_columns)
        widths = [text_inches(column.tolist(), TEXT_PT) + 0.4 for column in columns]
        if sum(widths) < TEXT_WIDTH_IN:
            return num_columns
    return 1


def text_inches(texts: Sequence[str], size: float) -> float:
    """Return the width of the widest line of some texts, in inches."""
    lines = {line for text in texts for line in text.split("\n") if line.strip()}
    # hinting can widen text by some percent at a low resolution
    return 1.05 * max((_line_points(line, size) for line in lines), default=0) / 72


@functools.lru_cache(maxsize=1024)
def _line_points(line: str, size: float) -> float:
    """Return the width of a line of text in pt; cached, since it is slow and names repeat."""
    shown, font = font_of(line, size)
    if not shown.strip():
        return 0.0
    return float(TextPath((0, 0), shown, prop=font).get_extents().width)


def plain(text: str) -> str:
    """Escape a name so that matplotlib does not read it as a formula."""
    return text.replace("$", r"\$")
