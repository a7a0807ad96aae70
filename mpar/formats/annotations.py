"""Read mpar's own label files into per-frame codes (other formats: `mpar.formats.registry`).

An mpar label file is a CSV with the columns ``Frame`` and ``Action`` and one row per frame.
Frames count from 0. Action is an integer code or a name of the class map; ``-1`` or an empty cell
means unlabelled. Further columns are ignored, so predictions read back as annotations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mpar.errors import InputError, Problem, counted, shorten
from mpar.formats.programs import name_program
from mpar.labels.classes import MAX_CODE, UNLABELLED, ClassMap
from mpar.labels.scorings import Scoring
from mpar.system.csv_text import DELIMITERS, header_of, parse_rows, plain_cells, read_text

MAX_FRAME = 2**31 - 1

COLUMNS = {"frame", "action"}
_WHOLE_NUMBER = re.compile(r"\+?([0-9]+)(\.0*)?", re.ASCII)


def read_annotation(
    path: Path | str,
    class_map: ClassMap,
    *,
    allow_gaps: bool = False,
    with_confidence: bool = False,
    text: str | None = None,
) -> Scoring:
    """Read one label file.

    Parameters
    ----------
    path : Path or str
        CSV with comma, semicolon or tab; UTF-8 (with or without byte order mark) or UTF-16
        with byte order mark; or a workbook (``.xlsx``).
    class_map : ClassMap
        The codes and names that may occur.
    allow_gaps : bool
        Accept missing frames, as in predictions for every n-th frame.
    with_confidence : bool
        Also read the column ``Confidence``, if there is one. In labels by people, a column of that
        name may hold anything.
    text : str, optional
        The text of the file, if it was read before.

    Returns
    -------
    Scoring
        By frame, at least one row; without `allow_gaps` its frames are consecutive.

    Raises
    ------
    InputError
        Lists the problems of the file by line; the 20th says how many follow.
    """
    path = Path(path)
    text = read_text(path) if text is None else text
    header = header_of(text)
    delimiter = max(
        DELIMITERS, key=lambda d: (len(COLUMNS & {*plain_cells(header, d)}), header.count(d))
    )
    rows = parse_rows(path, text, delimiter)
    columns = [*_find_columns(path, rows)]
    header_cells = [cell.lower() for cell in rows[0][1]]
    if with_confidence and "confidence" in header_cells:
        columns.append(header_cells.index("confidence"))
    guessed: dict[str, str] = {}
    lines, read, problems = _read_rows(path, rows, columns, class_map, guessed)
    if not rows[1:]:
        problems.append(
            Problem.of(path, "empty", "has no rows below its header; score it or remove it")
        )
    if (column := _find_column_problem(problems)) is not None:
        raise InputError([column])  # the others follow from it and would hide it
    frames = np.array([row[0] for row in read], np.int64)
    order = np.argsort(frames, kind="stable")
    # a bad row leaves a gap: report gaps only if every row could be read
    problems += _find_order_problems(
        path, frames[order], np.array(lines)[order], allow_gaps or bool(problems)
    )
    if problems:
        raise InputError(shorten(path, problems))
    is_sorted = bool((order == np.arange(len(order))).all())
    warnings = [] if is_sorted else ["its rows were out of order; mpar sorted them by frame"]
    warnings += [guess_warning(guessed)] if guessed else []
    return Scoring(
        path,
        frames=frames[order],
        codes=np.array([row[1] for row in read], np.int16)[order],
        warnings=tuple(warnings),
        confidence=np.array([row[2] for row in read])[order] if len(columns) > 2 else None,
    )


def _read_rows(
    path: Path,
    rows: Sequence[tuple[int, Sequence[str]]],
    columns: Sequence[int],
    class_map: ClassMap,
    guessed: dict[str, str],
) -> tuple[list[int], list[tuple[int, int, float]], list[Problem]]:
    """Return the lines of the good rows, their frame, code and confidence, and the problems."""
    problems: list[Problem] = []
    lines: list[int] = []
    read: list[tuple[int, int, float]] = []
    known: dict[str, int] = {}  # a table repeats few actions many times
    width = len(rows[0][1])
    for line, cells in rows[1:]:
        try:
            if len(cells) != width:
                found = counted(len(cells), "cell")
                raise ValueError(f"found {found}, expected {width}; fix the row")
            frame = _parse_frame(cells[columns[0]])
            if (action := cells[columns[1]]) not in known:
                known[action] = _parse_action(action, class_map, guessed)
            share = _parse_share(cells[columns[2]]) if len(columns) > 2 else 1.0
        except (ValueError, LookupError) as error:
            code = "cell" if isinstance(error, ValueError) else "unknown-class"
            problems.append(Problem.of(path, code, str(error), line))
            continue
        lines.append(line)
        read.append((frame, known[action], share))
    return lines, read, problems


def guess_warning(guessed: Mapping[str, str]) -> str:
    """Return a warning that lists inexact names and the class map names they were read as."""
    pairs = ", ".join(f"{written!r} as {name}" for written, name in guessed.items())
    return f"mpar reads {pairs}: the names differ only in case, spaces, _ or -"


def with_point(cell: str) -> str:
    """Replace a decimal comma, as in 1,0, by a point; return other cells unchanged.

    ``1,000`` may mean a thousand: it stays as it is, and the caller refuses it.
    """
    is_thousand = re.fullmatch(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}", cell)
    return cell if is_thousand or cell.count(",") != 1 else cell.replace(",", ".")


def _find_columns(path: Path, rows: list[tuple[int, list[str]]]) -> tuple[int, int]:
    if not rows:
        raise InputError.of(
            path, "empty", "is empty, expected a header Frame,Action; score it or remove it"
        )
    header = [cell.lower() for cell in rows[0][1]]
    for name in COLUMNS:
        if header.count(name) != 1:
            found = ",".join(rows[0][1])[:100]
            program = name_program(rows)
            advice = (
                f"; it looks like {program}"
                if program
                else ", or a column of 0 and 1 for each class; fix the header"
            )
            raise InputError.of(
                path,
                "columns",
                f"found the columns {found!r}, expected one Frame and one Action{advice}",
                rows[0][0],
            )
    return header.index("frame"), header.index("action")


def _find_column_problem(problems: list[Problem]) -> Problem | None:
    """Return one problem for the whole column Frame if most problems come from its format."""
    marked = [p for p in problems if re.match(r"frame is '[0-9]+([.,][0-9]+)+'", p.message)]
    if len(marked) < 2 or len(marked) < len(problems) / 2:
        return None
    first = min(marked, key=lambda problem: problem.line)
    is_thousand = all(
        re.match(r"frame is '[1-9][0-9]{0,2}([.,][0-9]{3})+'", p.message) for p in marked
    )
    what = (
        "as with a thousands separator, expected whole numbers from 0; format the column without it"
        if is_thousand
        else "as seconds are written, expected whole numbers from 0; number the rows by frame"
    )
    message = f"its {first.message.partition(', expected')[0]}, {what}"
    return replace(first, message=message)


def _parse_frame(cell: str) -> int:
    if len(cell) < 10 and cell.isascii() and cell.isdecimal():
        return int(cell)
    match = _WHOLE_NUMBER.fullmatch(with_point(cell))
    if not match or len(match[1]) > 12 or int(match[1]) > MAX_FRAME:
        raise ValueError(f"frame is {cell[:40]!r}, expected a whole number from 0; fix the row")
    return int(match[1])


def _parse_share(cell: str) -> float:
    text = cell.replace(",", ".")  # spreadsheets in some countries write a decimal comma
    if not re.fullmatch(r"[01](\.[0-9]*)?", text, re.ASCII) or float(text) > 1:
        raise ValueError(
            f"confidence is {cell[:40]!r}, expected 0 to 1; fix the row, or remove the column"
        )
    return float(text)


def _parse_action(cell: str, class_map: ClassMap, guessed: dict[str, str]) -> int:
    """Return the code of a cell; record an inexact name in `guessed`."""
    number = with_point(cell)
    if cell == "" or re.fullmatch(r"-1(\.0*)?", number):
        return UNLABELLED
    match = _WHOLE_NUMBER.fullmatch(number)
    if match:
        if len(match[1]) <= 6 and int(match[1]) <= MAX_CODE and int(match[1]) in class_map.codes:
            return int(match[1])
    elif (code := class_map.find_code(cell)) is not None:
        if not class_map.has_name(cell):
            guessed[cell] = class_map.name_of(code)
        return code
    if cell.lower() in {"na", "n/a", "nan", "none", "null"}:
        raise ValueError(
            f"action is {cell!r}, expected a code or a name; leave the cell empty, or write -1, if "
            "nobody scored the frame"
        )
    known = f"{_shown(class_map.codes)} or {', '.join(class_map.class_names)}"
    raise LookupError(
        f"action {cell[:40]!r} is not in the class map ({known}); fix the row or pass --class-map"
    )


def _shown(codes: tuple[int, ...]) -> str:
    """Show codes as a range such as 0-7, or as a list if they are not consecutive."""
    codes = tuple(sorted(codes))
    if codes == tuple(range(codes[0], codes[-1] + 1)):
        return f"{codes[0]}-{codes[-1]}"
    return ", ".join(map(str, codes))


def _find_order_problems(
    path: Path, frames: np.ndarray, lines: np.ndarray, allow_gaps: bool
) -> list[Problem]:
    problems = []
    steps = np.diff(frames)
    for i in np.flatnonzero(steps == 0):
        problems.append(
            Problem.of(
                path,
                "frame-numbers",
                f"frame {frames[i]} occurs twice (also in line {lines[i]}); remove one row",
                int(lines[i + 1]),
            )
        )
    if allow_gaps:
        return problems
    if len(steps) > 2 and (steps == steps[0]).all() and steps[0] > 1:
        message = (
            f"has a row for only one frame in {steps[0]}, expected a row for every frame; add the "
            "others (empty Action = unlabelled)"
        )
        if path.stem.endswith("_predictions"):
            message = (
                f"has a row for only one frame in {steps[0]}, like predictions with --stride, "
                f"which need {path.stem}.json next to them; copy it there, or predict every frame"
            )
        return [*problems, Problem.of(path, "row-interval", message)]
    for i in np.flatnonzero(steps > 1):
        first, last = int(frames[i]) + 1, int(frames[i + 1]) - 1
        missing = f"frame {first} is" if first == last else f"frames {first}-{last} are"
        problems.append(
            Problem.of(
                path,
                "frame-numbers",
                f"{missing} missing before this row; add them (empty Action = unlabelled)",
                int(lines[i + 1]),
            )
        )
    return problems
