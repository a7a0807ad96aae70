"""Augment batches on the device: each window as a whole, never frame by frame.

Every function takes (B, 1, F, H, W) float windows in 0-1 and a CPU generator, so that the random
choices are the same on every device, and returns new windows of the same shape in 0-1. A mouse
filmed from below has no preferred direction, unlike one filmed from the side; animals move at
different speeds, and the light differs between labs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from mpar.labels.classes import UNLABELLED

_MAX_PACE = 1.25
_MAX_TILT = math.radians(10)


def augment(
    windows: torch.Tensor,
    labels: torch.Tensor,
    mirror_indices: Sequence[int],
    generator: torch.Generator,
    *,
    view: str = "bottom",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply all augmentations, one after the other.

    Parameters
    ----------
    windows : (B, 1, F, H, W) float tensor in 0-1
    labels : (B, K) int64 tensor
        Class indices, or -1, on the device of `windows`.
    mirror_indices : sequence of int
        The index of each class in a mirrored picture, see `ClassMap.mirror_indices`.
    generator : torch.Generator
        On the CPU; it makes all random choices.
    view : {"bottom", "side"}
        From below or above, any rotation looks natural. From the side, windows are only mirrored
        left to right and tilted by up to 10 degrees.

    Returns
    -------
    (B, 1, F, H, W) float tensor in 0-1, (B, K) int64 tensor
        New windows and their labels.
    """
    is_upright = view == "side"
    windows, is_mirrored = reorient(windows, generator, is_upright=is_upright)
    labels = mirror_labels(labels, is_mirrored, mirror_indices)
    windows, labels = change_pace(windows, labels, generator)
    windows = warp(windows, generator, max_angle=_MAX_TILT if is_upright else math.pi)
    return relight(windows, generator), labels


def reorient(
    windows: torch.Tensor, generator: torch.Generator, *, is_upright: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flip left to right, top to bottom and (square windows only) transpose, each at random.

    This gives all quarter turns and their mirror images without resampling. If `is_upright`, only
    flip left to right.

    Returns
    -------
    (B, 1, F, H, W) tensor, (B,) bool tensor
        New windows, and which of them are mirror images. Each of the three operations mirrors;
        two of them together rotate.
    """
    coins = torch.rand(3, len(windows), generator=generator) < 0.5
    if windows.shape[-1] != windows.shape[-2]:
        coins[2] = False
    if is_upright:
        coins[1:] = False
    coins = coins.to(windows.device, non_blocking=True)
    left_right, top_bottom, transposed = coins.view(3, -1, 1, 1, 1, 1)
    windows = torch.where(left_right, windows.flip(-1), windows)
    windows = torch.where(top_bottom, windows.flip(-2), windows)
    if windows.shape[-1] == windows.shape[-2]:
        windows = torch.where(transposed, windows.transpose(-1, -2), windows)
    return windows, coins[0] ^ coins[1] ^ coins[2]


def mirror_labels(
    labels: torch.Tensor, is_mirrored: torch.Tensor, mirror_indices: Sequence[int]
) -> torch.Tensor:
    """Return the labels (B, K) after mirroring the windows `is_mirrored` (B,); -1 stays."""
    # index -1 (unlabelled) reads the last entry
    table = torch.tensor([*mirror_indices, -1]).to(labels.device, non_blocking=True)
    return torch.where(is_mirrored[:, None], table[labels], labels)


def change_pace(
    windows: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Play each window 0.8 to 1.25 times as fast about its middle; repeats or drops frames.

    Parameters
    ----------
    windows : (B, 1, F, H, W) float tensor
    labels : (B, K) int64 tensor
        On the device of `windows`; they begin L // 2 frames after the start of the window.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    (B, 1, F, H, W) float tensor, (B, K) int64 tensor
        New windows, which repeat their edge frames if the window is too short, and the labels of
        their frames; -1 for frames before the first or after the last label.
    """
    num_frames, num_labels = windows.shape[2], labels.shape[1]
    first, middle = (num_frames - num_labels + 1) // 2, (num_frames - 1) / 2
    limit = math.log(_MAX_PACE)
    pace = (2 * limit * torch.rand(len(windows), 1, generator=generator) - limit).exp()
    places = ((torch.arange(num_frames) - middle) * pace + middle).round().long()
    named = places[:, first : first + num_labels] - first
    is_known = ((named >= 0) & (named < num_labels)).to(labels.device, non_blocking=True)
    named = named.clamp(0, num_labels - 1).to(labels.device, non_blocking=True)
    labels = labels.gather(1, named).where(is_known, UNLABELLED)
    rows = torch.arange(len(windows), device=windows.device)[:, None]
    places = places.clamp(0, num_frames - 1).to(windows.device, non_blocking=True)
    return windows[rows, 0, places].unsqueeze(1), labels


def warp(
    windows: torch.Tensor, generator: torch.Generator, *, max_angle: float = math.pi
) -> torch.Tensor:
    """Rotate by up to `max_angle` (radians), zoom by 0.82-1.22, shift by up to 7.5 % of a side."""
    return resample(
        windows,
        angle=_uniform(-max_angle, max_angle, windows, generator),
        zoom=_uniform(-0.2, 0.2, windows, generator).exp(),
        shift_x=_uniform(-0.075, 0.075, windows, generator),
        shift_y=_uniform(-0.075, 0.075, windows, generator),
    )


def resample(
    windows: torch.Tensor,
    *,
    angle: torch.Tensor,
    zoom: torch.Tensor,
    shift_x: torch.Tensor,
    shift_y: torch.Tensor,
) -> torch.Tensor:
    """Rotate, zoom and shift windows; beyond the edge the edge pixels repeat.

    Parameters
    ----------
    windows : (B, 1, F, H, W) float tensor
    angle, zoom, shift_x, shift_y : tensors of B elements
        Rotation about the centre in radians, magnification, and shift of the view to the right
        and down, as fractions of width and height.

    Returns
    -------
    (B, 1, F, H, W) float tensor
    """
    height, width = windows.shape[-2:]
    cos, sin = (angle.cos() / zoom).flatten(), (angle.sin() / zoom).flatten()
    # the source of each output pixel; grid_sample measures in half sides, hence the factor 2 and
    # the ratios, without which oblong windows would be sheared
    rows = [
        torch.stack([cos, -sin * (height / width), 2 * shift_x.flatten()], dim=-1),
        torch.stack([sin * (width / height), cos, 2 * shift_y.flatten()], dim=-1),
    ]
    frames = windows.squeeze(1)
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(frames.shape), align_corners=False)
    # clamp here, because Metal lacks padding_mode="border" before torch 2.13, and "reflection"
    # would show mirrored paws
    edge = 1 - 1 / torch.tensor([width, height])
    edge = edge.to(grid.device, non_blocking=True)
    grid = torch.minimum(torch.maximum(grid, -edge), edge)
    return functional.grid_sample(frames, grid, align_corners=False).clamp_(0, 1).unsqueeze(1)


def relight(windows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Change contrast by 0.7-1.3, brightness by up to 0.15, and gamma by 0.7-1.4."""
    contrast = _uniform(0.7, 1.3, windows, generator)
    brightness = _uniform(-0.15, 0.15, windows, generator)
    gamma = 0.7 * 2 ** _uniform(0, 1, windows, generator)  # darker as often as brighter
    mean = windows.mean(dim=(1, 2, 3, 4), keepdim=True)
    return ((windows - mean) * contrast + mean + brightness).clamp_(0, 1).pow_(gamma)


def _uniform(
    low: float, high: float, windows: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Draw a number in low-high for each window, (B, 1, 1, 1, 1), on their device."""
    drawn = low + (high - low) * torch.rand(len(windows), 1, 1, 1, 1, generator=generator)
    return drawn.to(windows.device, non_blocking=True)
