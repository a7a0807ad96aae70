"""The training loop: one run, epoch by epoch; a resumed run reaches the same weights."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpar.cache.clips import balanced_windows, labelled_frames, tile_windows
from mpar.cache.drift import appearance_range
from mpar.cache.joined import as_text
from mpar.cache.store import Store
from mpar.learning.beside import Beside
from mpar.learning.board import TrainingBoard, draw_validation
from mpar.learning.expected import plan_steps
from mpar.learning.learner import Learner, NoLearner, derive_seeds
from mpar.learning.planning import plan_minutes, steps_of_one_pass, time_steps
from mpar.learning.recipe import TrainConfig
from mpar.learning.runs import by_class, write_history
from mpar.learning.signals import TrainingInterruptedError, caught_signals
from mpar.learning.splits import PARTS, Split, can_choose, class_counts
from mpar.learning.validation import Validation, fit_post, score_validation
from mpar.network.checkpoint import SPLIT_KEYS, Checkpoint, save_checkpoint
from mpar.network.config import NO_NETWORK
from mpar.network.dense import DensePredictor
from mpar.network.mixture import Experts
from mpar.system.files import locked, remove_temporaries
from mpar.system.progress import Bar
from mpar.system.team import ALONE, Team

log = logging.getLogger(__name__)

_SAVE_SECONDS = 600  # within a long epoch


class TrainingRun:
    """A run in progress, with everything that a step reads or changes."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        split: Split,
        config: TrainConfig,
        device: torch.device,
        init: Checkpoint | None = None,
        team: Team = ALONE,
        resumed: Checkpoint | None = None,
    ) -> None:
        self.folder, self.store, self.split = folder, store, split
        self.device, self.team = device, team
        self._one_pass = steps_of_one_pass(store, split.train, config)
        self.config, self.epoch_steps = config, 0
        if resumed is None:
            self.config, self.epoch_steps = plan_steps(config, self._one_pass)
        self._has_network = config.model_type != NO_NETWORK
        self.learner = (
            Learner(store.seen, split.train, self.config, device, init, team)
            if self._has_network
            else NoLearner(store, split.train, self.config)
        )
        self._can_choose = can_choose(self.learner.counts, class_counts(store, split.val))
        self.init = {} if init is None else init.as_init()
        self.epoch = 0  # number of finished epochs
        self.step = 0  # number of finished steps of the current epoch
        self.loss_sum = 0.0
        self.best_epoch = 0
        self.history: list[dict[str, float]] = []
        self.post: dict[str, Any] = {}
        self.is_planned = resumed is not None or not self.config.minutes
        experts = None if resumed is None else Experts.from_dict(resumed.experts)
        self.beside = Beside(store, split, self.config, device, team, experts)
        if resumed is not None:
            self._restore(resumed)

    @cached_property
    def appearance(self) -> dict[str, Any]:
        """How the training recordings look."""
        return appearance_range(self.store.seen, self.split.train)

    def describe(self) -> list[str]:
        """Return lines about the network, the split, and classes that cannot be learnt."""
        sizes = ", ".join(
            f"{len(self.split.part(part))} {part} recordings of "
            f"{len({self.store.recordings[i].group for i in self.split.part(part)})} animals"
            for part in PARTS
        )
        counts = zip(self.store.class_names, self.learner.counts, strict=True)
        absent = [name for name, count in counts if not count]
        network = "no network"
        if self._has_network:
            num_parameters = self.learner.net.num_parameters()
            network = f"{num_parameters:,} parameters ({self.config.model_type})"
        lines = [
            f"{network}; {sizes}",
            f"run folder {self.folder}",
        ]
        if self.init:
            lines.append(self._describe_init())
        if absent:
            lines.append(f"classes without training frames: {', '.join(absent)}")
        return lines

    def _describe_init(self) -> str:
        digest, others = self.init["digest"][:12], tuple(self.init["class_names"])
        if others == self.store.class_names:
            return f"starts from all layers of network {digest}"
        return (
            f"starts from network {digest} without its last layer, whose classes were "
            f"{', '.join(others)}"
        )

    def execute(self, *, quiet: bool) -> None:
        """Train until the last epoch, early stopping or a signal."""
        self.beside.quiet = quiet
        if self.config.features:
            _ = self.beside.validation  # takes minutes, in which Ctrl-C should end the command
        board = TrainingBoard(self.folder)
        if self.best_epoch and self.team.is_leader:
            self._remove_older_best()
        cuda = [self.device] if self.device.type == "cuda" else []
        bar = Bar(
            total=self.config.num_epochs * self.epoch_steps,
            initial=self.epoch * self.epoch_steps + self.step,
            unit="step",
            quiet=quiet or not self.team.is_leader,
        )
        is_leader = self.team.is_leader
        try:
            with (
                locked(self.folder / "last.pt") if is_leader else contextlib.nullcontext(),
                caught_signals() as caught,
                torch.random.fork_rng(devices=cuda),
                bar,
            ):
                if is_leader:
                    remove_temporaries(self.folder)
                if not self.is_planned:
                    self._plan_minutes(bar)
                while self.epoch < self.config.num_epochs and not self._is_patience_over():
                    bar.set_description(f"epoch {self.epoch + 1}/{self.config.num_epochs}")
                    seconds = self._run_epoch(caught, bar)
                    self._finish_epoch(seconds, board)
                    if signum := self._ask_all(caught)[0]:  # caught in validation; state is saved
                        raise TrainingInterruptedError(signum, self.folder)
        finally:
            board.close()

    def _plan_minutes(self, bar: Bar) -> None:
        """Measure the time of a step and of a validation, undo them, and plan the run."""
        _ = self.beside.validation  # needed once, so not a part of the time of a validation
        measured = time_steps(self.learner, self._samples(0), self.validate)
        step_seconds, validation_seconds = self.team.gather(measured)[0]
        self.config, self.epoch_steps = plan_minutes(
            self.config,
            self._one_pass,
            step_seconds=step_seconds,
            validation_seconds=validation_seconds,
        )
        self.is_planned = True
        bar.reset(total=self.config.num_epochs * self.epoch_steps)
        if self.team.is_leader:
            log.info(
                "%g minutes: %d epochs of %d steps (%.2f s a step, %.1f s a validation)",
                *(self.config.minutes, self.config.num_epochs, self.epoch_steps),
                *(step_seconds, validation_seconds),
            )

    def _is_patience_over(self) -> bool:
        return self.epoch - self.best_epoch >= self.config.patience

    def _progress_text(self) -> str:
        """Return the mean loss of this epoch so far and the last validation score."""
        loss = self.loss_sum / max(1, self.step)
        score = f"{self.history[-1]['Val_macro_F1']:.3f}" if self.history else "-"
        return f"loss {loss:.3f}, macro-F1 {score}"

    def _samples(self, epoch: int) -> np.ndarray:
        """Return the windows of an epoch in its random order, (N, 2)."""
        rng = np.random.default_rng(derive_seeds(self.config.seed, epoch, 0)[0])
        window, recordings = self.config.window, self.split.train
        if self.config.sampling == "balanced":
            one_pass = self.epoch_steps == self._one_pass
            num_windows = None if one_pass else self.epoch_steps * self.config.batch_size
            return balanced_windows(
                self.store, recordings, window=window, rng=rng, num_windows=num_windows
            )
        if window == 1:
            return rng.permutation(labelled_frames(self.store, recordings))
        offset = int(rng.integers(window))
        return rng.permutation(tile_windows(self.store, recordings, window=window, offset=offset))

    def _run_epoch(self, caught: list[int], bar: Bar) -> float:
        """Take the remaining steps of an epoch; return the seconds they took."""
        started = saved = time.monotonic()
        if not self._has_network:
            return 0.0
        samples = self._samples(self.epoch)
        size = self.config.batch_size
        num_steps = -(-len(samples) // size)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.learner.begin_epoch(is_frozen=self.epoch < self.config.freeze_backbone_epochs)
        while self.step < num_steps:
            # the middle of the step, so that no step has a learning rate of 0
            now = self.epoch + (self.step + 0.5) / num_steps
            self.learner.take_step(
                samples[self.step * size : (self.step + 1) * size],
                epoch=self.epoch,
                step=self.step,
                rate=self.config.learning_rate_at(now),
            )
            self.step += 1
            bar.update()
            signum, is_due = self._ask_all(caught, time.monotonic() - saved > _SAVE_SECONDS)
            is_last = self.step == num_steps
            if signum or is_due or is_last or self.step % self.learner.collect_steps == 0:
                self.loss_sum = sum(self.learner.collect(), start=self.loss_sum)
                bar.set_postfix_str(self._progress_text(), refresh=False)
            if signum or is_due:
                self.save_last()
                saved = time.monotonic()
            if signum:
                raise TrainingInterruptedError(signum, self.folder)
        return time.monotonic() - started

    def _ask_all(self, caught: list[int], is_due: bool = False) -> tuple[int, bool]:
        """Return a signal that any process caught, or 0, and whether the leader wants to save.

        All processes must stop at the same step, or they would wait for each other forever.
        """
        signum = max(caught, default=0)
        if self.team.size == 1:
            return signum, is_due
        found = self.team.gather((signum, is_due), at_once=True)
        return max(signum for signum, _ in found), found[0][1]

    def _finish_epoch(self, seconds: float, board: TrainingBoard) -> None:
        """Validate; add to the history; save and log."""
        train_loss = self.loss_sum / self.step if self.step else np.nan
        learner = self.learner
        # if the run was stopped after the last step of the epoch, there is no time to report
        num_learnt = sum(self.team.gather(learner.num_learnt))
        is_timed = bool(num_learnt and seconds)
        waited = learner.wait_seconds  # before validation, which reads clips too
        validation = self.validate()
        scores = validation.scores
        self.epoch, self.step = self.epoch + 1, 0
        self.history.append(
            {
                "Epoch": self.epoch,
                "Train_loss": train_loss,
                "Val_loss": validation.loss,
                "Val_macro_F1": scores.macro_f1,
                "Val_accuracy": scores.accuracy,
                **by_class("Val_F1", scores.class_names, scores.f1),
                **by_class("Val_recall", scores.class_names, scores.recall),
                "Learning_rate": learner.learning_rate,
                "Seconds": seconds,
                "Frames_per_second": num_learnt / seconds if is_timed else np.nan,
                "Percent_waiting_for_data": 100 * waited / seconds if is_timed else np.nan,
                **self._peak_memory(),
            }
        )
        self.loss_sum = 0.0
        is_best = self._is_best()
        if is_best:
            self.best_epoch = self.epoch
            if self._can_choose:
                self.post = fit_post(self.store, self.split.train, validation)
            self.beside.with_powers(validation.powers)
        if not self.team.is_leader:
            return
        if is_best:
            save_checkpoint(self.best_path(), self._checkpoint(scores.to_dict(), {}))
        write_history(self.folder / "metrics.csv", self.history)
        draw = partial(
            draw_validation, self.store.seen, self.split.val, validation, self.config.clip_length
        )
        # before last.pt: a run killed in between repeats the epoch, so curves have no gap
        board.add(self.epoch, self.history[-1], draw)
        self.save_last()
        self._remove_older_best()
        log.info(
            "epoch %d: %svalidation macro-F1 %.3f%s",
            self.epoch,
            f"loss {self.history[-1]['Train_loss']:.3f}, " if self._has_network else "",
            scores.macro_f1,
            " (best)" if self.best_epoch == self.epoch else "",
        )

    def _is_best(self) -> bool:
        """Return True if the last epoch is the best: by macro-F1; if equal, by the loss.

        If validation cannot tell, every epoch is better than the one before.
        """
        if not self.best_epoch or not self._can_choose:
            return True
        best, last = (
            (row["Val_macro_F1"], -row["Val_loss"])
            for row in (self.history[self.best_epoch - 1], self.history[-1])
        )
        return last > best

    def _remove_older_best(self) -> None:
        """Delete older best checkpoints, after last.pt names the new one, so one always remains."""
        for path in self.folder.glob("best_model_epoch*.pt"):
            if re.fullmatch(r"best_model_epoch[0-9]+\.pt", path.name) and path != self.best_path():
                path.unlink(missing_ok=True)

    def _peak_memory(self) -> dict[str, float]:
        if self.device.type != "cuda":
            return {}
        return {"Peak_GPU_MiB": torch.cuda.max_memory_allocated(self.device) / 2**20}

    def validate(self) -> Validation:
        """Score every labelled step of the validation recordings."""
        network = None
        if self._has_network:
            self.learner.renew_norms(self._samples(self.epoch), self.epoch)
            predictor = DensePredictor(self.learner.judged_net())
            own = self.team.share_of(self.split.val)
            made = {i: predictor.predict(self.store.seen.stream_steps(i)) for i in own}
            found = {i: array for part in self.team.gather(made) for i, array in part.items()}
            network = [found[i] for i in self.split.val]
        return score_validation(
            self.store,
            self.split.val,
            ({} if network is None else {"network": network}) | self.beside.validation,
            self.beside.powers_with(network, can_choose=self._can_choose),
            clip_length=self.config.clip_length,
        )

    def best_path(self) -> Path:
        """Return the path of the best checkpoint so far."""
        return self.folder / f"best_model_epoch{self.best_epoch}.pt"

    def save_last(self) -> None:
        """Save everything needed to continue from here."""
        if self.step:  # otherwise validation has just done this
            self.learner.renew_norms(self._samples(self.epoch), self.epoch)
        if not self.team.is_leader:
            return
        state = {
            **self.learner.state(),
            "epoch": self.epoch,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "best_epoch": self.best_epoch,
            "epoch_steps": self.epoch_steps,
            "history": self.history,
        }
        save_checkpoint(self.folder / "last.pt", self._checkpoint({}, state))

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Restore the state of a ``last.pt``."""
        state = checkpoint.state
        self.learner.restore(state, checkpoint.weights)
        self.epoch, self.step = state["epoch"], state["step"]
        self.loss_sum = state["loss_sum"]
        self.best_epoch, self.epoch_steps = state["best_epoch"], state["epoch_steps"]
        self.history = list(state["history"])
        self.init, self.post = checkpoint.init, checkpoint.post

    def _checkpoint(self, scores: dict[str, Any], state: dict[str, Any]) -> Checkpoint:
        return Checkpoint(
            model_config=self.learner.model_config,
            weights=self.learner.weights(),
            class_map=self.store.class_map,
            data={
                "path": as_text(self.store.paths),
                "access": self.store.access,
                "fingerprint": self.store.fingerprint,
                "frame_size": list(self.store.frame_size),
                "config": self.store.config,
                "look": self.appearance,
            },
            split={
                part: [
                    {key: getattr(info, key) for key in SPLIT_KEYS}
                    for info in (self.store.recordings[i] for i in self.split.part(part))
                ]
                for part in PARTS
            },
            training=self.config.to_dict(),
            scores={"epoch": self.epoch, "validation": scores},
            init=self.init,
            post=self.post,
            experts=self.beside.experts.to_dict(),
            state=state,
        )
