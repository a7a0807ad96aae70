"""The errors that mpar raises on purpose.

MparError
├ ConfigError      an option or a configuration value (also a ValueError)
├ InputError       videos or label files, with every problem found (also a ValueError)
├ StoreError       a cache that is not ours, of an unknown version, or damaged
├ TeamError        a process of those that work together died or hangs
└ CheckpointError  a checkpoint that is not ours, damaged, or at odds with the data

Messages read ``where: found X, expected Y; do Z``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with one input file.

    Parameters
    ----------
    path : str
        File the problem lies in, as it is to be shown.
    line : int
        1-based line of the file, or 0 when the problem concerns the whole file.
    message : str
        What was found, what was expected and what to do.
    folder : str
        Where the file lies; not shown, see `below`.
    """

    path: str
    line: int
    message: str
    folder: str = field(default="", compare=False, repr=False)

    @classmethod
    def of(cls, path: Path | str, message: str, line: int = 0) -> Problem:
        """Make a problem of `path` that shows the file by its name."""
        path = Path(path)
        return cls(_printable(path.name), line, _printable(message), str(path.parent))

    def below(self, *folders: Path | str) -> Problem:
        """Return it with the file shown by its path below the first of these folders it lies in.

        So that files of one name in two folders can be told apart.
        """
        path = path_below(Path(self.folder, self.path), folders) if self.folder else self.path
        return replace(self, path=_printable(path))

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.message}"


def path_below(path: Path, folders: Iterable[Path | str]) -> str:
    """Return a path below the first of these folders that it lies in, or its name."""
    for folder in folders:
        if path.is_relative_to(folder):
            return path.relative_to(folder).as_posix()
    return path.name


def _printable(text: str) -> str:
    """Return `text` with what no UTF-8 file or terminal can take (a name's stray bytes) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(number: int, noun: str) -> str:
    """Return a count as people write it.

    Examples
    --------
    >>> counted(1, "frame"), counted(1200, "frame")
    ('1 frame', '1,200 frames')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


class MparError(Exception):
    """Base of all errors that mpar raises on purpose."""


class ConfigError(MparError, ValueError):
    """An option or a configuration value cannot be used."""


class InputError(MparError, ValueError):
    """Input files cannot be used; `problems` says everything that is wrong with them.

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
        """Make an error of one problem."""
        return cls([Problem.of(path, message, line)])


class StoreError(MparError):
    """A cache is not ours, has an unknown version, or is damaged."""


class TeamError(MparError):
    """A process of those that work together died or hangs."""


class CheckpointError(MparError):
    """A checkpoint is not ours, is damaged, or disagrees with the data."""
