"""Decoded videos on the disk, between the video files and the cache.

A staged recording has two files: ``<sha256>_<how>.raw``, its grey frames end to end, and a small
json with its shape, times and checksums. The json is written last; without it, mpar ignores the raw
file. Without HDF5, a killed process or a full disk leaves either a complete part or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from mpar.cache.layout import CHUNK_FRAMES, bytes_of, hash_chunks, num_chunks
from mpar.system.files import write_json
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine
from mpar.video.videos import Decoding, squeeze_of

Size = tuple[int, int]
Regions = Sequence["Region | None"]  # None: the whole picture


@dataclass(frozen=True, slots=True)
class Making:
    """Options for decoding videos to frames.

    Parameters
    ----------
    size : (height, width), optional
        Resize to this many px.
    stream : int, optional
        Index of the video stream; by default the one that players show.
    fps : Fraction, optional
        Frames per second of videos that do not state them.
    """

    size: Size | None = None
    stream: int | None = None
    fps: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Properties of a decoded recording besides its frames.

    Parameters
    ----------
    line : TimeLine
        When each frame is shown.
    warnings : tuple of str
        Warnings from decoding.
    """

    line: TimeLine
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, decoding: Decoding, region: Region | None, making: Making) -> Facts:
        """Make the facts from a completed decoding."""
        info, line = decoding.info, decoding.line
        if line.is_guess and making.fps is not None:
            line = replace(line, fps=making.fps, is_guess=False)
        shown = (info.height, info.width) if region is None else (region.height, region.width)
        squeeze = squeeze_of(shown, making.size) if making.size else ""
        return cls(line, (*decoding.warnings, *([squeeze] if squeeze else [])))

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON, which keeps all digits of a float."""
        return {"line": self.line.to_dict(), "warnings": self.warnings}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Facts:
        """Rebuild from `to_dict`; raise ValueError if the data is invalid."""
        return cls(TimeLine.from_dict(data["line"]), tuple(data["warnings"]))


@dataclass(frozen=True, slots=True)
class Decoded:
    """The frames and properties of a recording.

    Parameters
    ----------
    frames : (T, H, W) uint8 array
        Usually memory-mapped. From `count_frames`, only the shape is meaningful.
    facts : Facts
        Its properties.
    chunk_hashes : (ceil(T / 16),) uint64 array
        Checksums of the frames, computed during decoding.
    """

    frames: np.ndarray
    facts: Facts
    chunk_hashes: np.ndarray


def sha256_of(path: Path, on_block: Callable[[], object] = lambda: None) -> str:
    """Return the SHA-256 of a file, in hexadecimal; `on_block` is called for every MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            on_block()
    return digest.hexdigest()


def count_frames(
    path: Path,
    making: Making,
    regions: Regions = (None,),
    *,
    threads: int,
    on_frames: Callable[[int], object],
) -> list[Decoded]:
    """Decode a video and return only the shapes, one per region.

    Raises InputError as `Decoding` does.
    """
    decoding = Decoding(
        path, size=making.size, threads=threads, stream=making.stream, regions=regions
    )
    shapes: list[tuple[int, ...]] = []
    for pictures in decoding.pictures():
        shapes = [picture.shape for picture in pictures]
        on_frames(1)
    return [
        blank(shape, Facts.of(decoding, region, making))
        for shape, region in zip(shapes, regions, strict=True)
    ]


def blank(shape: tuple[int, ...], facts: Facts) -> Decoded:
    """Return a recording without real frames, for its shape only; `shape` is (H, W) px."""
    num_frames = facts.line.num_frames
    frames = np.broadcast_to(np.uint8(0), (num_frames, *shape))  # uses no memory
    return Decoded(frames, facts, np.zeros(num_chunks(num_frames), np.uint64))


def stage_video(
    path: Path,
    sha256: str,
    folder: Path,
    making: Making,
    regions: Regions = (None,),
    *,
    threads: int,
    on_frames: Callable[[int], object],
) -> list[Decoded]:
    """Decode a video into the staging folder, once for all its regions.

    Parameters
    ----------
    path : Path
        The video.
    sha256 : str
        Checksum of the video file; part of the file names.
    folder : Path
        Created if it does not exist.
    making : Making
        Options for decoding.
    regions : sequence of (Region or None)
        Regions to cut out, None for the whole picture.
    threads : int
        Threads that resize, 0 for one per processor core.
    on_frames : callable
        Called with the number of frames decoded since the last call; may raise to stop.

    Returns
    -------
    list of Decoded
        One per region.

    Raises
    ------
    InputError
        The video cannot be decoded, or a region extends beyond its picture.
    """
    decoding = Decoding(
        path, size=making.size, threads=threads, stream=making.stream, regions=regions
    )
    raw_paths = [_part_path(folder, sha256, making, region) for region in regions]
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(_PartFile(raw_path)) for raw_path in raw_paths]
        for pictures in decoding.pictures():
            for part, picture in zip(parts, pictures, strict=True):
                part.add(picture)
            on_frames(1)
        return [
            part.publish(Facts.of(decoding, region, making))
            for part, region in zip(parts, regions, strict=True)
        ]


def stage_pieces(
    pieces: Sequence[np.ndarray],
    sha256: str,
    folder: Path,
    making: Making,
    region: Region | None,
    facts: Facts,
) -> Decoded:
    """Join the consecutive (T, H, W) pieces of a recording in the staging folder."""
    with _PartFile(_part_path(folder, sha256, making, region)) as part:
        for piece in pieces:
            for frame in piece:
                part.add(frame)
        return part.publish(facts)


class _PartFile:
    """A part while it is written; it is removed unless it is published."""

    def __init__(self, raw_path: Path) -> None:
        self._raw_path = raw_path
        self._path = raw_path.with_suffix(".whole.raw")
        raw_path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb", buffering=1 << 20)
        self._shape: tuple[int, ...] = ()
        self._num_frames = 0
        self._hash = xxhash.xxh3_64()
        self._hashes: list[int] = []

    def __enter__(self) -> _PartFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def add(self, frame: np.ndarray) -> None:
        """Write an (H, W) frame."""
        data = bytes_of(np.ascontiguousarray(frame))
        self._file.write(data)
        self._hash.update(data)
        self._shape = frame.shape
        self._num_frames += 1
        if self._num_frames % CHUNK_FRAMES == 0:
            self._end_chunk()

    def _end_chunk(self) -> None:
        self._hashes.append(self._hash.intdigest())
        self._hash.reset()

    def publish(self, facts: Facts) -> Decoded:
        """Complete the part and move it into place."""
        num_missing = -self._num_frames % CHUNK_FRAMES
        if num_missing:  # the last chunk is padded, unless it is the only one
            if self._num_frames > CHUNK_FRAMES:
                self._hash.update(bytes(num_missing * math.prod(self._shape)))
            self._end_chunk()
        self._file.close()
        raw_path = self._raw_path
        self._path.replace(raw_path)
        shape = (self._num_frames, *self._shape)
        # parts are checked before use, so they need not survive a power failure
        write_json(
            raw_path.with_suffix(".json"),
            {"shape": shape, "chunk_hashes": self._hashes, **facts.to_dict()},
            durable=False,
        )
        staged = np.memmap(raw_path, np.uint8, "r", shape=shape)
        return Decoded(staged, facts, np.array(self._hashes, np.uint64))


def load_part(
    sha256: str, folder: Path, making: Making, region: Region | None = None
) -> Decoded | None:
    """Return a part of an earlier run, None if it is missing, incomplete or damaged."""
    raw_path = _part_path(folder, sha256, making, region)
    try:
        part = json.loads(raw_path.with_suffix(".json").read_text(encoding="utf-8"))
        num_frames, height, width = map(int, part["shape"])
        if raw_path.stat().st_size != math.prod((num_frames, height, width)):
            return None
        hashes = hash_chunks(_read_raw(raw_path, (height, width)))
        facts = Facts.from_dict(part)
        if hashes.tolist() != part["chunk_hashes"] or facts.line.num_frames != num_frames:
            return None
        frames = np.memmap(raw_path, np.uint8, "r", shape=(num_frames, height, width))
        return Decoded(frames, facts, hashes)
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
        return None


def _read_raw(path: Path, size: Size) -> Iterator[np.ndarray]:
    """Yield the frames of a raw file; a memory map would fill the memory."""
    with path.open("rb") as file:
        while data := file.read(math.prod(size)):
            yield np.frombuffer(data, np.uint8).reshape(size)


def _part_path(folder: Path, sha256: str, making: Making, region: Region | None) -> Path:
    parts = [sha256, "x".join(map(str, making.size)) if making.size else "native"]
    if making.stream is not None:
        parts.append(f"stream{making.stream}")
    if making.fps is not None:
        parts.append(f"{making.fps.numerator}-{making.fps.denominator}fps")
    if region is not None:
        parts.append(str(region).replace(",", "-"))
    return folder / f"{'_'.join(parts)}.raw"


def remove_parts(folder: Path) -> None:
    """Remove all parts, and the folder if it is then empty."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.suffix in {".raw", ".json"}:
            # Windows cannot remove an open file, such as one on which decoding hangs
            with contextlib.suppress(PermissionError):
                path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
