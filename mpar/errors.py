"""The errors that mpar raises on purpose.

MparError
├ ConfigError      an option or a configuration value (also a ValueError)
├ InputError       videos or label files, with every problem found (also a ValueError)
├ StoreError       a cache that is not ours, of an unknown version, or damaged
├ TeamError        a process of a team died or hangs
└ CheckpointError  a checkpoint that is not ours, damaged, or at odds with the data

Messages read ``where: found X, expected Y; do Z``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem of one input file.

    Parameters
    ----------
    path : str
        The file, as messages show it.
    line : int
        1-based line of the file, or 0 if the problem concerns the whole file.
    message : str
        What was found, what was expected, and what to do.
    folder : str
        Folder of the file, not shown; see `below`.
    trace : str
        Traceback of an error that mpar did not expect, not shown (`mpar.system.faults.logged`).
    """

    path: str
    line: int
    message: str
    folder: str = field(default="", compare=False, repr=False)
    trace: str = field(default="", compare=False, repr=False)

    @classmethod
    def of(cls, path: Path | str, message: str, line: int = 0) -> Problem:
        """Make a problem of `path` that shows the name of the file."""
        path = Path(path)
        return cls(_printable(path.name), line, _printable(message), str(path.parent))

    def below(self, *folders: Path | str) -> Problem:
        """Return a copy that shows the path below the first of these folders that contains it.

        This distinguishes files with the same name in two folders.
        """
        path = path_below(Path(self.folder, self.path), folders) if self.folder else self.path
        return replace(self, path=_printable(path))

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.message}"


MAX_PROBLEMS_PER_FILE = 20


def path_below(path: Path, folders: Iterable[Path | str]) -> str:
    """Return a path relative to the first of these folders that contains it, or its name."""
    for folder in folders:
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def _printable(text: str) -> str:
    """Return `text` with characters escaped that UTF-8 cannot encode (stray bytes of a name)."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(number: int, noun: str) -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> counted(1, "frame"), counted(1200, "frame")
    ('1 frame', '1,200 frames')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def shorten(path: Path, problems: Iterable[Problem]) -> list[Problem]:
    """Return the first twenty problems of a file; the last says how many follow.

    Problems with the same message become one, which names the first row and counts the rows.
    """
    lines: dict[str, list[int]] = {}
    for problem in sorted(problems):
        lines.setdefault(problem.message, []).append(problem.line)
    problems = [
        Problem.of(path, message + (f" ({len(at)} such rows)" if len(at) > 1 else ""), at[0])
        for message, at in lines.items()
    ]
    hidden = len(problems) - MAX_PROBLEMS_PER_FILE
    problems = problems[:MAX_PROBLEMS_PER_FILE]
    if hidden > 0:
        last = problems[-1]
        message = f"{last.message} (and {hidden} more problems in this file)"
        problems[-1] = Problem.of(path, message, last.line)
    return problems


class MparError(Exception):
    """Base of all errors that mpar raises on purpose."""


class ConfigError(MparError, ValueError):
    """An option or a configuration value cannot be used."""


class InputError(MparError, ValueError):
    """Input files cannot be used; `problems` lists everything that is wrong.

    Parameters
    ----------
    problems : iterable of Problem
        At least one problem; kept sorted by file and line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)

    @classmethod
    def of(cls, path: Path | str, message: str, line: int = 0) -> InputError:
        """Make an error with one problem."""
        return cls([Problem.of(path, message, line)])


class StoreError(MparError):
    """A cache is not ours, has an unknown version, or is damaged."""


class TeamError(MparError):
    """A process of a team died or hangs."""


class CheckpointError(MparError):
    """A checkpoint is not ours, is damaged, or disagrees with the data."""
