"""Scores are those of scikit-learn, and n/a where there is nothing to score."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_fscore_support

from mpar.scores.metrics import FrameScores, find_worst_frames, frame_scores, mean_log_loss

NAMES = ("rest", "lick", "walk")
pairs = st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), min_size=1, max_size=80)


def test_scores_of_a_hand_written_case():
    """Counts and scores are those worked out by hand."""
    scores = frame_scores([0, 0, 0, 0, 1, 1, 2, -1, -1], [0, 0, 1, -1, 1, 0, 2, 0, -1], NAMES)
    assert scores.confusion.tolist() == [[2, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]]
    assert scores.confusion.dtype == np.int64
    assert scores.support.tolist() == [4, 2, 1]
    np.testing.assert_allclose(scores.precision, [2 / 3, 1 / 2, 1])
    np.testing.assert_allclose(scores.recall, [2 / 4, 1 / 2, 1])
    np.testing.assert_allclose(scores.f1, [4 / 7, 1 / 2, 1])
    assert scores.accuracy == pytest.approx(4 / 7)
    assert scores.balanced_accuracy == pytest.approx(2 / 3)
    assert scores.macro_f1 == pytest.approx((4 / 7 + 1 / 2 + 1) / 3)
    assert (scores.num_frames, scores.num_unpredicted, scores.num_unlabelled_ignored) == (7, 1, 2)


def test_class_without_support_is_not_scored():
    """A class missing from the truth has no recall and F1 and stays out of the means."""
    scores = frame_scores([0, 0, 0, 0], [0, 0, 0, 1], NAMES)
    np.testing.assert_array_equal(scores.recall, [0.75, np.nan, np.nan])
    np.testing.assert_allclose(scores.f1, [6 / 7, np.nan, np.nan])
    # Its false positive is a fact, so a class that was predicted does have a precision.
    np.testing.assert_array_equal(scores.precision, [1, 0, np.nan])
    assert scores.macro_f1 == pytest.approx(6 / 7)
    assert scores.balanced_accuracy == 0.75


def test_class_never_predicted_scores_zero():
    """A class that occurs but is never predicted counts with 0, not as n/a."""
    scores = frame_scores([0, 1], [0, 0], NAMES)
    assert (scores.precision[1], scores.recall[1], scores.f1[1]) == (0, 0, 0)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 0) / 2)


def test_unlabelled_prediction_is_a_miss_and_no_false_positive():
    """A frame below the confidence threshold lowers recall and leaves every precision."""
    scores = frame_scores([0, 0, 1, 1], [0, -1, 1, -1], NAMES[:2])
    assert scores.recall.tolist() == [0.5, 0.5]
    assert scores.precision.tolist() == [1, 1]
    assert scores.accuracy == 0.5


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None)
@given(pairs)
def test_scores_agree_with_scikit_learn(frames):
    """All scores equal scikit-learn's, with unlabelled predictions as a class of their own."""
    truth, predicted = np.array(frames).T
    known = truth >= 0
    assume(known.any())
    scores = frame_scores(truth, predicted, ("a", "b", "c", "d"))
    y_true, y_pred = truth[known], np.where(predicted == -1, 4, predicted)[known]
    precision, recall, f1, support = precision_recall_fscore_support(
        y_true, y_pred, labels=range(4), zero_division=0
    )
    seen = support > 0
    np.testing.assert_array_equal(scores.support, support)
    np.testing.assert_allclose(scores.precision[seen], precision[seen])
    np.testing.assert_allclose(scores.recall[seen], recall[seen])
    np.testing.assert_allclose(scores.f1[seen], f1[seen])
    assert np.isnan(scores.recall[~seen]).all()
    assert np.isnan(scores.f1[~seen]).all()
    assert scores.macro_f1 == pytest.approx(f1[seen].mean())
    assert scores.accuracy == pytest.approx(accuracy_score(y_true, y_pred))
    assert scores.balanced_accuracy == pytest.approx(balanced_accuracy_score(y_true, y_pred))
    assert scores.num_unlabelled_ignored == (~known).sum()


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        pytest.param([-1, -1], [0, 1], "no labelled frame", id="nothing labelled"),
        pytest.param(np.zeros(0, int), np.zeros(0, int), "no labelled frame", id="no frames"),
        pytest.param([0, 1], [0], "predicted: found 1 frames, expected 2", id="lengths differ"),
        pytest.param([0, 3], [0, 0], "truth: found 3 at index 1", id="truth out of range"),
        pytest.param([0, 1], [0, -2], "predicted: found -2", id="predicted out of range"),
        pytest.param([0.0, 1.0], [0, 1], "truth: found float64", id="floats"),
        pytest.param([[0, 1]], [[0, 1]], "truth: found int64", id="two-dimensional"),
    ],
)
def test_frame_scores_refuses_bad_labels(truth, predicted, message):
    """Labels that cannot be compared are refused, and the message says which and where."""
    with pytest.raises(ValueError, match=message):
        frame_scores(truth, predicted, NAMES)


@pytest.mark.parametrize(
    ("names", "confusion", "ignored"),
    [
        pytest.param(("a", "b"), [[1, 0], [0, 1]], 0, id="no column for unlabelled"),
        pytest.param(("a", "a"), [[1, 0, 0], [0, 1, 0]], 0, id="name repeated"),
        pytest.param(("a", ""), [[1, 0, 0], [0, 1, 0]], 0, id="name empty"),
        pytest.param((), np.zeros((0, 1), int), 0, id="no class"),
        pytest.param(("a", "b"), [[1, 0, 0], [0, -1, 0]], 0, id="negative count"),
        pytest.param(("a", "b"), [[1, 0, 0], [0, 1, 0]], -1, id="negative ignored"),
        pytest.param(("a", "b"), [[0.5, 0, 0], [0, 1, 0]], 0, id="parts of frames"),
        pytest.param(("a", "b"), [[0, 0, 0], [0, 0, 0]], 0, id="no frames"),
    ],
)
def test_frame_scores_check_themselves(names, confusion, ignored):
    """No scores can be made of counts that are not counts."""
    with pytest.raises(ValueError, match="found"):
        FrameScores(
            class_names=names, confusion=np.array(confusion), num_unlabelled_ignored=ignored
        )


def test_scores_cannot_be_changed():
    """The counts are a copy that nobody can write to."""
    counts = np.array([[1, 0]])
    scores = FrameScores(class_names=("a",), confusion=counts)
    counts[0, 0] = 7
    assert scores.num_frames == 1
    with pytest.raises(ValueError, match="read-only"):
        scores.confusion[0, 0] = 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        scores.confusion = counts


def test_to_dict_is_json_without_nan():
    """What is n/a becomes null, and nothing needs a special JSON reader."""
    scores = frame_scores([0, 0, 1, -1], [0, 1, 1, 1], NAMES)
    result = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert result == scores.to_dict()
    assert result["classes"]["walk"] == {
        "support": 0,
        "precision": None,
        "recall": None,
        "specificity": 1.0,
        "f1": None,
    }
    assert result["classes"]["lick"]["precision"] == 0.5
    assert result["confusion"] == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert (result["num_frames"], result["num_unlabelled_ignored"]) == (3, 1)


def test_report_text():
    """The report is aligned, says n/a and says what macro-F1 is."""
    scores = frame_scores([0] * 1200 + [1, 1, -1], [0] * 1201 + [-1, 0], NAMES)
    assert scores.report().splitlines() == [
        "class          precision  recall     F1  frames",
        "-----------------------------------------------",
        "rest               0.999   1.000  1.000   1,200",
        "lick               0.000   0.000  0.000       2",
        "walk                 n/a     n/a    n/a       0",
        "-----------------------------------------------",
        "macro average      0.500   0.500  0.500   1,202",
        "accuracy                          0.998   1,202",
        "",
        "macro-F1 0.500: mean F1 of the 2 of 3 classes that occur in the human labels",
        "n/a: the human labels hold no frame of this class; left out of averages",
        "frames without a predicted label, counted as misses: 1",
        "frames without a human label, left out: 1",
    ]


def test_report_stays_aligned_with_long_names():
    """The width of the table follows the longest class name."""
    scores = frame_scores([0, 1], [0, 1], ["a", "a_class_with_a_rather_long_name"])
    table = scores.report().split("\n\n")[0].splitlines()
    assert {len(line) for line in table} == {len(table[0])}


def test_worst_frames_are_the_worst():
    """Lowest probability of the true class first; unlabelled and neighbouring frames are passed."""
    truths = [np.array([0, 0, 0, 0, -1, 1, 1]), np.array([-1, -1]), np.array([1, 1])]
    of_first = [
        np.array([0.30, 0.10, 0.20, 0.90, 0.00, 0.40, 0.95]),
        np.array([0.0, 0.0]),
        np.array([0.25, 0.85]),
    ]
    probabilities = [np.column_stack([p, 1 - p]) for p in of_first]
    options = {"num_frames": 8, "max_per_recording": 2, "min_distance": 2}
    worst = find_worst_frames(truths, probabilities, **options)
    # frame 1 takes its neighbours 0 and 2 with it; of recording 2 only one frame is left
    assert [(w.recording, w.frame, w.truth, w.predicted) for w in worst] == [
        (0, 6, 1, 0),
        (0, 1, 0, 1),
        (2, 1, 1, 0),
    ]
    assert [w.probability for w in worst] == pytest.approx([0.05, 0.10, 0.15])
    assert find_worst_frames(truths, probabilities, **{**options, "num_frames": 1}) == worst[:1]


def test_mean_log_loss_counts_frames_not_recordings():
    """Each labelled frame weighs the same, and a probability of 0 does not make it infinite."""
    truths = [np.array([0]), np.array([1, 1, -1])]
    probabilities = [np.array([[0.5, 0.5]]), np.array([[0.75, 0.25], [0.75, 0.25], [1.0, 0.0]])]
    expected = (np.log(2) + 2 * np.log(4)) / 3
    assert mean_log_loss(truths, probabilities) == pytest.approx(expected)
    assert 80 < mean_log_loss([np.array([0])], [np.array([[0.0, 1.0]])]) < 90
