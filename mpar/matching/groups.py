"""Find the animal of each recording in its name."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mpar.errors import InputError
from mpar.labels.names import normal, spelled_alike

log = logging.getLogger(__name__)


def find_group(video: Path, pattern: str | None) -> str:
    """Return the animal's id: what `pattern` finds in a recording's name, or the name itself.

    The suffix does not count, so that the 4 of ``.mp4`` is not an animal. InputError if the pattern
    does not occur in the name.
    """
    found = _search(video.stem, pattern)
    if not found:
        raise InputError.of(
            video,
            "no-animal",
            f"--group-pattern '{pattern}' finds no animal in {video.stem!r} (the suffix does not "
            "count); fix the pattern or rename the file",
        )
    return found[0]


def _search(name: str, pattern: str | None) -> tuple[str, str] | None:
    """Return the animal's id in a name, as found and extended to whole numbers at its ends."""
    if pattern is None:
        return name, name
    name = normal(name)
    match = re.search(pattern, name)
    group = 1 if match and match.re.groups else 0
    if not match or not match[group]:
        return None
    start, stop = match.span(group)
    while start and name[start - 1 : start + 1].isdecimal():
        start -= 1
    while name[stop - 1 : stop + 1].isdecimal() and stop < len(name):
        stop += 1
    return match[group], name[start:stop]


def warn_of_groups(names: Sequence[str], pattern: str | None) -> None:
    """Warn about a pattern that may split one animal or merge several of these recordings."""
    if pattern is None:
        return
    found = [_search(name, pattern) or (name, name) for name in names]
    groups = [group for group, _ in found]
    for alike in spelled_alike(groups, with_zeros=True):
        log.warning(
            "--group-pattern '%s' finds the animals %s, which differ only in case, spaces or "
            "leading zeros and count as %d; if they are one, rename the videos",
            *(pattern, " and ".join(map(repr, alike)), len(alike)),
        )
    numbers: dict[str, dict[str, str]] = defaultdict(dict)
    for name, (group, whole) in zip(names, found, strict=True):
        numbers[group].setdefault(whole, name)
    cut = next((group for group, wholes in numbers.items() if len(wholes) > 1), None)
    if len(groups) > 1 and len({*groups}) == 1:
        log.warning(
            "--group-pattern '%s' finds the same animal, %r, in all %d videos; if they show "
            "several animals, fix the pattern",
            *(pattern, groups[0], len(groups)),
        )
    elif cut is not None:
        first, second = [*numbers[cut].values()][:2]
        log.warning(
            "--group-pattern '%s' cuts numbers short: it finds the animal %r in %s and in %s, "
            "which count as one; if they are several, match whole numbers (\\d+ instead of \\d)",
            *(pattern, cut, first, second),
        )
