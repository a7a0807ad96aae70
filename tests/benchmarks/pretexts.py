"""Tasks that need no labels, for `tests.benchmarks.unlabelled`: pace, two views, masked windows.

Each is a module with layers of its own on the features of a network. Its loss is that of windows,
rows of (recording, first labelled position) as for `mpar.cache.clips.ClipSampler.gather`.

Shapes: B windows, F frames of a window, D features, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mpar.learning.augment import augment
from mpar.learning.learner import Learner

NUM_HIDDEN, LATER_STEPS = 256, 15
HIDDEN_FRAMES, HIDDEN_PICTURE, PATCHES = 0.33, 0.25, 4


def gather(learner: Learner, samples: np.ndarray) -> torch.Tensor:
    """Return windows as they are, (B, 1, F, H, W) float."""
    return learner.sampler.gather(samples)[0].float().mul_(1 / 255)


def lay_out_channels(windows: torch.Tensor) -> torch.Tensor:
    """Return windows laid out in memory as the network computes fastest."""
    return windows.contiguous(memory_format=torch.channels_last_3d)


def descend(learner: Learner, loss: torch.Tensor, rate: float) -> None:
    """Take a step down a loss."""
    learner.net.zero_grad(set_to_none=True)
    loss.backward()
    with_gradients = [p for p in learner.net.parameters() if p.grad is not None]
    nn.utils.clip_grad_norm_(with_gradients, learner.config.grad_clip)
    for optimizer in learner.optimizers:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()


def find_features(learner: Learner, windows: torch.Tensor) -> torch.Tensor:
    """Return the features before the last layers, averaged over the picture, (B, D, F')."""
    net = learner.net
    x = functional.max_pool3d(net.blocks[0](net._prepare(lay_out_channels(windows))), (2, 1, 1))
    for block in net.blocks[1:]:
        x = block(x)
    return x.mean(dim=(3, 4))


def num_features(learner: Learner) -> int:
    """Return the number of features before the last layers."""
    layer = learner.net.head[1]
    assert isinstance(layer, nn.Linear)
    return layer.in_features


def change(learner: Learner, windows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the windows as training would change them."""
    labels = torch.zeros(len(windows), learner.config.window, dtype=torch.long)
    mirror_indices = learner.store.class_map.mirror_indices
    return augment(windows, labels, mirror_indices, generator)[0]


class Pace(nn.Module):
    """Tell whether a window plays at half, single or double pace, or backwards.

    Source: Benaim et al. 2020, "SpeedNet: Learning the Speediness in Videos".
    """

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner
        self.head = nn.Linear(num_features(learner), 4)

    def forward(self, samples: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of windows."""
        windows = change(self.learner, gather(self.learner, samples), generator)
        num_frames = windows.shape[2]
        num_shown = num_frames // 2 + 1
        shown = torch.arange(num_shown)
        once = shown + num_shown // 2
        places = torch.stack([shown // 2 + num_shown // 2, once, 2 * shown, once.flip(0)])
        kinds = torch.randint(4, (len(windows),), generator=generator)
        chosen = places.clamp(0, num_frames - 1)[kinds]
        windows = windows[torch.arange(len(windows))[:, None], 0, chosen].unsqueeze(1)
        found = find_features(self.learner, windows).mean(dim=2)
        return functional.cross_entropy(self.head(found), kinds)


class Views(nn.Module):
    """Make two changed views of a window alike, and features varied and uncorrelated.

    Source: Bardes et al. 2022, "VICReg: Variance-Invariance-Covariance Regularization for
    Self-Supervised Learning", eq. 1-6. Three places of each window count as samples, since a batch
    is small.
    """

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner
        self.head = nn.Sequential(
            nn.Linear(num_features(learner), NUM_HIDDEN),
            nn.BatchNorm1d(NUM_HIDDEN),
            nn.ReLU(),
            nn.Linear(NUM_HIDDEN, NUM_HIDDEN),
        )

    def forward(self, samples: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of windows."""
        windows = gather(self.learner, samples)
        views = [change(self.learner, windows, generator) for _ in range(2)]
        found = [find_features(self.learner, view) for view in views]
        thirds = [0, found[0].shape[2] // 2, -1]
        one, other = (self.head(x[:, :, thirds].transpose(1, 2).flatten(0, 1)) for x in found)
        loss = 25 * functional.mse_loss(one, other)
        for z in (one, other):
            loss = loss + 25 * functional.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()
            centred = z - z.mean(dim=0)
            covariance = centred.T @ centred / (len(z) - 1)
            apart = covariance - torch.diag(torch.diag(covariance))
            loss = loss + apart.square().sum() / z.shape[1]
        return loss


class Masked(nn.Module):
    """Tell the movement in the middle of a masked window, and half a second later.

    `movement` holds the features of the movement model, (T, D), by recording. A third of the frames
    and a quarter of the picture are hidden. Source: Wei et al. 2022, "Masked
    Feature Prediction for Self-Supervised Visual Pre-Training", with the features of the movement
    model instead of gradients.
    """

    def __init__(self, learner: Learner, movement: Mapping[int, np.ndarray]) -> None:
        super().__init__()
        self.learner = learner
        together = np.concatenate([*movement.values()])
        mean, spread = together.mean(axis=0), together.std(axis=0) + 1e-6
        self.truth = {i: (features - mean) / spread for i, features in movement.items()}
        self.head = nn.Linear(num_features(learner), 2 * together.shape[1])

    def forward(self, samples: np.ndarray, generator: torch.Generator) -> torch.Tensor:
        """Return the loss of windows."""
        targets = []
        for recording, first in samples.tolist():
            truth, middle = self.truth[recording], first + self.learner.config.window // 2
            places = np.clip([middle, middle + LATER_STEPS], 0, len(truth) - 1)
            targets.append(truth[places].flatten())
        x = change(self.learner, gather(self.learner, samples), generator)
        hides_frame = torch.rand(len(x), 1, x.shape[2], 1, 1, generator=generator) < HIDDEN_FRAMES
        hides_part = torch.rand(len(x), 1, PATCHES, PATCHES, generator=generator) < HIDDEN_PICTURE
        hides_part = functional.interpolate(hides_part.float(), size=x.shape[-2:]).bool()
        is_hidden = hides_frame | hides_part.unsqueeze(2)
        x = torch.where(is_hidden, x.mean(dim=(2, 3, 4), keepdim=True), x)
        found = self.head(find_features(self.learner, x).mean(dim=2))
        return functional.smooth_l1_loss(found, torch.tensor(np.stack(targets)).float())
