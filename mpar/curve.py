"""The learning curve: networks that learn from a quarter, half and all of the animals."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from mpar.cache.joined import Caches, open_store
from mpar.cache.store import Store
from mpar.comparisons import compare_with_store
from mpar.errors import ConfigError
from mpar.inference import ActionRecognitionInference
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import responses_or_all
from mpar.learning.recipe import TrainConfig
from mpar.learning.runs import choose_split, make_run_folder, read_plan, write_plan
from mpar.learning.splits import (
    Split,
    check_learnable,
    write_split,
)
from mpar.report.score_plots import plot_learning_curve
from mpar.report.style import save_figure
from mpar.scores.comparison import Comparison
from mpar.scores.learning_curve import measure_curve
from mpar.system.files import write_json, write_text
from mpar.system.team import refuse_team
from mpar.train import best_checkpoint, train_parts

PLAN = "learning_curve_plan.json"
SHARES = {"quarter": 0.25, "half": 0.5, "all": 1.0}


def begin_curve(
    cache_path: Caches,
    output_folder: Path | str = "checkpoints",
    *,
    config: TrainConfig | None = None,
    split_path: Path | str | None = None,
    init_path: Path | str | None = None,
    access: str = "mmap",
) -> Path:
    """Choose nested quarters and halves of the training animals and write the plan of training.

    Parameters
    ----------
    cache_path, output_folder, config, split_path, init_path, access
        As for `mpar.train.train`. All networks share the validation and test animals.

    Returns
    -------
    Path
        The folder ``curve_YYYYMMDD_HHMMSS``, with a split for each network; pass it to
        `run_curve`.

    Raises
    ------
    ConfigError
        There are too few animals, no test animal, or torchrun started several processes.
    """
    refuse_team("the learning curve")
    config = config or TrainConfig()
    with open_store(cache_path, access=access) as store:
        split = choose_split(store, config, split_path)
        if not split.test:
            raise ConfigError(
                "learning curve: found no test animals; raise --test-fraction, or name some in "
                "--split"
            )
        splits: dict[str, Split] = {}
        for name, share in SHARES.items():
            splits[name] = _shrink(split, store, share, seed=config.seed)
            check_learnable(store, splits[name], f"the {name} of the animals to train on")
        folder = make_run_folder(Path(output_folder), prefix="curve")
        for name, part in splits.items():
            write_split(folder / f"{name}.csv", part, store)
    write_plan(
        folder / PLAN,
        cache_path,
        access=access,
        init_path=init_path,
        config=config,
    )
    return folder


def is_curve(folder: Path | str) -> bool:
    """Return True if a folder is from `begin_curve`."""
    return (Path(folder) / PLAN).is_file()


def run_curve(
    folder: Path | str,
    *,
    cache_path: Caches | None = None,
    device: str = "auto",
    quiet: bool = True,
) -> dict[str, Any]:
    """Train the unfinished networks of a learning curve, and score them on the test animals.

    Parameters
    ----------
    folder : Path or str
        From `begin_curve`. Each network has a run folder in it; an interrupted run continues
        where it stopped.
    cache_path : Path, str or sequence of them, optional
        New paths of the caches if they were moved.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    quiet : bool
        Show no progress bars.

    Returns
    -------
    dict
        From `mpar.scores.learning_curve.measure_curve`, also written as ``learning_curve.json``,
        with ``learning_curve.png`` and ``.pdf`` and the verdict in ``learning_curve.txt``.

    Raises
    ------
    ConfigError
        The folder has no readable plan, or torchrun started several processes.
    TrainingInterruptedError
        SIGINT or SIGTERM stopped training; the state is saved.
    """
    refuse_team("the learning curve")
    folder = Path(folder)
    plan = read_plan(folder / PLAN, "learning curve")
    cache_path = cache_path or plan.cache
    train_parts(
        folder,
        list(SHARES),
        cache_path=cache_path,
        config=plan.config,
        init_path=plan.init,
        access=plan.access,
        device=device,
        quiet=quiet,
    )
    with open_store(cache_path, access=plan.access) as store:
        curve = _measure(folder, store, device=device, quiet=quiet)
    write_json(folder / "learning_curve.json", curve)
    write_text(folder / "learning_curve.txt", curve["verdict"] + "\n")
    save_figure(plot_learning_curve(curve), folder / "learning_curve")
    return curve


def _shrink(split: Split, store: Store, share: float, *, seed: int) -> Split:
    """Return the split with a share of its training animals; smaller shares are parts of larger."""
    group_of = {i: store.recordings[i].group for i in split.train}
    groups = np.random.default_rng(seed).permutation(sorted(set(group_of.values())))
    kept = set(groups[: max(1, round(share * len(groups)))].tolist())
    train = tuple(i for i in split.train if group_of[i] in kept)
    return dataclasses.replace(split, train=train)


def _measure(folder: Path, store: Store, *, device: str, quiet: bool) -> dict[str, Any]:
    positions = {info.name: i for i, info in enumerate(store.recordings)}
    num_animals, train_parts_of, found = [], [], []
    for name in SHARES:
        network = ActionRecognitionInference(best_checkpoint(folder / name), device)
        split = network.checkpoint.split
        num_animals.append(len({item["group"] for item in split["train"]}))
        train_parts_of.append([positions[item["name"]] for item in split["train"]])
        test = [positions[item["name"]] for item in split["test"]]
        comparisons: list[Comparison] = compare_with_store(network, store, test, quiet=quiet)
        found.append(comparisons)
    return measure_curve(
        num_animals,
        [_count_shown_bouts(store, recordings) for recordings in train_parts_of],
        found,
        store.class_names,
        responses=store.class_map.responses,
    )


def _count_shown_bouts(store: Store, recordings: list[int]) -> int:
    """Return the number of bouts of the responses, or of all classes if there are none."""
    names, responses = store.class_names, store.class_map.responses
    shown = [names.index(name) for name in responses_or_all(names, responses)]
    return sum(int(find_bouts(store.step_labels(i))["label"].isin(shown).sum()) for i in recordings)
