"""Modifiers become classes, and what lies outside the observation interval does not count."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from mpar.aligning.laying import events_to_frames
from mpar.errors import InputError
from mpar.formats.modifiers import IGNORED
from mpar.formats.registry import read_label_file
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import ClassMap
from mpar.matching.label_options import LabelOptions
from mpar.video.timeline import TimeLine
from tests.unit.formats.label_files import PROJECT, V8, put
from tests.unit.formats.test_exchange import AGGREGATED

LEFT_RIGHT = """\
code,name,modifier,class,mirror
0,rest,,rest,
1,paw_lick,left,lick_left,lick_right
2,paw_lick,right,lick_right,lick_left
3,paw_lick,,lick,
"""
COLUMNS = "Observation id,Source,Subject,Behavior,Modifier #1,Modifier #2,Behavior type,Time\n"
MARKS = ((1, 2, "left", "weak"), (3, 4, "Right", "weak"), (5, 6, "None", "weak"), (7, 8, "", ""))
LAID = {30: "lick_left", 90: "lick_right", 150: "lick", 210: "lick"}


def class_map(folder, text=LEFT_RIGHT):
    (folder / "classes.csv").write_text(text)
    return ClassMap.from_csv(folder / "classes.csv")


def tabular(marks=MARKS, behaviour="paw_lick"):
    rows = [
        f"o,player #1:m1.mp4,,{behaviour},{one},{two},{mark},{time}"
        for start, stop, one, two in marks
        for mark, time in (("START", start), ("STOP", stop))
    ]
    return COLUMNS + "\n".join(rows) + "\n"


def aggregated(marks=MARKS):
    header = "Observation id,Subject,Behavior,Modifiers,Behavior type,Start (s),Stop (s),Media file"
    rows = [f"o,,paw_lick,{one}|{two},STATE,{a},{b},m1.mp4" for a, b, one, two in marks]
    return "\n".join([header, *rows]) + "\n"


def project(marks=MARKS, **observation):
    data = json.loads(PROJECT)
    found = data["observations"]["obs 1"]
    found["events"] = [
        [time, "", "paw_lick", f"{one}|{two}", ""]
        for start, stop, one, two in marks
        for time in (start, stop)
    ]
    found |= observation
    return json.dumps(data)


def binary():
    names = ("paw_lick (left)", "paw_lick (right)", "paw_lick")
    rows = []
    for frame in range(300):
        on = LAID.get(frame // 30 * 30)
        cells = [int(on == name) for name in ("lick_left", "lick_right", "lick")]
        rows.append(f"{frame / 30:.3f},{','.join(map(str, cells))}")
    return f"time,{','.join(names)}\n" + "\n".join(rows) + "\n"


def lay(path, classes):
    (scoring,) = read_label_file(path, classes)
    if scoring.problems:
        raise InputError(scoring.problems)
    (annotation,) = events_to_frames([scoring], classes, TimeLine(300, Fraction(30)))
    bouts = find_bouts(classes.merge(annotation.codes))
    found = {b.start: classes.class_names[b.label] for b in bouts.itertuples() if b.label >= 0}
    return found, annotation


@pytest.mark.parametrize("text", [tabular(), aggregated(), project(), binary()])
def test_modifiers_choose_the_class(tmp_path, text):
    """Left and right have classes of their own; the row without a modifier takes the rest."""
    classes = class_map(tmp_path)
    assert classes.mirror_indices == (0, 2, 1, 3)
    found, annotation = lay(put(tmp_path, text), classes)
    assert found == LAID
    assert int((annotation.codes >= 0).sum()) == 120


def test_modifiers_that_take_the_other_row_are_named(tmp_path):
    """A mistyped modifier must not go unseen."""
    marks = ((1, 2, "lefft", ""),)
    found, annotation = lay(put(tmp_path, tabular(marks)), class_map(tmp_path))
    assert found == {30: "lick"}
    assert "counts 'paw_lick' with 'lefft' as its row without a modifier" in annotation.warnings


def test_a_map_without_modifiers_ignores_them_with_a_warning(tmp_path):
    """As before: one class for all."""
    classes = class_map(tmp_path, "code,name,class\n0,rest,rest\n1,paw_lick,lick\n")
    found, annotation = lay(put(tmp_path, tabular()), classes)
    assert [*found.values()] == ["lick"] * 4
    assert annotation.warnings[0] == IGNORED
    assert IGNORED not in lay(put(tmp_path, tabular(MARKS[3:])), classes)[1].warnings


def test_two_modifiers_together_have_a_row(tmp_path):
    """A row for both sets wins over a row for one."""
    classes = class_map(tmp_path, LEFT_RIGHT + "4,paw_lick,left|weak,rest,\n")
    assert lay(put(tmp_path, tabular()), classes)[0][30] == "rest"


ONLY_SIDES = LEFT_RIGHT.replace("3,paw_lick,,lick,\n", "")


@pytest.mark.parametrize(
    ("marks", "rows", "message"),
    [
        pytest.param(
            ((1, 2, "left", ""), (3, 4, "up", ""), (5, 6, "up", "")),
            ONLY_SIDES,
            "m1.csv:4: has events of 'paw_lick' with 'up', expected one of 'left', 'right'; add a "
            "row with this modifier, or one without a modifier for the rest, to the --class-map "
            "file (2 such rows)",
            id="unknown",
        ),
        pytest.param(
            ((1, 2, "", ""),), ONLY_SIDES, "m1.csv:2: has events of 'paw_lick' with no modifier"
        ),
        pytest.param(
            ((1, 2, "left", "right"),),
            LEFT_RIGHT,
            "m1.csv:2: has events of 'paw_lick' with 'left', 'right', expected one of 'left', "
            "'right'; add a row for both",
            id="two rows fit",
        ),
    ],
)
def test_modifiers_without_a_row_are_refused(tmp_path, marks, rows, message):
    """No guess: one line with file and line."""
    with pytest.raises(InputError) as caught:
        lay(put(tmp_path, tabular(marks)), class_map(tmp_path, rows))
    assert str(caught.value).startswith(message)


def labelled(path, classes):
    _, annotation = lay(path, classes)
    return np.flatnonzero(annotation.codes >= 0).tolist(), annotation.warnings


@pytest.mark.parametrize(
    ("interval", "frames", "warning"),
    [
        ([0, 0], [*range(30, 60), *range(90, 120), *range(150, 180), *range(210, 240)], None),
        ([1.5, 0], [*range(45, 60), *range(90, 120), *range(150, 180), *range(210, 240)], "1.5 s"),
        ([2, 5.5], [*range(90, 120), *range(150, 165)], "2 s to 5.5 s"),
        ([0, 4], [*range(30, 60), *range(90, 120)], "0 s to 4 s"),
    ],
)
def test_observation_interval_of_a_project(tmp_path, interval, frames, warning):
    """Events outside do not count, and frames outside stay unlabelled whatever --unscored says."""
    path = put(tmp_path, project(**{"observation time interval": interval}))
    classes = class_map(tmp_path)
    found, warnings = labelled(path, classes)
    assert found == frames
    said = [text for text in warnings if "observation interval" in text]
    assert len(said) == (warning is not None)
    assert all(f"scored from {warning}" in text for text in said)
    if said and interval[1]:
        assert "; 2 events outside it do not count" in said[0]
    (scoring,) = read_label_file(path, classes)
    line = TimeLine(300, Fraction(30))
    (annotation,) = events_to_frames([scoring], classes, line, LabelOptions(unscored="rest"))
    stop = round(interval[1] * 30) or 300
    inside = (np.arange(300) >= interval[0] * 30) & (np.arange(300) < stop)
    assert ((annotation.codes >= 0) == inside).all()


def test_points_outside_the_interval_do_not_count(tmp_path):
    """A flinch at 2 s lies outside 0-2 s and inside 2-3 s."""
    classes = class_map(tmp_path, "code,name,class\n0,paw_lick,a\n1,flinch,b\n")
    for interval, frames in (([0, 2], [30, 31, 32]), ([2, 3], [60])):
        text = PROJECT.replace(
            '"observation time interval": [0, 0]', f'"observation time interval": {interval}'
        )
        assert labelled(put(tmp_path, text), classes)[0] == frames


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        (
            V8.replace(
                "Comment\n", "Comment,Observation interval start,Observation interval stop\n", 1
            )
            .replace("NA,\n", "NA,,1.05,3\n")
            .replace('last"', 'last",1.05,3'),
            [31, 32, 60],
        ),
        (
            AGGREGATED.replace(
                "Comment stop\n",
                "Comment stop,Observation interval start,Observation interval stop\n",
            ).replace("NA,NA,,\n", "NA,NA,,,0,1.05\n"),
            [30],
        ),
    ],
)
def test_observation_interval_in_columns(tmp_path, text, frames):
    """Data frames of BORIS have the interval in two columns."""
    classes = class_map(tmp_path, "code,name,class\n0,paw_lick,a\n1,flinch,b\n")
    assert labelled(put(tmp_path, text), classes)[0] == frames


@pytest.mark.parametrize(
    ("interval", "message"),
    [
        (
            [5, 2],
            "m1.csv: observation 'obs 1' has the observation interval 5-2 s, expected a start",
        ),
        (["x", 2], "m1.csv: observation 'obs 1' cannot be read"),
    ],
)
def test_interval_that_is_none(tmp_path, interval, message):
    """One line, no labels."""
    path = put(tmp_path, project(**{"observation time interval": interval}))
    with pytest.raises(InputError) as caught:
        lay(path, class_map(tmp_path))
    assert str(caught.value).startswith(message)
