"""Workbooks are read as the CSV that they would be, or refused with file and row."""

from __future__ import annotations

import csv
import datetime
import io
import re
import zipfile
from fractions import Fraction
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.errors import InputError
from mpar.formats.annotations import read_annotation
from mpar.formats.registry import read_label_file
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.matching.pairing import find_label_files
from mpar.preprocess import preprocess
from mpar.system.csv_text import read_text
from tests.fixtures.helpers import raises_problem
from tests.integration.test_lab_inputs import by_frame, film, write
from tests.unit.formats.label_files import EXPECTED, read
from tests.unit.formats.test_exchange import WRITTEN_BY_HAND

TABLES = {k: v for k, v in WRITTEN_BY_HAND.items() if v[1] not in {"boris", "annot"}}


def write_book(path, *sheets):
    """Write sheets, each a list of rows, or a dict of cells by their address."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"Sheet{number + 1}")
        if isinstance(rows, dict):
            for place, value in rows.items():
                sheet[place] = value
        else:
            for row in rows:
                sheet.append(row)
    book.save(path)
    return path


def as_cells(text, as_numbers):
    """Return the rows of a CSV, as a spreadsheet has them."""
    delimiter = max(",\t", key=text.splitlines()[-1].count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)

    def cell(value):
        if as_numbers and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            return float(value)
        return value or None

    return [[cell(value) for value in row] for row in rows]


@pytest.mark.parametrize("as_numbers", [True, False], ids=["numbers", "text"])
@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_read_from_a_workbook(tmp_path, name, as_numbers):
    """A lick in frames 30-32 and a flinch in frame 60, as each format says it."""
    text, label_format = TABLES[name]
    path = write_book(tmp_path / "m1.xlsx", as_cells(text, as_numbers))
    assert read(path).codes.tolist() == EXPECTED.tolist()
    assert read(path, label_format=label_format).codes.tolist() == EXPECTED.tolist()


def test_own_table(tmp_path):
    """Codes, names and empty cells; the note on the first sheet is no table."""
    rows = [["Frame", "Action", "Note"], [0, 2, "x, y"], [1, "rest"], [2, None], [3, -1], [4, "7"]]
    path = write_book(tmp_path / "m1.xlsx", [["Scored by Ann"]], rows, [[1, 2]])
    (part,) = read_label_file(path, DEFAULT_CLASS_MAP)
    assert part.codes.tolist() == [2, 0, -1, -1, 7]
    assert part.warnings == (
        "has 2 sheets with a table; mpar reads 'Sheet2' and not 'Sheet3'; if they count, too, move "
        "their rows there or save each to a file of its own",
    )
    assert read_annotation(path, DEFAULT_CLASS_MAP).codes.tolist() == [2, 0, -1, -1, 7]


@given(st.lists(st.floats(0, 1e6) | st.integers(0, 10**9), min_size=1, max_size=5))
def test_numbers_keep_their_value(tmp_path_factory, values):
    """Excel keeps 15 digits; a point never stands for thousands."""
    path = write_book(
        tmp_path_factory.mktemp("x") / "a.xlsx", [["a", "b"], *([v, 1] for v in values)]
    )
    cells = [line.split(",")[0] for line in read_text(path).splitlines()[1:]]
    for value, cell in zip(values, cells, strict=True):
        assert "e" not in cell
        assert not re.fullmatch(r"[0-9]{1,3}\.[0-9]{3}", cell)
        assert float(cell) == pytest.approx(value, rel=1e-14, abs=0)


def test_result_of_a_sum_counts_as_excel_shows_it(tmp_path):
    """0.1 + 0.2 is 0.3, the start of a frame, not a little less or more."""
    path = write_book(tmp_path / "a.xlsx", [["a", "b"], [0.1 + 0.2, 0.7 + 0.1]])
    assert read_text(path) == "a,b\n0.3,0.8\n"


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (datetime.time(0, 1, 30, 500000), "hh:mm:ss.000", "00:01:30.500"),
        (datetime.timedelta(hours=30, seconds=3), "[h]:mm:ss", "30:00:03"),
        (datetime.time(1, 30), "h:mm", "01:30 h:mm"),  # typed for 1 min 30 s: no reader takes it
        (datetime.time(0, 1, 30, 500000), "mm:ss.0", "01:30.500"),
        (datetime.datetime(2026, 2, 1), "dd.mm.yyyy", "2026-02-01 00:00:00"),
        (True, "General", "TRUE"),
        ("a\nb\tc", "General", "a b c"),
        ('a, "b"', "General", '"a, ""b"""'),
    ],
)
def test_cells_that_are_no_numbers(tmp_path, value, number_format, text):
    """Times show what was typed, dates stay dates, and a row stays a line."""
    book = openpyxl.Workbook()
    book.active.append(["a", value])
    book.active["B1"].number_format = number_format
    book.save(tmp_path / "a.xlsx")
    assert read_text(tmp_path / "a.xlsx") == f"a,{text}\n"


def simba(start, end=40):
    return [["Video", "Event", "Start_frame", "End_frame"], ["m1", "paw_lick", start, end]]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        pytest.param(
            [["Frame", "Action"], [0, "rest"], [datetime.date(2026, 1, 2), "rest"]],
            "m1.xlsx:3: frame is '2026-01-02 00:00:00', expected a whole number from 0",
            id="a date",
        ),
        pytest.param(
            [["Frame", "Action"], [0, datetime.time(1, 30)]],
            "m1.xlsx:2: action '01:30:00' is not in the class map",
            id="a time",
        ),
        pytest.param(
            [["Frame", "Action"], [0, "rest"], [1.5, "rest"]],
            "m1.xlsx:3: frame is '1.5', expected a whole number",
            id="half a frame",
        ),
        pytest.param(
            [[], ["Frame", "Action"], [0, "rest"], [], [1, "rest"]],
            "m1.xlsx:4: frame is '', expected a whole number",
            id="a blank row",
        ),
        pytest.param(
            [["Frame", "Action"], [0, "rest"], [1, "=1+1"], [2, "=B2"]],
            "m1.xlsx:3: the formula in B3 has no stored result; open the workbook in Excel or "
            "LibreOffice and save it again\nm1.xlsx:4: the formula in B4",
            id="formulas without a result",
        ),
        pytest.param(
            [["Frame", "Action"], [0, "#DIV/0!"]],
            "m1.xlsx:2: action '#DIV/0!' is not in the class map",
            id="an error",
        ),
        pytest.param([["only a note"]], "m1.xlsx: has no sheet with a table", id="no table"),
        pytest.param(
            [["Frame", "Action"], ["1,000", 0], ["1,001", 0]],
            "m1.xlsx:2: its frame is '1,000', as with a thousands separator",
            id="thousands as text",
        ),
        pytest.param(simba("soon"), "m1.xlsx:2: start frame is 'soon'", id="text for a number"),
    ],
)
def test_bad_cells_are_refused_with_their_row(tmp_path, cells, message):
    """Row n of the sheet is line n of the message."""
    path = write_book(tmp_path / "m1.xlsx", cells)
    with pytest.raises(InputError) as caught:
        read_label_file(path, DEFAULT_CLASS_MAP)
    assert str(caught.value).startswith(message)


def test_stored_results_of_formulas_count(tmp_path):
    """A formula counts as its result, an empty text included."""
    path = write_book(tmp_path / "m1.xlsx", {"A1": "Frame", "B1": "Action", "A2": 0, "B2": "=1+1"})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    for old, new, codes in (
        ("<v></v>", "<v>2</v>", [2]),
        ('<c r="B2"', '<c r="B2" t="str"', [-1]),
    ):
        assert "<v></v>" in sheet.replace("<v />", "<v></v>")
        changed = sheet.replace("<v />", "<v></v>").replace(old, new)
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in (parts | {"xl/worksheets/sheet1.xml": changed.encode()}).items():
                archive.writestr(name, data)
        (part,) = read_label_file(path, DEFAULT_CLASS_MAP)
        assert part.codes.tolist() == codes


@pytest.mark.parametrize("data", [b"", b"Frame,Action\n0,0\n", b"PK\3\4 cut", b"\xd0\xcf\x11\xe0x"])
def test_what_is_no_workbook_is_refused(tmp_path, data):
    """Text, damaged archives and files with a password are one line."""
    path = tmp_path / "m1.xlsx"
    path.write_bytes(data)
    with raises_problem("malformed", "m1.xlsx"):
        read_label_file(path, DEFAULT_CLASS_MAP)


def test_damaged_workbook_is_refused(tmp_path):
    """A part that is missing or not XML is one line, too."""
    path = write_book(tmp_path / "m1.xlsx", [["Frame", "Action"], [0, 0]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    lines = []
    for name in parts:
        for data in (b"", b"<a", None):
            with zipfile.ZipFile(path, "w") as archive:
                for other, whole in parts.items():
                    if other != name or data is not None:
                        archive.writestr(other, data if other == name else whole)
            try:
                (part,) = read_label_file(path, DEFAULT_CLASS_MAP)
            except InputError as error:
                lines.append(str(error))
            else:
                assert part.codes.tolist() == [0]  # a part that labels do not need
    assert len(lines) > 5
    assert all(re.fullmatch("m1.xlsx: [^\n]*", line) for line in lines)


@pytest.mark.slow
def test_workbook_that_unpacks_to_too_much(tmp_path):
    """A few bytes may unpack to more than memory holds."""
    path = tmp_path / "m1.xlsx"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a", "w") as part,
    ):
        for _ in range(513):
            part.write(bytes(2**20))
    with raises_problem("too-large", "m1.xlsx"):
        read_text(path)


def test_without_openpyxl(tmp_path, monkeypatch):
    """One line says what to install."""
    path = write_book(tmp_path / "m1.xlsx", [["Frame", "Action"], [0, 0]])
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with raises_problem("no-package", "m1.xlsx"):
        read_label_file(path, DEFAULT_CLASS_MAP)


def test_tables_that_hold_no_labels(tmp_path):
    """Metadata beside the labels are passed over; lock files of Excel are no files."""
    path = write_book(tmp_path / "animals.xlsx", [["Recording", "Group"], ["m1", "a"]])
    (tmp_path / "~$m1.xlsx").write_bytes(b"x")
    assert find_label_files(tmp_path) == [path]
    assert read_label_file(path, DEFAULT_CLASS_MAP) == []


def labels_of(folder):
    report = preprocess(folder / "Videos", folder / "Annotations", folder / "c.h5", check_only=True)
    (recording,) = report.recordings
    counts = {code: count for code, count in report.code_counts.items() if count}
    return recording.annotators, counts, report.warnings


@pytest.fixture
def study(tmp_path):
    for name in ("Videos", "Annotations"):
        (tmp_path / name).mkdir()
    film(tmp_path, "m1.mp4")
    write(tmp_path, "m1.csv", by_frame(*["walk"] * 90))
    return tmp_path


def test_workbook_beside_its_csv_is_no_annotator(study):
    """Who saves a workbook as CSV keeps both."""
    rows = [["Frame", "Action"], *([i, "walk"] for i in range(90))]
    path = write_book(study / "Annotations" / "m1.xlsx", rows)
    annotators, counts, warnings = labels_of(study)
    assert (annotators, counts) == (("m1",), {6: 90})
    assert [text for text in warnings if "m1.xlsx" in text] == [
        "m1.csv: mpar ignores m1.xlsx, which holds the same labels"
    ]
    rows[5][1] = "rest"
    write_book(path, rows)
    report = preprocess(study / "Videos", path.parent, study / "c.h5", check_only=True)
    assert [str(problem) for problem in report.problems] == [
        "m1.xlsx: has other labels than m1.csv, expected the same; remove one"
    ]


def test_workbook_of_another_person_is_an_annotator(study):
    """Two names, two people."""
    rows = [["Frame", "Action"], *([i, "walk"] for i in range(90))]
    write_book(study / "Annotations" / "m1_ben.xlsx", rows)
    assert labels_of(study)[0] == ("m1", "ben")


def test_rate_of_times_as_numbers(tmp_path):
    """Times with three decimals are seconds, not thousands."""
    rows = [
        ["Behavior", "Start (s)", "Stop (s)", "Media file"],
        ["paw_lick", 1.125, 2.375, "m1.mp4"],
    ]
    (scoring,) = read_label_file(write_book(tmp_path / "m1.xlsx", rows), DEFAULT_CLASS_MAP)
    (event,) = scoring.events
    assert (event.start, event.stop) == (Fraction("1.125"), Fraction("2.375"))
    assert isinstance(scoring.path, Path)
