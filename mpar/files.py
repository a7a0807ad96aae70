"""Write files so that a reader sees the old content or the new one, never a piece of it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mpar.errors import ConfigError


@contextlib.contextmanager
def atomic_path(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends well.

    Parameters
    ----------
    path : Path or str
        File to create or replace. Its folder is made if it is missing.
    durable : bool
        Survive a power failure too. Slow; not for what is checked and made again at need.

    Yields
    ------
    Path
        A name in the same folder, with the same suffix. The block writes the whole file there.

    Notes
    -----
    On success the data is flushed to the disk (if durable), put in place by one rename, and the
    folder is flushed too. On any error, an interrupt included, the temporary file is removed and
    `path` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its rename is journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str, *, durable: bool = True) -> None:
    """Write `text` as UTF-8 with plain newlines, atomically."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, data: Any, *, durable: bool = True) -> None:
    """Write `data` as indented JSON, atomically; NaN and infinity are refused."""
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text, durable=durable)


def spreadsheet_safe(cell: str) -> str:
    """Neutralise a text cell that a spreadsheet program would execute as a formula.

    Notes
    -----
    A leading ``= + - @``, tab or line break gets an apostrophe in front, which spreadsheets
    show as text. Source: OWASP, "CSV Injection".
    """
    return "'" + cell if cell[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} else cell


@contextlib.contextmanager
def locked(path: Path | str, *, patience_seconds: float = 0) -> Iterator[None]:
    """Keep a second writer of `path` out while the block runs.

    Parameters
    ----------
    path : Path or str
        The file to be written; the lock is ``.<name>.lock`` beside it.
    patience_seconds : float
        How long to wait for another process.

    Raises
    ------
    ConfigError
        Another process holds the lock. A lock left behind by a dead process of this
        machine is taken over.

    Notes
    -----
    The lock file is created with ``O_EXCL`` and holds the process id and the host, so that
    it works on network disks too and says who to ask.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    owner = {"pid": os.getpid(), "host": socket.gethostname()}
    deadline = time.monotonic() + patience_seconds
    is_taken_over = False
    while True:
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            holder = _read_lock(lock)
        if _is_stale(holder) and not is_taken_over:
            lock.unlink(missing_ok=True)
            is_taken_over = True
        elif time.monotonic() < deadline:
            time.sleep(0.05)
        else:
            raise ConfigError(
                f"{path.name}: is being written by process {holder.get('pid', '?')} on "
                f"{holder.get('host', '?')}; wait for it, or delete {lock} if that process no "
                "longer exists"
            )
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(owner, file)
        yield
    finally:
        lock.unlink(missing_ok=True)


def _read_lock(lock: Path) -> dict[str, Any]:
    try:
        holder = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _is_stale(holder: dict[str, Any]) -> bool:
    """Tell whether the lock's process is known to be dead: same host, no such process."""
    pid = holder.get("pid")
    if holder.get("host") != socket.gethostname() or not isinstance(pid, int) or os.name == "nt":
        return False  # elsewhere, or unknowable here: the person decides
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
