"""What the tests of this folder share."""

import pytest

from tests.fixtures.synthetic import write_sample


@pytest.fixture
def folders(tmp_path):
    """Three good recordings of 24 frames."""
    write_sample(tmp_path, num_animals=3, seed=0, num_frames=24, height=32, width=48)
    return tmp_path
