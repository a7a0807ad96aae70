"""Class weights and the focal loss, against hand-worked values and torch's own."""

import numpy as np
import pytest
import torch

from mpar.learning.losses import FocalLoss, class_weights


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
    assert FocalLoss(weight, 0.0)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_focal_value_by_hand():
    """One frame with p = 0.5: (1 - 0.5)^2 * log 2."""
    loss = FocalLoss(gamma=2.0)(torch.zeros(1, 2), torch.tensor([1]))
    assert loss.item() == pytest.approx(0.25 * np.log(2), rel=1e-6)


def test_batch_without_labels_gives_zero_and_a_gradient():
    """A batch of unlabelled frames neither breaks training nor changes weights."""
    logits = torch.randn(4, 3, requires_grad=True)
    loss = FocalLoss()(logits, torch.full((4,), -1))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def reference_gradient(logits, labels, gamma, weight):
    """Return d loss / d logits in float64, from the formula of the derivative."""
    logits = logits.double()
    log_p = torch.log_softmax(logits, dim=1)
    p = log_p.exp()
    onehot = torch.eye(logits.shape[1], dtype=torch.float64)[labels]
    log_true = (log_p * onehot).sum(dim=1, keepdim=True)
    rest = -torch.expm1(log_true)
    # d/dx of -(1 - e^x)^gamma x; where nothing is left of 1 - p the limit is 0 (gamma > 0)
    slope = -(rest**gamma)
    known = rest > 0
    safe = torch.where(known, rest, 1.0)
    slope = slope + torch.where(
        known, gamma * safe ** (gamma - 1) * log_true.exp() * log_true, torch.zeros(())
    )
    weights = weight.double()[labels][:, None]
    return weights * slope * (onehot - p) / weights.sum()


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.3, 0.5, 0.99, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_focal_gradient_is_that_of_the_formula(gamma, dtype, is_weighted):
    """Also where a class is certain, rightly or wrongly, and under autocast."""
    torch.manual_seed(0)
    weight = torch.tensor([0.5, 0.0, 3.0]) if is_weighted else torch.ones(3)
    sure = torch.eye(3)[torch.arange(24) % 3]
    logits = torch.cat([torch.randn(24, 3), 15 * sure, 1e4 * sure, -1e4 * sure, 2e4 * sure - 1e4])
    logits = logits.to(dtype).requires_grad_()
    labels = torch.randint(0, 3, (len(logits),))
    is_half = dtype != torch.float32
    with torch.autocast("cpu", dtype=dtype if is_half else torch.bfloat16, enabled=is_half):
        loss = FocalLoss(alpha=weight if is_weighted else None, gamma=gamma)(logits, labels)
    loss.backward()
    assert torch.isfinite(loss)
    expected = reference_gradient(logits.detach(), labels, gamma, weight)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]
    torch.testing.assert_close(logits.grad.double(), expected, rtol=tolerance, atol=2e-6)


@pytest.mark.parametrize("gamma", [1e-6, 0.5, 1.0])
def test_a_certain_frame_has_no_gradient(gamma):
    """At p = 1 the loss is 0 and so is its slope, whatever gamma."""
    logits = torch.tensor([[300.0, 0.0], [0.0, 0.0]], requires_grad=True)
    FocalLoss(gamma=gamma)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad[0].tolist() == [0, 0]
    assert torch.isfinite(logits.grad).all()


def test_the_original_call_of_the_focal_loss():
    """Class weights are alpha and come first, gamma second; a swapped number is refused."""
    weights = torch.tensor([0.25, 2.0])
    logits, labels = torch.randn(9, 2), torch.randint(0, 2, (9,))
    named = FocalLoss(alpha=weights, gamma=2.0)(logits, labels)
    assert named == FocalLoss(weights, 2.0)(logits, labels) != FocalLoss()(logits, labels)
    with pytest.raises(ValueError, match=r"alpha: found 2\.0, expected a weight for each class"):
        FocalLoss(2.0)
    with pytest.raises(ValueError, match="gamma: found -1, expected 0 or more"):
        FocalLoss(gamma=-1)
