"""Caches that change under those who write and read them: campaigns 6 and 7."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from mpar.cache.store import Store
from mpar.preprocess import PreprocessConfig, preprocess
from tests.campaigns.cases import Plant, Verdict, judged, nothing
from tests.campaigns.crashes import (
    begin_training,
    compare_runs,
    fingerprint_of,
    leftovers,
    make_cache,
    make_study,
    prepare_training,
    training_call,
)
from tests.campaigns.forks import (
    Fault,
    Forked,
    Outcome,
    build_library,
    command_call,
    preloaded,
)

STUDIES = ("ada", "bea")


# --- campaign 6: two preprocesses on one cache


def prepare_race(folder: Path) -> str:
    """Make the caches of both studies alone, and take the time."""
    for name in STUDIES:
        outcome = begin_preprocessing(folder, name, folder / f"{name}.h5").end()
        if outcome.code:
            return f"failed undisturbed: {outcome}"
    (folder / "seconds.json").write_text(json.dumps(outcome.seconds))
    return ""


def begin_preprocessing(folder: Path, study: str, cache: Path) -> Forked:
    """Begin to preprocess a study into a cache, over whatever is there."""
    videos, labels = (folder / study / kind for kind in ("Videos", "Annotations"))
    call = command_call(
        "preprocess",
        *(videos, labels, "-o", cache, "--size", 32, "--workers", 1, "--overwrite"),
    )
    scratch = folder / f"says_{study}"
    scratch.mkdir(exist_ok=True)
    return Forked(call, scratch)


def judge_race(case: tuple[Path, float | None]) -> str:
    """Preprocess two studies into one cache: at once, or one while the other stands still."""
    folder, moment = case
    if moment is not None and moment < 0:
        return prepare_race(folder)
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    first = begin_preprocessing(folder, STUDIES[0], out / "cache.h5")
    if moment is not None:
        time.sleep(moment)
        first.send(signal.SIGSTOP)
    is_under_way = first.is_running and (out / ".cache.h5.parts").exists()
    second = begin_preprocessing(folder, STUDIES[1], out / "cache.h5").end()
    first.send(signal.SIGCONT)
    outcomes = [first.end(), second]
    for outcome in outcomes:
        if bad := outcome.crash():
            return bad
        if outcome.code and "another process is writing it" not in outcome.output:
            return f"refused for another reason: {outcome.output[-500:]}"
    done = [name for name, o in zip(STUDIES, outcomes, strict=True) if o.code == 0]
    if not done:
        return "each refused the other"
    if moment is not None and is_under_way and second.code == 0:
        return "the second was not refused"
    with Store(out / "cache.h5") as store:
        found = store.verify() or store.fingerprint
    if found not in [fingerprint_of(folder / f"{name}.h5") for name in done]:
        return f"the cache is not that of {' or '.join(done)}: {found}"
    return leftovers(out, {"cache.h5"})


# --- campaign 6: a cache is replaced under a training


def replace(cache: Path, other: Path) -> None:
    """Let another cache take the name, as mpar does."""
    shutil.copy(other, cache.with_name("other.h5"))
    cache.with_name("other.h5").replace(cache)


def write_over(cache: Path, other: Path) -> None:
    """Write another cache into the same file, as programs do that know no better."""
    cache.write_bytes(other.read_bytes())


def open_to_write(cache: Path, other: Path) -> None:
    """Empty the file through HDF5."""
    h5py.File(cache, "w", locking=False).close()


CHANGES: tuple[Callable[[Path, Path], None], ...] = (replace, write_over, open_to_write)


def make_caches(folder: Path) -> None:
    """Make ``cache.h5`` and ``new.h5``, with other frames and the same recordings."""
    make_cache(folder)
    study = make_study(folder / "bea", 6, seed=6)
    preprocess(
        study / "Videos",
        study / "Annotations",
        folder / "new.h5",
        config=PreprocessConfig(size=(32, 32)),
    )
    shutil.copy(folder / "cache.h5", folder / "old.h5")


def judge_replacement(case: tuple[Path, int, float]) -> str:
    """Train, and change the cache after so many seconds."""
    folder, number, moment = case
    if number < 0:
        bad = prepare_training(folder)
        if not bad:
            shutil.copy(folder / "new.h5", folder / "cache.h5")
            bad = prepare_training(folder, "undisturbed_new")
        return bad
    cache = folder / "cache.h5"
    cache.unlink()
    shutil.copy(folder / "old.h5", cache)
    work = begin_training(folder)
    process = Forked(training_call(folder, work, None), work)
    time.sleep(moment)
    CHANGES[number](cache, folder / "new.h5")
    outcome = process.end()
    if bad := outcome.crash():
        return bad
    if outcome.code:
        return "" if "cache.h5: " in outcome.output else f"does not name it: {outcome.output}"
    (run,) = (work / "out").iterdir()
    differences = [compare_runs(run, folder / f"undisturbed{new}") for new in ("", "_new")]
    return "" if "" in differences else f"learnt neither from the old nor the new: {differences}"


def race(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 6: `size` pairs of preprocesses, and as many changes under a training.

    Fewer than 20 are pairs only, which need no torch.
    """
    rng = np.random.default_rng(seed)
    for name, drawn in zip(STUDIES, (5, 6), strict=True):
        make_study(folder / name, 3, seed=drawn)

    def pairs() -> Iterator[tuple[str, tuple]]:
        yield "undisturbed", (folder, -1.0)
        seconds = json.loads((folder / "seconds.json").read_text())
        for number in range(size):
            moment = float(rng.uniform(0.2, 1) * seconds)  # before, it only looks around
            if number % 2:
                yield f"the first stands still after {moment:.3f} s", (folder, moment)
            else:
                yield "at once", (folder, None)

    def changes() -> Iterator[tuple[str, tuple]]:
        yield "undisturbed", (folder / "training", -1, 0.0)
        _, seconds = json.loads((folder / "training" / "plan.json").read_text())
        for number in range(size):
            moment = float(rng.uniform(0, seconds))
            change = number % len(CHANGES)
            name = CHANGES[change].__name__.replace("_", " ")
            yield f"{name} after {moment:.3f} s", (folder / "training", change, moment)

    with preloaded(build_library(folder)):
        yield from judged(judge_race, pairs(), plant=plant, timeout_seconds=300)
        if size >= 20:
            (folder / "training").mkdir()
            make_caches(folder / "training")
            yield from judged(judge_replacement, changes(), plant=plant, timeout_seconds=300)


def without_locks() -> None:
    """Let everybody write at any time."""
    import contextlib

    from mpar import preprocess

    preprocess.locked = lambda path: contextlib.nullcontext()


# --- campaign 7


def cut(cache: Path, rng: np.random.Generator) -> None:
    """Cut the file short at any place."""
    os.truncate(cache, int(rng.integers(cache.stat().st_size)))


def overwrite(cache: Path, rng: np.random.Generator) -> None:
    """Write zeros over a stretch of it, as a disk does that lost a page."""
    with cache.open("r+b", buffering=0) as file:
        file.seek(int(rng.integers(cache.stat().st_size - 8192)))
        file.write(bytes(8192))


INCIDENTS: tuple[Callable[[Path, np.random.Generator], None], ...] = (cut, overwrite)


def read_on(cache: Path, access: str, expected: list[np.ndarray], seed: int) -> None:
    """Read stretches of frames for ever, by all ways there are, and compare them."""
    rng = np.random.default_rng(seed)
    with Store(cache, access=access) as store:
        while True:
            recordings = rng.integers(len(store), size=4)
            starts = rng.integers(0, 24 - 8, size=4)
            out = np.empty((4, 8, *store.frame_size), np.uint8)
            if rng.random() < 0.5:
                store.copy_batch(recordings, starts, out, np.arange(4))
            else:
                for row, recording, start in zip(out, recordings, starts, strict=True):
                    store.copy_frames(int(recording), int(start), int(start) + 8, row)
            for row, recording, start in zip(out, recordings, starts, strict=True):
                if not np.array_equal(row, expected[recording][start : start + 8]):
                    raise AssertionError("gave other frames, with no word")


def judge_reader(case: tuple[Path, str, int, float, int]) -> str:
    """Let something happen to a cache while it is being read."""
    from mpar_cli._run import command

    folder, access, incident, moment, seed = case
    rng = np.random.default_rng(seed)
    cache = folder / "read.h5"
    cache.unlink(missing_ok=True)
    shutil.copy(folder / "cache.h5", cache)
    with Store(cache) as store:
        expected = [store.frames(i).copy() for i in range(len(store))]
    call = command(lambda: read_on(cache, access, expected, seed))
    is_disk = incident == len(INCIDENTS)
    fault = Fault(cache, "read", int(rng.integers(200))) if is_disk else None
    scratch = folder / "says"
    scratch.mkdir(exist_ok=True)
    process = Forked(call, scratch, fault)
    if not is_disk:
        time.sleep(moment)
        INCIDENTS[incident](cache, rng)
    # what was overwritten may be what nobody reads: half a second is some thousand reads
    outcome = process.end(((0.5, signal.SIGTERM),))
    return _judge_end(outcome, cache, is_harmless=incident == 1)


def _judge_end(outcome: Outcome, cache: Path, *, is_harmless: bool) -> str:
    if outcome.code == -signal.SIGTERM:
        return "" if is_harmless else "read on"
    if bad := outcome.crash():
        return bad
    if outcome.code != 2 or f"error: {cache}: " not in outcome.output:
        return f"exit code {outcome.code}: {outcome.output[-300:]}"
    return ""


def lose_caches(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 7: `size` readers whose cache is cut short, written to, or on a failing disk."""
    make_cache(folder)
    kinds = [(access, i) for access in ("mmap", "pread") for i in range(len(INCIDENTS))]
    kinds.append(("pread", len(INCIDENTS)))  # under a map, only a real disk can fail

    def cases() -> Iterator[tuple[str, tuple]]:
        rng = np.random.default_rng(seed)
        for number in range(size):
            access, incident = kinds[number % len(kinds)]
            moment = float(rng.uniform(0, 0.2))
            what = [f"{i.__name__} after {moment:.3f} s" for i in INCIDENTS] + ["disk fails"]
            yield (
                f"{number}: {access}, {what[incident]}",
                (folder, access, incident, moment, number),
            )

    with preloaded(build_library(folder)):
        yield from judged(judge_reader, cases(), plant=plant, timeout_seconds=60)


def without_looking_for_changes() -> None:
    """Take for sound what once was."""
    Store._has_changed = lambda store, file: False


def without_word_of_lost_pages() -> None:
    """Let a page that cannot be read end the process by a signal."""
    import contextlib

    from mpar_cli import _run

    without_looking_for_changes()
    _run.lost_pages_end_with_message = contextlib.nullcontext
