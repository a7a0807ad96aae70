"""Files of other programs become labels of the right frames, or a problem with its place."""

from __future__ import annotations

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpar.aligning.laying import events_to_frames
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError
from mpar.formats.annotations import read_annotation
from mpar.formats.registry import (
    FORMATS,
    READABLE,
    WRITABLE,
    read_label_file,
    write_labels,
)
from mpar.inference import predict_multiple_videos
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.matching.pairing import assign_label_files
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import raises_problem, recording_of, run
from tests.fixtures.synthetic import draw_frame_numbers, write_video

NAMES = DEFAULT_CLASS_MAP.class_names
REST, WITHDRAW, LICK = 0, 1, 2
VIDEO = Path("m1.mp4")
NTSC = Fraction(30000, 1001)
RATES = [Fraction(r) for r in (15, 24, 25, 30, 50, 60, 100, 120)] + [
    NTSC,
    Fraction(24000, 1001),
    Fraction(60000, 1001),
    Fraction(15237, 508),  # as a camera that keeps its own time
]

V8 = """\
Observation id,Observation date,Description,Observation duration,Observation type,Source,\
Time offset (s),Media duration (s),FPS,dose,Subject,Behavior,Behavioral category,Modifier #1,\
Behavior type,Time,Media file name,Image index,Image file path,Comment
obs 1,2024-05-01 10:00:00,,10.0,Media file(s),player #1:C:\\videos\\m1.mp4,0.0,10.000,30.000,3,\
No focal subject,paw_lick,pain,,START,1.000,C:\\videos\\m1.mp4,30,NA,
obs 1,2024-05-01 10:00:00,,10.0,Media file(s),player #1:C:\\videos\\m1.mp4,0.0,10.000,30.000,3,\
No focal subject,paw_lick,pain,,STOP,1.100,C:\\videos\\m1.mp4,33,NA,"off, at last"
obs 1,2024-05-01 10:00:00,,10.0,Media file(s),player #1:C:\\videos\\m1.mp4,0.0,10.000,30.000,3,\
No focal subject,flinch,pain,,POINT,2.000,C:\\videos\\m1.mp4,NA,NA,
"""

V7 = """\
Observation id\tobs 1

Media file(s)

Player #1\t/data/m1.mp4

Observation date\t2019-05-01 10:00:00

Description\t"a line
and another"

Time offset (s)\t0.0

Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus
1.0\t/data/m1.mp4\t10.0\t30.0\t\tpaw_lick\t\t\tSTART
1.1\t/data/m1.mp4\t10.0\t30.0\t\tpaw_lick\t\t\tSTOP
2.0\t/data/m1.mp4\t10.0\t30.0\t\tflinch\t\t\tPOINT
"""

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

BINARY = "time\tpaw_lick\tflinch\n" + "".join(
    f"{i * 33 / 1000:.3f}\t{int(1.0 <= i * 0.033 < 1.1)}\t{int(2.0 <= i * 0.033 < 2.033)}\n"
    for i in range(304)
)

PROJECT = json.dumps(
    {
        "time_format": "hh:mm:ss",
        "project_format_version": "7.0",
        "behaviors_conf": {
            "0": {"type": "State event", "code": "paw_lick", "key": "l"},
            "1": {"type": "Point event", "code": "flinch", "key": "f"},
        },
        "subjects_conf": {},
        "observations": {
            "obs 1": {
                "file": {"1": ["/data/m1.mp4"], "2": []},
                "type": "MEDIA",
                "time offset": 0.0,
                "events": [
                    [1.1, "", "paw_lick", "", "", 33],
                    [1.0, "", "paw_lick", "", "", 30],
                    [2.0, "", "flinch", "", "", "NA"],
                ],
                "observation time interval": [0, 0],
                "media_info": {"length": {"/data/m1.mp4": 10.0}, "fps": {"/data/m1.mp4": 30.0}},
            },
            "not scored yet": {"file": {"1": ["m9.mp4"]}, "type": "MEDIA", "events": []},
        },
    }
)

SIMBA = """\
,Video,Event,Start_time,End Time,Start_frame,End_frame,Bout_time
0,m1,paw_lick,1.0,1.1,30,32,0.1
1,m1,flinch,2.0,2.033333,60,60,0.033333
"""

ANNOT = """\
Bento annotation file
Movie file(s): m1.mp4

Stimulus name:
Annotation start frame: 1
Annotation stop frame: 300
Annotation framerate: 30.000000

List of channels:
Ch1

List of annotations:
paw_lick
flinch

Ch1----------
>paw_lick
Start\tStop\tDuration
31\t33\t3

>flinch
Start\tStop\tDuration
61\t61\t1


"""

ANNOT_SECONDS = ANNOT.replace("31\t33\t3", "1.03333333333\t1.1\t0.1").replace(
    "61\t61\t1", "2.03333333333\t2.03333333333\t0.0333333333333"
)
ANNOT_MARS = ANNOT.replace("Movie file(s): m1.mp4", "Movie file(s):\nD:\\films\\m1.mp4").replace(
    "Ch1", "human"
)

DEEPETHOGRAM = ",background,paw_lick,flinch\n" + "".join(
    f"{i},{int(not 30 <= i < 33 and i != 60)},{int(30 <= i < 33)},{int(i == 60)}\n"
    for i in range(300)
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
EXPECTED = np.full(300, -1)
EXPECTED[30:33], EXPECTED[60] = 2, 5  # codes


def put(folder, text, name="m1.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(path, *, num_frames=300, fps=Fraction(30), video=VIDEO, unscored=None, **options):
    """Read and lay one file about one video."""
    (source,), problems = assign_label_files([path], [video], DEFAULT_CLASS_MAP, **options)
    if not source.labels:
        raise InputError(problems + source.problems)
    line = TimeLine(num_frames, fps)
    (annotation,) = events_to_frames(source.labels, DEFAULT_CLASS_MAP, line, unscored=unscored)
    first = int(annotation.frames[0])  # rows may count from 1
    assert annotation.frames.tolist() == list(range(first, first + len(annotation.codes)))
    return annotation


def problems_of(path, **options):
    with pytest.raises(InputError) as caught:
        read(path, **options)
    return str(caught.value)


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


# Round trips


def random_labels(draw, low=-1):
    num_frames = draw(st.integers(1, 200))
    changes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=200))
    seed = draw(st.integers(0, 2**32 - 1))
    runs = np.random.default_rng(seed).integers(low, len(NAMES), len(changes))
    labels = np.repeat(runs, changes)
    return np.resize(labels, num_frames).astype(np.int8)


@st.composite
def labelled(draw):
    return random_labels(draw), draw(st.sampled_from(RATES))


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


# What is refused, with its place


def row(time, behaviour, mark, video="m1.mp4", observation="o", subject="", offset="0.0"):
    return f"{observation},{offset},{subject},{behaviour},{mark},{time},{video}\n"


HEADER = "Observation id,Time offset (s),Subject,Behavior,Behavior type,Time,Media file name\n"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [row(1, "licking", "POINT"), row(2, "walk", "POINT"), row(3, "groom", "POINT")],
            "m1.csv: found behaviours without a class: 'licking', 'groom'; expected names from "
            "the class map (rest, paw_withdraw, paw_lick, paw_shake, walk, active, paw_guard, "
            "flinch); add a row for each to the --class-map",
        ),
        (
            [
                row(1, "walk", "START"),
                row(1.5, "paw_lick", "START"),
                row(2, "walk", "STOP"),
                row(3, "paw_lick", "STOP"),
            ],
            "m1.csv:3: 'paw_lick' (1.5-3 s) overlaps 'walk' (1-2 s) in frame 45, but a frame has "
            "one class; end one where the other starts",
        ),
        ([row(1, "walk", "START")], "m1.csv:2: 'walk' at 1 s has no STOP; add it in BORIS"),
        ([row(1, "walk", "STOP")], "m1.csv:2: 'walk' at 1 s stops without a START; fix the"),
        (
            [row(1, "walk", "START"), row(2, "walk", "START")],
            "m1.csv:3: 'walk' at 2 s starts again without a STOP",
        ),
        ([row(1, "walk", "BEGIN")], "m1.csv:2: 'walk' at 1 s is a 'BEGIN', expected START, STOP"),
        ([row("1,5", "walk", "POINT")], "m1.csv:2: found 8 cells, expected 7; fix the row"),
        ([row("x", "walk", "POINT")], "m1.csv:2: time is 'x', expected a number from 0"),
        ([row(-1, "walk", "POINT")], "m1.csv:2: time is '-1', expected a number from 0"),
        (
            [row(9.5, "walk", "START"), row(11, "walk", "STOP")],
            "m1.csv:2: 'walk' (9.5-11 s) ends after the video (300 frames, 10.000 s), like most "
            "of what this file scores; check that the file belongs to this video",
        ),
        (
            [row(1, "walk", "START"), row(1.01, "walk", "STOP")],
            "m1.csv:2: 'walk' (1-1.01 s) covers no frame; lengthen or remove it",
        ),
        (
            [row(1, "walk", "POINT", subject="a"), row(2, "walk", "POINT", subject="b")],
            (
                "m1.csv: scores the subjects 'a', 'b' of one video, expected one animal per video; "
                "pass"
            ),
        ),
        (
            [row(1, "walk", "POINT"), row(2, "walk", "POINT", video="m2.mp4")],
            "m1.csv:2: observation 'o' plays several videos in a row",
        ),
        (
            [row(1, "walk", "POINT", offset="2.5")],
            "m1.csv:2: has a time offset of 2.5 s, expected 0",
        ),
    ],
)
def test_problems_of_boris(tmp_path, rows, expected):
    """Each says what was found, where, and what to do."""
    assert expected in problems_of(put(tmp_path, HEADER + "".join(rows)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "time,walk\n0.0,1\n1.0,0\n2.0,0\n",
            (
                "has a row every 1 s, expected one per frame; export it with a time interval of "
                "0.033 s"
            ),
        ),
        ("time,walk\n0.0,1\n", "needs at least two rows with increasing times"),
        ("time,walk\n0.0,on\n0.033,0\n", "m1.csv:2: 'walk' is 'on', expected a number from 0"),
        (",background,walk\n0,1,0\n1,0,0\n", "m1.csv:3: its background is wrong, expected 1"),
        (",background,walk\n0,1,0\n2,0,1\n", "m1.csv:3: frame is '2', expected 1"),
        (",background,walk\n0,1,2\n", "m1.csv:2: column 'walk': found '2', expected 0, 1 or -1"),
        (
            ",background,walk,active\n0,1,0,0\n1,0,1,1\n",
            "m1.csv:3: 'active' (frames 1-1) overlaps 'walk' (frames 1-1) in frame 1",
        ),
        (
            "Video,Event,Start_frame,End_frame\nm1,walk,3,2\n",
            ("m1.csv:2: 'walk' (frames 3-2) covers"),
        ),
        ("Video,Event,Start_frame,End_frame\nm1,walk,3,999\n", "m1.csv:2: 'walk' (frames 3-999)"),
        ("Video,Event,Start_frame,End_frame\nm1,walk,0.5,9\n", "m1.csv:2: start frame is '0.5'"),
        ("Video,Event,Start_frame,End_frame\n", "m1.csv:1: has no rows below its header"),
        (ANNOT.replace("frame: 1\n", "frame: 100\n"), "starts at frame '100', expected 1"),
        (ANNOT.replace("31\t33", "0\t33"), "m1.csv:19: starts at frame 0, but frames count from 1"),
        (ANNOT.replace("31\t33\t3", "31"), "m1.csv:19: is not a bout below a >behaviour"),
        (
            ANNOT.replace("30.0", "25.0"),
            "says that its video has 25 frames per second, but the video",
        ),
        (
            ANNOT + "Ch2----------\n>walk\nStart\tStop\tDuration\n1\t2\t2\n",
            "has bouts in the channels Ch1, Ch2, expected one",
        ),
        (
            ANNOT_SECONDS.replace("Annotation framerate: 30.000000", ""),
            "has times but no annotation framerate to convert them",
        ),
        ('{"observations": [1]}', "is JSON, but neither a BORIS project nor a label file of"),
        ('{"a": ', "is JSON, but neither a BORIS project nor a label file of"),
        (PROJECT.replace('"time offset": 0.0', '"time offset": 3.0'), "has a time offset of 3.0 s"),
        (PROJECT.replace('"/data/m1.mp4"], ', '"m0.mp4", "m1.mp4"], '), "plays several videos in"),
        (
            PROJECT.replace("[1.1, ", "[1.0, ").replace(", 33]", ", 30]"),
            "'paw_lick' (1-1 s) covers no frame",
        ),
        (PROJECT.replace('[2.0, "", "flinch"', '[2.0, "", "run"'), "'run' at 2 s is not in the"),
        (PROJECT.replace('[2.0, ""', '[2.0, "b"'), "has the subjects none, 'b', expected one"),
        (
            PROJECT.replace("[1.1, ", '["NA", '),
            "observation 'obs 1': 'paw_lick' has the time 'NA', expected seconds",
        ),
    ],
)
def test_problems_of_the_others(tmp_path, text, expected):
    """A file that could shift or lose a label is refused."""
    assert expected in problems_of(put(tmp_path, text))


def test_queued_videos_are_refused_though_one_has_all_events(tmp_path):
    """In a queue of videos, times count from the beginning of the first."""
    text = V8.replace(",10.000,30.000,", ',10.000;10.000,"30.000;30.000",')
    assert "plays several videos in a row" in problems_of(put(tmp_path, text))
    assert "has a time offset of 5.0 s" in problems_of(
        put(tmp_path, V7.replace(")\t0.0", ")\t5.0"))
    )


def test_a_file_read_as_another_format(tmp_path):
    """--annotation-format is obeyed, and says when it does not fit."""
    path = put(tmp_path, SIMBA)
    for label_format in READABLE[1:]:
        if label_format != "simba":
            assert problems_of(path, label_format=label_format), label_format
    expected = "does not have the columns of the format it is read as; choose another"
    assert expected in problems_of(path, label_format="boris-tabular")


def test_times_need_a_frame_rate(tmp_path):
    """Nothing is guessed where the video's rate is unknown, or too high for milliseconds."""
    path = put(tmp_path, V8)
    assert "the frame rate of its video is unknown" in problems_of(path, fps=None)
    assert "cannot tell frames apart at 1000 frames" in problems_of(path, fps=Fraction(1000))
    assert read(put(tmp_path, SIMBA), fps=None).codes.tolist() == EXPECTED.tolist()


def test_an_end_just_behind_the_last_frame_is_the_end(tmp_path):
    """Players report the end of the last frame, or of the sound; not a whole frame more."""
    rows = row(9, "walk", "START"), row(10.04, "walk", "STOP")
    assert (read(put(tmp_path, HEADER + "".join(rows))).codes[270:] == 6).all()
    rows = row(9, "walk", "START"), row(10.07, "walk", "STOP")
    annotation = read(put(tmp_path, HEADER + "".join(rows)))
    assert (annotation.codes[270:] == 6).all()
    assert annotation.warnings[0] == (
        "'walk' (9-10.07 s) ends after the picture (300 frames, 10.000 s); mpar cuts it there; "
        "if the video is cut short, copy it again"
    )


def test_another_video_in_the_file_is_said(tmp_path):
    """A file that is named after a video but names another one is taken, with a warning."""
    annotation = read(put(tmp_path, V8, "mouse.csv"), video=Path("mouse.avi"))
    assert annotation.warnings[0] == (
        "names the video 'm1.mp4'; mpar takes it as mouse.avi, which its file name matches"
    )


def test_deepethogram_knows_frames_that_nobody_scored(tmp_path):
    """-1 stays unlabelled whatever the class of no behaviour is; a background class is a class."""
    text = ",background,walk\n0,1,0\n1,-1,-1\n2,0,1\n"
    assert read(put(tmp_path, text), unscored="rest").codes.tolist() == [0, -1, 6]
    assert read(put(tmp_path, text)).codes.tolist() == [-1, -1, 6]


def test_boris_looks_only_at_its_interval(tmp_path):
    """Outside a project's observation interval nobody scored, whatever --unscored says."""
    text = PROJECT.replace('interval": [0, 0]', 'interval": [0.5, 5]')
    codes = read(put(tmp_path, text), unscored="rest").codes
    assert (codes[:15] == -1).all()
    assert (codes[150:] == -1).all()
    assert (codes[15:150] >= 0).all()


def test_exported_boris_project(tmp_path):
    """Behaviours exclude each other, so that a correction in BORIS keeps one class a frame."""
    video = recording_of([0, 0, 2, 2, 1], "m1", NTSC)
    (path,) = write_labels(tmp_path, "boris", [video], NAMES)
    project = json.loads(path.read_text())
    (observation,) = project["observations"].values()
    assert observation["file"]["1"] == ["m1.mp4"]
    assert [event[:3] + event[5:] for event in observation["events"]] == [
        [0.0, "", "rest", 0],
        [0.067, "", "rest", 2],
        [0.067, "", "paw_lick", 2],
        [0.133, "", "paw_lick", 4],
        [0.133, "", "paw_withdraw", 4],
        [0.167, "", "paw_withdraw", 5],
    ]
    behaviours = project["behaviors_conf"].values()
    assert {b["code"]: b["excluded"] for b in behaviours}["walk"] == (
        "rest,paw_withdraw,paw_lick,paw_shake,active"
    )
    assert observation["media_info"]["length"]["m1.mp4"] == 0.167


def test_exported_boris_project_is_ascii(tmp_path):
    """BORIS opens it in the machine's encoding, which is not UTF-8 on Windows."""
    video = recording_of([0, 2], "mäuse 2", NTSC)
    (path,) = write_labels(tmp_path, "boris", [video], NAMES)
    assert path.read_bytes().isascii()
    project = json.loads(path.read_text(encoding="cp1252"))
    assert project["observations"]["mäuse 2"]["file"]["1"] == ["mäuse 2.mp4"]


def test_exported_tables_and_annot(tmp_path):
    """Columns and counting are those of the programs."""
    video = recording_of([0, 2, 2, -1], "m1", Fraction(30))
    (path,) = write_labels(tmp_path, "simba", [video], NAMES)
    assert path.read_text() == (
        "Video,Event,Start_time,End Time,Start_frame,End_frame,Bout_time\n"
        "m1,rest,0.000000,0.033333,0,0,0.033333\n"
        "m1,paw_lick,0.033333,0.100000,1,2,0.066667\n"
    )
    (path,) = write_labels(tmp_path, "deepethogram", [video], NAMES[:3])
    assert path.name == "m1_labels.csv"
    assert path.read_text() == (
        ",background,rest,paw_withdraw,paw_lick\n0,0,1,0,0\n1,0,0,0,1\n2,0,0,0,1\n3,-1,-1,-1,-1\n"
    )
    (path,) = write_labels(tmp_path, "annot", [video], NAMES[:3])
    assert path.read_text() == (
        "Bento annotation file\nMovie file(s): m1.mp4\n\nStimulus name:\n"
        "Annotation start frame: 1\nAnnotation stop frame: 4\nAnnotation framerate: 30.000000\n\n"
        "List of channels:\nCh1\n\nList of annotations:\nrest\npaw_withdraw\npaw_lick\n\n"
        "Ch1----------\n>rest\nStart\tStop\tDuration\n1\t1\t1\n\n"
        ">paw_lick\nStart\tStop\tDuration\n2\t3\t2\n\n\n"
    )


def test_what_cannot_be_exported(tmp_path):
    """Nothing is overwritten unasked, and unlabelled frames never become a class."""
    video = recording_of([0, 2, -1], "m1", Fraction(30))
    write_labels(tmp_path, "annot", [video], NAMES)
    with pytest.raises(
        ConfigError, match=r"already contains 1 output file \(m1.annot\); pass --overwrite"
    ):
        write_labels(tmp_path, "annot", [video], NAMES)
    write_labels(tmp_path, "annot", [video], NAMES, overwrite=True)
    with pytest.raises(
        InputError, match=r"has 1 unlabelled frames, which simba cannot distinguish"
    ):
        write_labels(tmp_path, "simba", [video], NAMES, unscored="rest")
    with pytest.raises(ConfigError, match="unscored: found 'resting', expected one of rest"):
        write_labels(tmp_path, "simba", [video], NAMES, unscored="resting")
    with pytest.raises(ConfigError, match="format: found 'boris-binary', expected one of boris,"):
        write_labels(tmp_path, "boris-binary", [video], NAMES)
    fast = recording_of(np.zeros(3, np.int8), "m1", Fraction(1000))
    with pytest.raises(
        InputError, match=("1000 frames per second, too many for times in milliseconds")
    ):
        write_labels(tmp_path, "boris", [fast], NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m1.annot"]


def test_a_class_named_background(tmp_path):
    """DeepEthogram's background is no behaviour, so the class must be written as none."""
    class_map = ClassMap(((0, "walk", "walk"), (1, "background", "background")))
    video = recording_of([0, 1, 1, 0], "m1", Fraction(30))
    with pytest.raises(ConfigError, match="pass --unscored background"):
        write_labels(tmp_path, "deepethogram", [video], class_map.class_names)
    (path,) = write_labels(
        tmp_path, "deepethogram", [video], class_map.class_names, unscored="background"
    )
    assert path.read_text().splitlines()[0] == ",background,walk"
    line = TimeLine(4, Fraction(30))
    (annotation,) = events_to_frames(
        read_label_file(path, class_map), class_map, line, unscored="background"
    )
    assert annotation.codes.tolist() == [0, 1, 1, 0]


def test_every_format_has_an_option():
    """The command's choices are the formats that are there, NWB and videos."""
    from mpar_cli import _options, export

    options = {o.name: o for o in export.main.params}
    assert set(options["label_format"].type.choices) == {*WRITABLE, "nwb", "video"}
    (option,) = _options.annotation_format(lambda: None).__click_params__
    assert tuple(option.type.choices[:2]) == READABLE[:2]
    assert set(option.type.choices) == set(READABLE)
    assert set(WRITABLE) < set(FORMATS)


# Edges: BORIS stops a behaviour 1 ms before the one that excludes it begins


def exclusive_rows(labels, fps, milliseconds=1):
    """Return the events of BORIS for these frames, all behaviours excluding each other."""
    bouts = find_bouts(labels)
    starts = {int(bout.start) for bout in bouts.itertuples()}
    rows = []
    for bout in bouts.itertuples():
        stop = round(int(bout.stop) / fps, 3)
        if int(bout.stop) in starts:
            stop -= Fraction(milliseconds, 1000)
        start = round(int(bout.start) / fps, 3)
        rows += [
            row(f"{float(start):.3f}", NAMES[bout.label], "START"),
            row(f"{float(stop):.3f}", NAMES[bout.label], "STOP"),
        ]
    return rows


@settings(max_examples=60)
@given(case=labelled(), milliseconds=st.sampled_from([1, 2, -1]))
def test_exclusive_behaviours_keep_their_last_frame(tmp_path_factory, case, milliseconds):
    """At any rate, a stop just before (or after) the next start is the same edge."""
    labels, fps = case
    rows = exclusive_rows(labels, fps, milliseconds)
    if rows:
        path = put(tmp_path_factory.mktemp("edges"), HEADER + "".join(rows))
        codes = read(path, num_frames=len(labels), fps=fps).codes
        assert DEFAULT_CLASS_MAP.merge(codes).tolist() == labels.tolist()


def test_a_point_event_ends_an_exclusive_behaviour(tmp_path):
    """The flinch takes its frame, and the rest before it keeps all of its own."""
    rows = [
        row("0.000", "rest", "START"),
        row("0.999", "rest", "STOP"),
        row("1.000", "flinch", "POINT"),
    ]
    assert read(put(tmp_path, HEADER + "".join(rows))).codes[:32].tolist() == [0] * 30 + [5, -1]


def test_a_gap_of_a_frame_stays_a_gap(tmp_path):
    """One frame without behaviour between two bouts is no rounding."""
    rows = [
        *(row("0.000", "rest", "START"), row("0.967", "rest", "STOP")),
        *(row("1.000", "walk", "START"), row("1.100", "walk", "STOP")),
    ]
    assert read(put(tmp_path, HEADER + "".join(rows))).codes[27:34].tolist() == [
        *([0, 0, -1]),
        *([6, 6, 6, -1]),
    ]


def test_a_correction_in_boris_comes_back(tmp_path):
    """Out as a project, a behaviour put between two others as BORIS does, and in again."""
    labels = np.repeat(np.array([0, 2, 4], np.int8), 30)
    (path,) = write_labels(tmp_path, "boris", [recording_of(labels, "m1", NTSC)], NAMES)
    project = json.loads(path.read_text())
    (observation,) = project["observations"].values()
    start = observation["events"][2][0]  # of the lick
    middle = round(45 / float(NTSC), 3)
    observation["events"] += [
        [round(middle - 0.001, 3), "", "paw_lick", "", "", "NA"],
        [middle, "", "paw_shake", "", "", 45],
    ]
    observation["events"] = [
        [round(60 / float(NTSC), 3) - 0.001, "", "paw_shake", "", "", "NA"]
        if event[:3] == [round(60 / float(NTSC), 3), "", "paw_lick"]
        else event
        for event in observation["events"]
    ]
    assert start > 0
    path.write_text(json.dumps(project))
    codes = read(path, num_frames=90, fps=NTSC, video=VIDEO).codes
    expected = np.repeat([0, 2, 3, 4], [30, 15, 15, 30])
    assert DEFAULT_CLASS_MAP.merge(codes).tolist() == expected.tolist()


# What a file says of its video


FACTS = (
    "Observation id,Media duration (s),FPS,Subject,Behavior,Behavior type,Time,Media file name,"
    "Image index\n"
)


def fact(time, mark, *, seconds="10.0", fps="30.0", index="NA", subject="", behaviour="walk"):
    return f"o,{seconds},{fps},{subject},{behaviour},{mark},{time},m1.mp4,{index}\n"


def walk(**facts):
    """Return the events of a walk in frames 30-59."""
    return FACTS + fact(1, "START", **facts) + fact(2, "STOP", **facts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (walk(fps="25.000"), "says that its video has 25 frames per second, but the video has 30;"),
        (walk(fps="30.3"), "says that its video has 30.3 frames per second"),
        (walk(seconds="9.0"), "says that its video lasts 9.000 s, but the video has 300 frames"),
        (walk(seconds="25.0"), "says that its video lasts 25.000 s, but the video has 300 frames"),
        (
            walk(seconds="12.0", fps="NA"),
            (
                "says that its video lasts 12.000 s (which would fit 25 frames per second), but "
                "the video has 300"
            ),
        ),
        (
            FACTS + fact(1, "START", fps="NA", index=25) + fact(2, "STOP", fps="NA", index=50),
            "says that frame 25 is shown at 1 s, but in its video that is frame 30",
        ),
        (
            "Video,Event,Start_time,End Time,Start_frame,End_frame\nm1,walk,1.0,2.0,25,49\n",
            "says that frame 25 is shown at 1 s, but in its video that is frame 30",
        ),
        (
            "Frame,Time,walk\n" + "".join(f"{i},{i / 25:.3f},1\n" for i in range(300)),
            "says that frame 299 is shown at 11.96 s, but in its video that is frame 358",
        ),
    ],
)
def test_facts_that_contradict_the_video_are_named(tmp_path, text, expected):
    """Labels of another video, or of a copy at another rate, are not laid on this one."""
    assert f"m1.csv: {expected}" in problems_of(put(tmp_path, text))


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"fps": "29.970"},
        {"fps": "NA", "seconds": "NA"},
        {"seconds": "10.9"},  # the sound goes on
        {"seconds": "9.9"},
        {"fps": "30.000|25.000", "seconds": "10.0|12.0"},  # a second player
        {"fps": "30,0", "seconds": "10,0"},
    ],
)
def test_facts_that_fit_the_video_are_taken_quietly(tmp_path, facts):
    """Rounding, sound that is longer and cells without a number contradict nothing."""
    text = walk(**facts)
    if "30,0" in facts.values():
        text = text.replace("30,0", "30#0").replace("10,0", "10#0")
        text = text.replace(",", ";").replace("#", ",")
    annotation = read(put(tmp_path, text))
    assert np.flatnonzero(annotation.codes == 6).tolist() == [*range(30, 60)]
    assert len(annotation.warnings) == 1


def test_image_index_may_count_from_one(tmp_path):
    """Players differ by a frame; a wrong rate soon differs by more."""
    text = FACTS + fact(1, "START", index=31) + fact(2, "STOP", index=61)
    assert np.flatnonzero(read(put(tmp_path, text)).codes == 6).tolist() == [*range(30, 60)]


def laid(tmp_path, text, line):
    labels = read_label_file(put(tmp_path, text), DEFAULT_CLASS_MAP)
    return events_to_frames(labels, DEFAULT_CLASS_MAP, line)[0]


def test_rate_that_the_video_does_not_state_is_taken_from_the_file(tmp_path):
    """25 is only the decoder's default; the file knows better, and the user learns of it."""
    guess = TimeLine(300, Fraction(25), is_guess=True)
    annotation = laid(tmp_path, walk(), guess)
    assert np.flatnonzero(annotation.codes == 6).tolist() == [*range(30, 60)]
    assert annotation.frame_rate == 30
    assert annotation.warnings[0] == (
        "its video does not state a frame rate; mpar takes 30 frames per second from this file"
    )
    numbered = FACTS + fact(1, "START", fps="NA", index=30) + fact(2, "STOP", fps="NA", index=60)
    assert laid(tmp_path, numbered, guess).frame_rate == 30
    with raises_problem("frame-rate"):
        laid(tmp_path, walk(fps="NA"), guess)
    assert laid(tmp_path, SIMBA.replace("_time", "_t"), guess).codes[30] == 2  # counts frames


def test_frames_with_times_of_their_own(tmp_path):
    """In a video of variable rate, an event lies where its time is."""
    times = np.concatenate([np.arange(60) / 30, 2 + np.arange(60) / 20])
    line = TimeLine(120, Fraction(120, 5), times)
    text = FACTS + "".join(
        fact(time, mark, behaviour=name, fps="24.000", seconds="5.0", index="NA")
        for time, mark, name in [
            *(("0.000", "START", "rest"), ("0.999", "STOP", "rest")),
            *(("1.000", "START", "walk"), ("2.500", "STOP", "walk")),
            *(("4.000", "START", "rest"), ("5.000", "STOP", "rest")),
        ]
    )
    codes = laid(tmp_path, text, line).codes
    assert codes.tolist() == [0] * 30 + [6] * 40 + [-1] * 30 + [0] * 20


def test_events_behind_the_picture_are_cut_with_one_warning(tmp_path):
    """Sound that is longer than the picture ends no recording."""
    rows = [
        *(row(0, "rest", "START"), row(9, "rest", "STOP")),
        *(row(9, "walk", "START"), row(10.9, "walk", "STOP")),
        row(10.95, "flinch", "POINT"),
    ]
    annotation = read(put(tmp_path, HEADER + "".join(rows)))
    assert annotation.codes.tolist() == [0] * 270 + [6] * 30
    assert [warning for warning in annotation.warnings if "picture" in warning] == [
        "2 events from 'walk' (9-10.9 s) on end after the picture (300 frames, 10.000 s); mpar "
        "cuts them there; if the video is cut short, copy it again"
    ]


# Subjects are animals


def two_subjects(folder, first, second, videos=("m1.mp4",)):
    """Share out two files of one video; return what laying them says."""
    paths = [put(folder, text, name) for name, text in (first, second)]
    (source,), problems = assign_label_files(paths, [*map(Path, videos)], DEFAULT_CLASS_MAP)
    assert problems == []
    with pytest.raises(InputError) as caught:
        events_to_frames(source.labels, DEFAULT_CLASS_MAP, TimeLine(300, Fraction(30)))
    return str(caught.value)


def test_subjects_of_one_video_are_not_annotators(tmp_path):
    """Two mice, each with a file of its own, are not two people's opinions on one mouse."""
    first = FACTS + fact(1, "POINT", subject="mouse A")
    second = FACTS + fact(2, "POINT", subject="mouse B")
    message = two_subjects(tmp_path, ("m1_a.csv", first), ("m1_b.csv", second))
    assert message.startswith("m1_a.csv: scores the subjects 'mouse A', 'mouse B' of one video")
    both = first + fact(2, "POINT", subject="mouse B").replace("o,", "p,", 1)  # two observations
    (source,), _ = assign_label_files([put(tmp_path, both)], [VIDEO], DEFAULT_CLASS_MAP)
    with raises_problem("several-animals"):
        events_to_frames(source.labels, DEFAULT_CLASS_MAP, TimeLine(300, Fraction(30)))


def test_people_who_score_one_subject_are_annotators(tmp_path):
    """The same animal by two people, or no animal named, is what annotators write."""
    for subjects in (("mouse A", "mouse A"), ("No focal subject", ""), ("mouse A", "")):
        files = [
            put(tmp_path, FACTS + fact(1, "POINT", subject=subject), f"m1_{i}.csv")
            for i, subject in enumerate(subjects)
        ]
        (source,), _ = assign_label_files(files, [VIDEO], DEFAULT_CLASS_MAP)
        assert (
            len(events_to_frames(source.labels, DEFAULT_CLASS_MAP, TimeLine(300, Fraction(30))))
            == 2
        )


def test_binary_tables_of_one_video_are_of_its_subjects(tmp_path):
    """BORIS writes one table for each subject and names it in the file's name only."""
    message = two_subjects(tmp_path, ("m1_mouse A.tsv", BINARY), ("m1_mouse B.tsv", BINARY))
    assert "one of several binary tables of one video (m1_mouse A.tsv, m1_mouse B.tsv)" in message


@pytest.mark.parametrize("kind", ["Live observation", "From directories of images"])
def test_observations_without_a_video_are_left_out_and_named(tmp_path, kind):
    """The rest of the file is used."""
    header = "Observation id,Observation type,Behavior,Behavior type,Time,Media file name\n"
    rows = f"live,{kind},walk,POINT,NA,NA\na,Media file(s),walk,POINT,1.0,m1.mp4\n"
    path = put(tmp_path, header + rows)
    (source,), problems = assign_label_files([path], [VIDEO], DEFAULT_CLASS_MAP)
    assert len(source.labels) == 1
    assert f"m1.csv:2: observation 'live' is not of a video ({kind}); score" in str(problems[0])


def test_live_observations_of_a_project_are_left_out_and_named(tmp_path):
    """A project of many observations is not refused for one of them."""
    project = json.loads(PROJECT)
    project["observations"]["live"] = {"type": "LIVE", "file": [], "events": [[1, "", "x", "", ""]]}
    project["observations"]["broken"] = {"type": "MEDIA", "file": {"1": ["m2.mp4"]}, "events": [1]}
    path = put(tmp_path, json.dumps(project), "study.boris")
    (first, second), problems = assign_label_files(
        [path], [VIDEO, Path("m2.mp4")], DEFAULT_CLASS_MAP
    )
    assert len(first.labels) == 1
    assert [str(problem) for problem in second.problems] == [
        "study.boris: observation 'broken' cannot be read; save it with BORIS 7 or newer"
    ]
    assert "observation 'live' is not of a video (LIVE); score" in str(problems[0])


# Tables with a column for each behaviour


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


# As it is used: folders of real videos


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """Two videos of 60 and 45 frames at 29.97 frames per second."""
    folder = tmp_path_factory.mktemp("filmed")
    for name, num_frames in (("m1", 60), ("m2", 45)):
        write_video(folder / f"{name}.mp4", draw_frame_numbers(num_frames, 32, 32), fps=NTSC)
    return folder


def preprocessed(videos, folder, files, **options):
    """Preprocess `files`, a dict of name and text; return labels by recording and the report."""
    annotations = folder / "Annotations"
    annotations.mkdir(exist_ok=True)
    for name, text in files.items():
        put(annotations, text, name)
    report = preprocess(
        videos, annotations, folder / "c.h5", config=PreprocessConfig(**options), workers=1
    )
    with Store(folder / "c.h5") as store:
        labels = {
            info.name: (info.annotators, store.labels(i).tolist())
            for i, info in enumerate(store.recordings)
        }
    return labels, report


LICK_M1 = [-1] * 30 + [2] * 3 + [-1] * 27
LICK_M2 = [-1] * 15 + [2] * 15 + [-1] * 15
BOTH = HEADER + "".join(
    [
        row(1.001, "paw_lick", "START", video="D:\\\\films\\\\m1.avi", observation="A"),
        row(1.101, "paw_lick", "STOP", video="D:\\\\films\\\\m1.avi", observation="A"),
        row(0.501, "paw_lick", "START", video="/films/m2.mp4", observation="B"),
        row(1.001, "paw_lick", "STOP", video="/films/m2.mp4", observation="B"),
    ]
)


def test_one_boris_file_for_two_videos(filmed, tmp_path):
    """A file with several observations is shared out by the videos that it names."""
    labels, report = preprocessed(filmed, tmp_path, {"study.csv": BOTH})
    assert labels == {"m1": (("study",), LICK_M1), "m2": (("study",), LICK_M2)}
    assert not report.problems
    assert report.warnings == (
        "study.csv: 57 of 60 frames have no behaviour and stay unlabelled; pass --unscored CLASS "
        "if they belong to a class",
        "study.csv: 30 of 45 frames have no behaviour and stay unlabelled; pass --unscored CLASS "
        "if they belong to a class",
    )


def test_observations_of_one_video_are_annotators(filmed, tmp_path):
    """Two observations of a video in one file, and a third in another format: three annotators."""
    mine = BOTH + "".join(
        [
            row(1.001, "paw_lick", "START", video="m1.mp4", observation="C"),
            row(1.134, "paw_lick", "STOP", video="m1.mp4", observation="C"),
        ]
    )
    bento = ANNOT.replace("frame: 300", "frame: 60").replace("30.000000", "29.97003")
    bento = bento[: bento.index(">flinch")]
    files = {"study.csv": mine, "m1_third.annot": bento}
    labels, _ = preprocessed(filmed, tmp_path, files, unscored="rest")
    annotators, codes = labels["m1"]
    assert annotators == ("third", "A", "C")
    assert codes == [0] * 30 + [2] * 4 + [0] * 26  # the frame that only C saw is not outvoted


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("m2_labels.csv", DEEPETHOGRAM, "m2_labels.csv: found 300 rows, expected 45"),
        ("other.csv", BOTH.replace("m1.avi", "m7.avi"), "other.csv: scores 'm7.avi', but there is"),
        ("other.csv", BINARY, "other.csv: matches no video, expected a name that starts with that"),
        (
            "other.csv",
            V8.replace("m1.mp4", "m5.mp4"),
            "nor does the video name in it ('m5.mp4')",
        ),
        (
            "m2.csv",
            V8.replace("m1.mp4", "?"),
            "m2.csv: says that its video lasts 10.000 s, but the",
        ),
        ("m2.boris", '{"a": 1}', "m2.boris: cannot be read as a BORIS project"),
        ("other.boris", '{"a": 1}', "other.boris: cannot be read as a BORIS project"),
    ],
)
def test_problems_of_a_folder(filmed, tmp_path, name, text, expected):
    """A file that fits no video, or not its video, is named; the good recording is kept."""
    good = {"m1_labels.csv": DEEPETHOGRAM[: DEEPETHOGRAM.index("\n60,") + 1]}
    labels, report = preprocessed(filmed, tmp_path, good | {name: text})
    assert labels["m1"] == (("m1_labels",), LICK_M1)
    assert expected in "\n".join(map(str, report.problems))


def test_bad_options_of_formats(filmed, tmp_path):
    """A class or format that does not exist is refused before anything is decoded."""
    with pytest.raises(ConfigError, match="unscored: found 'sleep', expected one of rest"):
        preprocessed(filmed, tmp_path, {"m1.csv": BOTH}, unscored="sleep")
    with pytest.raises(ConfigError, match="label_format: found 'excel', expected one of"):
        preprocessed(filmed, tmp_path, {"m1.csv": BOTH}, label_format="excel")


@pytest.mark.usefixtures("no_figures")
def test_predictions_go_out_and_come_back(study, tmp_path):
    """mpar-predict, mpar-export, mpar-preprocess, mpar-evaluate: the same labels all the way."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for video in sorted(study.videos.iterdir())[:2]:
        shutil.copy(video, folder)
    predict_multiple_videos(study.checkpoint, [folder], tmp_path / "p", device="cpu")
    for label_format in WRITABLE:
        out, cache = tmp_path / label_format, tmp_path / f"{label_format}.h5"
        export = "export", tmp_path / "p", "--format", label_format, "-o", out
        assert run(*export).exit_code == 0
        assert "already contains" in run(*export).output
        result = run("preprocess", folder, out, "-o", cache)
        assert result.exit_code == 0, result.output
        assert "warning" not in result.output
        with Store(cache) as store:
            for i, info in enumerate(store.recordings):
                path = tmp_path / "p" / f"{info.name}_predictions.csv"
                predicted = read_annotation(path, store.class_map).codes
                assert store.labels(i).tolist() == store.class_map.merge(predicted).tolist()
    result = run("evaluate", tmp_path / "p", tmp_path / "boris", "-o", tmp_path / "e")
    assert re.search(r"macro-F1 1\.000.*accuracy 1\.000", result.output), result.output


@pytest.fixture(scope="module")
def trials(study, tmp_path_factory):
    """A video scored as trials of 20, 17 and 11 frames, and the predictions of them."""
    folder = tmp_path_factory.mktemp("trials")
    (folder / "videos").mkdir()
    (folder / "scored").mkdir()
    shutil.copy(sorted(study.videos.iterdir())[0], folder / "videos" / "m.mp4")
    for number, num_frames in enumerate((20, 17, 11), start=9):  # 10 comes after 9
        rows = "".join(f"{i},rest\n" for i in range(num_frames))
        put(folder / "scored", "Frame,Action\n" + rows, f"prediction_m.mp4_{number}.csv")
    cache = folder / "c.h5"
    result = run("preprocess", folder / "videos", folder / "scored", "-o", cache, "--size", "32")
    assert result.exit_code == 0, result.output
    predict_multiple_videos(study.checkpoint, [cache], folder / "p", device="cpu")
    rng = np.random.default_rng(0)
    for path in (folder / "p").glob("*_predictions.csv"):  # bouts of all classes, with any network
        table = pd.read_csv(path)
        names = rng.permutation(DEFAULT_CLASS_MAP.class_names)
        table["Action"] = names[np.arange(len(table)) // 3 % len(names)]
        table.to_csv(path, index=False)
    return folder


def test_trials_are_exported_as_their_video(trials, tmp_path):
    """Frame by frame in every format: the trials end to end are the video's labels."""
    paths = [trials / "p" / f"m_trial{number}_predictions.csv" for number in (9, 10, 11)]
    codes = [read_annotation(path, DEFAULT_CLASS_MAP).codes for path in paths]
    assert [len(part) for part in codes] == [20, 17, 11]
    for label_format in WRITABLE:
        out, cache = tmp_path / label_format, tmp_path / f"{label_format}.h5"
        result = run("export", trials / "p", "--format", label_format, "-o", out)
        assert result.exit_code == 0, result.output
        result = run("preprocess", trials / "videos", out, "-o", cache)
        assert result.exit_code == 0, result.output
        with Store(cache) as store:
            assert [info.name for info in store.recordings] == ["m"]
            expected = DEFAULT_CLASS_MAP.merge(np.concatenate(codes))
            assert store.labels(0).tolist() == expected.tolist()
            assert len({*expected.tolist()}) == len(DEFAULT_CLASS_MAP.class_names)


def test_trials_that_make_up_no_video(study, trials, tmp_path):
    """A trial that is missing, or a video beside its trials, is said in one line."""
    shutil.copytree(trials / "p", tmp_path / "p")
    (tmp_path / "p" / "m_trial10_predictions.csv").unlink()
    result = run("export", tmp_path / "p", "--format", "simba", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert (
        "m_trial9_predictions.csv: the trials of m.mp4 in this folder (m_trial9, m_trial11) do not "
        "add up to its 48 frames; predict all of them from one cache"
    ) in result.output
    assert not (tmp_path / "out").exists()
    predict_multiple_videos(study.checkpoint, [trials / "videos"], tmp_path / "p", device="cpu")
    result = run("export", tmp_path / "p", "--format", "simba", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "is a trial of m.mp4, of which the folder also holds the whole video" in result.output
    assert (tmp_path / "out").exists()


def test_predictions_that_cannot_be_exported(study, tmp_path):
    """Predictions of unknown place and those without their json are named; nothing is guessed."""
    video = sorted(study.videos.iterdir())[0]
    predict_multiple_videos(study.checkpoint, [video], tmp_path, device="cpu", stride=5)
    path = tmp_path / f"{video.stem}_predictions.csv"
    shutil.copy(path, tmp_path / "x_trial1_predictions.csv")
    shutil.copy(path.with_suffix(".json"), tmp_path / "x_trial1_predictions.json")
    shutil.copy(path, tmp_path / "y_predictions.csv")
    result = run("export", tmp_path, "--format", "annot", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "x_trial1_predictions.csv: has another name than its video" in result.output
    assert (
        "y_predictions.csv: lacks y_predictions.json, which holds its frame rate" in result.output
    )
    assert [p.name for p in (tmp_path / "out").iterdir()] == [f"{video.stem}.annot"]
    assert "Annotation stop frame: 48\n" in (tmp_path / "out" / f"{video.stem}.annot").read_text()
    path.write_text(path.read_text().replace("\n10,", "\n11,"))
    result = run("export", tmp_path, "--format", "annot", "-o", tmp_path / "out2")
    assert "expected frames 0 to 47 in steps of 5; predict again" in result.output
    assert (
        "found no NAME_predictions.csv" in run("export", study.videos, "--format", "annot").output
    )
