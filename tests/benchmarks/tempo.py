"""The same animals at several frame rates, before one network that learnt at 30 frames/s.

``python -m tests.benchmarks.tempo -o FOLDER`` teaches a network animals drawn at 30 frames/s.
Others are drawn at 120 frames/s and filmed as every fourth, every second and each of these frames,
as the nearest to 25 a second, and at 30 a second with a tenth of the frames lost. Each is predicted
frame by frame, as if 30 frames were a second of it, and in steps of the rate of training.
"""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import av
import click
import numpy as np

from mpar.cache.store import Store
from mpar.inference import ActionRecognitionInference
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.network.checkpoint import save_checkpoint
from mpar.scores.metrics import frame_scores
from mpar.system.files import write_json
from tests.benchmarks.learning import make_animals
from tests.benchmarks.transfer import learn, recipe
from tests.fixtures.synthetic import draw_recording

FINE_FPS, SECONDS, SIDE = 120, 12, 64
NUM_STEPS, NUM_TRAIN, NUM_TEST = 600, 24, 20
PAIN_FRACTION = 0.05
WAYS = ("frame by frame", "in steps of training")


def film(seed: int) -> dict[str, np.ndarray]:
    """Return which of the fine frames each camera takes."""
    num_fine = FINE_FPS * SECONDS
    even = np.arange(0, num_fine, 4)
    is_lost = np.random.default_rng(seed).random(len(even)) < 0.1
    is_lost[0] = False
    return {
        "30": even,
        "25": np.round(np.arange(25 * SECONDS) * FINE_FPS / 25).astype(int),
        "60": np.arange(0, num_fine, 2),
        "120": np.arange(num_fine),
        "30, a tenth lost": even[~is_lost],
    }


def write_film(path: Path, frames: np.ndarray, ticks: np.ndarray) -> None:
    """Write frames with their times, in ticks of the fine rate, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(FINE_FPS, int(np.diff(ticks).min())))
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "gray"
        for picture, tick in zip(frames, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
            frame.pts, frame.time_base = int(tick), Fraction(1, FINE_FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def measure(folder: Path, seed: int, *, model: str, quiet: bool) -> dict[str, dict[str, float]]:
    """Return macro-F1 by film, frame by frame and in steps of the rate of training."""
    checkpoint_path = folder / f"tempo_{model}_{seed}.pt"
    if not checkpoint_path.exists():
        cache = make_animals(
            folder / f"tempo_{seed}.h5",
            3000 + seed,
            num_animals=NUM_TRAIN + 3,  # two validate, the last is scored by the way
            pain_fraction=PAIN_FRACTION,
        )
        with Store(cache) as store:
            config = dataclasses.replace(recipe(seed, 1), model_type=model)
            checkpoint, _ = learn(store, config, NUM_STEPS, NUM_TRAIN, None, quiet=quiet)
        save_checkpoint(checkpoint_path, checkpoint)
    network = ActionRecognitionInference(checkpoint_path, "cpu")
    network.rate = Fraction(30)
    names = DEFAULT_CLASS_MAP.class_names
    labels: dict[tuple[str, str], list[np.ndarray]] = {}
    for animal in range(NUM_TEST):
        frames, codes = draw_recording(
            seed=9000 + 100 * seed + animal,
            num_frames=FINE_FPS * SECONDS,
            height=SIDE,
            width=SIDE,
            pain_fraction=PAIN_FRACTION,
            fps=FINE_FPS,
        )
        truth = DEFAULT_CLASS_MAP.merge(codes)
        for name, taken in film(animal).items():
            path = folder / "film.mkv"
            labels.setdefault((name, "truth"), []).append(truth[taken])
            for way in WAYS:
                shown = taken if way == WAYS[1] else np.arange(len(taken)) * FINE_FPS // 30
                write_film(path, frames[taken], shown)
                labels.setdefault((name, way), []).append(network.predict(path).labels)
    return {
        name: {
            way: frame_scores(
                np.concatenate(labels[name, "truth"]), np.concatenate(labels[name, way]), names
            ).macro_f1
            for way in WAYS
        }
        for name in film(0)
    }


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1), show_default=True)
@click.option("--model", default="light", show_default=True)
@click.option("--quiet", is_flag=True)
def main(output: Path, seeds: tuple[int, ...], model: str, quiet: bool) -> None:
    """Compare frame rates with several seeds (animals and training both)."""
    output.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        path = output / f"tempo_{model}_{seed}.json"
        if not path.exists():
            write_json(path, measure(output, seed, model=model, quiet=quiet))
        for name, scores in json.loads(path.read_text(encoding="utf-8")).items():
            shown = ", ".join(f"{way} {score:.3f}" for way, score in scores.items())
            click.echo(f"seed {seed}, {name} frames/s: macro-F1 {shown}")


if __name__ == "__main__":
    main()
