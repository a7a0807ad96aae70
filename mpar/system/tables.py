"""Read tables whose header may have lines above it, and collect their problems."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mpar.errors import InputError, Problem, counted, shorten
from mpar.system.csv_text import DELIMITERS, header_of, parse_rows, plain_cells, read_noted

log = logging.getLogger(__name__)

NOTHING = {"", "na", "nan", "none"}  # how programs write an empty cell
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]*)?|\.[0-9]+", re.ASCII)
_CLOCK = re.compile(r"(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-5][0-9](?:[.,][0-9]*)?)", re.ASCII)
# columns with numbers, which show the decimal mark; comments and modifiers do not
_NUMERIC = re.compile(
    r"(?!comment|modifier|image file).*(time|start|stop|end|duration|fps|frame|length|seconds)"
)
_MAX_PREAMBLE_LINES = 500


def find_decimal(cells: Iterable[str], delimiter: str) -> str:
    """Return the decimal mark of the numbers of a file, a point or a comma.

    1,500 may mean 1.5 or 1500. The other numbers of the file decide. If they do not, semicolons or
    tabs between the cells mean a decimal comma.

    Examples
    --------
    >>> find_decimal(["1,500", "0,500"], ","), find_decimal(["1,500", "0.5"], ";")
    (',', '.')
    """
    cells = list(cells)
    if any(_is_sure(cell, ",") for cell in cells):
        return ","
    if delimiter == "," or any(_is_sure(cell, ".") for cell in cells):
        return "."
    return ","


def _is_sure(cell: str, mark: str) -> bool:
    """Return True if a cell is a number with a decimal mark that cannot stand for thousands."""
    if _CLOCK.fullmatch(cell):
        return mark in cell
    is_number = re.fullmatch(rf"[+-]?[0-9]*[{mark}][0-9]+", cell, re.ASCII) is not None
    return is_number and not _may_be_thousand(cell, mark)


def _may_be_thousand(cell: str, mark: str) -> bool:
    return re.fullmatch(rf"[+-]?[1-9][0-9]{{0,2}}[{mark}][0-9]{{3}}", cell, re.ASCII) is not None


def with_point(cell: str, decimal: str) -> str:
    """Return a number with a decimal point; "" if a point may mean thousands."""
    if decimal == ".":
        return cell
    return "" if _may_be_thousand(cell, ".") else cell.replace(",", ".")


def why_unclear(cell: str, decimal: str) -> str:
    """Return why a cell is not a number although it looks like one, for a message; else "".

    Examples
    --------
    >>> why_unclear("1.600", ","), why_unclear("1.6 s", ",")
    ('which may be 1.6 or 1600; write it as 1.6000', '')
    """
    if decimal == "." or not _may_be_thousand(cell, "."):
        return ""
    number, decimals = cell.split(".")
    shown = f"{number}.{decimals}".rstrip("0").rstrip(".")
    return f"which may be {shown} or {number}{decimals}; write it as {cell}0"


def parse_number(cell: str, decimal: str = ".") -> Fraction | None:
    """Parse a number of 0 or more with the decimal mark of its file; None for anything else.

    Examples
    --------
    >>> parse_number(".4"), parse_number("0,4", ","), parse_number("0.4 g")
    (Fraction(2, 5), Fraction(2, 5), None)
    """
    text = with_point(cell, decimal)
    return Fraction(text) if _NUMBER.fullmatch(text) else None


def parse_seconds(cell: str, decimal: str = ".") -> Fraction | None:
    """Parse seconds of 0 or more; None for anything else.

    All seconds in files pass through here: as a number, minutes:seconds or hours:minutes:seconds.
    A clock may have more than 59 minutes if it has no hours.

    Examples
    --------
    >>> parse_seconds("00:01:30.5"), parse_seconds("1:30"), parse_seconds("00:01:30:12")
    (Fraction(181, 2), Fraction(90, 1), None)
    """
    clock = _CLOCK.fullmatch(cell)
    if not clock:
        return parse_number(cell, decimal)
    if clock[1] is not None and int(clock[2]) > 59:
        return None
    seconds = Fraction(clock[3].replace(",", ".").rstrip("."))
    return 3600 * int(clock[1] or 0) + 60 * int(clock[2]) + seconds


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below a header: (line, cells), with as many cells as there are columns.

    Parameters
    ----------
    path : Path
        The file.
    columns, names : list of str
        The header in lower case, and as written.
    rows : list of (int, list of str)
        The rows that are not blank.
    preamble : list of list of str
        The rows above the header.
    header_line : int
        Line of the header.
    decimal : str
        The decimal mark of its numbers.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, list[str]]]
    preamble: list[list[str]]
    header_line: int
    names: list[str]
    decimal: str

    def find(self, *names: str) -> int | None:
        """Return the position of the first of these columns that exists, None if none does."""
        return next((self.columns.index(name) for name in names if name in self.columns), None)

    def cell(self, cells: list[str], *names: str) -> str:
        """Return the cell of the first of these columns that exists, "" if none does."""
        column = self.find(*names)
        return "" if column is None else cells[column]


def find_header(text: str, is_header: Callable[[list[str]], bool]) -> tuple[int, str] | None:
    """Return the line index and the delimiter of a header, None if there is none."""
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
            "columns",
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
            message = f"found {counted(len(cells), 'cell')}, expected {len(names)}; fix the row"
            problems.append(Problem.of(path, "cell", message, row_line))
        body.append((row_line, [*cells, *[""] * (len(names) - len(cells))][: len(names)]))
    if problems:
        raise InputError(shorten(path, problems))
    if not body:
        raise InputError.of(
            path, "empty", "has no rows below its header; score it or remove it", line
        )
    preamble = [cells for _, cells in rows[:at]]
    columns = [name.lower() for name in names]
    numeric = [i for i, name in enumerate(columns) if _NUMERIC.match(name)]
    numeric = numeric or list(range(len(columns)))
    decimal = find_decimal(
        (cells[i] for _, cells in body for i in numeric), found[1] if found else ","
    )
    return Table(path, columns, body, preamble, line, names, decimal)


@dataclass(frozen=True, slots=True)
class NamedRows:
    """A table with its header in the first line.

    Parameters
    ----------
    columns : list of str
        Names of the columns.
    rows : list of (int, dict of str to str)
        Line and cells by column of each row that is not blank.
    delimiter : str
        What separates the cells.
    problems : list of Problem
        Rows with another number of cells than the header, which are left out.
    """

    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    delimiter: str
    problems: list[Problem]


def read_named_rows(
    path: Path,
    titles: Sequence[str],
    *,
    needed: Sequence[str] | None = None,
    has_others: bool = True,
    taken: Sequence[str] = (),
) -> NamedRows:
    """Read a table that mpar defines: stimuli, metadata, regions, splits, class maps.

    Its encoding, separator and decimal mark may be those of any label file; it may be a workbook.
    Case does not count in the header, whose columns get the names in `titles` here. Those in
    `needed` must be there (by default all), those in `taken` may not, and others only with
    `has_others`. Raises InputError if the file cannot be read, or its header does not fit.
    """
    needed = titles if needed is None else needed
    text, notes = read_noted(path)
    for note in notes:
        log.warning("%s: %s", path.name, note)
    header = header_of(text)
    known = {title.lower(): title for title in titles}
    delimiter = max(DELIMITERS, key=lambda d: len(known.keys() & {*plain_cells(header, d)}))
    lines = parse_rows(path, text, delimiter)
    columns = [known.get(name.lower(), name) for name in (lines[0][1] if lines else [])]
    others = [name for name in columns if name not in titles]
    clash = [name for name in others if name in taken or not has_others]
    is_distinct = len({*columns}) == len(columns) and all(columns)
    if not {*needed} <= {*columns} or clash or not is_distinct:
        optional = [title for title in titles if title not in needed]
        raise InputError.of(
            path,
            "columns",
            f"found the columns {','.join(columns)[:100]!r}, expected {', '.join(needed)}"
            + (f", if needed {', '.join(optional)}" if optional else "")
            + (" and any others" if has_others else "")
            + (", each once" if not is_distinct else "")
            + (f", not {', '.join(clash)}" if clash else "")
            + "; fix the header",
            1,
        )
    rows, problems = [], []
    for line, cells in lines[1:]:
        if len(cells) == len(columns):
            rows.append((line, dict(zip(columns, cells, strict=True))))
        elif any(cells):
            message = f"found {counted(len(cells), 'cell')}, expected {len(columns)}; fix the row"
            problems.append(Problem.of(path, "cell", message, line))
    rows = [(line, row) for line, row in rows if any(row.values())]
    return NamedRows(columns, rows, delimiter, problems)


class ProblemList(list[Problem]):
    """Problems of one file, collected while reading it."""

    def __init__(self, path: Path, decimal: str = ".") -> None:
        super().__init__()
        self.path = path
        self.decimal = decimal

    def note(self, code: str, message: str, line: int = 0) -> None:
        """Add a problem."""
        self.append(Problem.of(self.path, code, message, line))

    def number(self, cell: str, what: str, line: int) -> Fraction:
        """Parse a number of 0 or more; if that fails, add a problem and return 0."""
        number = parse_number(cell, self.decimal)
        if number is not None:
            return number
        reason = why_unclear(cell, self.decimal) or "expected a number from 0; fix the row"
        self.note("cell", f"{what} is {cell[:40]!r}, {reason}", line)
        return Fraction(0)

    def time(self, cell: str, what: str, line: int) -> Fraction:
        """Parse seconds of 0 or more; if that fails, add a problem and return 0."""
        seconds = parse_seconds(cell, self.decimal)
        if seconds is None and ":" in cell:
            # the same message in every row, so that users see it once
            self.note(
                "cell",
                f"{what} is written with colons, expected seconds, minutes:seconds or "
                "hours:minutes:seconds such as 00:01:30.5; export it in seconds",
                line,
            )
            return Fraction(0)
        return self.number(cell, what, line) if seconds is None else seconds

    def frame(self, cell: str, what: str, line: int) -> Fraction:
        """Parse a whole number of 0 or more; add a problem if that fails."""
        number = self.number(cell, what, line)
        if number.denominator > 1:
            self.note("cell", f"{what} is {cell!r}, expected a whole number; fix the row", line)
        return number

    def check(self) -> None:
        """Raise InputError if there are problems."""
        if self:
            raise InputError(shorten(self.path, self))
