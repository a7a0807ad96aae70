"""Real videos: mpar, its parts, the original recipe and baselines on the same splits.

``python -m tests.benchmarks.real --data FOLDER -o RESULTS`` expects one folder a set in FOLDER:
``Videos``, ``Annotations``, ``classes.csv``, and either ``split0.csv``, ``split1.csv``, ...
(columns ``Recording,Part``), or nothing: then each video, or each session (the letter s and a
number at the start of the name), is held out once. A set may hold ``view.txt`` with the word side.
What RESULTS holds already is not done again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.inference import ActionRecognitionInference
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.learning.recipe import TrainConfig, named_recipe
from mpar.network.checkpoint import load_checkpoint
from mpar.network.comparing import compare_with_store
from mpar.network.experts import EXPERTS
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.scores.metrics import frame_scores
from mpar.system.files import write_json, write_rows
from mpar.train import best_checkpoint, train

Scores = dict[str, dict[str, float]]


def make_splits(names: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the part of each recording, with each video or session as the test part once.

    The next one validates. With only two, nothing is left to train on.
    """
    found = {name: re.match(r"s\d+", name) for name in names}
    group_of = {
        name: match[0] if match and all(found.values()) else name for name, match in found.items()
    }
    groups = sorted(set(group_of.values()))
    for number, test in enumerate(groups):
        val = groups[(number + 1) % len(groups)]
        yield {
            name: "test" if group == test else "val" if group == val else "train"
            for name, group in group_of.items()
        }


def find_splits(folder: Path, names: Sequence[str], work: Path) -> list[Path]:
    """Return the split files of a set, made if it brings none."""
    if own := sorted(folder.glob("split*.csv")):
        return own
    paths = []
    for number, parts in enumerate(make_splits(names)):
        paths.append(work / f"split{number}.csv")
        rows = [["Recording", "Part"], *([name, part] for name, part in parts.items())]
        write_rows(paths[-1], rows)
    return paths


def score(checkpoint: Path, store: Store, recordings: Sequence[int]) -> dict[str, float]:
    """Return the scores of a network, without post-processing."""
    network = ActionRecognitionInference(checkpoint, "cpu")
    comparisons = compare_with_store(network, store, recordings)
    truth = np.concatenate([c.truth for c in comparisons])
    raw = [c.predicted if c.raw is None else c.raw for c in comparisons]
    return scores_of(truth, np.concatenate(raw), store.class_names)


def scores_of(truth: np.ndarray, predicted: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Return balanced accuracy, macro-F1 and accuracy."""
    scores = frame_scores(truth, predicted, names)
    return {
        "balanced_accuracy": scores.balanced_accuracy,
        "macro_f1": scores.macro_f1,
        "accuracy": scores.accuracy,
    }


def measure(cache: Path, split: Path, work: Path, config: TrainConfig, *, original: bool) -> Scores:
    """Train on a split and score everything on its test part."""
    run = train(cache, work, config=config, split_path=split, device="cpu")
    best = best_checkpoint(run)
    checkpoint = load_checkpoint(best)
    test_names = {item["name"] for item in checkpoint.split["test"]}
    with Store(cache) as store:
        test = [i for i, info in enumerate(store.recordings) if info.name in test_names]
        if original:
            return {"original recipe": score(best, store, test)}
        comparisons = compare_with_store(ActionRecognitionInference(best, "cpu"), store, test)
        truth = np.concatenate([c.truth for c in comparisons])
        frequent = np.full(len(truth), np.bincount(truth[truth != UNLABELLED]).argmax())
        labels = {"mpar": [c.predicted if c.raw is None else c.raw for c in comparisons]}
        for name in EXPERTS:
            if all(name in c.alone for c in comparisons):
                labels[f"{name} alone"] = [c.alone[name] for c in comparisons]
        return {
            **{
                name: scores_of(truth, np.concatenate(found), store.class_names)
                for name, found in labels.items()
            },
            "most frequent class": scores_of(truth, frequent, store.class_names),
        }


def run_set(
    folder: Path,
    output: Path,
    options: dict[str, Any],
    frames: PreprocessConfig,
    *,
    with_original: bool,
) -> Scores:
    """Return the mean scores of a set over its splits."""
    work = output / folder.name
    work.mkdir(parents=True, exist_ok=True)
    cache = work / "cache.h5"
    preprocess(
        folder / "Videos",
        folder / "Annotations",
        cache,
        class_map=ClassMap.from_csv(folder / "classes.csv"),
        config=frames,
    )
    view = "side" if (folder / "view.txt").exists() else "bottom"
    with Store(cache) as store:
        names = [info.name for info in store.recordings]
    recipes = {"mpar": named_recipe("mpar", view=view, **options)}
    if with_original:
        recipes["original"] = named_recipe("original", **options)
    found: dict[str, list[dict[str, float]]] = {}
    for split in find_splits(folder, names, work):
        for name, config in recipes.items():
            path = work / f"{split.stem}_{name}_{config.seed}.json"
            if not path.exists():
                place = work / f"{split.stem}_{name}"
                scores = measure(cache, split, place, config, original=name == "original")
                write_json(path, scores)
            for what, values in json.loads(path.read_text(encoding="utf-8")).items():
                found.setdefault(what, []).append(values)
                click.echo(f"{folder.name} {split.stem} seed {config.seed} {what}: {_text(values)}")
    return {
        what: {key: float(np.mean([one[key] for one in values])) for key in values[0]}
        for what, values in found.items()
    }


def _text(values: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items())


@click.command()
@click.option("--data", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), default="real", show_default=True)
@click.option("--only", "names", multiple=True, help="Name of a set; repeat for several.")
@click.option("--minutes", type=float, default=0.0, help="For each training; 0: the default.")
@click.option("--epochs", type=int, default=0, help="Instead of minutes.")
@click.option("--model", default="standard", show_default=True)
@click.option("--features", default="", help='"lite0", or a file .onnx.')
@click.option("--follow/--no-follow", default=False, show_default=True)
@click.option("--size", default=64, show_default=True, help="Of frames and squares in px.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--original/--no-original", default=True, show_default=True)
def main(
    data: Path | None,
    output: Path,
    names: tuple[str, ...],
    minutes: float,
    epochs: int,
    model: str,
    features: str,
    follow: bool,
    size: int,
    seed: int,
    original: bool,
) -> None:
    """Print the scores of each real set."""
    folders = sorted(path.parent for path in data.glob("*/classes.csv")) if data else []
    folders = [folder for folder in folders if not names or folder.name in names]
    if not folders:
        raise click.UsageError(
            "--data: found no set, expected a folder of sets, each with Videos, Annotations and "
            "classes.csv; add split0.csv (columns Recording,Part) to fix what is held out"
        )
    options = {
        **{"minutes": minutes, "num_epochs": epochs, "model_type": model, "seed": seed},
        **({"features": features} if features else {}),
    }
    frames = PreprocessConfig(size=(size, size), follow=follow)
    for folder in folders:
        try:
            means = run_set(folder, output, options, frames, with_original=original)
        except ConfigError as error:
            click.echo(f"{folder.name}: left out ({error})")
            continue
        for what, values in means.items():
            click.echo(f"{folder.name} mean {what}: {_text(values)}")


if __name__ == "__main__":
    main()
