"""Errors name the file and the line, keep their order and survive a trip between processes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from mpar.errors import (
    KINDS,
    CheckpointError,
    ConfigError,
    InputError,
    MparError,
    Problem,
    StoreError,
)

ROOT = Path(__file__).parents[3]


def test_problem_reads_where_then_what():
    """A problem begins with its file's name, and with the line when there is one."""
    assert str(Problem.of(Path("a/b/mouse.csv"), "empty", "is empty", 3)) == "mouse.csv:3: is empty"
    assert str(Problem.of("a/b/mouse.mp4", "empty", "is empty")) == "mouse.mp4: is empty"


def test_problems_are_sorted_by_file_then_line():
    """Line 10 comes after line 9, and files come in order of name."""
    problems = [Problem(path, line, "x", "cell") for path, line in (("b", 1), ("a", 10), ("a", 9))]
    error = InputError(iter(problems))
    assert [(p.path, p.line) for p in error.problems] == [("a", 9), ("a", 10), ("b", 1)]
    assert str(error) == "a:9: x\na:10: x\nb:1: x"


@pytest.mark.parametrize("kind", [ConfigError, InputError, StoreError, CheckpointError])
def test_every_error_is_caught_as_mpar_error(kind):
    """One except clause catches what mpar raises on purpose; wrong values are ValueErrors too."""
    assert issubclass(kind, MparError)
    assert issubclass(kind, ValueError) == (kind in {ConfigError, InputError})
    assert not issubclass(MparError, ValueError)


@pytest.mark.parametrize("trip", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_input_error_comes_back_whole_from_another_process(trip):
    """A pickled or copied error has its problems, not the letters of its message."""
    error = InputError(
        [Problem("a.csv", 2, "is bad", "cell"), Problem("b.csv", 0, "is bad", "empty")]
    )
    back = trip(error)
    assert type(back) is InputError
    assert back.problems == error.problems
    assert str(back) == str(error)


def test_problem_of_a_name_that_is_no_text_can_be_written():
    """A file name with stray bytes does not break the report that is about it."""
    problem = Problem.of("mouse_\udcff.csv", "same-name", "clashes with mouse_\udcfe.csv")
    # shown by ascii(), so that a failure of this test can be written as well
    assert ascii(str(problem)) == ascii(r"mouse_\udcff.csv: clashes with mouse_\udcfe.csv")
    assert str(Problem.of("mäuse 🐭.csv", "cell", "é")) == "mäuse 🐭.csv: é"


def test_each_kind_of_problem_is_used_and_explained():
    """The code names no unknown kind, no kind is left over, and the README lists all."""
    with pytest.raises(KeyError):
        Problem.of("a.csv", "odd", "is odd")
    source = "".join(path.read_text("utf-8") for path in (ROOT / "mpar").rglob("*.py"))
    assert [code for code in KINDS if source.count(f'"{code}"') < 2] == []
    listed = (ROOT / "cli" / "README.md").read_text("utf-8").partition("Codes of problems")[2]
    assert [line for line in listed.splitlines() if line.startswith("| `")] == [
        f"| `{code}` | {meaning} |" for code, meaning in KINDS.items()
    ]
