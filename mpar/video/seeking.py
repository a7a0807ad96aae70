"""Decode any frame of a video by its number, and prove that it is that frame.

Containers seek by time stamps, which may be missing, repeated or wrong. mpar therefore identifies
each frame by the packet that it comes from, and compares the decoded picture with the digest from
one pass over the whole video (`mpar.video.frame_index`). If they differ, decoding starts earlier,
at last with the first packet, as `mpar.video.videos.Decoding` does.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from mpar.errors import InputError
from mpar.video.frame_index import UNKNOWN, PacketTable, digest_of, known, numbered, turn_of
from mpar.video.grey import GreyConverter, Turner
from mpar.video.streams import opened, read_packets

_MAX_TRIES = 3  # key packets to try before decoding from the start
_NUM_THREADS = min(8, os.cpu_count() or 1)
_MAX_AHEAD = 48  # packets; a seek would take longer than decoding so many


class _LostError(Exception):
    """The decoder did not yield the wanted frame as the first pass saw it."""


class _Cursor:
    """A decoder that moves forward from a packet; frames come with the number of their packet.

    Parameters
    ----------
    path, stream
        The video.
    table : PacketTable
        Its packets.
    threads : int
        Threads that decode. With several, damaged pictures may look different.
    """

    def __init__(self, path: Path, stream: int | None, table: PacketTable, threads: int) -> None:
        self._table, self.threads = table, threads
        self._stack = contextlib.ExitStack()
        self._container, self._video, _ = self._stack.enter_context(opened(path, stream))
        self._video.codec_context.thread_count = threads
        if threads > 1:
            self._video.thread_type = "AUTO"
        self._pending: deque[tuple[int, av.VideoFrame]] = deque()
        self.packet = 0  # the next one to decode
        self._packets = numbered(read_packets(self._container, self._video))
        self._by_place = dict(zip(table.places.tolist(), range(len(table.places)), strict=True))
        self._has_places = len(self._by_place) == len(table.places) and min(self._by_place) >= 0

    def close(self) -> None:
        self._stack.close()

    def seek(self, packet: int) -> None:
        """Move to a key packet or one before it; raises _LostError if that fails."""
        if not self._has_places:
            raise _LostError
        # mp4 and Matroska seek by the time a packet is shown, others by that of its decoding
        for stamps in (self._table.pts, self._table.dts):
            if stamps[packet] == UNKNOWN:
                continue
            with contextlib.suppress(av.FFmpegError, StopIteration):
                self._container.seek(int(stamps[packet]), stream=self._video, backward=True)
                packets = read_packets(self._container, self._video)
                first = next(packets)
                number = self._by_place.get(known(first.pos))
                if number is not None and number <= packet:
                    self.packet = number
                    self._pending.clear()
                    self._packets = numbered(_chain(first, packets), number)
                    return
        raise _LostError

    def frames(self, needed_from: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield frames with the number of their packet.

        Before the packet `needed_from`, frames that no other frame refers to are left out.
        """
        context = self._video.codec_context
        while True:
            while self._pending:
                yield self._pending.popleft()
            packet = next(self._packets, None)
            if packet is None:
                return
            if packet.size:
                if known(packet.pos) != self._table.places[self.packet]:
                    raise _LostError
                self.packet += 1
            context.skip_frame = "NONREF" if self.packet <= needed_from else "DEFAULT"
            with contextlib.suppress(av.FFmpegError):
                frames = packet.decode()
                self._pending += [(frame.pts, frame) for frame in frames if frame.pts is not None]


def _chain(
    first: av.Packet[av.VideoStream], others: Iterator[av.Packet[av.VideoStream]]
) -> Iterator[av.Packet[av.VideoStream]]:
    yield first
    yield from others


class FrameReader:
    """Decodes frames of a video by their numbers.

    Parameters
    ----------
    path, stream
        The video.
    table : PacketTable
        Its packets.

    Notes
    -----
    The lists may still grow, or become arrays, between two calls of `read`.
    """

    def __init__(self, path: Path, stream: int | None, table: PacketTable) -> None:
        self._path, self._stream, self._table = path, stream, table
        self._keys = np.flatnonzero(table.is_key)
        self._cursor: _Cursor | None = None
        self._next = 0  # the cursor has yielded no frame from here on
        self._frame_of = np.zeros(0, np.int64)
        self._packets: np.ndarray | None = None
        self._to_grey, self._turner = GreyConverter(None, 1), Turner()
        self.num_decoded = 0

    def close(self) -> None:
        """Close the file."""
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None

    def use(self, packets: np.ndarray) -> None:
        """Take the packet of each frame, (T,) int64."""
        if packets is not self._packets:
            self._packets = packets
            self._frame_of = np.full(len(self._table.pts), -1, np.int64)
            # backwards, so that the first frame of a packet stays
            self._frame_of[packets[::-1]] = np.arange(len(packets))[::-1]
            self._rewind()

    def _rewind(self) -> None:
        self.close()
        self._next = 0

    def read(
        self, start: int, stop: int, digests: Sequence[int] = (), turns: Sequence[int] = ()
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield frames `start` to `stop` - 1 with their numbers, (H, W) uint8.

        Parameters
        ----------
        start, stop : int
            Frames, half-open.
        digests, turns : sequence of int
            As in `mpar.video.frame_index.FrameIndex`, for as many frames as are known.

        Raises
        ------
        InputError
            Decoding from the start does not yield them either.
        """
        for key in self._find_starts(start, stop):
            try:
                for number, picture in self._read_from(key, start, stop, digests, turns):
                    yield number, picture
                    start = number + 1
                return
            except _LostError:
                self._rewind()
        raise InputError.of(
            self._path,
            "unsteady",
            f"frame {start} looks different each time it is decoded; export the video again",
        )

    def _find_starts(self, start: int, stop: int) -> Iterator[int | None]:
        """Yield key packets to start from, nearest first; None for the start of the file."""
        assert self._packets is not None
        wanted = self._packets[start:stop]
        first = int(wanted[0])
        keys = self._keys[self._keys <= wanted.min()]
        # pictures shown before a key packet may refer to those before it
        keys = keys[self._table.pts[keys] <= self._table.pts[first]]
        if self._cursor is not None and self._next <= start:
            key = int(keys[-1]) if len(keys) else 0
            if key <= self._cursor.packet + _MAX_AHEAD:
                yield self._cursor.packet
        yield from keys[::-1][:_MAX_TRIES].tolist()
        yield None

    def _read_from(
        self,
        key: int | None,
        start: int,
        stop: int,
        digests: Sequence[int],
        turns: Sequence[int],
    ) -> Iterator[tuple[int, np.ndarray]]:
        assert self._packets is not None
        if self._cursor is None or key != self._cursor.packet or self._next > start:
            threads = 1 if key is None else _NUM_THREADS
            if self._cursor is None or not key or self._cursor.threads != threads:
                self._rewind()
                self._cursor = _Cursor(self._path, self._stream, self._table, threads)
            if key:
                self._next = 0
                self._cursor.seek(key)
        # from the start, mpar decodes exactly as it does in one pass
        needed_from = 0 if key is None else int(self._packets[start:stop].min())
        previous, repeats = -1, 0
        for packet, frame in self._cursor.frames(needed_from):
            self.num_decoded += 1
            repeats = repeats + 1 if packet == previous else 0
            previous = packet
            number = int(self._frame_of[packet])
            number += repeats if number >= 0 else 0
            if number > start:
                raise _LostError
            if number < start:
                continue
            luma, is_limited = self._to_grey.luma(frame)
            if number < len(digests) and digest_of(luma) != digests[number]:
                raise _LostError
            is_known = number < len(turns)
            turn = turn_of(int(turns[number])) if is_known else self._turner.find(frame)
            self._next = start = number + 1
            yield number, self._to_grey.convert(frame, luma, is_limited, turn)
            if start >= stop:
                return
        raise _LostError
