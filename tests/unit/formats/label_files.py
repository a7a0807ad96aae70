"""Label files of other programs, as strings, and how tests read them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from mpar.aligning.laying import events_to_frames
from mpar.errors import InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.matching.label_options import LabelOptions
from mpar.matching.pairing import assign_label_files
from mpar.video.timeline import TimeLine

NAMES = DEFAULT_CLASS_MAP.class_names


VIDEO = Path("m1.mp4")


NTSC = Fraction(30000, 1001)


RATES = [Fraction(r) for r in (15, 24, 25, 30, 50, 60, 100, 120)] + [
    NTSC,
    Fraction(24000, 1001),
    Fraction(60000, 1001),
    Fraction(15237, 508),  # as a camera that keeps its own time
]


V8 = """\
Observation id,Observation date,Description,Observation duration,Observation type,Source,\
Time offset (s),Media duration (s),FPS,dose,Subject,Behavior,Behavioral category,Modifier #1,\
Behavior type,Time,Media file name,Image index,Image file path,Comment
obs 1,2024-05-01 10:00:00,,10.0,Media file(s),player #1:C:\\videos\\m1.mp4,0.0,10.000,30.000,3,\
No focal subject,paw_lick,pain,,START,1.000,C:\\videos\\m1.mp4,30,NA,
obs 1,2024-05-01 10:00:00,,10.0,Media file(s),player #1:C:\\videos\\m1.mp4,0.0,10.000,30.000,3,\
No focal subject,paw_lick,pain,,STOP,1.100,C:\\videos\\m1.mp4,33,NA,"off, at last"
obs 1,2024-05-01 10:00:00,,10.0,Media file(s),player #1:C:\\videos\\m1.mp4,0.0,10.000,30.000,3,\
No focal subject,flinch,pain,,POINT,2.000,C:\\videos\\m1.mp4,NA,NA,
"""


V7 = """\
Observation id\tobs 1

Media file(s)

Player #1\t/data/m1.mp4

Observation date\t2019-05-01 10:00:00

Description\t"a line
and another"

Time offset (s)\t0.0

Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus
1.0\t/data/m1.mp4\t10.0\t30.0\t\tpaw_lick\t\t\tSTART
1.1\t/data/m1.mp4\t10.0\t30.0\t\tpaw_lick\t\t\tSTOP
2.0\t/data/m1.mp4\t10.0\t30.0\t\tflinch\t\t\tPOINT
"""


BINARY = "time\tpaw_lick\tflinch\n" + "".join(
    f"{i * 33 / 1000:.3f}\t{int(1.0 <= i * 0.033 < 1.1)}\t{int(2.0 <= i * 0.033 < 2.033)}\n"
    for i in range(304)
)


PROJECT = json.dumps(
    {
        "time_format": "hh:mm:ss",
        "project_format_version": "7.0",
        "behaviors_conf": {
            "0": {"type": "State event", "code": "paw_lick", "key": "l"},
            "1": {"type": "Point event", "code": "flinch", "key": "f"},
        },
        "subjects_conf": {},
        "observations": {
            "obs 1": {
                "file": {"1": ["/data/m1.mp4"], "2": []},
                "type": "MEDIA",
                "time offset": 0.0,
                "events": [
                    [1.1, "", "paw_lick", "", "", 33],
                    [1.0, "", "paw_lick", "", "", 30],
                    [2.0, "", "flinch", "", "", "NA"],
                ],
                "observation time interval": [0, 0],
                "media_info": {"length": {"/data/m1.mp4": 10.0}, "fps": {"/data/m1.mp4": 30.0}},
            },
            "not scored yet": {"file": {"1": ["m9.mp4"]}, "type": "MEDIA", "events": []},
        },
    }
)


SIMBA = """\
,Video,Event,Start_time,End Time,Start_frame,End_frame,Bout_time
0,m1,paw_lick,1.0,1.1,30,32,0.1
1,m1,flinch,2.0,2.033333,60,60,0.033333
"""


ANNOT = """\
Bento annotation file
Movie file(s): m1.mp4

Stimulus name:
Annotation start frame: 1
Annotation stop frame: 300
Annotation framerate: 30.000000

List of channels:
Ch1

List of annotations:
paw_lick
flinch

Ch1----------
>paw_lick
Start\tStop\tDuration
31\t33\t3

>flinch
Start\tStop\tDuration
61\t61\t1


"""


ANNOT_SECONDS = ANNOT.replace("31\t33\t3", "1.03333333333\t1.1\t0.1").replace(
    "61\t61\t1", "2.03333333333\t2.03333333333\t0.0333333333333"
)


DEEPETHOGRAM = ",background,paw_lick,flinch\n" + "".join(
    f"{i},{int(not 30 <= i < 33 and i != 60)},{int(30 <= i < 33)},{int(i == 60)}\n"
    for i in range(300)
)


EXPECTED = np.full(300, -1)


EXPECTED[30:33], EXPECTED[60] = 2, 5  # codes


def put(folder, text, name="m1.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read(path, *, num_frames=300, fps=Fraction(30), video=VIDEO, **options):
    """Read and lay one file about one video."""
    options = LabelOptions(**options)
    (source,), problems = assign_label_files([path], [video], DEFAULT_CLASS_MAP, options)
    if not source.labels:
        raise InputError(problems + source.problems)
    line = TimeLine(num_frames, fps)
    (annotation,) = events_to_frames(source.labels, DEFAULT_CLASS_MAP, line, options)
    first = int(annotation.frames[0])  # rows may count from 1
    assert annotation.frames.tolist() == list(range(first, first + len(annotation.codes)))
    return annotation


def problems_of(path, **options):
    with pytest.raises(InputError) as caught:
        read(path, **options)
    return str(caught.value)


def random_labels(draw, low=-1):
    num_frames = draw(st.integers(1, 200))
    changes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=200))
    seed = draw(st.integers(0, 2**32 - 1))
    runs = np.random.default_rng(seed).integers(low, len(NAMES), len(changes))
    labels = np.repeat(runs, changes)
    return np.resize(labels, num_frames).astype(np.int8)


@st.composite
def labelled(draw):
    return random_labels(draw), draw(st.sampled_from(RATES))


def row(time, behaviour, mark, video="m1.mp4", observation="o", subject="", offset="0.0"):
    return f"{observation},{offset},{subject},{behaviour},{mark},{time},{video}\n"


HEADER = "Observation id,Time offset (s),Subject,Behavior,Behavior type,Time,Media file name\n"


FACTS = (
    "Observation id,Media duration (s),FPS,Subject,Behavior,Behavior type,Time,Media file name,"
    "Image index\n"
)


def fact(time, mark, *, seconds="10.0", fps="30.0", index="NA", subject="", behaviour="walk"):
    return f"o,{seconds},{fps},{subject},{behaviour},{mark},{time},m1.mp4,{index}\n"


def walk(**facts):
    """Return the events of a walk in frames 30-59."""
    return FACTS + fact(1, "START", **facts) + fact(2, "STOP", **facts)
