"""Decoded videos on the disk, between the video files and the cache.

A staged video is two files: ``<sha256>_<size>.raw``, its grey frames end to end, and a small
json with its shape, times and checksums, written last: without it the raw file counts for nothing.
No HDF5 here: a killed process or a full disk leaves either a whole part or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mpar.cache.layout import hash_bytes, hash_chunks, num_chunks, split_chunks
from mpar.system.files import atomic_path, write_json
from mpar.video.videos import Decoding, squeeze_of

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DecodedVideo:
    """A video's frames with what is known of it.

    Parameters
    ----------
    frames : (T, H, W) uint8 array
        Usually memory-mapped. From `count_frames` only the shapes mean anything.
    fps : Fraction
        Frames per second.
    warnings : tuple of str
        From decoding.
    chunk_hashes : (ceil(T / 16),) uint64 array
        Of the frames, taken when they were decoded.
    times : (T,) float64 array, optional
        When each frame is shown, if not at i / fps (`mpar.video.timeline`).
    is_rate_guessed : bool
        The file states no rate; `fps` is what players assume.
    """

    frames: np.ndarray
    fps: Fraction
    warnings: tuple[str, ...]
    chunk_hashes: np.ndarray
    times: np.ndarray | None = None
    is_rate_guessed: bool = False


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of a video besides its frames; as in `DecodedVideo`."""

    fps: Fraction
    warnings: tuple[str, ...]
    times: np.ndarray | None
    is_rate_guessed: bool

    @classmethod
    def of(cls, decoding: Decoding, size: Size | None) -> _Facts:
        """Take them from a decoding that is at its end."""
        info, line = decoding.info, decoding.line
        squeeze = squeeze_of((info.height, info.width), size) if size else ""
        return cls(
            info.fps if line.fps is None else line.fps,
            (*decoding.warnings, *([squeeze] if squeeze else [])),
            line.times,
            info.is_rate_guessed,
        )

    def video(self, frames: np.ndarray, chunk_hashes: np.ndarray) -> DecodedVideo:
        """Return them with (T, H, W) frames and their checksums."""
        return DecodedVideo(
            frames, self.fps, self.warnings, chunk_hashes, self.times, self.is_rate_guessed
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON; a float keeps all its digits there."""
        return {
            "fps": str(self.fps),
            "warnings": self.warnings,
            "times": None if self.times is None else self.times.tolist(),
            "is_rate_guessed": self.is_rate_guessed,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], num_frames: int) -> _Facts:
        """Rebuild from `to_dict`; ValueError unless there are as many times as frames."""
        times = data["times"]
        if times is not None:
            times = np.array(times, np.float64).reshape(num_frames)
        return cls(Fraction(data["fps"]), tuple(data["warnings"]), times, data["is_rate_guessed"])


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
    *,
    size: Size | None,
    threads: int,
    on_frames: Callable[[int], object],
    stream: int | None = None,
) -> DecodedVideo:
    """Decode a video and keep nothing but its shape. Raises InputError as `Decoding` does."""
    decoding = Decoding(path, size=size, threads=threads, stream=stream)
    num_frames, shape = 0, (0, 0)
    for frame in decoding:
        num_frames, shape = num_frames + 1, frame.shape
        on_frames(1)
    return blank_video((num_frames, *shape), _Facts.of(decoding, size))


def pack_blank(video: DecodedVideo) -> tuple[tuple[int, ...], _Facts]:
    """Return what `blank_video` rebuilds a video without frames from; small."""
    facts = _Facts(video.fps, video.warnings, video.times, video.is_rate_guessed)
    return video.frames.shape, facts


def blank_video(shape: tuple[int, ...], facts: _Facts) -> DecodedVideo:
    """Return a video of (T, H, W) frames of which only the shapes mean anything."""
    frames = np.broadcast_to(np.uint8(0), shape)  # takes no memory
    return facts.video(frames, np.zeros(num_chunks(shape[0]), np.uint64))


def stage_video(
    path: Path,
    sha256: str,
    folder: Path,
    *,
    size: Size | None,
    threads: int,
    on_frames: Callable[[int], object],
    stream: int | None = None,
) -> DecodedVideo:
    """Decode a video into the staging folder.

    Parameters
    ----------
    path : Path
        The video.
    sha256 : str
        Of the video file; names the part.
    folder : Path
        Made if it is missing.
    size : (height, width), optional
        Resize to this many px.
    threads : int
        Threads that resize, 0 for one a processor core.
    on_frames : callable
        Called with the number of frames decoded since the last call; may raise to stop.
    stream : int, optional
        Index of the video stream; by default the one that players show.

    Raises
    ------
    InputError
        The video cannot be decoded.
    """
    decoding = Decoding(path, size=size, threads=threads, stream=stream)
    raw_path = _part_path(folder, sha256, size, stream, "raw")
    return _write_part(_counted(decoding, on_frames), raw_path, lambda: _Facts.of(decoding, size))


def _counted(
    frames: Iterable[np.ndarray], on_frames: Callable[[int], object]
) -> Iterator[np.ndarray]:
    for frame in frames:
        on_frames(1)
        yield frame


def stage_pieces(
    pieces: Sequence[np.ndarray],
    sha256: str,
    folder: Path,
    *,
    size: Size | None,
    fps: Fraction,
    warnings: Sequence[str],
    stream: int | None = None,
    is_rate_guessed: bool = False,
) -> DecodedVideo:
    """Put the consecutive (T, H, W) pieces of a decoded video together in the staging folder."""
    facts = _Facts(fps, tuple(warnings), None, is_rate_guessed)
    raw_path = _part_path(folder, sha256, size, stream, "raw")
    return _write_part(chain.from_iterable(pieces), raw_path, lambda: facts)


def _write_part(
    frames: Iterable[np.ndarray], raw_path: Path, find_facts: Callable[[], _Facts]
) -> DecodedVideo:
    """Write a part; what is known of the video is asked for when all frames are there."""
    num_frames = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal num_frames
        for frame in frames:
            num_frames += 1
            yield frame

    hashes = []
    # a part is checked before it is used, so it need not survive a power failure
    with atomic_path(raw_path, durable=False) as temporary, temporary.open("wb") as file:
        for chunk in split_chunks(counted()):
            hashes.append(hash_bytes(chunk))
            file.write(memoryview(chunk))  # type: ignore[arg-type]
            frame_size = chunk.shape[1:]
        file.truncate(num_frames * math.prod(frame_size))  # without what filled the last chunk
    shape = (num_frames, *frame_size)
    facts = find_facts()
    write_json(
        raw_path.with_suffix(".json"),
        {"shape": shape, "chunk_hashes": hashes, **facts.to_dict()},
        durable=False,
    )
    staged = np.memmap(raw_path, np.uint8, "r", shape=shape)
    return facts.video(staged, np.array(hashes, np.uint64))


def load_part(
    sha256: str, folder: Path, *, size: Size | None, stream: int | None = None
) -> DecodedVideo | None:
    """Return what an earlier run staged, or None if it is missing, incomplete or damaged."""
    raw_path = _part_path(folder, sha256, size, stream, "raw")
    try:
        part = json.loads(raw_path.with_suffix(".json").read_text(encoding="utf-8"))
        num_frames, height, width = map(int, part["shape"])
        if raw_path.stat().st_size != math.prod((num_frames, height, width)):
            return None
        hashes = hash_chunks(_read_raw(raw_path, (height, width)))
        if hashes.tolist() != part["chunk_hashes"]:
            return None
        frames = np.memmap(raw_path, np.uint8, "r", shape=(num_frames, height, width))
        return _Facts.from_dict(part, num_frames).video(frames, hashes)
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
        return None


def _read_raw(path: Path, size: Size) -> Iterator[np.ndarray]:
    """Yield the frames of a raw file; a map of it would fill the memory as it is read."""
    with path.open("rb") as file:
        while data := file.read(math.prod(size)):
            yield np.frombuffer(data, np.uint8).reshape(size)


def _part_path(
    folder: Path, sha256: str, size: Size | None, stream: int | None, suffix: str
) -> Path:
    what = "x".join(map(str, size)) if size else "native"
    return folder / f"{sha256}_{what}{'' if stream is None else f'_{stream}'}.{suffix}"


def remove_parts(folder: Path) -> None:
    """Remove all parts, and the folder if nothing else lies in it."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.suffix in {".raw", ".json"}:
            # Windows removes no file that is open, as one is on which decoding hangs
            with contextlib.suppress(PermissionError):
                path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
