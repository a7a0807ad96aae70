"""The lane of the scorer: a code for each frame, and every change that led to it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpar.labels.bouts import find_runs
from mpar.labels.classes import UNLABELLED

# how a frame came to its code
NOT, ACCEPTED, SCORED = 0, 1, 2

Run = tuple[int, int, int, int]  # start, stop, code, how


@dataclass(slots=True)
class Change:
    """One step of the history.

    Parameters
    ----------
    kind : str
        What was done: "set", "accept", "file".
    start, stop : int
        Frames, half-open.
    before, after : list of Run
        The stretch before and after.
    at : str
        When, UTC.
    by : str
        Who.
    group : str
        Changes of one group follow each other and count as one.
    """

    kind: str
    start: int
    stop: int
    before: list[Run]
    after: list[Run]
    at: str
    by: str
    group: str = ""
    _json: str = field(default="", init=False, compare=False, repr=False)

    def to_json(self) -> str:
        """Return JSON in one line; a change is never changed, so this is done once."""
        if not self._json:
            names = [name for name in self.__slots__ if name != "_json"]
            plain = {name: getattr(self, name) for name in names}
            self._json = json.dumps(plain, ensure_ascii=False)
        return self._json

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Change:
        """Rebuild from what `to_json` wrote."""
        before, after = ([_as_run(run) for run in data[name]] for name in ("before", "after"))
        kind, at, by, group = (str(data[name]) for name in ("kind", "at", "by", "group"))
        return cls(kind, int(data["start"]), int(data["stop"]), before, after, at, by, group)


def _as_run(values: Iterable[Any]) -> Run:
    start, stop, code, how = map(int, values)
    return start, stop, code, how


def find_spans(is_in: np.ndarray) -> list[tuple[int, int]]:
    """Return the stretches of True, half-open."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_in.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@dataclass(slots=True)
class Lane:
    """A code for each frame of a recording, with its history.

    Parameters
    ----------
    codes : (T,) int16 array
        Raw codes of the class map, -1 for none.
    how : (T,) uint8 array
        `NOT` scored, `ACCEPTED` from a prediction, or `SCORED` by a person.
    seen : (T,) bool array
        Frames that were on the screen.
    changes, undone : list of Change
        What was done, oldest first; what was undone, the next to redo last.
    revision : int
        Number of changes, undos and redos so far.
    """

    codes: np.ndarray
    how: np.ndarray
    seen: np.ndarray
    changes: list[Change] = field(default_factory=list)
    undone: list[Change] = field(default_factory=list)
    revision: int = 0

    @classmethod
    def empty(cls, num_frames: int) -> Lane:
        """Return a lane without any code."""
        return cls(
            np.full(num_frames, UNLABELLED, np.int16),
            np.zeros(num_frames, np.uint8),
            np.zeros(num_frames, bool),
        )

    def copy(self) -> Lane:
        """Return a lane that does not follow later changes."""
        codes, how, seen = self.codes.copy(), self.how.copy(), self.seen.copy()
        return Lane(codes, how, seen, [*self.changes], [*self.undone], self.revision)

    def runs(self, start: int = 0, stop: int | None = None) -> list[Run]:
        """Return the runs of equal code and origin in a stretch; they cover all of it."""
        codes, how = self.codes[start:stop], self.how[start:stop]
        both = find_runs((codes.astype(np.int64) + 1) * 4 + how)
        return [(start + a, start + b, value // 4 - 1, value % 4) for a, b, value in both.tolist()]

    def put(self, runs: Iterable[Run]) -> None:
        """Set runs without a history."""
        for start, stop, code, how in runs:
            self.codes[start:stop] = code
            self.how[start:stop] = how

    def write(
        self,
        kind: str,
        start: int,
        codes: np.ndarray,
        how: int,
        *,
        at: str,
        by: str,
        group: str = "",
    ) -> bool:
        """Set the codes of frames from `start` on; return False if nothing changes."""
        stop = start + len(codes)
        new_how = np.where(codes == UNLABELLED, NOT, how)
        is_same = (self.codes[start:stop] == codes).all() and (
            self.how[start:stop] == new_how
        ).all()
        if is_same:
            return False
        last = self.changes[-1] if self.changes and not self.undone else None
        joins = bool(group) and last is not None and last.group == group
        old = self.changes.pop() if joins else None
        first, end = (min(start, old.start), max(stop, old.stop)) if old else (start, stop)
        if old is not None:
            changed = self.runs(first, end)
            self.put(old.before)
            before = self.runs(first, end)
            self.put(changed)
        else:
            before = self.runs(first, end)
        self.codes[start:stop] = codes
        self.how[start:stop] = new_how
        self.changes.append(Change(kind, first, end, before, self.runs(first, end), at, by, group))
        self.undone.clear()
        self.revision += 1
        return True

    def undo(self) -> Change | None:
        """Take the last change back and return it; None if there is none."""
        if not self.changes:
            return None
        change = self.changes.pop()
        self.put(change.before)
        self.undone.append(change)
        self.revision += 1
        return change

    def redo(self) -> Change | None:
        """Repeat the last change that was undone and return it; None if there is none."""
        if not self.undone:
            return None
        change = self.undone.pop()
        self.put(change.after)
        self.changes.append(change)
        self.revision += 1
        return change

    def resized(self, num_frames: int) -> Lane:
        """Return the lane with another number of frames; new ones have no code."""
        lane = Lane.empty(num_frames)
        kept = min(num_frames, len(self.codes))
        for name in ("codes", "how", "seen"):
            getattr(lane, name)[:kept] = getattr(self, name)[:kept]
        inside = [change for change in self.changes if change.stop <= num_frames]
        lane.changes = inside if len(inside) == len(self.changes) else []
        lane.revision = self.revision + 1
        return lane
