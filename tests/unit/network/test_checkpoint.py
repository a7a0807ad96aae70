"""Checkpoints come back equal, or not at all."""

import dataclasses
import hashlib
import io
import zipfile

import numpy as np
import pytest
import torch

from mpar.errors import CheckpointError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mpar.network.config import ModelConfig
from mpar.network.model import ClipNet


@pytest.fixture(scope="module")
def checkpoint():
    """A small network with all that a checkpoint carries."""
    config = ModelConfig(model_type="light")
    torch.manual_seed(0)
    return Checkpoint(
        model_config=config,
        weights=ClipNet(config).state_dict(),
        class_map=DEFAULT_CLASS_MAP,
        data={
            **{"frame_size": [48, 64], "config": {}, "fingerprint": "0", "path": "c.h5"},
            "look": {"brightness": [0, 255], "contrast": [0, 128], "fps": [30, 30]},
        },
        split={"train": [{"name": "a", "group": "a", "sha256": "0"}], "val": [], "test": []},
        training={"seed": 0},
        scores={"epoch": 3, "validation": {"macro_f1": 0.5}},
    )


@pytest.fixture
def path(checkpoint, tmp_path):
    """The checkpoint on the disk."""
    save_checkpoint(tmp_path / "model.pt", checkpoint)
    return tmp_path / "model.pt"


def test_round_trip(checkpoint, path):
    """Weights to the bit, everything else as it was."""
    loaded = load_checkpoint(path)
    assert_equal_checkpoints(loaded, checkpoint)
    assert loaded.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.frame_size == (48, 64)
    assert not loaded.build_net().training


@pytest.mark.parametrize("key", ["frame_size", "config", "look"])
def test_a_part_that_lacks_is_named(checkpoint, tmp_path, key):
    """One line, not a traceback in the middle of a prediction."""
    data = {name: value for name, value in checkpoint.data.items() if name != key}
    save_checkpoint(tmp_path / "m.pt", dataclasses.replace(checkpoint, data=data))
    with pytest.raises(CheckpointError, match=rf"m\.pt: .*its data lack {key}"):
        load_checkpoint(tmp_path / "m.pt")


def test_plain_torch_reads_it(path):
    """Anyone can load a checkpoint without mpar, and without running code."""
    assert torch.load(path, weights_only=True)["format"] == "mpar-checkpoint"


@pytest.mark.slow
def test_no_flipped_bit_changes_a_network(path):
    """300 seeded single-bit flips: what is not refused lies beside the data, and loads the same."""
    data = path.read_bytes()
    sound = load_checkpoint(path)
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(len(data), size=300).tolist():
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = load_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            assert_equal_checkpoints(found, sound)
            assert found.digest != sound.digest
    assert refused > 290


def assert_equal_checkpoints(first, second):
    for key, value in second.weights.items():
        assert torch.equal(first.weights[key], value), key
    for name in ("model_config", "class_map", "data", "split", "training", "scores", "version"):
        assert getattr(first, name) == getattr(second, name)


@pytest.mark.parametrize("keep", [0, 1, 75, 76, 1000, -1, -76, -77])
def test_cut_files_are_refused(path, keep):
    """A half-copied checkpoint is refused."""
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"is not a checkpoint of mpar, or is damaged"):
        load_checkpoint(path)


def test_foreign_files_are_refused(tmp_path):
    """Another program's .pt, and no file at all, give one clear message."""
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt: is not a checkpoint of mpar"):
        load_checkpoint(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "missing.pt")


class _Payload:
    """Would create a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_pickled_code_is_not_run(tmp_path):
    """A checkpoint with valid checksums around a hostile pickle is refused without running it."""
    buffer = io.BytesIO()
    torch.save({"format": _Payload(str(tmp_path / "canary"))}, buffer)
    (tmp_path / "bad.pt").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="more than plain data"):
        load_checkpoint(tmp_path / "bad.pt")
    assert not (tmp_path / "canary").exists()


def test_parts_that_are_no_tables_are_refused(path, tmp_path):
    """A checkpoint with valid checksums and text in place of its weights is refused in a line."""
    for name in ("weights", "data", "split", "state"):
        buffer = io.BytesIO()
        torch.save({**torch.load(path, weights_only=True), name: "text"}, buffer)
        (tmp_path / "bad.pt").write_bytes(buffer.getvalue())
        with pytest.raises(CheckpointError, match=r"^.*bad\.pt: is damaged, or was not written.*$"):
            load_checkpoint(tmp_path / "bad.pt")


def test_compressed_entries_are_refused(path, tmp_path):
    """A small file cannot unpack to gigabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name in source.namelist():
            out.writestr(name, source.read(name))
    (tmp_path / "bomb.pt").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="an entry is compressed"):
        load_checkpoint(tmp_path / "bomb.pt")


def test_weights_of_another_network_are_refused(checkpoint, tmp_path):
    """Weights that do not fit are named, not loaded in part."""
    other = ClipNet(ModelConfig(model_type="standard")).state_dict()
    wrong = Checkpoint(
        **{
            name: getattr(checkpoint, name)
            for name in ("model_config", "class_map", "data", "split", "training", "scores")
        },
        weights=other,
    )
    with pytest.raises(CheckpointError, match="do not fit"):
        wrong.build_net()


def test_failed_save_keeps_the_old_file(checkpoint, path, monkeypatch):
    """A disk that fills up leaves the previous checkpoint."""
    old = path.read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, checkpoint)
    assert path.read_bytes() == old
    assert [p.name for p in path.parent.iterdir()] == ["model.pt"]


def test_animals_of_one_video_are_learnt_each_for_itself(checkpoint):
    """Pixels count: neighbours of a rack are not the same animal; without regions all are."""
    item = {"name": "v__A", "group": "v__A", "sha256": "7", "region": "0,0,48,48"}
    split = {"train": [item], "val": [], "test": []}
    network = dataclasses.replace(checkpoint, split=split)
    after = dataclasses.replace(
        checkpoint, split={"train": [], "val": [], "test": []}, init=network.as_init()
    )
    for one in (network, after):
        assert one.learnt_part(sha256="7", region="0,0,48,48") == "train"
        assert one.learnt_part(sha256="7", region="47,0,48,48") == "train"
        assert one.learnt_part(sha256="7", region="48,0,48,48") == ""
        assert one.learnt_part(sha256="7") == "train"
        assert one.learnt_part(sha256="8", region="0,0,48,48") == ""
    assert network.learnt_part(sha256="7", region="48,0,48,48", group="v__A") == "train"
    del item["region"]
    assert network.learnt_part(sha256="7", region="48,0,48,48") == "train"
