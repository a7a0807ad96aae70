"""The options that shape a cache."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mpar.cache.notes import DecodingOptions
from mpar.errors import ConfigError
from mpar.labels.scorings import MAX_FPS
from mpar.matching.label_options import LabelOptions
from mpar.matching.regions import RegionTable
from mpar.matching.tracks import TrackFolder
from mpar.video.following import Following
from mpar.video.videos import MAX_PIXELS, MIN_SIDE_PX


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig(LabelOptions):
    """How videos and labels become a cache: the options for labels, and those below.

    Parameters
    ----------
    size : (int, int), optional
        Height and width in px that frames are resized to; by default they stay as they are.
    stream : int, optional
        Index of the video stream in files that have several; by default the one that players
        show.
    rate : Fraction, optional
        Frames per second of the cache; by default the rate of most of its videos. Videos at another
        rate, or with lost frames, are sampled at this rate, with the frame nearest in time.
    fps : Fraction, optional
        Frames per second of videos that do not state their rate.
    regions : RegionTable or TrackFolder, optional
        Where animals live in videos with several, or where they are; by default a video shows one
        animal.
    follow : bool
        The network sees a square that follows the animal (`mpar.video.following`).
    follow_size : int, optional
        Side of this square in px of the videos; by default measured.
    """

    size: tuple[int, int] | None = None
    stream: int | None = None
    rate: Fraction | None = None
    fps: Fraction | None = None
    regions: RegionTable | TrackFolder | None = None
    follow: bool = False
    follow_size: int | None = None

    def __post_init__(self) -> None:
        LabelOptions.__post_init__(self)
        if self.size is not None and (
            min(self.size) < MIN_SIDE_PX or self.size[0] * self.size[1] > MAX_PIXELS
        ):
            raise ConfigError(
                f"size: found {self.size[0]}x{self.size[1]}, expected at least "
                f"{MIN_SIDE_PX}x{MIN_SIDE_PX} px and at most {MAX_PIXELS:,} px in all"
            )
        if self.follow_size is not None and (
            not self.follow or self.follow_size < MIN_SIDE_PX or self.follow_size**2 > MAX_PIXELS
        ):
            raise ConfigError(
                f"follow_size: found {self.follow_size}, expected {MIN_SIDE_PX} to "
                f"{math.isqrt(MAX_PIXELS)} px, and follow"
            )
        if isinstance(self.regions, TrackFolder) and not self.follow:
            raise ConfigError("follow: found False with tracks, which are for following; set it")
        if self.stream is not None and self.stream < 0:
            raise ConfigError(f"stream: found {self.stream}, expected 0 or more")
        for name, rate in (("rate", self.rate), ("fps", self.fps)):
            if rate is not None and not 0 < rate <= MAX_FPS:
                raise ConfigError(
                    f"{name}: found {float(rate):g}, expected frames per second up to {MAX_FPS}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain types.

        It includes only the regions for every video (``*``), which apply to new videos, too.
        """
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        star = self.regions.of_every_video if self.regions else ()
        # the order of the keys, which decides the bytes of a cache's index, must not change
        return (
            {"size": None}
            | data
            | {
                "size": list(self.size) if self.size else None,
                "rate": None if self.rate is None else str(self.rate),
                "fps": None if self.fps is None else str(self.fps),
                "regions": [[region.animal, str(region)] for region in star] or None,
                "tracks": list(self.regions.points)
                if isinstance(self.regions, TrackFolder)
                else None,
            }
        )

    @property
    def decoding(self) -> DecodingOptions:
        """The options for decoding; complete once `follow_size` is known."""
        return DecodingOptions(self.size, self.stream, self.fps, Following.of(self.to_dict()))
