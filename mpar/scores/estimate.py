"""How good are predictions on these videos? Estimate it from stretches that a person checks.

`Estimate` draws the stretches, keeps what the person scored, and computes precision, recall, F1 and
seconds of each class after every stretch. Sources: Marchant and Rubinstein 2017, "In Search of an
Entity Resolution OASIS" (importance sampling of what to check); Kossen et al. 2021, "Active
Testing", arXiv 2103.05331. Unlike these, units are drawn within strata and without repetition,
which bounds the weight of a unit: intervals then hold for few units, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mpar.errors import ConfigError
from mpar.labels.bouts import as_labels, find_runs
from mpar.labels.classes import UNLABELLED, responses_or_all, unstated_responses
from mpar.labels.scorings import Recording
from mpar.scores.intervals import (
    LEVEL,
    Checked,
    Totals,
    amount_of,
    estimate_totals,
    f1_of,
    num_to_halve,
    precision_of,
    recall_of,
)
from mpar.scores.sampling import NUM_STRATA, cut_units, draw_order
from mpar.scores.stretches import Stretch
from mpar.system.files import parse_json, write_json

FORMAT, VERSION = "mpar-estimate", 1
STRETCH_SECONDS = 2.0
MIN_CHECKED = 20
_SCORES = {"precision": precision_of, "recall": recall_of, "f1": f1_of}


class Estimate:
    """Stretches to check, what was scored in them, and what follows.

    Use `Estimate.open`. Numbers in results are plain: ``{"estimate": 0.8, "interval": [0.7, 0.9],
    "note": ""}``; a number that cannot be estimated yet is None, and the note says why.
    """

    def __init__(
        self,
        predictions: Sequence[Recording],
        class_names: Sequence[str],
        *,
        responses: Collection[str],
        seed: int,
        path: Path | None,
        stretch_seconds: float = STRETCH_SECONDS,
        num_strata: int = NUM_STRATA,  # 1: draw plainly at random
    ) -> None:
        self.class_names = tuple(class_names)
        self.responses = tuple(name for name in class_names if name in responses)
        self.path = path
        self._predictions = list(predictions)
        self._seed = seed
        self._stretch_seconds = stretch_seconds
        self._units = cut_units(
            predictions, class_names, stretch_seconds, num_strata, responses=responses
        )
        rng = np.random.default_rng(seed)
        self._order = draw_order(self._units.stratum, rng)
        self._places = {_key(self._stretch(place)): place for place in range(len(self._order))}
        self._scored: list[NDArray[np.int64]] = []  # in the order of drawing
        self._what = {  # must be the same for an estimate to go on
            "format": FORMAT,
            "format_version": VERSION,
            "seed": seed,
            "stretch_seconds": stretch_seconds,
            "class_names": list(class_names),
            "responses": list(self.responses),
            "predictions": _fingerprint(predictions),
        }

    @classmethod
    def open(
        cls,
        predictions: Sequence[Recording],
        class_names: Sequence[str],
        *,
        responses: Collection[str],
        path: Path | str | None,
        seed: int = 0,
        stretch_seconds: float = STRETCH_SECONDS,
    ) -> Estimate:
        """Start an estimate, or continue the one in a file.

        Parameters
        ----------
        predictions : sequence of Recording
            From `mpar.predictions.reading.read_probabilities`.
        class_names : sequence of str, length K
            Their classes.
        responses : collection of str
            Those that count as responses. Stretches with them have a higher chance.
        path : Path or str, optional
            ``estimate.json``; written after each checked stretch. None keeps nothing.
        seed : int
            Fixes which stretches are drawn.
        stretch_seconds : float
            Length of a stretch.

        Raises
        ------
        ConfigError
            The file is of other predictions, another seed or another length, or is damaged.
        """
        if not predictions:
            raise ConfigError("estimate: found no predictions; run mpar-predict first")
        if not stretch_seconds > 0:
            raise ConfigError(f"stretch_seconds: found {stretch_seconds}, expected more than 0")
        estimate = cls(
            predictions,
            class_names,
            responses=responses,
            seed=seed,
            path=None if path is None else Path(path),
            stretch_seconds=stretch_seconds,
        )
        if estimate.path is not None and estimate.path.exists():
            estimate._load(estimate.path)
        return estimate

    @property
    def num_stretches(self) -> int:
        """Number of stretches in all recordings."""
        return len(self._units)

    @property
    def num_checked(self) -> int:
        """Number of stretches that a person checked."""
        return len(self._scored)

    def next_stretch(self) -> Stretch | None:
        """Return the next stretch to check, None if all are checked."""
        if self.num_checked == self.num_stretches:
            return None
        return self._stretch(self.num_checked)

    def _stretch(self, place: int) -> Stretch:
        unit = self._order[place]
        return Stretch(
            recording=self._predictions[self._units.recording[unit]].name,
            start=int(self._units.start[unit]),
            stop=int(self._units.stop[unit]),
            reason=f"stretch {place + 1} of the estimate, drawn at random",
            worth=0.0,
        )

    def checked_stretches(self) -> Iterator[tuple[Stretch, NDArray[np.int64]]]:
        """Yield the checked stretches with their labels, in the order of drawing."""
        for place, labels in enumerate(self._scored):
            yield self._stretch(place), labels.copy()

    def record(self, stretch: Stretch, labels: ArrayLike) -> None:
        """Keep what a person scored in a stretch, and save everything.

        Parameters
        ----------
        stretch : Stretch
            From `next_stretch`, or one that was checked before, whose labels are replaced.
        labels : array_like of int, shape (frames of the stretch,)
            Class index of each frame; -1 where the person cannot tell. These frames do not count,
            and the rest of the stretch stands for them. A stretch of -1 alone counts as checked but
            tells nothing.

        Raises
        ------
        ValueError
            Another stretch, or labels that do not fit it. Only stretches in the order of drawing
            have known chances.
        """
        place = self._places.get(_key(stretch))
        if place is None or place > self.num_checked:
            raise ValueError(
                f"stretch: {stretch.recording}, frames {stretch.start} to {stretch.stop - 1}, was "
                "not drawn; record what next_stretch returns"
            )
        array = as_labels(labels, num_classes=len(self.class_names))
        if len(array) != stretch.num_frames:
            raise ValueError(f"labels: found {len(array)}, expected {stretch.num_frames}")
        self._scored[place : place + 1] = [array]
        if self.path is not None:
            self._save(self.path)

    def result(
        self, num_checked: int | None = None, *, with_animals: bool = True
    ) -> dict[str, Any]:
        """Return all numbers, after `num_checked` stretches or all checked ones.

        Returns
        -------
        dict
            ``num_stretches``, ``num_checked``, ``num_useless`` (nobody could tell),
            ``checked_seconds``, ``level``, ``more_to_halve`` (how many more stretches halve the
            intervals, about), ``classes`` (by name: ``precision``, ``recall``, ``f1`` of frames,
            and ``seconds`` with ``predicted``), ``animals`` (by name: the responses, or all
            classes if there are none) and ``responses``.
        """
        num_checked = self.num_checked if num_checked is None else num_checked
        checked, num_useless = self._count(num_checked)
        num_useful = len(checked.rows)
        rng = np.random.default_rng([self._seed, num_checked])
        totals = estimate_totals(self._units, checked, rng) if self._is_ready(checked) else None
        return {
            "num_stretches": self.num_stretches,
            "num_checked": num_checked,
            "num_useless": num_useless,
            "checked_seconds": float(self._units.seconds[self._order[:num_checked]].sum()),
            "level": LEVEL,
            "responses": list(self.responses),
            "more_to_halve": num_to_halve(num_useful, self.num_stretches),
            "classes": {
                name: {key: self._score(name, key, totals, checked) for key in _SCORES}
                | {"seconds": self._seconds(name, totals)}
                for name in self.class_names
            },
            "animals": self._by_animal(totals, checked, rng) if with_animals else {},
        }

    def _by_animal(
        self, totals: Totals | None, checked: Checked, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the seconds of the responses, or of all classes if there are none, by animal."""
        shown = responses_or_all(self.class_names, self.responses)
        animals = {}
        for number, animal in enumerate(self._units.animals):
            is_seen = (self._units.animal[checked.rows] == number).any()
            mine = None
            if totals is not None and is_seen:
                mine = estimate_totals(self._units, checked, rng, number)
            animals[animal] = {name: self._seconds(name, mine, number) for name in shown}
            if totals is not None and not is_seen:
                for cell in animals[animal].values():
                    cell["note"] = "no stretch of it checked yet"
        return animals

    def history(self, num_points: int = 25) -> list[dict[str, Any]]:
        """Return the results after more and more stretches, at most `num_points`, for a figure."""
        if self.num_checked < MIN_CHECKED:
            return []
        steps = np.unique(np.linspace(MIN_CHECKED, self.num_checked, num_points).round())
        return [self.result(int(step), with_animals=False) for step in steps]

    def _is_ready(self, checked: Checked) -> bool:
        """Return True if enough is checked, and something in each stratum."""
        strata = {*self._units.stratum[checked.rows].tolist()}
        is_all = len(checked.rows) == self.num_stretches
        return is_all or (
            len(checked.rows) >= MIN_CHECKED and len(strata) == self._units.stratum.max() + 1
        )

    def _count(self, num_checked: int) -> tuple[Checked, int]:
        """Return hits and misses of the checked stretches, and how many nobody could tell."""
        rows, counts = [], []
        ks = np.arange(len(self.class_names))
        for unit, labels in zip(self._order, self._scored[:num_checked], strict=False):
            item = self._predictions[self._units.recording[unit]]
            start, stop = int(self._units.start[unit]), int(self._units.stop[unit])
            lengths = np.diff(item.clock.edges[start : stop + 1])
            is_known = labels != UNLABELLED
            if not is_known.any():
                continue
            weight = np.stack([is_known / is_known.mean(), lengths * is_known])  # (2, frames)
            weight[1] *= lengths.sum() / weight[1].sum()
            true = labels[:, None] == ks
            predicted = item.labels[start:stop, None] == ks
            parts = (predicted, predicted & true, true & ~predicted)
            rows.append(unit)
            counts.append([(weight @ part).ravel() for part in parts])
        table = np.array(counts, np.float64).reshape(-1, 3, 2 * len(ks))
        checked = Checked(np.array(rows, np.int64), table[:, 0], table[:, 1], table[:, 2])
        return checked, num_checked - len(rows)

    def _score(
        self, name: str, key: str, totals: Totals | None, checked: Checked
    ) -> dict[str, Any]:
        """Return one score of a class, or why there is none."""
        k = self.class_names.index(name)
        is_exact = len(checked.rows) == self.num_stretches
        note = ""
        if not self._units.predicted[:, k].any() and key == "precision":
            note = f"mpar predicts no {name} in these videos"
        elif totals is None:
            note = f"fewer than {MIN_CHECKED} stretches checked"
        elif key == "precision" and not checked.predicted[:, k].any():
            note = f"no stretch with predicted {name} checked yet"
        elif key != "precision" and not (checked.hits + checked.misses)[:, k].any():
            note = f"no {name} in these videos" if is_exact else f"no {name} seen yet"
        if note or totals is None:
            return {"estimate": None, "interval": None, "note": note}
        return _number(*_SCORES[key](totals), k)

    def _seconds(
        self, name: str, totals: Totals | None, animal: int | None = None
    ) -> dict[str, Any]:
        """Return the seconds of a class, predicted and estimated."""
        k = len(self.class_names) + self.class_names.index(name)
        is_mine = slice(None) if animal is None else self._units.animal == animal
        predicted = float(self._units.predicted[is_mine, k].sum())
        if totals is None:
            note = f"fewer than {MIN_CHECKED} stretches checked"
            return {"predicted": predicted, "estimate": None, "interval": None, "note": note}
        amount, ends = amount_of(totals)
        ends = np.minimum(ends, self._units.seconds[is_mine].sum())  # no more than there is
        return {"predicted": predicted} | _number(amount, ends, k)

    def _save(self, path: Path) -> None:
        checked = [
            {
                "recording": stretch.recording,
                "start": stretch.start,
                "stop": stretch.stop,
                # bouts as [class index, frames]
                "bouts": [
                    [label, stop - start] for start, stop, label in find_runs(labels).tolist()
                ],
            }
            for stretch, labels in self.checked_stretches()
        ]
        write_json(path, {**self._what, "checked": checked, "result": self.result()})

    def _load(self, path: Path) -> None:
        """Read what was checked before."""
        try:
            data = parse_json(path.read_text(encoding="utf-8"))
            data.setdefault("responses", [*unstated_responses(self.class_names)])
            differing = [key for key, value in self._what.items() if data[key] != value]
            scored = [
                as_labels(
                    np.repeat(*np.array(item["bouts"], np.int64).reshape(-1, 2).T),
                    num_classes=len(self.class_names),
                )
                for item in data["checked"]
            ]
            found = [(item["recording"], item["start"], item["stop"]) for item in data["checked"]]
        except (OSError, AttributeError, KeyError, TypeError, ValueError):
            raise ConfigError(
                f"{path}: is damaged or was not written by mpar; move it away to start again"
            ) from None
        if differing:
            what = differing[0].replace("_", " ")
            raise ConfigError(
                f"{path}: is an estimate with other {what}; move it away to start again, or "
                "pass what it was made with"
            )
        for place, (key, labels) in enumerate(zip(found, scored, strict=True)):
            stretch = self._stretch(place) if place < self.num_stretches else None
            if stretch is None or key != _key(stretch):
                raise ConfigError(f"{path}: holds stretches that were not drawn; restore it")
            if len(labels) != stretch.num_frames:
                raise ConfigError(f"{path}: is damaged; restore it")
        self._scored = scored


def _key(stretch: Stretch) -> tuple[str, int, int]:
    return stretch.recording, stretch.start, stretch.stop


def _fingerprint(predictions: Sequence[Recording]) -> str:
    """Return a digest of names, labels and probabilities."""
    digest = hashlib.sha256()
    for item in predictions:
        digest.update(json.dumps([item.name, item.animal, item.num_frames]).encode())
        digest.update(np.ascontiguousarray(item.labels, np.int8).tobytes())
        digest.update(np.ascontiguousarray(item.probabilities, np.float32).tobytes())
    return digest.hexdigest()


def _number(
    estimate: NDArray[np.float64], interval: NDArray[np.float64], column: int
) -> dict[str, Any]:
    value = float(estimate[column])
    low, high = interval[:, column].tolist()
    # draws scatter around the estimate, and rounding may put it just outside
    ends = [min(low, value), max(high, value)]
    return {"estimate": value, "interval": ends, "note": ""}
