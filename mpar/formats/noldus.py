"""Exports of EthoVision XT (raw data, manual scoring log) and of The Observer XT (event log).

Source of columns and meanings: raw data and logs that laboratories published, the programs' help
pages, and SimBA's ``read_ethovision_files`` and ``read_observer_files``.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.errors import InputError, shorten
from mpar.formats.boris import (
    check_subjects,
    modifiers_of,
    pair_marks,
    split_subjects,
    subject_of,
)
from mpar.labels.bouts import find_bouts
from mpar.labels.names import file_name, folded
from mpar.labels.scorings import Event, Scoring
from mpar.system.tables import ProblemList, Table, parse_table

_MARKS = {
    "state start": "START",
    "state stop": "STOP",
    "state point": "POINT",
    "point": "POINT",
    "point event": "POINT",
}
_ON_OFF = re.compile(r"([01])([.,]0*)?")
_MISSING = {"", "-"}
_NO_BEHAVIOUR = re.compile(r"in zone\b|result [0-9]+\Z")  # of 0 and 1, too
_OBSERVER_START = (
    "counts seconds from the start of the observation; mpar takes it for the first frame of the "
    "video"
)


def is_raw(cells: list[str]) -> bool:
    """Return True if a header, in lower case, is that of EthoVision's raw data."""
    return {"trial time", "recording time"} <= {*cells} and "behavior" not in cells


def is_log(cells: list[str]) -> bool:
    """Return True if a header, in lower case, is that of an event log of either program."""
    return {"time_relative_sf", "behavior", "event_type"} <= {*cells} or (
        {"trial time", "behavior", "event"} <= {*cells}
    )


def read_raw(path: Path, text: str) -> list[Scoring]:
    """Read EthoVision's raw data: a row per sample, with 0 or 1 for each behaviour.

    Notes
    -----
    A column of 0 and 1 is a behaviour, except zones and results of conditions. Its name stands
    before the group of behaviours in brackets. A sample without a value was not scored.
    """
    table = _parse(path, text, is_raw)
    problems = ProblemList(path, table.decimal)
    rows, offset = _drop_units(table, problems), _offset_of(table, problems)
    column = table.columns.index("trial time")
    times = [problems.time(cells[column], "trial time", line) + offset for line, cells in rows]
    problems.check()
    steps = [b - a for a, b in itertools.pairwise(times)]
    if not steps or min(steps) <= 0:
        raise InputError.of(
            path, "event-times", "needs at least two rows with increasing times; export it again"
        )
    behaviours = _find_behaviours(table, rows, problems)
    problems.check()
    edges = [*times, times[-1] + max(steps)]
    is_missing = np.array(
        [any(cells[i] in _MISSING for i in behaviours.values()) for _, cells in rows]
    )
    events = []
    for name, i in behaviours.items():
        is_on = np.array([cells[i].startswith("1") for _, cells in rows]) & ~is_missing
        for start, stop in _runs(is_on):
            end = None if stop - start == 1 else edges[stop]
            events.append(Event(name, edges[start], end, rows[start][0]))
    gaps: list[tuple[Fraction, Fraction | None]] = [
        (edges[start], edges[stop]) for start, stop in _runs(is_missing)
    ]
    gaps += [(Fraction(0), edges[0])] if edges[0] else []
    head = _head(table)
    return [
        Scoring(
            path,
            tuple(events),
            video=file_name(head.get("video file", "")),
            subject=_animal(head),
            unscored=(*gaps, (edges[-1], None)),
            row_times=tuple(times),
            columns=tuple(behaviours),
        )
    ]


def read_log(path: Path, text: str) -> list[Scoring]:
    """Read an event log: of The Observer, or EthoVision's manual scoring log.

    The Observer names the observation in each row; mpar takes it for the name of a video.
    """
    table = _parse(path, text, is_log)
    is_observer = "event_type" in table.columns
    problems = ProblemList(path, table.decimal)
    rows, offset = table.rows, Fraction(0)
    if not is_observer:
        rows, offset = _drop_units(table, problems), _offset_of(table, problems)
        problems.check()
    head = _head(table)
    observations = defaultdict(list)
    for row in rows:
        name = table.cell(row[1], "observation") if is_observer else ""
        observations[name].append(row)
    scorings = []
    for name, mine in observations.items():
        for part in split_subjects(mine, lambda row: table.cell(row[1], "subject")):
            problems = ProblemList(path, table.decimal)
            events = _events_of(table, part, offset, problems)
            check_subjects((table.cell(cells, "subject") for _, cells in part), name, problems)
            scorings.append(
                Scoring(
                    path,
                    tuple(events),
                    video=name if is_observer else file_name(head.get("video file", "")),
                    annotator=name,
                    subject=subject_of(table.cell(part[0][1], "subject")),
                    unscored=((Fraction(0), offset),) if offset else (),
                    warnings=(_OBSERVER_START,) if is_observer else (),
                    problems=tuple(shorten(path, problems)),
                )
            )
    return scorings


def _parse(path: Path, text: str, is_header: Callable[[list[str]], bool]) -> Table:
    """Read a table. Times have no mark for thousands, so 1.000 is a second, 1,000 as well."""
    table = parse_table(path, text, is_header)
    times = (table.cell(cells, "time_relative_sf", "trial time") for _, cells in table.rows)
    return replace(table, decimal="," if any("," in time for time in times) else ".")


def _events_of(
    table: Table, rows: list[tuple[int, list[str]]], offset: Fraction, problems: ProblemList
) -> list[Event]:
    """Return the events of an animal; with a bad row, only problems."""
    marks = []
    for line, cells in rows:
        mark = table.cell(cells, "event_type", "event")
        if mark.lower() not in _MARKS:
            problems.note(
                "cell",
                f"event type is {mark[:40]!r}, expected State start, State stop or Point",
                line,
            )
        time = problems.time(table.cell(cells, "time_relative_sf", "trial time"), "time", line)
        behaviour = table.cell(cells, "behavior")
        kind = _MARKS.get(mark.lower(), "POINT")
        marks.append((time + offset, behaviour, modifiers_of(table, cells), kind, line))
    return [] if problems else pair_marks(marks, problems, "the program that exported them")


def _head(table: Table) -> dict[str, str]:
    """Return the values above the header by key, in lower case."""
    return {cells[0].rstrip(":").lower(): cells[1] for cells in table.preamble if len(cells) > 1}


def _animal(head: dict[str, str]) -> str:
    """Return the arena and the subject: each arena of a video has an animal of its own."""
    return " ".join(filter(None, (head.get("arena name", ""), head.get("subject name", ""))))


def _drop_units(table: Table, problems: ProblemList) -> list[tuple[int, list[str]]]:
    """Return the rows without that of the units, which must be seconds."""
    line, cells = table.rows[0]
    unit = table.cell(cells, "trial time")
    if unit[:1].isdigit():
        return table.rows
    if unit.lower() not in {"s", ""}:
        problems.note(
            "columns", f"trial time is in {unit[:20]!r}, expected s; export it in seconds", line
        )
    return table.rows[1:]


def _offset_of(table: Table, problems: ProblemList) -> Fraction:
    """Return the second of the video at which the trial starts.

    The header states the start of both, for instance 03/15/2021 13:54:26.490.
    """
    head = _head(table)
    clocks = []
    for key in ("video start time", "start time"):
        clock = re.fullmatch(
            r"(\S+) ([0-9]{1,2}):([0-5][0-9]):([0-5][0-9])([.,][0-9]+)?( ?[AaPp][Mm])?",
            head.get(key, ""),
        )
        if not clock:
            problems.note(
                "time-offset",
                f"its {key!r} is {head.get(key, '')[:40]!r}, expected date and time, so the times "
                "of the video are unknown; export it from a trial that was tracked from a video",
            )
            return Fraction(0)
        seconds = 3600 * int(clock[2]) + 60 * int(clock[3]) + int(clock[4])
        fraction = Fraction("0" + (clock[5] or ".0").replace(",", "."))
        clocks.append((clock[1], (clock[6] or "").strip().lower(), seconds + fraction))
    (day, half, video), (other_day, other_half, trial) = clocks
    if (day, half) != (other_day, other_half) or trial < video:
        problems.note(
            "time-offset",
            f"its video starts at {head['video start time']} and its trial at "
            f"{head['start time']}, expected the same half of one day, the video first; check "
            "that they belong together",
        )
    return trial - video


def _find_behaviours(
    table: Table, rows: list[tuple[int, list[str]]], problems: ProblemList
) -> dict[str, int]:
    """Return the columns of behaviours by name."""
    found: dict[str, int] = {}
    first: dict[str, str] = {}
    for i, written in enumerate(table.names):
        cells = {cells[i] for _, cells in rows} - _MISSING
        is_on_off = bool(cells) and all(_ON_OFF.fullmatch(cell) for cell in cells)
        if not is_on_off or _NO_BEHAVIOUR.match(table.columns[i]):
            continue
        name = re.sub(r"\s*\([^()]*\)\Z", "", written)
        if (other := first.setdefault(folded(name), written)) != written:
            problems.note(
                "columns",
                f"has the columns {other!r} and {written!r}, expected one per behaviour; export "
                "one of them",
                table.header_line,
            )
        found[name] = i
    if not found:
        problems.note("columns", "has no column of 0 and 1 for a behaviour; add them to the export")
    return found


def _runs(is_on: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, stop) of each run of true values."""
    runs = find_bouts(is_on.astype(int) - 1)
    return list(zip(runs["start"].tolist(), runs["stop"].tolist(), strict=True))
