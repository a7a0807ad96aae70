"""Decode videos to grey frames. The only module that talks to the decoder (PyAV).

The true number of frames is what decoding yields; header counts are only hints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from mpar.errors import InputError

EXPECTED_FPS = 30
MIN_SIDE_PX = 16
MAX_PIXELS = 1 << 26

# Only plain local files in containers that cannot point at other files: a playlist that
# calls itself .mp4 must not make the decoder open whatever it names.
_CONTAINERS = "mov,avi,matroska,mpegts,mpeg,asf,flv,ogg,dv,mxf,h264,hevc,mpegvideo,m4v"
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": _CONTAINERS,
    "max_pixels": str(MAX_PIXELS),
}

# 8-bit formats whose first plane is luma in limited range unless the frame says full range
_LIMITED_LUMA = frozenset(
    "yuv420p yuv422p yuv444p yuv440p yuv411p yuv410p nv12 nv21 nv16 nv24 yuva420p yuva422p "
    "yuva444p".split()
)
_FULL_LUMA = frozenset("gray yuvj420p yuvj422p yuvj444p yuvj440p yuvj411p".split())


# Limited range (16-235) to full range. Source: ITU-R BT.601-7, 2.5.3 (219 luma levels).
_RANGE_GAIN = 255 / 219
_RANGE_OFFSET = -16 * _RANGE_GAIN


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video says of itself, with the size of its first frame as it is shown.

    Parameters
    ----------
    height, width : int
        Size in px after the rotation that the file asks for.
    fps : Fraction
        Frames per second, exact; 30 when the file does not say.
    num_frames_hint : int
        Frame count by the header, 0 if unknown. Often wrong: only decoding tells.
    codec, container : str
        Names as FFmpeg gives them.
    """

    height: int
    width: int
    fps: Fraction
    num_frames_hint: int
    codec: str
    container: str


def probe_video(path: Path | str) -> VideoInfo:
    """Open a video and decode its first frame.

    Raises
    ------
    InputError
        The file is not a video that can be decoded, or its frames are too small or too large.
    """
    path = Path(path)
    with _opened(path, threads=1) as (container, stream):
        for packet in container.demux(stream):
            with contextlib.suppress(av.FFmpegError):
                for frame in packet.decode():
                    return _describe(path, container, stream, frame)
    raise InputError.of(path, "holds no frame that can be decoded; export it again")


def read_frames(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    threads: int = 0,
    warnings: list[str] | None = None,
) -> Iterator[np.ndarray]:
    """Decode a video from its first frame to its last.

    Parameters
    ----------
    path : Path or str
        A video file of any kind, size and colour.
    size : (height, width), optional
        Resize to this many px by area averaging. By default frames keep their size.
    threads : int
        Decoder threads, 0 for as many as the decoder likes. Use 1 when many videos are
        decoded side by side.
    warnings : list of str, optional
        Gets a line for each oddity (rate, damage, a header that announces more frames).
        Complete once the iterator is exhausted.

    Yields
    ------
    (H, W) uint8 array
        Luma in full range (0-255), turned as the file asks. Each is the caller's own.

    Raises
    ------
    InputError
        The file cannot be decoded, holds no frame, or changes its frame size on the way.

    Notes
    -----
    Equal to ``ffmpeg -pix_fmt gray`` at native size. Frames that the decoder had to conceal
    are yielded (dropping them would shift all later ones) and warned of.
    """
    path = Path(path)
    warnings = [] if warnings is None else warnings
    to_grey = _GreyConverter(size)
    num_frames = num_damaged = num_lost = 0
    timestamps: list[int] = []
    info = first_size = None
    with _opened(path, threads) as (container, stream):
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                num_lost += 1
                continue
            for frame in frames:
                frame_size = f"{frame.width}x{frame.height}"
                if info is None:
                    info, first_size = _describe(path, container, stream, frame), frame_size
                elif frame_size != first_size:
                    raise InputError.of(
                        path,
                        f"the frame size changes from {first_size} to {frame_size} px at frame "
                        f"{num_frames}; export it with one size",
                    )
                num_damaged += frame.is_corrupt
                if frame.pts is not None:
                    timestamps.append(frame.pts)
                yield to_grey(frame)
                num_frames += 1
    if info is None:
        raise InputError.of(path, "holds no frame that can be decoded; export it again")
    warnings += _find_warnings(info, num_frames, num_damaged, num_lost, timestamps)


@contextlib.contextmanager
def _opened(
    path: Path, threads: int
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open the first real video stream of a file; every failure becomes an InputError."""
    if not path.is_file():
        raise InputError.of(path, "is not a file; check the path")
    try:
        # an absolute path cannot be taken for a protocol such as "concat:..."
        container = av.open(str(path.absolute()), options=_OPEN_OPTIONS)
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError.of(
            path, f"cannot be opened as a video ({reason}); export it again"
        ) from None
    with container:
        streams = [s for s in container.streams.video if not _is_cover_picture(s)]
        if not streams or streams[0].codec_context is None:
            raise InputError.of(path, "has no video stream that can be decoded; export it again")
        stream = streams[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        try:
            yield container, stream
        except av.FFmpegError as error:
            raise InputError.of(
                path, f"cannot be decoded ({error.strerror}); export it again"
            ) from None


def _is_cover_picture(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _describe(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    frame: av.VideoFrame,
) -> VideoInfo:
    height, width = frame.height, frame.width
    if frame.rotation % 180:
        height, width = width, height
    if min(height, width) < MIN_SIDE_PX:
        raise InputError.of(
            path,
            f"frames are {width}x{height} px, expected at least "
            f"{MIN_SIDE_PX}x{MIN_SIDE_PX}; film or export it larger",
        )
    rate = stream.average_rate or stream.guessed_rate
    num_frames_hint = stream.frames
    if not num_frames_hint and rate:
        num_frames_hint = round(_find_duration_seconds(container, stream) * rate)
    return VideoInfo(
        height=height,
        width=width,
        fps=Fraction(rate) if rate else Fraction(EXPECTED_FPS),
        num_frames_hint=max(0, num_frames_hint),
        codec=stream.codec_context.name,
        container=container.format.name,
    )


def _find_duration_seconds(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Fraction:
    """Return how long the video says it is, in seconds, 0 if it does not."""
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    # Matroska and Flash tell only the file's duration, which sound may stretch
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration - (container.start_time or 0), av.time_base)
    return Fraction(0)


def _find_warnings(
    info: VideoInfo, num_frames: int, num_damaged: int, num_lost: int, timestamps: list[int]
) -> list[str]:
    warnings = []
    if abs(info.fps - EXPECTED_FPS) > Fraction(1, 2):
        warnings.append(
            f"runs at {float(info.fps):.6g} frames per second, expected {EXPECTED_FPS}; kept as is"
        )
    steps = np.diff(timestamps)
    # AVI has no time stamps of its own: steps that go backwards say nothing
    if len(steps) and steps.min() > 0 and steps.max() > 1.5 * np.median(steps):
        warnings.append(
            "has a variable frame rate: frames are counted one by one, so times in seconds "
            "are approximate"
        )
    if num_damaged or num_lost:
        warnings.append(
            f"is damaged: {num_damaged} frames were concealed and {num_lost} packets could not "
            "be decoded; frames may be missing, check the alignment of its labels"
        )
    if num_frames < info.num_frames_hint:
        warnings.append(
            f"yields {num_frames} frames but its header announces {info.num_frames_hint}; "
            "it may be cut short"
        )
    return warnings


class _GreyConverter:
    """Turn decoded frames into upright grey arrays, resized if asked."""

    def __init__(self, size: tuple[int, int] | None) -> None:
        self._size = size
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        quarter_turns = round(frame.rotation / 90) % 4
        name = frame.format.name
        is_own = False
        if self._size is None and name in _FULL_LUMA | _LIMITED_LUMA:
            grey = _luma(frame)
            if name in _LIMITED_LUMA and frame.color_range != ColorRange.JPEG:
                # in one pass: gain * luma + offset, rounded and clipped to 0-255
                grey = cv2.addWeighted(grey, _RANGE_GAIN, grey, 0, _RANGE_OFFSET)
                is_own = True
        else:
            height, width = self._size or (frame.height, frame.width)
            if self._size is not None and quarter_turns % 2:
                height, width = width, height
            grey = _luma(
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
                )
            )
        grey = np.rot90(grey, quarter_turns)
        # the decoder refers to its frames again: what is yielded must be a copy of its own
        return np.ascontiguousarray(grey) if is_own else np.array(grey, order="C")


def _luma(frame: av.VideoFrame) -> np.ndarray:
    """View the first plane of `frame` without its row padding, (H, W) uint8."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]
