"""Read caches through memory maps or by positioned reads, and check every chunk first."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mpar.cache.index import compare_with_hdf5, read_index
from mpar.cache.joined import Caches, agree, list_caches
from mpar.cache.layout import (
    CHUNK_FRAMES,
    bytes_of,
    chunk_length,
    hash_bytes,
    num_chunks,
)
from mpar.cache.watched import WatchedFile
from mpar.errors import ConfigError, StoreError
from mpar.video.timeline import TimeLine, line_from_times, take
from mpar.video.videos import View


class _CacheFile(WatchedFile):
    """An open cache file with its index, and its map if it is mapped."""

    def __init__(self, path: Path, access: str) -> None:
        super().__init__(path)
        try:
            self.index = read_index(path, self.stat())
            self.mapped = self.map() if access == "mmap" else None
        except BaseException:
            self.close()
            raise


class Store:
    """An open cache, or several whose recordings follow each other.

    Parameters
    ----------
    caches : Path, str or sequence of them
        Caches written by `write_store`; several need the same classes, frame size and options.
    access : {"mmap", "pread"}
        Map the file, or read it with positioned reads. The latter are slower, but if a network
        disk fails, they raise an error, where a map ends the process.
    film : {"frames", "seen"}
        What counts as its frames: whole pictures, or what the network sees.

    Attributes
    ----------
    paths : tuple of Path
        The caches.
    path : Path
        Their paths in one, for messages.
    recordings : tuple of RecordingInfo
        In the order of the files; methods take positions in this tuple.
    frame_size : (int, int)
        Height and width in px.
    class_map : ClassMap
        Classes of the labels.
    class_names : tuple of str
        Names of the classes, in order of class index.
    config : dict
        The options that the cache was made with.
    following : Following or None
        The squares that follow the animals, if it has them.
    fingerprint : str
        Checksum of the index, equal for caches with equal content.

    Raises
    ------
    StoreError
        A file is not a cache, has another version, is cut short or damaged.
    ConfigError
        Several caches differ in what the network sees, or hold the same video or name.

    Notes
    -----
    Every chunk is checked before its first use, and again if its file has been written to. Worker
    processes may be forked, because reads share no position in the file. A store pickles as its
    paths, so spawned processes open the files themselves.
    """

    def __init__(self, caches: Caches, *, access: str = "mmap", film: str = "frames") -> None:
        if access not in {"mmap", "pread"}:
            raise ConfigError(f"access: found {access!r}, expected 'mmap' or 'pread'")
        self.paths = tuple(list_caches(caches))
        self.path = Path(" and ".join(map(str, self.paths)))
        self.access = access
        self._seen: Store | None = None
        with contextlib.ExitStack() as stack:
            self._files = [
                stack.enter_context(contextlib.closing(_CacheFile(path, access)))
                for path in self.paths
            ]
            indexes = [file.index for file in self._files]
            self.class_map, self.recordings = agree(indexes)
            stack.pop_all()  # all is well: they stay open
        prints = [index.fingerprint for index in indexes]
        self.fingerprint = prints[0]
        if len(prints) > 1:
            self.fingerprint = hashlib.sha256("".join(prints).encode()).hexdigest()
        first = indexes[0]
        self.config, self.following = first.config, first.following
        self.class_names = first.class_map.class_names
        self._film = film = "squares" if film == "seen" and self.following else "frames"
        self.frame_size = first.film_size(film)
        self._owners = [file for file in self._files for _ in file.index.recordings]
        self._entries = [entry for index in indexes for entry in index.entries]
        self._frames: list[np.ndarray | None] = [None] * len(self)
        self._num_steps = np.array([info.num_steps for info in self.recordings])
        self._has_own_steps = np.array([info.has_own_steps for info in self.recordings])
        self._offsets = np.array([entry[f"{film}_offset"] for entry in self._entries])
        self._hashes: dict[int, np.ndarray] = {}
        self._steps: dict[int, np.ndarray] = {}
        self._is_checked = np.zeros(len(self), bool)
        # chunks still to check; None once all are checked, which makes later reads fast
        self._unchecked: list[bytearray | None] = [None] * len(self)
        for file in self._files:
            self._forget_checks(file)

    def _forget_checks(self, file: _CacheFile) -> None:
        """Mark every chunk of a file as unchecked."""
        for i, (owner, info) in enumerate(zip(self._owners, self.recordings, strict=True)):
            if owner is file:
                self._hashes.pop(i, None)
                self._steps.pop(i, None)
                self._is_checked[i] = False
                self._unchecked[i] = bytearray(b"\1" * num_chunks(info.num_frames))

    def _has_changed(self, file: _CacheFile) -> bool:
        """Return True if a file was written to since the last call, and restart its checks."""
        if not file.has_changed():
            return False
        self._forget_checks(file)
        return True

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files. Views from `frames` stay valid, and the maps with them."""
        self._frames = [None] * len(self)
        for file in self._files:
            file.mapped = None
            file.close()
        if self._seen is not None:
            self._seen.close()

    @property
    def seen(self) -> Store:
        """The same recordings as the network sees them.

        Its frames are the squares that follow the animals; without squares, it is this store.
        """
        if self.following is None or self._film == "squares":
            return self
        if self._seen is None:
            self._seen = Store(self.paths, access=self.access, film="seen")
            if self._seen.fingerprint != self.fingerprint:
                raise StoreError(f"{self.path}: was replaced by another cache; open it again")
        return self._seen

    def __getstate__(self) -> dict[str, Any]:
        return {
            "paths": self.paths,
            "access": self.access,
            "film": "frames" if self._film == "frames" else "seen",
            "fingerprint": self.fingerprint,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["paths"], access=state["access"], film=state["film"])  # type: ignore[misc]
        if self.fingerprint != state["fingerprint"]:
            self.close()  # its recordings may be in another order
            raise StoreError(
                f"{self.path}: was replaced by another cache while workers were opening it; "
                "open it again"
            )

    def __len__(self) -> int:
        return len(self.recordings)

    def __repr__(self) -> str:
        height, width = self.frame_size
        frames = sum(info.num_frames for info in self.recordings)
        return f"Store({self.path.name}: {len(self)} recordings, {frames} frames, {height}x{width})"

    def labels(self, recording: int) -> np.ndarray:
        """Return the (T,) int8 labels of a recording: class index, -1 = unlabelled."""
        return self._read_small(recording, "labels", np.int8)

    def codes(self, recording: int) -> np.ndarray:
        """Return the (A, T) int16 raw codes of a recording, one row per annotator."""
        codes = self._read_small(recording, "codes", np.int16)
        return codes.reshape(len(self.recordings[recording].annotators), -1)

    def source_frame(self, recording: int) -> np.ndarray:
        """Return the frame of each step of a recording, (N,) int64, increasing."""
        if recording in self._steps:
            return self._steps[recording]
        info = self.recordings[recording]
        if self._owners[recording].index.version == 1:
            source = np.arange(info.num_frames)
        else:
            source = self._read_small(recording, "source_frame", np.int64)
            if source.min() < 0 or source.max() >= info.num_frames or (np.diff(source) < 0).any():
                raise self._odd(recording, "source_frame")
        if not np.array_equal(source, np.arange(info.num_frames)):
            self._steps[recording] = source  # needed for every clip
        return source

    def step_labels(self, recording: int) -> np.ndarray:
        """Return the label of each step of a recording, (N,) int8."""
        has_own_steps = self.recordings[recording].has_own_steps
        return self.labels(recording)[self.source_frame(recording) if has_own_steps else ...]

    def corners(self, recording: int) -> np.ndarray:
        """Return left and upper edge of the square of each frame, (T, 2) int32 in px of the video.

        They are -1 where the square is the whole region; without squares, the array is (0, 2).
        """
        if self.following is None:
            return np.empty((0, 2), np.int32)
        return self._read_small(recording, "corners", np.int32).reshape(-1, 2)

    def times(self, recording: int) -> np.ndarray:
        """Return the second of the video at which each frame is shown, (T,) float64."""
        info = self.recordings[recording]
        if self._owners[recording].index.version == 1:
            return (info.start_frame + np.arange(info.num_frames)) / float(info.fps)
        times = self._read_small(recording, "times", np.float64)
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise self._odd(recording, "times")
        return times

    def line(self, recording: int) -> TimeLine:
        """Return the time line of a recording; one that starts within its video starts at 0 s."""
        info, times = self.recordings[recording], self.times(recording)
        if not info.has_times:
            return TimeLine(info.num_frames)
        return line_from_times(times, info.fps, info.start_frame)

    def _odd(self, recording: int, key: str) -> StoreError:
        return StoreError(
            f"{self._owners[recording].path}: the {key} of recording "
            f"{self.recordings[recording].name} are not as mpar writes them; make it again with "
            "mpar-preprocess"
        )

    def chunk_hashes(self, recording: int) -> np.ndarray:
        """Return the (ceil(T / 16),) uint64 checksums of a recording's chunks."""
        if recording not in self._hashes:
            key = "chunk_hashes" if self._film == "frames" else "square_hashes"
            self._hashes[recording] = self._read_small(recording, key, np.uint64)
        return self._hashes[recording]

    def _read_small(self, recording: int, key: str, dtype: type[np.generic]) -> np.ndarray:
        info, entry = self.recordings[recording], self._entries[recording]
        file = self._owners[recording]
        array = np.empty(file.index.extents(info)[key], np.uint8)
        file.read_into(entry[f"{key}_offset"], array)
        if hash_bytes(array) != entry[f"{key}_hash"]:
            raise StoreError(
                f"{file.path}: the {key} of recording {info.name} do not match their checksum; "
                "something changed or damaged them; make the file again with mpar-preprocess"
            )
        return array.view(dtype)

    def frames(self, recording: int) -> np.ndarray:
        """Return all frames of a recording, (T, H, W) uint8, read-only and checked.

        With access "mmap", this is a view of the map, with "pread" a copy.
        """
        num_frames, file = self.recordings[recording].num_frames, self._owners[recording]
        self._has_changed(file)
        if file.mapped is None:
            frames = np.empty((num_frames, *self.frame_size), np.uint8)
            self.copy_frames(recording, 0, num_frames, frames)
            frames.flags.writeable = False
            return frames
        self._check_chunks(recording, 0, num_frames)
        return self._view(recording)

    def stream(self, recording: int) -> Iterator[np.ndarray]:
        """Yield the frames of a recording one by one, (H, W) uint8, checked.

        They are read, not mapped, so a recording of any length uses the memory of one chunk.
        """
        return (frame for chunk in self.stream_chunks(recording) for frame in chunk.copy())

    def stream_chunks(self, recording: int) -> Iterator[np.ndarray]:
        """Yield up to 16 frames at a time, (n, H, W) uint8, checked; the next replace them."""
        num_frames = self.recordings[recording].num_frames
        frames = np.empty((chunk_length(num_frames), *self.frame_size), np.uint8)
        for chunk, start in enumerate(range(0, num_frames, CHUNK_FRAMES)):
            self._owners[recording].read_into(self._frame_offset(recording, start), frames)
            self._check_chunk(recording, chunk, frames)
            yield frames[: num_frames - start]

    def copy_frames(self, recording: int, start: int, stop: int, out: np.ndarray) -> None:
        """Copy frames `start` to `stop` - 1 of a recording into `out`, (stop - start, H, W) uint8.

        Raises
        ------
        StoreError
            A chunk does not match its checksum, or the file cannot be read.
        ValueError
            The recording has no such frames, or `out` has the wrong shape or type.
        """
        self._check_request(start, stop, self.recordings[recording].num_frames, out)
        file = self._owners[recording]
        if file.mapped is None and not out.flags.c_contiguous:
            self.copy_frames(recording, start, stop, buffer := np.empty(out.shape, np.uint8))
            out[...] = buffer
            return
        self._has_changed(file)
        while True:
            self._check_chunks(recording, start, stop)
            if file.mapped is not None:
                out[...] = self._view(recording)[start:stop]
            else:
                file.read_into(self._frame_offset(recording, start), out)
            if not self._has_changed(file):
                return

    def _check_request(self, start: int, stop: int, num: int, out: np.ndarray) -> None:
        if not 0 <= start < stop <= num:
            raise ValueError(f"found {start} to {stop}, expected 0 <= start < stop <= {num}")
        if out.shape != (stop - start, *self.frame_size) or out.dtype != np.uint8:
            raise ValueError(
                f"out: found shape {out.shape} and type {out.dtype}, expected "
                f"{(stop - start, *self.frame_size)} and uint8"
            )

    def stream_steps(self, recording: int) -> Iterator[np.ndarray]:
        """Yield the frame of each step of a recording, as `stream` yields its frames."""
        return take(self.stream(recording), self.source_frame(recording))

    def stream_views(self, recording: int) -> Iterator[View]:
        """Yield each step of a recording as the whole picture and what the network sees of it."""
        pictures = self.stream_steps(recording)
        if self.seen is self:
            return (View(picture, picture) for picture in pictures)
        return map(View, pictures, self.seen.stream_steps(recording))

    def copy_steps(self, recording: int, start: int, stop: int, out: np.ndarray) -> None:
        """Copy the frames of steps `start` to `stop` - 1, as `copy_frames` copies frames."""
        if not self._has_own_steps[recording]:
            self.copy_frames(recording, start, stop, out)
            return
        self._check_request(start, stop, self.recordings[recording].num_steps, out)
        source = self.source_frame(recording)[start:stop]
        first, last = int(source[0]), int(source[-1])
        frames = np.empty((last - first + 1, *self.frame_size), np.uint8)
        self.copy_frames(recording, first, last + 1, frames)
        np.take(frames, source - first, axis=0, out=out)

    def copy_batch(
        self, recordings: np.ndarray, starts: np.ndarray, out: np.ndarray, rows: np.ndarray
    ) -> None:
        """Copy a stretch of steps from each of many recordings, much faster than one by one.

        Parameters
        ----------
        recordings, starts : (N,) integer arrays
            Positions in the cache, and the first step of each stretch.
        out : (B, F, H, W) uint8 array
            C-contiguous; receives F frames of each stretch.
        rows : (N,) integer array
            Row of `out` for each stretch. Raises as `copy_frames`.
        """
        length = out.shape[1]
        if (starts < 0).any() or (starts + length > self._num_steps[recordings]).any():
            raise ValueError(f"found a stretch of {length} frames beyond the end of its recording")
        if out.shape[2:] != self.frame_size or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(
                f"out: found shape {out.shape} and type {out.dtype}, expected (B, F, "
                f"{self.frame_size[0]}, {self.frame_size[1]}) and uint8, contiguous"
            )
        is_apart = self._has_own_steps[recordings]
        if self.access == "pread" or is_apart.any():
            apart = np.flatnonzero(is_apart | (self.access == "pread"))
            for i in apart:
                start = int(starts[i])
                self.copy_steps(int(recordings[i]), start, start + length, out[rows[i]])
            if len(apart) == len(rows):
                return
            recordings, starts, rows = recordings[~is_apart], starts[~is_apart], rows[~is_apart]
        if len(self._files) == 1:
            self._copy_mapped(self._files[0], recordings, starts, out, rows)
            return
        first = 0
        for file in self._files:
            last = first + len(file.index.recordings)
            is_own = (recordings >= first) & (recordings < last)
            self._copy_mapped(file, recordings[is_own], starts[is_own], out, rows[is_own])
            first = last

    def _copy_mapped(
        self,
        file: _CacheFile,
        recordings: np.ndarray,
        starts: np.ndarray,
        out: np.ndarray,
        rows: np.ndarray,
    ) -> None:
        """Copy a stretch of frames from each of many recordings of a mapped file."""
        assert file.mapped is not None
        length = out.shape[1]
        # plain memory slices add only a few hundred nanoseconds to each copy
        frame_bytes = math.prod(self.frame_size)
        num_bytes = length * frame_bytes
        sources = self._offsets[recordings] + starts * frame_bytes
        targets = rows * num_bytes
        self._has_changed(file)
        while True:
            is_checked = self._is_checked[recordings]
            for i in () if is_checked.all() else np.flatnonzero(~is_checked):
                self._check_chunks(int(recordings[i]), int(starts[i]), int(starts[i]) + length)
            with memoryview(file.mapped) as source, bytes_of(out) as target:
                for here, there in zip(targets.tolist(), sources.tolist(), strict=True):
                    target[here : here + num_bytes] = source[there : there + num_bytes]
            if not self._has_changed(file):
                return

    def _frame_offset(self, recording: int, frame: int) -> int:
        offset = self._entries[recording][f"{self._film}_offset"]
        return offset + frame * math.prod(self.frame_size)

    def _view(self, recording: int) -> np.ndarray:
        view = self._frames[recording]
        if view is None:
            num_frames = self.recordings[recording].num_frames
            view = np.frombuffer(
                self._owners[recording].mapped,  # type: ignore[arg-type]
                np.uint8,
                num_frames * math.prod(self.frame_size),
                self._frame_offset(recording, 0),
            ).reshape(num_frames, *self.frame_size)
            self._frames[recording] = view
        return view

    def _check_chunks(self, recording: int, start: int, stop: int) -> None:
        """Check the chunks with frames `start` to `stop` - 1, unless already checked."""
        unchecked = self._unchecked[recording]
        if unchecked is None:
            return
        file = self._owners[recording]
        length = chunk_length(self.recordings[recording].num_frames)
        chunk_bytes = length * math.prod(self.frame_size)
        for chunk in range(start // CHUNK_FRAMES, num_chunks(stop)):
            if not unchecked[chunk]:
                continue
            offset = self._frame_offset(recording, chunk * CHUNK_FRAMES)
            if file.mapped is not None:
                data = np.frombuffer(file.mapped, np.uint8, chunk_bytes, offset)
            else:
                data = np.empty(chunk_bytes, np.uint8)
                file.read_into(offset, data)
            self._check_chunk(recording, chunk, data)
            unchecked[chunk] = 0
        if not any(unchecked):
            self._unchecked[recording] = None
            self._is_checked[recording] = True

    def _check_chunk(self, recording: int, chunk: int, data: np.ndarray) -> None:
        if hash_bytes(data) != self.chunk_hashes(recording)[chunk]:
            info, first = self.recordings[recording], chunk * CHUNK_FRAMES
            last = min(first + CHUNK_FRAMES, info.num_frames) - 1
            raise StoreError(
                f"{self._owners[recording].path}: {self._film} {first}-{last} of recording "
                f"{info.name} do not match their checksum: they were changed or damaged; make it "
                "again with mpar-preprocess"
            )

    def verify(self, on_frames: Callable[[int], object] = lambda num_frames: None) -> list[str]:
        """Check every byte that mpar uses, and that HDF5 readers see the same data.

        Returns
        -------
        list of str
            What is wrong, empty for sound caches.
        """
        problems = []
        for number, info in enumerate(self.recordings):
            try:
                for read in (self.labels, self.codes, self.line, self.source_frame, self.corners):
                    read(number)
                for start in range(0, info.num_frames, CHUNK_FRAMES):
                    stop = min(start + CHUNK_FRAMES, info.num_frames)
                    for store in {id(s): s for s in (self, self.seen)}.values():
                        store._check_chunks(number, start, stop)
                    on_frames(stop - start)
            except StoreError as error:
                problems.append(str(error))
        return problems + [text for f in self._files for text in compare_with_hdf5(f.index)]


def digest_of(store: Store, recording: int) -> str:
    """Return a hash of the frames of a recording in a cache, and of the video they come from."""
    digest = hashlib.sha256(store.recordings[recording].sha256.encode())
    digest.update(store.chunk_hashes(recording).astype("<u8").tobytes())
    if store.seen is not store:
        digest.update(store.seen.chunk_hashes(recording).astype("<u8").tobytes())
    return f"cache:{digest.hexdigest()}"
