"""Tables with one column per behaviour and 0 or 1 in each row, by frame or by time.

DeepEthogram writes them by frame, BORIS writes binary tables by time, and people write either.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.errors import InputError
from mpar.labels.bouts import find_bouts
from mpar.labels.names import folded
from mpar.labels.scorings import Event, Scoring
from mpar.system.csv_text import DELIMITERS, header_of, plain_cells
from mpar.system.tables import ProblemList, Table, parse_seconds, parse_table, with_point

# names of columns with row numbers, times and remarks; all others are behaviours
_NUMBERS = {"", "frame", "frames", "framenumber", "frameno", "framenr", "frameid", "frameindex"}
_NUMBERS |= {"frameidx", "index", "unnamed0"}
_TIMES = {
    "time",
    "times",
    "timestamp",
    "timestamps",
    "seconds",
    "timeseconds",
    "timesec",
    "timeins",
}
_REMARKS = {"comment", "comments", "note", "notes", "remark", "remarks", "bemerkung", "kommentar"}
_OTHERS = _NUMBERS | _TIMES | _REMARKS
_BACKGROUND = "background"
_VALUE = re.compile(r"-1([.,]0*)?|[01]([.,]0*)?|true|false", re.IGNORECASE)
_WORDS = {"true": "1", "false": "0"}  # as R and Python write them
_NUM_LOOKED_AT = 20


def is_by_time(text: str) -> bool:
    """Return True if a text is a table by time, such as a BORIS binary table."""
    header, *rows = _first_rows(text)
    columns = _behaviour_columns(header)
    filled = [[row[i] for row in rows if i < len(row) and row[i]] for i in columns]
    has_values = [any(c[:1].isdigit() or c in _WORDS for c in cells) for cells in filled if cells]
    return _has_time(header) and bool(has_values) and all(has_values)


def _has_time(header: Sequence[str]) -> bool:
    """Return True if a header has times and behaviours but no row numbers."""
    names = {_letters(name) for name in header}
    is_table = bool(names & _TIMES) and "behavior" not in names
    return is_table and _number_column(header) is None and bool(_behaviour_columns(header))


def _letters(name: str) -> str:
    """Return a column's name in lower case, letters and digits only.

    A unit does not count: Time [s], time_s and Time (s) all become "time".
    """
    letters = re.sub(r"[\W_]+", "", name.lower())
    return re.sub(r"^(time|times|timestamp)s$", r"\1", letters)


def _digits(cell: str) -> str:
    """Return "1" for true and "0" for false; return other cells unchanged."""
    return _WORDS.get(cell.lower(), cell)


def is_by_frame(text: str) -> bool:
    """Return True if a text is a table of behaviours by frame, with or without row numbers."""
    header, *rows = _first_rows(text)
    if header[:2] == ["", _BACKGROUND]:
        return True
    columns = _behaviour_columns(header)
    is_named = all(header[column] and not _VALUE.fullmatch(header[column]) for column in columns)
    cells = [row[column] for row in rows for column in columns if column < len(row)]
    is_table = is_named and bool(cells) and all(not c or _VALUE.fullmatch(c) for c in cells)
    # without any number, it may be any table with empty columns
    has_rows = any(cells) or bool({*map(_letters, header)} & (_NUMBERS - {""}))
    return is_table and has_rows and not _has_time(header)


def _first_rows(text: str) -> list[list[str]]:
    """Return the header and some rows in lower case, split at the most likely delimiter."""
    header = header_of(text)
    lines = text[text.index(header) :].splitlines()[: _NUM_LOOKED_AT + 1] or [""]
    delimiter = max(DELIMITERS, key=lines[0].count)
    return [plain_cells(line, delimiter) for line in lines if line.strip() or line is lines[0]]


def _behaviour_columns(names: Sequence[str]) -> list[int]:
    """Return the behaviour columns: all except numbers, times and remarks."""
    return [i for i, name in enumerate(names) if _letters(name) not in _OTHERS]


def _check_columns(table: Table, columns: Sequence[int], problems: ProblemList) -> None:
    """Add a problem for each behaviour with two columns: either may be right."""
    first: dict[str, str] = {}
    for name in (table.names[column] for column in columns):
        if (other := first.setdefault(folded(name), name)) is not name:
            problems.note(
                "columns",
                f"has the columns {other!r} and {name!r}, expected one per behaviour; remove one "
                "of them",
                table.header_line,
            )


def _filled(table: Table, columns: Sequence[int], warnings: list[str]) -> list[list[str]]:
    """Return the rows; if the table has only 1 and empty cells, fill the empty ones with 0."""
    cells = [cells for _, cells in table.rows]
    used = {_digits(row[column]) for row in cells for column in columns}
    is_zero = {re.sub(r"[.,]0*$", "", cell) for cell in used} == {"", "1"}
    if not is_zero:
        return cells
    warnings.append("has no 0: its empty cells count as 0")
    return [[cell or ("0" if i in columns else "") for i, cell in enumerate(row)] for row in cells]


def read_by_frame(path: Path, text: str) -> list[Scoring]:
    """Read a table with one row per frame, such as DeepEthogram's.

    A column ``background`` marks frames without a behaviour; -1 marks a frame that nobody scored.
    Rows may be numbered from 0 or from 1.
    """
    header = _first_rows(text)[0]
    table = parse_table(path, text, lambda cells: cells == header and is_by_frame(text))
    problems = ProblemList(path, table.decimal)
    first_row = _check_numbers(table, problems)
    columns = _behaviour_columns(table.columns)
    _check_columns(table, columns, problems)
    values = np.zeros((len(table.rows), len(table.names)), int)
    warnings: list[str] = []
    lines = [line for line, _ in table.rows]
    for row, cells in enumerate(_filled(table, columns, warnings)):
        for column in columns:
            if not _VALUE.fullmatch(cells[column]):
                found, name = cells[column][:40], table.names[column]
                message = f"column {name!r}: found {found!r}, expected 0, 1 or -1; fix the row"
                problems.note("cell", message, lines[row])
                continue
            values[row, column] = int(float(_digits(cells[column]).replace(",", ".")))
    backgrounds = [column for column in columns if table.columns[column] == _BACKGROUND]
    behaviours = [column for column in columns if column not in backgrounds]
    is_unscored = np.asarray((values[:, behaviours] < 0).any(axis=1))
    is_none = (values[:, behaviours] == 0).all(axis=1)
    for column in backgrounds:
        for row in np.flatnonzero(~is_unscored & (is_none != (values[:, column] == 1))).tolist():
            problems.note(
                "contradiction",
                "its background is wrong, expected 1 if all behaviours are 0, else 0; fix the row",
                table.rows[row][0],
            )
    problems.check()
    values[is_unscored] = 0
    events = [
        Event(table.names[column], Fraction(start), Fraction(stop), lines[start])
        for column in behaviours
        for start, stop in _runs(values[:, column] > 0)
    ]
    gaps = tuple((Fraction(start), Fraction(stop)) for start, stop in _runs(is_unscored))
    return [
        Scoring(
            path,
            tuple(events),
            in_frames=True,
            unscored=gaps,
            num_rows=len(table.rows),
            first_row=first_row if first_row > 1 else 0,  # numbers from 1 also mean the first frame
            warnings=tuple(warnings),
            frame_times=_last_time(table),
            columns=tuple(table.names[column] for column in behaviours),
        )
    ]


def _last_time(table: Table) -> tuple[tuple[Fraction, int], ...]:
    """Return the time and the frame of the last row, if the table has times."""
    columns = [i for i, name in enumerate(table.columns) if _letters(name) in _TIMES]
    time = parse_seconds(table.rows[-1][1][columns[0]], table.decimal) if columns else None
    return () if time is None else ((time, len(table.rows) - 1),)


def _check_numbers(table: Table, problems: ProblemList) -> int:
    """Return the number of the first row; add a problem if numbers are not consecutive."""
    column = _number_column(table.columns)
    if column is None:
        return 0
    numbers: list[int] = []
    for line, cells in table.rows:
        match = re.fullmatch(r"\+?([0-9]{1,9})(\.0*)?", with_point(cells[column], table.decimal))
        if match is None:
            found = cells[column][:40]
            problems.note(
                "cell", f"frame is {found!r}, expected a whole number from 0; fix the row", line
            )
            return 0
        numbers.append(int(match[1]))
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    if len(steps) > 1 and {*steps} == {steps[0]} and steps[0] > 1:
        problems.note(
            "row-interval",
            f"has a row for only one frame in {steps[0]}, expected a row for every frame; add the "
            "others (-1 = unlabelled)",
        )
    elif wrong := next((i for i, step in enumerate(steps) if step != 1), -1) + 1:
        found, expected = table.rows[wrong][1][column], numbers[wrong - 1] + 1
        message = f"frame is {found!r}, expected {expected}; fix the row"
        problems.note(
            "frame-numbers", message, table.rows[wrong][0]
        )  # later rows would only repeat it
    return numbers[0]


def _number_column(names: Sequence[str]) -> int | None:
    """Return the column with row numbers; a column without a name must be the first."""
    return next(
        (
            i
            for i, name in enumerate(names)
            if _letters(name) in _NUMBERS and (_letters(name) or not i)
        ),
        None,
    )


def _runs(is_on: np.ndarray) -> list[tuple[int, int]]:
    """Return (start, stop) of each run of true values."""
    runs = find_bouts(np.asarray(is_on, int) - 1)
    return list(zip(runs["start"].tolist(), runs["stop"].tolist(), strict=True))


def read_by_time(path: Path, text: str) -> list[Scoring]:
    """Read a table by time, such as a BORIS binary table: each row has 0, 1 or a count.

    Notes
    -----
    A row lists the behaviours that are on at its time. A behaviour that is on from row i started
    between row i - 1 and row i, so at the frame on the screen at row i, if rows are no longer than
    a frame (`events_to_frames` refuses longer ones). A behaviour in a single row takes one frame,
    because the table does not separate states from point events; a point event lies at or after
    its row, so up to a frame later.
    """
    table = parse_table(path, text, _has_time)
    problems = ProblemList(path, table.decimal)
    time = next(i for i, name in enumerate(table.columns) if _letters(name) in _TIMES)
    times = [problems.time(cells[time], "time", line) for line, cells in table.rows]
    problems.check()
    steps = [b - a for a, b in itertools.pairwise(times)]
    if not steps or min(steps) <= 0:
        raise InputError.of(
            path, "event-times", "needs at least two rows with increasing times; export it again"
        )
    end_of_table = times[-1] + max(steps)
    events, names = [], []
    warnings: list[str] = []
    columns = _behaviour_columns(table.columns)
    _check_columns(table, columns, problems)
    filled = _filled(table, columns, warnings)
    for column in columns:
        if table.columns[column] == _BACKGROUND:
            continue
        names.append(name := table.names[column])
        is_on = [
            problems.frame(_digits(cells[column]), repr(name), line) > 0
            for (line, _), cells in zip(table.rows, filled, strict=True)
        ]
        for start, stop in _runs(np.array(is_on)):
            end = times[stop] if stop < len(times) else end_of_table
            line = table.rows[start][0]
            events.append(Event(name, times[start], None if stop - start == 1 else end, line))
    problems.check()
    gaps: list[tuple[Fraction, Fraction | None]] = [(end_of_table, None)]
    if times[0] > 0:
        gaps.append((Fraction(0), times[0]))
    return [
        Scoring(
            path,
            tuple(events),
            unscored=tuple(gaps),
            row_times=tuple(times),
            columns=tuple(names),
            is_of_subject=True,
            warnings=tuple(warnings),
        )
    ]
