"""How well rare pain events are learnt: recipes on the same animals, in the same time.

``python -m tests.benchmarks.learning`` trains each recipe with each seed and prints the scores on
animals that it has not seen, a table of means and spreads.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from mpar.bouts import find_bouts
from mpar.classes import DEFAULT_CLASS_MAP
from mpar.dense import DensePredictor
from mpar.loop import TrainingRun
from mpar.metrics import frame_scores
from mpar.recipe import TrainConfig
from mpar.splits import Split
from mpar.store import NewRecording, RecordingInfo, Store, hash_chunks, write_store
from mpar.synthetic import draw_recording

NUM_TRAIN, NUM_VAL, NUM_TEST = 32, 8, 80
NUM_FRAMES, SIDE, PAIN_FRACTION = 360, 64, 0.01
PAIN = ("paw_withdraw", "paw_lick", "paw_shake")
TOLERANCE = 3

ORIGINAL = TrainConfig(num_epochs=1)
OURS = TrainConfig(
    num_epochs=4,
    batch_size=4,
    window=16,
    sampling="balanced",
    learning_rate=3e-3,
    dropout=0.2,
    restart_epochs=0,
    warmup_epochs=0.2,
    augment=True,
    ema_decay=0.97,
)
RECIPES = {
    "original": ORIGINAL,
    "original, 5 times the time": dataclasses.replace(ORIGINAL, num_epochs=5),
    "ours": OURS,
}


def make_animals(path: Path, seed: int) -> Path:
    """Write a cache: the animals to learn from first, then those to be tested on."""
    rng = np.random.default_rng(seed)
    recordings = []
    for number in range(NUM_TRAIN + NUM_VAL + NUM_TEST):
        frames, codes = draw_recording(
            seed=int(rng.integers(2**31)),
            num_frames=NUM_FRAMES,
            height=SIDE,
            width=SIDE,
            pain_fraction=PAIN_FRACTION,
        )
        info = RecordingInfo(
            name=f"m{number:03d}",
            video=f"m{number:03d}.mp4",
            group=f"m{number:03d}",
            fps=Fraction(30),
            start_frame=0,
            num_frames=NUM_FRAMES,
            video_num_frames=NUM_FRAMES,
            size_bytes=1,
            sha256=f"{number:064x}",
            annotators=("A",),
            warnings=(),
        )
        recordings.append(
            NewRecording(
                info=info,
                frames=frames,
                labels=DEFAULT_CLASS_MAP.merge(codes),
                codes=codes[None],
                chunk_hashes=hash_chunks(frames),
            )
        )
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config={"size": None})
    return path


def learn(store: Store, config: TrainConfig, folder: Path, *, quiet: bool) -> dict[str, Any]:
    """Train with a recipe and score the unseen animals."""
    numbers = range(len(store))
    split = Split(
        train=tuple(numbers[:NUM_TRAIN]),
        val=tuple(numbers[NUM_TRAIN : NUM_TRAIN + NUM_VAL]),
        test=tuple(numbers[NUM_TRAIN + NUM_VAL :]),
    )
    folder.mkdir(parents=True)
    started = time.perf_counter()
    run = TrainingRun(folder, store, split, config, torch.device("cpu"))
    run.execute(quiet=quiet)
    seconds = time.perf_counter() - started
    # the network at the end: what the fixed time bought, not chosen by 8 animals' rare events
    predictor = DensePredictor(run.judged_net())
    truth = [store.labels(i) for i in split.test]
    predicted = [predictor.predict(store.frames(i)).argmax(axis=1) for i in split.test]
    scores = frame_scores(np.concatenate(truth), np.concatenate(predicted), store.class_names)
    return {
        "seconds": seconds,
        "macro_f1": scores.macro_f1,
        "f1": dict(zip(store.class_names, map(float, scores.f1), strict=True)),
        "recall": dict(zip(store.class_names, map(float, scores.recall), strict=True)),
        "event_f1": {
            name: event_f1(truth, predicted, store.class_names.index(name)) for name in PAIN
        },
        "confusion": scores.confusion.tolist(),
        "val_macro_f1": [row["Val_macro_F1"] for row in run.history],
    }


def event_f1(truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray], label: int) -> float:
    """Return the F1 of bouts of a class: matched one to one, onset and end within 3 frames."""
    num_true = num_predicted = num_matched = 0
    for labels, guesses in zip(truth, predicted, strict=True):
        true, guessed = (
            bouts.loc[bouts["label"] == label, ["start", "stop"]].to_numpy().tolist()
            for bouts in (find_bouts(labels), find_bouts(guesses))
        )
        num_true, num_predicted = num_true + len(true), num_predicted + len(guessed)
        for start, stop in true:
            near = [
                bout
                for bout in guessed
                if abs(bout[0] - start) <= TOLERANCE and abs(bout[1] - stop) <= TOLERANCE
            ]
            if near:
                guessed.remove(near[0])
                num_matched += 1
    return 2 * num_matched / max(1, num_true + num_predicted)


def describe(result: dict[str, Any]) -> str:
    """Lay a result out in a line."""
    by_class = " ".join(f"{name[:12]} {value:.2f}" for name, value in result["f1"].items())
    recall = " ".join(f"{result['recall'][name]:.2f}" for name in PAIN)
    events = " ".join(f"{result['event_f1'][name]:.2f}" for name in PAIN)
    return (
        f"macro-F1 {result['macro_f1']:.3f} | F1 {by_class} | pain recall {recall} | "
        f"event F1 {events} | {result['seconds']:.0f} s"
    )


@click.command()
@click.option("--recipe", "names", type=click.Choice(list(RECIPES)), multiple=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True)
def main(names: tuple[str, ...], seeds: int, json_path: Path | None, quiet: bool) -> None:
    """Train recipes with several seeds (animals and training both) and compare them."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names or RECIPES}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        for seed in range(seeds):
            with Store(make_animals(Path(place) / f"{seed}.h5", seed)) as store:
                for name, found in results.items():
                    config = dataclasses.replace(RECIPES[name], seed=seed)
                    folder = Path(place) / f"{seed}_{len(name)}"
                    found.append(learn(store, config, folder, quiet=quiet))
                    click.echo(f"{name}, seed {seed}: {describe(found[-1])}")
    for name, found in results.items():
        values = [result["macro_f1"] for result in found]
        spread = statistics.stdev(values) if len(values) > 1 else float("nan")
        minutes = statistics.mean(result["seconds"] for result in found) / 60
        click.echo(
            f"{name:<30} macro-F1 {statistics.mean(values):.3f} ± {spread:.3f} in {minutes:.1f} min"
        )
    if json_path is not None:
        json_path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
