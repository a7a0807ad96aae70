"""The device is chosen, described, and its absence explained."""

import pytest
import torch

from mpar.errors import ConfigError
from mpar.network import devices


def test_cpu_is_described(caplog):
    """The device used is said in words."""
    caplog.set_level("INFO")
    assert devices.select_device("cpu").type == "cpu"
    assert caplog.messages[0].startswith("computing on cpu (")


def test_unknown_device_is_refused():
    """A wrong name lists the right ones."""
    with pytest.raises(ConfigError, match="expected one of auto, cpu, cuda, mps"):
        devices.select_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA GPU")
def test_missing_gpu_is_an_error_when_named():
    """--device cuda never falls back in silence."""
    with pytest.raises(ConfigError, match="cannot use cuda"):
        devices.select_device("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA GPU")
def test_unused_gpu_is_said_aloud(monkeypatch, caplog):
    """A GPU that is there but that torch cannot use is named, with the reason."""
    monkeypatch.setattr(devices.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert devices.select_device("auto").type in {"cpu", "mps"}
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "a cuda GPU seems present, but mpar cannot use it" in record.message


def test_gpu_that_fails_to_compute_is_not_used(monkeypatch, caplog):
    """A GPU that torch sees but cannot compute on is passed over, and said so."""
    ones = torch.ones

    def fail(*shape, device, **options):
        if device == "cuda":
            raise RuntimeError("no kernel image is available")
        return ones(*shape, device=device, **options)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "ones", fail)
    assert devices.select_device("auto").type == "cpu"
    assert "no kernel image" in caplog.text


def test_gpu_that_lacks_an_operation_is_not_used(monkeypatch, caplog):
    """A GPU that cannot pool in 3D, as mps in some builds of torch, is passed over."""

    def fail(*_args, **_kwargs):
        raise NotImplementedError("max_pool3d is not implemented")

    ones = torch.ones
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", lambda *a, device, **k: ones(*a, **k))
    monkeypatch.setattr(torch.nn.functional, "max_pool3d", fail)
    assert devices.select_device("auto").type == "cpu"
    assert "max_pool3d" in caplog.text


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False)],
)
def test_bfloat16_is_asked_of_the_processor(monkeypatch, capabilities, expected):
    """It is used where it is native; a torch that cannot tell, or a GPU, means no."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert devices.has_fast_bfloat16(torch.device("cpu")) == expected
    assert not devices.has_fast_bfloat16(torch.device("mps"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not devices.has_fast_bfloat16(torch.device("cpu"))
