"""A short run that nothing interrupts."""

import pytest

from mpar.train import train
from tests.unit.learning.short_run import CONFIG


@pytest.fixture(scope="session")
def undisturbed(study, tmp_path_factory):
    """A run of two epochs without any interruption."""
    return train(study.cache, tmp_path_factory.mktemp("runs"), config=CONFIG, device="cpu")
