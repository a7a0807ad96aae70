"""Open the HDF5 file of a cache to read it, also if a program died that had it open for writing.

HDF5 marks a file that is open for writing in its superblock, and refuses to open it again. If the
program dies, the mark stays. mpar checks the index and the frames against their checksums, so it
can read such a file. Source: HDF5 file format specification, superblock version 3.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import h5py

from mpar.errors import StoreError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_BYTES = 48  # of version 3, with addresses of 8 bytes
_FLAGS_AT = 11
_IS_OPEN_FOR_WRITING = 1
_MASK = 0xFFFFFFFF


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read it.

    StoreError if another program has it open for writing, OSError if it cannot be opened.
    """
    head = _read_head(path)
    if not _is_marked(head):
        with h5py.File(path, "r", locking=False) as file:
            yield file
        return
    if _is_locked(path):
        raise StoreError(
            f"{path}: another program has it open for writing, such as a notebook with "
            "h5py.File(..., 'r+'); close it there and try again"
        )
    with path.open("rb", buffering=0) as raw, h5py.File(_Unmarked(raw, head), "r") as file:
        yield file


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SUPERBLOCK_BYTES)


def _is_marked(head: bytes) -> bool:
    """Return True if a superblock says that a program has the file open for writing."""
    is_known = head.startswith(_SIGNATURE) and len(head) == _SUPERBLOCK_BYTES
    # version 3, offsets and lengths of 8 bytes, and a checksum that holds
    is_known = is_known and head[8:11] == b"\x03\x08\x08" and _hash(head[:-4]) == head[-4:]
    return is_known and bool(head[_FLAGS_AT] & _IS_OPEN_FOR_WRITING)


def _is_locked(path: Path) -> bool:
    """Return True if a program holds a lock on a file, as HDF5 does while it writes."""
    try:
        import fcntl
    except ImportError:  # Windows locks files in another way: opening them fails
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a disk without locks
            return False
    return False


class _Unmarked(io.RawIOBase):
    """A file to read, with a superblock without the mark."""

    def __init__(self, raw: io.RawIOBase | io.FileIO, head: bytes) -> None:
        self._raw = raw
        plain = head[:_FLAGS_AT] + b"\0" + head[_FLAGS_AT + 1 : -4]
        self._head = plain + _hash(plain)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._raw.tell()

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        """Read bytes from the place on."""
        start = self._raw.tell()
        num_read = self._raw.readinto(buffer) or 0
        if start < len(self._head):
            mine = self._head[start : start + num_read]
            memoryview(buffer).cast("B")[: len(mine)] = mine
        return num_read


def _rotate(value: int, count: int) -> int:
    return ((value << count) | (value >> (32 - count))) & _MASK


def _hash(data: bytes) -> bytes:
    """Return the checksum of HDF5's metadata: lookup3 of Bob Jenkins, little-endian.

    Parameters
    ----------
    data : bytes
        At least one byte.
    """
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    words = [
        int.from_bytes(data[i : i + 4], "little") for i in range(0, -(-len(data) // 12) * 12, 4)
    ]
    while True:
        a, b, c = (x + y & _MASK for x, y in zip((a, b, c), words[:3], strict=True))
        words = words[3:]
        if not words:
            break
        for count_a, count_b, count_c in ((4, 6, 8), (16, 19, 4)):
            a = (a - c & _MASK) ^ _rotate(c, count_a)
            c = c + b & _MASK
            b = (b - a & _MASK) ^ _rotate(a, count_b)
            a = a + c & _MASK
            c = (c - b & _MASK) ^ _rotate(b, count_c)
            b = b + a & _MASK
    for x, y, count in ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14)):
        parts = [a, b, c]
        parts[x] = (parts[x] ^ parts[y]) - _rotate(parts[y], count) & _MASK
        a, b, c = parts
    c = (c ^ b) - _rotate(b, 24) & _MASK
    return c.to_bytes(4, "little")
