"""Contact sheets: bouts as strips of small pictures, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mpar.report.band import draw_text

NUM_PICTURES = 6  # of each bout
MAX_ROWS = 24  # on a sheet
_SIDE_PX = 160
_LINE_PX = 20
_GAP_PX = 4

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Strip:
    """Some frames of a bout, and what to write above them."""

    text: str
    pictures: tuple[Picture, ...]


def shrink(picture_HW: Picture) -> Picture:
    """Return a picture that fits into a contact sheet."""
    scale = _SIDE_PX / max(picture_HW.shape)
    size = [max(1, round(n * scale)) for n in picture_HW.shape[::-1]]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture_HW, size, interpolation=how), np.uint8)


def draw_sheet(strips: Sequence[Strip]) -> Picture:
    """Return a contact sheet, (H, W, 3) uint8 in RGB, of at least one strip."""
    width = max(
        sum(picture.shape[1] + _GAP_PX for picture in strip.pictures) + _GAP_PX for strip in strips
    )
    width = max(width, NUM_PICTURES * (_SIDE_PX + _GAP_PX) + _GAP_PX)
    rows = []
    for strip in strips:
        height = max(picture.shape[0] for picture in strip.pictures)
        row = np.full((_LINE_PX + height + _GAP_PX, width, 3), 255, np.uint8)
        draw_text(row[:_LINE_PX], strip.text, _GAP_PX)
        left = _GAP_PX
        for picture in strip.pictures:
            right = left + picture.shape[1]
            row[_LINE_PX : _LINE_PX + len(picture), left:right] = picture[:, :, None]
            left = right + _GAP_PX
        rows.append(row)
    return np.concatenate(rows)


def choose_frames(start: int, stop: int) -> list[int]:
    """Return at most six frames, evenly spread over a bout; the first and the last are among them.

    Examples
    --------
    >>> choose_frames(10, 21), choose_frames(3, 5), choose_frames(7, 8)
    ([10, 12, 14, 16, 18, 20], [3, 4], [7])
    """
    number = min(NUM_PICTURES, stop - start)
    return np.linspace(start, stop - 1, number).round().astype(int).tolist()
