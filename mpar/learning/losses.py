"""Losses for classes of very different frequency.

Shapes: N labelled frames, K classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mpar.labels.classes import UNLABELLED


def class_weights(counts: np.ndarray) -> torch.Tensor:
    """Return the weight of each class, its inverse frequency.

    Parameters
    ----------
    counts : (K,) integer array
        Labelled frames of each class in the training recordings; their sum is at least 1.

    Returns
    -------
    (K,) float32 tensor
        ``sum(counts) / (num_present * counts)``, so that the mean weight of a frame is 1;
        0 for a class without frames.

    Notes
    -----
    Source: King and Zeng 2001, "Logistic Regression in Rare Events Data"; the form with the
    number of classes is scikit-learn's ``class_weight="balanced"``.
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    if not present.any():
        raise ValueError("counts: found no labelled frame, expected at least one")
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.from_numpy(weights).float()


class FocalLoss(nn.Module):
    """Cross entropy that gives less weight to frames that are predicted well.

    Parameters
    ----------
    alpha : (K,) float tensor, optional
        Weight of each class.
    gamma : float
        0 is plain cross entropy; 2 is the authors' choice.
    reduction : {"mean", "sum"}
        Divide by the sum of the labels' weights ("mean"), or not ("sum").

    Notes
    -----
    ``sum(a_y (1 - p_y)^gamma * -log p_y) / sum(a_y)`` over the labelled frames: the same mean
    as torch's weighted cross entropy. Source: Lin et al. 2017, "Focal Loss for Dense Object
    Detection", eq. 4-5.
    """

    def __init__(
        self, alpha: torch.Tensor | None = None, gamma: float = 2.0, reduction: str = "mean"
    ) -> None:
        super().__init__()
        weight = None if alpha is None else torch.as_tensor(alpha, dtype=torch.float32)
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"alpha: found {alpha!r}, expected a weight for each class, (K,)")
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma: found {gamma}, expected 0 or more")
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction: found {reduction!r}, expected 'mean' or 'sum'")
        self.reduction = reduction
        self.gamma = gamma
        self.weight: torch.Tensor | None
        self.register_buffer("weight", weight)

    def forward(self, logits_NK: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        """Return the loss without labels of -1; 0 if there is no other label."""
        known = labels_N != UNLABELLED
        logits_NK, labels_N = logits_NK[known], labels_N[known]
        log_p_N = functional.log_softmax(logits_NK.float(), dim=1)
        log_p_N = log_p_N.gather(1, labels_N[:, None]).squeeze(1)
        weights_N = torch.ones_like(log_p_N) if self.weight is None else self.weight[labels_N]
        # for gamma below 1, the slope of x^gamma at 0 is infinite and would give a NaN gradient
        rest_N = (-torch.expm1(log_p_N)).clamp_min(torch.finfo(torch.float32).tiny)
        losses_N = weights_N * rest_N**self.gamma * -log_p_N
        if self.reduction == "sum":
            return losses_N.sum()
        return losses_N.sum() / weights_N.sum().clamp_min(1e-12)
