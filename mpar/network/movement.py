"""A linear model of how much, how widely and how steadily the picture moves.

With few labelled animals, a network remembers what those animals looked like. A few numbers about
the movement carry over better, but can tell fewer actions apart.

Shapes: T steps, H x W px, G lags, D features, K classes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from mpar.cache.store import Store
from mpar.network.experts import LinearModel
from mpar.video.videos import View

LAG_SECONDS = (0.0, 0.3, 1.0)  # 0: one step
WINDOW_SECONDS = (0.1, 0.3, 1.0)
# Grey levels that do not count as movement: the noise of the camera and of compression. The
# median over pixels measures it, since most pixels show the background.
_NOISE_FLOOR, _NOISE_FACTOR = 3.0, 2.0
_CHUNK, _PIECE = 16, 64  # steps measured and read at once
_LEAST_ENERGY = 1e-5


class MovementMeter:
    """Measures the movement in frames while they pass through.

    Parameters
    ----------
    rate : float
        Steps per second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lags = [max(1, round(seconds * rate)) for seconds in LAG_SECONDS]
        self._measured: list[np.ndarray] = []

    def watch(self, views: Iterable[View]) -> Iterator[np.ndarray]:
        """Measure whole pictures as they come; yield what the network sees of each."""
        longest = max(self._lags)
        before = np.empty((0, 0, 0), np.int16)
        waiting: list[np.ndarray] = []
        for view in views:
            waiting.append(view.picture.astype(np.int16))
            if len(waiting) == _CHUNK:
                before = self._measure(before, waiting)[-longest:]
                waiting = []
            yield view.seen
        if waiting:
            self._measure(before, waiting)

    def _measure(self, before: np.ndarray, waiting: list[np.ndarray]) -> np.ndarray:
        """Measure some frames; return them with those before them."""
        new = np.stack(waiting)
        known = np.concatenate([before, new]) if len(before) else new
        places = np.arange(len(before), len(known))
        self._measured.append(
            np.stack(
                [_measure_change(new, known[np.maximum(places - lag, 0)]) for lag in self._lags],
                axis=1,
            )
        )
        return known

    def features(self) -> np.ndarray:
        """Return the features of all frames so far.

        Returns
        -------
        (T, D) float32 array
            For windows of 0.1, 0.3 and 1 s about each step: the mean of the logarithm of the
            energy, of the spread (in longer sides of the picture) and of the elongation (0-1) of
            the changes over 1 step, 0.3 s and 1 s; the maximum and standard deviation of the
            first of these energies; and how far the centroid of the changes over 1 step and
            0.3 s travels. The first steps have nothing to compare with and take the values of
            the first step that has.
        """
        measured = np.concatenate(self._measured)
        num_steps = len(measured)
        for place, lag in enumerate(self._lags):
            first = min(lag, num_steps - 1)
            measured[:first, place] = measured[first, place]
        energy, spread, elongation = (measured[:, :, i] for i in (0, 3, 4))
        energy = np.log(energy + _LEAST_ENERGY)
        curves = np.concatenate([energy, spread, elongation], axis=1)
        steps = np.arange(num_steps)
        columns = []
        for seconds in WINDOW_SECONDS:
            half = max(1, round(seconds * self._rate)) // 2
            width = 2 * half + 1
            mean = uniform_filter1d(curves, width, axis=0, mode="nearest")
            square = uniform_filter1d(energy[:, 0] ** 2, width, mode="nearest")
            ends = np.clip(steps + half, 0, num_steps - 1), np.clip(steps - half, 0, num_steps - 1)
            travel = measured[ends[0], :2, 1:3] - measured[ends[1], :2, 1:3]
            columns += [
                mean,
                maximum_filter1d(energy[:, :1], width, axis=0, mode="nearest"),
                np.sqrt(np.maximum(square - mean[:, 0] ** 2, 0))[:, None],
                np.hypot(travel[:, :, 0], travel[:, :, 1]),
            ]
        return np.concatenate(columns, axis=1).astype(np.float32)


def _measure_change(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Return energy, x, y, spread and elongation of the change between frames, (N, 5) float64.

    Parameters
    ----------
    new, old : (N, H, W) int16 arrays
    """
    height, width = new.shape[1:]
    change = np.abs(new - old).reshape(len(new), -1).astype(np.uint8)
    middle = change.shape[1] // 2
    noise = np.partition(change, middle, axis=1)[:, middle].astype(np.float32)
    weights = change - (_NOISE_FACTOR * noise + _NOISE_FLOOR)[:, None]
    np.maximum(weights, 0, out=weights)
    sums = (weights @ _moments(height, width)).astype(np.float64)
    total = sums[:, 0] + 1e-6
    x_mean, y_mean, xx, yy, xy = (sums[:, i] / total for i in range(1, 6))
    xx, yy, xy = xx - x_mean**2, yy - y_mean**2, xy - x_mean * y_mean
    both = np.maximum(xx + yy, 0)
    apart = np.sqrt(np.maximum((xx - yy) ** 2 + 4 * xy**2, 0))
    energy = sums[:, 0] / (255 * height * width)
    return np.stack([energy, x_mean, y_mean, np.sqrt(both), apart / (both + 1e-6)], axis=1)


def movement_of(
    store: Store, recording: int, rate: float, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Return the movement features of steps of a recording in a cache, (T, D) float32."""
    stop = store.recordings[recording].num_steps if stop is None else stop
    meter = MovementMeter(rate)
    for _ in meter.watch(View(step, step) for step in _read_steps(store, recording, start, stop)):
        pass
    return meter.features()


def _read_steps(store: Store, recording: int, start: int, stop: int) -> Iterator[np.ndarray]:
    for first in range(start, stop, _PIECE):
        last = min(first + _PIECE, stop)
        frames = np.empty((last - first, *store.frame_size), np.uint8)
        store.copy_steps(recording, first, last, frames)
        yield from frames


@functools.cache
def _moments(height: int, width: int) -> np.ndarray:
    """Return 1, x, y, x^2, y^2 and xy of each pixel, in longer sides, (H * W, 6) float32."""
    y, x = np.indices((height, width)).reshape(2, -1) / max(height, width)
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovementModel:
    """A linear classifier of movement.

    Parameters
    ----------
    rate : float
        Steps per second of the recordings that it was fitted on.
    linear : LinearModel
        Classifies the features of `MovementMeter`.
    """

    rate: float
    linear: LinearModel

    def probabilities(self, features_TD: np.ndarray) -> np.ndarray:
        """Return the probabilities of this model alone, (T, K) float64."""
        return self.linear.probabilities(features_TD)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain types."""
        return {"rate": self.rate, "linear": self.linear.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MovementModel:
        """Rebuild from `to_dict`."""
        return cls(rate=float(data["rate"]), linear=LinearModel.from_dict(data["linear"]))
