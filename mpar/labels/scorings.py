"""The two carriers of labels: scorings as label files hold them, and recordings with their labels.

Other programs count in seconds or in their own frames. Only decoding gives the true number of
frames, so mpar first reads a scoring and later lays it on the frames (`mpar.labels.laying`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
        Line of the file, 0 if the file has no lines.
    modifiers : tuple of str
        What the person noted about it, such as left; `mpar.labels.modifiers` finds its class.
    """

    behaviour: str
    start: Fraction
    stop: Fraction | None
    line: int = 0
    modifiers: tuple[str, ...] = ()


def _no_frames() -> np.ndarray:
    return np.empty(0, np.int16)


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """What one person, or a network, scored in one video, as far as its file tells.

    mpar's own files have one code per frame. Those of other programs have events, which
    `mpar.labels.laying` turns into codes once the frames of the video are known.

    Parameters
    ----------
    path : Path
        The file.
    events : tuple of Event
        In any order; empty in a scoring by frame.
    frames : (N,) int64 array
        Frame numbers of the rows as written, strictly increasing; empty unless it is by frame.
    codes : (N,) int16 array
        Code of each of these frames, -1 for unlabelled.
    confidence : (N,) float64 array, optional
        Confidence of each row of a prediction, 0 to 1.
    in_frames : bool
        Times of events are frames, not seconds.
    video : str
        File name (or its stem) of the video, empty if the file does not say.
    annotator : str
        Name of the observation, which identifies a scoring within a file.
    subject : str
        The animal, empty if the file does not name one.
    is_of_subject : bool
        The file is about one animal of its video but does not name it.
    unscored : tuple of (Fraction, Fraction or None)
        Stretches that nobody scored, half-open, None for the end; in the unit of the events.
    num_rows : int, optional
        Number of rows, if the file has one row per frame.
    first_row : int
        Frame number of the first row, as written.
    num_scored : int, optional
        Number of frames that were scored, from the first one, according to the file.
    frame_rate : Fraction, optional
        Frames per second of the video according to the file; in a scoring by frame, the rate at
        which its events in seconds were laid on the frames.
    media_seconds : Fraction, optional
        Length of the video, or of its sound if that is longer, according to the file.
    frame_times : tuple of (Fraction, int)
        Pairs of a time in seconds and the frame that the file says was shown then.
    columns : tuple of str
        Behaviours that have a column in the file, seen or not.
    row_times : tuple of Fraction
        Times of all rows in seconds, if the file has one row per time interval.
    warnings : tuple of str
        What the user should check; the scoring is used all the same.
    problems : tuple of Problem
        Why this part of the file cannot be used; its video then has no labels.
    """

    path: Path
    events: tuple[Event, ...] = ()
    frames: np.ndarray = field(default_factory=_no_frames)
    codes: np.ndarray = field(default_factory=_no_frames)
    confidence: np.ndarray | None = None
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

    def __post_init__(self) -> None:
        assert self.frames.shape == self.codes.shape
        assert self.confidence is None or self.confidence.shape == self.frames.shape

    @property
    def is_by_frame(self) -> bool:
        """Return True if it has one code per frame."""
        return len(self.frames) > 0

    def warned(self, *warnings: str) -> Scoring:
        """Return this scoring with more warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def find_unknown(self, class_map: ClassMap) -> list[str]:
        """Return the behaviours that are not in the class map, each once.

        Columns without an event count only if no column is in the class map: the file is then not
        a table of behaviours at all.
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
        "train" or "val" if the network that made the labels learnt from this video, else empty.
    start_frame : int
        Frame of the video at which the labels start.
    video_num_frames : int
        Frames of the whole video, for a trial more than in `labels`; 0 for as many as in `labels`.
    line : TimeLine, optional
        Its time line; by default one frame every 1 / fps seconds.
    region : str
        Part of the picture, as "x,y,width,height" in px; "" for the whole picture.
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
            The frame rate varies, and the times of the frames are unknown.
        """
        line = self.line or TimeLine(len(self.labels), self.fps)
        if line.fps is None:
            raise InputError.of(
                self.video,
                "has a variable frame rate, and this prediction from a cache does not store the "
                "times of its frames; predict the video itself",
            )
        return line

    @property
    def animal(self) -> str:
        """Name of the animal in its region, empty without a region."""
        return self.name.partition(JOINT)[2] if self.region else ""

    @property
    def is_trial(self) -> bool:
        """Return True if this is only a part of the video."""
        return self.video_num_frames > len(self.labels)

    def without(self, class_names: Sequence[str], unscored: str | None) -> np.ndarray:
        """Return the labels with -1 in place of one class, (T,) int8."""
        if unscored is None:
            return self.labels
        index = list(class_names).index(unscored)
        return np.where(self.labels == index, UNLABELLED, self.labels)
