"""Progress bars on terminals."""

import io
import itertools

import tqdm

from mpar.system.progress import ProgressBar


class Terminal(io.StringIO):
    """A terminal of which everything is kept."""

    isatty = lambda self: True  # noqa: E731


def test_no_bar_where_nobody_looks():
    """Not in files, and not when quiet."""
    file, terminal = io.StringIO(), Terminal()
    for quiet, where in ((False, file), (True, terminal)):
        with ProgressBar(range(3), quiet=quiet, file=where) as bar:
            assert list(bar) == [0, 1, 2]
    assert file.getvalue() == terminal.getvalue() == ""


def test_a_clock_that_is_set_back_changes_nothing(monkeypatch):
    """The bar goes on, and no time is negative."""
    clock = itertools.count(1e9, -3600)
    monkeypatch.setattr(tqdm.std, "time", lambda: next(clock))
    terminal = Terminal()
    with ProgressBar(total=3, desc="decoding", quiet=False, file=terminal, mininterval=0) as bar:
        for _ in range(3):
            bar.update()
    assert "3/3 [00:00<" in terminal.getvalue()
    assert "-" not in terminal.getvalue()
