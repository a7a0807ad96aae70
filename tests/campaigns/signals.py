"""SIGINT and SIGTERM at random points of training, again and again: campaign 8."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.campaigns.cases import Plant, Verdict, judged, nothing
from tests.campaigns.crashes import (
    begin_training,
    compare_runs,
    make_cache,
    prepare_training,
    run_training,
)
from tests.campaigns.forks import build_library, preloaded

MAX_STOPS = 4
_STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}


def judge_stops(case: tuple[Path, list[tuple[float, int]]]) -> str:
    """Stop training at each of some moments, go on after each, and compare the end."""
    folder, stops = case
    if not stops:
        return prepare_training(folder)
    work = begin_training(folder)
    run = None
    for moment, number in [*stops, (0.0, 0)]:
        signals = ((moment, number),) if number else ()
        outcome = run_training(folder, work, run, signals=signals)
        if "Traceback" in outcome.output:
            return outcome.crash()
        # SIGTERM before training begins ends the process as it ends any other
        if outcome.code not in (
            0,
            _STOPPED.get(number),
            -signal.SIGTERM * (number == signal.SIGTERM),
        ):
            return f"exit code {outcome.code} after {number}: {outcome.output[-300:]}"
        runs = sorted((work / "out").iterdir())
        # before the first step there is no run to go on with, and nothing to lose
        run = runs[-1] if runs and (runs[-1] / "last.pt").exists() else None
        if outcome.code == 0:
            break
    return compare_runs(run, folder / "undisturbed") if run else "ended without last.pt"


def stop_training(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 8: `size` runs, each stopped up to four times."""
    make_cache(folder)

    def cases() -> Iterator[tuple[str, tuple]]:
        yield "undisturbed", (folder, [])
        _, seconds = json.loads((folder / "plan.json").read_text())
        rng = np.random.default_rng(seed)
        for _ in range(size):
            stops = [
                (float(rng.uniform(0.05, 0.9) * seconds), int(rng.choice(list(_STOPPED))))
                for _ in range(int(rng.integers(1, MAX_STOPS + 1)))
            ]
            text = ", ".join(
                f"{signal.Signals(n).name} after {moment:.2f} s" for moment, n in stops
            )
            yield text, (folder, stops)

    with preloaded(build_library(folder)):
        yield from judged(judge_stops, cases(), plant=plant, timeout_seconds=300)


def without_moments_of_the_optimizer() -> None:
    """Go on without what the optimizers remember."""
    from mpar.learning.loop import TrainingRun

    restore = TrainingRun.restore

    def forgetful(self: TrainingRun, checkpoint: object) -> None:
        for optimizer in checkpoint.state["optimizers"]:
            optimizer["state"] = {}
        restore(self, checkpoint)

    TrainingRun.restore = forgetful
