"""Write files so that a reader sees either the old or the new content, never a part of it."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import BaseFileLock, FileLock, Timeout

from mpar.errors import ConfigError, counted

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_MAX_STEM = 40
# on Windows, a virus scanner or a backup may hold a new file for a moment
_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8) if os.name == "nt" else ()
# what a disk without locks answers; which of them depends on the file system
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
# what network disks answer that flush files, but no folders
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_disks_without_locks: set[int] = set()
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp(\.[^.]+|)", re.DOTALL)


@contextlib.contextmanager
def atomic_path(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it if the block succeeds.

    The folder is created if it does not exist. On success, the data is flushed to the disk (if
    `durable`, which is slow), the file is renamed to `path`, and the folder is flushed, too. On any
    error, including an interrupt, the temporary file is removed and `path` stays as it was. An
    OSError then names `path` instead of the temporary file or no file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:_MAX_STEM]}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        with naming(path, temporary):
            yield temporary
            publish(temporary, path, durable=durable)
    finally:
        with contextlib.suppress(OSError):  # the first error matters more
            temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path, *, durable: bool = True) -> None:
    """Let a complete file take the place of `path`, on the same disk; see `atomic_path`."""
    if durable:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
    for wait_s in (*_WAITS_S, None):
        try:
            temporary.replace(path)
            break
        except PermissionError:
            if wait_s is None:
                raise
            time.sleep(wait_s)
    if durable:
        _sync_folder(path.parent)


@contextlib.contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Let an OSError name `path` instead of its temporary file, its folder or no file."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) in (str(temporary), str(path.parent)):
            # the error of a full disk names no file, and users do not know the temporary one
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def remove_temporaries(folder: Path, of: Path | None = None) -> None:
    """Remove temporary files that killed processes left in a folder to which nobody else writes.

    With `of`, only those of this file, whose lock the caller holds; none if its stem is so long
    that another stem might start with it.
    """
    if of is not None and len(of.stem) >= _MAX_STEM:
        return
    for path in folder.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match and (of is None or match.groups() == (of.stem, of.suffix)):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; it journals renames
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str, *, durable: bool = True) -> None:
    """Write `text` as UTF-8 with plain newlines, atomically."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, data: Any, *, durable: bool = True) -> None:
    """Write `data` as indented JSON, atomically; refuse NaN and infinity."""
    write_text(path, json_text(data), durable=durable)


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says; ValueError for what is none, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_text(data: Any) -> str:
    """Return what `write_json` writes."""
    return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def sha256_of(path: Path, on_block: Callable[[], object] = lambda: None) -> str:
    """Return the SHA-256 of a file, in hexadecimal; `on_block` is called for every MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            on_block()
    return digest.hexdigest()


def write_together(texts: Mapping[Path, str]) -> None:
    """Write files, all or none; the last one says that all are there.

    As long as only some of them have their new content, the last one does not exist.
    """
    *_, sign = texts
    try:
        with contextlib.ExitStack() as stack:
            for path, text in reversed([*texts.items()]):
                temporary = stack.enter_context(atomic_path(path))
                temporary.write_text(text, encoding="utf-8", newline="\n")
            sign.unlink(missing_ok=True)
    except OSError:
        if not is_there(sign):
            for path in texts:
                with contextlib.suppress(OSError):  # the first error matters more
                    path.unlink(missing_ok=True)
        raise


def is_there(path: Path) -> bool:
    """Return True if a file exists; a name that the disk cannot hold does not."""
    try:
        return path.exists()
    except OSError:  # Python before 3.14 raises it for some names
        return False


def refuse_existing(folder: Path | str, names: Iterable[str]) -> None:
    """Raise ConfigError if a folder holds any of the files, which a command would replace."""
    existing = [name for name in names if is_there(Path(folder, name))]
    if existing:
        raise ConfigError(
            f"{folder}: already contains {counted(len(existing), 'output file')} "
            f"({', '.join(existing[:3])}); pass --overwrite to replace them, or choose another "
            "--output"
        )


def write_table(path: Path | str, table: pd.DataFrame, *, index: bool = False) -> None:
    """Write a table as UTF-8 CSV with six decimals, atomically, without spreadsheet formulas."""
    write_text(path, table_text(table, index=index))


def table_text(table: pd.DataFrame, *, index: bool = False) -> str:
    """Return what `write_table` writes."""
    safe = table.rename(columns=_safe_or_same)
    for place in range(safe.shape[1]):
        if safe.iloc[:, place].dtype.kind not in "biuf":
            safe.isetitem(place, safe.iloc[:, place].map(_safe_or_same))
    if index:
        safe.index = safe.index.map(_safe_or_same)
    text: str = safe.to_csv(index=index, float_format="%.6f", lineterminator="\n")
    return text


def write_rows(path: Path | str, rows: Iterable[Sequence[Any]], *, durable: bool = True) -> None:
    """Write rows, the header first, as UTF-8 CSV, atomically, without spreadsheet formulas."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([_safe_or_same(cell) for cell in row] for row in rows)
    write_text(path, buffer.getvalue(), durable=durable)


def read_rows(path: Path | str) -> list[list[str]]:
    """Read the rows of a CSV that `write_rows` wrote, the header first (OSError, ValueError)."""
    text = Path(path).read_bytes().decode("utf-8-sig")
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ValueError(f"is not a well-formed CSV ({error}); fix it") from None
    return [[spreadsheet_plain(cell) for cell in row] for row in rows]


def _safe_or_same(value: Any) -> Any:
    return spreadsheet_safe(value) if isinstance(value, str) else value


def spreadsheet_safe(cell: str) -> str:
    """Neutralise a text cell that a spreadsheet program would run as a formula.

    Notes
    -----
    A cell that starts with ``= + - @`` (also in full width), a tab or a line break, and is not a
    number, gets an apostrophe in front, which marks text in spreadsheets. So does such a cell that
    already starts with apostrophes, so that `spreadsheet_plain` restores every cell. Source: OWASP,
    "CSV Injection".

    Examples
    --------
    >>> [spreadsheet_safe(cell) for cell in ("=x", "'=x", "-1", "'tis")]
    ["'=x", "''=x", '-1', "'tis"]
    """
    is_formula = cell.lstrip("'")[:1] in _FORMULA_STARTS and not _NUMBER.fullmatch(cell)
    return "'" + cell if cell and is_formula else cell


def spreadsheet_plain(cell: str) -> str:
    """Undo `spreadsheet_safe`; a formula typed by hand stays the same."""
    is_safe = cell[:1] == "'" and cell.lstrip("'")[:1] in _FORMULA_STARTS
    return cell[1:] if is_safe else cell


@contextlib.contextmanager
def locked(path: Path | str, *, patience_seconds: float = 0) -> Iterator[None]:
    """Lock `path` against other writers while the block runs; ConfigError if it is locked.

    The lock is ``.<name>.lock`` beside it, an empty file that stays: deleting it could let in two
    writers. The operating system holds the lock (`filelock`: ``flock``, on Windows
    ``msvcrt.locking``) and frees it when the process ends in any way. On network disks (NFS, SMB),
    Linux passes the lock to the server, which keeps out writers on other machines if it supports
    locks; a disk mounted with ``nolock`` or ``nobrl`` locks within one machine only. On a disk that
    has no locks at all, mpar goes on with one warning: a lock file would remain after a crash and
    lock everybody out. Temporary files of `path` from killed processes are removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _new_lock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=patience_seconds)
    except Timeout:
        raise ConfigError(
            f"{path}: another process is writing it; wait until it ends, or write elsewhere"
        ) from None
    except NotImplementedError:  # older versions of filelock, where the system has no flock
        _warn_of_no_locks(path)
        yield
        return
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        _warn_of_no_locks(path)
        yield
        return
    try:
        remove_temporaries(path.parent, path)
        yield
    finally:
        lock.release()


def _new_lock(path: Path) -> BaseFileLock:
    try:
        return FileLock(path, fallback_to_soft=False)
    except TypeError:  # versions of filelock before this option
        return FileLock(path)


def _warn_of_no_locks(path: Path) -> None:
    """Warn once for each disk."""
    disk = path.parent.stat().st_dev
    if disk not in _disks_without_locks:
        _disks_without_locks.add(disk)
        log.warning(
            "%s: the disk of this folder cannot lock files, so nothing keeps a second mpar from "
            "writing here at the same time; run one at a time, or write to another disk",
            path.parent,
        )
