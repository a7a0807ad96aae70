"""The device is chosen, described, and its absence explained."""

import pytest
import torch

from mpar import devices
from mpar.errors import ConfigError


def test_cpu_is_described():
    """The device used is said in words."""
    device, remarks = devices.select_device("cpu")
    assert device.type == "cpu"
    assert remarks[0].startswith("cpu (")


def test_unknown_device_is_refused():
    """A wrong name lists the right ones."""
    with pytest.raises(ConfigError, match="expected one of auto, cpu, cuda, mps"):
        devices.select_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA GPU")
def test_missing_gpu_is_an_error_when_named():
    """--device cuda never falls back in silence."""
    with pytest.raises(ConfigError, match="cuda cannot be used"):
        devices.select_device("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA GPU")
def test_unused_gpu_is_said_aloud(monkeypatch):
    """A GPU that is there but that torch cannot use is named, with the reason."""
    monkeypatch.setattr(devices.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    device, remarks = devices.select_device("auto")
    assert device.type in {"cpu", "mps"}
    assert any("GPU seems present but cannot be used" in remark for remark in remarks)


def test_gpu_that_fails_to_compute_is_not_used(monkeypatch):
    """A GPU that torch sees but cannot compute on is passed over, and said so."""

    def fail(*_args, **_kwargs):
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "ones", fail)
    device, remarks = devices.select_device("auto")
    assert device.type == "cpu"
    assert "no kernel image" in remarks[1]
