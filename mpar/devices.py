"""Choose the device that the network runs on, and say aloud why."""

from __future__ import annotations

import shutil

import torch

from mpar.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")


def select_device(name: str = "auto") -> tuple[torch.device, tuple[str, ...]]:
    """Choose a device that works.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda", "mps"}
        "auto" takes the first of cuda, mps and cpu that can compute.

    Returns
    -------
    device : torch.device
        A small computation has been done on it.
    remarks : tuple of str
        The device in words, then why a GPU that seems present is not used.

    Raises
    ------
    ConfigError
        The named device does not work here.
    """
    if name not in DEVICES:
        raise ConfigError(f"device: found {name!r}, expected one of {', '.join(DEVICES)}")
    remarks: list[str] = []
    for candidate in ("cuda", "mps") if name == "auto" else (name,):
        trouble = _find_trouble(candidate)
        if not trouble:
            return torch.device(candidate), (_describe(candidate), *remarks)
        if name != "auto":
            raise ConfigError(f"device: {candidate} cannot be used: {trouble}; pass --device auto")
        if _seems_present(candidate):
            remarks.append(f"a {candidate} GPU seems present but cannot be used: {trouble}")
    return torch.device("cpu"), (_describe("cpu"), *remarks)


def _find_trouble(name: str) -> str:
    """Return why a device does not work, or an empty text."""
    if name == "cuda" and not torch.cuda.is_available():
        if torch.version.cuda is None and torch.version.hip is None:
            return f"this build of torch ({torch.__version__}) has no GPU support, install one"
        return "torch finds no usable GPU, check its driver"
    if name == "mps" and not torch.backends.mps.is_available():
        return "torch finds no Metal GPU"
    try:
        x = torch.ones(1, 1, 3, 3, 3, device=name)
        torch.nn.functional.conv3d(x, x).item()
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
