"""Read a table as text: its encoding, its header line and the cells of its rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mpar.errors import InputError
from mpar.system import xlsx
from mpar.system.files import spreadsheet_plain

DELIMITERS = ",;\t"
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_BINARY_FILES = {
    b"PK\x03\x04": "a ZIP archive, such as a workbook of Excel or LibreOffice, despite its suffix",
    b"\xd0\xcf\x11\xe0": "an OLE file, such as an old Excel workbook, despite its suffix",
    b"\x89HDF": "an HDF5 or MATLAB file",
    b"MATLAB": "a MATLAB file",
}
_LINE_BREAK = re.compile(r"\r\n|\r|\n")


def read_text(path: Path) -> str:
    """Return the text of a label file, as `read_noted` does, without its warnings."""
    return read_noted(path)[0]


def read_noted(path: Path) -> tuple[str, list[str]]:
    """Return the text of a label file, and what the user should check.

    Text is UTF-8, or UTF-16 with a byte order mark. A workbook (``.xlsx``) becomes the CSV that it
    would be (`mpar.system.xlsx`). Raises InputError if the file cannot be read, or is not text.
    """
    if path.suffix.lower() == xlsx.SUFFIX:
        return xlsx.read_workbook(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError.of(
            path, "unreadable", f"cannot be read ({error.strerror}); check the file"
        ) from None
    if program := next((what for mark, what in _BINARY_FILES.items() if data.startswith(mark)), ""):
        raise InputError.of(
            path,
            "not-text",
            f"is {program}, expected text; open it in its program and save it as 'CSV UTF-8'",
        )
    encoding = next(
        (name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8"
    )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = _line_of(error.object[: error.start].decode(encoding, "replace"))
        raise InputError.of(
            path, "not-text", "is not UTF-8 text; save it as 'CSV UTF-8'", line
        ) from None
    if "\0" in text:
        line = _line_of(text[: text.index("\0")])
        raise InputError.of(
            path, "not-text", "contains a NUL byte, expected text; save it as 'CSV UTF-8'", line
        )
    # Excel names the separator of the cells in a line above the header
    return re.sub(r"\A\"?sep=[,;\t]\"?[,;\t]*(?=[\r\n])", "", text), []


def parse_rows(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Return (first line, cells) of every row of a table, without blank rows at both ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            rows.append((line, [spreadsheet_plain(cell).strip() for cell in cells]))
            line = reader.line_num + 1  # a quoted cell may span lines
    except csv.Error as error:
        raise InputError.of(
            path, "malformed", f"is not a well-formed CSV ({error}); fix the row", line
        ) from None
    while rows and not any(rows[-1][1]):
        rows.pop()
    while rows and not any(rows[0][1]):
        rows.pop(0)
    return rows


def number_columns(text: str, names: Sequence[str]) -> np.ndarray:
    """Read columns of a long comma-separated table quickly, (N, K) float32.

    KeyError lists missing columns; ValueError if a cell is not a number.
    """
    import pandas as pd

    header = [spreadsheet_plain(cell) for cell in next(csv.reader(io.StringIO(text, newline="")))]
    if missing := [name for name in names if name not in header]:
        raise KeyError(", ".join(missing))
    at = [header.index(name) for name in names]
    table = pd.read_csv(io.StringIO(text), usecols=at, dtype=np.float32).to_numpy()
    values: np.ndarray = table[:, np.argsort(np.argsort(at))]
    return values


def number_rows(text: str, num_head: int, delimiter: str = ",") -> np.ndarray:
    """Read a long table quickly, (N, K) float64; an empty cell is NaN.

    Where commas do not separate cells, they are decimal marks. ValueError if a cell below the
    `num_head` rows of the header is not a number.
    """
    import pandas as pd

    has_commas = "," in text.split("\n", num_head)[-1]
    rows: np.ndarray = pd.read_csv(
        io.StringIO(text),
        sep=delimiter,
        decimal="," if has_commas and delimiter != "," else ".",
        skiprows=num_head,
        header=None,
        dtype=np.float64,
    ).to_numpy()
    return rows


def header_of(text: str) -> str:
    """Return the first line of a table that is not blank, "" if there is none."""
    start = 0
    while start < len(text):
        found = _LINE_BREAK.search(text, start)
        stop, after = found.span() if found else (len(text), len(text))
        if text[start:stop].strip(" \t,;"):
            return text[start:stop]
        start = after
    return ""


def plain_cells(line: str, delimiter: str) -> list[str]:
    """Split a header line roughly, to recognise it: without quotes, in lower case."""
    return [cell.strip(' "').lower() for cell in line.split(delimiter)]


def _line_of(text_before: str) -> int:
    return len(_LINE_BREAK.findall(text_before)) + 1
