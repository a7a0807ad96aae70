"""Mistakes that labs make with label files, through the real command: none passes in silence.

A case is the videos (90 frames at 30 a second), the label files, the options, the labels that must
be in the cache, and what the command must print.
"""

from __future__ import annotations

import pytest

from tests.test_lab_inputs import (
    LAID_THIRDS,
    THIRDS,
    boris,
    by_frame,
    film,
    preprocessed,
    read_labels,
    write,
)

WHOLE_VIDEO = by_frame(*["rest"] * 30, *["paw_lick"] * 30, *["walk"] * 30)
HALF_RATE = by_frame(*["rest"] * 15, *["paw_lick"] * 15, *["walk"] * 15)


def case(id, files, labels, *texts, videos="m1.mp4", options=""):
    return pytest.param(videos.split(), files, options.split(), labels, texts, id=id)


def check(folder, videos, files, options, labels, texts):
    """Preprocess a study; compare the labels of each recording, and what is printed."""

    def make(folder):
        for i, name in enumerate(videos):
            if name.endswith(".mp4"):
                film(folder, name)
            else:
                (folder / "Videos" / name).write_bytes(bytes([i]))
        for name, text in files.items():
            (folder / "Annotations" / name).parent.mkdir(exist_ok=True)
            write(folder, name, text)

    output = preprocessed(folder, make, *options)
    assert read_labels(folder / "c.h5") == labels, output
    for text in texts:
        if text.startswith("not:"):
            assert text[4:] not in output
        else:
            assert text in output, output


HALVES = {"m1_trial1": "rest 0-14, paw_lick 15-29, walk 30-44"}
HALVES["m1_trial2"] = HALVES["m1_trial1"]


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "label files of half the rows count as trials with a notice",
            {"m1_1.csv": HALF_RATE, "m1_2.csv": HALF_RATE},
            HALVES,
            "notice: m1.mp4: takes its 2 label files for trials, since 45 + 45 = 90 rows; if they "
            "are several annotators, pass --several annotators",
        ),
        case(
            "annotators who scored a copy at half the rate are refused",
            {"m1_1.csv": HALF_RATE, "m1_2.csv": HALF_RATE},
            {},
            "m1_1.csv: found 45 rows, expected 90 (the video's frames); they seem made on a copy "
            "at 15",
            options="--several annotators",
        ),
        case(
            "the advice for names without numbers comes to annotators first",
            {"m1_anna.csv": HALF_RATE, "m1_ben.csv": HALF_RATE},
            {},
            "m1.mp4: its 2 label files have 45 + 45 rows and count as trials, which cannot be "
            "ordered: expected names that end in different numbers, found m1_anna.csv, m1_ben.csv; "
            "if they are annotators, pass --several annotators; if they are trials",
        ),
        case(
            "trials of different lengths need no notice",
            {"m1_1.csv": by_frame(*["rest"] * 30), "m1_2.csv": by_frame(*["walk"] * 60)},
            {"m1_trial1": "rest 0-29", "m1_trial2": "walk 0-59"},
            "not:for trials",
        ),
    ],
)
def test_trials_and_annotators(tmp_path, videos, files, options, labels, texts):
    """Row counts that fit both are named, and no advice leads to the wrong one."""
    check(tmp_path, videos, files, options, labels, texts)


DEEPETHOGRAM = "background,walk\n" + "0,1\n" * 90
TAKEN = "belongs to m1_2.seq, which mpar does not read; convert that video, or move both away"


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "labels of a video of a type that is not read",
            {"m1_2.csv": WHOLE_VIDEO, "m1_2_labels.csv": DEEPETHOGRAM},
            {},
            f"m1_2.csv: {TAKEN}",
            f"m1_2_labels.csv: {TAKEN}",
            "m1.mp4: has no labels",
            videos="m1.mp4 m1_2.seq",
        ),
        case(
            "labels of an unfinished download",
            {"m1.2_anna.csv": WHOLE_VIDEO, "m1.csv": WHOLE_VIDEO},
            {"m1": LAID_THIRDS},
            "m1.2_anna.csv: belongs to m1.2.mp4, which",
            videos="m1.mp4 m1.2.mp4.part",
        ),
        case(
            "a BORIS file of such a video",
            {"study.csv": boris("m1_2.seq", *THIRDS)},
            {},
            f"study.csv: {TAKEN}",
            videos="m1.mp4 m1_2.seq",
        ),
        case(
            "the original beside the video that was made of it",
            {"m1.csv": WHOLE_VIDEO},
            {"m1": LAID_THIRDS},
            videos="m1.mp4 m1.seq",
        ),
        case(
            "labels of a video that cannot be decoded",
            {"m1.csv": WHOLE_VIDEO, "m1_2.csv": by_frame(*["walk"] * 90)},
            {"m1": LAID_THIRDS},
            "m1_2.avi: ",
            "not:annotators",
            videos="m1.mp4 m1_2.avi",
        ),
        case(
            "a number that no video has",
            {"m1_2.csv": WHOLE_VIDEO},
            {"m1": LAID_THIRDS},
            "notice: m1_2.csv: counts as labels of m1.mp4, as no longer name of a video fits; if "
            "it is of another video, move it away",
        ),
        case(
            "a name that says whose it is",
            {"prediction_m1.mp4_2.csv": WHOLE_VIDEO},
            {"m1": LAID_THIRDS},
            "not:no longer name",
        ),
    ],
)
def test_labels_of_videos_that_are_not_used(tmp_path, videos, files, options, labels, texts):
    """Labels never go to another video because theirs cannot be read."""
    check(tmp_path, videos, files, options, labels, texts)


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        *(
            case(
                f"a copy that the system named {name}",
                {"m1.csv": WHOLE_VIDEO, name: WHOLE_VIDEO},
                {"m1": LAID_THIRDS},
                f"m1.csv: {name} has the same content and is not read; remove one",
                "not:annotators",
            )
            for name in ("m1 (1).csv", "m1 - Copy.csv", "m1 copy.csv", "m1 - Kopie (2).csv")
        ),
        case(
            "a copy of a study in one file",
            {"s.csv": boris("m1.mp4", *THIRDS), "s (1).csv": boris("m1.mp4", *THIRDS)},
            {"m1": LAID_THIRDS},
            "s.csv: s (1).csv has the same content",
            "not:annotators",
        ),
        case(
            "two people who agree in all",
            {"anna/m1.csv": WHOLE_VIDEO, "ben/m1.csv": WHOLE_VIDEO},
            {"m1": LAID_THIRDS},
            "ben/m1.csv: has the same content as anna/m1.csv; if one is a copy, remove it",
            "has 2 annotators",
        ),
    ],
)
def test_copies_of_label_files(tmp_path, videos, files, options, labels, texts):
    """A copy does not vote."""
    check(tmp_path, videos, files, options, labels, texts)


LICK, WALK = boris("m1.mp4", ("paw_lick", 0.5, 1.5)), boris("m1.mp4", ("walk", 0.5, 1.5))
BINARY = "time,paw_lick\n" + "".join(f"{i / 30:.3f},{int(15 <= i < 45)}\n" for i in range(90))


def of(subject, text=LICK):
    return text.replace("No focal subject", subject)


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "one file names the animal and the other does not",
            {"m1_a.csv": of("mouse A"), "m1_b.csv": WALK},
            {"m1": "paw_lick 15-44"},
            "m1_a.csv: m1_a.csv scores the subject 'mouse A', and m1_b.csv names none; mpar takes "
            "both for the same animal",
        ),
        case(
            "a binary table beside a file that names the animal",
            {"m1_a.csv": BINARY, "m1_b.csv": of("mouse B")},
            {"m1": "paw_lick 15-44"},
            "m1_b.csv scores the subject 'mouse B', and m1_a.csv names none",
        ),
        case(
            "a file of mpar beside one that names the animal",
            {"m1_a.csv": WHOLE_VIDEO, "m1_b.csv": of("mouse B")},
            {"m1": LAID_THIRDS},
            "m1_b.csv scores the subject 'mouse B', and m1_a.csv names none",
        ),
        case(
            "nobody names the animal",
            {"m1_a.csv": LICK, "m1_b.csv": WALK},
            {"m1": "paw_lick 15-44"},
            "not:scores the subject",
        ),
        case(
            "capitals and blanks",
            {"m1_a.csv": of("Mouse1"), "m1_b.csv": of("mouse1 ")},
            {"m1": "paw_lick 15-44"},
            "not:the subject",
        ),
        case(
            "capitals and blanks in one observation",
            {
                "m1.csv": of("Mouse1")
                + of("mouse1 ", WALK).split("\n", 1)[1].replace("0.5", "2.0").replace("1.5", "2.5")
            },
            {"m1": "paw_lick 15-44, walk 60-74"},
        ),
        case(
            "an animal and none in one observation",
            {"m1.csv": of("Mouse1") + WALK.split("\n", 1)[1]},
            {},
            "observation 'o' has the subjects 'Mouse1', none, expected one animal a video",
        ),
    ],
)
def test_subjects(tmp_path, videos, files, options, labels, texts):
    """Labels of several animals never count as opinions on one."""
    check(tmp_path, videos, files, options, labels, texts)


UNSCORED = "--unscored rest"
LICK_ONLY = "paw_lick\n" + "".join(f"{int(15 <= i < 45)}\n" for i in range(90))


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "a file for each behaviour",
            {"m1_a.csv": LICK, "m1_b.csv": WALK},
            {},
            "m1_a.csv: shares no behaviour with the other label files of its video (m1_a.csv: "
            "paw_lick; m1_b.csv: walk), so that --unscored rest would outvote each of them",
            options=UNSCORED,
        ),
        case(
            "a column for each behaviour, in files of their own",
            {"m1_a.csv": LICK_ONLY, "m1_b.csv": LICK_ONLY.replace("paw_lick", "walk")},
            {},
            "(m1_a.csv: paw_lick; m1_b.csv: walk)",
            options=UNSCORED,
        ),
        case(
            "annotators who saw different things",
            {"m1_a.csv": LICK, "m1_b.csv": WALK},
            {"m1": "rest 0-14, paw_lick 15-44, rest 45-89"},
            options=f"{UNSCORED} --several annotators",
        ),
        case(
            "annotators who share a behaviour",
            {"m1_a.csv": LICK, "m1_b.csv": boris("m1.mp4", ("paw_lick", 0.5, 1), ("walk", 2, 3))},
            {"m1": "rest 0-14, paw_lick 15-44, rest 45-89"},
            options=UNSCORED,
        ),
        case(
            "one who saw nothing",
            {"m1_a.csv": LICK_ONLY, "m1_b.csv": "paw_lick\n" + "0\n" * 90},
            {"m1": "rest 0-14, paw_lick 15-44, rest 45-89"},
            options=UNSCORED,
        ),
        case(
            "parts without a class for the rest",
            {"m1_a.csv": LICK, "m1_b.csv": boris("m1.mp4", ("walk", 2, 3))},
            {"m1": "paw_lick 15-44, walk 60-89"},
        ),
        case(
            "files of mpar",
            {"m1.csv": by_frame(*["walk"] * 60, *[""] * 20, *["-1"] * 10)},
            {"m1": "walk 0-59"},
            "notice: m1.csv: has 30 unlabelled rows (-1 or empty), which --unscored does not fill",
            options=UNSCORED,
        ),
    ],
)
def test_unscored(tmp_path, videos, files, options, labels, texts):
    """Frames in which nobody looked for a behaviour do not outvote it."""
    check(tmp_path, videos, files, options, labels, texts)
