"""Training steps: the network, its optimizers and the update from a batch of windows.

All randomness derives from (seed, epoch, step), so a resumed run needs no saved generator.

Shapes: B windows, K labels of a window, N labels of a batch, F frames of a window.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from mpar.cache.clips import ClipSampler
from mpar.cache.store import Store
from mpar.errors import ConfigError, MparError
from mpar.labels.classes import UNLABELLED
from mpar.learning.annotators import AnnotatorLabels
from mpar.learning.augment import augment
from mpar.learning.losses import FocalLoss, class_weights
from mpar.learning.optimizers import make_optimizers
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import class_counts
from mpar.learning.sums import count_batch, norm_together, sum_gradients, sum_over
from mpar.network.checkpoint import Checkpoint
from mpar.network.config import ModelConfig
from mpar.network.devices import find_amp_dtype, is_out_of_memory
from mpar.network.model import ClipNet
from mpar.system.team import ALONE, Team

log = logging.getLogger(__name__)

_NUM_NORM_BATCHES = 32
_COLLECT_STEPS = 16  # a GPU waits for this process so often


def derive_seeds(*path: int) -> tuple[int, int]:
    """Derive two independent seeds from (seed, epoch, step)."""
    first, second = np.random.SeedSequence(path).generate_state(2)
    return int(first), int(second)


class Learner:
    """A network with everything that changes its weights.

    Parameters
    ----------
    store : Store
        Source of the windows.
    recordings : sequence of int
        The training recordings; their labels also determine the class weights.
    config : TrainConfig
        The recipe.
    device : torch.device
        Where to compute.
    init : Checkpoint, optional
        Start from its weights.
    team : Team
        The processes that share each batch.

    Attributes
    ----------
    counts : (C,) integer array
        Labelled frames of each class in `recordings`.
    wait_seconds : float
        Time since `begin_epoch` spent waiting for frames.
    is_ahead : bool
        Steps do not wait for the device.
    collect_steps : int
        Steps after which to call `collect`.
    num_parts : int
        Number of parts of a step, computed one after the other so that they fit in memory.
    """

    def __init__(
        self,
        store: Store,
        recordings: Sequence[int],
        config: TrainConfig,
        device: torch.device,
        init: Checkpoint | None = None,
        team: Team = ALONE,
    ) -> None:
        self.store, self.config, self.device, self.team = store, config, device, team
        self.counts = class_counts(store, recordings)
        self.model_config = ModelConfig(
            model_type=config.model_type,
            num_classes=len(store.class_names),
            clip_length=config.clip_length,
            dropout=config.dropout,
            centre_frames=config.centre_frames,
        )
        self.net = self._make_net(init)
        self.optimizers = make_optimizers(
            self.net,
            name=config.optimizer,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
        )
        # the averaged weights, which are validated and saved but not trained
        self.average = (
            AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
            if config.ema_decay
            else None
        )
        is_cuda = device.type == "cuda"
        self.amp_dtype = find_amp_dtype(device) if config.use_amp else None
        # gradients in float16 underflow without scaling; bfloat16 needs none
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=self.amp_dtype is torch.float16 and is_cuda
        )
        # a GPU computes on while this process prepares further steps; checking a step waits for it
        self.is_ahead = is_cuda and not self.scaler.is_enabled()
        self.collect_steps = _COLLECT_STEPS if self.is_ahead else 1
        self._taken: list[tuple[int, int, torch.Tensor, torch.Tensor]] = []
        self.loss = self._make_loss()
        self.sampler = ClipSampler(
            store,
            clip_length=config.clip_length,
            window=config.window,
            pin_memory=is_cuda,
            ring=2 if is_cuda else 1,  # one buffer may still be on its way to the device
        )
        self._copies: deque[torch.cuda.Event] = deque()
        self.annotators = AnnotatorLabels(store, recordings) if config.soft_labels else None
        self._logits: Callable[[torch.Tensor], torch.Tensor] = self._evaluate
        if config.compile:
            self._logits = torch.compile(self._evaluate)
        self.num_parts = 1
        self.begin_epoch(is_frozen=False)

    def _make_net(self, init: Checkpoint | None) -> ClipNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seeds(self.config.seed)[0])
            net = ClipNet(self.model_config)
        if init is not None:
            init.start(net, self.store.class_names)
        if self.team.size > 1:
            norm_together(net, self.team)
        # about 1.5 times as fast on CPUs; tensor cores prefer it, too
        net.to(device=self.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        return net

    def _make_loss(self) -> nn.Module:
        """Return the loss summed over labels, since sums of parts or processes can be added."""
        is_balanced = self.config.sampling == "balanced"
        weights = None if is_balanced else class_weights(self.counts).to(self.device)
        if self.config.loss == "focal":
            return FocalLoss(weights, self.config.focal_gamma, reduction="sum")
        return nn.CrossEntropyLoss(weights, ignore_index=UNLABELLED, reduction="sum")

    def judged_net(self) -> ClipNet:
        """Return the network to validate and save: the averaged one, if there is one."""
        return self.net if self.average is None else cast(ClipNet, self.average.module)

    def begin_epoch(self, *, is_frozen: bool) -> None:
        """Prepare for the steps of an epoch; if `is_frozen`, only the last layers learn."""
        self.is_frozen = is_frozen
        self._num_learnt = torch.zeros((), dtype=torch.int64, device=self.device)
        self.wait_seconds = 0.0
        self.net.train()
        self.net.blocks.train(not is_frozen).requires_grad_(not is_frozen)

    @property
    def num_learnt(self) -> int:
        """Labelled frames since `begin_epoch`; waits for the device."""
        return int(self._num_learnt)

    def take_step(self, samples: np.ndarray, *, epoch: int, step: int, rate: float) -> None:
        """Learn from windows; `collect` returns the loss.

        Parameters
        ----------
        samples : (B, 2) integer array
            As for `mpar.cache.clips.ClipSampler.gather`; each member of the team learns its share.
        epoch, step : int
            Counted from 0; they fix all random choices.
        rate : float
            The learning rate.

        Raises
        ------
        MparError
            The loss or its gradient is not a finite number; if `is_ahead`, `collect` raises it.

        Notes
        -----
        In float16, gradients may overflow; the whole step is then skipped.
        """
        own = self.team.share_of(samples)
        # a process without a window computes one without labels, so that all stay in step
        x, labels = self.load_batch(own if len(own) else samples[:1], epoch, step)
        if not len(own):
            labels = torch.full_like(labels, UNLABELLED)
        if self.team.size > 1:
            count_batch(self.net, is_counted=bool(len(own)))
        loss = self._add_gradients(x, labels, epoch, step)
        if not self.is_ahead:
            self._check("loss", loss, epoch, step)
        sum_gradients(self.team, self.net)
        # Muon trains only convolutions
        optimizers = self.optimizers[-1:] if self.is_frozen else self.optimizers
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.config.grad_clip)
        if not self.is_ahead and not self.scaler.is_enabled():
            self._check("gradient", norm, epoch, step)
        # one decision for all optimizers, since each sees only the gradients of its own weights
        if not self.scaler.is_enabled() or torch.isfinite(norm):
            for optimizer in optimizers:
                self.scaler.step(optimizer)
        self.scaler.update()  # lowers the scale after a skipped step
        if self.average is not None:
            self.average.update_parameters(self.net)
        self._num_learnt += (labels != UNLABELLED).sum()
        self._taken.append((epoch, step, loss, norm))

    def collect(self) -> list[float]:
        """Return the mean loss of each step since the last call; waits for the device.

        Raises
        ------
        MparError
            A loss or a gradient is not a finite number.
        """
        taken, self._taken = self._taken, []
        losses = []
        for epoch, step, loss, norm in taken:
            losses.append(self._check("loss", loss, epoch, step))
            if not self.scaler.is_enabled():
                self._check("gradient", norm, epoch, step)
        return losses

    def _check(self, what: str, tensor: torch.Tensor, epoch: int, step: int) -> float:
        """Return a loss or the norm of a gradient as a number, which must be finite."""
        value = float(tensor)
        if not np.isfinite(value):
            advice = "lower --learning-rate" + (", or pass --no-amp" if self.amp_dtype else "")
            raise MparError(
                f"{self.store.path}: the {what} is {value} in epoch {epoch + 1}, step {step + 1}; "
                f"{advice}"
            )
        return value

    def load_batch(
        self, samples: np.ndarray, epoch: int, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return windows (B, 1, F, H, W), augmented if configured, and labels (B, K)."""
        is_cuda = self.device.type == "cuda"
        if is_cuda and len(self._copies) == self.sampler.num_buffers:
            self._copies.popleft().synchronize()  # the copy out of the buffer that comes next
        started = time.perf_counter()
        windows, labels = self.sampler.gather(samples)
        self.wait_seconds += time.perf_counter() - started
        x = windows.to(self.device, non_blocking=True)
        if is_cuda:
            self._copies.append(torch.cuda.Event())
            self._copies[-1].record()
        x = x.float().mul_(1 / 255)
        if self.annotators is not None and len(self.annotators):
            rng = np.random.default_rng(self._seeds(epoch, step))
            labels = torch.from_numpy(self.annotators.draw(samples, labels.numpy(), rng))
        labels = labels.to(self.device, non_blocking=True)
        if self.config.augment:
            generator = torch.Generator().manual_seed(self._seeds(epoch, step)[1])
            x, labels = augment(
                x, labels, self.store.class_map.mirror_indices, generator, view=self.config.view
            )
        return x.contiguous(memory_format=torch.channels_last_3d), labels

    def _seeds(self, epoch: int, step: int) -> tuple[int, int]:
        rank = (self.team.rank,) if self.team.size > 1 else ()
        return derive_seeds(self.config.seed, epoch, step + 1, *rank)

    def _add_gradients(
        self, x_B1FHW: torch.Tensor, labels_BK: torch.Tensor, epoch: int, step: int
    ) -> torch.Tensor:
        """Compute the gradients of the loss and return the loss; in parts if memory is short."""
        total = sum_over(self.team, self._weigh(labels_BK)).clamp_min(1e-12)
        while True:
            self.net.zero_grad(set_to_none=True)
            torch.manual_seed(self._seeds(epoch, step)[0])
            try:
                value = torch.zeros((), device=self.device)
                for x, labels in zip(
                    x_B1FHW.chunk(self.num_parts), labels_BK.chunk(self.num_parts), strict=True
                ):
                    with self._autocast():
                        logits = self._logits(x)
                    loss = self.loss(logits.float(), labels.flatten()) / total
                    self.scaler.scale(loss).backward()
                    value += loss.detach()
                return sum_over(self.team, value)
            except RuntimeError as error:
                if self.config.compile and type(error).__module__.startswith("torch._"):
                    raise ConfigError(
                        "compile: torch found no working C++ compiler "
                        f"({str(error).partition(chr(10))[0]}); drop --compile"
                    ) from None
                # in a team, all members would have to agree on the number of parts
                is_divisible = self.num_parts < len(x_B1FHW) and self.team.size == 1
                if not (is_out_of_memory(error) and is_divisible):
                    raise
            self.num_parts *= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            log.warning(
                "a batch of %d windows does not fit in memory; mpar now computes each step in %d "
                "parts, each with its own batch norm; a smaller --batch-size is faster",
                len(x_B1FHW),
                self.num_parts,
            )

    def _evaluate(self, x_B1FHW: torch.Tensor) -> torch.Tensor:
        """Return the logits of all labels of windows, (N, C)."""
        if self.config.window == 1:
            return self.net(x_B1FHW)
        return self.net.dense(x_B1FHW).flatten(0, 1)

    def _weigh(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the sum of the weights of the labels, which turns the summed loss into a mean."""
        is_known = labels != UNLABELLED
        weights = getattr(self.loss, "weight", None)
        if weights is None:
            return is_known.sum().float()
        return (weights[labels.clamp_min(0)] * is_known).sum()

    def _autocast(self) -> torch.autocast:
        # "cpu" also for mps, which torch refuses here even if autocast is off
        is_cuda = self.device.type == "cuda"
        return torch.autocast(
            "cuda" if is_cuda else "cpu", dtype=self.amp_dtype, enabled=self.amp_dtype is not None
        )

    def renew_norms(self, samples: np.ndarray, epoch: int) -> None:
        """Measure the batch statistics of the averaged network; those of the steps do not fit it.

        Parameters
        ----------
        samples : (N, 2) integer array
            The windows of an epoch, of which the first 32 batches are used.
        epoch : int
            Fixes all random choices.

        Notes
        -----
        Source: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
        Generalization", section 3.3.
        """
        if self.average is None or self.is_frozen:
            return
        size, length = self.config.batch_size, self.config.clip_length
        num_batches = min(_NUM_NORM_BATCHES, -(-len(samples) // size))
        batches = (
            self.load_batch(samples[i * size : (i + 1) * size], epoch, i)[0][:, :, :length]
            for i in range(num_batches)
        )
        with self._autocast():
            update_bn(batches, self.average.module)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizers[-1].param_groups[0]["lr"])

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights of `judged_net`, on the CPU."""
        return {k: v.detach().cpu() for k, v in self.judged_net().state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return everything needed to continue, except the weights of `judged_net`."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self.scaler.state_dict(),
            "net": self.net.state_dict(),
            "num_averaged": 0 if self.average is None else int(self.average.n_averaged),
        }

    def restore(self, state: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        """Restore a `state`, with the weights of `judged_net`."""
        self.net.load_state_dict(state["net"])
        if self.average is not None:
            self.average.module.load_state_dict(weights)
            self.average.n_averaged.fill_(state["num_averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.scaler.load_state_dict(state["scaler"])


class NoLearner(Learner):
    """Takes the place of the learner with ``--model none``: it takes no step, and saves nothing.

    Parameters
    ----------
    store, recordings, config
        As for `Learner`.
    """

    num_learnt = 0
    wait_seconds = 0.0
    learning_rate = np.nan

    def __init__(self, store: Store, recordings: Sequence[int], config: TrainConfig) -> None:
        self.counts = class_counts(store, recordings)
        self.model_config = ModelConfig(
            model_type=config.model_type,
            num_classes=len(store.class_names),
            clip_length=config.clip_length,
        )

    def weights(self) -> dict[str, Any]:
        """Return no weights."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return nothing to continue from."""
        return {}

    def restore(self, state: dict[str, Any], weights: dict[str, Any]) -> None:
        """Do nothing."""
