"""Kill -9 at every operation on the disk and at random times: campaigns 1 and 2."""

from __future__ import annotations

import functools
import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mpar.cache.store import Store
from mpar.preprocess import PreprocessConfig, preprocess
from tests.campaigns.cases import Plant, Verdict, judged, nothing
from tests.campaigns.forks import (
    Fault,
    Outcome,
    build_library,
    preloaded,
    run_command,
    run_forked,
    warm_up,
)

NUM_VIDEOS, NUM_OLD = 4, 3


def make_study(folder: Path, num_animals: int, seed: int = 5) -> Path:
    """Draw videos and label files of mice."""
    from tests.fixtures.synthetic import write_sample

    write_sample(
        folder,
        num_animals=num_animals,
        seed=seed,
        num_frames=24,
        height=48,
        width=48,
        pain_fraction=0.5,
    )
    return folder


def spread(number: int, total: int) -> list[int]:
    """Return `number` of 0...total-1, spread evenly; all if there are no more."""
    number = min(number, total)
    return [(2 * i + 1) * total // (2 * number) for i in range(number)]


def leftovers(folder: Path, expected: set[str]) -> str:
    """Name files, other than locks, that a finished command left lying about."""
    paths = [path for path in folder.rglob("*") if path.suffix != ".lock"]
    found = {str(path.relative_to(folder)) for path in paths} - expected
    return f"left over: {sorted(found)}" if found else ""


# --- campaign 1


def run_preprocess(study: Path, work: Path, workers: int = 1, **how: object) -> Outcome:
    """Preprocess a study into ``work/out/cache.h5``."""
    return run_command(
        "preprocess",
        study / "Videos",
        study / "Annotations",
        *("-o", work / "out" / "cache.h5", "--size", 32, "--workers", workers),
        scratch=work,
        **how,
    )


def begin_work(folder: Path, start: str) -> Path:
    """Make an empty work folder, with an old cache in it if there is to be one."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "out").mkdir(parents=True)
    if start == "old cache":
        shutil.copy(folder / "old.h5", work / "out" / "cache.h5")
    return work


def prepare_preprocess(folder: Path) -> str:
    """Make the old cache and the new one undisturbed, and list the operations that it takes."""
    study, old_study = folder / "study", folder / "old_study"
    for kind in ("Videos", "Annotations"):
        shutil.copytree(study / kind, old_study / kind)
        for path in sorted((old_study / kind).iterdir())[NUM_OLD:]:
            path.unlink()
    plan: dict[str, list[str]] = {}
    seconds = 0.0
    for source, start, result in (
        (old_study, "no cache", "old.h5"),
        (study, "no cache", "new.h5"),
        (study, "old cache", "new.h5"),
    ):
        work = begin_work(folder, start)
        outcome = run_preprocess(source, work, fault=Fault(work / "out"))
        if outcome.code:
            return f"failed undisturbed: {outcome}"
        shutil.copy(work / "out" / "cache.h5", folder / result)
        plan[start], seconds = outcome.operations, outcome.seconds
    (folder / "plan.json").write_text(json.dumps([plan, seconds]))
    return ""


def judge_preprocess_kill(case: tuple[Path, str, int | None, float]) -> str:
    """Kill preprocessing, look at what is there, and run it again."""
    folder, start, at, moment = case
    if start == "undisturbed":
        return prepare_preprocess(folder)
    work, study = begin_work(folder, start), folder / "study"
    cache = work / "out" / "cache.h5"
    fault = Fault(work / "out", "none" if at is None else "kill", at or 0)
    signals = () if at is not None else ((moment, signal.SIGKILL),)
    killed = run_preprocess(study, work, 1 if at is not None else 2, fault=fault, signals=signals)
    if at is not None and killed.code != -signal.SIGKILL:
        return f"was not killed: {killed}"
    old, new = fingerprint_of(folder / "old.h5"), fingerprint_of(folder / "new.h5")
    found = ""
    if cache.exists():
        with Store(cache) as store:
            found = store.fingerprint
            if store.verify() or found not in (old, new):
                return f"the cache is neither the old nor the new one: {store.verify()}"
    elif start == "old cache":
        return "the old cache is gone"
    # the last one is not done, or, when killed at random, perhaps not
    done = killed.operations[:-1]
    num_done = sum(bool(re.match(r"rename .*_32x32\.json$", line)) for line in done)
    again = run_preprocess(study, work)
    if again.code or again.crash():
        return f"does not run again: {again.crash() or again.output[-500:]}"
    with Store(cache) as store:
        if store.verify() or store.fingerprint != new:
            return "the cache differs from that of an undisturbed run"
    num_to_do = NUM_VIDEOS - (NUM_OLD if start == "old cache" else 0)
    expected = 0 if found == new else num_to_do - num_done
    num_decoded = int(re.search(r"(\d+) videos decoded", again.output)[1])
    if num_decoded > expected or (at is not None and num_decoded != expected):
        return f"{num_decoded} videos were decoded again, expected {expected}"
    return leftovers(work / "out", {"cache.h5"})


@functools.cache
def fingerprint_of(path: Path) -> str:
    """Return what tells a cache that does not change any more from others."""
    with Store(path) as store:
        return store.fingerprint


def kill_preprocessing(
    seed: int, size: int, folder: Path, plant: Plant = nothing
) -> Iterator[Verdict]:
    """Campaign 1: `size` operations (all, if there are fewer) and as many moments at random."""
    make_study(folder / "study", NUM_VIDEOS)

    def cases() -> Iterator[tuple[str, tuple]]:
        yield "undisturbed", (folder, "undisturbed", None, 0.0)
        plan, seconds = json.loads((folder / "plan.json").read_text())
        points = [(start, at) for start in plan for at in range(len(plan[start]))]
        for i in spread(size, len(points)):
            start, at = points[i]
            yield f"{start}, killed at {at}: {plan[start][at]}", (folder, start, at, 0.0)
        rng = np.random.default_rng(seed)
        for number in range(size):
            start, moment = (
                ("no cache", "old cache")[number % 2],
                float(rng.uniform(0, 1.1 * seconds)),
            )
            yield f"{start}, killed after {moment:.3f} s", (folder, start, None, moment)

    with preloaded(build_library(folder)):
        yield from judged(judge_preprocess_kill, cases(), plant=plant, timeout_seconds=300)


# --- campaign 2


def make_cache(folder: Path) -> None:
    """Make ``cache.h5`` of a study."""
    study = make_study(folder / "study", 6)
    preprocess(
        study / "Videos",
        study / "Annotations",
        folder / "cache.h5",
        config=PreprocessConfig(size=(32, 32)),
    )


def run_training(folder: Path, work: Path, run: Path | None, **how: object) -> Outcome:
    """Train for two epochs, or resume a run."""
    return run_forked(training_call(folder, work, run), scratch=work, **how)


def training_call(folder: Path, work: Path, run: Path | None) -> Callable[[], object]:
    """Return the function that trains for two epochs, or goes on with a run."""
    warm_up(with_torch=True)
    from mpar_cli._run import command

    from mpar.learning.recipe import named_recipe
    from mpar.train import resume_training, train

    config = named_recipe("mpar", model_type="light", num_epochs=2, window=8)

    def call() -> None:
        if run is not None:
            resume_training(run, device="cpu")
        else:
            train(folder / "cache.h5", work / "out", config=config, device="cpu")

    return command(call)


def begin_training(folder: Path) -> Path:
    """Make an empty work folder."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "out").mkdir(parents=True)
    return work


def prepare_training(folder: Path, name: str = "undisturbed") -> str:
    """Train undisturbed and list the operations that it takes."""
    work = begin_training(folder)
    outcome = run_training(folder, work, None, fault=Fault(work / "out"))
    if outcome.code:
        return f"failed undisturbed: {outcome}"
    (run,) = (work / "out").iterdir()
    run.rename(folder / name)
    (folder / "plan.json").write_text(json.dumps([outcome.operations, outcome.seconds]))
    return ""


def judge_training_kill(case: tuple[Path, str, int | None, float]) -> str:
    """Kill training, look at what is there, and go on."""
    from mpar.errors import MparError
    from mpar.network.checkpoint import load_checkpoint

    folder, start, at, moment = case
    if start == "undisturbed":
        return prepare_training(folder)
    work = begin_training(folder)
    fault = Fault(work / "out", "none" if at is None else "kill", at or 0)
    signals = () if at is not None else ((moment, signal.SIGKILL),)
    killed = run_training(folder, work, None, fault=fault, signals=signals)
    if at is not None and killed.code != -signal.SIGKILL:
        return f"was not killed: {killed}"
    runs = list((work / "out").iterdir())
    try:
        for path in (work / "out").rglob("[!.]*.pt"):
            load_checkpoint(path)
    except MparError as error:
        return f"a checkpoint is in pieces: {error}"
    if not runs or not (runs[0] / "last.pt").exists():
        is_lost = any(re.match(r"rename .*/last\.pt$", line) for line in killed.operations[:-1])
        return "the last checkpoint is gone" if is_lost else ""
    again = run_training(folder, work, runs[0])
    if again.code or again.crash():
        return f"does not go on: {again.crash() or again.output[-500:]}"
    return compare_runs(runs[0], folder / "undisturbed")


def compare_runs(run: Path, undisturbed: Path) -> str:
    """Say how a run ended otherwise than an undisturbed one."""
    import pandas as pd
    import torch

    from mpar.network.checkpoint import load_checkpoint

    names = {path.name for path in undisturbed.iterdir() if "tfevents" not in path.name}
    found = {path.name for path in run.iterdir() if "tfevents" not in path.name}
    if found != names:
        return f"the run folder holds {found}, expected {names}"
    for path in undisturbed.glob("*.pt"):
        ours, theirs = load_checkpoint(run / path.name), load_checkpoint(path)
        for key, weights in theirs.weights.items():
            if not torch.equal(ours.weights[key], weights):
                return f"{path.name} has other weights {key}"
    tables = [
        pd.read_csv(folder / "metrics.csv").filter(regex="^(Epoch|Train_|Val_|Learning_)")
        for folder in (run, undisturbed)
    ]
    return "" if tables[0].equals(tables[1]) else "metrics.csv differs"


def kill_training(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 2: `size` operations (all, if there are fewer), half as many moments at random."""
    make_cache(folder)

    def cases() -> Iterator[tuple[str, tuple]]:
        yield "undisturbed", (folder, "undisturbed", None, 0.0)
        operations, seconds = json.loads((folder / "plan.json").read_text())
        for at in spread(size, len(operations)):
            yield f"killed at {at}: {operations[at]}", (folder, "kill", at, 0.0)
        rng = np.random.default_rng(seed)
        for _ in range(size // 2):
            moment = float(rng.uniform(0, 1.1 * seconds))
            yield f"killed after {moment:.3f} s", (folder, "kill", None, moment)

    with preloaded(build_library(folder)):
        yield from judged(judge_training_kill, cases(), plant=plant, timeout_seconds=300)


def with_files_written_in_place() -> None:
    """Write files under their final names."""
    import contextlib

    from mpar import preprocess
    from mpar.cache import decoding, staging, writer
    from mpar.network import checkpoint
    from mpar.system import files

    @contextlib.contextmanager
    def in_place(path: Path, *, durable: bool = True) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path

    def new_cache(staging: Path) -> Path:
        return staging.with_name(staging.name[1:].removesuffix(".parts"))

    for module in (files, writer, checkpoint):
        module.atomic_path = in_place
    for module in (decoding, preprocess, staging):
        module.new_cache = new_cache
