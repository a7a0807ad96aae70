"""Start methods, the same second, and a clock that goes backwards: campaign 14."""

from __future__ import annotations

import ctypes
import datetime
import functools
import importlib
import io
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mpar.cache.store import Store
from tests.campaigns.cases import Plant, Verdict, judged, nothing
from tests.campaigns.crashes import (
    begin_training,
    compare_runs,
    make_cache,
    make_study,
    run_training,
    training_call,
)
from tests.campaigns.disks import contents
from tests.campaigns.forks import Outcome, build_library, preloaded, run_forked, warm_up
from tests.campaigns.races import without_locks  # noqa: F401  # a plant of this campaign too

METHODS = multiprocessing.get_all_start_methods()
STEPS = 1, 61, 3600, 10**8  # seconds that the clock goes back by, each time it is read
LOCKED = "another process is writing it"


def arguments_of(command: str, folder: Path, work: Path) -> list[object]:
    """Return what a command is given."""
    study, out = folder / "study", work / "out"
    if command == "predict":
        return [folder / "trained.pt", study / "Videos", "-o", out]
    return [study / "Videos", study / "Annotations", "-o", out / "cache.h5", "--size", 32]


# --- a clock that goes backwards


def run_back(command: str, folder: Path, work: Path, step: int) -> Outcome:
    """Run a command on a terminal, whose clock goes back."""
    warm_up(command != "preprocess")

    def call() -> None:
        sys.stderr = _Terminal(os.fdopen(os.dup(2), "wb"), encoding="utf-8", line_buffering=True)
        main = importlib.import_module(f"mpar_cli.{command}").main
        set_clock(step)
        main([str(a) for a in arguments_of(command, folder, work)], prog_name=f"mpar-{command}")

    return run_forked(call, scratch=work)


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def set_clock(step: int) -> None:
    """Let the wall clock of this process go back by so many seconds each time that it is read."""
    ctypes.CDLL(None).fault_clock(ctypes.c_long(step))


def _call_back(call: Callable[[], object], step: int) -> None:
    set_clock(step)
    call()


def judge_back(folder: Path, command: str, step: int) -> str:
    """Run a command with the clock going back: it makes the same files."""
    work = begin_training(folder)
    met = run_back(command, folder, work, step)
    if met.code or met.crash():
        return met.crash() or f"exit code {met.code}: {met.output[-300:]}"
    return _compare(work / "out", folder / command)


def _compare(out: Path, undisturbed: Path) -> str:
    found, expected = contents(out), contents(undisturbed)
    names = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
    return f"differ: {sorted(names)}" * bool(names)


def judge_lock(folder: Path, is_alive: bool, step: int) -> str:
    """Preprocess what another process has locked: only a dead one is taken over from."""
    from mpar.system.files import locked

    work = begin_training(folder)
    cache = work / "out" / "cache.h5"
    if not is_alive:

        def die() -> None:
            with locked(cache):
                os._exit(0)

        run_forked(die, scratch=work)
        if not (work / "out" / ".cache.h5.lock").exists():
            return "left no lock"
        met = run_back("preprocess", folder, work, step)
        return met.crash() or (f"refused: {met.output[-300:]}" if met.code else "")
    with locked(cache):
        met = run_back("preprocess", folder, work, step)
        if bad := met.crash():
            return bad
        if met.code != 2 or LOCKED not in met.output:
            return f"was not refused: {met.output[-300:]}"
        if cache.exists():
            return "wrote what a living process had locked"
    return ""


def judge_training(folder: Path, moment: float, step: int) -> str:
    """Train with the clock going back, stop, and go on with it going back further."""
    from mpar.train import best_checkpoint

    work = begin_training(folder)
    run = None
    for signals in (((moment, signal.SIGTERM),), ()):
        call = functools.partial(_call_back, training_call(folder, work, run), step)
        met = run_forked(call, scratch=work, signals=signals)
        if "Traceback" in met.output or met.code not in (0, 143, -15):
            return met.crash() or f"exit code {met.code}: {met.output[-300:]}"
        runs = list((work / "out").glob("*/last.pt"))
        run = runs[0].parent if runs else None
        step *= 2
    if run is None:
        return "ended without last.pt"
    if best_checkpoint(run).name != best_checkpoint(folder / "train").name:
        return "finds another best checkpoint"
    times = re.findall(r"(?m)^\d+,.*", (run / "metrics.csv").read_text())
    if any(cell.startswith("-") for row in times for cell in row.split(",")):
        return f"metrics.csv holds something negative: {times}"
    return compare_runs(run, folder / "train")


# --- start methods and the same second, in processes of their own


def run_part(*arguments: object) -> subprocess.Popen[str]:
    """Run a function of this module in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *map(str, arguments)],
        env={key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
        | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(*processes: subprocess.Popen[str]) -> str:
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    return "".join(o for o, p in zip(outputs, processes, strict=True) if p.returncode or o)


def judge_start(folder: Path, method: str) -> str:
    """Preprocess in a process that was started so: the same bytes but for the time."""
    work = begin_training(folder)
    if bad := _finish(run_part("start", method, *arguments_of("preprocess", folder, work))):
        return bad
    return _compare_bytes(work / "out" / "cache.h5", folder / "preprocess" / "cache.h5")


def _compare_bytes(cache: Path, other: Path) -> str:
    """Say how caches differ but for when they were made, and the checksum of that."""
    import h5py

    with h5py.File(cache) as file:
        created = bytes(file.attrs["created_utc"])
    found, expected = (np.frombuffer(path.read_bytes(), np.uint8) for path in (cache, other))
    if len(found) != len(expected):
        return "the cache has another size"
    start = found.tobytes().index(created)
    places = np.flatnonzero(found != expected)
    places = places[(places < start) | (places >= start + len(created))]
    if len(places) and places[-1] - places[0] >= 4:
        return f"the cache has other bytes at {places.tolist()}"
    return ""


def judge_loading(folder: Path, method: str) -> str:
    """Load clips in workers that were started so: the same as without workers."""
    return _finish(run_part("load", method, folder / "cache.h5"))


def judge_second(folder: Path) -> str:
    """Begin two trainings in the same second: each has its folder, and the same weights."""
    work = begin_training(folder)
    both = [run_part("train", folder / "cache.h5", work / "out") for _ in range(2)]
    if bad := _finish(*both):
        return bad
    runs = sorted((work / "out").iterdir())
    if [run.name for run in runs] != ["run_20260102_030405", "run_20260102_030405_2"]:
        return f"made {runs}"
    return compare_runs(runs[0], folder / "train") or compare_runs(runs[1], folder / "train")


def be_part(name: str, *arguments: str) -> None:
    """Be such a process."""
    if name == "start":
        method, *others = arguments
        process = multiprocessing.get_context(method).Process(target=_preprocess, args=(others,))
        process.start()
        process.join()
        raise SystemExit(process.exitcode)
    if name == "load":
        _load(*arguments)
        return
    from mpar import train as module

    class Frozen(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    module.datetime = Frozen
    cache, out = map(Path, arguments)
    from mpar.learning.recipe import named_recipe

    config = named_recipe("mpar", model_type="light", num_epochs=2, window=8)
    module.train(cache, out, config=config, device="cpu")


def _preprocess(arguments: list[str]) -> None:
    from mpar_cli.preprocess import main

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    main(arguments)


def _load(method: str, cache: str) -> None:
    import torch
    from torch.utils.data import DataLoader

    from mpar.cache.clips import MouseActionDataset

    torch.set_num_threads(1)
    dataset = MouseActionDataset(cache)
    alone = list(DataLoader(dataset, batch_size=16))
    loaded = list(DataLoader(dataset, batch_size=16, num_workers=2, multiprocessing_context=method))
    assert len(alone) == len(loaded) > 1
    for ours, theirs in zip(alone, loaded, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


# --- the campaign


def prepare(folder: Path, with_training: bool) -> str:
    """Run every command undisturbed."""
    commands = ["preprocess"]
    if with_training:
        work = begin_training(folder)
        outcome = run_training(folder, work, None)
        if outcome.code:
            return f"train failed undisturbed: {outcome}"
        (run,) = (work / "out").iterdir()
        run.rename(folder / "train")
        shutil.copy(next((folder / "train").glob("best*.pt")), folder / "trained.pt")
        (folder / "seconds.txt").write_text(str(outcome.seconds))
        commands.append("predict")
    for command in commands:
        work = begin_training(folder)
        outcome = run_back(command, folder, work, 0)
        if outcome.code:
            return f"{command} failed undisturbed: {outcome}"
        (work / "out").rename(folder / command)
    with Store(folder / "preprocess" / "cache.h5") as store:
        return "; ".join(store.verify())


def judge(case: tuple) -> str:
    """Judge a case by the function that it names."""
    function, *arguments = case
    return globals()[function](*arguments)


def turn_clocks_back(
    seed: int, size: int, folder: Path, plant: Plant = nothing
) -> Iterator[Verdict]:
    """Campaign 14: if `size` is not 0, only preprocessing and its lock."""
    if size:
        make_study(folder / "study", 3)
    else:
        make_cache(folder)

    def cases() -> Iterator[tuple[str, tuple]]:
        yield "undisturbed", ("prepare", folder, not size)
        steps = STEPS[2:3] if size else STEPS
        for step in steps:
            yield f"preprocess, back by {step} s", ("judge_back", folder, "preprocess", step)
            yield f"locked by a living process, {step} s", ("judge_lock", folder, True, step)
        if size:
            return
        seconds = float((folder / "seconds.txt").read_text())
        rng = np.random.default_rng(seed)
        for step in STEPS:
            yield f"locked by a dead process, {step} s", ("judge_lock", folder, False, step)
            yield f"predict, back by {step} s", ("judge_back", folder, "predict", step)
            moment = float(rng.uniform(0.1, 0.9) * seconds)
            text = f"train, SIGTERM after {moment:.2f} s, go on, back by {step} s"
            yield text, ("judge_training", folder, moment, step)
        for method in METHODS:
            yield f"preprocess in a process by {method}", ("judge_start", folder, method)
            yield f"load clips in workers by {method}", ("judge_loading", folder, method)
        for number in range(3):
            yield f"two trainings in a second, {number}", ("judge_second", folder)

    with preloaded(build_library(folder)):
        yield from judged(judge, cases(), plant=plant, timeout_seconds=300)


if __name__ == "__main__":
    be_part(*sys.argv[1:])
