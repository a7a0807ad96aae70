"""Choose the side of the squares that follow the animals, from how long the animals are."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mpar.errors import ConfigError, InputError
from mpar.video.following import SquarePath, TrackFollower, measure_length, shrink
from mpar.video.regions import Region, Track, side_around
from mpar.video.streams import MIN_SIDE_PX, VideoInfo
from mpar.video.videos import Decoding

_SIDE_PER_LENGTH = 1.4  # our choice, on real recordings of mice and people
_NUM_VIDEOS, _NUM_FRAMES = 6, 150

log = logging.getLogger(__name__)


class Filmed(NamedTuple):
    """A video with its properties and the regions of its animals (None: the whole picture)."""

    path: Path
    info: VideoInfo
    regions: Sequence[Region | None]

    def shapes(self) -> list[tuple[int, int]]:
        """Return height and width in px of each region."""
        whole = self.info.height, self.info.width
        return [(r.height, r.width) if r else whole for r in self.regions]


def measure_side(
    videos: Sequence[Filmed], *, size: tuple[int, int] | None, stream: int | None
) -> int:
    """Return the side of the squares in px of the videos.

    It is 1.4 times the median length of the animals in the first 150 frames of six videos, or of
    all tracks, whose key points it holds in nearly all frames, as far as it fits into all pictures
    and regions.

    Parameters
    ----------
    videos : sequence of Filmed
        All videos of a cache.
    size, stream
        As for `Decoding`.

    Raises
    ------
    ConfigError
        No animal moves there, or no track has a length.
    """
    tracks = [r.track for video in videos for r in video.regions if r and r.track]
    places = np.unique(np.linspace(0, len(videos) - 1, _NUM_VIDEOS).astype(int))
    if not videos:
        return MIN_SIDE_PX  # no video is good, which the problems say
    room = min(side for video in videos for shape in video.shapes() for side in shape)
    if tracks:
        wanted = side_around(tracks, _SIDE_PER_LENGTH)
        if not wanted:
            raise ConfigError(
                "follow: the key points are all at one place, so no animal has a length; choose "
                "more --track-points, or pass --follow-size, about twice the length of an animal "
                "in px"
            )
    else:
        lengths = [length for i in places for length in _measure(videos[i], size, stream)]
        if not lengths:
            raise ConfigError(
                f"follow: no animal moves in the first {_NUM_FRAMES} frames of {len(places)} "
                "videos; pass --follow-size, about twice the length of an animal in px"
            )
        wanted = round(_SIDE_PER_LENGTH * float(np.median(lengths)))
    side = min(room, max(MIN_SIDE_PX, wanted))
    log.info("the network sees squares of %d px around the animals", side)
    return side


def follow_track(track: Track, shape: tuple[int, int]) -> SquarePath | None:
    """Return the squares around the key points of an animal; None if they are all at one place.

    Their side is that which preprocessing would choose for this animal, as far as it fits into
    pictures of a (height, width). Behind the track, the last square stays.
    """
    wanted = side_around([track], _SIDE_PER_LENGTH)
    if not wanted:
        return None
    side = min(*shape, max(MIN_SIDE_PX, wanted))
    follower = TrackFollower(track, shape, side)
    squares = [follower.square(frame) for frame in range(len(track.middle))]
    return SquarePath.of(squares, side, None)


def _measure(video: Filmed, size: tuple[int, int] | None, stream: int | None) -> list[float]:
    """Return the length in px of each animal of a video that is seen to move."""
    decoding = Decoding(video.path, size=size, stream=stream, regions=video.regions)
    try:
        pictures = itertools.islice(decoding.pictures(), _NUM_FRAMES)
        frames = [[shrink(picture) for picture in one] for one in pictures]
    except InputError:  # reported when the video is decoded for the cache
        return []
    found = [
        measure_length(looks, shape)
        for looks, shape in zip(zip(*frames, strict=True), video.shapes(), strict=True)
    ]
    return [length for length in found if length]
