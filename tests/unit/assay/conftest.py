"""What the tests of this folder share."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import mpar.summarize
from tests.fixtures.helpers import put_prediction


@pytest.fixture
def predictions(tmp_path, monkeypatch):
    """Three recordings of 40, 40 and 20 frames at 10 a second; no figures, which take long."""
    monkeypatch.setattr(mpar.summarize, "_draw_figures", lambda *results: {})
    for name, num_frames in (("m1", 40), ("m2", 40), ("m3", 20)):
        labels = np.zeros(num_frames, int)
        labels[5:8] = 2
        put_prediction(tmp_path / "p", name, labels, Fraction(10))
    return tmp_path / "p"
