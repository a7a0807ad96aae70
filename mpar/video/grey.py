"""Turn decoded frames into upright grey arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from mpar.video.regions import Region

# 8-bit formats whose first plane is luma in limited range unless the frame says full range
_LIMITED_LUMA = frozenset(
    "yuv420p yuv422p yuv444p yuv440p yuv411p yuv410p nv12 nv21 nv16 nv24 yuva420p yuva422p "
    "yuva444p".split()
)
_FULL_LUMA = frozenset("gray yuvj420p yuvj422p yuvj444p yuvj440p yuvj411p".split())

# Limited range (16-235) to full range. Source: ITU-R BT.601-7, 2.5.3 (219 luma levels).
_RANGE_GAIN = 255 / 219
_RANGE_OFFSET = -16 * _RANGE_GAIN

_FULL_RANGE = cv2.addWeighted(
    np.arange(256, dtype=np.uint8), _RANGE_GAIN, np.arange(256, dtype=np.uint8), 0, _RANGE_OFFSET
).ravel()

_MAX_SKEW = math.tan(math.radians(1))  # players do not turn by less than one degree either


@dataclass(frozen=True, slots=True)
class Orientation:
    """How to show a decoded picture: transpose it, then mirror it.

    Parameters
    ----------
    is_transposed : bool
        Swap rows and columns.
    flips_x, flips_y : bool
        Then swap left and right, or top and bottom.
    is_odd : bool
        The angle in the file is not a multiple of 90 degrees; this is the nearest multiple.
    """

    is_transposed: bool = False
    flips_x: bool = False
    flips_y: bool = False
    is_odd: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation | None:
        """Read the display matrix of a frame; None if it has none.

        A singular matrix counts as upright.

        Notes
        -----
        A point (x, y) goes to (a x + c y, b x + d y). Source: ISO/IEC 14496-12, 8.3.2; the
        matrix is nine numbers, a b u c d v x y w.
        """
        data = _side_data_of(frame).get(Type.DISPLAYMATRIX.name)
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
        """Return an upright view of an (H, W) picture."""
        if self.is_transposed:
            picture = picture.T
        return picture[:: -1 if self.flips_y else 1, :: -1 if self.flips_x else 1]

    def turn_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) as shown."""
        return (width, height) if self.is_transposed else (height, width)


UPRIGHT = Orientation()


class Turner:
    """Finds how to turn each frame of a video, in any order.

    Parameters
    ----------
    first : Orientation, optional
        Orientation of the first frame, if it is known already.
    """

    def __init__(self, first: Orientation | None = None) -> None:
        self.first = first
        self._by_angle: dict[str, Orientation | None] = {}

    def find(self, frame: av.VideoFrame) -> Orientation:
        """Return the orientation of a frame; the first call is for the first frame."""
        # PyAV rarely frees a frame after a request for its side data
        angle = repr(frame.rotation)
        if angle not in self._by_angle:
            self._by_angle[angle] = Orientation.of(frame)
        # H.264 may state the rotation with the first picture only, for all that follow
        found = self._by_angle[angle] or self.first or UPRIGHT
        self.first = self.first or found
        return found


def _side_data_of(frame: av.VideoFrame) -> Mapping[str, object]:
    """Return the side data of a frame, also if PyAV does not know the kind of some of it."""
    try:
        return frame.side_data
    except ValueError:
        _admit_unknown_kinds()
        return frame.side_data


def _admit_unknown_kinds() -> None:
    """Let PyAV give kinds of side data that are newer than its list a name.

    Notes
    -----
    PyAV 18.1 lists kinds up to 27, while its FFmpeg 8 attaches 28 (LCEVC), 29 (views of a stereo
    video), 31 (EXIF, for instance of Motion-JPEG) and others. It then refuses all side data of the
    frame, the display matrix included. Source: ``libavutil/frame.h`` of FFmpeg 8.
    """

    def name_kind(cls: type[Enum], value: object) -> Enum:
        kind = object.__new__(cls)
        kind._name_, kind._value_ = f"UNKNOWN_{value}", value
        return kind

    Type._missing_ = classmethod(name_kind)  # type: ignore[assignment]


def to_full_range(level: int) -> int:
    """Convert a level from limited to full range."""
    return min(255, max(0, round(_RANGE_GAIN * level + _RANGE_OFFSET)))


class GreyConverter:
    """Turn decoded frames into upright grey arrays, resized if asked.

    Parameters
    ----------
    size : (height, width), optional
        Resize upright pictures to this many px by area averaging.
    threads : int
        Threads that resize, 0 for one per processor core.
    """

    def __init__(self, size: tuple[int, int] | None, threads: int = 1) -> None:
        self._size, self._threads = size, threads
        self._reformatter = VideoReformatter()
        self._frames: dict[tuple[int, ...], tuple[av.VideoFrame, np.ndarray]] = {}

    def luma(self, frame: av.VideoFrame) -> tuple[np.ndarray, bool]:
        """Return a view of the luma of a decoded frame, and whether its range is limited."""
        name = frame.format.name
        if name in _LIMITED_LUMA:
            return _first_plane(frame), frame.color_range != ColorRange.JPEG
        if name in _FULL_LUMA:
            return _first_plane(frame), False
        return self._reformat(frame, frame.height, frame.width), False

    def convert(
        self, frame: av.VideoFrame, luma: np.ndarray, is_limited: bool, orientation: Orientation
    ) -> np.ndarray:
        """Return the upright frame in full range, (H, W) uint8, as a new array."""
        if self._size is None:
            return _full_range(orientation.turn(luma), is_limited)
        grey = self._reformat(frame, *orientation.turn_size(*self._size))
        return np.array(orientation.turn(grey), order="C")

    def cut(
        self, luma: np.ndarray, is_limited: bool, orientation: Orientation, region: Region
    ) -> np.ndarray:
        """Return a region of the luma, as `convert` would return a video of that region alone."""
        part = region.part_of(orientation.turn(luma))
        if self._size is None or self._size == part.shape:
            return _full_range(part, is_limited)
        frame, plane = self._frames.get(part.shape) or self._make_frame(part.shape)
        plane[...] = part
        grey = self._reformat(frame, *self._size, threads=1)  # too small for more threads
        return _FULL_RANGE[grey] if is_limited else grey.copy()

    def _make_frame(self, shape: tuple[int, ...]) -> tuple[av.VideoFrame, np.ndarray]:
        """Return a grey frame to fill, with a view of its pixels."""
        frame = av.VideoFrame(shape[1], shape[0], "gray")
        frame.color_range = ColorRange.JPEG  # FFmpeg ignores any other range of grey frames
        self._frames[shape] = frame, _first_plane(frame)
        return self._frames[shape]

    def _reformat(
        self, frame: av.VideoFrame, height: int, width: int, threads: int | None = None
    ) -> np.ndarray:
        return _first_plane(
            self._reformatter.reformat(
                frame,
                width,
                height,
                "gray",
                interpolation="AREA",
                # the same matrix on both sides keeps luma unchanged, whatever the tags say
                src_colorspace=Colorspace.ITU601,
                dst_colorspace=Colorspace.ITU601,
                dst_color_range=ColorRange.JPEG,
                threads=self._threads if threads is None else threads,
            )
        )


def _full_range(luma: np.ndarray, is_limited: bool) -> np.ndarray:
    """Return a copy in full range; the decoder reuses the memory of its frames."""
    if not is_limited:
        return np.array(luma, order="C")
    # in one pass: gain * luma + offset, rounded and clipped to 0-255
    luma = np.ascontiguousarray(luma)
    return cv2.addWeighted(luma, _RANGE_GAIN, luma, 0, _RANGE_OFFSET)


def _first_plane(frame: av.VideoFrame) -> np.ndarray:
    """Return a view of the first plane of `frame` without row padding, (H, W) uint8."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]
