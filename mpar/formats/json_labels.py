"""Label files in JSON: those of JABS, Label Studio and FERAL.

Sources: JABS' ``video_labels.py`` and ``track_labels.py``; Label Studio's ``TimelineRegion.js`` and
its task format; FERAL's label files.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from mpar.errors import InputError, Problem, shorten
from mpar.labels.bouts import find_bouts
from mpar.labels.names import file_name, without_suffix
from mpar.labels.scorings import Event, Scoring
from mpar.system.tables import ProblemList

_MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_MAX_FRAMES = 50_000_000  # five days at 100 frames per second
_LABELS = re.compile(r'"labels"\s*:\s*\{')
_UPLOAD = re.compile(r"[0-9a-f]{4,32}-(?=.)", re.IGNORECASE)


def _is_json(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n")[:1] in {"{", "["}


def is_jabs(text: str) -> bool:
    """Return True if a text is a label file of JABS."""
    is_one = _is_json(text) and '"file"' in text and '"num_frames"' in text
    return is_one and _LABELS.search(text) is not None


def is_label_studio(text: str) -> bool:
    """Return True if a text is a JSON export of Label Studio with labels on the time line."""
    return _is_json(text) and '"timelinelabels"' in text


def is_feral(text: str) -> bool:
    """Return True if a text is a label file of FERAL."""
    names = re.search(r'"class_names"\s*:\s*\{', text)
    return _is_json(text) and names is not None and _LABELS.search(text) is not None


def read_jabs(path: Path, text: str) -> list[Scoring]:
    """Read a label file of JABS: one scoring for each animal.

    A frame without a behaviour counts as looked at only if every behaviour of the file is marked as
    absent in it.
    """
    return _guarded(path, text, "JABS", _read_jabs)


def _read_jabs(path: Path, data: Any) -> list[Scoring]:
    num_frames = int(data["num_frames"])
    if not 0 < num_frames <= _MAX_FRAMES:
        raise ValueError(num_frames)
    identities = data.get("unfragmented_labels", data["labels"])  # as JABS itself reads them
    names = data.get("external_identities", {})
    animals = {key: marks for key, marks in identities.items() if any(marks.values())}
    scorings = []
    for key, marks in animals.items():
        problems = ProblemList(path)
        events = []
        absent = np.ones(num_frames, bool)
        for behaviour, blocks in marks.items():
            is_absent = np.zeros(num_frames, bool)
            for block in blocks:
                first, last = int(block["start"]), int(block["end"])
                if not 0 <= first <= last < num_frames:
                    problems.note(
                        "past-end",
                        f"{behaviour!r} has the frames {first}-{last}, expected frames from 0 to "
                        f"{num_frames - 1}; fix it in JABS",
                    )
                elif block["present"]:
                    events.append(Event(str(behaviour), Fraction(first), Fraction(last + 1)))
                else:
                    is_absent[first : last + 1] = True
            absent &= is_absent
        for event in events:  # a frame with a behaviour is known, too
            absent[int(event.start) : int(event.stop or 0)] = True
        subject = str(names.get(key, key)) if len(animals) > 1 else ""
        scorings.append(
            Scoring(
                path,
                tuple(events),
                in_frames=True,
                video=file_name(str(data["file"])),
                subject=subject,
                annotator=subject,
                unscored=_gaps(~absent),
                num_scored=num_frames,
                columns=tuple(map(str, marks)),
                problems=tuple(shorten(path, problems)),
            )
        )
    return scorings


def _gaps(is_unknown: np.ndarray) -> tuple[tuple[Fraction, Fraction | None], ...]:
    """Return the runs of frames that nobody looked at."""
    runs = find_bouts(is_unknown.astype(int) - 1)
    pairs = zip(runs["start"].tolist(), runs["stop"].tolist(), strict=True)
    total = len(is_unknown)
    ends = [(Fraction(i), Fraction(j)) for i, j in pairs]
    return (*ends, (Fraction(total), None))


def read_label_studio(path: Path, text: str) -> list[Scoring]:
    """Read labels on the time line of videos: one scoring for each annotation of a task.

    Frames count from 1, the last one included.
    """
    return _guarded(path, text, "Label Studio", _read_label_studio)


_RATE = (
    "is of Label Studio, which counts frames at the frame rate that its labelling set-up states "
    "(24 by default), whatever that of the video; check that the set-up states the video's rate"
)


def _read_label_studio(path: Path, data: Any) -> list[Scoring]:
    scorings = []
    for task in data if isinstance(data, list) else [data]:
        video = _video_of(task.get("data", task))
        for number, (name, values) in enumerate(_annotations_of(task), start=1):
            problems = ProblemList(path)
            events = []
            for value in values:
                labels = value["timelinelabels"]
                for item in value["ranges"]:
                    first, last = item.get("start"), item.get("end")
                    if not (
                        isinstance(first, int) and isinstance(last, int) and 1 <= first <= last
                    ):
                        problems.note(
                            "frame-numbers",
                            f"task {task.get('id')}: {labels} has the frames {first}-{last}, "
                            "expected numbers from 1; fix it in Label Studio",
                        )
                        continue
                    events += [
                        Event(str(label), Fraction(first - 1), Fraction(last)) for label in labels
                    ]
            if events or problems:
                scorings.append(
                    Scoring(
                        path,
                        tuple(events),
                        in_frames=True,
                        video=video,
                        annotator=name or f"annotation {number}",
                        warnings=(_RATE,),
                        problems=tuple(shorten(path, problems)),
                    )
                )
    return scorings


def _annotations_of(task: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the annotator and the labels of each annotation of a task, in JSON or JSON-MIN."""
    if "annotations" not in task:  # JSON-MIN
        values = [
            value
            for cell in task.values()
            if isinstance(cell, list)
            for value in cell
            if isinstance(value, dict) and "timelinelabels" in value
        ]
        yield str(task.get("annotator", "")), values
        return
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        person = annotation.get("completed_by", "")
        person = person.get("email", person.get("id", "")) if isinstance(person, dict) else person
        results = [item for item in annotation["result"] if item.get("type") == "timelinelabels"]
        yield str(person), [item["value"] for item in results]


def _video_of(data: dict[str, Any]) -> str:
    """Return the video of a task; Label Studio puts a random name before that of an upload."""
    for cell in data.values():
        if not isinstance(cell, str):
            continue
        place = unquote(cell)
        name = file_name(place.split("?d=")[-1])
        if without_suffix(name) != name:
            return _UPLOAD.sub("", name, count=1) if "/upload/" in place else name
    return ""


def read_feral(path: Path, text: str) -> list[Scoring]:
    """Read a label file of FERAL: the number of a class for each frame of each video."""
    return _guarded(path, text, "FERAL", _read_feral)


def _read_feral(path: Path, data: Any) -> list[Scoring]:
    if data.get("is_multilabel"):
        message = "has several labels a frame (is_multilabel), expected one; export one for each"
        raise InputError.of(path, "unknown-format", message)
    names = {int(key): str(name) for key, name in data["class_names"].items()}
    scorings = []
    for video, values in data["labels"].items():
        events, start = [], 0
        unknown = sorted({*values} - {*names})
        message = f"{video!r} has the labels {unknown}, expected keys of class_names; add them"
        for value, run in itertools.groupby(values):
            stop = start + len([*run])
            events.append(Event(names.get(value, str(value)), Fraction(start), Fraction(stop)))
            start = stop
        scorings.append(
            Scoring(
                path,
                tuple(events),
                in_frames=True,
                video=file_name(video),
                num_rows=len(values),
                problems=(Problem.of(path, "unknown-class", message),) if unknown else (),
            )
        )
    return scorings


def _guarded(
    path: Path, text: str, program: str, read: Callable[[Path, Any], list[Scoring]]
) -> list[Scoring]:
    """Read a file whose content may have any shape."""
    try:
        scorings = read(path, json.loads(text.lstrip("\ufeff")))
    except InputError:
        raise
    except _MALFORMED:
        raise InputError.of(
            path, "malformed", f"cannot be read as a label file of {program}; export it again"
        ) from None
    if not scorings:
        raise InputError.of(
            path, "empty", f"is of {program} and holds no label; score it or remove it"
        )
    return scorings
