"""Fine-tuning: what a run takes over from a checkpoint, what it freezes, and what it remembers."""

import dataclasses

import pytest
import torch

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.labels.classes import ClassMap
from mpar.learning.loop import TrainingRun
from mpar.learning.recipe import TrainConfig
from mpar.learning.signals import TrainingInterruptedError
from mpar.learning.splits import split_store
from mpar.network.checkpoint import load_checkpoint
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.train import best_checkpoint, resume_training, train
from tests.fixtures.helpers import assert_equal_weights, interrupt_after, weights_of

CONFIG = TrainConfig(
    model_type="light", num_epochs=2, batch_size=4, freeze_backbone_epochs=1, learning_rate=1e-2
)
CLASS_MAP = """code,name,class
0,rest,calm
1,paw_withdraw,pain
2,paw_lick,pain
3,paw_guard,pain
4,paw_shake,pain
5,flinch,pain
6,walk,calm
7,active,calm
"""


@pytest.fixture(scope="module")
def other_cache(study, tmp_path_factory):
    """The animals of the study under two classes instead of six."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "classes.csv").write_text(CLASS_MAP)
    preprocess(
        study.videos,
        study.annotations,
        folder / "cache.h5",
        class_map=ClassMap.from_csv(folder / "classes.csv"),
        config=PreprocessConfig(size=(32, 32)),
    )
    return folder / "cache.h5"


@pytest.fixture(scope="module", params=["light", "fast"])
def start(request, study, tmp_path_factory):
    """The checkpoint to begin with."""
    if request.param == "light":
        return study.checkpoint
    config = TrainConfig(model_type="fast", num_epochs=1, batch_size=4, window=12)
    folder = tmp_path_factory.mktemp("fast")
    return best_checkpoint(train(study.cache, folder, config=config, device="cpu"))


@pytest.fixture(scope="module")
def fine_tuned(start, other_cache, tmp_path_factory):
    """A run of two epochs, one of them frozen, that began with the network of the study."""
    folder = tmp_path_factory.mktemp("tuned")
    return train(other_cache, folder, config=CONFIG, init_path=start, device="cpu")


def begin(cache, checkpoint, folder, config=CONFIG):
    """Return a run that begins with a checkpoint, before its first step."""
    config = dataclasses.replace(config, model_type=checkpoint.model_config.model_type)
    with Store(cache) as store:
        return TrainingRun(
            folder, store, split_store(store), config, torch.device("cpu"), checkpoint
        )


def test_same_classes_take_over_everything(study, start, tmp_path):
    """Before the first step it is the network of the checkpoint, and says so."""
    checkpoint = load_checkpoint(start)
    run = begin(study.cache, checkpoint, tmp_path)
    for key, value in run.learner.net.state_dict().items():
        assert torch.equal(value, checkpoint.weights[key]), key
    assert f"starts from all layers of network {checkpoint.digest[:12]}" in run.describe()


def test_other_classes_replace_the_last_layer_only(start, other_cache, tmp_path):
    """All weights are taken over but those that name the classes; which were named is said."""
    checkpoint = load_checkpoint(start)
    run = begin(other_cache, checkpoint, tmp_path)
    for key, value in run.learner.net.state_dict().items():
        if key.startswith("head.4."):
            assert len(value) == 2
        else:
            assert torch.equal(value, checkpoint.weights[key]), key
    (line,) = [line for line in run.describe() if "last layer" in line]
    assert line.endswith("classes were rest, paw_withdraw, paw_lick, paw_shake, walk, active")


def test_frozen_epochs_leave_the_convolutions_alone(start, other_cache, tmp_path):
    """Neither weights nor norms move, in the network or its average; afterwards they do."""
    config = dataclasses.replace(CONFIG, num_epochs=1)
    run = train(other_cache, tmp_path, config=config, init_path=start, device="cpu")
    before, after = weights_of(start), weights_of(run / "last.pt")
    state = load_checkpoint(run / "last.pt").state["net"]
    for key in before:
        if key.startswith("blocks."):
            assert torch.equal(after[key], before[key]), key
            assert torch.equal(state[key], before[key]), key
    assert not torch.equal(after["head.1.weight"], before["head.1.weight"])


def test_thawed_epochs_learn_everything(start, fine_tuned):
    """After the frozen epoch the convolutions are trained too."""
    before, after = weights_of(start), weights_of(fine_tuned / "last.pt")
    assert not torch.equal(after["blocks.1.conv.weight"], before["blocks.1.conv.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [2, 5])
def test_resumed_fine_tuning_equals_an_undisturbed_one(
    start, other_cache, fine_tuned, tmp_path, monkeypatch, num_steps
):
    """Stopped while frozen or later: same weights, and where it began is remembered."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, num_steps)
        with pytest.raises(TrainingInterruptedError) as caught:
            train(other_cache, tmp_path, config=CONFIG, init_path=start, device="cpu")
    run = resume_training(caught.value.run_folder, device="cpu")
    assert_equal_weights(fine_tuned / "last.pt", run / "last.pt")
    init = load_checkpoint(run / "last.pt").init
    assert init == load_checkpoint(fine_tuned / "last.pt").init
    assert init["digest"] == load_checkpoint(start).digest


def test_videos_that_the_first_network_learnt_are_not_held_out(start, fine_tuned):
    """A score on them flatters, however long the chain of networks; names of animals may repeat."""
    first = load_checkpoint(start)
    second = load_checkpoint(fine_tuned / "last.pt")
    for part in ("train", "val"):
        for item in first.split[part]:
            assert second.learnt_part(sha256=item["sha256"])
            assert item in second.as_init()["learnt"]
    lone = dataclasses.replace(second, split={part: [] for part in ("train", "val", "test")})
    learnt = first.split["train"][0]
    assert lone.learnt_part(sha256="0", group=learnt["group"]) == ""
    assert lone.learnt_part(sha256=learnt["sha256"]) == "train"


def test_leakage_from_the_first_network_is_warned_of(study, other_cache, tmp_path, caplog):
    """Test videos that it learnt from, and animals that may be the same."""
    checkpoint = load_checkpoint(study.checkpoint)
    with Store(study.cache) as store:
        names = [info.name for info in store.recordings]
    learnt = checkpoint.split["train"][0]["name"]
    others = [name for name in names if name != learnt]
    rows = [f"{learnt},test", f"{others[0]},val", *(f"{name},train" for name in others[1:])]
    (tmp_path / "split.csv").write_text("Recording,Part\n" + "\n".join(rows) + "\n")
    train(
        other_cache,
        tmp_path,
        config=dataclasses.replace(CONFIG, num_epochs=1),
        split_path=tmp_path / "split.csv",
        init_path=study.checkpoint,
        device="cpu",
    )
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("learnt from 1 videos of the test part" in w for w in warnings)


def test_network_of_the_checkpoint_counts(study, tmp_path):
    """The recipe's own model type gives way; learning rate and the rest stay."""
    config = dataclasses.replace(CONFIG, model_type="standard", num_epochs=1)
    run = train(study.cache, tmp_path, config=config, init_path=study.checkpoint, device="cpu")
    training = load_checkpoint(run / "last.pt").training
    assert (training["model_type"], training["learning_rate"]) == ("light", 1e-2)


def test_freezing_needs_a_network_to_begin_with(study, tmp_path):
    """Frozen random convolutions would learn nothing."""
    with pytest.raises(ConfigError, match="works only with --init"):
        train(study.cache, tmp_path, config=CONFIG, device="cpu")
