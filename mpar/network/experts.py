"""Several experts on one recording: the network and linear models, multiplied with powers.

Shapes: T steps, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# in this order everywhere
EXPERTS = ("network", "movement", "features")
_LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearModel:
    """A linear classifier of standardized features.

    Parameters
    ----------
    mean, scale : (D,) float arrays
        Mean and standard deviation of the features.
    coefficients : (K, D) float array
    intercepts : (K,) float array
    """

    mean: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray

    def probabilities(self, features_TD: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, (T, K) float64."""
        z = (features_TD - self.mean) / self.scale
        return _softmax(z @ self.coefficients.T + self.intercepts)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain types."""
        return {key: getattr(self, key).tolist() for key in _ARRAYS}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LinearModel:
        """Rebuild from `to_dict`."""
        return cls(**{key: np.array(data[key], np.float64) for key in _ARRAYS})


_ARRAYS = ("mean", "scale", "coefficients", "intercepts")


def mix(found: Mapping[str, np.ndarray], powers: Mapping[str, float]) -> np.ndarray:
    """Return the normalized product of the probabilities of experts, each raised to its power.

    Parameters
    ----------
    found : mapping of str to (T, K) float array
        Probabilities by expert; those without a power do not count.
    powers : mapping of str to float
        0 or more; at least one above 0.

    Returns
    -------
    (T, K) float32 array
        The network itself if it counts alone, with the power 1.

    Notes
    -----
    Source: Hinton 2002, "Training Products of Experts by Minimizing Contrastive Divergence",
    eq. 1, with a power for each expert.
    """
    counting = {name: power for name, power in powers.items() if power}
    if counting == {"network": 1.0}:
        return found["network"]
    logits = sum(power * log_of(found[name]) for name, power in counting.items())
    return _softmax(np.asarray(logits)).astype(np.float32)


def log_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithm of probabilities, none of which counts as less than 1e-7."""
    return np.log(np.maximum(probabilities, _LEAST_PROBABILITY))


def _softmax(logits_TK: np.ndarray) -> np.ndarray:
    exp = np.exp(logits_TK - logits_TK.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)
