"""Animals, groups and onsets from the metadata of the user."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from mpar.errors import InputError
from mpar.scores.comparison import SAME_ANIMAL
from tests.fixtures.helpers import put_prediction, raises_problem
from tests.unit.assay.tables import NAMES, read_rows, summarize


def test_names_of_the_lab_do_not_hide_results(predictions):
    """Groups and columns that are called like results stand beside them; one is refused."""
    names = ("Window", "Class", "Row")
    rows = "\n".join(f"m{i},{name},7" for i, name in enumerate(names, 1))
    text = f"Recording,group,paw_lick_time_s_whole\n{rows}\n"
    report = summarize(predictions, text, wide=True)
    (wide,) = (path for path in report.paths if path.name == "wide.csv")
    found = read_rows(wide)
    assert [row["paw_lick_time_s_whole"] for row in found] == ["7"] * 3
    assert [float(row["paw_lick_time_s_whole_2"]) for row in found] == pytest.approx([0.3] * 3)
    (row,) = (
        row
        for row in read_rows(wide.with_name("prism_time_s.csv"))
        if (row["Window"], row["Class"]) == ("whole", "paw_lick")
    )
    assert [float(row[f"group {name}"]) for name in names] == pytest.approx([0.3] * 3)


def test_metadata_column_recordings_is_refused(predictions):
    """Wide.csv counts the recordings of an animal in a column of that name."""
    with raises_problem("columns"):
        summarize(predictions, "Recording,Recordings\nm1,3\n", wide=True)


def test_without_metadata(predictions):
    """Each recording is an animal, all form one group, and a warning names different lengths."""
    report = summarize(predictions, bin_length="1s")
    assert (report.num_animals, report.groups) == (3, ("all",))
    assert report.warnings == (
        "recordings last 2.0 to 4.0 s, so seconds and counts of 'whole' are not comparable; "
        "compare percent and rates, or pass --window",
        "1 of 3 recordings do not fill the window '2-3 s'; group means leave them out",
        "1 of 3 recordings do not fill the window '3-4 s'; group means leave them out",
    )
    rows = read_rows(predictions.parent / "s" / "by_group.csv")
    found = {r["Window"]: r for r in rows if (r["Class"], r["Measure"]) == ("rest", "Seconds")}
    assert [found[w]["N"] for w in ("whole", "0-1 s", "3-4 s")] == ["3", "3", "2"]


def test_animals_that_the_network_learnt_from_are_marked(predictions):
    """All recordings of such an animal are, in every table, and a warning counts them."""
    put_prediction(predictions, "m3", [0] * 20, Fraction(10), learnt_part="val")
    text = "Recording,Animal,group\nm1,A,x\nm2,B,x\nm3,A,y\n"
    report = summarize(predictions, text)
    warning = f"{SAME_ANIMAL} (2 of 3)"
    assert report.warnings[0] == warning
    folder = predictions.parent / "s"
    assert json.loads((folder / "settings.json").read_text())["warning"] == warning
    marks = {r["Recording"]: r["Same_animal"] for r in read_rows(folder / "by_animal.csv")}
    assert marks == {"m1": "yes", "m2": "no", "m3": "yes"}
    counts = {
        (r["Group"], r["Measure"]): (r["N"], r["N_same_animal"])
        for r in read_rows(folder / "by_group.csv")
        if r["Class"] == "paw_lick"
    }
    assert counts["x", "Seconds"] == ("2", "1")
    assert counts["y", "Seconds"] == ("1", "1")
    assert counts["y", "Latency_s"] == ("0", "0")


def test_animals_and_several_columns_of_group(predictions):
    """Recordings of one animal are one; groups are made of any columns, in the file's order."""
    text = "recording;animal;dose;sex\nm3.mp4;A;3;f\nm1;A;3;f\nm2;B;0;m\n"
    report = summarize(predictions, text, group_by=["dose", "sex"])
    assert (report.num_recordings, report.num_animals) == (3, 2)
    assert report.groups == ("3 / f", "0 / m")
    rows = read_rows(predictions.parent / "s" / "by_animal.csv")
    assert [r["Recording"] for r in rows[:: len(NAMES)]] == ["m3", "m1", "m2"]
    assert (rows[0]["dose"], rows[0]["sex"], rows[0]["Group"]) == ("3", "f", "3 / f")


def test_onsets_of_the_metadata(predictions):
    """Each recording has its own time 0."""
    report = summarize(predictions, "Recording,on\nm1,0.25\nm2,0\nm3,1.5\n", onset_column="on")
    assert not report.problems
    rows = read_rows(predictions.parent / "s" / "by_animal.csv")
    licks = {r["Recording"]: r for r in rows if r["Class"] == "paw_lick"}
    assert licks["m1"]["Latency_s"] == "0.250000"
    assert licks["m3"]["Latency_s"] == ""
    assert licks["m3"]["Latency_censored"] == "yes"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Recording,group\nm1,a\nm2,b\n", "m3_predictions.csv: has no row in animals.csv; add one"),
        (
            "Recording,group\nm1,a\nm2,b\nm3,b\nm4,b\n",
            "animals.csv:5: recording 'm4' has no prediction; predict it, or remove the row",
        ),
        ("Recording,group\nm1,a\nm2,b\nm3,\n", "animals.csv:4: recording 'm3' has no group; fill"),
        ("Recording,group\nm1,a\nm2,b\nm2,b\n", "animals.csv:4: recording 'm2' occurs twice"),
    ],
)
def test_recordings_that_are_left_out(predictions, text, expected):
    """Nothing gets into a group by guess; what is left out is named, also in the settings."""
    report = summarize(predictions, text)
    assert expected in "\n".join(map(str, report.problems))
    settings_text = (predictions.parent / "s" / "settings.json").read_text()
    assert json.loads(settings_text)["left_out"] == [str(p) for p in report.problems]
    assert report.num_recordings in (2, 3)


def test_metadata_as_people_write_it(predictions):
    """Names in capitals, with a folder or another suffix, and decimal commas mean the same."""
    text = "Recording;on\nM1 ;0,25\nD:\\films\\m2.avi;0\nm3.MP4;1,5\n"
    report = summarize(predictions, text, onset_column="on")
    assert not report.problems
    rows = read_rows(predictions.parent / "s" / "by_animal.csv")
    licks = {r["Recording"]: r for r in rows if r["Class"] == "paw_lick"}
    assert licks["m1"]["Latency_s"] == "0.250000"
    assert licks["m3"]["Latency_censored"] == "yes"


def test_one_recording_in_two_groups(predictions):
    """Rows that differ in capitals or the suffix mean one recording; none of them is taken."""
    report = summarize(predictions, "Recording,group\nm1,a\nM1.mp4,b\nm2,b\nm3,b\n")
    assert report.num_recordings == 2
    assert report.groups == ("b",)
    (problem,) = report.problems
    assert problem.message.startswith(
        "recording 'M1.mp4' occurs twice (also in line 2) and the rows differ, so mpar leaves it"
    )


def test_groups_and_animals_that_are_spelled_in_two_ways(predictions, caplog):
    """Two spellings of one group, or of one animal, would count as two; Excel drops zeros."""
    summarize(predictions, "Recording,Animal,group\nm1,A1,CFA\nm2,a01 ,cfa \nm3,A3,saline\n")
    for text in (
        "groups 'CFA' and 'cfa' differ only in case or spaces and count as 2",
        "animals 'A1' and 'a01' differ only in case, spaces or leading zeros and count as 2",
    ):
        assert f"animals.csv: the {text}" in caplog.text


def test_doses_are_not_spelled_alike(predictions, caplog):
    """The zeros of 0.05 are no leading zeros that a spreadsheet drops."""
    summarize(predictions, "Recording,group\nm1,0.5 mg\nm2,0.05 mg\nm3,5 mg\n")
    assert "differ only" not in caplog.text


@pytest.mark.parametrize(
    ("text", "onset"),
    [
        ('Recording,on\nm1,"1,500"\nm2,"0,250"\nm3,0\n', "1.5"),
        ("Recording;on\nm1;1,500\nm2;0\nm3;0\n", "1.5"),
        ('Recording,on\nm1,"1,500"\nm2,0.25\nm3,0\n', None),
        ("Recording;on\nm1;1,500\nm2;0.25\nm3;0\n", None),
    ],
)
def test_commas_of_onsets(predictions, text, onset):
    """A comma is a decimal one, or one of thousands, in all rows or in none."""
    report = summarize(predictions, text, onset_column="on")
    assert [p.message[:37] for p in report.problems] == (
        [] if onset else ["recording 'm1' has the onset '1,500',"]
    )


@pytest.mark.parametrize("onset", ["", "x", "-1", "4", "1e1"])
def test_onsets_that_are_none(predictions, onset):
    """An onset must lie in its recording."""
    report = summarize(predictions, f"Recording,on\nm1,1\nm2,{onset}\nm3,0\n", onset_column="on")
    assert f"animals.csv:3: recording 'm2' has the onset {onset!r}, " in str(report.problems[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,group\nm1,a\n", "found the columns 'name,group', expected Recording"),
        ("Recording,Class\nm1,a\n", "not Class; fix the header"),
        ("Recording,a,a\nm1,1,2\n", "each once"),
        ("Recording,group\nm1,a,b\n", "animals.csv:2: found 3 cells, expected 2"),
        ("", "found the columns ''"),
    ],
)
def test_metadata_that_is_none(predictions, text, expected):
    """The header and its rows must fit."""
    with pytest.raises(InputError) as caught:
        summarize(predictions, text)
    assert expected in str(caught.value)
    assert not (predictions.parent / "s").exists()
