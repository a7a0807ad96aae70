"""Inputs of the benchmarks, made from cartoon mice."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.cache.layout import RecordingInfo, hash_chunks
from mpar.cache.writer import NewRecording, write_store
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.fixtures.synthetic import draw_recording, write_annotation, write_video

NUM_FRAMES = 360
# about 1 Mbit/s at 640x480, as lab cameras write; a leaner stream is quicker to decode
ENCODER = {"crf": "20", "preset": "medium"}


def draw(height: int, width: int, num_frames: int = NUM_FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Draw a recording: (T, H, W) uint8 frames and (T,) codes."""
    return draw_recording(seed=7, num_frames=num_frames, height=height, width=width)


def make_video(path: Path, height: int, width: int) -> Path:
    """Write an H.264 video of a mouse."""
    write_video(path, draw(height, width)[0], options=ENCODER)
    return path


def make_folders(folder: Path, num_videos: int, height: int, width: int) -> None:
    """Fill ``Videos`` and ``Annotations`` with different videos of one mouse."""
    frames, codes = draw(height, width)
    options = ENCODER | {"preset": "veryfast"}
    for number in range(num_videos):
        shift = number * len(frames) // num_videos
        turned = frames[:, ::-1] if number % 2 else frames
        name = f"mouse{number:02d}"
        (folder / "Videos").mkdir(parents=True, exist_ok=True)
        (folder / "Annotations").mkdir(exist_ok=True)
        write_video(
            folder / "Videos" / f"{name}.mp4",
            np.roll(turned, shift, axis=0),
            options=options,
        )
        write_annotation(folder / "Annotations" / f"{name}.csv", np.roll(codes, shift))


def make_cache(path: Path, frames: Sequence[np.ndarray], codes: np.ndarray | None = None) -> Path:
    """Write a cache of (T, H, W) frames; without `codes` (T,) all is rest."""
    recordings = []
    hashes = hash_chunks(frames[0])
    for number, stretch in enumerate(frames):
        raw = np.zeros(len(stretch), np.int16) if codes is None else codes
        info = RecordingInfo(
            name=f"mouse{number:05d}",
            video=f"mouse{number:05d}.mp4",
            group=f"animal{number:05d}",
            fps=Fraction(30),
            start_frame=0,
            num_frames=len(stretch),
            video_num_frames=len(stretch),
            size_bytes=1,
            sha256=f"{number:064x}",
            annotators=("A",),
            warnings=(),
        )
        labels = DEFAULT_CLASS_MAP.merge(raw)
        if stretch is not frames[0]:  # mostly it is the same array again and again
            hashes = hash_chunks(stretch)
        recordings.append(
            NewRecording(
                info=info,
                frames=stretch,
                labels=labels,
                codes=raw[None],
                chunk_hashes=hashes,
            )
        )
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config={"size": None})
    return path
