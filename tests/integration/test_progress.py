"""Lines of JSON that say how far a command is, and what it has to say."""

from __future__ import annotations

import io
import json
import shutil

import pytest

from mpar.system import events
from mpar.system.progress import Bar
from tests.fixtures.helpers import run


def events_of(result):
    """Return the lines of JSON by event; in the error stream there are no others."""
    found = {}
    for line in result.stderr.splitlines():
        item = json.loads(line)
        found.setdefault(item.pop("event"), []).append(item)
    return found


def test_preprocess_says_how_far_it_is(study, tmp_path):
    """All frames are counted, the problem has its code, and the last line has the exit code."""
    shutil.copytree(study.videos, tmp_path / "V")
    shutil.copytree(study.annotations, tmp_path / "A")
    (tmp_path / "A" / "mouse_02_annotation.csv").unlink()
    result = run(
        "preprocess", tmp_path / "V", tmp_path / "A", "-o", tmp_path / "c.h5", "--progress", "json"
    )
    found = events_of(result)
    last = found["progress"][-1]
    assert (last["stage"], last["done"], last["total"], last["unit"]) == (
        "decoding",
        5 * 48,
        5 * 48,
        "frame",
    )
    assert last["left_s"] == 0
    (problem,) = found["problem"]
    assert (problem["file"], problem["line"], problem["code"]) == ("mouse_02.mp4", 0, "no-labels")
    assert found["end"] == [{"code": 1}] == [{"code": result.exit_code}]
    assert "paw_lick" in result.stdout  # the table of classes is a result
    assert not events.is_wanted()


def test_errors_are_messages(tmp_path):
    """What ends a command is a line, too."""
    (tmp_path / "c.h5").write_bytes(b"nothing")
    result = run("info", tmp_path / "c.h5", "--progress", "json")
    found = events_of(result)
    assert [item["level"] for item in found["message"]] == ["error"]
    assert "c.h5" in found["message"][0]["text"]
    assert found["end"] == [{"code": 2}]


@pytest.mark.slow
def test_training_says_what_it_learns(study, tmp_path):
    """Steps of all epochs, with a note on loss and score."""
    result = run(
        "train",
        study.cache,
        "-o",
        tmp_path,
        "--epochs",
        2,
        "--model",
        "light",
        "--progress",
        "json",
    )
    found = events_of(result)
    steps = [item for item in found["progress"] if item["unit"] == "step"]
    assert {item["stage"] for item in steps} >= {"epoch 1/2", "epoch 2/2"}
    assert steps[-1]["done"] == steps[-1]["total"]
    assert "macro-F1" in steps[-1]["note"]
    assert [item["done"] for item in steps] == sorted(item["done"] for item in steps)
    assert found["end"] == [{"code": 0}]


def test_a_bar_without_a_terminal_is_silent(capsys):
    """As a bar, nobody sees it; as lines of JSON, --quiet silences it."""
    lines = io.StringIO()
    assert [*Bar(range(3))] == [0, 1, 2]
    with events.lines_of_json(lines):
        assert [*Bar(range(3), quiet=True)] == [0, 1, 2]
        assert lines.getvalue() == ""
        assert [*Bar(range(3))] == [0, 1, 2]
    assert [json.loads(line)["done"] for line in lines.getvalue().splitlines()] == [0, 3]
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
