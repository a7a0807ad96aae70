"""The benchmarks' own arithmetic: which way ratios point, which bouts count as found."""

import importlib

import numpy as np
import pytest
from click.testing import CliRunner

from mpar.cache.store import Store
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.learning.recipe import named_recipe
from mpar.learning.splits import split_store
from tests.benchmarks import coverage, editing, real, reviewing
from tests.benchmarks import race as race_module
from tests.benchmarks.__main__ import GROUPS
from tests.benchmarks.learning import PAIN, Trial, TrialRun, event_f1, lay_out
from tests.benchmarks.race import Row, race
from tests.fixtures.synthetic import write_sample

pytestmark = pytest.mark.slow


def test_ratio_says_how_many_times_as_fast_mpar_is(monkeypatch):
    """A contestant that takes three times as long for the same work has a ratio of 3."""
    clock, turn = [0.0], [0]
    monkeypatch.setattr(race_module.time, "perf_counter", lambda: clock[0])

    def take(seconds):
        slow = 1 + turn[0] // 3  # the machine slows down from round to round
        clock[0] += seconds * slow
        turn[0] += 1

    rows = race(
        "work",
        {"mpar": lambda: take(2), "peer": lambda: take(6), "half the work": lambda: take(6)},
        work={"mpar": 10, "peer": 10, "half the work": 5},
        unit="frames/s",
        targets={"peer": 4},
        rounds=3,
    )
    mpar, peer, half = rows
    assert (mpar.ratio, mpar.target) == (None, None)
    assert peer.ratio == pytest.approx(3)
    assert half.ratio == pytest.approx(6)
    assert "MISSED" in str(Row("work", "peer", 5.0, "frames/s", 3.0, 4.0))
    assert "MISSED" not in str(Row("work", "peer", 5.0, "frames/s", 4.0, 4.0))


@pytest.mark.parametrize("num_windows", [5, 41, None])
def test_a_trial_learns_as_many_windows_as_it_says(study, tmp_path, num_windows):
    """More than an epoch has are drawn as the next epochs would; None is an epoch as usual."""
    trial = Trial(named_recipe("mpar", model_type="light", num_epochs=1), num_windows)
    with Store(study.cache) as store:
        split = split_store(store)
        samples = TrialRun(tmp_path, store, split, trial)._samples(0)
        trial = Trial(trial.config)
        run = TrialRun(tmp_path, store, split, trial)
        epochs = np.concatenate([run._samples(epoch) for epoch in range(20)])
        assert len(samples) == (num_windows or len(run._samples(0)))
    assert (samples == epochs[: len(samples)]).all()


def test_epochs_of_a_trial_share_its_windows(study, tmp_path):
    """Two epochs learn the windows of one, half each."""
    one, two = (named_recipe("mpar", model_type="light", num_epochs=n) for n in (1, 2))
    with Store(study.cache) as store:
        split = split_store(store)
        whole = TrialRun(tmp_path, store, split, Trial(one, 41))._samples(0)
        run = TrialRun(tmp_path, store, split, Trial(two, 41))
        halves = [run._samples(epoch) for epoch in (0, 1)]
    assert [len(half) for half in halves] == [20, 20]
    assert (np.concatenate(halves) == whole[:40]).all()


def test_table_shows_mean_and_spread_over_seeds():
    """Two seeds by hand: mean over pain classes, then mean and standard deviation."""
    results = [
        {
            "macro_f1": macro_f1,
            "confusion": [[8, 1], [1, 0]],
            "recall": dict.fromkeys(("paw_withdraw", "paw_lick", "paw_shake"), 0.5),
            "f1": {"paw_withdraw": 0.1, "paw_lick": 0.2, "paw_shake": 0.6},
            "event_f1": dict.fromkeys(("paw_withdraw", "paw_lick", "paw_shake"), 1.0),
            "seconds": 120,
        }
        for macro_f1 in (0.4, 0.6)
    ]
    row = lay_out({"ours": results}).splitlines()[-1]
    assert row.startswith("| ours | 2 | 0.50 ± 0.14 | 0.80 ± 0.00 | 0.50 ± 0.00 | 0.30 ± 0.00 |")
    assert row.endswith("| 1.00 ± 0.00 | 2.00 ± 0.00 |")
    assert "| one | 1 | 0.40 | 0.80 |" in lay_out({"one": results[:1]})
    mixed = [results[0] | {"mixed": {"macro_f1": 0.7}}, results[1]]
    assert "| ours, mixed | 1 | 0.70 | 0.80 |" in lay_out({"ours": mixed})


def test_table_shows_means_over_time():
    """Two seeds of two epochs each; a trial of one epoch has no line."""
    shared = {
        "macro_f1": 0.5,
        "confusion": [[1]],
        "seconds": 60,
        **dict.fromkeys(("recall", "f1", "event_f1"), dict.fromkeys(PAIN, 0.5)),
    }
    curves = [[0.1, 0.5], [0.3, 0.7]]
    table = lay_out({"two": [shared | {"over_time": c} for c in curves], "one": [shared]})
    assert table.splitlines()[-1] == "macro-F1 over time, two: 0.20, 0.60"


def test_event_f1_matches_bouts_one_to_one():
    """Two true bouts; one is found 3 frames late, one is missed, two guesses are wrong."""
    truth, guess = np.zeros((2, 60), np.int64)
    truth[10:16] = truth[30:36] = 1
    guess[13:19] = 1  # found: onset and end 3 frames late
    guess[34:40] = 1  # 4 frames late: not found, and a false alarm
    guess[50:55] = 1
    assert event_f1([truth], [guess], 1) == pytest.approx(2 * 1 / (2 + 3))
    assert event_f1([truth], [truth], 1) == 1
    assert event_f1([truth], [np.zeros(60, np.int64)], 1) == 0


SMALL = {"NUM_VIDEOS": 2, "VIDEO_SIZE": (96, 128)}
TOYS = {
    "decode": {"SIZES": ((96, 128),)},
    "store": SMALL | {"NUM_OPENED": (2,)},
    "place": SMALL,
    "protections": SMALL | {"SIDES": (32,), "NUM_RECORDINGS": 2, "NUM_BATCHES": 2},
    "clips": {"SIZES": ((32, 32, 2),), "NUM_BATCHES": 4, "NUM_GROWN": 1, "FACTORS": (1,)},
    "dense": SMALL
    | {"MODELS": ("light",), "SIDES": (32,), "NUM_CLIP_FRAMES": 130, "LENGTHS": (40,)},
    "train": {"MODELS": ("light",), "SIDE": 32},
    "neighbours": {
        "MODEL": "light",
        "SIDE": 32,
        "ROUNDS": 1,
        "NUM_STEPS": 1,
        "NUM_NEIGHBOURS": (1,),
    },
    "gpu": SMALL
    | {"SIDES": (32,), "MODELS": ("light",), "NUM_DENSE_FRAMES": 400, "NUM_STEPS": 1}
    | {"NUM_EPOCHS": 2, "NUM_COPIED_BYTES": 1 << 12},
    "scale": {"HOURS": (4,)},
    "start": {"COMMANDS": ("info",)},
    "review": {
        "SIZES": ((96, 128),),
        "NUM_REPEATS": 2,
        "NUM_JUMPS": 3,
        "NUM_STEPS": 2,
        "NUM_PLAYED": 24,
    },
}


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_runs(group, tmp_path, monkeypatch):
    """With the smallest inputs and one round: every row has a rate, so no group can rot."""
    module = importlib.import_module(f"tests.benchmarks.{group}")
    for name, value in TOYS[group].items():
        monkeypatch.setattr(module, name, value)

    def race_once(*arguments, **options):
        return race(*arguments, **options | {"rounds": 1, "warm_up": False})

    monkeypatch.setattr(module, "race", race_once, raising=False)
    rows = module.run(tmp_path)
    assert rows
    assert all(row.rate > 0 for row in rows)


def test_edits_of_a_toy_film_are_timed(tmp_path, monkeypatch):
    """Each line has its figures."""
    for name, value in {"NUM_TOTAL": 720, "NUM_EDITS": 5, "NUM_OTHERS": 1}.items():
        monkeypatch.setattr(editing, name, value)
    result = CliRunner().invoke(editing.main, ["--folder", tmp_path / "f"], catch_exceptions=False)
    lines = result.output.splitlines()
    assert len(lines) == 8
    assert all(" ms" in line for line in lines)


def test_real_sets_are_scored(tmp_path):
    """A set of three sessions: each is held out once, and every model gets its scores."""
    data = tmp_path / "data" / "drawn"
    write_sample(data, num_animals=3, seed=0, num_frames=24, height=32, width=32, pain_fraction=0.5)
    for folder in ("Videos", "Annotations"):
        for path in (data / folder).iterdir():
            number = int(path.stem.split("_")[1])
            path.rename(path.with_name(f"s{number}_{path.name}"))
    (data / "classes.csv").write_text(
        "code,name,class\n"
        + "".join(f"{','.join(map(str, row))}\n" for row in DEFAULT_CLASS_MAP.rows)
    )
    output = tmp_path / "results"
    options = ["--epochs", "1", "--model", "light", "-o", str(output)]
    result = CliRunner().invoke(real.main, ["--data", str(tmp_path / "data"), *options])
    assert result.exit_code == 0, result.output
    found = {line.split(" mean ")[1].split(":")[0] for line in result.output.splitlines()[-5:]}
    assert found == {
        *("mpar", "network alone", "movement alone", "most frequent class"),
        "original recipe",
    }
    again = CliRunner().invoke(real.main, ["--data", str(tmp_path / "data"), *options])
    assert again.output == result.output  # from the files, without training again


def test_real_without_data_says_what_it_needs():
    """The message names the folders and files."""
    result = CliRunner().invoke(real.main, [])
    assert result.exit_code == 2
    assert "expected a folder of sets, each with Videos, Annotations and classes.csv" in (
        " ".join(result.output.split())
    )


def test_sessions_are_held_out_whole():
    """Recordings of one session are always in one part; each session is the test part once."""
    names = ["s0_a", "s0_b", "s1_a", "s2_a", "s2_b"]
    splits = list(real.make_splits(names))
    assert [sorted(n for n in names if split[n] == "test") for split in splits] == [
        ["s0_a", "s0_b"],
        ["s1_a"],
        ["s2_a", "s2_b"],
    ]
    assert all(split["s0_a"] == split["s0_b"] for split in splits)
    assert all(set(split.values()) == {"train", "val", "test"} for split in splits)


def test_coverage_of_a_toy_study(monkeypatch):
    """One short study of each kind: rows of both ways of checking, and a table with ratios."""
    monkeypatch.setattr(coverage, "MINUTES", 1.0)
    monkeypatch.setattr(coverage, "NUMBERS", (30,))
    results = {}
    for name, kind in coverage.KINDS.items():
        ways = {"drawn": coverage.run_studies(kind, 1), "plain": coverage.run_studies(kind, 1, 1)}
        for row in ways["drawn"]:
            assert row["coverage"] + row["below"] + row["above"] == pytest.approx(1)
            assert row["width"] >= 0
        results[name] = ways
    lines = coverage.lay_out(results).splitlines()
    assert len(lines) == 2 + sum(len(ways["drawn"]) for ways in results.values())
    assert lines[2].startswith("| usual | 30 | other | f1 | 3 |")


def test_reviewing_of_toy_animals(tmp_path, monkeypatch):
    """Two steps of training for each way; each looks at as many frames, and nothing is redone."""
    small = {"NUM_OLD": 2, "NUM_VAL": 1, "NUM_NEW": 2, "NUM_TEST": 2, "NUM_STEPS": 2}
    small |= {"NUM_MORE_STEPS": 1, "MINUTES": (0.1,), "NUM_NEW_FRAMES": 240, "NUM_OLD_FRAMES": 120}
    for name, value in small.items():
        monkeypatch.setattr(reviewing, name, value)
    options = ["-o", str(tmp_path), "--seed", "5"]
    result = CliRunner().invoke(reviewing.main, options, catch_exceptions=False)
    lines = result.output.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [
        f"seed 5, 0.1 min, {way}" for way in reviewing.WAYS
    ]
    assert lines[3:5] == ["| reviewed | 0.1 min |", "|---|---|"]
    again = CliRunner().invoke(reviewing.main, options, catch_exceptions=False)
    assert again.output.splitlines() == lines[3:]


def test_reviewers_look_at_as_many_minutes():
    """The last stretch is cut; unseen recordings have none."""
    spans = reviewing._take([("a", 0, 90), ("b", 30, 120), ("a", 200, 900)], 0.1)
    assert spans == {"a": [(0, 90)], "b": [(30, 120)]}
    assert reviewing._take([("a", 0, 900)], 0.25) == {"a": [(0, 450)]}
