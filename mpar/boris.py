"""The files of BORIS: tabular events, aggregated events, binary tables and projects.

Source of columns and meanings: BORIS' ``export_observation.py``, ``behavior_binary_table.py`` and
``config.py``.
"""

from __future__ import annotations

import datetime
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from mpar.bouts import find_bouts
from mpar.errors import InputError
from mpar.files import write_text
from mpar.scorings import NOTHING, Event, Labelled, ProblemList, Scoring, Table, parse_table

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
    problems = ProblemList(path)
    above = {cells[0].lower(): cells[1] for cells in table.preamble if len(cells) > 1}
    _check_offset(above.get("time offset (s)", ""), problems, table.header_line)
    observations = _group(table, problems, above.get("observation id", ""))
    scorings = []
    for name, rows in observations.items():
        marks = [
            (
                problems.number(table.cell(cells, "time"), "time", line),
                table.cell(cells, "behavior"),
                _modifiers_of(table, cells),
                table.cell(cells, "behavior type", "status").upper(),
                line,
            )
            for line, cells in rows
        ]
        events = _pair_marks(marks, problems)
        scorings.append(_scoring(table, name, rows, events))
    problems.check()
    return scorings


def read_aggregated(path: Path, text: str) -> list[Scoring]:
    """Read BORIS aggregated events: one row a bout, old and new columns."""
    table = parse_table(path, text, is_aggregated)
    problems = ProblemList(path)
    scorings = []
    for name, rows in _group(table, problems, "").items():
        events = []
        for line, cells in rows:
            start = problems.number(table.cell(cells, "start (s)"), "start", line)
            last = table.cell(cells, "stop (s)")
            is_point = table.cell(cells, "behavior type").upper() == "POINT" or (
                last.lower() in NOTHING or table.cell(cells, "duration (s)").lower() == "na"
            )
            stop = None if is_point else problems.number(last, "stop", line)
            events.append(Event(table.cell(cells, "behavior"), start, stop, line))
        scorings.append(_scoring(table, name, rows, events))
    problems.check()
    return scorings


def _group(
    table: Table, problems: ProblemList, default: str
) -> dict[str, list[tuple[int, list[str]]]]:
    """Group rows by observation, and check what would make their times mean something else."""
    observations: dict[str, list[tuple[int, list[str]]]] = defaultdict(list)
    for line, cells in table.rows:
        observations[table.cell(cells, "observation id") or default].append((line, cells))
    for name, rows in observations.items():
        line, cells = rows[0]
        _check_offset(table.cell(cells, "time offset (s)"), problems, line)
        lengths = table.cell(cells, "media duration (s)", "fps (frame/s)", "fps").partition("|")[0]
        if len(_media_of(table, rows)) > 1 or ";" in lengths:
            problems.note(
                f"observation {name!r} plays several videos one after the other, so that its times "
                "are not those of one video; make one observation a video",
                line,
            )
        subjects = dict.fromkeys(table.cell(cells, "subject") for _, cells in rows)
        if len(subjects) > 1:
            problems.note(
                f"observation {name!r} has the subjects {', '.join(map(repr, subjects))}, expected "
                "one; export each subject to a file of its own",
                line,
            )
    return observations


def _media_of(table: Table, rows: list[tuple[int, list[str]]]) -> list[str]:
    """Return the videos that the rows name, each once, as file names."""
    cells = (
        table.cell(cells, "media file name", "media file path", "media file") for _, cells in rows
    )
    names = (PureWindowsPath(cell).name for cell in cells if cell.lower() not in NOTHING)
    return [name for name in dict.fromkeys(names) if name.lower() != "not found"]


def _modifiers_of(table: Table, cells: list[str]) -> tuple[str, ...]:
    found = (
        cell
        for name, cell in zip(table.columns, cells, strict=True)
        if name.startswith("modifier") and cell.lower() not in NOTHING
    )
    return tuple(found)


def _scoring(
    table: Table, name: str, rows: list[tuple[int, list[str]]], events: list[Event]
) -> Scoring:
    has_modifiers = any(_modifiers_of(table, cells) for _, cells in rows)
    return Scoring(
        table.path,
        tuple(events),
        video=next(iter(_media_of(table, rows)), ""),
        annotator=name,
        notices=("has modifiers, which are not read",) if has_modifiers else (),
    )


def _check_offset(cell: str, problems: ProblemList, line: int) -> None:
    if cell.lower() not in NOTHING and not re.fullmatch(r"[0.:]*", cell):
        problems.note(
            f"has a time offset of {cell} s, expected 0, so that times count from the video's "
            "first frame; set it to 0 in BORIS and export again",
            line,
        )


Mark = tuple[Fraction, str, tuple[str, ...], str, int]


def _pair_marks(marks: Iterable[Mark], problems: ProblemList) -> list[Event]:
    """Pair START and STOP of each behaviour (time, behaviour, modifiers, mark, line)."""
    events = []
    begun: dict[tuple[str, tuple[str, ...]], tuple[Fraction, int]] = {}
    for time, behaviour, modifiers, mark, line in sorted(marks, key=lambda m: m[0]):
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


def is_binary(cells: list[str]) -> bool:
    """Tell whether a header, in lower case, is that of a binary table."""
    return len(cells) > 1 and cells[0] == "time" and "behavior" not in cells and all(cells)


def read_binary(path: Path, text: str) -> list[Scoring]:
    """Read a BORIS binary table: a row an interval, a column a behaviour, 0 or 1 (or a count).

    Notes
    -----
    A row says what is on at its time. A behaviour that is on from row i began after row i - 1 and
    up to row i: at the frame on the screen at row i, if no row is longer than a frame (`lay`
    refuses others). A behaviour in a single row takes one frame, because the table does not tell
    states from point events; the latter lie at or after their row, so up to a frame later.
    """
    table = parse_table(path, text, is_binary)
    problems = ProblemList(path)
    times = [problems.number(cells[0], "time", line) for line, cells in table.rows]
    problems.check()
    steps = [b - a for a, b in itertools.pairwise(times)]
    if not steps or min(steps) <= 0:
        raise InputError.of(path, "needs at least two rows with rising times; export it again")
    events = []
    for column, name in enumerate(table.names[1:], start=1):
        is_on = [problems.frame(cells[column], repr(name), line) > 0 for line, cells in table.rows]
        for run in find_bouts(np.array(is_on, int) - 1).itertuples():
            start, stop = int(run.start), int(run.stop)
            ends = times[stop] if stop < len(times) else times[-1] + steps[-1]
            line = table.rows[start][0]
            events.append(Event(name, times[start], None if stop - start == 1 else ends, line))
    problems.check()
    gaps: list[tuple[Fraction, Fraction | None]] = [(times[-1] + steps[-1], None)]
    if times[0] > 0:
        gaps.append((Fraction(0), times[0]))
    return [Scoring(path, tuple(events), unscored=tuple(gaps), max_step=max(steps))]


def is_project(text: str) -> bool:
    """Tell whether a text is a project: JSON."""
    return text.lstrip()[:1] == "{"


def read_project(path: Path, text: str) -> list[Scoring]:
    """Read all observations with events of a BORIS project."""
    problems = ProblemList(path)
    scorings = []
    try:
        project = json.loads(text, parse_float=Fraction)
        is_point = {
            behaviour["code"]: behaviour["type"].lower().startswith("point")
            for behaviour in project["behaviors_conf"].values()
        }
        for name, observation in project["observations"].items():
            if observation["events"]:
                scorings.append(_observation(path, name, observation, is_point, problems))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise InputError.of(
            path, "is not a BORIS project that can be read; save it with BORIS 7 or newer"
        ) from None
    problems.check()
    if not scorings:
        raise InputError.of(path, "has no observation with events; score it or remove it")
    return scorings


def _observation(
    path: Path,
    name: str,
    observation: dict[str, Any],
    is_point: dict[str, bool],
    problems: ProblemList,
) -> Scoring:
    media = observation.get("file", {}).get("1", []) if observation["type"] == "MEDIA" else []
    if len(media) > 1:
        problems.note(
            f"observation {name!r} plays several videos one after the other, so that its times are "
            "not those of one video; make one observation a video"
        )
    offset = observation.get("media_info", {}).get("offset", {}).get("1", 0)
    for shift in (observation.get("time offset", 0), offset):
        _check_offset(str(float(shift)), problems, 0)
    subjects = dict.fromkeys(event[1] for event in observation["events"])
    if len(subjects) > 1:
        problems.note(
            f"observation {name!r} has the subjects {', '.join(map(repr, subjects))}, expected "
            "one; make an observation for each"
        )
    marks: list[Mark] = []
    num_seen: dict[tuple[str, str], int] = defaultdict(int)
    for event in sorted(observation["events"], key=lambda event: Fraction(event[0])):
        time, behaviour, modifiers = Fraction(event[0]), event[2], event[3] or ""
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
    return Scoring(
        path,
        tuple(_pair_marks(marks, problems)),
        video=PureWindowsPath(media[0]).name if media else "",
        annotator=name,
        unscored=tuple(gaps),
        notices=("has modifiers, which are not read",) if has_modifiers else (),
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
                events.append([_milliseconds(frame / item.fps), "", name, "", "", frame])
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
                "length": {item.video: _milliseconds(len(item.labels) / item.fps)},
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
