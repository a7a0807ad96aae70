"""Fonts for names in any script: one that is installed and has the characters, or plain codes."""

from __future__ import annotations

import functools
import unicodedata

from matplotlib import font_manager
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

# their glyphs are boxes with a code, symbols of formulas, or pictures in colour
_UNFIT = ("last resort", "stix", "dejavu math", "color", "colour")


def make_readable(figure: Figure) -> None:
    r"""Give each text of a figure a font that has its characters.

    Characters that no installed font has become codes such as ``\u5c0f``.
    """
    for axis in figure.findobj(Axis):
        if not isinstance(axis.get_major_formatter(), FixedFormatter | FuncFormatter):
            continue  # its ticks are numbers
        # it writes the labels of its ticks anew when it is drawn
        labels = [label.get_text() for label in axis.get_ticklabels()]
        readable = [find_fonts(label)[0] for label in labels]
        if readable != labels:
            low, high = axis.get_view_interval()
            axis.set_ticks(axis.get_majorticklocs(), readable)
            axis.set_view_interval(low, high, ignore=True)  # ticks beyond it would widen it
    for text in figure.findobj(Text):
        written = text.get_text()
        if written and not written.isascii():
            shown, families = find_fonts(written)
            text.set_text(shown)
            text.set_fontfamily(families)


@functools.lru_cache(maxsize=1024)
def find_fonts(text: str) -> tuple[str, list[str]]:
    """Return a text that can be drawn, and the font families that have its characters.

    A character that no font has becomes its code. The usual font comes first.
    """
    usual = FontProperties().get_family()
    missing = {letter for letter in text if letter != "\n"} - _letters_of(_path_of_usual())
    others: list[str] = []
    left = set(missing)
    for family, path in _installed() if left else ():
        if found := left & _letters_of(path):
            others.append(family)
            left -= found
        if not left:
            break
    shown = "".join(_code_of(letter) if letter in left else letter for letter in text)
    return shown, [*usual, *others]


def font_of(text: str, size: float) -> tuple[str, FontProperties]:
    """Return a text that can be drawn, and its font."""
    shown, families = find_fonts(text)
    return shown, FontProperties(family=families, size=size)


def _code_of(letter: str) -> str:
    """Return a plain code of a character; marks that only change others have none."""
    kind = unicodedata.category(letter)
    if kind == "Cc":
        return " "
    if kind in {"Cf", "Mn", "Me"}:
        return ""
    return f"\\u{ord(letter):04x}"


@functools.lru_cache(maxsize=1)
def _path_of_usual() -> str:
    return str(font_manager.findfont(FontProperties()))


@functools.lru_cache(maxsize=1)
def _installed() -> list[tuple[str, str]]:
    """Return the name and the file of each upright font of normal weight, sans serif first."""
    found = {
        entry.name: entry.fname
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal"
        and entry.weight in {"normal", "regular", "book", 400}
        and not any(part in entry.name.lower() for part in _UNFIT)
        and not entry.name.lower().startswith("cm")
    }
    return sorted(found.items(), key=lambda item: ("sans" not in item[0].lower(), item[0]))


@functools.lru_cache(maxsize=256)
def _letters_of(path: str) -> frozenset[str]:
    """Return the characters that a font has, none if it cannot be drawn at any size."""
    try:
        font = get_font(path)
        if not font.scalable:
            return frozenset()
        return frozenset(map(chr, font.get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
