"""Augmentations change a clip as a whole, and the same seed gives the same clips."""

import pytest
import torch

from mpar.augment import augment, flip, relight, transpose


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _windows(height=6, width=6):
    return torch.rand(64, 1, 5, height, width, generator=_generator(9))


def test_flips_are_mirror_images_of_whole_clips():
    """Each clip comes out as one of its four mirror images, all frames alike, and all occur."""
    windows = _windows()
    flipped = flip(windows, _generator())
    images = [windows, windows.flip(-1), windows.flip(-2), windows.flip((-1, -2))]
    kinds = [
        next(k for k, image in enumerate(images) if torch.equal(clip, image[i]))
        for i, clip in enumerate(flipped)
    ]
    assert set(kinds) == {0, 1, 2, 3}


def test_transpose_swaps_sides_of_square_clips_only():
    """Half of the square clips are transposed; others cannot be and stay."""
    windows = _windows()
    turned = transpose(windows, _generator())
    is_turned = [torch.equal(t, w.transpose(-1, -2)) for t, w in zip(turned, windows, strict=True)]
    is_kept = [torch.equal(t, w) for t, w in zip(turned, windows, strict=True)]
    assert any(is_turned)
    assert any(is_kept)
    assert all(a != b for a, b in zip(is_turned, is_kept, strict=True))
    oblong = _windows(6, 8)
    assert torch.equal(transpose(oblong, _generator()), oblong)


def test_relight_keeps_the_range_and_the_order_of_frames():
    """Light changes stay in 0-1 and are one affine map a clip, not one a frame."""
    windows = 0.4 + 0.2 * _windows()
    lit = relight(windows, _generator())
    assert lit.min() >= 0
    assert lit.max() <= 1
    for before, after in zip(windows, lit, strict=True):
        x, y = before.flatten(), after.flatten()
        slope = (y[1] - y[0]) / (x[1] - x[0])
        assert torch.allclose(y - y[0], slope * (x - x[0]), atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_seed_decides(seed):
    """Same seed, same batch; another seed, another."""
    windows = _windows()
    first, again = augment(windows, _generator(seed)), augment(windows, _generator(seed))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(windows, _generator(seed + 1)))
    assert torch.equal(windows, _windows()), "the input was changed"
