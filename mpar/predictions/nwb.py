"""Predicted bouts as an NWB file, in the tables of the extension ndx-ethogram.

The columns of a table that are named as NWB names them become its metadata. Source of types,
fields, names and forms: the schemas of NWB and ndx-ethogram 0.1, and the best practices that
nwbinspector checks.
"""

from __future__ import annotations

import datetime
import json
import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import mpar
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.bouts import bout_table, find_bouts
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import Recording
from mpar.matching.metadata import Animal, read_animals
from mpar.predictions.reading import StoredPrediction, read_folder
from mpar.system.faults import LOG_NAME, contained, logged
from mpar.system.files import atomic_path, refuse_existing

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
    has_names = any(item.animal != item.recording.name for item in animals)
    if animals and not has_names and not columns.keys() & {*_SUBJECT, *_FILE}:
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


_COLUMNS = {
    "confidence": ("Mean_confidence", "Mean confidence of the frames of the bout, 0 to 1"),
    "first_frame": ("First_frame", "First frame of the bout, from 0"),
    "last_frame": ("Last_frame", "Last frame of the bout, included"),
}
# NWB demands a start, and mpar does not know when a video was recorded
UNKNOWN_START = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """A prediction to write: its labels, its bouts and how it was made."""

    recording: Recording
    bouts: pd.DataFrame
    provenance: dict[str, Any]


def export_nwb(
    folder: Path | str,
    output_folder: Path | str,
    *,
    metadata_path: Path | str | None = None,
    overwrite: bool = False,
    quiet: bool = True,
) -> tuple[list[Path], list[Problem]]:
    """Write the predictions of a folder as ``NAME.nwb``, one per recording.

    Recordings without a sound row in the metadata (`read_nwb_metadata`) are left out; without
    metadata, the files name the animal alone. Returns the written paths, and problems of
    predictions that were left out. ConfigError if pynwb or ndx-ethogram is missing, a file exists,
    or the metadata have no column for NWB; InputError if no prediction can be read.
    """
    check_nwb()
    items, class_map, problems = read_folder(folder, _read_one, quiet=quiet)
    metadata = {item.recording.name: metadata_of(item.recording) for item in items}
    if metadata_path is not None:
        metadata, more = read_nwb_metadata([item.recording for item in items], metadata_path)
        problems += more
        items = [item for item in items if item.recording.name in metadata]
    paths = [Path(output_folder, f"{item.recording.name}.nwb") for item in items]
    if not overwrite:
        refuse_existing(output_folder, [path.name for path in paths])
    written = []
    for path, item in zip(paths, items, strict=True):
        try:
            with contained(path, with_disk=True):
                write_nwb(
                    path,
                    item.recording,
                    item.bouts,
                    class_map,
                    item.provenance,
                    metadata[item.recording.name],
                )
            written.append(path)
        except InputError as error:
            problems += error.problems
    problems = logged(problems, Path(output_folder, LOG_NAME))
    if not written:
        raise InputError(problems)
    return written, sorted(problems)


def _read_one(stored: StoredPrediction) -> _Item:
    """Read a prediction with the confidence of its bouts, which equal those of NAME_bouts.csv."""
    recording, rows = stored.read(with_confidence=True)
    if rows.confidence is None:
        raise InputError.of(stored.path, "columns", "lacks the column Confidence; predict again")
    class_map = ClassMap.from_dict(stored.sidecar["class_map"])
    bouts = bout_table(
        rows.labels,
        recording.clock,
        class_map.class_names,
        confidence=rows.confidence,
        stride=rows.stride,
    )
    provenance = {key: value for key, value in stored.sidecar.items() if key != "times"}
    return _Item(recording, bouts, provenance)


def check_nwb() -> None:
    """Raise ConfigError if the packages that write NWB files are not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ndx_ethogram  # noqa: F401
            import pynwb  # noqa: F401
    except ImportError:
        raise ConfigError(
            "format: nwb needs the packages pynwb and ndx-ethogram; run pip install pynwb "
            "ndx-ethogram"
        ) from None


def write_nwb(
    path: Path | str,
    item: Recording,
    bouts: pd.DataFrame,
    class_map: ClassMap,
    provenance: Mapping[str, Any],
    metadata: NwbMetadata,
) -> None:
    """Write the bouts of a recording (`bout_table` with a confidence), atomically.

    `provenance` says how the prediction was made, for the attribute ``parameters`` of the bouts.
    The processing module ``behavior`` holds ``ethogram`` (the classes) and ``bouts``. If some
    frames are unlabelled, ``observed`` holds the labelled stretches.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ndx_ethogram import Ethogram, EthogramBouts
        from pynwb import NWBHDF5IO, NWBFile
        from pynwb.file import Subject

    how = {**provenance, "exported_by": f"mpar {mpar.__version__}"}
    parameters = json.dumps(how, sort_keys=True)
    description = f"Behaviour in {item.video}, recording {item.name}, predicted by mpar."
    if "session_start_time" not in metadata.file:
        description += " The date of the recording is unknown; 1970-01-01 stands for it."
    given = {"session_start_time": UNKNOWN_START, **metadata.file}
    given["session_description"] = " ".join(
        filter(None, (metadata.file.get("session_description"), description))
    )
    file = NWBFile(
        identifier=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{item.name} {parameters}")),
        subject=Subject(**metadata.subject),
        **given,
    )
    module = file.create_processing_module("behavior", "Behaviour predicted by mpar")
    ethogram = Ethogram(
        name="ethogram",
        description="Classes of the network; each frame has at most one",
        exclusive=True,
    )
    for name in class_map.class_names:
        codes = [f"{code} {raw}" for code, raw, merged in class_map.rows if merged == name]
        ethogram.add_row(
            behavior=name,
            definition=f"codes {', '.join(codes)}",
            behavior_type="state",
            native_code=class_map.code_of_class(name),
        )
    module.add(ethogram)
    table = EthogramBouts(
        name="bouts",
        description="One row per bout, in seconds from the start of the video",
        labeling_method="automated",
        source_software=f"mpar {provenance.get('mpar_version', mpar.__version__)}",
        parameters=parameters,
        ethogram=ethogram,
        observation_intervals=_add_observed(module, item),
    )
    for bout in bouts.to_dict("records"):
        table.add_row(start_time=bout["Start_s"], stop_time=bout["Stop_s"], label=bout["Class"])
    for name, (column, description) in _COLUMNS.items():
        # an array has a type even if it is empty
        table.add_column(name=name, description=description, data=bouts[column].to_numpy())
    module.add(table)
    with atomic_path(path) as temporary, NWBHDF5IO(temporary, "w") as io:
        io.write(file)


def _add_observed(module: Any, item: Recording) -> Any:
    """Add the stretches in which every frame has a label; None if that is the whole recording."""
    from pynwb.epoch import TimeIntervals

    if (item.labels != UNLABELLED).all():
        return None
    table = TimeIntervals(name="observed", description="Stretches in which each frame has a label")
    stretches = find_bouts((item.labels != UNLABELLED).astype(int) - 1)
    for start, stop in zip(stretches["start"].tolist(), stretches["stop"].tolist(), strict=True):
        table.add_row(
            start_time=float(item.clock.start_of(start)),
            stop_time=float(item.clock.start_of(stop)),
        )
    module.add(table)
    return table
