"""A disk that is full, fails or writes less than asked, at every operation: campaign 3."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpar.cache.store import Store
from mpar.errors import MparError
from tests.campaigns.cases import Plant, Verdict, judged, nothing
from tests.campaigns.crashes import (
    compare_runs,
    make_cache,
    make_study,
    with_files_written_in_place,  # noqa: F401
)
from tests.campaigns.forks import Fault, Outcome, build_library, preloaded, run_command

COMMANDS = ("train", "predict", "evaluate", "preprocess")
KINDS = ("full", "once", "dead", "short")
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp(\.\w+)?")


def run(command: str, folder: Path, work: Path, fault: Fault | None = None) -> Outcome:
    """Run a command whose outputs go to ``work/out``, over older ones if there are any."""
    study, out = folder / "study", work / "out"
    trained = folder / "trained.pt"
    runs = sorted(out.glob("run_*/last.pt"))
    arguments = {
        "preprocess": [
            *(study / "Videos", study / "Annotations", "-o", out / "cache.h5"),
            *("--size", 32, "--workers", 1, "--overwrite"),
        ],
        "predict": [trained, study / "Videos" / "mouse_01.mp4", "-o", out, "--overwrite"],
        "evaluate": [folder / "predictions", folder / "truth", "-o", out, "--overwrite"],
        "train": ["--resume", runs[0].parent]
        if runs
        else [folder / "cache.h5", "-o", out, "--model", "light", "--epochs", 1, "--window", 8],
    }[command]
    return run_command(command, *arguments, scratch=work, fault=fault)


def begin_work(folder: Path, command: str) -> Path:
    """Make a work folder with what an earlier run of the command left."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    old = folder / f"old_{command}"
    if old.exists():
        shutil.copytree(old, work / "out")
    else:
        (work / "out").mkdir()
    return work


def content_of(path: Path) -> str:
    """Return what a file says, without when it was written; "damaged" if it cannot be read."""
    from mpar.network.checkpoint import load_checkpoint

    try:
        if path.suffix == ".h5":
            with Store(path) as store:
                return str(store.verify() or store.fingerprint)
        if path.suffix == ".pt":
            load_checkpoint(path)
            return "sound"
    except MparError as error:
        return f"damaged: {error}"
    data = path.read_bytes()
    if path.suffix == ".pdf":
        data = re.sub(rb"/CreationDate \(.*?\)", b"", data)
    return hashlib.sha256(data).hexdigest()


def contents(folder: Path) -> dict[str, str]:
    """Return what each file below a folder says, hidden ones and events aside."""
    return {
        str(path.relative_to(folder)): content_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith((".", "events.out")) for part in path.relative_to(folder).parts)
    }


@functools.cache
def known_contents(folder: Path) -> dict[str, str]:
    """Return the contents of a folder that does not change any more."""
    return contents(folder)


def prepare(folder: Path, commands: tuple[str, ...]) -> str:
    """Run each command twice undisturbed, so that it has something to replace."""
    plan = {}
    study = folder / "study"
    for command in commands:
        work = begin_work(folder, command)
        first = run(command, folder, work)
        if first.code:
            return f"{command} failed undisturbed: {first}"
        if command == "train":
            run_folder = next((work / "out").iterdir())
            run_folder.rename(folder / "undisturbed")
            shutil.copy(next((folder / "undisturbed").glob("best*.pt")), folder / "trained.pt")
        else:
            (work / "out").rename(folder / f"old_{command}")
            if command == "predict":
                shutil.copytree(folder / "old_predict", folder / "predictions")
                (folder / "truth").mkdir()
                shutil.copy(study / "Annotations" / "mouse_01_annotation.csv", folder / "truth")
        _change_inputs(study, folder, command)
        work = begin_work(folder, command)
        again = run(command, folder, work, Fault(work / "out"))
        if again.code:
            return f"{command} failed undisturbed: {again}"
        plan[command] = again.operations
        (work / "out").rename(folder / f"new_{command}")
    (folder / "plan.json").write_text(json.dumps(plan))
    return ""


def _change_inputs(study: Path, folder: Path, command: str) -> None:
    """Make the second run write something else than the first."""
    if command == "preprocess":  # and decode one more video
        other = make_study(folder / "other", 1, seed=7)
        for path in (*other.glob("Videos/*"), *other.glob("Annotations/*")):
            shutil.copy(path, study / path.parent.name / f"new_{path.name}")
    path = {
        "preprocess": study / "Annotations" / "mouse_01_annotation.csv",
        "evaluate": folder / "predictions" / "mouse_01_predictions.csv",
    }.get(command)
    if path is None:
        return
    lines = path.read_text().splitlines()
    frame, action, *others = lines[1].split(",")
    lines[1] = ",".join([frame, "6" if action not in ("6", "walk") else "7", *others])
    path.write_text("\n".join(lines) + "\n")


def judge_fault(case: tuple[Path, str, str, int]) -> str:
    """Let a command meet a fault, look at what it says and leaves, and run it again."""
    folder, command, kind, at = case
    if command == "undisturbed":
        return prepare(folder, COMMANDS if kind == "all" else COMMANDS[-1:])
    work = begin_work(folder, command)
    out = work / "out"
    met = run(command, folder, work, Fault(out, kind, at))
    if bad := met.crash():
        return bad
    old, new = _before_and_after(folder, command)
    found = contents(out)
    if command == "train":
        if any(content.startswith("damaged") for content in found.values()):
            return f"left {found}"
    elif bad := _compare(found, old, new, is_done=met.code == 0):
        return bad
    name = _name_of(met.operations[at]) if at < len(met.operations) else ""
    # when a disk is full, the operation that fails may be a later one
    if met.code and not re.search(rf"error: {re.escape(str(out))}/|{re.escape(name)}", met.output):
        return f"does not name {name}: {met.output[-300:]}"
    if met.code and kind == "short":
        return f"stopped for a write that took less than asked: {met.output[-300:]}"
    if met.code or command == "train":
        if met.code == 0 and kind != "short" and "TensorBoard" not in met.output:
            is_harmless = re.match(r"unlink|fsync", met.operations[at])
            if not is_harmless and not list(out.glob("run_*/last.pt")):
                return "ended well without last.pt"
        again = run(command, folder, work)
        if again.code or again.crash():
            return f"does not run again: {again.crash() or again.output[-500:]}"
    if command == "train":
        return compare_runs(sorted(out.glob("run_*/last.pt"))[-1].parent, folder / "undisturbed")
    # who predicts and evaluates holds no lock, so cannot know a temporary file to be nobody's
    hidden = (
        [str(p) for p in out.rglob(".*") if p.suffix != ".lock"] if command == "preprocess" else []
    )
    return _compare(contents(out), {}, new, is_done=True) or (f"left over: {hidden}" * bool(hidden))


def _before_and_after(folder: Path, command: str) -> tuple[dict[str, str], dict[str, str]]:
    old = folder / f"old_{command}"
    return (
        known_contents(old) if old.exists() else {},
        known_contents(folder / f"new_{command}"),
    )


def _compare(
    found: dict[str, str], old: dict[str, str], new: dict[str, str], *, is_done: bool
) -> str:
    if lost := set(old) - set(found):
        return f"lost {sorted(lost)}"
    for name, content in found.items():
        if content != new.get(name) and (is_done or content != old.get(name)):
            return f"{name} is neither what it was nor what it is to be ({content})"
    if is_done and (missing := set(new) - set(found)):
        return f"says all is well without {sorted(missing)}"
    return ""


def _name_of(operation: str) -> str:
    """Return the name, as a user knows it, of the file that an operation was about."""
    name = Path(operation.split(" ", 1)[1]).name
    match = _TEMPORARY.fullmatch(name)
    if name.endswith(".lock"):
        return name[1:].removesuffix(".lock")
    return match[1] if match else name.strip(".")


def fail_disks(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 3: `size` (0 for all) of the kinds of faults at operations of commands.

    Fewer than 100 are all of preprocessing, the one that needs no torch.
    """
    make_cache(folder)

    def cases() -> Iterator[tuple[str, tuple]]:
        commands = "preprocess" if 0 < size < 100 else "all"
        yield "undisturbed", (folder, "undisturbed", commands, 0)
        plan = json.loads((folder / "plan.json").read_text())
        points = [
            (command, kind, at)
            for command, operations in plan.items()
            for kind in KINDS
            for at in range(len(operations))
            if kind != "short" or operations[at].startswith("write")
        ]
        if size:
            rng = np.random.default_rng(seed)
            chosen = rng.choice(len(points), min(size, len(points)), replace=False)
            points = [points[i] for i in sorted(chosen.tolist())]
        for command, kind, at in points:
            yield f"{command}, {kind} at {at}: {plan[command][at]}", (folder, command, kind, at)

    with preloaded(build_library(folder)):
        yield from judged(judge_fault, cases(), plant=plant, timeout_seconds=300)
