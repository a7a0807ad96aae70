"""How fast a device multiplies matrices, to say which part of that a network reaches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

SIDE, GPU_SIDE, REPEATS = 2048, 8192, 5


def synchronize(device: torch.device) -> None:
    """Wait until a device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(action: Callable[[], object], device: torch.device, repeats: int = REPEATS) -> float:
    """Return the median time of an action after one that does not count."""
    action()
    times = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        action()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def matrix_rate(device: torch.device, dtype: torch.dtype, *, allows_tf32: bool = False) -> float:
    """Return the floating point operations a second of a large product of matrices."""
    side = GPU_SIDE if device.type == "cuda" else SIDE
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allows_tf32 else "highest")
    try:
        return 2 * side**3 / seconds_of(lambda: a @ b, device)
    finally:
        torch.set_float32_matmul_precision(before)


def count_operations(action: Callable[[], object]) -> int:
    """Return the floating point operations of the convolutions and products in an action."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()
