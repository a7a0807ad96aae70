"""What is known of decoded videos, and the notes of it in the staging folder.

Frames go straight to their places in a file that becomes the cache, ``new.h5`` in the staging
folder. For each finished recording of a video, a note (``<sha256>_<how>.json``) says where its
frames lie, with their checksums. Without a note, mpar ignores the frames. So a killed process
leaves complete recordings, or nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mpar.cache.layout import hash_chunks, stored_frames
from mpar.system.files import write_json
from mpar.video.following import Following
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine

Size = tuple[int, int]
Regions = Sequence["Region | None"]  # None: the whole picture


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """Options for decoding videos to frames.

    Parameters
    ----------
    size : (height, width), optional
        Resize to this many px.
    stream : int, optional
        Index of the video stream; by default the one that players show.
    fps : Fraction, optional
        Frames per second of videos that do not state them.
    following : Following, optional
        The squares that follow the animals.
    """

    size: Size | None = None
    stream: int | None = None
    fps: Fraction | None = None
    following: Following | None = None


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Consecutive frames of a video, and where they lie in the new cache.

    Parameters
    ----------
    start_frame, num_frames : int
        The frames of the video.
    place : int
        Byte at which their chunks begin.
    chunk_hashes : tuple of int
        Checksums of the chunks; empty as long as the frames are not there.
    square_place : int
        Byte at which the chunks of their squares begin; 0 without squares.
    square_hashes : tuple of int
        Checksums of those.
    """

    start_frame: int
    num_frames: int
    place: int
    chunk_hashes: tuple[int, ...] = ()
    square_place: int = 0
    square_hashes: tuple[int, ...] = ()

    @property
    def span(self) -> tuple[int, int]:
        """First frame and number of frames."""
        return self.start_frame, self.num_frames


class Film(NamedTuple):
    """Pictures of a stretch in the new cache.

    Parameters
    ----------
    field : str
        The field of `FrameRun` with its place.
    place : int
        Byte at which its chunks begin.
    size : (int, int)
        Height and width in px.
    chunk_hashes : tuple of int
        Checksums of its chunks.
    """

    field: str
    place: int
    size: Size
    chunk_hashes: tuple[int, ...]

    def num_bytes(self, num_frames: int) -> int:
        """Return the size of so many frames as stored."""
        return stored_frames(num_frames) * math.prod(self.size)


@dataclass(frozen=True, slots=True)
class DecodedAnimal:
    """What is known of one animal in a decoded video.

    Parameters
    ----------
    line : TimeLine
        When each frame is shown.
    frame_size : (int, int)
        Height and width in px.
    warnings : tuple of str
        Warnings from decoding.
    stretches : tuple of FrameRun
        The frames that are in the new cache.
    in_old : tuple of int
        The recordings of the existing cache that hold all its frames, in order.
    square_px : int
        Side of the squares as stored; 0 without.
    corners : tuple of (int, int)
        Corner of the square of each frame of the video (`mpar.cache.layout`).
    """

    line: TimeLine
    frame_size: Size
    warnings: tuple[str, ...] = ()
    stretches: tuple[FrameRun, ...] = ()
    in_old: tuple[int, ...] = ()
    square_px: int = 0
    corners: tuple[tuple[int, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON, which keeps all digits of a float."""
        return {
            "line": self.line.to_dict(),
            "frame_size": self.frame_size,
            "warnings": self.warnings,
            "stretches": [
                [*s.span, s.place, s.chunk_hashes, s.square_place, s.square_hashes]
                for s in self.stretches
            ],
            "square_px": self.square_px,
            "corners": self.corners,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DecodedAnimal:
        """Rebuild from `to_dict`; raise ValueError or TypeError if the data is invalid."""
        height, width = map(int, data["frame_size"])
        stretches = [
            FrameRun(
                *(int(start), int(num_frames), int(place), tuple(map(int, hashes))),
                *(int(square_place), tuple(map(int, square_hashes))),
            )
            for start, num_frames, place, hashes, square_place, square_hashes in data["stretches"]
        ]
        line = TimeLine.from_dict(data["line"])
        corners = tuple((int(x), int(y)) for x, y in data["corners"])
        square_px = int(data["square_px"])
        if square_px and len(corners) != line.num_frames:
            raise ValueError(f"found {len(corners)} corners, expected {line.num_frames}")
        return cls(
            line,
            (height, width),
            tuple(map(str, data["warnings"])),
            tuple(stretches),
            square_px=square_px,
            corners=corners,
        )

    def films(self, stretch: FrameRun) -> list[Film]:
        """Return the films of a stretch: its frames and, if there are any, its squares."""
        films = [Film("place", stretch.place, self.frame_size, stretch.chunk_hashes)]
        if self.square_px:
            size = (self.square_px, self.square_px)
            films.append(Film("square_place", stretch.square_place, size, stretch.square_hashes))
        return films

    def fills(self, targets: Sequence[FrameRun]) -> bool:
        """Return True if the new cache holds the frames of the targets, wherever they lie."""
        return [stretch.span for stretch in self.stretches] == [target.span for target in targets]


Parts = dict[str, list[DecodedAnimal]]  # by SHA-256 of the video: one per source
# by SHA-256 of the video and number of the source: the stretches that the cache holds of it
Plan = dict[tuple[str, int], list[FrameRun]]


def new_cache(folder: Path) -> Path:
    """Return the path of the file in a staging folder that becomes the cache."""
    return folder / "new.h5"


def make_new_cache(folder: Path, plan: Plan, frame_size: Size, square_px: int = 0) -> int:
    """Make the file that becomes the cache, unless it is there; return its bytes on the disk.

    What lies behind the frames of the plan is cut off: no frames will ever replace it there.
    """
    ends = [
        place + stored_frames(target.num_frames) * num_bytes
        for targets in plan.values()
        for target in targets
        for place, num_bytes in (
            (target.place, math.prod(frame_size)),
            (target.square_place, square_px**2),
        )
    ]
    folder.mkdir(exist_ok=True)
    with new_cache(folder).open("ab") as file:
        file.truncate(min(file.tell(), max(ends, default=0)))
        status = os.fstat(file.fileno())
    # the file has holes where frames are missing, except on Windows
    return 512 * status.st_blocks if hasattr(status, "st_blocks") else status.st_size


def save_note(
    part: DecodedAnimal,
    sha256: str,
    folder: Path,
    options: DecodingOptions,
    region: Region | None = None,
) -> None:
    """Write down what was decoded, and where its frames lie."""
    # it is checked before use, so it need not survive a power failure
    write_json(_note_path(folder, sha256, options, region), part.to_dict(), durable=False)


def load_part(
    sha256: str, folder: Path, options: DecodingOptions, region: Region | None = None
) -> DecodedAnimal | None:
    """Return what an earlier run decoded, None if there is no note or the frames do not match."""
    try:
        note = json.loads(_note_path(folder, sha256, options, region).read_text(encoding="utf-8"))
        part = DecodedAnimal.from_dict(note)
        if any(
            not is_sound(film, stretch.num_frames, new_cache(folder))
            for stretch in part.stretches
            for film in part.films(stretch)
        ):
            return None
        if any(sum(stretch.span) > part.line.num_frames for stretch in part.stretches):
            return None
        return part
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError):
        return None


def is_sound(film: Film, num_frames: int, path: Path) -> bool:
    """Return True if the frames of a film match their checksums."""
    with path.open("rb") as file:
        file.seek(film.place)
        frames = _read_frames(file, num_frames, film.size)
        return hash_chunks(frames).tolist() == list(film.chunk_hashes)


def _read_frames(file: io.BufferedReader, num_frames: int, size: Size) -> Iterator[np.ndarray]:
    """Yield frames from a file; a memory map would fill the memory."""
    for _ in range(num_frames):
        data = file.read(math.prod(size))
        yield np.frombuffer(data, np.uint8).reshape(size)


def remove_note(
    sha256: str, folder: Path, options: DecodingOptions, region: Region | None = None
) -> None:
    """Forget what was decoded."""
    _note_path(folder, sha256, options, region).unlink(missing_ok=True)


def _note_path(folder: Path, sha256: str, options: DecodingOptions, region: Region | None) -> Path:
    parts = [sha256, "x".join(map(str, options.size)) if options.size else "native"]
    if options.stream is not None:
        parts.append(f"stream{options.stream}")
    if options.fps is not None:
        parts.append(f"{options.fps.numerator}-{options.fps.denominator}fps")
    if options.following is not None:
        parts.append(f"follow{options.following.side}")
    if region is not None:
        parts.append(str(region).replace(",", "-"))
    return folder / f"{'_'.join(parts)}.json"


def remove_staging(folder: Path) -> None:
    """Remove everything that mpar wrote into a staging folder, and the folder if it is then empty.

    That includes the frames (``.raw``) of older versions.
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.suffix in {".raw", ".json"} or path == new_cache(folder):
            # Windows cannot remove an open file, such as one on which decoding hangs
            with contextlib.suppress(PermissionError):
                path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()
