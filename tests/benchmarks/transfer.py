"""What a lab with few animals gains from another lab's network.

``python -m tests.benchmarks.transfer -o FOLDER`` teaches one network the default classes on 24
animals. A second lab has four labelled animals of its own and three classes of its own; it learns
them from the beginning, from the first lab's network (``--init``), and from it with the last
layers learnt first (``--freeze-backbone-epochs``), in as many steps each. Each is scored on 60
other animals.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import click

from mpar.cache.store import Store
from mpar.labels.classes import ClassMap
from mpar.learning.recipe import TrainConfig, named_recipe
from mpar.network.checkpoint import Checkpoint, load_checkpoint
from mpar.system.files import write_json
from mpar.train import best_checkpoint
from tests.benchmarks.learning import Trial, TrialRun, make_animals, split_animals

# of a lab that asks only whether an animal cares for its paw
CLASSES = ClassMap(
    rows=(
        (0, "rest", "other"),
        (1, "paw_withdraw", "paw_reflex"),
        (2, "paw_lick", "paw_lick"),
        (3, "paw_guard", "paw_reflex"),
        (4, "paw_shake", "paw_reflex"),
        (5, "flinch", "paw_reflex"),
        (6, "walk", "other"),
        (7, "active", "other"),
    )
)
NUM_TEACHER_STEPS, NUM_STEPS = 600, 150
PAIN_FRACTION = 0.05  # some ten events in four animals


def recipe(seed: int, num_epochs: int, **changes: Any) -> TrainConfig:
    """Return the recipe of both labs."""
    return named_recipe("mpar", model_type="light", num_epochs=num_epochs, seed=seed, **changes)


def learn(
    store: Store,
    config: TrainConfig,
    num_steps: int,
    num_train: int,
    init: Checkpoint | None,
    *,
    quiet: bool,
) -> tuple[Checkpoint, dict[str, Any]]:
    """Train, and return the last checkpoint and the scores of the animals held out."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        split = split_animals(store, num_train, 2)
        trial = Trial(config, config.batch_size * num_steps)
        run = TrialRun(Path(folder), store, split, trial, init)
        run.execute(quiet=quiet)
        return load_checkpoint(best_checkpoint(folder)), run.scores[-1]


WAYS: dict[str, tuple[bool, int]] = {
    "from the beginning": (False, 0),
    "begun with the other network": (True, 0),
    "and its last layers learnt first": (True, 1),
}


def compare(folder: Path, seed: int, *, quiet: bool) -> dict[str, float]:
    """Return the macro-F1 of each way with one seed."""
    teacher_cache = make_animals(
        folder / f"teacher_{seed}.h5", 1000 + seed, num_animals=27, pain_fraction=PAIN_FRACTION
    )
    own_cache = make_animals(
        folder / f"own_{seed}.h5",
        2000 + seed,
        num_animals=66,
        pain_fraction=PAIN_FRACTION,
        class_map=CLASSES,
    )
    with Store(teacher_cache) as store:
        teacher, _ = learn(store, recipe(seed, 1), NUM_TEACHER_STEPS, 24, None, quiet=quiet)
    scores = {}
    with Store(own_cache) as store:
        for way, (is_begun, num_frozen) in WAYS.items():
            config = recipe(seed, 5, freeze_backbone_epochs=num_frozen)
            init = teacher if is_begun else None
            scores[way] = learn(store, config, NUM_STEPS, 4, init, quiet=quiet)[1]["macro_f1"]
    return scores


@click.command()
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
@click.option("--quiet", is_flag=True)
def main(output: Path, seeds: tuple[int, ...], quiet: bool) -> None:
    """Compare the ways with several seeds (animals and training both)."""
    output.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, float]] = []
    for seed in seeds:
        path = output / f"transfer_{seed}.json"
        if not path.exists():
            write_json(path, compare(output, seed, quiet=quiet))
        found.append(json.loads(path.read_text(encoding="utf-8")))
        click.echo(f"seed {seed}: {found[-1]}")
    for way in WAYS:
        values = [scores[way] for scores in found]
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        click.echo(f"{way}: macro-F1 {statistics.mean(values):.2f}{spread}")


if __name__ == "__main__":
    main()
