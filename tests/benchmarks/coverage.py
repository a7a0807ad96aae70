"""How often the intervals of `mpar.scores.estimate` hold the truth, and how wide they are.

``python -m tests.benchmarks.coverage -o FOLDER`` simulates studies: six animals with bouts drawn at
random, and a network that misses bouts, invents some, misplaces edges and is more or less sure of
it. Some stretches are checked against the truth, drawn as `Estimate` does and plainly at random.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from mpar.labels.bouts import find_bouts
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.labels.scorings import Recording
from mpar.scores.estimate import Estimate
from mpar.scores.metrics import frame_scores
from mpar.scores.sampling import NUM_STRATA
from mpar.system.files import write_json
from mpar.video.timeline import TimeLine

FPS = 10
NUM_ANIMALS, MINUTES = 6, 10.0
NUMBERS = (60, 200)  # of stretches checked
PLAIN_SHARE = 5  # plain random checking, for the widths, in a fifth of the studies
NAMES = DEFAULT_CLASS_MAP.class_names
PAIN = [NAMES.index(name) for name in DEFAULT_CLASS_MAP.responses]
OTHERS = [k for k in range(len(NAMES)) if k not in PAIN]
PAIN_SECONDS = dict(zip(PAIN, (0.5, 1.5, 0.8), strict=True))  # mean length of a bout


@dataclass(frozen=True)
class Kind:
    """A kind of study: share of pain, and what the network does wrong."""

    pain: float  # share of the frames
    missed: float  # share of the bouts of pain that get another class
    invented: float  # bouts a minute of each class of pain
    sureness: float  # log odds of the predicted class
    jitter: float  # standard deviation of the edges, in seconds


KINDS = {
    "usual": Kind(0.06, 0.15, 0.3, 2.0, 0.1),
    "1 % pain": Kind(0.01, 0.2, 0.1, 2.0, 0.1),
    "bad network": Kind(0.05, 0.6, 1.5, 1.5, 0.2),
    "1 % pain, bad and sure": Kind(0.01, 0.6, 0.5, 3.0, 0.2),
}


def draw_study(seed: int, kind: Kind) -> tuple[list[Recording], dict[str, NDArray[np.int64]]]:
    """Draw the animals of a study: their predictions and true labels by name."""
    rng = np.random.default_rng(seed)
    predictions, truths = [], {}
    for number in range(NUM_ANIMALS):
        name = f"mouse_{number}"
        truth = draw_truth(rng, round(60 * MINUTES * FPS), kind.pain * rng.gamma(2, 0.5))
        missed = min(0.95, kind.missed * rng.gamma(4, 1 / 4))
        labels = guess(rng, truth, kind, missed, kind.invented * rng.gamma(2, 0.5))
        probabilities = draw_probabilities(rng, truth, labels, kind.sureness)
        predictions.append(
            Recording(
                name=name,
                video=f"{name}.mp4",
                line=TimeLine(len(labels), Fraction(FPS)),
                labels=labels.astype(np.int8),
                probabilities=probabilities,
            )
        )
        truths[name] = truth
    return predictions, truths


def draw_truth(rng: np.random.Generator, num_frames: int, pain: float) -> NDArray[np.int64]:
    """Draw the labels of an animal: bouts of pain amid the other classes."""
    labels = np.empty(num_frames, np.int64)
    at, k = 0, OTHERS[0]
    while at < num_frames:
        stop = at + max(2, int(rng.gamma(2, 4 if k == OTHERS[0] else 1.5) * FPS))
        labels[at:stop] = k
        at, k = stop, rng.choice([other for other in OTHERS if other != k])
    for k, seconds in PAIN_SECONDS.items():
        for _ in range(rng.poisson(pain / len(PAIN) * num_frames / FPS / seconds)):
            length = max(1, int(rng.gamma(3, seconds / 3) * FPS))
            start = rng.integers(0, max(1, num_frames - length))
            labels[start : start + length] = k
    return labels


def guess(
    rng: np.random.Generator,
    truth: NDArray[np.int64],
    kind: Kind,
    missed: float,
    invented: float,
) -> NDArray[np.int64]:
    """Return what the network makes of an animal."""
    labels = truth.copy()
    for start, stop, k in find_bouts(truth).itertuples(index=False):
        if rng.random() < (missed if k in PAIN else 0.3 * missed):
            others = OTHERS if k in PAIN else [other for other in range(len(NAMES)) if other != k]
            labels[start:stop] = rng.choice(others)
            continue
        shift = round(rng.normal(0, kind.jitter * FPS))
        if shift > 0:
            labels[start : min(stop, start + shift)] = labels[max(0, start - 1)]
        elif shift < 0 <= start + shift:
            labels[start + shift : start] = k
    for k in PAIN:
        for _ in range(rng.poisson(invented * len(truth) / FPS / 60)):
            start = rng.integers(0, len(truth))
            labels[start : start + max(1, int(rng.gamma(3, 0.25) * FPS))] = k
    return labels


def draw_probabilities(
    rng: np.random.Generator, truth: NDArray[np.int64], labels: NDArray[np.int64], sureness: float
) -> NDArray[np.float32]:
    """Draw probabilities by predicted bout; errors are less sure, and half show the true class."""
    rows = np.empty((len(labels), len(NAMES)))
    for start, stop, k in find_bouts(labels).itertuples(index=False):
        wrong = (truth[start:stop] != k).mean()
        odds = sureness * (1 - wrong * rng.random()) + rng.normal(0, 1)
        share = 1 / (1 + math.exp(-odds))
        others = rng.dirichlet(np.full(len(NAMES), 0.3))
        if rng.random() < 0.6:
            others = 0.6 * others
            others[np.bincount(truth[start:stop]).argmax()] += 0.4
        others[k] = 0
        row = others / max(others.sum(), 1e-9) * (1 - share)
        row[k] = max(share, row.max() + 0.02)
        rows[start:stop] = row / row.sum()
    return rows.astype(np.float32)


def check_study(
    seed: int, kind: Kind, num_strata: int = NUM_STRATA
) -> Iterator[tuple[int, str, str, float, float | None, list[float] | None]]:
    """Check stretches of a study.

    Yields (number checked, "pain" or "other", which number, truth, estimate, interval).
    """
    predictions, truths = draw_study(seed, kind)
    estimate = Estimate(
        predictions,
        NAMES,
        responses=DEFAULT_CLASS_MAP.responses,
        seed=seed,
        path=None,
        num_strata=num_strata,
    )
    while estimate.num_checked < max(NUMBERS):
        stretch = estimate.next_stretch()
        assert stretch is not None
        estimate.record(stretch, truths[stretch.recording][stretch.start : stretch.stop])
    true = np.concatenate([truths[item.name] for item in predictions])
    scores = frame_scores(true, np.concatenate([item.labels for item in predictions]), NAMES)
    for number in NUMBERS:
        result = estimate.result(number)
        for k, name in enumerate(NAMES):
            kind_of = "pain" if k in PAIN else "other"
            expected = {
                "precision": float(scores.precision[k]),
                "recall": float(scores.recall[k]),
                "f1": float(scores.f1[k]),
                "seconds": float((true == k).sum() / FPS),
            }
            for key, value in expected.items():
                found = result["classes"][name][key]
                yield number, kind_of, key, value, found["estimate"], found["interval"]
        for animal, cells in result["animals"].items():
            for name, found in cells.items():
                seconds = float((truths[animal] == NAMES.index(name)).sum() / FPS)
                key = "seconds by animal"
                yield number, "pain", key, seconds, found["estimate"], found["interval"]


def run_studies(kind: Kind, num_studies: int, num_strata: int = NUM_STRATA) -> list[dict[str, Any]]:
    """Return one row for each number: coverage, width, bias, root mean squared error."""
    found: dict[tuple[int, str, str], list[tuple[float, float, float, float]]] = {}
    for seed in range(num_studies):
        for number, kind_of, key, truth, estimate, ends in check_study(seed, kind, num_strata):
            if estimate is None or ends is None or math.isnan(truth):
                continue
            low, high = ends
            found.setdefault((number, kind_of, key), []).append((truth, estimate, low, high))
    rows = []
    for (number, kind_of, key), values in sorted(found.items()):
        truth, estimate, low, high = np.array(values).T
        rows.append(
            {
                "checked": number,
                "classes": kind_of,
                "number": key,
                "intervals": len(values),
                "below": float((truth < low - 1e-9).mean()),
                "above": float((truth > high + 1e-9).mean()),
                "coverage": float(((truth >= low - 1e-9) & (truth <= high + 1e-9)).mean()),
                "width": float((high - low).mean()),
                "median_width": float(np.median(high - low)),
                "bias": float((estimate - truth).mean()),
                "error": float(np.sqrt(((estimate - truth) ** 2).mean())),
                "truth": float(truth.mean()),
            }
        )
    return rows


def lay_out(results: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Lay out coverage, and widths against plain random checking, as a table."""
    columns = ["study", "checked", "classes", "number", "intervals", "hold the truth", "width"]
    columns += ["bias", "width by chance", "times as wide"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for kind, ways in results.items():
        plain = {(r["checked"], r["classes"], r["number"]): r for r in ways["plain"]}
        for row in ways["drawn"]:
            other = plain.get((row["checked"], row["classes"], row["number"]))
            cells = [kind, str(row["checked"]), row["classes"], row["number"]]
            cells += [f"{row['intervals']:,}", f"{100 * row['coverage']:.1f} %"]
            cells += [f"{row['width']:.3g}", f"{row['bias']:+.2g}"]
            cells += (
                [f"{other['width']:.3g}", f"{other['width'] / row['width']:.2f}"]
                if other and row["width"]
                else ["", ""]
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True)
@click.option("--studies", type=int, default=1000, show_default=True, help="Of each kind.")
@click.option("--kind", "kinds", type=click.Choice(list(KINDS)), multiple=True)
@click.option("--table", "is_table_only", is_flag=True, help="Run nothing.")
def main(output: Path, studies: int, kinds: tuple[str, ...], is_table_only: bool) -> None:
    """Simulate studies of each kind and count how often intervals hold the truth."""
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for number, (name, kind) in enumerate(KINDS.items()):
        path = output / f"kind_{number}.json"
        if not path.exists() and not is_table_only and (not kinds or name in kinds):
            plain = run_studies(kind, max(1, studies // PLAIN_SHARE), 1)
            found = {"drawn": run_studies(kind, studies), "plain": plain}
            write_json(path, found)
        if path.exists():
            results[name] = json.loads(path.read_text(encoding="utf-8"))
    click.echo(lay_out(results))


if __name__ == "__main__":
    main()
