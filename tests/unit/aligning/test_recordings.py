"""Every label goes to its frame, or its file to the list of problems."""

from __future__ import annotations

import dataclasses
import unicodedata
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.aligning.laying import events_to_frames
from mpar.aligning.recordings import check_recording
from mpar.errors import InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.labels.scorings import Event, Scoring
from mpar.matching.label_options import LabelOptions
from mpar.matching.sources import Source
from mpar.video.timeline import TimeLine

CHECK = "check that the labels belong to this video, and number its first frame 0"


def composed(name):
    return unicodedata.normalize("NFC", name)


def decomposed(name):
    return unicodedata.normalize("NFD", name)


VIDEO = Path("Videos/mouse_7.mp4")


def annotation(name, codes, first=0):
    codes = np.array(codes, np.int16)
    frames = np.arange(first, first + len(codes))
    return Scoring(Path("Annotations", name), frames=frames, codes=codes)


def lay(annotations, num_frames, **options):
    line = TimeLine(num_frames, options.pop("fps", None))
    source = Source(VIDEO)
    options = LabelOptions(**options)
    return check_recording(source, annotations, line, DEFAULT_CLASS_MAP, options, group="m7")


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
        "mouse_7.csv": f"its frames start at {first}, expected 0; {CHECK}"
    }


@pytest.mark.parametrize(
    ("first", "numbered"),
    [(0, ""), (1, " (its Frame column starts at 1)"), (99, " (its Frame column starts at 99)")],
)
def test_short_labels_are_refused_with_both_offsets(first, numbered):
    """345 rows for 360 frames can lie at two places: the person says which, 1-based or not."""
    assert refuse([annotation("mouse_7.csv", [0] * 345, first)], 360) == {
        "mouse_7.csv": f"found 345 rows, expected 360 (the video's frames){numbered}; if the "
        "first 15 frames have no row, pass --label-offset 15; if the last 15 "
        "have none, pass --label-offset 0"
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
        "mouse_7.csv": "its frames start at 15, expected 0; pass --label-offset 15"
    }
    assert refuse([rows], 360, label_offset=5) == {
        "mouse_7.csv": "its frames start at 15, expected 0 or 5; pass --label-offset 15"
    }


def test_label_offset_beyond_the_end_is_refused():
    """No row is dropped to make the rest fit."""
    assert refuse([annotation("mouse_7.csv", [0] * 345)], 360, label_offset=16) == {
        "mouse_7.csv": "its 345 rows from frame 16 on go past the video's 360 frames; pass a "
        "--label-offset of at most 15"
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
    assert refuse(files, 5) == {"mouse_7_1.csv": f"its frames start at 3, expected 0; {CHECK}"}
    files = [annotation("mouse_7_1.csv", [0, 0], 0), annotation("mouse_7_2.csv", [0, 0, 0], 9)]
    assert refuse(files, 5) == {
        "mouse_7_2.csv": (f"its frames start at 9, expected 0 or 2; {CHECK}")
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
        "mouse_7.mp4": "its 2 label files have 2 + 2 rows and count as trials, whose order is "
        "unclear: expected names that end in different numbers, found "
        f"{', '.join(names)}; if they are annotators, pass --several annotators; "
        "if they are trials, end their names in 1, 2, ...; if they are parts of one scoring, pass "
        "--several parts"
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
        "its 2 label files have 345 + 330 = 675 rows, but it has 720 frames: neither trials (rows "
        "add up) nor annotators (each as long as the video); fix them, or pass --several "
    )
    assert set(messages) == {"mouse_7.mp4"}, "offsets of single files would be wrong"


def test_short_trials_name_the_offset_of_all():
    """Each trial lost as many frames: the offset is theirs, not that of each file in the video."""
    files = [annotation("mouse_7_0.csv", [4] * 345), annotation("mouse_7_1.csv", [4] * 345)]
    assert refuse(files, 720) == {
        "mouse_7.mp4": "its 2 label files have 345 + 345 = 690 rows, but it has 720 frames: "
        "neither trials (rows add up) nor annotators (each as long as the video); "
        "if they are trials that each lost their first 15 frames, pass --several "
        "trials --label-offset 15; otherwise fix them"
    }


def test_trials_of_another_rate_are_compared_as_one():
    """The rows of all trials are those of the video; 75 alone would be half of 25 a second."""
    files = [annotation(f"mouse_7_{i}.csv", [4] * 75) for i in (1, 2)]
    messages = refuse(files, 180, fps=Fraction(30))
    assert messages["mouse_7.mp4"].startswith(
        "its 2 label files have 75 + 75 = 150 rows, but it has 180 frames; 150 would fit "
        "a copy at 25 frames per second (the video has 30)"
    )
    files = [annotation(f"mouse_7_{name}.csv", [4] * 75) for name in ("anna", "ben")]
    messages = refuse(files, 90, fps=Fraction(30))
    assert [*messages] == ["mouse_7_anna.csv", "mouse_7_ben.csv"]
    assert all("a copy at 25 frames" in message for message in messages.values())


@pytest.mark.parametrize(
    ("first", "offset", "named"),
    [(15, None, 15), (16, None, 15), (15, 0, 15), (5, 0, 5)],
)
def test_numbers_of_frames_name_the_offset(first, offset, named):
    """75 of 90 rows look like another rate, but their numbers say where they lie."""
    messages = refuse(
        [annotation("mouse_7.csv", [0] * 75, first)], 90, fps=Fraction(30), label_offset=offset
    )
    assert f"; pass --label-offset {named}" in messages["mouse_7.csv"]
    assert "renumber" not in messages["mouse_7.csv"]
    assert "copy" not in messages["mouse_7.csv"]


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
    for several in (None, "annotators"):
        assert {*refuse(files, 6, several=several)} == {"mouse_7_b.csv"}


@pytest.mark.parametrize(
    ("num_rows", "num_frames", "fps", "rate"),
    [(75, 90, 30, 25), (90, 75, 25, 30), (18, 90, 30, 6), (360, 720, 60, 30), (301, 360, 30, 25)],
)
def test_row_counts_in_the_ratio_of_two_rates_name_the_rate(num_rows, num_frames, fps, rate):
    """An offset would shift every label; the message names the copy that was scored instead."""
    (message,) = refuse([annotation("mouse_7.csv", [0] * num_rows)], num_frames, fps=fps).values()
    assert message == (
        f"found {num_rows} rows, expected {num_frames} (the video's frames); {num_rows} would "
        f"fit a copy at {rate} frames per second (the video has {fps}): if they are of such a "
        "copy, pass it, or score this video (use --label-offset only if they come from this very "
        "video)"
    )


def test_row_counts_of_trials_in_the_ratio_of_two_rates_name_the_rate():
    """Two trials at 25 frames per second are not two trials that lost 30 frames each."""
    files = [annotation("mouse_7_0.csv", [4] * 150), annotation("mouse_7_1.csv", [4] * 150)]
    (message,) = refuse(files, 360, several="trials", fps=30).values()
    assert "fit a copy at 25 frames per second" in message
    assert "--label-offset 30" not in message


def test_annotators_at_another_rate_get_no_advice_that_misaligns():
    """Each file names the rate; no offset and no --several is suggested for the video."""
    files = [annotation(f"mouse_7_{name}.csv", [0] * 75) for name in ("ann", "bob")]
    messages = refuse(files, 90, fps=30)
    assert {*messages} == {"mouse_7_ann.csv", "mouse_7_bob.csv"}
    assert all("fit a copy at 25 frames" in message for message in messages.values())


def test_lost_context_is_no_other_rate():
    """345 rows for 360 frames at 30 frames per second are no usual rate."""
    (message,) = refuse([annotation("mouse_7.csv", [0] * 345)], 360, fps=30).values()
    assert "pass --label-offset 15" in message


def test_annotators_and_trials_are_told_apart_whatever_the_capitals():
    """What a label file's name adds to the video's does not depend on how that is written."""
    files = [annotation("Mouse_7_anna.csv", [4, 4]), annotation("MOUSE_7-Bob.csv", [6, 6])]
    (recording,) = lay(files, 2)
    assert recording.annotators == ("anna", "Bob")
    files = [annotation("Mouse_7_2.csv", [4]), annotation("MOUSE_7_1.csv", [6])]
    assert [r.name for r in lay(files, 2)] == ["mouse_7_trial1", "mouse_7_trial2"]


# what others scored, and a correction of three of its frames
FIRST, SECOND = [0, 0, 0, 2, 2, 2, 6, 6], [0, 0, 2, 2, 2, 6, 6, 6]
FIX = [-1, -1, -1, 4, 4, -1, -1, 0]


def correction(name, codes, *corrected):
    return dataclasses.replace(annotation(name, codes), corrects=corrected)


def test_a_correction_takes_the_place_of_what_it_corrects():
    """It is no second opinion: there is one annotator, and all other frames stay."""
    labels = [annotation("mouse_7.csv", FIRST), correction("mouse_7_eva.csv", FIX, "mouse_7.csv")]
    (recording,) = lay(labels, 8)
    assert recording.codes.tolist() == [[0, 0, 0, 4, 4, 2, 6, 0]]
    assert recording.annotators == ("mouse_7 + eva",)
    assert labels[0].codes.tolist() == FIRST
    (recording,) = lay(labels, 8, several="annotators")
    assert recording.annotators == ("mouse_7", "eva")
    assert recording.labels.tolist() == [0, 0, 0, 2, 2, 2, 4, 4]


def test_a_correction_of_several_annotators_makes_them_agree_nowhere():
    """The first one takes it; the other counts elsewhere only, and a later one beside both."""
    labels = [
        annotation("mouse_7_ann.csv", FIRST),
        annotation("mouse_7_bob.csv", SECOND),
        correction("mouse_7_eva.csv", FIX, "mouse_7_ann.csv", "mouse_7_bob.csv", "gone.csv"),
    ]
    (recording,) = lay(labels, 8)
    assert recording.annotators == ("ann + eva", "bob")
    assert recording.codes.tolist() == [[0, 0, 0, 4, 4, 2, 6, 0], [0, 0, 2, -1, -1, 6, 6, -1]]
    late = annotation("mouse_7_zoe.csv", [1] * 8)
    (recording,) = lay([*labels, late], 8)
    assert recording.annotators == ("ann + eva", "bob", "zoe")


def test_corrections_of_corrections_and_of_trials():
    """The last word counts, and each trial gets its part; files that correct each other vote."""
    first, other = annotation("mouse_7.csv", FIRST), "mouse_7_eva.csv"
    eva = correction(other, FIX, "mouse_7.csv")
    fay = correction("mouse_7_fay.csv", [-1] * 7 + [6], other)
    for names in ((other,), ("mouse_7.csv", other)):
        both = [first, dataclasses.replace(fay, corrects=names), eva]
        (recording,) = lay(both, 8)
        assert recording.codes.tolist() == [[0, 0, 0, 4, 4, 2, 6, 6 if len(names) > 1 else 0]]
    trials = [annotation("mouse_7_1.csv", FIRST[:4]), annotation("mouse_7_2.csv", FIRST[4:])]
    found = lay([*trials, dataclasses.replace(eva, corrects=("mouse_7_1.csv", "mouse_7_2.csv"))], 8)
    assert [item.codes.tolist() for item in found] == [[[0, 0, 0, 4]], [[4, 2, 6, 0]]]
    mutual = [eva, correction("mouse_7.csv", FIRST, other)]
    assert lay(mutual, 8)[0].annotators == ("eva", "mouse_7")


def test_a_correction_replaces_frames_that_a_class_fills():
    """`--unscored` fills what a program left empty, but not against a person."""
    event = Event("paw_lick", Fraction(0), Fraction(1, 10))
    boris = Scoring(Path("mouse_7.tsv"), events=(event,))
    fix = correction("mouse_7_eva.csv", [-1, -1, -1, 6, -1, -1], "mouse_7.tsv")
    options = LabelOptions(unscored="rest")
    line = TimeLine(6, Fraction(30))
    laid = events_to_frames([boris, fix], DEFAULT_CLASS_MAP, line, options)
    assert "corrects mouse_7.tsv: its labels of 1 frame" in " ".join(laid[1].warnings)
    (found,) = check_recording(Source(VIDEO), laid, line, DEFAULT_CLASS_MAP, options, group="")
    assert found.codes.tolist() == [[2, 2, 2, 6, 0, 0]]
    assert found.labels.tolist() == [2, 2, 2, 4, 0, 0]
