"""Scores of a study: over animals, recordings and annotators, each against a count by hand."""

import dataclasses
import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mpar.report.score_plots import plot_bland_altman, plot_event_f1, plot_reliability
from mpar.report.score_report import report_text
from mpar.scores.agreement import bland_altman, compare_raters, measure_agreement, recording_table
from mpar.scores.calibration import measure_calibration
from mpar.scores.comparison import Comparison, row_names
from mpar.scores.events import CRITERIA, Criterion
from mpar.video.timeline import TimeLine

NAMES, PAIN = ("rest", "paw_lick", "walk"), ("paw_lick",)


def compare(name, truth, predicted, **more):
    """Return a comparison of two scorings, one digit a frame, "." for unlabelled."""
    arrays = (
        np.array([-1 if c == "." else int(c) for c in text], np.int8) for text in (truth, predicted)
    )
    truth, predicted = arrays
    return Comparison(
        name=name, truth=truth, predicted=predicted, line=TimeLine(len(truth), Fraction(10)), **more
    )


STUDY = [
    compare("a1", "0001110000", "0000110000", group="a"),
    compare("a2", "0011111100", "0011111100", group="a"),
    compare("b1", "0000000000", "0000000110", group="b"),
    compare("c1", "0011000011", "00110000..", group="c"),
    compare("d1", "..........", "1111111111", group="d"),
]


def test_scores_are_those_of_all_frames():
    """Counted by hand: 9 + 4 lick frames, 12 found, 2 false."""
    found = measure_agreement(STUDY, NAMES)
    assert found.frames.support.tolist() == [27, 13, 0]
    assert found.frames.confusion[1].tolist() == [1, 10, 0, 2]
    assert found.frames.specificity[1] == pytest.approx(25 / 27)
    assert found.frames.specificity[2] == 1
    assert found.frames.num_unlabelled_ignored == 10
    assert found.animals == ("a", "b", "c")
    onset = CRITERIA.index(Criterion("onset", 1))
    assert (found.events.num_true[1], found.events.num_predicted[1]) == (4, 4)
    assert found.events.num_matched[onset, 1] == 3


def test_intervals_hold_the_score_and_nothing_is_made_up():
    """A class without frames has none; one animal alone has none at all."""
    found = measure_agreement(STUDY, NAMES)
    low, high = found.intervals["f1"][1]
    assert low < found.frames.f1[1] < high
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (data["num_animals"], data["level"]) == (3, 0.95)
    assert data["classes"]["walk"]["f1"] is None
    assert data["classes"]["paw_lick"]["event_f1"]["onset ± 3 frames"][1] == 1
    alone = measure_agreement(STUDY[:2], NAMES)
    assert alone.to_dict()["macro_f1"] is None
    assert "no confidence intervals: all recordings are of one animal" in report_text(alone, PAIN)


def test_recordings_of_one_animal_are_drawn_together():
    """As many recordings, as one animal each: the interval would pretend to know more."""
    guesses = ("0001110000", "0000110000", "0001111100")
    twins = [
        (compare(f"{i}{j}", "0001110000", guess), str(i))
        for i, guess in enumerate(guesses)
        for j in range(2)
    ]
    apart = measure_agreement([c for c, _ in twins], NAMES).intervals["f1"][1]
    groups = [dataclasses.replace(c, group=animal) for c, animal in twins]
    together = measure_agreement(groups, NAMES).intervals["f1"][1]
    assert np.ptp(together) > np.ptp(apart)


def test_report_names_pain_first_and_says_what_its_intervals_are():
    """Recall and specificity of the pain class stand above everything else."""
    found = measure_agreement(STUDY, NAMES)
    lines = report_text(found, PAIN).splitlines()
    assert lines[0].split() == ["frames", "of", "recall", "specificity", "F1"]
    assert lines[2].startswith("paw_lick   0.769 [")
    assert "[95 % confidence intervals, bootstrap over 3 animals]" in lines
    assert "with only 3 animals, the confidence intervals are rough" in lines
    row = [line for line in lines if line.startswith("paw_lick     ")][-1]
    assert row.split() == ["paw_lick", "4", "4", "0.750", "0.750"]


def test_report_says_what_an_interval_without_width_is():
    """Where no animal has an error there is none, which proves little; only then is it said."""
    warning = (
        "an interval has zero width because all animals scored alike; other animals may differ"
    )
    right = [compare(name, "0001110000", "0001110000") for name in "abc"]
    assert warning in report_text(measure_agreement(right, NAMES), PAIN).splitlines()
    guesses = ("0011110011", "1000110000", "0011111111")
    wrong = [compare(str(i), "0001110000", guess) for i, guess in enumerate(guesses)]
    found = measure_agreement(wrong, NAMES)
    assert min(np.ptp(found.intervals[name][1]) for name in ("recall", "f1")) > 0
    assert warning not in report_text(found, PAIN).splitlines()


def test_table_has_what_each_recording_holds():
    """Bouts, seconds and latency by hand; what nobody scored is left out of both."""
    table = recording_table(STUDY, NAMES)
    assert sorted(set(table["Recording"])) == ["a1", "a2", "b1", "c1"]
    row = table[(table["Recording"] == "a1") & (table["Class"] == "paw_lick")].iloc[0]
    assert row[["True_bouts", "Predicted_bouts"]].tolist() == [1, 1]
    assert row[["True_s", "Predicted_s"]].tolist() == [0.3, 0.2]
    assert row[["True_latency_s", "Predicted_latency_s"]].tolist() == [0.3, 0.4]
    row = table[(table["Recording"] == "b1") & (table["Class"] == "paw_lick")].iloc[0]
    assert np.isnan(row["True_latency_s"])
    assert row["Predicted_latency_s"] == 0.7
    masked = recording_table([compare("m", "01..11", "011110")], NAMES)
    row = masked[masked["Class"] == "paw_lick"].iloc[0]
    assert row[["True_bouts", "Predicted_bouts"]].tolist() == [2, 2]


def test_limits_of_agreement_by_hand():
    """Differences 1, 0 and 2: mean 1, standard deviation 1."""
    found = bland_altman(np.array([1, 2, 3, np.nan]), np.array([2.0, 2, 5, 9]))
    assert (found.num, found.bias) == (3, 1)
    assert (found.low, found.high) == pytest.approx((-0.96, 2.96))
    assert np.isnan(bland_altman(np.array([]), np.array([])).bias)
    assert np.isnan(bland_altman(np.array([1.0]), np.array([2.0])).low)


def test_calibration_by_hand():
    """Ten frames at 0.9 of which 6 are right, ten at 0.5 of which 5 are: (0.3 + 0) / 2."""
    truth = np.array([1] * 6 + [0] * 4 + [1] * 5 + [0] * 5 + [-1])
    confidence = np.array([0.9] * 10 + [0.5] * 10 + [1.0])
    one = Comparison(
        name="x",
        truth=truth,
        predicted=np.ones(21, int),
        line=TimeLine(21, Fraction(30)),
        confidence=confidence,
    )
    found = measure_calibration([one])
    assert found.expected_error == pytest.approx(0.15)
    assert found.num_frames.sum() == 20
    assert len(found.to_dict()["bins"]) == 2
    assert measure_calibration(STUDY) is None
    title = plot_reliability(found).axes[0].get_title()
    assert title == "expected calibration error 0.150\nn = 20 frames"


def test_annotators_are_set_against_each_other_and_the_network():
    """Kappa by hand: 8 of 10 frames agree, 0.58 by chance."""
    first, second = np.array([0] * 6 + [1] * 4), np.array([0] * 8 + [1] * 2)
    one = Comparison(
        name="x",
        truth=first,
        predicted=first,
        line=TimeLine(10, Fraction(30)),
        annotators={"bo": second, "anna": first},
    )
    pairs = {(p.first, p.second): p for p in compare_raters([one, STUDY[0]], NAMES)}
    assert list(pairs) == [("anna", "bo"), ("mpar", "anna"), ("mpar", "bo")]
    chance = 0.6 * 0.8 + 0.4 * 0.2
    assert pairs["anna", "bo"].kappa == pytest.approx((0.8 - chance) / (1 - chance))
    assert pairs["anna", "bo"].f1[:2] == pytest.approx([2 * 6 / 14, 2 * 2 / 6])
    assert np.isnan(pairs["anna", "bo"].f1[2])
    assert pairs["mpar", "anna"].kappa == 1
    assert pairs["mpar", "anna"].to_dict(NAMES)["f1"]["walk"] is None
    assert compare_raters(STUDY, NAMES) == []
    text = report_text(measure_agreement([one], NAMES), PAIN, None, list(pairs.values()))
    assert "anna and bo            0.545      10    0.857        0.667      n/a" in text


def test_annotators_keep_their_labels_whatever_they_are_called():
    """One called mpar is no network: who agrees with whom depends on labels, not on names."""
    truth = np.array([0, 0, 1, 1, 2, 2])
    wrong = np.array([1, 1, 0, 0, 0, 1])

    def pairs_of(first, second):
        one = Comparison(
            name="r",
            truth=truth,
            predicted=wrong,
            line=TimeLine(len(truth), Fraction(30)),
            annotators={first: truth, second: truth},
        )
        return [(p.with_network, p.kappa, p.f1.tolist()) for p in compare_raters([one], NAMES)]

    assert pairs_of("mpar", "zoe") == pairs_of("anna", "zoe")
    assert pairs_of("human", "mpar") == pairs_of("anna", "zoe")
    assert [kappa == 1 for _, kappa, _ in pairs_of("mpar", "zoe")] == [True, False, False]
    one = Comparison(
        name="r",
        truth=truth,
        predicted=wrong,
        line=TimeLine(len(truth), Fraction(30)),
        annotators={"human": truth, "mpar": truth},
    )
    shown = {name for pair in compare_raters([one], NAMES) for name in (pair.first, pair.second)}
    assert shown == {"human", "mpar", "mpar (network)"}
    assert row_names([one]) == ("human (majority)", "mpar (network)")
    assert row_names(STUDY[:1]) == ("human", "mpar")


def test_figures_show_every_class_that_has_bouts():
    """Lines of classes with true bouts; a panel of counts for each class."""
    found = measure_agreement(STUDY, NAMES)
    figure = plot_event_f1(found.events)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["rest (n = 7)", "paw_lick (n = 4)"]
    figure = plot_bland_altman(recording_table(STUDY, NAMES), NAMES)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[1].startswith("paw_lick, n = 4\nbias 0 [−")


def test_perfect_counts_have_an_axis():
    """Differences that are all 0 do not make a scale of 1e-17, nor do equal means."""
    truth = STUDY[0].truth
    one = Comparison(name="x", truth=truth, predicted=truth, line=STUDY[0].line)
    table = recording_table([one, replace(one, name="y")], NAMES)
    for axes in plot_bland_altman(table, NAMES).axes:
        assert axes.get_ylim() == (-1, 1)
        assert np.diff(axes.get_xlim()) == 2
        assert axes.get_title().endswith("n = 2\nbias 0 [0, 0]")
