"""The network: a 3D CNN that classifies the middle frame of a clip.

Temporal convolutions have no padding, so each output depends only on the frames of its clip.
`ClipNet.dense` can therefore evaluate a long stretch at once instead of clip by clip, with the same
outputs. In the networks standard and light, the only temporal pooling, by 2, follows the first
block. Clips that begin at even and at odd frames pool different pairs, so `dense` computes both
phases side by side. The network fast, for CPUs, does not pool time.

Shapes: B batch, L clip length, F frames, N = F - L + 1 outputs, C channels, T time inside the
network, H height, W width, S = H W, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from mpar.network.config import BLOCKS, MIN_SIDE_PX, ModelConfig

_HIDDEN = 512


def centre(frames: torch.Tensor) -> torch.Tensor:
    """Subtract the mean of each frame, (..., H, W)."""
    return frames - frames.mean(dim=(-2, -1), keepdim=True)


class _Block(nn.Module):
    """Convolution, batch norm, pooling, ReLU; pooling first gives the same result faster."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel_t: int,
        pools_space: bool,
        side: int = 3,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            c_in,
            c_out,
            (kernel_t, side, side),
            stride=(1, stride, stride),
            padding=(0, side // 2, side // 2),
            bias=False,
        )
        self.norm = nn.BatchNorm3d(c_out)
        self.pools_space = pools_space

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        x_BCTHW = self.norm(self.conv(x_BCTHW))
        if self.pools_space:
            x_BCTHW = _pool(x_BCTHW, (1, 2, 2))
        return functional.relu(x_BCTHW, inplace=True)


class _SeparableBlock(nn.Module):
    """Convolution in space, pooling, taps in time for each channel alone, batch norm, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel_t: int, pools_space: bool) -> None:
        super().__init__()
        self.conv = nn.Conv3d(c_in, c_out, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.taps = (
            nn.Conv3d(c_out, c_out, (kernel_t, 1, 1), groups=c_out, bias=False)
            if kernel_t > 1
            else None
        )
        self.norm = nn.BatchNorm3d(c_out)
        self.pools_space = pools_space

    def forward(self, x_BCTHW: torch.Tensor) -> torch.Tensor:
        x_BCTHW = self.conv(x_BCTHW)
        if self.pools_space:
            x_BCTHW = _pool(x_BCTHW, (1, 2, 2))
        if self.taps is not None:
            x_BCTHW = filter_time(x_BCTHW, self.taps.weight)
        return functional.relu(self.norm(x_BCTHW), inplace=True)


def filter_time(
    x_BCTHW: torch.Tensor, taps_C1T11: torch.Tensor, bias_C: torch.Tensor | None = None
) -> torch.Tensor:
    """Convolve each channel alone in time, without padding.

    As a 2D convolution over T and S this takes a seventh of the time of torch's 3D one on a CPU.
    """
    size = x_BCTHW.shape[3:]
    x_BTSC = x_BCTHW.permute(0, 2, 3, 4, 1).flatten(2, 3)  # a view if channels come last
    taps_C1T1 = taps_C1T11[..., 0]
    x_BCTS = functional.conv2d(x_BTSC.permute(0, 3, 1, 2), taps_C1T1, bias_C, groups=len(taps_C1T1))
    return x_BCTS.unflatten(3, size)


def _pool(x_BCTHW: torch.Tensor, kernel: tuple[int, int, int]) -> torch.Tensor:
    """Take the maximum over blocks of T, H and W, in the type of the input.

    On a CPU, autocast would copy the input to float32, though a maximum is exact in any type.
    """
    if x_BCTHW.device.type != "cpu":
        return functional.max_pool3d(x_BCTHW, kernel)
    with torch.autocast("cpu", enabled=False):
        return functional.max_pool3d(x_BCTHW, kernel)


class _PairMax(torch.autograd.Function):
    """Maximum of each pair of neighbouring frames: those from even frames on, then from odd ones.

    Four times as fast as torch's own backward passes of maximum, slices and concatenation, which
    fill and copy whole tensors. If both frames are equal, the first gets the gradient.
    """

    @staticmethod
    def forward(ctx: Any, x_BCTHW: torch.Tensor) -> torch.Tensor:
        first, second = x_BCTHW[:, :, :-1], x_BCTHW[:, :, 1:]
        ctx.save_for_backward(second > first)
        y = torch.maximum(first, second)
        return torch.cat([y[:, :, 0::2], y[:, :, 1::2]])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (is_second,) = ctx.saved_tensors
        even, odd = gradient.chunk(2)
        shared = torch.empty_like(is_second, dtype=gradient.dtype)
        shared[:, :, 0::2], shared[:, :, 1::2] = even, odd
        of_second = shared * is_second
        batch_size, channels, num_pairs, height, width = shared.shape
        total = torch.empty(
            (batch_size, channels, num_pairs + 1, height, width),
            dtype=gradient.dtype,
            device=gradient.device,
            memory_format=torch.channels_last_3d,
        )
        total[:, :, :-1] = shared - of_second
        total[:, :, -1] = 0
        total[:, :, 1:] += of_second
        return total


class ClipNet(nn.Module):
    """A 3D CNN over clips of grey frames.

    Parameters
    ----------
    config : ModelConfig
        Its architecture.

    Attributes
    ----------
    output_frames : int
        Number of temporal positions that remain of a clip; the network averages them.
    pools_time : bool
        The first block is followed by temporal pooling, so that `dense` needs two phases.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.pools_time = config.model_type != "fast"
        blocks: list[_Block | _SeparableBlock] = []
        c_in, num_left = 1, config.clip_length
        for channels, kernel_t, pools_space in BLOCKS[config.model_type]:
            if num_left < kernel_t:  # short clips: too few frames are left for this kernel
                kernel_t = 1
            if self.pools_time:
                blocks.append(_Block(c_in, channels, kernel_t, pools_space))
            elif not blocks:
                blocks.append(_Block(c_in, channels, kernel_t, pools_space, side=5, stride=2))
            else:
                blocks.append(_SeparableBlock(c_in, channels, kernel_t, pools_space))
            num_left -= kernel_t - 1
            if len(blocks) == 1 and self.pools_time:
                num_left //= 2
            c_in = channels
        self.blocks = nn.ModuleList(blocks)
        if config.centre_frames:
            _split_motion_from_edges(blocks[0].conv.weight)
        self.output_frames = num_left
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(c_in, _HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(_HIDDEN, config.num_classes),
        )

    def forward(self, clips_B1LHW: torch.Tensor) -> torch.Tensor:
        """Classify the middle frame of each clip.

        Parameters
        ----------
        clips_B1LHW : (B, 1, L, H, W) float tensor
            Grey levels in 0-1, H and W at least 16.

        Returns
        -------
        (B, K) float tensor
            Logits.

        Raises
        ------
        ValueError
            The shape is another.
        """
        self._check(clips_B1LHW, exact=True)
        clips_B1LHW = self._prepare(clips_B1LHW)
        x_BCTHW = self.blocks[0](clips_B1LHW)
        if self.pools_time:
            x_BCTHW = _pool(x_BCTHW, (2, 1, 1))
        for block in self.blocks[1:]:
            x_BCTHW = block(x_BCTHW)
        return self.head(x_BCTHW.float().mean(dim=(2, 3, 4)))

    def dense(self, frames_B1FHW: torch.Tensor) -> torch.Tensor:
        """Classify every frame that has a whole clip around it.

        Parameters
        ----------
        frames_B1FHW : (B, 1, F, H, W) float tensor
            Grey levels in 0-1, F at least L.

        Returns
        -------
        (B, N, K) float tensor
            Logits; output i equals `forward` of frames i to i + L - 1 (in evaluation mode).

        Raises
        ------
        ValueError
            The shape is another.
        """
        self._check(frames_B1FHW, exact=False)
        batch_size, _, num_frames = frames_B1FHW.shape[:3]
        num_outputs = num_frames - self.config.clip_length + 1
        if self.pools_time and num_outputs % 2:  # both phases need the same length
            frames_B1FHW = torch.cat([frames_B1FHW, frames_B1FHW[:, :, -1:]], dim=2)
        x_BCTHW = self.blocks[0](self._prepare(frames_B1FHW))
        if self.pools_time:
            x_BCTHW = _PairMax.apply(x_BCTHW)  # 2B: even, then odd
        for block in self.blocks[1:]:
            x_BCTHW = block(x_BCTHW)
        x_BCT = x_BCTHW.float().mean(dim=(3, 4))
        x_BCN = functional.avg_pool1d(x_BCT, self.output_frames, stride=1)
        if not self.pools_time:
            return self.head(x_BCN.transpose(1, 2))
        even, odd = x_BCN.split(batch_size)
        x_BNC = torch.stack([even, odd], dim=-1).flatten(2).transpose(1, 2)[:, :num_outputs]
        return self.head(x_BNC)

    def _prepare(self, frames: torch.Tensor) -> torch.Tensor:
        return centre(frames) if self.config.centre_frames else frames

    def _check(self, frames: torch.Tensor, *, exact: bool) -> None:
        length, shape = self.config.clip_length, tuple(frames.shape)
        if (
            len(shape) != 5
            or shape[1] != 1
            or not (shape[2] == length if exact else shape[2] >= length)
            or min(shape[3:]) < MIN_SIDE_PX
        ):
            raise ValueError(
                f"found frames of shape {shape}, expected (B, 1, "
                f"{'' if exact else 'at least '}{length}, H, W) with H and W at least {MIN_SIDE_PX}"
            )

    def num_parameters(self) -> int:
        """Return the number of learnt parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


@torch.no_grad()
def _split_motion_from_edges(kernels_C1THW: torch.Tensor) -> None:
    """Let half of the first kernels ignore still pictures, the other half uniform grey."""
    middle = len(kernels_C1THW) // 2
    motion, edges = kernels_C1THW[:middle], kernels_C1THW[middle:]
    motion -= motion.mean(dim=2, keepdim=True)
    edges -= edges.mean(dim=(2, 3, 4), keepdim=True)
