"""Verdicts, and judging cases in a process that may die or hang over them."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Plant = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case.

    Parameters
    ----------
    case : str
        Says what was done, well enough to do it again.
    bad : str
        What went wrong, empty if nothing did.
    """

    case: str
    bad: str = ""


def nothing() -> None:
    """Take no protection away."""


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path


def judged(
    judge: Callable[[Any], str],
    cases: Iterable[tuple[str, Any]],
    *,
    plant: Plant = nothing,
    timeout_seconds: float = 60,
) -> Iterator[Verdict]:
    """Judge cases one by one in a process of their own; begin another when it dies or hangs.

    Parameters
    ----------
    judge : callable
        Returns what went wrong in a case, "" if nothing did; whatever it raises is a traceback
        that a user would have seen. A function of a module, since it is sent to the process.
    cases : iterable of (name, case)
    plant : callable
        Called in the process first.
    timeout_seconds : float
        A case that takes longer hangs.
    """
    context = multiprocessing.get_context("spawn")
    process = connection = None
    try:
        for name, case in cases:
            if process is None:
                connection, end = context.Pipe()
                process = context.Process(target=_serve, args=(end, judge, plant), daemon=True)
                process.start()
                end.close()
                connection.recv()  # importing is no part of the first case
            connection.send(case)
            bad = None
            if connection.poll(timeout_seconds):
                try:
                    bad = connection.recv()
                except EOFError:
                    process.join()
                    bad = f"the process died with code {process.exitcode}"
                    process = None
            else:
                process.kill()
                bad, process = f"hung for {timeout_seconds} s", None
            yield Verdict(name, bad)
    finally:
        if process is not None:
            process.kill()
            process.join()


def _serve(connection: Any, judge: Callable[[Any], str], plant: Plant) -> None:
    plant()
    connection.send("ready")
    while True:
        try:
            case = connection.recv()
        except EOFError:
            return
        try:
            bad = judge(case)
        except Exception:
            bad = "traceback: " + " / ".join(traceback.format_exc().strip().splitlines()[-3:])
        connection.send(bad)
