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

KINDS = {
    # the file
    "unreadable": "The file cannot be opened or read.",
    "not-text": "The file is binary, or its text is not UTF-8.",
    "unknown-format": "mpar does not read this format, or the file has another one than asked for.",
    "malformed": "The file breaks the rules of its format.",
    "damaged": "A file that mpar wrote was changed, cut short or mixed up.",
    "missing-file": "A file that belongs to another one is not beside it.",
    "empty": "The file has a header, but no rows, labels or events.",
    "too-large": "The file is larger than mpar accepts.",
    "columns": "The header lacks columns, or has some that mpar cannot tell apart.",
    "cell": "A row has too few or too many cells, or a cell cannot be understood.",
    "no-package": "Reading the file needs a package that is not installed.",
    "internal": "mpar itself failed with the file; please report it.",
    "hangs": "Reading the file took too long; mpar gave up.",
    # names and pairs
    "file-name": "The name of the file is not valid text.",
    "same-name": "Two files or recordings have one name.",
    "same-content": "Two videos have the same content.",
    "duplicate": "Two rows or files describe the same thing.",
    "contradiction": "Two rows or files disagree.",
    "no-labels": "A video has no label file.",
    "no-video": "A label file or row names no video that is there.",
    "unclear-video": "A label file may belong to several videos.",
    "unread-video": "A label file belongs to a video that mpar cannot read.",
    "several-files": "The label files of a video are neither trials, parts nor annotators.",
    "several-animals": "One label file scores several animals of one picture.",
    "no-animal": "A name contains no known animal.",
    "no-row": "A recording has no row in a table.",
    "region": "A region overlaps another, or extends beyond the picture.",
    # labels
    "unknown-class": "A behaviour has no class in the class map.",
    "other-classes": "The file was made with another class map.",
    "blind": "A scoring was begun blind but is opened otherwise, or the other way round.",
    "channel": "A file has several channels, tiers or kinds of classes; choose one.",
    "frame-numbers": "Frame numbers are missing, repeated, or start at the wrong number.",
    "row-count": "The number of rows does not match the frames of the video.",
    "row-interval": "The rows are not one per frame.",
    "frame-rate": "The frame rate is unknown, or two files state different ones.",
    "length": "The file states another length than its video has.",
    "time-offset": "Times do not count from the first frame of the video.",
    "event-times": "An event has no start, no end, or no length.",
    "past-end": "Labels go past the end of the video.",
    "overlap": "Two events of different classes share a frame.",
    "unlabelled": "Frames that need a label have none.",
    # videos
    "video-damaged": "The video cannot be opened or decoded.",
    "no-stream": "The file holds no video stream that mpar can read.",
    "no-frames": "No frame of the video can be decoded.",
    "lost-frames": "The video lost frames, which may explain another problem of it.",
    "frame-size": "Frames are too small, too large, or differ in size.",
    "unsteady": "The video yields other frames each time it is decoded.",
    "not-counted": "The frames of the video are still being counted.",
    # predictions and other inputs
    "other-video": "A prediction or its labels belong to another video.",
    "is-prediction": "A prediction stands where labels of people are expected.",
    "does-not-fit": "A cache does not fit the checkpoint.",
    "other-size": "A video has another size than those that the network learnt from.",
    "other-rate": "A video has another frame rate than those that the network learnt from.",
    "other-brightness": "A video is brighter or darker than those that the network learnt from.",
    "other-contrast": "A video has another contrast than those that the network learnt from.",
    "no-bouts": "There is no bout to show.",
    "split": "A split leaves a part empty, or puts one animal into two parts.",
    "warning": "Not a problem, but worth knowing.",
}
"""Each kind of problem with what it means. The codes are stable: scripts may rely on them."""


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
    code : str
        The kind of problem, one of `KINDS`.
    folder : str
        Folder of the file, not shown; see `below`.
    trace : str
        Traceback of an error that mpar did not expect, not shown (`mpar.system.faults.logged`).
    """

    path: str
    line: int
    message: str
    code: str
    folder: str = field(default="", compare=False, repr=False)
    trace: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.code not in KINDS:
            raise KeyError(self.code)

    @classmethod
    def of(cls, path: Path | str, code: str, message: str, line: int = 0) -> Problem:
        """Make a problem of `path` that shows the name of the file."""
        path = Path(path)
        return cls(_printable(path.name), line, _printable(message), code, str(path.parent))

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
    lines: dict[tuple[str, str], list[int]] = {}
    for problem in sorted(problems):
        lines.setdefault((problem.code, problem.message), []).append(problem.line)
    problems = [
        Problem.of(path, code, message + f" ({len(at)} such rows)" * (len(at) > 1), at[0])
        for (code, message), at in lines.items()
    ]
    hidden = len(problems) - MAX_PROBLEMS_PER_FILE
    problems = problems[:MAX_PROBLEMS_PER_FILE]
    if hidden > 0:
        last = problems[-1]
        message = f"{last.message} (and {hidden} more problems in this file)"
        problems[-1] = Problem.of(path, last.code, message, last.line)
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
    def of(cls, path: Path | str, code: str, message: str, line: int = 0) -> InputError:
        """Make an error with one problem."""
        return cls([Problem.of(path, code, message, line)])


class StoreError(MparError):
    """A cache is not ours, has an unknown version, or is damaged."""


class TeamError(MparError):
    """A process of a team died or hangs."""


class CheckpointError(MparError):
    """A checkpoint is not ours, is damaged, or disagrees with the data."""
