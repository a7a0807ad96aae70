"""Files of other programs that cannot be used are named with their line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from mpar.formats.registry import (
    READABLE,
)
from tests.unit.formats.label_files import (
    ANNOT,
    ANNOT_SECONDS,
    EXPECTED,
    HEADER,
    PROJECT,
    SIMBA,
    V7,
    V8,
    problems_of,
    put,
    read,
    row,
)


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
