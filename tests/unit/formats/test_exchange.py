"""Files of other programs become labels of the right frames, or a problem with its place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from mpar.formats.registry import (
    WRITABLE,
    read_label_file,
    write_labels,
)
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.fixtures.helpers import recording_of
from tests.unit.formats.label_files import (
    ANNOT,
    ANNOT_SECONDS,
    BINARY,
    DEEPETHOGRAM,
    EXPECTED,
    NAMES,
    NTSC,
    PROJECT,
    SIMBA,
    V7,
    V8,
    labelled,
    put,
    read,
)

REST, WITHDRAW, LICK = 0, 1, 2


AGGREGATED = """\
Observation id,Observation date,Description,Observation type,Source,Time offset (s),\
Coding duration,Media duration (s),FPS (frame/s),Subject,\
Observation duration by subject by observation,Behavior,Behavioral category,Behavior type,\
Start (s),Stop (s),Duration (s),Media file name,Image index start,Image index stop,\
Image file path start,Image file path stop,Comment start,Comment stop
obs 1,2024-05-01,,Media file,player #1:m1.mp4,0.0,10.0,10.0,30.0,No focal subject,0.1,paw_lick,,\
STATE,1.0,1.1,0.1,m1.mp4,30,33,NA,NA,,
obs 1,2024-05-01,,Media file,player #1:m1.mp4,0.0,10.0,10.0,30.0,No focal subject,0.1,flinch,,\
POINT,2.0,2.0,NA,m1.mp4,60,60,NA,NA,,
"""


OLD_AGGREGATED = """\
Observation id\tObservation date\tMedia file\tTotal length\tFPS\tSubject\tBehavior\t\
Behavioral category\tModifiers\tBehavior type\tStart (s)\tStop (s)\tDuration (s)\tComment start\t\
Comment stop
obs 1\t2018-05-01\t/data/m1.mp4\t10.0\t30.0\t\tpaw_lick\t\t\tSTATE\t1.0\t1.1\t0.1\t\t
obs 1\t2018-05-01\t/data/m1.mp4\t10.0\t30.0\t\tflinch\t\t\tPOINT\t2.0\t2.0\tNA\t\t
"""


ANNOT_MARS = ANNOT.replace("Movie file(s): m1.mp4", "Movie file(s):\nD:\\films\\m1.mp4").replace(
    "Ch1", "human"
)


WRITTEN_BY_HAND = {
    "boris-tabular v8": (V8, "boris-tabular"),
    "boris-tabular early v8": (
        V8.replace("Time offset (s),", "").replace(".mp4,0.0,", ".mp4,"),
        "boris-tabular",
    ),
    "boris-tabular v7": (V7, "boris-tabular"),
    "boris-aggregated": (AGGREGATED, "boris-aggregated"),
    "boris-aggregated old": (OLD_AGGREGATED, "boris-aggregated"),
    "boris-binary": (BINARY, "boris-binary"),
    "boris project": (PROJECT, "boris"),
    "simba": (SIMBA, "simba"),
    "annot": (ANNOT, "annot"),
    "annot in seconds": (ANNOT_SECONDS, "annot"),
    "annot of MARS": (ANNOT_MARS, "annot"),
    "deepethogram": (DEEPETHOGRAM, "deepethogram"),
}


@pytest.mark.parametrize("name", WRITTEN_BY_HAND)
def test_file_written_by_hand(tmp_path, name):
    """A lick in frames 30-32 and a flinch in frame 60, as each format says it."""
    text, label_format = WRITTEN_BY_HAND[name]
    path = put(tmp_path, text)
    assert read(path).codes.tolist() == EXPECTED.tolist()
    assert read(path, label_format=label_format).codes.tolist() == EXPECTED.tolist()
    rest = read(path, unscored="rest").codes
    assert rest.tolist() == np.where(EXPECTED < 0, 0, EXPECTED).tolist()
    (scoring,) = read_label_file(path, DEFAULT_CLASS_MAP)
    assert bool(scoring.video) == ("binary" not in name and "deepethogram" not in name)


def test_frames_without_behaviour_are_said(tmp_path):
    """Nothing is labelled, or left unlabelled, in silence."""
    path = put(tmp_path, V8)
    assert read(path).warnings == (
        "has 1 event without a duration; each takes one frame",
        "296 of 300 frames have no behaviour and stay unlabelled; pass --unscored CLASS if they "
        "belong to a class",
    )
    warnings = read(path, unscored="rest").warnings
    assert warnings[-1] == "296 of 300 frames have no behaviour and count as rest"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_spreadsheets_do(tmp_path, encoding):
    """Saved again by a spreadsheet: semicolons, a byte order mark, CRLF."""
    path = tmp_path / "m1.csv"
    text = V8.replace(",", ";").replace("off; at last", "off").replace("\n", "\r\n")
    path.write_bytes(text.encode(encoding))
    assert read(path).codes.tolist() == EXPECTED.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("label_format", WRITABLE)
@settings(max_examples=40)
@given(case=labelled())
def test_round_trip(tmp_path_factory, label_format, case):
    """What is written reads back frame by frame, at any frame rate, and is recognised."""
    labels, fps = case
    folder = tmp_path_factory.mktemp("trip")
    video = recording_of(labels, "m1", fps)
    if (labels < 0).all() and label_format in {"boris", "simba"}:
        return  # nothing is written of a video without bouts
    (path,) = write_labels(folder, label_format, [video], NAMES)
    annotation = read(path, num_frames=len(labels), fps=fps)
    assert DEFAULT_CLASS_MAP.merge(annotation.codes).tolist() == labels.tolist()
    assert annotation.warnings == (
        ()
        if (labels >= 0).all() or label_format == "deepethogram"
        else (
            f"{(labels < 0).sum()} of {len(labels)} frames have no behaviour and stay "
            "unlabelled; pass --unscored CLASS if they belong to a class",
        )
    )


@pytest.mark.parametrize("label_format", WRITABLE)
def test_round_trip_with_a_background(tmp_path, label_format):
    """A class that is written as no behaviour is read as the class of no behaviour."""
    labels = np.array([0, 0, 2, 2, 0, 1, 0, 0], np.int8)
    video = recording_of(labels, "m1", NTSC)
    (path,) = write_labels(tmp_path, label_format, [video], NAMES, unscored="rest")
    text = path.read_text()
    assert "rest" not in text
    annotation = read(path, num_frames=8, fps=NTSC, unscored="rest")
    assert DEFAULT_CLASS_MAP.merge(annotation.codes).tolist() == labels.tolist()


@pytest.mark.parametrize("label_format", ["boris", "simba"])
def test_one_file_for_several_videos(tmp_path, label_format):
    """Each video gets its own part of the file."""
    first, second = np.array([0, 0, 2], np.int8), np.array([1, 1, 1, 0], np.int8)
    videos = [recording_of(first, "m1", NTSC), recording_of(second, "m2", NTSC)]
    (path,) = write_labels(tmp_path, label_format, videos, NAMES)
    for video, labels in zip(videos, (first, second), strict=True):
        codes = read(path, num_frames=len(labels), fps=NTSC, video=Path(video.video)).codes
        assert DEFAULT_CLASS_MAP.merge(codes).tolist() == labels.tolist()


def as_boris_stamps(labels, fps):
    """Return (time in ms-rounded s, code, START or STOP) as BORIS would for these frames."""
    marks = []
    for bout in find_bouts(labels).itertuples():
        for frame, mark in ((bout.start, "START"), (bout.stop, "STOP")):
            marks.append((float(round(int(frame) / fps, 3)), NAMES[bout.label], mark))
    return sorted(marks, key=lambda mark: (mark[0], mark[2] == "START"))


@settings(max_examples=60)
@given(case=labelled())
def test_boris_tabular_of_any_rate(tmp_path_factory, case):
    """Times rounded to milliseconds fall on their frames."""
    labels, fps = case
    rows = [
        f"o,{name},{mark},{time:.3f},m1.mp4\n" for time, name, mark in as_boris_stamps(labels, fps)
    ]
    if rows:
        header = "Observation id,Behavior,Behavior type,Time,Media file name\n"
        path = put(tmp_path_factory.mktemp("boris"), header + "".join(rows))
        codes = read(path, num_frames=len(labels), fps=fps).codes
        assert DEFAULT_CLASS_MAP.merge(codes).tolist() == labels.tolist()


@settings(max_examples=40)
@given(case=labelled())
def test_boris_binary_of_any_rate(tmp_path_factory, case):
    """A table whose interval is a frame rounded down to 1 ms drifts, and is aligned by time."""
    labels, fps = case
    step = int(1000 / fps)
    num_rows = int(1000 * len(labels) / fps) // step + 1
    names = NAMES
    on = np.zeros((num_rows, len(names)), int)
    for bout in find_bouts(labels).itertuples():
        start, stop = (round(int(frame) / fps, 3) for frame in (bout.start, bout.stop))
        for row in range(num_rows):
            on[row, bout.label] |= start <= Fraction(row * step, 1000) < stop
    rows = [
        f"{row * step / 1000:.3f}," + ",".join(map(str, cells)) + "\n"
        for row, cells in enumerate(on)
    ]
    if num_rows < 2:
        return
    path = put(tmp_path_factory.mktemp("binary"), f"time,{','.join(names)}\n" + "".join(rows))
    codes = read(path, num_frames=len(labels), fps=fps).codes
    assert DEFAULT_CLASS_MAP.merge(codes).tolist() == labels.tolist()


def test_point_events_of_a_binary_table(tmp_path):
    """A row with a point event says that it came before the next row: up to a frame early."""
    rows = "".join(f"{i * 33 / 1000:.3f},{int(i == 60)}\n" for i in range(303))
    codes = read(put(tmp_path, "time,flinch\n" + rows)).codes
    assert np.flatnonzero(codes == 5).tolist() == [59]  # the row is at 1.98 s, the event at 2 s
