"""Class weights and the focal loss, against hand-worked values and torch's own."""

import numpy as np
import pytest
import torch

from mpar.losses import FocalLoss, class_weights


def test_weights_are_inverse_to_frequency():
    """Hand-worked: 6 frames, 2 classes present, counts 4 and 2."""
    assert class_weights(np.array([4, 2, 0])).tolist() == [0.75, 1.5, 0.0]


def test_mean_weight_of_a_frame_is_one():
    """Weights do not change the scale of the loss."""
    counts = np.array([1000, 10, 3, 0, 77])
    weights = class_weights(counts).numpy()
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-6)


def test_no_frames_at_all_are_refused():
    """Without a label there is nothing to weigh."""
    with pytest.raises(ValueError, match="no labelled frame"):
        class_weights(np.zeros(3))


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.0])])
def test_gamma_zero_is_cross_entropy(weight):
    """With gamma 0 the focal loss is torch's weighted cross entropy, -1 ignored."""
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 3), torch.randint(-1, 3, (20,))
    expected = torch.nn.functional.cross_entropy(logits, labels, weight, ignore_index=-1)
    assert FocalLoss(0.0, weight)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_focal_value_by_hand():
    """One frame with p = 0.5: (1 - 0.5)^2 * log 2."""
    loss = FocalLoss(2.0)(torch.zeros(1, 2), torch.tensor([1]))
    assert loss.item() == pytest.approx(0.25 * np.log(2), rel=1e-6)


def test_batch_without_labels_gives_zero_and_a_gradient():
    """A batch of unlabelled frames neither breaks training nor changes weights."""
    logits = torch.randn(4, 3, requires_grad=True)
    loss = FocalLoss()(logits, torch.full((4,), -1))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
