"""What mpar writes for other programs comes back as it was."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpar.aligning.laying import events_to_frames
from mpar.errors import ConfigError, InputError
from mpar.formats.registry import (
    FORMATS,
    READABLE,
    WRITABLE,
    read_label_file,
    write_labels,
)
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.matching.label_options import LabelOptions
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import recording_of
from tests.unit.formats.label_files import (
    HEADER,
    NAMES,
    NTSC,
    VIDEO,
    labelled,
    put,
    read,
    row,
)


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
        read_label_file(path, class_map), class_map, line, LabelOptions(unscored="background")
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
