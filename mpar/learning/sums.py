"""Sums over a team of processes, so that losses, gradients and batch norms are of whole batches.

torch does not offer this: SyncBatchNorm refuses CPUs, and DistributedDataParallel averages the
gradients of the processes, which is not the gradient of the whole batch if their shares differ in
size or weight.

Shapes: B windows, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from mpar.system.team import ALONE, Team


def sum_over(team: Team, tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over the team; the backward pass sums gradients."""
    return tensor if team.size == 1 else _Sum.apply(tensor)


def sum_gradients(team: Team, net: nn.Module) -> None:
    """Replace each gradient by its sum over the team."""
    if team.size == 1:
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


class _Sum(torch.autograd.Function):
    """Sum over the team, forwards and backwards, since every process's loss depends on the sum."""

    @staticmethod
    def forward(_ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class TeamNorm(nn.BatchNorm3d):
    """Batch norm over the batches of all processes; that of torch works only on CUDA.

    Attributes
    ----------
    counts : bool
        True if the batch of this process counts. A process without windows in a step computes a
        batch that does not.
    """

    team: Team = ALONE
    counts = True

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        """Normalize, in training by the statistics of the whole team's batch."""
        if not self.training:
            return super().forward(x_BCTHW)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        x = x_BCTHW.float()
        share, dims, shape = float(self.counts), (0, 2, 3, 4), (1, -1, 1, 1, 1)
        sizes = torch.tensor(share * x.numel() / x.shape[1], device=x.device)
        count = sum_over(self.team, sizes)
        mean = sum_over(self.team, share * x.sum(dim=dims)) / count
        centred = x - mean.view(shape)
        variance = sum_over(self.team, share * centred.square().sum(dim=dims)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            rate = self.momentum or 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, rate)
            self.running_var.lerp_(variance * count / (count - 1), rate)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale.view(shape) + self.bias.view(shape)


def norm_together(net: nn.Module, team: Team) -> None:
    """Replace the batch norms of a network by norms over the whole team's batches."""
    team = Team(team.rank, team.size)  # a copy that can itself be copied with the network
    for module in list(net.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm3d:
                norm = TeamNorm(child.num_features, eps=child.eps, momentum=child.momentum)
                norm.load_state_dict(child.state_dict())
                norm.team = team
                setattr(module, name, norm.to(child.weight.device))


def count_batch(net: nn.Module, *, is_counted: bool) -> None:
    """Set whether the next batch of this process counts."""
    for module in net.modules():
        if isinstance(module, TeamNorm):
            module.counts = is_counted
