"""When the frames of a video were filmed, by its time stamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

LONG_STEP = 1.5  # usual ones
_MAX_DENOMINATOR = 1001  # of 30000/1001, the rate of colour television


@dataclass(frozen=True, slots=True)
class Timing:
    """The rate of a video and, if it varies, the time of each frame.

    Parameters
    ----------
    fps : Fraction
        Frames per second; the average where the rate varies.
    times : (T,) float64 array or None
        Seconds from the first frame to each, where the rate varies by more than half a frame; from
        the beginning of the sound where that comes more than half a frame earlier.
    first_back : int or None
        The first frame whose time stamp is not later than that of the frame before.
    lead_seconds : float
        How long there is sound before the picture, if that shifts times; else 0.
    """

    fps: Fraction
    times: np.ndarray | None = None
    first_back: int | None = None
    lead_seconds: float = 0.0

    def after_sound(self, lead_seconds: Fraction, num_frames: int) -> Timing:
        """Return it with times that count from an earlier beginning of sound, as in players."""
        if lead_seconds * self.fps <= Fraction(1, 2):
            return self
        lead = float(lead_seconds)
        times = np.arange(num_frames) / float(self.fps) if self.times is None else self.times
        return replace(self, times=times + lead, lead_seconds=lead)


def find_timing(
    stamps: Sequence[int | None], time_base: Fraction, last_duration: int, stated: Fraction
) -> Timing:
    """Compare the time stamps of a video with the rate that it states.

    Parameters
    ----------
    stamps : sequence of (int or None)
        Of the frames in the order in which they are shown, in units of `time_base`.
    time_base : Fraction
        In seconds.
    last_duration : int
        Of the last frame, 0 if it is not known.
    stated : Fraction
        Frames per second that the file states.

    Returns
    -------
    Timing
        With times if a step is longer than 1.5 usual ones (a lost frame shifts all later
        ones), or if frame i is more than half a frame away from i / fps. Stamps that are missing
        or go backwards are not used.
    """
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) < len(stamps) or len(known) < 2:
        return Timing(stated)
    ticks = np.array(known, np.int64) - known[0]
    steps = np.diff(ticks)
    if steps.min() <= 0:
        return Timing(stated, first_back=int(np.argmax(steps <= 0)) + 1)
    times = ticks * float(time_base)
    span = int(ticks[-1]) * time_base
    average = ((len(ticks) - 1) / span).limit_denominator(_MAX_DENOMINATOR)
    if steps.max() <= LONG_STEP * np.median(steps):
        for fps in (stated, average):
            departures = np.abs(times * float(fps) - np.arange(len(times)))
            if departures.max() <= 0.5:
                return Timing(fps)
    duration = span + (last_duration or int(steps[-1])) * time_base
    return Timing((len(ticks) / duration).limit_denominator(_MAX_DENOMINATOR), times)
