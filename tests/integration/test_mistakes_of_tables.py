"""Mistakes in tables: marks, columns, spreadsheets, and what mpar wrote itself."""

from __future__ import annotations

import re

import pytest

from mpar.labels.classes import ClassMap
from tests.fixtures.mistakes import LICK, SIMBA, WHOLE_VIDEO, by_time, case, check, project
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
