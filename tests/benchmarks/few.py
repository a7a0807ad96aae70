"""What a few scored videos teach: movement, frozen features of pictures and of squares, and both.

``python -m tests.benchmarks.few --data FOLDER -o RESULTS`` expects ``Videos``, ``Annotations``,
``classes.csv`` and ``split.csv`` (Recording,Part) in FOLDER. It draws a few of the recordings that
do not test, fits the experts on them as ``mpar-train --model none --features`` does, and scores
them: with ``--on others`` on the recordings that neither test nor were drawn, to choose
options by, or with ``--on test``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch

from mpar.cache.store import Store
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.learning.beside import Beside
from mpar.learning.recipe import named_recipe
from mpar.learning.splits import Split
from mpar.network.experts import mix
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.scores.metrics import frame_scores


def draw(store: Store, known: Sequence[int], number: int, seed: int) -> list[int]:
    """Draw recordings that show every class."""
    rng = np.random.default_rng([number, seed])
    while True:
        drawn = sorted(rng.choice(known, number, replace=False).tolist())
        seen = np.unique(np.concatenate([store.labels(i) for i in drawn]))
        if len(seen[seen != UNLABELLED]) == len(store.class_names):
            return drawn


def score(store: Store, drawn: list[int], scored: list[int], view: str) -> dict[str, float]:
    """Return the macro-F1 of each expert alone and of all, on recordings that they never saw."""
    config = named_recipe("mpar", model_type="none", features="lite0", view=view)
    # the experts of a run without a network learn from train and validation alike
    split = Split(tuple(drawn[1:]), tuple(drawn[:1]), tuple(scored))
    beside = Beside(store, split, config, torch.device("cpu"))
    beside.with_powers(beside.powers)
    found = beside.predict(scored)
    found["mixed"] = [
        mix(dict(zip(beside.names, row, strict=True)), beside.experts.powers)
        for row in zip(*(found[name] for name in beside.names), strict=True)
    ]
    truth = np.concatenate([store.step_labels(i) for i in scored])
    return {
        name: frame_scores(
            truth, np.concatenate([p.argmax(axis=1) for p in rows]), store.class_names
        ).macro_f1
        for name, rows in found.items()
    }


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), default="few", show_default=True)
@click.option("--numbers", default="4,8,16", show_default=True, help="How many are scored.")
@click.option("--draws", default=10, show_default=True)
@click.option("--follow/--no-follow", default=True, show_default=True)
@click.option("--follow-size", type=int, help="Side of the squares in px; by default as measured.")
@click.option("--size", default=128, show_default=True, help="Of frames and squares in px.")
@click.option("--view", default="side", show_default=True)
@click.option("--on", type=click.Choice(["others", "test"]), default="others", show_default=True)
def main(
    data: Path,
    output: Path,
    numbers: str,
    draws: int,
    follow: bool,
    follow_size: int | None,
    size: int,
    view: str,
    on: str,
) -> None:
    """Print macro-F1, the mean and the standard deviation over draws."""
    output.mkdir(parents=True, exist_ok=True)
    cache = output / f"{data.name}_{follow_size or follow}_{size}.h5"
    preprocess(
        data / "Videos",
        data / "Annotations",
        cache,
        class_map=ClassMap.from_csv(data / "classes.csv"),
        config=PreprocessConfig(size=(size, size), follow=follow, follow_size=follow_size),
    )
    with (data / "split.csv").open(encoding="utf-8") as file:
        parts = {row["Recording"]: row["Part"] for row in csv.DictReader(file)}
    with Store(cache) as store:
        test = [i for i, info in enumerate(store.recordings) if parts[info.name] == "test"]
        known = [i for i in range(len(store.recordings)) if i not in test]
        for number in (len(known) if n == "all" else int(n) for n in numbers.split(",")):
            found = []
            for seed in range(1 if number == len(known) else draws):
                drawn = draw(store, known, number, seed)
                others = [i for i in known if i not in drawn]
                found.append(score(store, drawn, test if on == "test" else others, view))
            texts = []
            for name in found[0]:
                values = [one[name] for one in found]
                texts.append(f"{name} {np.mean(values):.3f} ± {np.std(values):.3f}")
            click.echo(f"{cache.stem}, {number} scored, on {on}: {', '.join(texts)}")


if __name__ == "__main__":
    main()
