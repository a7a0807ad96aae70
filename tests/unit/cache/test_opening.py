"""A cache that another program has open, or had open when it died."""

from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest

from mpar.cache.opening import _hash
from mpar.cache.store import Store
from mpar.errors import StoreError
from tests.fixtures.helpers import make_store, run

HOLD = """
import os, sys, h5py
file = h5py.File(sys.argv[1], "r+")
print("open", flush=True)
if sys.argv[2] == "die":
    os._exit(9)
sys.stdin.read()
"""


def hold(path, what):
    """Open a file for writing in another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "open\n"
    return process


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "c.h5"
    make_store(path, [("a", [0, 2, 2, 6] * 10)]).close()
    return path


def test_info_names_the_responses(cache):
    """The classes that count as responses travel in the cache, and are shown."""
    assert "responses: paw_withdraw, paw_lick, paw_shake\n" in run("info", cache).output


def test_open_elsewhere(cache):
    """The message says that another program has it open, and nothing about damage."""
    process = hold(cache, "stay")
    try:
        with pytest.raises(StoreError, match="another program has it open for writing") as error:
            Store(cache)
        assert "damaged" not in str(error.value)
        output = run("info", cache).output
        assert "close it there and try again" in output
    finally:
        process.communicate("")
    with Store(cache) as store:
        assert store.recordings[0].num_frames == 40


def test_open_when_the_program_died(cache):
    """The mark of HDF5 stays, the frames and labels are those of before."""
    with Store(cache) as store:
        before = store.frames(0).copy(), store.labels(0).tolist()
    process = hold(cache, "die")
    process.communicate()
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(cache, "r", locking=False)
    with Store(cache) as store:
        np.testing.assert_array_equal(store.frames(0), before[0])
        assert store.labels(0).tolist() == before[1]
    assert run("info", cache, "--verify").exit_code == 0


def test_checksum_of_the_superblock(cache):
    """HDF5's own checksum is that of this module."""
    head = cache.read_bytes()[:48]
    assert _hash(head[:-4]) == head[-4:]


def test_damage_is_still_found(cache):
    """A mark together with a wrong byte is no open file."""
    hold(cache, "die").communicate()
    data = bytearray(cache.read_bytes())
    data[20] ^= 1
    cache.write_bytes(data)
    with pytest.raises(StoreError, match=r"cannot be read as an HDF5 file \(it is damaged"):
        Store(cache)
