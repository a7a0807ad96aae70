"""Classes with too few frames or bouts are named, with the numbers, before training."""

from __future__ import annotations

import numpy as np
import pytest

from mpar.learning.scarcity import count_bouts, find_scarce
from mpar.learning.splits import Split
from tests.fixtures.helpers import make_store, run

REST, LICK, WALK = 0, 2, 4


def bouts(label, num_bouts, length):
    """Return bouts of a class with ten frames of rest after each."""
    return ([label] * length + [REST] * 10) * num_bouts


PLENTY = bouts(LICK, 6, 10) + bouts(WALK, 6, 10)
SPLIT = Split(train=(0,), val=(1,), test=(2,))


def warn(tmp_path, *films):
    with make_store(tmp_path / "c.h5", list(zip("abc", films, strict=True))) as store:
        return find_scarce(SPLIT, store)


def test_plenty(tmp_path):
    """Five bouts for training and three for scores are enough."""
    few = bouts(LICK, 3, 1) + bouts(WALK, 3, 1)
    assert warn(tmp_path, PLENTY, few, few) == []


@pytest.mark.parametrize(
    ("train", "val", "named"),
    [
        (
            bouts(LICK, 4, 30) + bouts(WALK, 6, 10),
            PLENTY,
            "paw_lick (train 120 frames in 4 bouts, val 60 frames in 6 bouts, test 60 frames in 6",
        ),
        (
            bouts(LICK, 6, 8) + bouts(WALK, 6, 10),
            PLENTY,
            "paw_lick (train 48 frames in 6 bouts, val 60 frames in 6 bouts, test 60 frames in 6",
        ),
        (
            PLENTY,
            bouts(LICK, 1, 60) + bouts(WALK, 2, 10),
            "paw_lick (train 60 frames in 6 bouts, val 60 frames in 1 bout, test 60 frames in 6 "
            "bouts); walk (train 60 frames in 6 bouts, val 20 frames in 2 bouts, test 60 frames in "
            "6",
        ),
    ],
)
def test_few(tmp_path, train, val, named):
    """One warning names the classes, with frames and bouts in each part."""
    (warning,) = warn(tmp_path, train, val, PLENTY)
    assert warning.startswith(f"too few labels to learn or to score: {named} bouts); expected")


def test_a_class_that_a_part_lacks_is_named_elsewhere(tmp_path):
    """`check_split` names it."""
    assert warn(tmp_path, bouts(LICK, 6, 10), PLENTY, PLENTY) == []


def test_counts(tmp_path):
    """Bouts end at unlabelled frames and at the ends of recordings."""
    films = [LICK, LICK, -1, LICK], [LICK, WALK, WALK]
    with make_store(tmp_path / "c.h5", list(zip("ab", films, strict=True))) as store:
        frames, seen = count_bouts(store, [0, 1])
    assert (frames[[LICK, WALK]].tolist(), seen[[LICK, WALK]].tolist()) == ([4, 2], [3, 1])


@pytest.mark.slow
def test_training_says_so_first(tmp_path):
    """The warning comes before the first epoch."""
    rng = np.random.default_rng(0)
    films = []
    for animal in "abcde":
        labels = np.array(bouts(LICK, 2, 4) + bouts(WALK, 6, 4))
        frames = rng.integers(0, 255, (len(labels), 16, 16)).astype(np.uint8)
        films.append((animal, labels, frames))
    make_store(tmp_path / "c.h5", films).close()
    result = run(
        *("train", tmp_path / "c.h5", "-o", tmp_path / "runs", "--epochs", 1),
        *("--model", "light", "--clip-length", 8, "--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    first = result.output.index("too few labels to learn or to score: paw_lick (train 24 frames in")
    assert first < result.output.index("epoch 1")
