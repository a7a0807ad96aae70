"""Predict a video in steps of the frame rate that the network was trained at."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.cache.drift import Appearance, AppearanceMeter
from mpar.network.mixture import Predictor
from mpar.video.following import Following, SquarePath, find_warnings
from mpar.video.regions import Region
from mpar.video.streams import VideoInfo
from mpar.video.timeline import MAX_STEPS, TimeLine, find_grid, find_steps, is_same_tempo, take
from mpar.video.videos import Decoding, View

_WAITING_FRAMES = 64  # of each region, between the decoder and the network
_PATIENCE_SECONDS = 1.0
_SQUARE_ADVICE = (
    "look at mpar-export --format video --squares: if it is cut off, film it as small as in "
    "training; if something else moves, leave it out with --regions"
)
_TRACK_ADVICE = "film it as small as in training, or track it anew if its key points are wrong"
_HELD_ADVICE = "track the video again, since labels of these frames may be wrong"

Views = list[View]  # one frame: one view per region


@dataclass(frozen=True, slots=True)
class Walk:
    """The prediction of one region of a video.

    Parameters
    ----------
    probabilities : (N, K) float32 array
        One row per step.
    steps : (T,) int64 array
        Step nearest to each frame of the video.
    appearance : Appearance
        Appearance of the frames that the network saw.
    warnings : tuple of str
        Warnings about the squares that follow its animal.
    squares : SquarePath, optional
        These squares.
    """

    probabilities: np.ndarray
    steps: np.ndarray
    appearance: Appearance
    warnings: tuple[str, ...] = ()
    squares: SquarePath | None = None


@dataclass(frozen=True, slots=True)
class WalkedVideo:
    """The prediction of a video.

    Parameters
    ----------
    info : VideoInfo
        Properties that the video states.
    line : TimeLine
        When its frames are shown.
    warnings : tuple of str
        Warnings from decoding.
    walks : tuple of Walk
        One per region.
    """

    info: VideoInfo
    line: TimeLine
    warnings: tuple[str, ...]
    walks: tuple[Walk, ...]


def walk_video(
    predictor: Predictor,
    path: Path,
    *,
    size: tuple[int, int] | None,
    stream: int | None,
    rate: Fraction | None,
    fps: Fraction | None = None,
    regions: Sequence[Region | None] = (None,),
    following: Following | None = None,
    on_frames: Callable[[int], object] = lambda num_frames: None,
) -> WalkedVideo:
    """Predict a video in steps of a rate, all regions in one pass.

    Parameters
    ----------
    predictor : Predictor
        Gives the probabilities.
    path : Path
        The video.
    size, stream, regions, following
        As for `Decoding`.
    rate : Fraction, optional
        Steps per second. By default, or if the video does not state its rate, each frame is one
        step.
    fps : Fraction, optional
        Frames per second of a video that does not state them.
    on_frames : callable
        Called with the number of steps predicted since the last call; may raise to stop.

    Raises
    ------
    InputError
        The video cannot be decoded, or a region lies beyond its picture.

    Notes
    -----
    The frames nearest to the steps are known only when all frames are decoded. The first pass
    assumes a constant frame rate. If that was wrong, for instance because of lost frames, a second
    pass follows.
    """

    def walk(source: np.ndarray | None) -> tuple[Decoding, np.ndarray, list[np.ndarray]]:
        decoding = Decoding(path, size=size, stream=stream, regions=regions, following=following)
        meters[:] = [AppearanceMeter() for _ in regions]
        chosen = _Chosen(decoding, rate, fps, source)
        found = _predict_each(predictor, chosen, meters, on_frames)
        return decoding, chosen.used, found  # in this order: only now it knows what it used

    meters: list[AppearanceMeter] = []
    decoding, used, found = walk(None)
    line = decoding.line
    if line.is_guess and fps is not None:
        line = replace(line, fps=fps, is_guess=False)
    source, step_rate = find_grid(line, None if line.is_guess else rate)
    if not np.array_equal(source, used):
        decoding, _, found = walk(source)
    steps = find_steps(line, step_rate, len(source))
    walks = tuple(
        Walk(
            probabilities,
            steps,
            meter.appearance(step_rate, _size_of(region or decoding.info), line.fps),
            tuple(find_warnings(squares, _advice(region), _HELD_ADVICE)),
            SquarePath.of(squares, following.side, region) if following else None,
        )
        for probabilities, meter, squares, region in zip(
            found, meters, decoding.squares, regions, strict=True
        )
    )
    return WalkedVideo(decoding.info, line, decoding.warnings, walks)


def _advice(region: Region | None) -> str:
    return _SQUARE_ADVICE if region is None or region.track is None else _TRACK_ADVICE


def _size_of(shown: Region | VideoInfo) -> tuple[int, int]:
    return shown.height, shown.width


class _Chosen:
    """Iterates over the frame of each step of a video; `used` then holds their numbers."""

    def __init__(
        self,
        decoding: Decoding,
        rate: Fraction | None,
        fps: Fraction | None,
        source: np.ndarray | None,
    ) -> None:
        self._decoding, self._rate, self._fps, self._source = decoding, rate, fps, source
        self._used: list[int] = []

    @property
    def used(self) -> np.ndarray:
        return np.array(self._used, np.int64)

    def __iter__(self) -> Iterator[Views]:
        views = self._decoding.views()
        if self._source is not None:
            yield from take(views, self._source)
            return
        before: tuple[int, Views] | None = None
        for number, frame in enumerate(views):
            if before is not None:
                yield from self._steps(*before)
            before = number, frame
        if before is not None:
            yield from self._steps(*before, is_last=True)

    def _steps(self, number: int, frame: Views, *, is_last: bool = False) -> Iterator[Views]:
        """Yield a frame as often as `find_grid` chooses it at a constant frame rate."""
        info = self._decoding.info
        fps = self._fps if info.is_rate_guessed else info.fps
        if fps is None or self._rate is None or is_same_tempo(fps, self._rate):
            self._used.append(number)
            yield frame
            return
        fps = max(fps, self._rate / MAX_STEPS)
        num_steps = max(1, round((number + 1) / fps * self._rate))
        end = (number + 0.5) / float(fps)
        while (
            len(self._used) < num_steps
            if is_last
            else len(self._used) / float(self._rate) - 1e-9 <= end
        ):
            self._used.append(number)
            yield frame


def _predict_each(
    predictor: Predictor,
    frames: Iterable[Views],
    meters: Sequence[AppearanceMeter],
    on_frames: Callable[[int], object],
) -> list[np.ndarray]:
    """Predict all regions in one pass over the frames."""
    if len(meters) == 1:
        return [predictor.predict(meters[0].watch(views[0] for views in frames), on_frames)]
    waiting: list[queue.Queue[View | None]] = [queue.Queue(_WAITING_FRAMES) for _ in meters]
    with ThreadPoolExecutor(len(meters)) as pool:
        found = [
            pool.submit(predictor.predict, meter.watch(_emptied(line)), on_frames)
            for meter, line in zip(meters, waiting, strict=True)
        ]
        try:
            for views in frames:
                for place, view in enumerate(views):
                    _put(waiting[place], view, found[place])
        finally:
            for place, line in enumerate(waiting):
                _put(line, None, found[place])
    return [future.result() for future in found]


def _emptied(line: queue.Queue[View | None]) -> Iterator[View]:
    """Yield the items of a queue until None comes."""
    while (item := line.get()) is not None:
        yield item


def _put(line: queue.Queue[View | None], item: View | None, user: Future) -> None:
    """Put an item into a queue when there is room, unless its reader is done or has failed."""
    while not user.done():
        try:
            line.put(item, timeout=_PATIENCE_SECONDS)
        except queue.Full:
            continue
        return
