"""Preprocessing, growing a cache, opening a large one and reading a cold one."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import click
import numpy as np

from mpar.cache.clips import ClipSampler, labelled_frames
from mpar.cache.index import read_index
from mpar.cache.store import Store
from mpar.preprocess import PreprocessConfig, preprocess
from tests.benchmarks.inputs import NUM_FRAMES, draw, make_cache, make_folders
from tests.benchmarks.race import OURS, Row, race

NUM_VIDEOS, WORKERS, VIDEO_SIZE = 24, 2, (480, 640)
NUM_OPENED = (100, 1_000, 10_000)


def run(folder: Path) -> list[Row]:
    """Race preprocessing against decoding, then measure growth and cold reading."""
    make_folders(folder, NUM_VIDEOS, *VIDEO_SIZE)
    videos, annotations = folder / "Videos", folder / "Annotations"
    rows: list[Row] = []
    for size in (None, (128, 128)):
        config = PreprocessConfig(size=size)
        cache = folder / "cache.h5"

        def make_anew(config: PreprocessConfig = config, cache: Path = cache) -> None:
            cache.unlink(missing_ok=True)
            preprocess(videos, annotations, cache, config=config, workers=WORKERS)

        rows += race(
            f"preprocess {NUM_VIDEOS} videos " + ("to 128x128" if size else "at full size"),
            {OURS: make_anew, "PyAV, decoding alone": lambda: decode_all(videos)},
            work=NUM_VIDEOS * NUM_FRAMES,
            unit="frames/s",
            targets={"PyAV, decoding alone": 0.85 if size else 0.7},
            rounds=3,
            warm_up=False,
        )
        rows += _add_one(folder, cache, config)
        if size is None:
            rows += _read_cold(cache)
    return rows + _open_large(folder)


def decode_all(videos: Path) -> None:
    """Decode all videos of a folder, as many side by side as mpar does."""

    def decode(path: Path) -> int:
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            return sum(1 for _ in container.decode(video=0))

    with ThreadPoolExecutor(WORKERS) as pool:
        assert set(pool.map(decode, sorted(videos.iterdir()))) == {NUM_FRAMES}


def _add_one(folder: Path, cache: Path, config: PreprocessConfig) -> list[Row]:
    """Add a video to a cache of 23, against copying the cache to the disk."""
    hidden = folder / "mouse00.mp4"
    shown = folder / "Videos" / "mouse00.mp4"
    shown.rename(hidden)
    smaller = folder / "smaller.h5"
    preprocess(shown.parent, folder / "Annotations", smaller, config=config)
    hidden.rename(shown)
    other = folder / "other.h5"

    seconds: dict[str, list[float]] = {"add": [], "copy": []}

    def add() -> None:
        shutil.copyfile(smaller, other)
        os.sync()
        started = time.perf_counter()
        report = preprocess(shown.parent, folder / "Annotations", other, config=config)
        seconds["add"].append(time.perf_counter() - started)
        assert report.num_decoded == 1

    def copy() -> None:
        started = time.perf_counter()
        with cache.open("rb") as source, other.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        seconds["copy"].append(time.perf_counter() - started)

    for _ in range(3):
        add()
        copy()
    add_s, copy_s = (statistics.median(seconds[name]) for name in ("add", "copy"))
    case = f"add 1 video to {NUM_VIDEOS - 1}, {'x'.join(map(str, config.size or VIDEO_SIZE))}"
    rows = [
        Row(case, OURS, 1 / add_s, "times/s"),
        Row(case, "copying the cache, with fsync", 1 / copy_s, "times/s", copy_s / add_s),
    ]
    for row in rows:
        click.echo(row)
    smaller.unlink()
    other.unlink()
    return rows


def _drop_from_page_cache(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def _read_cold(cache: Path) -> list[Row]:
    """Read a cache that is not in memory: through, and as clips in three orders."""
    if not hasattr(os, "posix_fadvise"):
        return []

    def dd() -> None:
        _drop_from_page_cache(cache)
        subprocess.run(
            ["dd", f"if={cache}", "of=/dev/null", "bs=1M"], check=True, capture_output=True
        )

    def read_through() -> None:
        _drop_from_page_cache(cache)
        with Store(cache) as store:
            for recording in range(len(store)):
                store.frames(recording)

    num_bytes = cache.stat().st_size
    rows = race(
        "cold cache, through",
        {OURS: read_through, "dd": dd},
        work=num_bytes / 1e6,
        unit="MB/s",
        targets={"dd": 0.8},
        warm_up=False,
    )

    def read_clips(order: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> None:
        _drop_from_page_cache(cache)
        with Store(cache) as store:
            samples = order(labelled_frames(store, range(len(store))), np.random.default_rng(0))
            sampler = ClipSampler(store, clip_length=16)
            # every frame is in one clip of this thinned epoch
            for start in range(0, len(samples), 32):
                sampler.gather(samples[start : start + 32])

    return rows + race(
        "cold cache, an epoch of clips",
        {
            OURS: lambda: read_clips(lambda samples, rng: rng.permutation(samples[8::16])),
            "shuffled within 1000 frames": lambda: read_clips(_shuffle_locally),
            "in order": lambda: read_clips(lambda samples, rng: samples[8::16]),
        },
        work=NUM_VIDEOS * NUM_FRAMES // 16,
        unit="clips/s",
        warm_up=False,
        rounds=3,
    )


def _shuffle_locally(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    blocks = np.array_split(samples[8::16], max(1, len(samples) // 1000))
    return np.concatenate([rng.permutation(block) for block in blocks])


def _open_large(folder: Path) -> list[Row]:
    """Open caches of ever more recordings; say what the index weighs."""
    rows = []
    frames = draw(32, 32, 16)[0]
    for number in NUM_OPENED:
        cache = make_cache(folder / f"{number}.h5", [frames] * number)
        times = []
        for _ in range(5):
            started = time.perf_counter()
            with Store(cache) as store:
                times.append(time.perf_counter() - started)
                index_mb = read_index(store.path, store.path.stat()).num_bytes / 1e6
        case = f"open {number} recordings, index {index_mb:.1f} MB"
        rows.append(Row(case, OURS, 1 / statistics.median(times), "times/s"))
        click.echo(rows[-1])
    return rows
