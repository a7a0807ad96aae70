"""Names in any script are drawn with a font that has them, or as plain codes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from mpar.evaluation import evaluate_and_save_results
from mpar.learning.board import _pixels
from mpar.report import glyphs
from mpar.report.band import Band, _render
from mpar.report.glyphs import find_fonts, make_readable
from mpar.report.style import (
    _line_points,
    add_legend,
    new_figure,
    save_figure,
    strip_styles,
    text_inches,
)

CACHES = (glyphs.find_fonts, glyphs._installed, glyphs._letters_of, _line_points, _render)
MOUSE = "\u5c0f\u9f20"


def forget():
    for cache in CACHES:
        cache.cache_clear()


def add_font(folder, letters):
    """Install a font in which every one of these letters is a full square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", *(f"u{ord(letter):x}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):x}" for letter in letters})
    square = pen.glyph()
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Squares Sans", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(folder / "squares.ttf")
    font_manager.fontManager.addfont(folder / "squares.ttf")


@pytest.fixture
def only_dejavu(monkeypatch):
    """Machines have different fonts; matplotlib brings DejaVu."""
    fonts = [font for font in font_manager.fontManager.ttflist if "DejaVu" in font.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    forget()
    yield
    forget()


@pytest.fixture
def squares(only_dejavu, tmp_path):
    add_font(tmp_path, MOUSE)
    forget()


def test_codes_where_no_font_has_the_letters(only_dejavu):
    """Other letters stay; marks without a glyph of their own vanish."""
    assert find_fonts("paw_lick \u00e9\u03b1") == ("paw_lick \u00e9\u03b1", ["sans-serif"])
    assert find_fonts(f"{MOUSE}_1") == ("\\u5c0f\\u9f20_1", ["sans-serif"])
    assert find_fonts("a\U0001f9ff\u2066\tb")[0] == "a\\u1f9ff b"


def test_a_font_that_has_the_letters(squares):
    """The usual font comes first, so other letters look as ever."""
    assert find_fonts(f"{MOUSE} 1") == (f"{MOUSE} 1", ["sans-serif", "Squares Sans"])
    assert find_fonts(f"{MOUSE}\u725b")[0] == f"{MOUSE}\\u725b"


@pytest.mark.parametrize("fonts", ["only_dejavu", "squares"])
def test_figures_are_saved_without_a_warning(fonts, request, tmp_path):
    """Warnings are errors in these tests; PNG and PDF are both written."""
    request.getfixturevalue(fonts)
    figure = new_figure(3, 2)
    axes = figure.subplots()
    axes.set_title(f"{MOUSE}.mp4")
    add_legend(figure, strip_styles(1), [f"\U0001f42d {MOUSE}"], 1)
    for path in save_figure(figure, tmp_path / "figure"):
        assert path.stat().st_size > 1000
    title = axes.get_title()
    assert title == (f"{MOUSE}.mp4" if fonts == "squares" else "\\u5c0f\\u9f20.mp4")
    assert text_inches([MOUSE], 72) == pytest.approx(1.05 * (1.9 if fonts == "squares" else 7), 0.2)


def test_bands_of_videos(squares):
    """A square is drawn for each letter; the box of a missing glyph would leave it hollow."""
    band = Band([MOUSE], [""], 64, 200)
    picture = band.draw(np.zeros((64, 200), np.uint8), [0], [None], "")
    strip = picture[64 * band.scale :, :, 0]
    size = 0.5 * len(strip)
    assert (strip < 100).sum() > 2 * size**2


@pytest.mark.parametrize("fonts", ["only_dejavu", "squares"])
def test_pictures_of_tensorboard(fonts, request):
    """Its pictures are drawn in another way than files."""
    request.getfixturevalue(fonts)
    figure = new_figure(2, 2)
    figure.text(0.1, 0.5, MOUSE, size=20)
    assert (_pixels(figure) < 100).any()


def test_make_readable_is_done_once(only_dejavu):
    """A second call changes nothing."""
    figure = new_figure(2, 2)
    text = figure.text(0, 0, MOUSE)
    make_readable(figure)
    make_readable(figure)
    assert text.get_text() == "\\u5c0f\\u9f20"


@pytest.mark.usefixtures("only_dejavu")
@pytest.mark.slow
def test_whole_evaluations_with_names_that_no_font_has(tmp_path):
    """Labels of ticks, too: an axis writes them anew when it is drawn."""
    labels = np.repeat([0, 1, 2], 20)
    names = ["rest", f"lick {MOUSE}", MOUSE]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate_and_save_results(labels, labels, names, tmp_path, html=True)
    assert (tmp_path / "class_f1.png").exists()


@pytest.mark.usefixtures("only_dejavu")
def test_axes_keep_their_limits():
    """Minus signs of ticks are no missing glyphs, and a tick beyond the limits widens no axis."""
    figure = new_figure(2, 2)
    numbers, names = figure.subplots(2)
    for axes in (numbers, names):
        axes.set_xlim(-1.1, 1.1)
    names.set_xticks([-1, 0, 5], ["rest", MOUSE, "walk"])
    names.set_xlim(-1.1, 1.1)
    make_readable(figure)
    figure.canvas.draw()
    assert [axes.get_xlim() for axes in (numbers, names)] == [(-1.1, 1.1)] * 2
    assert [label.get_text() for label in names.get_xticklabels()][1] == "\\u5c0f\\u9f20"
