"""Decode videos straight into the file that becomes the cache (`mpar.cache.notes`)."""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from mpar.cache.layout import CHUNK_FRAMES, bytes_of
from mpar.cache.notes import DecodedAnimal, DecodingOptions, FrameRun, Regions, save_note
from mpar.cache.writer import write_all
from mpar.video.following import SquarePath, find_warnings
from mpar.video.videos import Decoding, squeeze_of

_BUFFER_BYTES = 1 << 17
_FLUSHED_BYTES = 1 << 24
_MOVED_BYTES = 1 << 22
_SQUARE_ADVICE = (
    "look at --preview: if it is cut off, pass a larger --follow-size; if something else moves, "
    "leave it out with --regions"
)
_TRACK_ADVICE = "pass a larger --follow-size or fewer --track-points"
_HELD_ADVICE = "track the video again, or pass other --track-points"


def make_part(decoding: Decoding, number: int, options: DecodingOptions) -> DecodedAnimal:
    """Return what a completed decoding found in a region, given by its number."""
    info, line, region = decoding.info, decoding.line, decoding.regions[number]
    if line.is_guess and options.fps is not None:
        line = replace(line, fps=options.fps, is_guess=False)
    shown = (info.height, info.width) if region is None else (region.height, region.width)
    squeeze = squeeze_of(shown, options.size) if options.size else ""
    squares, following = decoding.squares[number], options.following
    advice = _SQUARE_ADVICE if region is None or region.track is None else _TRACK_ADVICE
    warnings = (
        *decoding.warnings,
        *([squeeze] if squeeze else []),
        *find_warnings(squares, advice, _HELD_ADVICE),
    )
    path = SquarePath.of(squares, following.side, region) if following else None
    return DecodedAnimal(
        line,
        options.size or shown,
        warnings,
        square_px=following.size if following else 0,
        corners=tuple((x, y) for x, y in path.corners.tolist()) if path else (),
    )


class FrameWriter:
    """Takes all frames of a video in order, and writes some to their places in a file.

    Parameters
    ----------
    path : Path
        The file, which exists.
    targets : sequence of FrameRun
        The stretches to fill, in the order of the video. If the video is too short for them, so is
        the last one that is filled.
    """

    def __init__(self, path: Path, targets: Sequence[FrameRun]) -> None:
        # large frames pass the buffer by
        self._file = io.BufferedWriter(path.open("r+b", buffering=0), _BUFFER_BYTES)
        self._targets, self._done = targets, list[FrameRun]()
        self._num_seen = self._filled = 0  # frames of the video, and of the current stretch
        self._hash, self._hashes = xxhash.xxh3_64(), list[int]()
        self._shape: tuple[int, ...] = ()
        self._begun = self._flushed = 0

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self.abandon()
        self._file.close()

    def abandon(self) -> None:
        """Close the file, and never write to it again, not even what is buffered.

        Others may have the same places by now, and the file may be a cache that is in use.
        """
        self._file.raw.close()

    def add(self, frames: np.ndarray) -> None:
        """Write the next (T, H, W) frames."""
        while len(frames) and len(self._done) < len(self._targets):
            target = self._targets[len(self._done)]
            num_before = target.start_frame - self._num_seen
            if num_before > 0:
                self._num_seen += min(num_before, len(frames))
                frames = frames[num_before:]
                continue
            if not self._filled:
                self._file.seek(target.place)
                self._begun = self._flushed = target.place
            room = CHUNK_FRAMES - self._filled % CHUNK_FRAMES
            taken = frames[: min(room, target.num_frames - self._filled)]
            data = bytes_of(np.ascontiguousarray(taken))
            self._file.write(data)
            self._hash.update(data)
            self._shape = taken.shape[1:]
            self._num_seen += len(taken)
            self._filled += len(taken)
            if self._filled % CHUNK_FRAMES == 0:
                self._end_chunk()
            if self._filled == target.num_frames:
                self._end_stretch()
            frames = frames[len(taken) :]

    def _end_chunk(self) -> None:
        self._hashes.append(self._hash.intdigest())
        self._hash.reset()
        written = self._begun + self._filled * math.prod(self._shape)
        if hasattr(os, "posix_fadvise") and written - self._flushed >= _FLUSHED_BYTES:
            # Linux begins to write to the disk now, so there is less to wait for at the end
            size = written - self._flushed
            os.posix_fadvise(self._file.fileno(), self._flushed, size, os.POSIX_FADV_DONTNEED)
            self._flushed = written

    def _end_stretch(self) -> None:
        num_missing = -self._filled % CHUNK_FRAMES
        if num_missing:  # the last chunk is padded, unless it is the only one
            if self._filled > CHUNK_FRAMES:
                padding = bytes(num_missing * math.prod(self._shape))
                self._file.write(padding)
                self._hash.update(padding)
            self._end_chunk()
        target = self._targets[len(self._done)]
        hashes = tuple(self._hashes)
        self._done.append(replace(target, num_frames=self._filled, chunk_hashes=hashes))
        self._filled = 0
        self._hashes.clear()

    def end(self) -> tuple[FrameRun, ...]:
        """Complete the last stretch; return all of them, as far as there were frames."""
        if self._filled:
            self._end_stretch()
        self._file.flush()
        return tuple(self._done)


class ViewWriter:
    """Takes all views of a region in order, and writes its frames and squares to their places.

    Parameters
    ----------
    path : Path
        The file, which exists.
    targets : sequence of FrameRun
        As for `FrameWriter`.
    """

    def __init__(self, path: Path, targets: Sequence[FrameRun]) -> None:
        self._frames = FrameWriter(path, targets)
        squares = [replace(t, place=t.square_place) for t in targets if t.square_place]
        self._squares = FrameWriter(path, squares) if squares else None

    def __enter__(self) -> ViewWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        for writer in self._writers:
            writer.__exit__(*error)

    @property
    def _writers(self) -> list[FrameWriter]:
        return [self._frames, *([self._squares] if self._squares else [])]

    def abandon(self) -> None:
        """Close the file, as `FrameWriter.abandon`."""
        for writer in self._writers:
            writer.abandon()

    def add(self, frames: np.ndarray, squares: np.ndarray) -> None:
        """Write the next (T, H, W) frames and, if they have places, (T, h, w) squares."""
        self._frames.add(frames)
        if self._squares:
            self._squares.add(squares)

    def end(self) -> tuple[FrameRun, ...]:
        """Complete the last stretch, as `FrameWriter.end`."""
        done = self._frames.end()
        if not self._squares:
            return done
        return tuple(
            replace(run, square_place=squares.place, square_hashes=squares.chunk_hashes)
            for run, squares in zip(done, self._squares.end(), strict=True)
        )


def stage_video(
    path: Path,
    sha256: str,
    folder: Path,
    options: DecodingOptions,
    regions: Regions,
    writers: Sequence[ViewWriter],
    *,
    threads: int,
    on_frames: Callable[[int], object],
) -> list[DecodedAnimal]:
    """Decode a video into the new cache, once for all its regions.

    Parameters
    ----------
    path : Path
        The video.
    sha256 : str
        Checksum of the video file; part of the names of the notes.
    folder : Path
        The staging folder.
    options : DecodingOptions
        Options for decoding.
    regions : sequence of (Region or None)
        Regions to cut out, None for the whole picture.
    writers : sequence of ViewWriter
        Where the frames of each region go; closed at the end.
    threads : int
        Threads that resize, 0 for one per processor core.
    on_frames : callable
        Called with the number of frames decoded since the last call; may raise to stop.

    Returns
    -------
    list of DecodedAnimal
        One per region.

    Raises
    ------
    InputError
        The video cannot be decoded, or a region extends beyond its picture.
    """
    decoding = _open(path, options, regions, threads)
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        for views in decoding.views():
            on_frames(1)  # first: it raises if nobody waits for these frames any more
            for writer, view in zip(writers, views, strict=True):
                writer.add(view.picture[None], view.seen[None])
        parts = [
            replace(make_part(decoding, number, options), stretches=writer.end())
            for number, writer in enumerate(writers)
        ]
    for part, region in zip(parts, regions, strict=True):
        save_note(part, sha256, folder, options, region)
    return parts


def count_frames(
    path: Path,
    options: DecodingOptions,
    regions: Regions = (None,),
    *,
    threads: int,
    on_frames: Callable[[int], object],
) -> list[DecodedAnimal]:
    """Decode a video as `stage_video` does, without storing its frames."""
    decoding = _open(path, options, regions, threads)
    for _ in decoding.views():
        on_frames(1)
    return [make_part(decoding, number, options) for number in range(len(regions))]


def _open(path: Path, options: DecodingOptions, regions: Regions, threads: int) -> Decoding:
    return Decoding(
        path,
        size=options.size,
        threads=threads,
        stream=options.stream,
        regions=regions,
        following=options.following,
    )


def move_frames(path: Path, old: int, new: int, num_bytes: int) -> None:
    """Move a block of bytes within a file, also to a place that overlaps with its old one."""
    steps = range(0, num_bytes, _MOVED_BYTES)
    with path.open("r+b", buffering=0) as file:
        for step in steps if new < old else reversed(steps):
            block = np.empty(min(_MOVED_BYTES, num_bytes - step), np.uint8)
            file.seek(old + step)
            if file.readinto(block.data) != len(block):
                raise OSError(errno.EIO, "ends too early", str(path))
            file.seek(new + step)
            write_all(file, block)
