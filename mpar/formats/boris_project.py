"""Read and write BORIS projects.

Source of fields and meanings: BORIS' ``config.py`` and ``write_event.py``.
"""

from __future__ import annotations

import datetime
import json
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mpar.errors import InputError, Problem, shorten
from mpar.formats.boris import (
    QUEUE,
    Mark,
    check_kind,
    check_offset,
    check_subjects,
    limit_to_interval,
    pair_marks,
    positive,
    split_modifiers,
    split_subjects,
    subject_of,
)
from mpar.labels.bouts import find_bouts
from mpar.labels.names import file_name, folded
from mpar.labels.scorings import Recording, Scoring
from mpar.system.files import write_text
from mpar.system.tables import ProblemList

PROJECT_NAME = "predictions.boris"


def is_project(text: str) -> bool:
    """Return True if a text is JSON with the behaviours of a project."""
    return text.lstrip()[:1] == "{" and '"behaviors_conf"' in text


def read_project(path: Path, text: str) -> list[Scoring]:
    """Read all observations with events of a BORIS project."""
    scorings = []
    try:
        project = json.loads(text, parse_float=_fraction)
        is_point = {
            behaviour["code"]: behaviour["type"].lower().startswith("point")
            for behaviour in project["behaviors_conf"].values()
        }
        observations = {
            name: observation
            for name, observation in project["observations"].items()
            if observation["events"]
        }
    except _MALFORMED:
        raise InputError.of(
            path, "malformed", "cannot be read as a BORIS project; save it with BORIS 7 or newer"
        ) from None
    if not observations:
        raise InputError.of(path, "empty", "has no observation with events; score it or remove it")
    for name, observation in observations.items():
        try:
            scorings += [
                _observation(path, name, {**observation, "events": events}, is_point)
                for events in split_subjects(observation["events"], lambda event: event[1] or "")
            ]
        except _MALFORMED:
            message = f"observation {name!r} cannot be read; save it with BORIS 7 or newer"
            problems = (Problem.of(path, "malformed", message),)
            video = _media_of_project(observation)[:1]
            scorings.append(Scoring(path, (), video="".join(video), problems=problems))
    return scorings


def _fraction(text: str) -> Fraction:
    """Return a number exactly; one with an exponent may be too large to write out."""
    return Fraction(float(text)) if "e" in text.lower() or len(text) > 40 else Fraction(text)


_MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)


def _media_of_project(observation: Any) -> list[str]:
    """Return the paths of the videos that an observation plays, in order."""
    try:
        is_media = observation["type"] == "MEDIA"
        media = observation["file"][_player_of(observation)] if is_media else []
    except _MALFORMED:
        return []
    return [str(path) for path in media] if isinstance(media, list) else []


def _player_of(observation: dict[str, Any]) -> str:
    """Return the player whose times count: the first, or the only one that plays anything."""
    players = [player for player, media in observation["file"].items() if media]
    return players[0] if len(players) == 1 else "1"


def _seconds_of(event: Any) -> Fraction | None:
    """Return the time of an event, None if it has none."""
    try:
        return Fraction(event[0])
    except _MALFORMED:
        return None


def _fact_of(facts: dict[str, Any], what: str, media: list[str]) -> str:
    """Look up a fact about a video by its path or name, or take the only entry."""
    found = facts.get(what)
    if not isinstance(found, dict):
        return ""
    names = {folded(file_name(str(key))): value for key, value in found.items()}
    if not media or not found:
        return ""
    alone = next(iter(found.values())) if len(found) == 1 else ""
    return str(found.get(media[0], names.get(folded(file_name(media[0])), alone)))


def _observation(
    path: Path, name: str, observation: dict[str, Any], is_point: dict[str, bool]
) -> Scoring:
    problems = ProblemList(path)
    kind = observation["type"]
    check_kind(kind, name, problems)
    media = _media_of_project(observation)
    if len(media) > 1:
        problems.note("several-files", QUEUE.format(name))
    facts = observation.get("media_info") or {}
    player = _player_of(observation) if media else "1"
    for shift in (observation.get("time offset"), (facts.get("offset") or {}).get(player)):
        check_offset(str(float(shift or 0)), problems, 0)
    subjects = [event[1] or "" for event in observation["events"]]
    check_subjects(subjects, name, problems)
    marks: list[Mark] = []
    num_seen: dict[tuple[str, tuple[str, ...]], int] = defaultdict(int)
    indices: list[tuple[Fraction, int]] = []
    events = observation["events"] if kind == "MEDIA" else []  # other kinds may have no times
    bad = [event for event in events if _seconds_of(event) is None]
    for event in bad:
        found = f"{event[2]!r} has the time {event[0]!r}"
        problems.note(
            "cell", f"observation {name!r}: {found}, expected seconds; fix the event in BORIS"
        )
    events = [] if bad else events  # the others would only cause follow-up problems
    for event in sorted(events, key=lambda event: Fraction(event[0])):
        time, behaviour = Fraction(event[0]), event[2]
        modifiers = split_modifiers(event[3] or "")
        if len(event) > 5 and isinstance(event[5], (int, Fraction)):
            indices.append((time, int(event[5])))
        if behaviour not in is_point:
            problems.note(
                "unknown-class",
                f"{behaviour!r} at {float(time):g} s is not in the project's ethogram",
            )
            continue
        mark = "POINT" if is_point[behaviour] else ("START", "STOP")[num_seen[behaviour, modifiers]]
        num_seen[behaviour, modifiers] ^= 1
        marks.append((time, behaviour, modifiers, mark, 0))
    first, last = (
        Fraction(end or 0) for end in observation.get("observation time interval") or (0, 0)
    )
    # BORIS takes a stop of 0 for the end of the media
    paired, gaps, warnings = limit_to_interval(
        pair_marks(marks, problems), (first, last or None), name, problems
    )
    return Scoring(
        path,
        tuple(paired),
        video=media[0] if media else "",
        annotator=name,
        subject=subject_of(str(subjects[0])),
        frame_rate=positive(_fact_of(facts, "fps", media)),
        media_seconds=positive(_fact_of(facts, "length", media)),
        frame_times=tuple(indices),
        unscored=tuple(gaps),
        warnings=tuple(warnings),
        problems=tuple(shorten(path, problems)),
    )


def write_project(
    folder: Path, videos: Sequence[Recording], class_names: Sequence[str], unscored: str | None
) -> None:
    """Write one project with one observation per video; it expects the videos in its folder."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    names = [name for name in class_names if name != unscored]
    observations = {
        item.name: _made_observation(item, now, item.without(class_names, unscored), class_names)
        for item in videos
    }
    behaviours = {str(i): _made_behaviour(i, names) for i in range(len(names))}
    project = {
        "time_format": "s",
        "project_date": now,
        "project_name": "mpar predictions",
        "project_description": "",
        "project_format_version": "7.0",
        "subjects_conf": {
            str(i): {"key": "", "name": animal, "description": ""}
            for i, animal in enumerate(sorted({item.subject for item in videos} - {""}))
        },
        "behaviors_conf": behaviours,
        "observations": observations,
        "behavioral_categories": [],
        "independent_variables": {},
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }
    # plain ASCII: BORIS reads it in the machine's encoding, which on Windows is not UTF-8
    write_text(folder / PROJECT_NAME, json.dumps(project, indent=2, allow_nan=False) + "\n")


def _made_observation(
    item: Recording, now: str, labels_T: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    events: list[list[Any]] = []
    for bout in find_bouts(labels_T).itertuples():
        name = class_names[int(bout.label)]
        for frame in (int(bout.start), int(bout.stop)):
            events.append(
                [_milliseconds(item.clock.start_of(frame)), item.subject, name, "", "", frame]
            )
    return {
        "file": {str(player): [item.video] if player == 1 else [] for player in range(1, 9)},
        "type": "MEDIA",
        "date": now,
        "description": "predicted by mpar",
        "time offset": 0.0,
        "events": sorted(events, key=lambda event: event[0]),
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {item.video: _milliseconds(item.clock.start_of(len(item.labels)))},
            "fps": {item.video: float(item.fps)},
            "hasVideo": {item.video: True},
            "hasAudio": {item.video: False},
            "offset": {"1": 0.0},
        },
    }


def _made_behaviour(number: int, names: Sequence[str]) -> dict[str, str]:
    return {
        "type": "State event",
        "key": "123456789abcdefghijklmnopqrstuvwxyz"[number : number + 1],
        "code": names[number],
        "description": "",
        "color": "",
        "category": "",
        "modifiers": "",
        # BORIS then ends one behaviour when another begins, as mpar's classes need
        "excluded": ",".join(other for other in names if other != names[number]),
        "coding map": "",
    }


def _milliseconds(time: Fraction) -> float:
    return float(round(time, 3))
