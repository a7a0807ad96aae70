"""BORIS itself: campaign 17, projects that mpar writes, opened and exported by the real program."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

import mpar.formats.boris
from mpar.aligning.laying import events_to_frames
from mpar.formats.registry import read_label_file, write_labels
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.labels.scorings import Recording
from mpar.video.timeline import TimeLine
from tests.campaigns.cases import Plant, Verdict, nothing
from tests.campaigns.forks import UnavailableError

VARIABLE = "BORIS_PYTHON"  # an interpreter that has BORIS, if this one has not
NUM_FRAMES, NUM_VIDEOS = 360, 4
RATES = tuple(map(Fraction, ("30", "30000/1001", "25", "24000/1001", "15", "60", "100", "300/7")))

# runs in the interpreter of BORIS: open, check and export as its windows do
_EXPORT = """
import json, sys
from boris import config, export_observation, project_functions
path, folder = sys.argv[1:]
_, changed, project, message = project_functions.open_project_json(path)
complaints = [project.get("error"), message, changed and "BORIS changed the project"]
complaints.append(
    project_functions.check_project_integrity(
        project, config.HHMMSS, path, media_file_available=False
    )
)
subjects = [config.NO_FOCAL_SUBJECT, *(s["name"] for s in project["subjects_conf"].values())]
parameters = {
    "time": config.TIME_FULL_OBS,
    config.SELECTED_SUBJECTS: subjects,
    config.SELECTED_BEHAVIORS: [item["code"] for item in project["behaviors_conf"].values()],
}
for name, observation in project["observations"].items():
    is_written, message = export_observation.export_tabular_events(
        project, parameters, name, observation, project["behaviors_conf"],
        f"{folder}/{name}.csv", "csv",
    )
    complaints.append("" if is_written else message)
print("COMPLAINTS", json.dumps([str(c) for c in complaints if c]))
"""


def find_boris() -> str:
    """Return a Python interpreter that has BORIS; UnavailableError if there is none."""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    if importlib.util.find_spec("boris") is None:
        raise UnavailableError(
            f"BORIS is not installed (boris-behav-obs; {VARIABLE} names an interpreter that has it)"
        )
    return sys.executable


def with_times_in_hundredths() -> None:
    """Take away the milliseconds of the times in projects."""
    module = mpar.formats.boris
    module._milliseconds = lambda seconds: round(float(seconds), 2)


def export_with_boris(
    seed: int, size: int, folder: Path, plant: Plant = nothing
) -> Iterator[Verdict]:
    """Write projects of drawn bouts at all rates, and read what BORIS exports of them."""
    python = find_boris()
    original = mpar.formats.boris._milliseconds
    plant()
    try:
        for number in range(size):
            rng = np.random.default_rng([seed, number])
            yield _judge(python, folder / str(number), rng)
    finally:
        mpar.formats.boris._milliseconds = original


def _judge(python: str, folder: Path, rng: np.random.Generator) -> Verdict:
    recordings = []
    for number in range(NUM_VIDEOS):
        lengths = rng.integers(1, 40, NUM_FRAMES)
        classes = rng.integers(0, len(DEFAULT_CLASS_MAP.class_names), NUM_FRAMES)
        labels = np.repeat(classes, lengths)[:NUM_FRAMES].astype(np.int8)
        rate = RATES[int(rng.integers(len(RATES)))]
        line = TimeLine(NUM_FRAMES, rate)
        recordings.append(
            Recording(name=f"m{number}", video=f"m{number}.mp4", line=line, labels=labels)
        )
    case = f"{folder.name}: rates {', '.join(str(item.line.fps) for item in recordings)}"
    (project,) = write_labels(folder, "boris", recordings, DEFAULT_CLASS_MAP.class_names)
    done = subprocess.run(
        [python, "-c", _EXPORT, project, folder],
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [text for text in done.stdout.splitlines() if text.startswith("COMPLAINTS")]
    if done.returncode or not lines:
        return Verdict(case, f"BORIS ended with {done.returncode}: {done.stderr[-500:]}")
    if complaints := json.loads(lines[0].removeprefix("COMPLAINTS")):
        return Verdict(case, f"BORIS complains: {complaints}")
    wrong = [text for item in recordings if (text := _compare(folder, item))]
    return Verdict(case, "; ".join(wrong))


def _compare(folder: Path, item: Recording) -> str:
    """Return which frames differ between the labels and the export of BORIS."""
    path = folder / f"{item.name}.csv"
    (laid,) = events_to_frames(
        read_label_file(path, DEFAULT_CLASS_MAP), DEFAULT_CLASS_MAP, item.line
    )
    labels = DEFAULT_CLASS_MAP.merge(laid.codes)
    differing = np.flatnonzero(labels != item.labels) if len(labels) == len(item.labels) else [-1]
    return f"{item.name} differs in {len(differing)} frames" if len(differing) else ""
