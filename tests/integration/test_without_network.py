"""Runs with frozen features and without a network: everything behind training works with them."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from mpar_cli import evaluate, info, predict, train

from mpar.cache.store import Store
from mpar.learning.recipe import TrainConfig
from mpar.network.checkpoint import load_checkpoint, save_checkpoint
from mpar.network.predictor import ActionRecognitionInference
from mpar.train import best_checkpoint
from mpar.train import train as train_cache
from tests.fixtures.helpers import CornerEmbedder, write_onnx

pytestmark = pytest.mark.usefixtures("no_figures")

COMMANDS = {"evaluate": evaluate, "info": info, "predict": predict, "train": train}


def run(command, *arguments):
    """Run a command of mpar, and expect that it succeeds."""
    result = CliRunner().invoke(COMMANDS[command].main, [str(item) for item in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def onnx(tmp_path_factory):
    """An image network in a file."""
    return write_onnx(tmp_path_factory.mktemp("onnx") / "mean.onnx")


@pytest.fixture(scope="module")
def trained(study, onnx, tmp_path_factory):
    """A run folder of features and movement alone."""
    folder = tmp_path_factory.mktemp("none")
    output = run(
        "train", study.cache, "--model", "none", "--features", onnx, "-o", folder, "--device", "cpu"
    )
    assert "no network; " in output
    assert "loss" not in output.partition("epoch 1")[2].partition("\n")[0]
    (made,) = folder.iterdir()
    return made


def test_checkpoint_holds_heads_and_no_weights(trained, onnx):
    """It holds the head, the components and the digest of the image network, but no weights."""
    checkpoint = load_checkpoint(best_checkpoint(trained))
    assert checkpoint.model_config.model_type == "none"
    assert checkpoint.weights == {}
    features = checkpoint.experts["features"]
    assert features["source"] == str(onnx)
    assert set(features) == {
        *("source", "digest", "view", "rate", "mean", "components", "linear"),
    }
    assert any(checkpoint.experts["powers"].values())
    with (trained / "metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["Epoch"] == "1"
    assert row["Train_loss"] == ""


def test_info_names_the_experts(trained, onnx):
    """mpar-info says that there is no network, what counts, and which features are needed."""
    output = run("info", best_checkpoint(trained))
    assert "network" in output
    assert "none" in output
    assert f"{onnx}, not part of this file" in output
    assert "to the power" in output


def test_video_and_cache_have_the_same_predictions(study, trained):
    """A video is predicted as its frames in the cache are, one row for each frame."""
    network = ActionRecognitionInference(best_checkpoint(trained), "cpu")
    with Store(study.cache) as store:
        info = store.recordings[0]
        of_cache = network.predict_recording(store, 0, with_each=True)
    of_video = network.predict(study.videos / info.video)
    np.testing.assert_allclose(of_video.probabilities, of_cache.probabilities, atol=1e-5)
    assert set(of_cache.alone) == {"movement", "features"}
    assert of_video.alone == {}


def test_predict_and_evaluate(study, trained, tmp_path):
    """Commands work as with a network; the report shows each expert and which is the best alone."""
    best = best_checkpoint(trained)
    run("predict", best, study.videos, "-o", tmp_path / "p", "--device", "cpu")
    tables = [*(tmp_path / "p").glob("*_predictions.csv")]
    assert len(tables) == 6
    assert len(pd.read_csv(tables[0])) == 48
    output = run("evaluate", best, study.cache, "-o", tmp_path / "e", "--html", "--device", "cpu")
    assert "the movement model alone" in output
    assert "frozen features alone" in output
    assert "the network alone" not in output
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["baselines"]["best_alone"] in output
    assert metrics["baselines"]["best_alone"] in (tmp_path / "e" / "report.html").read_text()


def test_weights_elsewhere_and_missing(study, trained, onnx, tmp_path):
    """A moved image network is named with --features; without it nothing is predicted."""
    here = tmp_path / "counting.pt"
    checkpoint = load_checkpoint(best_checkpoint(trained))
    experts = checkpoint.experts | {"powers": {"movement": 0.5, "features": 0.5}}
    save_checkpoint(here, dataclasses.replace(checkpoint, experts=experts))
    moved = shutil.move(onnx, tmp_path / "moved.onnx")
    try:
        video = next(study.videos.glob("*.mp4"))
        arguments = [here, video, "-o", tmp_path / "p", "--device", "cpu"]
        result = CliRunner().invoke(predict.main, [str(item) for item in arguments])
        assert result.exit_code == 2
        assert "learnt on features of mean.onnx" in result.output
        assert not (tmp_path / "p").exists()
        run("predict", *arguments, "--features", moved)
        resume = ["--resume", trained, "--device", "cpu"]
        result = CliRunner().invoke(train.main, [str(item) for item in resume])
        assert result.exit_code == 2
        assert "mean.onnx: is not there; pass its path with --features FILE.onnx" in result.output
        assert "all 1 epochs complete" in run("train", *resume, "--features", moved)
        evaluate = [here, study.cache, "-o", tmp_path / "e", "--device", "cpu"]
        run("evaluate", *evaluate, "--features", moved)
    finally:
        shutil.move(moved, onnx)


def test_features_of_a_run_without_any_are_refused(study, onnx, tmp_path):
    """By mpar-train --resume, mpar-predict and mpar-evaluate, before anything is written."""
    config = TrainConfig(model_type="none")
    folder = train_cache(study.cache, tmp_path / "runs", config=config, device="cpu")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    best, output = best_checkpoint(folder), tmp_path / "o"
    for command, arguments in (
        (train, ["--resume", folder, "--features"]),
        (train, ["--resume", folder, "--features", onnx]),
        (predict, [best, study.videos, "-o", output, "--features", onnx]),
        (evaluate, [best, study.cache, "-o", output, "--features", onnx]),
    ):
        result = CliRunner().invoke(command.main, [str(item) for item in arguments])
        assert result.exit_code == 2
        assert ": was trained without features; drop --features" in result.output
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert not output.exists()


@pytest.mark.slow
def test_finished_run_shows_its_summary_again(trained):
    """--resume of a finished run prints the summary and changes nothing."""
    before = (trained / "last.pt").read_bytes()
    output = run("train", "--resume", trained, "--device", "cpu")
    assert "all 1 epochs complete" in output
    assert (trained / "last.pt").read_bytes() == before


@pytest.mark.slow
def test_folds_and_learning_curve(study, onnx, tmp_path):
    """Every animal is scored by a model that never saw it; three sizes of training are scored."""
    options = ["--model", "none", "--features", onnx, "--device", "cpu"]
    output = run("train", study.cache, *options, "--leave-one-out", "-o", tmp_path / "folds")
    assert "Scores over 6 animals, each scored by a network that never saw it" in output
    output = run("train", study.cache, *options, "--learning-curve", "-o", tmp_path / "curve")
    assert "animals to learn from" in output


def test_features_beside_a_network(study, onnx, tmp_path):
    """The network, the movement model and the features are mixed, and each is reported."""
    options = ["--model", "fast", "--epochs", 1, "--features", onnx, "--device", "cpu"]
    output = run("train", study.cache, *options, "-o", tmp_path)
    (made,) = tmp_path.iterdir()
    powers = load_checkpoint(best_checkpoint(made)).experts["powers"]
    assert set(powers) == {"network", "movement", "features"}
    report = (made / "evaluation" / "classification_report.txt").read_text()
    for name in ("the network alone", "the movement model alone", "frozen features alone"):
        assert name in report
    assert "experts     Of the experts alone, " in output


def test_interrupted_embedding_goes_on(study, tmp_path, monkeypatch):
    """Ctrl-C while frames are embedded: a new run embeds only the rest, and ends the same."""

    class Stopping(CornerEmbedder):
        calls_left = 6

        def embed(self, pictures_NSS):
            self.calls_left -= 1
            if not self.calls_left:
                raise KeyboardInterrupt
            return super().embed(pictures_NSS)

    config = TrainConfig(model_type="none", features="corners.onnx", view="side")
    stopping, steady = Stopping(), CornerEmbedder()
    caches = [shutil.copy(study.cache, tmp_path / name) for name in ("a.h5", "b.h5")]
    monkeypatch.setattr("mpar.learning.beside.load_embedder", lambda *_: stopping)
    with pytest.raises(KeyboardInterrupt):
        train_cache(caches[0], tmp_path / "a", config=config, device="cpu")
    embedded, stopping.num_embedded = stopping.num_embedded, 0
    assert embedded == 2 * 32  # two views of a whole recording and of a part of one
    run_folder = train_cache(caches[0], tmp_path / "a", config=config, device="cpu")
    monkeypatch.setattr("mpar.learning.beside.load_embedder", lambda *_: steady)
    undisturbed = train_cache(caches[1], tmp_path / "b", config=config, device="cpu")
    assert stopping.num_embedded == steady.num_embedded - 2 * 24
    found, expected = (
        load_checkpoint(best_checkpoint(run)).experts for run in (run_folder, undisturbed)
    )
    assert found["powers"] == expected["powers"]
    assert found["features"]["linear"] == expected["features"]["linear"]
    assert torch.equal(found["features"]["components"], expected["features"]["components"])


def test_nothing_to_learn_is_refused(study, tmp_path):
    """Without a network, a movement model and features there is nothing to train."""
    result = CliRunner().invoke(
        train.main, [str(study.cache), "--model", "none", "--no-movement", "-o", str(tmp_path)]
    )
    assert result.exit_code == 2
    assert "pass --features or --movement" in result.output
    result = CliRunner().invoke(train.main, [str(study.cache), "--features", "x.pt"])
    assert "expected a file .onnx" in result.output


def test_options_of_the_network_are_refused_without_one(study, tmp_path):
    """They would change nothing, so nobody believes that they did."""
    arguments = ["--model", "none", "--seed", "1", "--epochs", "5", "--minutes", "3", "--no-amp"]
    result = CliRunner().invoke(
        train.main, [str(study.cache), *arguments, "-o", str(tmp_path / "o")]
    )
    assert result.exit_code == 2
    assert "--epochs, --minutes, --amp cannot be combined with --model none" in result.output
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("options", [[], ["--folds", "2"], ["--learning-curve"]])
def test_a_missing_image_network_leaves_no_folder(study, tmp_path, options):
    """The message says what to do; no empty run is left to be taken for one."""
    missing = [str(study.cache), "--features", str(tmp_path / "x.onnx"), "-o", str(tmp_path / "o")]
    result = CliRunner().invoke(train.main, [*missing, *options])
    assert result.exit_code == 2
    assert "x.onnx: is not there; pass its path with --features FILE.onnx" in result.output
    assert not (tmp_path / "o").exists()


def test_a_refusal_leaves_no_folder(study, tmp_path):
    """Also one that comes only after the first steps were timed."""
    output = ["-o", str(tmp_path / "a" / "b"), "--device", "cpu"]
    options = ["--model", "fast", "--minutes", "0.0001"]
    result = CliRunner().invoke(train.main, [str(study.cache), *options, *output])
    assert result.exit_code == 2
    assert "minutes: found 0.0001, expected" in result.output
    assert [*tmp_path.iterdir()] == []
