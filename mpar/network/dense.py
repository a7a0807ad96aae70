"""Dense evaluation: classify every frame of a recording in one pass, with bounded memory.

The outputs equal those of `ClipNet` clip by clip, except for rounding (below 1e-5), at a fraction
of the cost, because neighbouring clips share nearly all of their work.

Shapes as in `mpar.network.model`, P = 2 phases.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mpar.network.config import MIN_SIDE_PX
from mpar.network.devices import check_precision
from mpar.network.model import ClipNet, _Block, _SeparableBlock, centre, filter_time

# sizes that keep the activations in the caches of the processor, found by trial on CPUs
_FIRST_LAYER_PX = 1 << 15
_STRETCH_PX = 1 << 20
_MIN_STRETCH, _MAX_STRETCH = 16, 64
# a GPU wants large pieces; not tried, but of about 1 GB at most
_GPU_STRETCH_PX, _GPU_MAX_STRETCH = 1 << 23, 512
_MAX_WORKERS = 8  # each holds the activations of a stretch
_GPU_WORKERS = 2  # one prepares a stretch while the device computes that of the other
_FLAGS = threading.Lock()  # the flags of cudnn belong to all threads
_FIRST_OUTPUTS = 1 << 16  # frames, half an hour; takes no memory until it is written


class DensePredictor:
    """Class probabilities for every frame of a recording.

    Parameters
    ----------
    net : ClipNet
        A trained network; later changes to it have no effect.
    precision : str
        As for `FoldedNet`.

    Notes
    -----
    Evaluates stretches of a recording in parallel while the next ones are decoded. On a CPU, each
    stretch gets one thread (an eighth of all threads if there are more than 8). Threads that
    shared one stretch would idle, and would compete with decoding. Safe to call from several
    threads.
    """

    def __init__(self, net: ClipNet, precision: str = "fp32") -> None:
        self._net = FoldedNet(net, precision)
        self._clip_length = net.config.clip_length
        self._num_classes = net.config.num_classes
        is_cpu = self._net.device.type == "cpu"
        num_threads = torch.get_num_threads()
        self._num_workers = min(num_threads, _MAX_WORKERS) if is_cpu else _GPU_WORKERS
        self._limits = (
            (_STRETCH_PX, _MAX_STRETCH) if is_cpu else (_GPU_STRETCH_PX, _GPU_MAX_STRETCH)
        )
        self._threads_each = num_threads // self._num_workers if is_cpu else num_threads
        self._pool = ThreadPoolExecutor(self._num_workers, "dense")

    def predict(
        self,
        frames: Iterable[np.ndarray],
        on_frames: Callable[[int], object] = lambda num_frames: None,
    ) -> np.ndarray:
        """Predict every frame of a recording.

        Parameters
        ----------
        frames : iterable of (H, W) uint8 arrays
            All frames of the recording, in order, of one size.
        on_frames : callable
            Called with the number of frames predicted since the last call; may raise to stop.

        Returns
        -------
        (T, K) float32 array
            Softmax probabilities, one row per frame. Beyond the ends of the recording, the first
            or last frame repeats.

        Raises
        ------
        ValueError
            Frames differ in size, are too small or are not (H, W) uint8.
        """
        # one large array: many small outputs would fragment the memory between the large
        # activations, and an hour of video would take gigabytes
        outputs = np.empty((_FIRST_OUTPUTS, self._num_classes), np.float32)
        num_outputs = 0
        pending: deque[Future[np.ndarray]] = deque()

        def collect() -> None:
            nonlocal outputs, num_outputs
            found = pending.popleft().result()
            if num_outputs + len(found) > len(outputs):
                outputs = np.concatenate([outputs, np.empty_like(outputs)])
            outputs[num_outputs : num_outputs + len(found)] = found
            num_outputs += len(found)
            on_frames(len(found))

        try:
            for stretch in _cut_stretches(frames, self._clip_length, *self._limits):
                pending.append(self._pool.submit(self._evaluate, stretch))
                if len(pending) > self._num_workers:
                    collect()
            while pending:
                collect()
        finally:
            for future in pending:
                future.cancel()
        return outputs[:num_outputs].copy()

    def _evaluate(self, stretch: np.ndarray) -> np.ndarray:
        if torch.get_num_threads() != self._threads_each:
            torch.set_num_threads(self._threads_each)  # applies to this thread of the pool
        logits = self._net(torch.from_numpy(stretch))
        return torch.softmax(logits.float(), dim=1).cpu().numpy()


def _cut_stretches(
    frames: Iterable[np.ndarray], length: int, stretch_px: int, max_labels: int
) -> Iterator[np.ndarray]:
    """Yield (F, H, W) stretches whose clips of `length` are those of all frames, in order."""
    buffer, filled = np.empty((0, 0, 0), np.uint8), 0
    for frame in _with_edges(frames, length):
        if frame.ndim != 2 or min(frame.shape) < MIN_SIDE_PX:
            raise ValueError(
                f"found a frame of shape {frame.shape}, expected (H, W) with H and W at "
                f"least {MIN_SIDE_PX}"
            )
        if not buffer.size:
            num_labels = min(max(stretch_px // frame.size, _MIN_STRETCH), max_labels)
            buffer = np.empty((num_labels + length - 1, *frame.shape), np.uint8)
        if frame.shape != buffer.shape[1:] or frame.dtype != np.uint8:
            raise ValueError(
                f"found a frame of shape {frame.shape} and type {frame.dtype}, expected "
                f"{buffer.shape[1:]} and uint8 like the first"
            )
        buffer[filled] = frame
        filled += 1
        if filled == len(buffer):
            yield buffer
            tail, buffer = buffer[1 - length :], np.empty_like(buffer)
            buffer[: length - 1] = tail
            filled = length - 1
    if filled >= length:
        yield buffer[:filled]


def _with_edges(frames: Iterable[np.ndarray], length: int) -> Iterator[np.ndarray]:
    """Yield all frames, with the first and last repeated so that every frame has a whole clip."""
    num_frames = 0
    for frame in frames:
        if not num_frames:
            yield from [frame] * (length // 2)
        yield frame
        num_frames += 1
    if num_frames:
        yield from [frame] * (length - length // 2 - 1)


class FoldedNet:
    """A trained network prepared for fast dense evaluation of one stretch at a time.

    Folds batch norm into the convolutions, stores data channels-last, and computes convolutions
    over a single frame in 2D, and those in time over (time, place). The first convolution takes its
    three frames as channels.

    Parameters
    ----------
    net : ClipNet
        Not changed; later changes to it have no effect.
    precision : {"fp32", "tf32", "bf16", "fp16"}
        Type of the convolutions (`mpar.network.devices.PRECISIONS`).

    Raises
    ------
    ConfigError
        The device does not compute faster in this precision.
    """

    def __init__(self, net: ClipNet, precision: str = "fp32") -> None:
        self.config = net.config
        self._output_frames, self._pools_time = net.output_frames, net.pools_time
        self._dtype = check_precision(precision, next(net.parameters()).device)
        self._allows_tf32 = precision == "tf32"
        self._head = copy.deepcopy(net.head).eval()
        self.device = next(net.parameters()).device
        self._layers = []
        first = net.blocks[0].conv
        assert isinstance(first, nn.Conv3d)
        self._stride, self._padding = first.stride[-1], first.padding[-1]
        self._taps: list[torch.Tensor | None] = []  # of each layer
        for i, block in enumerate(net.blocks):
            assert isinstance(block, (_Block, _SeparableBlock))
            taps = None
            if isinstance(block, _SeparableBlock) and block.taps is not None:
                taps, bias = _fold(block.taps, block.norm)
                taps, weight = taps.to(self._dtype), block.conv.weight.detach()
            else:
                weight, bias = _fold(block.conv, block.norm)
            self._taps.append(taps)
            if i == 0:
                weight = weight[:, 0]  # (C, kT, 3, 3): frames as channels
            elif weight.shape[2] == 1:
                weight = weight[:, :, 0]
            layout = torch.channels_last if weight.ndim == 4 else torch.channels_last_3d
            weight = weight.to(self._dtype).contiguous(memory_format=layout)
            self._layers.append((weight, bias.to(self._dtype), block.pools_space))

    @torch.inference_mode()
    def __call__(self, frames_FHW: torch.Tensor) -> torch.Tensor:
        """Classify every frame that has a whole clip around it.

        Parameters
        ----------
        frames_FHW : (F, H, W) uint8 tensor
            F at least L.

        Returns
        -------
        (N, K) float32 tensor
            Logits on the network's device; equal to clip-by-clip evaluation except for rounding.

        Raises
        ------
        ValueError
            The frames have another shape or type.
        """
        shape, length = tuple(frames_FHW.shape), self.config.clip_length
        if (
            frames_FHW.dtype != torch.uint8
            or len(shape) != 3
            or shape[0] < length
            or min(shape[1:]) < MIN_SIDE_PX
        ):
            raise ValueError(
                f"found frames of shape {shape} and type {frames_FHW.dtype}, expected (at least "
                f"{length}, H, W) with H and W at least {MIN_SIDE_PX}, and torch.uint8"
            )
        if self.device.type != "cuda":
            return self._classify(frames_FHW)
        # by default, torch lets GPUs round the factors of float32 to 10 bits
        with _FLAGS, torch.backends.cudnn.flags(allow_tf32=self._allows_tf32):
            return self._classify(frames_FHW)

    def _classify(self, frames_FHW: torch.Tensor) -> torch.Tensor:
        num_outputs = len(frames_FHW) - self.config.clip_length + 1
        x_FHW = frames_FHW.to(self.device).float().mul_(1 / 255)
        if self.config.centre_frames:
            x_FHW = centre(x_FHW)
        x_FHW = x_FHW.to(self._dtype)
        if not self._pools_time:
            return self._head(self._run_separable(x_FHW))
        if num_outputs % 2:  # both phases need the same length
            x_FHW = torch.cat([x_FHW, x_FHW[-1:]])
        x_TCHW = self._first_layer(x_FHW)
        x_TCHW = torch.maximum(x_TCHW[:-1], x_TCHW[1:]).relu_()
        layers = self._layers[1:]
        while layers and layers[0][0].ndim == 4:
            weight, bias, pools_space = layers.pop(0)
            x_TCHW = functional.conv2d(x_TCHW, weight, bias, padding=1)
            x_TCHW = (functional.max_pool2d(x_TCHW, 2) if pools_space else x_TCHW).relu_()
        # to (2, C, T/2, H, W), channels last: even and odd phase side by side
        x_PTHWC = x_TCHW.permute(0, 2, 3, 1).unflatten(0, (-1, 2)).transpose(0, 1).contiguous()
        x_PCTHW = x_PTHWC.permute(0, 4, 1, 2, 3)
        for weight, bias, pools_space in layers:
            if weight.ndim == 4:
                weight = weight.unsqueeze(2)
            x_PCTHW = functional.conv3d(x_PCTHW, weight, bias, padding=(0, 1, 1))
            if pools_space:
                x_PCTHW = functional.max_pool3d(x_PCTHW, (1, 2, 2))
            x_PCTHW = x_PCTHW.relu_()
        x_PCT = x_PCTHW.mean(dim=(3, 4), dtype=torch.float32)
        x_PCN = functional.avg_pool1d(x_PCT, self._output_frames, stride=1)
        x_NC = x_PCN.permute(2, 0, 1).flatten(0, 1)[:num_outputs]
        return self._head(x_NC)

    def _run_separable(self, x_FHW: torch.Tensor) -> torch.Tensor:
        """Return the features of every output of a network without temporal pooling, (N, C)."""
        x_TCHW = self._first_layer(x_FHW).relu_()
        for (weight, bias, pools_space), taps in zip(self._layers[1:], self._taps[1:], strict=True):
            x_TCHW = functional.conv2d(
                x_TCHW, weight, None if taps is not None else bias, padding=1
            )
            if pools_space:
                x_TCHW = functional.max_pool2d(x_TCHW, 2)
            if taps is not None:
                x_1CTHW = x_TCHW.transpose(0, 1).unsqueeze(0)
                x_TCHW = filter_time(x_1CTHW, taps, bias)[0].transpose(0, 1)
            x_TCHW = x_TCHW.relu_()
        x_TC = x_TCHW.mean(dim=(2, 3), dtype=torch.float32)
        return functional.avg_pool1d(x_TC.T, self._output_frames, stride=1).T

    def _first_layer(self, x_FHW: torch.Tensor) -> torch.Tensor:
        """Convolve and pool the full-size frames, a few at a time to bound the memory."""
        weight, bias, _ = self._layers[0]
        num_outputs = step = len(x_FHW) - 2
        if self.device.type == "cpu":
            step = max(1, _FIRST_LAYER_PX // x_FHW[0].numel())
        parts = []
        for start in range(0, num_outputs, step):
            x = x_FHW[start : start + step + 2]
            x_THWC = torch.stack([x[:-2], x[1:-1], x[2:]], dim=-1)
            x_TCHW = functional.conv2d(
                x_THWC.permute(0, 3, 1, 2), weight, bias, self._stride, self._padding
            )
            parts.append(functional.max_pool2d(x_TCHW, 2))
        return torch.cat(parts)


@torch.no_grad()
def _fold(conv: nn.Conv3d, norm: nn.BatchNorm3d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weight and bias of one convolution that replaces convolution and batch norm.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", eq. 14.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = conv.weight * scale.view(-1, 1, 1, 1, 1)
    return weight, norm.bias - norm.running_mean * scale
