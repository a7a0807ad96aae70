"""Lay scorings on the frames of their video, and refuse those that contradict it.

An event in seconds begins at the frame that was on the screen (`mpar.video.timeline`); the frame at
which a behaviour stops no longer has it. Source: BORIS stamps an event with the time stamp of the
frame on the screen, and counts a state as on from START up to, and without, STOP (its
``behavior_binary_table.py``).

A stop within half a frame of another event's start is the same edge. Source: BORIS stops a
behaviour that another one excludes 1 ms before that begins (its ``write_event.py``).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor

import numpy as np

from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.annotations import Annotation, guess_notice, shorten
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import MAX_FPS, Event, Scoring
from mpar.labels.several import (
    describe_nameless,
    find_part_problems,
    find_subject_problems,
    note_gaps,
)
from mpar.video.timeline import TimeLine

_POINT_REACH = Fraction(2, 1000)  # seconds
# of cameras and films, in frames per second
USUAL_RATES = [
    *map(Fraction, (1, 2, 3, 5, 6, 8, 10, 12, 15, 16, 20, 24, 25, 30, 40, 48, 50, 60)),
    *map(Fraction, (75, 80, 90, 100, 120, 150, 200, 240, 250, 300, 500, 1000)),
    *(Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 120)),
    Fraction(15, 2),
    Fraction(25, 2),
]


def lay(
    labels: Iterable[Annotation | Scoring],
    class_map: ClassMap,
    line: TimeLine,
    *,
    unscored: str | None = None,
    several: str | None = None,
) -> list[Annotation]:
    """Put scorings on the frames of a video; what has a row a frame already stays as it is.

    Parameters
    ----------
    labels : iterable of Annotation or Scoring
        All of one video.
    class_map : ClassMap
        Knows all behaviours in them.
    line : TimeLine
        Of the video.
    unscored : str, optional
        Name in the class map that frames without any behaviour get. By default they stay
        unlabelled, and a notice counts them.
    several : {"trials", "annotators"}, optional
        What the user says that several label files are.

    Returns
    -------
    list of Annotation
        One for each.

    Raises
    ------
    InputError
        Events overlap, are shorter than a frame, or lie mostly behind the video; what the file says
        of its video contradicts it; or the scorings are of several animals. Each with its place.

    Notes
    -----
    Events that end behind the last frame are cut there with a notice: the sound is often longer
    than the picture, and a stop at the end of the media then lies behind it.
    """
    labels = list(labels)
    scorings = [item for item in labels if isinstance(item, Scoring)]
    annotations = []
    problems = find_subject_problems(scorings)
    if unscored is not None and several is None:
        problems += find_part_problems(scorings, class_map, unscored)
    for item in labels if not problems else ():
        try:
            annotations.append(
                note_gaps(item, unscored)
                if isinstance(item, Annotation)
                else _lay_scoring(item, class_map, line, unscored)
            )
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    if notice := describe_nameless(labels):
        annotations[0] = replace(annotations[0], notices=(*annotations[0].notices, notice))
    return annotations


def _lay_scoring(
    scoring: Scoring, class_map: ClassMap, line: TimeLine, unscored: str | None
) -> Annotation:
    if scoring.row_times and _are_frames(scoring.row_times, line):
        scoring = _count_rows(scoring)
    notices = list(scoring.notices)
    line = _check_rate(scoring, line, notices)
    _check_count(scoring, line)
    total = line.num_frames if scoring.num_rows is None else scoring.num_rows
    spans, problems = _find_spans(scoring, total, line, notices)
    codes, clashes = _lay_spans(scoring, spans, class_map, total)
    if problems + clashes:
        raise InputError(shorten(scoring.path, problems + clashes))
    guessed = {
        name: class_map.name_of(class_map.code_of(name, forgiving=True))
        for name in dict.fromkeys(event.behaviour for event in scoring.events)
        if not class_map.has_name(name)
    }
    notices += [guess_notice(guessed)] if guessed else []
    num_points = sum(event.stop is None for event in scoring.events)
    if num_points:
        events = "1 event" if num_points == 1 else f"{num_points:,} events"
        notices.append(f"has {events} without duration; each takes one frame")
    if scoring.row_times and line.frame_of(scoring.row_times[0]) > 0:
        notices.append(
            f"begins at {float(scoring.row_times[0]):g} s; the frames before stay unlabelled"
        )
    is_free = codes == UNLABELLED
    for first, last in scoring.unscored:
        start = _frame_of(scoring, first, line)
        is_free[start : total if last is None else _frame_of(scoring, last, line)] = False
        if last is None and start < total:
            notices.append(f"is scored up to frame {start} of {total}; the others stay unlabelled")
    if is_free.any():
        count = f"{int(is_free.sum()):,} of {total:,} frames have no behaviour"
        if unscored is None:
            notices.append(
                f"{count} and stay unlabelled; --unscored names their class, if it is one"
            )
        else:
            notices.append(f"{count} and are taken for {unscored}")
            codes[is_free] = class_map.code_of(unscored, forgiving=True)
    return Annotation(
        scoring.path,
        np.arange(total) + scoring.first_row,
        codes,
        tuple(notices),
        scoring.annotator,
        fps=None if scoring.in_frames else line.fps,
    )


def _frame_of(scoring: Scoring, time: Fraction, line: TimeLine) -> int:
    """Return the frame at a time of an event, in the unit of its scoring."""
    return int(time) if scoring.in_frames else line.frame_of(time)


def _check_rate(scoring: Scoring, line: TimeLine, notices: list[str]) -> TimeLine:
    """Return the time line that a scoring is laid on.

    It is that of the video, at the file's rate where the video states none. InputError if the file
    and the video contradict each other.
    """
    path, rate = scoring.path, scoring.frame_rate or _rate_of_frames(scoring)
    if line.is_guess and rate is not None:
        line = TimeLine(line.num_frames, rate)
        notices.append(
            f"its video does not state its frame rate; {float(rate):g} frames per second is taken "
            "from this file"
        )
    if not scoring.in_frames:
        if line.fps is None:
            raise InputError.of(
                path, "has times in seconds, but the frame rate of its video is not known"
            )
        if line.is_guess:
            raise InputError.of(
                path,
                "has times in seconds, but neither it nor its video states a frame rate "
                f"({float(line.fps):g} is only a guess); convert the video to .mp4 at the rate of "
                "the camera",
            )
        if line.fps >= MAX_FPS:
            raise InputError.of(
                path,
                f"its times in milliseconds cannot tell frames apart at {float(line.fps):g} frames "
                f"per second, expected less than {MAX_FPS}",
            )
    if line.fps is not None and line.is_steady and not line.lead_seconds:
        problems = [
            *_find_contradictions(scoring, line, line.fps),
            *_find_row_problems(scoring, line),
        ]
        if problems:
            raise InputError(problems)
        seconds = scoring.media_seconds or Fraction(0)
        # sound is a little longer than the picture, not by half
        if seconds - line.seconds > max(line.seconds * 3 / 10, Fraction(1, 4)):
            notices.append(
                f"says that its video lasts {float(seconds):.3f} s, but the picture lasts "
                f"{float(line.seconds):.3f} s; if that is not the sound, pass the video that was "
                "scored"
            )
    return line


def _check_count(scoring: Scoring, line: TimeLine) -> None:
    """Raise InputError if a file is of other frames than its video has."""
    if scoring.row_times and scoring.row_times[0] >= line.seconds:
        raise InputError.of(
            scoring.path,
            f"begins at {float(scoring.row_times[0]):g} s, behind the end of its video "
            f"({float(line.seconds):.3f} s); check that they belong together, and that times count "
            "from the video's first frame",
        )
    found, total = scoring.num_scored, line.num_frames
    if found is None or line.fps is None:
        return
    # up to an earlier frame is a part of the video, unless that makes it another rate
    other = None if scoring.frame_rate else find_other_rate(line.fps * found / total, line.fps)
    if found > total + max(2, total // 50) or (found < total and other is not None):
        why = f", as at {float(other):g} frames per second" if other is not None else ""
        raise InputError.of(
            scoring.path,
            f"is scored up to frame {found}{why}, but its video has {total} frames; pass the video "
            "that was scored",
        )


def _rate_of_frames(scoring: Scoring) -> Fraction | None:
    """Return the usual rate at which a file numbers its frames by time, None if it does not."""
    time, frame = max(scoring.frame_times, default=(Fraction(0), 0))
    if time <= 0 or frame < 30:  # one frame more or less would be another rate
        return None
    near = min(USUAL_RATES, key=lambda rate: abs(rate - frame / time))
    return near if abs(near * time - frame) <= 2 else None


def _find_contradictions(scoring: Scoring, line: TimeLine, fps: Fraction) -> list[Problem]:
    """Return what a file says of its video that the video contradicts."""
    rate, seconds = scoring.frame_rate, scoring.media_seconds
    if rate is not None and abs(rate - fps) > fps / 200:
        return [
            Problem.of(
                scoring.path,
                f"says that its video has {float(rate):g} frames per second, but the video has "
                f"{float(fps):g}; score the video that is here, or pass the one that was scored",
            )
        ]
    early = _find_misfit(scoring.frame_times, fps)
    for time, frame in scoring.frame_times:
        # players count from 0 or 1 and round; a wrong rate is soon farther off
        if abs(line.frame_of(time) - frame) > 2 or (time, frame) == early:
            return [
                Problem.of(
                    scoring.path,
                    f"says that frame {frame} is shown at {float(time):g} s, but in its video that "
                    f"is frame {line.frame_of(time)} ({float(fps):g} frames per second); score the "
                    "video that is here, or pass the one that was scored",
                )
            ]
    if seconds is not None and line.num_frames:
        # sound may be longer than the picture, but hardly twice as long, and never shorter
        slack = max(Fraction(1, 4), line.seconds / 50, 2 / fps)
        is_another = not -slack <= seconds - line.seconds <= max(slack, line.seconds)
        by_length = line.num_frames / seconds if seconds else Fraction(0)
        other = None if rate is not None else find_other_rate(by_length, fps)
        if is_another or other is not None:
            why = f", as at {float(other):g} frames per second" if other is not None else ""
            return [
                Problem.of(
                    scoring.path,
                    f"says that its video lasts {float(seconds):.3f} s{why}, but the video has "
                    f"{line.num_frames} frames and lasts {float(line.seconds):.3f} s; pass the "
                    "video that was scored",
                )
            ]
    return []


def _find_misfit(
    frame_times: Sequence[tuple[Fraction, int]], fps: Fraction
) -> tuple[Fraction, int] | None:
    """Return the frame that fits its time worst, if another usual rate fits all of them exactly.

    It tells labels of another rate from frames that players round, even near the start.
    """

    def miss(pair: tuple[Fraction, int], rate: Fraction) -> Fraction:
        return abs(pair[1] - pair[0] * rate)

    worst = max(frame_times, key=lambda pair: miss(pair, fps), default=None)
    if worst is None or miss(worst, fps) <= Fraction(3, 2):
        return None
    is_exact = any(
        all(miss(pair, rate) <= Fraction(1, 10) + rate / 1000 for pair in frame_times)
        for rate in USUAL_RATES
    )
    return worst if is_exact else None


def find_other_rate(found: Fraction, fps: Fraction) -> Fraction | None:
    """Return the usual rate that a rate is, within 1 %, if it is not that of the video.

    Parameters
    ----------
    found : Fraction
        Frames per second by something else than the video.
    fps : Fraction
        Of the video.
    """
    near = min(USUAL_RATES, key=lambda rate: abs(rate - found))
    is_other = abs(near - found) <= near / 100 and abs(near - fps) > fps / 50
    return near if is_other else None


def _are_frames(times: Sequence[Fraction], line: TimeLine) -> bool:
    """Tell whether the rows of a table by time are the frames of a video, with rounded times.

    Rows at a regular interval are not: a frame, rounded, drifts away from the frames.
    """
    if line.fps is None:
        return False
    steps = {b - a for a, b in itertools.pairwise(times)}
    return (len(steps) > 1 or steps == {1 / line.fps}) and all(
        abs(time - line.start_of(i)) <= line.frame_seconds(line.start_of(i)) / 2
        for i, time in enumerate(times[: line.num_frames])
    )


def _count_rows(scoring: Scoring) -> Scoring:
    """Return a scoring by time as one by frame, where each row is a frame."""
    row_of = {time: Fraction(row) for row, time in enumerate(scoring.row_times)}
    end = Fraction(len(row_of))
    events = tuple(
        replace(
            event,
            start=row_of[event.start],
            stop=None if event.stop is None else row_of.get(event.stop, end),
        )
        for event in scoring.events
    )
    return replace(scoring, events=events, in_frames=True, unscored=((end, None),), row_times=())


def _find_row_problems(scoring: Scoring, line: TimeLine) -> list[Problem]:
    """Return why the rows of a table by time do not tell every frame."""
    times = scoring.row_times
    if len(times) < 2 or line.fps is None:
        return []
    longest = max(b - a for a, b in itertools.pairwise(times))
    mean = (times[-1] - times[0]) / (len(times) - 1)
    # times are rounded: a row may come half a frame late, but on average there is one a frame
    if longest <= Fraction(3, 2) / line.fps and mean * line.fps <= Fraction(1005, 1000):
        return []
    if abs(mean * line.fps / 1000 - 1) < Fraction(1, 10):
        message = "has times that seem to be milliseconds, expected seconds; divide them by 1000"
        return [Problem.of(scoring.path, message)]
    return [
        Problem.of(
            scoring.path,
            f"has a row every {float(max(mean, longest)):g} s, expected one a frame; export it "
            f"with a time interval of {floor(1000 / line.fps) / 1000} s",
        )
    ]


def _find_spans(
    scoring: Scoring, total: int, line: TimeLine, notices: list[str]
) -> tuple[list[tuple[int, int, Event]], list[Problem]]:
    """Return the first frame, the one after the last, and the event, of each that has frames."""
    spans: list[tuple[int, int, Event]] = []
    problems: list[Problem] = []
    late: list[tuple[int, int, Event]] = []
    starts = sorted({event.start for event in scoring.events})
    points = {event.start for event in scoring.events if event.stop is None}
    points -= {event.start for event in scoring.events if event.stop is not None}
    for event in scoring.events:
        start = _frame_of(scoring, event.start, line)
        stop = (
            start + 1 if event.stop is None else _stop_frame(scoring, event, starts, points, line)
        )
        if event.start < 0:
            message = f"{_shown(event, scoring.in_frames)} starts before the video; fix the event"
            problems.append(Problem.of(scoring.path, message, event.line))
        elif stop <= start:
            message = f"{_shown(event, scoring.in_frames)} ends before it has a frame; "
            problems.append(Problem.of(scoring.path, f"{message}lengthen or remove it", event.line))
        elif start >= total or stop > total + 1:
            late.append((start, stop, event))
        if start < min(stop, total):
            spans.append((start, min(stop, total), event))
    if late and not problems:
        _judge_late(scoring, spans, late, total, line, notices, problems)
    return spans, problems


def _stop_frame(
    scoring: Scoring, event: Event, starts: list[Fraction], points: set[Fraction], line: TimeLine
) -> int:
    """Return the frame after the last of an event that has an end.

    Only BORIS ends a behaviour at an event without duration, 1 ms (rounded) before it; a person
    who stops it a little earlier means an edge of its own.
    """
    assert event.stop is not None
    if not scoring.in_frames:
        reach = line.frame_seconds(event.stop) / 2
        at = bisect.bisect_left(starts, event.stop - reach)
        near = [
            start
            for start in starts[at : at + 3]
            if event.start < start
            and abs(start - event.stop) <= (_POINT_REACH if start in points else reach)
        ]
        if near:
            return line.frame_of(min(near, key=lambda s: abs(s - event.stop)))  # type: ignore[operator]
    return _frame_of(scoring, event.stop, line)


def _judge_late(
    scoring: Scoring,
    spans: list[tuple[int, int, Event]],
    late: list[tuple[int, int, Event]],
    total: int,
    line: TimeLine,
    notices: list[str],
    problems: list[Problem],
) -> None:
    """Note that events were cut at the end of the picture, or why that would be wrong."""
    num_inside = sum(stop - start for start, stop, _ in spans)
    num_behind = sum(stop - max(start, total) for start, stop, _ in late)
    length = f"{total} frames" + (f", {float(total / line.fps):.3f} s" if line.fps else "")
    first = min(late, key=lambda span: span[0])[2]
    if num_behind > num_inside:
        event = late[0][2]
        message = (
            f"{_shown(event, scoring.in_frames)} ends after the video ({length}), like most of "
            "what this file scores; check that they belong together"
        )
        problems.append(Problem.of(scoring.path, message, event.line))
        return
    notices.append(
        f"{len(late)} event{'s' * (len(late) > 1)} from {_shown(first, scoring.in_frames)} on "
        f"end{'s' * (len(late) == 1)} after the picture ({length}) and "
        f"{'are' if len(late) > 1 else 'is'} cut there; if the video is cut short, copy it again"
    )


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
        code = class_map.code_of(event.behaviour, forgiving=True)
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
    if unscored is not None and class_map.find_code(unscored) is None:
        raise ConfigError(
            f"unscored: found {unscored!r}, expected one of {', '.join(class_map.class_names)}"
        )


def _shown(event: Event, in_frames: bool) -> str:
    """Show what an event is and when: 'lick' (2.5-3.1 s), or (frames 3-9), counted from 0."""
    if event.stop is None:
        when = f"frame {event.start}" if in_frames else f"at {float(event.start):g} s"
    elif in_frames:
        when = f"frames {event.start}-{event.stop - 1}"
    else:
        when = f"{float(event.start):.6g}-{float(event.stop):.6g} s"
    return f"{event.behaviour!r} ({when})"
