"""Prediction and training on a GPU, beside what the card itself can do.

One call measures everything; without a GPU it runs on the CPU, to test its logic.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch

from mpar.cache.store import Store
from mpar.learning.learner import Learner
from mpar.learning.loop import TrainingRun
from mpar.learning.recipe import TrainConfig, named_recipe
from mpar.learning.splits import Split
from mpar.network.checkpoint import load_checkpoint
from mpar.network.config import MODEL_TYPES
from mpar.network.devices import native_precisions
from mpar.train import resume_training, train
from tests.benchmarks.dense import make_net, measure_precisions, save_net
from tests.benchmarks.inputs import NUM_FRAMES, draw, make_cache, make_folders
from tests.benchmarks.matrix import forget_peak, rate_of, seconds_of, synchronize
from tests.benchmarks.race import OURS, Row
from tests.benchmarks.train import measure_steps

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIDES, MODELS = (64, 112, 224), MODEL_TYPES
NAMES = tuple(native_precisions(torch.device(DEVICE)))
NUM_DENSE_FRAMES, NUM_VIDEOS, VIDEO_SIZE = 20_000, 24, (480, 640)
NUM_STEPS, NUM_EPOCHS = 30, 2
WAYS = ("plain", "--compile", "CUDA graphs") if DEVICE == "cuda" else ("plain",)
NUM_COPIED_BYTES = 1 << 28


def run(folder: Path) -> list[Row]:
    """Measure the card, prediction, the command, training, resuming and running out of memory."""
    device = torch.device(DEVICE)
    rates = {name: rate_of(name, device) for name in {*NAMES, "fp32"}}
    rows = [
        Row(f"matrix product, {name}", "card", rate / 1e12, "TFLOP/s")
        for name, rate in rates.items()
    ]
    rows += [*_copy(device)]
    for row in rows:
        click.echo(row)
    for model_type in MODELS:
        for side in SIDES:
            rows += measure_precisions(model_type, side, device, rates, NUM_DENSE_FRAMES)
    rows += _command(folder / "whole")
    for side in SIDES:
        rows += _train(folder / f"{side}", side, device, rates)
    rows += _resume(folder / "resumed")
    rows += _run_out_of_memory(folder / "short", device)
    return rows


def _show(row: Row) -> Row:
    click.echo(row)
    return row


def _copy(device: torch.device) -> Iterator[Row]:
    """Yield the bandwidth of copies to the device, and within it."""
    host = torch.empty(NUM_COPIED_BYTES, dtype=torch.uint8, pin_memory=device.type == "cuda")
    there = torch.empty(NUM_COPIED_BYTES, dtype=torch.uint8, device=device)
    other = torch.empty_like(there)
    for case, source in (("copy to the device", host), ("copy within the device", other)):
        seconds = seconds_of(lambda s=source: there.copy_(s, non_blocking=True), device)  # type: ignore[misc]
        yield Row(case, "card", NUM_COPIED_BYTES / 1e9 / seconds, "GB/s")


def _command(folder: Path) -> Iterator[Row]:
    """Yield the frames a second of ``mpar-predict`` on videos, start included."""
    make_folders(folder, NUM_VIDEOS, *VIDEO_SIZE)
    checkpoint = save_net(folder / "net.pt", make_net(MODELS[0]), SIDES[0])
    for name in NAMES:
        command = [sys.executable, "-m", "mpar_cli.predict", checkpoint, folder / "Videos"]
        options = ["-o", folder / "out", "--overwrite", "--device", DEVICE, "--precision", name]

        def predict(command: list[Any] = [*command, *options, "--quiet"]) -> None:  # noqa: B006
            subprocess.run([*map(str, command)], check=True, capture_output=True)

        seconds = seconds_of(predict, torch.device("cpu"), 2)
        case = f"mpar-predict, {NUM_VIDEOS} videos, {MODELS[0]} {SIDES[0]}x{SIDES[0]}, {name}"
        yield _show(Row(case, OURS, NUM_VIDEOS * NUM_FRAMES / seconds, "frames/s"))


def _train(folder: Path, side: int, device: torch.device, rates: dict[str, float]) -> Iterator[Row]:
    """Yield the labelled frames a second of training steps, by recipe and way of compiling."""
    frames, codes = draw(side, side)
    folder.mkdir(parents=True)
    with Store(make_cache(folder / "cache.h5", [frames] * 6, codes)) as store:
        for recipe in ("mpar", "original"):
            for way in WAYS:
                config = named_recipe(recipe, compile=way != "plain")
                with pytest.MonkeyPatch.context() as patch:
                    if way == "CUDA graphs":
                        compile_ = torch.compile
                        patch.setattr(
                            torch, "compile", lambda f, c=compile_: c(f, mode="reduce-overhead")
                        )
                    learner = Learner(store, range(4), config, device)
                yield _show(
                    measure_steps(learner, f"{recipe} {side}x{side}, {way}", rates, NUM_STEPS)
                )


def _resume(folder: Path) -> Iterator[Row]:
    """Yield how far a run of two halves ends from one without a break (exactly 0 on a CPU)."""
    frames, codes = draw(SIDES[0], SIDES[0])
    folder.mkdir()
    cache = make_cache(folder / "cache.h5", [frames] * 6, codes)
    config = TrainConfig(model_type="light", num_epochs=NUM_EPOCHS, patience=NUM_EPOCHS)
    whole = train(cache, folder / "whole", config=config, device=DEVICE)
    with pytest.MonkeyPatch.context() as patch:
        finish = TrainingRun._finish_epoch

        def stop(run_: TrainingRun, *arguments: Any) -> None:
            finish(run_, *arguments)
            raise KeyboardInterrupt

        patch.setattr(TrainingRun, "_finish_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train(cache, folder / "halves", config=config, device=DEVICE)
    (halves,) = (folder / "halves").iterdir()
    resume_training(halves, device=DEVICE)
    first, second = (load_checkpoint(run_ / "last.pt").weights for run_ in (whole, halves))
    difference = max(float((first[k].float() - second[k].float()).abs().max()) for k in first)
    yield _show(Row("resumed run, largest difference of weights", OURS, difference + 1e-30, ""))


def _run_out_of_memory(folder: Path, device: torch.device) -> Iterator[Row]:
    """Yield into how many parts a step is cut if it may use 0.4 of the memory that it needs."""
    side = SIDES[-1]
    frames, codes = draw(side, side)
    folder.mkdir()
    with Store(make_cache(folder / "cache.h5", [frames] * 6, codes)) as store:
        split = Split(train=(0, 1, 2, 3), val=(4,), test=(5,))
        learner = TrainingRun(folder, store, split, named_recipe("mpar"), device).learner
        samples = np.stack([np.arange(4), np.full(4, 50)], axis=1)
        forget_peak(device)
        with pytest.MonkeyPatch.context() as patch:
            if device.type == "cuda":
                learner.take_step(samples, epoch=0, step=0, rate=1e-3)
                learner.collect()
                peak = torch.cuda.max_memory_allocated(device)
                total = torch.cuda.get_device_properties(device).total_memory
                torch.cuda.empty_cache()
                torch.cuda.set_per_process_memory_fraction(0.4 * peak / total, device)
            else:
                evaluate = learner._logits

                def short(x: torch.Tensor) -> torch.Tensor:
                    if len(x) > 1:
                        raise torch.OutOfMemoryError("a cap")
                    return evaluate(x)

                patch.setattr(learner, "_logits", short)
            learner.take_step(samples, epoch=0, step=1, rate=1e-3)
            learner.collect()
            synchronize(device)
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0, device)
        yield _show(Row("a step with too little memory", OURS, learner.num_parts, "parts"))
