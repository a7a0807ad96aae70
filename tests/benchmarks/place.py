"""Preprocessing of videos as they are, cut into four regions, and at another frame rate."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

from mpar.matching.regions import read_regions
from mpar.preprocess import PreprocessConfig, preprocess
from tests.benchmarks.inputs import NUM_FRAMES, make_folders
from tests.benchmarks.race import OURS, Row, race
from tests.benchmarks.store import WORKERS, decode_all

NUM_VIDEOS, VIDEO_SIZE = 8, (480, 640)
CHAMBERS = "ABCD"


def run(folder: Path) -> list[Row]:
    """Race the same videos, plain, cut and resampled, with decoding alone."""
    height, width = VIDEO_SIZE
    make_folders(folder, NUM_VIDEOS, height, width)
    videos, annotations, by_animal = folder / "Videos", folder / "Annotations", folder / "ByAnimal"
    by_animal.mkdir()
    for path in annotations.iterdir():
        for animal in CHAMBERS:
            shutil.copy(path, by_animal / f"{path.stem}__{animal}.csv")
    table = folder / "regions.csv"
    half_width, half_height = width // 2, height // 2
    rows = [
        f"*,{animal},{i % 2 * half_width},{i // 2 * half_height},{half_width},{half_height}"
        for i, animal in enumerate(CHAMBERS)
    ]
    table.write_text("\n".join(["Video,Animal,X,Y,Width,Height", *rows]) + "\n", encoding="utf-8")
    seen = (96, 96)
    ways = {
        OURS: (annotations, PreprocessConfig(size=seen)),
        "the same, four regions": (
            by_animal,
            PreprocessConfig(size=seen, regions=read_regions(table)),
        ),
        "the same, in 25 steps a second": (
            annotations,
            PreprocessConfig(size=seen, rate=Fraction(25)),
        ),
    }

    def make(labels: Path, config: PreprocessConfig) -> None:
        cache = folder / "cache.h5"
        cache.unlink(missing_ok=True)
        report = preprocess(videos, labels, cache, config=config, workers=WORKERS)
        assert (report.num_decoded, report.problems) == (NUM_VIDEOS, ())

    contestants = {name: lambda way=way: make(*way) for name, way in ways.items()}
    return race(
        f"preprocess {NUM_VIDEOS} videos to 96x96",
        contestants | {"PyAV, decoding alone": lambda: decode_all(videos)},
        work=NUM_VIDEOS * NUM_FRAMES,
        unit="frames/s",
        targets={"PyAV, decoding alone": 0.7},
        rounds=5,
        warm_up=False,
    )
