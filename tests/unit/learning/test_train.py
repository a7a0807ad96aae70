"""Training: what a run leaves behind, and that a resumed run equals an undisturbed one."""

import csv
import dataclasses
import io
import itertools
import json
import os
import pkgutil
import shutil
import signal
from fractions import Fraction
from functools import partial
from pathlib import Path
from unittest import mock

import matplotlib.image as plt_image
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mpar.cache.clips import ClipSampler, labelled_frames
from mpar.cache.store import Store
from mpar.errors import CheckpointError, ConfigError, MparError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.learning.learner import Learner
from mpar.learning.loop import TrainingRun, Validation
from mpar.learning.planning import plan_minutes, plan_steps
from mpar.learning.recipe import TrainConfig
from mpar.learning.signals import TrainingInterruptedError
from mpar.learning.splits import split_store
from mpar.learning.training import resolve_model
from mpar.network.checkpoint import load_checkpoint
from mpar.network.experts import mix
from mpar.network.mixture import Experts
from mpar.network.movement import movement_of
from mpar.scores.metrics import WorstFrame, frame_scores
from mpar.system.files import locked
from mpar.train import best_checkpoint, resume_training, train, train_model
from tests.fixtures.helpers import assert_equal_weights, interrupt_after, raises_problem, weights_of
from tests.fixtures.synthetic import draw_recording, write_annotation, write_sample, write_video

CONFIG = TrainConfig(
    model_type="light",
    num_epochs=2,
    batch_size=4,
    window=12,
    augment=True,
    restart_epochs=0,
    warmup_epochs=0.5,
    ema_decay=0.9,
    seed=5,
)


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory):
    """A run of two epochs without any interruption."""
    return train(study.cache, tmp_path_factory.mktemp("runs"), config=CONFIG, device="cpu")


def test_run_folder_holds_what_the_readme_says(study):
    """Config, split, metrics, events, the last and only the best checkpoint."""
    names = sorted(path.name for path in study.run.glob("[!.]*"))
    best = [name for name in names if name.startswith("best_model_epoch")]
    events = [name for name in names if name.startswith("events.out.tfevents")]
    assert len(best) == len(events) == 1
    assert set(names) == {*best, *events, "config.json", "last.pt", "metrics.csv", "split.csv"}
    config = json.loads((study.run / "config.json").read_text())
    assert TrainConfig.from_dict(config["training"]).window == 12


def test_metrics_agree_with_the_best_checkpoint(study):
    """The best checkpoint carries the highest score of metrics.csv; if equal, the lowest loss."""
    with (study.run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Epoch"] for row in rows] == ["1", "2"]
    scores = load_checkpoint(study.checkpoint).scores
    ranks = [(float(row["Val_macro_F1"]), -float(row["Val_loss"])) for row in rows]
    assert ranks[scores["epoch"] - 1] == max(ranks)
    best = rows[scores["epoch"] - 1]
    assert scores["validation"]["macro_f1"] == pytest.approx(float(best["Val_macro_F1"]), abs=1e-5)


@pytest.mark.slow
def test_training_learns(study, tmp_path):
    """The loss falls when a network sees the same few clips again and again."""
    config = TrainConfig(model_type="light", num_epochs=6, batch_size=4, window=24, dropout=0.0)
    run = train(study.cache, tmp_path, config=config, device="cpu")
    with (run / "metrics.csv").open(newline="") as file:
        losses = [float(row["Train_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_same_seed_same_weights(study, undisturbed, tmp_path):
    """A seed fixes everything; another seed gives another network."""
    again = train(study.cache, tmp_path, config=CONFIG, device="cpu")
    assert_equal_weights(undisturbed / "last.pt", again / "last.pt")
    other = TrainConfig(**{**CONFIG.to_dict(), "seed": 6, "num_epochs": 1})
    other_run = train(study.cache, tmp_path, config=other, device="cpu")
    key = "blocks.0.conv.weight"
    assert not torch.equal(
        weights_of(again / "last.pt")[key], weights_of(other_run / "last.pt")[key]
    )


def read_events(run):
    """Return all TensorBoard events of a run folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0}).Reload()


def test_board_shows_what_metrics_say(study):
    """Every column but NaN is a curve with the values of metrics.csv, and each epoch has images."""
    events = read_events(study.run)
    with (study.run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    tags = {
        "loss/train": "Train_loss",
        "loss/validation": "Val_loss",
        "validation/macro_F1": "Val_macro_F1",
        "validation/accuracy": "Val_accuracy",
        "validation_F1/rest": "Val_F1_rest",
        "validation_recall/walk": "Val_recall_walk",
        "run/Learning_rate": "Learning_rate",
        "run/Frames_per_second": "Frames_per_second",
        "run/Percent_waiting_for_data": "Percent_waiting_for_data",
    }
    for tag, column in tags.items():
        found = [(e.step, e.value) for e in events.Scalars(tag)]
        expected = [(int(row["Epoch"]), float(row[column])) for row in rows]
        assert found == [(e, pytest.approx(v, rel=1e-5)) for e, v in expected], tag
    columns = {key for row in rows for key, value in row.items() if value} - {"Epoch"}
    assert len(events.Tags()["scalars"]) == len(columns)
    for tag in ("validation/confusion", "validation/worst_clips"):
        images = events.Images(tag)
        assert [image.step for image in images] == [1, 2]
        pixels = plt_image.imread(io.BytesIO(images[-1].encoded_image_string), format="png")
        assert pixels.shape[:2] == (images[-1].height, images[-1].width)
        assert pixels.std() > 0.05  # something is drawn


def test_validation_loss_is_that_of_the_mixed_probabilities(study):
    """Val_loss is the plain cross entropy of network and movement model, clip by clip."""
    checkpoint = load_checkpoint(study.checkpoint)
    net = checkpoint.build_net()
    names = {item["name"] for item in checkpoint.split["val"]}
    losses = []
    experts = Experts.from_dict(checkpoint.experts)
    movement = experts.movement
    with Store(study.cache) as store:
        recordings = [i for i, info in enumerate(store.recordings) if info.name in names]
        sampler = ClipSampler(store, clip_length=16)
        own = {i: movement.probabilities(movement_of(store, i, movement.rate)) for i in recordings}
        for sample in labelled_frames(store, recordings):
            clips, labels = sampler.gather(sample[None])
            with torch.inference_mode():
                found = torch.softmax(net(clips / 255), dim=1).numpy()
            recording, frame = sample.tolist()
            both = {"network": found, "movement": own[recording][frame : frame + 1]}
            mixed = mix(both, experts.powers)
            losses.append(-np.log(mixed[0, int(labels)]))
    with (study.run / "metrics.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[checkpoint.scores["epoch"] - 1]
    assert float(row["Val_loss"]) == pytest.approx(np.mean(losses), rel=1e-4)


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


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", "fast"), ("mps", "standard"), ("cuda", "standard")]
)
def test_model_auto_is_chosen_by_the_device(monkeypatch, caplog, device, expected):
    """Fast on a CPU, standard on any GPU; the log gives the reason; a named type is kept."""
    caplog.set_level("INFO")
    monkeypatch.setattr("mpar.learning.training.find_device", torch.device)
    assert resolve_model(TrainConfig(model_type="auto"), device).model_type == expected
    (line,) = caplog.messages
    assert line.startswith(f"network {expected}: ")
    light = TrainConfig(model_type="light")
    assert resolve_model(light, device) is light
    assert len(caplog.messages) == 1


def test_run_holds_the_model_that_auto_became(study, tmp_path, caplog):
    """In its first line, in config.json and in the checkpoint, so that it resumes as it began."""
    caplog.set_level("INFO")
    config = TrainConfig(model_type="auto", num_epochs=1, batch_size=4, window=12)
    run = train(study.cache, tmp_path, config=config, device="cpu")
    assert caplog.messages[0].startswith("network fast: ")
    assert json.loads((run / "config.json").read_text())["training"]["model_type"] == "fast"
    checkpoint = load_checkpoint(run / "last.pt")
    assert checkpoint.training["model_type"] == checkpoint.model_config.model_type == "fast"
    tuned = train(study.cache, tmp_path, config=config, init_path=study.checkpoint, device="cpu")
    assert load_checkpoint(tuned / "last.pt").training["model_type"] == "light"


def test_plan_of_steps():
    """Short epochs grow, long ones shrink; an explicit number of epochs is one pass each."""
    auto = TrainConfig()
    assert plan_steps(auto, 5)[1] * 30 >= 1000
    assert plan_steps(auto, 500) == (dataclasses.replace(auto, num_epochs=30), 500)
    assert plan_steps(auto, 10**6) == (dataclasses.replace(auto, num_epochs=30), 1000)
    config = TrainConfig(num_epochs=7)
    assert plan_steps(config, 5) == (config, 5)
    every = TrainConfig(sampling="all")
    assert plan_steps(every, 5) == (dataclasses.replace(every, num_epochs=30), 5)
    with pytest.raises(ConfigError, match="found 7 and 3, expected only one of them"):
        plan_steps(TrainConfig(num_epochs=7, minutes=3), 5)


@pytest.mark.parametrize("sampling", ["balanced", "all"])
@pytest.mark.parametrize("minutes", [2, 10, 120, 2000])
@pytest.mark.parametrize(("step", "validation"), [(0.5, 3.0), (0.01, 9.0), (0.02, 0.1)])
def test_plan_of_minutes_fits(sampling, minutes, step, validation):
    """The planned steps and validations take the time given, within an epoch or a hundredth."""
    config = TrainConfig(minutes=minutes, sampling=sampling)
    planned, steps = plan_minutes(config, 40, step_seconds=step, validation_seconds=validation)
    epoch = steps * step + validation
    total = planned.num_epochs * epoch
    assert total <= 60 * minutes
    spare = epoch if sampling == "all" else planned.num_epochs * step
    assert total >= 60 * minutes - spare - 1e-6
    if sampling == "balanced":
        assert 3 <= planned.num_epochs <= 30


@pytest.mark.parametrize("sampling", ["balanced", "all"])
def test_too_few_minutes_are_refused(sampling):
    """The message states the least time."""
    config = TrainConfig(minutes=0.5, sampling=sampling)
    with pytest.raises(ConfigError, match=r"minutes: found 0.5, expected [0-9.]+ or more"):
        plan_minutes(config, 40, step_seconds=1.0, validation_seconds=20.0)


def test_small_study_gets_its_steps(study, tmp_path, monkeypatch):
    """Without a number of epochs, each of 30 epochs repeats the frames until there are enough."""
    config = dataclasses.replace(CONFIG, num_epochs=0)
    with Store(study.cache) as store:
        run = TrainingRun(tmp_path, store, split_store(store), config, torch.device("cpu"))
        assert run.epoch_steps == 34
        assert len(run._samples(0)) == 34 * config.batch_size
        assert run.config.num_epochs == 30


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


@pytest.fixture
def make_learner(study):
    """Return a maker of learners without anything random, and their first batch."""
    with Store(study.cache) as store:

        def make(**changes):
            config = TrainConfig(
                model_type="light", window=5, batch_size=8, dropout=0, augment=False, **changes
            )
            split = split_store(store)
            run = TrainingRun(study.run, store, split, config, torch.device("cpu"))
            return run.learner, run._samples(0)[:8]

        yield make


def loss_of(learner, samples, **place):
    """Take a step and return its loss."""
    learner.take_step(samples, **place)
    (loss,) = learner.collect()
    return loss


class Waits(TorchDispatchMode):
    """Counts operations that would wait for a GPU: those that return a number to Python."""

    def __init__(self, learner):
        super().__init__()
        self.count = 0
        states = [s for o in learner.optimizers for s in o.state.values()]
        # Adam counts its steps in main memory; so does the moving average, which is left out here
        self.counters = {state["step"].data_ptr() for state in states if "step" in state}

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        waiting = torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default
        if function in waiting and args[0].data_ptr() not in self.counters:
            self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adam", "loss": "focal", "window": 1}])
def test_steps_do_not_wait_for_the_device(study, changes):
    """Between two calls of `collect` a GPU is never asked for a number."""
    changes = {"augment": True, "ema_decay": 0} | changes
    config = TrainConfig(**{**CONFIG.to_dict(), **changes})
    with Store(study.cache) as store:
        run = TrainingRun(study.run, store, split_store(store), config, torch.device("cpu"))
        learner, samples = run.learner, run._samples(0)[:4]
        found = []
        for is_ahead in (False, True):
            learner.is_ahead = is_ahead
            learner.take_step(samples, epoch=0, step=0, rate=1e-3)  # the first makes its state
            with Waits(learner) as waits:
                learner.take_step(samples, epoch=0, step=1, rate=1e-3)
            found.append(waits.count)
        assert len(learner.collect()) == 4
    assert found == [2, 0]  # loss and gradient


def test_a_step_ahead_that_failed_is_found_when_it_is_collected(make_learner, monkeypatch):
    """The message names the step, not the one at which mpar looked."""
    learner, samples = make_learner(ema_decay=0)
    learner.is_ahead = True
    add_gradients = learner._add_gradients
    for step in range(3):
        with monkeypatch.context() as patch:
            if step == 1:
                patch.setattr(learner, "_add_gradients", lambda *a: add_gradients(*a) * torch.nan)
            learner.take_step(samples, epoch=0, step=step, rate=1e-3)
    with pytest.raises(MparError, match="the loss is nan in epoch 1, step 2"):
        learner.collect()
    assert learner.collect() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "message", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory"]
)
def test_batch_that_does_not_fit_is_learnt_in_parts(make_learner, monkeypatch, caplog, message):
    """It is halved until it fits, which is said, and the sum of the parts is the whole's."""
    learner, samples = make_learner(sampling="all", use_amp=False)
    whole, _ = make_learner(sampling="all", use_amp=False)
    evaluate, sizes = Learner._evaluate, []

    def small(self, x):
        sizes.append(len(x))
        if len(x) > 2:
            error = torch.OutOfMemoryError if "CUDA" in message else RuntimeError
            raise error(f"{message}: you tried to allocate 12345 bytes")
        return evaluate(self, x)

    for other in (learner, whole):  # batch statistics would differ
        other.net.eval()
    place = {"epoch": 0, "step": 0, "rate": 1e-3}
    expected = loss_of(whole, samples, **place)
    monkeypatch.setattr(learner, "_logits", small.__get__(learner))
    assert loss_of(learner, samples, **place) == pytest.approx(expected, rel=1e-3)
    for first, second in zip(learner.net.parameters(), whole.net.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad, rtol=0.02, atol=1e-4)
    assert sizes == [8, 4, 2, 2, 2, 2]
    learner.take_step(samples, **place)
    assert sizes[6:] == [2, 2, 2, 2]
    said = [record.message for record in caplog.records]
    assert ["in 2 parts" in said[0], "in 4 parts" in said[1], len(said)] == [True, True, 2]


def test_labels_of_a_long_epoch_are_counted_exactly(make_learner):
    """Also beyond the whole numbers that float32 holds."""
    learner, samples = make_learner()
    learner._num_learnt += 2**24 + 1
    before = learner.num_learnt
    learner.take_step(samples, epoch=0, step=0, rate=1e-3)
    _, labels = learner.load_batch(samples, 0, 0)
    assert before == 2**24 + 1
    assert learner.num_learnt == before + int((labels >= 0).sum())


def test_window_that_does_not_fit_is_an_error(make_learner, monkeypatch):
    """Parts have at least one window; other errors are not mistaken for it."""
    learner, samples = make_learner()
    for error, num_parts in ((torch.OutOfMemoryError("no"), 8), (RuntimeError("else"), 8)):
        monkeypatch.setattr(learner, "_logits", mock.Mock(side_effect=error))
        with pytest.raises(type(error), match=str(error)):
            learner.take_step(samples, epoch=0, step=0, rate=1e-3)
        assert learner.num_parts == num_parts


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_compiled_network_learns_the_same(make_learner, monkeypatch):
    """Traced and run op by op, which takes seconds where the compiler takes a minute."""
    compiled = mock.Mock(side_effect=partial(torch.compile, backend="eager"))
    monkeypatch.setattr(torch, "compile", compiled)
    losses = []
    for is_compiled in (False, True):
        learner, samples = make_learner(compile=is_compiled, use_amp=False)
        place = {"epoch": 0, "rate": 1e-3}
        losses.append([loss_of(learner, samples, step=step, **place) for step in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert compiled.call_count == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_compiler_is_said(make_learner, monkeypatch):
    """Compiling needs what many lab PCs lack."""
    from torch._inductor.exc import InvalidCxxCompiler

    learner, samples = make_learner(compile=True)
    monkeypatch.setattr(learner, "_logits", mock.Mock(side_effect=InvalidCxxCompiler()))
    with pytest.raises(ConfigError, match="drop --compile"):
        learner.take_step(samples, epoch=0, step=0, rate=1e-3)


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
@pytest.mark.parametrize(("losses", "best"), [((1.0, 1.0, 1.5), 1), ((1.0, 0.5, 0.7, 0.5), 2)])
def test_early_stopping(study, tmp_path, monkeypatch, losses, best):
    """Training ends `patience` epochs after the best one: at equal macro-F1 that of less loss."""
    scores = frame_scores([0, 1], [0, 0], ["a", "b"])
    worst = [WorstFrame(0, 0, 0, 1, 0.2)]
    more = {
        "powers": {"network": 1.0},
        "truths": [np.zeros(4, np.int8)],
        "probabilities": [np.full((4, 6), 1 / 6)],
    }
    found = [Validation(scores=scores, loss=loss, worst=worst, **more) for loss in losses]
    monkeypatch.setattr(TrainingRun, "validate", lambda self: found[self.epoch])
    config = TrainConfig(
        model_type="light", num_epochs=9, batch_size=8, window=48, patience=2, seed=1
    )
    run = train(study.cache, tmp_path, config=config, device="cpu")
    assert load_checkpoint(run / "last.pt").state["epoch"] == len(losses) == best + 2
    assert best_checkpoint(run).name == f"best_model_epoch{best}.pt"


def test_diverged_training_stops_with_advice(study, tmp_path, monkeypatch):
    """A loss that is not a number ends the run with what to do."""
    config = TrainConfig(model_type="light", num_epochs=1, batch_size=4, window=12)
    monkeypatch.setattr(
        "mpar.learning.learner.FocalLoss.forward",
        lambda self, logits, labels: logits.sum() * torch.nan,
    )
    config = TrainConfig(**{**config.to_dict(), "loss": "focal"})
    with pytest.raises(MparError, match="lower --learning-rate"):
        train(study.cache, tmp_path, config=config, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("number", [torch.inf, torch.nan])
@pytest.mark.parametrize("of_muon", [True, False])
def test_a_step_that_overflows_is_skipped_by_both_optimizers(
    make_learner, monkeypatch, of_muon, number
):
    """Gradients of one optimizer overflow: no weight of the other moves either."""
    learner, samples = make_learner(ema_decay=0)
    learner.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert [type(optimizer).__name__ for optimizer in learner.optimizers] == ["Muon", "Adam"]
    params = learner.optimizers[0 if of_muon else 1].param_groups[0]["params"]
    add_gradients = learner._add_gradients

    def overflow(*arguments):
        value = add_gradients(*arguments)
        params[0].grad.view(-1)[0] = number
        return value

    before = {name: value.clone() for name, value in learner.net.named_parameters()}
    with monkeypatch.context() as patch:
        patch.setattr(learner, "_add_gradients", overflow)
        learner.take_step(samples, epoch=0, step=0, rate=1e-3)
    for name, value in learner.net.named_parameters():
        assert torch.equal(value, before[name]), name
    assert not any(optimizer.state for optimizer in learner.optimizers)
    assert learner.scaler.get_scale() == 512
    learner.take_step(samples, epoch=0, step=1, rate=1e-3)
    assert all(not torch.equal(v, before[n]) for n, v in learner.net.named_parameters())
    # without a scaler that lowers them, nothing would ever change
    learner.scaler = torch.amp.GradScaler("cpu", enabled=False)
    with monkeypatch.context() as patch:
        patch.setattr(learner, "_add_gradients", overflow)
        with pytest.raises(MparError, match=f"the gradient is {number} in epoch 1"):
            learner.take_step(samples, epoch=0, step=2, rate=1e-3)


def test_norms_of_averaged_weights_are_their_own(study):
    """Statistics of another network's activations made averaged weights name one class only."""
    config = TrainConfig(**{**CONFIG.to_dict(), "ema_decay": 0.99, "augment": False})
    with Store(study.cache) as store:
        run = TrainingRun(study.run, store, split_store(store), config, torch.device("cpu"))
        samples = run._samples(0)
        for start in range(0, len(samples), 4):
            run.learner.take_step(samples[start : start + 4], epoch=0, step=start, rate=1e-3)
        block = run.learner.judged_net().blocks[0]
        before = block.norm.running_var.clone()
        run.validate()
        with torch.inference_mode():
            clips, _ = run.learner.load_batch(samples[:128], 0, 0)
            outputs = block.conv(run.learner.judged_net()._prepare(clips[:, :, :16]))
    expected = outputs.transpose(0, 1).flatten(1).var(dim=1)
    torch.testing.assert_close(block.norm.running_var, expected, rtol=0.05, atol=0)
    assert not torch.allclose(before, expected, rtol=0.05, atol=0)
    assert block.norm.momentum == 0.1


@pytest.mark.parametrize("is_native", [True, False])
def test_bfloat16_only_where_the_processor_computes_in_it(study, monkeypatch, is_native):
    """Emulated it would be slower; weights and outputs are float32 in any case."""
    monkeypatch.setattr("mpar.network.devices.has_fast_bfloat16", lambda device: is_native)
    types = []
    with Store(study.cache) as store:
        run = TrainingRun(study.run, store, split_store(store), CONFIG, torch.device("cpu"))
        conv = run.learner.net.blocks[1].conv
        conv.register_forward_hook(lambda *args: types.append(args[2].dtype))
        run.learner.take_step(run._samples(0)[:4], epoch=0, step=0, rate=1e-3)
    assert types == [torch.bfloat16 if is_native else torch.float32]
    assert {p.dtype for p in run.learner.net.parameters()} == {torch.float32}
    assert not run.learner.scaler.is_enabled()


@pytest.mark.parametrize("sampling", ["all", "balanced"])
@pytest.mark.parametrize("window", [1, 7])
def test_epochs_differ_but_repeat(study, sampling, window):
    """The order of an epoch depends on its number alone."""
    config = TrainConfig(model_type="light", window=window, sampling=sampling)
    with Store(study.cache) as store:
        run = TrainingRun(study.run, store, split_store(store), config, torch.device("cpu"))
        first, second = run._samples(0), run._samples(1)
        assert (run._samples(0) == first).all()
        assert first.shape != second.shape or (first != second).any()


@pytest.mark.slow
def test_train_model_from_folders(study, tmp_path):
    """The original's call: folders in, run folder out; the cache is made once."""
    options = {"device": "cpu", "size": (32, 32), "window": 48, "val_fraction": 0.2}
    call = {
        "video_dir": study.videos,
        "annotation_dir": study.annotations,
        "output_dir": tmp_path,
        "num_epochs": 1,
        "batch_size": 8,
        "clip_length": 8,
        "learning_rate": 1e-3,
        "model_type": "light",
        "use_amp": False,
    }
    first = train_model(**call, **options)
    made = (tmp_path / "cache.h5").stat().st_mtime_ns
    second = train_model(**call, **options)
    assert first != second
    assert (tmp_path / "cache.h5").stat().st_mtime_ns == made
    assert load_checkpoint(best_checkpoint(second)).model_config.clip_length == 8


def test_train_model_takes_animals_and_classes(tmp_path):
    """An animal filmed twice stays on one side of the split, as on the command line."""
    write_sample(tmp_path, num_animals=6, seed=3, num_frames=48, height=32, width=32)
    rows = [f"{c},{name},{'moves' if c else 'still'}" for c, name, _ in DEFAULT_CLASS_MAP.rows]
    (tmp_path / "classes.csv").write_text("code,name,class\n" + "\n".join(rows) + "\n")
    folders = tmp_path / "Videos", tmp_path / "Annotations"
    options = {"model_type": "light", "num_epochs": 1, "clip_length": 8, "device": "cpu"}
    for path in [path for folder in folders for path in folder.glob("mouse_0[246]*")]:
        number = int(path.name[7])
        path.rename(path.with_name(path.name.replace(f"0{number}", f"0{number - 1}b")))
    options["class_map"] = tmp_path / "classes.csv"
    run = train_model(*folders, tmp_path / "a", group_pattern="mouse_0[135]", **options)
    with Store(tmp_path / "a" / "cache.h5") as store:
        assert store.class_names == ("still", "moves")
        assert {info.group for info in store.recordings} == {"mouse_01", "mouse_03", "mouse_05"}
    split = load_checkpoint(run / "last.pt").split
    assert sorted(len(part) for part in split.values()) == [2, 2, 2]
    with pytest.raises(ConfigError, match="group_pattern was mouse"):
        train_model(*folders, tmp_path / "a", **options)


def test_train_model_refuses_bad_inputs(study, tmp_path):
    """Problems of the inputs are all named; nothing is trained behind the user's back."""
    (tmp_path / "a").mkdir()
    for path in sorted(study.annotations.iterdir())[:-1]:
        (tmp_path / "a" / path.name).write_bytes(path.read_bytes())
    with raises_problem("no-labels"):
        train_model(study.videos, tmp_path / "a", tmp_path / "out", num_epochs=1)


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


def test_test_part_without_labels_is_refused_at_once(study, tmp_path, monkeypatch):
    """Nobody trains for hours to hear that nothing can be tested."""
    labels = Store.labels

    def without(self, recording):
        array = labels(self, recording)
        return np.full_like(array, -1) if recording == 2 else array

    monkeypatch.setattr(Store, "labels", without)
    with Store(study.cache) as store:
        names = [info.name for info in store.recordings[:3]]
    rows = zip(names, ("train", "val", "test"), strict=True)
    (tmp_path / "s.csv").write_text("Recording,Part\n" + "".join(f"{n},{p}\n" for n, p in rows))
    with pytest.raises(ConfigError, match="the test part has no labelled frame"):
        train(study.cache, tmp_path / "runs", config=CONFIG, split_path=tmp_path / "s.csv")
    assert not (tmp_path / "runs").exists()


def test_the_best_checkpoint_is_the_latest_whatever_the_clock_says(tmp_path):
    """A killed run may hold two; file times follow a clock that is set, or are those of a copy."""
    for epoch, seconds in ((9, 2000), (10, 1000)):
        path = tmp_path / f"best_model_epoch{epoch}.pt"
        path.touch()
        os.utime(path, (seconds, seconds))
    (tmp_path / "best_model_epoch11 (copy).pt").touch()
    assert best_checkpoint(tmp_path).name == "best_model_epoch10.pt"


@pytest.mark.slow
def test_a_faster_camera_trains_the_same_network(tmp_path):
    """Each frame filmed twice at twice the rate: the same weights, scores and shortest bouts."""
    from mpar.preprocess import PreprocessConfig, preprocess

    for name, times in (("slow", 1), ("fast", 2)):
        (tmp_path / name).mkdir()
        for animal in range(4):
            frames, codes = draw_recording(
                seed=animal, num_frames=40, height=32, width=32, pain_fraction=0.3
            )
            rate = 30 * (times if animal % 2 else 1)
            again = times if animal % 2 else 1
            path = tmp_path / name / f"m{animal}.mkv"
            write_video(path, frames.repeat(again, axis=0), fps=rate, codec="ffv1")
            write_annotation(path.with_suffix(".csv"), codes.repeat(again))
        cache = tmp_path / f"{name}.h5"
        config = PreprocessConfig(rate=Fraction(30))
        preprocess(tmp_path / name, tmp_path / name, cache, config=config)
    rows = "".join(f"m{i},{part}\n" for i, part in enumerate(("val", "train", "train", "val")))
    (tmp_path / "split.csv").write_text("Recording,Part\n" + rows)
    options = TrainConfig(model_type="light", num_epochs=1, clip_length=8)
    slow, fast = (
        train(
            tmp_path / f"{name}.h5",
            tmp_path / name / "runs",
            config=options,
            split_path=tmp_path / "split.csv",
            device="cpu",
        )
        for name in ("slow", "fast")
    )
    assert_equal_weights(slow / "last.pt", fast / "last.pt")
    one, other = (load_checkpoint(best_checkpoint(run)) for run in (slow, fast))
    assert one.post == other.post
    assert one.scores == other.scores
    with Store(tmp_path / "fast.h5") as store:
        assert [r.num_frames for r in store.recordings] == [40, 80, 40, 80]
        assert [r.num_steps for r in store.recordings] == [40, 40, 40, 40]
