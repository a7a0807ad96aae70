"""A resumed run equals an undisturbed one, and messages name what stops a run."""

import csv
import dataclasses
import itertools
import os
import pkgutil
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from mpar.cache.store import Store
from mpar.errors import CheckpointError, ConfigError
from mpar.learning.loop import TrainingRun
from mpar.learning.recipe import TrainConfig
from mpar.learning.signals import TrainingInterruptedError
from mpar.learning.splits import split_store
from mpar.network.checkpoint import load_checkpoint
from mpar.system.files import locked
from mpar.train import best_checkpoint, resume_training, train
from tests.fixtures.helpers import assert_equal_weights, interrupt_after
from tests.unit.learning.short_run import CONFIG, read_events


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [1, 3, 4, 6])
def test_resumed_run_equals_an_undisturbed_one(
    study, undisturbed, tmp_path, monkeypatch, num_steps
):
    """Stopped in mid-epoch or at its end and resumed: same weights, same metrics, to the bit."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, num_steps)
        with pytest.raises(TrainingInterruptedError) as caught:
            train(study.cache, tmp_path, config=CONFIG, device="cpu")
    assert caught.value.signum == signal.SIGINT
    run = caught.value.run_folder
    resume_training(run, device="cpu")
    assert_equal_weights(undisturbed / "last.pt", run / "last.pt")
    states = [load_checkpoint(folder / "last.pt").state for folder in (undisturbed, run)]
    for key, value in states[0]["net"].items():
        assert torch.equal(value, states[1]["net"][key]), key
    assert_equal_weights(best_checkpoint(undisturbed), best_checkpoint(run))
    columns = ["Epoch", "Train_loss", "Val_loss", "Val_macro_F1", "Val_recall_walk"]
    for a, b in zip(
        csv.DictReader((undisturbed / "metrics.csv").read_text().splitlines()),
        csv.DictReader((run / "metrics.csv").read_text().splitlines()),
        strict=True,
    ):
        assert [a[c] for c in columns] == [b[c] for c in columns]
    curve, again = (read_events(r).Scalars("loss/validation") for r in (undisturbed, run))
    assert [(e.step, e.value) for e in again] == [(e.step, e.value) for e in curve]
    assert [e.step for e in read_events(run).Images("validation/confusion")] == [1, 2]


@pytest.mark.slow
def test_minutes_plan_a_run_that_can_be_resumed(study, undisturbed, tmp_path, monkeypatch):
    """Measuring leaves no trace: planned for two epochs, a run equals one of two epochs."""
    config = dataclasses.replace(CONFIG, num_epochs=0, minutes=5.0)
    measured = []

    def plan(config, one_pass, **seconds):
        measured.append(seconds)
        return dataclasses.replace(config, num_epochs=2), one_pass

    monkeypatch.setattr("mpar.learning.loop.plan_minutes", plan)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 13)  # 11 of them measure
        with pytest.raises(TrainingInterruptedError) as caught:
            train(study.cache, tmp_path, config=config, device="cpu")
    run = caught.value.run_folder
    assert load_checkpoint(run / "last.pt").state["step"] == 2
    resume_training(run, device="cpu")
    (seconds,) = measured  # a resumed run keeps its plan
    assert all(value > 0 for value in seconds.values())
    assert_equal_weights(undisturbed / "last.pt", run / "last.pt")


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["light", "fast"])
def test_run_stopped_ten_times_equals_an_undisturbed_one(study, tmp_path, monkeypatch, model_type):
    """Stopped at ten random steps: same weights, to the bit."""
    config = dataclasses.replace(CONFIG, model_type=model_type, window=4, num_epochs=1, seed=2)
    undisturbed = train(study.cache, tmp_path / "a", config=config, device="cpu")
    with Store(study.cache) as store:
        run = TrainingRun(tmp_path, store, split_store(store), config, torch.device("cpu"))
        num_steps = -(-len(run._samples(0)) // 4)
    stops = sorted(np.random.default_rng(0).choice(num_steps - 1, 10, replace=False) + 1)
    with monkeypatch.context() as patch:
        interrupt_after(patch, stops[0])
        with pytest.raises(TrainingInterruptedError) as caught:
            train(study.cache, tmp_path / "b", config=config, device="cpu")
    folder = caught.value.run_folder
    for before, stop in itertools.pairwise(stops):
        with monkeypatch.context() as patch:
            interrupt_after(patch, stop - before)
            with pytest.raises(TrainingInterruptedError):
                resume_training(folder, device="cpu")
    again = resume_training(folder, device="cpu")
    assert_equal_weights(undisturbed / "last.pt", again / "last.pt")
    assert_equal_weights(best_checkpoint(undisturbed), best_checkpoint(again))


def test_signal_handlers_are_given_back(study, tmp_path, monkeypatch):
    """After training, Ctrl-C means again what it meant before."""
    before = signal.getsignal(signal.SIGINT)
    interrupt_after(monkeypatch, 1, signal.SIGTERM)
    with pytest.raises(TrainingInterruptedError, match="SIGTERM"):
        train(study.cache, tmp_path, config=CONFIG, device="cpu")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_moved_cache_and_second_process_are_named(study, tmp_path, monkeypatch):
    """A run whose cache was moved says how to go on; a run that is going on is left alone."""
    cache = tmp_path / "moved.h5"
    cache.write_bytes(study.cache.read_bytes())
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(TrainingInterruptedError) as caught:
            train(cache, tmp_path, config=CONFIG, device="cpu")
    run = caught.value.run_folder
    cache.unlink()
    with pytest.raises(CheckpointError, match="mpar-train CACHE --resume"):
        resume_training(run, device="cpu")
    with (
        locked(run / "last.pt"),
        pytest.raises(ConfigError, match="another process is writing it"),
    ):
        resume_training(run, cache_path=study.cache, device="cpu")
    resume_training(run, cache_path=study.cache, device="cpu")


def test_another_cache_is_refused_on_resume(study, tmp_path, monkeypatch):
    """A run never goes on with other data than it began with."""
    from mpar.preprocess import preprocess

    other = tmp_path / "other.h5"
    preprocess(study.videos, study.annotations, other)
    with pytest.raises(CheckpointError, match="is not the cache"):
        resume_training(study.run, cache_path=other, device="cpu")


def test_a_folder_of_runs_is_no_run(tmp_path):
    """The message names the newest run in it."""
    for name in ("run_1", "run_2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "last.pt").touch()
    message = f"a folder of 2 runs, expected the folder of one; pass --resume {tmp_path / 'run_2'}"
    with pytest.raises(CheckpointError, match=re.escape(message)):
        resume_training(tmp_path)


def test_damaged_last_checkpoint_is_refused(study, tmp_path):
    """A run folder without a sound last.pt says so."""
    with pytest.raises(CheckpointError, match="cannot be read"):
        resume_training(tmp_path)
    with pytest.raises(CheckpointError, match="holds no best_model_epochN"):
        best_checkpoint(tmp_path)
    best = shutil.copy(study.checkpoint, tmp_path)
    with pytest.raises(CheckpointError, match=rf"cannot be read .* --init {best}"):
        resume_training(tmp_path)
    Path(best).write_bytes(b"damaged too")
    with pytest.raises(CheckpointError, match=r"cannot be read \(No such file or directory\)$"):
        resume_training(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    ["mpar.learning.loop.TrainingRun.save_last", "mpar.learning.loop.write_history"],
)
@pytest.mark.parametrize("is_after", [False, True])
def test_killed_at_the_end_of_an_epoch(
    study, undisturbed, tmp_path, monkeypatch, function, is_after
):
    """Killed between the files of an epoch's end, a resumed run has the same files in the end."""
    original, calls = pkgutil.resolve_name(function), [0]

    def killed(*arguments):
        calls[0] += 1
        if calls[0] < 2 or is_after:
            original(*arguments)
        if calls[0] == 2:
            raise MemoryError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(function, killed)
        with pytest.raises(MemoryError):
            train(study.cache, tmp_path, config=CONFIG, device="cpu")
    (run,) = tmp_path.iterdir()
    state = load_checkpoint(run / "last.pt").state
    assert (run / f"best_model_epoch{state['best_epoch']}.pt").exists()
    resume_training(run, device="cpu")
    assert_equal_weights(undisturbed / "last.pt", run / "last.pt")
    assert len((run / "metrics.csv").read_text().splitlines()) == 3
    assert len(list(run.glob("best_model_epoch*.pt"))) == 1
    assert best_checkpoint(run).name == best_checkpoint(undisturbed).name


def test_interrupt_during_the_last_validation(study, tmp_path, monkeypatch):
    """Ctrl-C is never swallowed; resuming such a run finds nothing left to do."""
    validate = TrainingRun.validate

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        return validate(self)

    config = TrainConfig(**{**CONFIG.to_dict(), "num_epochs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "validate", interrupted)
        with pytest.raises(TrainingInterruptedError) as caught:
            train(study.cache, tmp_path, config=config, device="cpu")
    run = resume_training(caught.value.run_folder, device="cpu")
    assert load_checkpoint(run / "last.pt").state["epoch"] == 1
