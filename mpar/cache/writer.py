"""Write a cache: HDF5 lays it out in memory, file calls write it, a rename publishes it.

In the file, the frames of all recordings come first, and everything else follows. So the lengths of
the recordings alone decide where their frames lie (`find_places`).
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import mpar
from mpar.cache.layout import (
    CHUNK_FRAMES,
    FOLLOWING_VERSION,
    FORMAT,
    FORMAT_VERSION,
    PAGE_BYTES,
    RecordingInfo,
    arrays_of,
    bytes_of,
    chunk_length,
    chunk_offsets,
    end_to_end,
    films_of,
    hash_bytes,
    hash_chunks,
    num_chunks,
    set_attributes,
    stored_frames,
)
from mpar.cache.store import Store
from mpar.errors import ConfigError, StoreError
from mpar.labels.classes import ClassMap
from mpar.system.files import atomic_path
from mpar.video.following import Following

_BLOCK_BYTES = 1 << 22
_SPARE_BYTES = 1 << 24  # for labels, times and the index
# makes chunks without a filter lie end to end
_HOW: dict[str, Any] = {
    "libver": ("v110", "v110"),
    "alignment_threshold": PAGE_BYTES,
    "alignment_interval": PAGE_BYTES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecording:
    """A recording to write into a cache.

    Parameters
    ----------
    info : RecordingInfo
        Its attributes.
    labels : (T,) int8 array
        Class index, -1 for unlabelled.
    codes : (A, T) int16 array
        Raw codes by annotator.
    chunk_hashes : (ceil(T / 16),) uint64 array, optional
        Checksums of the frames (`hash_chunks`), which reveal any later damage; by default those of
        `frames`.
    frames : (T, H, W) uint8 array, optional
        What `write_store` writes; None if the frames are in place already.
    times : (T,) float64 array, optional
        Second of the video at which each frame is shown; by default i / fps for frame i of the
        video.
    source_frame : (N,) int64 array, optional
        Frame shown in each step; by default a step is a frame.
    squares : (T, S, S) uint8 array, optional
        The squares that follow the animal, as `frames`.
    square_hashes : (ceil(T / 16),) uint64 array, optional
        Their checksums, as `chunk_hashes`.
    corners : (T, 2) int32 array, optional
        Where they lie (`mpar.cache.layout`); None in a cache without squares.
    """

    info: RecordingInfo
    labels: np.ndarray
    codes: np.ndarray
    chunk_hashes: np.ndarray | None = None
    frames: np.ndarray | None = None
    times: np.ndarray = None  # type: ignore[assignment]
    source_frame: np.ndarray = None  # type: ignore[assignment]
    squares: np.ndarray | None = None
    square_hashes: np.ndarray | None = None
    corners: np.ndarray | None = None

    def __post_init__(self) -> None:
        num_frames, num_annotators = self.info.num_frames, len(self.info.annotators)
        if self.times is None:
            numbers = self.info.start_frame + np.arange(num_frames)
            object.__setattr__(self, "times", numbers / float(self.info.fps))
        if self.source_frame is None:
            object.__setattr__(self, "source_frame", np.arange(num_frames))
        size = () if self.frames is None else self.frames.shape[-2:]
        if self.chunk_hashes is None and self.frames is not None:
            object.__setattr__(self, "chunk_hashes", hash_chunks(self.frames))
        if self.square_hashes is None and self.squares is not None:
            object.__setattr__(self, "square_hashes", hash_chunks(self.squares))
        side = 0 if self.squares is None else self.squares.shape[-1]
        expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "frames": ((num_frames, *size), np.uint8),
            "labels": ((num_frames,), np.int8),
            "codes": ((num_annotators, num_frames), np.int16),
            "chunk_hashes": ((num_chunks(num_frames),), np.uint64),
            "times": ((num_frames,), np.float64),
            "source_frame": ((self.info.num_steps,), np.int64),
            "squares": ((num_frames, side, side), np.uint8),
            "square_hashes": ((num_chunks(num_frames),), np.uint64),
            "corners": ((num_frames, 2), np.int32),
        }
        for key, (shape, dtype) in expected.items():
            array = getattr(self, key)
            if array is None:
                continue
            if (array.shape, array.dtype) != (shape, dtype) or not array.size:
                raise ValueError(
                    f"{self.info.name}: found {key} of shape {array.shape} and type {array.dtype}, "
                    f"expected {shape} and {np.dtype(dtype)}, not empty"
                )


def write_store(
    path: Path | str,
    recordings: Sequence[NewRecording],
    *,
    class_map: ClassMap,
    config: dict[str, Any],
) -> None:
    """Write a cache to a temporary file and publish it by one rename.

    Parameters
    ----------
    path : Path or str
        Replaced only after the new cache is complete and on the disk.
    recordings : sequence of NewRecording
        At least one, with different names and one frame size.
    class_map : ClassMap
        Classes of the labels.
    config : dict
        The options that the cache was made with, for predictions.

    Raises
    ------
    ConfigError
        The disk has too little room.
    ValueError
        Names repeat or frame sizes differ.

    Notes
    -----
    HDF5 lays out the file in memory, with holes for the frames. Ordinary file calls then write it,
    so a full disk raises an error (inside HDF5, it ends the process).
    """
    path = Path(path)
    if not recordings or len({r.info.name for r in recordings}) < len(recordings):
        raise ValueError("expected at least one recording, each with a different name")
    square_px = _square_px(config)
    names = films_of(FOLLOWING_VERSION if square_px else FORMAT_VERSION)
    films = [[film for name in names if (film := getattr(r, name)) is not None] for r in recordings]
    shapes = {tuple(film.shape[1:] for film in both) for both in films}
    if len(shapes) > 1 or any(len(both) < len(names) for both in films):
        raise ValueError(f"found frames of sizes {sorted(shapes)}, expected one size for all")
    ((frame_size, *_),) = shapes
    path.parent.mkdir(parents=True, exist_ok=True)
    lengths = [len(both[0]) for both in films]
    check_room(path, lengths, frame_size, square_px)
    places = find_places(lengths, frame_size, square_px)
    with atomic_path(path) as temporary:
        with temporary.open("xb", buffering=0) as file:
            for both, there in zip(films, places, strict=True):
                for film, place in zip(both, there, strict=True):
                    file.seek(place)
                    for start in range(0, len(film), CHUNK_FRAMES):
                        write_all(file, film[start : start + CHUNK_FRAMES])
                    num_missing = stored_frames(len(film)) - len(film)
                    write_all(file, np.zeros((num_missing, *film.shape[1:]), np.uint8))
        write_structure(temporary, recordings, frame_size, class_map, config)


def _square_px(config: dict[str, Any]) -> int:
    following = Following.of(config)
    return following.size if following else 0


def _film_sizes(frame_size: tuple[int, ...], square_px: int) -> list[tuple[int, ...]]:
    """Return height and width of the frames and, if there are any, of the squares."""
    return [frame_size, (square_px, square_px)] if square_px else [frame_size]


def check_room(
    path: Path,
    lengths: Sequence[int],
    frame_size: tuple[int, ...],
    square_px: int = 0,
    taken: int = 0,
) -> None:
    """Raise ConfigError if the disk has no room for recordings of so many frames each.

    `taken` bytes on the disk belong to the new cache already.
    """
    frame_bytes = math.prod(frame_size) + square_px**2
    num_bytes = sum(map(stored_frames, lengths)) * frame_bytes + _SPARE_BYTES - taken
    free = shutil.disk_usage(path.parent).free
    if num_bytes > free:
        raise ConfigError(
            f"{path}: needs {num_bytes / 1e9:.2f} GB, found {free / 1e9:.2f} GB free on its disk; "
            "make room, choose another disk, or pass a smaller --size"
        )


def find_places(
    lengths: Sequence[int], frame_size: tuple[int, ...], square_px: int = 0
) -> list[list[int]]:
    """Return the bytes at which the frames of each recording, and its squares, start in a cache.

    `lengths` are the numbers of frames in the order of the cache; `square_px` is 0 without squares.
    """
    with h5py.File(_SparseFile(), "w", **_HOW) as file:
        return [
            _allocate_films(file, i, num, _film_sizes(frame_size, square_px))
            for i, num in enumerate(lengths)
        ]


def write_structure(
    path: Path,
    recordings: Sequence[NewRecording],
    frame_size: tuple[int, ...],
    class_map: ClassMap,
    config: dict[str, Any],
) -> None:
    """Write everything but the frames into a file that holds the frames in their places.

    The file is then a cache. It is opened once, so that no invalid file is published.
    """
    structure, places = _lay_out(recordings, frame_size, class_map, config)
    sizes = _film_sizes(frame_size, _square_px(config))
    kept = [
        (place, place + stored_frames(recording.info.num_frames) * math.prod(size))
        for recording, there in zip(recordings, places, strict=True)
        for place, size in zip(there, sizes, strict=True)
    ]
    with path.open("r+b", buffering=0) as file:
        structure.save(file, kept)
    Store(path).close()


def write_all(file: Any, array: np.ndarray) -> None:
    """Write an array to a file that may take less than asked at a time."""
    view = bytes_of(np.ascontiguousarray(array))
    while view:
        view = view[file.write(view) :]


class _SparseFile(io.RawIOBase):
    """A file in memory that stores only the pages that were written."""

    def __init__(self) -> None:
        super().__init__()
        self._pages: dict[int, bytearray] = {}
        self._position = self._size = 0

    def _pieces(self, num_bytes: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield (page, slice of it, slice of the data) for the next bytes, and advance."""
        done = 0
        while done < num_bytes:
            page, start = divmod(self._position, PAGE_BYTES)
            stop = min(PAGE_BYTES, start + num_bytes - done)
            yield page, slice(start, stop), slice(done, done + stop - start)
            self._position += stop - start
            done += stop - start

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for page, there, here in self._pieces(len(view)):
            self._pages.setdefault(page, bytearray(PAGE_BYTES))[there] = view[here]
        self._size = max(self._size, self._position)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        for page, there, here in self._pieces(len(view)):
            view[here] = self._pages.get(page, bytes(PAGE_BYTES))[there]
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        return self._size

    def save(self, file: Any, kept: Sequence[tuple[int, int]]) -> None:
        """Write this file to the disk, except for stretches (start, stop) that are there already.

        Between a stretch and what was written here, there are zeros: bytes that belong to nothing
        must not depend on what was there before.
        """
        position = 0
        for start, stop in [*sorted(kept), (self._size, self._size)]:
            self.seek(position)
            file.seek(position)
            while (left := start - self.tell()) > 0:
                block = np.empty(min(left, _BLOCK_BYTES), np.uint8)
                self.readinto(block.data)
                write_all(file, block)
            position = stop
        file.truncate(self._size)


def _lay_out(
    recordings: Sequence[NewRecording],
    frame_size: tuple[int, ...],
    class_map: ClassMap,
    config: dict[str, Any],
) -> tuple[_SparseFile, list[list[int]]]:
    """Lay out everything but the films; also return the byte offsets of each recording's films."""
    entries = []
    structure = _SparseFile()
    square_px = _square_px(config)
    version = FOLLOWING_VERSION if square_px else FORMAT_VERSION
    with h5py.File(structure, "w", **_HOW) as file:
        sizes = _film_sizes(frame_size, square_px)
        places = [  # first, as in `find_places`
            _allocate_films(file, number, recording.info.num_frames, sizes)
            for number, recording in enumerate(recordings)
        ]
        for number, (recording, there) in enumerate(zip(recordings, places, strict=True)):
            group = file[_group_name(number)]
            entry = recording.info.to_dict()
            set_attributes(group, entry)
            for film, place in zip(films_of(version), there, strict=True):
                entry[f"{film}_offset"] = place
            for name in arrays_of(version):
                array = getattr(recording, name)
                dataset = group.create_dataset(name, data=array)
                entry[f"{name}_offset"] = dataset.id.get_offset()
                entry[f"{name}_hash"] = hash_bytes(array)
            entries.append(entry)
        index = {
            "class_map": class_map.to_dict(),
            "config": config,
            "frame_size": [int(side) for side in frame_size],
            "recordings": entries,
        }
        index_bytes = np.frombuffer(json.dumps(index, allow_nan=False).encode(), np.uint8)
        file.create_dataset("index", data=index_bytes)
        set_attributes(
            file,
            {
                "format": FORMAT,
                "format_version": version,
                "generator": f"mpar {mpar.__version__}",
                "created_utc": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "class_names": list(class_map.class_names),
                "class_map": json.dumps(index["class_map"]),
                "config": json.dumps(config),
                "index_hash": np.uint64(hash_bytes(index_bytes)),
            },
        )
    return structure, places


def _group_name(number: int) -> str:
    return f"recordings/{number:06d}"


def _allocate_films(
    file: h5py.File, number: int, num_frames: int, sizes: Sequence[tuple[int, ...]]
) -> list[int]:
    """Create the group of a recording with its films, unwritten; return their byte offsets."""
    group = file.create_group(_group_name(number))
    names = films_of(FOLLOWING_VERSION)[: len(sizes)]
    return [
        _allocate_film(group, name, num_frames, size)
        for name, size in zip(names, sizes, strict=True)
    ]


def _allocate_film(group: h5py.Group, name: str, num_frames: int, size: tuple[int, ...]) -> int:
    """Create a film with all its chunks end to end, unwritten; return the first byte's offset."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((chunk_length(num_frames), *size))
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # equal frames give equal bytes at any time
    space = h5py.h5s.create_simple((num_frames, *size))
    dataset = h5py.h5d.create(group.id, name.encode(), h5py.h5t.STD_U8LE, space, properties)
    offsets = chunk_offsets(dataset)
    if offsets != end_to_end(offsets[0], num_frames, size):
        raise StoreError("HDF5 did not lay the chunks end to end; please report this")
    return offsets[0]
