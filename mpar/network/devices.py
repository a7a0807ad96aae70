"""Choose the device that the network runs on, and log why."""

from __future__ import annotations

import logging
import shutil

import torch
from torch.nn import functional

from mpar.errors import ConfigError

log = logging.getLogger(__name__)

PRECISIONS = {
    "fp32": torch.float32,
    "tf32": torch.float32,  # with factors rounded to 10 bits
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
DEVICES = ("auto", "cpu", "cuda", "mps")


def select_device(name: str = "auto") -> torch.device:
    """Return a device that works, as `find_device`, and log which one."""
    device = find_device(name)
    log.info("computing on %s", _describe(device.type))
    return device


def find_device(name: str = "auto") -> torch.device:
    """Return a device that works; log why a GPU is not used.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "mps"}
        "auto" takes the first of cuda, mps and cpu that can compute.

    Returns
    -------
    torch.device
        A device on which a small test computation succeeded.

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
            return torch.device(candidate)
        if name != "auto":
            raise ConfigError(f"device: cannot use {candidate}: {trouble}; pass --device auto")
        if _seems_present(candidate):
            log.warning("a %s GPU seems present, but mpar cannot use it: %s", candidate, trouble)
    raise AssertionError("the CPU always works")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Return True if a CPU multiplies bfloat16 natively; emulation is slower than float32."""
    # an older torch has no such function; mpar then trains in float32
    find = getattr(torch.cpu, "get_capabilities", None)
    capabilities = find() if find is not None and device.type == "cpu" else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _has_short_floats(device: torch.device) -> bool:
    """Return True if a GPU multiplies bfloat16 and TF32 natively, as from Ampere on."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def find_amp_dtype(device: torch.device) -> torch.dtype | None:
    """Return the short float type in which training is faster on a device, None for none."""
    if device.type == "cuda":
        return torch.bfloat16 if _has_short_floats(device) else torch.float16
    return torch.bfloat16 if has_fast_bfloat16(device) else None


def native_precisions(device: torch.device) -> list[str]:
    """Return the precisions that a device does not emulate."""
    is_cuda = device.type == "cuda"
    has_short = _has_short_floats(device)
    is_native = {
        "fp32": True,
        "tf32": has_short,
        "bf16": has_short or has_fast_bfloat16(device),
        "fp16": is_cuda,
    }
    return [name for name in PRECISIONS if is_native[name]]


def check_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the type of a precision.

    Raises
    ------
    ConfigError
        There is no such precision, or the device would only emulate it.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"precision: found {name!r}, expected one of {', '.join(PRECISIONS)}")
    if name not in native_precisions(device):
        raise ConfigError(
            f"precision: found {name}, which {_describe(device.type)} does not compute faster; "
            f"expected {', '.join(native_precisions(device))}"
        )
    return PRECISIONS[name]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return True if torch ran out of memory, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "enough memory" in str(error).replace(
        "can't allocate", "not enough"
    )


def _find_trouble(name: str) -> str:
    """Return why a device does not work; empty if it works."""
    if name == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None and torch.version.hip is None:
            return (
                f"torch {torch.__version__} is a build without GPU support, install one with GPU "
                "support"
            )
        return "torch finds no usable GPU, check its driver"
    if name == "cpu":
        return ""
    if name == "mps" and not torch.backends.mps.is_available():
        return "torch finds no Metal GPU"
    try:
        # the operations of the network, some of which torch lacks on mps
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
