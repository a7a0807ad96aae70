"""Fill the templates of pages. The page escapes all text and embeds every figure and picture.

``templates`` holds the markup, ``page.css`` the style, ``page.js`` the script. A content security
policy keeps the page from loading anything.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mpar.report.glyphs import make_readable
from mpar.report.style import class_colors
from mpar.scores.metrics import score_text

_HERE = Path(__file__).parent
_TILE_PX = 128


def make_page(
    template: str,
    class_names: Sequence[str],
    recordings: Sequence[Mapping[str, Any]],
    **values: Any,
) -> str:
    """Fill a file of ``templates``; `recordings` has the data of one ethogram each."""
    colors = class_colors(len(class_names))
    data = {
        "classes": [*class_names, "unlabelled"],
        "colors": [*colors, "#ffffff"],
        "recordings": recordings,
    }
    return (
        _environment()
        .get_template(template)
        .render(colors=dict(zip(class_names, colors, strict=True)), data=data, **values)
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "score": _with_interval,
        "interval": _interval,
        "thousands": lambda number: f"{number:,}",
        "svg": _svg_uri,
        "png": _png_uri,
    }
    # these two files are ours and need no escaping
    for name in ("css", "js"):
        text = (_HERE / f"page.{name}").read_text(encoding="utf-8")
        environment.globals[name] = Markup(text)
    return environment


def _interval(ends: Sequence[float] | None) -> str:
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def _with_interval(score: float | None, ends: Sequence[float] | None = None) -> str:
    return f"{score_text(score)} {_interval(ends)}".strip()


def _svg_uri(figure: Figure) -> str:
    """Return a figure as a data URI."""
    file = io.BytesIO()
    make_readable(figure)
    with mpl.rc_context({"svg.hashsalt": "mpar", "svg.fonttype": "path"}):
        figure.savefig(
            file, format="svg", bbox_inches="tight", pad_inches=0.04, metadata={"Date": None}
        )
    return _data_uri("image/svg+xml", file.getvalue())


def _png_uri(picture_HW: NDArray[np.uint8]) -> str:
    """Return a picture, reduced if it is large, as a data URI."""
    step = -(-max(picture_HW.shape) // _TILE_PX)
    _, png = cv2.imencode(".png", np.ascontiguousarray(picture_HW[::step, ::step]))
    return _data_uri("image/png", png.tobytes())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
