"""Read a file at given offsets, so that threads and processes share no position."""

from __future__ import annotations

import os
import threading
from io import FileIO
from pathlib import Path

# Windows has neither; macOS has preadv from version 11 on
_HAS_PREADV, _HAS_PREAD = hasattr(os, "preadv"), hasattr(os, "pread")


class PositionedFile:
    """A file open for reading at given offsets.

    Parameters
    ----------
    path : Path
        The file.

    Notes
    -----
    A process made by fork shares the position of every open file with its parent and its
    siblings: between a seek and a read, another process may move it. A lock between threads cannot
    prevent this, so nothing here uses the position. On systems without positioned reads, each
    thread of each process opens the file again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        self._own: dict[tuple[int, int], FileIO] = {}  # by process and thread

    def fileno(self) -> int:
        """Return the descriptor, only for calls that do not move the position."""
        return self._file.fileno()

    def stat(self) -> os.stat_result:
        """Return the status of the open file, even if another file has replaced it."""
        return os.fstat(self.fileno())

    def close(self) -> None:
        """Close every handle of this file that this process holds."""
        for file in (self._file, *self._own.values()):
            file.close()

    def read_into(self, offset: int, view: memoryview) -> int:
        """Read bytes from `offset` on into `view`; return their number, 0 only at the end."""
        if _HAS_PREADV:
            return os.preadv(self.fileno(), [view], offset)
        if _HAS_PREAD:
            data = os.pread(self.fileno(), len(view), offset)
            view[: len(data)] = data
            return len(data)
        file = self._own_handle()
        file.seek(offset)
        return file.readinto(view)

    def _own_handle(self) -> FileIO:
        key = os.getpid(), threading.get_ident()
        if key not in self._own:
            status = self.stat()  # fails if the file is closed
            file = self.path.open("rb", buffering=0)
            if not os.path.samestat(os.fstat(file.fileno()), status):
                file.close()
                raise OSError("another file replaced it while it was being read")
            self._own[key] = file
        return self._own[key]
