"""Decode videos to grey frames.

The true number of frames is what decoding yields; header counts are only hints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mpar.endings import is_cut_short
from mpar.errors import InputError
from mpar.grey import GreyConverter, Orientation
from mpar.pictures import PictureMeter
from mpar.timing import Timing, find_timing

VIDEO_SUFFIXES = (
    ".mp4 .avi .mov .mkv .m4v .webm .mpg .mpeg .wmv .asf .flv .ts .mts .m2ts .ogv .h264 .3gp"
).split()
EXPECTED_FPS = 30
MIN_SIDE_PX = 16
MAX_PIXELS = 1 << 26
MAX_SQUEEZE = 1.05

_GUESSED_FPS = 25  # what players take where a bare stream states no rate
_MARK = Fraction(1000003, 100003)  # stands for such a guess, since no camera has this rate
_RAW_STREAMS = frozenset(("h264", "hevc", "mpegvideo", "m4v"))
_ESTIMATED = frozenset(("mpegts", "mpeg", "ogg", "dv"))  # no duration in the header

# Only plain local files in containers that cannot point at other files: a playlist that
# calls itself .mp4 must not make the decoder open whatever it names.
_CONTAINERS = "mov,avi,matroska,mpegts,mpeg,asf,flv,ogg,dv,mxf,h264,hevc,mpegvideo,m4v"
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": _CONTAINERS,
    "max_pixels": str(MAX_PIXELS),
    "framerate": f"{_MARK.numerator}/{_MARK.denominator}",
}

# The end of the file's other streams by which they may outlast the picture: sound is cut in
# blocks of its own, and a camera that stops may record it on for a moment.
_MAX_OUTLAST_SECONDS = 2
_MAX_OUTLAST_PART = Fraction(1, 20)


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
    is_rate_guessed : bool
        The file states no rate; `fps` is what players assume.
    """

    height: int
    width: int
    fps: Fraction
    num_frames_hint: int
    codec: str
    container: str
    is_rate_guessed: bool = False


@dataclass(slots=True)
class _Tally:
    """What is counted while decoding."""

    num_frames: int = 0
    num_packets: int = 0
    num_damaged: int = 0
    num_lost: int = 0
    stamps: list[int | None] = field(default_factory=list)
    time_base: Fraction = Fraction(1)
    last_duration: int = 0
    is_odd_angle: bool = False
    first_turned: int | None = None
    is_end_missing: bool = False
    is_alone: bool = False


def probe_video(path: Path | str, *, stream: int | None = None) -> VideoInfo:
    """Open a video and decode its first frame.

    Parameters
    ----------
    path : Path or str
        The video.
    stream : int, optional
        As in `Decoding`.

    Raises
    ------
    InputError
        The file is not a video that can be decoded, or its frames are too small or too large.
    """
    path = Path(path)
    with _opened(path, stream, threads=1) as (container, video, _):
        for packet in container.demux(video):
            with contextlib.suppress(av.FFmpegError):
                for frame in packet.decode():
                    return _describe(path, container, video, frame)
    raise _no_frame(path)


def read_frames(
    path: Path | str,
    *,
    size: tuple[int, int] | None = None,
    threads: int = 0,
    stream: int | None = None,
    warnings: list[str] | None = None,
) -> Iterator[np.ndarray]:
    """Decode a video from its first frame to its last.

    Parameters
    ----------
    path, size, threads, stream
        As in `Decoding`.
    warnings : list of str, optional
        Gets a line for each oddity. Complete once the iterator is exhausted.

    Yields
    ------
    (H, W) uint8 array
        As from `Decoding`.
    """
    decoding = Decoding(path, size=size, threads=threads, stream=stream)
    yield from decoding
    if warnings is not None:
        warnings += decoding.warnings


class Decoding:
    """One pass over a video; yields its frames and then knows what was odd about them.

    Parameters
    ----------
    path : Path or str
        A video file of any kind, size and colour.
    size : (height, width), optional
        Resize to this many px by area averaging. By default frames keep their size.
    threads : int
        Decoder threads, 0 for as many as the decoder likes. Use 1 when many videos are
        decoded side by side. The frames are the same.
    stream : int, optional
        Index of the video stream in the file; by default the one that players show.

    Attributes
    ----------
    info : VideoInfo
        Known from the first frame on.
    timing : Timing
        Rate and times, known at the end.
    warnings : tuple of str
        Complete at the end.

    Notes
    -----
    Iterating yields (H, W) uint8 arrays: luma in full range (0-255), turned as the file asks,
    each the caller's own. Equal to ``ffmpeg -pix_fmt gray`` at native size. Frames that the
    decoder had to conceal are yielded (dropping them would shift all later ones) and warned of.
    It raises InputError if the file cannot be decoded, holds no frame, or changes its frame
    size on the way.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        size: tuple[int, int] | None = None,
        threads: int = 0,
        stream: int | None = None,
    ) -> None:
        self._path = Path(path)
        self._size, self._threads, self._stream = size, threads, stream
        self.info: VideoInfo
        self.timing: Timing
        self.warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[np.ndarray]:
        to_grey, meter, tally = GreyConverter(self._size), PictureMeter(), _Tally()
        shown: tuple[int, int] | None = None
        turned = None
        with _opened(self._path, self._stream, self._threads) as (container, video, notes):
            num_announced = _count_announced(container, video)
            for frame in _decode(container, video, tally):
                orientation = Orientation.of(frame)
                size = orientation.turn_size(frame.height, frame.width)
                if shown is None:
                    self.info = _describe(self._path, container, video, frame)
                    shown, turned = size, orientation
                elif size != shown:
                    raise InputError.of(
                        self._path,
                        f"the frame size changes from {_show(shown)} to {_show(size)} px at frame "
                        f"{tally.num_frames}; export it with one size",
                    )
                if orientation != turned and tally.first_turned is None:
                    tally.first_turned = tally.num_frames
                tally.is_odd_angle |= orientation.is_odd
                if meter.wants_luma:
                    meter.add_luma(to_grey.luma(frame))
                grey = to_grey.convert(frame, orientation)
                meter.add(grey)
                yield grey
                tally.num_frames += 1
            if shown is None:
                raise _no_frame(self._path)
            tally.is_end_missing = is_cut_short(self._path, self.info.container)
            self._finish(tally, meter, notes, num_announced, _find_end(container))

    def _finish(
        self,
        tally: _Tally,
        meter: PictureMeter,
        notes: list[str],
        num_announced: int,
        end_seconds: Fraction,
    ) -> None:
        """Work out timing and warnings."""
        is_clocked = self.info.container not in _RAW_STREAMS
        self.timing = Timing(self.info.fps)
        if is_clocked:
            self.timing = find_timing(
                tally.stamps, tally.time_base, tally.last_duration, self.info.fps
            )
        self.warnings = (
            *notes,
            *_find_time_warnings(self.info, self.timing),
            *_find_loss_warnings(tally, self.info, self.timing, num_announced, end_seconds),
            *meter.find_warnings(),
        )


def squeeze_of(source: tuple[int, int], target: tuple[int, int]) -> str:
    """Say how resizing changes the shape of pictures, or "" if it does by 5 % at most.

    Parameters
    ----------
    source, target : (height, width)
        In px.
    """
    change = (source[0] * target[1]) / (source[1] * target[0])
    if max(change, 1 / change) <= MAX_SQUEEZE:
        return ""
    how = f"{change:.2f} times as wide" if change > 1 else f"{1 / change:.2f} times as high"
    return (
        f"frames of {_show(source)} px are squeezed to {_show(target)} px, which shows all "
        f"{how} as it is"
    )


def _decode(
    container: av.container.InputContainer, stream: av.VideoStream, tally: _Tally
) -> Iterator[av.VideoFrame]:
    """Yield the frames of a stream and count what is good and bad."""
    tally.time_base = stream.time_base or tally.time_base
    tally.is_alone = len(container.streams) == 1
    for packet in container.demux(stream):
        tally.num_packets += packet.size > 0 and not packet.is_discard
        tally.is_end_missing |= packet.is_corrupt
        try:
            frames = packet.decode()
        except av.FFmpegError:
            tally.num_lost += 1
            continue
        for frame in frames:
            tally.num_damaged += frame.is_corrupt
            tally.stamps.append(frame.pts)
            tally.last_duration = frame.duration or 0
            yield frame


@contextlib.contextmanager
def _opened(
    path: Path, stream: int | None, threads: int
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream, list[str]]]:
    """Open a video stream of a file, with what is to be said of the choice.

    Every failure becomes an InputError.
    """
    if not path.is_file():
        raise InputError.of(path, "is not a file; check the path")
    try:
        # an absolute path cannot be taken for a protocol such as "concat:..."
        container = av.open(
            str(path.absolute()), options=_OPEN_OPTIONS, metadata_errors="replace"
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError.of(path, _explain(path, error)) from None
    with container:
        chosen, notes = _choose_stream(path, container, stream)
        for other in container.streams:
            # mp4: the reader gives up where a part of another stream is missing
            if other.index != chosen.index:
                other.discard = av.stream.Discard.all
        # Frame threads lose what is in flight when a packet is bad, each machine another part.
        chosen.thread_type = "SLICE"
        chosen.codec_context.thread_count = threads
        try:
            yield container, chosen, notes
        except av.FFmpegError as error:
            raise InputError.of(
                path, f"cannot be decoded ({error.strerror}); export it again"
            ) from None


def _explain(path: Path, error: Exception) -> str:
    """Say why a file cannot be opened, and what to do."""
    if isinstance(error, av.error.ArgumentError):
        return (
            f"cannot be opened as a video: mpar does not read this kind of file ({path.suffix}) "
            "but mp4, avi, mkv and the like; export it again"
        )
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, av.error.EOFError) or not path.stat().st_size:
        reason = "it ends before its first picture"
    elif isinstance(error, av.error.UnknownError):
        reason = "its header makes no sense"
    return f"cannot be opened as a video ({reason}); export it again"


def _choose_stream(
    path: Path, container: av.container.InputContainer, index: int | None
) -> tuple[av.VideoStream, list[str]]:
    """Return the stream that was asked for, or the one that players show."""
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None
        and not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        raise InputError.of(path, "has no video stream that can be decoded; export it again")
    listed = "; ".join(map(_show_stream, streams))
    if index is not None:
        for stream in streams:
            if stream.index == index:
                return stream, []
        raise InputError.of(
            path,
            f"has no video stream {index}; choose another --stream, it has {listed}",
        )
    # as ffmpeg chooses; the first of those that are alike
    chosen = max(streams, key=lambda s: (_is_default(s), s.width * s.height))
    if len(streams) == 1:
        return chosen, []
    return chosen, [
        f"has {len(streams)} video streams ({listed}): mpar reads stream {chosen.index}; pass "
        "--stream N to read another"
    ]


def _is_default(stream: av.VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.default)


def _show_stream(stream: av.VideoStream) -> str:
    rate, _ = _find_rate(stream)
    return (
        f"stream {stream.index}: {stream.width}x{stream.height} px, {float(rate):.6g} frames per "
        f"second{', default' * _is_default(stream)}"
    )


def _show(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _no_frame(path: Path) -> InputError:
    return InputError.of(path, "holds no frame that can be decoded; export it again")


def _find_rate(stream: av.VideoStream) -> tuple[Fraction, bool]:
    """Return frames per second, and whether that is a guess."""
    rate = stream.average_rate or stream.guessed_rate
    if rate == _MARK:  # only the pictures themselves may tell
        rate = stream.guessed_rate
    if rate == _MARK:
        return Fraction(_GUESSED_FPS), True
    return (Fraction(rate), False) if rate else (Fraction(EXPECTED_FPS), True)


def _describe(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    frame: av.VideoFrame,
) -> VideoInfo:
    height, width = Orientation.of(frame).turn_size(frame.height, frame.width)
    if min(height, width) < MIN_SIDE_PX:
        raise InputError.of(
            path,
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
    """Return how long the video says it is, in seconds, 0 if it does not."""
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    # Matroska and Flash tell only the file's duration, which sound may stretch
    if container.duration and len(container.streams) == 1:
        return Fraction(container.duration - (container.start_time or 0), av.time_base)
    return Fraction(0)


def _count_announced(container: av.container.InputContainer, stream: av.VideoStream) -> int:
    """Return how many packets with pictures the header lists, 0 if it does not.

    An edit list hides some, and AVI notes a frame that the camera missed as an empty packet.
    """
    entries = list(stream.index_entries) if stream.frames else []
    if "mp4" in container.format.name:
        return sum(entry.size > 0 and not entry.is_discard for entry in entries)
    return stream.frames - sum(entry.size == 0 for entry in entries)


def _find_end(container: av.container.InputContainer) -> Fraction:
    """Return the file's end by its header, over all of its streams, in seconds, or 0."""
    if container.format.name in _RAW_STREAMS or container.format.name in _ESTIMATED:
        return Fraction(0)
    return Fraction(container.duration or 0, av.time_base)


def _find_time_warnings(info: VideoInfo, timing: Timing) -> list[str]:
    warnings = []
    fps = f"{float(timing.fps):.6g} frames per second"
    if info.is_rate_guessed:
        warnings.append(
            f"states no frame rate: {fps} is a guess; put it into an mp4 at its true rate "
            "(ffmpeg -framerate RATE -i IN -c copy OUT.mp4)"
        )
    elif abs(timing.fps - EXPECTED_FPS) > Fraction(1, 2):
        warnings.append(f"runs at {fps}, expected {EXPECTED_FPS}; kept as is")
    if timing.times is not None:
        steps = np.diff(timing.times) * 1000
        warnings.append(
            f"has a variable frame rate ({fps} on average, steps of {steps.min():.3g} to "
            f"{steps.max():.3g} ms): mpar counts its frames one by one, so durations in seconds "
            "are approximate"
        )
    # AVI has no time stamps of its own: steps that go backwards say nothing
    if timing.first_back is not None and info.container != "avi":
        warnings.append(
            f"has time stamps that go backwards at frame {timing.first_back}: mpar takes its "
            f"frames as they come, at {fps}; check the alignment of its labels"
        )
    return warnings


def _find_loss_warnings(
    tally: _Tally, info: VideoInfo, timing: Timing, num_announced: int, end_seconds: Fraction
) -> list[str]:
    """Return what tells that frames are missing or were made up."""
    warnings = []
    num_frames = tally.num_frames
    if tally.num_damaged or tally.num_lost:
        warnings.append(
            f"is damaged: {tally.num_damaged} frames were concealed and {tally.num_lost} packets "
            "could not be decoded; frames may be missing, check the alignment of its labels"
        )
    known = [stamp for stamp in tally.stamps if stamp is not None]
    stop = (max(known) + tally.last_duration) * tally.time_base if known else end_seconds
    lacking = end_seconds - stop
    allowed = max(_MAX_OUTLAST_SECONDS, _MAX_OUTLAST_PART * end_seconds)
    if tally.is_alone and timing.times is None:  # nothing else can outlast the picture
        allowed = 3 / (2 * timing.fps)
    num_hinted = num_announced or info.num_frames_hint
    if tally.num_packets < num_announced or (tally.is_end_missing and num_frames < num_hinted):
        warnings.append(
            f"yields {num_frames} frames but its header announces {num_hinted}; "
            "it may be cut short"
        )
    elif tally.is_end_missing:
        warnings.append(f"yields {num_frames} frames and then breaks off; it may be cut short")
    elif lacking > allowed:
        warnings.append(
            f"yields {num_frames} frames, the last {float(lacking):.1f} s before the end that its "
            "header announces; it may be cut short"
        )
    elif not warnings and num_frames < tally.num_packets - 1 and _has_frame_a_packet(tally, info):
        warnings.append(
            f"yields {num_frames} frames of {tally.num_packets} packets: the others could not be "
            "decoded, as before a first key frame; check the alignment of its labels"
        )
    if tally.is_odd_angle:
        warnings.append(
            "is to be shown at an angle that is no quarter turn: mpar turns it to the nearest one"
        )
    if tally.first_turned is not None:
        warnings.append(
            f"is to be shown another way up from frame {tally.first_turned} on; mpar turns it so"
        )
    return warnings


def _has_frame_a_packet(tally: _Tally, info: VideoInfo) -> bool:
    """Tell whether each packet should give a frame: interlaced ones may give half of one."""
    is_of_fields = abs(2 * tally.num_frames - tally.num_packets) <= 1
    return info.codec in {"h264", "hevc"} and not is_of_fields
