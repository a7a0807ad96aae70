"""Gathering batches of clips, against raw memory, other stores and decoding on the fly."""

from __future__ import annotations

import gc
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import click
import cv2
import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader

from mpar.cache.clips import ClipSampler, MouseActionDataset, labelled_frames
from mpar.cache.layout import CHUNK_FRAMES
from mpar.cache.store import Store
from tests.benchmarks.inputs import ENCODER, NUM_FRAMES, draw, make_cache
from tests.benchmarks.race import OURS, Row, own_memory_mib, race
from tests.fixtures.synthetic import write_video

CLIP_LENGTH, BATCH_SIZE = 16, 32
SIZES = ((64, 64, 24), (128, 128, 24), (480, 640, 6))  # height, width, recordings
NUM_BATCHES, NUM_GROWN, FACTORS = 40, 24, (1, 10, 100)
Gather = Callable[[np.ndarray], object]


def run(folder: Path) -> list[Row]:
    """Race at three frame sizes, then the loaders, then ever larger caches."""
    rows: list[Row] = []
    for height, width, num_recordings in SIZES:
        frames, codes = draw(height, width)
        place = folder / f"{width}x{height}"
        place.mkdir()
        video = place / "video.mp4"
        write_video(video, frames, options=ENCODER)
        # every recording is the same mouse, so that decoding needs one file only
        cache = make_cache(place / "cache.h5", [frames] * num_recordings, codes)
        with Store(cache) as store:
            rows += _race_stores(f"clips {width}x{height}", store, place, video)
            if width < 640:
                rows += _race_loaders(f"loader {width}x{height}", store)
    return rows + _grow(folder)


def _draw_batches(store: Store, num_batches: int) -> list[np.ndarray]:
    """Draw batches of (recording, first frame) whose clips lie within their recordings."""
    rng = np.random.default_rng(0)
    shape = num_batches, BATCH_SIZE
    recordings = rng.integers(len(store), size=shape)
    starts = rng.integers(NUM_FRAMES - CLIP_LENGTH + 1, size=shape)
    return list(np.stack([recordings, starts], axis=-1))


def _race_stores(case: str, store: Store, folder: Path, video: Path) -> list[Row]:
    frames = np.concatenate([store.frames(i) for i in range(len(store))])
    # the first pass over every frame includes the check of its checksum, as in training
    sampler = ClipSampler(store, clip_length=CLIP_LENGTH)
    quick: dict[str, Gather] = {
        OURS: lambda batch: sampler.gather(batch + np.array([0, CLIP_LENGTH // 2])),
        "array in memory": _slicer(frames),
        "npy memmap": _slicer(_npy(folder, frames)),
        "h5py slicing": _h5py_slicer(store.path),
    }
    middling = {OURS: quick[OURS]}
    slow: dict[str, Gather] = {
        OURS: quick[OURS],
        "decoding on the fly (cv2 seek)": lambda batch: _decode_cv2(video, batch),
    }
    if importlib.util.find_spec("hdf5plugin"):
        middling["HDF5 with Blosc"] = _slicer(_blosc(folder, frames))
    if importlib.util.find_spec("zarr"):
        middling["zarr"] = _slicer(_zarr(folder, frames))
    if importlib.util.find_spec("torchcodec"):
        slow["decoding on the fly (torchcodec)"] = lambda batch: _decode_torchcodec(video, batch)
    batches = _draw_batches(store, NUM_BATCHES)
    targets = {
        "npy memmap": 0.9,
        "h5py slicing": 3,
        "decoding on the fly (cv2 seek)": 100,
        "decoding on the fly (torchcodec)": 100,
    }
    expected = quick["array in memory"](batches[0]).copy()  # type: ignore[attr-defined]
    for name in (OURS, "npy memmap", "h5py slicing"):
        assert np.array_equal(_as_array(quick[name](batches[0])), expected), name
    rows = []
    for group, count in ((quick, NUM_BATCHES), (middling, NUM_BATCHES // 4), (slow, 1)):
        rows += race(
            case,
            {
                name: lambda g=gather, n=count: _gather_all(g, batches[:n])  # type: ignore[misc]
                for name, gather in group.items()
            },
            work=count * BATCH_SIZE,
            unit="clips/s",
            targets=targets,
            rounds=9 if group is quick else 3,
        )
    return [row for i, row in enumerate(rows) if i == 0 or row.contestant != OURS]


def _gather_all(gather: Gather, batches: list[np.ndarray]) -> None:
    for batch in batches:
        gather(batch)


def _as_array(result: object) -> np.ndarray:
    windows = result[0].numpy()[:, 0] if isinstance(result, tuple) else result
    assert isinstance(windows, np.ndarray)
    return windows


def _slicer(frames: object) -> Gather:
    """Copy clips out of anything that can be sliced, all recordings end to end, into one array."""
    out = np.empty((BATCH_SIZE, CLIP_LENGTH, *frames.shape[1:]), np.uint8)  # type: ignore[attr-defined]

    def gather(batch: np.ndarray) -> np.ndarray:
        for i, (recording, start) in enumerate(batch.tolist()):
            first = recording * NUM_FRAMES + start
            out[i] = frames[first : first + CLIP_LENGTH]  # type: ignore[index]
        return out

    return gather


def _npy(folder: Path, frames: np.ndarray) -> np.ndarray:
    np.save(folder / "frames.npy", frames)
    return np.load(folder / "frames.npy", mmap_mode="r")


def _h5py_slicer(path: Path) -> Gather:
    file = h5py.File(path, "r")
    groups = list(file["recordings"].values())
    shape = groups[0]["frames"].shape[1:]
    datasets = [group["frames"] for group in groups]
    out = np.empty((BATCH_SIZE, CLIP_LENGTH, *shape), np.uint8)

    def gather(batch: np.ndarray) -> np.ndarray:
        for i, (recording, start) in enumerate(batch.tolist()):
            datasets[recording].read_direct(out[i], np.s_[start : start + CLIP_LENGTH])
        return out

    return gather


def _blosc(folder: Path, frames: np.ndarray) -> h5py.Dataset:
    import hdf5plugin

    with h5py.File(folder / "blosc.h5", "w") as file:
        chunks = (CHUNK_FRAMES, *frames.shape[1:])
        compression = hdf5plugin.Blosc(cname="lz4")
        file.create_dataset("frames", data=frames, chunks=chunks, **compression)
    return h5py.File(folder / "blosc.h5", "r")["frames"]


def _zarr(folder: Path, frames: np.ndarray) -> object:
    import zarr

    path, chunks = folder / "frames.zarr", (CHUNK_FRAMES, *frames.shape[1:])
    array = zarr.create_array(str(path), shape=frames.shape, chunks=chunks, dtype="uint8")
    array[:] = frames
    return zarr.open_array(str(path), mode="r")


def _decode_cv2(video: Path, batch: np.ndarray) -> None:
    for _, start in batch.tolist():
        capture = cv2.VideoCapture(str(video))
        capture.set(cv2.CAP_PROP_POS_FRAMES, start)
        for _ in range(CLIP_LENGTH):
            cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY)


def _decode_torchcodec(video: Path, batch: np.ndarray) -> None:
    from torchcodec.decoders import VideoDecoder

    for _, start in batch.tolist():
        VideoDecoder(str(video)).get_frames_in_range(start, start + CLIP_LENGTH)


def _race_loaders(case: str, store: Store) -> list[Row]:
    """Race what training uses against DataLoader over the data set for other people's loops."""
    sampler = ClipSampler(store, clip_length=CLIP_LENGTH)
    samples = labelled_frames(store, range(len(store)))
    samples = np.random.default_rng(0).permutation(samples)[: 60 * BATCH_SIZE]
    samples = samples[: len(samples) // BATCH_SIZE * BATCH_SIZE]  # whole batches only
    reused = torch.empty((BATCH_SIZE, 1, CLIP_LENGTH, *store.frame_size))

    def gather() -> None:
        for start in range(0, len(samples), BATCH_SIZE):
            windows, _ = sampler.gather(samples[start : start + BATCH_SIZE])
            reused.copy_(windows).mul_(1 / 255)

    dataset = MouseActionDataset(store, clip_length=CLIP_LENGTH)
    chosen = torch.utils.data.Subset(dataset, range(len(samples)))

    def load(num_workers: int) -> None:
        for _ in DataLoader(chosen, batch_size=BATCH_SIZE, shuffle=True, num_workers=num_workers):
            pass

    return race(
        f"{case}, to float",
        {
            OURS: gather,
            "DataLoader, 0 workers": lambda: load(0),
            "DataLoader, 2 workers": lambda: load(2),
        },
        work=len(samples),
        unit="clips/s",
        rounds=5,
    )


def _grow(folder: Path) -> list[Row]:
    """Gather from 1, 10 and 100 times the data; say what the process holds of its own."""
    rows = []
    frames, codes = draw(64, 64)
    for factor in FACTORS:
        cache = make_cache(folder / "grown.h5", [frames] * (NUM_GROWN * factor), codes)
        with Store(cache) as store:
            sampler = ClipSampler(store, clip_length=CLIP_LENGTH)
            batches = _draw_batches(store, 10 * NUM_BATCHES)
            for recording in range(len(store)):
                store.frames(recording)  # first touch: read and checked
            gc.collect()
            started = time.perf_counter()
            for batch in batches:
                sampler.gather(batch)
            seconds = time.perf_counter() - started
            case = f"clips 64x64 of {len(store) * NUM_FRAMES:,} frames"
        rows.append(
            Row(
                f"{case}, {own_memory_mib():.0f} MiB",
                OURS,
                len(batches) * BATCH_SIZE / seconds,
                "clips/s",
            )
        )
        click.echo(rows[-1])
    return rows
