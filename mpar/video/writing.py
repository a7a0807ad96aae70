"""Write pictures to a video, frame by frame, each shown at its own time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mpar.system.files import atomic_path

# the first that this build of FFmpeg has; most players show both
_ENCODERS = {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"qmin": "2", "qmax": "5"}}
_TICK = Fraction(1, 90_000)  # seconds; frames of all usual rates last a whole number of them

Picture = NDArray[np.uint8]
AddFrame = Callable[[Picture, float], None]


@contextlib.contextmanager
def new_video(path: Path | str, rate: Fraction) -> Iterator[AddFrame]:
    """Open a new video; it appears at `path` when the block ends without an error.

    Parameters
    ----------
    path : Path or str
        The video; its suffix names the container, such as ``.mp4``. Replaced if it exists.
    rate : Fraction
        About how many frames are shown per second, for players that want to know.

    Yields
    ------
    callable
        Takes an (H, W, 3) uint8 picture in RGB, of even height and width, and the second at which
        it is shown, later than that of the previous picture. Pictures are encoded at once, so
        memory does not grow with the length.

    Raises
    ------
    OSError
        The video cannot be written, for instance because the disk is full.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        writer = _Writer(temporary, rate)
        try:
            with contextlib.closing(writer):
                yield writer.add
                writer.finish()
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from None


class _Writer:
    """A container with one video stream, which opens with the first picture."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        self._container = av.open(str(path), "w")
        self._rate = rate.limit_denominator(1001)
        self._stream: av.VideoStream | None = None
        self._pts = -1

    def add(self, picture: Picture, seconds: float) -> None:
        """Encode a picture."""
        if self._stream is None:
            self._stream = self._open(*picture.shape[:2])
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        # frames that follow each other within a tick stay in order
        self._pts = max(self._pts + 1, round(seconds / _TICK))
        frame.pts, frame.time_base = self._pts, _TICK
        self._container.mux(self._stream.encode(frame))

    def _open(self, height: int, width: int) -> av.VideoStream:
        name = next(name for name in _ENCODERS if name in av.codecs_available)
        stream = self._container.add_stream(name, rate=self._rate, options=_ENCODERS[name])
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = _TICK
        # as swscale converts RGB by default: ITU-R BT.601, limited range
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 6
        return stream

    def finish(self) -> None:
        """Encode what is still waiting."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())

    def close(self) -> None:
        """Close the file; without `finish`, it is not complete."""
        self._container.close()
