"""Mistakes that labs make with label files, through the real command: none passes in silence.

A case is the videos (90 frames at 30 a second), the label files, the options, the labels that must
be in the cache, and what the command must print.
"""

from __future__ import annotations

import json
import re

import pytest

from mpar.labels.classes import ClassMap
from tests.fixtures.synthetic import draw_frame_numbers, write_video
from tests.integration.test_lab_inputs import (
    LAID_THIRDS,
    THIRDS,
    boris,
    by_frame,
    film,
    film_of_two_rates,
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
        film(folder, *(name for name in videos if name.endswith(".mp4")))
        for name in (name for name in videos if not name.endswith(".mp4")):
            (folder / "Videos" / name).write_bytes(b"x")
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


LICK, WALK = boris("m1.mp4", ("paw_lick", 0.5, 1.5)), boris("m1.mp4", ("walk", 0.5, 1.5))
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


SIMBA = "Video,Event,Start_time,End Time,Start_frame,End_frame,Bout_time\n"
ANNOT = (
    "Bento annotation file\nMovie file(s): m1.mp4\n\nAnnotation start frame: 1\n"
    "Annotation stop frame: 90\nAnnotation framerate: 30\n\nList of channels:\nCh1\n\n"
    "Ch1----------\n>paw_lick\nStart\tStop\tDuration\n16\t45\t30\n"
)
AGGREGATED = (
    "Observation id,Media file name,Behavior,Behavior type,Start (s),Stop (s),Image index start,"
    "Image index stop\n"
)
NO_RATE = boris("m1.mp4", ("paw_lick", 0.4, 0.48), fps="NA", seconds="NA")


def at_25(text):
    """Number the images of a table as at 25 frames a second."""
    for time, frame in ((".400", 10), (".480", 12)):
        text = text.replace(f"0{time},m1.mp4,NA", f"0{time},m1.mp4,{frame}")
    return text


def project(media="m1.mp4", fps=None, length=None, events=((0.5, "paw_lick"), (1.5, "paw_lick"))):
    return json.dumps(
        {
            "behaviors_conf": {
                str(i): {"code": name, "type": "State event"}
                for i, name in enumerate(("paw_lick", "walk"))
            },
            "observations": {
                "o": {
                    "type": "MEDIA",
                    "file": {"1": [f"/films/{media}"]},
                    "events": [[time, "", name, "", ""] for time, name in events],
                    "media_info": {"fps": fps or {}, "length": length or {}},
                }
            },
        }
    )


def by_time(times, behaviour="paw_lick"):
    return f"time,{behaviour}\n" + "".join(f"{t:.3f},{int(0.5 <= t < 1.5)}\n" for t in times)


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "SimBA at 25, all in the first second",
            {"m1.csv": SIMBA + "m1,paw_lick,0.4,0.52,10,12,0.12\n"},
            {},
            "m1.csv: says that frame ",
            "(30 frames per second)",
        ),
        case(
            "SimBA at 25, with the time of the last frame as end",
            {"m1.csv": SIMBA + "m1,paw_lick,0.4,0.8,10,20,0.4\n"},
            {},
            "m1.csv: says that frame ",
        ),
        case(
            "SimBA at 25 from the first frame on",
            {"m1.csv": SIMBA + "m1,rest,0,0.44,0,10,0.44\nm1,walk,0.44,3.0,11,74,2.56\n"},
            {},
            "m1.csv: says that frame ",
        ),
        case(
            "SimBA at the rate of its video",
            {"m1.csv": SIMBA + "m1,paw_lick,0.133,0.3,4,8,0.167\n"},
            {"m1": "paw_lick 4-8"},
            "not:End_frame",
        ),
        case(
            "SimBA with ends that may be the frames after the last",
            {"m1.csv": SIMBA + "m1,paw_lick,0.5,1.5,15,45,1.0\n"},
            {"m1": "paw_lick 15-45"},
            (
                "mpar takes End_frame as the last frame of a bout: if it is the frame after the "
                "bout, subtract 1"
            ),
        ),
        case(
            "images of BORIS at 25",
            {"m1.csv": at_25(NO_RATE)},
            {},
            "m1.csv: says that frame 12 is shown at 0.48 s, but in its video that is frame 14",
        ),
        case(
            "images of aggregated events at 25",
            {"m1.csv": AGGREGATED + "o,m1.mp4,paw_lick,STATE,0.400,0.480,10,12\n"},
            {},
            "m1.csv: says that frame 12 is shown at 0.48 s",
        ),
        case(
            "images of BORIS at the rate of the video, from 1",
            {"m1.csv": AGGREGATED + "o,m1.mp4,paw_lick,STATE,0.400,0.500,13,16\n"},
            {"m1": "paw_lick 12-14"},
        ),
        case(
            "Bento stops behind the video",
            {"m1.annot": ANNOT.replace(": 90", ": 180")},
            {},
            "m1.annot: is scored up to frame 180, but its video has 90 frames",
        ),
        case(
            "Bento without a rate stops where a copy at 25 would",
            {"m1.annot": ANNOT.replace(": 90", ": 75").replace("Annotation framerate: 30\n", "")},
            {},
            (
                "m1.annot: is scored up to frame 75 (which would fit 25 frames per second), but "
                "its video has 90"
            ),
        ),
        case(
            "Bento stops early",
            {"m1.annot": ANNOT.replace(": 90", ": 60")},
            {"m1": "paw_lick 15-44"},
            "m1.annot: is scored up to frame 60 of 90; later frames stay unlabelled",
        ),
        case(
            "only the durations of Bento have a point",
            {"m1.annot": ANNOT.replace("\t30\n", "\t30.0\n")},
            {"m1": "paw_lick 15-44"},
        ),
        case(
            "a project knows its video by another path",
            {"p.boris": project(fps={"d/M1.mp4": 25.0, "m2.mp4": 30.0})},
            {},
            "p.boris: says that its video has 25 frames per second, but the video has 30",
        ),
        case(
            "a project with one rate",
            {"p.boris": project(fps={"camera 1.mp4": "25 fps"})},
            {},
            "p.boris: says that its video has 25 frames per second, but the video has 30",
        ),
        case(
            "units of a table",
            {"m1.csv": boris("m1.mp4", *THIRDS, fps="25 fps")},
            {},
            "m1.csv: says that its video has 25 frames per second, but the video has 30",
        ),
        case(
            "a length in hours, minutes and seconds",
            {"m1.csv": boris("m1.mp4", *THIRDS, fps="NA", seconds="00:05:00")},
            {},
            "m1.csv: says that its video lasts 300.000 s",
        ),
        case(
            "a length by half as long",
            {"m1.csv": boris("m1.mp4", *THIRDS, fps="NA", seconds="5.300")},
            {"m1": LAID_THIRDS},
            "warning: m1.csv: says that its video lasts 5.300 s, but the picture lasts 3.000 s",
        ),
        case(
            "sound that is a little longer",
            {"m1.csv": boris("m1.mp4", *THIRDS, fps="NA", seconds="3.300")},
            {"m1": LAID_THIRDS},
            "not:lasts",
        ),
        case(
            "a table behind its video",
            {"m1.csv": by_time(12 + i / 30 for i in range(90))},
            {},
            "m1.csv: starts at 12 s, after the end of its video (3.000 s)",
        ),
        case(
            "a table that ends early",
            {"m1.csv": by_time(i / 30 for i in range(60))},
            {"m1": "paw_lick 15-44"},
            "warning: m1.csv: is scored up to frame 60 of 90; later frames stay unlabelled",
        ),
    ],
)
def test_labels_of_another_video(tmp_path, videos, files, options, labels, texts):
    """What a file says of its video is compared with the video, however little it says."""
    check(tmp_path, videos, files, options, labels, texts)


STUDY = boris("m1.mp4", ("paw_lick", 0.5, 1.5)) + boris("m2.mp4", ("walk", 1, 2)).split("\n", 1)[1]
LINES = boris("m1.mp4", ("paw_lick", 0.5, 1), ("paw_lick", 1, 1.5)).splitlines()


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "one name for the observations of two videos",
            {"study.csv": STUDY},
            {"m1": "paw_lick 15-44", "m2": "walk 30-59"},
            "not:one after the other",
            videos="m1.mp4 m2.mp4",
        ),
        case(
            "a row that lost its cells stays with its observation",
            {"m1.csv": LICK + "o,x\n"},
            {},
            "m1.csv:4: time is '', expected a number from 0",
        ),
        case(
            "a queue of videos",
            {
                "study.csv": STUDY.replace("#1:m1.mp4", "#1:m1.mp4;m2.mp4").replace(
                    "#1:m2.mp4", "#1:m1.mp4;m2.mp4"
                )
            },
            {},
            "plays several videos in a row",
            videos="m1.mp4 m2.mp4",
        ),
        case(
            "rows sorted again, with a START above the STOP of its time",
            {"m1.csv": "\n".join([LINES[i] for i in (0, 1, 3, 2, 4)]) + "\n"},
            {"m1": "paw_lick 15-44"},
        ),
        case(
            "a START and its STOP at one time",
            {"m1.csv": boris("m1.mp4", ("paw_lick", 0.5, 0.5))},
            {},
            "'paw_lick' (0.5-0.5 s) covers no frame",
        ),
        case(
            "times with hours and minutes",
            {
                "m1.csv": boris("m1.mp4", *THIRDS)
                .replace(",0.000,m1", ",00:00:00.000,m1")
                .replace(",1.000,m1", ",00:00:01.000,m1")
                .replace(",2.000,m1", ",00:00:02.000,m1")
                .replace(",3.000,m1", ",00:00:03.000,m1")
            },
            {"m1": LAID_THIRDS},
        ),
        case(
            "a point event that BORIS made end a behaviour",
            {
                "m1.csv": boris("m1.mp4", ("paw_lick", 1, 2.002))
                + "o,,,3.000,Media file(s),player #1:m1.mp4,0.0,3.000,30.000,No focal subject,"
                "paw_shake,,POINT,2.003,m1.mp4,NA,NA,\n"
            },
            {"m1": "paw_lick 30-59, paw_shake 60-60"},
        ),
        case(
            "a point event after a behaviour that a person stopped",
            {
                "m1.csv": boris("m1.mp4", ("paw_lick", 1, 1.990))
                + "o,,,3.000,Media file(s),player #1:m1.mp4,0.0,3.000,30.000,No focal subject,"
                "paw_shake,,POINT,2.003,m1.mp4,NA,NA,\n"
            },
            {"m1": "paw_lick 30-58, paw_shake 60-60"},
        ),
    ],
)
def test_events_of_boris(tmp_path, videos, files, options, labels, texts):
    """Rows are grouped and paired as they were scored."""
    check(tmp_path, videos, files, options, labels, texts)


def with_times(*times, sep=","):
    """Return tabular events of a lick and a walk with their times as they are."""
    header = "Behavior,Behavior type,Time,Media file name".replace(",", sep)
    marks = (("paw_lick", "START"), ("paw_lick", "STOP"), ("walk", "START"), ("walk", "STOP"))
    rows = [sep.join([*m, t, "m1.mp4"]) for m, t in zip(marks, times, strict=True)]
    return "\n".join([header, *rows]) + "\n"


COMMAS = {"m1": "paw_lick 15-44, walk 45-74"}


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "quoted decimal commas",
            {"m1.csv": with_times('"0,500"', '"1,500"', '"1,500"', '"2,500"')},
            COMMAS,
        ),
        case(
            "decimal commas between semicolons",
            {"m1.csv": with_times("0,5", "1,500", "1,500", "2,5", sep=";")},
            COMMAS,
        ),
        case(
            "commas of thousands beside points",
            {"m1.csv": with_times("0.5", "1,500", "1,500", "2.5", sep=";")},
            {},
            "m1.csv:3: time is '1,500', expected a number from 0",
        ),
        case(
            "points of thousands beside decimal commas",
            {"m1.csv": with_times("0,5", "1.500", "1.500", "2,5", sep=";")},
            {},
            "m1.csv:3: time is '1.500', which may be 1.5 or 1500",
        ),
        case(
            "a comment does not decide",
            {
                "m1.csv": with_times("0.500", "1.500", "1.500", "2.500")
                .replace("m1.mp4\n", 'm1.mp4,"1,5"\n')
                .replace("file name\n", "file name,Comment\n")
            },
            COMMAS,
        ),
    ],
)
def test_decimal_marks(tmp_path, videos, files, options, labels, texts):
    """All numbers of a file have the same decimal mark."""
    check(tmp_path, videos, files, options, labels, texts)


NAMES = ("rest", "paw_lick", "walk")


def one_hot(first=0, step=1, stop=90, numbers="Frame", one="1", zero="0", add=None, sep=","):
    """Return a table with a column for each of three classes, each a third of the rows."""
    add = add or (lambda _: "")
    rows = [sep.join([numbers, *NAMES]) + add(-1)] if numbers else [sep.join(NAMES) + add(-1)]
    for i in range(first, stop, step):
        cells = [one if i // 30 == k else zero for k in range(3)]
        rows.append(sep.join([str(i), *cells] if numbers else cells) + add(i))
    return "\n".join(rows) + "\n"


def timed(name, scale=1 / 30):
    """Return such a table by time."""
    lines = one_hot(numbers="").splitlines()
    return "\n".join(
        [f"{name},{lines[0]}", *(f"{i * scale:.4f},{x}" for i, x in enumerate(lines[1:]))]
    )


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "nothing for 0",
            {"m1.csv": one_hot(zero="")},
            {"m1": LAID_THIRDS},
            "warning: m1.csv: has no 0: its empty cells count as 0",
        ),
        case(
            "nothing for 0, by time",
            {"m1.csv": timed("time").replace(",0", ",")},
            {"m1": LAID_THIRDS},
            "has no 0",
        ),
        case(
            "nothing beside 0",
            {"m1.csv": one_hot().replace("\n40,0,1,0", "\n40,,1,0")},
            {},
            "m1.csv:42: column 'rest': found '', expected 0, 1 or -1; fix the row",
        ),
        case(
            "remarks",
            {"m1.csv": one_hot(add=lambda i: ",Comment" if i < 0 else ",x" if i % 7 == 0 else ",")},
            {"m1": LAID_THIRDS},
        ),
        case(
            "the time as last column",
            {"m1.csv": one_hot(add=lambda i: ",Time" if i < 0 else f",{i / 30:.3f}")},
            {"m1": LAID_THIRDS},
        ),
        case(
            "the time of a copy at 25 as last column",
            {"m1.csv": one_hot(add=lambda i: ",Time" if i < 0 else f",{i / 25:.3f}")},
            {},
            "m1.csv: says that frame 89 is shown at 3.56 s",
        ),
        case(
            "a column without a name at the end",
            {"m1.csv": one_hot(numbers="", add=lambda i: ",")},
            {"m1": LAID_THIRDS},
        ),
        *(
            case(f"times in a column {name}", {"m1.csv": timed(name)}, {"m1": LAID_THIRDS})
            for name in ("timestamp", "time_s", "Time [s]", "Time (sec)")
        ),
        case(
            "rows numbered from 15, with the offset",
            {"m1.csv": one_hot(first=15)},
            {"m1": "rest 15-29, paw_lick 30-59, walk 60-89"},
            options="--label-offset 15",
        ),
        case(
            "every second frame",
            {"m1.csv": one_hot(step=2)},
            {},
            "m1.csv: has a row for only one frame in 2, expected a row for every frame; add the",
        ),
        case(
            "a frame that is missing",
            {"m1.csv": one_hot().replace("\n40,0,1,0", "")},
            {},
            "m1.csv:42: frame is '41', expected 40; fix the row",
        ),
        case(
            "a behaviour that has two columns by frame",
            {"m1.csv": "walk,paw_lick,Walk \n" + "0,0,1\n" * 90},
            {},
            "m1.csv:1: has the columns 'walk' and 'Walk', expected one per behaviour; remove",
        ),
        case(
            "a behaviour that has two columns by time",
            {"m1.csv": "time,walk,walk\n" + "".join(f"{i / 30:.3f},1,0\n" for i in range(90))},
            {},
            "m1.csv:1: has the columns 'walk' and 'walk', expected one per behaviour; remove",
        ),
    ],
)
def test_columns_of_behaviours(tmp_path, videos, files, options, labels, texts):
    """Tables by hand are read if they can mean one thing only."""
    check(tmp_path, videos, files, options, labels, texts)


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        *(
            case(f"{what} above {name}", {"m1.csv": above + text.replace(",", ";")}, labels)
            for what, above in (
                ("sep=", "sep=;\n"),
                ("a blank line", "\n"),
                ("blank cells", ";;;\n"),
                ("both", '"sep=;"\n\n'),
            )
            for name, text, labels in (
                ("labels of mpar", WHOLE_VIDEO, {"m1": LAID_THIRDS}),
                ("a table of behaviours", one_hot(), {"m1": LAID_THIRDS}),
                ("tabular events", boris("m1.mp4", *THIRDS), {"m1": LAID_THIRDS}),
                ("bouts", SIMBA + "m1,walk,1,2,30,59,1\n", {"m1": "walk 30-59"}),
            )
        ),
        case(
            "lines are counted from the top of the file",
            {"m1.csv": "sep=,\n\n" + WHOLE_VIDEO.replace("5,rest", "5,lick", 1)},
            {},
            "m1.csv:9: action 'lick' is not in the class map",
        ),
        case(
            "SimBA with blanks in its header",
            {"m1.csv": SIMBA.replace("_", " ").upper() + "m1,walk,1,2,30,59,1\n"},
            {"m1": "walk 30-59"},
        ),
        case(
            "words for nothing",
            {"m1.csv": WHOLE_VIDEO.replace("\n5,rest", "\n5,NA")},
            {},
            "m1.csv:7: action is 'NA', expected a code or a name; leave the cell empty, or write "
            "-1, if nobody scored the frame",
        ),
    ],
)
def test_what_spreadsheets_write(tmp_path, videos, files, options, labels, texts):
    """Lines above the header do not count, except in the numbers of lines."""
    check(tmp_path, videos, files, options, labels, texts)


def test_class_map_with_semicolons(tmp_path):
    """As spreadsheets of some countries write it."""
    path = tmp_path / "classes.csv"
    path.write_text("code;name;class\n0;still;rest\n1;lick left;lick\n2;lick right;lick\n")
    assert ClassMap.from_csv(path).rows == (
        (0, "still", "rest"),
        (1, "lick left", "lick"),
        (2, "lick right", "lick"),
    )


OWN_TABLES = {
    "m1_bouts.csv": "Class,First_frame,Last_frame,Frames\nwalk,0,89,90\n",
    "c.h5.problems.csv": "File,Line,Code,Problem\nm1.csv,1,cell,is short\n",
    "summary.csv": "video,fps,frames,seconds,rest_frames\nm1.mp4,30,90,3,0\n",
    "animals.csv": "\ufeffRecording;Group;Dose\nm1;CFA;1\n",
    "racks/regions.csv": "Video,Animal,X,Y,Width,Height\n*,A,0,0,32,32\n",
    "classes.csv": "code,name,class\n0,rest,rest\n",
}


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "tables without labels are passed over",
            {"m1.csv": WHOLE_VIDEO, **OWN_TABLES},
            {"m1": LAID_THIRDS},
            "warning: Annotations: contains 6 tables without labels (animals.csv, "
            "c.h5.problems.csv, classes.csv and 3 more), which mpar does not read",
            "not:problem:",
        ),
        case(
            "they are no labels of a video that has no others",
            {"m1_bouts.csv": OWN_TABLES["m1_bouts.csv"]},
            {},
            "contains 1 table without labels (m1_bouts.csv)",
            "m1.mp4: has no labels",
        ),
        case(
            "a label file may have their columns too",
            {
                "m1.csv": WHOLE_VIDEO.replace("Frame,", "Recording,Group,Frame,").replace(
                    "\n", "\nm,g,", 90
                )
            },
            {"m1": LAID_THIRDS},
            "not:tables without labels",
        ),
        case(
            "a prediction does not outvote a person whose name comes later",
            {"m1_zoe.csv": WHOLE_VIDEO, "m1_predictions.csv": by_frame(*["active"] * 90)},
            {"m1": LAID_THIRDS},
            "warning: m1_zoe.csv: mpar ignores m1_predictions.csv, which is a prediction; if a "
            "person corrected it, rename it",
            "not:annotators (",
        ),
        case(
            "a prediction alone may be corrected",
            {"m1_predictions.csv": WHOLE_VIDEO},
            {"m1": LAID_THIRDS},
            "not:not read",
        ),
    ],
)
def test_what_mpar_wrote_beside_labels(tmp_path, videos, files, options, labels, texts):
    """Many labs keep videos, labels and results in one folder."""
    check(tmp_path, videos, files, options, labels, texts)


OUT_OF_ORDER = project(events=(("x", "paw_lick"), (1.5, "paw_lick")))
PLAYER_2 = project().replace(
    '"file": {"1": ["/films/m1.mp4"]}', '"file": {"1": [], "2": ["m1.mp4"]}'
)
LIVE = LICK.replace("Media file(s)", "Live").replace("m1.mp4", "NA").replace("\no,", "\nlive,")


@pytest.mark.parametrize(
    ("videos", "files", "options", "labels", "texts"),
    [
        case(
            "an event without a time",
            {"m1.boris": OUT_OF_ORDER},
            {},
            "m1.boris: observation 'o': 'paw_lick' has the time 'x', expected seconds; fix the",
        ),
        case("the only video is player 2", {"p.boris": PLAYER_2}, {"m1": "paw_lick 15-44"}),
        case(
            "a list instead of a project",
            {"m1.boris": "[1,2]"},
            {},
            "m1.boris: cannot be read as a BORIS project; save it with BORIS 7 or newer",
        ),
        case(
            "a table instead of a project",
            {"m1.boris": LICK},
            {},
            "m1.boris: cannot be read as a BORIS project",
        ),
        case(
            "a live observation beside one of a video",
            {"s.csv": LICK + LIVE.split("\n", 1)[1]},
            {"m1": "paw_lick 15-44"},
            "observation 'live' is not of a video (Live); score the video, or remove it",
            "not:'NA'",
        ),
        case(
            "times of minutes and seconds",
            {"m1.csv": LICK.replace("0.500,m1", "00:00.5,m1").replace("1.500,m1", "00:01.5,m1")},
            {"m1": "paw_lick 15-44"},
        ),
        case(
            "time codes",
            {
                "m1.csv": LICK.replace("0.500,m1", "00:00:00:15,m1").replace(
                    "1.500,m1", "00:00:01:15,m1"
                )
            },
            {},
            "m1.csv:2: time is written with colons, expected seconds, minutes:seconds or "
            "hours:minutes:seconds such as 00:01:30.5; export it in seconds (2 such rows)",
        ),
        case(
            "a time that cannot be read, whose START then lacks its STOP",
            {"m1.csv": LICK.replace("1.500,m1", "NA,m1")},
            {},
            "1 problem:",
            "m1.csv:3: time is 'NA', expected a number from 0; fix the row",
        ),
        case(
            "nobody scored a frame",
            {"m1.csv": by_frame(*[""] * 90)},
            {"m1": ""},
            "warning: m1.mp4: its recording m1 has no labelled frame",
        ),
        case(
            "predictions of every third frame without their json",
            {
                "m1_predictions.csv": "Frame,Action\n"
                + "".join(f"{i},walk\n" for i in range(0, 90, 3))
            },
            {},
            "has a row for only one frame in 3, like predictions with --stride, which need "
            "m1_predictions.json next to them",
        ),
        case(
            "short trials",
            {"m1_1.csv": by_frame(*["rest"] * 35), "m1_2.csv": by_frame(*["walk"] * 35)},
            {},
            "if they are trials that each lost their first 10 frames, pass --several trials "
            "--label-offset 10",
        ),
        case(
            "rows numbered from 15",
            {"m1.csv": "\n".join(["Frame,Action", *WHOLE_VIDEO.splitlines()[16:]]) + "\n"},
            {},
            "(its Frame column starts at 15); pass --label-offset 15",
            "not:copy",
        ),
    ],
)
def test_messages_that_lead_on(tmp_path, videos, files, options, labels, texts):
    """Each names what is wrong where, and what to do."""
    check(tmp_path, videos, files, options, labels, texts)


@pytest.mark.parametrize(
    ("mark", "delimiter", "first"),
    [
        pytest.param(",", ";", "1002: its frame is '1,000'", id="comma"),
        # 1.000 may be frame 1, as spreadsheets write 1
        pytest.param(".", ",", "1003: its frame is '1.001'", id="point"),
    ],
)
def test_frames_with_a_mark_for_thousands(tmp_path, mark, delimiter, first):
    """One problem says it, not each row from 1,000 on."""

    def make(folder):
        film(folder, "m1.mp4")
        rows = [f"{i:,}".replace(",", mark) + f"{delimiter}rest\n" for i in range(1100)]
        write(folder, "m1.csv", f"Frame{delimiter}Action\n" + "".join(rows))

    output = preprocessed(tmp_path, make)
    assert output.count("m1.csv:") == 1
    assert (
        f"m1.csv:{first}, as with a thousands separator, expected whole numbers from 0; "
        "format the column without it"
    ) in output


@pytest.mark.parametrize(("name", "codec"), [("m1.mkv", "libx264"), ("m1.avi", "mjpeg")])
def test_labels_of_a_video_that_was_cut(tmp_path, name, codec):
    """The video that breaks off is to blame, not a copy at another rate."""

    def make(folder):
        path = folder / "Videos" / name
        write_video(path, draw_frame_numbers(90), fps=30, codec=codec)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        write(folder, "m1.csv", WHOLE_VIDEO)

    output = preprocessed(tmp_path, make)
    assert "m1.csv: found 90 rows, expected " in output
    assert re.search(
        rf"{name}: yields \d+ frames but its header announces 90; it may be cut short", output
    )


def test_a_table_that_is_not_utf8_may_hold_all_labels(tmp_path):
    """The video without labels names the file that has to be mended first."""

    def make(folder):
        film(folder, "Mäus.mp4")
        text = boris("Mäus.mp4", *THIRDS)
        (folder / "Annotations" / "all.csv").write_bytes(text.encode("latin-1"))

    output = preprocessed(tmp_path, make)
    assert "all.csv:2: is not UTF-8 text; save it as 'CSV UTF-8'" in output
    assert "Mäus.mp4: has no labels, expected Mäus.csv or Mäus_*.csv; fix all.csv, or" in output


def test_a_table_behind_a_video_whose_rate_varies(tmp_path):
    """A table without a row inside the video is none of it, however the video counts time."""

    def make(folder):
        film_of_two_rates(folder / "Videos" / "m1.mkv")
        write(folder, "m1.csv", by_time(12 + i / 30 for i in range(150)))

    output = preprocessed(tmp_path, make)
    assert "m1.csv: starts at 12 s, after the end of its video (5.000 s)" in output
    assert read_labels(tmp_path / "c.h5") == {}
