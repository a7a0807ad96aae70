"""Calibration: how well confidence matches the share of correct frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpar.labels.classes import UNLABELLED
from mpar.scores.comparison import Comparison
from mpar.scores.metrics import FloatArray, ratio

NUM_BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Share of correct frames by confidence.

    Parameters
    ----------
    num_frames : (B,) int64 array
        Frames in each of B equal bins of confidence, 0 to 1.
    confidence, accuracy : (B,) float arrays
        Mean confidence and share of correct frames; NaN in empty bins.

    Notes
    -----
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2.
    """

    num_frames: NDArray[np.int64]
    confidence: FloatArray
    accuracy: FloatArray

    @property
    def expected_error(self) -> float:
        """Mean absolute difference of confidence and accuracy over frames, 0 to 1 (ECE)."""
        distance = np.abs(self.confidence - self.accuracy)
        return float(np.nansum(distance * self.num_frames) / self.num_frames.sum())

    def to_dict(self) -> dict[str, Any]:
        """Return bins and error as plain values for JSON."""
        bins = zip(self.num_frames.tolist(), self.confidence, self.accuracy, strict=True)
        return {
            "expected_calibration_error": self.expected_error,
            "bins": [
                {"frames": n, "confidence": float(c), "accuracy": float(a)} for n, c, a in bins if n
            ],
        }


def measure_calibration(comparisons: Sequence[Comparison]) -> Calibration | None:
    """Compare confidence and accuracy over all frames with a true and a predicted label.

    Returns
    -------
    Calibration or None
        None if no recording has confidences.
    """
    pairs = []
    for c in comparisons:
        if c.confidence is not None:
            known = (c.truth != UNLABELLED) & (c.predicted != UNLABELLED)
            pairs.append((c.confidence[known], (c.truth == c.predicted)[known]))
    if not sum(len(confidence) for confidence, _ in pairs):
        return None
    confidence, is_right = (
        np.concatenate(part).astype(np.float64) for part in zip(*pairs, strict=True)
    )
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    counts, sums, rights = (
        np.bincount(bins, weights, minlength=NUM_BINS) for weights in (None, confidence, is_right)
    )
    return Calibration(counts, ratio(sums, counts), ratio(rights, counts))
