"""Marks, times, intervals and row numbers of other programs."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.unit.formats.label_files import (
    ANNOT_SECONDS,
    EXPECTED,
    NAMES,
    PROJECT,
    labelled,
    problems_of,
    put,
    read,
)


@st.composite
def one_hot_tables(draw):
    """Labels, and a table of them by frame or by rounded time."""
    labels, fps = draw(labelled())
    kind = draw(st.sampled_from(["Frame", "from 1", "", "none", "Time", "Frame,Time"]))
    digits = draw(st.sampled_from([3, 4, 6]))
    background = draw(st.booleans())
    value = draw(st.sampled_from([str, "{}.0".format, lambda on: ("FALSE", "True")[on]]))
    lines = []
    for i, label in enumerate(labels.tolist()):
        time = f"{float(round(i / fps, digits)):.{digits}f}"
        first = {
            "Frame": [f"{i}"],
            "from 1": [f"{i + 1}"],
            "": [f"{i}"],
            "none": [],
            "Time": [time],
            "Frame,Time": [f"{i}", time],
        }[kind]
        cells = [value(int(label == k)) for k in range(len(NAMES))]
        background_cell = [value(int(label < 0))] if background else []
        lines.append(",".join([*first, *background_cell, *cells]))
    named = {"from 1": ["Frame"], "none": [], "Frame,Time": ["Frame", "Time"]}.get(kind, [kind])
    header = ",".join([*named, *(["background"] if background else []), *NAMES])
    return labels, fps, kind, "\n".join([header, *lines]) + "\n"


@settings(max_examples=60)
@given(case=one_hot_tables())
def test_one_hot_tables(tmp_path_factory, case):
    """By frame from 0 or 1, without numbers, or by time rounded to ms: the same labels."""
    labels, fps, kind, text = case
    if kind == "Time" and len(labels) < 2:
        return
    path = put(tmp_path_factory.mktemp("table"), text)
    codes = read(path, num_frames=len(labels), fps=fps).codes
    assert DEFAULT_CLASS_MAP.merge(codes).tolist() == labels.tolist()


def test_times_that_are_no_seconds(tmp_path):
    """Milliseconds are named; a table that begins late leaves the frames before unlabelled."""
    rows = "".join(f"{round(i * 1000 / 30)},{i % 2}\n" for i in range(300))
    message = problems_of(put(tmp_path, "time,walk\n" + rows))
    assert "which they would be in milliseconds; if they are, divide them by 1000" in message
    rows = "".join(f"{1 + i / 30:.3f},1\n" for i in range(270))
    annotation = read(put(tmp_path, "time,walk\n" + rows))
    assert np.flatnonzero(annotation.codes == 6).tolist() == [*range(30, 300)]
    assert "starts at 1 s; earlier frames stay unlabelled" in annotation.warnings
    text = "Time,Action\n" + "".join(f"{i / 30:.3f},rest\n" for i in range(300))
    assert "found the columns 'Time,Action', expected one Frame" in problems_of(put(tmp_path, text))


DECIMAL_COMMAS = ANNOT_SECONDS.replace("1.0", "1,0").replace("1.1", "1,1").replace("2.0", "2,0")


def test_annot_with_decimal_commas(tmp_path):
    """Numbers with a comma are seconds, like those with a point."""
    text = DECIMAL_COMMAS.replace("0.1", "0,1").replace("0.0", "0,0")
    assert read(put(tmp_path, text)).codes.tolist() == EXPECTED.tolist()


def test_a_huge_exponent_does_not_hang(tmp_path):
    """Nobody writes out a number of a hundred million digits."""
    text = PROJECT.replace("[1.1, ", "[1e99999999, ")
    assert "cannot be read as a BORIS project" in problems_of(put(tmp_path, text))


def test_an_interval_longer_than_a_frame_is_refused_at_high_rates_too(tmp_path):
    """0.017 s skips frames at 60 a second, though by less than a millisecond."""
    rows = "".join(f"{i * 0.017:.3f},{int(i > 50)}\n" for i in range(290))
    message = problems_of(put(tmp_path, "time,walk\n" + rows), fps=Fraction(60))
    assert "has a row every 0.017 s, expected one per frame" in message


@pytest.mark.parametrize("header", ["frame_number", "Frame No.", "Frame#", "frame_idx", "FrameID"])
def test_row_numbers_by_any_name(tmp_path, header):
    """People call the column of row numbers many things."""
    rows = "".join(f"{i},{int(i < 30)}\n" for i in range(300))
    codes = read(put(tmp_path, f"{header},walk\n" + rows)).codes
    assert np.flatnonzero(codes == 6).tolist() == [*range(30)]


def test_a_table_by_rounded_time_may_end_early(tmp_path):
    """Hundredths of a second at 60 frames a second: each row is its frame."""
    rows = "".join(f"{i / 60:.2f},{int(200 <= i < 245)}\n" for i in range(295))
    annotation = read(put(tmp_path, "time,walk\n" + rows), fps=Fraction(60), unscored="rest")
    expected = np.where((np.arange(300) >= 200) & (np.arange(300) < 245), 6, 0)
    expected[295:] = -1
    assert annotation.codes.tolist() == expected.tolist()


def test_the_last_row_keeps_its_frame(tmp_path):
    """Two rows a frame, rounded to ms: the last step, rounded down, must not cost a frame."""
    rows = "".join(f"{i / 60:.3f},{int(i >= 120)}\n" for i in range(180))
    codes = read(put(tmp_path, "time,walk\n" + rows), num_frames=90).codes
    assert np.flatnonzero(codes == 6).tolist() == [*range(60, 90)]


def test_events_before_the_video_are_refused(tmp_path):
    """A project edited by hand may hold a negative time."""
    text = PROJECT.replace("[1.0, ", "[-0.5, ").replace(", 30]", ', "NA"]')
    assert "'paw_lick' (-0.5-1.1 s) starts before the video" in problems_of(put(tmp_path, text))


def test_end_times_that_contradict_end_frames(tmp_path):
    """SimBA bouts of a copy at 25 frames per second that begin at 0."""
    text = "Video,Event,Start_time,End Time,Start_frame,End_frame\nm1,walk,0.0,8.0,0,199\n"
    assert "says that frame 200 is shown at 8 s, but in its" in problems_of(put(tmp_path, text))


def test_a_project_may_leave_cells_empty(tmp_path):
    """Null is what nobody filled in."""
    project = json.loads(PROJECT)
    observation = project["observations"]["obs 1"]
    observation |= {"media_info": None, "time offset": None}
    for event, empty in zip(observation["events"], (None, "", None), strict=True):
        event[1] = empty
    assert read(put(tmp_path, json.dumps(project))).codes.tolist() == EXPECTED.tolist()


@pytest.mark.parametrize("value", [0, 1])
def test_codes_in_a_column_of_another_name_are_no_table(tmp_path, value):
    """Frame,Behavior with codes must not be read as a behaviour that never occurs."""
    text = "Frame,Behavior\n" + "".join(f"{i},{value}\n" for i in range(300))
    message = problems_of(put(tmp_path, text))
    assert "found behaviours without a class: 'Behavior'" in message
    assert "call the columns Frame and Action if they hold codes" in message


def test_one_hot_table_at_another_rate_is_refused(tmp_path):
    """A row every 40 ms does not tell the frames of a video of 30 a second."""
    text = "time,walk\n" + "".join(f"{i / 25:.3f},{i % 2}\n" for i in range(250))
    assert "has a row every 0.04 s, expected one per frame" in problems_of(put(tmp_path, text))
