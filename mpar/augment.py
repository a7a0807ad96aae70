"""Augment batches on the device: each clip as a whole, never frame by frame.

Every function takes (B, 1, F, H, W) float windows in 0-1 and a CPU generator, and returns new
windows of the same shape. A mouse filmed from below has no preferred direction, and labs differ
in light: hence flips, quarter turns, and changes of brightness and contrast.
"""

from __future__ import annotations

import torch


def flip(windows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of the windows left to right, and half top to bottom."""
    for dim in (-1, -2):
        windows = torch.where(_coin(windows, generator), windows.flip(dim), windows)
    return windows


def transpose(windows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Swap height and width of half of the windows; with `flip` this gives all quarter turns.

    Windows that are not square stay as they are.
    """
    if windows.shape[-1] != windows.shape[-2]:
        return windows
    return torch.where(_coin(windows, generator), windows.transpose(-1, -2), windows)


def relight(windows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Change contrast by a factor of 0.7-1.3 and brightness by up to 0.15, clipped to 0-1."""
    shape = (len(windows), 1, 1, 1, 1)
    contrast = 0.7 + 0.6 * torch.rand(shape, generator=generator)
    brightness = 0.3 * torch.rand(shape, generator=generator) - 0.15
    contrast, brightness = contrast.to(windows.device), brightness.to(windows.device)
    mean = windows.mean(dim=(1, 2, 3, 4), keepdim=True)
    return ((windows - mean) * contrast + mean + brightness).clamp_(0, 1)


def augment(windows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Apply all augmentations in turn."""
    for step in (flip, transpose, relight):
        windows = step(windows, generator)
    return windows


def _coin(windows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Toss a coin for each window, (B, 1, 1, 1, 1) bool."""
    heads = torch.rand(len(windows), generator=generator) < 0.5
    return heads.view(-1, 1, 1, 1, 1).to(windows.device)
