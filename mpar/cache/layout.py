"""The cache file: frames and labels of many recordings in one HDF5 file, and its layout.

Layout, format version 1::

    /                     attrs: format, format_version, generator, created_utc, class_names,
                                 class_map (json), config (json), index_hash
    /index                (bytes) uint8: json with all of the above and, for each recording,
                                 its attributes, byte offsets and checksums
    /recordings/000000/   attrs: name, video, group, fps ("30/1"), start_frame, num_frames,
                                 video_num_frames, size_bytes, sha256, annotators, warnings,
                                 is_steady (0: frames are not at i / fps, `mpar.video.timeline`)
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
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import h5py
import numpy as np
import xxhash

FORMAT = "mpar-cache"
FORMAT_VERSION = 1
CHUNK_FRAMES = 16
PAGE_BYTES = 4096
MAX_INDEX_BYTES = 1 << 28


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


# what the index says of each recording beside its attributes; frames have a checksum a chunk
PLACES = (
    *("frames_offset", "labels_offset", "codes_offset", "chunk_hashes_offset"),
    *("labels_hash", "codes_hash", "chunk_hashes_hash"),
)


def num_chunks(num_frames: int) -> int:
    """Return how many chunks hold `num_frames` frames."""
    return -(-num_frames // CHUNK_FRAMES)


def chunk_length(num_frames: int) -> int:
    """Return the frames of a chunk: 16, or all when there are fewer."""
    return min(CHUNK_FRAMES, num_frames)


def stored_frames(num_frames: int) -> int:
    """Return how many frames the chunks of `num_frames` take, the last one filled up."""
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
    """Read numbers and text of fixed length; whatever else an attribute holds is left alone."""
    values = {}
    for key in keys:
        if key in source.attrs and source.attrs.get_id(key).dtype.kind in "iuS":
            value = np.asarray(source.attrs[key])
            if value.dtype.kind == "S":
                value = np.char.decode(value, "utf-8", "surrogateescape")
            values[key] = value.tolist()
    return values


def chunk_offsets(dataset: h5py.h5d.DatasetID) -> list[int]:
    """Return where in the file each chunk of a data set begins, in order of frames."""
    chunks: list[Any] = []
    dataset.chunk_iter(chunks.append)
    return [chunk.byte_offset for chunk in sorted(chunks, key=lambda chunk: chunk.chunk_offset)]


def end_to_end(first: int, num_frames: int, frame_size: tuple[int, ...]) -> list[int]:
    """Return where chunks begin that lie end to end from byte `first` on."""
    chunk_bytes = chunk_length(num_frames) * math.prod(frame_size)
    return [first + i * chunk_bytes for i in range(num_chunks(num_frames))]
