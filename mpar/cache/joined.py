"""Read several caches as one: those of several studies, or on several disks."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mpar.cache.layout import RecordingInfo
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.labels.classes import agree_on
from mpar.video.regions import share_pixels
from mpar.video.timeline import TimeLine

log = logging.getLogger(__name__)

Caches: TypeAlias = Path | str | Sequence[Path | str]


def list_caches(caches: Caches) -> list[Path]:
    """Return the paths of one or several caches."""
    return [Path(caches)] if isinstance(caches, (str, Path)) else [Path(path) for path in caches]


def as_text(caches: Caches) -> str | list[str]:
    """Return absolute paths for JSON: one, or a list of several."""
    texts = [str(path.absolute()) for path in list_caches(caches)]
    return texts if len(texts) > 1 else texts[0]


def open_store(caches: Caches, *, access: str = "mmap") -> Store:
    """Open one cache, or several as one.

    Raises
    ------
    StoreError, ConfigError
        As for `Store` and `JoinedStore`.
    """
    paths = list_caches(caches)
    return Store(paths[0], access=access) if len(paths) == 1 else JoinedStore(paths, access=access)


class JoinedStore(Store):
    """Several open caches, whose recordings follow each other.

    Parameters
    ----------
    paths : sequence of Path
        Two or more caches with the same classes, frame size and options.
    access : {"mmap", "pread"}
        As for `Store`.

    Attributes
    ----------
    path : Path
        All paths in one, for messages.
    paths : tuple of Path
        The caches.

    Raises
    ------
    StoreError
        A cache cannot be opened.
    ConfigError
        The caches differ in what the network sees, or hold the same video or name.

    Notes
    -----
    If recordings of two caches have the same name, the number of its cache is added to the name of
    each but the first: runs go on after a cache was moved, so its path must not be in the name.
    The same animal in two caches counts as one animal.
    """

    def __init__(
        self, paths: Sequence[Path], *, access: str = "mmap", film: str = "frames"
    ) -> None:
        self.paths, self.access = tuple(paths), access
        self._seen = None
        self.path = Path(" and ".join(map(str, paths)))
        with contextlib.ExitStack() as stack:
            self._stores = [
                stack.enter_context(Store(path, access=access, film=film)) for path in paths
            ]
            _check_alike(self._stores)
            self.recordings = _rename(self._stores)
            stack.pop_all()  # all is well: they stay open
        first = self._stores[0]
        self.frame_size, self.config = first.frame_size, first.config
        self.following, self._film = first.following, first._film
        self.class_map = agree_on(store.class_map for store in self._stores) or first.class_map
        self.class_names = first.class_names
        prints = "".join(store.fingerprint for store in self._stores)
        self.fingerprint = hashlib.sha256(prints.encode()).hexdigest()
        sizes = [len(store) for store in self._stores]
        self._owner = np.repeat(np.arange(len(sizes)), sizes)
        self._position = np.concatenate([np.arange(size) for size in sizes])

    def close(self) -> None:
        """Close all files."""
        for store in self._stores:
            store.close()
        if self._seen is not None:
            self._seen.close()

    def _open_seen(self) -> Store:
        return JoinedStore(self.paths, access=self.access, film="seen")

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"path": self.paths}

    def _find(self, recording: int) -> tuple[Store, int]:
        return self._stores[self._owner[recording]], int(self._position[recording])

    def labels(self, recording: int) -> np.ndarray:
        """Return the (T,) int8 labels of a recording: class index, -1 = unlabelled."""
        store, position = self._find(recording)
        return store.labels(position)

    def codes(self, recording: int) -> np.ndarray:
        """Return the (A, T) int16 raw codes of a recording, one row per annotator."""
        store, position = self._find(recording)
        return store.codes(position)

    def source_frame(self, recording: int) -> np.ndarray:
        """Return the frame of each step of a recording, (N,) int64, increasing."""
        store, position = self._find(recording)
        return store.source_frame(position)

    def corners(self, recording: int) -> np.ndarray:
        """Return the corners of the squares of a recording, as `Store.corners`."""
        store, position = self._find(recording)
        return store.corners(position)

    def times(self, recording: int) -> np.ndarray:
        """Return the second of the video at which each frame is shown, (T,) float64."""
        store, position = self._find(recording)
        return store.times(position)

    def line(self, recording: int) -> TimeLine:
        """Return the time line of a recording; one that starts within its video starts at 0 s."""
        store, position = self._find(recording)
        return store.line(position)

    def chunk_hashes(self, recording: int) -> np.ndarray:
        """Return the (ceil(T / 16),) uint64 checksums of a recording's chunks."""
        store, position = self._find(recording)
        return store.chunk_hashes(position)

    def frames(self, recording: int) -> np.ndarray:
        """Return all frames of a recording, (T, H, W) uint8, read-only and checked."""
        store, position = self._find(recording)
        return store.frames(position)

    def stream_chunks(self, recording: int) -> Iterator[np.ndarray]:
        """Yield up to 16 frames at a time, as `Store.stream_chunks`."""
        store, position = self._find(recording)
        return store.stream_chunks(position)

    def copy_frames(self, recording: int, start: int, stop: int, out: np.ndarray) -> None:
        """Copy frames of a recording, as `Store.copy_frames`."""
        store, position = self._find(recording)
        store.copy_frames(position, start, stop, out)

    def copy_steps(self, recording: int, start: int, stop: int, out: np.ndarray) -> None:
        """Copy the frames of steps of a recording, as `Store.copy_steps`."""
        store, position = self._find(recording)
        store.copy_steps(position, start, stop, out)

    def copy_batch(
        self, recordings: np.ndarray, starts: np.ndarray, out: np.ndarray, rows: np.ndarray
    ) -> None:
        """Copy a stretch of steps from each of many recordings, as `Store.copy_batch`."""
        owners, positions = self._owner[recordings], self._position[recordings]
        for owner in np.unique(owners):
            is_own = owners == owner
            self._stores[owner].copy_batch(positions[is_own], starts[is_own], out, rows[is_own])

    def verify(self, on_frames: Any = lambda num_frames: None) -> list[str]:
        """Check every byte of all caches, as `Store.verify`."""
        return [text for store in self._stores for text in store.verify(on_frames)]


def _check_alike(stores: Sequence[Store]) -> None:
    """Raise ConfigError unless the caches show the same classes in the same way, each video once.

    Options that only say how label files were read may differ.
    """
    first = stores[0]
    seen: dict[str, list[tuple[str, Store]]] = {}
    for store in stores:
        if not store.class_map.labels_alike(first.class_map):
            found, what = ", ".join(store.class_names), "the same --class-map"
            raise ConfigError(
                f"{store.path}: found the classes {found}, expected those of {first.path} with the "
                f"same codes ({', '.join(first.class_names)}); preprocess both with {what}"
            )
        for name, mine, other in (
            ("size", list(store.frame_size), list(first.frame_size)),
            *(
                (name, store.config.get(name), first.config.get(name))
                for name in ("rate", "regions", "stream", "follow_size", "tracks")
            ),
        ):
            if mine != other:
                raise ConfigError(
                    f"{store.path}: found {name} {mine}, expected {other} as in {first.path}; "
                    f"preprocess both with the same --{name.replace('_', '-')}"
                )
        for info in store.recordings:
            places = seen.setdefault(info.sha256, [])
            for region, other in places:
                if other is not store and share_pixels(region, info.region):
                    raise ConfigError(
                        f"{store.path}: holds the video {info.video}, as does {other.path}, so its "
                        "frames could be both learnt and tested; leave it out of one of them"
                    )
            places.append((info.region, store))


def _rename(stores: Sequence[Store]) -> tuple[RecordingInfo, ...]:
    """Return the recordings of all caches, with different names."""
    counts = Counter(info.name for store in stores for info in store.recordings)
    groups = [{info.group for info in store.recordings} for store in stores]
    shared = {
        group for i, own in enumerate(groups) for other in groups[:i] for group in own & other
    }
    if shared:
        log.warning(
            "%s: %d animals (%s, ...) are in several caches; each counts as one animal",
            *(stores[-1].path, len(shared), min(shared)),
        )
    if max(counts.values()) == 1:
        return tuple(info for store in stores for info in store.recordings)
    found = [
        replace(
            info, name=f"{info.name}_cache{i}" if i > 1 and counts[info.name] > 1 else info.name
        )
        for i, store in enumerate(stores, start=1)
        for info in store.recordings
    ]
    name, count = Counter(info.name for info in found).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{stores[-1].path}: its recording {name} has the name of another; rename its video, "
            "and preprocess it again"
        )
    return tuple(found)
