"""Files of BORIS: tabular and aggregated events, and projects (binary tables: `one_hot`).

Source of columns, fields and meanings: BORIS' ``export_observation.py``, ``config.py`` and
``write_event.py``.
"""

from __future__ import annotations

import datetime
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mpar.errors import InputError, Problem, counted, shorten
from mpar.labels.bouts import find_bouts
from mpar.labels.names import file_name, folded
from mpar.labels.scorings import Event, Recording, Scoring
from mpar.system.files import write_text
from mpar.system.tables import NOTHING, ProblemList, Table, parse_number, parse_seconds, parse_table

T = TypeVar("T")


def is_tabular(cells: list[str]) -> bool:
    """Return True if a header, in lower case, is that of tabular events."""
    return {"time", "behavior"} <= {*cells} and bool({"behavior type", "status"} & {*cells})


def is_aggregated(cells: list[str]) -> bool:
    """Return True if a header, in lower case, is that of aggregated events."""
    return {"behavior", "start (s)", "stop (s)"} <= {*cells}


def read_tabular(path: Path, text: str) -> list[Scoring]:
    """Read BORIS tabular events: version 7 with lines above its header, or version 8."""
    table = parse_table(path, text, is_tabular)
    above = {cells[0].lower(): cells[1] for cells in table.preamble if len(cells) > 1}
    scorings = []
    for name, rows in _group(table, above.get("observation id", "")):
        problems = _check_observation(table, name, rows)
        check_offset(above.get("time offset (s)", ""), problems, table.header_line)
        num_sound = len(problems)
        marks = [
            (
                problems.time(table.cell(cells, "time"), "time", line),
                table.cell(cells, "behavior"),
                modifiers_of(table, cells),
                table.cell(cells, "behavior type", "status").upper(),
                line,
            )
            for line, cells in rows
        ]
        indices = [
            (time, table.cell(cells, "image index"))
            for (time, *_), (_, cells) in zip(marks, rows, strict=True)
        ]
        # a bad time leaves marks unpaired, which would hide it
        events = pair_marks(marks, problems) if len(problems) == num_sound else []
        scorings.append(_scoring(table, name, rows, events, indices, problems))
    return scorings


def read_aggregated(path: Path, text: str) -> list[Scoring]:
    """Read BORIS aggregated events: one row per bout, old and new columns."""
    table = parse_table(path, text, is_aggregated)
    scorings = []
    for name, rows in _group(table, ""):
        problems = _check_observation(table, name, rows)
        events, indices = [], []
        for line, cells in rows:
            start = problems.time(table.cell(cells, "start (s)"), "start", line)
            last = table.cell(cells, "stop (s)")
            is_point = table.cell(cells, "behavior type").upper() == "POINT" or (
                last.lower() in NOTHING or table.cell(cells, "duration (s)").lower() == "na"
            )
            stop = None if is_point else problems.time(last, "stop", line)
            behaviour, modifiers = table.cell(cells, "behavior"), modifiers_of(table, cells)
            events.append(Event(behaviour, start, stop, line, modifiers))
            indices.append((start, table.cell(cells, "image index start")))
            if stop is not None:
                indices.append((stop, table.cell(cells, "image index stop")))
        scorings.append(_scoring(table, name, rows, events, indices, problems))
    return scorings


Rows = list[tuple[int, list[str]]]


def _group(table: Table, default: str) -> list[tuple[str, Rows]]:
    """Group rows by observation and animal, and by video if each row names a single video."""

    def subject(row: tuple[int, list[str]]) -> str:
        return table.cell(row[1], "subject")

    observations: dict[str, dict[str, Rows]] = defaultdict(lambda: defaultdict(list))
    for line, cells in table.rows:
        name = table.cell(cells, "observation id") or default
        media = next(iter(_media_of(table, [(line, cells)])), "")
        source = re.fullmatch(
            r"player #1:\s*([^;|]+?)\s*([;|]\s*player #.*)?", table.cell(cells, "source")
        )
        is_alone = source is not None and file_name(source[1]) == media
        observations[name][media if is_alone else ""].append((line, cells))
    groups = []
    for name, by_media in observations.items():
        # a row without a video may belong to any of them
        parts = (
            [sorted(itertools.chain(*by_media.values()))] if "" in by_media else by_media.values()
        )
        groups += [(name, rows) for part in parts for rows in split_subjects(part, subject)]
    return groups


Item = TypeVar("Item")


def split_subjects(items: Sequence[Item], subject: Callable[[Item], str]) -> list[list[Item]]:
    """Split an observation by animal, unless some of its items name no animal."""
    parts: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        parts[folded(subject_of(subject(item)))].append(item)
    return [[*items]] if "" in parts else [*parts.values()]


def _check_observation(table: Table, name: str, rows: Rows) -> ProblemList:
    """Return problems that would change the meaning of the times of an observation."""
    problems = ProblemList(table.path, table.decimal)
    line, cells = rows[0]
    check_offset(table.cell(cells, "time offset (s)"), problems, line)
    check_kind(table.cell(cells, "observation type"), name, problems, line)
    lengths = table.cell(cells, "media duration (s)", "fps (frame/s)", "fps").partition("|")[0]
    if len(_media_of(table, rows)) > 1 or ";" in lengths:
        problems.note("several-files", QUEUE.format(name), line)
    check_subjects([table.cell(cells, "subject") for _, cells in rows], name, problems, line)
    return problems


QUEUE = (
    "observation {!r} plays several videos in a row, so its times do not belong to one video; make "
    "one observation per video"
)


def check_kind(kind: str, name: str, problems: ProblemList, line: int = 0) -> None:
    """Add a problem if the times of an observation are not those of a video."""
    if kind.lower().startswith(("live", "image", "picture", "from director")):
        problems.note(
            "no-video",
            f"observation {name!r} is not of a video ({kind}); score the video, or remove it",
            line,
        )


def check_subjects(
    subjects: Iterable[str], name: str, problems: ProblemList, line: int = 0
) -> None:
    """Add a problem if the events of an observation do not all name the same animal."""
    found: dict[str, str] = {}
    for subject in map(subject_of, subjects):
        found.setdefault(folded(subject), repr(subject) if subject else "none")
    if len(found) > 1:
        problems.note(
            "several-animals",
            f"observation {name!r} has the subjects {', '.join(found.values())}, expected one "
            "animal per video; name the animal of every event, or keep the events of one animal",
            line,
        )


def subject_of(subject: str) -> str:
    """Return the animal that a subject names, "" if it is BORIS' term for none."""
    return "" if subject.lower() in {*NOTHING, "no focal subject"} else subject


def _media_of(table: Table, rows: Rows) -> list[str]:
    """Return the videos that the rows name, each once, as file names."""
    cells = (
        table.cell(cells, "media file name", "media file path", "media file") for _, cells in rows
    )
    names = (file_name(cell) for cell in cells if cell.lower() not in {*NOTHING, "not found"})
    if found := list(dict.fromkeys(names)):
        return found
    sources = (table.cell(cells, "source") for _, cells in rows)
    played = (re.match(r"player #1:([^;|]+)", source) for source in sources)
    names = (file_name(match[1].strip()) for match in played if match)
    return list(dict.fromkeys(name for name in names if name.lower() not in NOTHING))


def modifiers_of(table: Table, cells: list[str]) -> tuple[str, ...]:
    """Return the modifiers in a row of events."""
    found = (
        cell for name, cell in zip(table.columns, cells, strict=True) if name.startswith("modifier")
    )
    return split_modifiers("|".join(found))


def split_modifiers(text: str) -> tuple[str, ...]:
    """Return modifiers as BORIS joins them: ``|`` between sets, ``,`` within a set.

    Examples
    --------
    >>> split_modifiers("left|None|weak,short")
    ('left', 'weak', 'short')
    """
    parts = (part.strip() for part in re.split("[|,]", text))
    return tuple(part for part in parts if part.lower() not in NOTHING)


Interval = tuple[Fraction, "Fraction | None"]


def limit_to_interval(
    events: Sequence[Event], interval: Interval, name: str, problems: ProblemList
) -> tuple[list[Event], list[Interval], list[str]]:
    """Keep what lies in the interval that a person observed, in seconds, None for the end.

    Returns
    -------
    events : list of Event
        Those that lie in the interval, cut at its edges.
    unscored : list of (Fraction, Fraction or None)
        The stretches outside the interval.
    warnings : list of str
        What does not count.
    """
    first, last = interval
    if not first and last is None:
        return [*events], [], []
    if last is not None and last <= first:
        problems.note(
            "event-times",
            f"observation {name!r} has the observation interval {float(first):g}-{float(last):g} "
            "s, expected a start before its stop; fix it in BORIS",
        )
        return [], [], []
    kept = []
    for event in events:
        start, stop = event.start, event.stop
        if start < 0:
            kept.append(event)  # laying it refuses it
        elif stop is not None and start < stop:
            start = max(start, first)
            stop = stop if last is None else min(stop, last)
            if start < stop:
                kept.append(replace(event, start=start, stop=stop))
        elif first <= start and (last is None or start < last):
            kept.append(event)
    gaps: list[Interval] = [(Fraction(0), first)] if first else []
    gaps += [(last, None)] if last is not None else []
    end = "the end" if last is None else f"{float(last):g} s"
    num_outside = len(events) - len(kept)
    outside = f"; {counted(num_outside, 'event')} outside it do not count" if num_outside else ""
    warning = f"was scored from {float(first):g} s to {end}, its observation interval{outside}"
    return kept, gaps, [warning]


def _interval_of(table: Table, rows: Rows, problems: ProblemList) -> Interval:
    """Return the observation interval in the columns of BORIS' data frames, if they exist."""
    line, cells = rows[0]
    ends = [
        Fraction(0)
        if (cell := table.cell(cells, f"observation interval {what}")).lower() in NOTHING
        else problems.time(cell, f"observation interval {what}", line)
        for what in ("start", "stop")
    ]
    return ends[0], ends[1] or None


def _scoring(
    table: Table,
    name: str,
    rows: Rows,
    events: list[Event],
    indices: list[tuple[Fraction, str]],
    problems: ProblemList,
) -> Scoring:
    _, cells = rows[0]
    events, gaps, warnings = limit_to_interval(
        events, _interval_of(table, rows, problems), name, problems
    )
    return Scoring(
        table.path,
        tuple(events),
        video=next(iter(_media_of(table, rows)), ""),
        annotator=name,
        subject=subject_of(table.cell(cells, "subject")),
        frame_rate=positive(table.cell(cells, "fps (frame/s)", "fps"), table.decimal),
        media_seconds=positive(
            table.cell(cells, "media duration (s)", "total length"), table.decimal
        ),
        frame_times=tuple(
            (time, int(number))
            for time, index in indices
            if (number := parse_number(index, table.decimal)) is not None
        ),
        unscored=tuple(gaps),
        warnings=tuple(warnings),
        problems=tuple(shorten(table.path, problems)),
    )


def positive(cell: str, decimal: str = ".") -> Fraction | None:
    """Return a positive number, None for anything else; of several players, use the first.

    A unit may follow, as in 25 fps; a length may be written as 00:05:00.
    """
    text = cell.partition("|")[0].strip().lower()
    text = re.sub(
        r"(?<=[0-9])\s*(fps|frames?(\s*/\s*|\s+per\s+)s(econd)?|hz|s|sec|seconds)\Z", "", text
    )
    return parse_seconds(text, decimal) or None


def check_offset(cell: str, problems: ProblemList, line: int) -> None:
    """Add a problem if a time offset is not 0."""
    if cell.lower() not in NOTHING and not re.fullmatch(r"[0.,:]*", cell):
        problems.note(
            "time-offset",
            f"has a time offset of {cell} s, expected 0, so that times count from the video's "
            "first frame; set it to 0 in BORIS and export again",
            line,
        )


Mark = tuple[Fraction, str, tuple[str, ...], str, int]


def pair_marks(marks: Sequence[Mark], problems: ProblemList, program: str = "BORIS") -> list[Event]:
    """Pair START and STOP of each behaviour (time, behaviour, modifiers, mark, line)."""
    events = []
    begun: dict[tuple[str, tuple[str, ...]], tuple[Fraction, int]] = {}
    for time, behaviour, modifiers, mark, line in _in_order(marks):
        key = behaviour, modifiers
        where = f"{behaviour!r} at {float(time):g} s"
        if mark == "POINT":
            events.append(Event(behaviour, time, None, line, modifiers))
        elif mark == "START" and key not in begun:
            begun[key] = time, line
        elif mark == "STOP" and key in begun:
            start, first_line = begun.pop(key)
            events.append(Event(behaviour, start, time, first_line, modifiers))
        elif mark in {"START", "STOP"}:
            reason = "starts again without a STOP" if mark == "START" else "stops without a START"
            problems.note("event-times", f"{where} {reason}; fix the events in {program}", line)
        else:
            problems.note("cell", f"{where} is a {mark!r}, expected START, STOP or POINT", line)
    for (behaviour, _), (time, line) in begun.items():
        where = f"{behaviour!r} at {float(time):g} s"
        problems.note("event-times", f"{where} has no STOP; add it in {program}", line)
    return events


def _in_order(marks: Sequence[Mark]) -> list[Mark]:
    """Sort marks by time; at equal times, an earlier bout stops before the next one starts.

    A spreadsheet that sorts the rows may put a START above the STOP of the same time.
    """
    first: dict[tuple[str, tuple[str, ...]], Fraction] = {}
    for time, behaviour, modifiers, mark, _ in marks:
        if mark == "START":
            key = behaviour, modifiers
            first[key] = min(time, first.get(key, time))
    return sorted(
        marks,
        key=lambda m: (m[0], m[3] == "START" and first[m[1], m[2]] < m[0]),
    )


PROJECT_NAME = "predictions.boris"


def is_project(text: str) -> bool:
    """Return True if a text is JSON with the behaviours of a project."""
    return text.lstrip()[:1] == "{" and '"behaviors_conf"' in text


def read_project(path: Path, text: str) -> list[Scoring]:
    """Read all observations with events of a BORIS project."""
    scorings = []
    try:
        project = json.loads(text, parse_float=_fraction)
        is_point = {
            behaviour["code"]: behaviour["type"].lower().startswith("point")
            for behaviour in project["behaviors_conf"].values()
        }
        observations = {
            name: observation
            for name, observation in project["observations"].items()
            if observation["events"]
        }
    except _MALFORMED:
        raise InputError.of(
            path, "malformed", "cannot be read as a BORIS project; save it with BORIS 7 or newer"
        ) from None
    if not observations:
        raise InputError.of(path, "empty", "has no observation with events; score it or remove it")
    for name, observation in observations.items():
        try:
            scorings += [
                _observation(path, name, {**observation, "events": events}, is_point)
                for events in split_subjects(observation["events"], lambda event: event[1] or "")
            ]
        except _MALFORMED:
            message = f"observation {name!r} cannot be read; save it with BORIS 7 or newer"
            problems = (Problem.of(path, "malformed", message),)
            video = _media_of_project(observation)[:1]
            scorings.append(Scoring(path, (), video="".join(video), problems=problems))
    return scorings


def _fraction(text: str) -> Fraction:
    """Return a number exactly; one with an exponent may be too large to write out."""
    return Fraction(float(text)) if "e" in text.lower() or len(text) > 40 else Fraction(text)


_MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)


def _media_of_project(observation: Any) -> list[str]:
    """Return the paths of the videos that an observation plays, in order."""
    try:
        is_media = observation["type"] == "MEDIA"
        media = observation["file"][_player_of(observation)] if is_media else []
    except _MALFORMED:
        return []
    return [str(path) for path in media] if isinstance(media, list) else []


def _player_of(observation: dict[str, Any]) -> str:
    """Return the player whose times count: the first, or the only one that plays anything."""
    players = [player for player, media in observation["file"].items() if media]
    return players[0] if len(players) == 1 else "1"


def _seconds_of(event: Any) -> Fraction | None:
    """Return the time of an event, None if it has none."""
    try:
        return Fraction(event[0])
    except _MALFORMED:
        return None


def _fact_of(facts: dict[str, Any], what: str, media: list[str]) -> str:
    """Look up a fact about a video by its path or name, or take the only entry."""
    found = facts.get(what)
    if not isinstance(found, dict):
        return ""
    names = {folded(file_name(str(key))): value for key, value in found.items()}
    if not media or not found:
        return ""
    alone = next(iter(found.values())) if len(found) == 1 else ""
    return str(found.get(media[0], names.get(folded(file_name(media[0])), alone)))


def _observation(
    path: Path, name: str, observation: dict[str, Any], is_point: dict[str, bool]
) -> Scoring:
    problems = ProblemList(path)
    kind = observation["type"]
    check_kind(kind, name, problems)
    media = _media_of_project(observation)
    if len(media) > 1:
        problems.note("several-files", QUEUE.format(name))
    facts = observation.get("media_info") or {}
    player = _player_of(observation) if media else "1"
    for shift in (observation.get("time offset"), (facts.get("offset") or {}).get(player)):
        check_offset(str(float(shift or 0)), problems, 0)
    subjects = [event[1] or "" for event in observation["events"]]
    check_subjects(subjects, name, problems)
    marks: list[Mark] = []
    num_seen: dict[tuple[str, tuple[str, ...]], int] = defaultdict(int)
    indices: list[tuple[Fraction, int]] = []
    events = observation["events"] if kind == "MEDIA" else []  # other kinds may have no times
    bad = [event for event in events if _seconds_of(event) is None]
    for event in bad:
        found = f"{event[2]!r} has the time {event[0]!r}"
        problems.note(
            "cell", f"observation {name!r}: {found}, expected seconds; fix the event in BORIS"
        )
    events = [] if bad else events  # the others would only cause follow-up problems
    for event in sorted(events, key=lambda event: Fraction(event[0])):
        time, behaviour = Fraction(event[0]), event[2]
        modifiers = split_modifiers(event[3] or "")
        if len(event) > 5 and isinstance(event[5], (int, Fraction)):
            indices.append((time, int(event[5])))
        if behaviour not in is_point:
            problems.note(
                "unknown-class",
                f"{behaviour!r} at {float(time):g} s is not in the project's ethogram",
            )
            continue
        mark = "POINT" if is_point[behaviour] else ("START", "STOP")[num_seen[behaviour, modifiers]]
        num_seen[behaviour, modifiers] ^= 1
        marks.append((time, behaviour, modifiers, mark, 0))
    first, last = (
        Fraction(end or 0) for end in observation.get("observation time interval") or (0, 0)
    )
    # BORIS takes a stop of 0 for the end of the media
    paired, gaps, warnings = limit_to_interval(
        pair_marks(marks, problems), (first, last or None), name, problems
    )
    return Scoring(
        path,
        tuple(paired),
        video=media[0] if media else "",
        annotator=name,
        subject=subject_of(str(subjects[0])),
        frame_rate=positive(_fact_of(facts, "fps", media)),
        media_seconds=positive(_fact_of(facts, "length", media)),
        frame_times=tuple(indices),
        unscored=tuple(gaps),
        warnings=tuple(warnings),
        problems=tuple(shorten(path, problems)),
    )


def write_project(
    folder: Path, videos: Sequence[Recording], class_names: Sequence[str], unscored: str | None
) -> None:
    """Write one project with one observation per video; it expects the videos in its folder."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    names = [name for name in class_names if name != unscored]
    observations = {
        item.name: _made_observation(item, now, item.without(class_names, unscored), class_names)
        for item in videos
    }
    behaviours = {str(i): _made_behaviour(i, names) for i in range(len(names))}
    project = {
        "time_format": "s",
        "project_date": now,
        "project_name": "mpar predictions",
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {
            str(i): {"key": "", "name": animal, "description": ""}
            for i, animal in enumerate(sorted({item.subject for item in videos} - {""}))
        },
        "behaviors_conf": behaviours,
        "observations": observations,
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    # plain ASCII: BORIS reads it in the machine's encoding, which on Windows is not UTF-8
    write_text(folder / PROJECT_NAME, json.dumps(project, indent=2, allow_nan=False) + "\n")


def _made_observation(
    item: Recording, now: str, labels_T: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    events: list[list[Any]] = []
    for bout in find_bouts(labels_T).itertuples():
        name = class_names[int(bout.label)]
        for frame in (int(bout.start), int(bout.stop)):
            events.append(
                [_milliseconds(item.clock.start_of(frame)), item.subject, name, "", "", frame]
            )
    return {
        "file": {str(player): [item.video] if player == 1 else [] for player in range(1, 9)},
        "type": "MEDIA",
        "date": now,
        "description": "predicted by mpar",
        "time offset": 0.0,
        "events": sorted(events, key=lambda event: event[0]),
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {item.video: _milliseconds(item.clock.start_of(len(item.labels)))},
            "fps": {item.video: float(item.fps)},
            "hasVideo": {item.video: True},
            "hasAudio": {item.video: False},
            "offset": {"1": 0.0},
        },
    }


def _made_behaviour(number: int, names: Sequence[str]) -> dict[str, str]:
    return {
        "type": "State event",
        "key": "123456789abcdefghijklmnopqrstuvwxyz"[number : number + 1],
        "code": names[number],
        "description": "",
        "color": "",
        "category": "",
        "modifiers": "",
        # BORIS then ends one behaviour when another begins, as mpar's classes need
        "excluded": ",".join(other for other in names if other != names[number]),
        "coding map": "",
    }


def _milliseconds(time: Fraction) -> float:
    return float(round(time, 3))
