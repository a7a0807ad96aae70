"""Scorings: behaviours with their beginning and end, as other programs write them.

Those programs count seconds or frames of their own; only the decoded video tells how many frames
there are, so that a scoring is read first and laid on the frames later (`mpar.labels.laying`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.errors import InputError, Problem
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.video.timeline import TimeLine

JOINT = "__"  # between the names of a video and an animal in it
MAX_FPS = 1000  # above it, times in milliseconds cannot tell frames apart


@dataclass(frozen=True, slots=True)
class Event:
    """A behaviour and when it was seen.

    Parameters
    ----------
    behaviour : str
        Its name in the file.
    start, stop : Fraction
        Seconds, or 0-based frames; half-open. `stop` is None for an event without duration, which
        takes one frame.
    line : int
        Where the file says so, 0 if it has no lines.
    """

    behaviour: str
    start: Fraction
    stop: Fraction | None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Scoring:
    """What one person scored in one video, as another program wrote it.

    Parameters
    ----------
    path : Path
        The file.
    events : tuple of Event
        In any order.
    in_frames : bool
        Events count frames, not seconds.
    video : str
        File name (or its stem) of the video, empty if the file does not say.
    annotator : str
        The observation's name, which tells scorings in one file apart.
    subject : str
        The animal, empty if the file does not name one.
    is_of_subject : bool
        The file is about one animal of its video, though it does not name it.
    unscored : tuple of (Fraction, Fraction or None)
        Stretches that nobody looked at, half-open, None for the end; in the unit of the events.
    num_rows : int, optional
        Rows of a file that has one a frame.
    first_row : int
        Number of the first of them, as written.
    num_scored : int, optional
        Frames of the video, or of the first part of it that was looked at, by the file.
    frame_rate : Fraction, optional
        Frames per second of the video by the file.
    media_seconds : Fraction, optional
        Length of the video, or of its sound if that is longer, by the file.
    frame_times : tuple of (Fraction, int)
        Pairs of a time in seconds and the frame that the file says was shown then.
    columns : tuple of str
        Behaviours that the file has a column for, seen or not.
    row_times : tuple of Fraction
        Times of all rows, in seconds, of a table that has a row an interval.
    warnings : tuple of str
        What was not read but is worth knowing.
    problems : tuple of Problem
        Why this part of the file cannot be used; its video then has no labels.
    """

    path: Path
    events: tuple[Event, ...]
    in_frames: bool = False
    video: str = ""
    annotator: str = ""
    subject: str = ""
    is_of_subject: bool = False
    unscored: tuple[tuple[Fraction, Fraction | None], ...] = ()
    num_rows: int | None = None
    first_row: int = 0
    num_scored: int | None = None
    frame_rate: Fraction | None = None
    media_seconds: Fraction | None = None
    frame_times: tuple[tuple[Fraction, int], ...] = ()
    columns: tuple[str, ...] = ()
    row_times: tuple[Fraction, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def find_unknown(self, class_map: ClassMap) -> list[str]:
        """Return the behaviours that the class map does not know, each once.

        Columns without an event count only where no column is known: the file is then no table of
        behaviours at all.
        """
        names = [*dict.fromkeys(event.behaviour for event in self.events)]
        if not any(class_map.find_code(name) is not None for name in self.columns):
            names = [*dict.fromkeys((*names, *self.columns))]
        return [name for name in names if class_map.find_code(name) is None]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A video, or a trial of one, with a label for every frame.

    Parameters
    ----------
    name : str
        Its file name without suffix.
    video : str
        Its file name.
    fps : Fraction
        Frames per second, exact.
    labels : (T,) int8 array
        Class index, -1 for unlabelled.
    learnt_part : str
        "train" or "val" if a network labelled what it had learnt from, else empty.
    start_frame : int
        Frame of the video that is the first here.
    video_num_frames : int
        Frames of the video, more than `labels` has for a trial; 0 for just those.
    line : TimeLine, optional
        Its time line; by default one frame every 1 / fps seconds.
    region : str
        What was cut out of the pictures, as "x,y,width,height" in px; "" for all of them.
    """

    name: str
    video: str
    fps: Fraction
    labels: np.ndarray
    learnt_part: str = ""
    start_frame: int = 0
    video_num_frames: int = 0
    line: TimeLine | None = None
    region: str = ""

    @property
    def clock(self) -> TimeLine:
        """When its frames are shown.

        Raises
        ------
        InputError
            The frame rate varies, and the times of the frames are not known.
        """
        line = self.line or TimeLine(len(self.labels), self.fps)
        if line.fps is None:
            raise InputError.of(
                self.video,
                "has a variable frame rate, and a prediction made from a cache does not hold the "
                "times of its frames; predict the video itself",
            )
        return line

    @property
    def animal(self) -> str:
        """Name of the animal in its region, empty where the video shows one."""
        return self.name.partition(JOINT)[2] if self.region else ""

    @property
    def is_trial(self) -> bool:
        """Tell whether there is more of the video."""
        return self.video_num_frames > len(self.labels)

    def without(self, class_names: Sequence[str], unscored: str | None) -> np.ndarray:
        """Return the labels with -1 in place of one class, (T,) int8."""
        if unscored is None:
            return self.labels
        index = list(class_names).index(unscored)
        return np.where(self.labels == index, UNLABELLED, self.labels)
