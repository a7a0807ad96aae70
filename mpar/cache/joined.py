"""Several caches read as one, of several studies or on several disks: what they must share."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from mpar.cache.index import Index
from mpar.cache.layout import RecordingInfo
from mpar.errors import ConfigError
from mpar.labels.classes import ClassMap, agree_on
from mpar.video.regions import share_pixels

log = logging.getLogger(__name__)

Caches: TypeAlias = Path | str | Sequence[Path | str]


def list_caches(caches: Caches) -> list[Path]:
    """Return the paths of one or several caches."""
    return [Path(caches)] if isinstance(caches, (str, Path)) else [Path(path) for path in caches]


def as_text(caches: Caches) -> str | list[str]:
    """Return absolute paths for JSON: one, or a list of several."""
    texts = [str(path.absolute()) for path in list_caches(caches)]
    return texts if len(texts) > 1 else texts[0]


def agree(indexes: Sequence[Index]) -> tuple[ClassMap, tuple[RecordingInfo, ...]]:
    """Return the classes and the recordings of caches that are read as one.

    Raises
    ------
    ConfigError
        The caches differ in what the network sees, or hold the same video or name.

    Notes
    -----
    If recordings of two caches have the same name, the number of its cache is added to the name of
    each but the first: runs go on after a cache was moved, so its path must not be in the name.
    The same animal in two caches counts as one animal.
    """
    first = indexes[0]
    if len(indexes) == 1:
        return first.class_map, first.recordings
    _check_alike(indexes)
    class_map = agree_on(index.class_map for index in indexes) or first.class_map
    return class_map, _rename(indexes)


def _check_alike(indexes: Sequence[Index]) -> None:
    """Raise ConfigError unless the caches show the same classes in the same way, each video once.

    Options that only say how label files were read may differ.
    """
    first = indexes[0]
    seen: dict[str, list[tuple[str, Index]]] = {}
    for index in indexes:
        if not index.class_map.labels_alike(first.class_map):
            found, expected = (", ".join(i.class_map.class_names) for i in (index, first))
            raise ConfigError(
                f"{index.path}: found the classes {found}, expected those of {first.path} with the "
                f"same codes ({expected}); preprocess both with the same --class-map"
            )
        for name, mine, other in (
            ("size", list(index.frame_size), list(first.frame_size)),
            *(
                (name, index.config.get(name), first.config.get(name))
                for name in ("rate", "regions", "stream", "follow_size", "tracks")
            ),
        ):
            if mine != other:
                is_of_points = name == "tracks" and None not in (mine, other)
                option = "track-points" if is_of_points else name.replace("_", "-")
                found, expected = (
                    f"no {name}" if value is None else f"{name} {show_option(name, value)}"
                    for value in (mine, other)
                )
                raise ConfigError(
                    f"{index.path}: found {found}, expected {expected} as in {first.path}; "
                    f"preprocess both with the same --{option}"
                )
        for info in index.recordings:
            places = seen.setdefault(info.sha256, [])
            for region, other in places:
                if other is not index and share_pixels(region, info.region):
                    raise ConfigError(
                        f"{index.path}: holds the video {info.video}, as does {other.path}, so its "
                        "frames could be both learnt and tested; leave it out of one of them"
                    )
            places.append((info.region, index))


def show_option(name: str, value: Any) -> str:
    """Return a value of an option of preprocessing in words."""
    if value is None or value is False:
        return "not given"
    if value is True:
        return "given"
    if name == "tracks":
        return f"of {', '.join(value) or 'all key points'}"
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def _rename(indexes: Sequence[Index]) -> tuple[RecordingInfo, ...]:
    """Return the recordings of all caches, with different names."""
    counts = Counter(info.name for index in indexes for info in index.recordings)
    groups = [{info.group for info in index.recordings} for index in indexes]
    shared = {
        group for i, own in enumerate(groups) for other in groups[:i] for group in own & other
    }
    if shared:
        log.warning(
            "%s: %d animals (%s, ...) are in several caches; each counts as one animal",
            *(indexes[-1].path, len(shared), min(shared)),
        )
    if max(counts.values()) == 1:
        return tuple(info for index in indexes for info in index.recordings)
    found = [
        replace(
            info, name=f"{info.name}_cache{i}" if i > 1 and counts[info.name] > 1 else info.name
        )
        for i, index in enumerate(indexes, start=1)
        for info in index.recordings
    ]
    name, count = Counter(info.name for info in found).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{indexes[-1].path}: its recording {name} has the name of another; rename its video, "
            "and preprocess it again"
        )
    return tuple(found)
