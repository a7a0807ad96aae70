"""How well rare pain events are learnt: recipes on the same animals, in the same time.

``python -m tests.benchmarks.learning -o FOLDER`` learns from 32 animals in several ways and scores
each on 80 others. A trial learns so many windows that it takes ten minutes on two processor cores
(the steps of a ladder: two). What is in FOLDER already is not done again, so that trials
may run one by one, and the table is that of all that is there.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import mpar.learning.augment
from mpar.cache.layout import RecordingInfo, hash_chunks
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.learning.loop import TrainingRun, Validation
from mpar.learning.recipe import TrainConfig, named_recipe
from mpar.learning.splits import Split
from mpar.network.checkpoint import Checkpoint
from mpar.network.dense import DensePredictor
from mpar.network.mixture import MixedPredictor
from mpar.predictions.postprocess import PostConfig, postprocess
from mpar.scores.metrics import frame_scores
from mpar.scores.post_fitting import fit_postprocessing, shortest_bouts
from mpar.system.files import write_json
from mpar.video.videos import View
from tests.fixtures.synthetic import draw_recording

NUM_TRAIN, NUM_VAL, NUM_TEST = 32, 8, 80
NUM_FRAMES, SIDE, PAIN_FRACTION = 360, 64, 0.01
PAIN = ("paw_withdraw", "paw_lick", "paw_shake")
TOLERANCE = 3
RAW = PostConfig()

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Trial:
    """A way to learn.

    Parameters
    ----------
    config : TrainConfig
        The recipe.
    num_windows : int, optional
        How many windows are learnt in all epochs; by default as many as these have.
    max_pace : float
        How much faster or slower windows are played, at most.
    is_followed : bool
        Score half of the test animals after each epoch, for F1 over time.
    """

    config: TrainConfig
    num_windows: int | None = None
    max_pace: float = mpar.learning.augment._MAX_PACE
    is_followed: bool = False


def _step(num_windows: int, num_epochs: int = 1, **changes: Any) -> Trial:
    """Make a trial of mpar's recipe with changes, followed if it has several epochs."""
    changes |= {"num_epochs": num_epochs, "warmup_epochs": 0.05 * num_epochs}
    return Trial(named_recipe("mpar", **changes), num_windows, is_followed=num_epochs > 1)


# Windows are as many as were learnt in 600 and 120 s by two threads of the machine of the README;
# for fast 7.6 times as many, its speed beside standard with one thread.
TRIALS = {
    "mpar": _step(4560, 5),
    "mpar, windows of 4 labels": _step(9300, 5, window=4, batch_size=16),
    "mpar, clip by clip": _step(21750, 5, window=1, batch_size=32),
    "mpar, focal loss": _step(4560, loss="focal"),
    "original": Trial(named_recipe("original", num_epochs=2)),
    "original, 5 times the time": Trial(named_recipe("original", num_epochs=10)),
    "ladder: mpar": _step(912),
    "ladder: Adam": _step(950, optimizer="adam"),
    "ladder: frames not centred": _step(912, centre_frames=False),
    "ladder: clip by clip": _step(4350, window=1, batch_size=32),
    "ladder: weighted loss, all frames": _step(912, sampling="all"),
    "ladder: last weights": _step(912, ema_decay=0),
    "ladder: no augmentation": _step(912, augment=False),
    "ladder: always the same pace": dataclasses.replace(_step(912), max_pace=1),
    "ladder: windows of 4 labels": _step(1860, window=4, batch_size=16),
    "ladder: focal loss": _step(912, loss="focal"),
    "fast": _step(34650, 5, model_type="fast"),
    "ladder: fast": _step(6930, model_type="fast"),
}


def as_recording(
    number: int, frames: np.ndarray, codes: np.ndarray, class_map: ClassMap = DEFAULT_CLASS_MAP
) -> NewRecording:
    """Return drawn frames with their codes as the recording of an animal of its own."""
    info = RecordingInfo(
        name=f"m{number:03d}",
        video=f"m{number:03d}.mp4",
        group=f"m{number:03d}",
        fps=Fraction(30),
        start_frame=0,
        num_frames=len(frames),
        video_num_frames=len(frames),
        size_bytes=1,
        sha256=f"{number:064x}",
        annotators=("A",),
        warnings=(),
    )
    return NewRecording(
        info=info,
        frames=frames,
        labels=class_map.merge(codes),
        codes=codes[None],
        chunk_hashes=hash_chunks(frames),
    )


def make_animals(
    path: Path,
    seed: int,
    *,
    num_animals: int = NUM_TRAIN + NUM_VAL + NUM_TEST,
    pain_fraction: float = PAIN_FRACTION,
    class_map: ClassMap = DEFAULT_CLASS_MAP,
) -> Path:
    """Write a cache of animals: those to learn from first, those to be tested on last."""
    rng = np.random.default_rng(seed)
    recordings = []
    for number in range(num_animals):
        frames, codes = draw_recording(
            seed=int(rng.integers(2**31)),
            num_frames=NUM_FRAMES,
            height=SIDE,
            width=SIDE,
            pain_fraction=pain_fraction,
        )
        recordings.append(as_recording(number, frames, codes, class_map))
    write_store(path, recordings, class_map=class_map, config={"size": None})
    return path


class TrialRun(TrainingRun):
    """A run of so many windows that scores the test animals at its end."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        split: Split,
        trial: Trial,
        init: Checkpoint | None = None,
    ) -> None:
        super().__init__(folder, store, split, trial.config, torch.device("cpu"), init)
        self.num_windows, self.is_followed = trial.num_windows, trial.is_followed
        mpar.learning.augment._MAX_PACE = trial.max_pace
        self.started = time.perf_counter()
        self.scores: list[dict[str, Any]] = []

    def _samples(self, epoch: int) -> np.ndarray:
        if self.num_windows is None:
            return super()._samples(epoch)
        share = self.num_windows // self.config.num_epochs
        draws: list[np.ndarray] = []
        for number in itertools.count():
            draws.append(super()._samples(number))
            if sum(map(len, draws)) >= self.num_windows:
                return np.concatenate(draws)[epoch * share : (epoch + 1) * share]
        raise AssertionError

    def validate(self) -> Validation:
        """Validate as usual; then score test animals, all at the end, outside of the time taken."""
        validation = super().validate()
        seconds = time.perf_counter() - self.started
        is_last = self.epoch + 1 == self.config.num_epochs
        if not (is_last or self.is_followed):
            return validation
        network = DensePredictor(self.learner.judged_net())
        if not is_last:
            scores = self._score(network.predict, self.split.test[: NUM_TEST // 2])
        else:
            scores = self._score_twice(network.predict)
        if is_last and self.beside.names:  # what mpar predicts, beside what the network learnt
            self.beside.with_powers(validation.powers)
            mixed = MixedPredictor(self.beside.experts, network)
            scores["powers"] = dict(validation.powers)
            scores["mixed"] = self._score_twice(
                lambda frames: mixed.predict(View(f, f) for f in frames)
            )
        self.scores.append({"seconds": seconds, **scores})
        self.started = time.perf_counter() - seconds
        return validation

    def _score(
        self, predict: Predict, recordings: Sequence[int], post: PostConfig = RAW
    ) -> dict[str, Any]:
        return score(self.store, recordings, lambda frames: postprocess(predict(frames), post)[0])

    def _score_twice(self, predict: Predict) -> dict[str, Any]:
        """Score the test animals, raw and with post-processing that the validation animals fit."""
        val, names = self.split.val, self.store.class_names
        shortest = shortest_bouts([self.store.labels(i) for i in self.split.train], len(names))
        post, _ = fit_postprocessing(
            [self.store.labels(i) for i in val],
            [predict(self.store.frames(i)) for i in val],
            names,
            shortest,
        )
        raw = self._score(predict, self.split.test)
        return raw | {"post": self._score(predict, self.split.test, post)}


def split_animals(store: Store, num_train: int, num_val: int) -> Split:
    """Split animals by their number: train, validation, test."""
    numbers = tuple(range(len(store)))
    num_learnt = num_train + num_val
    return Split(
        train=numbers[:num_train], val=numbers[num_train:num_learnt], test=numbers[num_learnt:]
    )


def learn(store: Store, trial: Trial, *, quiet: bool) -> dict[str, Any]:
    """Train in a way and score the unseen animals."""
    split = split_animals(store, NUM_TRAIN, NUM_VAL)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run = TrialRun(Path(folder), store, split, trial)
        run.execute(quiet=quiet)
    # the network at the end: what the fixed time bought, not chosen by 8 animals' rare events
    over_time = [scores["macro_f1"] for scores in run.scores]
    return {**run.scores[-1], "over_time": over_time, "threads": torch.get_num_threads()}


def score(store: Store, recordings: Sequence[int], predict: Predict) -> dict[str, Any]:
    """Score recordings frame by frame and bout by bout; `predict` maps frames to labels, (T,)."""
    truth = [store.labels(i) for i in recordings]
    predicted = [predict(store.frames(i)) for i in recordings]
    scores = frame_scores(np.concatenate(truth), np.concatenate(predicted), store.class_names)
    return {
        "macro_f1": scores.macro_f1,
        "f1": dict(zip(store.class_names, map(float, scores.f1), strict=True)),
        "recall": dict(zip(store.class_names, map(float, scores.recall), strict=True)),
        "event_f1": {
            name: event_f1(truth, predicted, store.class_names.index(name))
            for name in PAIN
            if name in store.class_names
        },
        "confusion": scores.confusion.tolist(),
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


COLUMNS = ("macro-F1", "accuracy", "recall of pain", "F1 of pain", "event F1 of pain", "minutes")


def numbers_of(result: dict[str, Any]) -> list[float]:
    """Return what the table shows of a trial with one seed."""
    confusion = np.array(result["confusion"])
    means = [
        statistics.mean(result[kind][name] for name in PAIN)
        for kind in ("recall", "f1", "event_f1")
    ]
    accuracy = float(np.trace(confusion) / confusion.sum())
    return [result["macro_f1"], accuracy, *means, result["seconds"] / 60]


def lay_out(results: dict[str, list[dict[str, Any]]]) -> str:
    """Lay out the means and standard deviations over seeds as a table."""
    lines = ["| trial | seeds | " + " | ".join(COLUMNS) + " |", "|---" * (2 + len(COLUMNS)) + "|"]
    rows = dict(results)
    for kind, label in (("mixed", "mixed"), ("post", "post-processed")):
        for name, found in list(rows.items()):
            if more := [result | result[kind] for result in found if kind in result]:
                rows[f"{name}, {label}"] = more
    for name, found in rows.items():
        columns = zip(*map(numbers_of, found), strict=True)
        cells = [
            f"{statistics.mean(values):.2f}"
            + (f" ± {statistics.stdev(values):.2f}" if len(found) > 1 else "")
            for values in columns
        ]
        lines.append(f"| {name} | {len(found)} | " + " | ".join(cells) + " |")
    for name, found in results.items():
        epochs = [*zip(*(result.get("over_time", []) for result in found), strict=False)]
        if len(epochs) > 1:
            means = [statistics.mean(epoch) for epoch in epochs]
            lines.append(f"macro-F1 over time, {name}: " + ", ".join(f"{m:.2f}" for m in means))
    return "\n".join(lines)


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True)
@click.option("--trial", "names", type=click.Choice(list(TRIALS)), multiple=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
@click.option("--table", "is_table_only", is_flag=True, help="Run nothing.")
@click.option("--quiet", is_flag=True)
def main(
    output: Path, names: tuple[str, ...], seeds: tuple[int, ...], is_table_only: bool, quiet: bool
) -> None:
    """Run trials with several seeds (animals and training both) and compare them."""
    output.mkdir(parents=True, exist_ok=True)
    numbers = {name: number for number, name in enumerate(TRIALS)}
    paths = {(n, s): output / f"trial_{numbers[n]:02}_{s}.json" for s in seeds for n in TRIALS}
    for (name, seed), path in paths.items():
        if path.exists() or is_table_only or (names and name not in names):
            continue
        cache = output / f"animals_{seed}.h5"
        with Store(cache if cache.exists() else make_animals(cache, seed)) as store:
            config = named_recipe("mpar", **TRIALS[name].config.to_dict() | {"seed": seed})
            trial = dataclasses.replace(TRIALS[name], config=config)
            result = learn(store, trial, quiet=quiet)
        write_json(path, {"trial": name, "seed": seed, **result})
        said = {**dict(zip(COLUMNS, numbers_of(result), strict=True)), **result["f1"]}
        click.echo(f"{name}, seed {seed}: " + ", ".join(f"{k} {v:.3f}" for k, v in said.items()))
    results: dict[str, list[dict[str, Any]]] = {}
    for (name, _), path in sorted(paths.items(), key=lambda item: numbers[item[0][0]]):
        if path.exists():
            results.setdefault(name, []).append(json.loads(path.read_text(encoding="utf-8")))
    click.echo(lay_out(results))


if __name__ == "__main__":
    main()
