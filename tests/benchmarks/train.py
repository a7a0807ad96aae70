"""A training step against the plain one, and where its time goes."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

from mpar.cache.store import Store
from mpar.learning.loop import TrainingRun
from mpar.learning.recipe import named_recipe
from mpar.learning.splits import Split
from mpar.network.model import ClipNet
from tests.benchmarks.inputs import draw, make_cache
from tests.benchmarks.race import OURS, Row, race

MODELS, SIDE = ("standard", "light"), 64
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
