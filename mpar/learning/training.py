"""Train one network on a cache, or resume a run."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from mpar.cache.joined import Caches, as_text, list_caches
from mpar.cache.scenes import check_scenes
from mpar.cache.store import Store
from mpar.errors import CheckpointError, ConfigError, MparError, counted
from mpar.learning.loop import TrainingRun
from mpar.learning.recipe import AUTO, TrainConfig
from mpar.learning.runs import choose_split, make_run_folder
from mpar.learning.scarcity import find_scarce
from mpar.learning.splits import (
    PARTS,
    Split,
    check_learnable,
    check_split,
    class_counts,
    write_split,
)
from mpar.network.checkpoint import Checkpoint, is_of_video, load_checkpoint
from mpar.network.config import NO_NETWORK
from mpar.network.devices import find_device, select_device
from mpar.system.files import write_json
from mpar.system.team import joined_team, local_device
from mpar.video.following import describe_following
from mpar.video.streams import show_size

log = logging.getLogger(__name__)


def train(
    cache_path: Caches,
    output_folder: Path | str = "checkpoints",
    *,
    config: TrainConfig | None = None,
    split_path: Path | str | None = None,
    init_path: Path | str | None = None,
    run_name: str | None = None,
    device: str = "auto",
    access: str = "mmap",
    quiet: bool = True,
) -> Path:
    """Train a network on a cache.

    Parameters
    ----------
    cache_path : Path, str or sequence of them
        Made by mpar-preprocess; several caches are read as one (`mpar.cache.joined`).
    output_folder : Path or str
        The run folder ``run_YYYYMMDD_HHMMSS`` is created in it.
    config : TrainConfig, optional
        The recipe.
    split_path : Path or str, optional
        CSV ``Recording,Part`` instead of a random split by group.
    init_path : Path or str, optional
        A checkpoint whose weights training starts from. Its model type, clip length and centring
        replace those of the recipe; if its classes differ, a new last layer replaces the old one.
    run_name : str, optional
        Another name for the run folder.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    access : {"mmap", "pread"}
        How to read the cache (`mpar.cache.store.Store`).
    quiet : bool
        Show no progress bar.

    Returns
    -------
    Path
        The run folder: ``config.json``, ``split.csv``, ``metrics.csv``, TensorBoard events,
        ``last.pt`` and ``best_model_epochN.pt``.

    Raises
    ------
    ConfigError, InputError, StoreError
        The options, the split file or the cache are invalid.
    TrainingInterruptedError
        SIGINT or SIGTERM stopped training; the state is saved.
    """
    config = config or TrainConfig()
    init = None if init_path is None else load_checkpoint(init_path)
    if init is not None:
        config = _fit_to(config, init)
    elif config.freeze_backbone_epochs:
        raise ConfigError("freeze_backbone_epochs: works only with --init; set it to 0")
    config = resolve_model(config, device)
    chosen = local_device(select_device(device))
    with joined_team(chosen) as team, Store(cache_path, access=access) as store:
        split = choose_split(store, config, split_path)
        for part in PARTS if split.test else PARTS[:2]:
            if not class_counts(store, split.part(part)).any():
                raise ConfigError(
                    f"{store.path}: the {part} part has no labelled frame; label some, or pass "
                    "another --split"
                )
        check_learnable(store, split, config)
        parent = Path(output_folder)
        new = [path for path in (parent, *parent.parents) if not path.exists()]
        is_new = run_name is None or not (parent / run_name).exists()
        run_folder = team.on_leader(lambda: make_run_folder(parent, run_name))
        try:
            run = TrainingRun(run_folder, store, split, config, chosen, init, team)
            if team.is_leader:
                write_split(run_folder / "split.csv", split, store)
                write_json(
                    run_folder / "config.json",
                    {
                        "cache": as_text(cache_path),
                        "access": access,
                        "training": config.to_dict(),
                    },
                )
                odd_init = [] if init is None else _warnings_of_init(init, store, split)
                scenes = check_scenes(store, split.train, split.test or split.val)
                few = find_scarce(split, store)
                _log_start(run, [*check_split(split, store), *few, *scenes, *odd_init])
            run.execute(quiet=quiet)
        except MparError:
            has_saved = (run_folder / "last.pt").exists()
            if team.is_leader and is_new and not has_saved:  # nothing to continue
                shutil.rmtree(run_folder, ignore_errors=True)
                with contextlib.suppress(OSError):  # another run began in them
                    for path in new:
                        path.rmdir()
            raise
    return run_folder


def resolve_model(config: TrainConfig, device: str = "auto") -> TrainConfig:
    """Replace the model type auto by the one that suits a device; log which, and why.

    That is standard on a GPU and fast on a CPU. Other model types stay as they are.
    """
    if config.model_type != AUTO:
        return config
    if find_device(device).type == "cpu":
        log.info("network fast: no GPU computes, and on a CPU it learns eight times as fast")
        return dataclasses.replace(config, model_type="fast")
    log.info("network standard: a GPU computes, so the largest is fast enough")
    return dataclasses.replace(config, model_type="standard")


def with_features(config: TrainConfig, features: str | None, run_folder: Path) -> TrainConfig:
    """Return the recipe of a run with another place of its image network, if there is another."""
    if features and not config.features:
        raise ConfigError(
            f"{run_folder}: was trained without features; drop --features, or start a new run"
        )
    return dataclasses.replace(config, features=features) if features else config


def _fit_to(config: TrainConfig, init: Checkpoint) -> TrainConfig:
    """Return the recipe with the network architecture of a checkpoint."""
    if init.model_config.model_type == NO_NETWORK:
        raise ConfigError("init: found a checkpoint without a network; pass one with a network")
    names = ("model_type", "clip_length", "centre_frames")
    return dataclasses.replace(config, **{name: getattr(init.model_config, name) for name in names})


def _log_start(run: TrainingRun, warnings: Sequence[str]) -> None:
    """Log the description of a run before its first step."""
    for line in run.describe():
        log.info("%s", line)
    for warning in warnings:
        log.warning("%s", warning)


def _warnings_of_init(init: Checkpoint, store: Store, split: Split) -> list[str]:
    """Return warnings about a start from another network, such as videos that it learnt from."""
    warnings = []
    shown, before = store.seen.frame_size, init.seen_size
    if shown != before:
        warnings.append(
            f"frames are {show_size(shown)} px, but the network of --init learnt from "
            f"{show_size(before)} px, so every movement has another size"
        )
    if store.following != init.following:
        warnings.append(
            f"the network will see {describe_following(store.following)}, but that of --init "
            f"learnt from {describe_following(init.following)}, so animals have another size"
        )
    learnt = init.as_init()["learnt"]
    for part in ("val", "test"):
        recordings = [store.recordings[i] for i in split.part(part)]
        videos = {
            info.sha256
            for info in recordings
            if any(is_of_video(item, info.sha256, info.region) for item in learnt)
        }
        groups = {item["group"] for item in learnt} & {info.group for info in recordings}
        if videos:
            warnings.append(
                f"the network of --init learnt from {len(videos)} videos of the {part} part, so "
                "their scores are too optimistic, and mpar marks them; pass a --split that trains "
                "on them"
            )
        elif groups:
            warnings.append(
                f"the {part} part has animals with the same names as those that the network of "
                f"--init learnt from ({', '.join(sorted(groups)[:5])}); if they are the same "
                "animals, pass a --split that trains on them"
            )
    return warnings


def resume_training(
    run_folder: Path | str,
    *,
    device: str = "auto",
    cache_path: Caches | None = None,
    features: str | None = None,
    quiet: bool = True,
) -> Path:
    """Continue an interrupted run; on the CPU the final weights equal those without interruption.

    Parameters
    ----------
    run_folder : Path or str
        Folder with ``last.pt``.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    cache_path : Path, str or sequence of them, optional
        New paths of the caches if they were moved.
    features : str, optional
        New path of the image network if it was moved.
    quiet : bool
        Show no progress bar.

    Raises
    ------
    CheckpointError
        ``last.pt`` is missing or damaged, or the cache is not the one trained on.
    """
    run_folder = Path(run_folder)
    if not (run_folder / "last.pt").exists() and (runs := sorted(run_folder.glob("*/last.pt"))):
        raise CheckpointError(
            f"{run_folder}: found a folder of {counted(len(runs), 'run')}, expected the folder of "
            f"one; pass --resume {runs[-1].parent}"
        )
    checkpoint = _load_last(run_folder)
    if not checkpoint.state:
        raise CheckpointError(
            f"{run_folder}: its last.pt holds no training state, so the run cannot continue; start "
            "a new run"
        )
    cache_path = cache_path or checkpoint.data["path"]
    for path in list_caches(cache_path):
        if not path.exists():
            raise CheckpointError(
                f"{run_folder}: found no cache at {path}; pass its new path: mpar-train CACHE "
                f"--resume {run_folder}"
            )
    config = with_features(TrainConfig.from_dict(checkpoint.training), features, run_folder)
    chosen = local_device(select_device(device))
    with (
        joined_team(chosen) as team,
        Store(cache_path, access=checkpoint.data["access"]) as store,
    ):
        if store.fingerprint != checkpoint.data["fingerprint"]:
            raise CheckpointError(
                f"{store.path}: is not the cache that {run_folder} was trained on; pass the right "
                "one (several in the order of the run), or start a new run"
            )
        positions = {info.name: i for i, info in enumerate(store.recordings)}
        split = Split(
            **{part: tuple(positions[r["name"]] for r in checkpoint.split[part]) for part in PARTS}
        )
        run = TrainingRun(run_folder, store, split, config, chosen, team=team, resumed=checkpoint)
        if team.is_leader:
            _log_start(run, [*check_split(split, store), *find_scarce(split, store)])
        run.execute(quiet=quiet)
    return run_folder


def _load_last(run_folder: Path) -> Checkpoint:
    try:
        return load_checkpoint(run_folder / "last.pt")
    except CheckpointError as error:
        try:
            best = best_checkpoint(run_folder)
            load_checkpoint(best)
        except CheckpointError:
            raise error from None
        raise CheckpointError(
            f"{error}. The best network of this run is undamaged: predict with {best}, or start a "
            f"new run with --init {best}"
        ) from None


def best_checkpoint(run_folder: Path | str) -> Path:
    """Return the best checkpoint of a run folder; CheckpointError if there is none."""
    run_folder = Path(run_folder)
    names = re.compile(r"best_model_epoch([0-9]+)\.pt")
    found = {
        int(match[1]): path
        for path in run_folder.glob("best_model_epoch*.pt")
        if (match := names.fullmatch(path.name))
    }
    if not found:
        raise CheckpointError(
            f"{run_folder}: holds no best_model_epochN.pt; continue the run with --resume"
        )
    # a killed run may hold two; the one of the later epoch is the better one
    return found[max(found)]
