"""What the tests of this folder share."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mpar.review import ReviewConfig, opened_review
from mpar.video.following import SquarePath
from tests.browser.window import NUM_FRAMES, SWITCHES, Window
from tests.fixtures.helpers import find_browser
from tests.fixtures.synthetic import draw_frame_numbers, write_video
from tests.unit.reviewer.asking import put_predictions


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_browser()
    if not path:
        pytest.skip("no Chromium or Chrome on the PATH that starts")
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Videos whose pixels spell the number of the frame: reordered frames, and AVI."""
    folder = tmp_path_factory.mktemp("review")
    (folder / "Videos").mkdir()
    frames = draw_frame_numbers(NUM_FRAMES, 128, 160)
    options = {"x264-params": "keyint=48:bframes=3:open-gop=1"}
    write_video(folder / "Videos" / "m1.mp4", frames, options=options)
    write_video(folder / "Videos" / "m2.avi", frames[:60], codec="mpeg4", options={"bf": "2"})
    labels = np.repeat([0, 2, 4, 0], 60)
    corners = np.repeat([[-1, -1], [20, 30], [24, 30]], [10, 90, 140], axis=0).astype(np.int32)
    put_predictions(folder / "predictions", labels, squares=SquarePath(64, corners))
    return folder


@pytest.fixture
def open_window(browser, sources, tmp_path):
    """Return a function that opens a window; the first call starts the server."""
    windows, servers = [], []

    def open_one(predictions=False, is_estimate=False, class_map=None, **options):
        if not servers:
            context = opened_review(
                sources / "Videos",
                tmp_path / "out",
                predictions_folder=sources / "predictions" if predictions else None,
                config=ReviewConfig(annotator="anna", is_estimate=is_estimate, class_map=class_map),
            )
            review = context.__enter__()
            thread = threading.Thread(target=review.serve)
            thread.start()
            servers.append((context, review, thread))
        windows.append(Window(browser, servers[0][1].url, **options))
        return windows[-1]

    yield open_one
    for window in windows:
        if not window.page.is_closed():
            window.close()
    for context, review, thread in servers:
        review.stop()
        thread.join(20)
        context.__exit__(None, None, None)
