"""Choose the device that the network runs on, and say aloud why."""

from __future__ import annotations

import logging
import shutil

import torch
from torch.nn import functional

from mpar.errors import ConfigError

log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda", "mps")


def select_device(name: str = "auto") -> torch.device:
    """Choose a device that works, and log which one it is and why no GPU is used.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "mps"}
        "auto" takes the first of cuda, mps and cpu that can compute.

    Returns
    -------
    torch.device
        A small computation has been done on it.

    Raises
    ------
    ConfigError
        The named device does not work here.
    """
    if name not in DEVICES:
        raise ConfigError(f"device: found {name!r}, expected one of {', '.join(DEVICES)}")
    for candidate in ("cuda", "mps", "cpu") if name == "auto" else (name,):
        trouble = _find_trouble(candidate)
        if not trouble:
            log.info("computing on %s", _describe(candidate))
            return torch.device(candidate)
        if name != "auto":
            raise ConfigError(f"device: {candidate} cannot be used: {trouble}; pass --device auto")
        if _seems_present(candidate):
            log.warning("a %s GPU seems present but cannot be used: %s", candidate, trouble)
    raise AssertionError("the CPU always works")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Tell whether a CPU multiplies bfloat16 natively; others emulate it, slower than float32."""
    # an older torch cannot tell, and so trains in float32
    find = getattr(torch.cpu, "get_capabilities", None)
    capabilities = find() if find is not None and device.type == "cpu" else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch found too little memory, on a GPU or for the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "enough memory" in str(error).replace(
        "can't allocate", "not enough"
    )


def _find_trouble(name: str) -> str:
    """Return why a device does not work, or an empty text."""
    if name == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None and torch.version.hip is None:
            return f"this build of torch ({torch.__version__}) has no GPU support, install one"
        return "torch finds no usable GPU, check its driver"
    if name == "cpu":
        return ""
    if name == "mps" and not torch.backends.mps.is_available():
        return "torch finds no Metal GPU"
    try:
        # what the network is made of: builds of torch for mps lack some of it
        x = torch.ones(1, 1, 4, 4, 4, device=name, requires_grad=True)
        y = functional.conv3d(x, x[..., 1:, 1:, 1:], padding=1)
        functional.max_pool3d(y, (1, 2, 2)).sum().backward()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        return str(error).splitlines()[0]
    return ""


def _seems_present(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_available() or shutil.which("nvidia-smi") is not None
    return torch.backends.mps.is_available()


def _describe(name: str) -> str:
    if name == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({torch.get_num_threads()} threads)" if name == "cpu" else name
