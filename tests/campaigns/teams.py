"""A process of a team killed or stopped, and a decoder that hangs: campaign 13."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.campaigns.cases import Plant, Verdict, judged, nothing
from tests.campaigns.crashes import begin_training, compare_runs, make_cache, make_study
from tests.campaigns.disks import contents
from tests.campaigns.forks import Fault, Outcome, build_library, preloaded, run_command

PATIENCE_SECONDS = 2.0  # with a thread; of the bound only this is made shorter
NEVER = 1 << 30
TEAM_PATIENCE_SECONDS = 10.0
BOUND_SECONDS = 60  # torchrun itself kills what does not end within 30
HANGS = ("preprocess", "check", "predict")
SIGNALS = (signal.SIGKILL, signal.SIGSTOP)
TEAMS = [
    (name, rank, number)
    for name in ("preprocess", "predict", "train")
    for rank in (0, 1)
    for number in SIGNALS
]


def arguments_of(command: str, folder: Path, work: Path) -> list[object]:
    """Return what a command is given."""
    study, out = folder / "study", work / "out"
    if command == "predict":
        return [folder / "trained.pt", study / "Videos", "-o", out, "--overwrite"]
    if command == "train":
        runs = sorted(out.glob("*/last.pt"))
        return [folder / "cache.h5", out, *(path.parent for path in runs)]
    how = ["--check"] if command == "check" else ["-o", out / "cache.h5"]
    return [study / "Videos", study / "Annotations", "--size", 32, *how]


# --- threads


def run_alone(command: str, folder: Path, work: Path, fault: Fault | None = None) -> Outcome:
    """Run a command in one process, whose patience is short when something is to hang."""
    from mpar.system import workers

    is_to_hang = fault is not None and fault.at < NEVER
    workers.PATIENCE_SECONDS = PATIENCE_SECONDS if is_to_hang else 600
    workers._TICK_SECONDS = workers._LAST_SECONDS = 0.1
    _apply(_PLANTED)
    name = "preprocess" if command == "check" else command
    arguments = arguments_of(command, folder, work)
    seconds = 60 if _PLANTED == "nothing" else 4
    return run_command(name, *arguments, scratch=work, fault=fault, timeout_seconds=seconds)


def judge_hang(command: str, folder: Path, at: float) -> str:
    """Let one read of a video never return: the video is named, the others are done."""
    work = begin_training(folder)
    videos = folder / "study" / "Videos"
    num_reads = json.loads((folder / "plan.json").read_text())[command]
    met = run_alone(command, folder, work, Fault(videos, "hang", int(at * num_reads)))
    if bad := met.crash():
        return bad
    if met.code != 1 or met.output.count("made no progress") != 1:
        return f"exit code {met.code}: {met.output[-300:]}"
    named = [
        path.name for path in videos.iterdir() if f"{path.name}: made no progress" in met.output
    ]
    if len(named) != 1:
        return f"names {named}: {met.output[-300:]}"
    if command == "check":
        return ""
    again = run_alone(command, folder, work)
    if again.code or again.crash():
        return f"does not run again: {again.crash() or again.output[-300:]}"
    return _compare(work, folder / command)


def _compare(work: Path, undisturbed: Path) -> str:
    found, expected = contents(work / "out"), contents(undisturbed)
    names = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
    hidden = [str(path) for path in (work / "out").rglob(".*cache*[!k]")]
    return f"differ: {sorted(names)}" * bool(names) or f"left over: {hidden}" * bool(hidden)


# --- teams


def run_team(
    command: str, folder: Path, work: Path, hit: tuple[float, int, int] | None = None
) -> tuple[Outcome, bool]:
    """Run a command in two processes of torchrun.

    Parameters
    ----------
    command, folder, work
        As in `arguments_of`.
    hit : (float, int, int), optional
        So many seconds after work began, this member gets this signal.

    Returns
    -------
    outcome : Outcome
        Its output is that of the members; `operations` are the lines of torchrun.
    is_hit : bool
        Whether the member still worked then.
    """
    logs = work / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    arguments = [str(argument) for argument in arguments_of(command, folder, work)]
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node=2 --redirects=3".split()
    member = ["-m", __name__, str(logs), _PLANTED, command]
    with (work / "torchrun.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *torchrun, "--log-dir", str(logs), *member, *arguments],
            env={key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
            | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=output,
            stderr=output,
        )
    pids = [logs / f"begun_{rank}" for rank in (0, 1)]
    deadline = time.monotonic() + 120
    while not all(path.exists() for path in pids) and process.poll() is None:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    started = time.monotonic()
    members = [int(path.read_text()) for path in pids if path.exists()]
    is_hit = False
    if hit is not None and len(members) == 2:
        seconds, rank, number = hit
        time.sleep(seconds)
        is_hit = not (logs / f"ended_{rank}").exists() and process.poll() is None
        if is_hit:
            os.kill(members[rank], number)
    code: int | None = None
    try:
        code = process.wait(BOUND_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    orphans = [pid for pid in members if Path(f"/proc/{pid}").exists()]
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
    text = "".join(path.read_text() for path in sorted(logs.rglob("std*.log")))
    lines = (work / "torchrun.txt").read_text().splitlines()
    text += "orphans: Traceback" * bool(orphans and code is not None)
    return Outcome(code, text, lines, time.monotonic() - started), is_hit


def judge_team(case: tuple[Path, str, int, int, float]) -> str:
    """Kill or stop a member, look at what is said, and run the command again."""
    folder, command, rank, number, at = case
    work = begin_training(folder)
    seconds = json.loads((folder / "plan.json").read_text())[f"team {command}"]
    met, is_hit = run_team(command, folder, work, (at * seconds, rank, number))
    if bad := met.crash():
        return bad
    if is_hit:
        report = "\n".join(met.operations)
        is_told = met.output.count("error: ") == 1 and (
            "no sign of life" in met.output or "does not respond" in met.output
        )
        # those that were not yet waiting for the dead one are ended by torchrun, which tells why
        is_told |= number == signal.SIGKILL and "(SIGKILL)" in report
        if not met.code or not is_told:
            return f"exit code {met.code}: {met.output[-300:]}"
    elif met.code:
        return f"was not hit, but failed: {met.output[-300:]}"
    if command == "train":
        runs = sorted((work / "out").glob("*/last.pt"))
        if runs:
            again, _ = run_team(command, folder, work)
            return compare_runs(runs[0].parent, folder / command) if not again.code else str(again)
        return ""
    again = run_alone(command, folder, work)
    if again.code or again.crash():
        return f"does not run again: {again.crash() or again.output[-300:]}"
    return _compare(work, folder / command)


def judge(case: tuple) -> str:
    """Prepare what all compare with, or judge a case."""
    kind, folder, *others = case
    if kind == "prepare":
        return prepare(folder, *others)
    if kind == "team":
        return judge_team((folder, *others))
    command, at = others
    return judge_hang(command, folder, at)


def prepare(folder: Path, with_teams: bool) -> str:
    """Run every command undisturbed; write down how much it reads and how long it takes."""
    plan = {}
    videos = folder / "study" / "Videos"
    if with_teams:
        work = begin_training(folder)
        outcome, _ = run_team("train", folder, work)
        if outcome.code:
            return f"train failed undisturbed: {outcome}"
        plan["team train"] = outcome.seconds
        (run,) = (work / "out").iterdir()
        run.rename(folder / "train")
        shutil.copy(next((folder / "train").glob("best*.pt")), folder / "trained.pt")
    for command in HANGS if with_teams else HANGS[:1]:
        work = begin_training(folder)
        outcome = run_alone(command, folder, work, Fault(videos, "hang", NEVER))
        if outcome.code:
            return f"{command} failed undisturbed: {outcome}"
        plan[command] = len(outcome.operations)
        (work / "out").rename(folder / command)
        if with_teams and command != "check":
            work = begin_training(folder)
            outcome, _ = run_team(command, folder, work)
            if outcome.code:
                return f"{command} failed undisturbed: {outcome}"
            plan[f"team {command}"] = outcome.seconds
    (folder / "plan.json").write_text(json.dumps(plan))
    return ""


def lose_workers(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 13: `size` cases; the first are decoders that hang, one alone needs no torch."""
    with_teams = size > 1
    if with_teams:
        make_cache(folder)
    else:
        make_study(folder / "study", 3)

    def cases() -> Iterator[tuple[str, tuple]]:
        yield "undisturbed", ("prepare", folder, with_teams)
        rng = np.random.default_rng(seed)
        for number in range(size):
            at = float(rng.uniform(0, 1))
            if number < len(HANGS):
                command = HANGS[number]
                yield f"{command}, a read hangs at {at:.2f}", ("hang", folder, command, at)
                continue
            command, rank, signum = TEAMS[(number - len(HANGS)) % len(TEAMS)]
            name = f"{command}, {signal.Signals(signum).name} to process {rank} at {at:.2f}"
            yield name, ("team", folder, command, rank, signum, at)

    with preloaded(build_library(folder)):
        yield from judged(judge, cases(), plant=plant, timeout_seconds=300)


_PLANTED = "nothing"


def with_endless_patience() -> None:
    """Wait for whatever hangs; the members of a team do so too."""
    global _PLANTED
    _PLANTED = "with_endless_patience"


def _apply(planted: str) -> None:
    if planted == "with_endless_patience":
        from mpar.system import team, workers

        team.PATIENCE_SECONDS = workers.PATIENCE_SECONDS = 1e6


def be_member(logs: Path, planted: str, command: str, *arguments: str) -> None:
    """Be a process of a team: tell when work begins, and take a while over it."""
    from mpar_cli._run import command as as_command

    from mpar import inference
    from mpar.cache import staging
    from mpar.learning.recipe import named_recipe
    from mpar.system import team
    from mpar.train import resume_training, train

    team.PATIENCE_SECONDS = TEAM_PATIENCE_SECONDS
    team._BEAT_SECONDS = 0.5
    _apply(planted)
    for module in (inference, staging):
        module.Decoding = _slowly(module.Decoding)
    rank = os.environ["RANK"]

    def call() -> None:
        cache, out, *runs = map(Path, arguments)
        if runs:
            resume_training(runs[0], device="cpu")
        else:
            config = named_recipe("mpar", model_type="light", num_epochs=3, window=8)
            train(cache, out, config=config, device="cpu")

    main = importlib.import_module(f"mpar_cli.{command}").main
    temporary = logs / f"new_{rank}"
    temporary.write_text(str(os.getpid()))
    temporary.rename(logs / f"begun_{rank}")
    try:
        if command == "train":
            as_command(call)()
        else:
            main(arguments)
    finally:
        (logs / f"ended_{rank}").touch()


def _slowly(decoding: type) -> type:
    class Slow(decoding):  # type: ignore[misc]
        def __iter__(self) -> Iterator[np.ndarray]:
            for frame in super().__iter__():
                time.sleep(0.02)
                yield frame

    return Slow


if __name__ == "__main__":
    be_member(Path(sys.argv[1]), *sys.argv[2:])
