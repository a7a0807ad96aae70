"""How a page is put together: its frame, tables and figures, and the data that its script draws.

All text is escaped, all figures are inside, and a policy in the page forbids it to load anything.
Its look is ``page.css``, its script ``page.js``.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from mpar.report.plots import class_colors

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Markup(str):
    """Text that is HTML already; all other text is escaped."""

    __slots__ = ()


def make_page(
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
<style>
{_part("page.css")}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>
<nav>{links}</nav></header>
<main>
{body}
</main>
<script type="application/json" id="data">{text}</script>
<script>
{_part("page.js")}</script>
</body>
</html>
"""


def _part(name: str) -> str:
    """Return the style or the script, which are files of their own beside this one."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def make_table(
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
    return str(text) if isinstance(text, Markup) else escape(text)


def show_class(names: Sequence[str], name: str) -> Markup:
    """Write a class with its colour beside it."""
    color = class_colors(len(names))[list(names).index(name)]
    return Markup(f"{make_swatch('', color)}{escape(name)}")


def make_swatch(kind: str, color: str) -> str:
    """Draw a small square in a colour, or as the style has it for a kind."""
    style = f' style="background:{color}"' if color else ""
    return f'<i class="swatch {kind}"{style}></i>'


def make_remark(text: str) -> str:
    """Write what must not be missed; nothing for an empty text."""
    return f'<p class="remark">{escape(text)}</p>' if text else ""


def make_note(text: str) -> str:
    """Write a paragraph that explains what is beside it."""
    return f'<p class="note">{escape(text)}</p>'


def show_figures(figures: Mapping[str, Figure], captions: Mapping[str, str]) -> str:
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
                f'src="{data_uri("image/svg+xml", file.getvalue())}">'
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
    return f'<div class="figures">{"".join(shown)}</div>' if shown else ""


def data_uri(kind: str, content: bytes) -> str:
    """Return a picture as the address of itself, so that it is in the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
