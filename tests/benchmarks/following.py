"""What `--follow` costs and brings: small drawn animals on a mesh floor.

``python -m tests.benchmarks.following -o FOLDER`` films animals of a third of the picture's height
on a mesh, makes a cache with and without squares, and lets a light network learn as many epochs
from each. It also compares the processor time of preprocessing 640 x 480 px with and without.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import click
import cv2
import numpy as np

from mpar.cache.store import Store
from mpar.inference import ActionRecognitionInference
from mpar.learning.recipe import named_recipe
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.preview import preview
from mpar.scores.metrics import frame_scores
from mpar.system.files import write_json
from mpar.train import best_checkpoint, train
from tests.benchmarks.inputs import make_folders
from tests.fixtures.synthetic import draw_recording, write_annotation, write_video

HEIGHT, WIDTH, ANIMAL_PX, NUM_FRAMES = 240, 320, 80, 240
PARTS = {"train": 12, "val": 4, "test": 8}
NUM_ROUNDS = 3


def draw_arena(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw an animal that roams a mesh floor: (T, H, W) uint8 frames and (T,) codes."""
    rng = np.random.default_rng([9, seed])
    film, codes = draw_recording(
        seed=500 + seed,
        num_frames=NUM_FRAMES,
        height=ANIMAL_PX,
        width=ANIMAL_PX,
        pain_fraction=0.3,
    )
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pitch, (left, top) = rng.uniform(7, 11), rng.uniform(0, 10, 2)
    is_wire = np.minimum((x + left) % pitch, (y + top) % pitch) < 2
    floor = cv2.GaussianBlur(np.where(is_wire, 170, 100).astype(np.float32), (0, 0), 0.7)
    t = np.arange(NUM_FRAMES) / 30
    waves = np.sin(np.outer(t, rng.uniform(0.1, 0.5, 4)) + rng.uniform(0, 6.3, 4))
    room = np.array([WIDTH, HEIGHT]) - ANIMAL_PX
    path = np.rint(room / 2 * (1 + 0.45 * (waves[:, :2] + waves[:, 2:]))).astype(int)
    frames = []
    for picture, (x0, y0) in zip(film.astype(np.float32), path.tolist(), strict=True):
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        animal = picture - np.median(border)
        animal[np.abs(animal) < 12] = 0
        frame = floor.copy()
        frame[y0 : y0 + ANIMAL_PX, x0 : x0 + ANIMAL_PX] += animal
        frames.append((frame + rng.normal(0, 2, frame.shape)).clip(0, 255).astype(np.uint8))
    return np.stack(frames), codes


def film_arenas(folder: Path) -> None:
    """Write all videos with their labels, and the split."""
    rows = ["Recording,Part"]
    for part, number in PARTS.items():
        for _ in range(number):
            name = f"m{len(rows):02d}"
            rows.append(f"{name},{part}")
            path = folder / "Videos" / f"{name}.mp4"
            if not path.exists():
                frames, codes = draw_arena(len(rows))
                for place in ("Videos", "Annotations"):
                    (folder / place).mkdir(parents=True, exist_ok=True)
                write_annotation(folder / "Annotations" / f"{name}.csv", codes)
                write_video(path, frames)
    (folder / "split.csv").write_text("\n".join(rows))


def score(folder: Path, *, follow: bool, side: int, num_epochs: int) -> dict[str, float]:
    """Return the scores of the network alone for the test animals, without post-processing."""
    cache = folder / f"follow_{follow}.h5"
    config = PreprocessConfig(size=(side, side), follow=follow)
    preprocess(folder / "Videos", folder / "Annotations", cache, config=config)
    recipe = named_recipe("mpar", model_type="light", num_epochs=num_epochs, movement=False)
    run = train(cache, folder, config=recipe, split_path=folder / "split.csv", device="cpu")
    network = ActionRecognitionInference(best_checkpoint(run), "cpu")
    with Store(cache) as store:
        test = [
            i for i, info in enumerate(store.recordings) if network.checkpoint.holds("test", info)
        ]
        truth = np.concatenate([store.labels(i) for i in test])
        found = np.concatenate([network.predict_recording(store, i).raw for i in test])
        scores = frame_scores(truth, found, store.class_names)
    return {"macro-F1": scores.macro_f1, "balanced accuracy": float(np.nanmean(scores.recall))}


def measure_cost(folder: Path) -> dict[str, float]:
    """Return processor time of preprocessing with squares as a multiple of that without."""
    if not (folder / "Videos").exists():
        make_folders(folder, 4, 480, 640)
    ratios = {}
    for side in (64, 128):
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(NUM_ROUNDS):
            for follow, taken in seconds.items():
                config = PreprocessConfig(
                    size=(side, side), follow=follow, follow_size=160 if follow else None
                )
                (folder / "cache.h5").unlink(missing_ok=True)
                start = time.process_time()
                places = folder / "Videos", folder / "Annotations", folder / "cache.h5"
                preprocess(*places, config=config, workers=1)
                taken.append(time.process_time() - start)
        ratios[f"{side} px"] = statistics.median(seconds[True]) / statistics.median(seconds[False])
    return ratios


def draw_figure(folder: Path, path: Path) -> None:
    """Draw the squares of two arenas, as --preview does."""
    for seed in (2, 3):
        frames, _ = draw_arena(seed)
        (folder / "shown").mkdir(parents=True, exist_ok=True)
        write_video(folder / "shown" / f"m{seed:02}.mp4", frames)
    preview(folder / "shown", path, size=(64, 64), follow=True)


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True)
@click.option("--side", default=48, show_default=True, help="Size of the frames in px.")
@click.option("--epochs", default=4, show_default=True)
@click.option("--figure", type=click.Path(path_type=Path), help="Only draw squares, into a PNG.")
def main(output: Path, side: int, epochs: int, figure: Path | None) -> None:
    """Compare learning and preprocessing with and without following."""
    if figure:
        draw_figure(output, figure)
        return
    film_arenas(output)
    path = output / "following.json"
    done = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, measure in (
        ("cost", lambda: measure_cost(output / "cost")),
        ("follow", lambda: score(output, follow=True, side=side, num_epochs=epochs)),
        ("whole", lambda: score(output, follow=False, side=side, num_epochs=epochs)),
    ):
        if name not in done:
            done[name] = measure()
            write_json(path, done)
        click.echo(f"{name}: " + ", ".join(f"{k} {v:.3f}" for k, v in done[name].items()))


if __name__ == "__main__":
    main()
