"""Races: contestants that do the same work, timed in turns."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

OURS = "mpar"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Parameters
    ----------
    case : str
        The work.
    contestant : str
        Who did it.
    rate : float
        Units of work a second, by the median time.
    unit : str
        Of the work.
    ratio : float or None
        How many times as fast mpar was: the median over the rounds of the contestant's time
        divided by mpar's. None for mpar itself.
    target : float or None
        What the ratio should at least be.
    """

    case: str
    contestant: str
    rate: float
    unit: str
    ratio: float | None = None
    target: float | None = None

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f"{self.ratio:8.2f} x"
        target = "" if self.target is None else f"  target {self.target:g}"
        missed = "  MISSED" if self.target and self.ratio and self.ratio < self.target else ""
        rate = f"{self.rate:,.0f}" if self.rate >= 100 else f"{self.rate:.3g}"
        return (
            f"{self.case:<34} {self.contestant:<38} {rate:>9} {self.unit:<9}"
            f"{ratio:>10}{target}{missed}"
        )


def race(
    case: str,
    contestants: Mapping[str, Callable[[], object]],
    *,
    work: float | Mapping[str, float],
    unit: str,
    targets: Mapping[str, float] | None = None,
    rounds: int = 5,
    warm_up: bool = True,
) -> list[Row]:
    """Time contestants in turns, so that a slow minute of the machine hits all of them.

    Parameters
    ----------
    case : str
        The work.
    contestants : mapping of str to callable
        One of them is "mpar".
    work : float, or mapping of str to float
        Units of work in one call, of all or of each.
    unit : str
        Of the work, "frames/s".
    targets : mapping of str to float, optional
        What mpar's speed relative to a contestant should at least be.
    rounds : int
        Times that each is timed; the order turns from round to round.
    warm_up : bool
        Call each once before.
    """
    targets = targets or {}
    names = list(contestants)
    units = work if isinstance(work, Mapping) else dict.fromkeys(names, work)
    times: dict[str, list[float]] = {name: [] for name in names}
    if warm_up:
        for run in contestants.values():
            run()
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            started = time.perf_counter()
            contestants[name]()
            times[name].append((time.perf_counter() - started) / units[name])
    rows = []
    for name in names:
        ratios = [theirs / ours for theirs, ours in zip(times[name], times[OURS], strict=True)]
        rate = 1 / statistics.median(times[name])
        ratio = None if name == OURS else statistics.median(ratios)
        rows.append(Row(case, name, rate, unit, ratio, targets.get(name)))
        click.echo(rows[-1])
    return rows


def own_memory_mib() -> float:
    """Return the memory of this process without mapped files, MiB; its peak off Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20
