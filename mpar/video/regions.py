"""Regions: the part of a picture in which one animal lives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mpar.errors import ConfigError

LENGTH_PERCENTILE = 75  # of the frames of a video; in others an animal is curled up, or still


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
    """

    path: Path
    middle: np.ndarray
    half_extent: np.ndarray
    is_sparse: bool = False

    @property
    def digest(self) -> str:
        """A hash of where the animal is."""
        places = self.middle.tobytes() + self.half_extent.tobytes()
        return hashlib.sha256(places).hexdigest()[:16]

    def length(self) -> float:
        """Return the extent in px that three quarters of the frames do not exceed; 0 without."""
        extents = 2 * self.half_extent.max(axis=1)
        extents = extents[~np.isnan(extents)]
        return float(np.percentile(extents, LENGTH_PERCENTILE)) if len(extents) else 0.0


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


def sized(region: Region | None, height: int, width: int) -> Region | None:
    """Return the region of a track as the whole picture of that size; others as they are."""
    if region is None or region.track is None:
        return region
    return replace(region, width=width, height=height)


def share_pixels(one: str, other: str) -> bool:
    """Return True if two regions, given as texts, share a pixel; "" is the whole picture."""
    return not (one and other) or Region.parse(one).overlaps(Region.parse(other))
