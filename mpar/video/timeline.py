"""The time line of a video: which frame is on the screen at which second."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np

ROUNDING_SECONDS = Fraction(1, 2000)  # label programs round times to milliseconds


@dataclass(frozen=True, slots=True, eq=False)
class TimeLine:
    """When each frame of a video is shown.

    Parameters
    ----------
    num_frames : int
        Frames T that the video really yields.
    fps : Fraction, optional
        Frames per second, exact; the average where they vary, None if unknown.
    times : (T,) float64 array, optional
        Seconds from the first frame to each, rising; only for videos that do not show one frame
        every 1 / fps seconds.
    is_guess : bool
        The file does not state its rate, so that `fps` is only a default of the decoder.

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

    @property
    def _rate(self) -> Fraction:
        if self.fps is None:
            raise ValueError("the frame rate is unknown")
        return self.fps

    @property
    def seconds(self) -> Fraction:
        """How long the video is shown. ValueError if its rate is unknown."""
        length = self.num_frames / self._rate
        if self.times is None or self.num_frames < 2:
            return length
        last, before = Fraction(float(self.times[-1])), Fraction(float(self.times[-2]))
        # the rate is the average over the whole length, the last frame's stay included
        return length if length > last else 2 * last - before

    def frame_of(self, seconds: Fraction) -> int:
        """Return the frame on the screen at a time, which may be 0.5 ms early by rounding.

        Past the end frames go on at the rate of the video. ValueError if its rate is unknown.
        """
        time, rate = seconds + ROUNDING_SECONDS, self._rate
        if self.times is None or not self.num_frames:
            return floor(time * rate)
        if time >= self.seconds:
            return self.num_frames + floor((time - self.seconds) * rate)
        return max(0, int(np.searchsorted(self.times, float(time), side="right")) - 1)

    def start_of(self, frame: int) -> Fraction:
        """Return the second at which a frame begins; that of frame T is the end."""
        if frame == self.num_frames:
            return self.seconds
        if self.times is None or frame > self.num_frames:
            return frame / self._rate
        return Fraction(float(self.times[frame]))

    def frame_seconds(self, seconds: Fraction) -> Fraction:
        """Return how long a frame is shown at a time."""
        if self.times is None or self.num_frames < 2:
            return 1 / self._rate
        frame = min(max(0, self.frame_of(seconds)), self.num_frames - 2)
        return Fraction(float(self.times[frame + 1] - self.times[frame]))
