"""Save and load trained networks: whole or not at all, and nothing but plain data.

A checkpoint is what ``torch.save`` writes, a zip file with a checksum for each tensor, so
``torch.load(path, weights_only=True)`` reads it. torch does not look at the checksums; loading here
compares them first, so that a damaged file is refused instead of predicting something else.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import mpar
from mpar.errors import CheckpointError, ConfigError
from mpar.labels.classes import ClassMap
from mpar.network.config import ModelConfig
from mpar.network.model import ClipNet
from mpar.system.files import atomic_path
from mpar.video.regions import share_pixels

FORMAT = "mpar-checkpoint"
# 2: networks may centre frames, training may use two optimizers; 3: post-processing
FORMAT_VERSION = 3
MAX_BYTES = 1 << 31


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained network with all that is needed to use it, explain it and train it on.

    Parameters
    ----------
    model_config : ModelConfig
        Rebuilds the network.
    weights : dict of str to tensor
        Its state.
    class_map : ClassMap
        Names its outputs.
    data : dict
        The cache it was trained on: ``path``, ``access``, ``fingerprint``, ``frame_size``
        [H, W] in px, ``config`` of preprocessing, and ``look`` of the training recordings
        (`mpar.cache.drift.appearance_range`).
    split : dict
        By part, the ``name``, ``group``, ``sha256`` (of the video) and ``region`` (absent before
        regions, "" for the whole picture) of each recording.
    training : dict
        The training config as plain types.
    scores : dict
        Epoch and validation scores.
    init : dict
        The network that training began with, if it did with one: its ``digest``,
        ``class_names`` and ``learnt``, the recordings that it had learnt from (as in `split`).
    post : dict
        How probabilities become labels: ``config`` (`mpar.scores.postprocess.PostConfig`) and its
        ``effect`` on the validation recordings that it was fitted on. Empty for none.
    state : dict
        Optimizer and progress, in ``last.pt`` only.
    version : str
        Of mpar.
    digest : str
        SHA-256 of the file it was read from.
    """

    model_config: ModelConfig
    weights: dict[str, torch.Tensor]
    class_map: ClassMap
    data: dict[str, Any]
    split: dict[str, list[dict[str, str]]]
    training: dict[str, Any]
    scores: dict[str, Any]
    init: dict[str, Any] = field(default_factory=dict)
    post: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    version: str = mpar.__version__
    digest: str = ""

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in px of the frames it was trained on."""
        height, width = self.data["frame_size"]
        return int(height), int(width)

    def learnt_part(self, *, sha256: str, region: str = "", group: str | None = None) -> str:
        """Return "train" or "val" if pixels of a video, or its animal, had a part in learning.

        Else "". Of the network that training began with only the pixels count: animals of
        another study may have the same names.
        """
        for part in ("train", "val"):
            for item in self.split[part]:
                if group == item["group"] or is_of_video(item, sha256, region):
                    return part
        if any(is_of_video(item, sha256, region) for item in self.init.get("learnt", [])):
            return "train"
        return ""

    def as_init(self) -> dict[str, Any]:
        """Return what a network that begins with this one remembers of it (see `init`)."""
        return {
            "digest": self.digest,
            "class_names": list(self.class_map.class_names),
            "learnt": [
                *self.split["train"],
                *self.split["val"],
                *self.init.get("learnt", []),
            ],
        }

    def start(self, net: ClipNet, class_names: tuple[str, ...]) -> bool:
        """Give a new network these weights; all but the last layer if its classes are others.

        Returns
        -------
        bool
            The classes are the same, so that the last layer was taken over too.

        Raises
        ------
        CheckpointError
            The networks are built differently.
        """
        weights = dict(self.weights)
        is_same = class_names == self.class_map.class_names
        if not is_same:
            last = f"head.{len(net.head) - 1}."
            weights |= {k: v for k, v in net.state_dict().items() if k.startswith(last)}
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            problem = " ".join(str(error).split())[:200]
            raise CheckpointError(f"the weights do not fit the network: {problem}") from None
        return is_same

    def provenance(self) -> dict[str, Any]:
        """Return plain values that name this network in what it predicts."""
        return {
            "checkpoint_sha256": self.digest,
            "checkpoint_epoch": self.scores.get("epoch"),
            "frame_size": list(self.frame_size),
        }

    def build_net(self) -> ClipNet:
        """Rebuild the network, in evaluation mode on the CPU.

        Raises
        ------
        CheckpointError
            The weights do not fit the network.
        """
        net = ClipNet(self.model_config)
        self.start(net, self.class_map.class_names)
        return net.eval()


def save_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically."""
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": checkpoint.version,
        "model_config": checkpoint.model_config.to_dict(),
        "weights": checkpoint.weights,
        "class_map": checkpoint.class_map.to_dict(),
        "data": checkpoint.data,
        "split": checkpoint.split,
        "training": checkpoint.training,
        "scores": checkpoint.scores,
        "init": checkpoint.init,
        "post": checkpoint.post,
        "state": checkpoint.state,
    }
    buffer = io.BytesIO()  # where torch calls the archive the same in every file
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint after checking that it is whole and holds nothing but data.

    Raises
    ------
    CheckpointError
        The file is not a checkpoint of mpar, is of another version, or is damaged.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(f"{path}: is larger than any checkpoint of mpar")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        _check_archive(data)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise CheckpointError(
                f"{path}: is not a checkpoint of mpar; pass a .pt file from a run folder of "
                "mpar-train"
            )
        if content["format_version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: found checkpoint version {content['format_version']}, expected "
                f"{FORMAT_VERSION}; use the version of mpar that made it ({content['version']})"
            )
        tables = [content[key] for key in ("weights", "data", "split", "training", "scores")]
        tables += [content[key] for key in ("init", "post", "state")]
        if not all(isinstance(table, dict) for table in tables):
            raise ValueError("a part of it is not what it should be")
        return Checkpoint(
            model_config=ModelConfig(**content["model_config"]),
            class_map=ClassMap.from_dict(content["class_map"]),
            digest=hashlib.sha256(data).hexdigest(),
            **{
                key: content[key]
                for key in (
                    *("weights", "data", "split", "training", "scores"),
                    *("init", "post", "state", "version"),
                )
            },
        )
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError, EOFError) as error:
        raise CheckpointError(f"{path}: is not as mpar writes it ({_first_line(error)})") from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than plain data ({_first_line(error)})"
        ) from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path}: is not a checkpoint of mpar, or is damaged ({error}); copy it again, or use "
            "another checkpoint of the run"
        ) from None


def _first_line(error: Exception) -> str:
    """Return what an error says first; torch goes on with advice to turn its protections off."""
    return str(error).partition("\n")[0][:200]


def _check_archive(data: bytes) -> None:
    """Compare checksums; refuse packed entries, which torch never writes: they may be bombs."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(data):
                raise ValueError("an entry is compressed")
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{name} does not match its checksum")


def is_of_video(item: dict[str, str], sha256: str, region: str) -> bool:
    """Tell whether a recording of a split shows pixels of a region ("" for all) of a video."""
    return item["sha256"] == sha256 and share_pixels(item.get("region", ""), region)
