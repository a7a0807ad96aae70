"""The numbers that a lab publishes: exact in time, honest at edges, averaged over animals."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mpar.assay.windows import (
    Window,
    make_windows,
    parse_time,
    parse_window,
    summarize_groups,
    summarize_window,
)
from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.summarize import AssayConfig
from tests.fixtures.cartoon import write_script
from tests.fixtures.helpers import put_prediction, run
from tests.unit.assay.tables import NAMES, NTSC, WHOLE, read_rows, recording


def row_of(labels, window=WHOLE, *, fps=Fraction(10), name="paw_lick", onset=Fraction(0)):
    rows = summarize_window(recording(labels, fps), window, NAMES, onset)
    assert [row["Class"] for row in rows] == list(NAMES)
    return next(row for row in rows if row["Class"] == name)


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
