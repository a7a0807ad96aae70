"""From probabilities to labels: every step by hand, and that fitting finds what helps."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mpar.predictions.postprocess
from mpar.errors import ConfigError
from mpar.predictions.postprocess import PostConfig, change_post, postprocess, smooth
from mpar.scores.metrics import mean_log_loss
from mpar.scores.post_fitting import fit_postprocessing, fit_temperature, shortest_bouts

NAMES = ("rest", "lick", "walk")


def sure_of(text, sureness=0.8):
    """Return probabilities that are sure of one class a frame: one digit a frame."""
    labels = np.array([int(c) for c in text])
    rest = (1 - sureness) / 2
    return np.where(np.arange(3) == labels[:, None], sureness, rest).astype(np.float32)


def labels_of(text, config):
    """Return the labels of `sure_of` as text, "." for none."""
    labels, _ = postprocess(sure_of(text), config)
    return "".join("." if label < 0 else str(label) for label in labels)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_without_anything_it_is_the_best_class(labels):
    """The defaults change neither labels nor probabilities."""
    probabilities = sure_of("".join(map(str, labels)))
    found, same = postprocess(probabilities, PostConfig())
    assert found.tolist() == labels
    assert (same == probabilities).all()


def test_smoothing_by_hand():
    """Three frames a mean; beyond an end its frame is repeated. A single frame is outvoted."""
    config = PostConfig(smooth_frames=3)
    smoothed = smooth(sure_of("0100"), config)
    assert smoothed[:, 1] == pytest.approx([(0.1 + 0.1 + 0.8) / 3] + [1 / 3] * 2 + [0.1])
    assert smoothed.sum(axis=1) == pytest.approx(1)
    assert labels_of("0001000", config) == "0000000"
    assert labels_of("0001100", config) == "0001100"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("0111112", "1111111", id="at both ends"),
        pytest.param("0011122", "1111111", id="two frames"),
        pytest.param("0001111", "0001111", id="three stay"),
        pytest.param("01122", "11111", id="one frame is left"),
        pytest.param("0012", "0012", id="none would be left"),
    ],
)
def test_edges_by_hand(before, after):
    """Two frames at each end are named as the third is, before anything is averaged."""
    assert labels_of(before, PostConfig(edge_frames=2)) == after
    config = PostConfig(edge_frames=2, smooth_frames=3)
    expected = smooth(sure_of(after), PostConfig(smooth_frames=3))
    np.testing.assert_array_equal(smooth(sure_of(before), config), expected)


def test_edges_are_fitted():
    """Where the first and last frame are wrong, fitting takes those beside them."""
    truth = np.repeat([1, 0, 1], 30)
    probabilities = sure_of("0" + "1" * 29 + "0" * 30 + "1" * 29 + "2")
    config, effect = fit_postprocessing([truth], [probabilities], ("a", "b", "c"), (1, 1, 1))
    assert (config.edge_frames, config.smooth_frames) == (2, 1)
    assert effect["post"]["macro_f1"] == 1 > effect["raw"]["macro_f1"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("1110111", "1111111", id="one frame"),
        pytest.param("1100011", "1100011", id="three frames are no gap"),
        pytest.param("1110222", "1110222", id="between two classes nothing is closed"),
        pytest.param("0111110", "0111110", id="at the ends nothing is closed"),
        pytest.param("1101011", "1111111", id="two gaps"),
    ],
)
def test_gaps_by_hand(before, after):
    """Gaps of two frames at most, between bouts of one class."""
    assert labels_of(before, PostConfig(close_gaps=2)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("0001100000", "0000000000", id="two frames are too short"),
        pytest.param("0001110000", "0001110000", id="three are not"),
        pytest.param("1100000000", "1100000000", id="cut off by the beginning"),
        pytest.param("0000000011", "0000000011", id="cut off by the end"),
        pytest.param("0002000000", "0002000000", id="a class without a shortest length"),
        pytest.param("0010011100", "0000011100", id="only the short one"),
    ],
)
def test_short_bouts_by_hand(before, after):
    """Licks of fewer than three frames go to their neighbours."""
    assert labels_of(before, PostConfig(min_frames=(1, 3, 1))) == after


def test_short_bout_goes_to_the_more_probable_neighbour():
    """Between rest and walk the probabilities of its own frames decide."""
    probabilities = sure_of("0001222")
    probabilities[3] = 0.1, 0.5, 0.4
    assert (
        postprocess(probabilities, PostConfig(min_frames=(1, 2, 1)))[0].tolist()
        == [0] * 3 + [2] * 4
    )


def test_bouts_that_grow_together_are_kept():
    """Once the shortest is gone its neighbours are one bout, which is long enough."""
    assert labels_of("0011011000", PostConfig(min_frames=(2, 4, 1))) == "0011111000"


def test_thresholds_by_hand():
    """A class below its threshold is not named: the next best is, or none."""
    probabilities = np.array([[0.3, 0.6, 0.1], [0.1, 0.85, 0.05], [0.2, 0.5, 0.3]], np.float32)
    labels, _ = postprocess(probabilities, PostConfig(thresholds=(0.25, 0.8, 0.4)))
    assert labels.tolist() == [0, 1, -1]


def test_weights_by_hand():
    """The best product is named; thresholds, and what is written, go by the probability alone."""
    probabilities = np.array([[0.6, 0.35, 0.05], [0.5, 0.3, 0.2], [0.7, 0.1, 0.2]], np.float32)
    config = PostConfig(weights=(1, 2, 1))
    labels, after = postprocess(probabilities, config)
    assert labels.tolist() == [1, 1, 0]
    np.testing.assert_array_equal(after, probabilities)
    config = PostConfig(weights=(1, 2, 1), thresholds=(0, 0.32, 0))
    assert postprocess(probabilities, config)[0].tolist() == [1, 0, 0]


def test_temperature_makes_confidence_say_what_is_right():
    """90 % sure and right in 60 % of frames: the fitted temperature makes it less sure."""
    rng = np.random.default_rng(0)
    truth = np.where(rng.random(2000) < 0.6, 1, rng.choice([0, 2], 2000))
    probabilities = sure_of("1" * 2000, 0.9)
    temperature = fit_temperature([truth], [probabilities])
    heated = smooth(probabilities, PostConfig(temperature=temperature))
    assert heated[0, 1] == pytest.approx(0.6, abs=0.03)
    assert mean_log_loss([truth], [heated]) < mean_log_loss([truth], [probabilities])
    assert (heated.argmax(axis=1) == 1).all()


def test_shortest_bouts_are_whole_ones():
    """Bouts at an end, or beside frames that nobody scored, may have been longer."""
    truth = np.array([1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, -1, 2, 2, 0, 0, 2])
    assert shortest_bouts([truth], 3) == (2, 4, 1)
    assert shortest_bouts([np.array([1, 1, 1])], 2) == (1, 1)


def test_fitting_removes_flicker_and_says_what_that_did():
    """Single wrong frames cost bouts; the effect is told for frames and for bouts."""
    truth = np.zeros(400, int)
    for start in range(20, 400, 60):
        truth[start : start + 8] = 1
    probabilities = sure_of("".join(map(str, truth)))
    probabilities[7::13] = np.roll(probabilities[7::13], 1, axis=1)
    config, effect = fit_postprocessing([truth], [probabilities], NAMES, (1, 6, 1))
    assert config.smooth_frames > 1
    assert effect["post"]["macro_f1"] > effect["raw"]["macro_f1"]
    assert effect["post"]["event_f1"] > effect["raw"]["event_f1"] + 0.2


def test_fitting_leaves_alone_what_is_right():
    """Of equal scores the least is done."""
    truth = np.repeat([0, 1, 0, 2], 20)
    config, effect = fit_postprocessing(
        [truth], [sure_of("".join(map(str, truth)))], NAMES, (5, 5, 5)
    )
    assert (config.smooth_frames, config.min_frames, config.close_gaps) == (1, (), 0)
    assert effect["raw"] == effect["post"]
    assert fit_postprocessing([], [], NAMES, ()) == (PostConfig(), {})


def test_configs_come_back_and_describe_themselves():
    """Through plain types, and in words."""
    config = PostConfig(
        temperature=1.5,
        smooth_frames=5,
        weights=(1, 1.5, 1),
        thresholds=(0, 0.5, 0),
        close_gaps=2,
        min_frames=(1, 4, 1),
    )
    assert PostConfig.from_dict(config.to_dict()) == config
    assert config.describe(NAMES) == (
        "temperature 1.50; probabilities averaged over 5 frames; weight lick 1.5; "
        "threshold lick 0.5; gaps up to 2 frames closed; shortest bout in frames lick 4"
    )
    assert PostConfig().describe(NAMES) == "none: the most probable class of each frame"
    changed = change_post(config, NAMES, smooth_frames=1, thresholds=["walk=0.7"])
    assert (changed.smooth_frames, changed.thresholds) == (1, (0.0, 0.0, 0.7))
    assert change_post(config, NAMES, weights=["walk=2"]).weights == (1, 1, 2)
    assert change_post(config, NAMES) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"smooth_frames": 4}, "found 4, expected an odd number"),
        ({"temperature": 0}, "found 0, expected a number above 0"),
        ({"thresholds": (2,)}, "expected 0 to 1"),
        ({"weights": (1, 0, 1)}, "expected numbers above 0"),
        ({"close_gaps": -1}, "negative"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    """Before anything is predicted."""
    with pytest.raises(ConfigError, match=message):
        PostConfig(**values)


@pytest.mark.parametrize("text", ["lick", "lick=much", "jump=0.5", "=0.5"])
def test_thresholds_that_name_no_class_are_refused(text):
    """With the classes that there are."""
    with pytest.raises(ConfigError, match=r"expected CLASS=NUMBER with a class of rest, lick"):
        change_post(PostConfig(), NAMES, thresholds=[text])


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=40),
    st.sampled_from([1, 3, 5]),
    st.integers(0, 3),
    st.integers(1, 5),
)
def test_no_short_bout_is_left_inside(labels, width, gaps, shortest):
    """Whatever comes in: as many frames come out, and only bouts at the ends are short."""
    config = PostConfig(smooth_frames=width, close_gaps=gaps, min_frames=(shortest,) * 3)
    found, _ = postprocess(sure_of("".join(map(str, labels))), config)
    assert len(found) == len(labels)
    edges = np.flatnonzero(np.diff(found)) + 1
    assert (np.diff(edges) >= shortest).all()


def close_gaps_plainly(labels, num_frames):
    """Close one gap, look at all again, and so on."""
    labels = labels.copy()
    done = 0
    while True:
        edges = [0, *(np.flatnonzero(np.diff(labels)) + 1), len(labels)]
        runs = list(itertools.pairwise(edges))
        gaps = [
            (start, stop)
            for start, stop in runs[1:-1]
            if start >= done
            and stop - start <= num_frames
            and labels[start - 1] == labels[stop] != -1
        ]
        if not gaps:
            return labels
        (start, stop), *_ = gaps
        labels[start:stop] = labels[start - 1]
        done = stop


def drop_short_plainly(labels, probabilities_TK, min_frames):
    """Drop the shortest bout, look at all again, and so on."""
    labels = labels.copy()
    while True:
        edges = [0, *(np.flatnonzero(np.diff(labels)) + 1), len(labels)]
        short = [
            (stop - start, start, stop)
            for start, stop in list(itertools.pairwise(edges))[1:-1]
            if labels[start] != -1
            and stop - start < min_frames[labels[start]]
            and not labels[start - 1] == labels[stop] == -1
        ]
        if not short:
            return labels
        _, start, stop = min(short)
        known = [k for k in (labels[start - 1], labels[stop]) if k != -1]
        means = [float(probabilities_TK[start:stop, k].mean()) for k in known]
        labels[start:stop] = known[means.index(max(means))]


@given(
    runs=st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 7)), min_size=1, max_size=60),
    gaps=st.integers(0, 6),
    shortest=st.tuples(*[st.integers(0, 9)] * 4),
    seed=st.integers(0, 9),
)
def test_bouts_are_closed_and_dropped_as_one_by_one(runs, gaps, shortest, seed):
    """What is quick for hours of flicker ends as the plain way does, ties and all."""
    labels = np.repeat(*np.array(runs).T).astype(np.int8)
    # few values, so that means are often equal
    probabilities = np.random.default_rng(seed).integers(0, 3, (len(labels), 4)).astype(np.float32)
    closed = mpar.predictions.postprocess._close_gaps(labels, gaps)
    assert closed.tolist() == close_gaps_plainly(labels, gaps).tolist()
    left = mpar.predictions.postprocess._drop_short(labels, probabilities, shortest)
    assert left.tolist() == drop_short_plainly(labels, probabilities, shortest).tolist()


@pytest.mark.parametrize("num_frames", [200, 2000])
def test_dropping_flicker_takes_a_step_a_bout(monkeypatch, num_frames):
    """Labels that alternate for an hour do not hang: no bout is compared with all others."""
    pushes = []
    real = mpar.predictions.postprocess.heapq.heappush
    monkeypatch.setattr(
        mpar.predictions.postprocess.heapq,
        "heappush",
        lambda heap, item: pushes.append(real(heap, item)),
    )
    labels = (np.arange(num_frames) % 2).astype(np.int8)
    probabilities = np.random.default_rng(0).random((num_frames, 2)).astype(np.float32)
    mpar.predictions.postprocess._drop_short(labels, probabilities, (9, 9))
    assert num_frames / 2 < len(pushes) <= 2 * num_frames
