"""Every second has its frame, at any rate and where frames are not evenly spaced."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.video.timeline import TimeLine

# 60 frames at 30 a second, then 60 at 20
TIMES = np.concatenate([np.arange(60) / 30, 2 + np.arange(60) / 20])


def line_of(times):
    return TimeLine(len(times), Fraction(24), np.asarray(times, float))


@given(
    fps=st.sampled_from([15, 25, 30, Fraction(30000, 1001), Fraction(15237, 508), 120]),
    frame=st.integers(0, 10**6),
)
def test_frames_of_an_even_rate(fps, frame):
    """A time rounded to milliseconds is the time of its frame."""
    line = TimeLine(10**6, Fraction(fps))
    assert line.frame_of(Fraction(round(frame / Fraction(fps), 3))) == frame
    assert line.frame_of((frame + Fraction(1, 2)) / Fraction(fps)) == frame


@pytest.mark.parametrize(
    ("seconds", "frame"),
    [(0, 0), (1, 30), (1.667, 50), (2, 60), (2.049, 60), (2.05, 61), (4.95, 119), (4.999, 119)],
)
def test_frames_have_their_own_times(seconds, frame):
    """After a change of rate, and to the last frame, the frame on the screen is found."""
    assert line_of(TIMES).frame_of(Fraction(str(seconds))) == frame


@given(st.lists(st.integers(1, 400), min_size=1, max_size=50), st.data())
def test_any_spacing(steps, data):
    """Whatever the steps in ms, each frame is found at its time and until the next one."""
    times = np.cumsum([0, *steps]) / 1000
    line = line_of(times)
    frame = data.draw(st.integers(0, len(times) - 1))
    assert line.frame_of(Fraction(round(Fraction(float(times[frame])), 3))) == frame
    if frame + 1 < len(times) and steps[frame] > 1:
        assert line.frame_of(Fraction(float(times[frame + 1])) - Fraction(1, 1000)) == frame


def test_after_the_end_there_are_more_frames():
    """An event behind the picture is behind the last frame; the end itself is the first such."""
    line = line_of(TIMES)
    assert line.seconds == pytest.approx(5)
    assert line.frame_of(Fraction(5)) == 120
    assert line.frame_of(Fraction(6)) == 144
    assert TimeLine(90, Fraction(30)).frame_of(Fraction("3.4")) == 102


def test_what_is_no_time_line():
    """A time for each frame, and a rate before seconds are asked for."""
    with pytest.raises(ValueError, match=r"times: found \(3,\), expected \(4,\)"):
        TimeLine(4, Fraction(30), np.zeros(3))
    with pytest.raises(ValueError, match="the frame rate is unknown"):
        TimeLine(4).frame_of(Fraction(1))
