"""Save and load trained networks, as complete files of plain data.

A checkpoint is a file of ``torch.save``, a zip file with a checksum for each tensor, so
``torch.load(path, weights_only=True)`` reads it. torch does not compare the checksums, but
`load_checkpoint` does, and refuses damaged files.
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
from mpar.cache.layout import RecordingInfo
from mpar.errors import CheckpointError, ConfigError
from mpar.labels.classes import ClassMap
from mpar.network.config import ModelConfig
from mpar.network.model import ClipNet
from mpar.system.files import atomic_path
from mpar.video.following import Following
from mpar.video.regions import share_pixels

FORMAT = "mpar-checkpoint"
# 2: networks may centre frames, training may use two optimizers; 3: post-processing; 4: movement;
# 5: experts
FORMAT_VERSION = 5
MAX_BYTES = 1 << 31
_PLACE = ("sha256", "region", "start_frame")
SPLIT_KEYS = ("name", "group", *_PLACE)
_DATA_KEYS = {"frame_size", "config", "look"}  # what prediction needs


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained network with everything needed to use it, explain it and continue training.

    Parameters
    ----------
    model_config : ModelConfig
        Architecture of the network.
    weights : dict of str to tensor
        State of the network; empty with the model type none.
    class_map : ClassMap
        Classes of its outputs.
    data : dict
        The cache it was trained on: ``path``, ``access``, ``fingerprint``, ``frame_size``
        [H, W] in px, ``config`` of preprocessing, and ``look``, the appearance of the training
        recordings (`mpar.cache.drift.appearance_range`).
    split : dict
        By part, the ``name``, ``group``, ``sha256`` (of the video), ``region`` ("" for the whole
        picture) and ``start_frame`` of each recording; older networks lack the last ones.
    training : dict
        The training config as plain types.
    scores : dict
        Epoch and validation scores.
    init : dict
        The network that training started from, if any: its ``digest``, ``class_names`` and
        ``learnt``, the recordings that it learnt from (as in `split`).
    post : dict
        How probabilities become labels: ``config``
        (`mpar.predictions.postprocess.PostConfig`) and its ``effect`` on the validation recordings
        it was fitted on. Empty without post-processing.
    experts : dict
        The experts beside the network, and how much each counts (`mpar.network.mixture.Experts`).
    state : dict
        State of the optimizer and progress; only in ``last.pt``.
    version : str
        Version of mpar.
    digest : str
        SHA-256 of the checkpoint file.
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
    experts: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    version: str = mpar.__version__
    digest: str = ""

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in px of the frames it was trained on."""
        height, width = self.data["frame_size"]
        return int(height), int(width)

    @property
    def following(self) -> Following | None:
        """The squares that follow the animals; None if it sees whole pictures."""
        return Following.of(self.data["config"])

    @property
    def seen_size(self) -> tuple[int, int]:
        """Height and width in px of what the network sees."""
        following = self.following
        return (following.size, following.size) if following else self.frame_size

    def learnt_part(self, *, sha256: str, region: str = "", group: str | None = None) -> str:
        """Return "train" or "val" if the network learnt from a video or animal, else "".

        For the network that training started from, only the pixels of the video count, because
        animals of another study may have the same names.
        """
        for part in ("train", "val"):
            for item in self.split[part]:
                if group == item["group"] or is_of_video(item, sha256, region):
                    return part
        if any(is_of_video(item, sha256, region) for item in self.init.get("learnt", [])):
            return "train"
        return ""

    def holds(self, part: str, info: RecordingInfo) -> bool:
        """Return True if a part of the split holds a recording, whatever its name in its cache."""
        where = info.sha256, info.region, info.start_frame
        return any(
            tuple(item[key] for key in _PLACE) == where
            if item.keys() >= {*_PLACE}
            else (item["sha256"], item["name"]) == (info.sha256, info.name)
            for item in self.split[part]
        )

    def as_init(self) -> dict[str, Any]:
        """Return the `init` of a network that starts from this one."""
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
        """Copy the weights to a new network; without the last layer if the classes differ.

        Returns
        -------
        bool
            True if the classes are the same, so that the last layer was copied too.

        Raises
        ------
        CheckpointError
            The networks have different architectures.
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
        """Return plain values that identify this network in its predictions."""
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
        "experts": checkpoint.experts,
        "state": checkpoint.state,
    }
    buffer = io.BytesIO()  # torch would write the file name into the archive
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint after checking that it is complete and holds only plain data.

    Raises
    ------
    CheckpointError
        The file is not a checkpoint of mpar, is of another version, or is damaged.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CheckpointError(
                f"{path}: found a file of more than {MAX_BYTES >> 30} GiB, expected a checkpoint "
                "of mpar; pass a .pt file from a run folder of mpar-train"
            )
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
        tables += [content[key] for key in ("init", "post", "experts", "state")]
        if not all(isinstance(table, dict) for table in tables):
            raise ValueError("a part has the wrong type")
        if missing := _DATA_KEYS - content["data"].keys():
            raise ValueError(f"its data lack {', '.join(sorted(missing))}")
        Following.of(content["data"]["config"])  # raises if it makes no sense
        return Checkpoint(
            model_config=ModelConfig(**content["model_config"]),
            class_map=ClassMap.from_dict(content["class_map"]),
            digest=hashlib.sha256(data).hexdigest(),
            **{
                key: content[key]
                for key in (
                    *("weights", "data", "split", "training", "scores"),
                    *("init", "post", "experts", "state", "version"),
                )
            },
        )
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError, EOFError) as error:
        raise CheckpointError(
            f"{path}: is damaged, or was not written by mpar ({_first_line(error)}); copy it "
            "again, or use another checkpoint of the run"
        ) from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than plain data ({_first_line(error)}), so mpar does not open it; "
            "pass a .pt file from a run folder of mpar-train"
        ) from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path}: is not a checkpoint of mpar, or is damaged ({error}); copy it again, or use "
            "another checkpoint of the run"
        ) from None


def _first_line(error: Exception) -> str:
    """Return the first line of an error; in the next ones torch advises to disable protections."""
    return str(error).partition("\n")[0][:200]


def _check_archive(data: bytes) -> None:
    """Compare checksums; refuse compressed entries, which torch never writes (zip bombs)."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(data):
                raise ValueError("an entry is compressed")
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{name} does not match its checksum")


def is_of_video(item: dict[str, str], sha256: str, region: str) -> bool:
    """Return True if a recording of a split shares pixels with a region ("" for all) of a video."""
    return item["sha256"] == sha256 and share_pixels(item.get("region", ""), region)
