"""What a scorer waits for: any frame, the next frame, and playback, beside other ways to seek."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import av
import click
import cv2
import numpy as np

from mpar.review import ReviewConfig, opened_review
from mpar.reviewer.frames import VideoFrames
from tests.benchmarks.inputs import NUM_FRAMES, make_video
from tests.benchmarks.race import OURS, Row, race
from tests.fixtures.helpers import find_browser

SIZES = ((1024, 1280), (480, 640))
NUM_REPEATS = 30  # of the drawn film; 360 make an hour
NUM_JUMPS, NUM_STEPS, NUM_PLAYED = 40, 60, 240


def run(folder: Path) -> list[Row]:
    """Race jumps, then measure jumps, steps and playback through the server and in a browser."""
    rows: list[Row] = []
    for height, width in SIZES:
        videos = folder / f"{width}x{height}"
        videos.mkdir()
        short = make_video(folder / f"{width}x{height}.mp4", height, width)
        path = repeat(short, videos / "film.mp4", NUM_REPEATS)
        places = np.random.default_rng(0).integers(0, NUM_REPEATS * NUM_FRAMES, NUM_JUMPS).tolist()
        out = folder / f"out {width}x{height}"
        out.mkdir()
        frames = VideoFrames(path, None, out / ".film.frames.npz")
        frames.join()
        rows += race(
            f"{NUM_JUMPS} random frames {width}x{height}",
            {
                OURS: partial(_jump, frames, places),
                "OpenCV, set(CAP_PROP_POS_FRAMES)": partial(_jump_in_opencv, path, places),
                "PyAV, seek and decode on": partial(_jump_in_pyav, path, places),
            },
            work=NUM_JUMPS,
            unit="frames/s",
            rounds=3,
        )
        frames.close()
        rows += _wait(videos, out, f"{width}x{height}", places)
    return rows


def repeat(source: Path, path: Path, count: int) -> Path:
    """Write the packets of a video several times, one after another."""
    with av.open(str(source)) as film, av.open(str(path), "w") as container:
        stream = film.streams.video[0]
        packets = [packet for packet in film.demux(stream) if packet.dts is not None]
        out = container.add_stream_from_template(stream)
        assert stream.time_base is not None
        assert stream.average_rate is not None
        length = int(NUM_FRAMES / (stream.time_base * stream.average_rate))
        stamps = [(packet.pts or 0, packet.dts or 0) for packet in packets]
        for k in range(count):
            for packet, (pts, dts) in zip(packets, stamps, strict=True):
                packet.pts, packet.dts, packet.stream = pts + k * length, dts + k * length, out
                container.mux(packet)
    return path


def _jump(frames: VideoFrames, places: list[int]) -> None:
    frames.forget()
    for place in places:
        ((number, _),) = frames.encoded(place, place + 1, is_urgent=True)
        assert number == place


def _jump_in_opencv(path: Path, places: list[int]) -> None:
    capture = cv2.VideoCapture(str(path))
    for place in places:
        capture.set(cv2.CAP_PROP_POS_FRAMES, place)
        is_read, frame = capture.read()
        assert is_read
        cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    capture.release()


def _jump_in_pyav(path: Path, places: list[int]) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        assert stream.average_rate is not None
        tick = stream.time_base * stream.average_rate
        for place in places:
            container.seek(int(place / tick), stream=stream)
            for frame in container.decode(stream):
                if frame.pts is not None and frame.pts * tick >= place:
                    cv2.imencode(".jpg", frame.to_ndarray(format="gray"))
                    break


def _wait(videos: Path, out: Path, size: str, places: list[int]) -> list[Row]:
    """Measure how long a viewer waits, in milliseconds, and how fast playback can be."""
    with opened_review(videos, out, config=ReviewConfig(annotator="a")) as review:
        thread = threading.Thread(target=review.serve)
        thread.start()
        try:
            review.study.frames_of("film").join()
            link = urlsplit(review.url)
            connection = http.client.HTTPConnection(link.netloc)

            def get(start: int, stop: int, more: str = "") -> None:
                address = f"{link.path}frames?name=film&start={start}&stop={stop}{more}"
                connection.request("GET", address)
                assert connection.getresponse().read()

            jumps = [_time(partial(get, place, place + 1, "&urgent=1")) for place in places]
            middle = NUM_REPEATS * NUM_FRAMES // 2
            get(middle, middle + 24)
            steps = [
                _time(partial(get, middle + k, middle + k + 1)) for k in range(min(24, NUM_STEPS))
            ]
            review.study.frames_of("film").forget()
            begun = time.perf_counter()
            for start in range(middle, middle + NUM_PLAYED, 24):
                get(start, start + 24)
            rate = NUM_PLAYED / (time.perf_counter() - begun)
            connection.close()
            rows = [
                *_show(f"jump {size}, served", jumps),
                *_show(f"step {size}, read ahead", steps),
                Row(f"playback {size}, served", OURS, rate, "frames/s"),
                *_wait_in_browser(review.url, size, places),
            ]
        finally:
            review.stop()
            thread.join()
    for row in rows:
        click.echo(row)
    return rows


def _time(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)


def _show(case: str, times: list[float]) -> list[Row]:
    return [
        Row(case, f"{OURS}, median", statistics.median(times), "ms"),
        Row(case, f"{OURS}, slowest of {len(times)}", max(times), "ms"),
    ]


# milliseconds until a small picture or the exact one is on the canvas, and until the exact one is
GO = """async (frame) => {
  const begun = performance.now(), { dataset } = document.getElementById("picture");
  let first = null;
  review.go(frame, true);
  while (dataset.frame !== String(frame)) {
    if (dataset.sketch) first ??= performance.now() - begun;
    await new Promise((done) => setTimeout(done, 0));
  }
  const exact = performance.now() - begun;
  return [first ?? exact, exact];
}"""
PLAY = """async (count) => {
  const begun = performance.now(), first = review.player.frame;
  review.player.play(1);
  while (review.player.frame < first + count) await new Promise(requestAnimationFrame);
  review.player.pause();
  return count / (performance.now() - begun) * 1000;
}"""


def _wait_in_browser(url: str, size: str, places: list[int]) -> list[Row]:
    """Measure until a frame is on the canvas; no rows without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    path = find_browser()
    if path is None:
        return []
    with sync_playwright() as program:
        switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = program.chromium.launch(executable_path=path, args=switches)
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto(url)
        page.wait_for_selector("#picture[data-frame='0']")
        jumps = [page.evaluate(GO, place) for place in places]
        middle = NUM_REPEATS * NUM_FRAMES // 2
        page.evaluate(GO, middle)
        page.wait_for_timeout(1500)  # a person looks at the frame; the page reads ahead
        steps = [page.evaluate(GO, middle + k)[1] for k in range(1, NUM_STEPS + 1)]
        page.evaluate(GO, middle)
        rate = page.evaluate(PLAY, NUM_PLAYED)
        browser.close()
    return [
        *_show(f"jump {size}, in Chromium, first picture", [first for first, _ in jumps]),
        *_show(f"jump {size}, in Chromium", [exact for _, exact in jumps]),
        *_show(f"step {size}, in Chromium", steps),
        Row(f"playback at 1x {size}, in Chromium", "film of 30 frames/s", rate, "frames/s"),
    ]
