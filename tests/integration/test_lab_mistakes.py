"""Mistakes that labs make with label files, through the real command: none passes in silence.

A case is the videos (90 frames at 30 a second), the label files, the options, the labels that must
be in the cache, and what the command must print.
"""

from __future__ import annotations

import json

import pytest

from tests.fixtures.mistakes import LICK, WALK, WHOLE_VIDEO, case, check, project
from tests.integration.test_lab_inputs import (
    LAID_THIRDS,
    THIRDS,
    boris,
    by_frame,
    film,
    preprocessed,
    read_labels,
    write,
)

HALF_RATE = by_frame(*["rest"] * 15, *["paw_lick"] * 15, *["walk"] * 15)


HALVES = {"m1_trial1": "rest 0-14, paw_lick 15-29, walk 30-44"}


HALVES["m1_trial2"] = HALVES["m1_trial1"]


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "label files of half the rows count as trials with a warning",
            {"m1_1.csv": HALF_RATE, "m1_2.csv": HALF_RATE},
            HALVES,
            "warning: m1.mp4: mpar takes its 2 label files as trials, since 45 + 45 = 90 rows; "
            "if they are several annotators, pass --several annotators",
        ),
        case(
            "annotators who scored a copy at half the rate are refused",
            {"m1_1.csv": HALF_RATE, "m1_2.csv": HALF_RATE},
            {},
            "m1_1.csv: found 45 rows, expected 90 (the video's frames); 45 would fit a copy at 15",
            options="--several annotators",
        ),
        case(
            "a trial without its file",
            {"m1_1.csv": by_frame(*["rest"] * 30), "m1_3.csv": by_frame(*["walk"] * 30)},
            {},
            "m1.mp4: its 2 label files have 30 + 30 = 60 rows, but it has 90 frames; there "
            "is no label file of trial 2; add it",
        ),
        case(
            "a trial without its file, said to be trials",
            {"m1_1.csv": by_frame(*["rest"] * 40), "m1_4.csv": by_frame(*["walk"] * 30)},
            {},
            "rows, expected 90 frames; there is no label file of trial 2, 3; add it",
            options="--several trials",
        ),
        case(
            "numbers that are dates",
            {"m1_20240101.csv": HALF_RATE, "m1_20240301.csv": by_frame(*["rest"] * 15)},
            {},
            "not:missing",
        ),
        case(
            "annotators declared as trials",
            {"m1_1.csv": WHOLE_VIDEO, "m1_2.csv": WHOLE_VIDEO},
            {},
            "m1.mp4: its 2 trials have 90 + 90 = 180 rows, expected 90 frames; each is as long as "
            "the video: if they are annotators, pass --several annotators",
            options="--several trials",
        ),
        case(
            "the advice for names without numbers comes to annotators first",
            {"m1_anna.csv": HALF_RATE, "m1_ben.csv": HALF_RATE},
            {},
            "m1.mp4: its 2 label files have 45 + 45 rows and count as trials, whose order is "
            "unclear: expected names that end in different numbers, found m1_anna.csv, "
            "m1_ben.csv; if they are annotators, pass --several annotators; if they are trials",
        ),
        case(
            "trials of different lengths need no warning",
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


TAKEN = "belongs to m1_2.seq, which mpar cannot read; convert the video, or move both elsewhere"


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
            "warning: m1_2.csv: counts as labels of m1.mp4, the longest matching name of a "
            "video; if it is of another video, move it elsewhere",
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
                f"m1.csv: mpar ignores {name}, which has the same content; remove one",
                "not:annotators",
            )
            for name in ("m1 (1).csv", "m1 - Copy.csv", "m1 copy.csv", "m1 - Kopie (2).csv")
        ),
        case(
            "a copy of a study in one file",
            {"s.csv": boris("m1.mp4", *THIRDS), "s (1).csv": boris("m1.mp4", *THIRDS)},
            {"m1": LAID_THIRDS},
            "s.csv: mpar ignores s (1).csv, which has the same content",
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


BINARY = "time,paw_lick\n" + "".join(f"{i / 30:.3f},{int(15 <= i < 45)}\n" for i in range(90))


LATE_LICK = boris("m1.mp4", ("paw_lick", 0.6, 1.5))


def of(subject, text=LICK):
    return text.replace("No focal subject", subject)


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "one file names the animal and the other does not",
            {"m1_a.csv": of("mouse A"), "m1_b.csv": LATE_LICK},
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
            {"m1_a.csv": LICK, "m1_b.csv": LATE_LICK},
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
            "observation 'o' has the subjects 'Mouse1', none, expected one animal per video",
        ),
    ],
)
def test_subjects(tmp_path, videos, files, options, labels, texts):
    """Labels of several animals never count as opinions on one."""
    check(tmp_path, videos, files, options, labels, texts)


ANIMALS = (
    ("A", "walk", 0.5, 1.0),
    ("b", "walk", 0.8, 2.0),  # names differ in capitals only
    ("A", "paw_lick", 2.0, 2.5),
)


OF_ANIMALS = {"m1__A": "walk 15-29, paw_lick 60-74", "m1__B": "walk 24-59"}


def of_animals(kind, animals=ANIMALS):
    """Return one observation of several animals as BORIS saves it."""
    if kind == "tabular":
        bouts = (of(name, boris("m1.mp4", bout)).partition("\n") for name, *bout in animals)
        heads, _, bodies = zip(*bouts, strict=True)
        return heads[0] + "\n" + "".join(bodies)
    if kind == "aggregated":
        head = "Observation id,Media file name,Subject,Behavior,Behavior type,Start (s),Stop (s)\n"
        return head + "".join(f"o,m1.mp4,{a},{b},STATE,{c},{d}\n" for a, b, c, d in animals)
    loaded = json.loads(project())
    times = sorted((time, a, b) for a, b, *bout in animals for time in bout)
    loaded["observations"]["o"]["events"] = [[time, a, b, "", ""] for time, a, b in times]
    return json.dumps(loaded)


@pytest.mark.parametrize("kind", ["tabular", "aggregated", "project"])
@pytest.mark.parametrize(
    ("animals", "with_regions", "labels", "text"),
    [
        pytest.param(ANIMALS, True, OF_ANIMALS, "2 animals", id="each has a region"),
        pytest.param(
            *(ANIMALS, False, {}),
            "scores the subjects 'A', 'b' of one video, expected one animal per video; pass",
            id="no regions",
        ),
        pytest.param(
            *((*ANIMALS, ("C", "walk", 2.6, 2.8)), True, OF_ANIMALS),
            "scores the subject 'C' of m1.mp4, whose regions belong to A, B; correct one of them",
            id="one without a region",
        ),
        pytest.param(
            *((*ANIMALS, ("", "walk", 2.6, 2.8)), True, {}),
            "observation 'o' has the subjects 'A', 'b', none, expected one animal per video; "
            "name the animal of every event, or keep the events of one",
            id="a bout of nobody",
        ),
    ],
)
def test_several_animals_in_one_observation(tmp_path, kind, animals, with_regions, labels, text):
    """BORIS' own way: each event names its subject."""
    regions = tmp_path / "regions.csv"
    regions.write_text("Video,Animal,X,Y,Width,Height\n*,A,0,0,32,64\n*,B,32,0,32,64\n")
    suffix = "boris" if kind == "project" else "csv"

    def make(folder):
        film(folder, "m1.mp4")
        write(folder, f"p.{suffix}", of_animals(kind, animals))

    output = preprocessed(tmp_path, make, *(["--regions", regions] if with_regions else []))
    assert read_labels(tmp_path / "c.h5") == labels, output
    assert text in output, output


UNSCORED = "--unscored rest"


LICK_ONLY = "paw_lick\n" + "".join(f"{int(15 <= i < 45)}\n" for i in range(90))


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "a file for each behaviour",
            {"m1_a.csv": LICK, "m1_b.csv": boris("m1.mp4", ("walk", 2, 3))},
            {"m1": "rest 0-14, paw_lick 15-44, rest 45-59, walk 60-89"},
            "(m1_a.csv (observation 'o'): paw_lick; m1_b.csv (observation 'o'): walk); mpar adds",
            options=UNSCORED,
        ),
        case(
            "a column for each behaviour, in files of their own",
            {"m1_a.csv": LICK_ONLY, "m1_b.csv": LICK_ONLY.replace("paw_lick", "walk")},
            {},
            "m1_b.csv:17: 30 frames from frame 15 on are 'walk' here and 'paw_lick' in m1_a.csv "
            "(line 17), expected one class from parts of one scoring; correct one of them, or pass "
            "--several annotators if several people scored",
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
            {"m1": "rest 0-14, paw_lick 15-44, rest 45-59, walk 60-89"},
            "who agree on 50 % of the frames",
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
            "warning: m1.csv: has 30 unlabelled rows (-1 or empty), which --unscored does not fill",
            options=UNSCORED,
        ),
    ],
)
def test_unscored(tmp_path, videos, files, options, labels, texts):
    """Frames in which nobody looked for a behaviour do not outvote it."""
    check(tmp_path, videos, files, options, labels, texts)
