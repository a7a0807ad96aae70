"""Stimuli of an assay: when each was given, from a CSV with one row per stimulus."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mpar.errors import Problem
from mpar.labels.names import NameIndex, folded, spelled_alike
from mpar.labels.scorings import Recording
from mpar.matching.metadata import Animal, expected_time
from mpar.system.tables import (
    find_decimal,
    parse_number,
    parse_seconds,
    read_named_rows,
    why_unclear,
)

log = logging.getLogger(__name__)

_NEEDED = ("Recording", "Event", "Start_s")


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One stimulus in one recording.

    Parameters
    ----------
    animal : Animal
        The recording, with its animal and group.
    event : str
        What was given, such as "von Frey".
    start : Fraction
        Second of the recording at which it began.
    stop : Fraction, optional
        Second at which it ended.
    force : Fraction, optional
        Cell of the force column.
    columns : dict
        Text of all further columns.
    line : int
        Line of the file.
    """

    animal: Animal
    event: str
    start: Fraction
    stop: Fraction | None
    force: Fraction | None
    columns: dict[str, str]
    line: int


def read_stimuli(
    path: Path | str,
    animals: Sequence[Animal],
    *,
    force_column: str | None = None,
    taken: Sequence[str] = (),
) -> tuple[list[Stimulus], list[Problem]]:
    """Read the stimuli of recordings.

    Parameters
    ----------
    path : Path or str
        CSV with the columns ``Recording`` (name of the video, with or without suffix), ``Event``,
        ``Start_s``, optionally ``Stop_s``, and any others (``Trial``, ``Force_g``).
    animals : sequence of Animal
        The recordings.
    force_column : str, optional
        Column with the force of von Frey filaments, numbers above 0.
    taken : sequence of str
        Names of result columns, which further columns may not have.

    Returns
    -------
    stimuli : list of Stimulus
        By recording in the order of `animals`, then by time.
    problems : list of Problem
        Rows that are left out, and rows of the same event in the same frame: if they are alike,
        they count once, else not at all.

    Raises
    ------
    InputError
        The file cannot be read, or lacks a column.
    """
    path = Path(path)
    needed = [*_NEEDED, *([force_column] if force_column else [])]
    table = read_named_rows(path, [*needed, "Stop_s"], needed=needed, taken=taken)
    names, rows, problems = table.columns, table.rows, [*table.problems]
    numbers = [n for n in ("Start_s", "Stop_s", force_column) if n in names]
    decimal = find_decimal(
        [row[n] for _, row in rows for n in numbers if n is not None], table.delimiter
    )
    index = NameIndex(
        (written, place)
        for place, animal in enumerate(animals)
        for written in _names_of(animal.recording)
    )
    stimuli = []
    for line, row in rows:
        try:
            stimuli.append(_read_row(row, line, animals, index, decimal, force_column))
        except ValueError as error:
            problems.append(Problem.of(path, "cell", str(error), line))
    for alike in spelled_alike(item.event for item in stimuli):
        log.warning(
            "%s: the events %s differ only in case or spaces and count as %d; if they are one, "
            "spell them alike",
            *(path.name, " and ".join(map(repr, alike)), len(alike)),
        )
    order = {id(animal): place for place, animal in enumerate(animals)}
    stimuli, more = _drop_repeated(path, stimuli)
    return sorted(stimuli, key=lambda s: (order[id(s.animal)], s.start, s.line)), [*problems, *more]


def _drop_repeated(path: Path, stimuli: Sequence[Stimulus]) -> tuple[list[Stimulus], list[Problem]]:
    """Return each stimulus once, and none whose rows differ: nothing tells which is right."""
    found: dict[tuple[str, str, int], list[Stimulus]] = {}
    for item in stimuli:
        recording = item.animal.recording
        key = recording.name, folded(item.event), recording.clock.frame_of(item.start)
        found.setdefault(key, []).append(item)
    kept, problems = [], []
    for items in found.values():
        first, *others = items
        is_same = all(
            (item.stop, item.force, item.columns) == (first.stop, first.force, first.columns)
            for item in others
        )
        if is_same:
            kept.append(first)
        what = f"{first.event} of {first.animal.recording.name} at {float(first.start):g} s"
        advice = "it counts once" if is_same else "the rows differ, so mpar leaves both out"
        problems += [
            Problem.of(
                path,
                "duplicate",
                f"{what} is also in line {first.line}; {advice}; remove one",
                item.line,
            )
            for item in others
        ]
    return kept, problems


def _names_of(recording: Recording) -> set[str]:
    """Return the names that a row may use; trials share a video and are found by their own."""
    is_whole = Path(recording.video).stem == recording.name
    return {recording.name, recording.video} if is_whole else {recording.name}


def _read_row(
    row: dict[str, str],
    line: int,
    animals: Sequence[Animal],
    index: NameIndex,
    decimal: str,
    force_column: str | None,
) -> Stimulus:
    """Return the stimulus of a row; raise ValueError if the row has a fault."""
    found = index.find(row["Recording"])
    if len(found) != 1:
        raise ValueError(
            f"recording {row['Recording']!r} has {len(found) or 'no'} "
            f"prediction{'s' if found else ''}, expected one; predict it, or fix the name"
        )
    animal = animals[found[0]]
    if not row["Event"]:
        raise ValueError("has no Event; fill it in")
    length = animal.recording.clock.seconds
    start = parse_seconds(row["Start_s"], decimal)
    if start is None or start >= length:
        reason = why_unclear(row["Start_s"], decimal) or expected_time(start, length)
        raise ValueError(f"found Start_s {row['Start_s']!r}, {reason}")
    stop = parse_seconds(row["Stop_s"], decimal) if row.get("Stop_s") else None
    if row.get("Stop_s") and (stop is None or stop < start):
        reason = (
            f"expected seconds from Start_s ({row['Start_s']}) on, or an empty cell; fix the row"
        )
        reason = why_unclear(row["Stop_s"], decimal) or reason
        raise ValueError(f"found Stop_s {row['Stop_s']!r}, {reason}")
    force = parse_number(row[force_column], decimal) if force_column else None
    if force_column and not force:
        reason = why_unclear(row[force_column], decimal) or "expected a number above 0; fix the row"
        raise ValueError(f"found {force_column} {row[force_column]!r}, {reason}")
    further = {name: cell for name, cell in row.items() if name not in {*_NEEDED, "Stop_s"}}
    return Stimulus(animal, row["Event"], start, stop, force, further, line)
