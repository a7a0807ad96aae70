"""Passes and pieces of one scoring are added; annotators vote, but not with empty frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mpar.aligning.laying import events_to_frames
from mpar.aligning.recordings import check_recording
from mpar.cache.store import Store
from mpar.errors import InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.labels.scorings import Event, Scoring
from mpar.matching.label_options import LabelOptions
from mpar.matching.sources import Source
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import raises_problem
from tests.integration.test_lab_inputs import boris, film, preprocessed, read_labels, write

LINE = TimeLine(12, Fraction(30))
LICK, WALK, REST = 2, 6, 0


def seen(*bouts, columns=(), unscored=(), name="o"):
    """Return a scoring of (behaviour, first frame, frame after the last)."""
    events = tuple(Event(b, Fraction(i), Fraction(j), line=5) for b, i, j in bouts)
    gaps = tuple((Fraction(i), Fraction(j)) for i, j in unscored)
    return Scoring(
        Path("study.csv"), events, in_frames=True, annotator=name, columns=columns, unscored=gaps
    )


def rows(*codes):
    """Return a scoring by frame."""
    return Scoring(Path("m1.csv"), frames=np.arange(len(codes)), codes=np.array(codes, np.int16))


def labels(scorings, several=None, unscored="rest"):
    """Return the label of each frame, and the number of annotators."""
    options = LabelOptions(unscored=unscored, several=several)
    laid = events_to_frames(scorings, DEFAULT_CLASS_MAP, LINE, options)
    (recording,) = check_recording(
        Source(Path("m1.mp4")), laid, LINE, DEFAULT_CLASS_MAP, options, group="m1"
    )
    names = np.array([*DEFAULT_CLASS_MAP.class_names, "-"])
    return " ".join(name[:1] for name in names[recording.labels]), len(recording.annotators)


LICKS, WALKS = seen(("paw_lick", 2, 5), name="pass1"), seen(("walk", 6, 9), name="pass2")
HALF = seen(("paw_lick", 0, 2), ("walk", 2, 4), name="first half")
OTHER_HALF = seen(("walk", 8, 10), ("paw_lick", 10, 12), name="second half")
LOOKED = ("paw_lick", "walk")


@pytest.mark.parametrize(
    ("scorings", "expected"),
    [
        pytest.param([LICKS, WALKS], ("r r p p p r w w w r r r", 1), id="a pass for a behaviour"),
        pytest.param([HALF, OTHER_HALF], ("p p w w r r r r w w p p", 1), id="halves"),
        pytest.param(
            [LICKS, WALKS, seen(("paw_shake", 10, 12), name="pass3")],
            ("r r p p p r w w w r p p", 1),
            id="three passes",
        ),
        pytest.param(
            [seen(("rest", 0, 2), ("paw_lick", 2, 5)), seen(("walk", 6, 9), ("rest", 9, 12))],
            ("r r p p p r w w w r r r", 1),
            id="passes with the class of empty frames",
        ),
        pytest.param(
            [rows(*[LICK] * 6, *[-1] * 6), rows(*[-1] * 6, *[WALK] * 6)],
            ("p p p p p p w w w w w w", 1),
            id="files of mpar, each with a half",
        ),
        pytest.param(
            [
                seen(("paw_lick", 2, 5), unscored=[(6, 12)]),
                seen(("paw_lick", 8, 9), unscored=[(0, 6)]),
            ],
            ("r r p p p r r r p r r r", 1),
            id="pieces, each with its interval",
        ),
        pytest.param(
            [seen(("paw_lick", 2, 5), unscored=[(9, 12)]), seen(("walk", 6, 8))],
            ("r r p p p r w w r - - -", 1),
            id="a pass that left out the end",
        ),
        pytest.param(
            [seen(("paw_lick", 2, 6)), seen(("paw_lick", 3, 5), ("walk", 8, 9))],
            ("r r p p p p r r w r r r", 2),
            id="annotators",
        ),
        pytest.param(
            [
                seen(("paw_lick", 2, 6)),
                seen(("walk", 3, 5), columns=LOOKED),
                seen(("walk", 4, 6), columns=LOOKED),
            ][1:],
            ("r r r w w w r r r r r r", 2),
            id="tables of the same behaviours",
        ),
        pytest.param(
            [
                rows(*[LICK] * 6, *[-1] * 6),
                rows(*[-1] * 3, *[LICK] * 6, *[-1] * 3),
                rows(*[-1] * 10, WALK, WALK),
            ],
            ("p p p p p p p p p - w w", 3),
            id="three people who scored stretches in mpar, two of which overlap",
        ),
        pytest.param(
            [rows(*[REST] * 12), rows(*[WALK] * 12)],
            ("r r r r r r r r r r r r", 2),
            id="annotators of every frame who agree in none",
        ),
    ],
)
def test_parts_are_added(scorings, expected):
    """Scorings that share no behaviour or no time are one; the labels hold all behaviours."""
    assert labels(scorings) == expected


@pytest.mark.parametrize("num_others", [1, 2, 5])
def test_empty_frames_never_outvote(num_others):
    """However many annotators left a frame empty, it is what another one saw."""
    others = [seen(("paw_lick", 2, 3), name=f"o{i}") for i in range(num_others)]
    scorings = [seen(("paw_lick", 2, 3), ("walk", 6, 9), name="a"), *others]
    assert labels(scorings)[0] == "r r p r r r w w w r r r"
    assert labels([*others, scorings[0]])[0] == "r r p r r r w w w r r r"


def test_contradicting_parts_are_refused():
    """Both places and the way out are named; said to be annotators, the first one wins."""
    walks = seen(("walk", 4, 9), name="pass2")
    with pytest.raises(InputError) as error:
        labels([LICKS, walks])
    assert [str(problem) for problem in error.value.problems] == [
        "study.csv:5: 1 frame from frame 4 on is 'walk' here and 'paw_lick' in study.csv "
        "(observation 'pass1') (line 5), expected one class from parts of one scoring; correct "
        "one of them, or pass --several annotators if several people scored"
    ]
    assert labels([LICKS, walks], "annotators") == ("r r p p p w w w w r r r", 2)
    with raises_problem("contradiction"):
        labels([LICKS, walks], "parts")


def test_unclear_scorings_are_refused():
    """Two people with two passes each: nothing says which scorings belong together."""
    scorings = [LICKS, WALKS, seen(("paw_lick", 2, 4), name="b1"), seen(("walk", 6, 8), name="b2")]
    with pytest.raises(InputError, match="--several parts if they are parts of one scoring, or "):
        labels(scorings)
    assert labels(scorings, "parts") == ("r r p p p r w w w r r r", 1)
    assert labels(scorings, "annotators") == ("r r p p p r w w w r r r", 4)


def test_one_boris_file_with_two_passes(tmp_path):
    """The passes of one person are observations of one export."""

    def make(folder):
        film(folder, "m1.mp4")
        first = boris("m1.mp4", ("paw_lick", 1, 2)).replace("\no,", "\nlicks,")
        second = boris("m1.mp4", ("walk", 2, 2.5)).replace("\no,", "\nwalks,").split("\n", 1)[1]
        write(folder, "study.csv", first + second)

    preprocessed(tmp_path, make, "--unscored", "rest")
    expected = "rest 0-29, paw_lick 30-59, walk 60-74, rest 75-89"
    assert read_labels(tmp_path / "c.h5") == {"m1": expected}
    with Store(tmp_path / "c.h5") as store:
        assert store.recordings[0].annotators == ("licks + walks",)


def test_the_rest_of_each_part():
    """Both passes score the rest, too: only the user can say that it means nothing was seen."""
    first = seen(("rest", 0, 2), ("paw_lick", 2, 5), ("rest", 5, 12), name="a")
    second = seen(("rest", 0, 6), ("walk", 6, 9), ("rest", 9, 12), name="b")
    with pytest.raises(InputError, match="--several parts if rest only says that a part saw noth"):
        labels([first, second])
    assert labels([first, second], "parts") == ("r r p p p r w w w r r r", 1)


def test_a_behaviour_that_is_outvoted_everywhere_is_named(tmp_path):
    """Two passes that also score the rest look like annotators; a warning says what is lost."""

    def make(folder):
        film(folder, "m1.mp4")
        first = ("rest", 0, 1), ("paw_lick", 1, 2), ("rest", 2, 3)
        second = ("rest", 0, 2), ("walk", 2, 2.5), ("rest", 2.5, 3)
        write(folder, "m1_a.csv", boris("m1.mp4", *first))
        write(folder, "m1_b.csv", boris("m1.mp4", *second))

    output = preprocessed(tmp_path, make)
    assert read_labels(tmp_path / "c.h5") == {"m1": "rest 0-29, paw_lick 30-59, rest 60-89"}
    assert "; walk is outvoted in every frame; if they are parts of one scoring, pass" in output
    (tmp_path / "2").mkdir()
    preprocessed(tmp_path / "2", make, "--unscored", "rest", "--several", "parts")
    expected = "rest 0-29, paw_lick 30-59, walk 60-74, rest 75-89"
    assert read_labels(tmp_path / "2" / "c.h5") == {"m1": expected}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0, 45, {"m1": "paw_lick 0-44, walk 45-89"}),
        (1, 46, {"m1": "paw_lick 0-44, walk 45-89"}),
        (0, 0, "all 2 parts start at frame 0 (45 + 45 rows for 90 frames), expected the frame "),
        (0, 50, "m1_b.csv: found frames 50-94, expected numbers of the video's frames (0-89) in a"),
    ],
)
def test_pieces_with_frame_numbers(tmp_path, first, second, expected):
    """Rows of parts lie where their numbers say."""

    def make(folder):
        film(folder, "m1.mp4")
        for name, start, label in (("a", first, "paw_lick"), ("b", second, "walk")):
            text = "".join(f"{start + i},{label}\n" for i in range(45))
            write(folder, f"m1_{name}.csv", "Frame,Action\n" + text)

    output = preprocessed(tmp_path, make, "--several", "parts")
    if isinstance(expected, dict):
        assert read_labels(tmp_path / "c.h5") == expected, output
    else:
        assert expected in output
