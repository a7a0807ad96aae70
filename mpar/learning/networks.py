"""Several networks of one cache: cross-validation, and the learning curve."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpar.cache.joined import Caches, as_text
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import responses_or_all
from mpar.learning.recipe import TrainConfig
from mpar.learning.runs import (
    CURVE_PLAN,
    FOLDS_PLAN,
    choose_split,
    make_run_folder,
    read_plan,
    write_plan,
)
from mpar.learning.splits import (
    Split,
    check_learnable,
    fold_splits,
    write_split,
)
from mpar.learning.training import (
    best_checkpoint,
    resolve_model,
    resume_training,
    train,
    with_features,
)
from mpar.network.comparing import compare_with_store
from mpar.network.features import load_embedder
from mpar.network.predictor import ActionRecognitionInference
from mpar.report.evaluation_files import Strips, film_strips, wants_page, write_evaluation
from mpar.report.score_plots import plot_learning_curve
from mpar.report.style import save_figure
from mpar.scores.agreement import measure_agreement
from mpar.scores.comparison import Comparison
from mpar.scores.learning_curve import measure_curve
from mpar.system.files import write_json, write_text
from mpar.system.team import refuse_team

log = logging.getLogger(__name__)


def begin_folds(
    cache_path: Caches,
    output_folder: Path | str = "checkpoints",
    *,
    num_folds: int | None,
    config: TrainConfig | None = None,
    init_path: Path | str | None = None,
    device: str = "auto",
    access: str = "mmap",
) -> Path:
    """Divide the animals of a cache into folds and write the plan of training.

    Parameters
    ----------
    cache_path : Path or str
        Made by mpar-preprocess.
    output_folder : Path or str
        The folder ``folds_YYYYMMDD_HHMMSS`` is created in it.
    num_folds : int, optional
        Number of folds; None for one per animal.
    config : TrainConfig, optional
        The recipe of every fold; its `test_fraction` is not used.
    init_path, device, access
        As for `mpar.train.train`; the device only chooses the model type auto.

    Returns
    -------
    Path
        The folder, with ``folds.json`` and a split for each fold; pass it to `run_folds`.

    Raises
    ------
    ConfigError
        There are too few animals, or torchrun started several processes.
    """
    refuse_team("cross-validation")
    config = _recipe_of_all(config, init_path, device)
    with Store(cache_path, access=access) as store:
        splits = fold_splits(store, num_folds, val_fraction=config.val_fraction, seed=config.seed)
        for number, split in enumerate(splits, start=1):
            check_learnable(store, split, config, f"the train part of fold {number}")
        folder = make_run_folder(Path(output_folder), prefix="folds")
        for number, split in enumerate(splits, start=1):
            write_split(folder / f"fold_{number}.csv", split, store)
    write_plan(
        folder / FOLDS_PLAN,
        cache_path,
        access=access,
        init_path=init_path,
        config=config,
        num_folds=len(splits),
    )
    return folder


def _recipe_of_all(
    config: TrainConfig | None, init_path: Path | str | None, device: str
) -> TrainConfig:
    """Return the recipe of all networks, whose model type is chosen once, so that they are alike.

    Networks that start from a checkpoint are of its model type instead.
    """
    config = config or TrainConfig()
    if config.features:
        load_embedder(config.features)  # if it is not there, nothing has been written yet
    return config if init_path is not None else resolve_model(config, device)


def run_folds(
    folder: Path | str,
    *,
    cache_path: Caches | None = None,
    html: bool = False,
    features: str | None = None,
    device: str = "auto",
    quiet: bool = True,
) -> dict[str, Any]:
    """Train all unfinished folds, one after the other, and score all animals together.

    Parameters
    ----------
    folder : Path or str
        From `begin_folds`. Each fold has a run folder ``fold_N`` in it; an interrupted run
        continues where it stopped.
    cache_path : Path, str or sequence of them, optional
        New paths of the caches if they were moved.
    features : str, optional
        New path of the image network if it was moved.
    html : bool
        As for `write_evaluation`; with frames of the worst disagreements of all folds.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    quiet : bool
        Show no progress bars.

    Returns
    -------
    dict
        The content of ``evaluation/metrics.json``: the scores over the frames and bouts of all
        animals (not the mean of the folds' scores, since a fold may lack a class), and ``folds``.

    Raises
    ------
    ConfigError
        The folder has no readable plan, or torchrun started several processes.
    TrainingInterruptedError
        SIGINT or SIGTERM stopped training; the state is saved.
    """
    refuse_team("cross-validation")
    folder = Path(folder)
    plan = read_plan(folder / FOLDS_PLAN, "cross-validation", "num_folds")
    cache_path = cache_path or plan.cache
    num_folds = plan.counts["num_folds"]
    train_parts(
        folder,
        [f"fold_{number}" for number in range(1, num_folds + 1)],
        cache_path=cache_path,
        config=plan.config,
        init_path=plan.init,
        access=plan.access,
        features=features,
        device=device,
        quiet=quiet,
    )
    with Store(cache_path, access=plan.access) as store:
        return _evaluate_folds(
            folder, store, num_folds, html=html, features=features, device=device, quiet=quiet
        )


def _evaluate_folds(
    folder: Path,
    store: Store,
    num_folds: int,
    *,
    html: bool,
    features: str | None,
    device: str,
    quiet: bool,
) -> dict[str, Any]:
    """Score every animal by the network of the fold that held it out."""
    comparisons: list[Comparison] = []
    recordings: list[int] = []
    folds = []
    positions = {info.name: i for i, info in enumerate(store.recordings)}
    for number in range(1, num_folds + 1):
        best = best_checkpoint(folder / f"fold_{number}")
        network = ActionRecognitionInference(best, device, features=features)
        test = [positions[item["name"]] for item in network.checkpoint.split["test"]]
        found = compare_with_store(network, store, test, quiet=quiet)
        comparisons += found
        recordings += test
        agreement = measure_agreement(found, store.class_names)
        folds.append(
            {
                "fold": number,
                "checkpoint": str(best),
                "checkpoint_sha256": network.checkpoint.digest,
                "recordings": [store.recordings[i].name for i in test],
                "macro_f1": agreement.frames.macro_f1,
            }
        )
    provenance = {
        "cache": as_text(store.paths),
        "cache_fingerprint": store.fingerprint,
        "selection": f"cross-validation, {num_folds} folds by animal",
        "folds": folds,
    }
    strips: Strips = ()
    if wants_page(folder / "evaluation", html):
        strips = film_strips(store, recordings, comparisons, store.class_map)
    return write_evaluation(
        folder / "evaluation",
        comparisons,
        store.class_names,
        responses=store.class_map.responses,
        provenance=provenance,
        html=html,
        strips=strips,
        overwrite=True,
    )


SHARES = {"quarter": 0.25, "half": 0.5, "all": 1.0}


def begin_curve(
    cache_path: Caches,
    output_folder: Path | str = "checkpoints",
    *,
    config: TrainConfig | None = None,
    split_path: Path | str | None = None,
    init_path: Path | str | None = None,
    device: str = "auto",
    access: str = "mmap",
) -> Path:
    """Choose nested quarters and halves of the training animals and write the plan of training.

    Parameters
    ----------
    cache_path, output_folder, config, split_path, init_path, device, access
        As for `begin_folds` and `mpar.train.train`. All networks share the validation and test
        animals.

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
    config = _recipe_of_all(config, init_path, device)
    with Store(cache_path, access=access) as store:
        split = choose_split(store, config, split_path)
        if not split.test:
            raise ConfigError(
                "learning curve: found no test animals; raise --test-fraction, or name some in "
                "--split"
            )
        splits: dict[str, Split] = {}
        for name, share in SHARES.items():
            splits[name] = _shrink(split, store, share, seed=config.seed)
            check_learnable(store, splits[name], config, f"the {name} of the animals to train on")
        folder = make_run_folder(Path(output_folder), prefix="curve")
        for name, part in splits.items():
            write_split(folder / f"{name}.csv", part, store)
    write_plan(
        folder / CURVE_PLAN,
        cache_path,
        access=access,
        init_path=init_path,
        config=config,
    )
    return folder


def run_curve(
    folder: Path | str,
    *,
    cache_path: Caches | None = None,
    features: str | None = None,
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
    features : str, optional
        New path of the image network if it was moved.
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
    plan = read_plan(folder / CURVE_PLAN, "learning curve")
    cache_path = cache_path or plan.cache
    train_parts(
        folder,
        list(SHARES),
        cache_path=cache_path,
        config=plan.config,
        init_path=plan.init,
        access=plan.access,
        features=features,
        device=device,
        quiet=quiet,
    )
    with Store(cache_path, access=plan.access) as store:
        curve = _measure(folder, store, features=features, device=device, quiet=quiet)
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


def _measure(
    folder: Path, store: Store, *, features: str | None, device: str, quiet: bool
) -> dict[str, Any]:
    positions = {info.name: i for i, info in enumerate(store.recordings)}
    num_animals, train_parts_of, found = [], [], []
    for name in SHARES:
        best = best_checkpoint(folder / name)
        network = ActionRecognitionInference(best, device, features=features)
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


def train_parts(
    folder: Path,
    names: Sequence[str],
    *,
    cache_path: Caches,
    config: TrainConfig,
    init_path: Path | str | None,
    access: str,
    features: str | None,
    device: str,
    quiet: bool,
) -> None:
    """Train several networks one after the other, or continue with those that are not finished.

    Each has a run folder of its name in `folder`, and its split in ``NAME.csv`` beside it.
    """
    config = with_features(config, features, folder)
    for number, name in enumerate(names, start=1):
        log.info("network %d of %d: %s", number, len(names), name)
        if (folder / name / "last.pt").exists():
            resume_training(
                folder / name,
                cache_path=cache_path,
                features=features,
                device=device,
                quiet=quiet,
            )
        else:
            train(
                cache_path,
                folder,
                config=config,
                split_path=folder / f"{name}.csv",
                init_path=init_path,
                run_name=name,
                device=device,
                access=access,
                quiet=quiet,
            )
