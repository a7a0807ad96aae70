"""The files of BORIS: tabular events, aggregated events and projects (binary tables: `one_hot`).

Source of columns and meanings: BORIS' ``export_observation.py`` and ``config.py``.
"""

from __future__ import annotations

import datetime
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from mpar.errors import InputError, Problem
from mpar.labels.annotations import shorten
from mpar.labels.bouts import find_bouts
from mpar.labels.names import file_name, folded
from mpar.labels.scorings import Event, Labelled, Scoring
from mpar.labels.tables import NOTHING, ProblemList, Table, parse_table, parse_time
from mpar.system.files import write_text

PROJECT_NAME = "predictions.boris"


def is_tabular(cells: list[str]) -> bool:
    """Tell whether a header, in lower case, is that of tabular events."""
    return {"time", "behavior"} <= {*cells} and bool({"behavior type", "status"} & {*cells})


def is_aggregated(cells: list[str]) -> bool:
    """Tell whether a header, in lower case, is that of aggregated events."""
    return {"behavior", "start (s)", "stop (s)"} <= {*cells}


def read_tabular(path: Path, text: str) -> list[Scoring]:
    """Read BORIS tabular events: version 7 with lines above its header, or version 8."""
    table = parse_table(path, text, is_tabular)
    above = {cells[0].lower(): cells[1] for cells in table.preamble if len(cells) > 1}
    scorings = []
    for name, rows in _group(table, above.get("observation id", "")):
        problems = _check_observation(table, name, rows)
        _check_offset(above.get("time offset (s)", ""), problems, table.header_line)
        marks = [
            (
                problems.time(table.cell(cells, "time"), "time", line),
                table.cell(cells, "behavior"),
                _modifiers_of(table, cells),
                table.cell(cells, "behavior type", "status").upper(),
                line,
            )
            for line, cells in rows
        ]
        indices = [
            (time, table.cell(cells, "image index"))
            for (time, *_), (_, cells) in zip(marks, rows, strict=True)
        ]
        events = _pair_marks(marks, problems)
        scorings.append(_scoring(table, name, rows, events, indices, problems))
    return scorings


def read_aggregated(path: Path, text: str) -> list[Scoring]:
    """Read BORIS aggregated events: one row a bout, old and new columns."""
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
            events.append(Event(table.cell(cells, "behavior"), start, stop, line))
            indices.append((start, table.cell(cells, "image index start")))
            if stop is not None:
                indices.append((stop, table.cell(cells, "image index stop")))
        scorings.append(_scoring(table, name, rows, events, indices, problems))
    return scorings


Rows = list[tuple[int, list[str]]]


def _group(table: Table, default: str) -> list[tuple[str, Rows]]:
    """Group rows by observation, and those of one name by video where each plays just its own."""
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
        # a row that names no video may be of any of them
        parts = (
            [sorted(itertools.chain(*by_media.values()))] if "" in by_media else by_media.values()
        )
        groups += [(name, rows) for rows in parts]
    return groups


def _check_observation(table: Table, name: str, rows: Rows) -> ProblemList:
    """Return what would make the times of an observation mean something else."""
    problems = ProblemList(table.path, table.decimal)
    line, cells = rows[0]
    _check_offset(table.cell(cells, "time offset (s)"), problems, line)
    _check_kind(table.cell(cells, "observation type"), name, problems, line)
    lengths = table.cell(cells, "media duration (s)", "fps (frame/s)", "fps").partition("|")[0]
    if len(_media_of(table, rows)) > 1 or ";" in lengths:
        problems.note(_QUEUE.format(name), line)
    _check_subjects([table.cell(cells, "subject") for _, cells in rows], name, problems, line)
    return problems


_QUEUE = (
    "observation {!r} plays several videos one after the other, so that its times are not those of "
    "one video; make one observation a video"
)


def _check_kind(kind: str, name: str, problems: ProblemList, line: int = 0) -> None:
    """Note an observation whose times are not those of a video."""
    if kind.lower().startswith(("live", "image", "picture", "from director")):
        problems.note(
            f"observation {name!r} is not of a video ({kind}); make one of its video, or remove it",
            line,
        )


def _check_subjects(
    subjects: Iterable[str], name: str, problems: ProblemList, line: int = 0
) -> None:
    """Note an observation of several animals."""
    found: dict[str, str] = {}
    for subject in map(_subject_of, subjects):
        found.setdefault(folded(subject), repr(subject) if subject else "none")
    if len(found) > 1:
        problems.note(
            f"observation {name!r} has the subjects {', '.join(found.values())}, expected one "
            "animal a video; crop the video to one animal each, or keep the events of one",
            line,
        )


def _subject_of(subject: str) -> str:
    """Return the animal that a subject is, nothing if it is BORIS' word for none."""
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


def _modifiers_of(table: Table, cells: list[str]) -> tuple[str, ...]:
    found = (
        cell
        for name, cell in zip(table.columns, cells, strict=True)
        if name.startswith("modifier") and cell.lower() not in NOTHING
    )
    return tuple(found)


def _scoring(
    table: Table,
    name: str,
    rows: Rows,
    events: list[Event],
    indices: list[tuple[Fraction, str]],
    problems: ProblemList,
) -> Scoring:
    has_modifiers = any(_modifiers_of(table, cells) for _, cells in rows)
    _, cells = rows[0]
    return Scoring(
        table.path,
        tuple(events),
        video=next(iter(_media_of(table, rows)), ""),
        annotator=name,
        subject=_subject_of(table.cell(cells, "subject")),
        frame_rate=_positive(table.cell(cells, "fps (frame/s)", "fps"), table.decimal),
        media_seconds=_positive(
            table.cell(cells, "media duration (s)", "total length"), table.decimal
        ),
        frame_times=tuple(
            (time, int(re.split("[.,]", index)[0]))
            for time, index in indices
            if re.fullmatch(r"[0-9]{1,9}([.,]0*)?", index, re.ASCII)
        ),
        notices=("has modifiers, which are not read",) if has_modifiers else (),
        problems=tuple(shorten(table.path, problems)),
    )


def _positive(cell: str, decimal: str = ".") -> Fraction | None:
    """Return a positive number, None for anything else; of several players that of the first.

    A unit may follow it, as in 25 fps, and a length may be 00:05:00.
    """
    text = cell.partition("|")[0].strip().lower()
    text = re.sub(
        r"(?<=[0-9])\s*(fps|frames?(\s*/\s*|\s+per\s+)s(econd)?|hz|s|sec|seconds)\Z", "", text
    )
    return parse_time(text, decimal) or None


def _check_offset(cell: str, problems: ProblemList, line: int) -> None:
    if cell.lower() not in NOTHING and not re.fullmatch(r"[0.,:]*", cell):
        problems.note(
            f"has a time offset of {cell} s, expected 0, so that times count from the video's "
            "first frame; set it to 0 in BORIS and export again",
            line,
        )


Mark = tuple[Fraction, str, tuple[str, ...], str, int]


def _pair_marks(marks: Sequence[Mark], problems: ProblemList) -> list[Event]:
    """Pair START and STOP of each behaviour (time, behaviour, modifiers, mark, line)."""
    events = []
    begun: dict[tuple[str, tuple[str, ...]], tuple[Fraction, int]] = {}
    for time, behaviour, modifiers, mark, line in _in_order(marks):
        key = behaviour, modifiers
        where = f"{behaviour!r} at {float(time):g} s"
        if mark == "POINT":
            events.append(Event(behaviour, time, None, line))
        elif mark == "START" and key not in begun:
            begun[key] = time, line
        elif mark == "STOP" and key in begun:
            start, first_line = begun.pop(key)
            events.append(Event(behaviour, start, time, first_line))
        elif mark in {"START", "STOP"}:
            reason = "starts again without a STOP" if mark == "START" else "stops without a START"
            problems.note(f"{where} {reason}; fix the events in BORIS", line)
        else:
            problems.note(f"{where} is a {mark!r}, expected START, STOP or POINT", line)
    for (behaviour, _), (time, line) in begun.items():
        problems.note(f"{behaviour!r} at {float(time):g} s has no STOP; add it in BORIS", line)
    return events


def _in_order(marks: Sequence[Mark]) -> list[Mark]:
    """Sort marks by time; a bout that began before stops before the next one starts.

    Spreadsheets that sort rows again may leave the START above the STOP of the same time.
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


def is_project(text: str) -> bool:
    """Tell whether a text is a project, or should be one: JSON."""
    return text.lstrip()[:1] in {"{", "["}


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
            path, "is not a BORIS project that can be read; save it with BORIS 7 or newer"
        ) from None
    if not observations:
        raise InputError.of(path, "has no observation with events; score it or remove it")
    for name, observation in observations.items():
        try:
            scorings.append(_observation(path, name, observation, is_point))
        except _MALFORMED:
            message = f"observation {name!r} cannot be read; save it with BORIS 7 or newer"
            problems = (Problem.of(path, message),)
            video = _media_of_project(observation)[:1]
            scorings.append(Scoring(path, (), video="".join(video), problems=problems))
    return scorings


def _fraction(text: str) -> Fraction:
    """Return a number of a project exactly; one with an exponent may be too large to write out."""
    return Fraction(float(text)) if "e" in text.lower() or len(text) > 40 else Fraction(text)


_MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)


def _media_of_project(observation: Any) -> list[str]:
    """Return the paths of the videos that an observation plays, one after the other."""
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
    """Return what a project says of its video: under its path, its name, or as the only one."""
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
    _check_kind(kind, name, problems)
    media = _media_of_project(observation)
    if len(media) > 1:
        problems.note(_QUEUE.format(name))
    facts = observation.get("media_info") or {}
    player = _player_of(observation) if media else "1"
    for shift in (observation.get("time offset"), (facts.get("offset") or {}).get(player)):
        _check_offset(str(float(shift or 0)), problems, 0)
    subjects = [event[1] or "" for event in observation["events"]]
    _check_subjects(subjects, name, problems)
    marks: list[Mark] = []
    num_seen: dict[tuple[str, str], int] = defaultdict(int)
    indices: list[tuple[Fraction, int]] = []
    events = observation["events"] if kind == "MEDIA" else []  # others may have no times
    bad = [event for event in events if _seconds_of(event) is None]
    for event in bad:
        found = f"{event[2]!r} has the time {event[0]!r}"
        problems.note(f"observation {name!r}: {found}, expected seconds; fix the event in BORIS")
    events = [] if bad else events  # problems of the others would follow from it
    for event in sorted(events, key=lambda event: Fraction(event[0])):
        time, behaviour, modifiers = Fraction(event[0]), event[2], event[3] or ""
        if len(event) > 5 and isinstance(event[5], (int, Fraction)):
            indices.append((time, int(event[5])))
        if behaviour not in is_point:
            problems.note(f"{behaviour!r} at {float(time):g} s is not in the project's ethogram")
            continue
        mark = "POINT" if is_point[behaviour] else ("START", "STOP")[num_seen[behaviour, modifiers]]
        num_seen[behaviour, modifiers] ^= 1
        marks.append((time, behaviour, (modifiers,), mark, 0))
    first, last = map(Fraction, observation.get("observation time interval") or (0, 0))
    gaps: list[tuple[Fraction, Fraction | None]] = []
    if last > 0:
        gaps = [(Fraction(0), first), (last, None)]
    has_modifiers = any(modifiers for _, _, (modifiers,), _, _ in marks)
    paired = _pair_marks(marks, problems)
    return Scoring(
        path,
        tuple(paired),
        video=media[0] if media else "",
        annotator=name,
        subject=_subject_of(str(subjects[0])),
        frame_rate=_positive(_fact_of(facts, "fps", media)),
        media_seconds=_positive(_fact_of(facts, "length", media)),
        frame_times=tuple(indices),
        unscored=tuple(gaps),
        notices=("has modifiers, which are not read",) if has_modifiers else (),
        problems=tuple(shorten(path, problems)),
    )


def write_project(
    folder: Path, videos: Sequence[Labelled], class_names: Sequence[str], unscored: str | None
) -> None:
    """Write one project with an observation a video, which looks for the videos beside itself."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    names = [name for name in class_names if name != unscored]
    observations = {}
    for item in videos:
        events: list[list[Any]] = []
        for bout in find_bouts(item.without(class_names, unscored)).itertuples():
            name = class_names[int(bout.label)]
            for frame in (int(bout.start), int(bout.stop)):
                events.append([_milliseconds(item.start_of(frame)), "", name, "", "", frame])
        observations[item.name] = {
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
                "length": {item.video: _milliseconds(item.start_of(len(item.labels)))},
                "fps": {item.video: float(item.fps)},
                "hasVideo": {item.video: True},
                "hasAudio": {item.video: False},
                "offset": {"1": 0.0},
            },
        }
    behaviours = {
        str(i): {
            "type": "State event",
            "key": "123456789abcdefghijklmnopqrstuvwxyz"[i : i + 1],
            "code": name,
            "description": "",
            "color": "",
            "category": "",
            "modifiers": "",
            # BORIS then ends one behaviour when another begins, as mpar's classes need
            "excluded": ",".join(other for other in names if other != name),
            "coding map": "",
        }
        for i, name in enumerate(names)
    }
    project = {
        "time_format": "s",
        "project_date": now,
        "project_name": "mpar predictions",
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {},
        "behaviors_conf": behaviours,
        "observations": observations,
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    # BORIS reads it in the encoding of the machine, on Windows another than UTF-8: plain ASCII
    write_text(folder / PROJECT_NAME, json.dumps(project, indent=2, allow_nan=False) + "\n")


def _milliseconds(time: Fraction) -> float:
    return float(round(time, 3))
