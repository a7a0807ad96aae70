"""Bouts, their tables and totals, with and without unscored frames in between."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpar.labels.bouts import bout_table, find_bouts, find_runs, summarize
from mpar.video.timeline import TimeLine

NAMES = ("rest", "lick", "walk")
label_lists = st.lists(st.integers(-1, 2), max_size=60)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param([], [], id="no frames"),
        pytest.param([-1, -1], [], id="nothing labelled"),
        pytest.param([1], [[0, 1, 1]], id="one frame"),
        pytest.param([0, 0, 2, 1, 1], [[0, 2, 0], [2, 3, 2], [3, 5, 1]], id="adjoining"),
        pytest.param([-1, 1, 1, -1, 1, -1], [[1, 3, 1], [4, 5, 1]], id="parted by unlabelled"),
    ],
)
def test_find_bouts_lists_maximal_runs(labels, expected):
    """Runs are maximal, half-open and int64, and unlabelled frames part them."""
    bouts = find_bouts(np.array(labels, dtype=np.int8))
    assert bouts.to_numpy().tolist() == expected
    assert list(bouts.columns) == ["start", "stop", "label"]
    assert set(map(str, bouts.dtypes)) == {"int64"}
    assert bouts.index.tolist() == list(range(len(expected)))


def test_find_bouts_takes_unsigned_labels():
    """Labels without a sign are not wrapped around when compared."""
    bouts = find_bouts(np.array([255, 0, 0], dtype=np.uint8))
    assert bouts.to_numpy().tolist() == [[0, 1, 255], [1, 3, 0]]


@pytest.mark.parametrize(
    "labels",
    [[0, -2], [0.0, 1.0], [[0, 1]], [True, False]],
    ids=["below -1", "floats", "two-dimensional", "booleans"],
)
def test_find_bouts_refuses_what_is_no_label_array(labels):
    """Anything but (T,) integers from -1 up is refused, with the array named."""
    with pytest.raises(ValueError, match="labels: found"):
        find_bouts(labels)


@given(label_lists)
def test_bouts_and_runs_say_all_about_labels(labels):
    """Laid out again, bouts are the labelled frames, and runs are every frame in turn."""
    again = np.full(len(labels), -1)
    for bout in find_bouts(np.array(labels, np.int8)).itertuples():
        again[bout.start : bout.stop] = bout.label
    assert again.tolist() == labels
    runs = find_runs(np.array(labels, np.int8))
    assert np.repeat(runs[:, 2], runs[:, 1] - runs[:, 0]).tolist() == labels
    assert (np.diff(runs[:, 2]) != 0).all()


@settings(deadline=None)
@given(label_lists)
def test_bouts_are_maximal_and_in_order(labels):
    """Bouts neither overlap nor touch a bout of their own class."""
    bouts = find_bouts(np.array(labels, dtype=int)).to_numpy().tolist()
    assert all(set(labels[start:stop]) == {label} for start, stop, label in bouts)
    for (_, stop, label), (start, _, following) in itertools.pairwise(bouts):
        assert stop < start or (stop == start and label != following)


def test_bout_table_states_frames_and_times():
    """Last_frame is included, times run to the end of the last frame, fractions are exact."""
    table = bout_table(
        [0, 0, 0, 1, -1, 2],
        Fraction(30000, 1001),
        NAMES,
        confidence=np.array([0.5, 0.75, 1, 0.25, np.nan, 1], dtype=np.float32),
    )
    assert table.to_dict("list") == {
        "Class": ["rest", "lick", "walk"],
        "First_frame": [0, 3, 5],
        "Last_frame": [2, 3, 5],
        "Frames": [3, 1, 1],
        "Start_s": [0.0, 3003 / 30000, 5005 / 30000],
        "Stop_s": [3003 / 30000, 4004 / 30000, 6006 / 30000],
        "Duration_s": [3003 / 30000, 1001 / 30000, 1001 / 30000],
        "Mean_confidence": [0.75, 0.25, 1.0],
    }


def test_bout_table_of_nothing_has_its_columns():
    """A recording without a bout still gives a table with the columns of the CSV."""
    table = bout_table([-1, -1], 30, NAMES, confidence=[0.1, 0.2])
    assert len(table) == 0
    assert ",".join(table.columns) == (
        "Class,First_frame,Last_frame,Frames,Start_s,Stop_s,Duration_s,Mean_confidence"
    )


def test_stride_stretches_rows_and_clips_the_last():
    """A row stands for its frame and the unscored ones after it, up to the end."""
    table = bout_table(
        [0, 1, 1, -1, 2], 10, NAMES, confidence=[1, 0.5, 1, 0, 0.5], stride=3, num_frames=13
    )
    assert table[["First_frame", "Last_frame", "Frames"]].to_numpy().tolist() == [
        [0, 2, 3],
        [3, 8, 6],
        [12, 12, 1],
    ]
    assert table["Stop_s"].tolist() == [0.3, 0.9, 1.3]
    assert table["Mean_confidence"].tolist() == [1.0, 0.75, 0.5]


@settings(deadline=None)
@given(label_lists, st.integers(1, 7), st.data())
def test_stride_equals_repeating_the_rows(labels, stride, data):
    """Every stride gives what the labels written out frame by frame give."""
    num_frames = data.draw(
        st.integers(max(0, (len(labels) - 1) * stride + 1), len(labels) * stride)
    )
    num_frames = num_frames if labels else 0
    array = np.array(labels, dtype=int)
    full = np.repeat(array, stride)[:num_frames]
    strided = bout_table(array, 30, NAMES, stride=stride, num_frames=num_frames)
    pd.testing.assert_frame_equal(strided, bout_table(full, 30, NAMES))
    if labels:
        row = summarize(array, 30, NAMES, stride=stride, num_frames=num_frames)
        assert row == summarize(full, 30, NAMES)
        assert [row[f"{name}_frames"] for name in NAMES] == [(full == k).sum() for k in range(3)]


def test_summarize_gives_one_row():
    """Percent is of all frames, latency the first onset, None for a class that never comes."""
    assert summarize([-1, 0, 0, 1, 0, -1, -1, -1], Fraction(4), NAMES) == {
        "frames": 8,
        "seconds": 2.0,
        "rest_frames": 3,
        "rest_percent": 37.5,
        "rest_bouts": 2,
        "rest_latency_s": 0.25,
        "lick_frames": 1,
        "lick_percent": 12.5,
        "lick_bouts": 1,
        "lick_latency_s": 0.75,
        "walk_frames": 0,
        "walk_percent": 0.0,
        "walk_bouts": 0,
        "walk_latency_s": None,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"line": 0}, "fps", id="fps zero"),
        pytest.param({"line": float("nan")}, "fps", id="fps unknown"),
        pytest.param({"class_names": NAMES[:2]}, "from 0 to 1", id="more classes than names"),
        pytest.param({"stride": 0}, "stride", id="stride zero"),
        pytest.param({"stride": 2}, "num_frames: found none", id="length not told"),
        pytest.param({"stride": 2, "num_frames": 4}, "expected 2", id="too few frames"),
        pytest.param({"stride": 2, "num_frames": 7}, "expected 4", id="too many frames"),
        pytest.param({"num_frames": 4}, "expected 4", id="another length"),
        pytest.param({"confidence": [1, 1]}, "confidence", id="confidence of another length"),
        pytest.param({"confidence": [1, 1, 1.5]}, "outside 0 to 1", id="confidence above 1"),
        pytest.param({"confidence": [1, np.nan, 1]}, "outside 0 to 1", id="confidence unknown"),
    ],
)
def test_bout_table_refuses_what_does_not_fit(options, message):
    """Options that are out of range or disagree with the labels are refused."""
    arguments = {"labels": [0, 1, 2], "line": 30, "class_names": NAMES} | options
    with pytest.raises(ValueError, match=message):
        bout_table(**arguments)


def test_summarize_refuses_no_frames():
    """There are no percentages of nothing."""
    with pytest.raises(ValueError, match="no frames"):
        summarize(np.zeros(0, dtype=int), 30, NAMES)


def test_bouts_of_an_uneven_recording():
    """By hand: frames at 0, 1, 2, 6 and 7 s, the last for 1 s, and 0.5 s of sound before them."""
    line = TimeLine(5, Fraction(1), np.array([0, 1, 2, 6, 7]) + 0.5)
    table = bout_table([0, 0, 1, 1, 0], line, NAMES)
    assert table["Start_s"].tolist() == [0.5, 2.5, 7.5]
    assert table["Stop_s"].tolist() == [2.5, 7.5, 8.5]
    assert table["Duration_s"].tolist() == [2, 5, 1]
    row = summarize([0, 0, 1, 1, 0], line, NAMES)
    assert (row["seconds"], row["lick_percent"], row["rest_percent"]) == (8, 62.5, 37.5)
    assert (row["lick_frames"], row["lick_latency_s"]) == (2, 2.5)
    strided = bout_table([0, 1, 0], line, NAMES, stride=2)
    assert strided["Stop_s"].tolist() == [2.5, 7.5, 8.5]
