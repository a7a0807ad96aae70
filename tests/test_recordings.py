"""Every label file goes to its video and every label to its frame, or to the list of problems."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.annotations import Annotation
from mpar.classes import DEFAULT_CLASS_MAP
from mpar.errors import ConfigError, InputError
from mpar.recordings import (
    Source,
    check_recording,
    find_files,
    find_group,
    find_owner,
    find_recordings,
)


def composed(name):
    return unicodedata.normalize("NFC", name)


def decomposed(name):
    return unicodedata.normalize("NFD", name)


def make_files(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def pair(folder, videos, annotations):
    """Make empty files and pair them: {video: its label files}, {file: its problem}."""
    make_files(folder / "Videos", videos)
    make_files(folder / "Annotations", annotations)
    (folder / "Annotations").mkdir(exist_ok=True)
    sources, problems = find_recordings(folder / "Videos", folder / "Annotations")
    return (
        {s.video.name: [path.name for path in s.annotations] for s in sources},
        {p.path: p.message for p in problems},
    )


def paired(id, videos, annotations, sources, problems=()):
    return pytest.param(videos.split(), annotations.split(), sources, [*problems], id=id)


@pytest.mark.parametrize(
    ("videos", "annotations", "sources", "problems"),
    [
        paired("the same name", "a.mp4", "a.csv", {"a.mp4": ["a.csv"]}),
        paired(
            "a name that goes on after _ . or -",
            "a.mp4",
            "a_ann.csv a-ann.csv a.ann.csv a.mp4.csv",
            {"a.mp4": ["a-ann.csv", "a.ann.csv", "a.mp4.csv", "a_ann.csv"]},
        ),
        paired("a name that goes on otherwise", "a.mp4", "ab.csv", {}, ["a.mp4", "ab.csv"]),
        paired(
            "video_1 and video_10",
            "video_1.mp4 video_10.mp4",
            "video_1_a.csv video_10_a.csv",
            {"video_1.mp4": ["video_1_a.csv"], "video_10.mp4": ["video_10_a.csv"]},
        ),
        paired(
            "video_1 without labels does not take those of video_10",
            "video_1.mp4 video_10.mp4",
            "video_10_a.csv",
            {"video_10.mp4": ["video_10_a.csv"]},
            ["video_1.mp4"],
        ),
        paired(
            "the longest name wins",
            "video_1.mp4 video_1_2.mp4",
            "video_1_a.csv video_1_2_a.csv video_1_2.csv",
            {
                "video_1.mp4": ["video_1_a.csv"],
                "video_1_2.mp4": ["video_1_2.csv", "video_1_2_a.csv"],
            },
        ),
        paired(
            "without video_1_2 the file is the second of video_1",
            "video_1.mp4",
            "video_1_1.csv video_1_2.csv",
            {"video_1.mp4": ["video_1_1.csv", "video_1_2.csv"]},
        ),
        paired(
            "the field's names of trials",
            "video_1.mp4 video_10.avi",
            "prediction_video_1.mp4_0.csv prediction_video_1.mp4_1.csv prediction_video_10.avi.csv",
            {
                "video_1.mp4": ["prediction_video_1.mp4_0.csv", "prediction_video_1.mp4_1.csv"],
                "video_10.avi": ["prediction_video_10.avi.csv"],
            },
        ),
        paired(
            "the field's names with another suffix",
            "a.mp4",
            "prediction_a.avi_0.csv prediction_a_0.csv prediction_a.mp40.csv",
            {},
            ["a.mp4", "prediction_a.avi_0.csv", "prediction_a.mp40.csv", "prediction_a_0.csv"],
        ),
        paired(
            "a video whose own name begins with prediction_",
            "a.mp4 prediction_a.mp4",
            "prediction_a.mp4_0.csv prediction_a_1.csv a_1.csv",
            {
                "a.mp4": ["a_1.csv"],
                "prediction_a.mp4": ["prediction_a.mp4_0.csv", "prediction_a_1.csv"],
            },
        ),
        paired(
            "dots in names",
            "m.1.mp4 m.mp4",
            "m.1.csv m.2.csv",
            {"m.1.mp4": ["m.1.csv"], "m.mp4": ["m.2.csv"]},
        ),
        paired(
            "signs that mean something in a pattern",
            "m(1)+[x].mp4 m1.mp4",
            "m(1)+[x]_a.csv m1.csv",
            {"m(1)+[x].mp4": ["m(1)+[x]_a.csv"], "m1.mp4": ["m1.csv"]},
        ),
        paired(
            "suffixes in capitals",
            "a.MP4 b.AVI",
            "a.CSV b.tsv",
            {"a.MP4": ["a.CSV"], "b.AVI": ["b.tsv"]},
        ),
        paired(
            "subfolders",
            "day1/a.mp4 day2/deep/b.mp4",
            "ann/b.csv x/y/a_1.csv",
            {"a.mp4": ["a_1.csv"], "b.mp4": ["b.csv"]},
        ),
        paired(
            "hidden files and folders, other files",
            "a.mp4 ._a.mp4 .trash/b.mp4 notes.txt a.mp4.part",
            "a.csv ._a.csv .old/a_2.csv a.xlsx a_3.csv~",
            {"a.mp4": ["a.csv"]},
        ),
        paired("labels without a video", "a.mp4", "a.csv b.csv", {"a.mp4": ["a.csv"]}, ["b.csv"]),
        paired("names in another case", "A.mp4", "a.csv", {}, ["A.mp4", "a.csv"]),
    ],
)
def test_label_files_are_paired_by_name(tmp_path, videos, annotations, sources, problems):
    """Each label file goes to one video at most; what is left over is a problem by name."""
    found, found_problems = pair(tmp_path, videos, annotations)
    assert found == sources
    assert sorted(found_problems) == problems


def test_problems_of_pairing_say_what_was_expected(tmp_path):
    """The person learns which names would do."""
    _, problems = pair(tmp_path, ["a.mp4"], ["b.csv"])
    assert problems == {
        "a.mp4": "has no labels, expected a.csv or a_*.csv; add them",
        "b.csv": "fits no video, expected a name that starts with a video's; rename it",
    }


@pytest.mark.parametrize("of_video", [composed, decomposed])
@pytest.mark.parametrize("of_labels", [composed, decomposed])
def test_accents_may_be_stored_either_way(tmp_path, of_video, of_labels):
    """A label file from a Mac fits a video from Windows."""
    video, labels = of_video("mäusé 🐭.mp4"), of_labels("mäusé 🐭_1.csv")
    assert pair(tmp_path, [video], [labels]) == ({video: [labels]}, {})


def test_longest_name_is_measured_in_letters():
    """Accents that are stored apart do not make a name longer than it is."""
    videos = [Path(decomposed("ééé") + ".mp4"), Path(composed("ééé_1") + ".mp4")]
    assert find_owner("ééé_1_a", videos) == videos[1]
    assert find_owner("ééé_2_a", videos) == videos[0]
    assert find_owner("éé", videos) is None


@pytest.mark.parametrize("second", ["a.avi", "day2/a.mp4", "day2/sub/a.mp4"])
def test_videos_of_one_name_are_all_left_out(tmp_path, second):
    """Nobody knows whose labels are whose: none of the videos gets those of the other."""
    sources, problems = find_recordings(
        make_files(tmp_path / "Videos", ["a.mp4", second, "b.mp4"]),
        make_files(tmp_path / "Annotations", ["day1/a.csv", "day2/a.csv", "b.csv"]),
    )
    assert [source.name for source in sources] == ["b"]
    first, second = tmp_path / "Videos" / "a.mp4", tmp_path / "Videos" / second
    assert sorted((p.path, p.message) for p in problems) == sorted(
        [
            (first.name, f"has the same name as {second}; rename one of them and its label files"),
            (second.name, f"has the same name as {first}; rename one of them and its label files"),
        ]
    )


def test_videos_whose_names_differ_in_the_storage_of_accents_clash(tmp_path):
    """Two files that look the same on every screen are the same name."""
    videos = [composed("é.mp4"), decomposed("é.mp4")]
    sources, problems = pair(tmp_path, videos, ["é.csv"])
    assert sources == {}
    assert set(problems) == set(videos)


@pytest.mark.skipif(os.name == "nt", reason="names are always text there")
def test_name_that_is_no_text_is_a_problem(tmp_path):
    """A name with stray bytes would break the cache and every report: it is told at once."""
    stray = os.fsdecode(b"stray_\xff")
    sources, problems = pair(tmp_path, ["a.mp4", f"{stray}.mp4"], ["a.csv", f"{stray}.csv"])
    assert ascii(sources) == ascii({"a.mp4": ["a.csv"]})
    told = {ascii(path): message for path, message in problems.items()}
    shown = map(ascii, [r"stray_\udcff.csv", r"stray_\udcff.mp4"])
    assert told == dict.fromkeys(shown, "has a name that is not UTF-8 text; rename it")


@pytest.mark.parametrize("missing", ["Videos", "Annotations"])
def test_missing_folder_is_a_wrong_option(tmp_path, missing):
    """A mistyped path is not an empty data set."""
    (tmp_path / {"Videos": "Annotations", "Annotations": "Videos"}[missing]).mkdir()
    with pytest.raises(ConfigError, match=f"{missing}: is not a folder; check the path"):
        find_recordings(tmp_path / "Videos", tmp_path / "Annotations")


def test_folder_without_a_video_is_a_wrong_option(tmp_path):
    """Folders that were swapped are told at once."""
    make_files(tmp_path, ["a.csv", ".a.mp4"])
    with pytest.raises(ConfigError, match=r"found no video \(.mp4 .avi .* check the path"):
        find_recordings(tmp_path, tmp_path)


def test_videos_and_labels_may_lie_in_one_folder(tmp_path):
    """The same folder twice is fine, and sources come in order of path."""
    make_files(tmp_path, ["b.mp4", "b.csv", "a.mp4", "a.csv", "A/c.mp4", "A/c.csv"])
    sources, problems = find_recordings(tmp_path, tmp_path)
    assert [source.name for source in sources] == ["c", "a", "b"]
    assert problems == []


def test_folder_that_cannot_be_listed_is_not_passed_over(tmp_path, monkeypatch):
    """A folder without permission must not shrink the data set in silence."""
    make_files(tmp_path, ["a.mp4", "locked/b.mp4"])
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigError, match=r"locked: cannot be listed \(Permission denied\); "):
        find_files(tmp_path, [".mp4"])


@pytest.mark.parametrize(
    ("pattern", "group"),
    [
        pytest.param(None, "m12_day1", id="by default the video's name"),
        pytest.param(r"m\d+", "m12", id="the whole match"),
        pytest.param(r"m(\d+)_day", "12", id="the first group"),
        pytest.param(r"m(?:\d+)", "m12", id="a group that catches nothing is none"),
        pytest.param(r"(day\d)\.mp4", "day1", id="the suffix can be seen"),
    ],
)
def test_group_is_found_in_the_name(pattern, group):
    """The pattern looks at the file's name only."""
    video = Path("m99_folder/m12_day1.mp4")
    assert find_group(video, pattern) == group


@pytest.mark.parametrize("pattern", [r"rat\d+", r"(rat)?m12", r"(x*)"])
def test_group_that_is_not_found_is_refused(pattern):
    """An animal without an id would stand on both sides of a split."""
    with pytest.raises(InputError) as caught:
        find_group(Path("Videos/m12_day1.mp4"), pattern)
    assert str(caught.value) == (
        f"m12_day1.mp4: --group-pattern '{pattern}' finds no animal in this name; "
        "fix the pattern or rename the file"
    )


def test_group_does_not_depend_on_the_storage_of_accents():
    """One animal filmed on two systems is one animal."""
    pattern = "^[^_]+"
    names = [composed("é_1.mp4"), decomposed("é_2.mp4")]
    assert {find_group(Path(name), pattern) for name in names} == {composed("é")}


VIDEO = Path("Videos/mouse_7.mp4")


def annotation(name, codes, first=0):
    codes = np.array(codes, np.int16)
    return Annotation(Path("Annotations", name), np.arange(first, first + len(codes)), codes, ())


def lay(annotations, num_frames, **options):
    source = Source(VIDEO, tuple(a.path for a in annotations))
    return check_recording(
        source, annotations, num_frames, DEFAULT_CLASS_MAP, group="m7", **options
    )


def refuse(annotations, num_frames, **options):
    """Return {file: message} of the refusal."""
    with pytest.raises(InputError) as caught:
        lay(annotations, num_frames, **options)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("first", [0, 1])
def test_labels_as_long_as_the_video_are_laid_on_it(first):
    """Rows count from 0, or from 1 because the row count proves it; codes stay, classes merge."""
    (recording,) = lay([annotation("mouse_7_ann.csv", [0, 3, -1, 5], first)], 4)
    assert (recording.name, recording.group) == ("mouse_7", "m7")
    assert (recording.start_frame, recording.num_frames) == (0, 4)
    assert recording.annotators == ("ann",)
    assert recording.codes.tolist() == [[0, 3, -1, 5]]
    assert recording.codes.dtype == np.int16
    assert recording.labels.tolist() == [0, 1, -1, 1]
    assert recording.labels.dtype == np.int8


@pytest.mark.parametrize("first", [2, 15, 1000])
def test_rows_that_begin_elsewhere_are_refused(first):
    """As many rows as frames, but their numbers say that they belong to others."""
    assert refuse([annotation("mouse_7.csv", [0] * 4, first)], 4) == {
        "mouse_7.csv": f"its frames begin at {first}, expected 0; renumber them"
    }


@pytest.mark.parametrize(
    ("first", "numbered"),
    [(0, ""), (1, " (its Frame column begins at 1)"), (15, " (its Frame column begins at 15)")],
)
def test_short_labels_are_refused_with_both_offsets(first, numbered):
    """345 rows for 360 frames can lie at two places: the person says which, 1-based or not."""
    assert refuse([annotation("mouse_7.csv", [0] * 345, first)], 360) == {
        "mouse_7.csv": f"found 345 rows, expected 360 (the video's frames){numbered}; if the first "
        "15 frames have no row pass --label-offset 15, if the last 15 have none pass "
        "--label-offset 0"
    }


@pytest.mark.parametrize(
    ("offset", "first", "codes"),
    [
        pytest.param(2, 0, [-1, -1, 4, 5, 6], id="rows count from 0"),
        pytest.param(2, 1, [-1, -1, 4, 5, 6], id="rows count from 1"),
        pytest.param(2, 2, [-1, -1, 4, 5, 6], id="rows count on the video"),
        pytest.param(2, 3, [-1, -1, 4, 5, 6], id="rows count on the video from 1"),
        pytest.param(1, 0, [-1, 4, 5, 6, -1], id="in the middle"),
        pytest.param(0, 0, [4, 5, 6, -1, -1], id="at the start"),
        pytest.param(0, 1, [4, 5, 6, -1, -1], id="at the start, rows count from 1"),
    ],
)
def test_label_offset_lays_row_0_there(offset, first, codes):
    """Frames without a row are unlabelled, and no row moves by one."""
    (recording,) = lay([annotation("mouse_7.csv", [4, 5, 6], first)], 5, label_offset=offset)
    assert recording.codes.tolist() == [codes]
    assert (recording.labels == -1).tolist() == [code == -1 for code in codes]


def test_label_offset_that_the_frame_numbers_contradict_is_refused():
    """An option for a whole folder does not push a file to where its own numbers are not."""
    rows = annotation("mouse_7.csv", [0] * 345, 15)
    lay([rows], 360, label_offset=15)
    assert refuse([rows], 360, label_offset=0) == {
        "mouse_7.csv": "its frames begin at 15, expected 0; renumber them"
    }
    assert refuse([rows], 360, label_offset=5) == {
        "mouse_7.csv": "its frames begin at 15, expected 0 or 5; renumber them"
    }


def test_label_offset_beyond_the_end_is_refused():
    """No row is dropped to make the rest fit."""
    assert refuse([annotation("mouse_7.csv", [0] * 345)], 360, label_offset=16) == {
        "mouse_7.csv": "its 345 rows from frame 16 on end after the video's 360 frames; "
        "pass a --label-offset of at most 15"
    }


def test_label_offset_leaves_complete_files_alone():
    """The option is for files that are too short; the others of the folder are complete."""
    (recording,) = lay([annotation("mouse_7.csv", [4, 5, 6])], 3, label_offset=2)
    assert recording.codes.tolist() == [[4, 5, 6]]


@pytest.mark.parametrize("offset", [None, 0, 15])
def test_long_labels_are_refused(offset):
    """More rows than frames: the wrong video, or one that is cut short."""
    message = refuse([annotation("mouse_7.csv", [0] * 361)], 360, label_offset=offset)
    assert message["mouse_7.csv"].startswith("found 361 rows, expected 360 (the video's frames); ")


@pytest.mark.parametrize(
    ("firsts", "why"),
    [
        ((0, 0, 0), "each trial counts from 0"),
        ((0, 2, 5), "trials count on"),
        ((1, 1, 1), "each trial counts from 1"),
        ((1, 3, 6), "trials count on from 1"),
    ],
)
@pytest.mark.parametrize("several", [None, "trials"])
def test_trials_follow_each_other_in_order_of_number(firsts, why, several):
    """Trial 10 comes after trial 2, however the files are sorted; each is its own recording."""
    first, second, tenth = (
        annotation("mouse_7_1.csv", [0, 0], firsts[0]),
        annotation("mouse_7_2.csv", [2, 2, 2], firsts[1]),
        annotation("mouse_7_10.csv", [6], firsts[2]),
    )
    recordings = lay([first, tenth, second], 6, several=several)
    assert [(r.name, r.start_frame, r.num_frames) for r in recordings] == [
        ("mouse_7_trial1", 0, 2),
        ("mouse_7_trial2", 2, 3),
        ("mouse_7_trial10", 5, 1),
    ], why
    assert [r.codes.tolist() for r in recordings] == [[[0, 0]], [[2, 2, 2]], [[6]]]
    assert [r.labels.tolist() for r in recordings] == [[0, 0], [2, 2, 2], [4]]
    assert {r.group for r in recordings} == {"m7"}


def test_trial_that_begins_elsewhere_is_refused_by_name():
    """The numbers of one trial say that the order is wrong."""
    files = [annotation("mouse_7_1.csv", [0, 0], 3), annotation("mouse_7_2.csv", [0, 0, 0], 0)]
    assert refuse(files, 5) == {"mouse_7_1.csv": "its frames begin at 3, expected 0; renumber them"}
    files = [annotation("mouse_7_1.csv", [0, 0], 0), annotation("mouse_7_2.csv", [0, 0, 0], 9)]
    assert refuse(files, 5) == {
        "mouse_7_2.csv": "its frames begin at 9, expected 0 or 2; renumber them"
    }


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("mouse_7.csv", "mouse_7_2.csv"), id="the 7 is the video's own"),
        pytest.param(("mouse_7_a.csv", "mouse_7_b.csv"), id="letters"),
        pytest.param(("mouse_7_1.csv", "mouse_7_01.csv"), id="one number twice"),
        pytest.param(
            ("prediction_mouse_7.mp4.csv", "prediction_mouse_7.mp4_1.csv"), id="the 4 of mp4"
        ),
        pytest.param(("mouse_7_1.csv", "mouse_7_2\N{SUPERSCRIPT TWO}.csv"), id="no digit"),
    ],
)
def test_trials_without_an_order_are_refused(names):
    """Trials in the wrong order would give every frame a wrong label."""
    messages = refuse([annotation(name, [0, 0]) for name in names], 4)
    assert messages == {
        "mouse_7.mp4": "its trials cannot be ordered: expected label files that end in different "
        f"numbers, found {', '.join(names)}; rename them"
    }


@pytest.mark.parametrize(
    "names",
    [
        ("prediction_mouse_7.mp4_0.csv", "prediction_mouse_7.mp4_1.csv"),
        ("mouse_7-trial9.csv", "mouse_7-trial10.csv"),
        ("mouse_7_20231231235959.csv", "mouse_7_20240101000000.csv"),
        (decomposed("mouse_7_é1.csv"), composed("mouse_7_é2.csv")),
    ],
)
def test_trials_are_ordered_by_the_number_at_the_end(names):
    """The field's names, words, and times of any length."""
    files = [annotation(names[1], [2, 2]), annotation(names[0], [6])]
    assert [r.codes.tolist() for r in lay(files, 3)] == [[[6]], [[2, 2]]]


@pytest.mark.parametrize("several", [None, "trials"])
@pytest.mark.parametrize("firsts", [(0, 0), (2, 2), (2, 7), (0, 5)])
def test_trials_with_an_offset_are_each_laid_there(several, firsts):
    """Each trial lost its first frames: each gets them back, unlabelled."""
    files = [
        annotation("mouse_7_0.csv", [4, 4, 4], firsts[0]),
        annotation("mouse_7_1.csv", [6, 6], firsts[1]),
    ]
    recordings = lay(files, 9, label_offset=2, several=several)
    assert [(r.start_frame, r.codes.tolist()) for r in recordings] == [
        (0, [[-1, -1, 4, 4, 4]]),
        (5, [[-1, -1, 6, 6]]),
    ]


@pytest.mark.parametrize("several", [None, "trials"])
def test_offset_leaves_complete_trials_alone(several):
    """Trials that add up to the video lost nothing, whatever the folder's offset is."""
    files = [annotation("mouse_7_0.csv", [4] * 180), annotation("mouse_7_1.csv", [6] * 180)]
    recordings = lay(files, 360, label_offset=15, several=several)
    assert [r.codes.tolist() for r in recordings] == [[[4] * 180], [[6] * 180]]


@pytest.mark.parametrize("offset", [None, 0, 5])
def test_short_trials_name_the_offset_that_would_fit(offset):
    """The hint is right even when another offset was passed."""
    files = [annotation("mouse_7_0.csv", [4] * 345), annotation("mouse_7_1.csv", [4] * 345)]
    given = " with --label-offset 5 each" if offset else ""
    assert refuse(files, 720, several="trials", label_offset=offset) == {
        "mouse_7.mp4": f"its 2 trials have 345 + 345 = 690 rows{given}, expected 720 frames; if "
        "each lost its first 15 frames, pass --several trials --label-offset 15"
    }
    assert len(lay(files, 720, several="trials", label_offset=15)) == 2


@pytest.mark.parametrize("num_frames", [689, 691])
def test_trials_that_cannot_add_up_are_refused(num_frames):
    """No offset is named where none would fit."""
    files = [annotation("mouse_7_0.csv", [4] * 345), annotation("mouse_7_1.csv", [4] * 345)]
    assert refuse(files, num_frames, several="trials") == {
        "mouse_7.mp4": f"its 2 trials have 345 + 345 = 690 rows, expected {num_frames} frames; "
        "fix the label files"
    }


@pytest.mark.parametrize("offset", [None, 15])
def test_labels_that_are_neither_trials_nor_annotators_are_refused(offset):
    """Short trials are not laid over each other as if two people had scored the video."""
    files = [annotation("mouse_7_0.csv", [4] * 345), annotation("mouse_7_1.csv", [4] * 330)]
    messages = refuse(files, 720, label_offset=offset)
    assert messages["mouse_7.mp4"].startswith(
        "has 2 label files with 345 + 330 rows for 720 frames: neither trials (rows add up) nor "
        "annotators (each as long as the video); fix them, or pass --several trials|annotators"
    )
    assert set(messages) <= {"mouse_7.mp4", "mouse_7_0.csv", "mouse_7_1.csv"}


@pytest.mark.parametrize("several", [None, "annotators"])
def test_majority_of_annotators_is_the_label(several):
    """Votes are for classes; ties go to the first by name; unlabelled is no vote."""
    files = [
        annotation("mouse_7_ann.csv", [0, 6, 0, -1, -1, 1, 0]),
        annotation("mouse_7_bob.csv", [0, 2, 2, -1, 6, 3, 6]),
        annotation("mouse_7_cy.csv", [6, 2, 6, -1, -1, 5, 6]),
    ]
    (recording,) = lay(files, 7, several=several)
    rest, withdraw, lick, walk = 0, 1, 2, 4
    assert recording.labels.tolist() == [rest, lick, rest, -1, walk, withdraw, walk]
    assert recording.annotators == ("ann", "bob", "cy")
    assert recording.codes.tolist() == [a.codes.tolist() for a in files], "raw codes are kept"
    assert recording.name == "mouse_7"


def test_tie_goes_to_the_first_of_those_who_tie():
    """A first annotator who stands alone does not win a tie of two others."""
    votes = [[0], [6], [2], [2], [6]]
    (recording,) = lay([annotation(f"mouse_7_{i}.csv", v) for i, v in enumerate(votes)], 1)
    assert recording.labels.tolist() == [DEFAULT_CLASS_MAP.class_index_of(6)]


@given(st.lists(st.lists(st.integers(-1, 7), min_size=6, max_size=6), min_size=2, max_size=5))
def test_no_class_has_more_votes_than_the_label(votes):
    """Whatever was voted, the winner has the most votes and was somebody's choice."""
    files = [annotation(f"mouse_7_{name}.csv", v) for name, v in zip("abcde", votes, strict=False)]
    (recording,) = lay(files, 6, several="annotators")
    for t, label in enumerate(recording.labels):
        cast = [x for x in DEFAULT_CLASS_MAP.merge(recording.codes[:, t]) if x >= 0]
        if cast:
            most = max(map(cast.count, cast))
            assert label == next(x for x in cast if cast.count(x) == most)
        else:
            assert label == -1


def test_two_complete_files_are_annotators_and_not_trials():
    """The row counts decide, and --several only what they leave open."""
    files = [annotation("mouse_7_1.csv", [4] * 6), annotation("mouse_7_2.csv", [6] * 6)]
    (recording,) = lay(files, 6)
    assert recording.annotators == ("1", "2")
    assert len(lay(files, 12)) == 2


def test_several_forced_against_the_counts_is_refused():
    """The option does not bend labels to a video that they do not fit."""
    complete = [annotation("mouse_7_1.csv", [4] * 6), annotation("mouse_7_2.csv", [6] * 6)]
    assert "12 rows, expected 6 frames" in refuse(complete, 6, several="trials")["mouse_7.mp4"]
    messages = refuse(complete, 12, several="annotators")
    assert {*messages} == {"mouse_7_1.csv", "mouse_7_2.csv"}
    assert all(message.startswith("found 6 rows, expected 12") for message in messages.values())


@pytest.mark.parametrize("several", [None, "trials", "annotators"])
def test_one_file_is_the_whole_video_whatever_several_says(several):
    """A folder may hold videos with one label file and videos with several."""
    (recording,) = lay([annotation("mouse_7_1.csv", [4, 6])], 2, several=several)
    assert recording.name == "mouse_7"


def test_annotators_with_an_offset_are_each_laid_there():
    """Short files of two people lie at the same frames, beside a complete one."""
    files = [
        annotation("mouse_7_a.csv", [4, 4]),
        annotation("mouse_7_b.csv", [6, 6, 6]),
        annotation("mouse_7_c.csv", [4, 6]),
    ]
    (recording,) = lay(files, 3, label_offset=1)
    assert recording.codes.tolist() == [[-1, 4, 4], [6, 6, 6], [-1, 4, 6]]
    assert recording.labels.tolist() == [4, 3, 4]


def test_annotators_of_unlike_lengths_need_to_be_called_so():
    """Two files that both end early are two annotators only if the person says so."""
    files = [annotation("mouse_7_a.csv", [4, 4]), annotation("mouse_7_b.csv", [6])]
    assert "mouse_7.mp4" in refuse(files, 5, label_offset=0)
    (recording,) = lay(files, 5, label_offset=0, several="annotators")
    assert recording.codes.tolist() == [[4, 4, -1, -1, -1], [6, -1, -1, -1, -1]]


@pytest.mark.parametrize(
    ("names", "annotators"),
    [
        (["mouse_7.csv"], ("mouse_7",)),
        (["mouse_7_annotation.csv"], ("mouse_7_annotation",)),
        (["mouse_7_ann.csv", "mouse_7-bob.csv"], ("ann", "bob")),
        (["mouse_7.csv", "mouse_7_labels.csv"], ("mouse_7", "mouse_7_labels")),
        (["mouse_7_ann.csv", "mouse_7-ann.csv"], ("mouse_7_ann", "mouse_7-ann")),
        (["ann/mouse_7.csv", "bob/mouse_7.csv"], ("ann/mouse_7.csv", "bob/mouse_7.csv")),
    ],
)
def test_annotators_have_a_name_each(names, annotators):
    """What a file's name adds to the video's is the person, or at least tells people apart."""
    (recording,) = lay([annotation(name, [4, 6]) for name in names], 2)
    assert recording.annotators == annotators


def test_bad_file_among_annotators_is_named():
    """The message is about the file that does not fit, not about the video."""
    files = [annotation("mouse_7_a.csv", [4] * 6), annotation("mouse_7_b.csv", [4] * 5)]
    messages = refuse(files, 6, several="annotators")
    assert {*messages} == {"mouse_7_b.csv"}
    messages = refuse(files, 6)
    assert {*messages} == {"mouse_7.mp4", "mouse_7_b.csv"}
