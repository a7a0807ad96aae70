"""The learning curve: nested parts, scores over animals, and what more animals would bring."""

import json
from fractions import Fraction

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.learning.networks import begin_curve, run_curve
from mpar.learning.recipe import TrainConfig
from mpar.learning.runs import is_curve
from mpar.learning.splits import Split, read_split, write_split
from mpar.scores.comparison import Comparison
from mpar.scores.learning_curve import measure_curve
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import run

NAMES, PAIN = ("rest", "paw_lick", "walk"), ("paw_lick",)
TINY = TrainConfig(model_type="light", num_epochs=1, batch_size=4, window=12)


def compare(shares, num_animals=6, spread=0.0):
    """Return comparisons of networks that are right in a share of the frames."""
    found = []
    for number, share in enumerate(shares):
        rng = np.random.default_rng(number if spread else 0)
        one = []
        for i in range(num_animals):
            truth = rng.integers(0, 3, 200)
            is_right = rng.random(200) < share + spread * rng.standard_normal()
            guess = np.where(is_right, truth, (truth + 1) % 3)
            line = TimeLine(200, Fraction(30))
            one.append(Comparison(name=f"m{i}", truth=truth, predicted=guess, line=line))
        found.append(one)
    return found


def test_more_animals_that_help():
    """Macro-F1 of 0.6, 0.7 and 0.8 with 4, 8 and 16 animals: 0.1 a doubling."""
    curve = measure_curve([4, 8, 16], [5, 9, 20], compare([0.6, 0.7, 0.8]), NAMES, responses=PAIN)
    assert [point["num_events"] for point in curve["points"]] == [5, 9, 20]
    scores = [point["macro_f1"] for point in curve["points"]]
    for (score, low, high), expected in zip(scores, (0.6, 0.7, 0.8), strict=True):
        assert score == pytest.approx(expected, abs=0.03)
        assert low <= score <= high
    assert list(curve["points"][0]["f1"]) == ["paw_lick"]
    forecast = curve["forecast"]
    assert forecast["gain"] == pytest.approx(0.1 * np.log2(22 / 16), abs=0.01)
    assert forecast["interval"][0] > 0
    assert f"6 more are likely to change macro-F1 by {forecast['gain']:+.2f} [" in curve["verdict"]


def test_no_growth_cannot_tell():
    """Scores that vary as much between animals as between sizes: no promise."""
    curve = measure_curve(
        [2, 4, 8], [1, 2, 3], compare([0.6, 0.6, 0.6], spread=0.1), NAMES, responses=PAIN
    )
    low, high = curve["forecast"]["interval"]
    assert low <= 0 <= high
    assert "cannot tell whether 6 more would help" in curve["verdict"]


def test_two_test_animals_are_too_few_for_a_forecast():
    """The scores are shown, the forecast is not."""
    curve = measure_curve(
        [2, 4, 8], [1, 2, 3], compare([0.5, 0.6, 0.7], num_animals=2), NAMES, responses=PAIN
    )
    assert curve["forecast"] is None
    assert "takes 3 or more test animals" in curve["verdict"]


@pytest.fixture(scope="module")
def curve_folder(study, tmp_path_factory):
    """A finished learning curve over three training animals, by the command."""
    folder = tmp_path_factory.mktemp("curve")
    with Store(study.cache) as store:
        write_split(folder / "s.csv", Split(train=(0, 1, 2), val=(3,), test=(4, 5)), store)
    options = "--model light --epochs 1 --batch-size 4 --window 12 --device cpu".split()
    options += ["--split", folder / "s.csv", "-o", folder]
    result = run("train", study.cache, "--learning-curve", *options)
    assert result.exit_code == 0, result.output
    (made,) = folder.glob("curve_*")
    return made, result


def test_parts_are_nested_and_share_their_test(study, curve_folder):
    """Smaller parts are in larger ones; validation and test are those of the split."""
    folder, _ = curve_folder
    with Store(study.cache) as store:
        splits = [read_split(folder / f"{n}.csv", store) for n in ("quarter", "half", "all")]
    sizes = [len(split.train) for split in splits]
    assert sizes == [1, 2, 3]
    assert set(splits[0].train) < set(splits[1].train) < set(splits[2].train)
    assert {split.val for split in splits} == {(3,)}
    assert {split.test for split in splits} == {(4, 5)}


def test_command_shows_what_the_files_hold(curve_folder):
    """The table and the verdict on the screen are those of the JSON and text files."""
    folder, result = curve_folder
    curve = json.loads((folder / "learning_curve.json").read_text())
    assert [point["num_animals"] for point in curve["points"]] == [1, 2, 3]
    assert curve["verdict"] in result.output
    assert (folder / "learning_curve.txt").read_text() == curve["verdict"] + "\n"
    for point in curve["points"]:
        assert f"{point['macro_f1'][0]:.3f}" in result.output
    assert (folder / "learning_curve.png").stat().st_size > 5000


@pytest.mark.slow
def test_finished_curve_is_shown_again(study, curve_folder):
    """--resume trains nothing that is finished and gives the same numbers."""
    folder, _ = curve_folder
    before = (folder / "learning_curve.json").read_bytes()
    again = run("train", study.cache, "--resume", folder, "--device", "cpu")
    assert again.exit_code == 0, again.output
    assert (folder / "learning_curve.json").read_bytes() == before
    assert is_curve(folder)


def test_damaged_plan_is_refused(curve_folder, tmp_path):
    """A plan that cannot be read is named."""
    (tmp_path / "learning_curve_plan.json").write_text("{")
    with pytest.raises(ConfigError, match="start a new learning curve"):
        run_curve(tmp_path)


def test_no_test_animals_are_refused(study, tmp_path):
    """A curve needs animals to score on."""
    with Store(study.cache) as store:
        write_split(tmp_path / "s.csv", Split(train=(0, 1, 2), val=(3,), test=()), store)
    with pytest.raises(ConfigError, match="found no test animals"):
        begin_curve(study.cache, tmp_path, config=TINY, split_path=tmp_path / "s.csv")
