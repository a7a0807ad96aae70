"""Run the benchmarks and print their table."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import click
import torch

GROUPS = (
    *("decode", "store", "place", "protections", "clips", "dense", "train", "neighbours"),
    *("scale", "start", "review", "gpu"),
)


def describe_machine() -> dict[str, str]:
    """Name the machine and the versions that matter."""
    memory = ""
    if hasattr(os, "sysconf"):
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    names = ("torch", "av", "opencv-python-headless", "h5py", "numpy")
    return {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{memory}",
        "python": platform.python_version(),
    } | {name: version(name) for name in names}


@click.command()
@click.option("--only", type=click.Choice(GROUPS), multiple=True, help="One group; repeatable.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write a file.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where inputs go (10 GB for all).")
def main(only: tuple[str, ...], json_path: Path | None, folder: Path | None) -> None:
    """Time mpar beside its limits and its peers; a ratio says how many times as fast mpar is.

    Leave the machine alone meanwhile.
    """
    machine = describe_machine()
    click.echo("; ".join(f"{key} {value}" for key, value in machine.items()))
    rows = []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    without_gpu = () if torch.cuda.is_available() else ("gpu",)
    for group in only or [name for name in GROUPS if name not in without_gpu]:
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as name:
            rows += importlib.import_module(f"tests.benchmarks.{group}").run(Path(name))
    if json_path is not None:
        data = {"machine": machine, "rows": [dataclasses.asdict(row) for row in rows]}
        json_path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
