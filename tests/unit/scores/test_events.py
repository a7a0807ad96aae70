"""Bouts matched one to one: by hand, and against a search of all matchings."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.labels.bouts import find_bouts
from mpar.scores.events import CRITERIA, Criterion, event_scores

NAMES = ("rest", "lick", "shake")


def matched(scores, kind, threshold, name="lick"):
    """Return the number of pairs by one criterion."""
    return int(scores.num_matched[CRITERIA.index(Criterion(kind, threshold)), NAMES.index(name)])


def labels_with(num_frames, *bouts, label=1):
    """Return rest with bouts (start, stop) of a class."""
    labels = np.zeros(num_frames, int)
    for start, stop in bouts:
        labels[start:stop] = label
    return labels


def test_onset_tolerance_by_hand():
    """Two true licks; one is found 3 frames late, one is missed, and one guess is wrong."""
    truth = labels_with(60, (10, 16), (30, 36))
    predicted = labels_with(60, (13, 17), (50, 55))
    scores = event_scores([truth], [predicted], NAMES)
    assert (scores.num_true[1], scores.num_predicted[1]) == (2, 2)
    found = [matched(scores, "onset", k) for k in (0, 1, 2, 3, 5, 10, 15)]
    assert found == [0, 0, 0, 1, 1, 1, 1]
    c = CRITERIA.index(Criterion("onset", 3))
    assert (scores.precision[c, 1], scores.recall[c, 1], scores.f1[c, 1]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("predicted", "highest"),
    [
        pytest.param((10, 20), 0.7, id="the same bout"),
        pytest.param((10, 17), 0.7, id="7 of 10 frames are exactly 0.7"),
        pytest.param((13, 23), 0.5, id="7 of 13 frames are 0.54"),
        pytest.param((19, 20), 0.1, id="1 of 10 frames is exactly 0.1"),
        pytest.param((20, 25), None, id="beside it"),
    ],
)
def test_overlap_by_hand(predicted, highest):
    """The highest threshold of overlap that a prediction of frames 10 to 19 reaches."""
    scores = event_scores([labels_with(40, (10, 20))], [labels_with(40, predicted)], NAMES)
    reached = [c.threshold for c in CRITERIA if c.kind == "iou" and matched(scores, *c)]
    assert (max(reached) if reached else None) == highest


def test_one_long_guess_finds_one_bout_only():
    """A guess that covers three bouts is one event, not three."""
    truth = labels_with(40, (4, 10), (12, 18), (20, 26))
    scores = event_scores([truth], [labels_with(40, (4, 26))], NAMES)
    assert matched(scores, "onset", 15) == 1
    assert matched(scores, "iou", 0.1) == 1
    assert scores.num_predicted[1] == 1


def test_a_greedy_matching_would_lose_a_pair():
    """The nearest onset is left to the bout that has no other."""
    truth = labels_with(40, (10, 11), (13, 14))
    predicted = labels_with(40, (12, 13), (15, 16))  # 12 is nearest to both
    assert matched(event_scores([truth], [predicted], NAMES), "onset", 2) == 2


def test_unlabelled_truth_counts_for_nothing():
    """A guess where nobody scored is no false alarm; one that goes on there ends at its edge."""
    truth = labels_with(40, (10, 16))
    truth[16:] = -1
    predicted = labels_with(40, (10, 20), (30, 36))
    scores = event_scores([truth], [predicted], NAMES)
    assert scores.num_predicted[1] == 1
    assert matched(scores, "iou", 0.7) == 1


def test_recordings_add_up_and_do_not_touch():
    """Bouts at the end of one recording and the beginning of the next stay two."""
    truth = labels_with(10, (8, 10)), labels_with(10, (0, 2))
    scores = event_scores(truth, truth, NAMES)
    assert scores.num_true[1] == matched(scores, "onset", 0) == 2
    assert np.isnan(scores.f1[:, 2]).all()  # no shake
    assert scores.to_dict()["shake"]["f1"]["IoU ≥ 0.5"] is None
    table = scores.table()
    assert len(table) == len(NAMES) * len(CRITERIA)
    row = table[(table["Class"] == "lick") & (table["Criterion"] == "onset")].iloc[0]
    assert row[["True_bouts", "Predicted_bouts", "Matched", "F1"]].tolist() == [2, 2, 2, 1.0]


def test_lengths_that_differ_are_refused():
    """A shifted comparison would be worse than none."""
    with pytest.raises(ValueError, match="found 2 frames, expected 3"):
        event_scores([[0, 1, 1]], [[0, 1]], NAMES)


def best_matching(true, predicted, fits):
    """Return the size of the largest matching, by trying all."""
    if len(true) > len(predicted):
        return best_matching(predicted, true, lambda a, b: fits(b, a))
    return max(
        sum(fits(a, b) for a, b in zip(true, order, strict=True))
        for order in itertools.permutations(predicted, len(true))
    )


@given(st.lists(st.integers(0, 1), min_size=1, max_size=22), st.data())
def test_no_matching_is_larger(truth, data):
    """Against an independent count by exhaustive search, for every criterion."""
    predicted = data.draw(st.lists(st.integers(0, 1), min_size=len(truth), max_size=len(truth)))
    scores = event_scores([truth], [predicted], NAMES)
    own, other = (
        [(b.start, b.stop) for b in find_bouts(x).itertuples() if b.label == 1]
        for x in (truth, predicted)
    )
    if max(len(own), len(other)) > 6:
        return
    for kind, threshold in CRITERIA:

        def fits(a, b, kind=kind, threshold=threshold):
            if kind == "onset":
                return abs(a[0] - b[0]) <= threshold
            frames = set(range(*a)), set(range(*b))
            shared, union = len(frames[0] & frames[1]), len(frames[0] | frames[1])
            return shared / union >= threshold - 1e-9

        assert matched(scores, kind, threshold) == best_matching(own, other, fits)


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=40))
def test_a_scoring_finds_its_own_bouts(labels):
    """Every criterion matches every bout, and a coarser one never less than a finer one."""
    scores = event_scores([labels], [labels], NAMES)
    assert (scores.num_matched == scores.num_true).all()
