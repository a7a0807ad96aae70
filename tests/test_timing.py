"""Times of frames: given where they depart from a steady rate, and only there."""

from fractions import Fraction

import numpy as np
import pytest

from mpar.video.timing import find_timing

MS = Fraction(1, 1000)
TICK = Fraction(1, 90000)


def test_steady_stamps_keep_the_stated_rate():
    """Milliseconds round 30 frames per second to steps of 33 and 34, which is no variation."""
    stamps = [round(i * 1000 / 30) + 7 for i in range(3000)]
    timing = find_timing(stamps, MS, 33, Fraction(30))
    assert (timing.fps, timing.times, timing.first_back) == (30, None, None)


def test_steady_stamps_at_another_rate_than_stated():
    """By hand: 3003 ticks of 1/90000 s a frame are 30000/1001, though the header says 25."""
    timing = find_timing([3003 * i for i in range(500)], TICK, 3003, Fraction(25))
    assert (timing.fps, timing.times) == (Fraction(30000, 1001), None)


def test_change_of_rate():
    """By hand: 60 frames of 1/30 s and 60 of 1/20 s last 5 s, so 24 frames per second."""
    stamps = [2 * i for i in range(60)] + [120 + 3 * i for i in range(60)]
    timing = find_timing(stamps, Fraction(1, 60), 3, Fraction(24))
    assert timing.fps == 24
    assert timing.times.dtype == np.float64
    assert timing.times[[0, 59, 60, 61, 119]].tolist() == pytest.approx(
        [0, 59 / 30, 2, 2 + 1 / 20, 2 + 59 / 20]
    )


@pytest.mark.parametrize("lost", [1, 60, 117])
def test_one_lost_frame_shifts_all_later_ones(lost):
    """The average rate alone hides it: it is never more than half a frame off."""
    stamps = [i for i in range(120) if i != lost]
    timing = find_timing(stamps, Fraction(1, 30), 1, Fraction(119, 4))
    assert (timing.times * 30).round(6).tolist() == stamps
    assert timing.fps == Fraction(119, 4)


def test_slow_drift_is_followed():
    """No step is long, but at the end frame i is far from i / fps."""
    stamps = np.cumsum(np.linspace(30, 40, 400).round()).astype(int).tolist()
    timing = find_timing(stamps, MS, 40, Fraction(1000, 35))
    assert len(timing.times) == 400


@pytest.mark.parametrize(
    ("stamps", "first_back"),
    [
        ([], None),
        ([5], None),
        ([0, None, 2, 3], None),
        ([None] * 4, None),
        ([0, 1, 2, 1, 2, 3], 3),
        ([0, 1, 1, 2], 2),
    ],
)
def test_stamps_that_say_nothing_are_not_used(stamps, first_back):
    """Missing, equal and backward stamps leave the stated rate."""
    timing = find_timing(stamps, Fraction(1, 30), 1, Fraction(25))
    assert (timing.fps, timing.times, timing.first_back) == (25, None, first_back)
