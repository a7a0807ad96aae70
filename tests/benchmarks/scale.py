"""From a study of many hours to the first training step: seconds and memory.

The frames of the study are black and take no disk; its labels are as large as real ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
import torch

from mpar.cache.layout import RecordingInfo, hash_bytes, num_chunks
from mpar.cache.writer import NewRecording, write_structure
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.benchmarks.race import OURS, Row, own_memory_mib

HOURS = (10, 100, 1000)
SIDE, FPS, FRAMES_OF_AN_HOUR = 64, 30, 108_000


def run(folder: Path) -> list[Row]:
    """Open a study, split it, plan an epoch and take a step, each size in a process of its own."""
    rows = []
    for hours in HOURS:
        cache = folder / f"{hours}.h5"
        command = [sys.executable, "-m", __name__, str(cache)]
        subprocess.run([*command, str(hours)], check=True)  # its memory is its own, too
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        cache.unlink()
        case = f"{hours:,} hours, to the first step: {found['memory']:.0f} MiB of its own"
        rows.append(Row(case, OURS, found["seconds"], "s"))
        click.echo(rows[-1])
    return rows


def make_study(path: Path, num_hours: int) -> None:
    """Make a cache of recordings of an hour, a tenth of them labelled."""
    codes = np.zeros((1, FRAMES_OF_AN_HOUR), np.int16)
    codes[:, FRAMES_OF_AN_HOUR // 10 :] = -1
    for code, start in ((1, 100), (2, 500), (4, 900), (6, 2000), (7, 5000)):
        codes[:, start : start + 60] = code
    labels = DEFAULT_CLASS_MAP.merge(codes[0])
    black = hash_bytes(np.zeros((16, SIDE, SIDE), np.uint8))
    recordings = [
        NewRecording(
            info=RecordingInfo(
                name=f"r{i}",
                video=f"r{i}.mp4",
                group=f"g{i}",
                fps=Fraction(FPS),
                start_frame=0,
                num_frames=FRAMES_OF_AN_HOUR,
                video_num_frames=FRAMES_OF_AN_HOUR,
                size_bytes=1,
                sha256=f"{i:064x}",
                annotators=("a",),
                warnings=(),
            ),
            labels=labels,
            codes=codes,
            chunk_hashes=np.full(num_chunks(FRAMES_OF_AN_HOUR), black, np.uint64),
        )
        for i in range(num_hours)
    ]
    path.touch()
    write_structure(path, recordings, (SIDE, SIDE), DEFAULT_CLASS_MAP, {"size": [SIDE, SIDE]})


def begin(path: Path) -> dict[str, float]:
    """Return the seconds to the first step, and the memory that the process then holds."""
    from mpar.cache.store import Store
    from mpar.learning.loop import TrainingRun
    from mpar.learning.recipe import named_recipe
    from mpar.learning.runs import choose_split
    from mpar.learning.splits import check_learnable, check_split

    config = named_recipe("mpar", model_type="light")
    before, started = own_memory_mib(), time.perf_counter()
    with Store(path) as store:
        split = choose_split(store, config, None)
        check_learnable(store, split, config)
        check_split(split, store)
        run_ = TrainingRun(path.parent, store, split, config, torch.device("cpu"))
        samples = run_._samples(0)
        run_.learner.take_step(samples[: config.batch_size], epoch=0, step=0, rate=1e-3)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "memory": own_memory_mib() - before}


if __name__ == "__main__":
    if len(sys.argv) > 2:
        make_study(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        click.echo(json.dumps(begin(Path(sys.argv[1]))))
