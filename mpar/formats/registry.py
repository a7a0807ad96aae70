"""Recognise and read label files of any format, and write labels for other programs.

Each format has one entry in `FORMATS`: a test that recognises it, its reader, and a writer if there
is one. DeepEthogram is written here; the other formats have their own modules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mpar.errors import ConfigError, InputError, Problem
from mpar.formats import annot, boris, cowlog, elan, json_labels, noldus, one_hot, simba
from mpar.formats.annotations import COLUMNS, read_annotation
from mpar.formats.boris import PROJECT_NAME, is_project, read_project, write_project
from mpar.formats.modifiers import apply_modifiers
from mpar.formats.programs import name_text
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import MAX_FPS, Recording, Scoring
from mpar.system.csv_text import DELIMITERS, header_of, plain_cells, read_noted, read_text
from mpar.system.faults import contained
from mpar.system.files import refuse_existing, write_table
from mpar.system.tables import find_header

ANNOTATION_SUFFIXES = (".csv", ".tsv", ".xlsx", ".annot", ".boris", ".eaf")
# files that may hold anything; mpar reads those that it recognises
POSSIBLE_SUFFIXES = (".txt", ".json")
_OF_MPAR = b'"mpar_version"'
AUTO = "auto"
# columns of tables that mpar writes or reads, which may lie next to labels but hold none
_OWN_TABLES = (
    {"file", "line", "problem"},
    {"class", "first_frame", "last_frame"},
    {"class", "criterion", "threshold"},
    {"class", "window_type", "window"},
    {"video", "fps", "frames", "seconds"},
    {"video", "animal", "x", "y", "width", "height"},
    {"recording", "group"},
    {"recording", "animal"},
    {"epoch", "train_loss"},
    {"code", "name", "class"},
)


def read_label_file(
    path: Path, class_map: ClassMap, label_format: str = AUTO, channel: str | None = None
) -> list[Scoring]:
    """Read a label file of any format.

    Parameters
    ----------
    path : Path
        The file.
    class_map : ClassMap
        The names that may occur.
    label_format : str
        A key of `FORMATS`, "mpar", or "auto" to recognise the file by its content.
    channel : str, optional
        The channel, tier or class to read of a file of MARS/Bento, ELAN or CowLog with several.

    Returns
    -------
    list of Scoring
        One by frame, or those of one or more videos with events. A scoring that cannot be used
        holds its problems, for instance a behaviour without a class. Empty for a table of mpar
        that holds no labels.

    Raises
    ------
    InputError
        No part of the file can be read.
    """
    text, notes = read_noted(path)
    if _is_own_table(text):
        return []
    name = _name_of(path, text) if label_format == AUTO else label_format
    if name == "mpar" and label_format == AUTO and (program := name_text(text)):
        raise InputError.of(path, "unknown-format", f"is {program}")
    if name == "mpar" and label_format == AUTO and text.lstrip()[:1] in {"{", "["}:
        raise InputError.of(
            path,
            "unknown-format",
            "is JSON, but neither a BORIS project nor a label file of JABS, Label Studio or FERAL; "
            "export it again, or as a table",
        )
    if name == "mpar":
        parts = [read_annotation(path, class_map, text=text)]
    elif name in _WITH_CHANNELS:
        read = _WITH_CHANNELS[name]
        parts = [_checked(part, class_map) for part in read(path, text, channel)]
    else:
        parts = [_checked(part, class_map) for part in FORMATS[name].read(path, text)]
    return [replace(part, warnings=(*notes, *part.warnings)) for part in parts]


def format_of(path: Path) -> str:
    """Return the format of a label file, a key of `FORMATS` or "mpar".

    It is "" for a table that holds no labels. InputError if its text cannot be read.
    """
    text, _ = read_noted(path)
    return "" if _is_own_table(text) else _name_of(path, text)


def _name_of(path: Path, text: str) -> str:
    return {".boris": "boris", ".eaf": "elan"}.get(path.suffix.lower()) or _recognise(text)


def holds_labels(path: Path) -> bool:
    """Return True if a file that may hold anything has the content of a label format."""
    try:
        with path.open("rb") as file:
            if _OF_MPAR in file.read(4096):  # a record of mpar, which may be large
                return False
        text = read_text(path)
    except (InputError, OSError):
        return False
    return _recognise(text) != "mpar" or _has_own_columns(text)


def _is_own_table(text: str) -> bool:
    """Return True for an mpar table without labels: bouts, problems, animals, regions."""
    cells = [{*plain_cells(header_of(text), delimiter)} for delimiter in DELIMITERS]
    is_table = any(columns <= found for found in cells for columns in _OWN_TABLES)
    return is_table and not any(found & COLUMNS for found in cells)


def _checked(scoring: Scoring, class_map: ClassMap) -> Scoring:
    """Return a scoring by its modifiers, with a problem if some behaviours have no class."""
    scoring = apply_modifiers(scoring, class_map)
    unknown = scoring.find_unknown(class_map)
    if not unknown:
        return scoring
    known = dict.fromkeys((*class_map.class_names, *(name for _, name, _ in class_map.rows)))
    problem = Problem.of(
        scoring.path,
        "unknown-class",
        f"found behaviours without a class: {', '.join(map(repr, unknown))}; expected names from "
        f"the class map ({', '.join(known)}); add a row for each to the --class-map file"
        + (", or call the columns Frame and Action if they hold codes" * bool(scoring.columns)),
    )
    return replace(scoring, problems=(*scoring.problems, problem))


def _write_deepethogram(
    folder: Path, videos: Sequence[Recording], class_names: Sequence[str], unscored: str | None
) -> None:
    names = [name for name in class_names if name != unscored]
    for item in videos:
        columns = {name: (item.labels == class_names.index(name)).astype(int) for name in names}
        table = pd.DataFrame(columns)
        table.insert(0, "background", 1 - table.sum(axis=1))
        table[item.labels == UNLABELLED] = -1
        write_table(folder / f"{item.name}_labels.csv", table, index=True)


Reader = Callable[[Path, str], list[Scoring]]
Writer = Callable[[Path, Sequence[Recording], Sequence[str], "str | None"], None]


def _has(is_header: Callable[[list[str]], bool]) -> Callable[[str], bool]:
    return lambda text: find_header(text, is_header) is not None


@dataclass(frozen=True, slots=True)
class Format:
    """A label format: how mpar recognises, reads and writes it, and the names of its files."""

    is_text: Callable[[str], bool]
    read: Reader
    write: Writer | None = None
    file_name: str = ""


# mpar tries them in this order
FORMATS = {
    "jabs": Format(json_labels.is_jabs, json_labels.read_jabs),
    "label-studio": Format(json_labels.is_label_studio, json_labels.read_label_studio),
    "feral": Format(json_labels.is_feral, json_labels.read_feral),
    "boris": Format(is_project, read_project, write_project, PROJECT_NAME),
    "annot": Format(annot.is_annot, annot.read_annot, annot.write_annot, "{name}.annot"),
    "boris-tabular": Format(_has(boris.is_tabular), boris.read_tabular),
    "boris-aggregated": Format(_has(boris.is_aggregated), boris.read_aggregated),
    "simba": Format(_has(simba.is_simba), simba.read_simba, simba.write_simba, simba.SIMBA_NAME),
    "elan": Format(elan.is_elan, elan.read_elan),
    "cowlog": Format(cowlog.is_cowlog, cowlog.read_cowlog),
    "observer": Format(_has(noldus.is_log), noldus.read_log),
    "ethovision": Format(_has(noldus.is_raw), noldus.read_raw),
    "deepethogram": Format(
        one_hot.is_by_frame, one_hot.read_by_frame, _write_deepethogram, "{name}_labels.csv"
    ),
    "boris-binary": Format(one_hot.is_by_time, one_hot.read_by_time),
}
_WITH_CHANNELS = {
    "annot": annot.read_annot,
    "elan": elan.read_elan,
    "cowlog": cowlog.read_cowlog,
}
READABLE = (AUTO, "mpar", *FORMATS)
WRITABLE = tuple(name for name, item in FORMATS.items() if item.write)


def _recognise(text: str) -> str:
    """Return the name of the format of a label file; "mpar" if no other fits."""
    if _has_own_columns(text):
        return "mpar"
    return next((name for name, item in FORMATS.items() if item.is_text(text)), "mpar")


def _has_own_columns(text: str) -> bool:
    """Return True if a text is a table of mpar, with Frame and Action."""
    header = header_of(text)
    return any({*plain_cells(header, delimiter)} >= COLUMNS for delimiter in DELIMITERS)


def write_labels(
    folder: Path | str,
    label_format: str,
    videos: Sequence[Recording],
    class_names: Sequence[str],
    *,
    unscored: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write labels as `write_labels_of_each` does, and return the files.

    Raises
    ------
    ConfigError, InputError
        As there; also InputError if the disk refuses a file. The others are written.
    """
    paths, problems = write_labels_of_each(
        folder, label_format, videos, class_names, unscored=unscored, overwrite=overwrite
    )
    if problems:
        raise InputError(problems)
    return paths


def write_labels_of_each(
    folder: Path | str,
    label_format: str,
    videos: Sequence[Recording],
    class_names: Sequence[str],
    *,
    unscored: str | None = None,
    overwrite: bool = False,
) -> tuple[list[Path], list[Problem]]:
    """Write labels in the format of another program.

    Parameters
    ----------
    folder : Path or str
        Created if it does not exist.
    label_format : str
        One of `WRITABLE`.
    videos : sequence of Recording
        At least one.
    class_names : sequence of str, length K
        Name of each class.
    unscored : str, optional
        Class whose frames are written as frames without a behaviour.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    paths : list of Path
        The files written.
    problems : list of Problem
        Files that the disk refuses.

    Raises
    ------
    ConfigError
        An unknown format or class, or a file that exists.
    InputError
        Labels that the format cannot hold.
    """
    if label_format not in WRITABLE:
        raise ConfigError(f"format: found {label_format!r}, expected one of {', '.join(WRITABLE)}")
    if unscored is not None and unscored not in class_names:
        raise ConfigError(f"unscored: found {unscored!r}, expected one of {', '.join(class_names)}")
    if label_format == "deepethogram" and "background" in class_names and unscored != "background":
        raise ConfigError(
            "unscored: DeepEthogram calls frames without a behaviour 'background', which is a "
            "class here, too; pass --unscored background"
        )
    problems = []
    for item in videos:
        if label_format == "boris" and item.fps >= MAX_FPS:
            problems.append(
                Problem.of(
                    item.video,
                    "frame-rate",
                    f"has {float(item.fps):g} frames per second, too many for times in "
                    "milliseconds; choose a format that counts frames",
                )
            )
        num_unlabelled = int((item.labels == UNLABELLED).sum())
        if unscored is not None and num_unlabelled and label_format != "deepethogram":
            problems.append(
                Problem.of(
                    item.video,
                    "unlabelled",
                    f"has {num_unlabelled:,} unlabelled frames, which {label_format} cannot "
                    f"distinguish from {unscored}; drop --unscored, or predict without "
                    "--min-confidence",
                )
            )
    if problems:
        raise InputError(problems)
    item_format = FORMATS[label_format]
    files: dict[Path, list[Recording]] = defaultdict(list)
    for item in videos:
        files[Path(folder, item_format.file_name.format(name=item.name))].append(item)
    if not overwrite:
        refuse_existing(folder, [path.name for path in files])
    assert item_format.write is not None
    paths = []
    for path, items in files.items():
        try:
            with contained(path, with_disk=True):
                item_format.write(Path(folder), items, class_names, unscored)
            paths.append(path)
        except InputError as error:
            problems += error.problems
    return paths, problems
