"""What the page hands out: the queue of stretches, or the stretches of an estimate."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpar.errors import ConfigError, MparError
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import Recording
from mpar.predictions.reading import read_probabilities
from mpar.reviewer.queue import order_stretches
from mpar.scores.estimate import Estimate
from mpar.scores.stretches import Stretch
from mpar.system.faults import contained

ESTIMATE_NAME, ESTIMATE_PAGE = "estimate.json", "estimate.html"
_MAX_SHOWN = 200


def read_known(
    folder: Path, names: Collection[str], group_pattern: str | None
) -> tuple[list[Recording], tuple[str, ...], list[str]]:
    """Read the predictions of some recordings; also return their classes, and problems."""
    predictions, class_map, problems = read_probabilities(folder, group_pattern=group_pattern)
    known = [item for item in predictions if item.name in names]
    if not known:
        raise ConfigError(f"{folder}: found no prediction of these videos; check both folders")
    return known, class_map.class_names, [str(problem) for problem in problems]


class Queue:
    """The stretches that are most worth a look.

    Reading all predictions takes a while, so a thread does it, from the first request on: a page
    first opens a recording, which should not wait for that.

    Parameters
    ----------
    folder : Path
        From mpar-predict.
    names : collection of str
        Recordings that are shown.
    responses : collection of str
        Classes that count as responses.
    group_pattern : str, optional
        Finds the animal in the name of a recording.
    """

    def __init__(
        self,
        folder: Path,
        names: Collection[str],
        responses: Collection[str],
        group_pattern: str | None = None,
    ) -> None:
        self._folder, self._names, self._group_pattern = folder, names, group_pattern
        self._responses = responses
        self._predictions: list[Recording] = []
        self._class_names: tuple[str, ...] = ()
        self.problem = ""
        self._thread = threading.Thread(target=self._read, name="queue", daemon=True)
        self._starting = threading.Lock()

    def _read(self) -> None:
        try:
            with contained(self._folder, with_disk=True):
                self._predictions, self._class_names, _ = read_known(
                    self._folder, self._names, self._group_pattern
                )
        except MparError as error:
            self.problem = str(error)

    def is_ready(self, seconds: float = 0) -> bool:
        """Return True once all predictions are read; wait for it so long at most."""
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stretches(self, reviewed: Mapping[str, Sequence[tuple[int, int]]]) -> list[Stretch]:
        """Return the first stretches; frames that were `reviewed` are done."""
        found = order_stretches(
            self._predictions,
            self._class_names,
            responses=self._responses,
            reviewed=reviewed,
        )
        return found[:_MAX_SHOWN]


class Checking:
    """An estimate in progress: which stretch to score, and what follows from those scored.

    Parameters
    ----------
    folder : Path
        From mpar-predict.
    names : collection of str
        Recordings that are shown.
    class_map : ClassMap
        The codes that the scorer uses.
    path : Path
        ``estimate.json``; an estimate in it is continued.
    group_pattern : str, optional
        Finds the animal in the name of a recording.

    Raises
    ------
    ConfigError, InputError
        There are no predictions of these recordings, or the file is of another estimate.
    """

    def __init__(
        self,
        folder: Path,
        names: Collection[str],
        class_map: ClassMap,
        path: Path,
        group_pattern: str | None = None,
    ) -> None:
        predictions, class_names, self.warnings = read_known(folder, names, group_pattern)
        if class_names != class_map.class_names:
            raise ConfigError(
                f"{folder}: was predicted with other classes than those of the class map; train "
                "with these classes and predict again"
            )
        self._class_map = class_map
        self._lock = threading.Lock()
        self.estimate = Estimate.open(
            predictions, class_names, responses=class_map.responses, path=path
        )

    def state(self, place: int | None = None) -> dict[str, Any]:
        """Return a stretch as plain values, by default the next one, and all numbers so far."""
        with self._lock:
            num_checked = self.estimate.num_checked
            place = num_checked if place is None else min(max(0, place), num_checked)
            stretch = self._stretch(place)
            return {
                "place": place,
                "num_checked": num_checked,
                "num_stretches": self.estimate.num_stretches,
                "stretch": None if stretch is None else plain(stretch),
                "result": self.estimate.result(),
            }

    def _stretch(self, place: int) -> Stretch | None:
        checked = [stretch for stretch, _ in self.estimate.checked_stretches()]
        return checked[place] if place < len(checked) else self.estimate.next_stretch()

    def stretch_at(self, place: int) -> Stretch:
        """Return a stretch that was checked, or the next one; ValueError for others."""
        with self._lock:
            stretch = self._stretch(place) if 0 <= place <= self.estimate.num_checked else None
        if stretch is None:
            raise ValueError(f"stretch {place} was not drawn")
        return stretch

    def record(self, stretch: Stretch, codes: np.ndarray, *, allows_gaps: bool) -> int:
        """Keep the codes of a stretch; return how many frames lack one, if that is not allowed."""
        num_gaps = int((codes == UNLABELLED).sum())
        if num_gaps and not allows_gaps:
            return num_gaps
        with self._lock:
            self.estimate.record(stretch, self._class_map.merge(codes))
        return 0


def plain(stretch: Stretch) -> dict[str, Any]:
    """Return a stretch as plain values."""
    return {name: getattr(stretch, name) for name in ("recording", "start", "stop", "reason")}
