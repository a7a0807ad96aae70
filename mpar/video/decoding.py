"""Decode stretches of one video side by side, with the frames of a single pass.

A video of H.264 or H.265 is cut into groups of packets where the stream starts afresh: at an IDR
picture that no packet before it outlasts and none behind it precedes. One decoder each, with one
thread, decodes whole groups; their frames come out in order. Whatever is odd about a group (other
parameter sets, an unknown time stamp, a gap, a bad packet, a frame that is missing, late or
damaged) ends this, and a single pass takes over.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av

from mpar.video.oddities import Tally
from mpar.video.streams import opened, read_packets

_MAX_DECODERS = 4
_MAX_GROUP = 1_000  # packets; longer groups are left to one decoder
_MAX_WAITING_BYTES = 1 << 26  # of decoded frames that wait for their turn
_REACH = 20  # frames between a picture and one that it refers to; encoders use 17 at most
_LONG_STEP = 1.5  # times the shortest one, as after a lost frame
_LAST_PACKETS = 4  # if one of these is incomplete, the file breaks off
_CONTAINERS = ("mov", "matroska", "mpegts")  # that state when each packet is shown
_PATIENCE_SECONDS = 0.2
_IDR = {"h264": {5}, "hevc": {19, 20}}
_PICTURES = {"h264": range(1, 6), "hevc": range(32)}
_PARAMETERS = {"h264": {7, 8, 13, 15}, "hevc": {32, 33, 34}}

if TYPE_CHECKING:
    Packet = av.Packet[av.VideoStream]


def holds_picture(packet: av.Packet[av.VideoStream]) -> bool:
    """Return True if a packet holds a picture that the file wants shown."""
    return packet.size > 0 and not packet.is_discard


def decode(
    packets: Iterable[av.Packet[av.VideoStream]],
    container: av.container.InputContainer,
    stream: av.VideoStream,
    tally: Tally,
) -> Iterator[av.VideoFrame]:
    """Yield the frames in the packets of a stream, and count good and bad ones."""
    tally.time_base = stream.time_base or tally.time_base
    tally.is_alone = len(container.streams) == 1
    tally.pixel_shape = Fraction(stream.sample_aspect_ratio or 1)
    num_since_bad = _LAST_PACKETS
    for packet in packets:
        tally.num_packets += holds_picture(packet)
        num_since_bad = 0 if packet.is_corrupt else num_since_bad + 1
        try:
            frames = packet.decode()
        except av.FFmpegError:
            tally.num_lost += 1
            continue
        if packet.size and packet.dts is not None:
            tally.moments.append(packet.dts)
        for frame in frames:
            tally.num_damaged += frame.is_corrupt
            tally.stamps.append(frame.pts)
            tally.last_duration = frame.duration or 0
            yield frame
    tally.is_end_missing |= num_since_bad < _LAST_PACKETS


def can_decode_ahead(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Return True if a stream may have groups that can be decoded side by side."""
    is_known = any(name in container.format.name for name in _CONTAINERS)
    return is_known and stream.codec_context.name in _IDR and (os.cpu_count() or 1) > 1


class _Group:
    """Packets from one fresh start to the next, and the frames that come out of them.

    Parameters
    ----------
    packets : list of Packet
        In the order of the file.

    Attributes
    ----------
    stamps : list of int
        When its frames are shown, in order; empty if the group is odd.
    moments : list of int
        When its packets are decoded.
    frames : queue.Queue
        Decoded frames, then None, or what went wrong.
    is_done : bool
        All frames were there, and sound.
    """

    def __init__(self, packets: list[Packet]) -> None:
        self.packets = packets
        stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
        is_sound = (
            len(stamps) == len(packets) == len(set(stamps))
            and stamps[0] == packets[0].pts
            and all(holds_picture(packet) and not packet.is_corrupt for packet in packets)
        )
        self.stamps = stamps if is_sound else []
        self.moments = [packet.dts for packet in packets if packet.dts is not None]
        self.frames: queue.Queue[av.VideoFrame | Exception | None] = queue.Queue()
        self.is_done = False

    def sound_frames(self) -> Iterator[av.VideoFrame]:
        """Yield the frames as long as they are sound and come in order.

        A frame may be patched from a damaged one that is shown later, so each waits for the next
        `_REACH` frames.
        """
        sound: deque[av.VideoFrame] = deque()
        for stamp in self.stamps:
            frame = self.frames.get()
            if not isinstance(frame, av.VideoFrame) or frame.pts != stamp or frame.is_corrupt:
                return
            sound.append(frame)
            if len(sound) > _REACH:
                yield sound.popleft()
        if not self.stamps or self.frames.get() is not None:
            return
        yield from sound
        self.is_done, self.packets = True, []


class _Cutter:
    """Cuts a stream into groups, packet by packet.

    Attributes
    ----------
    left : list of Packet
        Packets that were read but are in no group yet.
    is_at_end : bool
        All packets are in groups, but for the empty one at the end.
    """

    def __init__(self, packets: Iterator[Packet], stream: av.VideoStream) -> None:
        context = stream.codec_context
        self._packets, self._codec = packets, context.name
        self._prefix_bytes = _find_prefix(context.name, context.extradata or b"")
        self._parameters: bytes | None = None
        self._last = -(1 << 63)
        self._is_odd = False
        self._before: _Group | None = None
        self.left: list[Packet] = []
        self.is_at_end = False

    def next_group(self) -> _Group | None:
        """Return the next group; None at the end, or from where the stream cannot be cut."""
        if self._is_odd:
            return None
        for packet in self._packets:
            is_end = not packet.size
            is_start = is_end or self._is_start(packet)
            group, self.left = self.left, [*self.left, packet]
            self.is_at_end |= is_end and not self._is_odd
            self._is_odd |= is_end or len(self.left) > _MAX_GROUP
            if is_start and group:
                self.left = [packet]
                return self._checked(_Group(group))
            if self._is_odd:
                break
        return None

    def _checked(self, group: _Group) -> _Group:
        """Return a group; it and the one before are odd if frames are missing in it or before it.

        Where packets are lost, what is left of their neighbours may be damaged without a word.
        """
        stamps = [*self._before.stamps[-1:], *group.stamps] if self._before else group.stamps
        steps = [b - a for a, b in itertools.pairwise(stamps)]
        if steps and max(steps) > _LONG_STEP * min(steps):
            group.stamps = []
            if self._before:
                self._before.stamps = []
        self._before = group
        return group

    def _is_start(self, packet: Packet) -> bool:
        """Return True if a group begins with this packet; notes if that cannot be told."""
        units = list(_split_units(bytes(packet), self._prefix_bytes))
        types = [_type_of(self._codec, unit) for unit in units]
        parameters = b"".join(
            unit
            for unit, kind in zip(units, types, strict=True)
            if kind in _PARAMETERS[self._codec]
        )
        pictures = [kind for kind in types if kind in _PICTURES[self._codec]]
        is_fresh = bool(pictures) and pictures[0] in _IDR[self._codec]
        if packet.pts is None or not pictures:
            self._is_odd = True
            return False
        if is_fresh:
            if self._parameters is None:
                self._parameters = parameters
            self._is_odd |= parameters != self._parameters
        else:
            # other decoders would not see them
            self._is_odd |= bool(parameters) or self._parameters is None
        is_start = is_fresh and packet.is_keyframe and packet.pts > self._last
        self._last = max(self._last, packet.pts)
        return is_start


def _find_prefix(codec: str, extradata: bytes) -> int:
    """Return the bytes of the length in front of each unit, 0 if start codes part them.

    Source: ISO/IEC 14496-15, 5.3.3.1 (avcC) and 8.3.3.1 (hvcC).
    """
    place = 4 if codec == "h264" else 21
    is_box = len(extradata) > place and extradata[0] == 1
    return (extradata[place] & 3) + 1 if is_box else 0


def _split_units(data: bytes, prefix_bytes: int) -> Iterator[bytes]:
    """Yield the units of a packet. Source: ITU-T H.264 and H.265, annex B, for start codes."""
    if prefix_bytes:
        place = 0
        while place + prefix_bytes < len(data):
            start = place + prefix_bytes
            place = start + int.from_bytes(data[place:start], "big")
            yield data[start:place]
        return
    start = data.find(b"\0\0\1")
    while start >= 0:
        stop = data.find(b"\0\0\1", start + 3)
        yield data[start + 3 : stop if stop >= 0 else len(data)].rstrip(b"\0")
        start = stop


def _type_of(codec: str, unit: bytes) -> int:
    if not unit:
        return -1
    return unit[0] & 31 if codec == "h264" else (unit[0] >> 1) & 63


class _Decoders:
    """Decoders with a thread each, which take turns at the groups of a video."""

    def __init__(self, path: Path, stream: int, number: int, frame_bytes: int) -> None:
        self._path, self._stream = path, stream
        self._max_waiting = max(8, _MAX_WAITING_BYTES // (number + 1) // max(1, frame_bytes))
        self._is_stopped = threading.Event()
        self._pools = [ThreadPoolExecutor(1) for _ in range(number)]
        self._turns = itertools.cycle(self._pools)
        self._contexts: dict[int, av.VideoCodecContext] = {}
        self._files = contextlib.ExitStack()
        self._lock = threading.Lock()

    def start(self, group: _Group) -> None:
        """Let the next decoder decode a group into its queue."""
        group.frames = queue.Queue(self._max_waiting)
        next(self._turns).submit(self._decode, group)

    def _decode(self, group: _Group) -> None:
        try:
            context = self._context()
            for packet in (*group.packets, None):
                for frame in context.decode(packet):
                    if not self._put(group, frame):
                        return
            context.flush_buffers()
            self._put(group, None)
        except Exception as error:  # whatever it is: one decoder goes on alone and meets it, too
            self._put(group, error)

    def _context(self) -> av.VideoCodecContext:
        """Return the decoder of this thread, of its own view of the file."""
        key = threading.get_ident()
        if key not in self._contexts:
            with self._lock:
                _, stream, _ = self._files.enter_context(opened(self._path, self._stream))
            self._contexts[key] = stream.codec_context
            # any fault is an error, also those that decoders patch without a word
            self._contexts[key].options = {"err_detect": "explode"}
        return self._contexts[key]

    def _put(self, group: _Group, item: av.VideoFrame | Exception | None) -> bool:
        while not self._is_stopped.is_set():
            with contextlib.suppress(queue.Full):
                group.frames.put(item, timeout=_PATIENCE_SECONDS)
                return True
        return False

    def close(self) -> None:
        """Stop and wait for all threads."""
        self._is_stopped.set()
        for pool in self._pools:
            pool.shutdown()
        self._contexts.clear()
        self._files.close()


def decode_ahead(
    path: Path,
    packets: Iterable[Packet],
    container: av.container.InputContainer,
    stream: av.VideoStream,
    tally: Tally,
) -> Iterator[av.VideoFrame]:
    """Yield what `decode` yields, and count the same.

    Parameters
    ----------
    path : Path
        The video, which each decoder opens for itself.
    packets, container, stream, tally
        As for `decode`.

    Notes
    -----
    Whatever is odd about a group ends the work side by side. A single pass from the start then
    yields the frames that are still missing: damaged pictures depend on all that came before them.
    """
    cutter = _Cutter(iter(packets), stream)
    number = min(_MAX_DECODERS, os.cpu_count() or 1)
    decoders = _Decoders(path, stream.index, number, stream.width * stream.height * 3 // 2)
    waiting: deque[_Group] = deque()
    done: list[_Group] = []
    num_yielded = last_duration = 0
    try:
        while True:
            while len(waiting) <= number and (group := cutter.next_group()):
                decoders.start(group)
                waiting.append(group)
            if not waiting:
                break
            for frame in waiting[0].sound_frames():
                num_yielded += 1
                last_duration = frame.duration or 0
                yield frame
            if not waiting[0].is_done:
                break
            done.append(waiting.popleft())
    finally:
        decoders.close()
    if not waiting and cutter.is_at_end:
        # the empty packet at the end yields no frame and sets what concerns the whole stream
        yield from decode(cutter.left, container, stream, tally)
        tally.stamps = [stamp for group in done for stamp in group.stamps]
        tally.moments = [moment for group in done for moment in group.moments]
        tally.num_packets, tally.last_duration = num_yielded, last_duration
        return
    waiting.clear()
    with opened(path, stream.index) as (again, video, _):
        frames = decode(read_packets(again, video), again, video, tally)
        yield from itertools.islice(frames, num_yielded, None)
