"""Predict recordings with all experts together: the network, the movement model, the features.

Shapes: T steps, H x W px, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mpar.network.dense import DensePredictor
from mpar.network.experts import EXPERTS, mix
from mpar.network.features import FeatureMeter, FeatureModel, ViewEmbedder
from mpar.network.movement import MovementMeter, MovementModel
from mpar.video.videos import View

_REPORT_FRAMES = 64


class Predictor(Protocol):
    """Gives class probabilities for every frame of a recording."""

    def predict(
        self,
        views: Iterable[View],
        on_frames: Callable[[int], object] = ...,
    ) -> np.ndarray:
        """Return (T, K) float32 probabilities of T views."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The experts beside the network, and how much each counts.

    Parameters
    ----------
    movement : MovementModel, optional
        Also a baseline if it does not count.
    features : FeatureModel, optional
        Only with ``--features``.
    powers : mapping of str to float
        Powers of ``network``, ``movement`` and ``features`` in the mixture, 0 or more.
    """

    movement: MovementModel | None = None
    features: FeatureModel | None = None
    powers: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the experts as plain types and tensors."""
        return {
            "movement": None if self.movement is None else self.movement.to_dict(),
            "features": None if self.features is None else self.features.to_dict(),
            "powers": dict(self.powers),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Experts:
        """Rebuild from `to_dict`; an empty dict stands for the network alone."""
        movement, features = data.get("movement"), data.get("features")
        powers = data.get("powers", {"network": 1.0})
        return cls(
            movement=None if movement is None else MovementModel.from_dict(movement),
            features=None if features is None else FeatureModel.from_dict(features),
            powers={name: float(powers.get(name, 0)) for name in EXPERTS},
        )


class MixedPredictor:
    """All experts together.

    Parameters
    ----------
    experts : Experts
        The models beside the network, and the powers.
    network : Predictor, optional
        `mpar.network.dense.DensePredictor`; not needed if its power is 0.
    embedder : ViewEmbedder, optional
        Embeds frames for the features; not needed if their power is 0.
    """

    def __init__(
        self,
        experts: Experts,
        network: DensePredictor | None = None,
        embedder: ViewEmbedder | None = None,
    ) -> None:
        self._experts, self._network, self._embedder = experts, network, embedder

    def predict(
        self,
        views: Iterable[View],
        on_frames: Callable[[int], object] = lambda num_frames: None,
    ) -> np.ndarray:
        """Predict every frame of a recording, as `mpar.network.dense.DensePredictor.predict`."""
        powers = self._experts.powers
        return mix(self.predict_each(views, on_frames, {n for n in EXPERTS if powers[n]}), powers)

    def names(self) -> set[str]:
        """Return the names of the experts that can predict here."""
        is_there = {
            "network": self._network is not None,
            "movement": self._experts.movement is not None,
            "features": self._experts.features is not None and self._embedder is not None,
        }
        return {name for name in EXPERTS if is_there[name]}

    def predict_each(
        self,
        views: Iterable[View],
        on_frames: Callable[[int], object],
        names: set[str],
        embedded: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the probabilities of the experts `names`, each (T, K), from one pass over frames.

        The movement model measures whole pictures; the others see the squares, if there are any.
        `embedded` holds the embedded frames if they are known, (n, D) float16.
        """
        movement = self._experts.movement if "movement" in names else None
        features = self._experts.features if "features" in names else None
        meter, watched = None, None
        if movement is not None:
            meter = MovementMeter(movement.rate)
        frames = meter.watch(views) if meter is not None else (view.seen for view in views)
        if features is not None and embedded is None:
            assert self._embedder is not None
            watched = FeatureMeter(self._embedder, features.stride)
            frames = watched.watch(frames)
        found = {}
        if "network" in names:
            assert self._network is not None
            found["network"] = self._network.predict(frames, on_frames)
            num_steps = len(found["network"])
        else:
            num_steps = _pass(frames, on_frames)
        if movement is not None and meter is not None:
            found["movement"] = movement.probabilities(meter.features())
        if features is not None:
            rows = watched.embedded() if watched is not None else embedded
            assert rows is not None
            found["features"] = features.probabilities(rows, num_steps)
        return found


def _pass(frames: Iterable[np.ndarray], on_frames: Callable[[int], object]) -> int:
    """Let the frames pass; return their number."""
    num_frames = 0
    for _ in frames:
        num_frames += 1
        if num_frames % _REPORT_FRAMES == 0:
            on_frames(_REPORT_FRAMES)
    on_frames(num_frames % _REPORT_FRAMES)
    return num_frames
