"""Read an Excel workbook as the CSV text that it would be: the first sheet with a table."""

from __future__ import annotations

import datetime
import itertools
import re
import warnings
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from mpar.errors import InputError, Problem, counted

SUFFIX = ".xlsx"
_MAX_BYTES = 2**29  # unpacked; a sheet of a million rows has about 60 MB
_MAX_CELLS = 20_000_000
_MAX_PROBLEMS = 20


def read_workbook(path: Path) -> tuple[str, list[str]]:
    """Return the first visible sheet with a table as CSV text, and what the user should check.

    Row n of the sheet is line n of the text. A table is a sheet in which some row has two cells.
    Raises InputError if openpyxl is missing, the file is not a workbook, it has no table, or a
    formula has no stored result.

    Notes
    -----
    Numbers have up to 15 significant digits, as in Excel, without exponent. A time of day counts
    as hours:minutes:seconds only if its format shows all three, since people who type 01:30 for
    minutes and seconds get hours and minutes. Dates are written as dates, which no number accepts.
    """
    try:
        import openpyxl
    except ImportError:
        raise InputError.of(
            path,
            "no-package",
            "is an Excel workbook, which needs the package openpyxl; run pip install openpyxl, or "
            "save it as 'CSV UTF-8'",
        ) from None
    _check_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and drawings
            books = [
                openpyxl.load_workbook(path, read_only=True, data_only=is_shown)
                for is_shown in (True, False)
            ]
            try:
                shown, formulas = ([*book.worksheets] for book in books)
                tables = [i for i, sheet in enumerate(shown) if _is_table(sheet)]
                problems: list[Problem] = []
                lines = (
                    [*_lines(path, shown[tables[0]], formulas[tables[0]], problems)]
                    if tables
                    else []
                )
                names = [shown[i].title for i in tables]
            finally:
                for book in books:
                    book.close()
    except Exception as error:  # openpyxl raises many kinds for damaged files
        raise InputError.of(
            path,
            "malformed",
            f"cannot be read as an Excel workbook ({type(error).__name__}); open it and save it "
            "again, or save it as 'CSV UTF-8'",
        ) from None
    if problems:
        raise InputError(problems[:_MAX_PROBLEMS])
    if not names:
        raise InputError.of(path, "empty", "has no sheet with a table; score it or remove it")
    width = max(map(len, lines))
    if width * len(lines) > _MAX_CELLS:
        raise InputError.of(
            path,
            "too-large",
            f"has {len(lines):,} rows and {width:,} columns, expected at most {_MAX_CELLS:,} "
            "cells; remove what lies outside the table",
        )
    text = "".join(
        ",".join(map(_quoted, [*cells, *[""] * (width - len(cells))])) + "\n" for cells in lines
    )
    return text, _note_sheets(names)


def _quoted(cell: str) -> str:
    """Return a cell as a CSV reader expects it."""
    return '"' + cell.replace('"', '""') + '"' if re.search('[,"]', cell) else cell


def _note_sheets(names: list[str]) -> list[str]:
    """Return a warning about sheets that mpar does not read."""
    if len(names) < 2:
        return []
    others = ", ".join(map(repr, names[1:4])) + (
        f" and {len(names) - 4} more" if len(names) > 4 else ""
    )
    return [
        f"has {counted(len(names), 'sheet')} with a table; mpar reads {names[0]!r} and not "
        f"{others}; if they count, too, move their rows there or save each to a file of its own"
    ]


def _check_size(path: Path) -> None:
    """Raise InputError unless a file is a ZIP archive that unpacks to what memory may hold."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
    except OSError as error:
        raise InputError.of(
            path, "unreadable", f"cannot be read ({error.strerror}); check the file"
        ) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise InputError.of(
            path,
            "malformed",
            "is not an Excel workbook despite its suffix, or has a password; if it is text, rename "
            "it to .csv, otherwise save it as 'CSV UTF-8'",
        ) from None
    if size > _MAX_BYTES:
        raise InputError.of(
            path,
            "too-large",
            f"unpacks to {size / 2**20:.0f} MB, expected at most {_MAX_BYTES >> 20}; save its "
            "table as 'CSV UTF-8'",
        )


def _is_table(sheet: Any) -> bool:
    """Return True if a visible sheet has a row with at least two cells."""
    if sheet.sheet_state != "visible":
        return False
    sheet.reset_dimensions()  # some programs write wrong ones
    return any(
        sum(value is not None for value in row) > 1 for row in sheet.iter_rows(values_only=True)
    )


def _lines(path: Path, shown: Any, formulas: Any, problems: list[Problem]) -> Iterator[list[str]]:
    """Yield the cells of each row as text; add a problem for each formula without a result."""
    formulas.reset_dimensions()
    rows = itertools.zip_longest(shown.iter_rows(), formulas.iter_rows(), fillvalue=())
    for number, (cells, sources) in enumerate(rows, start=1):
        texts = [_text(cell) for cell in cells]
        for cell, source in zip(cells, sources, strict=False):
            # an empty text is a result, too
            if source.data_type == "f" and cell.value is None and cell.data_type == "n":
                message = (
                    f"the formula in {source.coordinate} has no stored result; open the workbook "
                    "in Excel or LibreOffice and save it again"
                )
                problems.append(Problem.of(path, "cell", message, number))
        while texts and not texts[-1]:
            texts.pop()
        yield texts


def _text(cell: Any) -> str:
    """Return a cell as CSV text."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, (datetime.time, datetime.timedelta)):
        return _clock(value, cell.number_format)
    return re.sub(r"[\r\n\t\0]+", " ", str(value))  # a row stays one line


def _number(value: int | float) -> str:
    """Return a number with a decimal point that nobody takes for thousands.

    Examples
    --------
    >>> [_number(value) for value in (3.0, 0.1 + 0.2, 1.234, 1e-7, -1)]
    ['3', '0.3', '1.2340', '0.0000001', '-1']
    """
    if isinstance(value, float) and not value.is_integer():
        text = format(Decimal(f"{value:.15g}"), "f")
        return text + "0" * (len(text.partition(".")[2]) == 3)
    return str(int(value))


def _clock(value: datetime.time | datetime.timedelta, number_format: str) -> str:
    """Return a time of day as its format shows it: with or without hours and seconds."""
    if isinstance(value, datetime.time):
        value = datetime.timedelta(0, value.second, value.microsecond, 0, value.minute, value.hour)
    shown = re.sub(r'"[^"]*"|\\.', "", number_format.lower())
    milliseconds = round(value / datetime.timedelta(milliseconds=1))
    minutes, rest = divmod(milliseconds, 60_000)
    seconds = f"{rest // 1000:02}" + (f".{rest % 1000:03}" if rest % 1000 else "")
    if "s" not in shown:
        return f"{minutes // 60:02}:{minutes % 60:02} h:mm"  # it may stand for minutes:seconds
    if "h" not in shown:
        return f"{minutes:02}:{seconds}"
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds}"
