"""The band below the pictures of a video: the class of a frame, its confidence and its time."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from mpar.labels.classes import UNLABELLED
from mpar.report.glyphs import find_fonts
from mpar.report.style import class_colors

MIN_WIDTH_PX = 320  # smaller pictures are enlarged, so that the text can be read
_LINES = 26  # the width of a picture is that of about so many lines of text
_MIN_LINE_PX, _MAX_LINE_PX = 18, 40
_TEXT_SHARE = 0.62  # of the height of a line
_EMPTY = (255, 255, 255)
_DARK, _LIGHT = (34, 34, 34), (255, 255, 255)
_LUMINANCE = (0.2126, 0.7152, 0.0722)
_DARK_INK_ABOVE = 0.18  # relative luminance (WCAG 2.1); dark text then has the better contrast

Picture = NDArray[np.uint8]


class Band:
    """Draws pictures with one line of text below for each scorer.

    Parameters
    ----------
    class_names : sequence of str, length K
        Names of the classes.
    scorers : sequence of str
        Who scored, from top to bottom; "" for no name.
    height, width : int
        Size of the pictures in px.

    Attributes
    ----------
    scale : int
        How many times as large pictures are drawn.
    """

    def __init__(
        self, class_names: Sequence[str], scorers: Sequence[str], height: int, width: int
    ) -> None:
        self.scale = -(-MIN_WIDTH_PX // width) if width < MIN_WIDTH_PX else 1
        self._height, self._width = height * self.scale, width * self.scale
        line = min(_MAX_LINE_PX, max(_MIN_LINE_PX, self._width // _LINES))
        self._line = line + line % 2
        self._names = [*class_names, "unlabelled"]
        colors = [to_rgb(color) for color in class_colors(len(class_names))]
        self._colors = [tuple(round(255 * part) for part in color) for color in colors] + [_EMPTY]
        self._scorers = list(scorers)

    def draw(
        self,
        picture: Picture,
        labels: Sequence[int],
        confidences: Sequence[float | None],
        time_text: str,
    ) -> Picture:
        """Return a picture with its band.

        Parameters
        ----------
        picture : (H, W) uint8 array
            Grey levels.
        labels : sequence of int
            Class index for each scorer, -1 for none.
        confidences : sequence of (float or None)
            Confidence of each label, None for none.
        time_text : str
            Stands on the right of the first line.

        Returns
        -------
        (H', W', 3) uint8 array
            RGB, with even sides: the picture, enlarged `scale` times, at the top left.
        """
        lines = len(self._scorers) * self._line
        shape = [n + n % 2 for n in (self._height + lines, self._width)]
        out = np.zeros((*shape, 3), np.uint8)
        if self.scale > 1:
            size = (self._width, self._height)
            enlarged = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
            picture = np.asarray(enlarged, np.uint8)
        out[: self._height, : self._width] = picture[:, :, None]
        for number, (label, confidence) in enumerate(zip(labels, confidences, strict=True)):
            top = self._height + number * self._line
            strip = out[top : top + self._line, : self._width]
            strip[:] = self._colors[label if label != UNLABELLED else -1]
            if number:
                out[top - 2 : top, : self._width] = _EMPTY  # between lines of one colour
            text = self._scorers[number] + ": " * bool(self._scorers[number])
            text += self._names[label]
            if confidence is not None and label != UNLABELLED:
                text += f" {confidence:.2f}"
            right = draw_text(strip, time_text, self._pad, is_right=True) if not number else 0
            draw_text(strip[:, : self._width - right], text, self._pad)
        return out

    @property
    def _pad(self) -> int:
        return max(4, self._line // 4)


def draw_text(strip: Picture, text: str, pad: int, *, is_right: bool = False) -> int:
    """Write a line of text into a strip of one colour, in place, and return its width in px.

    Text that is too long is cut off at the right.
    """
    mask = _render(text, int(len(strip) * _TEXT_SHARE))
    room = max(0, strip.shape[1] - 2 * pad)
    mask = mask[: len(strip), :room]
    height, width = mask.shape
    top = (len(strip) - height) // 2
    left = strip.shape[1] - pad - width if is_right else pad
    ground = strip[0, 0].astype(np.float32)
    is_light = (ground / 255) ** 2.2 @ _LUMINANCE > _DARK_INK_ABOVE
    ink = np.array(_DARK if is_light else _LIGHT, np.float32)
    share = mask[:, :, None].astype(np.float32) / 255
    strip[top : top + height, left : left + width] = ground + share * (ink - ground)
    return width + 2 * pad


@functools.lru_cache(maxsize=512)
def _render(text: str, size_px: int) -> Picture:
    """Return a line of text as (H, W) coverage, 0 to 255; the height does not depend on it."""
    shown, families = find_fonts(text)
    font = get_font([findfont(FontProperties(family=[family])) for family in families])
    font.set_size(size_px, 72)
    font.set_text(shown)
    font.draw_glyphs_to_bitmap(antialiased=True)
    image = np.asarray(font.get_image())
    below = round(font.get_descent() / 64)
    above, depth = round(0.95 * size_px), round(0.25 * size_px)
    out = np.zeros((above + depth, image.shape[1]), np.uint8)
    top = above + below - image.shape[0]
    first, last = max(0, top), min(len(out), top + image.shape[0])
    out[first:last] = image[first - top : last - top]
    return out
