"""A training step beside another busy program, by how the threads of torch wait for each other."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import torch

from mpar.cache.store import Store
from mpar.learning.learner import Learner
from mpar.learning.recipe import named_recipe
from tests.benchmarks.inputs import draw, make_cache
from tests.benchmarks.race import OURS, Row

SIDE, MODEL = 64, "standard"
ROUNDS, NUM_STEPS, NUM_WARM_UP = 3, 5, 2
DEFAULT = "torch's default"
WAYS = {  # settings of the environment
    OURS: {"OMP_WAIT_POLICY": "PASSIVE"},
    DEFAULT: {},
    "one thread fewer than cores": {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) - 1))},
}
NUM_NEIGHBOURS = (0, 1, 2)


def run(folder: Path) -> list[Row]:
    """Time steps alone and beside programs that keep one core busy each."""
    frames, codes = draw(SIDE, SIDE)
    cache = make_cache(folder / "cache.h5", [frames] * 6, codes)
    rows: list[Row] = []
    for num_neighbours in NUM_NEIGHBOURS:
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(ROUNDS):
            for name in WAYS:
                times[name].append(_beside(cache, WAYS[name], num_neighbours))
        case = f"training step, {MODEL} {SIDE}x{SIDE}, {num_neighbours} busy neighbours"
        for name, seconds in times.items():
            ratios = [theirs / ours for theirs, ours in zip(seconds, times[OURS], strict=True)]
            ratio = None if name == OURS else statistics.median(ratios)
            rows.append(Row(case, name, 1 / statistics.median(seconds), "steps/s", ratio))
            click.echo(rows[-1])
    return rows


def _beside(cache: Path, settings: dict[str, str], num_neighbours: int) -> float:
    """Return the seconds of a step in a process of its own, beside some neighbours."""
    known = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    spin = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(spin) for _ in range(num_neighbours)]
    try:
        command = [sys.executable, "-m", __name__, str(cache), MODEL, str(NUM_STEPS)]
        done = subprocess.run(
            command, env=known | settings, check=True, capture_output=True, text=True
        )
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    return float(done.stdout)


def time_step(cache: Path, model_type: str, num_steps: int) -> float:
    """Return the median seconds of a training step of mpar's recipe on a cache."""
    with Store(cache) as store:
        config = named_recipe("mpar", model_type=model_type)
        learner = Learner(store, range(len(store)), config, torch.device("cpu"))
        rng, seconds = np.random.default_rng(0), []
        for step in range(NUM_WARM_UP + num_steps):
            starts = rng.integers(store.recordings[0].num_steps, size=config.batch_size)
            samples = np.stack([np.arange(config.batch_size) % len(store), starts], axis=1)
            started = time.perf_counter()
            learner.take_step(samples, epoch=0, step=step, rate=1e-3)
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[NUM_WARM_UP:])


if __name__ == "__main__":
    click.echo(time_step(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
