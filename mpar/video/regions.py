"""Regions: the part of a picture in which one animal lives."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mpar.errors import ConfigError, InputError

LENGTH_PERCENTILE = 75  # of the frames of a video; in others an animal is curled up, or still
_MOST_OUTSIDE = 0.5  # of the frames of a track, beyond which it is of another video
_HELD_PERCENTILE = 95  # of the frames; beyond are key points that were mistaken


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Where key points show one animal of a video.

    Parameters
    ----------
    path : Path
        The file that holds them.
    middle : (T, 2) float32 array
        Middle of its key points in px of the picture, x and y; NaN where none was found.
    half_extent : (T, 2) float32 array
        Half the distance between the outermost ones, across and down.
    is_sparse : bool
        The file lists only frames in which something was found, so the video may be longer.
    points : tuple of str
        Names of its key points.
    """

    path: Path
    middle: np.ndarray
    half_extent: np.ndarray
    is_sparse: bool = False
    points: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A hash of where the animal is."""
        places = self.middle.tobytes() + self.half_extent.tobytes()
        return hashlib.sha256(places).hexdigest()[:16]

    def extents(self) -> np.ndarray:
        """Return the larger extent in px of each frame with a key point, (n,)."""
        extents: np.ndarray = 2 * self.half_extent.max(axis=1)
        return extents[~np.isnan(extents)]

    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """Return middle and half extent of all frames: those without any are as the one before.

        The first ones are as the first with a key point; of a track without any, nothing is left.
        """
        known = np.flatnonzero(~np.isnan(self.middle[:, 0]))
        frames = np.arange(len(self.middle) if len(known) else 0)
        at = known[np.maximum(np.searchsorted(known, frames, "right") - 1, 0)]
        return self.middle[at].astype(float), self.half_extent[at].astype(float)


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of the upright picture.

    Parameters
    ----------
    animal : str
        Name of the animal in it; may be empty if the video has one region.
    x, y : int
        Its left and upper edge in px, from those of the picture.
    width, height : int
        In px.
    track : Track, optional
        The path of the animal, known from key points; the region is then the whole picture, and
        other animals may be in it.
    """

    animal: str
    x: int
    y: int
    width: int
    height: int
    track: Track | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        text = f"{self.x},{self.y},{self.width},{self.height}"
        return text if self.track is None else f"{text},{self.animal}"

    @classmethod
    def parse(cls, text: str, animal: str = "") -> Region:
        """Rebuild a region from its text; raise ConfigError if the text is invalid."""
        try:
            x, y, width, height = map(int, text.split(",")[:4])
        except ValueError:
            raise ConfigError(f"region: found {text!r}, expected x,y,width,height in px") from None
        return cls(animal, x, y, width, height)

    def is_inside(self, height: int, width: int) -> bool:
        """Return True if it lies within a picture of that size in px."""
        return self.x + self.width <= width and self.y + self.height <= height

    def overlaps(self, other: Region) -> bool:
        """Return True if two regions share a pixel."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def part_of(self, picture: np.ndarray) -> np.ndarray:
        """Return a view of its part of an (H, W) picture."""
        return picture[self.y : self.y + self.height, self.x : self.x + self.width]


def side_around(tracks: Sequence[Track], per_length: float) -> int:
    """Return the side in px of squares around tracks; 0 if all key points are at one place.

    It is so many times the usual length of an animal, and holds the key points of nearly all
    frames.
    """
    extents = [extents for track in tracks if len(extents := track.extents())]
    if not extents:
        return 0
    length = np.median([np.percentile(one, LENGTH_PERCENTILE) for one in extents])
    held = np.percentile(np.concatenate(extents), _HELD_PERCENTILE)
    return max(round(per_length * length), math.ceil(held))


def sized(region: Region | None, height: int, width: int) -> Region | None:
    """Return the region of a track as the whole picture of that size; others as they are."""
    if region is None or region.track is None:
        return region
    return replace(region, width=width, height=height)


def check_track(video: Path, region: Region | None, num_frames: int) -> None:
    """Raise InputError if the track of a region has other frames, or lies mostly outside of it."""
    track = None if region is None else region.track
    if region is None or track is None:
        return
    number = len(track.middle)
    if number > num_frames or (number < num_frames and not track.is_sparse):
        raise InputError.of(
            video,
            "row-count",
            f"has {num_frames:,} frames, its tracks in {track.path.name} {number:,}; track this "
            "very video, or remove the file",
        )
    known = track.middle[~np.isnan(track.middle).any(axis=1)]
    size = region.width, region.height
    outside = ((known < 0) | (known > size)).any(axis=1)
    if len(known) and outside.mean() > _MOST_OUTSIDE:
        raise InputError.of(
            video,
            "row-count",
            f"shows {size[0]}x{size[1]} px, but in {outside.mean():.0%} of the frames its tracks "
            f"in {track.path.name} lie outside; they are of a video of another size: track this "
            "very video, or remove the file",
        )


def share_pixels(one: str, other: str) -> bool:
    """Return True if two regions, given as texts, share a pixel; "" is the whole picture."""
    return not (one and other) or Region.parse(one).overlaps(Region.parse(other))
