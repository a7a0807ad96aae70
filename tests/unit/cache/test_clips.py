"""A clip is the same frames everywhere, and a window is the union of its clips."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mpar.cache.clip_lengths import check_clip_length
from mpar.cache.clips import (
    ClipSampler,
    MouseActionDataset,
    clip_frames,
    copy_window,
    labelled_frames,
    tile_windows,
)
from mpar.cache.layout import hash_chunks
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.fixtures.helpers import INFO

LENGTHS = (1, 5, 16, 17, 50)


def labels_of(recording):
    """Labels with gaps; the last recording but one has none at all."""
    num_frames = LENGTHS[recording]
    if recording == 3:
        return np.full(num_frames, -1, np.int8)
    return np.random.default_rng(recording).integers(-1, 6, num_frames).astype(np.int8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Write a cache whose pixels are 60 x recording + frame, plus one in the lower right."""
    recordings = []
    for i, num_frames in enumerate(LENGTHS):
        values = (60 * i + np.arange(num_frames) - 60 * (i > 3)).astype(np.uint8)
        frames = np.repeat(values, 6).reshape(num_frames, 2, 3)
        frames[:, 1, 2] += 1
        recordings.append(
            NewRecording(
                info=replace(INFO, name=f"r{i}", num_frames=num_frames),
                frames=frames,
                labels=labels_of(i),
                codes=np.full((1, num_frames), -1, np.int16),
                chunk_hashes=hash_chunks(frames),
            )
        )
    path = tmp_path_factory.mktemp("clips") / "cache.h5"
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config={})
    return path


@pytest.fixture(scope="module", params=["mmap", "pread"])
def store(path, request):
    with Store(path, access=request.param) as store:
        yield store


def window_frames(start, *, clip_length, window, num_frames):
    """Indices of a window, from the clips of its frames and nothing else."""
    clips = [
        clip_frames(frame, clip_length=clip_length, num_frames=num_frames)
        for frame in range(start, start + window)
    ]
    return [*clips[0].tolist(), *(int(clip[-1]) for clip in clips[1:])]


@pytest.mark.parametrize(
    ("frame", "clip_length", "num_frames", "expected"),
    [
        pytest.param(0, 8, 10, [0, 0, 0, 0, 0, 1, 2, 3], id="first frame"),
        pytest.param(5, 8, 10, [1, 2, 3, 4, 5, 6, 7, 8], id="middle"),
        pytest.param(9, 8, 10, [5, 6, 7, 8, 9, 9, 9, 9], id="last frame"),
        pytest.param(1, 8, 3, [0, 0, 0, 0, 1, 2, 2, 2], id="shorter than the clip"),
        pytest.param(0, 8, 1, [0] * 8, id="one frame"),
        pytest.param(0, 16, 40, [0] * 8 + [0, 1, 2, 3, 4, 5, 6, 7], id="16, first frame"),
        pytest.param(20, 16, 40, list(range(12, 28)), id="16, middle"),
        pytest.param(39, 16, 40, list(range(31, 39)) + [39] * 8, id="16, last frame"),
    ],
)
def test_clip_frames(frame, clip_length, num_frames, expected):
    """Half of the clip lies before its frame, and the edge frames repeat past the edges."""
    indices = clip_frames(frame, clip_length=clip_length, num_frames=num_frames)
    assert indices.tolist() == expected
    assert indices.dtype == np.int64


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    recording=st.integers(0, 4),
    start=st.integers(-60, 80),
    clip_length=st.sampled_from([8, 16, 24]),
    window=st.sampled_from([1, 4, 16]),
)
def test_gather_copies_the_frames_of_the_clips(store, recording, start, clip_length, window):
    """Windows hold frames and labels of their clips, also wholly beyond the edges."""
    num_frames = LENGTHS[recording]
    sampler = ClipSampler(store, clip_length=clip_length, window=window)
    frames, labels = sampler.gather(np.array([[recording, start]]))
    indices = window_frames(start, clip_length=clip_length, window=window, num_frames=num_frames)
    assert frames.shape == (1, 1, clip_length + window - 1, 2, 3)
    assert (frames.dtype, labels.dtype) == (torch.uint8, torch.int64)
    np.testing.assert_array_equal(frames[0, 0].numpy(), store.frames(recording)[indices])
    known = labels_of(recording)
    expected = [known[t] if 0 <= t < num_frames else -1 for t in range(start, start + window)]
    assert labels.tolist() == [expected]


def test_copy_window_by_hand(store):
    """The frames themselves are right, across the border between two chunks and past the end."""
    out = np.empty((6, 2, 3), np.uint8)
    copy_window(store, 4, 13, out)
    assert out[:, 0, 0].tolist() == [193, 194, 195, 196, 197, 198]
    assert out[:, 1, 2].tolist() == [194, 195, 196, 197, 198, 199]
    copy_window(store, 4, 47, out)
    assert out[:, 0, 0].tolist() == [227, 228, 229, 229, 229, 229]
    copy_window(store, 1, -2, out)
    assert out[:, 0, 0].tolist() == [60, 60, 60, 61, 62, 63]
    copy_window(store, 0, 5, out)
    assert out[:, 0, 0].tolist() == [0] * 6


def test_gather_keeps_the_order_of_the_samples(store):
    """Row i of a batch is sample i, whatever the recordings and however often."""
    sampler = ClipSampler(store, clip_length=8, window=2)
    samples = np.array([[4, 20], [1, 0], [4, 20], [0, 0], [2, 15]])
    frames, labels = sampler.gather(samples)
    assert frames[:, 0, 4, 0, 0].tolist() == [200, 60, 200, 0, 135]  # the frame to be named
    expected = [labels_of(r)[t : t + 2].tolist() for r, t in samples.tolist()]
    assert labels.tolist() == [[*row, -1][:2] for row in expected]


@pytest.mark.parametrize("ring", [1, 2, 3])
def test_a_batch_stays_valid_for_a_turn_of_the_ring(store, ring):
    """A batch outlives `ring` - 1 further calls and is overwritten by the next."""
    sampler = ClipSampler(store, clip_length=8, ring=ring)
    batches, copies = [], []
    for frame in range(2 * ring):
        batches.append(sampler.gather(np.array([[4, frame], [4, frame + 1]]))[0])
        copies.append(batches[-1].clone())
        for age in range(min(ring, frame + 1)):
            assert torch.equal(batches[-1 - age], copies[-1 - age])
    assert torch.equal(batches[0], batches[ring])
    assert batches[0].data_ptr() == batches[ring].data_ptr()
    smaller = sampler.gather(np.array([[4, 30]]))[0]
    assert smaller.data_ptr() == batches[0].data_ptr()
    assert smaller.shape == (1, 1, 8, 2, 3)


def test_an_empty_batch_has_a_shape(store):
    """No samples give no windows, of the usual shape."""
    frames, labels = ClipSampler(store, clip_length=8, window=3).gather(np.empty((0, 2), int))
    assert (frames.shape, labels.shape) == ((0, 1, 10, 2, 3), (0, 3))


def test_labelled_frames_by_hand(store):
    """Every labelled frame of the recordings asked for is listed once, in order."""
    found = labelled_frames(store, [4, 3, 1])
    expected = [[r, t] for r in (4, 3, 1) for t in range(LENGTHS[r]) if labels_of(r)[t] >= 0]
    assert found.tolist() == expected
    assert found.dtype == np.int64
    assert labelled_frames(store, []).shape == (0, 2)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    recordings=st.lists(st.integers(0, 4), unique=True, max_size=3),
    window=st.integers(1, 20),
    data=st.data(),
)
def test_tiles_cover_each_labelled_frame_once(store, recordings, window, data):
    """Whatever the offset, no label is left out or learnt twice, and no window is empty."""
    offset = data.draw(st.integers(0, window - 1))
    tiles = tile_windows(store, recordings, window=window, offset=offset)
    assert (tiles.shape, tiles.dtype) == ((len(tiles), 2), np.int64)
    covered = []
    for recording, start in tiles.tolist():
        assert (start + offset) % window == 0
        labels = labels_of(recording)
        inside = range(max(start, 0), min(start + window, len(labels)))
        labelled = [[recording, t] for t in inside if labels[t] >= 0]
        assert labelled
        covered += labelled
    assert covered == labelled_frames(store, recordings).tolist()


@pytest.mark.parametrize(("window", "offset"), [(0, 0), (4, -1), (4, 4)])
def test_tiles_refuse_an_offset_that_leaves_frames_out(store, window, offset):
    """A negative offset would lose the first labels."""
    with pytest.raises(ValueError, match=f"found window {window} and offset {offset}, expected"):
        tile_windows(store, [0], window=window, offset=offset)


def test_dataset_items(path):
    """An item is the clip of its frame in 0-1, with the label of that frame."""
    dataset = MouseActionDataset(path, clip_length=8, recordings=[4, 1])
    expected = [[r, t] for r in (4, 1) for t in range(LENGTHS[r]) if labels_of(r)[t] >= 0]
    assert len(dataset) == len(expected)
    with dataset.store as store:
        for item, (recording, frame) in zip(dataset, expected, strict=True):
            clip, label = item
            indices = clip_frames(frame, clip_length=8, num_frames=LENGTHS[recording])
            assert (clip.shape, clip.dtype) == ((1, 8, 2, 3), torch.float32)
            np.testing.assert_allclose(clip[0].numpy(), store.frames(recording)[indices] / 255)
            assert label == labels_of(recording)[frame]


def test_dataset_stride_and_transform(store):
    """Every `stride`-th labelled frame is taken, and the transform sees each clip."""
    every = MouseActionDataset(store)
    third = MouseActionDataset(store, stride=3, transform=lambda clip: clip + 1)
    assert len(third) == -(-len(every) // 3)
    for i in range(len(third)):
        assert torch.equal(third[i][0], every[3 * i][0] + 1)
        assert third[i][1] == every[3 * i][1]


@pytest.mark.slow
def test_dataset_loads_the_same_through_workers(path):
    """Workers open the cache by its path and yield what the process itself would."""
    dataset = MouseActionDataset(path, clip_length=8, stride=4)
    with dataset.store:
        assert len(pickle.dumps(dataset)) < 5000
        loaders = [
            DataLoader(dataset, batch_size=7),
            DataLoader(dataset, batch_size=7, num_workers=2, multiprocessing_context="spawn"),
        ]
        alone, spawned = (list(loader) for loader in loaders)
    assert sum(len(labels) for _, labels in alone) == len(dataset)
    for one, other in zip(alone, spawned, strict=True):
        assert one[0].shape[1:] == (1, 8, 2, 3)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("clip_length", [0, 6, 9, 15, 33, 34, -8])
def test_bad_clip_lengths_are_refused(store, clip_length):
    """An odd length would lose a frame in silence."""
    message = f"clip_length: found {clip_length}, expected an even number from 8 to 32"
    for make in (ClipSampler, MouseActionDataset):
        with pytest.raises(ConfigError, match=message):
            make(store, clip_length=clip_length)


def test_good_clip_lengths_pass():
    """All even lengths from 8 to 32 are taken."""
    for clip_length in range(8, 33, 2):
        check_clip_length(clip_length)


@pytest.mark.parametrize(
    ("make", "options"),
    [(ClipSampler, {"window": 0}), (ClipSampler, {"ring": 0}), (MouseActionDataset, {"stride": 0})],
)
def test_bad_counts_are_refused(store, make, options):
    """A count below one is named."""
    ((name, value),) = options.items()
    with pytest.raises(ConfigError, match=f"{name}: found {value}, expected 1 or more"):
        make(store, clip_length=16, **options)
