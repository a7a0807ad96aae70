"""Tables for statistics programs, the workbook, and the comparison of groups."""

import csv
import itertools
import re

import numpy as np
import openpyxl
import pandas as pd
import pytest
from scipy import stats

from mpar.assay.group_tests import adjust_holm, compare_groups, hedges_g
from mpar.assay.tables import group_columns, widen
from mpar.assay.windows import MEASURES
from mpar.assay.workbook import write_workbook
from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.summarize import AssayConfig, summarize_assay
from tests.fixtures.helpers import put_prediction, run

pytestmark = pytest.mark.usefixtures("no_figures")

NAMES = DEFAULT_CLASS_MAP.class_names
LICK = NAMES.index("paw_lick")
LICK_FRAMES = {"m1": 30, "m2": 60, "m3": 0, "m4": 90, "m5": 120, "m6": 150}  # of 300, 30 a second


def read_rows(path):
    """Return the rows of a CSV as dicts."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Six animals of 10 s; the first three are controls; m1 was filmed twice."""
    folder = tmp_path_factory.mktemp("assay")
    rows = ["Recording,Animal,group,sex,weight"]
    for i, (name, num_frames) in enumerate(LICK_FRAMES.items()):
        labels = np.zeros(300, np.int8)
        labels[100 : 100 + num_frames] = LICK
        put_prediction(folder / "predictions", name, labels)
        rows.append(f"{name},{name},{'control' if i < 3 else 'CFA'},f,{20 + i}")
    again = np.zeros(300, np.int8)
    again[:90] = LICK
    put_prediction(folder / "predictions", "m1b", again)
    rows.append("m1b,m1,control,f,21")
    (folder / "animals.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def summary(study):
    """Everything that mpar-summarize can write of it, by the command."""
    options = ["--metadata", study / "animals.csv", "--window", "early phase=0-5s"]
    options += ["--wide", "--xlsx", "--compare", "group", "-o", study / "out"]
    result = run("summarize", study / "predictions", *options)
    assert result.exit_code == 0, result.output
    assert "comparison.csv is exploratory" in result.output
    return study / "out"


def test_wide_has_one_row_an_animal(summary):
    """Values worked by hand: seconds of licking of the whole recording and of its first half."""
    rows = {row["Animal"]: row for row in read_rows(summary / "wide.csv")}
    assert list(rows) == list(LICK_FRAMES)
    assert list(rows["m1"])[:6] == [
        *("Animal", "Group", "sex", "weight", "Recordings", "Same_animal")
    ]
    seconds = {name: float(row["paw_lick_time_s_whole"]) for name, row in rows.items()}
    expected = {name: frames / 30 for name, frames in LICK_FRAMES.items()}
    expected["m1"] = (1 + 3) / 2  # the mean of its two recordings
    assert seconds == pytest.approx(expected)
    assert float(rows["m4"]["paw_lick_time_s_early_phase"]) == pytest.approx(50 / 30, abs=1e-5)
    assert rows["m1"]["Recordings"] == "2"
    assert rows["m1"]["weight"] == "20; 21"  # both recordings
    assert rows["m3"]["paw_lick_latency_s_whole"] == ""
    assert rows["m3"]["paw_lick_latency_censored_whole"] == "yes"
    assert float(rows["m4"]["paw_lick_latency_s_whole"]) == pytest.approx(100 / 30, abs=1e-5)


def test_names_are_valid_everywhere(summary):
    """Columns of values: a letter first, then letters, digits and underscores, 64 at most."""
    names = list(read_rows(summary / "wide.csv")[0])
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z]\w{0,63}", name, re.ASCII) for name in names)
    units = r"time_s|time_percent|bouts_n|bouts_per_min|mean_bout_s|median_bout_s|latency_\w+"
    assert all(re.search(rf"_({units})_", name) for name in names[6:])


def test_odd_names_stay_distinct():
    """Classes and windows that differ only in signs, or are long, get columns of their own."""
    rows = []
    for name in ("lick+", "lick-", "x" * 80, "x" * 80 + "y"):
        row = dict.fromkeys(MEASURES, 1.0)
        rows.append(
            {"Recording": "r", "Animal": "1", "Group": "g", "Window": "2 min", "Class": name}
            | row
            | {"Complete": "yes", "Latency_censored": "no", "Same_animal": "no"}
        )
    table = widen(pd.DataFrame(rows), [])
    names = list(table.columns)
    assert len({name.lower() for name in names}) == len(names) == 4 + 4 * 8
    assert max(map(len, names)) <= 64


def test_prism_has_one_column_a_group(summary):
    """The block of a class holds the animals of each group, without holes."""
    rows = read_rows(summary / "prism_time_s.csv")
    block = [r for r in rows if r["Class"] == "paw_lick" and r["Window"] == "whole"]
    assert [float(row["control"]) for row in block] == pytest.approx([2, 2, 0])
    assert [float(row["CFA"]) for row in block] == pytest.approx([3, 4, 5])
    latency = read_rows(summary / "prism_latency_s.csv")
    block = [r for r in latency if r["Class"] == "paw_lick" and r["Window"] == "whole"]
    assert [row["control"] != "" for row in block] == [True, True, False]  # m3 never licked


def test_groups_of_different_size():
    """A group with fewer animals has empty cells at the end."""
    shared = {"Window": "whole", "Class": "rest", "Complete": "yes"} | dict.fromkeys(MEASURES, 2.0)
    sizes = {"a": 3, "b": 1}
    rows = [{"Group": g, "Animal": f"{g}{i}"} | shared for g in sizes for i in range(sizes[g])]
    name, table = next(iter(group_columns(pd.DataFrame(rows))))
    assert name == "time_s"
    assert table["a"].tolist() == [2, 2, 2]
    assert table["b"].isna().tolist() == [False, True, True]


def test_workbook_holds_the_tables(summary):
    """Every sheet, read back, equals its CSV."""
    book = openpyxl.load_workbook(summary / "summary.xlsx")
    assert book.sheetnames[:3] == ["by_animal", "by_group", "wide"]
    for name in book.sheetnames:
        head, *rows = book[name].values
        expected = read_rows(summary / f"{name}.csv")
        assert list(head) == list(expected[0])
        assert len(rows) == len(expected)
        for row, wanted in zip(rows, expected, strict=True):
            for cell, text in zip(row, wanted.values(), strict=True):
                shown = "" if cell is None else cell
                if isinstance(shown, int | float):
                    assert float(text) == pytest.approx(shown, abs=1e-6)
                else:
                    assert str(shown) == text


def test_workbook_runs_no_formula(tmp_path):
    """Text that looks like a formula or holds a control character stays text."""
    table = pd.DataFrame({"=A1": ["=1+1", "+cmd", "a\x07b"], "n": [1, 2, 3]})
    write_workbook(tmp_path / "b.xlsx", {"t": table})
    sheet = openpyxl.load_workbook(tmp_path / "b.xlsx")["t"]
    assert [cell.data_type for cell in sheet["A"]] == ["s"] * 4
    assert sheet["A2"].value == "=1+1"
    assert sheet["A4"].value == "a\N{REPLACEMENT CHARACTER}b"


def test_table_that_no_sheet_holds(tmp_path, monkeypatch):
    """Nothing is written, and the message says what to use instead."""
    monkeypatch.setattr("mpar.assay.workbook.MAX_COLUMNS", 1)
    with pytest.raises(ConfigError, match=r"columns, a sheet holds .* use the CSV files"):
        write_workbook(tmp_path / "b.xlsx", {"t": pd.DataFrame({"a": [1], "b": [2]})})
    assert not (tmp_path / "b.xlsx").exists()


def test_workbook_without_openpyxl(study, monkeypatch, tmp_path):
    """One line says what to install, before anything is written."""
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(ConfigError, match="pip install openpyxl"):
        summarize_assay(study / "predictions", tmp_path / "out", config=AssayConfig(xlsx=True))
    assert not (tmp_path / "out").exists()


# Comparison of groups


def test_hedges_g_by_hand():
    """Means 2 and 5, pooled deviation 1: 3 times the correction of two groups of three."""
    assert hedges_g(np.array([1.0, 2, 3]), np.array([4.0, 5, 6])) == pytest.approx(3 * (1 - 3 / 15))


def test_holm_by_hand():
    """The textbook example of Holm's procedure; None is left out of the count."""
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([None, 0.5, 0.9]) == [None, 1.0, 1.0]


def test_comparison_of_the_study(summary):
    """Licking of two groups of three: difference, g and the exact p-value of 20 ways to deal."""
    rows = read_rows(summary / "comparison.csv")
    (row,) = [
        r
        for r in rows
        if (r["Class"], r["Measure"], r["Window"]) == ("paw_lick", "Seconds", "whole")
    ]
    assert (row["Group_A"], row["Group_B"], row["N_A"], row["N_B"]) == ("control", "CFA", "3", "3")
    a, b = np.array([2.0, 2, 0]), np.array([3.0, 4, 5])
    assert float(row["Difference"]) == pytest.approx(b.mean() - a.mean(), abs=1e-6)
    assert float(row["Hedges_g"]) == pytest.approx(hedges_g(a, b), abs=1e-6)
    assert float(row["Difference_low"]) < b.mean() - a.mean() < float(row["Difference_high"])
    assert float(row["P_permutation"]) == pytest.approx(2 / 20, abs=1e-6)
    assert float(row["P_Holm"]) >= float(row["P_permutation"])
    never = [r for r in rows if r["Class"] == "walk" and r["Measure"] == "Seconds"]
    assert {r["P_permutation"] for r in never} == {""}  # nothing varies


def test_intervals_and_p_values_keep_what_they_promise():
    """60 drawn studies without a difference: p below 0.05 in few, the interval holds 0 in most."""
    rng = np.random.default_rng(0)
    held = small = 0
    for _ in range(60):
        rows = [
            {"Group": group, "Animal": f"{group}{i}", "Window": "w", "Class": "c"}
            | dict.fromkeys(MEASURES)
            | {"Seconds": rng.gamma(2), "Complete": "yes"}
            for group in "ab"
            for i in range(8)
        ]
        found = compare_groups(pd.DataFrame(rows))
        row = found[found["Measure"] == "Seconds"].iloc[0]
        held += row["Difference_low"] <= 0 <= row["Difference_high"]
        small += row["P_permutation"] < 0.05
    assert stats.binomtest(small, 60, 0.05, alternative="greater").pvalue > 0.01
    assert held >= 50  # intervals of 8 + 8 animals hold the truth in about 90 %


def test_intervals_have_a_width_or_are_empty():
    """Two animals without licking against 1 and 2 s, and 1 s in all against 2 s in all."""
    for a, b in (((0, 0), (1, 2)), ((1, 1, 1), (2, 2, 2))):
        rows = [
            {"Window": "whole", "Class": "paw_lick", "Group": group, "Animal": f"{group}{i}"}
            | dict.fromkeys(MEASURES, value)
            | {"Complete": "yes"}
            for group, values in (("a", a), ("b", b))
            for i, value in enumerate(values)
        ]
        found = compare_groups(pd.DataFrame(rows)).iloc[0]
        for name in ("Difference", "Hedges_g"):
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            assert (pd.isna(low) and pd.isna(high)) or low < high


def compare_seconds(a, b, *, is_paired=False):
    """Return the comparison of seconds by animal in two groups."""
    rows = [
        {
            "Window": "w",
            "Class": "c",
            "Group": group,
            "Animal": str(i) if is_paired else f"{group}{i}",
        }
        | dict.fromkeys(MEASURES, value)
        | {"Complete": "yes"}
        for group, values in (("a", a), ("b", b))
        for i, value in enumerate(values)
    ]
    return compare_groups(pd.DataFrame(rows)).iloc[0]


@pytest.mark.parametrize(
    ("a", "b", "is_paired"),
    [
        ([8997, 8997, 8996], [8998, 8997, 8998], False),
        ([8995, 8994, 8993], [8994, 8994, 8994, 8989], False),
        ([8999, 8998, 8993], [8996, 8990, 8996], True),
    ],
)
@pytest.mark.parametrize("fps", [30, 29.97, 25])
def test_equal_differences_tie(a, b, is_paired, fps):
    """Five minutes less some frames: p-values as from whole frames, whatever floats add."""
    num_a, both = len(a), [*a, *b]
    if is_paired:
        steps = [y - x for x, y in zip(a, b, strict=True)]
        signs = itertools.product([1, -1], repeat=num_a)
        found = [sum(sign * step for sign, step in zip(ways, steps, strict=True)) for ways in signs]
    else:
        chosen = itertools.combinations(range(len(both)), num_a)
        sums = [sum(both[i] for i in places) for places in chosen]
        found = [
            num_a * (sum(both) - x) - len(b) * x for x in sums
        ]  # the mean of b minus that of a
    low = sum(x <= found[0] for x in found)
    high = sum(x >= found[0] for x in found)
    row = compare_seconds(np.array(a) / fps, np.array(b) / fps, is_paired=is_paired)
    assert row["P_permutation"] == pytest.approx(min(1, 2 * min(low, high) / len(found)))


@pytest.mark.parametrize("is_paired", [False, True])
def test_g_is_the_same_in_frames_and_in_seconds(is_paired):
    """Draws of one animal only have no g; floats would make it 10 to the 15, in small groups."""
    a, b = np.array([51, 38, 30]), np.array([46, 48, 32])
    frames, seconds = (compare_seconds(a / n, b / n, is_paired=is_paired) for n in (1, 29.97))
    for name in ("Hedges_g", "Hedges_g_low", "Hedges_g_high"):
        assert seconds[name] == pytest.approx(frames[name])
    never = compare_seconds([0.1] * 3, [0.4] * 3, is_paired=is_paired)
    assert pd.isna(never["Hedges_g"])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("dose", "found no column 'dose' in the metadata, expected one of group, sex, weight"),
        ("sex", "the column 'sex' has one value"),
        ("weight", "compare: found m1 in 20 and in 21"),
    ],
)
def test_columns_that_compare_nothing(study, tmp_path, column, expected):
    """One line says why, before anything is written."""
    options = ["--metadata", study / "animals.csv", "--compare", column, "-o", tmp_path / "out"]
    result = run("summarize", study / "predictions", *options)
    assert result.exit_code == 2
    assert expected in " ".join(result.output.split())
    assert not (tmp_path / "out" / "by_animal.csv").exists()


@pytest.mark.parametrize("column", ["group", "Group", "GROUP"])
def test_column_of_groups_in_any_capitals(study, tmp_path, column):
    """The metadata column Group is that of the groups; it is compared under its own name."""
    rows = (study / "animals.csv").read_text().splitlines()
    cells = [line.split(",")[:3] for line in rows[1:]]
    only = tmp_path / "animals.csv"  # no other column
    only.write_text("\n".join([f"Recording,Animal,{column}", *map(",".join, cells)]))
    config = AssayConfig(compare=column)
    out = tmp_path / "out"
    summarize_assay(study / "predictions", out, metadata_path=only, config=config)
    (row,) = (
        r
        for r in read_rows(out / "comparison.csv")
        if (r["Class"], r["Measure"]) == ("paw_lick", "Seconds")
    )
    assert (row["Mean_A"], row["Mean_B"]) == ("1.333333", "4.000000")
    config = AssayConfig(compare="sex")
    with pytest.raises(ConfigError, match="no column 'sex' in the metadata, expected one of group"):
        summarize_assay(study / "predictions", tmp_path, metadata_path=only, config=config)


def test_nothing_is_overwritten_unasked(study, summary):
    """A second run without --overwrite names what is there."""
    options = ["--metadata", study / "animals.csv", "-o", summary]
    result = run("summarize", study / "predictions", *options)
    assert result.exit_code == 2
    assert "wide.csv" in result.output


# Animals in several groups

VEHICLE = {"A": 60, "B": 60, "C": 90, "D": 30, "E": 120}  # frames of licking, 30 a second
DRUG = {"A": 0, "B": 30, "C": 45, "D": 30, "E": 15}


@pytest.fixture(scope="module")
def crossover(tmp_path_factory):
    """Five animals under vehicle and under drug; one column names the treatment, one the day."""
    folder = tmp_path_factory.mktemp("crossover")
    rows = ["Recording,Animal,group,day"]
    for group, frames in (("vehicle", VEHICLE), ("drug", DRUG)):
        for animal, num_frames in frames.items():
            labels = np.zeros(300, np.int8)
            labels[100 : 100 + num_frames] = LICK
            put_prediction(folder / "predictions", f"{animal}_{group}", labels)
            rows.append(f"{animal}_{group},{animal},{group},{1 + (group == 'drug')}")
    (folder / "animals.csv").write_text("\n".join(rows))
    return folder


def summarize_crossover(folder, out, metadata="animals.csv", **options):
    return summarize_assay(
        folder / "predictions", out, metadata_path=folder / metadata, config=AssayConfig(**options)
    )


def test_wide_never_averages_groups(crossover, tmp_path):
    """A row for each animal and group, in the CSV and in the workbook."""
    report = summarize_crossover(crossover, tmp_path, wide=True, xlsx=True)
    assert (report.num_animals, len(report.groups)) == (5, 2)
    rows = read_rows(tmp_path / "wide.csv")
    found = {(r["Animal"], r["Group"]): float(r["paw_lick_time_s_whole"]) for r in rows}
    expected = {(a, "vehicle"): n / 30 for a, n in VEHICLE.items()}
    expected |= {(a, "drug"): n / 30 for a, n in DRUG.items()}
    assert found == pytest.approx(expected)
    assert {r["Recordings"] for r in rows} == {"1"}
    head, *cells = openpyxl.load_workbook(tmp_path / "summary.xlsx")["wide"].values
    sheet = pd.DataFrame(cells, columns=head).set_index(["Animal", "Group"])
    assert dict(sheet["paw_lick_time_s_whole"]) == pytest.approx(expected)


def test_prism_keeps_pairs_in_rows(crossover, tmp_path):
    """With the same animals in all groups, a row is an animal, also where it has no value."""
    summarize_crossover(crossover, tmp_path, wide=True)
    block = [r for r in read_rows(tmp_path / "prism_latency_s.csv") if r["Class"] == "paw_lick"]
    assert [r["Row"] for r in block] == [*VEHICLE]
    assert [r["drug"] != "" for r in block] == [n > 0 for n in DRUG.values()]
    assert all(r["vehicle"] for r in block)


def test_paired_comparison_by_hand(crossover, tmp_path):
    """Signs of the differences permuted by hand, means and effect by a few lines of numpy."""
    summarize_crossover(crossover, tmp_path, compare="group")
    rows = read_rows(tmp_path / "comparison.csv")
    (row,) = (r for r in rows if (r["Class"], r["Measure"]) == ("paw_lick", "Seconds"))
    a, b = (np.array([*frames.values()]) / 30 for frames in (VEHICLE, DRUG))
    d = b - a
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1)
    means = abs((signs * d[:, None]).mean(axis=0))
    assert (row["Design"], row["N_A"], row["N_B"]) == ("paired", "5", "5")
    assert float(row["Difference"]) == pytest.approx(d.mean(), abs=1e-5)
    assert float(row["P_permutation"]) == pytest.approx((means >= abs(d.mean()) - 1e-9).mean())
    spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    g = (1 - 3 / (4 * 4 - 1)) * d.mean() / spread
    assert float(row["Hedges_g"]) == pytest.approx(g, abs=1e-5)
    assert float(row["Difference_low"]) < d.mean() < float(row["Difference_high"])
    (latency,) = (r for r in rows if (r["Class"], r["Measure"]) == ("paw_lick", "Latency_s"))
    assert latency["N_A"] == latency["N_B"] == "4"  # A did not lick under the drug


@pytest.mark.slow
def test_paired_intervals_keep_what_they_promise():
    """Drawn pairs that differ by 1 amid animals that differ by 5: the interval holds 1."""
    rng = np.random.default_rng(1)
    shared = {"Window": "whole", "Class": "x", "Complete": "yes"}
    hits, p_values = 0, []
    for _ in range(60):
        base = rng.normal(0, 5, 10)
        rows = [
            {"Group": group, "Animal": str(i)} | shared | dict.fromkeys(MEASURES, value)
            for group, shift in (("a", 0), ("b", 1))
            for i, value in enumerate(base + shift + rng.normal(0, 0.5, 10))
        ]
        row = compare_groups(pd.DataFrame(rows)).iloc[0]
        hits += row["Difference_low"] <= 1 <= row["Difference_high"]
        p_values.append(row["P_permutation"])
    assert hits / 60 > 0.85
    assert np.median(p_values) < 0.01  # an independent test would see nothing


def test_mixed_designs_are_refused(crossover, tmp_path):
    """Four animals in both groups and one in one of them: neither paired nor independent."""
    text = (crossover / "animals.csv").read_text().replace("E_drug,E,", "E_drug,F,")
    (crossover / "mixed.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"A, B, C \.\.\. in vehicle and in drug, E, F in one"):
        summarize_crossover(crossover, tmp_path / "out", "mixed.csv", compare="group")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_means_of_differing_recordings_are_named(crossover, tmp_path):
    """Without a column group, vehicle and drug are averaged; mpar says so and how to part them."""
    text = (crossover / "animals.csv").read_text().replace(",group,", ",treatment,")
    (crossover / "treatment.csv").write_text(text)
    (warning,) = summarize_crossover(crossover, tmp_path / "a", "treatment.csv").warnings
    assert "5 animals" in warning
    assert "treatment, day" in warning
    parted = summarize_crossover(
        crossover, tmp_path / "b", "treatment.csv", group_by=["treatment"], wide=True
    )
    assert not parted.warnings
    assert len(read_rows(tmp_path / "b" / "wide.csv")) == 10
