"""Turn whatever goes wrong with one item into its problem, so that the others are still done."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import mpar
from mpar.errors import InputError, MparError, Problem

LOG_NAME = "errors.log"


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error says that the memory is full: of Python, of a processor or a GPU."""
    text = str(error).partition("\n")[0].lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text


def plain_reason(error: Exception) -> str:
    """Return why a library cannot read a file, since the library speaks of its own insides."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else "it is damaged, cut short, or of another kind"


@contextlib.contextmanager
def contained(path: Path | str, *, with_disk: bool = False) -> Iterator[None]:
    """Turn an error that nobody expects into an InputError of one file, with its traceback.

    With `with_disk`, also an OSError: the disk refuses this file, not necessarily others. Errors of
    mpar say already what to do, and full memory concerns all items; both pass.
    """
    try:
        yield
    except MparError:
        raise
    except OSError as error:
        if not with_disk:
            raise
        what = f"the file {error.filename}" if error.filename else "a file"
        raise InputError.of(
            path,
            "unreadable",
            f"{what} cannot be read or written ({error.strerror or error}); allow it, make room, "
            "or use shorter names",
        ) from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise unexpected(path, error) from error


def unexpected(path: Path | str, error: Exception) -> InputError:
    """Return the error of a file with which mpar failed for a reason that it does not know."""
    text = str(error).partition("\n")[0][:200]
    kind = type(error).__name__
    problem = Problem.of(path, "internal", f"mpar failed with it ({kind}{text and f': {text}'})")
    trace = "".join(traceback.format_exception(error))
    return InputError([dataclasses.replace(problem, trace=trace)])


def logged(problems: Iterable[Problem], log: Path | None) -> list[Problem]:
    """Write the tracebacks of problems to a log, and return the problems with the place of it.

    Without `log`, or if it cannot be written, they go to a file in the folder of temporary files.
    """
    problems = list(problems)
    traces = [
        f"{problem}\n{problem.trace}".encode("utf-8", "backslashreplace")
        for problem in problems
        if problem.trace
    ]
    if not traces:
        return problems
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    system = f"Python {platform.python_version()}, {platform.platform()}"
    text = b"\n".join([f"{now} mpar {mpar.__version__}, {system}".encode(), *traces, b""])
    place = "could not be written down"
    for path in filter(None, (log, Path(tempfile.gettempdir(), f"mpar-{LOG_NAME}"))):
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(text)
            place = f"are in {path}"
            break
    return [
        dataclasses.replace(
            problem,
            message=f"{problem.message}; the details {place}: please report them, and leave the "
            "file out meanwhile",
            trace="",
        )
        if problem.trace
        else problem
        for problem in problems
    ]
