"""Check that several label files of one video are scorings of one animal by several people."""

from __future__ import annotations

from collections.abc import Sequence

from mpar.errors import Problem
from mpar.labels.classes import UNLABELLED
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
                "several-animals",
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
                "several-animals",
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
