"""A training step against the plain one, and where its time goes."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

from mpar.cache.store import Store
from mpar.learning.learner import Learner
from mpar.learning.loop import TrainingRun
from mpar.learning.recipe import named_recipe
from mpar.learning.splits import Split
from mpar.network.config import MODEL_TYPES
from mpar.network.devices import native_precisions
from mpar.network.model import ClipNet
from tests.benchmarks.inputs import NUM_FRAMES, draw, make_cache
from tests.benchmarks.matrix import (
    count_operations,
    describe_peak,
    forget_peak,
    rate_of,
    seconds_of,
)
from tests.benchmarks.race import OURS, Row, race

MODELS, SIDE = MODEL_TYPES, 64
LABELS = 32  # a step of the original recipe; one of mpar's has 64


def run(folder: Path) -> list[Row]:
    """Race a step of both recipes, and of the original as a plain loop would take it."""
    frames, codes = draw(SIDE, SIDE)
    cache = make_cache(folder / "cache.h5", [frames] * 6, codes)
    rows: list[Row] = []
    with Store(cache) as store:
        split = Split(train=(0, 1, 2, 3), val=(4,), test=(5,))
        for model_type in MODELS:

            def start(recipe: str, model_type: str = model_type) -> TrainingRun:
                config = named_recipe(recipe, model_type=model_type)
                return TrainingRun(folder, store, split, config, torch.device("cpu"))

            clips, windows = start("original"), start("mpar")
            rows += race(
                f"training step, original recipe, {model_type} {SIDE}x{SIDE}",
                {
                    OURS: partial(_step, clips),
                    "mpar's recipe": partial(_step, windows),
                    "plain NCDHW": partial(_plain_step, clips),
                },
                work={OURS: LABELS, "mpar's recipe": 64, "plain NCDHW": LABELS},
                unit="labels/s",
                rounds=5,
            )
            rows.append(_share_of_waiting(model_type, clips))
            cpu = torch.device("cpu")
            rates = {name: rate_of(name, cpu) for name in native_precisions(cpu)}
            rows.append(measure_steps(windows.learner, f"mpar {model_type} {SIDE}", rates, 5))
            click.echo(rows[-1])
    return rows


def _batch(run_: TrainingRun) -> np.ndarray:
    starts = np.random.default_rng(0).integers(0, 300, run_.config.batch_size)
    return np.stack([np.arange(len(starts)) % 4, starts], axis=1)


def _step(run_: TrainingRun) -> None:
    run_.learner.take_step(_batch(run_), epoch=0, step=0, rate=1e-3)


def _plain_step(run_: TrainingRun) -> None:
    net = ClipNet(run_.learner.model_config).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    windows, labels = run_.learner.sampler.gather(_batch(run_))
    loss = torch.nn.functional.cross_entropy(
        net(windows.float() / 255), labels.flatten().clamp(min=0)
    )
    loss.backward()
    optimizer.step()


def _share_of_waiting(model_type: str, run_: TrainingRun) -> Row:
    """Say which share of a step goes into gathering its batch."""
    batch, waited, started = _batch(run_), 0.0, time.perf_counter()
    for _ in range(5):
        began = time.perf_counter()
        run_.learner.sampler.gather(batch)
        waited += time.perf_counter() - began
        _step(run_)
    share = waited / (time.perf_counter() - started)
    row = Row(f"{model_type}, waiting for data: {share:.2%}", OURS, 5 / waited, "batches/s")
    click.echo(row)
    return row


def measure_steps(learner: Learner, case: str, rates: dict[str, float], num_steps: int) -> Row:
    """Return the labelled frames a second of training steps, and what they reach of `rates`."""
    config, device = learner.config, learner.device
    rng = np.random.default_rng(0)

    def steps(count: int) -> None:
        for step in range(count):
            starts = rng.integers(NUM_FRAMES - config.window, size=config.batch_size)
            samples = np.stack([np.arange(config.batch_size) % 4, starts], axis=1)
            learner.take_step(samples, epoch=0, step=step, rate=1e-3)
        learner.collect()

    operations = 0 if config.compile else count_operations(lambda: steps(1))
    steps(3)
    learner.begin_epoch(is_frozen=False)
    forget_peak(device)
    seconds = seconds_of(lambda: steps(num_steps), device, 1) / num_steps
    num_labels = learner.num_learnt / (2 * num_steps)  # seconds_of calls it twice
    waiting = learner.wait_seconds / (2 * num_steps) / seconds
    name = "bf16" if "bf16" in rates and learner.amp_dtype is torch.bfloat16 else "fp32"
    share = f", {operations / seconds / rates[name]:.0%} of the {name} rate" if operations else ""
    clips = config.batch_size / seconds
    text = f"training, {case}: {clips:,.0f} windows/s, {waiting:.1%} gathering{share}"
    return Row(text + describe_peak(device), OURS, num_labels / seconds, "frames/s")
