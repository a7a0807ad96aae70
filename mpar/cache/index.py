"""Read the index of a cache through HDF5, and compare it with the HDF5 tree."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpar.cache.layout import (
    FOLLOWING_VERSION,
    FORMAT,
    MAX_INDEX_BYTES,
    READABLE_VERSIONS,
    RecordingInfo,
    arrays_of,
    chunk_offsets,
    end_to_end,
    films_of,
    hash_bytes,
    num_chunks,
    places_of,
    read_attributes,
    stored_frames,
)
from mpar.cache.opening import opened
from mpar.errors import StoreError
from mpar.labels.classes import ClassMap
from mpar.system.faults import plain_reason
from mpar.video.following import Following


@dataclass(frozen=True, slots=True)
class Index:
    """The index of a cache.

    Parameters
    ----------
    path : Path
        The cache.
    version : int
        Version of the format.
    fingerprint : str
        Checksum of the index.
    num_bytes : int
        Size of the index as stored.
    class_map : ClassMap
        Classes of the labels.
    config : dict
        How the frames were made.
    frame_size : (int, int)
        Height and width in px.
    recordings : tuple of RecordingInfo
        Attributes of each recording.
    entries : list of dict
        Byte offsets and checksums of the data sets of each recording.
    """

    path: Path
    version: int
    fingerprint: str
    num_bytes: int
    class_map: ClassMap
    config: dict[str, Any]
    frame_size: tuple[int, int]
    recordings: tuple[RecordingInfo, ...]
    entries: list[dict[str, int]]

    @property
    def following(self) -> Following | None:
        """The squares, if it has any."""
        return Following.of(self.config) if self.version == FOLLOWING_VERSION else None

    def film_size(self, film: str) -> tuple[int, int]:
        """Return height and width in px of a film: "frames" or "squares"."""
        side = self.following.size if self.following else 0
        return self.frame_size if film == "frames" else (side, side)

    def extents(self, info: RecordingInfo) -> dict[str, int]:
        """Return the size of each data set of a recording in bytes."""
        films = films_of(self.version)
        extents = {
            **{f: stored_frames(info.num_frames) * math.prod(self.film_size(f)) for f in films},
            "labels": info.num_frames,
            "codes": 2 * len(info.annotators) * info.num_frames,
            "chunk_hashes": 8 * num_chunks(info.num_frames),
            "times": 8 * info.num_frames,
            "source_frame": 8 * info.num_steps,
            "square_hashes": 8 * num_chunks(info.num_frames),
            "corners": 8 * info.num_frames,
        }
        return {key: extents[key] for key in (*films, *arrays_of(self.version))}


def read_index(path: Path, status: os.stat_result) -> Index:
    """Read and check the index of a cache, and check that its data lie within the file.

    `status` is that of the opened file, in case another file has replaced it since. StoreError if
    the file is not a cache, has another version, or is damaged.
    """
    try:
        with opened(path) as file:
            attrs = read_attributes(file, ("format", "format_version", "index_hash"))
            if attrs.get("format") != FORMAT:
                raise StoreError(
                    f"{path}: found an HDF5 file of another kind, expected a cache made "
                    "by mpar-preprocess; check the path"
                )
            if (version := attrs.get("format_version")) not in READABLE_VERSIONS:
                raise StoreError(
                    f"{path}: found cache format version {version}, expected "
                    f"{' or '.join(map(str, READABLE_VERSIONS))}; make it again with "
                    "mpar-preprocess"
                )
            data = _read_plain(path, file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise StoreError(
            f"{path}: cannot be read as an HDF5 file ({plain_reason(error)}), expected a "
            "cache; check the path, copy it again, or make it again with mpar-preprocess"
        ) from None
    if not os.path.samestat(path.stat(), status):
        raise StoreError(f"{path}: was replaced while it was being opened; try again")
    if hash_bytes(data) != attrs.get("index_hash"):
        raise StoreError(
            f"{path}: its index does not match its checksum, so something changed or damaged "
            "it; make it again with mpar-preprocess"
        )
    return _parse(path, data.tobytes(), f"{attrs['index_hash']:016x}", version, status.st_size)


def _parse(path: Path, text: bytes, fingerprint: str, version: int, size_bytes: int) -> Index:
    try:
        data = json.loads(text)
        height, width = map(int, data["frame_size"])
        config = dict(data["config"])
        if config.get("tracks"):
            config["tracks"] = sorted(config["tracks"])  # earlier versions kept the user's order
        index = Index(
            path,
            version,
            fingerprint,
            len(text),
            ClassMap.from_dict(data["class_map"]),
            config,
            (height, width),
            tuple(RecordingInfo.from_dict(entry) for entry in data["recordings"]),
            [{key: int(e[key]) for key in places_of(version)} for e in data["recordings"]],
        )
        if version == FOLLOWING_VERSION and index.following is None:
            raise ValueError("squares of unknown size")
        for info, entry in zip(index.recordings, index.entries, strict=True):
            for key, num_bytes in index.extents(info).items():
                if not 0 <= entry[f"{key}_offset"] <= size_bytes - num_bytes:
                    raise StoreError(
                        f"{path}: recording {info.name} lies beyond the end of the file, "
                        "which was cut short; copy it again or make it again"
                    )
            if min(info.num_frames, info.num_steps) < 1 or height < 1 or width < 1:
                raise ValueError("empty recording")
            if "\0" in info.name or Path(info.name).name != info.name:
                # outputs are named after it and must stay in their folder
                raise ValueError(f"recording {info.name!r} has no plain name")
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise StoreError(
            f"{path}: its index is not as mpar writes it ({error!r}); make it again with "
            "mpar-preprocess"
        ) from None
    return index


def _read_plain(path: Path, file: h5py.File) -> np.ndarray:
    """Read the index, after a check that it uses no other file and declares no huge size."""
    link = file.get("index", getlink=True)
    dataset = file.get("index") if isinstance(link, h5py.HardLink) else None
    if (
        not isinstance(dataset, h5py.Dataset)
        or dataset.dtype != np.uint8
        or dataset.ndim != 1
        or not 0 < dataset.size <= MAX_INDEX_BYTES
        or dataset.chunks
        or dataset.external
        or dataset.is_virtual
    ):
        raise StoreError(
            f"{path}: its index is not as mpar writes it; make it again with mpar-preprocess"
        )
    return dataset[:]


def compare_with_hdf5(index: Index) -> list[str]:
    """Return differences between the HDF5 tree and the index."""
    problems = []
    with opened(index.path) as file:
        for number, (info, entry) in enumerate(zip(index.recordings, index.entries, strict=True)):
            try:
                group = file[f"recordings/{number:06d}"]
                attrs = read_attributes(group, group.attrs)
                is_same = (
                    RecordingInfo.from_dict(attrs) == info
                    and all(
                        group[film].shape == (info.num_frames, *index.film_size(film))
                        and group[film].dtype == np.uint8
                        and chunk_offsets(group[film].id)
                        == end_to_end(
                            entry[f"{film}_offset"], info.num_frames, index.film_size(film)
                        )
                        for film in films_of(index.version)
                    )
                    and all(
                        group[key].id.get_offset() == entry[f"{key}_offset"]
                        for key in arrays_of(index.version)
                    )
                )
            except (OSError, KeyError, ValueError, TypeError, RuntimeError):
                is_same = False
            if not is_same:
                problems.append(
                    f"{index.path}: recording {info.name} differs between the index and the "
                    "HDF5 tree; make it again with mpar-preprocess"
                )
    return problems
