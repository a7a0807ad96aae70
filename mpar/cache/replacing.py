"""Check that a new cache may replace an existing one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpar.cache.joined import show_option
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording
from mpar.errors import ConfigError, Problem, StoreError, counted
from mpar.labels.classes import ClassMap

# options that read more files do not change the files that were read before
_READING = ("several", "label_offset", "label_format", "channel")
_HDF5_MARK = b"\x89HDF\r\n\x1a\n"  # the first bytes of every cache


def open_old(cache_path: Path, overwrite: bool) -> Store | None:
    """Open the existing cache, if there is one.

    Raises
    ------
    ConfigError
        The path is a folder or a file of another kind, which mpar never replaces; or the cache is
        damaged and `overwrite` is not set.
    """
    if not cache_path.exists():
        return None
    if not cache_path.is_file():
        raise ConfigError(
            f"{cache_path}: is a folder or a device, expected a file; choose another --output"
        )
    try:
        return Store(cache_path)
    except StoreError as error:
        with cache_path.open("rb") as file:
            start = file.read(len(_HDF5_MARK))
        if not _HDF5_MARK.startswith(start):
            raise ConfigError(
                f"{cache_path}: is not a cache, and mpar never replaces other files; choose "
                "another --output, or remove it"
            ) from None
        if overwrite:
            return None
        raise ConfigError(
            f"{error}; pass --overwrite to replace it, or choose another --output"
        ) from None


def check_options(
    old: Store, class_map: ClassMap, new: Mapping[str, Any], default: Mapping[str, Any]
) -> None:
    """Raise ConfigError with each option that differs from those of the existing cache.

    A key that the old cache lacks had its default there.
    """
    differences = []
    for key in sorted({*default, *old.config}):
        was, now = old.config.get(key, default.get(key)), new.get(key)
        is_first = key in _READING and was == default[key]
        # frames that already have this size do not change
        is_same_size = key == "size" and was is None and now == list(old.frame_size)
        if was != now and not is_first and not is_same_size:
            differences.append(f"{key} was {show_option(key, was)}, now {show_option(key, now)}")
    if not old.class_map.labels_alike(class_map):
        differences.append(_compare_class_maps(old.class_map, class_map))
    if differences:
        raise ConfigError(
            f"{old.path}: was made with other options ({'; '.join(differences)}), and runs trained "
            "on it could not continue; pass --overwrite to replace it, or choose another --output"
        )


def _compare_class_maps(old: ClassMap, new: ClassMap) -> str:
    """Describe the first difference between two different class maps."""
    for before, after in itertools.zip_longest(old.rows, new.rows):
        if before != after:
            was, now = (
                "no code" if row is None else ",".join(map(str, row)) for row in (before, after)
            )
            return f"class map had {was}, now {now}"
    return f"mirrors of the class map were {old.mirrors or 'none'}, now {new.mirrors or 'none'}"


def check_loss(
    cache_path: Path,
    old: Store,
    good: Sequence[NewRecording],
    problems: Sequence[Problem],
) -> None:
    """Raise ConfigError if the new cache would lack recordings, or show them at other places."""
    kept = {item.info.name: item for item in good}
    moved: dict[str, list[str]] = {"regions": [], "tracks": []}
    for i, info in enumerate(old.recordings):
        item = kept.get(info.name)
        if item is not None and item.info.region != info.region:
            moved["regions"].append(info.name)
        elif item is not None and item.info.sha256 == info.sha256 and _follows_others(old, i, item):
            moved["tracks"].append(info.name)
    for what, names in moved.items():
        if names:
            raise ConfigError(
                f"{cache_path}: the {what} of {', '.join(names[:5])} differ from those that this "
                "cache was made with, and runs trained on it could not continue; pass --overwrite "
                "to replace it, or choose another --output"
            )
    lost = [info.name for info in old.recordings if info.name not in kept]
    if lost:
        shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        reasons = "".join(f"\n{problem}" for problem in sorted(problems))
        raise ConfigError(
            f"{cache_path}: the new cache would lack {counted(len(lost), 'recording')} of this one "
            f"({shown}); pass --overwrite to replace it, or choose another --output{reasons}"
        )


def _follows_others(old: Store, recording: int, new: NewRecording) -> bool:
    corners = new.corners
    return corners is not None and not np.array_equal(old.corners(recording), corners)


def is_same(
    old: Store, new: Sequence[NewRecording], class_map: ClassMap, config: Mapping[str, Any]
) -> bool:
    """Return True if the existing cache is sound and has the content of the new one."""
    return (
        old.class_map == class_map
        and old.config == config
        and old.recordings == tuple(recording.info for recording in new)
        and not old.verify()
        and all(
            np.array_equal(old.labels(i), recording.labels)
            and np.array_equal(old.codes(i), recording.codes)
            and np.array_equal(old.times(i), recording.times)
            and np.array_equal(old.source_frame(i), recording.source_frame)
            and not _follows_others(old, i, recording)
            # without, the frames are those of the old cache
            and (
                recording.chunk_hashes is None
                or np.array_equal(old.chunk_hashes(i), recording.chunk_hashes)
            )
            and (
                recording.square_hashes is None
                or np.array_equal(old.seen.chunk_hashes(i), recording.square_hashes)
            )
            for i, recording in enumerate(new)
        )
    )
