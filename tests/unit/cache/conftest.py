"""Caches that the tests of this folder read."""

from __future__ import annotations

import pytest

from mpar.cache.writer import write_store
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.unit.cache.caches import (
    FOLLOWING,
    LENGTHS,
    make_recording,
    small_recordings,
    with_squares,
    write,
)


@pytest.fixture
def followed(tmp_path, recordings):
    """A cache with squares, and its recordings."""
    recordings = [with_squares(recording) for recording in recordings]
    path = tmp_path / "followed.h5"
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config=FOLLOWING)
    return path, recordings


@pytest.fixture(scope="module")
def recordings():
    return [make_recording(f"m{num_frames}", num_frames) for num_frames in LENGTHS]


@pytest.fixture(scope="module")
def cache(tmp_path_factory, recordings):
    return write(tmp_path_factory.mktemp("cache") / "cache.h5", recordings)


@pytest.fixture(scope="module")
def small_cache(tmp_path_factory):
    return write(tmp_path_factory.mktemp("small") / "cache.h5", small_recordings())
