"""What a scorer waits for in an hour of video: opening a recording, and each edit until it is safe.

``python -m tests.benchmarks.editing`` scores a drawn film of 108,000 frames (an hour at 30 frames
per second) with 2,000 edits, beside nine other recordings with predictions and three scorers each.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.labels.scorings import Recording
from mpar.predictions.postprocess import PostConfig
from mpar.predictions.writing import OutputConfig, write_prediction
from mpar.review import Review, ReviewConfig, opened_review
from mpar.reviewer.server import make_app
from mpar.system.serving import HOST
from mpar.video.timeline import TimeLine
from tests.benchmarks.inputs import NUM_FRAMES, make_video
from tests.benchmarks.review import repeat

NUM_TOTAL, NUM_EDITS, NUM_OTHERS = 108_000, 2000, 9
FPS = 30
_PATH, _HOST = "/token/", f"http://{HOST}:1"


def _ms(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)


def make_study(folder: Path) -> None:
    """Write one film under several names, with predictions and the labels of three people."""
    rng = np.random.default_rng(0)
    names = [f"m{k}" for k in range(1 + NUM_OTHERS)]
    (folder / "v").mkdir()
    (folder / "o").mkdir()
    film = repeat(
        make_video(folder / "short.mp4", 32, 32),
        folder / "v" / f"{names[0]}.mp4",
        NUM_TOTAL // NUM_FRAMES,
    )
    total, class_names = NUM_TOTAL, DEFAULT_CLASS_MAP.class_names
    for name in names:
        if name != names[0]:
            (folder / "v" / f"{name}.mp4").write_bytes(film.read_bytes())
        labels = np.repeat(rng.integers(0, len(class_names), total // 50 + 1), 50)[:total]
        text = "".join(f"{i},{class_names[k]}\n" for i, k in enumerate(labels.tolist()))
        for person in ("bea", "cleo", "dan"):
            (folder / "o" / f"{name}_{person}.csv").write_text(f"Frame,Action\n{text}")
        rows = np.full((total, len(class_names)), 0.04, np.float32)
        rows[np.arange(total), labels] = 1 - 0.04 * (len(class_names) - 1)
        found = Recording(
            name=name,
            video=f"{name}.mp4",
            line=TimeLine(total, FPS),  # type: ignore[arg-type]
            labels=rows.argmax(axis=1).astype(np.int8),
            probabilities=rows,
        )
        write_prediction(folder / "p", found, DEFAULT_CLASS_MAP, OutputConfig(), PostConfig(), {})


def measure(folder: Path) -> list[str]:
    """Return what an edit and the opening of a recording take, in ms."""
    rng = np.random.default_rng(1)
    total = NUM_TOTAL
    config = ReviewConfig(annotator="anna")

    def edit(client: Any, revision: int) -> int:
        start = int(rng.integers(total - 60))
        body = {"kind": "set", "revision": revision, "start": start, "stop": start + 50}
        body |= {"code": int(rng.integers(8))}
        reply = client.post(_PATH + "edit?name=m0", json=body, base_url=_HOST)
        assert reply.status_code == 200, reply.json
        return int(reply.json["revision"])

    def open_it(client: Any) -> Any:
        return client.get(_PATH + "recording?name=m0", base_url=_HOST).json

    def time_edits(what: str, client: Any, count: int) -> str:
        revision, times = open_it(client)["revision"], []
        for _ in range(count):
            begun = time.perf_counter()
            revision = edit(client, revision)
            times.append(1000 * (time.perf_counter() - begun))
        last = times[-100:]
        return (
            f"{what}: first edit {times[0]:.0f} ms, median of the last {len(last)} "
            f"{statistics.median(last):.0f} ms, slowest {max(last):.0f} ms"
        )

    lines = []
    for what in ("without edits", f"after {NUM_EDITS} edits"):
        with opened_review(
            folder / "v", folder / "o", predictions_folder=folder / "p", config=config
        ) as review:
            client = _client_of(review)
            review.study.frames_of("m0").join()
            times = [_ms(lambda: open_it(client)) for _ in range(3)]  # noqa: B023
            shown = ", ".join(f"{t:.0f}" for t in times)
            lines.append(f"{what}, while tables are read: open {shown} ms")
            lines.append(time_edits(f"{what}, while tables are read", client, 40))
            assert review.study.queue is not None
            review.study.queue.is_ready(600)
            review.study.lanes_of("m0").is_ready(600)
            times = [_ms(lambda: open_it(client)) for _ in range(5)]  # noqa: B023
            lines.append(f"{what}, later: open {statistics.median(times):.0f} ms")
            lines.append(time_edits(f"{what}, later", client, 100 if lines[4:] else NUM_EDITS))
    return lines


def _client_of(review: Review) -> Any:
    """Return a client that asks the application without a network."""
    colors = ("#000",) * len(DEFAULT_CLASS_MAP.class_names)
    return make_app(review.study, "token", 1, colors).test_client()


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the inputs here.")
def main(folder: Path | None) -> None:
    """Print what a scorer waits for."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        place = folder or Path(temporary)
        if not (place / "p").exists():
            place.mkdir(parents=True, exist_ok=True)
            make_study(place)
        for path in (place / "o").glob("m0_anna*"):
            path.unlink()
        click.echo("\n".join(measure(place)))


if __name__ == "__main__":
    main()
