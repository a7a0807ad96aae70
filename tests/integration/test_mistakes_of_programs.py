"""Mistakes in files of other programs."""

from __future__ import annotations

import pytest

from tests.fixtures.mistakes import LICK, SIMBA, by_time, case, check, project
from tests.integration.test_lab_inputs import (
    LAID_THIRDS,
    THIRDS,
    boris,
)

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
