"""Scorings: behaviours with their beginning and end, as other programs write them, laid on frames.

Those programs count seconds or frames of their own; only the decoded video tells how many frames
there are, so that a scoring is read first and laid on the frames later.

An event in seconds begins at the frame that was on the screen: the frame k with k/fps <= t, where
t may be 0.5 ms early, because these programs round to milliseconds. The frame at which a behaviour
stops no longer has it. Source: BORIS stamps an event with the time stamp of the frame on the
screen, and counts a state as on from START up to, and without, STOP (its
``behavior_binary_table.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np

from mpar.annotations import DELIMITERS, Annotation, parse_rows, plain_cells, shorten
from mpar.classes import UNLABELLED, ClassMap
from mpar.errors import ConfigError, InputError, Problem

MAX_FPS = 1000  # above it, times in milliseconds cannot tell frames apart
NOTHING = {"", "na", "nan", "none"}

_EARLY = Fraction(1, 2000)  # half the millisecond that times are rounded to
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]*)?", re.ASCII)
_MAX_PREAMBLE_LINES = 500


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
    unscored : tuple of (Fraction, Fraction or None)
        Stretches that nobody looked at, half-open, None for the end; in the unit of the events.
    num_rows : int, optional
        Rows of a file that has one a frame.
    frame_rate : Fraction, optional
        Frame rate by the file, where its frames count at that rate.
    max_step : Fraction, optional
        Longest time between two rows, in seconds, of a file that has a row an interval.
    notices : tuple of str
        What was not read but is worth knowing.
    """

    path: Path
    events: tuple[Event, ...]
    in_frames: bool = False
    video: str = ""
    annotator: str = ""
    unscored: tuple[tuple[Fraction, Fraction | None], ...] = ()
    num_rows: int | None = None
    frame_rate: Fraction | None = None
    max_step: Fraction | None = None
    notices: tuple[str, ...] = ()

    def frame_of(self, time: Fraction, fps: Fraction | None) -> int:
        """Return the frame at a time of an event."""
        return int(time) if self.in_frames or fps is None else floor((time + _EARLY) * fps)

    def find_unknown(self, class_map: ClassMap) -> list[str]:
        """Return the behaviours that the class map does not know, each once."""
        names = dict.fromkeys(event.behaviour for event in self.events)
        return [name for name in names if not is_known(name, class_map)]


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
    """

    name: str
    video: str
    fps: Fraction
    labels: np.ndarray
    learnt_part: str = ""
    start_frame: int = 0
    video_num_frames: int = 0

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


def lay(
    labels: Iterable[Annotation | Scoring],
    class_map: ClassMap,
    num_frames: int,
    fps: Fraction | None,
    *,
    unscored: str | None = None,
) -> list[Annotation]:
    """Put scorings on the frames of a video; what has a row a frame already stays as it is.

    Parameters
    ----------
    labels : iterable of Annotation or Scoring
        From `read_labels`.
    class_map : ClassMap
        Knows all behaviours in them.
    num_frames : int
        Frames that the video really yields.
    fps : Fraction, optional
        Its frames per second, exact.
    unscored : str, optional
        Name in the class map that frames without any behaviour get. By default they stay
        unlabelled, and that is said.

    Returns
    -------
    list of Annotation
        One for each.

    Raises
    ------
    InputError
        Events overlap, end after the video, or are shorter than a frame; each with its place.

    Notes
    -----
    An end up to one frame behind the last is taken for the end of the video: players report the
    end of the last frame, or of the sound.
    """
    annotations = []
    problems: list[Problem] = []
    for item in labels:
        try:
            annotations.append(
                item
                if isinstance(item, Annotation)
                else _lay_scoring(item, class_map, num_frames, fps, unscored)
            )
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return annotations


def _lay_scoring(
    scoring: Scoring,
    class_map: ClassMap,
    num_frames: int,
    fps: Fraction | None,
    unscored: str | None,
) -> Annotation:
    _check_rates(scoring, fps)
    total = num_frames if scoring.num_rows is None else scoring.num_rows
    spans, problems = _find_spans(scoring, total, fps)
    codes, clashes = _lay_spans(scoring, spans, class_map, total)
    if problems + clashes:
        raise InputError(shorten(scoring.path, problems + clashes))
    notices = list(scoring.notices)
    num_points = sum(event.stop is None for event in scoring.events)
    if num_points:
        notices.append(f"has {num_points:,} events without duration; each takes one frame")
    is_free = codes == UNLABELLED
    for first, last in scoring.unscored:
        stop = total if last is None else scoring.frame_of(last, fps)
        is_free[scoring.frame_of(first, fps) : stop] = False
    if is_free.any():
        count = f"{int(is_free.sum()):,} of {total:,} frames have no behaviour"
        if unscored is None:
            notices.append(
                f"{count} and stay unlabelled; --unscored names their class, if it is one"
            )
        else:
            notices.append(f"{count} and are taken for {unscored}")
            codes[is_free] = class_map.code_of(unscored)
    return Annotation(scoring.path, np.arange(total), codes, tuple(notices), scoring.annotator)


def _check_rates(scoring: Scoring, fps: Fraction | None) -> None:
    """Raise InputError if the times of a scoring do not tell the frames of its video."""
    path, rate, max_step = scoring.path, scoring.frame_rate, scoring.max_step
    if not scoring.in_frames:
        if fps is None:
            raise InputError.of(
                path, "has times in seconds, but the frame rate of its video is not known"
            )
        if fps >= MAX_FPS:
            raise InputError.of(
                path,
                f"its times in milliseconds cannot tell frames apart at {float(fps):g} frames per "
                f"second, expected less than {MAX_FPS}",
            )
        if max_step is not None and max_step > 1 / fps + _EARLY:
            raise InputError.of(
                path,
                f"has a row every {float(max_step):g} s, expected one a frame; export it "
                f"with a time interval of {floor(1000 / fps) / 1000} s",
            )
    if rate is not None and fps is not None and abs(rate - fps) > fps / 200:
        raise InputError.of(
            path,
            f"counts frames at {float(rate):g} frames per second, but its video has "
            f"{float(fps):g}; save it with times, or at the video's rate",
        )


def _find_spans(
    scoring: Scoring, total: int, fps: Fraction | None
) -> tuple[list[tuple[int, int, Event]], list[Problem]]:
    """Return the first frame, the one after the last, and the event, of each that has frames."""
    spans: list[tuple[int, int, Event]] = []
    problems: list[Problem] = []
    for event in scoring.events:
        start = scoring.frame_of(event.start, fps)
        stop = start + 1 if event.stop is None else scoring.frame_of(event.stop, fps)
        if stop == total + 1 and start < total:
            stop = total
        if stop > total:
            length = f"{total} frames" + (f", {float(total / fps):.3f} s" if fps else "")
            why = f"ends after the video ({length}); fix the event, or check the video"
        elif stop <= start:
            why = "ends before it has a frame; lengthen or remove it"
        else:
            spans.append((start, stop, event))
            continue
        message = f"{_shown(event, scoring.in_frames)} {why}"
        problems.append(Problem.of(scoring.path, message, event.line))
    return spans, problems


def _lay_spans(
    scoring: Scoring,
    spans: Sequence[tuple[int, int, Event]],
    class_map: ClassMap,
    total: int,
) -> tuple[np.ndarray, list[Problem]]:
    """Return the code of each frame, (total,) int16, and the events that want another's frames."""
    problems: list[Problem] = []
    codes = np.full(total, UNLABELLED, np.int16)
    owner = np.full(total, -1)
    for i, (start, stop, event) in enumerate(spans):
        code = class_map.code_of(event.behaviour)
        clash = np.flatnonzero((codes[start:stop] != code) & (codes[start:stop] != UNLABELLED))
        if len(clash):
            frame = start + clash[0]
            other = spans[owner[frame]][2]
            message = (
                f"{_shown(event, scoring.in_frames)} overlaps {_shown(other, scoring.in_frames)} "
                f"in frame {frame}, but a frame has one class; end one where the other begins"
            )
            problems.append(Problem.of(scoring.path, message, event.line))
        codes[start:stop] = code
        owner[start:stop] = i
    return codes, problems


def check_unscored(unscored: str | None, class_map: ClassMap) -> None:
    """Raise ConfigError if the class of frames without behaviour is none of the class map."""
    if unscored is not None and not is_known(unscored, class_map):
        raise ConfigError(
            f"unscored: found {unscored!r}, expected one of {', '.join(class_map.class_names)}"
        )


def is_known(name: str, class_map: ClassMap) -> bool:
    """Tell whether a class map has a code or a class of this name."""
    try:
        class_map.code_of(name)
    except KeyError:
        return False
    return True


def _shown(event: Event, in_frames: bool) -> str:
    """Show what an event is and when: 'lick' (2.5-3.1 s), or (frames 3-9), counted from 0."""
    if event.stop is None:
        when = f"frame {event.start}" if in_frames else f"at {float(event.start):g} s"
    elif in_frames:
        when = f"frames {event.start}-{event.stop - 1}"
    else:
        when = f"{float(event.start):.6g}-{float(event.stop):.6g} s"
    return f"{event.behaviour!r} ({when})"


# Tables: all formats but MARS/Bento's and BORIS projects are rows below a header.


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below a header: (line, cells), with as many cells as there are columns.

    Parameters
    ----------
    path : Path
        The file.
    columns, names : list of str
        The header in lower case, and as it is written.
    rows : list of (int, list of str)
        The rows that are not blank.
    preamble : list of list of str
        The rows above the header.
    header_line : int
        Where the header is.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, list[str]]]
    preamble: list[list[str]]
    header_line: int
    names: list[str]

    def find(self, *names: str) -> int | None:
        """Return the position of the first of these columns that is there."""
        return next((self.columns.index(name) for name in names if name in self.columns), None)

    def cell(self, cells: list[str], *names: str) -> str:
        """Return the cell of the first of these columns that is there, else nothing."""
        column = self.find(*names)
        return "" if column is None else cells[column]


def find_header(text: str, is_header: Callable[[list[str]], bool]) -> tuple[int, str] | None:
    """Return where a header is, as index of its line, and the delimiter of its cells."""
    for index, line in enumerate(text.splitlines()[:_MAX_PREAMBLE_LINES]):
        for delimiter in DELIMITERS:
            if is_header(plain_cells(line, delimiter)):
                return index, delimiter
    return None


def parse_table(path: Path, text: str, is_header: Callable[[list[str]], bool]) -> Table:
    """Read a table whose header may have lines above it."""
    found = find_header(text, is_header)
    rows = parse_rows(path, text, found[1]) if found else []
    places = (i for i, (_, cells) in enumerate(rows) if is_header([c.lower() for c in cells]))
    at = next(places, None)
    if at is None:
        raise InputError.of(
            path,
            "does not have the columns of the format it is read as; choose another "
            "--annotation-format, or export it again",
        )
    line, names = rows[at]
    problems = []
    body = []
    for row_line, cells in rows[at + 1 :]:
        if not any(cells):
            continue
        if any(cells[len(names) :]):
            message = f"found {len(cells)} cells, expected {len(names)}; fix the row"
            problems.append(Problem.of(path, message, row_line))
        body.append((row_line, [*cells, *[""] * (len(names) - len(cells))][: len(names)]))
    if problems:
        raise InputError(shorten(path, problems))
    if not body:
        raise InputError.of(path, "has no rows below its header; score it or remove it", line)
    preamble = [cells for _, cells in rows[:at]]
    return Table(path, [name.lower() for name in names], body, preamble, line, names)


class ProblemList(list[Problem]):
    """Problems of one file, collected while it is read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def note(self, message: str, line: int = 0) -> None:
        """Add one."""
        self.append(Problem.of(self.path, message, line))

    def number(self, cell: str, what: str, line: int) -> Fraction:
        """Read a number from 0; notes a problem and returns 0 if it is none."""
        if _NUMBER.fullmatch(cell):
            return Fraction(cell)
        self.note(f"{what} is {cell[:40]!r}, expected a number from 0; fix the row", line)
        return Fraction(0)

    def frame(self, cell: str, what: str, line: int) -> Fraction:
        """Read a whole number from 0; notes a problem and returns 0 if it is none."""
        number = self.number(cell, what, line)
        if number.denominator > 1:
            self.note(f"{what} is {cell!r}, expected a whole number; fix the row", line)
        return number

    def check(self) -> None:
        """Raise InputError if there are any."""
        if self:
            raise InputError(shorten(self.path, self))
