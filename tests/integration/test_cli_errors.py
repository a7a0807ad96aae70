"""Errors that nobody meant, lost pages, help, and output in any encoding."""

import importlib
import logging
import os
import re
import shutil
import subprocess
import sys

import click
import pytest
from mpar_cli._run import command

from tests.fixtures.cli import COMMANDS
from tests.fixtures.helpers import run


@pytest.mark.parametrize(
    ("error", "fragment"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "with a smaller --size"),
        (KeyboardInterrupt(), "interrupted; finished files are kept"),
    ],
)
def test_errors_that_nobody_meant(folders, monkeypatch, error, fragment):
    """Too little memory and Ctrl-C are messages in every command, not tracebacks."""

    def fail(*_args, **_options):
        raise error

    monkeypatch.setattr("mpar.evaluation.evaluate_folders", fail)
    result = run("evaluate", folders / "Videos", folders / "Annotations")
    assert result.exit_code in {2, 130}
    assert fragment in result.output


LOSE_A_PAGE = """
import os, sys
from pathlib import Path
from mpar_cli._run import command
from mpar.cache.store import Store

def read():
    store = Store(Path(sys.argv[1]))
    frames = store.frames(0)
    os.truncate(store.path, 4096)
    print(frames.sum())

command(read)()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let mapped files be cut")
def test_a_mapped_cache_that_is_lost_ends_in_a_message(folders):
    """The signal that this is would say nothing to anybody."""
    cache = folders / "cache.h5"
    run("preprocess", folders / "Videos", folders / "Annotations", "-o", cache)
    result = subprocess.run(
        [sys.executable, "-c", LOSE_A_PAGE, str(cache)], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {cache}: can no longer be read, because its disk")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_option_once_under_a_heading(name):
    """Groups name options that exist, and none is lost or shown twice."""
    command = importlib.import_module(f"mpar_cli.{name}").main
    text = run(name, "--help").output
    shown = re.findall(r"^  (?:-\w, )?--([\w-]+)", text, flags=re.M)
    options = [max(p.opts, key=len)[2:] for p in command.params if isinstance(p, click.Option)]
    assert sorted(shown) == sorted([*options, "help"])


@pytest.mark.slow
def test_output_fits_a_file_of_any_encoding(study, tmp_path):
    """Windows redirects output in its own code page, which lacks many characters."""
    predictions = tmp_path / "p"
    video = tmp_path / "Mäuse → 🐭.mp4"
    shutil.copy(sorted(study.videos.iterdir())[0], video)
    result = run("predict", study.checkpoint, study.videos, video, "-o", predictions)
    assert result.exit_code == 0
    code = "import sys; from mpar_cli.{0} import main; main(sys.argv[1:])"
    for name, expected, arguments in (
        # the new video has no labels
        ("evaluate", 1, (predictions, study.annotations, "-o", tmp_path / "e")),
        ("preprocess", 2, (tmp_path, study.annotations, "-o", tmp_path / "c.h5", "--check")),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(name), *map(str, arguments)],
            env=os.environ | {"PYTHONIOENCODING": "cp1252"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        assert b"Traceback" not in done.stderr


def test_a_warning_is_printed_once(capsys):
    """A cache that is opened again warns again; other warnings, and news, are all shown."""

    @command
    def warn_twice():
        log = logging.getLogger("mpar.some")
        for number in (1, 2):
            log.warning("the same")
            log.warning("number %d", number)
            log.info("news")

    for _ in range(2):  # each command anew
        with pytest.raises(SystemExit):
            warn_twice()
        lines = capsys.readouterr().err.splitlines()
        assert lines == [
            "warning: the same",
            "warning: number 1",
            "news",
            "warning: number 2",
            "news",
        ]
