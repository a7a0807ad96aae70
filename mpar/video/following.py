"""Follow one animal through a region of a video, with a square of one size.

The animal is where the picture changes and where it differs from the background, the median of the
frames so far. Both are looked for in small pictures. A video is decoded only once, so frames wait
until there are enough to know the background and to smooth the path. Where a square lies depends
only on the frames and the sizes. So preprocessing and prediction find the same squares.

Shapes: T frames, h x w px of the small pictures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from scipy.ndimage import median_filter, uniform_filter1d

from mpar.video.regions import LENGTH_PERCENTILE, Region, Track

# our choice, on real recordings of mice and people
_SMALL_PX = 64  # longer side of the pictures in which the animal is looked for
_EVERY = 2  # frames from one that is looked at to the next
_NOISE_FLOOR, _NOISE_FACTOR = 4.0, 2.0  # grey levels that do not count, as in the movement model
_CHANGE_WEIGHT = 2.0  # of the change since the last look, beside the difference from background
_SPOT_PX = 3
_LEAST = 4.0  # grey levels of a spot; less is no evidence
_ENOUGH = 20.0  # grey levels of a pixel; more counts no more: a bright spot is not all of an animal
_BODY_SHARE = 0.25  # of the strongest evidence; less is not the animal's body
_FAR_SHARE = 0.7  # what counts of evidence far from where the animal was
_NEAR_SHARE = 0.25  # of the longer side of the picture; less is near
_MEDIAN_LOOKS, _MEAN_FRAMES = 5, 15  # windows that smooth the path
_REACH = _EVERY * (_MEDIAN_LOOKS // 2 + 1) + _MEAN_FRAMES // 2  # frames that they reach, at most
_SLACK = 0.1  # of the side: how far an animal that runs may be from the even path
_PLAY = 0.1  # of the side: how far it may be from the middle before the square moves
_CUT = 0.1  # of the side: how far an animal may reach beyond the square
_FIXED_SHARE = 0.25  # of what moves elsewhere meanwhile; what covers less does not leave its place
_SURE_LOOKS = 150  # that show a fixture and the animal apart; then it stays one: about 10 s
_NUM_SAMPLES = 64  # looks for the background
_WAITING_BYTES = 1 << 26  # of frames that wait for their squares
_MIN_BLOCK, _MAX_BLOCK = 32, 512  # frames
_MAX_TOUCHING, _MAX_HELD = 0.2, 0.1  # shares of the frames

WHOLE = -1  # in place of a corner: no evidence yet, so the whole region is shown


@dataclass(frozen=True, slots=True)
class Following:
    """The squares of a cache.

    Parameters
    ----------
    side : int
        Side of a square in px of the video.
    size : int
        Side in px that squares are resized to.
    points : tuple of str, optional
        The key points that tracks of other programs give squares around, all if there are none; by
        default mpar finds the animal.
    """

    side: int
    size: int
    points: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.side, self.size) < 1:
            raise ValueError(f"found squares of {self.side} px, resized to {self.size} px")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Following | None:
        """Return the squares that options of preprocessing ask for (plain types), if any."""
        if not config.get("follow"):
            return None
        side, size = int(config["follow_size"]), config.get("size")
        points = config.get("tracks")
        return cls(
            side,
            min(map(int, size)) if size else side,
            None if points is None else tuple(sorted(map(str, points))),
        )


def describe_following(following: Following | None) -> str:
    """Describe what a network sees."""
    if following is None:
        return "whole pictures"
    if following.points is None:
        what = "the animal"
    else:
        what = f"tracks ({', '.join(following.points) or 'all key points'})"
    return f"squares of {following.side} px that follow {what}, resized to {following.size} px"


class Square(NamedTuple):
    """The square of one frame.

    Parameters
    ----------
    x, y : int
        Its left and upper edge in px, from those of the region; -1 if it is the whole region.
    evidence : float
        How clearly the animal was seen, in grey levels; 0 if not at all.
    length : float
        Length in px of what was seen of it.
    touches : bool
        It reaches beyond the square, by more than a tenth of its side.
    is_held : bool
        The track has no key point in this frame, so the square stays where it was.
    """

    x: int
    y: int
    evidence: float = 0.0
    length: float = 0.0
    touches: bool = False
    is_held: bool = False

    def region(self, around: Region, side: int) -> Region:
        """Return the square as a region of the picture."""
        if self.x == WHOLE:
            return around
        return Region(around.animal, around.x + self.x, around.y + self.y, side, side)


@dataclass(frozen=True, slots=True, eq=False)
class SquarePath:
    """Where the square of a recording lies in each frame.

    Parameters
    ----------
    side : int
        Side of the square in px of the video.
    corners : (T, 2) int32 array
        Its left and upper edge in px of the picture; -1 where the network sees the whole region.
    """

    side: int
    corners: np.ndarray

    @classmethod
    def of(cls, squares: Sequence[Square], side: int, around: Region | None) -> SquarePath:
        """Return the path of squares in a region, by default the whole picture."""
        corners = np.array([(square.x, square.y) for square in squares], np.int32)
        if around is not None:
            corners[corners[:, 0] != WHOLE] += (around.x, around.y)
        return cls(side, corners)

    def moves(self) -> list[list[int]]:
        """Return frame, x and y of the first square and of each that has moved."""
        is_new = np.any(np.diff(self.corners, axis=0, prepend=self.corners[:1] - 1), axis=1)
        frames = np.flatnonzero(is_new)
        return np.column_stack([frames, self.corners[frames]]).tolist()

    def to_dict(self) -> dict[str, Any]:
        """Return plain types; moves are a text, which keeps an hour of them short."""
        return {"side": self.side, "moves": " ".join(f"{i}:{x},{y}" for i, x, y in self.moves())}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], num_frames: int) -> SquarePath:
        """Rebuild from `to_dict`; raise ValueError, TypeError or KeyError if that is invalid."""
        moves = [re.split("[:,]", move) for move in data["moves"].split()]
        frames, xs, ys = np.array(moves, np.int32).reshape(-1, 3).T
        side = int(data["side"])
        if side < 1 or not len(frames) or frames[0] != 0 or (np.diff(frames) < 1).any():
            raise ValueError("expected frames 0 and further ones in order")
        at = np.searchsorted(frames, np.arange(num_frames), side="right") - 1
        return cls(side, np.column_stack([xs, ys])[at])


class _Seen(NamedTuple):
    """The animal in one picture, in px of the region: middle, half its extent, length."""

    x: float
    y: float
    half_width: float
    half_height: float
    length: float
    evidence: float


Place = tuple[float, float] | None
Corner = tuple[int, int] | None


def block_length(num_bytes: int) -> int:
    """Return how many frames of so many bytes are looked at together."""
    block = min(max(_WAITING_BYTES // num_bytes, _MIN_BLOCK), _MAX_BLOCK)
    return block - block % _EVERY


class Follower:
    """Finds the square of each frame of a region; takes the frames in order.

    Parameters
    ----------
    shape : (height, width)
        Of the region in px.
    side : int
        Side of the square in px, at most the shorter side of the region.
    block : int
        Frames that are looked at together (`block_length`).
    """

    def __init__(self, shape: tuple[int, int], side: int, block: int) -> None:
        self._shape, self._side, self._block = shape, side, block
        self._num_added = self._num_placed = 0
        self._looks: list[np.ndarray] = []  # of the block that is filled now
        self._before: np.ndarray | None = None
        self._samples = _Samples()
        self._fixtures = _Fixtures()
        self._last: Place = None
        self._corner: Corner = None
        self._seen: list[_Seen | None] = []  # what smoothing still needs
        self._first_look = 0  # number of its first

    def add(self, picture: np.ndarray) -> list[Square]:
        """Take the next frame, (H, W) uint8 of any size; return the squares known since."""
        if self._num_added % _EVERY == 0:
            self._looks.append(shrink(picture))
            self._samples.add(self._looks[-1])
        self._num_added += 1
        return [] if self._num_added % self._block else self._place(self._num_added - _REACH)

    def end(self) -> list[Square]:
        """Return the squares of the remaining frames."""
        return self._place(self._num_added)

    def _place(self, stop: int) -> list[Square]:
        """Return the squares of the frames that have none yet, up to `stop`."""
        if self._looks:
            looks = np.stack(self._looks)
            spots = _find_spots(looks, self._samples.stack(), self._before)
            self._before, self._looks = looks[-1], []
            for one in self._fixtures.without(spots):
                seen = _see(one, self._shape, self._side, self._last)
                self._last = (seen.x, seen.y) if seen else self._last
                self._seen.append(seen)
        start, self._num_placed = self._num_placed, max(stop, self._num_placed)
        if self._num_placed == start:
            return []
        first = self._first_look * _EVERY
        looks_of = (np.arange(first, self._num_added) - first) // _EVERY
        found = [self._seen[i] for i in looks_of]
        new = range(start - first, self._num_placed - first)
        squares = _place_all(found, new, self._shape, self._side, self._corner)
        self._corner = _corner_of(squares[-1])
        # what was seen before is needed to smooth, or to stay where the animal was
        kept = max(self._first_look, (self._num_placed - 2 * _REACH) // _EVERY)
        self._forget(kept - self._first_look)
        return squares

    def _forget(self, number: int) -> None:
        """Forget the first of what was seen, but not where the animal was last."""
        known = [seen for seen in self._seen[: number + 1] if seen is not None]
        self._seen = self._seen[number:]
        self._first_look += number
        if known and self._seen[0] is None:
            self._seen[0] = known[-1]._replace(evidence=0.0)


class TrackFollower:
    """Gives the square of each frame around a track, as `Follower` does.

    The place is known, so the square holds all key points, unless they are further apart than its
    side.
    """

    def __init__(self, track: Track, shape: tuple[int, int], side: int) -> None:
        middle, half = track.held()
        is_held = np.isnan(track.middle[:, 0])
        self._found: list[Square] = []
        before: Corner = None
        for place, (across, down), held in zip(middle, half.tolist(), is_held, strict=False):
            play = tuple(min(_PLAY * side, max(0.0, side / 2 - one)) for one in (across, down))
            x, y = before = _corner_at(place, shape, side, before, play)
            seen = _Seen(place[0], place[1], across, down, 2 * max(across, down), 1.0)
            touches = _touches(seen, x, y, side, shape)
            self._found.append(Square(x, y, seen.evidence, seen.length, touches, bool(held)))
        self._num_added = 0

    def square(self, frame: int) -> Square:
        """Return the square of a frame; behind the track, it stays."""
        if not self._found:
            return Square(WHOLE, WHOLE)
        if frame >= len(self._found):
            return self._found[-1]._replace(is_held=True)
        return self._found[frame]

    def add(self, picture: np.ndarray) -> list[Square]:
        """Take the next frame; return its square."""
        self._num_added += 1
        return [self.square(self._num_added - 1)]

    def end(self) -> list[Square]:
        """Return nothing: all squares are known."""
        return []


def find_warnings(squares: Sequence[Square], advice: str, of_held: str = "") -> list[str]:
    """Return warnings about the squares of all frames of a video; none without squares.

    `advice` says what to do if the animal is cut off, `of_held` if tracks lack key points.
    """
    if not squares:
        return []
    num_whole = sum(square.x == WHOLE for square in squares)
    num_touching = sum(square.touches for square in squares)
    num_held = sum(square.is_held for square in squares)
    warnings = []
    if num_whole:
        which = "all" if num_whole == len(squares) else f"the first {num_whole:,}"
        warnings.append(
            f"shows no animal that moves in {which} of {len(squares):,} frames, so the network "
            "sees the whole region there"
        )
    if num_touching > _MAX_TOUCHING * len(squares):
        warnings.append(
            f"the animal reaches beyond its square in {100 * num_touching / len(squares):.0f} % of "
            f"the frames; {advice}"
        )
    if num_held > _MAX_HELD * len(squares):
        warnings.append(
            f"no key point of the tracks in {100 * num_held / len(squares):.0f} % of the frames "
            f"({num_held:,} of {len(squares):,}), so the square stays where it was; {of_held}"
        )
    return warnings


def _place_all(
    found: Sequence[_Seen | None],
    frames: range,
    shape: tuple[int, int],
    side: int,
    before: Corner = None,
) -> list[Square]:
    """Return the squares of some of the frames in which an animal was looked for."""
    path = _smooth(found, side)
    squares = []
    for frame in frames:
        at = None if path is None else path[frame]
        squares.append(_frame_at(at, found[frame], shape, side, before))
        before = _corner_of(squares[-1])
    return squares


def _smooth(found: Sequence[_Seen | None], side: int) -> np.ndarray | None:
    """Return the smooth path of an animal, (T, 2) px; None if it is never seen.

    Where it is not seen, it is where it was last, or first.
    """
    known = np.flatnonzero([seen is not None for seen in found])
    if not len(known):
        return None
    at = known[np.maximum(np.searchsorted(known, np.arange(len(found)), "right") - 1, 0)]
    held = [found[i] for i in at]
    path = np.array([(seen.x, seen.y) for seen in held if seen])
    path = median_filter(path, (_EVERY * (_MEDIAN_LOOKS - 1) + 1, 1), mode="nearest")
    even = uniform_filter1d(path, _MEAN_FRAMES, axis=0, mode="nearest")
    return even.clip(path - _SLACK * side, path + _SLACK * side)


def _frame_at(
    at: np.ndarray | None, seen: _Seen | None, shape: tuple[int, int], side: int, before: Corner
) -> Square:
    """Return the square for an animal at a place."""
    if at is None:
        return Square(WHOLE, WHOLE)
    x, y = _corner_at(at, shape, side, before, (_PLAY * side, _PLAY * side))
    if seen is None or not seen.evidence:
        return Square(x, y)
    return Square(x, y, seen.evidence, seen.length, _touches(seen, x, y, side, shape))


def _corner_at(
    at: np.ndarray,
    shape: tuple[int, int],
    side: int,
    before: Corner,
    play: tuple[float, ...],
) -> tuple[int, int]:
    """Return the corner of a square about a place, or up to the play from it: near the one before.

    A square that moved with every step would make the floor move for the network.
    """
    corner = []
    for axis, middle in enumerate(at.tolist()):
        ideal = middle - side / 2
        least, most = math.ceil(ideal - play[axis]), math.floor(ideal + play[axis])
        place = min(max(before[axis], least), most) if before else round(ideal)
        corner.append(min(max(place, 0), shape[1 - axis] - side))
    return corner[0], corner[1]


def _corner_of(square: Square) -> Corner:
    return None if square.x == WHOLE else (square.x, square.y)


def _touches(seen: _Seen, x: int, y: int, side: int, shape: tuple[int, int]) -> bool:
    """Return True if the animal is cut off at an edge that is not one of the region."""
    (height, width), most = shape, _CUT * side
    return (
        (x > 0 and seen.x - seen.half_width < x - most)
        or (y > 0 and seen.y - seen.half_height < y - most)
        or (x + side < width and seen.x + seen.half_width > x + side + most)
        or (y + side < height and seen.y + seen.half_height > y + side + most)
    )


def measure_length(pictures: Iterable[np.ndarray], shape: tuple[int, int]) -> float | None:
    """Return the length of the animal in a region, in px of the region.

    Parameters
    ----------
    pictures : iterable of (H, W) uint8 arrays
        Frames of the region, resized or not.
    shape : (height, width)
        Of the region in px.

    Returns
    -------
    float or None
        The length that three quarters of the frames in which it is seen do not exceed; None if it
        is never seen.
    """
    looks = np.stack([shrink(picture) for picture in pictures][::_EVERY])
    lengths, last = [], None
    for one in _Fixtures().without(_find_spots(looks, looks, None)):
        seen = _see(one, shape, min(shape) / 2, last)
        if seen:
            last = seen.x, seen.y
            lengths.append(seen.length)
    return float(np.percentile(lengths, LENGTH_PERCENTILE)) if lengths else None


def shrink(picture: np.ndarray) -> np.ndarray:
    """Return a picture in the size in which an animal is looked for, at most 64 px."""
    height, width = picture.shape
    scale = max(1, max(height, width) / _SMALL_PX)
    size = max(1, round(width / scale)), max(1, round(height / scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


class _Samples:
    """Pictures from all of a recording so far, 64 at most."""

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []
        self._number, self._every = 0, 1

    def add(self, picture: np.ndarray) -> None:
        """Take the next picture; of many, only every second is kept."""
        if self._number % self._every == 0:
            self._kept.append(picture)
        self._number += 1
        if len(self._kept) > _NUM_SAMPLES:
            self._kept, self._every = self._kept[::2], 2 * self._every

    def stack(self) -> np.ndarray:
        """Return those that are kept, (n, h, w)."""
        return np.stack(self._kept)


class _Fixtures:
    """Hides what changes and never leaves its place: a burnt-in clock, a lamp that blinks.

    An animal can only be at one place. So if something small shows evidence while other evidence
    passes over a much larger area, and no evidence ever connected the two, it is no animal. Once
    both were seen apart for long enough, an animal that touches it does not make it one.
    """

    def __init__(self) -> None:
        self._before = _Samples()  # whether each pixel showed something
        self._ever = np.zeros((1, 1), bool)  # pixels that ever did, (h, w) after the first look
        self._fixed = self._ever  # of these, what belongs to no animal
        self._num_apart = np.zeros((1, 1), int)  # looks that show it beside something else

    def without(self, spots_Thw: np.ndarray) -> np.ndarray:
        """Return the spots of the next looks without those of fixtures."""
        new = spots_Thw > 0
        for one in new:
            self._before.add(one)
        shows = np.concatenate([self._before.stack(), new])
        self._ever = new.any(axis=0) | self._ever
        number, labels, stats, _ = cv2.connectedComponentsWithStats(self._ever.astype(np.uint8))
        areas = stats[:, cv2.CC_STAT_AREA]
        most = _FIXED_SHARE * areas[1:].sum()
        fixed = np.zeros(number, bool)
        for label in range(1, number):
            own = labels == label
            if areas[label] < most:
                elsewhere = shows[shows[:, own].any(axis=1)].any(axis=0) & ~own
                is_passed_by = areas[label] < _FIXED_SHARE * elsewhere.sum()
                fixed[label] = is_passed_by or (own & self._fixed).any()
        others = new[:, ~fixed[labels]].any(axis=1)
        num_apart = [
            np.sum(new[:, labels == label].any(axis=1) & others) if fixed[label] else 0
            for label in range(number)
        ]
        self._num_apart = self._num_apart + np.array(num_apart)[labels]
        self._fixed = fixed[labels] | (self._num_apart > _SURE_LOOKS)
        return spots_Thw * ~self._fixed


def _find_spots(
    looks_Thw: np.ndarray, samples: np.ndarray, before: np.ndarray | None
) -> np.ndarray:
    """Return how clearly each spot shows an animal, (T, h, w) float32, in grey levels."""
    spots = np.stack(
        [cv2.blur(one, (_SPOT_PX, _SPOT_PX)) for one in _find_evidence(looks_Thw, samples, before)]
    )
    spots[spots < _LEAST] = 0
    return spots


def _find_evidence(
    looks_Thw: np.ndarray, samples: np.ndarray, before: np.ndarray | None
) -> np.ndarray:
    """Return how clearly each pixel shows an animal, (T, h, w) float32, in grey levels."""
    now = _without_light(looks_Thw)
    background = np.median(_without_light(samples), axis=0).astype(np.int16)
    change = np.diff(
        now, axis=0, prepend=now[:1] if before is None else _without_light(before[None])
    )
    evidence = np.minimum(_excess(now - background), _ENOUGH)
    evidence += _CHANGE_WEIGHT * np.minimum(_excess(change), _ENOUGH)
    return evidence


def _without_light(looks_Thw: np.ndarray) -> np.ndarray:
    """Return looks less their usual grey level, int16: most of a picture shows the background."""
    return looks_Thw.astype(np.int16) - _middle(looks_Thw)


def _excess(difference_Thw: np.ndarray) -> np.ndarray:
    """Return by how much differences exceed the noise of their picture, (T, h, w) float32."""
    size = np.abs(difference_Thw)
    noise = _NOISE_FLOOR + _NOISE_FACTOR * _middle(size)
    return np.maximum(size - noise.astype(np.float32), 0)


def _middle(looks_Thw: np.ndarray) -> np.ndarray:
    """Return the median of a sixteenth of the pixels of each look, (T, 1, 1)."""
    sparse = looks_Thw[:, ::4, ::4].reshape(len(looks_Thw), -1)
    middle = sparse.shape[1] // 2
    return np.partition(sparse, middle, axis=1)[:, middle, None, None]


def _see(spots: np.ndarray, shape: tuple[int, int], side: float, last: Place) -> _Seen | None:
    """Return the animal where a square holds most evidence; rather near its last place than far."""
    (h, w), px = spots.shape, (shape[1] / spots.shape[1], shape[0] / spots.shape[0])
    reach = [max(1, round(side / 2 / size)) for size in px]
    sums: np.ndarray = cv2.boxFilter(
        spots,
        -1,
        (2 * reach[0] + 1, 2 * reach[1] + 1),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    if last is not None:
        near = _NEAR_SHARE * max(h, w)
        x, y = (place / size for place, size in zip(last, px, strict=True))
        part = sums[max(0, int(y - near)) : int(y + near) + 1, :]
        part[:, max(0, int(x - near)) : int(x + near) + 1] /= _FAR_SHARE
    _, most, _, (x, y) = cv2.minMaxLoc(sums)
    if not most:
        return None
    left, top = max(0, x - reach[0]), max(0, y - reach[1])
    part = spots[top : y + reach[1] + 1, left : x + reach[0] + 1]
    peak = float(part.max())
    part[part < _BODY_SHARE * peak] = 0
    moments = cv2.moments(part)
    total = moments["m00"]
    # rounding may make that of a straight line negative
    xx, yy = (
        max(0.0, moments[key] / total) * size**2
        for key, size in zip(("mu20", "mu02"), px, strict=True)
    )
    xy = moments["mu11"] / total * px[0] * px[1]
    # an even ellipse reaches twice as far as its standard deviation
    longest = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)
    return _Seen(
        x=(left + moments["m10"] / total + 0.5) * px[0],
        y=(top + moments["m01"] / total + 0.5) * px[1],
        half_width=2 * xx**0.5,
        half_height=2 * yy**0.5,
        length=4 * float(longest) ** 0.5,
        evidence=peak,
    )
