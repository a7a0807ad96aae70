"""Cross-validation: every animal is scored once, by a network that never saw it."""

import base64
import json
import shutil
from functools import partial

import cv2
import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.learning.networks import begin_curve, begin_folds, run_folds
from mpar.learning.recipe import TrainConfig
from mpar.learning.runs import is_folds
from mpar.learning.signals import TrainingInterruptedError
from mpar.learning.splits import fold_splits
from mpar.network.checkpoint import load_checkpoint
from mpar.train import best_checkpoint
from tests.fixtures.helpers import Page, assert_equal_weights, interrupt_after, make_store, run

CONFIG = TrainConfig(model_type="light", num_epochs=1, batch_size=4, window=12, ema_decay=0)


@pytest.mark.slow
@pytest.mark.parametrize("num_folds", [2, 3, 4, None])
def test_every_animal_is_tested_once_and_never_on_both_sides(tmp_path, num_folds):
    """Groups of one to three recordings, one without labels; None is one animal at a time."""
    recordings = [(f"g{i}", [i % 3, 0, 5]) for i in range(7) for _ in range(1 + i % 3)]
    with make_store(tmp_path / "c.h5", [*recordings, ("blank", [-1, -1])]) as store:
        splits = fold_splits(store, num_folds)
        group_of = [info.group for info in store.recordings]
        assert splits == fold_splits(store, num_folds)
        assert splits != fold_splits(store, num_folds, seed=1)
    tested = [i for split in splits for i in split.test]
    assert sorted(tested) == list(range(len(recordings)))
    assert len(splits) == (num_folds or 7)
    for split in splits:
        parts = [{group_of[i] for i in part} for part in (split.train, split.val, split.test)]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts)) == 7


@pytest.mark.parametrize("num_folds", [1, 5])
def test_folds_that_cannot_be_are_refused(tmp_path, num_folds):
    """Fewer than two, or more than there are animals."""
    with (
        make_store(tmp_path / "c.h5", [(f"g{i}", [0, 1]) for i in range(4)]) as store,
        pytest.raises(
            ConfigError, match=rf"found {num_folds} folds for 4 animals .*expected 2 to 4"
        ),
    ):
        fold_splits(store, num_folds)


def test_two_animals_are_refused_whatever_the_folds(tmp_path):
    """No number of folds would do."""
    with (
        make_store(tmp_path / "c.h5", [("a", [0, 1]), ("b", [0, 1])]) as store,
        pytest.raises(ConfigError, match=r"found 2 animals .*; add recordings of other") as caught,
    ):
        fold_splits(store, None)
    assert "--folds" not in str(caught.value)


def test_folds_that_would_learn_one_class_are_refused(tmp_path):
    """One animal alone walks: the fold that tests it would learn nothing but rest."""
    recordings = [("a", [0, 4]), ("b", [0, 0]), ("c", [0, 0])]
    make_store(tmp_path / "c.h5", recordings).close()
    message = r"the train part of fold \d has labels of only one class \(rest\), while .* walk"
    with pytest.raises(ConfigError, match=message):
        begin_folds(tmp_path / "c.h5", tmp_path / "f", num_folds=None)
    assert not (tmp_path / "f").exists()


def test_a_team_of_processes_is_refused(tmp_path, monkeypatch):
    """Each would begin a folder of its own."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for call in (
        lambda: begin_folds(tmp_path / "c.h5", tmp_path, num_folds=2),
        lambda: run_folds(tmp_path),
    ):
        with pytest.raises(ConfigError, match="found 2 processes of torchrun, expected one"):
            call()
    assert not list(tmp_path.iterdir())


OPTIONS = "--model light --epochs 1 --batch-size 4 --window 12 --ema-decay 0 --device cpu --quiet"


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory):
    """Two folds of six animals by the command: its report, its folder, its scores."""
    output = tmp_path_factory.mktemp("f")
    result = run("train", study.cache, "-o", output, "--folds", "2", *OPTIONS.split())
    assert result.exit_code == 0, result.output
    (folder,) = output.glob("folds_*")
    return result.stdout, folder, json.loads((folder / "evaluation" / "metrics.json").read_text())


def test_all_animals_are_scored_by_networks_that_never_saw_them(study, undisturbed):
    """Each recording once, none learnt, and the scores are those of all frames together."""
    output, _, metrics = undisturbed
    assert "Scores over 6 animals, each scored by a network that never saw it" in output
    with Store(study.cache) as store:
        names = {info.name for info in store.recordings}
    held_out = [name for fold in metrics["folds"] for name in fold["recordings"]]
    assert sorted(held_out) == sorted(names)
    assert set(metrics["recordings"]) == names
    assert metrics["warning"] == ""
    assert metrics["intervals"]["num_animals"] == 6
    for fold in metrics["folds"]:
        checkpoint = load_checkpoint(fold["checkpoint"])
        learnt = {item["name"] for part in ("train", "val") for item in checkpoint.split[part]}
        assert not learnt & set(fold["recordings"])


@pytest.mark.slow
def test_page_of_all_folds(study, undisturbed, monkeypatch):
    """Of folds that are done too: every animal once, its scores, and frames of any fold."""
    monkeypatch.setattr("mpar.report.evaluation_files.save_figure", lambda *_: None)
    _, folder, metrics = undisturbed
    assert not (folder / "evaluation" / "report.html").exists()
    result = run("train", "--resume", folder, "--html", "--device", "cpu", "--quiet")
    assert result.exit_code == 0, result.output
    page = Page((folder / "evaluation" / "report.html").read_text(encoding="utf-8"))
    (folder / "evaluation" / "report.html").unlink()
    assert [r["name"] for r in page.data["recordings"]] == list(metrics["recordings"])
    tile = next(text for _, a, text in page.elements if a.get("class") == "tile")
    assert f"macro-F1{metrics['scores']['macro_f1']:.3f}" in tile
    provenance = page.texts("dd")
    assert any("cross-validation, 2 folds by animal" in text for text in provenance)
    worst = page.tables[-1]
    named = [row[0] for row in worst if row[0] in metrics["recordings"]]
    films, current = [], ""  # a strip at the end of a recording has fewer pictures
    for _, attributes, _ in page.elements:
        if attributes.get("class") == "show" and "data-start" in attributes:
            current = page.data["recordings"][int(attributes["data-recording"])]["name"]
        if "frame " in attributes.get("alt", ""):
            films.append((current, attributes["src"], attributes["alt"]))
    assert {name for name, _, _ in films} == {*named}
    with Store(study.cache) as store:
        names = [info.name for info in store.recordings]
        for name, source, title in films:
            png = np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8)
            frame = store.frames(names.index(name))[int(title.removeprefix("frame "))]
            assert (cv2.imdecode(png, cv2.IMREAD_GRAYSCALE) == frame).all()
    assert all({*named} & {*fold["recordings"]} for fold in metrics["folds"])


def test_scores_are_read_as_the_plan_says(undisturbed, tmp_path, monkeypatch):
    """On a network disk the cache is not mapped for the scores either."""
    folder = shutil.copytree(undisturbed[1], tmp_path / "folds")
    plan = json.loads((folder / "folds.json").read_text())
    (folder / "folds.json").write_text(json.dumps(plan | {"access": "pread"}))
    opened = []

    def open_store(path, access="mmap"):
        opened.append(access)
        return Store(path, access=access)

    monkeypatch.setattr("mpar.learning.networks.Store", open_store)
    monkeypatch.setattr("mpar.learning.networks.resume_training", lambda *_, **__: None)
    monkeypatch.setattr("mpar.learning.networks.write_evaluation", lambda *_, **__: {})
    run_folds(folder, device="cpu")
    assert opened == ["pread"]


@pytest.mark.parametrize("begin", [partial(begin_folds, num_folds=2), begin_curve])
def test_networks_of_one_plan_are_of_one_type(study, tmp_path, begin):
    """Auto is decided once, not again where a device is found later."""
    folder = begin(study.cache, tmp_path, config=TrainConfig(model_type="auto"), device="cpu")
    (plan,) = folder.glob("*.json")
    assert json.loads(plan.read_text())["training"]["model_type"] == "fast"


@pytest.mark.slow
def test_interrupted_cross_validation_goes_on_to_the_same_end(
    study, undisturbed, tmp_path, monkeypatch
):
    """Killed before anything was saved, then stopped in the second fold: the same weights."""
    folder = begin_folds(study.cache, tmp_path, num_folds=2, config=CONFIG)
    (folder / "fold_1").mkdir()
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(TrainingInterruptedError) as caught:
            run_folds(folder, device="cpu")
    assert caught.value.run_folder == folder / "fold_2"
    assert is_folds(folder)
    result = run("train", "--resume", folder, "--device", "cpu", "--quiet")
    metrics = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert metrics["scores"] == undisturbed[2]["scores"]
    assert result.stdout.replace(str(folder), "") == undisturbed[0].replace(str(undisturbed[1]), "")
    for number in (1, 2):
        runs = [f / f"fold_{number}" for f in (undisturbed[1], folder)]
        assert_equal_weights(*(best_checkpoint(run_folder) for run_folder in runs))


def test_plan_that_cannot_be_read_is_named(tmp_path):
    """Nothing is guessed."""
    (tmp_path / "folds.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"folds\.json: cannot be read"):
        run_folds(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "3", "--split", __file__], "--folds"),
        (["--folds", "3", "--test-fraction", "0.3"], "--folds"),
        (["--folds", "3", "--leave-one-out"], "--leave-one-out"),
        (["--folds", "9"], "found 9 folds"),
    ],
)
def test_options_that_do_not_fit_are_refused(study, tmp_path, options, message):
    """Before anything is made."""
    result = run("train", study.cache, "-o", tmp_path / "c", *options)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "c").exists()
