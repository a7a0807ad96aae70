"""Stretches: parts of recordings that are worth a look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A part of a recording.

    Parameters
    ----------
    recording : str
        Name of the recording.
    start, stop : int
        Frames of the video, half-open.
    reason : str
        Why to look at it, for people.
    worth : float
        What looking at it is worth; higher comes first.
    """

    recording: str
    start: int
    stop: int
    reason: str
    worth: float
