"""Class probabilities read back from the files of mpar-predict."""

import numpy as np
import pytest

from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.predictions.postprocess import PostConfig
from mpar.predictions.reading import read_probabilities
from mpar.predictions.writing import OutputConfig, write_prediction
from tests.fixtures.helpers import put_prediction, raises_problem, recording_of


def write(folder, name, probabilities, **output):
    """Write a prediction as mpar-predict does."""
    probabilities = np.asarray(probabilities, np.float32)
    prediction = recording_of(name=name, probabilities=probabilities)
    config = OutputConfig(**output)
    write_prediction(folder, prediction, DEFAULT_CLASS_MAP, config, PostConfig(), {})


def draw(num_frames, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(6), num_frames)


@pytest.mark.parametrize("stride", [1, 3])
def test_probabilities_come_back_for_every_frame(tmp_path, stride):
    """Each row stands for `stride` frames, as its label does."""
    for number, name in enumerate(["b", "a"]):
        write(tmp_path, name, draw(20, number), stride=stride)
    predictions, class_map, problems = read_probabilities(tmp_path)
    assert [item.name for item in predictions] == ["a", "b"]
    assert (class_map, problems) == (DEFAULT_CLASS_MAP, [])
    for item, seed in zip(predictions, (1, 0), strict=True):
        expected = draw(20, seed)[np.arange(20) // stride * stride]
        assert np.allclose(item.probabilities, expected, atol=1e-6)
        assert (item.labels == expected.argmax(axis=1)).all()
        assert item.animal == item.name


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("walk_prob", "walks"), "lacks the columns walk_prob"),
        (lambda text: text.replace(",0.", ",9."), "do not add up to 1"),
        (lambda text: text.replace(",0.", ",0x"), "do not add up to 1"),
    ],
    ids=["a column is missing", "more than 1", "no numbers"],
)
def test_bad_probabilities_are_problems(tmp_path, spoil, message):
    """A damaged file is left out, and the others are read."""
    for name in ("good", "bad"):
        write(tmp_path, name, draw(5))
    path = tmp_path / "bad_predictions.csv"
    path.write_text(spoil(path.read_text()))
    predictions, _, (problem,) = read_probabilities(tmp_path)
    assert [item.name for item in predictions] == ["good"]
    assert message in str(problem)
    assert problem.path == path.name


def test_utf16_is_read(tmp_path):
    """Excel saves "Unicode text" so."""
    write(tmp_path, "a", draw(5))
    path = tmp_path / "a_predictions.csv"
    path.write_text(path.read_text(), encoding="utf-16")
    ((item,), _, problems) = read_probabilities(tmp_path)
    assert problems == []
    assert np.allclose(item.probabilities, draw(5), atol=1e-6)


def test_labels_alone_hold_no_probabilities(tmp_path):
    """A file with only Frame and Action is no uncertain prediction."""
    put_prediction(tmp_path, "a", [0, 1, 2])
    with raises_problem("columns"):
        read_probabilities(tmp_path)


def test_a_pattern_finds_the_animal(tmp_path):
    """Two recordings of m1; a name without an animal is a problem."""
    for name in ("m1_day1", "m1_day2", "m2_day1", "other"):
        write(tmp_path, name, draw(5))
    predictions, _, (problem,) = read_probabilities(tmp_path, group_pattern=r"m\d+")
    assert [item.animal for item in predictions] == ["m1", "m1", "m2"]
    assert "finds no animal in 'other'" in str(problem)
