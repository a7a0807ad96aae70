"""Intervals over animals: what they hold, and how often they hold the truth."""

import numpy as np
import pytest

from mpar.scores.bootstrap import bootstrap_intervals


def share(counts):
    """Return the share of hits, and a score that does not exist without any."""
    hits, all_ = counts
    return np.array([hits / all_, np.nan if hits == 0 else 1.0])


def test_one_animal_has_no_interval():
    """Nothing can be said of other animals."""
    assert np.isnan(bootstrap_intervals(np.array([[3, 10]]), share)).all()


def test_animals_that_agree_have_a_narrow_interval():
    """The same share in every animal is the share of every draw."""
    low, high = bootstrap_intervals(np.array([[3, 10], [30, 100], [6, 20]]), share)
    assert low[0] == high[0] == 0.3


def test_draws_without_the_score_say_nothing_of_it():
    """A class that most draws lack still has an interval, of those that have it."""
    counts = np.array([[0, 10]] * 9 + [[5, 10]])
    low, high = bootstrap_intervals(counts, share)
    assert low[1] == high[1] == 1
    assert low[0] == 0
    assert high[0] > 0.05


def test_a_seed_fixes_the_draws():
    """The same study gives the same interval on every machine."""
    counts = np.random.default_rng(0).integers(1, 50, (8, 2))
    counts[:, 1] += 50
    first, again, other = (bootstrap_intervals(counts, share, seed=s) for s in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.slow
@pytest.mark.parametrize(("num_animals", "least", "most"), [(10, 0.9, 0.97), (30, 0.93, 0.98)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(num_animals, least, most):
    """Simulated studies of animals of different skill, whose mean skill is known."""
    rng = np.random.default_rng(4)
    num_held = 0
    for seed in range(400):
        skill = rng.beta(8, 2, num_animals)  # mean 0.8
        counts = np.stack([rng.binomial(100, skill), np.full(num_animals, 100)], axis=1)
        low, high = bootstrap_intervals(counts, share, num_resamples=400, seed=seed)
        num_held += low[0] <= 0.8 <= high[0]
    assert least <= num_held / 400 <= most


def test_intervals_over_frames_would_be_too_narrow():
    """What drawing animals is for: frames of one animal are no independent samples."""
    rng = np.random.default_rng(5)
    held = np.zeros(2)
    for seed in range(200):
        skill = rng.beta(4, 1, 12)
        counts = np.stack([rng.binomial(200, skill), np.full(12, 200)], axis=1)
        low, high = bootstrap_intervals(counts, share, num_resamples=300, seed=seed)
        mean = counts[:, 0].sum() / 2400
        by_frames = 1.96 * np.sqrt(mean * (1 - mean) / 2400)
        held += low[0] <= 0.8 <= high[0], abs(mean - 0.8) <= by_frames
    assert held[0] / 200 > 0.85
    assert held[1] / 200 < 0.5
