"""Tables with a column for each behaviour, 0 or 1 in each row: of frames, or of times.

DeepEthogram writes them by frame, BORIS as binary tables by time, and people by hand.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.errors import InputError
from mpar.labels.annotations import DELIMITERS, plain_cells
from mpar.labels.bouts import find_bouts
from mpar.labels.scorings import Event, Scoring
from mpar.labels.tables import ProblemList, Table, parse_number, parse_table, with_point

# columns that number the rows, and that say when they are; others are behaviours
_NUMBERS = {"", "frame", "frames", "framenumber", "frameno", "framenr", "frameid", "frameindex"}
_NUMBERS |= {"frameidx", "index", "unnamed0"}
_TIMES = {"time", "times", "seconds"}
_BACKGROUND = "background"
_VALUE = re.compile(r"-1([.,]0*)?|[01]([.,]0*)?|true|false", re.IGNORECASE)
_WORDS = {"true": "1", "false": "0"}  # as R and Python write them
_NUM_LOOKED_AT = 20


def is_by_time(text: str) -> bool:
    """Tell whether a text is a table by time, as BORIS' binary ones."""
    header, *rows = _first_rows(text)
    columns = _behaviour_columns(header)
    cells = [row[column] for row in rows for column in columns if column < len(row)]
    return _has_time(header) and any(cell[:1].isdigit() or cell in _WORDS for cell in cells)


def _has_time(header: list[str]) -> bool:
    first = _behaviour_columns(header)[:1]
    leading = header[: first[0]] if first else []
    leading = [_letters(name) for name in leading]
    return bool({*leading} & _TIMES) and not {*leading} & _NUMBERS and "behavior" not in header


def _letters(name: str) -> str:
    """Return a column's name without signs: frame_number, Frame No. and frame# are alike."""
    return re.sub(r"[\W_]+", "", name.lower())


def _digits(cell: str) -> str:
    """Return a cell with 1 and 0 for true and false."""
    return _WORDS.get(cell.lower(), cell)


def is_by_frame(text: str) -> bool:
    """Tell whether a text is a table of behaviours by frame, with or without row numbers."""
    header, *rows = _first_rows(text)
    if header[:2] == ["", _BACKGROUND]:
        return True
    columns = _behaviour_columns(header)
    is_named = all(header[column] and not _VALUE.fullmatch(header[column]) for column in columns)
    cells = [row[column] for row in rows for column in columns if column < len(row)]
    is_table = is_named and bool(cells) and all(map(_VALUE.fullmatch, cells))
    return is_table and not _has_time(header)


def _first_rows(text: str) -> list[list[str]]:
    """Return the header, in lower case, and some rows below it, split by the likeliest sign."""
    lines = text.lstrip("\ufeff").splitlines()[: _NUM_LOOKED_AT + 1] or [""]
    delimiter = max(DELIMITERS, key=lines[0].count)
    return [plain_cells(line, delimiter) for line in lines if line.strip() or line is lines[0]]


def _behaviour_columns(names: Sequence[str]) -> list[int]:
    """Return the columns that are behaviours: all after those of numbers and times."""
    first = next(
        (i for i, name in enumerate(names) if _letters(name) not in _NUMBERS | _TIMES), len(names)
    )
    return list(range(first, len(names)))


def read_by_frame(path: Path, text: str) -> list[Scoring]:
    """Read a table with a row a frame, as DeepEthogram's.

    A column ``background`` is not a behaviour, but the lack of one; -1 marks a frame that nobody
    looked at. Rows may be numbered from 0 or from 1.
    """
    header = _first_rows(text)[0]
    table = parse_table(path, text, lambda cells: cells == header and is_by_frame(text))
    problems = ProblemList(path, table.decimal)
    _check_numbers(table, problems)
    columns = _behaviour_columns(table.columns)
    values = np.zeros((len(table.rows), len(table.names)), int)
    for row, (line, cells) in enumerate(table.rows):
        for column in columns:
            if not _VALUE.fullmatch(cells[column]):
                found = cells[column][:40]
                problems.note(f"found {found!r}, expected 0, 1 or -1; fix the row", line)
                continue
            values[row, column] = int(float(_digits(cells[column]).replace(",", ".")))
    backgrounds = [column for column in columns if table.columns[column] == _BACKGROUND]
    behaviours = [column for column in columns if column not in backgrounds]
    is_unscored = np.asarray((values[:, behaviours] < 0).any(axis=1))
    is_none = (values[:, behaviours] == 0).all(axis=1)
    for column in backgrounds:
        for row in np.flatnonzero(~is_unscored & (is_none != (values[:, column] == 1))).tolist():
            problems.note(
                "its background is not 1 where, and only where, all behaviours are 0; fix the row",
                table.rows[row][0],
            )
    problems.check()
    values[is_unscored] = 0
    lines = [line for line, _ in table.rows]
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
            frame_times=_last_time(table),
            columns=tuple(table.names[column] for column in behaviours),
        )
    ]


def _last_time(table: Table) -> tuple[tuple[Fraction, int], ...]:
    """Return the time of the last row and its frame, where the table has both."""
    columns = [i for i, name in enumerate(table.columns) if _letters(name) in _TIMES]
    time = parse_number(table.rows[-1][1][columns[0]], table.decimal) if columns else None
    return () if time is None else ((time, len(table.rows) - 1),)


def _check_numbers(table: Table, problems: ProblemList) -> None:
    """Note rows whose number is not the next one, from 0 or 1 on."""
    column = next((i for i, name in enumerate(table.columns) if _letters(name) in _NUMBERS), None)
    if column is None:
        return
    first = with_point(table.rows[0][1][column], table.decimal)
    start = 1 if re.fullmatch(r"\+?0*1(\.0*)?", first) else 0
    for row, (line, cells) in enumerate(table.rows, start=start):
        number = with_point(cells[column], table.decimal)
        if not re.fullmatch(rf"\+?0*{row}(\.0*)?", number):
            problems.note(f"frame is {cells[column]!r}, expected {row}; fix the row", line)
            return  # all others would follow from it


def _runs(is_on: np.ndarray) -> list[tuple[int, int]]:
    """Return start and stop of each run of true values."""
    runs = find_bouts(np.asarray(is_on, int) - 1)
    return list(zip(runs["start"].tolist(), runs["stop"].tolist(), strict=True))


def read_by_time(path: Path, text: str) -> list[Scoring]:
    """Read a table with a row an interval, as BORIS' binary tables: 0 or 1, or a count.

    Notes
    -----
    A row says what is on at its time. A behaviour that is on from row i began after row i - 1 and
    up to row i: at the frame on the screen at row i, if no row is longer than a frame (`lay`
    refuses others). A behaviour in a single row takes one frame, because the table does not tell
    states from point events; the latter lie at or after their row, so up to a frame later.
    """
    table = parse_table(path, text, _has_time)
    problems = ProblemList(path, table.decimal)
    times = [problems.number(cells[0], "time", line) for line, cells in table.rows]
    problems.check()
    steps = [b - a for a, b in itertools.pairwise(times)]
    if not steps or min(steps) <= 0:
        raise InputError.of(path, "needs at least two rows with rising times; export it again")
    end_of_table = times[-1] + max(steps)
    events, names = [], []
    for column in _behaviour_columns(table.columns):
        if table.columns[column] == _BACKGROUND:
            continue
        names.append(name := table.names[column])
        is_on = [
            problems.frame(_digits(cells[column]), repr(name), line) > 0
            for line, cells in table.rows
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
        )
    ]
