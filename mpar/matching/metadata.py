"""Metadata of recordings: the animal in each, its group, and the time of the stimulus."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.names import NameIndex, spelled_alike
from mpar.labels.scorings import Recording
from mpar.system.tables import find_decimal, parse_seconds, read_named_rows, why_unclear

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Animal:
    """A recording, the animal in it, and its metadata.

    Parameters
    ----------
    recording : Recording
        Its labels.
    animal : str
        Name of the animal. Recordings of one animal are averaged before groups are.
    group : str
        Name of the group, as figures show it.
    onset : Fraction
        Second of the recording that counts as time 0.
    metadata : dict
        Text by column.
    """

    recording: Recording
    animal: str
    group: str
    onset: Fraction
    metadata: dict[str, str]

    @property
    def seconds(self) -> Fraction:
        """Seconds from time 0 to the end of the recording."""
        return self.recording.clock.seconds - self.onset


def read_animals(
    predictions: Sequence[Recording],
    metadata_path: Path | str | None,
    *,
    onset_column: str | None = None,
    group_by: Sequence[str] = (),
    taken: Sequence[str] = (),
) -> tuple[list[Animal], list[Problem]]:
    """Join predictions with the metadata of their animals.

    Parameters
    ----------
    predictions : sequence of Recording
        From `mpar.predictions.reading.read_predictions`.
    metadata_path : Path or str, optional
        CSV with a column ``Recording`` (the video's name, with or without suffix), ``Animal`` where
        an animal has several, and any others. By default, each recording is one animal and all are
        one group.
    onset_column : str, optional
        Column with the time of the stimulus, in seconds of the recording.
    group_by : sequence of str
        Columns whose values make a group; by default "group", if there is one.
    taken : sequence of str
        Names of result columns, which metadata columns may not have.

    Returns
    -------
    animals : list of Animal
        Ordered by group, then by row of the metadata.
    problems : list of Problem
        Rows without a recording, recordings without a row, invalid onsets.

    Raises
    ------
    ConfigError
        A column is missing, or there is no metadata file.
    InputError
        The metadata cannot be read.
    """
    if metadata_path is None:
        if onset_column or group_by:
            raise ConfigError(
                "--onset-column and --group-by name columns of the metadata; pass --metadata"
            )
        return [Animal(item, item.name, "all", Fraction(0), {}) for item in predictions], []
    path = Path(metadata_path)
    taken = [name for name in taken if name not in {"Recording", "Animal", "Group"}]
    table = read_named_rows(path, ["Recording", "Animal"], needed=["Recording"], taken=taken)
    if table.problems:
        raise InputError(table.problems)
    columns = [name for name in table.columns if name not in {"Recording", "Animal"}]
    rows = table.rows
    for name in (onset_column, *group_by):
        if name is not None and name not in columns:
            raise ConfigError(
                f"{path.name}: found the columns {', '.join(columns)}, expected {name!r} among "
                "them; name another column, or add it"
            )
    onsets = [row[onset_column] for _, row in rows] if onset_column else []
    decimal = find_decimal(onsets, table.delimiter)
    by = list(group_by) or [name for name in columns if name.lower() == "group"]
    known = _find_named(predictions, {row["Recording"] for _, row in rows})
    animals: dict[str, Animal] = {}
    first: dict[str, int] = {}
    problems = []
    for line, row in rows:
        try:
            animal = _join(row, known, by, onset_column, decimal)
            name = animal.recording.name
            if name in first:
                is_same = animals.get(name) == animal
                left_out = ""
                if not is_same:  # either row may be right
                    animals.pop(name, None)
                    left_out = " and the rows differ, so mpar leaves it out"
                raise ValueError(
                    f"recording {row['Recording']!r} occurs twice (also in line {first[name]})"
                    f"{left_out}; remove one row"
                )
            animals[name], first[name] = animal, line
        except ValueError as error:
            problems.append(Problem.of(path, "cell", str(error), line))
    is_named = {known[row["Recording"]].name for _, row in rows if row["Recording"] in known}
    problems += [
        Problem.of(
            f"{item.name}_predictions.csv",
            "no-row",
            f"has no row in {path.name}; add one, or move the file elsewhere",
        )
        for item in predictions
        if item.name not in is_named
    ]
    groups = spelled_alike(animal.group for animal in animals.values())
    _warn_of_spellings(groups, "groups", "case or spaces", path.name)
    # Excel makes 1 of 01; groups may be doses, of which 0.5 and 0.05 differ
    named = spelled_alike((animal.animal for animal in animals.values()), with_zeros=True)
    _warn_of_spellings(named, "animals", "case, spaces or leading zeros", path.name)
    order = list(dict.fromkeys(animal.group for animal in animals.values()))
    return sorted(animals.values(), key=lambda a: order.index(a.group)), problems


def _find_named(predictions: Sequence[Recording], names: Iterable[str]) -> dict[str, Recording]:
    """Return the prediction that each name in the metadata stands for."""
    by_name = {item.name: item for item in predictions}
    # several trials share a video, so a trial is found only by its own name
    index = NameIndex(
        (written, item.name)
        for item in predictions
        for written in {item.name, item.video if Path(item.video).stem == item.name else item.name}
    )
    found = {name: index.find(name) for name in names}
    return {name: by_name[named[0]] for name, named in found.items() if len(named) == 1}


def _warn_of_spellings(found: list[list[str]], what: str, how: str, file: str) -> None:
    """Warn about groups or animals whose names are spelled alike."""
    for alike in found:
        log.warning(
            "%s: the %s %s differ only in %s and count as %d; if they are one, spell them alike",
            *(file, what, " and ".join(map(repr, alike)), how, len(alike)),
        )


def _join(
    row: dict[str, str],
    known: dict[str, Recording],
    by: Sequence[str],
    onset_column: str | None,
    decimal: str,
) -> Animal:
    """Return the animal of a row; raise ValueError if the row has a fault."""
    name = row["Recording"]
    if name not in known:
        raise ValueError(f"recording {name!r} has no prediction; predict it, or remove the row")
    recording = known[name]
    if not all(row[column] for column in by):
        raise ValueError(f"recording {name!r} has no {' or no '.join(by)}; fill it in")
    onset = parse_seconds(row[onset_column], decimal) if onset_column else Fraction(0)
    length = recording.clock.seconds
    if onset is None or onset >= length:
        cell = row[onset_column or ""]
        reason = why_unclear(cell, decimal) or expected_time(onset, length)
        raise ValueError(f"recording {name!r} has the onset {cell!r}, {reason}")
    shown = {"Recording", "Animal"}
    if len(by) == 1 and by[0].lower() == "group":
        shown.add(by[0])  # the column Group says the same
    return Animal(
        recording,
        row.get("Animal") or recording.name,
        " / ".join(row[column] for column in by) if by else "all",
        onset,
        {column: cell for column, cell in row.items() if column not in shown},
    )


def expected_time(found: Fraction | None, length: Fraction) -> str:
    """Return what a time in a recording should have been, for a message.

    `found` are the seconds that were read, at or after the end; None if the cell is not a time.
    """
    if found is None:
        return "expected seconds, such as 5.2, or a time such as 0:05.2 or 00:00:05.2; fix the row"
    where = "which is the end" if found == length else "which is after the end"
    return (
        f"{where} of the recording, which lasts {float(length):.3f} s; expected an earlier time; "
        "fix the row"
    )
