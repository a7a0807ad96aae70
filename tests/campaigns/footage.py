"""Mutated videos: campaign 9."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpar.errors import InputError
from tests.campaigns.cases import Plant, Verdict, judged, nothing, write_bytes
from tests.campaigns.damage import apply_damage, describe, make_damage
from tests.fixtures.helpers import read_frames
from tests.unit.video.reading import make_video

NUM_FRAMES = 40
CODECS = ("libx264", "mpeg4", "mjpeg")
SUFFIXES = ("mp4", "avi", "mkv")


def judge_video(case: tuple[Path, bytes]) -> str:
    """Decode a damaged video: a number of frames that is not that of the sound one is told."""
    path, data = case
    write_bytes(path, data)
    warnings: list[str] = []
    num_frames = 0
    try:
        for frame in read_frames(path, threads=1, warnings=warnings):
            num_frames += 1
            if frame.shape != (64, 96):
                warnings.append("another size shows where labels are laid")
        if num_frames != NUM_FRAMES and not warnings:
            return f"{num_frames} of {NUM_FRAMES} frames, with no word"
    except InputError as error:
        if [problem.path for problem in error.problems] != [path.name]:
            return f"does not name the file: {error}"
    return ""


def mutate_videos(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 9: `size` damaged files of all codecs and containers in turn."""
    sources = []
    for codec in CODECS:
        for suffix in SUFFIXES:
            pix_fmt = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {}
            path = folder / f"{codec}.{suffix}"
            sources.append(make_video(path, num_frames=NUM_FRAMES, codec=codec, **pix_fmt))

    def cases() -> Iterator[tuple[str, tuple]]:
        rng = np.random.default_rng(seed)
        for number in range(size):
            source = sources[number % len(sources)]
            data = source.read_bytes()
            headers = np.concatenate([np.arange(2048), np.arange(len(data) - 2048, len(data))])
            damage = make_damage(rng, len(data), headers.clip(0, len(data) - 1))
            name = f"{source.name} {describe(number, damage)}"
            damaged = folder / f"damaged{source.suffix}"
            yield name, (damaged, apply_damage(data, damage))

    yield from judged(judge_video, cases(), plant=plant, timeout_seconds=60)


def without_warnings() -> None:
    """Say nothing of damage."""
    from mpar.video import videos

    videos.find_loss_warnings = videos.find_time_warnings = lambda *arguments: []
