"""Lay scorings on the frames of their video, and refuse scorings that contradict it.

An event in seconds starts at the frame that was on the screen (`mpar.video.timeline`); the frame at
which it stops is no longer part of it. Source: BORIS stamps an event with the time stamp of the
frame on the screen, and counts a state as on from START up to, but not including, STOP (its
``behavior_binary_table.py``).

A stop within half a frame of another event's start is the same edge. Source: if one behaviour
excludes another, BORIS stops the other 1 ms before the first starts (its ``write_event.py``).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from mpar.aligning.contradictions import check_count, check_rate
from mpar.aligning.parts import (
    Laid,
    add_parts,
    are_parts,
    check_numbers,
    describe_parts,
    without_rest,
)
from mpar.errors import ConfigError, InputError, Problem, counted, shorten
from mpar.formats.annotations import guess_warning
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.names import folded, normal
from mpar.labels.scorings import Event, Scoring
from mpar.matching.label_options import ANNOTATORS, DEFAULT_OPTIONS, PARTS, LabelOptions
from mpar.video.timeline import TimeLine

_POINT_REACH = Fraction(2, 1000)  # seconds


def events_to_frames(
    scorings: Iterable[Scoring],
    class_map: ClassMap,
    line: TimeLine,
    options: LabelOptions = DEFAULT_OPTIONS,
) -> list[Scoring]:
    """Convert events to one code per frame; scorings by frame stay as they are.

    Parameters
    ----------
    scorings : iterable of Scoring
        All scorings of one video.
    class_map : ClassMap
        Contains all behaviours in them.
    line : TimeLine
        Time line of the video.
    options : LabelOptions
        The class of frames without any behaviour, and how several scorings are read
        (`mpar.aligning.parts`).

    Returns
    -------
    list of Scoring
        The same, by frame; a single one if they are parts of one scoring.

    Raises
    ------
    InputError
        Events overlap, are shorter than a frame, or lie mostly after the end of the video; the file
        contradicts its video; or the scorings are of several animals. Lists each problem with its
        place.

    Notes
    -----
    mpar cuts events that end after the last frame and warns about them: the sound is often
    longer than the picture, so a stop at the end of the media lies after the last frame.
    """
    unscored, several = options.unscored, options.several
    scorings = list(scorings)
    by_event = [item for item in scorings if not item.is_by_frame]
    laid: list[Laid] = []
    problems = find_subject_problems(by_event)
    for item in scorings if not problems else ():
        try:
            laid.append(
                _as_laid(note_gaps(item, unscored))
                if item.is_by_frame
                else _lay_events(item, class_map, line)
            )
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    own, corrections = split_corrections([item.scoring for item in laid], options)
    laid = [item for item in laid if item.scoring in own]
    notes = [note] if (note := describe_nameless([item.source for item in laid])) else []
    if several == PARTS and len(laid) > 1:
        check_numbers(laid, line.num_frames)
        laid = [add_parts([without_rest(p, class_map, unscored) for p in laid], class_map, line)]
    elif several is None and are_parts(laid, class_map, line.num_frames, unscored):
        notes.append(describe_parts(laid, class_map))
        laid = [add_parts(laid, class_map, line, unscored)]
    filled = [_fill(item, class_map, unscored) for item in laid]
    if notes:
        filled[0] = filled[0].warned(*notes)
    if len(filled) == 1:  # parts now have the name of the first
        first = normal(filled[0].path.name)
        corrections = [replace(item, corrects=(*item.corrects, first)) for item in corrections]
    return [*filled, *(item.warned(_describe_correction(item, own)) for item in corrections)]


def split_corrections(
    scorings: Sequence[Scoring], options: LabelOptions
) -> tuple[list[Scoring], list[Scoring]]:
    """Return the scorings of a recording that correct no other one of it, and those that do."""
    names = {normal(item.path.name) for item in scorings}
    corrections = [item for item in scorings if names & {*item.corrects} - {normal(item.path.name)}]
    own = [item for item in scorings if item not in corrections]
    return (own, corrections) if own and options.several != ANNOTATORS else ([*scorings], [])


def _describe_correction(scoring: Scoring, own: Sequence[Scoring]) -> str:
    corrected = dict.fromkeys(
        item.path.name for item in own if normal(item.path.name) in scoring.corrects
    )
    count = counted(int(np.count_nonzero(scoring.codes != UNLABELLED)), "frame")
    return (
        f"corrects {', '.join(corrected) or 'other corrections'}: its labels of {count} take the "
        "place of those there; pass --several annotators to count it as a second opinion"
    )


def _as_laid(scoring: Scoring) -> Laid:
    """Return a scoring by frame, whose unlabelled rows stay unlabelled."""
    nothing = np.zeros(len(scoring.codes), np.int64)
    return Laid(scoring, scoring, nothing > 0, nothing)


def _fill(laid: Laid, class_map: ClassMap, unscored: str | None) -> Scoring:
    """Give free frames the class for frames without a behaviour, or warn about them."""
    scoring, num_free = laid.scoring, int(laid.is_free.sum())
    if not num_free:
        return scoring
    count = f"{num_free:,} of {len(laid.is_free):,} frames have no behaviour"
    if unscored is None:
        return scoring.warned(
            f"{count} and stay unlabelled; pass --unscored CLASS if they belong to a class"
        )
    code = class_map.code_of(unscored, forgiving=True)
    codes = np.where(laid.is_free, code, scoring.codes).astype(np.int16)
    filled = replace(scoring, codes=codes, is_filled=laid.is_free)
    return filled.warned(f"{count} and count as {unscored}")


def _lay_events(scoring: Scoring, class_map: ClassMap, line: TimeLine) -> Laid:
    """Lay the events of a scoring on the frames; frames without any stay unlabelled."""
    source = scoring
    if scoring.row_times and _are_frames(scoring.row_times, line):
        scoring = _count_rows(scoring)
    warnings = list(scoring.warnings)
    line = check_rate(scoring, line, warnings)
    check_count(scoring, line)
    total = line.num_frames if scoring.num_rows is None else scoring.num_rows
    spans, problems = _find_spans(scoring, total, line, warnings)
    codes, lines, clashes = _lay_spans(scoring, spans, class_map, total)
    if problems + clashes:
        raise InputError(shorten(scoring.path, problems + clashes))
    guessed = {
        name: class_map.name_of(class_map.code_of(name, forgiving=True))
        for name in dict.fromkeys(event.behaviour for event in scoring.events)
        if not class_map.has_name(name)
    }
    warnings += [guess_warning(guessed)] if guessed else []
    num_points = sum(event.stop is None for event in scoring.events)
    if num_points:
        events = "1 event" if num_points == 1 else f"{num_points:,} events"
        warnings.append(f"has {events} without a duration; each takes one frame")
    if scoring.row_times and line.frame_of(scoring.row_times[0]) > 0:
        warnings.append(
            f"starts at {float(scoring.row_times[0]):g} s; earlier frames stay unlabelled"
        )
    is_free = codes == UNLABELLED
    for first, last in scoring.unscored:
        start = _frame_of(scoring, first, line)
        is_free[start : total if last is None else _frame_of(scoring, last, line)] = False
        if last is None and start < total:
            warnings.append(
                f"is scored up to frame {start} of {total}; later frames stay unlabelled"
            )
    laid = Scoring(
        scoring.path,
        frames=np.arange(total) + scoring.first_row,
        codes=codes,
        warnings=tuple(warnings),
        annotator=scoring.annotator,
        frame_rate=None if scoring.in_frames else line.fps,
    )
    return Laid(laid, source, is_free, lines)


def _frame_of(scoring: Scoring, time: Fraction, line: TimeLine) -> int:
    """Return the frame of an event time, which is in the unit of its scoring."""
    return int(time) if scoring.in_frames else line.frame_of(time)


def _are_frames(times: Sequence[Fraction], line: TimeLine) -> bool:
    """Return True if the row times of a table are the rounded frame times of a video.

    Rows at a regular, rounded interval drift away from the frames.
    """
    if line.fps is None:
        return False
    steps = {b - a for a, b in itertools.pairwise(times)}
    return (len(steps) > 1 or steps == {1 / line.fps}) and all(
        abs(time - line.start_of(i)) <= line.frame_seconds(line.start_of(i)) / 2
        for i, time in enumerate(times[: line.num_frames])
    )


def _count_rows(scoring: Scoring) -> Scoring:
    """Convert a scoring by time to one by frame, given that each row is a frame."""
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
    gaps = [
        (row_of[first], None if last is None else row_of.get(last, end))
        for first, last in scoring.unscored
        if first in row_of
    ]
    return replace(
        scoring, events=events, in_frames=True, unscored=(*gaps, (end, None)), row_times=()
    )


def _find_spans(
    scoring: Scoring, total: int, line: TimeLine, warnings: list[str]
) -> tuple[list[tuple[int, int, Event]], list[Problem]]:
    """Return (start, stop, event) of every event that covers frames, half-open."""
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
            problems.append(Problem.of(scoring.path, "event-times", message, event.line))
        elif stop <= start:
            message = f"{_shown(event, scoring.in_frames)} covers no frame; "
            problems.append(
                Problem.of(
                    scoring.path, "event-times", f"{message}lengthen or remove it", event.line
                )
            )
        elif start >= total or stop > total + 1:
            late.append((start, stop, event))
        if start < min(stop, total):
            spans.append((start, min(stop, total), event))
    if late and not problems:
        _judge_late(scoring, spans, late, total, line, warnings, problems)
    return spans, problems


def _stop_frame(
    scoring: Scoring, event: Event, starts: list[Fraction], points: set[Fraction], line: TimeLine
) -> int:
    """Return the frame after the last one of an event with a stop.

    Next to an event without a duration, only a stop that BORIS set 1 ms (rounded) before it is the
    same edge; a stop that a person set a little earlier is a separate edge.
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
    warnings: list[str],
    problems: list[Problem],
) -> None:
    """Warn that events are cut at the end of the picture; add a problem if most lie after it."""
    num_inside = sum(stop - start for start, stop, _ in spans)
    num_behind = sum(stop - max(start, total) for start, stop, _ in late)
    length = f"{total} frames" + (f", {float(total / line.fps):.3f} s" if line.fps else "")
    first = min(late, key=lambda span: span[0])[2]
    if num_behind > num_inside:
        event = late[0][2]
        message = (
            f"{_shown(event, scoring.in_frames)} ends after the video ({length}), like most of "
            "what this file scores; check that the file belongs to this video"
        )
        problems.append(Problem.of(scoring.path, "past-end", message, event.line))
        return
    what, verb, them = _shown(first, scoring.in_frames), "ends", "it"
    if len(late) > 1:
        what, verb, them = f"{len(late)} events from {what} on", "end", "them"
    warnings.append(
        f"{what} {verb} after the picture ({length}); mpar cuts {them} there; if the video is cut "
        "short, copy it again"
    )


def _lay_spans(
    scoring: Scoring,
    spans: Sequence[tuple[int, int, Event]],
    class_map: ClassMap,
    total: int,
) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    """Return the code of each frame, (total,) int16, its line, and a problem for each overlap."""
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
                f"in frame {frame}, but a frame has one class; end one where the other starts"
            )
            problems.append(Problem.of(scoring.path, "overlap", message, event.line))
        codes[start:stop] = code
        owner[start:stop] = i
    lines = np.array([*(event.line for _, _, event in spans), 0])[owner]
    return codes, lines, problems


def check_unscored(unscored: str | None, class_map: ClassMap) -> None:
    """Raise ConfigError if the class map lacks the class for frames without a behaviour."""
    if unscored is not None and class_map.find_code(unscored) is None:
        raise ConfigError(
            f"unscored: found {unscored!r}, expected one of {', '.join(class_map.class_names)}"
        )


def _shown(event: Event, in_frames: bool) -> str:
    """Describe an event: 'lick' (2.5-3.1 s) or 'lick' (frames 3-9), counted from 0."""
    if event.stop is None:
        when = f"frame {event.start}" if in_frames else f"at {float(event.start):g} s"
    elif in_frames:
        when = f"frames {event.start}-{event.stop - 1}"
    else:
        when = f"{float(event.start):.6g}-{float(event.stop):.6g} s"
    return f"{event.behaviour!r} ({when})"


def find_subject_problems(scorings: Sequence[Scoring]) -> list[Problem]:
    """Return a problem if the scorings of one video are not all of the same animal."""
    subjects = {folded(scoring.subject): scoring.subject for scoring in reversed(scorings)}
    shown = [repr(subjects[name]) for name in reversed(subjects) if name]
    if len(shown) > 1:
        path = scorings[0].path
        return [
            Problem.of(
                path,
                "several-animals",
                f"scores the subjects {', '.join(shown)} of one video, expected one "
                "animal per video; pass --regions if each lives in its own part of the picture, or "
                "keep the labels of one animal",
            )
        ]
    parts = [scoring for scoring in scorings if scoring.is_of_subject]
    if len(parts) > 1:
        return [
            Problem.of(
                parts[0].path,
                "several-animals",
                "is one of several binary tables of one video "
                f"({', '.join(part.path.name for part in parts)}), expected one: BORIS writes one "
                "per subject, and mpar reads one animal per video; keep one of them, or export "
                "'tabular events' if they come from several people",
            )
        ]
    return []


def describe_nameless(scorings: Sequence[Scoring]) -> str:
    """Return a warning if only some label files of a video name the animal, else ""."""
    named = [item for item in scorings if item.subject]
    others = dict.fromkeys(item.path.name for item in scorings if not item.subject)
    if not named or not others:
        return ""
    return (
        f"{named[0].path.name} scores the subject {named[0].subject!r}, and {', '.join(others)} "
        "names none; mpar takes both for the same animal; if that is wrong, keep one of them"
    )


def note_gaps(scoring: Scoring, unscored: str | None) -> Scoring:
    """Warn that `unscored` does not apply to unlabelled rows of mpar's own label files."""
    num_gaps = int((scoring.codes == UNLABELLED).sum())
    if unscored is None or not num_gaps:
        return scoring
    return scoring.warned(
        f"has {num_gaps:,} unlabelled rows (-1 or empty), which --unscored does not fill: it "
        f"applies to files of other programs; if they are {unscored}, write {unscored} into the "
        "rows"
    )
