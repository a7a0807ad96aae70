"""Run folders, one for each training run."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

from mpar.errors import ConfigError


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
