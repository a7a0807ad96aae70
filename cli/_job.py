"""Run a job of a study: ``python -m mpar_cli._job Study/jobs/0001.json``."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path

from mpar.studio.jobs import run_job


def run(command: str, arguments: list[str]) -> int:
    """Run a command in this process; return its exit code."""
    module = importlib.import_module(f"mpar_cli.{command}")
    try:
        module.main([*arguments, "--progress", "json"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    if hasattr(signal, "SIGBREAK"):  # how Windows interrupts a process group
        signal.signal(signal.SIGBREAK, signal.default_int_handler)
    # a process in the background may have been started with interrupts ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run_job(Path(sys.argv[1]), run))
