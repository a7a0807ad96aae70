"""The cache: frames and labels of many recordings in one HDF5 file, read through a memory map.

The only module that imports h5py. Layout, format version 1::

    /                     attrs: format, format_version, generator, created_utc, class_names,
                                 class_map (json), config (json), index_hash
    /index                (bytes) uint8: json with all of the above and, for each recording,
                                 its attributes, byte offsets and checksums
    /recordings/000000/   attrs: name, video, group, fps ("30/1"), start_frame, num_frames,
                                 video_num_frames, size_bytes, sha256, annotators, warnings
        frames            (T, H, W) uint8, chunks (16, H, W) or (T, H, W) if T < 16, no filter;
                                 the chunks lie end to end, from a multiple of 4096 bytes on
                                 (fewer than 4096 bytes in all: anywhere)
        labels            (T,) int8, class index, -1 = unlabelled
        codes             (A, T) int16, raw codes, one row an annotator, -1 = unlabelled
        chunk_hashes      (ceil(T/16),) uint64, XXH3 of each chunk as stored

Text in attributes is UTF-8 of fixed length: HDF5 keeps text of variable length in heaps that
have no checksum, and one flipped bit in them can make it search for ever.

Anyone can read it with h5py. mpar itself reads only ``/index`` through HDF5 and everything
else at the offsets given there, each piece checked against its checksum before its first use;
so links, external files, virtual data sets and filters in the rest of a file have no effect.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import mmap
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

import mpar
from mpar.errors import ConfigError, StoreError
from mpar.labels.classes import ClassMap
from mpar.system.files import atomic_path
from mpar.system.positioned import PositionedFile

FORMAT = "mpar-cache"
FORMAT_VERSION = 1
CHUNK_FRAMES = 16
PAGE_BYTES = 4096
MAX_INDEX_BYTES = 1 << 28
_MAX_MAPPED_BYTES = 1 << 24  # of frames on their way into a cache


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingInfo:
    """What the cache says of a recording.

    Parameters
    ----------
    name : str
        Unique in the cache.
    video : str
        File name of the source video.
    group : str
        The animal.
    fps : Fraction
        Frames per second, exact.
    start_frame, num_frames : int
        The stretch of the video that this is.
    video_num_frames, size_bytes, sha256
        Decoded frame count, size and SHA-256 of the source video.
    annotators : tuple of str
        One a row of the codes.
    warnings : tuple of str
        Oddities met while decoding.
    is_steady : bool
        Frame i was filmed i / fps seconds after the first, by the time stamps of the video. False
        too where an older cache does not say.
    """

    name: str
    video: str
    group: str
    fps: Fraction
    start_frame: int
    num_frames: int
    video_num_frames: int
    size_bytes: int
    sha256: str
    annotators: tuple[str, ...]
    warnings: tuple[str, ...]
    is_steady: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for HDF5 attributes and JSON."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return data | {
            "fps": f"{self.fps.numerator}/{self.fps.denominator}",
            "annotators": list(self.annotators),
            "warnings": list(self.warnings),
            "is_steady": int(self.is_steady),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RecordingInfo:
        """Rebuild from `to_dict`; further keys are ignored."""
        kinds = {"name": str, "video": str, "group": str, "sha256": str}
        values: dict[str, Any] = {
            f.name: kinds.get(f.name, int)(data[f.name]) for f in _PLAIN_FIELDS
        }
        return cls(
            **values,
            fps=Fraction(data["fps"]),
            annotators=tuple(map(str, data["annotators"])),
            warnings=tuple(map(str, data["warnings"])),
            is_steady=bool(data.get("is_steady", 0)),
        )


_PLAIN_FIELDS = [
    field
    for field in dataclasses.fields(RecordingInfo)
    if field.name not in {"fps", "annotators", "warnings", "is_steady"}
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecording:
    """A recording on its way into a cache.

    Parameters
    ----------
    info : RecordingInfo
        Its attributes.
    frames : (T, H, W) uint8 array
        May be memory-mapped; read chunk by chunk.
    labels : (T,) int8 array
        Class index, -1 for unlabelled.
    codes : (A, T) int16 array
        Raw codes by annotator.
    chunk_hashes : (ceil(T / 16),) uint64 array
        Of the frames (`hash_chunks`), so that what is damaged on its way here is found later.
    """

    info: RecordingInfo
    frames: np.ndarray
    labels: np.ndarray
    codes: np.ndarray
    chunk_hashes: np.ndarray

    def __post_init__(self) -> None:
        num_frames, num_annotators = self.info.num_frames, len(self.info.annotators)
        expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "frames": ((num_frames, *self.frames.shape[-2:]), np.uint8),
            "labels": ((num_frames,), np.int8),
            "codes": ((num_annotators, num_frames), np.int16),
            "chunk_hashes": ((num_chunks(num_frames),), np.uint64),
        }
        for key, (shape, dtype) in expected.items():
            array = getattr(self, key)
            if (array.shape, array.dtype) != (shape, dtype) or not array.size:
                raise ValueError(
                    f"{self.info.name}: found {key} of shape {array.shape} and type {array.dtype}, "
                    f"expected {shape} and {np.dtype(dtype)}, not empty"
                )


# what the index says of each recording beside its attributes; frames have a checksum a chunk
_PLACES = (
    *("frames_offset", "labels_offset", "codes_offset", "chunk_hashes_offset"),
    *("labels_hash", "codes_hash", "chunk_hashes_hash"),
)


def num_chunks(num_frames: int) -> int:
    """Return how many chunks hold `num_frames` frames."""
    return -(-num_frames // CHUNK_FRAMES)


def chunk_length(num_frames: int) -> int:
    """Return the frames of a chunk: 16, or all when there are fewer."""
    return min(CHUNK_FRAMES, num_frames)


def _stored_frames(num_frames: int) -> int:
    return num_chunks(num_frames) * chunk_length(num_frames)


def split_chunks(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield (H, W) frames in chunks as stored: the last one is filled up with zero frames.

    Yields
    ------
    (16, H, W) or, if there are fewer frames in all, (T, H, W) uint8 array
        Overwritten by the next one.
    """
    buffer, filled, is_first = np.empty((0, 0, 0), np.uint8), 0, True
    for frame in frames:
        if not filled and is_first:
            buffer = np.empty((CHUNK_FRAMES, *frame.shape), np.uint8)
        buffer[filled] = frame
        filled += 1
        if filled == CHUNK_FRAMES:
            yield buffer
            filled, is_first = 0, False
    if filled:
        buffer[filled:] = 0
        yield buffer[:filled] if is_first else buffer


def hash_chunks(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Return the XXH3 of every chunk of (H, W) frames as stored, (ceil(T / 16),) uint64."""
    return np.array([hash_bytes(chunk) for chunk in split_chunks(frames)], np.uint64)


def hash_bytes(array: np.ndarray) -> int:
    """Return the 64-bit XXH3 of an array's bytes."""
    return xxhash.xxh3_64_intdigest(_bytes_of(np.ascontiguousarray(array)))


def _bytes_of(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def write_store(
    path: Path | str,
    recordings: Sequence[NewRecording],
    *,
    class_map: ClassMap,
    config: dict[str, Any],
    on_frames: Callable[[int], object] = lambda num_frames: None,
) -> None:
    """Write a cache beside its final name and publish it by one rename.

    Parameters
    ----------
    path : Path or str
        Replaced only when the new cache is complete and on the disk.
    recordings : sequence of NewRecording
        At least one, with different names and one frame size.
    class_map : ClassMap
        Gives the labels their meaning.
    config : dict
        How the frames were made; kept for predictions.
    on_frames : callable
        Called with the number of frames written since the last call.

    Raises
    ------
    ConfigError
        The disk has too little room.
    ValueError
        Names repeat or frame sizes differ.

    Notes
    -----
    HDF5 lays out the file in memory, with holes for the frames. All writing is by ordinary file
    calls: as fast as a copy, and a full disk is an error that can be caught (inside HDF5 it
    ends the process).
    """
    path = Path(path)
    if not recordings or len({r.info.name for r in recordings}) < len(recordings):
        raise ValueError("expected at least one recording, each with a name of its own")
    shapes = {r.frames.shape[1:] for r in recordings}
    if len(shapes) > 1:
        raise ValueError(f"found frames of sizes {sorted(shapes)}, expected one size")
    (frame_size,) = shapes
    num_bytes = sum(_stored_frames(r.info.num_frames) for r in recordings) * math.prod(frame_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if num_bytes + (1 << 24) > free:
        raise ConfigError(
            f"{path}: needs {num_bytes / 1e9:.2f} GB, found {free / 1e9:.2f} GB free on its disk; "
            "make room, choose another disk, or pass a smaller --size"
        )
    with atomic_path(path) as temporary:
        structure, offsets = _lay_out(recordings, frame_size, class_map, config)
        with temporary.open("xb", buffering=0) as file:
            structure.save(file)
            for recording, offset in zip(recordings, offsets, strict=True):
                file.seek(offset)
                frames, num_frames = recording.frames, recording.info.num_frames
                num_mapped = 0
                for start in range(0, num_frames, CHUNK_FRAMES):
                    chunk = np.ascontiguousarray(frames[start : start + CHUNK_FRAMES])
                    _write_all(file, chunk)
                    on_frames(len(chunk))
                    num_mapped += chunk.nbytes
                    if num_mapped > _MAX_MAPPED_BYTES:
                        _release(frames)
                        num_mapped = 0
                _release(frames)
                num_missing = _stored_frames(num_frames) - num_frames
                _write_all(file, np.zeros((num_missing, *frame_size), np.uint8))
        Store(temporary).close()  # what cannot be opened is not published


def _release(frames: np.ndarray) -> None:
    """Give the pages of a mapped array back, which are read again at need (not on Windows)."""
    mapped = getattr(frames, "_mmap", None)  # of a numpy.memmap
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _write_all(file: Any, array: np.ndarray) -> None:
    view = _bytes_of(array)
    while view:
        view = view[file.write(view) :]


class _SparseFile(io.RawIOBase):
    """A file in memory that takes room only for the pages that were written."""

    def __init__(self) -> None:
        super().__init__()
        self._pages: dict[int, bytearray] = {}
        self._position = self._size = 0

    def _pieces(self, num_bytes: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield (page, stretch of it, stretch of the data) for the next bytes, and move on."""
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

    def save(self, file: Any) -> None:
        """Write the pages to an empty file of the disk; what lies between them stays a hole."""
        for page, data in sorted(self._pages.items()):
            file.seek(page * PAGE_BYTES)
            _write_all(file, np.frombuffer(data, np.uint8))
        file.truncate(self._size)


def _lay_out(
    recordings: Sequence[NewRecording],
    frame_size: tuple[int, ...],
    class_map: ClassMap,
    config: dict[str, Any],
) -> tuple[_SparseFile, list[int]]:
    """Make all but the frames; return it and the byte offset of each recording's frames."""
    entries = []
    structure = _SparseFile()
    with h5py.File(
        structure,
        "w",
        libver=("v110", "v110"),  # chunks without a filter then lie end to end
        alignment_threshold=PAGE_BYTES,
        alignment_interval=PAGE_BYTES,
    ) as file:
        for number, recording in enumerate(recordings):
            group = file.create_group(f"recordings/{number:06d}")
            entry = recording.info.to_dict()
            _set_attributes(group, entry)
            entry["frames_offset"] = _allocate_frames(group, recording.info.num_frames, frame_size)
            for name, array in (
                ("labels", recording.labels),
                ("codes", recording.codes),
                ("chunk_hashes", recording.chunk_hashes),
            ):
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
        _set_attributes(
            file,
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "generator": f"mpar {mpar.__version__}",
                "created_utc": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "class_names": list(class_map.class_names),
                "class_map": json.dumps(index["class_map"]),
                "config": json.dumps(config),
                "index_hash": np.uint64(hash_bytes(index_bytes)),
            },
        )
    return structure, [entry["frames_offset"] for entry in entries]


def _set_attributes(target: h5py.Group, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, (str, list)):
            texts = np.char.encode(np.array(value, np.str_), "utf-8", "surrogateescape")
            kind = h5py.string_dtype("utf-8", max(1, texts.dtype.itemsize))
            target.attrs.create(key, texts, dtype=kind)
        else:
            target.attrs[key] = value


def _read_attributes(source: h5py.Group, keys: Iterable[str]) -> dict[str, Any]:
    """Read numbers and text of fixed length; whatever else an attribute holds is left alone."""
    values = {}
    for key in keys:
        if key in source.attrs and source.attrs.get_id(key).dtype.kind in "iuS":
            value = np.asarray(source.attrs[key])
            if value.dtype.kind == "S":
                value = np.char.decode(value, "utf-8", "surrogateescape")
            values[key] = value.tolist()
    return values


def _allocate_frames(group: h5py.Group, num_frames: int, frame_size: tuple[int, ...]) -> int:
    """Create `frames` with all its chunks end to end, unwritten; return the first byte's offset."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((chunk_length(num_frames), *frame_size))
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # equal frames are equal bytes, whenever written
    space = h5py.h5s.create_simple((num_frames, *frame_size))
    dataset = h5py.h5d.create(group.id, b"frames", h5py.h5t.STD_U8LE, space, properties)
    offsets = _chunk_offsets(dataset)
    if offsets != _end_to_end(offsets[0], num_frames, frame_size):
        raise StoreError("HDF5 did not lay the chunks end to end; please report this")
    return offsets[0]


def _chunk_offsets(dataset: h5py.h5d.DatasetID) -> list[int]:
    chunks: list[Any] = []
    dataset.chunk_iter(chunks.append)
    return [chunk.byte_offset for chunk in sorted(chunks, key=lambda chunk: chunk.chunk_offset)]


def _end_to_end(first: int, num_frames: int, frame_size: tuple[int, ...]) -> list[int]:
    chunk_bytes = chunk_length(num_frames) * math.prod(frame_size)
    return [first + i * chunk_bytes for i in range(num_chunks(num_frames))]


_mapped: weakref.WeakSet[Store] = weakref.WeakSet()


def mapped_paths() -> list[Path]:
    """Return the caches that this process reads through a map: what a lost page belongs to."""
    return sorted({store.path for store in _mapped if store._map is not None})


def _cut_short(path: Path) -> str:
    return (
        f"{path}: was cut short while it was being read; copy it again or make it again with "
        "mpar-preprocess"
    )


class Store:
    """An open cache.

    Parameters
    ----------
    path : Path or str
        A cache written by `write_store`.
    access : {"mmap", "pread"}
        Map the file, or read it with positioned reads: slower, but on a network disk that
        fails a read raises an error where a map ends the process.

    Attributes
    ----------
    recordings : tuple of RecordingInfo
        In order of the file; methods take positions in it.
    frame_size : (int, int)
        Height and width in px.
    class_map : ClassMap
        Gives the labels their meaning.
    config : dict
        How the frames were made.
    fingerprint : str
        Checksum of the index: equal for caches of equal content.

    Raises
    ------
    StoreError
        The file is not a cache, has another version, is cut short or damaged.

    Notes
    -----
    Every chunk is checked against its checksum before its first use, and again if the file
    was written to since. Worker processes may be forked: reads share no position in the file.
    Pickles as its path, so that spawned processes open the file themselves.
    """

    def __init__(self, path: Path | str, *, access: str = "mmap") -> None:
        if access not in {"mmap", "pread"}:
            raise ConfigError(f"access: found {access!r}, expected 'mmap' or 'pread'")
        self.path = Path(path)
        self.access = access
        try:
            self._file = PositionedFile(self.path)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be opened ({error.strerror})") from None
        try:
            index_bytes = self._read_index()
            self._size_bytes, self._mtime_ns = self._stat()
            self._adopt(index_bytes)
            self._map = (
                mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
                if access == "mmap"
                else None
            )
        except BaseException:
            self._file.close()
            raise
        if self._map is not None:
            _mapped.add(self)
        self._frames: list[np.ndarray | None] = [None] * len(self.recordings)
        self._num_frames = np.array([info.num_frames for info in self.recordings])
        self._offsets = np.array([entry["frames_offset"] for entry in self._entries])
        self._forget_checks()

    def _forget_checks(self) -> None:
        """Let every chunk be checked before its next use."""
        self._hashes: list[np.ndarray | None] = [None] * len(self.recordings)
        self._is_checked = np.zeros(len(self.recordings), bool)
        # chunks still to be checked; an emptied entry is the fast path of every later read
        self._unchecked: list[bytearray | None] = [
            bytearray(b"\1" * num_chunks(info.num_frames)) for info in self.recordings
        ]

    def _stat(self) -> tuple[int, int]:
        try:
            status = self._file.stat()
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path}: cannot be read ({error})") from None
        return status.st_size, status.st_mtime_ns

    def _has_changed(self) -> bool:
        """Tell if the file was written to since the last call; checks are then begun anew."""
        size_bytes, mtime_ns = self._stat()
        if size_bytes < self._size_bytes:
            raise StoreError(_cut_short(self.path))
        if mtime_ns == self._mtime_ns:
            return False
        self._mtime_ns = mtime_ns
        self._forget_checks()
        return True

    def _read_index(self) -> bytes:
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                attrs = _read_attributes(file, ("format", "format_version", "index_hash"))
                if attrs.get("format") != FORMAT:
                    raise StoreError(
                        f"{self.path}: found an HDF5 file of another kind, expected a cache made "
                        "by mpar-preprocess; check the path"
                    )
                if (version := attrs.get("format_version")) != FORMAT_VERSION:
                    raise StoreError(
                        f"{self.path}: found cache format version {version}, expected "
                        f"{FORMAT_VERSION}; make it again with mpar-preprocess"
                    )
                link = file.get("index", getlink=True)
                dataset = file.get("index") if isinstance(link, h5py.HardLink) else None
                if (
                    not isinstance(dataset, h5py.Dataset)
                    or dataset.dtype != np.uint8
                    or dataset.ndim != 1
                    or not 0 < dataset.size <= MAX_INDEX_BYTES
                    or dataset.chunks
                    or dataset.external
                    or dataset.is_virtual
                ):
                    raise StoreError(
                        f"{self.path}: its index is not as mpar writes it; make it again with "
                        "mpar-preprocess"
                    )
                data = dataset[:]
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise StoreError(
                f"{self.path}: cannot be read as an HDF5 file ({str(error)[:200]}); it is damaged "
                "or no cache, check the path or make it again with mpar-preprocess"
            ) from None
        if not os.path.samestat(self.path.stat(), self._file.stat()):
            raise StoreError(f"{self.path}: was replaced while it was being opened; try again")
        if hash_bytes(data) != attrs.get("index_hash"):
            raise StoreError(
                f"{self.path}: its index does not match its checksum; the file is damaged, make it "
                "again with mpar-preprocess"
            )
        self.fingerprint = f"{attrs['index_hash']:016x}"
        return data.tobytes()

    def _adopt(self, index_bytes: bytes) -> None:
        """Take over the index after checking that all it points at lies within the file."""
        try:
            index = json.loads(index_bytes)
            self.class_map = ClassMap.from_dict(index["class_map"])
            self.config: dict[str, Any] = dict(index["config"])
            height, width = map(int, index["frame_size"])
            self.frame_size = (height, width)
            self.recordings = tuple(RecordingInfo.from_dict(e) for e in index["recordings"])
            self._entries: list[dict[str, int]] = [
                {key: int(entry[key]) for key in _PLACES} for entry in index["recordings"]
            ]
            for info, entry in zip(self.recordings, self._entries, strict=True):
                for key, num_bytes in self._extents(info).items():
                    if not 0 <= entry[f"{key}_offset"] <= self._size_bytes - num_bytes:
                        raise StoreError(
                            f"{self.path}: recording {info.name} lies beyond the end of the file; "
                            "it was cut short, make it again or copy it again"
                        )
                if info.num_frames < 1 or height < 1 or width < 1:
                    raise ValueError("empty recording")
                if "\0" in info.name or Path(info.name).name != info.name:
                    # outputs are named after it, and must not leave their folder
                    raise ValueError(f"recording {info.name!r} has no plain name")
        except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise StoreError(
                f"{self.path}: its index is not as mpar writes it ({error!r}); make it again with "
                "mpar-preprocess"
            ) from None

    def _extents(self, info: RecordingInfo) -> dict[str, int]:
        chunks = num_chunks(info.num_frames)
        return {
            "frames": _stored_frames(info.num_frames) * math.prod(self.frame_size),
            "labels": info.num_frames,
            "codes": 2 * len(info.annotators) * info.num_frames,
            "chunk_hashes": 8 * chunks,
        }

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Views from `frames` stay valid; the map goes when they are gone."""
        self._frames = [None] * len(self.recordings)
        self._map = None
        self._file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "access": self.access, "fingerprint": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], access=state["access"])  # type: ignore[misc]
        if self.fingerprint != state["fingerprint"]:
            self.close()  # its recordings may be in another order: clips would be of others
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

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in order of class index."""
        return self.class_map.class_names

    def labels(self, recording: int) -> np.ndarray:
        """Return the (T,) int8 labels of a recording: class index, -1 = unlabelled."""
        return self._read_small(recording, "labels", np.int8)

    def codes(self, recording: int) -> np.ndarray:
        """Return the (A, T) int16 raw codes of a recording, one row an annotator."""
        codes = self._read_small(recording, "codes", np.int16)
        return codes.reshape(len(self.recordings[recording].annotators), -1)

    def chunk_hashes(self, recording: int) -> np.ndarray:
        """Return the (ceil(T / 16),) uint64 checksums of a recording's chunks."""
        hashes = self._hashes[recording]
        if hashes is None:
            hashes = self._read_small(recording, "chunk_hashes", np.uint64)
            self._hashes[recording] = hashes
        return hashes

    def _read_small(self, recording: int, key: str, dtype: type[np.generic]) -> np.ndarray:
        info, entry = self.recordings[recording], self._entries[recording]
        array = np.empty(self._extents(info)[key], np.uint8)
        self._read_into(entry[f"{key}_offset"], array)
        if hash_bytes(array) != entry[f"{key}_hash"]:
            raise StoreError(
                f"{self.path}: the {key} of recording {info.name} do not match their checksum; "
                "the file is damaged, make it again with mpar-preprocess"
            )
        return array.view(dtype)

    def frames(self, recording: int) -> np.ndarray:
        """Return all frames of a recording, (T, H, W) uint8, read-only, checked.

        In mode "mmap" this is a view of the map, in mode "pread" a copy.
        """
        num_frames = self.recordings[recording].num_frames
        self._has_changed()
        if self._map is None:
            frames = np.empty((num_frames, *self.frame_size), np.uint8)
            self.copy_frames(recording, 0, num_frames, frames)
            frames.flags.writeable = False
            return frames
        self._check_chunks(recording, 0, num_frames)
        return self._view(recording)

    def stream(self, recording: int) -> Iterator[np.ndarray]:
        """Yield the frames of a recording one after the other, (H, W) uint8, checked.

        Read, not mapped, so that a recording of any length takes the memory of a chunk.
        """
        num_frames = self.recordings[recording].num_frames
        length = chunk_length(num_frames)
        for chunk in range(num_chunks(num_frames)):
            start = chunk * CHUNK_FRAMES
            frames = np.empty((length, *self.frame_size), np.uint8)
            self._read_into(self._frame_offset(recording, start), frames)
            self._check_chunk(recording, chunk, frames)
            yield from frames[: num_frames - start]

    def copy_frames(self, recording: int, start: int, stop: int, out: np.ndarray) -> None:
        """Copy frames `start` to `stop` - 1 of a recording into `out`, (stop - start, H, W) uint8.

        Raises
        ------
        StoreError
            A chunk does not match its checksum, or the file cannot be read.
        ValueError
            The recording has no such frames, or `out` is not made for them.
        """
        num_frames = self.recordings[recording].num_frames
        if not 0 <= start < stop <= num_frames:
            raise ValueError(
                f"found frames {start} to {stop}, expected 0 <= start < stop <= {num_frames}"
            )
        if out.shape != (stop - start, *self.frame_size) or out.dtype != np.uint8:
            raise ValueError(
                f"out: found shape {out.shape} and type {out.dtype}, expected "
                f"{(stop - start, *self.frame_size)} and uint8"
            )
        if self._map is None and not out.flags.c_contiguous:
            self.copy_frames(recording, start, stop, buffer := np.empty(out.shape, np.uint8))
            out[...] = buffer
            return
        self._has_changed()
        while True:
            self._check_chunks(recording, start, stop)
            if self._map is not None:
                out[...] = self._view(recording)[start:stop]
            else:
                self._read_into(self._frame_offset(recording, start), out)
            if not self._has_changed():
                return

    def copy_batch(
        self, recordings: np.ndarray, starts: np.ndarray, out: np.ndarray, rows: np.ndarray
    ) -> None:
        """Copy a stretch of frames from each of many recordings, much faster than one by one.

        Parameters
        ----------
        recordings, starts : (N,) integer arrays
            Positions in the cache, and the first frame of each stretch.
        out : (B, F, H, W) uint8 array
            C-contiguous. Gets F frames of each stretch.
        rows : (N,) integer array
            Which row of `out` each stretch goes to.

        Raises
        ------
        StoreError, ValueError
            As for `copy_frames`.
        """
        length = out.shape[1]
        if (starts < 0).any() or (starts + length > self._num_frames[recordings]).any():
            raise ValueError(f"found a stretch of {length} frames beyond the end of its recording")
        if out.shape[2:] != self.frame_size or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(
                f"out: found shape {out.shape} and type {out.dtype}, expected (B, F, "
                f"{self.frame_size[0]}, {self.frame_size[1]}) and uint8, contiguous"
            )
        if self._map is None:
            for recording, start, row in zip(recordings, starts, rows, strict=True):
                self.copy_frames(int(recording), int(start), int(start) + length, out[row])
            return
        # slices of plain memory: a few hundred nanoseconds each beside the copy itself
        frame_bytes = math.prod(self.frame_size)
        num_bytes = length * frame_bytes
        sources = self._offsets[recordings] + starts * frame_bytes
        targets = rows * num_bytes
        self._has_changed()
        while True:
            for i in np.flatnonzero(~self._is_checked[recordings]):
                self._check_chunks(int(recordings[i]), int(starts[i]), int(starts[i]) + length)
            with memoryview(self._map) as source, _bytes_of(out) as target:
                for here, there in zip(targets.tolist(), sources.tolist(), strict=True):
                    target[here : here + num_bytes] = source[there : there + num_bytes]
            if not self._has_changed():
                return

    def _frame_offset(self, recording: int, frame: int) -> int:
        return self._entries[recording]["frames_offset"] + frame * math.prod(self.frame_size)

    def _view(self, recording: int) -> np.ndarray:
        view = self._frames[recording]
        if view is None:
            num_frames = self.recordings[recording].num_frames
            view = np.frombuffer(
                self._map,  # type: ignore[arg-type]
                np.uint8,
                num_frames * math.prod(self.frame_size),
                self._frame_offset(recording, 0),
            ).reshape(num_frames, *self.frame_size)
            self._frames[recording] = view
        return view

    def _check_chunks(self, recording: int, start: int, stop: int) -> None:
        """Compare the chunks that hold frames `start` to `stop` - 1 with their checksums, once."""
        unchecked = self._unchecked[recording]
        if unchecked is None:
            return
        length = chunk_length(self.recordings[recording].num_frames)
        chunk_bytes = length * math.prod(self.frame_size)
        for chunk in range(start // CHUNK_FRAMES, num_chunks(stop)):
            if not unchecked[chunk]:
                continue
            offset = self._frame_offset(recording, chunk * CHUNK_FRAMES)
            if self._map is not None:
                data = np.frombuffer(self._map, np.uint8, chunk_bytes, offset)
            else:
                data = np.empty(chunk_bytes, np.uint8)
                self._read_into(offset, data)
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
                f"{self.path}: frames {first}-{last} of recording {info.name} do not match "
                "their checksum; the file is damaged, make it again with mpar-preprocess"
            )

    def _read_into(self, offset: int, out: np.ndarray) -> None:
        view = _bytes_of(out)
        try:
            while view:
                num_bytes = self._file.read_into(offset, view)
                if not num_bytes:
                    raise StoreError(_cut_short(self.path))
                offset, view = offset + num_bytes, view[num_bytes:]
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path}: cannot be read ({error})") from None

    def verify(self, on_frames: Callable[[int], object] = lambda num_frames: None) -> list[str]:
        """Check every byte that mpar uses, and that HDF5 readers see the same data.

        Returns
        -------
        list of str
            What is wrong; empty for a sound cache.
        """
        problems = []
        for number, info in enumerate(self.recordings):
            try:
                self.labels(number)
                self.codes(number)
                for start in range(0, info.num_frames, CHUNK_FRAMES):
                    stop = min(start + CHUNK_FRAMES, info.num_frames)
                    self._check_chunks(number, start, stop)
                    on_frames(stop - start)
            except StoreError as error:
                problems.append(str(error))
        return problems + self._compare_with_hdf5()

    def _compare_with_hdf5(self) -> list[str]:
        problems = []
        with h5py.File(self.path, "r", locking=False) as file:
            for number, (info, entry) in enumerate(
                zip(self.recordings, self._entries, strict=True)
            ):
                try:
                    group = file[f"recordings/{number:06d}"]
                    attrs = _read_attributes(group, group.attrs)
                    is_same = (
                        RecordingInfo.from_dict(attrs) == info
                        and group["frames"].shape == (info.num_frames, *self.frame_size)
                        and group["frames"].dtype == np.uint8
                        and _chunk_offsets(group["frames"].id)
                        == _end_to_end(entry["frames_offset"], info.num_frames, self.frame_size)
                        and all(
                            group[key].id.get_offset() == entry[f"{key}_offset"]
                            for key in ("labels", "codes", "chunk_hashes")
                        )
                    )
                except (OSError, KeyError, ValueError, TypeError, RuntimeError):
                    is_same = False
                if not is_same:
                    problems.append(
                        f"{self.path}: recording {info.name} is not the same in the index and in "
                        "the HDF5 tree; make it again with mpar-preprocess"
                    )
        return problems
