"""Turn decoded frames into upright grey arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

# 8-bit formats whose first plane is luma in limited range unless the frame says full range
_LIMITED_LUMA = frozenset(
    "yuv420p yuv422p yuv444p yuv440p yuv411p yuv410p nv12 nv21 nv16 nv24 yuva420p yuva422p "
    "yuva444p".split()
)
_FULL_LUMA = frozenset("gray yuvj420p yuvj422p yuvj444p yuvj440p yuvj411p".split())

# Limited range (16-235) to full range. Source: ITU-R BT.601-7, 2.5.3 (219 luma levels).
_RANGE_GAIN = 255 / 219
_RANGE_OFFSET = -16 * _RANGE_GAIN

_MAX_SKEW = math.tan(math.radians(1))  # below one degree players do not turn either


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a decoded picture is to be shown: transposed first, then mirrored.

    Parameters
    ----------
    is_transposed : bool
        Rows become columns.
    flips_x, flips_y : bool
        Left and right, or top and bottom, change places after that.
    is_odd : bool
        The file asks for another angle than a multiple of 90 degrees; this is the nearest.
    """

    is_transposed: bool = False
    flips_x: bool = False
    flips_y: bool = False
    is_odd: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation | None:
        """Read the display matrix of a frame; None if it has none.

        A matrix that maps all onto a line counts as upright.

        Notes
        -----
        A point (x, y) goes to (a x + c y, b x + d y). Source: ISO/IEC 14496-12, 8.3.2; the
        matrix is nine numbers, a b u c d v x y w.
        """
        data = frame.side_data.get(Type.DISPLAYMATRIX.name)
        if not isinstance(data, SideData):
            return None
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(float).tolist()
        if a * d == b * c:
            return UPRIGHT
        straight, crossed = math.hypot(a, d), math.hypot(b, c)
        is_transposed = crossed > straight
        x, y = (c, b) if is_transposed else (a, d)
        is_odd = min(straight, crossed) > _MAX_SKEW * max(straight, crossed)
        return cls(is_transposed, x < 0, y < 0, is_odd)

    def turn(self, picture: np.ndarray) -> np.ndarray:
        """View an (H, W) picture as it is to be shown."""
        if self.is_transposed:
            picture = picture.T
        return picture[:: -1 if self.flips_y else 1, :: -1 if self.flips_x else 1]

    def turn_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) as shown."""
        return (width, height) if self.is_transposed else (height, width)


UPRIGHT = Orientation()


def to_full_range(level: int) -> int:
    """Return a level of limited range in full range."""
    return min(255, max(0, round(_RANGE_GAIN * level + _RANGE_OFFSET)))


class GreyConverter:
    """Turn decoded frames into upright grey arrays, resized if asked.

    Parameters
    ----------
    size : (height, width), optional
        Resize to this many px, as shown, by area averaging.
    threads : int
        Threads that resize, 0 for one a processor core.
    """

    def __init__(self, size: tuple[int, int] | None, threads: int = 1) -> None:
        self._size, self._threads = size, threads
        self._reformatter = VideoReformatter()

    def luma(self, frame: av.VideoFrame) -> tuple[np.ndarray, bool]:
        """View the luma of a frame as it was decoded, and tell whether its range is limited."""
        name = frame.format.name
        if name in _FULL_LUMA | _LIMITED_LUMA:
            is_limited = name in _LIMITED_LUMA and frame.color_range != ColorRange.JPEG
            return _first_plane(frame), is_limited
        return self._reformat(frame, frame.height, frame.width), False

    def convert(
        self, frame: av.VideoFrame, luma: np.ndarray, is_limited: bool, orientation: Orientation
    ) -> np.ndarray:
        """Return a frame of that luma in full range, (H, W) uint8, the caller's own."""
        if self._size is not None:
            grey = self._reformat(frame, *orientation.turn_size(*self._size))
        elif is_limited:
            # in one pass: gain * luma + offset, rounded and clipped to 0-255
            grey = cv2.addWeighted(luma, _RANGE_GAIN, luma, 0, _RANGE_OFFSET)
        else:
            grey = luma
        is_own = self._size is None and is_limited
        grey = orientation.turn(grey)
        # the decoder refers to its frames again: what is yielded must be a copy of its own
        return np.ascontiguousarray(grey) if is_own else np.array(grey, order="C")

    def _reformat(self, frame: av.VideoFrame, height: int, width: int) -> np.ndarray:
        return _first_plane(
            self._reformatter.reformat(
                frame,
                width,
                height,
                "gray",
                interpolation="AREA",
                # one matrix on both sides, so that luma stays luma whatever the tags say
                src_colorspace=Colorspace.ITU601,
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.JPEG,
                threads=self._threads,
            )
        )


def _first_plane(frame: av.VideoFrame) -> np.ndarray:
    """View the first plane of `frame` without its row padding, (H, W) uint8."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]
