"""The tables of a study that people edit: classes, animals, stimuli.

Each goes to the page with a digest of its file and comes back with it, so that nobody writes over
what somebody changed meanwhile.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpar.errors import ConfigError, InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.studio.study import Study
from mpar.studio.videos import KEPT, animal_of
from mpar.system.files import atomic_path, write_rows
from mpar.system.tables import read_named_rows

_CLASS_KEYS = "1234567890dehkwty"  # as in mpar/reviewer/page/keys.js
_OF_CLASSES = ("code", "name", "class", "mirror", "response")
_OF_STIMULI = ("Recording", "Event", "Start_s")
_MAX_CELL = 1000
_MAX_LOOKS = 60  # classes that the editor gives keys and colours


class ChangedError(ValueError):
    """A file changed since the page read it."""


def digest_of(path: Path) -> str:
    """Return a digest of the content of a file, "" if there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def _check_unchanged(path: Path, digest: Any) -> None:
    if digest_of(path) != digest:
        raise ChangedError(f"{path.name}: was changed meanwhile; look at it again, then edit it")


def _rows_of(value: Any, columns: Sequence[str]) -> list[list[str]]:
    """Return rows of cells that a page sent, in the order of the columns."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ValueError("expected rows as a list of objects")
    rows = [[str(row.get(column, "")).strip() for column in columns] for row in value]
    if any(len(cell) > _MAX_CELL for row in rows for cell in row):
        raise ValueError(f"found a cell of more than {_MAX_CELL} characters")
    return rows


def read_classes(study: Study) -> dict[str, Any]:
    """Return the codes of a study with their classes, and the keys and colours by their order."""
    from mpar.report.style import class_colors  # matplotlib is slow to load

    path = study.folder / "classes.csv"
    class_map = ClassMap.from_csv(path) if path.is_file() else DEFAULT_CLASS_MAP
    mirrors, num = dict(class_map.mirrors), len(_CLASS_KEYS)
    return {
        "rows": [
            {
                "code": code,
                "name": name,
                "class": merged,
                "mirror": mirrors.get(merged, ""),
                "response": "yes" if merged in class_map.responses else "",
            }
            for code, name, merged in class_map.rows
        ],
        "looks": [
            {"key": "q" * (k // num) + _CLASS_KEYS[k % num], "color": color}
            for k, color in enumerate(class_colors(_MAX_LOOKS))
        ],
        "digest": digest_of(path),
    }


def write_classes(study: Study, body: dict[str, Any]) -> None:
    """Write ``classes.csv``; ConfigError or ValueError if it would not be valid."""
    path = study.folder / "classes.csv"
    _check_unchanged(path, body.get("digest"))
    rows = _rows_of(body.get("rows"), _OF_CLASSES)
    trial = study.folder / KEPT / "classes.csv"
    write_rows(trial, [_OF_CLASSES, *rows], durable=False)
    ClassMap.from_csv(trial)
    write_rows(path, [_OF_CLASSES, *rows])


def read_animals(study: Study, recordings: Sequence[str]) -> dict[str, Any]:
    """Return the table of animals, with a row for each recording, which may not be in it yet.

    Such a row names the animal that the pattern of the study finds.
    """
    pattern = study.options.get("preprocess", {}).get("group-pattern")
    path = study.folder / "animals.csv"
    columns = ["Recording", "Animal", "group"]
    rows: list[dict[str, str]] = []
    if path.is_file():
        columns, rows = _read_table(path)
    known = {row["Recording"].rpartition(".")[0] or row["Recording"] for row in rows}
    known |= {row["Recording"] for row in rows}
    rows += [
        dict.fromkeys(columns, "")
        | {"Recording": name}
        | ({"Animal": animal_of(Path(name), pattern)} if pattern and "Animal" in columns else {})
        for name in recordings
        if name not in known
    ]
    return {"columns": columns, "rows": rows, "digest": digest_of(path)}


def parse_animals(study: Study, content: bytes) -> dict[str, Any]:
    """Return the table of animals in a file that was handed over, to be looked at and saved."""
    columns, rows = _read_table(_kept(study, "animals.csv", content))
    return {"columns": columns, "rows": rows}


def _read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    table = read_named_rows(path, ["Recording", "Animal"], needed=["Recording"])
    if table.problems:
        raise InputError(table.problems)
    return list(table.columns), [row for _, row in table.rows]


def write_animals(study: Study, body: dict[str, Any]) -> None:
    """Write ``animals.csv``; ValueError if columns or recordings are not distinct."""
    path = study.folder / "animals.csv"
    _check_unchanged(path, body.get("digest"))
    columns = body.get("columns")
    if not isinstance(columns, list) or "Recording" not in columns:
        raise ValueError("expected columns with Recording among them")
    columns = [str(name).strip() for name in columns]
    if not all(re.fullmatch(r"[^\x00-\x1f,;\"]{1,60}", name) for name in columns):
        raise ValueError("a column has no name, or one with a comma, a semicolon or a quote in it")
    rows = _rows_of(body.get("rows"), columns)
    for what, values in (
        ("column", [name.lower() for name in columns]),
        ("recording", [row[columns.index("Recording")] for row in rows]),
    ):
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"the {what} {twice[0]!r} occurs twice; rename or remove one")
    write_rows(path, [columns, *rows])


def write_stimuli(study: Study, content: bytes) -> int:
    """Keep a table of stimuli as ``stimuli.csv``; return how many there are.

    ConfigError if there is another one, which is not replaced.
    """
    path = study.folder / "stimuli.csv"
    found = read_named_rows(_kept(study, "stimuli.csv", content), _OF_STIMULI)
    if found.problems:
        raise InputError(found.problems)
    if path.is_file() and path.read_bytes() != content:
        raise ConfigError(f"{path.name}: is there already; move it elsewhere first")
    with atomic_path(path) as new:
        new.write_bytes(content)
    return len(found.rows)


def _kept(study: Study, name: str, content: bytes) -> Path:
    with atomic_path(study.folder / KEPT / name, durable=False) as new:
        new.write_bytes(content)
    return study.folder / KEPT / name
