"""Metadata of NWB files, from the columns of a table that are named as NWB names them.

Source of names and forms: the NWB schema and the best practices that nwbinspector checks.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpar.errors import ConfigError, Problem
from mpar.labels.scorings import Recording
from mpar.matching.metadata import Animal, read_animals

_SEXES = {
    "m": "M",
    "male": "M",
    "f": "F",
    "female": "F",
    "u": "U",
    "unknown": "U",
    "o": "O",
    "other": "O",
}
_SPECIES = {"mouse": "Mus musculus", "rat": "Rattus norvegicus"}
_AGE_UNITS = {"d": "D", "day": "D", "w": "W", "week": "W", "m": "M", "month": "M", "y": "Y"}


@dataclass(frozen=True, slots=True)
class NwbMetadata:
    """What an NWB file says of its recording besides the bouts.

    Parameters
    ----------
    subject : dict
        Arguments of `pynwb.file.Subject`.
    file : dict
        Arguments of `pynwb.NWBFile`.
    """

    subject: dict[str, Any] = field(default_factory=dict)
    file: dict[str, Any] = field(default_factory=dict)


def metadata_of(recording: Recording) -> NwbMetadata:
    """Return what is known without a table: the name of the animal."""
    return NwbMetadata({"subject_id": recording.subject or recording.animal, "sex": "U"})


def read_nwb_metadata(
    recordings: Sequence[Recording], path: Path | str
) -> tuple[dict[str, NwbMetadata], list[Problem]]:
    """Read the metadata of NWB files.

    Parameters
    ----------
    recordings : sequence of Recording
        The recordings to describe.
    path : Path or str
        CSV with a column ``Recording`` (the video's name, with or without suffix), and any of
        ``Animal`` or ``subject_id``, ``species``, ``sex``, ``age``, ``date_of_birth``, ``strain``,
        ``genotype``, ``weight``, ``description`` (of the animal), ``session_start_time``,
        ``session_id``, ``session_description``, ``experimenter``, ``institution``, ``lab``,
        ``experiment_description``, ``keywords``, ``protocol``, ``pharmacology``, ``surgery``,
        ``virus`` and ``notes``. Case does not count, nor a space for ``_``. Other columns and empty
        cells are passed over.

    Returns
    -------
    metadata : dict
        By name of the recording.
    problems : list of Problem
        Rows and recordings that are left out: cells that are not of their kind, a recording without
        a row, an animal that two rows describe differently.

    Raises
    ------
    ConfigError
        No column is named as NWB names one.
    InputError
        The file cannot be read.
    """
    animals, problems = read_animals(recordings, path)
    columns = {_folded(name): name for item in animals for name in item.metadata}
    if animals and not columns.keys() & {*_SUBJECT, *_FILE}:
        raise ConfigError(
            f"{Path(path).name}: found the columns {', '.join(columns.values()) or 'Recording'}, "
            f"expected some of {', '.join((*_SUBJECT, *_FILE))}; name them as NWB does"
        )
    found: dict[str, NwbMetadata] = {}
    for item in animals:
        cells = {key: item.metadata[name].strip() for key, name in columns.items()}
        subject, faults = _parse(cells, _SUBJECT)
        file, more = _parse(cells, _FILE)
        problems += [
            Problem.of(path, "cell", f"recording {item.recording.name!r}: {fault}")
            for fault in (*faults, *more)
        ]
        if not faults and not more:
            subject.setdefault("subject_id", _name_of(item))
            subject.setdefault("sex", "U")
            found[item.recording.name] = NwbMetadata(subject, file)
    for text, names in _find_contradictions(found):
        problems.append(Problem.of(path, "contradiction", text))
        for name in names:
            found.pop(name, None)
    return found, problems


def _name_of(item: Animal) -> str:
    is_named = item.animal != item.recording.name
    return item.animal if is_named else item.recording.subject or item.recording.animal


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _parse(
    cells: dict[str, str], kinds: dict[str, Callable[[str], Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Return the values of the cells that are not empty, and what is wrong with others."""
    values, faults = {}, []
    for name, parse in kinds.items():
        if cell := cells.get(name, ""):
            try:
                values[name] = parse(cell)
            except ValueError as error:
                faults.append(f"found {name} {cell!r}, expected {error}; fix the cell")
    return values, faults


def _find_contradictions(found: dict[str, NwbMetadata]) -> Iterable[tuple[str, set[str]]]:
    """Yield what two recordings say differently of one animal, and all recordings of it."""
    fixed = ("species", "sex", "date_of_birth", "strain", "genotype")  # age and weight may change
    by_animal: dict[str, dict[str, NwbMetadata]] = {}
    for name, item in found.items():
        by_animal.setdefault(item.subject["subject_id"], {})[name] = item
    for animal, items in by_animal.items():
        for key in fixed:
            values = {name: item.subject.get(key) for name, item in items.items()}
            if len({*values.values()}) > 1:
                (one, a), (other, b) = list({v: (n, v) for n, v in values.items()}.values())[:2]
                yield (
                    f"animal {animal!r} has the {key} {_shown(a)} in {one} and {_shown(b)} in "
                    f"{other}; write the same in all its rows",
                    {*items},
                )
                break


def _shown(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    return repr(value) if value else "(empty)"


def _parse_sex(cell: str) -> str:
    if cell.lower() not in _SEXES:
        raise ValueError("M, F, U (unknown) or O (other)")
    return _SEXES[cell.lower()]


def _parse_species(cell: str) -> str:
    species = _SPECIES.get(cell.lower(), cell)
    if not re.fullmatch(r"[A-Z][a-z]+ [a-z]+( [a-z]+)?|https?://\S+", species):
        raise ValueError("a Latin name such as Mus musculus, or mouse or rat")
    return species


def _parse_age(cell: str) -> str:
    if re.fullmatch(r"P(?=\d)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?", cell):
        return cell
    age = re.fullmatch(
        r"(\d+)\s*(d|day|w|week|m|month|y|year)s?", cell.lower().replace("year", "y")
    )
    if not age:
        raise ValueError("an age such as P8W, 8 weeks or 56 days")
    return f"P{int(age[1])}{_AGE_UNITS[age[2]]}"


def _parse_time(cell: str) -> datetime.datetime:
    """Return a date, with or without a time; without an offset, it is in local time."""
    text = re.sub(r"[Zz]$", "+00:00", cell)
    try:
        time = datetime.datetime.fromisoformat(text)
        time = time if time.tzinfo else time.astimezone()
    except (ValueError, OverflowError, OSError):
        raise ValueError("a date such as 2026-03-05, or 2026-03-05 14:30:00") from None
    if not time.year > 1900 or time > datetime.datetime.now(datetime.timezone.utc):
        raise ValueError("a date of the past")
    return time


def _parse_list(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]


def _parse_keywords(cell: str) -> list[str]:
    return [part.strip() for part in re.split(r"[;,]", cell) if part.strip()]


_SUBJECT: dict[str, Callable[[str], Any]] = {
    **{"subject_id": str, "species": _parse_species, "sex": _parse_sex, "age": _parse_age},
    **{"date_of_birth": _parse_time, "strain": str, "genotype": str, "weight": str},
    **{"description": str},
}
_FILE: dict[str, Callable[[str], Any]] = {
    **{"session_start_time": _parse_time, "session_id": str, "session_description": str},
    **{"experimenter": _parse_list, "institution": str, "lab": str},
    **{"experiment_description": str, "keywords": _parse_keywords, "protocol": str},
    **{"pharmacology": str, "surgery": str, "virus": str, "notes": str},
}
