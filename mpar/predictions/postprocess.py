"""From probabilities to labels: smoothing, thresholds, gaps and shortest bouts.

Fitted values come from validation recordings only; the checkpoint keeps them.

Shapes: T frames, K classes.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from mpar.errors import ConfigError
from mpar.labels.bouts import find_runs
from mpar.labels.classes import UNLABELLED

Probabilities = NDArray[np.floating]

SMOOTHINGS = (1, 3, 5, 7, 9)
EDGES = (0, 2)
SHORTEST_PERCENTILE = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PostConfig:
    """How probabilities become labels. The defaults take the most probable class of each frame.

    Parameters
    ----------
    temperature : float
        Divides the logarithms of the probabilities. Positive; above 1 it lowers the confidence.
    edge_frames : int
        Number of frames at each end of a recording that take the probabilities of their nearest
        inner frame. Clips repeat the first or last frame beyond the ends, so motion seems to
        begin or end there: the network often calls it rest, sometimes a withdrawal.
    smooth_frames : int
        Odd width of a moving average of the probabilities, in frames.
    weights : tuple of float, length K or 0
        Each frame takes the class with the highest product of probability and weight. A weight
        above 1 finds more frames of a class, but also more false ones.
    thresholds : tuple of float, length K or 0
        A frame takes a class only if the probability is at least this.
    close_gaps : int
        Gaps of at most so many frames between two bouts of a class become part of them, beginning
        at the start of the recording.
    min_frames : tuple of int, length K or 0
        Shorter bouts take the class of the neighbouring bout that is more probable in their
        frames. Bouts at the ends of a recording may be cut off, and stay.

    Raises
    ------
    ConfigError
        A value is out of its range.
    """

    temperature: float = 1.0
    edge_frames: int = 0
    smooth_frames: int = 1
    weights: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = ()
    close_gaps: int = 0
    min_frames: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature: found {self.temperature}, expected a number above 0")
        if self.smooth_frames < 1 or self.smooth_frames % 2 == 0:
            raise ConfigError(
                f"smooth_frames: found {self.smooth_frames}, expected an odd number of 1 or more"
            )
        if not all(0 < weight < float("inf") for weight in self.weights):
            raise ConfigError(f"weights: found {self.weights}, expected numbers above 0")
        if not all(0 <= threshold <= 1 for threshold in self.thresholds):
            raise ConfigError(f"thresholds: found {self.thresholds}, expected 0 to 1")
        numbers = (self.edge_frames, self.close_gaps, *self.min_frames)
        if not all(number >= 0 for number in numbers):
            raise ConfigError(
                "edge_frames, close_gaps, min_frames: found a negative number, expected 0 or more"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain types."""
        data = dataclasses.asdict(self)
        return data | {key: list(data[key]) for key in _BY_CLASS}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PostConfig:
        """Rebuild from `to_dict`."""
        return cls(**data | {key: tuple(data[key]) for key in _BY_CLASS if key in data})

    def describe(self, class_names: Sequence[str]) -> str:
        """Describe the steps in one line."""
        steps = []
        if self.temperature != 1:
            steps.append(f"temperature {self.temperature:.2f}")
        if self.edge_frames:
            steps.append(f"{self.edge_frames} frames at each end take their inner neighbour")
        if self.smooth_frames > 1:
            steps.append(f"probabilities averaged over {self.smooth_frames} frames")
        if any(weight != 1 for weight in self.weights):
            pairs = zip(class_names, self.weights, strict=True)
            steps.append("weight " + ", ".join(f"{n} {w:g}" for n, w in pairs if w != 1))
        if any(self.thresholds):
            pairs = zip(class_names, self.thresholds, strict=True)
            steps.append("threshold " + ", ".join(f"{n} {t:g}" for n, t in pairs if t))
        if self.close_gaps:
            steps.append(f"gaps up to {self.close_gaps} frames closed")
        if any(length > 1 for length in self.min_frames):
            pairs = zip(class_names, self.min_frames, strict=True)
            frames = ", ".join(f"{n} {m}" for n, m in pairs if m > 1)
            steps.append(f"shortest bout in frames {frames}")
        return "; ".join(steps) or "none: the most probable class of each frame"


_BY_CLASS = ("weights", "thresholds", "min_frames")


def change_post(
    config: PostConfig,
    class_names: Sequence[str],
    *,
    smooth_frames: int | None = None,
    close_gaps: int | None = None,
    weights: Sequence[str] = (),
    thresholds: Sequence[str] = (),
) -> PostConfig:
    """Return a config with some values changed; None keeps a value.

    Weights and thresholds are texts ``CLASS=NUMBER``; other classes have weight 1 and no threshold.
    ConfigError if a value is out of its range, or a class does not exist.
    """
    changes: dict[str, Any] = {
        "smooth_frames": smooth_frames,
        "close_gaps": close_gaps,
        "weights": _by_class("weight", weights, class_names, 1.0),
        "thresholds": _by_class("threshold", thresholds, class_names, 0.0),
    }
    given = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(config, **given)


def _by_class(
    what: str, texts: Sequence[str], class_names: Sequence[str], default: float
) -> tuple[float, ...] | None:
    """Read ``CLASS=NUMBER`` texts; None if there are none."""
    values = dict.fromkeys(class_names, default)
    for text in texts:
        name, equals, number = text.partition("=")
        try:
            values[name] = float(number)
        except ValueError:
            equals = ""
        if not equals or name not in class_names:
            raise ConfigError(
                f"{what}: found {text!r}, expected CLASS=NUMBER with a class of "
                f"{', '.join(class_names)}"
            )
    return tuple(values.values()) if texts else None


def postprocess(
    probabilities_TK: Probabilities, config: PostConfig
) -> tuple[NDArray[np.int8], Probabilities]:
    """Turn the probabilities of a recording into labels.

    Parameters
    ----------
    probabilities_TK : (T, K) float array
        Rows add up to 1.
    config : PostConfig
        Applied in this order: temperature, edges, smoothing, weights and thresholds, gaps,
        shortest bouts.

    Returns
    -------
    labels : (T,) int8 array
        Class index; -1 where no class reaches its threshold.
    probabilities : (T, K) float32 array
        After temperature, edges and smoothing. Beyond an end, the average repeats the probabilities
        of the end frame.
    """
    smoothed = smooth(probabilities_TK, config)
    allowed = smoothed * np.array(config.weights, np.float32) if config.weights else smoothed
    if config.thresholds:
        allowed = np.where(smoothed >= np.array(config.thresholds), allowed, -1)
    labels = allowed.argmax(axis=1).astype(np.int8)
    labels[(allowed < 0).all(axis=1)] = UNLABELLED
    if config.close_gaps:
        labels = _close_gaps(labels, config.close_gaps)
    if any(length > 1 for length in config.min_frames):
        labels = _drop_short(labels, smoothed, config.min_frames)
    return labels, smoothed


def smooth(probabilities_TK: Probabilities, config: PostConfig) -> Probabilities:
    """Apply temperature, edges and smoothing to a recording's probabilities, (T, K) float32."""
    found = probabilities_TK
    if config.temperature != 1:
        found = apply_temperature(found, config.temperature)
    if len(found) > 2 * config.edge_frames:
        last = len(found) - config.edge_frames - 1
        found = found[np.clip(np.arange(len(found)), config.edge_frames, last)]
    if config.smooth_frames > 1 and len(found):
        found = uniform_filter1d(
            found.astype(np.float64), config.smooth_frames, axis=0, mode="nearest"
        )
    return found.astype(np.float32)


def apply_temperature(probabilities_TK: Probabilities, temperature: float) -> Probabilities:
    """Divide logits by a temperature. Source: Guo et al. 2017, section 4.2."""
    tiny = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(probabilities_TK.astype(np.float64), tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return powers / powers.sum(axis=1, keepdims=True)


def _close_gaps(labels: NDArray[np.int8], num_frames: int) -> NDArray[np.int8]:
    """Close gaps from first to last; a closed gap no longer bounds another gap."""
    starts, stops, runs = find_runs(labels).T.tolist()
    closed = labels.copy()
    before, i = runs[0] if runs else UNLABELLED, 1
    while i < len(runs) - 1:
        is_gap = stops[i] - starts[i] <= num_frames
        if is_gap and before == runs[i + 1] != UNLABELLED:
            closed[starts[i] : stops[i]] = before
            i += 2  # the runs before and after the gap are now one
        else:
            before = runs[i]
            i += 1
    return closed


def _drop_short(
    labels: NDArray[np.int8], probabilities_TK: Probabilities, min_frames: Sequence[int]
) -> NDArray[np.int8]:
    """Merge bouts that are too short with their neighbours, the shortest first.

    Each bout passes through a heap once for each length it had, so T frames take T log T steps.
    """
    starts, stops, runs = find_runs(labels).T.tolist()
    left, last = labels.copy(), len(runs) - 1
    before, after = list(range(-1, last)), list(range(1, last + 2))  # neighbours of each run
    is_gone = [False] * len(runs)
    waiting: list[tuple[int, int, int]] = []  # length, start, run; the first of equal ones

    def wait(i: int) -> None:
        length = stops[i] - starts[i]
        is_inner = before[i] >= 0 and after[i] <= last
        if is_inner and runs[i] != UNLABELLED and length < min_frames[runs[i]]:
            heapq.heappush(waiting, (length, starts[i], i))

    for i in range(len(runs)):
        wait(i)
    while waiting:
        length, _, i = heapq.heappop(waiting)
        if is_gone[i] or length != stops[i] - starts[i]:
            continue  # already part of another bout, or longer by now
        known = [runs[j] for j in (before[i], after[i]) if runs[j] != UNLABELLED]
        if not known:
            continue
        frames = slice(starts[i], stops[i])
        label = max(known, key=lambda k: float(probabilities_TK[frames, k].mean()))
        left[frames] = label
        # merge the run with the neighbours that have its new label
        merged = [j for j in (before[i], i, after[i]) if j == i or runs[j] == label]
        first, end = merged[0], merged[-1]
        runs[first], stops[first], after[first] = label, stops[end], after[end]
        if after[end] <= last:
            before[after[end]] = first
        for j in merged[1:]:
            is_gone[j] = True
        wait(first)
    return left
