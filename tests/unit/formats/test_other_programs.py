"""Labels of ELAN, CowLog, JABS, Label Studio and FERAL, and ways out for files of other programs.

The files are written here after the programs' own sources and documentation.
"""

from __future__ import annotations

import json

import pytest

from tests.fixtures.mistakes import check
from tests.integration.test_lab_inputs import LAID_THIRDS, film, preprocessed, read_labels, write

UNSCORED = ["--unscored", "rest"]
BOUTS = ("rest", 0, 1), ("paw_lick", 1, 2), ("walk", 2, 3)


def case(id, files, labels, *texts, options=""):
    return pytest.param(files, options.split(), labels, texts, id=id)


def clock(seconds):
    return f"00:00:{seconds:06.3f}"


def elan_text(*tiers, formats=(clock, "{:.3f}".format), parts=3, head=""):
    """Return ELAN's default export: tier, participant, begin, end, duration, annotation."""
    rows = [
        [
            name,
            "",
            *(form(t) for t in (start, stop, stop - start)[:parts] for form in formats),
            what,
        ]
        for name in tiers or ("behaviour",)
        for what, start, stop in BOUTS
    ]
    return head + "".join("\t".join(row) + "\n" for row in rows)


def eaf(*tiers, media="file:///C:/v/m1.mp4", more="", units="milliseconds", origin=""):
    """Return an annotation document: a tier is (name, [(text, start, stop)])."""
    slots, body, count = "", "", 0
    for name, bouts in tiers or (("behaviour", BOUTS),):
        body += f'<TIER LINGUISTIC_TYPE_REF="d" TIER_ID="{name}">'
        for what, start, stop in bouts:
            count += 2
            slots += "".join(
                f'<TIME_SLOT TIME_SLOT_ID="ts{count + i}" TIME_VALUE="{round(1000 * time)}"/>'
                for i, time in enumerate((start, stop))
            )
            body += (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{count}" TIME_SLOT_REF1='
                f'"ts{count}" TIME_SLOT_REF2="ts{count + 1}"><ANNOTATION_VALUE>{what}'
                "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        body += "</TIER>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{more}<ANNOTATION_DOCUMENT FORMAT="3.0">'
        f'<HEADER MEDIA_FILE="" TIME_UNITS="{units}"><MEDIA_DESCRIPTOR MEDIA_URL="{media}" '
        f"{origin}/></HEADER><TIME_ORDER>{slots}</TIME_ORDER>{body}</ANNOTATION_DOCUMENT>"
    )


_MEDIUM = '/><MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/v/{}" TIME_ORIGIN="{}" '
BEHIND_SOUND = _MEDIUM.format("m1.mp4", "{}")  # with m1.wav as the first medium
OTHER_SHIFTED = _MEDIUM.format("other.mp4", 70)
SOUND_HEAD = '"#file:///C:/v/m1.wav -- offset: 0"\n'
CHILD = (
    '<TIER TIER_ID="child" PARENT_REF="behaviour"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="c"'
    ' ANNOTATION_REF="a4"><ANNOTATION_VALUE>flinch</ANNOTATION_VALUE></REF_ANNOTATION>'
    "</ANNOTATION></TIER></ANNOTATION_DOCUMENT>"
)
WITH_CHILD = eaf().replace("</ANNOTATION_DOCUMENT>", CHILD)
HEADED = "Tier,Begin Time - hh:mm:ss.ms,End Time - hh:mm:ss.ms,Annotation\n" + "".join(
    f"behaviour,{clock(i)},{clock(j)},{what}\n" for what, i, j in BOUTS
)
MILLISECONDS = "Tier,Begin Time - msec,End Time - msec,Annotation\n" + "".join(
    f"behaviour,{1000 * i},{1000 * j},{what}\n" for what, i, j in BOUTS
)
WIDE = (
    "Begin Time - ss.msec\tEnd Time - ss.msec\tDuration - ss.msec\tpain\tother\n"
    "0.5\t1.5\t1.0\tpaw_lick\t\n2.0\t3.0\t1.0\t\twalk\n"
)
BOMB = '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]>\n'


@pytest.mark.parametrize(
    ("files", "options", "labels", "texts"),
    [
        case("a document", {"m1.eaf": eaf()}, {"m1": LAID_THIRDS}),
        case("a document that names its video", {"s.eaf": eaf()}, {"m1": LAID_THIRDS}),
        case("text", {"m1.txt": elan_text()}, {"m1": LAID_THIRDS}),
        case("text as .tsv", {"m1.tsv": elan_text()}, {"m1": LAID_THIRDS}),
        case(
            "text without durations, in milliseconds, too",
            {"m1.txt": elan_text(formats=(clock, lambda t: f"{1000 * t}"), parts=2)},
            {"m1": LAID_THIRDS},
        ),
        case(
            "text with the media above",
            {"s.txt": elan_text(head='"#file:///C:/v/m1.mp4 -- offset: 0"\n')},
            {"m1": LAID_THIRDS},
        ),
        case(
            "text without names of tiers",
            {"m1.txt": "".join(line[11:] for line in elan_text().splitlines(keepends=True))},
            {"m1": LAID_THIRDS},
        ),
        case(
            "text in plain seconds",
            {"m1.txt": elan_text(formats=("{:.3f}".format,))},
            {"m1": LAID_THIRDS},
        ),
        case(
            "text whose numbers may be anything",
            {"m1.txt": elan_text(formats=("{:.3f}".format,), parts=2)},
            {},
            "1 .txt file is not read (m1.txt)",
        ),
        case("CSV with clocks", {"m1.csv": HEADED}, {"m1": LAID_THIRDS}),
        case("CSV with milliseconds", {"m1.csv": MILLISECONDS}, {"m1": LAID_THIRDS}),
        case(
            "a column for each tier",
            {"m1.txt": WIDE},
            {"m1": "paw_lick 15-44"},
            options="--channel pain",
        ),
        case(
            "two tiers",
            {"m1.eaf": eaf(("left", BOUTS), ("right", [("walk", 0, 3)]))},
            {},
            "m1.eaf: has annotations in the tiers left, right, expected one tier; choose one with "
            "--channel, for instance --channel 'left'",
        ),
        case(
            "one of two tiers",
            {"m1.txt": elan_text("left", "right")},
            {"m1": LAID_THIRDS},
            options="--channel right",
        ),
        case(
            "a tier with the times of another",
            {"m1.eaf": WITH_CHILD},
            {"m1": "paw_withdraw 30-59"},
            options="--channel child",
        ),
        case(
            "a tier beside one without times",
            {"m1.eaf": eaf(("t", BOUTS), ("u", [("", 0, 1)]))},
            {"m1": LAID_THIRDS},
            options="--channel t",
        ),
        case(
            "a tier without times",
            {"m1.eaf": eaf().replace(' TIME_VALUE="1000"', "")},
            {},
            "m1.eaf: annotation 'rest' of tier 'behaviour' has no times of its own; set them in",
        ),
        case(
            "a tier that is not there",
            {"m1.eaf": eaf()},
            {},
            "m1.eaf: has the tiers behaviour, expected 'x'; choose another --channel",
            options="--channel x",
        ),
        case("entities", {"m1.eaf": eaf(more=BOMB)}, {}, "m1.eaf: declares a document type or"),
        case("cut short", {"m1.eaf": eaf()[:400]}, {}, "m1.eaf:2: is not well-formed XML; open"),
        case(
            "units of frames",
            {"m1.eaf": eaf(units="PAL-frames")},
            {},
            "m1.eaf: has times in PAL-frames, expected milliseconds",
        ),
        case(
            "a shifted video",
            {"m1.eaf": eaf(origin='TIME_ORIGIN="1500"')},
            {},
            "m1.eaf: shifts its video by 1500 ms, expected 0",
        ),
        case(
            "a shifted video behind a sound",
            {"m1.eaf": eaf(media="m1.wav", origin=BEHIND_SOUND.format(40))},
            {},
            "m1.eaf: shifts its video by 40 ms, expected 0",
        ),
        case(
            "a shifted video behind a sound, as text",
            {"m1.txt": elan_text(head=SOUND_HEAD + '"#file:///C:/v/m1.mp4 -- offset: 40"\n')},
            {},
            "m1.txt: shifts its video by 40 ms, expected 0",
        ),
        case(
            "a video behind a sound, and a shifted one behind it",
            {"m1.eaf": eaf(media="m1.wav", origin=BEHIND_SOUND.format(0) + OTHER_SHIFTED)},
            {"m1": LAID_THIRDS},
        ),
        case(
            "an annotation without text",
            {"m1.eaf": eaf(("t", [("", 0, 1)]))},
            {},
            "m1.eaf: tier 't' has an annotation without text at 0 s; name its behaviour",
        ),
        case(
            "a name that is no behaviour",
            {"m1.eaf": eaf(("t", [("grooming", 0, 1)]))},
            {},
            "m1.eaf: found behaviours without a class: 'grooming'",
        ),
    ],
)
def test_elan(tmp_path, files, options, labels, texts):
    """Documents, text and CSV give the same labels; a tier is chosen, never guessed."""
    check(tmp_path, ["m1.mp4"], files, options, labels, texts)


COWLOG = "time,code,class\n0.0,rest,1\n1.0,paw_lick,1\n2.0,walk,1\n"
OLD_COWLOG = "Time Code Class\n0 rest 1\r\n1 paw_lick 1\r\n2 walk 1\r\n"
TWO_CLASSES = "time,code,class\n0,rest,1\n0.5,paw_lick,2\n1,walk,1\n3,END,0\n"


@pytest.mark.parametrize(
    ("files", "options", "labels", "texts"),
    [
        case("with commas", {"m1.csv": COWLOG + "3.0,END,0\n"}, {"m1": LAID_THIRDS}),
        case("with blanks", {"m1.txt": OLD_COWLOG + "3 END\r\n"}, {"m1": LAID_THIRDS}),
        case(
            "ended early",
            {"m1.csv": COWLOG + "2.5,END,0\n"},
            {"m1": "rest 0-29, paw_lick 30-59, walk 60-74"},
            options="--unscored rest",
        ),
        case(
            "a key twice, and one corrected at once",
            {"m1.csv": "time,code,class\n0,rest,1\n1,walk,1\n1,rest,1\n1.5,rest,1\n3,END,0\n"},
            {"m1": "rest 0-89"},
        ),
        case(
            "without END",
            {"m1.csv": COWLOG},
            {},
            "m1.csv:4: has no END after its last behaviour, which may have lasted to any time",
        ),
        case(
            "two classes",
            {"m1.csv": TWO_CLASSES},
            {},
            "m1.csv: has behaviours of the CowLog classes 1, 2, which go on at the same time",
        ),
        case(
            "one of two classes",
            {"m1.csv": TWO_CLASSES},
            {"m1": "paw_lick 15-89"},
            options="--channel 2",
        ),
        case(
            "with modifiers",
            {"m1.csv": "time,class1,class2\n0,rest,\n1,paw_lick,left\n"},
            {},
            "it looks like a file of CowLog with modifiers; write its bouts as a table",
        ),
    ],
)
def test_cowlog(tmp_path, files, options, labels, texts):
    """A behaviour lasts until the next one of its class, or END."""
    check(tmp_path, ["m1.mp4"], files, options, labels, texts)


def blocks(*spans):
    return [{"start": i, "end": j, "present": present} for i, j, present in spans]


def jabs(labels, num_frames=90, **more):
    data = {"file": "m1.mp4", "num_frames": num_frames, "labels": labels, "version": 1}
    return json.dumps({**data, **more})


LICKED = blocks((30, 59, True), (0, 29, False))
JABS = jabs({"0": {"paw_lick": LICKED}})
TWO = jabs({"0": {"paw_lick": LICKED, "walk": blocks((60, 69, True), (0, 14, False))}})
MASKED = jabs(
    {"0": {"paw_lick": blocks((30, 39, True))}},
    unfragmented_labels={"0": {"paw_lick": blocks((30, 59, True))}},
)
ANIMALS = jabs(
    {"0": {"paw_lick": LICKED}, "1": {"walk": blocks((0, 9, True))}},
    external_identities={"0": "A", "1": "B"},
)


@pytest.mark.parametrize(
    ("files", "options", "labels", "texts"),
    [
        case("a behaviour", {"m1.json": JABS}, {"m1": "paw_lick 30-59"}),
        case(
            "known absent",
            {"x.json": JABS},
            {"m1": "rest 0-29, paw_lick 30-59"},
            options="--unscored rest",
        ),
        case(
            "two behaviours: only where both are known absent",
            {"m1.json": TWO},
            {"m1": "rest 0-14, paw_lick 30-59, walk 60-69"},
            options="--unscored rest",
        ),
        case("labels where the pose was lost", {"m1.json": MASKED}, {"m1": "paw_lick 30-59"}),
        case(
            "an animal without labels",
            {"m1.json": jabs({"0": {"paw_lick": LICKED}, "1": {"walk": []}})},
            {"m1": "paw_lick 30-59"},
        ),
        case("two animals", {"m1.json": ANIMALS}, {}, "scores the subjects 'A', 'B' of one video"),
        case(
            "frames of another video",
            {"m1.json": jabs({"0": {"paw_lick": LICKED}}, num_frames=180)},
            {},
            "m1.json: is scored up to frame 180 (which would fit 60 frames per second), ",
        ),
        case(
            "frames after the last",
            {"m1.json": jabs({"0": {"paw_lick": blocks((80, 95, True))}})},
            {},
            "m1.json: 'paw_lick' has the frames 80-95, expected frames from 0 to 89",
        ),
        case("no labels", {"m1.json": jabs({})}, {}, "is of JABS and holds no label; score it"),
        case(
            "a number of frames that no video has",
            {"m1.json": jabs({"0": {"paw_lick": LICKED}}, num_frames=10**12)},
            {},
            "cannot be read as a label file of JABS",
        ),
        case("damaged", {"m1.json": JABS[:80]}, {}, "cannot be read as a label file of JABS"),
    ],
)
def test_jabs(tmp_path, files, options, labels, texts):
    """Marked frames count; only frames where every behaviour is marked absent have none."""
    check(tmp_path, ["m1.mp4"], files, options, labels, texts)


def task(*people, video="/data/upload/1/1a2b3c4d-m1.mp4"):
    """Return a task with the labels of each person: (name, first frame, last frame), from 1."""
    annotations = [
        {
            "completed_by": number,
            "result": [
                {
                    "type": "timelinelabels",
                    "value": {"ranges": [{"start": i, "end": j}], "timelinelabels": [name]},
                }
                for name, i, j in spans
            ],
        }
        for number, spans in enumerate(people, start=1)
    ]
    return {"id": 1, "data": {"video": video}, "annotations": annotations}


SPANS = [("rest", 1, 30), ("paw_lick", 31, 60), ("walk", 61, 90)]
SHORT = [
    {
        "video": "/data/local-files/?d=films/m1.mp4",
        "annotator": 1,
        "id": 1,
        "tricks": [
            {"ranges": [{"start": i, "end": j}], "timelinelabels": [n]} for n, i, j in SPANS
        ],
    }
]
CANCELLED = task(SPANS, [("walk", 1, 90)])
CANCELLED["annotations"][1]["was_cancelled"] = True
CHOICES = [
    {"id": 1, "data": {"video": "m1.mp4"}, "annotations": [{"result": [{"type": "choices"}]}]}
]


@pytest.mark.parametrize(
    ("files", "options", "labels", "texts"),
    [
        case(
            "a task",
            {"project-1.json": json.dumps([task(SPANS)])},
            {"m1": LAID_THIRDS},
            "warning: project-1.json: is of Label Studio, which counts frames at the frame rate",
        ),
        case("the short form", {"p.json": json.dumps(SHORT)}, {"m1": LAID_THIRDS}),
        case("one that was cancelled", {"p.json": json.dumps([CANCELLED])}, {"m1": LAID_THIRDS}),
        case(
            "two people",
            {"p.json": json.dumps([task(SPANS, [("paw_lick", 31, 75), ("walk", 76, 90)])])},
            {"m1": LAID_THIRDS},
            "has 2 annotators (1, 2)",
        ),
        case(
            "no frame 0",
            {"p.json": json.dumps([task([("walk", 0, 3)])])},
            {},
            "p.json: task 1: ['walk'] has the frames 0-3, expected numbers from 1",
        ),
        case(
            "two labels in a frame",
            {"p.json": json.dumps([task([("walk", 1, 9), ("rest", 9, 20)])])},
            {},
            "p.json: 'rest' (frames 8-19) overlaps 'walk' (frames 0-8) in frame 8",
        ),
        case(
            "a CSV export",
            {"m1.csv": "annotation_id,annotator,id,lead_time,tricks,video\n1,1,1,2,x,m1.mp4\n"},
            {},
            "it looks like a CSV of Label Studio; export the project as JSON",
        ),
        case(
            "no time line",
            {"m1.json": json.dumps(CHOICES)},
            {},
            "1 .json file is not read (m1.json): a file of Label Studio without labels on the time",
        ),
    ],
)
def test_label_studio(tmp_path, files, options, labels, texts):
    """Frames count from 1, the last one included; each annotation is a scoring."""
    check(tmp_path, ["m1.mp4"], files, options, labels, texts)


def feral(labels, **more):
    names = {"0": "rest", "1": "paw_lick"}
    return json.dumps({"class_names": names, "labels": {"m1.mp4": labels}, **more})


@pytest.mark.parametrize(
    ("files", "options", "labels", "texts"),
    [
        case(
            "numbers of classes",
            {"labels.json": feral([0] * 30 + [1] * 30 + [0] * 30)},
            {"m1": "rest 0-29, paw_lick 30-59, rest 60-89"},
        ),
        case("a short one", {"l.json": feral([0] * 80)}, {}, "l.json: found 80 rows, expected 90"),
        case("an unknown number", {"l.json": feral([2] * 90)}, {}, "has the labels [2], expected"),
        case(
            "several labels a frame",
            {"l.json": feral([[0]] * 90, is_multilabel=True)},
            {},
            "l.json: has several labels a frame (is_multilabel), expected one",
        ),
    ],
)
def test_feral(tmp_path, files, options, labels, texts):
    """A number for each frame."""
    check(tmp_path, ["m1.mp4"], files, options, labels, texts)


VIA = "# Exported using VGG Image Annotator\n# CSV_HEADER = metadata_id,file_list,flags\n1,m1,0\n"
TARGETS = ",Nose_x,Nose_y,Nose_p,Probability_walk,walk\n" + "".join(
    f"{i},1.5,2.5,0.9,0.1,{int(i < 45)}\n" for i in range(90)
)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m1.csv", VIA, "a file of the VGG Image Annotator (VIA); write its bouts as a table"),
        ("m1.csv", TARGETS, "a table of poses with behaviours, such as SimBA's targets_inserted"),
        ("m1.csv", "behavior,start_frame,end_frame\nwalk,0,9\n", "Event, Start_frame and End_f"),
        ("m1.csv", "Verhalten,Start,Ende\nwalk,0,9\n", "a table of bouts; write its bouts as a"),
        ("m1.dat", "FirstLineOfData=5\n#---\n0, r\n", "a file of JWatcher; write its bouts as"),
        (
            "m1.xml",
            '<?xml version="1.0"?>\n<annotations><version>1.1</version><track id="0"/>',
            "a file of CVAT; write its bouts as",
        ),
        ("m1.txt", "met the mouse at noon\n", "1 .txt file is not read (m1.txt)\n"),
        ("m1.json", "{}", "1 .json file is not read (m1.json)\n"),
    ],
)
def test_files_that_are_not_read_are_named(tmp_path, name, text, message):
    """The program is named if the content shows it, with a way out; else nothing is guessed."""

    def make(folder):
        film(folder, "m1.mp4")
        write(folder, name, text)

    output = preprocessed(tmp_path, make)
    assert read_labels(tmp_path / "c.h5") == {}
    assert message in output
    assert "BORIS" not in output.replace("BORIS export", "")


@pytest.mark.parametrize(
    "text",
    [
        "Behavior,Start (s),Stop (s)\nrest,0,1\npaw_lick,00:00:01,00:02\nwalk,2,3\n",
        "Event,Start_frame,End_frame\nrest,0,29\npaw_lick,30,59\nwalk,60,89\n",
        ",rest,paw_lick,walk\n"
        + "".join(f"{i},{int(i < 30)},{int(30 <= i < 60)},{int(i >= 60)}\n" for i in range(90)),
    ],
)
def test_the_ways_out_work(tmp_path, text):
    """The tables that messages ask for are read."""

    def make(folder):
        film(folder, "m1.mp4")
        write(folder, "m1.csv", text)

    output = preprocessed(tmp_path, make)
    assert read_labels(tmp_path / "c.h5") == {"m1": LAID_THIRDS}, output


def test_records_of_mpar_are_no_labels(tmp_path):
    """JSON files that mpar writes beside labels are passed over, whatever they contain."""
    record = {"mpar_version": "0.1.0", "file": "m1.mp4", "num_frames": 90, "labels": {"0": {}}}

    def make(folder):
        film(folder, "m1.mp4")
        write(folder, "m1.json", json.dumps(record))
        write(folder, "m1.csv", "Frame,Action\n" + "".join(f"{i},walk\n" for i in range(90)))

    output = preprocessed(tmp_path, make)
    assert read_labels(tmp_path / "c.h5") == {"m1": "walk 0-89"}
    assert "m1.json" not in output
