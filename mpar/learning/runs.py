"""Run folders, one for each training run, their metrics.csv, and plans of several runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from mpar.cache.joined import Caches, as_text
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import Split, read_split, split_store
from mpar.system.files import parse_json, write_json, write_rows

FOLDS_PLAN = "folds.json"
CURVE_PLAN = "learning_curve_plan.json"


def make_run_folder(parent: Path, name: str | None = None, *, prefix: str = "run") -> Path:
    """Create a folder for a run, or return an existing one of this name without a saved run.

    By default its name is ``run_YYYYMMDD_HHMMSS``, with ``_2`` and so on if several runs begin in
    the same second.
    """
    if name is not None:
        folder = parent / name
        if (folder / "last.pt").exists():
            raise ConfigError(f"{folder}: already holds a run; continue it with --resume")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    name = datetime.now().strftime(f"{prefix}_%Y%m%d_%H%M%S")
    for number in range(1, 1000):
        folder = parent / (name if number == 1 else f"{name}_{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise ConfigError(f"{parent}: found 999 runs of this second; choose another --output")


def choose_split(store: Store, config: TrainConfig, split_path: Path | str | None) -> Split:
    """Return the split of a file or, by default, a random one by group."""
    if split_path is not None:
        return read_split(split_path, store)
    return split_store(
        store,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        seed=config.seed,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What several runs have in common.

    Parameters
    ----------
    cache : str or list of str
        The cache to train on, or several.
    access : {"mmap", "pread"}
        How to read it.
    init : str, optional
        Path of the checkpoint to start from.
    config : TrainConfig
        The recipe.
    counts : dict
        Further values, whole numbers by name.
    """

    cache: Caches
    access: str
    init: str | None
    config: TrainConfig
    counts: dict[str, int]


def write_plan(
    path: Path,
    cache_path: Caches,
    *,
    access: str,
    init_path: Path | str | None,
    config: TrainConfig,
    **counts: int,
) -> None:
    """Write the plan of several runs, with absolute paths."""
    write_json(
        path,
        {
            "cache": as_text(cache_path),
            "access": access,
            "init": None if init_path is None else str(Path(init_path).absolute()),
            "training": config.to_dict(),
            **counts,
        },
    )


def read_plan(path: Path, what: str, *needed: str) -> Plan:
    """Read a plan; ConfigError says to start a new `what` if it is damaged or lacks a value."""
    try:
        plan = parse_json(path.read_text(encoding="utf-8"))
        return Plan(
            cache=plan["cache"],
            access=plan["access"],
            init=plan["init"],
            config=TrainConfig.from_dict(plan["training"]),
            counts={name: int(plan[name]) for name in needed},
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); start a new {what}") from None


def _show(key: str, value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}" if key != "Epoch" else str(value)


def by_class(prefix: str, class_names: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    """Return one column per class."""
    return {f"{prefix}_{name}": float(v) for name, v in zip(class_names, values, strict=True)}


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write one row per epoch; a cell is empty if an epoch lacks the column."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    rows = [[_show(key, row[key]) if key in row else "" for key in columns] for row in history]
    write_rows(path, [columns, *rows])


def is_folds(folder: Path | str) -> bool:
    """Return True if a folder is from `begin_folds`, not from a single run."""
    return (Path(folder) / FOLDS_PLAN).is_file()


def is_curve(folder: Path | str) -> bool:
    """Return True if a folder is from `begin_curve`."""
    return (Path(folder) / CURVE_PLAN).is_file()
