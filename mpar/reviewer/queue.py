"""Order places of recordings by what a minute of looking at them is worth.

A place is worth looking at if the network hesitates there between two classes, above all if one of
them counts as a response. Each further place of the same two classes, or of the same animal, counts
less, so that the queue covers many kinds of doubt and many animals.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mpar.errors import ConfigError
from mpar.labels.bouts import find_bouts
from mpar.labels.scorings import Recording
from mpar.scores.stretches import Stretch


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueConfig:
    """What makes a stretch worth looking at.

    Parameters
    ----------
    context_seconds : float
        A stretch starts this much before its place and ends as much after it.
    max_seconds : float
        Longer places are cut into pieces of at most this length.
    response_weight : float
        How many times as much a doubt about a response is worth.
    min_doubt : float
        0 to 1; places with less doubt are left out, unless a response is predicted there.
    spread : float
        0 to 1; after n stretches of the same two classes, the worth of another one is divided by
        (1 + n) to this power, and likewise for n stretches of the same animal. 0 ranks by doubt
        alone.

    Notes
    -----
    The values are our choice; ``tests/benchmarks/README.md`` shows what they bring.
    """

    context_seconds: float = 1.0
    max_seconds: float = 4.0
    response_weight: float = 3.0
    min_doubt: float = 0.2
    spread: float = 0.5

    def __post_init__(self) -> None:
        if self.context_seconds < 0 or self.max_seconds <= 0 or self.response_weight < 0:
            raise ConfigError(
                f"queue: found {self.context_seconds} s of context, {self.max_seconds} s at most "
                f"and a weight of {self.response_weight}, expected no negative numbers"
            )
        for name in ("min_doubt", "spread"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: found {getattr(self, name)}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class _Place:
    """Frames `start` to `stop` of a recording with the same two most probable classes."""

    recording: int
    start: int
    stop: int
    pair: tuple[int, int]
    seconds: float
    value: float  # summed over the seconds


def order_stretches(
    predictions: Sequence[Recording],
    class_names: Sequence[str],
    *,
    responses: Collection[str],
    reviewed: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    config: QueueConfig | None = None,
) -> list[Stretch]:
    """Order the stretches of all recordings by what a minute of looking is worth, the most first.

    `reviewed` are the frames of each recording that a person has seen, half-open. They never count
    as a place again, but may be the second before or after one. No frame occurs twice.

    Notes
    -----
    The doubt in a frame is 1 minus the difference of its two highest probabilities ("margin
    sampling"). Source: Settles 2009, "Active Learning Literature Survey", sections 3.1 and 5.1.
    Discounts for what was already chosen are our choice.
    """
    config = config or QueueConfig()
    is_response = np.array([name in responses for name in class_names])
    seen = [np.zeros(item.num_frames, bool) for item in predictions]
    for item, is_seen in zip(predictions, seen, strict=True):
        for start, stop in (reviewed or {}).get(item.name, ()):
            is_seen[start:stop] = True
    places = [
        place
        for number, item in enumerate(predictions)
        for place in _find_places(number, item, is_response, seen[number], config)
    ]
    stretches = []
    is_taken = [np.zeros(item.num_frames, bool) for item in predictions]
    for place, worth in _choose(places, predictions, config):
        item = predictions[place.recording]
        cut = _cut(place, item, is_taken[place.recording], config)
        if cut is None:
            continue
        start, stop = cut
        is_taken[place.recording][start:stop] = True
        reason = _reason(item.probabilities[place.start : place.stop], place.pair, class_names)
        stretches.append(
            Stretch(recording=item.name, start=start, stop=stop, reason=reason, worth=worth)
        )
    return stretches


def _find_places(
    number: int,
    item: Recording,
    is_response: NDArray[np.bool_],
    is_seen: NDArray[np.bool_],
    config: QueueConfig,
) -> Iterator[_Place]:
    """Yield the places of a recording that are worth looking at."""
    probabilities = item.probabilities.astype(np.float64)
    num_classes = probabilities.shape[1]
    if num_classes < 2:
        return
    two = np.sort(np.argsort(-probabilities, axis=1, kind="stable")[:, :2], axis=1)
    highest = np.take_along_axis(probabilities, two, axis=1)
    doubt = 1 - abs(highest[:, 0] - highest[:, 1])
    has_response = is_response[two].any(axis=1)
    predicts_response = is_response[probabilities.argmax(axis=1)]
    is_place = ((doubt >= config.min_doubt) | predicts_response) & ~is_seen
    value = doubt * np.where(has_response, config.response_weight, 1) + predicts_response
    seconds = np.diff(item.clock.edges)
    sums = np.concatenate([[0], np.cumsum(value * seconds)])
    edges = np.concatenate([[0], np.cumsum(seconds)])
    runs = find_bouts(np.where(is_place, two[:, 0] * num_classes + two[:, 1], -1))
    for start, stop, pair in runs.itertuples(index=False):
        num_pieces = int(np.ceil((edges[stop] - edges[start]) / config.max_seconds - 1e-9))
        cuts = np.linspace(start, stop, min(max(1, num_pieces), stop - start) + 1)
        cuts = np.round(cuts).astype(int).tolist()
        for first, last in pairwise(cuts):
            length, worth = edges[last] - edges[first], sums[last] - sums[first]
            yield _Place(number, first, last, divmod(pair, num_classes), length, worth)


def _choose(
    places: Sequence[_Place], predictions: Sequence[Recording], config: QueueConfig
) -> Iterator[tuple[_Place, float]]:
    """Yield each place with its worth per minute, the highest first.

    What was chosen lowers the worth of others, never raises it, so that a place whose worth is
    still as it was computed, and the highest, is the next ("lazy" greedy choice).
    """
    pairs: Counter[tuple[int, int]] = Counter()
    animals: Counter[str] = Counter()

    def worth_of(place: _Place) -> float:
        num_alike = (1 + pairs[place.pair]) * (1 + animals[predictions[place.recording].animal])
        length = place.seconds + 2 * config.context_seconds
        return float(60 * place.value / length / num_alike**config.spread)

    heap = [(-worth_of(place), number) for number, place in enumerate(places)]
    heapq.heapify(heap)
    while heap:
        was, number = heapq.heappop(heap)
        place = places[number]
        worth = worth_of(place)
        if -worth > was:
            heapq.heappush(heap, (-worth, number))
            continue
        pairs[place.pair] += 1
        animals[predictions[place.recording].animal] += 1
        yield place, worth


def _cut(
    place: _Place, item: Recording, is_taken: NDArray[np.bool_], config: QueueConfig
) -> tuple[int, int] | None:
    """Return the frames to show: the place and its context, without those of other stretches."""
    taken = is_taken[place.start : place.stop]
    if taken.mean() > 0.5:
        return None
    free = np.flatnonzero(~taken) + place.start
    start = stop = int(free[len(free) // 2])
    clock, context = item.clock, Fraction(config.context_seconds)
    first = clock.first_at(clock.start_of(place.start) - context)
    last = max(place.stop, clock.first_at(clock.start_of(place.stop) + context))
    while start > first and not is_taken[start - 1]:
        start -= 1
    while stop < last and not is_taken[stop]:
        stop += 1
    return start, stop


def _reason(
    probabilities: NDArray[np.floating], pair: tuple[int, int], class_names: Sequence[str]
) -> str:
    """Return why to look: the two classes and their mean probabilities."""
    means = probabilities.mean(axis=0)
    first, second = sorted(pair, key=lambda k: -means[k])
    return (
        f"{class_names[first]} or {class_names[second]}? "
        f"{means[first]:.2f} against {means[second]:.2f}"
    )
