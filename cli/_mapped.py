"""What becomes of a command when a file that it has mapped is lost."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _end_for_lost_page(signum: int) -> None:
    """End the process: the page of a mapped file that it waits for will never come."""
    watched = sys.modules.get("mpar.cache.watched")
    where = ", ".join(map(str, watched.mapped_paths())) if watched else "a file"
    message = (
        f"error: {where}: can no longer be read, its disk failed or it was cut short; what was "
        "finished is kept, run it again when the file is whole (on a network disk: train with "
        "--access pread)\n"
    )
    os.write(2, message.encode("utf-8", "backslashreplace"))
    os._exit(2)  # as every error does


@contextlib.contextmanager
def lost_pages_are_told() -> Iterator[None]:
    """Where there is SIGBUS, end with a message instead of that signal.

    A handler of Python's would run when the failed read returns, which it never does.
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
