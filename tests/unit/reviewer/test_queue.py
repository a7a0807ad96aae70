"""The queue: doubtful places first, pain before others, many kinds and animals, none twice."""

from fractions import Fraction

import numpy as np
import pytest

from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.reviewer.queue import QueueConfig, order_stretches
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import recording_of

NAMES, PAIN = DEFAULT_CLASS_MAP.class_names, DEFAULT_CLASS_MAP.responses
REST, WITHDRAW, LICK, SHAKE, WALK, ACTIVE = range(6)
FPS = 10


def predicted(name, num_frames, *doubts, line=None, animal=""):
    """Make a recording of sure rest with (start, stop, first, second, share of the first)."""
    probabilities = np.zeros((num_frames, len(NAMES)), np.float32)
    probabilities[:, REST] = 1
    for start, stop, first, second, share in doubts:
        probabilities[start:stop] = 0
        probabilities[start:stop, first] = share
        probabilities[start:stop, second] = 1 - share
    return recording_of(None, name, FPS, line, probabilities, group=animal)


def places(stretches):
    return [(item.recording, item.start, item.stop) for item in stretches]


def test_a_stretch_is_a_doubtful_place_and_a_second_around_it():
    """Frames 50 to 69 at 10 frames/s: from 40 to 79; the reason names classes and numbers."""
    (found,) = order_stretches(
        [predicted("a", 200, (50, 70, LICK, REST, 0.52))], NAMES, responses=PAIN
    )
    assert (found.recording, found.start, found.stop) == ("a", 40, 80)
    assert found.reason == "paw_lick or rest? 0.52 against 0.48"
    # 2 s with a margin of 0.04, three times for pain and once for predicting it, in 4 s of looking
    assert found.worth == pytest.approx(60 * 2 * (3 * 0.96 + 1) / 4, rel=1e-5)


def test_stretches_end_with_the_recording():
    """There is no second before frame 0 and none after the last one."""
    item = predicted("a", 60, (2, 6, WALK, REST, 0.6), (55, 60, WALK, ACTIVE, 0.6))
    assert sorted(places(order_stretches([item], NAMES, responses=PAIN))) == [
        ("a", 0, 16),
        ("a", 45, 60),
    ]


def test_context_is_in_seconds_on_the_time_line_of_the_video():
    """After frame 30, frames last 0.2 s: a second is five of them."""
    times = np.concatenate([np.arange(30) * 0.1, 3 + np.arange(30) * 0.2])
    item = predicted("a", 60, (30, 34, WALK, REST, 0.6), line=TimeLine(60, Fraction(7), times))
    assert places(order_stretches([item], NAMES, responses=PAIN)) == [("a", 20, 39)]


def test_pain_comes_first_and_greater_doubt_before_smaller():
    """Of three places of equal length in three animals."""
    items = [
        predicted("a", 100, (40, 60, WALK, ACTIVE, 0.55)),
        predicted("b", 100, (40, 60, WALK, ACTIVE, 0.52)),
        predicted("c", 100, (40, 60, REST, SHAKE, 0.70)),
    ]
    found = order_stretches(items, NAMES, responses=PAIN)
    assert [item.recording for item in found] == ["c", "b", "a"]
    assert [item.worth for item in found] == sorted((f.worth for f in found), reverse=True)


def test_the_queue_covers_animals_and_kinds_of_doubt():
    """Two of three places are alike in one animal; the second of them comes last."""
    busy = predicted("a", 300, (40, 60, WALK, ACTIVE, 0.51), (140, 160, WALK, ACTIVE, 0.52))
    other = predicted("b", 300, (40, 60, WALK, REST, 0.60))
    assert [f.recording for f in order_stretches([busy, other], NAMES, responses=PAIN)] == [
        "a",
        "b",
        "a",
    ]
    by_doubt = order_stretches([busy, other], NAMES, responses=PAIN, config=QueueConfig(spread=0))
    assert [f.recording for f in by_doubt] == ["a", "a", "b"]


def test_recordings_of_one_animal_count_together():
    """A second recording of the same animal waits behind another animal."""
    doubt = (40, 60, WALK, ACTIVE)
    items = [
        predicted("a1", 100, (*doubt, 0.51), animal="a"),
        predicted("a2", 100, (*doubt, 0.55), animal="a"),
        predicted("b", 100, (*doubt, 0.60), animal="b"),
    ]
    assert [f.recording for f in order_stretches(items, NAMES, responses=PAIN)] == ["a1", "b", "a2"]


def test_sure_pain_is_looked_at_and_sure_rest_is_not():
    """A false alarm may be sure."""
    (found,) = order_stretches(
        [predicted("a", 100, (40, 50, LICK, REST, 1))], NAMES, responses=PAIN
    )
    assert (found.start, found.stop) == (30, 60)
    assert order_stretches([predicted("a", 100)], NAMES, responses=PAIN) == []


def test_no_frame_occurs_twice():
    """Neighbouring places share their second between them; long places are cut."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(6, 0.5), 40).astype(np.float32)
    item = predicted("a", 1200)
    item.probabilities[:] = np.repeat(probabilities, 30, axis=0)
    item.labels[:] = item.probabilities.argmax(axis=1)
    found = order_stretches([item], NAMES, responses=PAIN)
    count = np.zeros(1200, int)
    for start, stop in ((f.start, f.stop) for f in found):
        count[start:stop] += 1
        assert stop - start <= (4 + 2) * FPS
    assert count.max() == 1
    assert len(found) > 20


def test_reviewed_places_drop_out():
    """What was seen is no place; a place half seen is its other half."""
    item = predicted("a", 300, (50, 70, LICK, REST, 0.6), (150, 170, WALK, REST, 0.6))
    assert len(order_stretches([item], NAMES, responses=PAIN)) == 2
    (left,) = order_stretches([item], NAMES, responses=PAIN, reviewed={"a": [(40, 80)]})
    assert (left.start, left.stop) == (140, 180)
    half = order_stretches([item], NAMES, responses=PAIN, reviewed={"a": [(40, 60), (140, 180)]})
    assert places(half) == [("a", 50, 80)]
    assert (
        order_stretches(
            [item], NAMES, responses=PAIN, reviewed={"a": [(0, 300)], "other": [(0, 9)]}
        )
        == []
    )


def test_equal_worth_is_ordered_by_recording_and_time():
    """The queue never depends on chance."""
    items = [predicted(name, 300, (50, 60, WALK, REST, 0.6)) for name in "abc"]
    first, again = (order_stretches(items, NAMES, responses=PAIN) for _ in range(2))
    assert first == again
    assert [f.recording for f in first] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "bad", [{"spread": 2}, {"min_doubt": -1}, {"context_seconds": -1}, {"max_seconds": 0}]
)
def test_bad_values_are_refused(bad):
    """With the name of the value."""
    with pytest.raises(ConfigError):
        QueueConfig(**bad)
