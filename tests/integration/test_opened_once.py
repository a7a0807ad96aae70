"""Each label file and each prediction is opened once in a run, which matters on network disks."""

from __future__ import annotations

import shutil
import sys
from collections import Counter

import pytest

from tests.fixtures.helpers import run

pytestmark = pytest.mark.usefixtures("no_figures")

OPENED: Counter[str] = Counter()
WATCHED: list[str] = []


def note_opening(event, arguments):
    """Count files opened for reading below the watched folder; audit hooks cannot be removed."""
    if event == "open" and WATCHED and arguments[1] == "r":
        path = str(arguments[0])
        if path.startswith(WATCHED[0]) and path.endswith((".csv", ".json")):
            OPENED[path] += 1


@pytest.fixture(scope="module")
def lab(study, tmp_path_factory):
    """Videos, their label files and predictions, in a folder that is watched."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(study.videos, folder / "Videos")
    shutil.copytree(study.annotations, folder / "Annotations")
    result = run("predict", study.checkpoint, folder / "Videos", "-o", folder / "P")
    assert result.exit_code == 0
    sys.addaudithook(note_opening)
    return folder


@pytest.mark.parametrize(
    ("command", "arguments", "files"),
    [
        ("preprocess", ("Videos", "Annotations"), ("Annotations/*.csv",)),
        (
            "evaluate",
            ("P", "Annotations"),
            ("Annotations/*.csv", "P/*_predictions.csv", "P/*_predictions.json"),
        ),
        ("summarize", ("P",), ("P/*_predictions.csv", "P/*_predictions.json")),
        ("export", ("P", "--format", "boris"), ("P/*_predictions.csv", "P/*_predictions.json")),
        ("export", ("P", "--format", "nwb"), ("P/*_predictions.csv", "P/*_predictions.json")),
    ],
    ids=["preprocess", "evaluate", "summarize", "export", "export nwb"],
)
def test_each_file_is_opened_once(lab, tmp_path, command, arguments, files):
    """Predictions and labels of six animals."""
    if "nwb" in arguments:
        pytest.importorskip("ndx_ethogram")
    places = [lab / item if (lab / item).is_dir() else item for item in arguments]
    output = tmp_path / ("c.h5" if command == "preprocess" else "out")
    WATCHED[:] = [str(lab)]
    OPENED.clear()
    try:
        result = run(command, *places, "-o", output)
    finally:
        WATCHED.clear()
    assert result.exit_code == 0, result.output
    expected = {str(path) for pattern in files for path in lab.glob(pattern)}
    assert len(expected) == 6 * len(files)
    assert {path: OPENED[path] for path in expected} == dict.fromkeys(expected, 1)
