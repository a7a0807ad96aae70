"""Which packet of a video holds each frame, and what the frame looks like.

`FrameIndex` is the result of one pass over the whole video, so it counts frames exactly as
`mpar.video.videos.Decoding` does. With it, `mpar.video.seeking` decodes any frame alone and proves
that it is the right one.
"""

from __future__ import annotations

import bisect
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import xxhash

from mpar.errors import InputError
from mpar.system.files import atomic_path
from mpar.video.decoding import decode
from mpar.video.grey import GreyConverter, Orientation, Turner
from mpar.video.oddities import Tally
from mpar.video.streams import (
    RAW_STREAMS,
    VideoInfo,
    describe,
    find_zero,
    no_frame,
    opened,
    read_packets,
)
from mpar.video.timeline import TimeLine
from mpar.video.videos import line_of, other_size

UNKNOWN = np.iinfo(np.int64).min  # a time stamp that the file does not state
_FORMAT = 2
_OF_FRAMES = ("packets", "digests", "turns")
_OF_SMALL = ("frames", "ends", "jpeg")
# small pictures: about 5 kB each, four a second, and at most 20 MB a video
_SMALL_PX, _SMALL_PER_SECOND, _MAX_SMALL = 320, 4, 4096
_SMALL_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 70)
_OF_PACKETS = ("pts", "dts", "places", "is_key", "is_shown")


@dataclass(frozen=True, slots=True)
class PacketTable:
    """The packets of a video stream in the order of the file, N of them.

    Parameters
    ----------
    pts, dts, places : (N,) int64 arrays
        When each is shown and decoded, in units of the stream's time base, and its byte in the
        file; `UNKNOWN` if the file does not say.
    is_key : (N,) bool array
        Whether decoding may start here.
    is_shown : (N,) bool array
        Whether the file wants the frame shown.
    container : str
        Name of the container as FFmpeg gives it.
    """

    pts: np.ndarray
    dts: np.ndarray
    places: np.ndarray
    is_key: np.ndarray
    is_shown: np.ndarray
    container: str

    def guess_packets(self) -> np.ndarray | None:
        """Return the packet of each frame if the time stamps alone suggest it, else None.

        This is right for sound files, but only decoding proves it.
        """
        # AVI states decoding times, from which FFmpeg guesses the others
        if self.container in {*RAW_STREAMS, "avi"} or not len(self.pts) or not self.is_key[0]:
            return None
        shown = np.flatnonzero(self.is_shown)
        stamps = self.pts[shown]
        is_sound = (self.pts >= self.pts[0]).all() and len(np.unique(stamps)) == len(stamps)
        return shown[np.argsort(stamps)] if is_sound and len(shown) else None


class SmallPictures:
    """Small pictures of some frames of a video, to look at before the exact one is decoded.

    Parameters
    ----------
    frames : sequence of int
        Their frames, rising.
    ends : sequence of int
        Byte after the last one of each in `jpeg`.
    jpeg : bytes
        The pictures as JPEG, one after another.
    """

    def __init__(
        self, frames: Sequence[int] = (), ends: Sequence[int] = (), jpeg: bytes = b""
    ) -> None:
        self._frames, self._ends, self._jpeg = list(frames), list(ends), bytearray(jpeg)

    def add(self, frame: int, picture: np.ndarray) -> None:
        """Add a frame, (H, W) uint8."""
        scale = _SMALL_PX / max(picture.shape)
        if scale < 1:
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._jpeg += cv2.imencode(".jpg", picture, _SMALL_JPEG)[1].tobytes()
        self._ends.append(len(self._jpeg))
        self._frames.append(frame)  # last, so that other threads find whole pictures

    def near(self, frame: int) -> tuple[int, bytes] | None:
        """Return the nearest frame at or before a frame that has a picture, and its JPEG."""
        place = bisect.bisect_right(self._frames, frame) - 1
        if place < 0:
            return None
        start = self._ends[place - 1] if place else 0
        return self._frames[place], bytes(self._jpeg[start : self._ends[place]])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return them as arrays, which `from_arrays` takes."""
        jpeg = np.frombuffer(bytes(self._jpeg), np.uint8)
        return dict(
            zip(_OF_SMALL, (np.array(self._frames), np.array(self._ends), jpeg), strict=True)
        )

    @classmethod
    def from_arrays(cls, frames: np.ndarray, ends: np.ndarray, jpeg: np.ndarray) -> SmallPictures:
        """Rebuild from `to_arrays`."""
        return cls(frames.tolist(), ends.tolist(), jpeg.tobytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameIndex:
    """The frames of a video, T of them, as one pass over all of it found them.

    Parameters
    ----------
    packets : (T,) int64 array
        Packet that each frame comes from.
    digests : (T,) uint64 array
        xxh3 of the decoded luma of each frame.
    turns : (T,) uint8 array
        How to turn each frame (`turn_of`).
    height, width : int
        Size of the upright frames in px.
    line : TimeLine
        When each frame is shown.
    table : PacketTable
        The packets of the video.
    small : SmallPictures
        Small pictures of some frames.
    """

    packets: np.ndarray
    digests: np.ndarray
    turns: np.ndarray
    height: int
    width: int
    line: TimeLine
    table: PacketTable
    small: SmallPictures

    def save(self, path: Path, video: Path, stream: int | None) -> None:
        """Write the index to a file."""
        meta = {
            **_identify(video, stream),
            "height": self.height,
            "width": self.width,
            "fps": str(self.line.fps),
            "is_rate_guessed": self.line.is_guess,
        }
        meta["container"] = self.table.container
        times = np.zeros(0) if self.line.times is None else self.line.times
        arrays = {name: getattr(self, name) for name in _OF_FRAMES} | {"times": times}
        arrays |= {name: getattr(self.table, name) for name in _OF_PACKETS}
        arrays |= {f"small_{name}": array for name, array in self.small.to_arrays().items()}
        with atomic_path(path, durable=False) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, meta=np.array(json.dumps(meta)), **arrays)

    @classmethod
    def load(cls, path: Path, video: Path, stream: int | None) -> FrameIndex | None:
        """Read an index; None if there is none of this video as it is now."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                meta = json.loads(str(data["meta"]))
                found = {name: data[name] for name in (*_OF_FRAMES, *_OF_PACKETS, "times")}
                small = SmallPictures.from_arrays(**{n: data[f"small_{n}"] for n in _OF_SMALL})
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        expected, times = _identify(video, stream), found["times"]
        num_frames = len(found["packets"])
        is_ours = {key: meta.get(key) for key in expected} == expected
        lengths = [{len(found[name]) for name in names} for names in (_OF_FRAMES, _OF_PACKETS)]
        if not is_ours or any(len(n) > 1 for n in lengths) or len(times) not in {0, num_frames}:
            return None
        return cls(
            **{name: found[name] for name in _OF_FRAMES},
            height=meta["height"],
            width=meta["width"],
            line=TimeLine(
                num_frames,
                Fraction(meta["fps"]),
                times if len(times) else None,
                meta["is_rate_guessed"],
            ),
            table=PacketTable(
                **{name: found[name] for name in _OF_PACKETS}, container=meta["container"]
            ),
            small=small,
        )


def _identify(video: Path, stream: int | None) -> dict[str, Any]:
    """Return what must be the same for an index to fit."""
    state = video.stat()
    return {
        "format": _FORMAT,
        "av": av.__version__,
        "size_bytes": state.st_size,
        "changed_ns": state.st_mtime_ns,
        "stream": stream,
    }


def number_of(orientation: Orientation) -> int:
    """Return an orientation as a number, 0 for upright."""
    return orientation.is_transposed + 2 * orientation.flips_x + 4 * orientation.flips_y


def turn_of(number: int) -> Orientation:
    """Return the orientation that `number_of` turned into a number."""
    return Orientation(bool(number & 1), bool(number & 2), bool(number & 4))


def digest_of(luma: np.ndarray) -> int:
    """Return the xxh3 of a picture, (H, W) uint8."""
    return xxhash.xxh3_64_intdigest(np.ascontiguousarray(luma).data)


def scan_packets(path: Path, stream: int | None, is_stopped: Callable[[], bool]) -> PacketTable:
    """Read the packets of a video without decoding them; stops early if `is_stopped` says so."""
    rows: list[tuple[int, int, int]] = []
    flags: list[tuple[bool, bool]] = []
    with opened(path, stream) as (container, video, _):
        for packet in read_packets(container, video):
            if packet.size:
                rows.append(tuple(map(known, (packet.pts, packet.dts, packet.pos))))  # type: ignore[arg-type]
                flags.append((packet.is_keyframe, not packet.is_discard))
            if is_stopped():
                break
        name = container.format.name
    table = np.array(rows, np.int64).reshape(-1, 3)
    marks = np.array(flags, bool).reshape(-1, 2)
    pts, dts, places = table.T.copy()
    is_key, is_shown = marks.T.copy()
    return PacketTable(pts, dts, places, is_key, is_shown, name)


def known(number: int | None) -> int:
    """Return a number of a packet, `UNKNOWN` if it has none."""
    return UNKNOWN if number is None else number


def numbered(
    packets: Iterator[av.Packet[av.VideoStream]], start: int = 0
) -> Iterator[av.Packet[av.VideoStream]]:
    """Yield packets with their number, from `start` on, in place of their time stamp.

    The decoder hands it on to the frame in them.
    """
    number = start
    for packet in packets:
        if packet.size:
            packet.pts = number
            number += 1
        yield packet


class Counting:
    """One pass over a video that finds its `FrameIndex`.

    Iterating yields after each frame, so that the caller may pause or stop.

    Parameters
    ----------
    path, stream
        The video.
    table : PacketTable
        Its packets.

    Attributes
    ----------
    packets, digests, turns, small
        As in `FrameIndex`, so far.
    info : VideoInfo
        Known from the first frame on.
    index : FrameIndex
        Known at the end.
    """

    def __init__(self, path: Path, stream: int | None, table: PacketTable) -> None:
        self._path, self._stream, self._table = path, stream, table
        self.packets: list[int] = []
        self.digests: list[int] = []
        self.turns: list[int] = []
        self.small = SmallPictures()
        self.info: VideoInfo
        self.index: FrameIndex

    @property
    def num_frames(self) -> int:
        """Number of frames found so far."""
        return len(self.turns)  # the last of the three to grow

    def __iter__(self) -> Iterator[None]:
        to_grey, turner, tally = GreyConverter(None, 1), Turner(), Tally()
        shown: tuple[int, int] | None = None
        small_step = 1
        with opened(self._path, self._stream) as (container, video, _):
            packets = numbered(read_packets(container, video))
            for frame in decode(packets, container, video, tally):
                orientation = turner.find(frame)
                size = orientation.turn_size(frame.height, frame.width)
                if shown is None:
                    self.info = describe(self._path, container, video, frame)
                    shown = size
                    fewest = -(-len(self._table.pts) // _MAX_SMALL)
                    small_step = max(1, round(self.info.fps / _SMALL_PER_SECOND), fewest)
                elif size != shown:
                    raise other_size(self._path, shown, size, tally.num_frames)
                if frame.pts is None:
                    raise InputError.of(
                        self._path,
                        "no-stream",
                        "its decoder does not say which packet a frame comes from; convert it to "
                        "another format",
                    )
                self.packets.append(frame.pts)
                luma, is_limited = to_grey.luma(frame)
                self.digests.append(digest_of(luma))
                if tally.num_frames % small_step == 0:
                    picture = to_grey.convert(frame, luma, is_limited, orientation)
                    self.small.add(tally.num_frames, picture)
                self.turns.append(number_of(orientation))
                tally.num_frames += 1
                yield
            if shown is None:
                raise no_frame(self._path)
            zero = find_zero(self._path, container)
        stamps = self._table.pts[self.packets].tolist()
        tally.stamps = [None if stamp == UNKNOWN else stamp for stamp in stamps]
        self.index = FrameIndex(
            packets=np.array(self.packets, np.int64),
            digests=np.array(self.digests, np.uint64),
            turns=np.array(self.turns, np.uint8),
            height=shown[0],
            width=shown[1],
            line=line_of(tally, self.info, zero),
            table=self._table,
            small=self.small,
        )
