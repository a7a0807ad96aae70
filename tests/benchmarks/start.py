"""How long a command takes to say its options."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.benchmarks.race import OURS, Row, race

COMMANDS = ("preprocess", "train", "predict", "evaluate", "info")


def run(folder: Path) -> list[Row]:
    """Race every ``--help`` against importing click."""

    def start(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=folder)

    rows: list[Row] = []
    for command in COMMANDS:
        rows += race(
            f"mpar-{command} --help",
            {
                OURS: partial(start, "-m", f"mpar_cli.{command}", "--help"),
                "python -c 'import click'": lambda: start("-c", "import click"),
            },
            work=1,
            unit="times/s",
            targets={"python -c 'import click'": 1 / 3},
            rounds=9,
        )
    return rows
