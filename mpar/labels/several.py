"""Check that several label files of one video are scorings of one animal by several people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpar.errors import Problem
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.names import folded
from mpar.labels.scorings import Scoring


def find_subject_problems(scorings: Sequence[Scoring]) -> list[Problem]:
    """Return a problem if the scorings of one video are not all of the same animal."""
    subjects = {folded(scoring.subject): scoring.subject for scoring in reversed(scorings)}
    shown = [repr(subjects[name]) for name in reversed(subjects) if name]
    if len(shown) > 1:
        path = scorings[0].path
        return [
            Problem.of(
                path,
                f"scores the subjects {', '.join(shown)} of one video, expected one "
                "animal per video; pass --regions if each lives in its own part of the picture, or "
                "keep the labels of one animal",
            )
        ]
    parts = [scoring for scoring in scorings if scoring.is_of_subject]
    if len(parts) > 1:
        return [
            Problem.of(
                parts[0].path,
                "is one of several binary tables of one video "
                f"({', '.join(part.path.name for part in parts)}), expected one: BORIS writes one "
                "per subject, and mpar reads one animal per video; keep one of them, or export "
                "'tabular events' if they come from several people",
            )
        ]
    return []


def describe_nameless(scorings: Sequence[Scoring]) -> str:
    """Return a warning if only some label files of a video name the animal, else ""."""
    named = [item for item in scorings if item.subject]
    others = dict.fromkeys(item.path.name for item in scorings if not item.subject)
    if not named or not others:
        return ""
    return (
        f"{named[0].path.name} scores the subject {named[0].subject!r}, and {', '.join(others)} "
        "names none; mpar takes both for the same animal; if that is wrong, keep one of them"
    )


def find_part_problems(
    scorings: Sequence[Scoring], class_map: ClassMap, unscored: str
) -> list[Problem]:
    """Return a problem if scorings seem to be parts of one scoring, one file per behaviour.

    If they counted as annotators, the files without a behaviour would outvote the one with it.
    """
    rest = class_map.code_of(unscored, forgiving=True)
    parts: dict[Path, set[str]] = {}
    for scoring in scorings:
        names = scoring.columns or [event.behaviour for event in scoring.events]
        codes = {code for name in names if (code := class_map.find_code(name)) not in {None, rest}}
        parts.setdefault(scoring.path, set()).update(
            class_map.name_of(code) for code in codes if code is not None
        )
    found = {path: names for path, names in parts.items() if names}
    if len(found) < 2 or sum(map(len, found.values())) > len(set().union(*found.values())):
        return []
    shown = "; ".join(f"{path.name}: {', '.join(sorted(found[path]))}" for path in found)
    return [
        Problem.of(
            scorings[0].path,
            f"shares no behaviour with the other label files of its video ({shown}), so "
            f"--unscored {unscored} would outvote each of them; if they are parts of one scoring, "
            "merge them into one file; if each annotator looked for all behaviours, pass --several "
            "annotators",
        )
    ]


def note_gaps(scoring: Scoring, unscored: str | None) -> Scoring:
    """Warn that `unscored` does not apply to unlabelled rows of mpar's own label files."""
    num_gaps = int((scoring.codes == UNLABELLED).sum())
    if unscored is None or not num_gaps:
        return scoring
    return scoring.warned(
        f"has {num_gaps:,} unlabelled rows (-1 or empty), which --unscored does not fill: it "
        f"applies to files of other programs; if they are {unscored}, write {unscored} into the "
        "rows"
    )
