"""Warn of recordings in which there is little to see: black, faint or interlaced pictures."""

from __future__ import annotations

import cv2
import numpy as np

# All our choice, in grey levels of 0-255: every recording of mice that we have has more.
_BLACK_BELOW = 24  # the brightest part of a picture that counts as black
_BLANK_SPAN = 8  # between the darkest and the brightest part of one that shows nothing
_FAINT_SPAN = 40  # the same over a whole recording
_GRID = 64  # pixels a side that are looked at
_OUTLIERS = 4  # of these: the brightest and darkest may be dust or a broken pixel
_MOVES_BY = 12
_MIN_MOVING = 200  # px
_COMB_EVERY = 10
_COMB_RATIO = 1.2
_MIN_EMPTY = 5  # frames; a cut or a fade may hold a few
_MAX_STRETCHES = 5


class PictureMeter:
    """Looks at frames while they are decoded."""

    def __init__(self) -> None:
        self._darkest: list[int] = []
        self._brightest: list[int] = []
        self._before: np.ndarray | None = None
        self._num_combed = self._num_moving = 0

    @property
    def wants_luma(self) -> bool:
        """Tell whether the luma of the next frame is to be shown to `add_luma`."""
        return len(self._darkest) % _COMB_EVERY < 2

    def add_luma(self, luma: np.ndarray) -> None:
        """Look for combs in a frame, (H, W) uint8, as it was decoded.

        Notes
        -----
        In an interlaced picture what moves has teeth: a line differs more from the next one
        than from the next but one, which was filmed at the same moment. Elsewhere it differs
        less, being nearer.
        """
        before, self._before = self._before, luma.copy()
        if len(self._darkest) % _COMB_EVERY == 0 or before is None or before.shape != luma.shape:
            return
        moves = cv2.absdiff(luma, before)[:-2] > _MOVES_BY
        num_moving = int(np.count_nonzero(moves))
        if num_moving < _MIN_MOVING:
            return
        self._num_moving += 1
        mask = moves.astype(np.uint8)
        next_line = cv2.mean(cv2.absdiff(luma[:-2], luma[1:-1]), mask)[0]
        next_but_one = cv2.mean(cv2.absdiff(luma[:-2], luma[2:]), mask)[0]
        self._num_combed += next_line > _COMB_RATIO * next_but_one

    def add(self, frame: np.ndarray) -> None:
        """Look at the levels of a frame, (H, W) uint8."""
        height, width = frame.shape
        grid = frame[:: -(-height // _GRID), :: -(-width // _GRID)]
        pixels = np.sort(grid, axis=None, kind="stable")  # counts, which is quick for bytes
        self._darkest.append(int(pixels[_OUTLIERS]))
        self._brightest.append(int(pixels[-1 - _OUTLIERS]))

    def find_warnings(self) -> list[str]:
        """Return what is odd about the pictures."""
        warnings = []
        if 2 * self._num_combed > self._num_moving:
            warnings.append(
                "is interlaced: whatever moves has teeth; deinterlace it and its training videos "
                "alike (ffmpeg: -vf yadif)"
            )
        darkest, brightest = np.array(self._darkest), np.array(self._brightest)
        if not len(darkest):
            return warnings
        low, high = darkest.min(), brightest.max()
        if high < _BLACK_BELOW or high - low < _FAINT_SPAN:
            what = "is all but black" if high < _BLACK_BELOW else "is faint"
            warnings.append(
                f"{what}: its pictures have grey levels {low} to {high} of 0 to 255; export it "
                "with its levels stretched to the whole range (a 12-bit camera fills one "
                "sixteenth of 16 bits)"
            )
            return warnings
        is_empty = (brightest < _BLACK_BELOW) | (brightest - darkest < _BLANK_SPAN)
        if np.count_nonzero(is_empty) >= _MIN_EMPTY:
            warnings.append(
                f"is black or blank in {np.count_nonzero(is_empty)} of {len(is_empty)} frames "
                f"({_list_stretches(is_empty)}): check the light and the camera, and give these "
                "frames no label"
            )
        return warnings


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
