"""What the tests of this folder share."""

from __future__ import annotations

import pytest

from mpar.review import ReviewConfig
from mpar.reviewer.study import Study
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    write_video,
)
from tests.unit.reviewer.asking import (
    NUM_FRAMES,
    Asker,
)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "Videos"
    folder.mkdir()
    frames = draw_frame_numbers(NUM_FRAMES)
    write_video(folder / "m1.mp4", frames, options={"x264-params": "keyint=16:bframes=3"})
    write_video(folder / "m2.avi", frames[:40], codec="mpeg4")
    return folder


@pytest.fixture
def ask(videos, tmp_path):
    """Return a function that opens the application on the folders; several calls restart it."""
    opened = []

    def make(predictions=None, **options):
        while opened:
            opened.pop().close()
        config = ReviewConfig(**{"annotator": "anna"} | options)
        opened.append(Study(videos, tmp_path / "out", predictions, config))
        return Asker(opened[-1])

    yield make
    while opened:
        opened.pop().close()
