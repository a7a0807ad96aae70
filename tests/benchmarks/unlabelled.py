"""What video that nobody scored would bring: ways to learn from it, in equal time.

``python -m tests.benchmarks.unlabelled -o FOLDER`` gives a light network four scored drawn animals
and twenty that nobody scored, and scores it on thirty others, alone and mixed with the movement
model as mpar does it. ``--data SET`` does so with a set of real clips that show one behaviour each
(``tests.benchmarks.real`` says how a set must look): of each class, one clip of the training part
is scored. Every way takes as long as so many usual steps; what it computes besides is charged at
the price that we measured on a CPU. What is in FOLDER already is not done again.

Shapes: B windows, F frames of a window, K labels of a window, C classes, T steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from torch import nn
from torch.nn import functional

from mpar.cache.clips import ClipSampler
from mpar.cache.store import Store
from mpar.cache.writer import write_store
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap
from mpar.learning.augment import augment
from mpar.learning.learner import Learner, derive_seeds
from mpar.learning.movement_fitting import fit_movement, fit_powers
from mpar.learning.recipe import named_recipe
from mpar.learning.splits import Split, can_choose, class_counts, read_split
from mpar.network.dense import DensePredictor
from mpar.network.movement import UNMEASURED, mix, movement_of
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.scores.metrics import frame_scores
from mpar.system.files import read_rows, write_json
from tests.benchmarks.learning import PAIN, as_recording, split_animals
from tests.benchmarks.pretexts import Masked, Pace, Views, descend, gather, lay_out_channels
from tests.sample.cartoon import PAIN_LENGTHS
from tests.sample.synthetic import draw_recording

NUM_SCORED, NUM_MORE, NUM_VAL, NUM_UNSCORED, NUM_TEST = 4, 8, 2, 20, 30
NUM_FRAMES, SIDE, REAL_SIDE, PAIN_FRACTION = 360, 32, 48, 0.06
CLIP_LENGTH, WINDOW, BATCH_SIZE = 8, 16, 4
RISE = 0.05  # share of the steps in which the learning rate rises
FRAMES_PER_STEP = 280  # predicted in the time of a step
# time of a step in usual steps
PRICES = {"FixMatch": 1.14, "pace": 0.32, "views": 1.26, "masked": 0.65}
SHARE_KEPT, SMOOTHED_STEPS, THRESHOLD, PRETEXT_SHARE = 0.5, 7, 0.9, 0.25
NUM_NORM_WINDOWS = 128

Labels = Mapping[int, np.ndarray]
Scores = dict[str, dict[str, float]]


class RelabelledStore(Store):
    """A cache in which some recordings have other labels than those of the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.others: dict[int, np.ndarray] = {}

    def step_labels(self, recording: int) -> np.ndarray:
        """Return the labels of the steps of a recording, (T,) int8."""
        found = self.others.get(recording)
        return super().step_labels(recording) if found is None else found


class Study:
    """Recordings that are scored, that nobody scored, and for the test.

    If `has_shares`, the scored ones show how often each class occurs.
    """

    def __init__(
        self, store: RelabelledStore, split: Split, unscored: Sequence[int], *, has_shares: bool
    ) -> None:
        self.store, self.split, self.unscored = store, split, list(unscored)
        self.has_shares = has_shares
        self.truth = {i: store.step_labels(i) for i in range(len(store))}
        self.num_classes = len(store.class_names)
        self.can_choose = can_choose(
            *(class_counts(store, part) for part in (split.train, split.val))
        )
        self.relabel({i: np.full_like(self.truth[i], UNLABELLED) for i in unscored})
        self._features: dict[int, np.ndarray] = {}

    def relabel(self, labels: Labels) -> None:
        """Give the unscored recordings other labels."""
        self.store.others = dict(labels)

    def features(self, recording: int, rate: float) -> np.ndarray:
        """Return the movement features of a recording, (T, D) float32."""
        if recording not in self._features:
            self._features[recording] = movement_of(self.store, recording, rate)
        return self._features[recording]


class Student:
    """A network and a movement model that learn in some way."""

    def __init__(self, study: Study, seed: int) -> None:
        self.study, self.seed = study, seed
        self.config = named_recipe(
            "mpar",
            model_type="light",
            clip_length=CLIP_LENGTH,
            num_epochs=1,
            warmup_epochs=RISE,
            batch_size=BATCH_SIZE,
            window=WINDOW,
            use_amp=False,
            seed=seed,
        )
        self.learner = Learner(study.store, study.split.train, self.config, torch.device("cpu"))
        self.movement = fit_movement(study.store, study.split.train)
        self.rng = np.random.default_rng([seed, 77])
        self.num_steps, self.powers = 0, UNMEASURED

    def draw(self, labels: Labels, num_windows: int, *, is_balanced: bool = True) -> np.ndarray:
        """Draw windows about labelled frames, of each class equally often, (N, 2).

        Unless `is_balanced`, draw them about any frames.
        """
        truth = np.concatenate([*labels.values()])
        places = [np.stack([np.full(len(y), i), np.arange(len(y))], 1) for i, y in labels.items()]
        if is_balanced:
            found = (np.flatnonzero(truth == label) for label in range(self.study.num_classes))
            groups = [group for group in found if len(group)]
            chosen = [
                self._pick(groups[self.rng.integers(len(groups))]) for _ in range(num_windows)
            ]
        else:
            chosen = self.rng.integers(len(truth), size=num_windows).tolist()
        samples = np.concatenate(places)[chosen]
        samples[:, 1] -= self.rng.integers(WINDOW, size=num_windows)
        return samples

    def _pick(self, places: np.ndarray) -> int:
        return int(places[self.rng.integers(len(places))])

    def draw_scored(self, num_windows: int = BATCH_SIZE) -> np.ndarray:
        """Draw windows of the scored recordings."""
        return self.draw({i: self.study.truth[i] for i in self.study.split.train}, num_windows)

    def learn(
        self,
        num_steps: int,
        draw: Callable[[], Any],
        take: Callable[[Any, float], None] | None = None,
        first: float = 0.0,
        last: float = 1.0,
    ) -> None:
        """Take steps while the schedule of the learning rate goes from `first` to `last`."""
        self.learner.begin_epoch(is_frozen=False)
        for step in range(num_steps):
            place = first + (last - first) * (step + 0.5) / num_steps
            (take or self._take)(draw(), self.config.learning_rate_at(place))
            self.num_steps += 1

    def _take(self, samples: np.ndarray, rate: float) -> None:
        self.learner.take_step(samples, epoch=0, step=self.num_steps, rate=rate)

    def measure(self, samples: np.ndarray) -> None:
        """Measure the batch norms on windows, and fit how much each model counts."""
        self.learner.renew_norms(samples, 10_000 + self.num_steps)
        if self.study.can_choose:
            val = self.study.split.val
            truths = [self.study.truth[i] for i in val]
            self.powers = fit_powers(truths, self.by_network(val), self.by_movement(val))

    def by_network(self, recordings: Sequence[int]) -> list[np.ndarray]:
        """Return the probabilities of the network, (T, C) each."""
        predictor = DensePredictor(self.learner.judged_net())
        return [predictor.predict(self.study.store.stream_steps(i)) for i in recordings]

    def by_movement(self, recordings: Sequence[int]) -> list[np.ndarray]:
        """Return the probabilities of the movement model, (T, C) each."""
        rate = self.movement.rate
        return [self.movement.probabilities(self.study.features(i, rate)) for i in recordings]

    def by_both(self, recordings: Sequence[int]) -> list[np.ndarray]:
        """Return the mixed probabilities, (T, C) each."""
        pairs = zip(self.by_network(recordings), self.by_movement(recordings), strict=True)
        return [mix(*pair, self.powers) for pair in pairs]

    def score(self) -> Scores:
        """Score the test recordings, without post-processing."""
        test, names = self.study.split.test, self.study.store.class_names
        truth = np.concatenate([self.study.truth[i] for i in test])
        ways = {"mpar": self.by_both, "network": self.by_network, "movement": self.by_movement}
        found = {}
        for name, predict in ways.items():
            scores = frame_scores(truth, np.concatenate(predict(test)).argmax(axis=1), names)
            pain = [f1 for one, f1 in zip(names, scores.f1, strict=True) if one in PAIN]
            shown = [f1 for f1 in pain if not np.isnan(f1)]
            found[name] = {
                "macro_f1": scores.macro_f1,
                "balanced_accuracy": scores.balanced_accuracy,
                **({"pain_f1": float(np.mean(shown))} if shown else {}),
            }
        return found


def learn_scored(study: Study, seed: int, num_steps: int) -> Student:
    """Learn as mpar does, without the unscored recordings."""
    student = Student(study, seed)
    student.learn(num_steps, student.draw_scored)
    student.measure(student.draw_scored(NUM_NORM_WINDOWS))
    return student


def adapt_norms(study: Study, seed: int, num_steps: int) -> Student:
    """Learn as mpar does, then measure the batch norms on the unscored recordings.

    Source: Li et al. 2017, "Revisiting Batch Normalization For Practical Domain Adaptation".
    """
    student = learn_scored(study, seed, num_steps)
    unscored = {i: study.truth[i] for i in study.unscored}
    student.measure(student.draw(unscored, NUM_NORM_WINDOWS, is_balanced=False))
    return student


def teach_itself(study: Study, seed: int, num_steps: int, *, smooths: bool = False) -> Student:
    """Learn from the scored recordings, name the unscored ones, and learn on from both.

    Network and movement model, mixed, name the steps; of each class the surest half counts, and
    where shares are known no more steps than its share. Half of the windows are scored ones. The
    movement model is fitted again on both.

    Sources: Blum and Mitchell 1998, "Combining Labeled and Unlabeled Data with Co-Training"; Xie
    et al. 2020, "Self-training with Noisy Student improves ImageNet classification".
    """
    first = 0.6 if smooths else 0.7
    student = Student(study, seed)
    num_named = sum(len(study.truth[i]) for i in study.unscored)
    num_steps = int(num_steps - num_named / FRAMES_PER_STEP)
    student.learn(int(num_steps * first), student.draw_scored, last=first)
    student.measure(student.draw_scored(NUM_NORM_WINDOWS))
    named = keep_sure(study, student.by_both(study.unscored), smooths=smooths)
    study.relabel(named)
    learner = student.learner
    learner.sampler = ClipSampler(study.store, clip_length=CLIP_LENGTH, window=WINDOW)
    student.movement = fit_movement(study.store, [*study.split.train, *study.unscored])

    half = BATCH_SIZE // 2

    def draw() -> np.ndarray:
        return np.concatenate([student.draw_scored(half), student.draw(named, BATCH_SIZE - half)])

    student.learn(int(num_steps * (1 - first)), draw, first=first)
    student.measure(np.concatenate([draw() for _ in range(NUM_NORM_WINDOWS // BATCH_SIZE)]))
    return student


def keep_sure(study: Study, rows: Sequence[np.ndarray], *, smooths: bool) -> dict[int, np.ndarray]:
    """Return labels of the unscored recordings, -1 where the teacher is not sure enough."""
    if smooths:
        logs = (np.log(np.maximum(row, 1e-4)) for row in rows)
        curves = [
            np.exp(uniform_filter1d(log, SMOOTHED_STEPS, axis=0, mode="nearest")) for log in logs
        ]
        rows = [curve / curve.sum(axis=1, keepdims=True) for curve in curves]
    together = np.concatenate(rows)
    guesses, sureness = together.argmax(axis=1), together.max(axis=1)
    counts = class_counts(study.store, study.split.train)
    labels = np.full(len(together), UNLABELLED, np.int8)
    for label, share in enumerate(counts / counts.sum()):
        places = np.flatnonzero(guesses == label)
        most = share * len(together) if study.has_shares else math.inf
        num_kept = math.ceil(min(SHARE_KEPT * len(places), most))
        labels[places[np.argsort(-sureness[places])[:num_kept]]] = label
    ends = np.cumsum([len(row) for row in rows])[:-1]
    return dict(zip(study.unscored, np.split(labels, ends), strict=True))


def agree_with_average(study: Study, seed: int, num_steps: int) -> Student:
    """Learn from scored windows; later, half of the windows are unscored ones.

    The averaged weights, mixed with the movement model, name each unscored window as it is; where
    they are sure, the network learns that from the window as `augment` changes it. Windows are
    drawn by the class that the movement model names.

    Sources: Tarvainen and Valpola 2017, "Mean teachers are better role models"; Sohn et al. 2020,
    "FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence".
    """
    student = Student(study, seed)
    num_first = num_steps // 2
    num_later = int((num_steps - num_first) / PRICES["FixMatch"])
    student.learn(num_first, student.draw_scored, last=0.5)
    moved = dict(zip(study.unscored, student.by_movement(study.unscored), strict=True))
    guesses = {i: rows.argmax(axis=1) for i, rows in moved.items()}
    half = BATCH_SIZE // 2

    def draw() -> tuple[np.ndarray, np.ndarray]:
        return student.draw_scored(half), student.draw(guesses, BATCH_SIZE - half)

    def take(drawn: tuple[np.ndarray, np.ndarray], rate: float) -> None:
        take_fixmatch_step(student, *drawn, moved, rate)

    student.learn(num_later, draw, take, first=0.5)
    student.measure(student.draw_scored(NUM_NORM_WINDOWS))
    return student


def take_fixmatch_step(
    student: Student, scored: np.ndarray, unscored: np.ndarray, moved: Labels, rate: float
) -> None:
    """Take one step of `agree_with_average`."""
    learner, seed = student.learner, student.seed
    x, labels = learner.load_batch(scored, 0, student.num_steps)
    weak = gather(learner, unscored)
    named = name_windows(student, weak, unscored, moved)
    generator = torch.Generator().manual_seed(derive_seeds(seed, 1, student.num_steps)[1])
    mirror_indices = student.study.store.class_map.mirror_indices
    strong, named = augment(weak, named, mirror_indices, generator)
    torch.manual_seed(derive_seeds(seed, 2, student.num_steps)[0])
    logits = learner.net.dense(lay_out_channels(torch.cat([x, strong])))
    own, other = logits[: len(x)].flatten(0, 1), logits[len(x) :].flatten(0, 1)
    loss = functional.cross_entropy(own, labels.flatten(), ignore_index=UNLABELLED)
    loss += (
        functional.cross_entropy(other, named.flatten(), ignore_index=UNLABELLED, reduction="sum")
        / named.numel()
    )
    descend(learner, loss, rate)
    assert learner.average is not None
    learner.average.update_parameters(learner.net)


def name_windows(
    student: Student, windows: torch.Tensor, samples: np.ndarray, moved: Labels
) -> torch.Tensor:
    """Return the class of each label of windows where the teacher is sure, else -1, (B, K)."""
    teacher = student.learner.judged_net().train()  # its norms are measured only at the end
    for module in teacher.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        seen = torch.softmax(teacher.dense(lay_out_channels(windows)), dim=-1).numpy()
    steps = samples[:, 1:] + np.arange(WINDOW)
    nums = np.array([len(moved[i]) for i in samples[:, 0].tolist()])[:, None]
    kept = np.clip(steps, 0, nums - 1)
    known = np.stack([moved[i][row] for i, row in zip(samples[:, 0].tolist(), kept, strict=True)])
    mixed = mix(seen.reshape(-1, seen.shape[-1]), known.reshape(-1, seen.shape[-1]), (0.7, 0.7))
    mixed = mixed.reshape(seen.shape)
    is_sure = (mixed.max(axis=-1) >= THRESHOLD) & (steps == kept)
    return torch.from_numpy(np.where(is_sure, mixed.argmax(axis=-1), UNLABELLED))


def learn_pretext(study: Study, seed: int, num_steps: int, *, name: str) -> Student:
    """Learn a task without labels from all recordings for a quarter of the time, then as usual."""
    student = Student(study, seed)
    learner = student.learner
    recordings = [*study.split.train, *study.unscored]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seeds(seed, 3)[0])
        if name == "masked":
            movement = {i: study.features(i, student.movement.rate) for i in recordings}
            task: nn.Module = Masked(learner, movement)
        else:
            task = {"pace": Pace, "views": Views}[name](learner)
    optimizer = torch.optim.AdamW(task.parameters(), lr=student.config.learning_rate)
    frames = {i: study.truth[i] for i in recordings}

    def take(samples: np.ndarray, rate: float) -> None:
        generator = torch.Generator().manual_seed(derive_seeds(seed, 3, student.num_steps)[0])
        optimizer.zero_grad()
        descend(learner, task(samples, generator), rate)
        optimizer.step()

    num_first = int(num_steps * PRETEXT_SHARE / PRICES[name])
    student.learn(num_first, lambda: student.draw(frames, BATCH_SIZE, is_balanced=False), take)
    begun = Student(study, seed)  # with new optimizers and a new average
    begun.learner.net.blocks.load_state_dict(learner.net.blocks.state_dict())
    begun.learner.judged_net().load_state_dict(begun.learner.net.state_dict())
    begun.learn(int(num_steps * (1 - PRETEXT_SHARE)), begun.draw_scored)
    begun.measure(begun.draw_scored(NUM_NORM_WINDOWS))
    return begun


WAYS: dict[str, Callable[[Study, int, int], Student]] = {
    "scored only": learn_scored,
    "batch norms of unscored video": adapt_norms,
    "teaches itself": teach_itself,
    "teaches itself, smoothed": partial(teach_itself, smooths=True),
    "agrees with its average": agree_with_average,
    "first: pace": partial(learn_pretext, name="pace"),
    "first: two views": partial(learn_pretext, name="views"),
    "first: masked windows": partial(learn_pretext, name="masked"),
}
MORE = "more scored"  # what scoring more would bring, in the same time


def draw_animals(path: Path, seed: int) -> Path:
    """Write a cache of the animals of a study: scored (more last), validation, unscored, test."""
    rng = np.random.default_rng(5000 + seed)
    kinds = rng.permutation(list(PAIN_LENGTHS))
    num_dealt = NUM_SCORED + NUM_MORE + NUM_VAL  # few animals must show every kind of pain
    recordings = []
    for number in range(num_dealt + NUM_UNSCORED + NUM_TEST):
        frames, codes = draw_recording(
            seed=int(rng.integers(2**31)),
            num_frames=NUM_FRAMES,
            height=SIDE,
            width=SIDE,
            pain_fraction=PAIN_FRACTION,
            pain_codes=np.roll(kinds, -2 * number).tolist() if number < num_dealt else None,
        )
        recordings.append(as_recording(number, frames, codes))
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config={"size": None})
    return path


def split_drawn(store: Store, *, has_more: bool) -> tuple[Split, list[int]]:
    """Return the split of `draw_animals` and its unscored recordings."""
    whole = split_animals(store, NUM_SCORED + NUM_MORE, NUM_VAL)
    train = whole.train if has_more else whole.train[:NUM_SCORED]
    split = Split(train=train, val=whole.val, test=whole.test[NUM_UNSCORED:])
    return split, [*whole.test[:NUM_UNSCORED]]


def split_real(store: Store, path: Path, seed: int, *, has_more: bool) -> tuple[Split, list[int]]:
    """Return a split in which one clip of each class is scored, or all, and the unscored ones."""
    rng = np.random.default_rng(seed)
    whole = read_split(path, store)
    numbers = {info.name: i for i, info in enumerate(store.recordings)}
    listed = [numbers[name] for name, _ in read_rows(path)[1:]]
    rest = [i for i in listed if i not in whole.test]
    shown = [int(class_counts(store, [i]).argmax()) for i in rest]
    chosen = [
        int(rng.choice([i for i, label in zip(rest, shown, strict=True) if label == one]))
        for one in sorted(set(shown))
    ]
    unscored = [] if has_more else [i for i in rest if i not in chosen]
    return Split(train=tuple(rest if has_more else chosen), val=(), test=whole.test), unscored


def compare(cache: Path, split: Path | None, seed: int, num_steps: int, way: str) -> Scores:
    """Return the scores of a way on a cache: the drawn animals, or a real set with its split."""
    store = RelabelledStore(cache)
    with store:
        has_more = way == MORE
        if split is None:
            parts, unscored = split_drawn(store, has_more=has_more)
        else:
            parts, unscored = split_real(store, split, seed, has_more=has_more)
        study = Study(store, parts, unscored, has_shares=split is None)
        return WAYS.get(way, learn_scored)(study, seed, num_steps).score()


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True)
@click.option("--data", type=click.Path(path_type=Path), help="A set of real clips with splits.")
@click.option("--way", "ways", type=click.Choice([MORE, *WAYS]), multiple=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
@click.option("--steps", "num_steps", type=int, default=1000, show_default=True)
def main(
    output: Path, data: Path | None, ways: tuple[str, ...], seeds: tuple[int, ...], num_steps: int
) -> None:
    """Compare ways to learn from unscored video; each seed draws other animals (or clips)."""
    output.mkdir(parents=True, exist_ok=True)
    name = data.name if data else "drawn"
    for way in ways or [MORE, *WAYS]:
        for seed in seeds:
            path = (
                output / f"{name}_{num_steps}_{way.replace(' ', '_').replace(':', '')}_{seed}.json"
            )
            cache = output / (f"{name}.h5" if data else f"{name}_{seed}.h5")
            if data and not cache.exists():
                preprocess(
                    data / "Videos",
                    data / "Annotations",
                    cache,
                    class_map=ClassMap.from_csv(data / "classes.csv"),
                    config=PreprocessConfig(size=(REAL_SIDE, REAL_SIDE)),
                )
            elif not cache.exists():
                draw_animals(cache, seed)
            if not path.exists():
                split = data / f"split{seed}.csv" if data else None
                write_json(path, compare(cache, split, seed, num_steps, way))
            for model, scores in json.loads(path.read_text(encoding="utf-8")).items():
                said = ", ".join(f"{key} {value:.3f}" for key, value in scores.items())
                click.echo(f"{name}, {way}, seed {seed}, {model}: {said}")


if __name__ == "__main__":
    main()
