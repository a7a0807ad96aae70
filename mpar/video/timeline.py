"""The time line of a video: which frame is on the screen at which second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import ceil, floor
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

ROUNDING_SECONDS = Fraction(1, 2000)  # label programs round times to milliseconds
_LONG_STEP = 1.5  # times the usual step
_MAX_LOST_PART = 0.1  # share of the steps that may be long; our choice
MAX_STEPS = 32  # at most this many steps show one frame: the longest clip
_SAME_TEMPO = Fraction(1, 50)
_MAX_DENOMINATOR = 1001  # of 30000/1001, the rate of colour television


@dataclass(frozen=True, eq=False)
class TimeLine:
    """When each frame of a video is shown.

    Parameters
    ----------
    num_frames : int
        Frames T that decoding yields.
    fps : Fraction, optional
        Frames per second, exact; the average rate if it varies, the usual rate if frames were
        lost, None if unknown.
    times : (T,) float64 array, optional
        Second at which each frame is shown, on the clock of players, increasing. None if frame i is
        shown at i / fps.
    is_guess : bool
        The file does not state its rate, and `fps` is only a default of the decoder.

    Examples
    --------
    >>> line = TimeLine(4, Fraction(30))
    >>> line.frame_of(Fraction("0.033")), line.frame_of(Fraction("0.066")), line.seconds
    (1, 1, Fraction(2, 15))
    """

    num_frames: int
    fps: Fraction | None = None
    times: np.ndarray | None = None
    is_guess: bool = False

    def __post_init__(self) -> None:
        if self.times is not None and self.times.shape != (self.num_frames,):
            raise ValueError(f"times: found {self.times.shape}, expected ({self.num_frames},)")

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON, which keeps all digits of a float."""
        return {
            "num_frames": self.num_frames,
            "fps": None if self.fps is None else str(self.fps),
            "times": None if self.times is None else self.times.tolist(),
            "is_rate_guessed": self.is_guess,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TimeLine:
        """Rebuild from `to_dict`; raise ValueError unless there is one time per frame."""
        times, fps = data.get("times"), data.get("fps")
        return cls(
            int(data["num_frames"]),
            None if fps is None else Fraction(fps),
            None if times is None else np.array(times, np.float64),
            bool(data.get("is_rate_guessed", False)),
        )

    @property
    def _rate(self) -> Fraction:
        if self.fps is None:
            raise ValueError("the frame rate is unknown")
        return self.fps

    @property
    def lead_seconds(self) -> Fraction:
        """How long players show no picture at the start, because the sound starts earlier."""
        return Fraction(0) if self.times is None else self.start_of(0)

    @property
    def steps(self) -> np.ndarray:
        """Seconds from each frame to the next, (T - 1,) float64; empty if all are 1 / fps."""
        return np.zeros(0) if self.times is None else np.diff(self.times)

    @property
    def is_long(self) -> np.ndarray:
        """Whether each of `steps` is longer than 1.5 times the median, as after lost frames."""
        return (
            self.steps > _LONG_STEP * np.median(self.steps) if len(self.steps) else self.steps > 0
        )

    @property
    def has_gaps(self) -> bool:
        """Whether steps are even except for a few long ones, as after lost frames."""
        is_long, steps = self.is_long, self.steps
        if not 0 < np.count_nonzero(is_long) < _MAX_LOST_PART * len(steps):
            return False
        return bool(np.ptp(steps[~is_long]) < np.median(steps) / 2)

    @cached_property
    def is_steady(self) -> bool:
        """Whether frame i is within half a frame of i / fps, and none is lost.

        A lost frame shifts all later ones.
        """
        if self.times is None or self.num_frames < 2:
            return True
        departures = (self.times - self.times[0]) * float(self._rate) - np.arange(self.num_frames)
        return not self.is_long.any() and bool(np.abs(departures).max() <= 0.5)

    @property
    def seconds(self) -> Fraction:
        """When the last frame ends; raises ValueError if the rate is unknown."""
        length = self.num_frames / self._rate
        if self.times is None or self.num_frames < 2:
            return length + self.lead_seconds
        last, steps = self.start_of(self.num_frames - 1), self.steps
        if self.is_steady:
            return max(length + self.lead_seconds, last + ROUNDING_SECONDS)
        stay = np.median(steps) if self.is_long[-1] else steps[-1]
        return last + Fraction(float(stay))

    def frame_of(self, seconds: Fraction) -> int:
        """Return the frame on the screen at a time, which may be 0.5 ms early by rounding.

        After the end, frames continue at the rate of the video. Raises ValueError if its rate is
        unknown.

        Notes
        -----
        If the stamps of a steady video jitter, a time is either a stamp or a multiple of 1 / fps:
        label programs use both. Frame i starts at the earlier of the two.
        """
        time, rate = seconds + ROUNDING_SECONDS, self._rate
        by_rate = floor((time - self.lead_seconds) * rate)
        if self.times is None or not self.num_frames:
            return by_rate
        if time >= self.seconds:
            return self.num_frames + floor((time - self.seconds) * rate)
        by_stamp = int(np.searchsorted(self.times, float(time), side="right")) - 1
        if self.is_steady:
            return max(0, by_stamp, min(by_rate, self.num_frames - 1))
        return max(0, by_stamp)

    def start_of(self, frame: int) -> Fraction:
        """Return the second at which a frame starts; frame T starts at the end."""
        if self.times is None:
            return frame / self._rate
        if frame >= self.num_frames:
            return self.seconds + (frame - self.num_frames) / self._rate
        return Fraction(float(self.times[frame]))

    @property
    def starts(self) -> np.ndarray:
        """Second at which each frame starts, (T,) float64."""
        if self.times is None:
            return np.arange(self.num_frames) / float(self._rate)
        return self.times

    @property
    def edges(self) -> np.ndarray:
        """Second at which each frame starts, and the end of the last one, (T + 1,) float64."""
        return np.append(self.starts, float(self.seconds))

    def first_at(self, seconds: Fraction) -> int:
        """Return the first frame that starts at a time or later, T if there is none.

        Like `frame_of`, it takes a rounded time of a frame, its stamp or a multiple of 1 / fps, as
        that frame: a time may be 0.5 ms late.
        """
        time = seconds - ROUNDING_SECONDS
        if self.times is None:
            return min(self.num_frames, max(0, ceil(time * self._rate)))
        by_stamp = int(np.searchsorted(self.times, float(time)))
        if not self.is_steady:
            return by_stamp
        by_rate = ceil((time - self.lead_seconds) * self._rate)
        return min(by_stamp, max(0, by_rate))

    def is_before_end(self, seconds: Fraction) -> bool:
        """Return True if a time is not after the end, except by rounding."""
        return seconds <= self.seconds + ROUNDING_SECONDS

    def seconds_of(self, is_shown: np.ndarray) -> Fraction:
        """Return the total time for which the frames of a (T,) bool array are shown.

        Each frame is shown until the next one starts, the last one until the end.
        """
        if self.times is None:
            return int(np.count_nonzero(is_shown)) / self._rate
        lengths = np.diff(self.times, append=float(self.seconds))
        return Fraction(float(lengths[is_shown].sum()))

    def piece(self, start: int, stop: int) -> TimeLine:
        """Return the time line of frames `start` to `stop` - 1.

        A piece that does not start with the video starts at 0 s.
        """
        if self.times is None:
            return replace(self, num_frames=stop - start)
        times = self.times[start:stop] - (self.times[start] if start else 0)
        return replace(self, num_frames=stop - start, times=times)

    def frame_seconds(self, seconds: Fraction) -> Fraction:
        """Return how long the frame at a time is shown."""
        if self.times is None or self.num_frames < 2:
            return 1 / self._rate
        frame = min(max(0, self.frame_of(seconds)), self.num_frames - 2)
        return Fraction(float(self.times[frame + 1] - self.times[frame]))


def line_from_times(times: np.ndarray, fps: Fraction | None, start_frame: int = 0) -> TimeLine:
    """Return the time line of a recording from the times in a cache or a prediction.

    `times` is the second of the video at which each frame is shown, (T,) float64. If `start_frame`
    is not 0, time counts from there.
    """
    is_exact = fps and np.array_equal(times, (start_frame + np.arange(len(times))) / float(fps))
    if is_exact:
        return TimeLine(len(times), fps)
    return TimeLine(len(times), fps, times - times[0] if start_frame else times)


def join_lines(pieces: Sequence[TimeLine]) -> TimeLine:
    """Return the time line of a video from those of all its pieces, in order.

    The step between two pieces is the usual step from frame to frame.
    """
    num_frames = sum(piece.num_frames for piece in pieces)
    if all(piece.times is None for piece in pieces):
        return TimeLine(num_frames, pieces[0].fps)
    starts, begin = [], Fraction(0)
    for piece in pieces:
        starts.append(piece.starts + float(begin))
        begin += piece.seconds
    return TimeLine(num_frames, pieces[0].fps, np.concatenate(starts))


def is_same_tempo(fps: Fraction, rate: Fraction) -> bool:
    """Return True if two rates differ by 2 % at most, like 30 and 30000/1001."""
    return abs(fps / rate - 1) <= _SAME_TEMPO


def find_grid(line: TimeLine, rate: Fraction | None) -> tuple[np.ndarray, Fraction]:
    """Sample the frames of a video at a given rate, each step the frame nearest in time.

    Parameters
    ----------
    line : TimeLine
        Time line of the video, with its rate.
    rate : Fraction, optional
        Frames per second. By default, or if it is the same within 2 %, the rate of the video.

    Returns
    -------
    source : (N,) int64 array
        Frame of the video for each step of the grid, increasing; frame i for step i if the video
        shows one frame per step.
    rate : Fraction
        Frames per second of the grid.

    Notes
    -----
    A frame is shown for at most `MAX_STEPS` steps, so a camera that paused for an hour does not
    fill the recording with one picture. No clip is longer, so the network cannot see the pause.
    """
    assert line.fps is not None
    if rate is None or is_same_tempo(line.fps, rate):
        rate = line.fps
        if line.is_steady:
            return np.arange(line.num_frames), rate
    edges = _edges_in_steps(line, rate)
    num_steps = max(1, round(edges[-1]))
    middles = (edges[1:-1] + edges[:-2]) / 2
    # a step halfway between two frames takes the first one, despite rounding
    return np.searchsorted(middles, np.arange(num_steps) - 1e-7).astype(np.int64), rate


def _edges_in_steps(line: TimeLine, rate: Fraction) -> np.ndarray:
    """Return the start of each frame and the end of the last, in steps, (T + 1,)."""
    edges = (np.append(line.starts, float(line.seconds)) - float(line.lead_seconds)) * float(rate)
    too_long = np.maximum(np.diff(edges) - MAX_STEPS, 0)
    return edges - np.concatenate([[0], np.cumsum(too_long)])


def take(frames: Iterable[T], source: np.ndarray) -> Iterator[T]:
    """Yield the frame of each step of a grid, `source` of `find_grid`; this consumes all frames."""
    step = 0
    for number, frame in enumerate(frames):
        while step < len(source) and source[step] == number:
            yield frame
            step += 1


def find_steps(line: TimeLine, rate: Fraction, num_steps: int) -> np.ndarray:
    """Return the step of a `find_grid` grid nearest to each frame of the video, (T,) int64."""
    if num_steps == line.num_frames and line.is_steady:
        return np.arange(line.num_frames)
    begins = _edges_in_steps(line, rate)[:-1]
    return np.clip(np.floor(begins + 0.5 + 1e-7), 0, num_steps - 1).astype(np.int64)


def find_timeline(
    stamps: Sequence[int | None],
    time_base: Fraction,
    last_duration: int,
    stated: Fraction,
    zero: Fraction | None = None,
) -> TimeLine:
    """Return the time line of a video from its time stamps and its stated rate.

    Parameters
    ----------
    stamps : sequence of (int or None)
        Stamps of the frames in the order shown, in units of `time_base`.
    time_base : Fraction
        Unit of the stamps in seconds.
    last_duration : int
        Duration of the last frame, 0 if unknown.
    stated : Fraction
        Frames per second that the file states.
    zero : Fraction, optional
        Second on the clock of the stamps at which players start to count; by default at the first
        frame.

    Returns
    -------
    TimeLine
        Without times if the stamps are i / fps, rounded to the clock of the file, or are not
        all known and increasing.

    Notes
    -----
    Sound that starts less than half a frame before the picture does not count: a program that
    stamps events with the time of the frame on the screen then gives the same frame, whether it
    counts from the sound or from the picture.
    """
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) < len(stamps) or len(known) < 2 or first_back(stamps) is not None:
        return TimeLine(len(stamps), stated)
    ticks = np.array(known, np.int64) - known[0]
    tick = float(time_base)
    times = ticks * tick
    span = int(ticks[-1]) * time_base
    average = ((len(ticks) - 1) / span).limit_denominator(_MAX_DENOMINATOR)
    duration = span + (last_duration or int(ticks[-1] - ticks[-2])) * time_base
    overall = (len(ticks) / duration).limit_denominator(_MAX_DENOMINATOR)
    steady = [fps for fps in (stated, average) if TimeLine(len(times), fps, times).is_steady]
    if steady:
        fps = steady[0]
    elif TimeLine(len(times), overall, times).has_gaps:
        usual = Fraction(1) / (int(np.median(np.diff(ticks))) * time_base)
        fps = stated if abs(usual - stated) < stated / 50 else usual
    else:
        fps = overall
    lead = Fraction(0) if zero is None else known[0] * time_base - zero
    lead = lead if lead * fps > Fraction(1, 2) else Fraction(0)
    departures = np.abs(times - np.arange(len(times)) / float(fps))
    is_exact = steady and not lead and departures.max() <= 0.5001 * tick
    return TimeLine(len(times), fps, None if is_exact else times + float(lead))


def first_back(stamps: Sequence[int | None]) -> int | None:
    """Return the first frame whose stamp is not later than the previous one, else None.

    Parameters
    ----------
    stamps : sequence of (int or None)
        As for `find_timeline`; if one is missing, none are compared.
    """
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) < len(stamps) or len(known) < 2:
        return None
    is_back = np.diff(np.array(known, np.int64)) <= 0
    return int(np.argmax(is_back)) + 1 if is_back.any() else None
