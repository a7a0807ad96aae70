"""Optimizers: every weight is trained once, Muon's steps are orthogonal, and it learns."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mpar.learning.optimizers import Muon, make_optimizers, orthogonalize
from mpar.network.config import MODEL_TYPES, ModelConfig
from mpar.network.model import ClipNet


@pytest.mark.parametrize(("name", "num_optimizers"), [("adam", 1), ("muon", 2)])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_parameter_has_one_optimizer(model_type, name, num_optimizers):
    """None is left out and none is stepped twice."""
    net = ClipNet(ModelConfig(model_type=model_type))
    optimizers = make_optimizers(net, name=name, learning_rate=0.1, weight_decay=0.01)
    assert len(optimizers) == num_optimizers
    owned = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(map(id, net.parameters()))
    groups = [group for o in optimizers for group in o.param_groups]
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(0.1, 0.01)}


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_muon_takes_the_convolutions(model_type):
    """Kernels go to Muon, norms and fully connected layers to Adam."""
    net = ClipNet(ModelConfig(model_type=model_type))
    muon, adam = make_optimizers(net, name="muon", learning_rate=0.1, weight_decay=0)
    assert {p.ndim for p in muon.param_groups[0]["params"]} == {5}
    assert {p.ndim for p in adam.param_groups[0]["params"]} == {1, 2}


@pytest.mark.parametrize("shape", [(8, 50), (50, 8), (16, 16)])
def test_singular_values_come_near_one(shape):
    """Whatever their spread was, the directions stay: compared with the exact decomposition."""
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.logspace(0, -1, min(shape))
    result = orthogonalize(3 * left @ torch.diag(values) @ right)
    found = (left.T @ result @ right.T).diagonal()
    assert 0.6 < found.min() < found.max() < 1.3
    torch.testing.assert_close(left @ torch.diag(found) @ right, result, atol=1e-4, rtol=0)


def test_nothing_in_nothing_out():
    """A gradient of zeros makes no step, and no NaN."""
    assert torch.equal(orthogonalize(torch.zeros(4, 6)), torch.zeros(4, 6))


def test_first_step_by_hand():
    """One gradient of rank one: its direction, as long as a step of Adam."""
    weight = nn.Parameter(torch.zeros(2, 1, 1, 2, 4))
    weight.grad = torch.ones_like(weight)
    Muon([weight], lr=0.5).step()
    # a matrix of ones (2, 8) has one singular value, 4, and becomes s times 1/4 everywhere
    size = weight.detach().neg() / (0.5 * 0.2 * 8**0.5 / 4)
    assert torch.all(size == size.flatten()[0])
    assert 0.6 < size.flatten()[0] < 1.3


def test_weight_decay_shrinks_the_weights():
    """Without a gradient to follow only the decay moves them."""
    weight = nn.Parameter(torch.ones(2, 3))
    weight.grad = torch.zeros_like(weight)
    Muon([weight], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 3), 0.95))


def test_muon_follows_weak_directions_as_fast_as_strong_ones():
    """Least squares whose inputs differ in size a hundredfold: after few steps it is nearer."""
    torch.manual_seed(0)
    inputs = torch.randn(256, 8) * torch.logspace(0, -2, 8)
    target = torch.randn(8, 8)

    def error_after(make):
        weight = nn.Parameter(torch.zeros(8, 8))
        optimizer = make([weight])
        for _ in range(200):
            optimizer.zero_grad()
            functional.mse_loss(inputs @ weight.T, inputs @ target.T).backward()
            optimizer.step()
        return float((weight - target).detach().norm() / target.norm())

    muon = error_after(lambda params: Muon(params, lr=0.1))
    sgd = error_after(lambda params: torch.optim.SGD(params, lr=1, momentum=0.9))
    assert muon < 0.5 * sgd


def test_channels_last_weights_step_alike():
    """The memory layout of a kernel changes nothing but rounding."""
    torch.manual_seed(0)
    plain = nn.Parameter(torch.randn(6, 4, 3, 3, 3))
    last = nn.Parameter(plain.detach().clone(memory_format=torch.channels_last_3d))
    plain.grad = torch.randn_like(plain)
    last.grad = plain.grad.clone(memory_format=torch.channels_last_3d)
    for weight in (plain, last):
        Muon([weight], lr=0.1).step()
    torch.testing.assert_close(plain, last)


@pytest.mark.parametrize("shape", [(8, 60), (60, 8), (24, 24)])
@pytest.mark.parametrize("smallest", [1e-1, 1e-6, 0.0])
def test_iterating_on_the_gram_matrix_changes_nothing(shape, smallest):
    """The plain form of the iteration, on the matrix itself, gives the same steps."""
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(1, smallest, min(shape))
    matrix = left @ torch.diag(values) @ right
    x = matrix / matrix.norm()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    torch.testing.assert_close(orthogonalize(matrix), x, atol=1e-4, rtol=0)
