"""Training: what a run leaves behind, and the Python API."""

import csv
import dataclasses
import io
import json
import os
from fractions import Fraction

import matplotlib.image as plt_image
import numpy as np
import pytest
import torch

from mpar.cache.clips import ClipSampler, labelled_frames
from mpar.cache.store import Store
from mpar.errors import ConfigError, MparError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.learning.expected import expect_seconds, plan_steps
from mpar.learning.loop import TrainingRun, Validation
from mpar.learning.planning import plan_minutes
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import split_store
from mpar.learning.training import resolve_model
from mpar.network.checkpoint import load_checkpoint
from mpar.network.experts import mix
from mpar.network.mixture import Experts
from mpar.network.movement import movement_of
from mpar.scores.metrics import WorstFrame, frame_scores
from mpar.train import best_checkpoint, train, train_model
from tests.fixtures.helpers import assert_equal_weights, raises_problem, weights_of
from tests.fixtures.synthetic import draw_recording, write_annotation, write_sample, write_video
from tests.unit.learning.short_run import CONFIG, read_events


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


@pytest.mark.parametrize(
    ("model", "hours", "minutes"),
    [("fast", 1, 33), ("fast", 2, 32), ("fast", 8, 47), ("standard", 1, 231), ("standard", 2, 262)],
)
def test_expected_time_is_that_of_the_table(model, hours, minutes):
    """Within a tenth, but for the 2 h of fast, which took less than 1 h did; pixels count."""
    config = TrainConfig(model_type=model)
    seconds = expect_seconds(config, hours * 3600 * 30, 64 * 64)
    assert seconds == pytest.approx(60 * minutes, rel=0.15)
    assert expect_seconds(config, hours * 3600 * 30, 128 * 128) == pytest.approx(4 * seconds)


def test_expected_time_of_plans_and_of_known_speeds():
    """Minutes are what was asked for; a run's speed replaces ours; movement alone is unknown."""
    assert expect_seconds(TrainConfig(minutes=7), 1000, 4096) == 420
    assert expect_seconds(TrainConfig(model_type="none"), 1000, 4096) is None
    assert expect_seconds(TrainConfig(), 0, 4096) is None
    config = TrainConfig(num_epochs=2, val_fraction=0.2, test_fraction=0.2)
    slow, quick = (expect_seconds(config, 10_000, 4096, speed) for speed in (100, 200))
    assert slow == pytest.approx(2 * quick)
    assert 2 * 6_000 / 100 < slow < 2 * 7_000 / 100


@pytest.mark.parametrize("sampling", ["balanced", "all"])
@pytest.mark.parametrize("minutes", [2, 10, 120, 2000])
@pytest.mark.parametrize(("step", "validation"), [(0.5, 3.0), (0.01, 9.0), (0.02, 0.1)])
def test_plan_of_minutes_fits(sampling, minutes, step, validation):
    """Steps and validations take the time given, within an epoch; validations little of it."""
    config = TrainConfig(minutes=minutes, sampling=sampling)
    planned, steps = plan_minutes(config, 40, step_seconds=step, validation_seconds=validation)
    epoch = steps * step + validation
    total = planned.num_epochs * epoch
    assert total <= 60 * minutes
    spare = epoch if sampling == "all" else planned.num_epochs * step
    assert total >= 60 * minutes - spare - 1e-6
    if sampling == "balanced":
        assert 3 <= planned.num_epochs <= 30
        share = planned.num_epochs * validation / (60 * minutes)
        assert share <= 0.05 or planned.num_epochs == 3


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
