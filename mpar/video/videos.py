"""Decode videos to grey frames.

Decoding gives the true number of frames; header counts are only hints.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from mpar.errors import InputError, Problem
from mpar.video.decoding import can_decode_ahead, decode, decode_ahead, holds_picture
from mpar.video.endings import is_cut_short
from mpar.video.following import Follower, Following, Square, TrackFollower, block_length
from mpar.video.grey import UPRIGHT, GreyConverter, Turner
from mpar.video.oddities import Tally, find_loss_warnings, find_time_warnings
from mpar.video.pictures import PictureMeter
from mpar.video.regions import Region, check_track
from mpar.video.streams import (
    EXPECTED_FPS,
    MAX_PIXELS,
    MIN_SIDE_PX,
    End,
    VideoInfo,
    count_announced,
    count_listed,
    describe,
    find_end,
    find_zero,
    no_frame,
    opened,
    read_packets,
    show_size,
)
from mpar.video.timeline import TimeLine, find_timeline

__all__ = [
    "EXPECTED_FPS",
    "MAX_PIXELS",
    "MIN_SIDE_PX",
    "Decoding",
    "VideoInfo",
    "View",
    "probe_video",
    "squeeze_of",
]

MAX_SQUEEZE = 1.05


def probe_video(
    path: Path | str,
    *,
    stream: int | None = None,
    on_packets: Callable[[], object] | None = None,
) -> VideoInfo:
    """Open a video and decode its first frame.

    Parameters
    ----------
    path : Path or str
        The video.
    stream : int, optional
        As in `Decoding`.
    on_packets : callable, optional
        If given, the packets are counted, too: from the index of the file, or by reading all of
        it. Then this is called now and again; it may raise to stop.

    Raises
    ------
    InputError
        The file is not a video that can be decoded, or its frames are too small or too large.
    """
    path = Path(path)
    num_packets = 0
    with opened(path, stream) as (container, video, _):
        packets = read_packets(container, video)
        for packet in packets:
            num_packets += holds_picture(packet)
            with contextlib.suppress(av.FFmpegError):
                for frame in packet.decode():
                    info = describe(path, container, video, frame)
                    if on_packets is None:
                        return info
                    num_listed = count_listed(video)
                    if not num_listed:
                        num_packets += _count(packets, on_packets)
                    return dataclasses.replace(info, num_packets=num_listed or num_packets)
    raise no_frame(path)


def _count(packets: Iterable[av.Packet[av.VideoStream]], on_packets: Callable[[], object]) -> int:
    """Count packets without decoding them, up to where the file can be read."""
    num_packets = 0
    with contextlib.suppress(av.FFmpegError):
        for number, packet in enumerate(packets):
            num_packets += holds_picture(packet)
            if number % 1024 == 0:
                on_packets()
    return num_packets


class View(NamedTuple):
    """One frame of a region.

    Parameters
    ----------
    picture : (H, W) uint8 array
        The whole region.
    seen : (h, w) uint8 array
        What the network sees: the square that follows the animal, without following the same.
    """

    picture: np.ndarray
    seen: np.ndarray


class Decoding:
    """One pass over a video, which yields its frames and collects warnings.

    Parameters
    ----------
    path : Path or str
        A video file of any kind, size and colour.
    size : (height, width), optional
        Resize to this many px by area averaging. By default frames keep their size.
    threads : int
        Threads that resize, 0 for one per processor core; the frames are the same. Use 1 to decode
        many videos in parallel; otherwise stretches of sound videos are decoded side by side
        (`mpar.video.decoding`). Each decoder has one thread, because with several, a damaged file
        gives different pictures on each machine.
    stream : int, optional
        Index of the video stream in the file; by default the one that players show.
    regions : sequence of (Region or None)
        Regions that `pictures` cuts out, None for the whole picture.
    following : Following, optional
        Also cut out a square that follows the animal in each region.

    Attributes
    ----------
    regions : sequence of (Region or None)
        As given.
    squares : list of lists of Square
        By region, the square of each frame that `views` has yielded.
    info : VideoInfo
        Known from the first frame on.
    line : TimeLine
        When each frame is shown; known at the end.
    warnings : tuple of str
        Complete at the end.

    Notes
    -----
    Iterating yields (H, W) uint8 arrays of the first region: luma in full range (0-255), rotated as
    the file requests, each a new array. At native size, they equal ``ffmpeg -pix_fmt gray``.
    Concealed frames are included, with a warning, because dropping them would shift all later
    frames. Iterating raises InputError if the file cannot be decoded, contains no frame, or changes
    its frame size.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        size: tuple[int, int] | None = None,
        threads: int = 0,
        stream: int | None = None,
        regions: Sequence[Region | None] = (None,),
        following: Following | None = None,
    ) -> None:
        self._path = Path(path)
        self._size, self._threads, self._stream = size, threads, stream
        self.regions, self._following = regions, following
        self.squares: list[list[Square]] = [[] for _ in regions]
        self.info: VideoInfo
        self.line: TimeLine
        self.warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[np.ndarray]:
        for pictures in self.pictures():
            yield pictures[0]

    def pictures(self) -> Iterator[list[np.ndarray]]:
        """Yield each frame as a list of (H, W) uint8 arrays, one per region."""
        for views in self.views():
            yield [view.picture for view in views]

    def views(self) -> Iterator[list[View]]:
        """Yield each frame as a list of views, one per region.

        With following, frames wait until their squares are known (`mpar.video.following`).
        """
        if self._following is None:
            for _, pictures, _ in self._decode():
                yield [View(picture, picture) for picture in pictures]
        else:
            yield from self._follow(self._following)

    def _follow(self, following: Following) -> Iterator[list[View]]:
        """Yield views with squares."""
        to_square = GreyConverter((following.size, following.size))
        followers: list[Follower | TrackFollower] = []
        waiting: deque[tuple[list[np.ndarray], list[np.ndarray], bool]] = deque()
        known: list[deque[Square]] = [deque() for _ in self.regions]

        def take() -> list[View]:
            pictures, parts, is_limited = waiting.popleft()
            views = []
            for place, (picture, part) in enumerate(zip(pictures, parts, strict=True)):
                square = known[place].popleft()
                self.squares[place].append(square)
                inner = square.region(Region("", 0, 0, *part.shape[::-1]), following.side)
                views.append(View(picture, to_square.cut(part, is_limited, UPRIGHT, inner)))
            return views

        for upright, pictures, is_limited in self._decode():
            parts = [  # copies, since the decoder reuses its memory
                np.array(upright if region is None else region.part_of(upright), order="C")
                for region in self.regions
            ]
            if not followers:
                block = block_length(upright.size)
                followers = [
                    TrackFollower(region.track, part.shape, following.side)
                    if region is not None and region.track is not None
                    else Follower(part.shape, following.side, block)
                    for region, part in zip(self.regions, parts, strict=True)
                ]
            waiting.append((pictures, parts, is_limited))
            for squares, follower, picture in zip(known, followers, pictures, strict=True):
                squares.extend(follower.add(picture))
            while all(known):
                yield take()
        num_frames = len(self.squares[0]) + len(waiting)
        for region in self.regions:
            check_track(self._path, region, num_frames)
        for squares, follower in zip(known, followers, strict=True):
            squares.extend(follower.end())
        while waiting:
            yield take()

    def _decode(self) -> Iterator[tuple[np.ndarray, list[np.ndarray], bool]]:
        """Yield each frame: a view of its upright luma, its pictures, is its range limited."""
        to_grey = GreyConverter(self._size, self._threads)
        meter, tally = PictureMeter(), Tally()
        shown: tuple[int, int] | None = None
        turner = Turner()
        with opened(self._path, self._stream) as (container, video, notes):
            is_cut = is_cut_short(self._path, container.format.name)
            num_announced = count_announced(container, video, is_cut=is_cut)
            source = read_packets(container, video), container, video, tally
            is_ahead = self._threads != 1 and can_decode_ahead(container, video)
            for frame in decode_ahead(self._path, *source) if is_ahead else decode(*source):
                orientation = turner.find(frame)
                size = orientation.turn_size(frame.height, frame.width)
                if shown is None:
                    self.info = describe(self._path, container, video, frame)
                    shown = size
                    self._check_regions(size)
                elif size != shown:
                    raise other_size(self._path, shown, size, tally.num_frames)
                if orientation != turner.first and tally.first_turned is None:
                    tally.first_turned = tally.num_frames
                tally.is_odd_angle |= orientation.is_odd
                luma, is_limited = to_grey.luma(frame)
                meter.add(luma, is_limited=is_limited, is_flagged=frame.interlaced_frame)
                pictures = [
                    to_grey.convert(frame, luma, is_limited, orientation)
                    if region is None
                    else to_grey.cut(luma, is_limited, orientation, region)
                    for region in self.regions
                ]
                yield orientation.turn(luma), pictures, is_limited
                tally.num_frames += 1
            if shown is None:
                raise no_frame(self._path)
            tally.is_end_missing |= is_cut
            zero = find_zero(self._path, container)
            self._finish(tally, meter, notes, num_announced, find_end(container, video), zero)

    def _check_regions(self, size: tuple[int, int]) -> None:
        """Raise InputError if a region extends beyond the picture of (height, width) px."""
        beyond = [r for r in self.regions if r is not None and not r.is_inside(*size)]
        if beyond:
            raise InputError(
                Problem.of(
                    self._path,
                    "region",
                    f"its region {f'of {region.animal} ' * bool(region.animal)}({region}) extends "
                    f"beyond its picture of {show_size(size)} px; pass --regions with a file "
                    "that fits",
                )
                for region in beyond
            )
        shown = [(r.height, r.width) if r else size for r in self.regions]
        if self._following and (small := [s for s in shown if min(s) < self._following.side]):
            what = "picture" if self.regions[0] is None else "region"
            raise InputError.of(
                self._path,
                "frame-size",
                f"its {what} of {show_size(small[0])} px is smaller than the square that follows "
                f"the animal ({self._following.side} px); leave it out, or pass mpar-preprocess a "
                "smaller --follow-size and train anew",
            )

    def _finish(
        self,
        tally: Tally,
        meter: PictureMeter,
        notes: list[str],
        num_announced: int,
        end: End,
        zero: Fraction,
    ) -> None:
        """Set the time line and the warnings."""
        self.line = line_of(tally, self.info, zero)
        self.warnings = (
            *notes,
            *find_time_warnings(self.info, self.line, tally),
            *find_loss_warnings(tally, self.info, self.line, num_announced, end),
            *meter.find_warnings(),
        )


def line_of(tally: Tally, info: VideoInfo, zero: Fraction) -> TimeLine:
    """Return the time line of a decoded video; `zero` is the second at which players start."""
    stamps = tally.shown_stamps(info.container)
    line = find_timeline(stamps, tally.time_base, tally.last_duration, info.fps, zero)
    return dataclasses.replace(line, is_guess=info.is_rate_guessed)


def other_size(path: Path, shown: tuple[int, int], size: tuple[int, int], frame: int) -> InputError:
    """Return the error for a video whose frame size, (height, width), changes at a frame."""
    return InputError.of(
        path,
        "frame-size",
        f"the frame size changes from {show_size(shown)} to {show_size(size)} px at frame {frame}; "
        "export it with one size",
    )


def squeeze_of(
    source: tuple[int, int],
    target: tuple[int, int],
    advice: str = "pass --size {}x{} (height x width) to keep the shape, or crop the videos",
) -> str:
    """Describe how resizing changes the shape of pictures, "" if by 5 % at most.

    Sizes are (height, width) in px. `advice` says what to do; it is a format with the height and
    width of the same shape that fit into `target`.
    """
    (height, width), scale = source, min(target[0] / source[0], target[1] / source[1])
    change = (height * target[1]) / (width * target[0])
    if max(change, 1 / change) <= MAX_SQUEEZE:
        return ""
    how = f"{change:.2f} times too wide" if change > 1 else f"{1 / change:.2f} times too tall"
    advice = advice.format(round(height * scale), round(width * scale))
    return (
        f"frames of {show_size(source)} px are squeezed to {show_size(target)} px, which makes "
        f"everything {how}; {advice}"
    )
