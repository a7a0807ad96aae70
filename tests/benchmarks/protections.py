"""What mpar's protections cost: the same work with and without them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mpar.cache import staging
from mpar.cache.clips import ClipSampler, labelled_frames
from mpar.cache.store import Store
from mpar.preprocess import PreprocessConfig, preprocess
from tests.benchmarks.inputs import NUM_FRAMES, draw, make_cache, make_folders
from tests.benchmarks.race import OURS, Row, race

NUM_RECORDINGS, NUM_VIDEOS, NUM_BATCHES = 40, 12, 300
SIDES, VIDEO_SIZE = (64, 224), (480, 640)
WITHOUT = "without its protections"


class _NoHash:
    """A checksum that looks at nothing."""

    def update(self, data: bytes) -> None:
        pass

    def intdigest(self) -> int:
        return 0

    reset = intdigest


@contextlib.contextmanager
def unprotected() -> Iterator[None]:
    """Take away checksums, the look for changes of the file, and the wait for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_check_chunks", lambda *arguments: None)
        patch.setattr(Store, "_has_changed", lambda store, file: False)
        patch.setattr(staging.xxhash, "xxh3_64", _NoHash)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def race_without(case: str, action: Callable[[], object], work: int, unit: str) -> list[Row]:
    """Time something with and without protections."""

    def without() -> None:
        with unprotected():
            action()

    return race(case, {OURS: action, WITHOUT: without}, work=work, unit=unit, rounds=9)


def run(folder: Path) -> list[Row]:
    """Race the first epoch, later ones, and preprocessing."""
    rows: list[Row] = []
    for side in SIDES:
        frames, codes = draw(side, side)
        cache = make_cache(folder / f"{side}.h5", [frames] * NUM_RECORDINGS, codes)
        rng = np.random.default_rng(0)
        with Store(cache) as store:
            samples = rng.permutation(labelled_frames(store, range(len(store))))
            sampler = ClipSampler(store, clip_length=16)
            batches = np.array_split(samples[: 32 * NUM_BATCHES], NUM_BATCHES)

            def later_epoch(
                sampler: ClipSampler = sampler, batches: list[np.ndarray] = batches
            ) -> None:
                for batch in batches:
                    sampler.gather(batch)

            case = f"batches of 32 clips, {side}x{side}"
            rows += race_without(case, later_epoch, 32 * NUM_BATCHES, "clips/s")

        def first_epoch(cache: Path = cache, samples: np.ndarray = samples) -> None:
            with Store(cache) as store:
                sampler = ClipSampler(store, clip_length=16)
                for start in range(0, len(samples), 32):
                    sampler.gather(samples[start : start + 32])

        case = f"a first epoch of clips, {side}x{side}"
        rows += race_without(case, first_epoch, len(samples), "clips/s")
        cache.unlink()

    make_folders(folder, NUM_VIDEOS, *VIDEO_SIZE)
    for size in ((128, 128), None):
        cache = folder / "cache.h5"
        config = PreprocessConfig(size=size)

        def make_anew(cache: Path = cache, config: PreprocessConfig = config) -> None:
            cache.unlink(missing_ok=True)
            preprocess(folder / "Videos", folder / "Annotations", cache, config=config, workers=2)

        case = "preprocess " + ("to 128x128" if size else "at full size")
        rows += race_without(case, make_anew, NUM_VIDEOS * NUM_FRAMES, "frames/s")
    return rows
