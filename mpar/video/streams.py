"""Open the video stream of a file, and read what its header states."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from mpar.errors import InputError
from mpar.system.faults import contained
from mpar.video.grey import UPRIGHT, Orientation

EXPECTED_FPS = 30
MIN_SIDE_PX = 16
MAX_PIXELS = 1 << 26
RAW_STREAMS = frozenset(("h264", "hevc", "mpegvideo", "m4v"))

_GUESSED_FPS = 25  # what players assume if a bare stream states no rate
_MARK = Fraction(1000003, 100003)  # marks such a guess; no camera has this rate
_ESTIMATED = frozenset(("mpegts", "mpeg", "ogg", "dv"))  # no duration in the header

# Only plain local files in containers that cannot refer to other files: a playlist named .mp4 must
# not make the decoder open the files that it lists.
_CONTAINERS = "mov,avi,matroska,mpegts,mpeg,asf,flv,ogg,dv,mxf,h264,hevc,mpegvideo,m4v"
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": _CONTAINERS,
    "max_pixels": str(MAX_PIXELS),
    "framerate": f"{_MARK.numerator}/{_MARK.denominator}",
}


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the header of a video states, and the upright size of its first frame.

    Parameters
    ----------
    height, width : int
        Size in px after the rotation that the file requests.
    fps : Fraction
        Frames per second, exact; 30 if the file states no rate.
    num_frames_hint : int
        Frame count in the header, 0 if unknown. Often wrong; only decoding gives the true count.
    codec, container : str
        Names as FFmpeg gives them.
    is_rate_guessed : bool
        The file states no rate; `fps` is what players assume.
    num_packets : int
        Packets with pictures, 0 if nobody counted them. Decoding usually yields one frame for each.
    """

    height: int
    width: int
    fps: Fraction
    num_frames_hint: int
    codec: str
    container: str
    is_rate_guessed: bool = False
    num_packets: int = 0

    @property
    def likely_counts(self) -> list[int]:
        """Numbers of frames that decoding may yield, the likeliest first.

        Some codecs have packets that show nothing, so the header may be right; in some interlaced
        videos a packet is half a frame.
        """
        counts = (self.num_packets, self.num_frames_hint, self.num_packets // 2)
        return [count for count in dict.fromkeys(counts) if 0 < count <= self.num_packets]


@contextlib.contextmanager
def opened(
    path: Path, stream: int | None
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream, list[str]]]:
    """Open a video stream of a file; also yield warnings about the choice of the stream.

    Every failure becomes an InputError.
    """
    if not path.is_file():
        raise InputError.of(path, "unreadable", "is not a file; check the path")
    try:
        container = _open(path)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError.of(path, "video-damaged", _explain(path, error)) from None
    with container:
        chosen, notes = _choose_stream(path, container, stream)
        for other in container.streams:
            # mp4: the reader stops if a part of another stream is missing
            if other.index != chosen.index:
                other.discard = av.stream.Discard.all
        _check_area(path, chosen)
        # At a bad packet, frame threads lose the frames in flight, and slice threads conceal damage
        # differently. With one thread, every machine decodes the same frames, as ffmpeg does.
        chosen.codec_context.thread_count = 1
        try:
            with contained(path):
                yield container, chosen, notes
        except av.FFmpegError as error:
            raise InputError.of(
                path, "video-damaged", f"cannot be decoded ({error.strerror}); export it again"
            ) from None
        except OSError as error:  # some facts mpar reads from the file itself
            raise InputError.of(
                path, "unreadable", f"cannot be read ({error.strerror or error}); check the file"
            ) from None


def _open(path: Path) -> av.container.InputContainer:
    # an absolute path cannot be mistaken for a protocol such as "concat:..."
    return av.open(str(path.absolute()), options=_OPEN_OPTIONS, metadata_errors="replace")


def read_packets(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.Packet[av.VideoStream]]:
    """Yield the packets of a stream; the last one is empty."""
    # PyAV fails after the last packet if bad bytes looked like the start of another stream
    with contextlib.suppress(IndexError):
        yield from container.demux(stream)


def _explain(path: Path, error: Exception) -> str:
    """Describe why a file cannot be opened, and what to do."""
    if isinstance(error, av.error.ArgumentError):
        return (
            "cannot be opened as a video: mpar does not read this kind of file, whatever its "
            "suffix says (it reads mp4, avi, mkv and the like); export it again"
        )
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, av.error.EOFError) or not path.stat().st_size:
        reason = "it ends before its first picture"
    elif isinstance(error, av.error.UnknownError):
        reason = "its header is invalid"
    return f"cannot be opened as a video ({reason}); export it again"


def _choose_stream(
    path: Path, container: av.container.InputContainer, index: int | None
) -> tuple[av.VideoStream, list[str]]:
    """Return the requested stream, or the one that players show."""
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None
        and not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        raise InputError.of(
            path, "no-stream", "has no video stream that can be decoded; export it again"
        )
    listed = "; ".join(map(_show_stream, streams))
    if index is not None:
        for stream in streams:
            if stream.index == index:
                return stream, []
        raise InputError.of(
            path,
            "no-stream",
            f"has no video stream {index}, expected one of {listed}; choose another --stream",
        )
    # the same choice as ffmpeg's; the first of equal streams
    chosen = max(streams, key=lambda s: (_is_default(s), s.width * s.height))
    if len(streams) == 1:
        return chosen, []
    return chosen, [
        f"has {len(streams)} video streams ({listed}); mpar reads stream {chosen.index}; pass "
        "--stream N to read another"
    ]


def _check_area(path: Path, stream: av.VideoStream) -> None:
    """Raise InputError if pictures are too large for memory; not every decoder checks."""
    if stream.width * stream.height > MAX_PIXELS:
        raise InputError.of(
            path,
            "frame-size",
            f"frames are {stream.width}x{stream.height} px, expected at most "
            f"{MAX_PIXELS:,} px in all; export it smaller",
        )


def _is_default(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.default)


def _show_stream(stream: av.VideoStream) -> str:
    rate, _ = _find_rate(stream)
    return (
        f"stream {stream.index}: {stream.width}x{stream.height} px, {float(rate):.6g} frames per "
        f"second{', default' * _is_default(stream)}"
    )


def show_size(size: tuple[int, int]) -> str:
    """Return (height, width) as text: WxH."""
    return f"{size[1]}x{size[0]}"


def no_frame(path: Path) -> InputError:
    """Return the error for a video without a frame."""
    return InputError.of(
        path, "no-frames", "contains no frame that can be decoded; export it again"
    )


def _find_rate(stream: av.VideoStream) -> tuple[Fraction, bool]:
    """Return frames per second, and whether they are a guess."""
    rate = stream.average_rate or stream.guessed_rate
    if rate == _MARK:  # only the pictures themselves may state a rate
        rate = stream.guessed_rate
    if rate == _MARK:
        return Fraction(_GUESSED_FPS), True
    return (Fraction(rate), False) if rate else (Fraction(EXPECTED_FPS), True)


def describe(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    frame: av.VideoFrame,
) -> VideoInfo:
    """Return what a video states; raise InputError if its pictures are too small."""
    height, width = (Orientation.of(frame) or UPRIGHT).turn_size(frame.height, frame.width)
    if min(height, width) < MIN_SIDE_PX:
        raise InputError.of(
            path,
            "frame-size",
            f"frames are {width}x{height} px, expected at least "
            f"{MIN_SIDE_PX}x{MIN_SIDE_PX}; film or export it larger",
        )
    rate, is_guessed = _find_rate(stream)
    num_frames_hint = stream.frames
    if not num_frames_hint:
        num_frames_hint = round(_find_duration_seconds(container, stream) * rate)
    return VideoInfo(
        height=height,
        width=width,
        fps=rate,
        num_frames_hint=max(0, num_frames_hint),
        codec=stream.codec_context.name,
        container=container.format.name,
        is_rate_guessed=is_guessed,
    )


def _find_duration_seconds(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Fraction:
    """Return the length that a video states, in seconds, 0 if it states none."""
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    # Matroska and Flash state only the file's duration, which sound may extend
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration - (container.start_time or 0), av.time_base)
    return Fraction(0)


def count_listed(stream: av.VideoStream) -> int:
    """Return how many packets with pictures the index of a file lists, 0 if it is not complete."""
    entries = list(stream.index_entries)
    is_complete = len(entries) == stream.frames  # fragments add entries while they are read
    return sum(entry.size > 0 and not entry.is_discard for entry in entries) * is_complete


def count_announced(
    container: av.container.InputContainer, stream: av.VideoStream, *, is_cut: bool
) -> int:
    """Return how many packets with pictures the header lists, 0 if it lists none.

    Notes
    -----
    An edit list hides some packets. AVI also counts missed frames and fields, so its index, at
    the end of the file, is used instead.
    """
    entries = list(stream.index_entries) if stream.frames else []
    if "mp4" in container.format.name or (entries and not is_cut):
        return sum(entry.size > 0 and not entry.is_discard for entry in entries)
    return stream.frames - sum(entry.size == 0 for entry in entries)


def find_zero(path: Path, container: av.container.InputContainer) -> Fraction:
    """Return the second, on the clock of the time stamps, at which players start to count.

    Notes
    -----
    This is the start of the earliest stream. In Matroska, it is the first block of the file,
    without the delay of the sound's codec, which FFmpeg subtracts. Source: measured with mpv, the
    player of BORIS.
    """
    zero = Fraction(container.start_time or 0, av.time_base)
    if "matroska" in container.format.name and len(container.streams) > 1:
        with _open(path) as file:
            for packet in file.demux():
                if packet.pts is not None and packet.time_base is not None:
                    return max(Fraction(0), packet.pts * packet.time_base)
    return zero


@dataclass(frozen=True, slots=True)
class End:
    """When a file ends according to its header.

    Parameters
    ----------
    seconds : Fraction
        On the clock of the time stamps; 0 if unknown.
    is_of_picture : bool
        Whether this is the end of the picture; else it is that of the longest stream.
    is_estimate : bool
        Whether the header states no length.
    """

    seconds: Fraction = Fraction(0)
    is_of_picture: bool = False
    is_estimate: bool = False


def find_end(container: av.container.InputContainer, stream: av.VideoStream) -> End:
    """Return when a file ends according to its header."""
    name = container.format.name
    if name in RAW_STREAMS or name in _ESTIMATED:
        return End(is_estimate=True)
    if name == "avi" and stream.duration and stream.time_base:
        return End((stream.duration + (stream.start_time or 0)) * stream.time_base, True)
    # as FFmpeg and mkvmerge write it: hours:minutes:seconds
    written = re.fullmatch(r"(\d+):(\d\d):(\d\d(\.\d+)?)", stream.metadata.get("DURATION", ""))
    if written:
        hours, minutes, seconds = map(Fraction, written.groups()[:3])
        return End(3600 * hours + 60 * minutes + seconds, True)
    return End(Fraction(container.duration or 0, av.time_base))
