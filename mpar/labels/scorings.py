"""The two carriers of labels: scorings as label files hold them, and recordings with their labels.

Other programs count in seconds or in their own frames. Only decoding gives the true number of
frames, so mpar first reads a scoring and later lays it on the frames (`mpar.aligning.laying`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpar.errors import InputError, Problem
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.video.timeline import TimeLine

if TYPE_CHECKING:
    from mpar.video.following import SquarePath

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
        What the person noted about it, such as left; `mpar.formats.modifiers` finds its class.
    """

    behaviour: str
    start: Fraction
    stop: Fraction | None
    line: int = 0
    modifiers: tuple[str, ...] = ()


def _nothing() -> np.ndarray:
    return np.empty(0, np.int16)


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """What one person, or a network, scored in one video, as far as its file tells.

    mpar's own files have one code per frame. Those of other programs have events, which
    `mpar.aligning.laying` turns into codes once the frames of the video are known.

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
    is_filled : (N,) bool array
        Rows without a behaviour that count as the class for such frames; they never outvote what
        another scoring saw. Empty if there is none.
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
    corrects : tuple of str
        Names of the label files that this one corrects: its labels take the place of theirs.
    warnings : tuple of str
        What the user should check; the scoring is used all the same.
    problems : tuple of Problem
        Why this part of the file cannot be used; its video then has no labels.
    """

    path: Path
    events: tuple[Event, ...] = ()
    frames: np.ndarray = field(default_factory=_nothing)
    codes: np.ndarray = field(default_factory=_nothing)
    confidence: np.ndarray | None = None
    is_filled: np.ndarray = field(default_factory=_nothing)
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
    corrects: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        assert self.frames.shape == self.codes.shape
        assert self.is_filled.shape in {(0,), self.codes.shape}
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """A video of one animal, or a trial of it, with a label for every frame.

    Parameters
    ----------
    name : str
        The video's name without suffix, with ``__<animal>`` for a region and ``_trial<k>`` for a
        trial; unique in a cache and in a folder of predictions.
    video : str
        File name of the video.
    line : TimeLine
        When its frames are shown.
    labels : (T,) int8 array
        Class index of each frame, -1 for unlabelled; of several annotators, their majority.
    group : str
        The animal, if it has another name than the recording; a split never separates recordings
        of one animal.
    region : str
        Part of the picture, as "x,y,width,height" in px; "" for the whole picture.
    start_frame : int
        Frame of the video at which the recording starts.
    video_num_frames : int
        Frames of the whole video, for a trial more than T; 0 for T.
    annotators : tuple of str
        Who scored it, one per row of `codes`.
    codes : (A, T) int16 array
        Raw codes by annotator, -1 for unlabelled; empty for predictions.
    probabilities : (T, K) float32 array
        Class probabilities of a prediction, whose rows add up to 1; else empty.
    raw : (T,) int8 array, optional
        Predicted labels before post-processing.
    learnt_part : str
        "train" or "val" if the network that made the labels learnt from this video or animal.
    warnings : tuple of str
        What the user should check in the video.
    drift : mapping of str to str
        Those of the warnings that say how the video looks unlike the videos that the network
        learnt from, by code (`mpar.errors.KINDS`).
    source_digest : str
        Of what was predicted: the SHA-256 of the video, or a hash of the frames in a cache.
    alone : mapping of str to (T,) int8 array
        Labels of each expert of a prediction alone, before post-processing, if asked for.
    squares : SquarePath, optional
        The squares that a prediction was made from.
    """

    name: str
    video: str
    line: TimeLine
    labels: np.ndarray
    group: str = ""
    region: str = ""
    start_frame: int = 0
    video_num_frames: int = 0
    annotators: tuple[str, ...] = ()
    codes: np.ndarray = field(default_factory=_nothing)
    probabilities: np.ndarray = field(default_factory=_nothing)
    raw: np.ndarray | None = None
    learnt_part: str = ""
    warnings: tuple[str, ...] = ()
    drift: Mapping[str, str] = field(default_factory=dict)
    source_digest: str = ""
    alone: Mapping[str, np.ndarray] = field(default_factory=dict)
    squares: SquarePath | None = None

    def __post_init__(self) -> None:
        for name, shape, expected in (
            ("labels", self.labels.shape, (self.num_frames,)),
            ("codes", self.codes.shape, (len(self.annotators), self.num_frames)),
            ("probabilities", self.probabilities.shape[:1], (self.num_frames,)),
        ):
            if shape != expected and 0 not in shape:
                raise ValueError(f"{self.name}: found {name} of shape {shape}, expected {expected}")

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return self.line.num_frames

    @property
    def clock(self) -> TimeLine:
        """When its frames are shown.

        Raises
        ------
        InputError
            The frame rate varies, and the times of the frames are unknown.
        """
        if self.line.fps is None:
            raise InputError.of(
                self.video,
                "frame-rate",
                "has a variable frame rate, and this prediction from a cache does not store the "
                "times of its frames; predict the video itself",
            )
        return self.line

    @property
    def fps(self) -> Fraction:
        """Frames per second, exact; raises InputError if unknown."""
        return self.clock.fps or Fraction(0)

    @property
    def animal(self) -> str:
        """The animal."""
        return self.group or self.name

    @property
    def subject(self) -> str:
        """Name of the animal in its region, empty without a region."""
        return self.name.partition(JOINT)[2] if self.region else ""

    @property
    def is_trial(self) -> bool:
        """Return True if this is only a part of the video."""
        return self.video_num_frames > self.num_frames

    def confidence(self) -> np.ndarray:
        """Return the probability of each label, or the highest one if there is none, (T,)."""
        named = self.probabilities[np.arange(self.num_frames), np.maximum(self.labels, 0)]
        return np.where(self.labels == UNLABELLED, self.probabilities.max(axis=1), named)

    def without(self, class_names: Sequence[str], unscored: str | None) -> np.ndarray:
        """Return the labels with -1 in place of one class, (T,) int8."""
        if unscored is None:
            return self.labels
        index = list(class_names).index(unscored)
        return np.where(self.labels == index, UNLABELLED, self.labels)
