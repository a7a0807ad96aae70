"""Worker processes of a DataLoader get the clips they asked for, however they were started."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mpar.cache.clips import MouseActionDataset, clip_frames
from mpar.cache.layout import hash_chunks
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.system import positioned
from tests.fixtures.helpers import INFO

NUM_RECORDINGS, NUM_FRAMES, LENGTH = 40, 60, 8
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]
needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
)
NUM_CLASSES = len(DEFAULT_CLASS_MAP.class_names)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Write recordings whose every pixel is the recording's number or the frame's."""
    recordings = []
    for i in range(NUM_RECORDINGS):
        frames = np.full((NUM_FRAMES, 16, 16), i, np.uint8)
        frames[:, :, 8:] = np.arange(NUM_FRAMES)[:, None, None]
        recordings.append(
            NewRecording(
                info=replace(INFO, name=f"r{i}", num_frames=NUM_FRAMES),
                frames=frames,
                labels=((np.arange(NUM_FRAMES) + i) % NUM_CLASSES).astype(np.int8),
                codes=np.full((1, NUM_FRAMES), -1, np.int16),
                chunk_hashes=hash_chunks(frames),
            )
        )
    path = tmp_path_factory.mktemp("workers") / "cache.h5"
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config={})
    return path


def count_wrong_clips(dataset, *, num_workers, start_method):
    """Load every clip once, in random order; count those that differ from what was asked for."""
    order = np.random.default_rng(0).permutation(len(dataset))
    loader = DataLoader(
        dataset,
        batch_size=32,
        sampler=order.tolist(),
        num_workers=num_workers,
        multiprocessing_context=start_method,
    )
    num_wrong = done = 0
    for clips, labels in loader:
        pixels = (clips[:, 0] * 255).round().to(torch.uint8).numpy()
        for pixels_LHW, label in zip(pixels, labels.tolist(), strict=True):
            recording, frame = dataset.samples[order[done]].tolist()
            indices = clip_frames(frame, clip_length=LENGTH, num_frames=NUM_FRAMES)
            is_right = (
                (pixels_LHW[:, :, :8] == recording).all()
                and (pixels_LHW[:, :, 8:] == indices[:, None, None]).all()
                and label == (frame + recording) % NUM_CLASSES
            )
            num_wrong += not is_right
            done += 1
    assert done == NUM_RECORDINGS * NUM_FRAMES
    return num_wrong


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_forked_workers_get_the_clips_they_asked_for(cache, access, is_warm):
    """Forked workers share the open file: its position would be everyone's."""
    with Store(cache, access=access) as store:
        if is_warm:
            for recording in range(len(store)):
                store.frames(recording)
        dataset = MouseActionDataset(store, clip_length=LENGTH)
        assert count_wrong_clips(dataset, num_workers=4, start_method="fork") == 0


@needs_fork
def test_forked_workers_need_no_positioned_reads(cache, monkeypatch):
    """A system without them opens the file once more in each process."""
    monkeypatch.setattr(positioned, "_HAS_PREADV", False)
    monkeypatch.setattr(positioned, "_HAS_PREAD", False)
    with Store(cache, access="pread") as store:
        store.frames(0)
        dataset = MouseActionDataset(store, clip_length=LENGTH)
        assert count_wrong_clips(dataset, num_workers=4, start_method="fork") == 0


@pytest.mark.slow
@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_spawned_workers_get_the_clips_they_asked_for(cache, access):
    """Spawned workers open the cache by its path, and check it themselves."""
    with Store(cache, access=access) as store:
        dataset = MouseActionDataset(store, clip_length=LENGTH)
        assert count_wrong_clips(dataset, num_workers=2, start_method="spawn") == 0
