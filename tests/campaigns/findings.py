"""What fuzzing is to find: inputs that are read wrongly. Those found once lie in ``findings/``."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np

from mpar.aligning.laying import events_to_frames
from mpar.cache.layout import hash_bytes
from mpar.cache.store import Store
from mpar.errors import InputError, StoreError
from mpar.formats.registry import read_label_file
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.video.timeline import TimeLine
from tests.campaigns.cases import write_bytes
from tests.campaigns.damage import read_all, write_small_cache
from tests.campaigns.labels import judge_file, named_files

FOLDER = Path(__file__).with_name("findings")
NUM_FRAMES, FPS = 300, Fraction(30)


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="mpar-findings-"))


def judge_labels(data: bytes) -> str:
    """Read a label file of any format and say what went wrong, "" if nothing did."""
    is_workbook = data.startswith(b"PK\3\4")
    path = write_bytes(_folder() / ("m1.xlsx" if is_workbook else "m1.csv"), data)
    try:
        read = read_label_file(path, DEFAULT_CLASS_MAP)
        if bad := [problem for item in read for problem in getattr(item, "problems", ())]:
            raise InputError(bad)
        laid = events_to_frames(read, DEFAULT_CLASS_MAP, TimeLine(NUM_FRAMES, FPS))
    except InputError as error:
        is_named = all(problem.path == path.name for problem in error.problems)
        return "" if is_named else f"does not name the file: {error}"
    known = {-1, *(code for code, _, _ in DEFAULT_CLASS_MAP.rows)}
    for item, annotation in zip(read, laid, strict=True):
        if not known.issuperset(annotation.codes.tolist()):
            return f"codes that no class has: {annotation.codes}"
        if (np.diff(annotation.frames) != 1).any():
            return f"frames are missing: {annotation.frames}"
        if item is annotation:  # mpar's own dialect, which can be read by other means
            return "" if is_workbook else judge_file((path, data, None))
        if annotation.frames.tolist() != list(range(item.num_rows or NUM_FRAMES)):
            return f"not a code a frame: {annotation.frames}"
    return ""


def judge_cache(data: bytes) -> str:
    """Open and read what may be a cache, or (from ``{`` on) the index of one."""
    if not data.startswith(b"{"):
        return read_all(write_bytes(_folder() / "cache.h5", data), "pread")[0]
    path = write_bytes(_folder() / "cache.h5", _cache_with_index(data))
    try:
        store = Store(path, access="pread")
    except StoreError as error:
        return "" if path.name in str(error) else f"does not name the file: {error}"
    return _read_whatever(store)


def _read_whatever(store: Store) -> str:
    """Read a cache whose index may say anything: what it gives fits what it says."""
    with store:
        for i, info in enumerate(store.recordings):
            if info.num_frames > 10_000:
                continue
            for read, length in (
                (store.frames, info.num_frames),
                (store.labels, info.num_frames),
                (store.codes, len(info.annotators)),
            ):
                try:
                    if len(read(i)) != length:
                        return f"recording {i} has another length than it says"
                except StoreError:
                    continue
    return ""


@functools.cache
def _sound_cache() -> bytes:
    return write_small_cache(_folder() / "sound.h5").read_bytes()


def _cache_with_index(index: bytes) -> bytes:
    """Return a cache with another index, whose checksum is right."""
    path = write_bytes(_folder() / "other.h5", _sound_cache())
    with h5py.File(path, "r+", locking=False) as file:
        del file["index"]
        values = np.frombuffer(index, np.uint8)
        file.create_dataset("index", data=values)
        file.attrs["index_hash"] = np.uint64(hash_bytes(values))
    return path.read_bytes()


def label_seeds() -> Iterator[bytes]:
    """Yield files of all formats to begin with."""
    for _, data, _ in named_files():
        if len(data) < 2000:
            yield data
    yield from program_seeds()


def program_seeds() -> Iterator[bytes]:
    """Yield files of other programs, and workbooks."""
    from tests.unit.formats.test_exchange import WRITTEN_BY_HAND
    from tests.unit.formats.test_noldus import OBSERVER, as_text, log_rows, raw_rows
    from tests.unit.formats.test_xlsx import write_book

    for text, _ in WRITTEN_BY_HAND.values():
        yield text.encode()
    yield from (text.encode() for text in (as_text(raw_rows()), as_text(log_rows()), OBSERVER))
    for rows in ([["Frame", "Action"], [0, "rest"], [1, 2]], raw_rows()):
        yield write_book(_folder() / "seed.xlsx", rows).read_bytes()


def cache_seeds() -> Iterator[bytes]:
    """Yield a cache, and the index of one."""
    yield _sound_cache()
    with h5py.File(_folder() / "sound.h5") as file:
        yield json.dumps(json.loads(file["index"][:].tobytes())).encode()


TARGETS: dict[str, tuple[Callable[[bytes], str], Callable[[], Iterator[bytes]]]] = {
    "labels": (judge_labels, label_seeds),
    "cache": (judge_cache, cache_seeds),
}


def found_once() -> Iterator[tuple[str, Path]]:
    """Yield (target, file) for all that was found by fuzzing."""
    for target in TARGETS:
        for path in sorted((FOLDER / target).glob("*")):
            yield target, path
