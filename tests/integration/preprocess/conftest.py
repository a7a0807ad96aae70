"""Three recordings whose pixels say their frame number, and a place for their cache."""

from __future__ import annotations

import shutil

import pytest

from tests.integration.preprocess.running import LENGTHS, add_recording


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    for k, (name, num_frames) in enumerate(LENGTHS.items()):
        add_recording(folder, name, num_frames, first=100 * k)
    return folder


@pytest.fixture
def inputs(drawn, tmp_path):
    """Copy three recordings, free to be changed."""
    shutil.copytree(drawn, tmp_path / "in")
    return tmp_path / "in"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "out" / "cache.h5"
