"""Stretches: pieces of recordings that mpar asks a person to look at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A piece of a recording to look at, and why.

    Parameters
    ----------
    recording : str
        Name of the recording, that of its prediction file.
    start, stop : int
        Frames of the video, half-open, counted from 0.
    reason : str
        Why to look at it, for the person who does.
    worth : float
        What looking at it is worth; a queue begins with the highest.

    Raises
    ------
    ValueError
        The stretch has no frame.
    """

    recording: str
    start: int
    stop: int
    reason: str
    worth: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"stretch: found frames {self.start} to {self.stop}, expected some")

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start
