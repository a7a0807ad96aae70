"""The open file of a cache, read at given positions and watched for changes."""

from __future__ import annotations

import mmap
import weakref
from pathlib import Path

import numpy as np

from mpar.cache.layout import bytes_of
from mpar.errors import StoreError
from mpar.system.positioned import PositionedFile

_mapped: weakref.WeakSet[WatchedFile] = weakref.WeakSet()


def mapped_paths() -> list[Path]:
    """Return the caches that this process has mapped, one of which a lost page belongs to."""
    return sorted({file.path for file in _mapped})


class WatchedFile:
    """A cache open for reading, which detects writes and truncation.

    Parameters
    ----------
    path : Path
        The cache.

    Raises
    ------
    StoreError
        It cannot be opened; the methods raise it, too, if the file can no longer be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = PositionedFile(path)
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened ({error.strerror})") from None
        self.stat = self._file.stat
        self._size_bytes, self._mtime_ns = self._state()

    def map(self) -> mmap.mmap:
        """Map the whole file for reading."""
        _mapped.add(self)
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Close the file; its map stays valid."""
        _mapped.discard(self)
        self._file.close()

    def has_changed(self) -> bool:
        """Return True if the file was written to since the last call."""
        size_bytes, mtime_ns = self._state()
        if size_bytes < self._size_bytes:
            raise self._cut_short()
        if mtime_ns == self._mtime_ns:
            return False
        self._mtime_ns = mtime_ns
        return True

    def read_into(self, offset: int, out: np.ndarray) -> None:
        """Fill a contiguous array with the bytes from `offset` on."""
        view = bytes_of(out)
        try:
            while view:
                num_bytes = self._file.read_into(offset, view)
                if not num_bytes:
                    raise self._cut_short()
                offset, view = offset + num_bytes, view[num_bytes:]
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path}: cannot be read ({error})") from None

    def _state(self) -> tuple[int, int]:
        try:
            status = self._file.stat()
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.path}: cannot be read ({error})") from None
        return status.st_size, status.st_mtime_ns

    def _cut_short(self) -> StoreError:
        return StoreError(
            f"{self.path}: was cut short while it was being read; copy it again or make it again "
            "with mpar-preprocess"
        )
