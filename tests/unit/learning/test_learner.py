"""One step of learning: memory, precision, compilers and overflows."""

from functools import partial
from unittest import mock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mpar.cache.store import Store
from mpar.errors import ConfigError, MparError
from mpar.learning.learner import Learner
from mpar.learning.loop import TrainingRun
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import split_store
from tests.unit.learning.short_run import CONFIG


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
    """It is halved until it fits, with a warning; the parts add up to the whole."""
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
