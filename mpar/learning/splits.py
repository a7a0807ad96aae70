"""Split recordings into training, validation and test by animal, never by clip.

Two clips of one animal look nearly the same. If both sides of a split hold the same animal, a score
shows how well the network remembers animals, not how well it recognizes actions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpar.cache.clips import count_classes
from mpar.cache.layout import RecordingInfo
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError, Problem
from mpar.learning.recipe import TrainConfig
from mpar.network.config import NO_NETWORK
from mpar.system.files import read_rows, write_rows
from mpar.video.regions import share_pixels

PARTS = ("train", "val", "test")
_NUM_TRIES = 2000
_COLUMNS = ["Recording", "Group", "Part"]


@dataclass(frozen=True, slots=True)
class Split:
    """The recordings of a cache in each part.

    Parameters
    ----------
    train, val, test : tuple of int
        Positions in the cache; `test` may be empty. No group lies in two parts.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]

    def part(self, name: str) -> tuple[int, ...]:
        """Return the recordings of the part "train", "val" or "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]


def class_counts(store: Store, recordings: Sequence[int]) -> np.ndarray:
    """Count the labelled steps (usually frames) of each class in some recordings, (K,) int64."""
    counts = np.zeros(len(store.class_names), np.int64)
    for recording in recordings:
        counts += count_classes(store, recording)
    return counts


def split_store(
    store: Store, *, val_fraction: float = 0.2, test_fraction: float = 0.2, seed: int = 0
) -> Split:
    """Split a cache by animal so that, where possible, every part holds every class.

    Parameters
    ----------
    store : Store
        The cache; a group is an animal. Groups without any label are left out of all parts.
    val_fraction, test_fraction : float
        Share of the groups in each part, 0 to below 1; their sum is below 1. A part gets at
        least one group unless its fraction is 0. `val_fraction` must be above 0.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    Split

    Raises
    ------
    ConfigError
        A fraction is out of range, or there are too few groups.

    Notes
    -----
    The best of 2000 random orders of the groups: the one with the fewest classes missing from
    the parts (the training part first), then with class shares nearest to those of the cache.
    """
    if not (0 < val_fraction < 1 and 0 <= test_fraction < 1 and val_fraction + test_fraction < 1):
        raise ConfigError(
            f"val_fraction, test_fraction: found {val_fraction} and {test_fraction}, expected "
            "0 to 1, a sum below 1, and a val_fraction above 0"
        )
    members, counts_GK = _labelled_groups(store)
    groups = list(members)
    num_val = max(1, round(val_fraction * len(groups)))
    num_test = max(1, round(test_fraction * len(groups))) if test_fraction else 0
    if len(groups) - num_val - num_test < 1:
        raise ConfigError(_too_few(store, members, bool(test_fraction)))
    sizes = [num_val, num_test, len(groups) - num_val - num_test]
    order = _best_order(counts_GK, sizes, np.random.default_rng(seed))
    chosen = {
        "val": order[:num_val],
        "test": order[num_val : num_val + num_test],
        "train": order[num_val + num_test :],
    }
    parts = {
        part: tuple(sorted(i for group in indices for i in members[groups[group]]))
        for part, indices in chosen.items()
    }
    return Split(**parts)


def _too_few(store: Store, members: dict[str, list[int]], has_test: bool) -> str:
    """Return the message for too few animals, with advice."""
    num_groups, num_recordings = len(members), sum(map(len, members.values()))
    found = f"{store.path}: found {num_groups} animals with labels"
    if num_groups >= (3 if has_test else 2):
        lower = "--val-fraction or --test-fraction" if has_test else "--val-fraction"
        return f"{found}, but none remains for training; lower {lower}"
    if num_groups == 2:
        return (
            f"{found}, expected at least 3 for training, validation and test; add recordings of "
            "another animal, or pass --test-fraction 0"
        )
    if not num_groups:
        return f"{store.path}: found no labelled frame; add label files and preprocess again"
    advice = "add recordings of another animal"
    if num_recordings > 1:
        advice += (
            f"; if these {num_recordings} recordings are of several animals, preprocess again with "
            "another --group-pattern and --overwrite"
        )
    return (
        f"{found} ({next(iter(members))}), expected at least 2, since the scores need an animal "
        f"that the network did not learn from; {advice}"
    )


def check_learnable(
    store: Store, split: Split, config: TrainConfig, what: str = "the train part"
) -> None:
    """Raise ConfigError if the training recordings hold only one class, or look all the same.

    A network would predict that class for every frame of every video. `what` names the recordings.
    """
    if config.model_type == NO_NETWORK and not config.features and shares_pictures(store):
        raise ConfigError(
            "model: without a network, nothing tells animals of one picture apart; pass "
            "--features, or another --model"
        )
    counts_K = class_counts(store, split.train)
    everywhere_K = class_counts(store, range(len(store)))
    if (counts_K > 0).sum() > 1:
        return
    (name, *_) = [n for n, count in zip(store.class_names, counts_K, strict=True) if count] or [""]
    others = [
        n
        for n, num, num_train in zip(store.class_names, everywhere_K, counts_K, strict=True)
        if num and not num_train
    ]
    if others:
        raise ConfigError(
            f"{store.path}: {what} has labels of only one class ({name}), while other recordings "
            f"have {', '.join(others)}; a network would predict {name} for every frame; label more "
            "animals with several classes, or pass a --split that trains on the others"
        )
    advice = "label frames of other classes too"
    if store.config.get("unscored") is None:
        advice = (
            "if you scored only this behaviour, preprocess again with --overwrite and --unscored "
            "CLASS, the class of all other frames (such as rest); otherwise " + advice
        )
    raise ConfigError(
        f"{store.path}: every labelled frame is {name}, so a network would predict {name} for "
        f"every frame; {advice}"
    )


def fold_splits(
    store: Store, num_folds: int | None, *, val_fraction: float = 0.2, seed: int = 0
) -> list[Split]:
    """Split a cache for cross-validation: every labelled animal is tested once.

    Parameters
    ----------
    store : Store
        The cache; a group is an animal. Groups without any label are left out.
    num_folds : int, optional
        Number of parts of the animals; each part is the test part once. By default each animal
        is a part (leave one out).
    val_fraction : float
        Share of the other animals for validation, above 0 and below 1.
    seed : int
        The same seed gives the same splits.

    Returns
    -------
    list of Split
        Balanced as in `split_store`.

    Raises
    ------
    ConfigError
        There are fewer animals than folds, fewer than 3, or fewer than 2 folds.
    """
    members, counts_GK = _labelled_groups(store)
    groups = list(members)
    num_folds = len(groups) if num_folds is None else num_folds
    if len(groups) < 3:
        raise ConfigError(
            f"{store.path}: found {len(groups)} animals with labels, expected at least 3 for "
            "cross-validation; add recordings of other animals"
        )
    if not 2 <= num_folds <= len(groups):
        raise ConfigError(
            f"{store.path}: found {num_folds} folds for {len(groups)} animals with labels, "
            f"expected 2 to {len(groups)}; change --folds"
        )
    rng = np.random.default_rng(seed)
    sizes = [len(part) for part in np.array_split(groups, num_folds)]
    folds = np.split(_best_order(counts_GK, sizes, rng), np.cumsum(sizes)[:-1])
    splits = []
    for test in folds:
        rest = np.setdiff1d(np.arange(len(groups)), test)
        num_val = min(max(1, round(val_fraction * len(rest))), len(rest) - 1)
        order = rest[_best_order(counts_GK[rest], [num_val, len(rest) - num_val], rng)]
        chosen = {"train": order[num_val:], "val": order[:num_val], "test": test}
        splits.append(
            Split(
                **{
                    part: tuple(sorted(i for g in indices for i in members[groups[g]]))
                    for part, indices in chosen.items()
                }
            )
        )
    return splits


def kept_together(store: Store) -> list[str]:
    """Return what a split keeps together, by a name for each recording: usually its animal.

    Animals that are in one picture, as tracks tell them apart, are seen in each other's recordings.
    """
    name_of = {info.group: info.group for info in store.recordings}
    by_video: dict[str, list[RecordingInfo]] = {}
    for info in store.recordings:
        by_video.setdefault(info.sha256, []).append(info)
    for infos in by_video.values():
        for one, other in itertools.combinations(infos, 2):
            names = name_of[one.group], name_of[other.group]
            if names[0] != names[1] and share_pixels(one.region, other.region):
                both = " + ".join(names)
                name_of |= {group: both for group, name in name_of.items() if name in names}
    return [name_of[info.group] for info in store.recordings]


def shares_pictures(store: Store) -> bool:
    """Return True if a picture shows several animals, which only their squares tell apart."""
    return kept_together(store) != [info.group for info in store.recordings]


def _labelled_groups(store: Store) -> tuple[dict[str, list[int]], np.ndarray]:
    """Return the recordings of each labelled group by name, and their class counts (G, K)."""
    members: dict[str, list[int]] = {}
    for i, group in enumerate(kept_together(store)):
        members.setdefault(group, []).append(i)
    counts = {group: class_counts(store, members[group]) for group in sorted(members)}
    labelled = [group for group, count in counts.items() if count.any()]
    counts_GK = np.array([counts[group] for group in labelled]).reshape(-1, len(store.class_names))
    return {group: members[group] for group in labelled}, counts_GK


def _best_order(
    counts_GK: np.ndarray, sizes: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Return the best order of groups; cut it into parts of these sizes, training last."""
    occurs_K = counts_GK.sum(axis=0) > 0
    shares_K = counts_GK.sum(axis=0) / max(1, counts_GK.sum())
    best: tuple[tuple[float, ...], np.ndarray] | None = None
    for _ in range(_NUM_TRIES):
        order = rng.permutation(len(counts_GK))
        missing, distance = [], 0.0
        for part in np.split(order, np.cumsum(sizes)[:-1]):
            part_counts_K = counts_GK[part].sum(axis=0)
            missing.append(int((occurs_K & (part_counts_K == 0)).sum()) if len(part) else 0)
            if len(part):
                part_shares_K = part_counts_K / max(1, part_counts_K.sum())
                # relative to the share of the class, so that rare classes count as much
                distance += np.abs(part_shares_K / np.maximum(shares_K, 1e-9) - 1)[occurs_K].sum()
        score = (missing[-1], sum(missing), distance)
        if best is None or score < best[0]:
            best = score, order
    assert best is not None
    return best[1]


def can_choose(counts_K: np.ndarray, val_counts_K: np.ndarray) -> bool:
    """Return True if the validation part can tell epochs apart: it has half of the classes.

    Parameters
    ----------
    counts_K, val_counts_K : (K,) integer arrays
        Labelled frames of each class for training and for validation.
    """
    is_learnt = counts_K > 0
    num_shared = int((is_learnt & (val_counts_K > 0)).sum())
    return num_shared >= max(2, is_learnt.sum() / 2)


def check_split(split: Split, store: Store) -> list[str]:
    """Return warnings about a split: classes that a part lacks."""
    all_counts_K = class_counts(store, range(len(store)))
    warnings = []
    for part in PARTS:
        recordings = split.part(part)
        if recordings:
            counts_K = class_counts(store, recordings)
            counted = list(zip(store.class_names, counts_K, all_counts_K, strict=True))
            absent = [name for name, count, everywhere in counted if everywhere and not count]
            named = [name for name, count, _ in counted if count]
            if absent:
                alone = f", so its macro-F1 is the F1 of {named[0]}" if len(named) == 1 else ""
                warnings.append(f"the {part} part has no frames of {', '.join(absent)}{alone}")
    if not can_choose(*(class_counts(store, split.part(part)) for part in ("train", "val"))):
        warnings.append(
            "the val part lacks more than half of the classes, so mpar cannot choose an epoch by "
            "it: it keeps the last one, fits no post-processing, and leaves the network out if "
            "another expert can take its place (--model none saves its time)"
        )
    return warnings


def write_split(path: Path | str, split: Split, store: Store) -> None:
    """Write a split as CSV ``Recording,Group,Part``, one row per recording of the split."""
    part_of = {i: part for part in PARTS for i in split.part(part)}
    rows = [
        (info.name, info.group, part_of[i])
        for i, info in enumerate(store.recordings)
        if i in part_of
    ]
    write_rows(path, [_COLUMNS, *rows])


def read_split(path: Path | str, store: Store) -> Split:
    """Read a split file.

    Parameters
    ----------
    path : Path or str
        CSV with the columns Recording and Part (train, val or test). Recordings of the cache that
        it does not list belong to no part.
    store : Store
        The cache that it splits.

    Raises
    ------
    InputError
        Lists every problem: unknown recordings or parts, a recording or a group in two parts, no
        training or no validation recordings.
    """
    path = Path(path)
    try:
        rows = read_rows(path)
    except (OSError, ValueError) as error:
        raise InputError.of(
            path, "malformed", f"cannot be read as CSV in UTF-8 ({error})"
        ) from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "recording" not in header or "part" not in header:
        raise InputError.of(
            path,
            "columns",
            f"found the columns {','.join(header)}, expected Recording and Part; add them",
        )
    exact = {info.name: i for i, info in enumerate(store.recordings)}
    typed = {name.strip(): i for name, i in exact.items()}  # people omit spaces
    part_of: dict[int, str] = {}
    part_of_group: dict[str, str] = {}
    groups = kept_together(store)
    problems = []
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        cells = dict(zip(header, row, strict=False))
        name, part = cells.get("recording", ""), cells.get("part", "").strip()
        position = exact.get(name, typed.get(name.strip(), -1))
        message = ""
        if position < 0:
            message = f"recording {name!r} is not in {store.path.name}; remove the row"
        elif part not in PARTS:
            message = f"part is {part!r}, expected train, val or test"
        elif position in part_of:
            message = f"recording {name!r} is listed twice; remove one row"
        else:
            group = groups[position]
            if part_of_group.setdefault(group, part) != part:
                message = (
                    f"found group {group!r} in the parts {part_of_group[group]} and {part}, "
                    "expected one part, since an animal in two parts makes the scores too "
                    "optimistic; move it to one part"
                )
            part_of[position] = part
        if message:
            problems.append(Problem.of(path, "split", message, line))
    for part in ("train", "val"):
        if not problems and part not in part_of.values():
            problems.append(Problem.of(path, "split", f"has no recording of part {part}; add one"))
    if problems:
        raise InputError(problems)
    return Split(**{p: tuple(sorted(i for i, q in part_of.items() if q == p)) for p in PARTS})
