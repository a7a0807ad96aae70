"""What HDF5 itself reads of a cache: its index, and the tree that has to say the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from mpar.cache.layout import (
    FORMAT,
    MAX_INDEX_BYTES,
    READABLE_VERSIONS,
    RecordingInfo,
    arrays_of,
    chunk_offsets,
    end_to_end,
    hash_bytes,
    read_attributes,
)
from mpar.errors import StoreError


def read_index(path: Path, status: os.stat_result) -> tuple[bytes, str, int]:
    """Read the index of a cache and check it against its checksum.

    Parameters
    ----------
    path : Path
        The cache.
    status : os.stat_result
        Of the file that was opened at this path, in case another one lies there by now.

    Returns
    -------
    bytes, str, int
        The index as JSON, its checksum as text, and the version of the format.

    Raises
    ------
    StoreError
        The file is not a cache, has another version, or is damaged.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
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
            f"{path}: cannot be read as an HDF5 file ({str(error)[:200]}); it is damaged "
            "or no cache, check the path or make it again with mpar-preprocess"
        ) from None
    if not os.path.samestat(path.stat(), status):
        raise StoreError(f"{path}: was replaced while it was being opened; try again")
    if hash_bytes(data) != attrs.get("index_hash"):
        raise StoreError(
            f"{path}: its index does not match its checksum; the file is damaged, make it "
            "again with mpar-preprocess"
        )
    return data.tobytes(), f"{attrs['index_hash']:016x}", version


def _read_plain(path: Path, file: h5py.File) -> np.ndarray:
    """Read the data set of the index, which leads to no other file and declares no huge size."""
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


def compare_with_hdf5(
    path: Path,
    recordings: Sequence[RecordingInfo],
    entries: Sequence[dict[str, int]],
    frame_size: tuple[int, int],
    version: int,
) -> list[str]:
    """Return what readers of the HDF5 tree would see otherwise than those of the index.

    Parameters
    ----------
    path : Path
        The cache.
    recordings, entries : sequences of RecordingInfo and of dict
        What the index says of each recording, and where its parts lie.
    frame_size : (int, int)
        Height and width in px.
    version : int
        Of the format.
    """
    problems = []
    with h5py.File(path, "r", locking=False) as file:
        for number, (info, entry) in enumerate(zip(recordings, entries, strict=True)):
            try:
                group = file[f"recordings/{number:06d}"]
                attrs = read_attributes(group, group.attrs)
                is_same = (
                    RecordingInfo.from_dict(attrs) == info
                    and group["frames"].shape == (info.num_frames, *frame_size)
                    and group["frames"].dtype == np.uint8
                    and chunk_offsets(group["frames"].id)
                    == end_to_end(entry["frames_offset"], info.num_frames, frame_size)
                    and all(
                        group[key].id.get_offset() == entry[f"{key}_offset"]
                        for key in arrays_of(version)
                    )
                )
            except (OSError, KeyError, ValueError, TypeError, RuntimeError):
                is_same = False
            if not is_same:
                problems.append(
                    f"{path}: recording {info.name} is not the same in the index and in "
                    "the HDF5 tree; make it again with mpar-preprocess"
                )
    return problems
