"""Estimates from checked stretches: known chances, no bias, intervals that hold, nothing lost."""

import json
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.scores.estimate import MIN_CHECKED, Estimate
from mpar.scores.intervals import num_to_halve
from mpar.scores.metrics import frame_scores
from mpar.scores.sampling import NUM_STRATA, cut_units, draw_order
from mpar.video.timeline import TimeLine
from tests.benchmarks import coverage
from tests.fixtures.helpers import recording_of

NAMES, PAIN = DEFAULT_CLASS_MAP.class_names, DEFAULT_CLASS_MAP.responses
REST, WITHDRAW, LICK, SHAKE, WALK, ACTIVE = range(6)


@pytest.fixture(scope="module")
def small_study():
    """Two minutes each of six animals; half of the bouts of pain are missed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coverage, "MINUTES", 2.0)
        return coverage.draw_study(1, coverage.Kind(0.08, 0.5, 1.0, 2.0, 0.1))


def check(estimate, truths, number):
    """Check stretches up to a number in all, with the truth as the person."""
    while estimate.num_checked < number:
        stretch = estimate.next_stretch()
        estimate.record(stretch, truths[stretch.recording][stretch.start : stretch.stop])


def true_labels(study):
    predictions, truths = study
    return np.concatenate([truths[item.name] for item in predictions])


def predicted(name, labels, sure=0.9, line=None):
    """Make a prediction with these labels, all as sure."""
    labels = np.asarray(labels, np.int8)
    rows = np.full((len(labels), len(NAMES)), (1 - sure) / (len(NAMES) - 1), np.float32)
    rows[np.arange(len(labels)), labels] = sure
    return recording_of(labels, name, 10, line, rows)


def test_units_hold_every_frame_once(small_study):
    """Units of 2 s at 10 frames/s; their predicted amounts add up."""
    predictions, _ = small_study
    units = cut_units(predictions, NAMES, 2.0, responses=PAIN)
    assert len(units) == 6 * 60
    for number, item in enumerate(predictions):
        mine = units.recording == number
        assert units.start[mine].tolist() == [0, *units.stop[mine][:-1]]
        assert units.stop[mine][-1] == item.num_frames
    assert (units.stop - units.start == 20).all()
    labels = np.concatenate([item.labels for item in predictions])
    frames = [(labels == k).sum() for k in range(6)]
    assert units.predicted.sum(axis=0) == pytest.approx([*frames, *np.array(frames) / 10])


def test_units_last_equally_long_on_an_uneven_time_line():
    """Ten frames a second for 10 s, then fewer for 14 s: 12 units of 2 s to within a frame."""
    times = np.concatenate([np.arange(100) / 10, 10 + np.arange(100) * 0.14])
    line = TimeLine(200, Fraction(8), times)
    units = cut_units([predicted("a", [REST] * 200, line=line)], NAMES, 2.0, responses=PAIN)
    assert units.seconds == pytest.approx([2] * 12, abs=0.15)
    assert (units.stop - units.start).tolist()[:5] == [20] * 5
    assert {*(units.stop - units.start).tolist()[5:]} == {14, 15}


def test_a_short_recording_is_one_unit():
    """One frame is enough."""
    units = cut_units(
        [predicted("a", [REST]), predicted("b", [LICK] * 5)], NAMES, 2.0, responses=PAIN
    )
    assert (units.stop - units.start).tolist() == [1, 5]


def test_every_unit_has_a_chance_and_pain_a_higher_one(small_study):
    """A quarter of the units: predicted pain is drawn more often than the rest."""
    predictions, _ = small_study
    units = cut_units(predictions, NAMES, 2.0, responses=PAIN)
    order = draw_order(units.stratum, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(len(units)))
    drawn = np.zeros(len(units), bool)
    drawn[order[: len(units) // 4]] = True
    has_pain = units.predicted[:, [WITHDRAW, LICK, SHAKE]].any(axis=1)
    assert drawn[has_pain].mean() > 1.25 * drawn[~has_pain].mean()
    chances = [drawn[units.stratum == h].mean() for h in range(units.stratum.max() + 1)]
    # the lowest chance is at least 0.7 times that of plain random drawing, but for rounding
    assert min(chances) > 0.7 * 0.25 * 0.9


def test_units_of_a_stratum_have_equal_chances():
    """By many seeds: each of 12 units is the first of its stratum as often."""
    stratum = np.array([0] * 12 + [1] * 3)
    first = Counter(
        next(u for u in draw_order(stratum, np.random.default_rng(seed)) if u < 12)
        for seed in range(2400)
    )
    assert set(first) == set(range(12))
    # 200 expected, standard deviation 14
    assert 140 < min(first.values()) <= max(first.values()) < 260


def test_all_checked_gives_the_scores_themselves(small_study):
    """Without anything unseen, intervals have no width, and all numbers are exact."""
    predictions, truths = small_study
    estimate = Estimate.open(predictions, NAMES, responses=PAIN, path=None)
    check(estimate, truths, estimate.num_stretches)
    assert estimate.next_stretch() is None
    result = estimate.result()
    assert (result["num_checked"], result["more_to_halve"]) == (360, 0)
    assert result["checked_seconds"] == pytest.approx(720)
    true = true_labels(small_study)
    scores = frame_scores(true, np.concatenate([item.labels for item in predictions]), NAMES)
    for k, name in enumerate(NAMES):
        found = result["classes"][name]
        for key in ("precision", "recall", "f1"):
            expected = getattr(scores, key)[k]
            assert [found[key]["estimate"], *found[key]["interval"]] == pytest.approx(
                [expected] * 3
            )
        assert found["seconds"]["interval"] == pytest.approx([(true == k).sum() / 10] * 2)
    for animal, cells in result["animals"].items():
        assert list(cells) == ["paw_withdraw", "paw_lick", "paw_shake"]
        for name, cell in cells.items():
            seconds = (truths[animal] == NAMES.index(name)).sum() / 10
            assert cell["estimate"] == pytest.approx(seconds)


@pytest.mark.slow
def test_estimates_have_no_bias(small_study):
    """Over 150 draws from one study, the mean estimate is the truth to within chance."""
    predictions, truths = small_study
    true = true_labels(small_study)
    amounts, recalls = [], []
    for seed in range(150):
        estimate = Estimate.open(predictions, NAMES, responses=PAIN, path=None, seed=seed)
        check(estimate, truths, 80)
        classes = estimate.result(with_animals=False)["classes"]
        amounts.append([classes[name]["seconds"]["estimate"] for name in NAMES])
        recalls.append(classes["walk"]["recall"]["estimate"])
    expected = [(true == k).sum() / 10 for k in range(6)]
    error = np.std(amounts, axis=0) / np.sqrt(len(amounts))
    assert (abs(np.mean(amounts, axis=0) - expected) < 3 * error).all()
    labels = np.concatenate([item.labels for item in predictions])
    assert np.mean(recalls) == pytest.approx(
        frame_scores(true, labels, NAMES).recall[WALK], abs=0.01
    )


@pytest.mark.slow
def test_intervals_hold_the_truth(monkeypatch):
    """In 40 small studies; `tests.benchmarks.coverage` does it at length."""
    monkeypatch.setattr(coverage, "MINUTES", 4.0)
    monkeypatch.setattr(coverage, "NUMBERS", (60,))
    rows = coverage.run_studies(coverage.KINDS["bad network"], 40)
    by_number = {(row["classes"], row["number"]): row for row in rows}
    assert len(rows) == 9
    assert all(row["coverage"] > 0.9 for row in rows)
    mean = np.mean([row["coverage"] for row in rows])
    assert mean < 0.995  # wide enough to hold everything would say nothing
    assert by_number["other", "f1"]["width"] < 0.4


@pytest.mark.slow
def test_drawing_by_doubt_narrows_the_intervals_of_pain(monkeypatch):
    """Against plain random checking of as many stretches."""
    monkeypatch.setattr(coverage, "MINUTES", 4.0)
    monkeypatch.setattr(coverage, "NUMBERS", (60,))
    widths = []
    for num_strata in (NUM_STRATA, 1):
        rows = coverage.run_studies(coverage.KINDS["usual"], 15, num_strata)
        widths.append(
            {row["number"]: row["median_width"] for row in rows if row["classes"] == "pain"}
        )
    assert widths[0]["precision"] < 0.95 * widths[1]["precision"]


def test_more_stretches_halve_the_interval():
    """Without a limit of stretches, three times as many more; never more than there are."""
    assert num_to_halve(100, 10**9) == 300
    assert num_to_halve(60, 100) == 26  # 1/86 - 1/100 is a quarter of 1/60 - 1/100
    assert num_to_halve(100, 100) == 0
    assert num_to_halve(0, 100) == 100


def test_numbers_wait_until_something_is_known():
    """No number where a class was neither predicted nor seen, but a note."""
    labels = [REST] * 500 + [WALK] * 300
    item = predicted("a", labels)
    truth = {"a": np.array(labels)}
    estimate = Estimate.open([item], NAMES, responses=PAIN, path=None)
    check(estimate, truth, MIN_CHECKED - 1)
    few = estimate.result()["classes"]["walk"]
    assert few["recall"] == {
        "estimate": None,
        "interval": None,
        "note": "fewer than 20 stretches checked",
    }
    assert few["seconds"]["predicted"] == pytest.approx(30)
    check(estimate, truth, MIN_CHECKED + 5)
    classes = estimate.result()["classes"]
    assert classes["paw_lick"]["precision"]["note"] == "mpar predicts no paw_lick in these videos"
    assert classes["paw_lick"]["recall"]["note"] == "no paw_lick seen yet"
    assert classes["paw_lick"]["f1"]["estimate"] is None
    # the seconds may be more than none: a lick may hide in what nobody checked
    low, high = classes["paw_lick"]["seconds"]["interval"]
    assert (low, classes["paw_lick"]["seconds"]["estimate"]) == (0, 0)
    assert 1 < high < 40
    assert classes["walk"]["recall"]["estimate"] == 1
    check(estimate, truth, estimate.num_stretches)
    assert (
        estimate.result()["classes"]["paw_lick"]["recall"]["note"] == "no paw_lick in these videos"
    )


def test_frames_that_nobody_can_tell_are_left_out(small_study):
    """The known part of a stretch stands for it; a stretch of -1 alone tells nothing."""
    predictions, truths = small_study
    whole, part = (Estimate.open(predictions, NAMES, responses=PAIN, path=None) for _ in range(2))
    for number in range(60):
        stretch = whole.next_stretch()
        assert stretch == part.next_stretch()
        labels = truths[stretch.recording][stretch.start : stretch.stop].copy()
        whole.record(stretch, labels)
        if number in (3, 7):
            labels[:] = -1
        part.record(stretch, np.where(np.arange(len(labels)) % 4 == 3, -1, labels))
    assert (whole.result()["num_useless"], part.result()["num_useless"]) == (0, 2)
    for key in ("precision", "recall"):
        first, second = (e.result()["classes"]["rest"][key]["estimate"] for e in (whole, part))
        assert first == pytest.approx(second, abs=0.03)
        assert first != second


def test_an_estimate_goes_on_where_it_stopped(small_study, tmp_path):
    """Reopened after each stretch: the same draws, the same numbers as in one go."""
    predictions, truths = small_study
    path = tmp_path / "estimate.json"
    whole = Estimate.open(predictions, NAMES, responses=PAIN, path=None, seed=3)
    check(whole, truths, 25)
    for number in range(1, 26):
        estimate = Estimate.open(predictions, NAMES, responses=PAIN, path=path, seed=3)
        check(estimate, truths, number)
    again = Estimate.open(predictions, NAMES, responses=PAIN, path=path, seed=3)
    assert again.next_stretch() == whole.next_stretch()
    assert again.result() == whole.result() == json.loads(path.read_text())["result"]
    for (first, labels), (second, others) in zip(
        again.checked_stretches(), whole.checked_stretches(), strict=True
    ):
        assert first == second
        assert (labels == others).all()
    other = Estimate.open(predictions, NAMES, responses=PAIN, path=None, seed=4)
    assert (
        other.next_stretch()
        != Estimate.open(predictions, NAMES, responses=PAIN, path=None, seed=3).next_stretch()
    )


def test_a_checked_stretch_can_be_corrected(small_study):
    """Its labels are replaced, and the order stays."""
    predictions, truths = small_study
    estimate = Estimate.open(predictions, NAMES, responses=PAIN, path=None)
    first = estimate.next_stretch()
    estimate.record(first, np.full(first.num_frames, LICK))
    check(estimate, truths, 30)
    wrong = estimate.result()
    estimate.record(first, truths[first.recording][first.start : first.stop])
    right = Estimate.open(predictions, NAMES, responses=PAIN, path=None)
    check(right, truths, 30)
    assert estimate.result() == right.result() != wrong


def test_only_drawn_stretches_count(small_study):
    """A stretch of the person's own choice has no known chance."""
    predictions, _ = small_study
    estimate = Estimate.open(predictions, NAMES, responses=PAIN, path=None)
    other = Estimate.open(predictions, NAMES, responses=PAIN, path=None, seed=1)
    stretch = other.next_stretch()
    with pytest.raises(ValueError, match="was not drawn"):
        estimate.record(stretch, np.zeros(stretch.num_frames, int))
    stretch = estimate.next_stretch()
    with pytest.raises(ValueError, match="found 3, expected 20"):
        estimate.record(stretch, [0, 0, 0])
    with pytest.raises(ValueError, match="found 6 at index 19"):
        estimate.record(stretch, [0] * 19 + [6])
    assert estimate.num_checked == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data | {"seed": 5}, "with other seed"),
        (lambda data: data | {"predictions": "0"}, "with other predictions"),
        (lambda data: data | {"format": "other"}, "with other format"),
        (lambda data: {}, "is damaged"),
        (lambda data: data | {"checked": [{}]}, "is damaged"),
        (lambda data: data | {"checked": data["checked"][1:]}, "were not drawn"),
        (
            lambda data: data | {"checked": [data["checked"][0] | {"bouts": [[0, 3]]}]},
            "is damaged",
        ),
        (
            lambda data: data | {"checked": [data["checked"][0] | {"bouts": [[9, 20]]}]},
            "is damaged",
        ),
    ],
    ids=["seed", "predictions", "format", "empty", "no cells", "gap", "too short", "no class"],
)
def test_a_file_that_does_not_fit_is_refused(small_study, tmp_path, spoil, message):
    """Nothing is overwritten, and the message says what to do."""
    predictions, truths = small_study
    path = tmp_path / "estimate.json"
    check(Estimate.open(predictions, NAMES, responses=PAIN, path=path), truths, 2)
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=message):
        Estimate.open(predictions, NAMES, responses=PAIN, path=path)
    assert path.read_bytes() == before


def test_text_instead_of_an_estimate_is_refused(small_study, tmp_path):
    """A truncated file is damaged."""
    path = tmp_path / "estimate.json"
    path.write_text('{"format": "mpar-est')
    with pytest.raises(ConfigError, match="is damaged"):
        Estimate.open(small_study[0], NAMES, responses=PAIN, path=path)


def test_history_ends_with_the_result(small_study):
    """Some points for a figure, from the first estimate on."""
    predictions, truths = small_study
    estimate = Estimate.open(predictions, NAMES, responses=PAIN, path=None)
    assert estimate.history() == []
    check(estimate, truths, 40)
    points = estimate.history(5)
    assert [point["num_checked"] for point in points] == [20, 25, 30, 35, 40]
    assert points[-1]["classes"] == estimate.result()["classes"]


def test_nothing_to_estimate_is_refused():
    """No predictions, no length."""
    with pytest.raises(ConfigError, match="no predictions"):
        Estimate.open([], NAMES, responses=PAIN, path=None)
    with pytest.raises(ConfigError, match="stretch_seconds"):
        Estimate.open([predicted("a", [REST])], NAMES, responses=PAIN, path=None, stretch_seconds=0)
