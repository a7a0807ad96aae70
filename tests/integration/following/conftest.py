"""A followed study, and a run on it."""

from __future__ import annotations

import pytest

from mpar.preprocess import preprocess
from mpar.train import train
from tests.integration.following.films import FOLLOW, TRAINING, write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Six videos, a followed cache of them, and a run."""
    folder = tmp_path_factory.mktemp("followed")
    places = write_study(folder, [f"m{i}" for i in range(6)])
    preprocess(*places, folder / "cache.h5", config=FOLLOW)
    train(folder / "cache.h5", folder, config=TRAINING, run_name="run", device="cpu")
    return folder
