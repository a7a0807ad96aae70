"""Code that all commands share: logging, and errors as plain messages."""

from __future__ import annotations

import functools
import io
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from mpar_cli._mapped import lost_pages_end_with_message

from mpar.errors import InputError, MparError, Problem, counted
from mpar.system.events import write_event
from mpar.system.faults import is_out_of_memory, logged

if TYPE_CHECKING:
    from pathlib import Path

    from mpar.cache.layout import RecordingInfo
    from mpar.inference import Predicted

PROBLEMS_EXIT = 1  # some inputs were bad; the others were processed
ERROR_EXIT = 2  # nothing was done
MAX_PROBLEMS_SHOWN = 30


class _EchoHandler(logging.Handler):
    """Print log records to the error stream, with a prefix for warnings; equal ones only once."""

    def __init__(self) -> None:
        super().__init__()
        self._warnings: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        is_warning, text = record.levelno >= logging.WARNING, record.getMessage()
        if is_warning and text in self._warnings:
            return
        self._warnings |= {text} if is_warning else set()
        if not write_event("message", level="warning" if is_warning else "info", text=text):
            from tqdm import tqdm  # prints above a progress bar

            tqdm.write("warning: " * is_warning + text, file=sys.stderr)


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Turn `function`, which returns the exit code (None for 0), into a command.

    Every MparError becomes one message and exit code 2.
    """
    # Threads that spin while they wait for each other slow a training step several times if
    # another program keeps a core busy (tests/benchmarks/neighbours.py). torch reads this when it
    # is imported, which happens inside the commands.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # output that is redirected to a file on Windows cannot hold every character
            sys.stdout.reconfigure(errors="backslashreplace")
        quiet = options.get("quiet", False)
        logger = logging.getLogger("mpar")
        level = logger.level
        handler = _EchoHandler()
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
        try:
            with lost_pages_end_with_message():
                code = function(*args, **options) or 0
        except InputError as error:
            if not hasattr(error, "is_reported"):
                show_problems(error.problems)
            code = ERROR_EXIT
        except MparError as error:
            if not hasattr(error, "is_reported"):
                show_message(str(error), "error")
            code = 128 + error.signum if hasattr(error, "signum") else ERROR_EXIT
        except KeyboardInterrupt:
            show_message("interrupted; finished files are kept")
            code = 130
        except BrokenPipeError:
            raise  # the reader closed the pipe (| head): click ends quietly
        except (MemoryError, RuntimeError) as error:
            text = str(error).partition("\n")[0]
            if not is_out_of_memory(error):
                raise
            show_message(f"not enough memory{text and f' ({text})'}; {_save_memory()}", "error")
            code = ERROR_EXIT
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            show_message(f"{where}{error.strerror or error}", "error")
            code = ERROR_EXIT
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
        write_event("end", code=code)
        sys.exit(code)

    return wrapper


def show_message(text: str, level: str = "", code: str = "") -> None:
    """Print a message to the error stream; the level is "error", "warning" or none."""
    coded = {"code": code} if code else {}
    if not write_event("message", level=level or "info", text=text, **coded):
        click.echo(f"{level}: {text}" if level else text, err=True)


def _save_memory() -> str:
    """Return advice on how this command can use less memory."""
    context = click.get_current_context()
    names = {parameter.name for parameter in context.command.params}
    ways = []
    if "batch_size" in names:
        ways.append("lower --batch-size or --window")
    ways.append("pass a smaller --size" if "size" in names else "preprocess with a smaller --size")
    if "workers" in names:
        ways.append("pass --workers 1")
    if context.params.get("device", "cpu") != "cpu":
        ways.append("pass --device cpu")
    return ", or ".join(ways)


def show_problems(problems: Iterable[Problem], *, limit: int | None = MAX_PROBLEMS_SHOWN) -> None:
    """Print problems to the error stream, each message once.

    Parameters
    ----------
    problems : iterable of Problem
        Those of a kind that few files have come first, so that common ones hide no other. More
        than three files with the same message share a line.
    limit : int, optional
        Number of messages to print; None for all.
    """
    problems = logged(problems, None)
    shown = [
        write_event("problem", file=p.path, line=p.line, code=p.code, text=p.message)
        for p in problems
    ]
    if any(shown):
        return
    click.echo(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}:", err=True)
    by_message: dict[str, list[Problem]] = {}
    for problem in problems:
        by_message.setdefault(problem.message, []).append(problem)
    lines: list[list[Problem]] = []
    for same in by_message.values():
        lines += [same] if len(same) > 3 else [[problem] for problem in same]
    kind_of = {message: re.sub("[0-9]+", "#", message) for message in by_message}
    num_of = Counter(kind_of[problem.message] for problem in problems)
    lines.sort(key=lambda same: num_of[kind_of[same[0].message]])
    for same in lines[:limit]:
        others = f" (and {len(same) - 3} more)" if len(same) > 3 else ""
        where = ", ".join(str(p).removesuffix(f": {p.message}") for p in same[:3])
        click.echo(f"  {where}{others}: {same[0].message}", err=True)
    if limit is not None and len(lines) > limit:
        num_hidden = sum(len(same) for same in lines[limit:])
        click.echo(f"  and {num_hidden} more", err=True)


def show_warnings(
    warnings: Iterable[tuple[str, str]], codes: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Print (file, warning) pairs to the error stream; print equal warnings only once.

    `codes` holds the codes of those warnings that have one.
    """
    files: dict[str, list[str]] = {}
    for file, warning in warnings:
        files.setdefault(warning, []).append(file)
    for warning, names in files.items():
        others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        show_message(f"{names[0]}{others}: {warning}", "warning", codes.get(warning, ""))


def show_video_warnings(recordings: Iterable[RecordingInfo]) -> None:
    """Print the warnings from decoding: once per video, or per region."""
    shown = {
        (info.name if info.region else info.video, text): None
        for info in recordings
        for text in info.warnings
    }
    show_warnings(shown)


def show_predicted(done: Predicted, folder: Path) -> None:
    """Print what was written to a folder, what was there, and the warnings about the videos."""
    show_warnings(
        {
            (item.name if item.region else item.video, warning): None
            for item in done.written
            for warning in item.warnings
        },
        {text: code for item in done.written for code, text in item.drift.items()},
    )
    if done.kept:
        click.echo(
            f"{counted(len(done.kept), 'prediction')} of this network with these options already "
            "there and kept"
        )
    num_frames = sum(item.num_frames for item in done.written)
    noun = "recording" if any(item.region for item in done.written) else "video"
    click.echo(f"{counted(len(done.written), noun)}, {num_frames:,} frames -> {folder}")


def show_table(rows: list[list[str]]) -> None:
    """Print rows in aligned columns, the first one as header."""
    from mpar.system.text import text_table

    click.echo("\n".join(text_table(rows)))
