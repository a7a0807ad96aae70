"""Regions files: campaign 16, generated ones and mutated ones."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpar.errors import InputError
from mpar.matching.regions import read_regions
from tests.campaigns.cases import Plant, Verdict, judged, nothing, write_bytes
from tests.campaigns.labels import mutate

HEADER = ["Video", "Animal", "X", "Y", "Width", "Height"]
NUMBERS = ("{}", " {} ", "00{}")
BAD_NUMBERS = ("", "-1", "0.5", "1,5", "+7", "1e2", "nan", "٣", "=1+1", "0x10", "64px")
BAD_ANIMALS = ("..", "a/b", "a\\b", "a:b", "a?", "a.", "é" * 200)
MISTAKES = ("none", "none", "number", "small", "animal", "twice", "overlap", "fewer", "nobody")

# what is expected of a file: its rows, or the lines with problems, or whatever is right
Row = tuple[str, str, int, int, int, int]
Expected = list[Row] | list[int] | None


def generate_file(rng: np.random.Generator) -> tuple[str, bytes, Expected]:
    """Draw a rack of 2 x 2 to 3 x 3 chambers in any dialect, right or with one mistake."""

    def pick(values):
        return values[int(rng.integers(len(values)))]

    mistake, number, side = pick(MISTAKES), pick(NUMBERS), int(rng.integers(2, 4))
    width, height = (int(length) for length in rng.integers(16, 90, 2))
    rows: list[Row] = [
        (video, f"{prefix}{column}{row}", column * width, row * height, width, height)
        for video, prefix in (("*", "mouse "), (pick(("rack 7.mp4", "ü_8", "A.b.c.avi")), ""))
        for row, column in itertools.product(range(side), repeat=2)
    ]
    cells = [[*row[:2], *(number.format(value) for value in row[2:])] for row in rows]
    at = int(rng.integers(1, len(rows)))
    if mistake == "number":
        cells[at][int(rng.integers(2, 6))] = pick(BAD_NUMBERS)
    elif mistake == "small":
        cells[at][int(rng.integers(4, 6))] = "15"
    elif mistake == "animal":
        cells[at][1] = pick(BAD_ANIMALS)
    elif mistake == "twice":
        at = pick([i for i in range(1, len(rows)) if rows[i - 1][0] == rows[i][0]])
        cells[at][1] = f" {cells[at - 1][1].upper()}"
    elif mistake == "overlap":  # the last one reaches to a neighbour before it
        at = len(rows) - 1
        cells[at][2] = str(rows[at][2] - 1)
    elif mistake == "fewer":
        del cells[at][-1]
    elif mistake == "nobody":
        cells[at][0] = ""
    order = rng.permutation(len(HEADER)) if mistake != "fewer" else np.arange(len(HEADER))
    table = [HEADER, *cells]
    buffer = io.StringIO(newline="")
    delimiter, line_end = pick(",;\t"), pick(("\n", "\r\n"))
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=line_end)
    writer.writerows([row[i] for i in order if i < len(row)] for row in table)
    encoding = pick(("utf-8", "utf-8-sig", "utf-16"))
    name = f"{mistake}, {encoding}, {delimiter!r}, {line_end!r}"
    return name, buffer.getvalue().encode(encoding), rows if mistake == "none" else [at + 2]


def read_naively(data: bytes) -> list[Row]:
    """Read a file by other means than mpar's: whatever raises here is no right regions file."""
    is_wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16" if is_wide else "utf-8-sig")
    for delimiter in ",;\t":
        table = [*csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]
        table = [[cell.strip() for cell in row] for row in table]
        table = [row for row in table if any(row)]
        header = [cell.lower() for cell in table[0]]
        if sorted(header) == sorted(name.lower() for name in HEADER):
            break
    else:
        raise ValueError("has another header")
    rows: list[Row] = []
    for cells in table[1:]:
        row = dict(zip(header, cells, strict=True))
        if not all(re.fullmatch("[0-9]+", row[name]) for name in ("x", "y", "width", "height")):
            raise ValueError("holds what is no number")
        x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
        if min(width, height) < 16 or not row["video"] or re.search(r'[\\/:*?"<>|]', row["animal"]):
            raise ValueError("is no region")
        rows.append((row["video"], row["animal"], x, y, width, height))
    for one, other in itertools.combinations(rows, 2):
        if one[0].casefold().split() != other[0].casefold().split():
            continue
        is_apart = any(
            one[i] + one[i + 2] <= other[i] or other[i] + other[i + 2] <= one[i] for i in (2, 3)
        )
        if not is_apart or not one[1] or one[1].casefold().split() == other[1].casefold().split():
            raise ValueError("contradicts itself")
    if not rows:
        raise ValueError("has no rows")
    return rows


def judge_file(case: tuple[Path, bytes, Expected]) -> str:
    """Read a file and compare with what is expected of it."""
    path, data, expected = case
    write_bytes(path, data)
    is_right = bool(expected) and isinstance(expected[0], tuple)
    try:
        table = read_regions(path)
    except InputError as error:
        if any(problem.path != path.name for problem in error.problems):
            return f"does not name the file: {error}"
        lines = [problem.line for problem in error.problems]
        if is_right or (expected is not None and {*lines} != {*expected}):
            return f"found {error}, expected {expected}"
        return ""
    regions = [(row.video, row.region) for row in table.rows]
    found = [(video, r.animal, r.x, r.y, r.width, r.height) for video, r in regions]
    if expected is None:
        expected = read_naively(data)
    return "" if found == expected else f"found {found}, expected {expected}"


def read_region_files(
    seed: int, size: int, folder: Path, plant: Plant = nothing
) -> Iterator[Verdict]:
    """Campaign 16: every regions file is read as it means, or refused with file and line."""

    def cases() -> Iterator[tuple[str, tuple]]:
        rng = np.random.default_rng(seed)
        for number in range(size):
            name, data, expected = generate_file(rng)
            if number % 2 == 0:
                data, expected = mutate(rng, data), None
                name = f"mutated {name}: {data[:300]!r}"
            yield f"{number}: {name}", (folder / "regions.csv", data, expected)

    yield from judged(judge_file, cases(), plant=plant, timeout_seconds=20)


def without_comparing_rows() -> None:
    """Let animals live in one another's place."""
    from mpar.matching import regions

    regions._compare_rows = lambda *arguments: []
