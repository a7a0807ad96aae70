"""Baselines on the same frames, and the verdict."""

from fractions import Fraction

import numpy as np
import pytest

from mpar.scores.baselines import measure_baselines
from mpar.scores.comparison import Comparison
from mpar.video.timeline import TimeLine

NAMES, PAIN = ("rest", "paw_lick", "walk"), ("paw_lick",)


def compare(name, truth, predicted, movement=None):
    """Return a comparison of one animal from labels."""
    return Comparison(
        name=name,
        truth=np.array(truth),
        predicted=np.array(predicted),
        line=TimeLine(len(truth), Fraction(30)),
        alone={}
        if movement is None
        else {"network": np.array(predicted), "movement": np.array(movement)},
    )


def animals(num, is_better):
    """Draw animals on which mpar is right, or as wrong as the movement model."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(num):
        truth = rng.integers(0, 3, 90)
        movement = np.where(rng.random(90) < 0.6, truth, rng.integers(0, 3, 90))
        predicted = truth if is_better else np.roll(movement, 0)
        found.append(compare(f"m{i}", truth, predicted, movement))
    return found


def test_scores_by_hand():
    """Macro-F1, accuracy and F1 of six frames, counted by hand."""
    result = measure_baselines(
        [compare("m", [0, 0, 0, 1, 2, -1], [0, 0, 1, 1, 2, 0], [0, 0, 0, 0, 2, 1])],
        NAMES,
        responses=PAIN,
    )
    scores = result["scores"]
    assert scores["mpar"]["accuracy"] == pytest.approx(4 / 5)
    assert scores["movement"]["f1"]["paw_lick"] == 0
    assert scores["movement"]["f1"]["rest"] == pytest.approx(6 / 7)
    assert scores["most_frequent"]["accuracy"] == pytest.approx(3 / 5)
    assert scores["most_frequent"]["macro_f1"] == pytest.approx(0.75 / 3)
    assert result["most_frequent_class"] == "rest"
    expected = (0.8 + 2 / 3 + 1) / 3 - (6 / 7 + 0 + 1) / 3
    assert result["gain"] == pytest.approx(expected)


def test_verdict_of_a_network_worth_using():
    """Better on every animal: the interval lies above 0, and the verdict says better."""
    result = measure_baselines(animals(6, is_better=True), NAMES, responses=PAIN)
    assert result["rival"] == "movement"
    assert result["interval"][0] > 0
    assert result["verdict"].startswith(
        "mpar is better than the movement model alone (macro-F1 +0."
    )


def test_verdict_of_a_network_not_worth_using():
    """No better than the movement model: the verdict says so and names the class to score."""
    result = measure_baselines(animals(6, is_better=False), NAMES, responses=PAIN)
    assert result["interval"] == [0, 0]
    assert (
        "not worth using yet. Score more animals, above all bouts of paw_lick"
        in (result["verdict"])
    )


def test_verdict_names_no_class_that_is_perfect():
    """Both models are right everywhere: more bouts of a perfect class would not help."""
    truth = [0, 1, 2] * 20
    result = measure_baselines(
        [compare(f"m{i}", truth, truth, truth) for i in range(3)], NAMES, responses=PAIN
    )
    assert result["verdict"].endswith("not worth using yet. Score more animals.")


def test_one_animal_gives_no_verdict():
    """A single animal has no interval."""
    result = measure_baselines(animals(1, is_better=True), NAMES, responses=PAIN)
    assert result["interval"] is None
    assert result["verdict"].startswith("With one animal, mpar cannot tell")


def test_without_movement_the_constant_is_the_rival():
    """Folders of CSVs have no cache to measure movement in."""
    result = measure_baselines(
        [compare(f"m{i}", [0, 1, 2], [0, 1, 2]) for i in range(3)], NAMES, responses=PAIN
    )
    assert set(result["scores"]) == {"mpar", "most_frequent"}
    assert 'better than "always the most frequent class"' in result["verdict"]


def test_pieces_of_one_animal_count_once():
    """The interval draws animals, not recordings: six pieces of one animal have none."""
    pieces = [
        Comparison(
            name=f"p{i}", truth=c.truth, predicted=c.predicted, line=c.line, group="m1",
            alone=c.alone,
        )
        for i, c in enumerate(animals(6, is_better=True))
    ]  # fmt: skip
    assert measure_baselines(pieces, NAMES, responses=PAIN)["interval"] is None
