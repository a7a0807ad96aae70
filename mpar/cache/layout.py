"""The cache file: frames and labels of many recordings in one HDF5 file, and its layout.

Layout, format version 2::

    /                     attrs: format, format_version, generator, created_utc, class_names,
                                 class_map (json), config (json), index_hash
    /index                (bytes) uint8: json with all of the above and, for each recording,
                                 its attributes, byte offsets and checksums
    /recordings/000000/   attrs: name, video, group, fps ("30/1"), start_frame, num_frames,
                                 rate ("30/1"), num_steps, has_own_steps, video_num_frames,
                                 size_bytes, sha256, region, height, width, annotators, warnings
        frames            (T, H, W) uint8, chunks (16, H, W) or (T, H, W) if T < 16, no filter;
                                 the chunks lie end to end, from a multiple of 4096 bytes on
                                 (fewer than 4096 bytes in all: anywhere)
        labels            (T,) int8, class index, -1 = unlabelled
        codes             (A, T) int16, raw codes, one row per annotator, -1 = unlabelled
        times             (T,) float64, second of the video at which each frame is shown
        source_frame      (N,) int64, which of the T frames is shown in each step, increasing
        chunk_hashes      (ceil(T/16),) uint64, XXH3 of each chunk as stored

Version 3 is version 2 with squares that follow the animal (`mpar.video.following`)::

        squares           (T, S, S) uint8, in chunks as `frames`: what the network sees
        square_hashes     (ceil(T/16),) uint64, XXH3 of each of their chunks
        corners           (T, 2) int32, left and upper edge of each square in px of the video; -1
                                 where it is the whole region, since no animal was seen yet

mpar writes version 3 only if it follows. The side of the squares in the video is the option
`follow_size` in `config`; S is the shorter side of `size`.

The frames of all recordings come first in the file, in order, each followed by its squares, so
their lengths decide where they lie. Older files of version 2 have other data between them; readers
go by the offsets.

Frame i here is frame `start_frame` + i of the video. The network reads a recording in steps at the
rate of the cache. Usually a step is a frame. A video at another rate, or with lost frames, has N
steps, each with the frame nearest in time (`mpar.video.timeline.find_grid`).
Version 1 had no `times` and no `source_frame`; mpar still reads it.

Text in attributes is UTF-8 of fixed length: HDF5 keeps text of variable length in heaps that
have no checksum, and one flipped bit there can cause an endless search.

Anyone can read it with h5py. mpar itself reads only ``/index`` through HDF5 and everything
else at the offsets given there. It checks the checksum of each piece before its first use. So
links, external files, virtual data sets and filters in the rest of a file have no effect.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import h5py
import numpy as np
import xxhash

FORMAT = "mpar-cache"
FORMAT_VERSION = 2
FOLLOWING_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
CHUNK_FRAMES = 16
PAGE_BYTES = 4096
MAX_INDEX_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingInfo:
    """Attributes of a recording in the cache.

    Parameters
    ----------
    name : str
        Unique in the cache.
    video : str
        File name of the source video.
    group : str
        The animal.
    fps : Fraction
        Frames per second of the video, exact.
    start_frame, num_frames : int
        The stretch of the video that this recording covers.
    video_num_frames, size_bytes, sha256
        Decoded frame count, size and SHA-256 of the source video.
    annotators : tuple of str
        One per row of the codes.
    warnings : tuple of str
        Warnings from decoding.
    num_steps : int
        Number of steps in which the network reads it; 0 for one per frame.
    rate : Fraction, optional
        Steps per second; by default `fps`.
    has_own_steps : bool
        Whether steps differ from frames.
    region : str
        Part of the picture, as "x,y,width,height" in px; "" for the whole picture.
    height, width : int
        Size in px of what it shows of the video, its region or the whole picture; 0 if an older
        cache does not say.
    has_times : bool
        False if a cache of version 1 lacks the times of a video with an unsteady rate.
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
    num_steps: int = 0
    rate: Fraction | None = None
    has_own_steps: bool = False
    region: str = ""
    # older caches lack them, and are not made again for that
    height: int = dataclasses.field(default=0, compare=False)
    width: int = dataclasses.field(default=0, compare=False)
    has_times: bool = True

    def __post_init__(self) -> None:
        if not self.num_steps:
            object.__setattr__(self, "num_steps", self.num_frames)
        if self.rate is None:
            object.__setattr__(self, "rate", self.fps)

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for HDF5 attributes and JSON."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        assert self.rate is not None
        del data["has_times"]
        return data | {
            "fps": f"{self.fps.numerator}/{self.fps.denominator}",
            "rate": f"{self.rate.numerator}/{self.rate.denominator}",
            "has_own_steps": int(self.has_own_steps),
            "annotators": list(self.annotators),
            "warnings": list(self.warnings),
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
            rate=Fraction(data.get("rate", data["fps"])),
            num_steps=int(data.get("num_steps", 0)),
            has_own_steps=bool(data.get("has_own_steps", 0)),
            region=str(data.get("region", "")),
            height=int(data.get("height", 0)),
            width=int(data.get("width", 0)),
            has_times="num_steps" in data or bool(data.get("is_steady", 0)),
        )


_PLAIN_FIELDS = [
    field
    for field in dataclasses.fields(RecordingInfo)
    if field.name
    not in {
        *("fps", "rate", "num_steps", "has_own_steps", "region", "height", "width"),
        *("annotators", "warnings", "has_times"),
    }
]


_ARRAYS = ("labels", "codes", "chunk_hashes")
_TIME_ARRAYS = ("times", "source_frame")
_SQUARE_ARRAYS = ("square_hashes", "corners")


def arrays_of(version: int) -> tuple[str, ...]:
    """Return the data sets of a recording besides its films, in a version of the format."""
    times = () if version == 1 else _TIME_ARRAYS
    return (*_ARRAYS, *times, *(_SQUARE_ARRAYS if version == FOLLOWING_VERSION else ()))


def films_of(version: int) -> tuple[str, ...]:
    """Return the data sets of a recording that hold pictures."""
    return ("frames", "squares") if version == FOLLOWING_VERSION else ("frames",)


def places_of(version: int) -> tuple[str, ...]:
    """Return the index keys of each recording besides its attributes."""
    hashed = arrays_of(version)
    return tuple(f"{n}_offset" for n in (*films_of(version), *hashed)) + tuple(
        f"{n}_hash" for n in hashed
    )


def num_chunks(num_frames: int) -> int:
    """Return how many chunks hold `num_frames` frames."""
    return -(-num_frames // CHUNK_FRAMES)


def chunk_length(num_frames: int) -> int:
    """Return the number of frames per chunk: 16, or all if there are fewer."""
    return min(CHUNK_FRAMES, num_frames)


def stored_frames(num_frames: int) -> int:
    """Return how many frames the chunks of `num_frames` hold, including padding."""
    return num_chunks(num_frames) * chunk_length(num_frames)


def split_chunks(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield (H, W) frames in chunks as stored; the last one is padded with zero frames.

    Yields
    ------
    (16, H, W) or, if there are fewer frames in all, (T, H, W) uint8 array
        Overwritten by the next chunk.
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
    return xxhash.xxh3_64_intdigest(bytes_of(np.ascontiguousarray(array)))


def bytes_of(array: np.ndarray) -> memoryview:
    """View a contiguous array as bytes."""
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def set_attributes(target: h5py.Group, values: dict[str, Any]) -> None:
    """Write numbers, and text as UTF-8 of fixed length."""
    for key, value in values.items():
        if isinstance(value, (str, list)):
            texts = np.char.encode(np.array(value, np.str_), "utf-8", "surrogateescape")
            kind = h5py.string_dtype("utf-8", max(1, texts.dtype.itemsize))
            target.attrs.create(key, texts, dtype=kind)
        else:
            target.attrs[key] = value


def read_attributes(source: h5py.Group, keys: Iterable[str]) -> dict[str, Any]:
    """Read numbers and text of fixed length; ignore attributes of other types."""
    values = {}
    for key in keys:
        if key in source.attrs and source.attrs.get_id(key).dtype.kind in "iuS":
            value = np.asarray(source.attrs[key])
            if value.dtype.kind == "S":
                value = np.char.decode(value, "utf-8", "surrogateescape")
            values[key] = value.tolist()
    return values


def chunk_offsets(dataset: h5py.h5d.DatasetID) -> list[int]:
    """Return the byte offset of each chunk of a data set, in order of frames."""
    chunks: list[Any] = []
    dataset.chunk_iter(chunks.append)
    return [chunk.byte_offset for chunk in sorted(chunks, key=lambda chunk: chunk.chunk_offset)]


def end_to_end(first: int, num_frames: int, frame_size: tuple[int, ...]) -> list[int]:
    """Return the byte offsets of chunks that lie end to end from byte `first` on."""
    chunk_bytes = chunk_length(num_frames) * math.prod(frame_size)
    return [first + i * chunk_bytes for i in range(num_chunks(num_frames))]
