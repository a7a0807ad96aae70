"""Batches, and a cache that is changed or cut short while it is read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.errors import StoreError
from tests.unit.cache.caches import make_recording, write


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_copy_batch_equals_copy_frames(tmp_path, access):
    """Every stretch lands in its row, and rows that were not asked for stay as they were."""
    path = write(tmp_path / "cache.h5", [make_recording(f"r{n}", n) for n in (9, 40, 70)])
    rng = np.random.default_rng(0)
    with Store(path, access=access) as store:
        numbers = rng.integers(3, size=50)
        starts = np.array([rng.integers(store.recordings[i].num_frames - 4) for i in numbers])
        rows = rng.permutation(60)[:50]
        out = np.full((60, 5, *store.frame_size), 7, np.uint8)
        store.copy_batch(numbers, starts, out, rows)
        expected = np.full_like(out, 7)
        for number, start, row in zip(numbers.tolist(), starts.tolist(), rows, strict=True):
            store.copy_frames(number, start, start + 5, expected[row])
        assert np.array_equal(out, expected)
        for start in (-1, 5):
            with pytest.raises(ValueError, match="beyond the end"):
                store.copy_batch(np.array([0]), np.array([start]), out, np.array([0]))
        with pytest.raises(ValueError, match="contiguous"):
            store.copy_batch(np.array([0]), np.array([0]), out[:, :, ::-1], np.array([0]))


READS = {
    "copy_frames": lambda store, out: store.copy_frames(2, 0, 16, out[0]),
    "copy_batch": lambda store, out: store.copy_batch(
        np.array([2]), np.array([0]), out, np.array([0])
    ),
}


@pytest.mark.parametrize("access", ["mmap", "pread"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_cache_changed_under_its_reader_is_checked_again(
    tmp_path, cache, recordings, read, access
):
    """What was sound when first read is not taken for sound after the file was written to."""
    path = Path(shutil.copy(cache, tmp_path))
    out = np.empty((1, 16, 5, 7), np.uint8)
    with Store(path, access=access) as store:
        read(store, out)
        os.utime(path, ns=(1, 1))  # touched, not changed
        read(store, out)
        np.testing.assert_array_equal(out[0], recordings[2].frames)
        offset = store._entries[2]["frames_offset"]
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(bytes(255 - byte for byte in recordings[2].frames[0].tobytes()))
        with pytest.raises(StoreError, match=r"frames 0-15 of recording m16 do not match"):
            read(store, out)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let a mapped file be cut short")
@pytest.mark.parametrize("access", ["mmap", "pread"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_cache_cut_short_under_its_reader_is_an_error(tmp_path, cache, read, access):
    """Not zeros, and no signal."""
    path = Path(shutil.copy(cache, tmp_path))
    out = np.empty((1, 16, 5, 7), np.uint8)
    with Store(path, access=access) as store:
        read(store, out)
        os.truncate(path, store._entries[2]["frames_offset"] + 40)
        with pytest.raises(StoreError, match=r"cache\.h5: was cut short while it was being read"):
            read(store, out)
