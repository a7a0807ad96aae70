"""Exports of EthoVision and The Observer: the right frames, or one line with file and row."""

from __future__ import annotations

import csv
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mpar.aligning.laying import events_to_frames
from mpar.errors import InputError
from mpar.formats.registry import read_label_file
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.matching.label_options import LabelOptions
from mpar.matching.pairing import assign_label_files
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import raises_problem
from tests.unit.formats.label_files import put
from tests.unit.formats.test_xlsx import write_book

HEAD = {
    "Experiment": "von Frey",
    "Trial name": "Trial     1",
    "Arena name": "Arena 1",
    "Subject name": "Subject 1",
    "Start time": "03/15/2021 13:54:04.500",
    "Recording after": "+ 00:00:00.000",
    "Video file": "D:\\films\\m1.MP4",
    "Video start time": "03/15/2021 13:54:03.000",
}
NAMES = ["Trial time", "Recording time", "X center", "Area", "In zone(Arena / center-point)"]
NAMES += ["paw_lick(Mutually exclusive)", "Walk(Mutually exclusive)", "Result 1"]
UNITS = ["s", "s", "cm", "cm\u00b2", "", "", "", ""]
EXPECTED = {75: ("paw_lick", 10), 85: ("walk", 20)}  # 1.5 s after the start of the video


def raw_rows(head=HEAD, names=NAMES, units=UNITS, num_rows=60, step=Fraction(1, 30), mark="-"):
    """A lick in samples 30-39 and a walk in 40-59 of a trial that starts at 1.5 s."""
    rows = [["Number of header lines:", str(len(head) + 3)], *([k, v] for k, v in head.items())]
    rows += [[*names], [*units]]
    for i in range(num_rows):
        time = f"{float(i * step):.3f}"
        place = mark if i % 7 == 0 else f"{i / 9:.4f}"
        on_off = [1, int(30 <= i < 40), int(40 <= i < 60), int(i > 3)]
        rows.append([time, time, place, "25.6979", *map(str, on_off)])
    return rows


def as_text(rows, delimiter=";"):
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerows(rows)
    return buffer.getvalue()


def lay(path, class_map=DEFAULT_CLASS_MAP, fps=Fraction(30), num_frames=300, unscored=None):
    (source,), problems = assign_label_files([path], [Path("m1.mp4")], class_map)
    if not source.labels:
        raise InputError([*source.problems, *problems])
    line = TimeLine(num_frames, fps)
    (annotation,) = events_to_frames(
        source.labels, class_map, line, LabelOptions(unscored=unscored)
    )
    return annotation


def bouts_of(annotation):
    labels = DEFAULT_CLASS_MAP.merge(annotation.codes)
    names = DEFAULT_CLASS_MAP.class_names
    return {
        b.start: (names[b.label], b.stop - b.start)
        for b in find_bouts(labels).itertuples()
        if b.label >= 0
    }


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_raw_data_as_text(tmp_path, delimiter, encoding):
    """Samples count from the start of the trial, which the header places in the video."""
    path = tmp_path / "Raw data-von Frey-Trial 1.csv"
    path.write_bytes(as_text(raw_rows(), delimiter).encode(encoding))
    annotation = lay(path)
    assert bouts_of(annotation) == EXPECTED
    assert "starts at 1.5 s; earlier frames stay unlabelled" in annotation.warnings
    rest = lay(path, unscored="rest").codes
    assert np.flatnonzero(rest >= 0).tolist() == [*range(45, 105)]


def test_raw_data_with_decimal_commas(tmp_path):
    """As a computer in Germany writes them."""
    rows = [[cell.replace(".", ",") for cell in row] for row in raw_rows()]
    assert bouts_of(lay(put(tmp_path, as_text(rows)))) == EXPECTED


def test_raw_data_as_workbook(tmp_path):
    """Numbers are numbers, missing values are text."""
    rows = raw_rows()
    head, body = rows[:-60], [[float(c) if c != "-" else c for c in row] for row in rows[-60:]]
    annotation = lay(write_book(tmp_path / "Trial 1.xlsx", head + body, [["Behavior", "Event"]]))
    assert bouts_of(annotation) == EXPECTED
    assert any("has 2 sheets with a table" in text for text in annotation.warnings)


@pytest.mark.parametrize("start", ["13:54:03.000", "13:54:04.500"])
def test_samples_without_a_behaviour_are_unlabelled(tmp_path, start):
    """A missing value is neither on nor off, wherever the trial starts in the video."""
    rows = raw_rows(HEAD | {"Start time": f"03/15/2021 {start}"})
    for row in rows[-25:-20]:
        row[5] = "-"
    first = 45 if start.endswith("4.500") else 0
    codes = lay(put(tmp_path, as_text(rows)), unscored="rest").codes
    expected = np.zeros(60, int)
    expected[30:40], expected[40:60], expected[35:40] = 2, 6, -1
    assert codes[first : first + 60].tolist() == expected.tolist()


def test_raw_data_of_two_arenas_are_two_animals(tmp_path):
    """Each arena of a video has its own file."""
    paths = [
        put(tmp_path, as_text(raw_rows(HEAD | {"Arena name": f"Arena {i}"})), f"{i}.csv")
        for i in (1, 2)
    ]
    (source,), problems = assign_label_files(paths, [Path("m1.mp4")], DEFAULT_CLASS_MAP)
    assert not problems
    with raises_problem("several-animals"):
        events_to_frames(source.labels, DEFAULT_CLASS_MAP, TimeLine(300, Fraction(30)))


def changed(row, column, value):
    rows = raw_rows()
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(40, 0, "soon"), "m1.csv:41: trial time is 'soon', expected a number"),
        (changed(10, 0, "min"), "m1.csv:11: trial time is in 'min', expected s"),
        (changed(9, 6, "paw_lick(B)"), "m1.csv:10: has the columns 'paw_lick(Mutually exclusive)'"),
        (changed(9, 6, "sniff"), "m1.csv: found behaviours without a class: 'sniff'"),
        (changed(40, 0, "0.5"), "m1.csv: needs at least two rows with increasing times"),
        (changed(8, 1, ""), "m1.csv: its 'video start time' is '', expected date and time"),
        (changed(5, 1, "03/15/2021 13:54:02.000"), "m1.csv: its video starts at 03/15/2021 13"),
        (changed(5, 1, "03/16/2021 13:54:04.000"), "m1.csv: its video starts at 03/15/2021 13"),
        (raw_rows(num_rows=0), "m1.csv: needs at least two rows"),
        ([row[:5] for row in raw_rows()], "m1.csv: has no column of 0 and 1 for a behaviour"),
        (raw_rows(step=Fraction(1, 15)), "m1.csv: has a row every 0.067 s, expected one per frame"),
    ],
)
def test_bad_raw_data_are_refused(tmp_path, rows, message):
    """One line with file and row."""
    with pytest.raises(InputError) as caught:
        lay(put(tmp_path, as_text(rows)))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


LOG = ["Trial time", "Recording time", "Subject", "Behavior", "Event"]
MARKS = (
    (1, "paw_lick", "state start"),
    (Fraction("1.2"), "paw_lick", "state stop"),
    (2, "walk", "State start"),
    (Fraction("2.5"), "walk", "State stop"),
    (3, "flinch", "point event"),
)


def log_rows(marks=MARKS):
    rows = [["Number of header lines:", str(len(HEAD) + 3)], *([k, v] for k, v in HEAD.items())]
    rows += [LOG, ["s", "s", "", "", ""]]
    return rows + [[f"{float(t):.3f}", f"{float(t):.3f}", "Subject 1", b, e] for t, b, e in marks]


def test_manual_scoring_log(tmp_path):
    """Starts and stops, 1.5 s after the start of the video."""
    annotation = lay(put(tmp_path, as_text(log_rows())))
    assert bouts_of(annotation) == {
        75: ("paw_lick", 6),
        105: ("walk", 15),
        135: ("paw_withdraw", 1),
    }
    assert (lay(put(tmp_path, as_text(log_rows())), unscored="rest").codes[:45] == -1).all()


OBSERVER = """\
Date_Time_Absolute_dmy_hmsf,Date_dmy,Time_Relative_hms,Time_Relative_f,Time_Relative_sf,\
Duration_sf,Observation,Event_Log,Subject,Behavior,Modifier_1,Event_Type,Comment
x,x,00:00:01,0,1.000,0.200,m1,Log 1,mouse,paw_lick,left,State start,
x,x,00:00:01,0.2,1.200,,m1,Log 1,mouse,paw_lick,left,State stop,
x,x,00:00:02,0,2.000,,m1,Log 1,mouse,flinch,,State point,"well, yes"
x,x,00:00:02,0,3.000,,m1,Log 1,mouse,flinch,,Point,
x,x,00:00:01,0,1.000,1.000,m2,Log 1,mouse,walk,,State start,
x,x,00:00:02,0,2.000,,m2,Log 1,mouse,walk,,State stop,
"""


@pytest.mark.parametrize("is_workbook", [False, True])
def test_observer(tmp_path, is_workbook):
    """Each observation belongs to the video of its name."""
    path = put(tmp_path, OBSERVER, "events.csv")
    if is_workbook:
        rows = csv.reader(io.StringIO(OBSERVER))
        path = write_book(tmp_path / "events.xlsx", [[c or None for c in row] for row in rows])
    sources, problems = assign_label_files(
        [path], [Path("m1.mp4"), Path("m2.mp4")], DEFAULT_CLASS_MAP
    )
    assert not problems
    found = []
    for source in sources:
        (annotation,) = events_to_frames(
            source.labels, DEFAULT_CLASS_MAP, TimeLine(300, Fraction(30))
        )
        found.append(bouts_of(annotation))
        assert any("from the start of the observation" in text for text in annotation.warnings)
    lick = {30: ("paw_lick", 6), 60: ("paw_withdraw", 1), 90: ("paw_withdraw", 1)}
    assert found == [lick, {30: ("walk", 30)}]


def test_seconds_have_no_mark_for_thousands(tmp_path):
    """All times of a log may have three decimals, with either mark."""
    for mark in ".,":
        text = as_text([[c.replace(".", mark) for c in row] for row in log_rows()])
        assert bouts_of(lay(put(tmp_path, text)))[75] == ("paw_lick", 6)


def test_modifiers_of_the_observer(tmp_path):
    """A modifier is a modifier, whoever wrote it."""
    classes = ClassMap(((0, "paw_lick (left)", "left"), (1, "flinch", "b"), (2, "walk", "c")))
    parts = read_label_file(put(tmp_path, OBSERVER), classes)
    assert parts[0].events[0].behaviour == "paw_lick (left)"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "left,State stop",
            "left,State end",
            "m1.csv:3: event type is 'State end', expected",
        ),
        ("1.200", "-1.2", "m1.csv:3: time is '-1.2', expected a number from 0"),
        ("flinch,,Point", "flinch,,State stop", "m1.csv:5: 'flinch' at 3 s stops without a START"),
        ("left,State stop", "right,State stop", "m1.csv:2: 'paw_lick' at 1 s has no STOP"),
        (",Event_Type,", ",Kind,", "m1.csv:1: found the columns"),
        ("walk,", "run,", "m1.csv: found behaviours without a class: 'run'"),
    ],
)
def test_bad_logs_are_refused(tmp_path, old, new, message):
    """One line with file and row."""
    path = put(tmp_path, OBSERVER.replace(old, new))
    try:
        problems = [p for part in read_label_file(path, DEFAULT_CLASS_MAP) for p in part.problems]
    except InputError as error:
        problems = error.problems
    assert str(problems[0]).startswith(message)
