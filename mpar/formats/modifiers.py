"""Find the class of an event with modifiers, such as a lick of the left paw.

A class map names a behaviour with a modifier as BORIS names it in the columns of its binary tables:
``lick (left)``. Source: BORIS' ``behavior_binary_table.py``.
"""

from __future__ import annotations

from dataclasses import replace

from mpar.errors import Problem, shorten
from mpar.labels.classes import ClassMap
from mpar.labels.scorings import Event, Scoring

IGNORED = (
    "has modifiers, which mpar ignores; if they matter, pass a class map with a column modifier"
)


def apply_modifiers(scoring: Scoring, class_map: ClassMap) -> Scoring:
    """Name each event after the row of the class map that has its modifier.

    A row without a modifier stands for all other events of its behaviour. If there is none, an
    event with another modifier is a problem.
    """
    events = []
    problems = []
    warnings: dict[str, None] = {}
    for event in scoring.events:
        if not class_map.modifiers_of(event.behaviour):
            warnings.update({IGNORED: None} if event.modifiers else {})
            events.append(event)
            continue
        names = _find_rows(event, class_map)
        shown = ", ".join(map(repr, event.modifiers)) or "no modifier"
        if len(names) == 1:
            events.append(replace(event, behaviour=names[0]))
        elif names or not class_map.has_row(event.behaviour):
            listed = ", ".join(map(repr, class_map.modifiers_of(event.behaviour).values()))
            message = f"has events of {event.behaviour!r} with {shown}, expected one of {listed}; "
            message += (
                "add a row for both to the --class-map file"
                if names
                else "add a row with this modifier, or one without a modifier for the rest, to the "
                "--class-map file"
            )
            problems.append(Problem.of(scoring.path, "unknown-class", message, event.line))
        else:
            if event.modifiers:
                warning = f"counts {event.behaviour!r} with {shown} as its row without a modifier"
                warnings[warning] = None
            events.append(event)
    return replace(
        scoring,
        events=tuple(events),
        warnings=(*scoring.warnings, *warnings),
        problems=(*scoring.problems, *shorten(scoring.path, problems)),
    )


def _find_rows(event: Event, class_map: ClassMap) -> list[str]:
    """Return the rows for all modifiers of an event together, or else for each of them."""
    together = class_map.find_modified(event.behaviour, "|".join(event.modifiers))
    if together is not None:
        return [together]
    found = (class_map.find_modified(event.behaviour, part) for part in event.modifiers)
    return list(dict.fromkeys(name for name in found if name is not None))
