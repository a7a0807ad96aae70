"""Label files: campaign 10, named ones, generated ones, and mutated ones of all programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from mpar.errors import InputError
from mpar.formats.annotations import read_annotation
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.campaigns.cases import Plant, Verdict, judged, nothing, write_bytes
from tests.unit.formats.test_annotations import (
    test_dialect_is_accepted_quietly,
    test_file_is_refused_with_its_lines,
)

NAMES = {code: name for code, name, _ in DEFAULT_CLASS_MAP.rows}
CODES = {name: code for code, name in NAMES.items()} | {
    class_name: DEFAULT_CLASS_MAP.code_of(class_name)
    for class_name in DEFAULT_CLASS_MAP.class_names
}
FOLDED_CODES = {name.replace("_", ""): code for name, code in CODES.items()}
NUMBERS = ("{}", "{}.0", "+{}", " {} ", "00{}")
NOTES = ("", "x", "a,b;c\td", 'say "x"', "é 🐭", "two\nlines", "two\r\nlines", "=1+1")
BAD_ACTIONS = ("8", "1.5", "nan", "licking", "-2", "=1+1", "1e0", "٣", "0x1", "9" * 400, "1 0")
BAD_FRAMES = ("", "0.5", "-1", "nan", "1e3", "1,000", "frame", "9" * 30, "0x1", "2147483648")
MISTAKES = ("none", "action", "frame", "twice", "missing", "fewer", "more", "blank")
SNIPPETS = [
    *b',;\t"\n\r\0-+.=0189aN \xff\xfe\xef\xe9',
    b"\r\n",
    b"Frame",
    b"Action",
    b"-1",
    b"\xa0",
]

# what is expected of a file: {frame: code}, or the lines with problems, or whatever is right
Expected = dict[int, int] | list[int] | None


def named_files() -> Iterator[tuple[str, bytes, Expected]]:
    """Yield the files that the tests of `mpar.formats.annotations` know by name."""
    for test in (test_dialect_is_accepted_quietly, test_file_is_refused_with_its_lines):
        for parameters in test.pytestmark[0].args[1]:
            data, expected = parameters.values
            data = data if isinstance(data, bytes) else data.encode()
            if isinstance(expected, list):
                yield parameters.id, data, dict(enumerate(expected))
            else:
                yield parameters.id, data, [line for line, _ in expected]


def generate_file(rng: np.random.Generator) -> tuple[str, bytes, Expected]:
    """Draw a file in any dialect, right or with one mistake in a known line."""

    def pick(values):
        return values[int(rng.integers(len(values)))]

    mistake = pick(MISTAKES)
    codes = rng.integers(-1, 8, int(rng.integers(3, 25))).tolist()
    first = pick((0, 0, 0, 15, 10_000))
    columns = rng.permutation(["Frame", "Action", *pick(([], ["Note"], ["Note", "By"]))]).tolist()
    number, note, unlabelled = pick(NUMBERS), pick(NOTES), pick(("-1", "", "-1.0"))
    has_names = bool(rng.integers(2))

    def row(i: int) -> list[str]:
        code = codes[i]
        text = unlabelled if code == -1 else NAMES[code] if has_names else number.format(code)
        cells = {"Frame": number.format(first + i), "Action": text, "Note": note, "By": "ann"}
        return [cells[name] for name in columns]

    rows = [row(i) for i in range(len(codes))]
    at = int(rng.integers(1, len(rows) - 1))
    if mistake == "action":
        rows[at][columns.index("Action")] = pick(BAD_ACTIONS)
    elif mistake == "frame":
        rows[at][columns.index("Frame")] = pick(BAD_FRAMES)
    elif mistake == "twice":
        at = int(rng.integers(at + 1, len(rows) + 1))
        rows.insert(at, row(int(rng.integers(at))))
    elif mistake == "missing":
        del rows[at]
    elif mistake == "fewer":
        rows[at] = rows[at][:-1]
    elif mistake == "more":
        rows[at] = [*rows[at], "x"]
    elif mistake == "blank":
        rows.insert(at, [])

    delimiter, line_end = pick(",;\t"), pick(("\n", "\r\n", "\r"))
    buffer = io.StringIO(newline="")
    # left alone, the writer quotes only line breaks that are its own
    quoting = csv.QUOTE_ALL if "\n" in note else pick((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerow(columns)
    line = 0
    for i, cells in enumerate(rows):
        if i == at:
            line = len(re.findall(r"\r\n|\r|\n", buffer.getvalue())) + 1
        writer.writerow(cells)
    encoding = pick(("utf-8", "utf-8-sig", "utf-16"))
    data = buffer.getvalue().encode(encoding)
    expected = {first + i: code for i, code in enumerate(codes)} if mistake == "none" else [line]
    return f"{mistake}, {encoding}, {delimiter!r}, {line_end!r}", data, expected


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Change, insert, remove and repeat a few bytes."""
    mutated = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(mutated) + 1))
        snippet = SNIPPETS[int(rng.integers(len(SNIPPETS)))]
        snippet = bytes([snippet]) if isinstance(snippet, int) else snippet
        num_bytes = int(rng.integers(0, 6))
        match int(rng.integers(5)):
            case 0:
                mutated[at : at + 1] = snippet
            case 1:
                mutated[at:at] = snippet
            case 2:
                del mutated[at : at + num_bytes]
            case 3:
                mutated[at:at] = mutated[max(0, at - num_bytes) : at]
            case 4 if at < len(mutated):
                mutated[at] ^= 1 << int(rng.integers(8))
    return bytes(mutated)


def _with_point(number: str) -> str:
    """Return a number with a decimal comma as Python writes it, unless it may be a thousand."""
    is_decimal = re.fullmatch(r"[+-]?[0-9]*,[0-9]*", number) and len(number.split(",")[1]) != 3
    return number.replace(",", ".") if is_decimal else number


def read_naively(data: bytes) -> dict[int, int]:
    """Read a file by other means than mpar's: whatever raises here is no right label file."""
    is_wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16" if is_wide else "utf-8-sig")
    header = re.split("[\r\n]", text)[0].lower()
    for separator in ",;\t":
        cells = [cell.strip(' \t"') for cell in header.split(separator)]
        if "frame" in cells and "action" in cells:
            break
    text = re.sub(r"[\r\n][\s,;]*$", "\n", text)  # blank rows at the end
    table = pd.read_csv(
        io.StringIO(text, newline=""),
        sep=separator,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        index_col=False,
    )
    table.columns = [str(column).strip().lower() for column in table.columns]
    codes: dict[int, int] = {}
    for frame, action in zip(table["frame"], table["action"], strict=True):
        name = action.strip() if isinstance(action, str) else ""
        if not isinstance(frame, str) or not frame.strip() + name:
            continue
        number = float(_with_point(frame.strip()))
        plain = re.sub(r"[\s_-]", "", name).lower()
        code = FOLDED_CODES[plain] if plain in FOLDED_CODES else float(_with_point(name or "-1"))
        if number != int(number) or code != int(code) or int(number) in codes:
            raise ValueError("is no label file")
        codes[int(number)] = int(code)
    return codes


def judge_case(case: tuple[Path, bytes, Expected | str]) -> str:
    """Judge a file of mpar's own dialect, or (expected: "other") of another program."""
    if case[2] != "other":
        return judge_file(case)
    from tests.campaigns.findings import judge_labels

    return judge_labels(case[1])


def judge_file(case: tuple[Path, bytes, Expected]) -> str:
    """Read a file and compare with what is expected of it."""
    path, data, expected = case
    write_bytes(path, data)
    try:
        annotation = read_annotation(path, DEFAULT_CLASS_MAP)
    except InputError as error:
        if any(problem.path != path.name for problem in error.problems):
            return f"does not name the file: {error}"
        lines = [problem.line for problem in error.problems]
        if isinstance(expected, dict) or (expected is not None and lines != expected):
            return f"found {error}, expected {expected}"
        return ""
    found = dict(zip(annotation.frames.tolist(), annotation.codes.tolist(), strict=True))
    if expected is None:
        expected = read_naively(data)
    return "" if found == expected else f"found {found}, expected {expected}"


def read_label_files(
    seed: int, size: int, folder: Path, plant: Plant = nothing
) -> Iterator[Verdict]:
    """Campaign 10: every label file is read as it means, or refused with file and line."""
    from tests.campaigns.findings import program_seeds

    def cases() -> Iterator[tuple[str, tuple]]:
        seeds = [*program_seeds()]
        path = folder / "mouse_ann.csv"
        named = list(named_files())
        for name, data, expected in named:
            yield f"named: {name}", (path, data, expected)
        rng = np.random.default_rng(seed)
        for number in range(size - len(named)):
            if number % 2:
                name, data, expected = generate_file(rng)
            elif number % 4:
                data = mutate(rng, seeds[int(rng.integers(len(seeds)))])
                expected, name = "other", f"mutated {data[:300]!r}"
            else:
                source = named[int(rng.integers(len(named)))]
                name, data, _ = source if rng.integers(2) else generate_file(rng)
                data, expected = mutate(rng, data[:20_000]), None
                name = f"mutated {name}: {data[:300]!r}"
            yield f"{number}: {name}", (path, data, expected)

    yield from judged(judge_case, cases(), plant=plant, timeout_seconds=20)


def without_order_checks() -> None:
    """Let frames be missing and occur twice."""
    from mpar.formats import annotations

    annotations._find_order_problems = lambda *arguments: []


def with_rounded_frames() -> None:
    """Take 1.5 for a frame."""
    from mpar.formats import annotations

    annotations._parse_frame = lambda cell: int(float(cell.replace(",", ".")))
