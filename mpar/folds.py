"""Cross-validation: score every animal once, by a network that never saw it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpar.cache.joined import Caches, as_text, open_store
from mpar.cache.store import Store
from mpar.comparisons import compare_with_store
from mpar.inference import ActionRecognitionInference
from mpar.learning.recipe import TrainConfig
from mpar.learning.runs import make_run_folder, read_plan, write_plan
from mpar.learning.splits import check_learnable, fold_splits, write_split
from mpar.report.evaluation_files import Strips, film_strips, wants_page, write_evaluation
from mpar.scores.agreement import measure_agreement
from mpar.scores.comparison import Comparison
from mpar.system.team import refuse_team
from mpar.train import best_checkpoint, train_parts

PLAN = "folds.json"


def begin_folds(
    cache_path: Caches,
    output_folder: Path | str = "checkpoints",
    *,
    num_folds: int | None,
    config: TrainConfig | None = None,
    init_path: Path | str | None = None,
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
    init_path, access
        As for `mpar.train.train`.

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
    config = config or TrainConfig()
    with open_store(cache_path, access=access) as store:
        splits = fold_splits(store, num_folds, val_fraction=config.val_fraction, seed=config.seed)
        for number, split in enumerate(splits, start=1):
            check_learnable(store, split, f"the train part of fold {number}")
        folder = make_run_folder(Path(output_folder), prefix="folds")
        for number, split in enumerate(splits, start=1):
            write_split(folder / f"fold_{number}.csv", split, store)
    write_plan(
        folder / PLAN,
        cache_path,
        access=access,
        init_path=init_path,
        config=config,
        num_folds=len(splits),
    )
    return folder


def is_folds(folder: Path | str) -> bool:
    """Return True if a folder is from `begin_folds`, not from a single run."""
    return (Path(folder) / PLAN).is_file()


def run_folds(
    folder: Path | str,
    *,
    cache_path: Caches | None = None,
    html: bool = False,
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
    plan = read_plan(folder / PLAN, "cross-validation", "num_folds")
    cache_path = cache_path or plan.cache
    num_folds = plan.counts["num_folds"]
    train_parts(
        folder,
        [f"fold_{number}" for number in range(1, num_folds + 1)],
        cache_path=cache_path,
        config=plan.config,
        init_path=plan.init,
        access=plan.access,
        device=device,
        quiet=quiet,
    )
    with open_store(cache_path, access=plan.access) as store:
        return _evaluate_folds(folder, store, num_folds, html=html, device=device, quiet=quiet)


def _evaluate_folds(
    folder: Path, store: Store, num_folds: int, *, html: bool, device: str, quiet: bool
) -> dict[str, Any]:
    """Score every animal by the network of the fold that held it out."""
    comparisons: list[Comparison] = []
    recordings: list[int] = []
    folds = []
    positions = {info.name: i for i, info in enumerate(store.recordings)}
    for number in range(1, num_folds + 1):
        best = best_checkpoint(folder / f"fold_{number}")
        network = ActionRecognitionInference(best, device)
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
