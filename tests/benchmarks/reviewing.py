"""What reviewing brings: the queue against random stretches and whole videos.

``python -m tests.benchmarks.reviewing -o FOLDER`` teaches a light network a few drawn animals and
predicts new ones. A reviewer, who knows the truth, looks at some minutes of these: what the queue
says, stretches drawn at random, or whole videos. The network then learns on (``--init``) from the
old animals and what was reviewed (other frames stay unlabelled), in as many steps, and is scored on
other animals. What is in FOLDER already is not done again.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED
from mpar.labels.scorings import Recording
from mpar.learning.recipe import named_recipe
from mpar.network.checkpoint import Checkpoint, load_checkpoint
from mpar.network.dense import DensePredictor
from mpar.reviewer.queue import order_stretches
from mpar.system.files import write_json
from mpar.train import best_checkpoint
from mpar.video.timeline import TimeLine
from tests.benchmarks.learning import PAIN, Trial, TrialRun, as_recording, split_animals
from tests.fixtures.synthetic import draw_recording

NUM_OLD, NUM_VAL, NUM_NEW, NUM_TEST = 4, 2, 20, 30
NUM_OLD_FRAMES, NUM_NEW_FRAMES = 360, 900  # 12 s and 30 s
SIDE, CLIP_LENGTH, PAIN_FRACTION = 32, 8, 0.03
NUM_STEPS, NUM_MORE_STEPS = 200, 60
MINUTES = (0.5, 1.0, 2.0, 4.0)
RANDOM_SECONDS = 3.0
NAMES = DEFAULT_CLASS_MAP.class_names
FPS = 30

Spans = Mapping[str, Sequence[tuple[int, int]]]


def draw_animals(seed: int) -> list[NewRecording]:
    """Draw the animals of a study: old ones, those for validation, new ones, those for the test."""
    rng = np.random.default_rng(seed)
    animals = []
    for number in range(NUM_OLD + NUM_VAL + NUM_NEW + NUM_TEST):
        is_new = NUM_OLD + NUM_VAL <= number < NUM_OLD + NUM_VAL + NUM_NEW
        num_frames = NUM_NEW_FRAMES if is_new else NUM_OLD_FRAMES
        frames, codes = draw_recording(
            seed=int(rng.integers(2**31)),
            num_frames=num_frames,
            height=SIDE,
            width=SIDE,
            # few animals must show every kind of pain
            pain_fraction=PAIN_FRACTION if number >= NUM_OLD + NUM_VAL else 0.15,
        )
        animals.append(as_recording(number, frames, codes))
    return animals


def learn(
    animals: Sequence[NewRecording],
    spans: Spans,
    seed: int,
    init: Checkpoint | None = None,
) -> tuple[Checkpoint, dict[str, Any]]:
    """Train on the old animals and the reviewed spans of new ones, and score the test animals."""
    old, val = animals[:NUM_OLD], animals[NUM_OLD : NUM_OLD + NUM_VAL]
    test = animals[NUM_OLD + NUM_VAL + NUM_NEW :]
    reviewed = []
    for animal in animals[NUM_OLD + NUM_VAL : NUM_OLD + NUM_VAL + NUM_NEW]:
        labels = np.full_like(animal.labels, UNLABELLED)
        for start, stop in spans.get(animal.info.name, ()):
            labels[start:stop] = animal.labels[start:stop]
        if (labels != UNLABELLED).any():
            reviewed.append(dataclasses.replace(animal, labels=labels))
    config = named_recipe(
        "mpar",
        model_type="light",
        clip_length=CLIP_LENGTH,
        num_epochs=1,
        warmup_epochs=0.05,
        seed=seed,
        use_amp=False,
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        path = Path(name, "cache.h5")
        write_store(
            path,
            [*old, *reviewed, *val, *test],
            class_map=DEFAULT_CLASS_MAP,
            config={"size": None},
        )
        with Store(path) as store:
            split = split_animals(store, len(old) + len(reviewed), len(val))
            num_steps = NUM_MORE_STEPS if init else NUM_STEPS
            trial = Trial(config, config.batch_size * num_steps)
            run = TrialRun(Path(name, "run"), store, split, trial, init)
            run.execute(quiet=True)
            return load_checkpoint(best_checkpoint(Path(name, "run"))), run.scores[-1]


def predict(animals: Sequence[NewRecording], checkpoint: Checkpoint) -> list[Recording]:
    """Predict the new animals."""
    predictor = DensePredictor(checkpoint.build_net())
    predictions = []
    for animal in animals[NUM_OLD + NUM_VAL : NUM_OLD + NUM_VAL + NUM_NEW]:
        assert animal.frames is not None
        rows = predictor.predict(animal.frames)
        predictions.append(
            Recording(
                name=animal.info.name,
                video=animal.info.video,
                line=TimeLine(len(rows), Fraction(FPS)),
                labels=rows.argmax(axis=1).astype(np.int8),
                probabilities=rows,
            )
        )
    return predictions


def by_queue(predictions: Sequence[Recording], minutes: float, seed: int) -> Spans:
    """Return the stretches that the queue gives first."""
    stretches = order_stretches(predictions, NAMES, responses=PAIN)
    return _take([(s.recording, s.start, s.stop) for s in stretches], minutes)


def at_random(predictions: Sequence[Recording], minutes: float, seed: int) -> Spans:
    """Return stretches of three seconds, drawn at random."""
    step = round(RANDOM_SECONDS * FPS)
    pieces = [
        (item.name, start, min(start + step, item.num_frames))
        for item in predictions
        for start in range(0, item.num_frames, step)
    ]
    order = np.random.default_rng(seed).permutation(len(pieces))
    return _take([pieces[i] for i in order], minutes)


def by_video(predictions: Sequence[Recording], minutes: float, seed: int) -> Spans:
    """Return whole videos in random order; the last one may be cut."""
    order = np.random.default_rng(seed).permutation(len(predictions))
    return _take([(predictions[i].name, 0, predictions[i].num_frames) for i in order], minutes)


WAYS = {"queue": by_queue, "random stretches": at_random, "whole videos": by_video}


def _take(pieces: Sequence[tuple[str, int, int]], minutes: float) -> Spans:
    """Return the first pieces that fill so many minutes of looking."""
    left = round(minutes * 60 * FPS)
    spans: dict[str, list[tuple[int, int]]] = {}
    for name, start, stop in pieces:
        if left <= 0:
            break
        stop = min(stop, start + left)
        spans.setdefault(name, []).append((start, stop))
        left -= stop - start
    return spans


def num_pain_frames(animals: Sequence[NewRecording], spans: Spans) -> int:
    """Return how many frames of pain were reviewed."""
    pain = [NAMES.index(name) for name in PAIN]
    labels: dict[str, NDArray[np.int8]] = {a.info.name: a.labels for a in animals}
    return sum(
        int(np.isin(labels[name][start:stop], pain).sum())
        for name, pieces in spans.items()
        for start, stop in pieces
    )


def lay_out(found: Sequence[Mapping[str, Any]]) -> str:
    """Lay out macro-F1 against minutes: mean and standard deviation over seeds."""
    columns = ["reviewed", *(f"{minutes:g} min" for minutes in MINUTES)]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    starts = [study["start"] for study in found]
    for key in ("macro_f1", "pain_frames"):
        for way in WAYS:
            cells = []
            for minutes in MINUTES:
                values = [study[way][f"{minutes:g}"][key] for study in found]
                spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
                cells.append(
                    f"{statistics.mean(values):.2f}{spread}"
                    if key == "macro_f1"
                    else f"{statistics.mean(values):.0f}"
                )
            what = "" if key == "macro_f1" else ", frames of pain"
            lines.append(f"| {way}{what} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"before: macro-F1 {statistics.mean(starts):.2f}"])


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
def main(output: Path, seeds: tuple[int, ...]) -> None:
    """Compare ways of reviewing with several seeds (animals and training both)."""
    output.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    for seed in seeds:
        path = output / f"reviewing_{seed}.json"
        study = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if all(f"{minutes:g}" in study.get(way, {}) for way in WAYS for minutes in MINUTES):
            found.append(study)
            continue
        animals = draw_animals(seed)
        checkpoint, scores = learn(animals, {}, seed)
        predictions = predict(animals, checkpoint)
        study["start"] = scores["macro_f1"]
        for minutes in MINUTES:
            for way, choose in WAYS.items():
                mine = study.setdefault(way, {})
                if f"{minutes:g}" in mine:
                    continue
                spans = choose(predictions, minutes, seed)
                _, scores = learn(animals, spans, seed, checkpoint)
                mine[f"{minutes:g}"] = {
                    "macro_f1": scores["macro_f1"],
                    # without classes that no test animal shows
                    "recall": {k: r for k, r in scores["recall"].items() if not np.isnan(r)},
                    "pain_frames": num_pain_frames(animals, spans),
                }
                write_json(path, study)
                click.echo(f"seed {seed}, {minutes:g} min, {way}: {scores['macro_f1']:.3f}")
        found.append(study)
    click.echo(lay_out(found))


if __name__ == "__main__":
    main()
