"""Warn about recordings that show little: black, faint or interlaced pictures."""

from __future__ import annotations

import cv2
import numpy as np

from mpar.video.grey import to_full_range

# Our choice, in grey levels of 0-255: all our recordings of mice lie above these limits.
_BLACK_BELOW = 24  # limit for the brightest part of a black picture
_BLANK_SPAN = 8  # limit for brightest minus darkest part of a picture that shows nothing
_FAINT_SPAN = 40  # the same limit for a whole recording
_GRID = 64  # pixels sampled per side
_OUTLIERS = 4  # of these, ignored at each end: they may be dust or a broken pixel
_MOVES_BY = 25
_TOOTH = 10
_MIN_TEETH = 200  # px, over all sampled frames
_COMB_EVERY = 10
# Ratio of teeth against the next lines to teeth against the lines after those. Sixty progressive
# recordings have 1.01 at most; six of seven interlaced ones have 1.65 or more.
_COMB_RATIO = 1.2
_FLAGGED_RATIO = 1.1  # if the file itself states that it is interlaced
_MIN_EMPTY = 5  # frames; a cut or a fade may have a few
_MAX_STRETCHES = 5


class PictureMeter:
    """Measures frames while they are decoded."""

    def __init__(self) -> None:
        self._darkest: list[int] = []
        self._brightest: list[int] = []
        self._before = np.empty((0, 0), np.uint8)
        self._num_teeth = [0, 0]
        self._num_flagged = 0

    def add(self, luma: np.ndarray, *, is_limited: bool = False, is_flagged: bool = False) -> None:
        """Measure a decoded frame, (H, W) uint8; not resized, which would remove levels and lines.

        `is_limited` means levels of 16 to 235; `is_flagged`, that the file states interlacing.
        """
        number = len(self._darkest)
        height, width = luma.shape
        lines = np.ascontiguousarray(luma[:: -(-height // _GRID)])  # faster in two steps
        grid = lines[:, :: -(-width // _GRID)]
        pixels = np.sort(grid, axis=None, kind="stable")  # a counting sort, fast for bytes
        ends = [int(pixels[_OUTLIERS]), int(pixels[-1 - _OUTLIERS])]
        darkest, brightest = map(to_full_range, ends) if is_limited else ends
        self._darkest.append(darkest)
        self._brightest.append(brightest)
        if number % _COMB_EVERY == 0:
            self._before = luma.copy()
        elif number % _COMB_EVERY == 1 and self._before.shape == luma.shape:
            self._count_teeth(luma)
            self._num_flagged += 1 if is_flagged else -1

    def _count_teeth(self, luma: np.ndarray) -> None:
        """Count teeth in the parts that moved since the previous frame.

        Notes
        -----
        In an interlaced picture, moving parts have teeth: a line is darker or brighter than both
        neighbours, but not than the lines two away, which were filmed at the same moment. In
        other pictures this is rarer for the neighbours, because they are nearer.
        """
        change = cv2.absdiff(luma, self._before)[2:-2]
        _, moves = cv2.threshold(change, _MOVES_BY, 255, cv2.THRESH_BINARY)
        x, y, width, height = cv2.boundingRect(moves)  # most of the picture stands still
        if not width:
            return
        moves = moves[y : y + height, x : x + width]
        luma = luma[y : y + height + 4, x : x + width]
        for i, apart in enumerate((1, 2)):
            _, teeth = cv2.threshold(_find_teeth(luma, apart), _TOOTH, 255, cv2.THRESH_BINARY)
            self._num_teeth[i] += cv2.countNonZero(cv2.bitwise_and(teeth, moves))

    def find_warnings(self) -> list[str]:
        """Return warnings about the pictures."""
        warnings = []
        near, far = self._num_teeth
        ratio = _FLAGGED_RATIO if self._num_flagged > 0 else _COMB_RATIO
        if near + far >= _MIN_TEETH and near > ratio * far:
            warnings.append(
                "is interlaced: moving parts have jagged edges; deinterlace it and the training "
                "videos in the same way (ffmpeg: -vf yadif)"
            )
        darkest, brightest = np.array(self._darkest), np.array(self._brightest)
        if not len(darkest):
            return warnings
        low, high = darkest.min(), brightest.max()
        levels = f"its pictures have grey levels {low} to {high} of 0 to 255"
        if high < _BLACK_BELOW:
            warnings.append(
                f"is almost black: {levels}; check the light and the lens, or, if the camera has "
                "10 or 12 bits, export it with the levels stretched to the whole range"
            )
        elif high - low < _BLANK_SPAN:
            warnings.append(f"shows nothing: {levels}; check the camera")
        elif high - low < _FAINT_SPAN:
            warnings.append(
                f"is faint: {levels}; export it with the levels stretched to the whole range"
            )
        if high < _BLACK_BELOW or high - low < _FAINT_SPAN:
            return warnings
        is_empty = (brightest < _BLACK_BELOW) | (brightest - darkest < _BLANK_SPAN)
        if np.count_nonzero(is_empty) >= _MIN_EMPTY:
            warnings.append(
                f"is black or blank in {np.count_nonzero(is_empty)} of {len(is_empty)} frames "
                f"({_list_stretches(is_empty)}): check the light and the camera, and leave "
                "these frames unlabelled"
            )
        return warnings


def _find_teeth(luma: np.ndarray, apart: int) -> np.ndarray:
    """Return by how much lines 2 to H - 3 exceed both lines `apart` above and below."""
    line = luma[2:-2]
    above, below = luma[2 - apart : -2 - apart], luma[2 + apart : len(luma) - 2 + apart]
    dark = cv2.subtract(cv2.min(above, below), line)  # 0 where negative
    return cv2.max(dark, cv2.subtract(line, cv2.max(above, below)))


def _list_stretches(mask: np.ndarray) -> str:
    """Name the stretches of a (T,) bool array that are true: "3, 10-19"."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.view(np.int8), [0]])))
    stretches = [
        f"{start}-{stop - 1}" if stop - start > 1 else f"{start}"
        for start, stop in edges.reshape(-1, 2).tolist()
    ]
    more = len(stretches) - _MAX_STRETCHES
    return ", ".join(stretches[:_MAX_STRETCHES]) + (
        f" and {more} more stretches" if more > 0 else ""
    )
