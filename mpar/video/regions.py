"""Regions: the part of a picture in which one animal lives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpar.errors import ConfigError


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
    """

    animal: str
    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    @classmethod
    def parse(cls, text: str, animal: str = "") -> Region:
        """Rebuild a region from its text; raise ConfigError if the text is invalid."""
        try:
            x, y, width, height = map(int, text.split(","))
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


def share_pixels(one: str, other: str) -> bool:
    """Return True if two regions, given as texts, share a pixel; "" is the whole picture."""
    return not (one and other) or Region.parse(one).overlaps(Region.parse(other))
