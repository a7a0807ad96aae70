"""What a label file says of its video is held against the video."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mpar.aligning.laying import events_to_frames
from mpar.errors import InputError
from mpar.formats.registry import (
    read_label_file,
)
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.matching.pairing import assign_label_files
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import raises_problem
from tests.unit.formats.label_files import (
    BINARY,
    FACTS,
    HEADER,
    PROJECT,
    SIMBA,
    VIDEO,
    fact,
    problems_of,
    put,
    read,
    row,
    walk,
)


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
