"""The benchmarks' own arithmetic: which way ratios point, which bouts count as found."""

import numpy as np
import pytest

from tests.benchmarks import race as race_module
from tests.benchmarks.learning import event_f1
from tests.benchmarks.race import Row, race


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
