"""Decoded videos on the disk, between the video files and the cache.

A staged video is two files: ``<sha256>_<size>.raw``, its grey frames end to end, and a small
json with its shape and checksums, written last: without it the raw file counts for nothing.
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

import numpy as np

from mpar.files import atomic_path, write_json
from mpar.store import hash_bytes, hash_chunks, num_chunks, split_chunks
from mpar.videos import probe_video, read_frames

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
    """

    frames: np.ndarray
    fps: Fraction
    warnings: tuple[str, ...]
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
    path: Path, *, size: Size | None, threads: int, on_frames: Callable[[int], object]
) -> DecodedVideo:
    """Decode a video and keep nothing but its shape. Raises InputError as `read_frames` does."""
    warnings: list[str] = []
    fps = probe_video(path).fps
    num_frames, shape = 0, (0, 0)
    for frame in read_frames(path, size=size, threads=threads, warnings=warnings):
        num_frames, shape = num_frames + 1, frame.shape
        on_frames(1)
    return blank_video((num_frames, *shape), fps, tuple(warnings))


def blank_video(shape: tuple[int, ...], fps: Fraction, warnings: tuple[str, ...]) -> DecodedVideo:
    """Return a video of (T, H, W) frames of which only the shapes mean anything."""
    frames = np.broadcast_to(np.uint8(0), shape)  # takes no memory
    return DecodedVideo(frames, fps, warnings, np.zeros(num_chunks(shape[0]), np.uint64))


def stage_video(
    path: Path,
    sha256: str,
    folder: Path,
    *,
    size: Size | None,
    threads: int,
    on_frames: Callable[[int], object],
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
        Decoder threads, 0 for automatic.
    on_frames : callable
        Called with the number of frames decoded since the last call; may raise to stop.

    Raises
    ------
    InputError
        The video cannot be decoded.
    """
    warnings: list[str] = []
    fps = probe_video(path).fps
    frames = read_frames(path, size=size, threads=threads, warnings=warnings)
    return _write_part(_counted(frames, on_frames), sha256, folder, size, fps, warnings)


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
) -> DecodedVideo:
    """Put the consecutive (T, H, W) pieces of a decoded video together in the staging folder."""
    frames = chain.from_iterable(pieces)
    return _write_part(frames, sha256, folder, size, fps, list(warnings))


def _write_part(
    frames: Iterable[np.ndarray],
    sha256: str,
    folder: Path,
    size: Size | None,
    fps: Fraction,
    warnings: list[str],
) -> DecodedVideo:
    raw_path = _part_path(folder, sha256, size, "raw")
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
    write_json(
        _part_path(folder, sha256, size, "json"),
        {"shape": shape, "fps": str(fps), "warnings": warnings, "chunk_hashes": hashes},
        durable=False,
    )
    staged = np.memmap(raw_path, np.uint8, "r", shape=shape)
    return DecodedVideo(staged, fps, tuple(warnings), np.array(hashes, np.uint64))


def load_part(sha256: str, folder: Path, *, size: Size | None) -> DecodedVideo | None:
    """Return what an earlier run staged, or None if it is missing, incomplete or damaged."""
    raw_path = _part_path(folder, sha256, size, "raw")
    try:
        part = json.loads(_part_path(folder, sha256, size, "json").read_text(encoding="utf-8"))
        num_frames, height, width = map(int, part["shape"])
        if raw_path.stat().st_size != math.prod((num_frames, height, width)):
            return None
        hashes = hash_chunks(_read_raw(raw_path, (height, width)))
        if hashes.tolist() != part["chunk_hashes"]:
            return None
        frames = np.memmap(raw_path, np.uint8, "r", shape=(num_frames, height, width))
        return DecodedVideo(frames, Fraction(part["fps"]), tuple(part["warnings"]), hashes)
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
        return None


def _read_raw(path: Path, size: Size) -> Iterator[np.ndarray]:
    """Yield the frames of a raw file; a map of it would fill the memory as it is read."""
    with path.open("rb") as file:
        while data := file.read(math.prod(size)):
            yield np.frombuffer(data, np.uint8).reshape(size)


def _part_path(folder: Path, sha256: str, size: Size | None, suffix: str) -> Path:
    return folder / f"{sha256}_{'x'.join(map(str, size)) if size else 'native'}.{suffix}"


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
