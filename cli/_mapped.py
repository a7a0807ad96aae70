"""End a command with a message if a mapped file becomes unreadable."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _end_for_lost_page(signum: int) -> None:
    """End the process: the disk cannot deliver a page of a mapped file."""
    watched = sys.modules.get("mpar.cache.watched")
    where = ", ".join(map(str, watched.mapped_paths())) if watched else "a file"
    message = (
        f"error: {where}: can no longer be read, because its disk failed or it was cut short; "
        "finished files are kept: restore the file and run the same command again (on a network "
        "disk, train with --access pread)\n"
    )
    os.write(2, message.encode("utf-8", "backslashreplace"))
    os._exit(2)  # the exit code of every error


@contextlib.contextmanager
def lost_pages_end_with_message() -> Iterator[None]:
    """On systems with SIGBUS, end with a message instead of that signal.

    A Python handler would run only after the failed read returns, which it never does.
    """
    if not hasattr(signal, "SIGBUS"):
        yield
        return
    set_handler = ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    before = set_handler(signal.SIGBUS, ctypes.cast(_end_for_lost_page, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGBUS, before)
