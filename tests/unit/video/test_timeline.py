"""Every second has its frame, at any rate and where frames are not evenly spaced."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.video.timeline import (
    MAX_STEPS,
    TimeLine,
    find_grid,
    find_steps,
    find_timeline,
    first_back,
)

MS = Fraction(1, 1000)
TICK = Fraction(1, 90000)
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
    if frame + 1 < len(times) and steps[frame] > 1 and not line.is_steady:
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


def test_steady_stamps_keep_the_stated_rate():
    """Milliseconds round 30 frames per second to steps of 33 and 34, which is no variation."""
    stamps = [round(i * 1000 / 30) + 7 for i in range(3000)]
    line = find_timeline(stamps, MS, 33, Fraction(30))
    assert (line.fps, line.times, line.is_steady) == (30, None, True)


def test_steady_stamps_at_another_rate_than_stated():
    """By hand: 3003 ticks of 1/90000 s a frame are 30000/1001, though the header says 25."""
    line = find_timeline([3003 * i for i in range(500)], TICK, 3003, Fraction(25))
    assert (line.fps, line.times) == (Fraction(30000, 1001), None)


def test_change_of_rate():
    """By hand: 60 frames of 1/30 s and 60 of 1/20 s last 5 s, so 24 frames per second."""
    stamps = [2 * i for i in range(60)] + [120 + 3 * i for i in range(60)]
    line = find_timeline(stamps, Fraction(1, 60), 3, Fraction(24))
    assert line.fps == 24
    assert line.times.dtype == np.float64
    assert line.times[[0, 59, 60, 61, 119]].tolist() == pytest.approx(
        [0, 59 / 30, 2, 2 + 1 / 20, 2 + 59 / 20]
    )


@pytest.mark.parametrize("lost", [1, 60, 117])
def test_one_lost_frame_shifts_all_later_ones(lost):
    """The average rate alone hides it: it is never more than half a frame off."""
    stamps = [i for i in range(120) if i != lost]
    line = find_timeline(stamps, Fraction(1, 30), 1, Fraction(119, 4))
    assert (line.times * 30).round(6).tolist() == stamps
    assert line.fps == Fraction(119, 4)


def test_slow_drift_is_followed():
    """No step is long, but at the end frame i is far from i / fps."""
    stamps = np.cumsum(np.linspace(30, 40, 400).round()).astype(int).tolist()
    line = find_timeline(stamps, MS, 40, Fraction(1000, 35))
    assert len(line.times) == 400


@pytest.mark.parametrize(
    ("stamps", "back"),
    [
        ([], None),
        ([5], None),
        ([0, None, 2, 3], None),
        ([None] * 4, None),
        ([0, 1, 2, 1, 2, 3], 3),
        ([0, 1, 1, 2], 2),
    ],
)
def test_stamps_that_say_nothing_are_not_used(stamps, back):
    """Missing, equal and backward stamps leave the stated rate."""
    line = find_timeline(stamps, Fraction(1, 30), 1, Fraction(25))
    assert (line.fps, line.times, first_back(stamps)) == (25, None, back)


@given(
    jitter=st.lists(st.integers(-12, 12), min_size=3, max_size=60),
    fps=st.sampled_from([25, 30, Fraction(30000, 1001)]),
)
def test_frames_of_stamps_that_jitter(jitter, fps):
    """The stamp of a frame, in ms, and i / fps are both the time of frame i."""
    stamps = [round(i * 1000 / fps + by) for i, by in enumerate([0, *jitter])]
    line = find_timeline(stamps, MS, 33, Fraction(fps))
    if not line.is_steady:  # by chance a step longer than 1.5 usual ones
        return
    for i, stamp in enumerate(stamps):
        assert line.frame_of(Fraction(stamp, 1000)) == i
        if line.fps == fps:
            assert line.frame_of(Fraction(round(i / Fraction(fps), 3))) == i
    assert line.frame_of(line.seconds) == len(stamps)


@pytest.mark.parametrize(
    ("lead_ms", "counted"), [(0, 0), (16, 0), (17, Fraction(17, 1000)), (500, Fraction(1, 2))]
)
def test_sound_before_the_picture(lead_ms, counted):
    """More than half a frame counts; of less, the stamps of both clocks give the same frame."""
    stamps = [lead_ms + 100 + round(i * 1000 / 30) for i in range(90)]
    line = find_timeline(stamps, MS, 33, Fraction(30), zero=Fraction(1, 10))
    assert float(line.lead_seconds) == float(counted)
    assert line.is_steady
    for i in range(90):
        assert line.frame_of(Fraction(stamps[i] - 100, 1000)) == i
        if lead_ms < 17:
            assert line.frame_of(Fraction(round(i / Fraction(30), 3))) == i
    assert line.seconds == pytest.approx(3 + float(counted))


@pytest.mark.parametrize("fps", [30, Fraction(30000, 1001), Fraction(295, 10)])
def test_grid_of_the_same_tempo(fps):
    """A steady video keeps its frames, one by one, though its stamps jitter."""
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, 300)
    line = TimeLine(300, Fraction(fps), np.arange(300) / float(fps) + 1 + jitter)
    source, rate = find_grid(line, Fraction(30))
    assert (source.tolist(), rate) == ([*range(300)], fps)
    assert find_steps(line, rate, 300).tolist() == [*range(300)]


@pytest.mark.parametrize(("fps", "num_steps"), [(25, 120), (60, 50), (120, 25), (15, 200)])
def test_grid_of_another_rate(fps, num_steps):
    """By hand: 100 frames at 60 a second are 50 steps at 30, and every other frame is one."""
    line = TimeLine(100, Fraction(fps))
    source, rate = find_grid(line, Fraction(30))
    assert (len(source), rate) == (num_steps, 30)
    distance = np.abs(source / fps - np.arange(num_steps) / 30)
    assert distance.max() <= 0.5 / fps + 1e-9
    steps = find_steps(line, rate, len(source))
    departures = np.abs(steps / 30 - np.arange(100) / fps)
    assert departures[steps < num_steps - 1].max() <= 0.5 / 30 + 1e-9
    assert departures.max() < 1 / 30
    if fps == 60:
        assert source.tolist() == [*range(0, 100, 2)]


def test_grid_fills_gaps():
    """By hand: frames 0, 1 and 5 of a camera; the nearer of 1 and 5 stands for the lost ones."""
    line = TimeLine(4, Fraction(30), np.array([0, 1, 5, 6]) / 30)
    source, rate = find_grid(line, Fraction(30))
    assert source.tolist() == [0, 1, 1, 1, 2, 2, 3]
    assert find_steps(line, rate, 7).tolist() == [0, 1, 5, 6]


@pytest.mark.parametrize("pause", [2, 60, 95_400])
def test_a_pause_is_no_long_picture(pause):
    """Ten frames, a pause of seconds or a day, ten more: 32 steps lie between them, not all."""
    times = np.concatenate([np.arange(10), np.arange(10) + 9 + pause * 30]) / 30
    line = TimeLine(20, Fraction(30), times)
    source, rate = find_grid(line, Fraction(30))
    assert len(source) == 9 + MAX_STEPS + 10
    assert source.tolist() == [*range(9), *[9] * 17, *[10] * 16, *range(11, 20)]
    assert find_steps(line, rate, len(source)).tolist() == [*range(10), *range(41, 51)]


@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.sampled_from([10, 30, 100]))
def test_any_grid(steps, rate):
    """Frames rise, the nearest is chosen, and each frame's step lies within half a step of it."""
    times = np.cumsum([0, *steps]) / 1000
    line = TimeLine(len(times), len(times) / Fraction(float(times[-1])), times)
    source, found = find_grid(line, Fraction(rate))
    assert (np.diff(source) >= 0).all()
    assert source.min() >= 0
    assert source.max() < len(times)
    if found == rate and len(source) != len(times):
        ticks = np.arange(len(source)) / rate
        nearest = np.abs(times[None] - ticks[:, None]).min(axis=1)
        np.testing.assert_allclose(np.abs(times[source] - ticks), nearest, atol=1e-9)


@given(st.lists(st.integers(1, 90), min_size=2, max_size=40), st.data())
def test_seconds_add_up(steps, data):
    """Whatever the steps in ms, the parts of a recording last as long as the whole."""
    times = np.cumsum([0, *steps]) / 1000
    line = TimeLine(len(times), Fraction(25), times)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(times), max_size=len(times))))
    whole = float(line.seconds_of(mask)) + float(line.seconds_of(~mask))
    assert whole == pytest.approx(float(line.seconds))
    frame = data.draw(st.integers(0, len(times) - 1))
    assert line.first_at(line.start_of(frame)) == frame
    if not line.is_steady:
        assert line.first_at(line.start_of(frame) + Fraction(6, 10000)) == frame + 1
    piece = line.piece(frame, len(times))
    assert float(piece.seconds) == pytest.approx(
        float(line.seconds - line.start_of(frame)), abs=0.09
    )


@given(
    fps=st.sampled_from(
        [
            Fraction(r)
            for r in ("30", "30000/1001", "24000/1001", "25", "15", "60", "7", "120", "300/7")
        ]
    ),
    num_frames=st.integers(2, 400),
    jitter=st.none() | st.integers(0, 2**32),
    lead=st.sampled_from([0.0, 0.25]),
    data=st.data(),
)
def test_one_rule_from_seconds_to_frames(fps, num_frames, jitter, lead, data):
    """A time of frame i in milliseconds, by its stamp or its number, is frame i for all callers.

    Labels go by `frame_of`; windows, bins, stimuli, onsets and limits by `first_at`.
    """
    times = None
    if jitter is not None:
        away = np.random.default_rng(jitter).uniform(-0.2, 0.2, num_frames)
        away[0] = 0
        times = lead + (np.arange(num_frames) + away) / float(fps)
    line = TimeLine(num_frames, fps, times)
    frame = data.draw(st.integers(0, num_frames - 1))
    for time in (line.start_of(frame), line.lead_seconds + frame / fps):
        written = Fraction(round(1000 * time), 1000)
        assert line.frame_of(written) == frame
        assert line.first_at(written) == frame


@pytest.mark.parametrize(
    ("seconds", "shown", "first"),
    [("0.067", 2, 2), ("0.066", 1, 2), ("0.0667", 2, 2), ("0.080", 2, 3), ("9", 270, 90)],
)
def test_frames_at_a_time_by_hand(seconds, shown, first):
    """30 frames a second: frame 2 is on the screen from 66.7 ms on."""
    line = TimeLine(90, Fraction(30))
    assert (line.frame_of(Fraction(seconds)), line.first_at(Fraction(seconds))) == (shown, first)
