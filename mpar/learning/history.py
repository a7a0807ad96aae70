"""Write metrics.csv, one row per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpar.system.files import write_rows


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
