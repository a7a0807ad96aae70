"""The numbers that a lab publishes: exact in time, honest at edges, averaged over animals."""

from __future__ import annotations

import csv
import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import mpar.summarize
from mpar.assay.windows import (
    Window,
    make_windows,
    parse_time,
    parse_window,
    summarize_animals,
    summarize_groups,
    summarize_window,
)
from mpar.errors import ConfigError, InputError
from mpar.inference import predict_multiple_videos
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.network.checkpoint import load_checkpoint
from mpar.scores.comparison import SAME_ANIMAL
from mpar.summarize import AssayConfig, summarize_assay
from mpar.video.timeline import TimeLine
from tests.fixtures.cartoon import write_script
from tests.fixtures.helpers import put_prediction, raises_problem, recording_of, run

NAMES = DEFAULT_CLASS_MAP.class_names
NTSC = Fraction(30000, 1001)
WHOLE = Window("whole", "whole", Fraction(0), None)


def read_rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def recording(labels, fps=Fraction(10)):
    return recording_of(labels, fps=fps)


def row_of(labels, window=WHOLE, *, fps=Fraction(10), name="paw_lick", onset=Fraction(0)):
    rows = summarize_window(recording(labels, fps), window, NAMES, onset)
    assert [row["Class"] for row in rows] == list(NAMES)
    return next(row for row in rows if row["Class"] == name)


# Windows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("phase1=0-10min", ("phase1", 0, 600)),
        ("late=10min-1h", ("late", 600, 3600)),
        ("pre=-2-0min", ("pre", -120, 0)),
        ("pre=-30s--10s", ("pre", -30, -10)),
        ("a b = 0.5 - 1.25 s", ("a b", Fraction(1, 2), Fraction(5, 4))),
    ],
)
def test_windows_are_parsed(text, expected):
    """Names, units and negative times, as exact fractions."""
    window = parse_window(text)
    assert (window.name, window.start, window.stop) == expected


@pytest.mark.parametrize(
    "text", ["phase1", "=0-10min", "a=0-10", "a=10-0min", "a=0-0s", "a=0min", "a/b=0-1s", "a=1-x s"]
)
def test_windows_that_are_none(text):
    """Each is refused with an example of what is expected."""
    with pytest.raises(ConfigError, match=r"window: .*(phase1=0-10min|NAME=START-STOP)"):
        AssayConfig(windows=[text])


def test_times_and_names_that_are_none():
    """Bins need a length and a unit; windows need different names."""
    assert parse_time("0.1s", "bin") == Fraction(1, 10)
    for text in ("5", "0min", "-5min", "five"):
        with pytest.raises(ConfigError, match=r"bin: found .*, expected a time above 0 such as"):
            AssayConfig(bin_length=text)
    with pytest.raises(ConfigError, match="window: found the names a, a, expected distinct names"):
        AssayConfig(windows=["a=0-1s", "a=1-2s"])
    with pytest.raises(ConfigError, match="expected distinct names"):
        AssayConfig(windows=["whole=0-1s"])
    with pytest.raises(ConfigError, match="expected distinct names"):
        AssayConfig(windows=["a b=0-1s", "A_b=1-2s"])


def test_bins_are_named_in_their_unit():
    """As many as the longest recording needs."""
    windows = make_windows(Fraction(601), "5min", [parse_window("a=0-1s")])
    assert [(w.kind, w.name) for w in windows] == [
        ("whole", "whole"),
        ("bin", "0-5 min"),
        ("bin", "5-10 min"),
        ("bin", "10-15 min"),
        ("window", "a"),
    ]


# One recording


def test_window_worked_by_hand():
    """40 frames at 10 a second: licks in frames 5-14, 18-21 and 38-39; no label in 30-33."""
    labels = np.zeros(40, int)
    labels[5:15] = labels[18:22] = labels[38:40] = 2
    labels[30:34] = -1
    whole = row_of(labels)
    assert whole["Seconds"] == 1.6
    assert whole["Percent"] == 40.0
    assert (whole["Bouts"], whole["Bouts_per_min"]) == (3, 45.0)
    assert whole["Mean_bout_s"] == pytest.approx(1.6 / 3)
    assert whole["Median_bout_s"] == 0.4
    assert (whole["Latency_s"], whole["Latency_censored"]) == (0.5, "no")
    assert (whole["Observed_s"], whole["Unlabelled_s"], whole["Complete"]) == (4.0, 0.4, "yes")
    # 1-2 s: the first bout began before, so only the second counts, in its whole length
    second = row_of(labels, Window("bin", "b", Fraction(1), Fraction(2)))
    assert second["Seconds"] == 0.7
    assert (second["Bouts"], second["Mean_bout_s"]) == (1, 0.4)
    assert second["Latency_s"] == 0.8
    # 2-3 s: a bout is under way, but none begins
    third = row_of(labels, Window("bin", "b", Fraction(2), Fraction(3)))
    assert (third["Seconds"], third["Bouts"], third["Bouts_per_min"]) == (0.2, 0, 0)
    assert third["Mean_bout_s"] is third["Median_bout_s"] is third["Latency_s"] is None
    assert third["Latency_censored"] == "yes"


def test_window_that_was_not_filmed():
    """Beyond the recording nothing is known, not even zero; a part of a window is said."""
    labels = np.zeros(40, int)
    row = row_of(labels, Window("bin", "b", Fraction(5), Fraction(6)))
    assert (row["Observed_s"], row["Complete"]) == (0.0, "no")
    assert row["Seconds"] is row["Bouts"] is row["Latency_censored"] is None
    row = row_of(labels, Window("bin", "b", Fraction(3), Fraction(6)))
    assert (row["Observed_s"], row["Complete"], row["Seconds"]) == (1.0, "no", 0.0)
    row = row_of(np.zeros(999, int), Window("bin", "b", Fraction(0), Fraction(100)))
    assert row["Complete"] == "yes"  # a camera that stops 0.1 % early


def test_time_counts_from_the_stimulus():
    """Windows, latency and the end of the whole begin at the onset; before it time is negative."""
    labels = np.zeros(40, int)
    labels[3:5] = labels[30:32] = 2
    onset = Fraction(2)
    whole = row_of(labels, onset=onset)
    assert (whole["Observed_s"], whole["Window_stop_s"]) == (2.0, 2.0)
    assert (whole["Bouts"], whole["Latency_s"]) == (1, 1.0)
    before = row_of(labels, Window("window", "pre", Fraction(-2), Fraction(0)), onset=onset)
    assert (before["Bouts"], before["Latency_s"], before["Complete"]) == (1, 0.3, "yes")
    before = row_of(labels, Window("window", "pre", Fraction(-3), Fraction(0)), onset=onset)
    assert before["Complete"] == "no"


def test_frame_rate_is_a_fraction():
    """Frames at 29.97 a second: minute ten begins at frame 17983, not at 18000 or 17982."""
    labels = np.zeros(18000, int)
    labels[17982] = 2  # begins 0.6 ms before 600 s
    window = Window("bin", "b", Fraction(540), Fraction(600))
    assert row_of(labels, window, fps=NTSC)["Bouts"] == 1
    labels[17982:17984] = 0, 2
    row = row_of(labels, window, fps=NTSC)
    assert (row["Bouts"], row["Observed_s"]) == (0, float(1799 / NTSC))


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(-1, 5), min_size=1, max_size=120),
    fps=st.sampled_from([Fraction(10), NTSC, Fraction(25), Fraction(15237, 508)]),
    length=st.sampled_from(["1s", "0.3s", "0.7s", "1min"]),
)
def test_bins_add_up(labels, fps, length):
    """Every frame and every bout is in exactly one bin, at any rate."""
    item = recording(labels, fps)
    windows = make_windows(len(labels) / fps, length)
    whole, *bins = (summarize_window(item, window, NAMES) for window in windows)
    for k, row in enumerate(whole):
        parts = [part[k] for part in bins if part[k]["Seconds"] is not None]
        for measure in ("Seconds", "Bouts"):
            total = sum(part[measure] for part in parts)
            assert total == pytest.approx(row[measure], abs=1e-9)
        assert sum(part["Observed_s"] for part in parts) == pytest.approx(row["Observed_s"])


# Groups


def by_animal(rows):
    """Make a table of (group, animal, seconds, complete) with latency by seconds."""
    return pd.DataFrame(
        [
            {
                "Group": group,
                "Animal": animal,
                "Window_type": "whole",
                "Window": "whole",
                "Window_start_s": 0.0,
                "Window_stop_s": 60.0,
                "Complete": complete,
                "Class": "paw_lick",
                "Seconds": seconds,
                "Percent": seconds,
                "Bouts": 1,
                "Bouts_per_min": 1.0,
                "Mean_bout_s": seconds,
                "Median_bout_s": seconds,
                "Latency_s": seconds if seconds > 2 else None,
                "Same_animal": "yes" if animal == "3" else "no",
            }
            for group, animal, seconds, complete in rows
        ]
    )


def test_groups_worked_by_hand():
    """Mean and SEM over animals, whose recordings are averaged first; others are counted."""
    table = summarize_groups(
        by_animal(
            [
                ("a", "1", 1.0, "yes"),
                ("a", "1", 3.0, "yes"),
                ("a", "2", 4.0, "yes"),
                ("a", "3", 6.0, "yes"),
                ("a", "4", 99.0, "no"),
                ("b", "5", 7.0, "yes"),
            ]
        )
    )
    found = table.set_index(["Group", "Measure"])
    seconds = found.loc["a", "Seconds"]
    assert (seconds["N"], seconds["Mean"], seconds["N_without"]) == (3, 4.0, 1)
    assert seconds["N_same_animal"] == 1
    assert seconds["SEM"] == pytest.approx(2 / 3**0.5)  # of 2, 4 and 6
    latency = found.loc["a", "Latency_s"]
    assert (latency["N"], latency["Mean"]) == (3, pytest.approx((3 + 4 + 6) / 3))
    alone = found.loc["b", "Seconds"]
    assert (alone["N"], alone["Mean"]) == (1, 7.0)
    assert pd.isna(alone["SEM"])


@pytest.mark.slow
def test_intervals_of_groups_cover_the_truth():
    """Of 800 studies of six animals, 95 % have the truth within their t interval."""
    rng = np.random.default_rng(0)
    values = rng.normal(20, 5, (800, 6))
    rows = [
        (f"s{i}", f"{j}", v, "yes") for i, mine in enumerate(values) for j, v in enumerate(mine)
    ]
    table = summarize_groups(by_animal(rows))
    table = table[table["Measure"] == "Seconds"]
    half = stats.t.ppf(0.975, 5) * table["SEM"].astype(float)
    covered = ((table["Mean"].astype(float) - 20).abs() <= half).mean()
    assert len(table) == 800
    assert 0.93 <= covered <= 0.97


def write_study(folder, *, num_animals=8, seconds=120, seed=4):
    """Write two groups of synthetic animals that lick 2 % and 6 % of their time, on average."""
    rng = np.random.default_rng(seed)
    rows = ["Recording,Group,Sex"]
    counted = {}
    for group, share in (("vehicle", 0.02), ("formalin", 0.06)):
        for i in range(num_animals):
            fps = NTSC if i % 2 else Fraction(25)  # two cameras
            own = share * rng.uniform(0.5, 1.5)
            script = write_script(rng, round(seconds * fps), own, [2], float(fps))
            codes = np.concatenate([np.full(b.stop - b.start, b.code) for b in script])
            name = f"{group}_{i}"
            put_prediction(folder / "predictions", name, DEFAULT_CLASS_MAP.merge(codes), fps)
            rows.append(f"{name},{group},{'fm'[i % 2]}")
            counted[name] = float(int((codes == 2).sum()) / fps)
    (folder / "animals.csv").write_text("\n".join(rows) + "\n")
    return counted, {"vehicle": 0.02 * seconds, "formalin": 0.06 * seconds}


def test_study_of_two_groups(tmp_path):
    """A true difference in lick time is found: the truth of each group lies in its interval."""
    counted, truth = write_study(tmp_path)
    options = "--metadata", tmp_path / "animals.csv", "--bin", "30s", "--window", "phase1=0-1min"
    result = run("summarize", tmp_path / "predictions", "-o", tmp_path / "s", *options)
    assert result.exit_code == 0, result.output
    assert "16 recordings of 16 animals in 2 groups (vehicle, formalin)" in result.output

    rows = read_rows(tmp_path / "s" / "by_animal.csv")
    assert len(rows) == 16 * 6 * len(NAMES)  # whole, four bins, one window
    assert list(rows[0])[:4] == ["Recording", "Animal", "Group", "Sex"]
    licks = {
        row["Recording"]: float(row["Seconds"])
        for row in rows
        if row["Window"] == "whole" and row["Class"] == "paw_lick"
    }
    assert licks == pytest.approx(counted, abs=1e-6)

    groups = {
        row["Group"]: row
        for row in read_rows(tmp_path / "s" / "by_group.csv")
        if (row["Window"], row["Class"], row["Measure"]) == ("whole", "paw_lick", "Seconds")
    }
    intervals = {}
    for group, row in groups.items():
        assert row["N"] == "8"
        half = stats.t.ppf(0.975, 7) * float(row["SEM"])
        intervals[group] = float(row["Mean"]) - half, float(row["Mean"]) + half
        assert intervals[group][0] < truth[group] < intervals[group][1], group
    assert intervals["vehicle"][1] < intervals["formalin"][0]

    figures = {"ethograms", "groups_whole", "groups_phase1", "time_course"}
    written = {path.name for path in (tmp_path / "s").iterdir()}
    assert written == {"by_animal.csv", "by_group.csv", "settings.json"} | {
        f"{name}.{suffix}" for name in figures for suffix in ("png", "pdf")
    }
    provenance = json.loads((tmp_path / "s" / "settings.json").read_text())
    assert (provenance["bin"], provenance["windows"]) == ("30s", ["phase1=0-1min"])
    again = run("summarize", tmp_path / "predictions", "-o", tmp_path / "s", *options)
    assert again.exit_code == 2
    assert "s: already holds by_animal.csv" in again.output.replace("\n", " ")


# Metadata


@pytest.fixture
def predictions(tmp_path, monkeypatch):
    """Three recordings of 40, 40 and 20 frames at 10 a second; no figures, which take long."""
    monkeypatch.setattr(mpar.summarize, "_draw_figures", lambda *results: {})
    for name, num_frames in (("m1", 40), ("m2", 40), ("m3", 20)):
        labels = np.zeros(num_frames, int)
        labels[5:8] = 2
        put_prediction(tmp_path / "p", name, labels, Fraction(10))
    return tmp_path / "p"


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


def summarize(predictions, text=None, **options):
    folder = predictions.parent
    path = None
    if text is not None:
        path = folder / "animals.csv"
        path.write_text(text, encoding="utf-8")
    return summarize_assay(
        predictions, folder / "s", metadata_path=path, config=AssayConfig(**options)
    )


def test_without_metadata(predictions):
    """Each recording is an animal, all are one group, and lengths that differ are said."""
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


def test_options_that_do_not_fit(predictions):
    """Columns must be there, and need metadata to be in."""
    with pytest.raises(ConfigError, match="name columns of the metadata; pass --metadata"):
        summarize(predictions, group_by=["dose"])
    with pytest.raises(ConfigError, match=r"found the columns group, expected 'dose' among them"):
        summarize(predictions, "Recording,group\nm1,a\n", group_by=["dose"])
    with raises_problem("no-row"):
        summarize(predictions, "Recording,group\nm9,a\n")


def test_figures_of_the_user_are_kept(predictions):
    """A file that has the name of a figure is not replaced unasked either."""
    folder = predictions.parent / "s"
    folder.mkdir()
    (folder / "groups_a.pdf").write_text("mine")
    with pytest.raises(ConfigError, match=r"s: already holds groups_a.pdf; pass --overwrite"):
        summarize(predictions, windows=["a=0-1s"])
    assert [path.name for path in folder.iterdir()] == ["groups_a.pdf"]


def test_cells_that_a_spreadsheet_would_execute(predictions):
    """Text of the metadata cannot become a formula."""
    summarize(predictions, "Recording,group,=x\nm1,=1+1,@\nm2,b,c\nm3,b,c\n")
    header, first = (predictions.parent / "s" / "by_animal.csv").read_text().splitlines()[:2]
    assert ",'=x," in header
    assert first.startswith("m1,m1,'=1+1,'@,")


def test_real_predictions(study, tmp_path, monkeypatch):
    """What mpar-predict wrote is summed up; every second of every class is its own bouts.

    Of the six animals the network had learnt from five (four, and one to choose it on).
    """
    monkeypatch.setattr(mpar.summarize, "_draw_figures", lambda *results: {})
    predict_multiple_videos(study.checkpoint, [study.videos], tmp_path / "p", device="cpu")
    result = run("summarize", tmp_path / "p", "-o", tmp_path / "s")
    assert result.exit_code == 0
    assert f"warning: {SAME_ANIMAL} (5 of 6)\n" in result.output
    rows = read_rows(tmp_path / "s" / "by_animal.csv")
    split = load_checkpoint(study.checkpoint).split
    assert {row["Recording"] for row in rows if row["Same_animal"] == "no"} == {
        item["name"] for item in split["test"]
    }
    for name in {row["Recording"] for row in rows}:
        bouts = read_rows(tmp_path / "p" / f"{name}_bouts.csv")
        for row in (row for row in rows if row["Recording"] == name):
            mine = [b for b in bouts if b["Class"] == row["Class"]]
            assert int(row["Bouts"]) == len(mine)
            total = sum(int(bout["Frames"]) for bout in mine) / 30
            assert float(row["Seconds"]) == pytest.approx(total, abs=1e-6)
    (tmp_path / "none").mkdir()
    assert "found no NAME_predictions.csv" in run("summarize", tmp_path / "none").output


def test_summing_up_keeps_the_order_of_animals():
    """`summarize_animals` is one row a recording, window and class, in their order."""
    from mpar.matching.metadata import Animal

    animals = [Animal(recording([0, 2]), name, "a", Fraction(0), {}) for name in ("x", "y")]
    table = summarize_animals(animals, [WHOLE], NAMES)
    assert table["Animal"].tolist() == ["x"] * 6 + ["y"] * 6


def test_windows_of_an_uneven_recording():
    """By hand: frames at 0, 1, 2, 6 and 7 s, the last for 1 s; licks from 2 to 7 s."""
    line = TimeLine(5, Fraction(1), np.array([0.0, 1, 2, 6, 7]))
    item = recording_of([0, 0, 1, 1, 0], line=line)
    whole, first, second = (
        summarize_window(
            item, Window("window", "w", Fraction(a), b and Fraction(b)), ("rest", "lick")
        )
        for a, b in ((0, None), (0, 4), (4, 8))
    )
    assert [row["Seconds"] for row in whole] == [3, 5]
    assert (whole[1]["Percent"], whole[1]["Mean_bout_s"], whole[1]["Latency_s"]) == (62.5, 5, 2)
    assert [row["Seconds"] for row in first] == [2, 4]  # frame 2 begins here and lasts to 6 s
    assert [row["Seconds"] for row in second] == [1, 1]
    assert (second[1]["Bouts"], second[1]["Observed_s"], second[1]["Complete"]) == (0, 2, "no")


@settings(max_examples=80)
@given(
    fps=st.sampled_from([Fraction(30), NTSC, Fraction(25), Fraction(7), Fraction(300, 7)]),
    edges=st.tuples(st.integers(0, 200), st.integers(0, 200)).filter(lambda e: e[0] < e[1]),
    onset=st.integers(0, 40),
)
def test_windows_in_milliseconds_hold_the_frames_that_they_name(fps, edges, onset):
    """From frame a to frame b, both in milliseconds, counted from any onset: b - a frames."""
    labels = np.zeros(400, np.int8)
    labels[onset + edges[0]] = 2
    labels[onset + edges[1]] = 3
    start, stop, zero = (Fraction(round(1000 * f / fps), 1000) for f in (*edges, onset))
    # what the user adds up from rounded times may be off by a millisecond
    window = Window("window", "w", start, stop)
    times = [Fraction(round(1000 * (onset + f) / fps), 1000) - zero for f in edges]
    exact = Window("window", "w", *times)
    rows = summarize_window(recording(labels, fps), exact, NAMES, zero)
    assert rows[2]["Bouts"] == 1
    assert rows[3]["Bouts"] == 0
    assert rows[0]["Observed_s"] == pytest.approx(float((edges[1] - edges[0]) / fps))
    if not onset:
        assert summarize_window(recording(labels, fps), window, NAMES) == [
            row | {"Window_start_s": float(start), "Window_stop_s": float(stop)} for row in rows
        ]
