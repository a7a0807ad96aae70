"""The frames of a video as small pictures, by number, while a thread counts them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mpar.errors import InputError
from mpar.system.faults import LOG_NAME, logged, unexpected
from mpar.video.frame_index import Counting, FrameIndex, PacketTable, scan_packets
from mpar.video.seeking import FrameReader
from mpar.video.timeline import TimeLine
from mpar.video.videos import VideoInfo, probe_video

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 90)
_MAX_CACHE_BYTES = 192 << 20
_MAX_REPLY_BYTES = 16 << 20
_PAUSE_SECONDS = 0.005


class VideoFrames:
    """The frames of one video, JPEG by number.

    A thread first lists the packets, so that any frame can be shown, and then decodes the video
    once, which gives the true number of frames and proves each picture. A picture that was decoded
    before its proof may be wrong, for instance where a video refreshes its pictures in parts; it
    is decoded again as soon as there is a proof.

    Parameters
    ----------
    path : Path
        The video.
    stream : int, optional
        Video stream, as in `mpar.video.videos.Decoding`.
    index_path : Path
        Where the result of that pass is kept.
    """

    def __init__(self, path: Path, stream: int | None, index_path: Path) -> None:
        self.path, self._stream, self._index_path = path, stream, index_path
        self.info: VideoInfo = probe_video(path, stream=stream)
        self.error: InputError | None = None
        self.generation = 0
        self._table: PacketTable | None = None
        self._guess: np.ndarray | None = None
        self._counting: Counting | None = None
        self.index: FrameIndex | None = None
        self._changed = threading.Condition()
        self._lock = threading.Lock()  # of the reader and the cache
        self._num_urgent = 0
        self._reader: FrameReader | None = None
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._unproven: set[int] = set()  # those in the cache that were decoded before their proof
        self._num_bytes = 0
        self._num_agreed = 0  # frames for which guess and count agree; -1 if they do not
        self._is_closed = False
        self._thread = threading.Thread(target=self._count, name=f"count {path.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close the file."""
        self._is_closed = True
        self._thread.join()
        with self._lock:
            if self._reader is not None:
                self._reader.close()

    def join(self) -> None:
        """Wait until all frames are counted, or the video fails."""
        self._thread.join()

    def forget(self) -> None:
        """Drop the pictures that are kept."""
        with self._lock:
            self._cache.clear()
            self._num_bytes = 0

    def _count(self) -> None:
        try:
            index = FrameIndex.load(self._index_path, self.path, self._stream)
            if index is not None:
                self._publish(index.table, index)
                return
            table = scan_packets(self.path, self._stream, lambda: self._is_closed)
            counting = self._counting = Counting(self.path, self._stream, table)
            self._publish(table, None)
            for _ in counting:
                while self._num_urgent and not self._is_closed:
                    time.sleep(_PAUSE_SECONDS)
                if self._is_closed:
                    return
            self._publish(table, counting.index)
            counting.index.save(self._index_path, self.path, self._stream)
        except InputError as error:
            self._fail(error)
        except OSError as error:
            if self.index is None:
                self.error = InputError.of(
                    self.path, "unreadable", f"cannot be read ({error.strerror})"
                )
        except Exception as error:
            if self.index is None:
                self._fail(unexpected(self.path, error))
        finally:
            with self._changed:
                self._changed.notify_all()

    def _fail(self, error: InputError) -> None:
        self.error = InputError(logged(error.problems, self._index_path.with_name(LOG_NAME)))

    def _publish(self, table: PacketTable, index: FrameIndex | None) -> None:
        with self._changed, self._lock:
            if index is None:
                self._table, self._guess = table, table.guess_packets()
            else:
                if self._guess is not None and not np.array_equal(self._guess, index.packets):
                    self.generation += 1
                    self._cache.clear()
                    self._num_bytes = 0
                self._table, self.index = table, index
            self._changed.notify_all()

    @property
    def num_frames(self) -> int | None:
        """Number of frames, None while nobody knows."""
        if self.index is not None:
            return len(self.index.packets)
        return None if self._guess is None else len(self._guess)

    @property
    def num_counted(self) -> int:
        """Number of frames that are proven to be where they are."""
        if self.index is not None:
            return len(self.index.packets)
        counting = self._counting
        return 0 if counting is None else counting.num_frames

    @property
    def num_certain(self) -> int:
        """Number of frames that may be scored: their numbers and their pictures are proven."""
        return self.num_counted

    @property
    def line(self) -> TimeLine:
        """When each frame is shown, roughly until all are counted."""
        if self.index is not None:
            return self.index.line
        return TimeLine(self.num_frames or 0, self.info.fps)

    def wait(self, seconds: float) -> bool:
        """Wait until the number of frames is known or the video fails; return whether it is."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.num_frames is not None or self.error is not None, seconds
            )
        return self.num_frames is not None

    def small(self, number: int) -> tuple[int, bytes] | None:
        """Return the nearest frame at or before a frame that has a small picture, and its JPEG.

        It needs no decoding. None if that part of the video has not been counted.
        """
        found = self.index or self._counting
        if found is None or number >= self.num_counted:
            return None
        return found.small.near(number)

    def encoded(
        self, start: int, stop: int, step: int = 1, *, is_urgent: bool = False
    ) -> list[tuple[int, bytes]]:
        """Return every `step`-th frame from `start` to `stop` - 1 as JPEG, with their numbers.

        The first `num_counted` frames of the video are proven; later ones may look different once
        they are. The list is shorter if frames are not known yet, if it becomes long, or if an
        urgent call waits.
        """
        if self.error is not None:
            raise self.error
        if is_urgent:
            self._num_urgent += 1
        try:
            with self._lock:
                found = []
                num_bytes = 0
                for number, picture in self._read(range(start, stop, step)):
                    found.append((number, picture))
                    num_bytes += len(picture)
                    if num_bytes > _MAX_REPLY_BYTES or (self._num_urgent and not is_urgent):
                        break
                return found
        finally:
            if is_urgent:
                self._num_urgent -= 1

    def _read(self, wanted: range) -> Iterator[tuple[int, bytes]]:
        """Yield frames from the cache, and decode from the first one that is not there."""
        num_proven = self.num_counted
        for place, number in enumerate(wanted):
            kept = self._kept(number, num_proven)
            if kept is not None:
                self._cache.move_to_end(number)
                yield number, kept
                continue
            for other, picture in self._decode(number, wanted.stop):
                if other in wanted[place:]:
                    data = self._kept(other, num_proven)
                    if data is None:
                        data = cv2.imencode(".jpg", picture, _JPEG)[1].tobytes()
                    self._keep(other, data, is_proven=other < num_proven)
                    yield other, data
            return

    def _kept(self, number: int, num_proven: int) -> bytes | None:
        """Return a picture of the cache, unless it is not proven and can be by now."""
        if number < num_proven and number in self._unproven:
            return None
        return self._cache.get(number)

    def _decode(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        counting, index = self._counting, self.index
        if self._table is None:
            return
        packets = self._known_packets() if index is None else index.packets
        stop = min(stop, len(packets))
        if start >= stop:
            return
        if self._reader is None:
            self._reader = FrameReader(self.path, self._stream, self._table)
        self._reader.use(packets)
        found = index or counting
        assert found is not None
        yield from self._reader.read(start, stop, found.digests, found.turns)  # type: ignore[arg-type]

    def _known_packets(self) -> np.ndarray:
        """Return the packet of each frame while the count goes on.

        These are the guessed ones, unless the count contradicts them.
        """
        counting = self._counting
        assert counting is not None
        counted = counting.packets[: counting.num_frames]
        if self._guess is not None and self._num_agreed < len(counted):
            new = slice(self._num_agreed, len(counted))
            if self._num_agreed >= 0 and np.array_equal(self._guess[new], counted[new]):
                self._num_agreed = len(counted)
            else:
                self._num_agreed = -1
        if self._guess is not None and self._num_agreed >= 0:
            return self._guess
        return np.array(counted, np.int64)

    def _keep(self, number: int, data: bytes, *, is_proven: bool) -> None:
        self._num_bytes += len(data) - len(self._cache.pop(number, b""))
        self._cache[number] = data
        (self._unproven.discard if is_proven else self._unproven.add)(number)
        while self._num_bytes > _MAX_CACHE_BYTES:
            dropped, old = self._cache.popitem(last=False)
            self._unproven.discard(dropped)
            self._num_bytes -= len(old)
