"""Predict every frame of a video, or of a recording in a cache, with a trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mpar.cache.drift import Appearance, AppearanceMeter, find_drift, knows_size
from mpar.cache.store import Store, digest_of
from mpar.errors import ConfigError
from mpar.labels.scorings import Recording
from mpar.matching.regions import recording_name
from mpar.matching.tracks import TrackFolder
from mpar.network.checkpoint import Checkpoint, load_checkpoint
from mpar.network.config import NO_NETWORK
from mpar.network.dense import DensePredictor
from mpar.network.devices import select_device
from mpar.network.experts import EXPERTS, mix
from mpar.network.features import embeddings_of
from mpar.network.mixture import Experts, MixedPredictor
from mpar.network.pacing import walk_video
from mpar.predictions.postprocess import PostConfig, postprocess
from mpar.system.files import sha256_of
from mpar.system.team import local_device
from mpar.video.following import Following, SquarePath, describe_following
from mpar.video.regions import Region, sized
from mpar.video.timeline import find_steps
from mpar.video.videos import probe_video, squeeze_of


def digest_with_track(sha256: str, region: Region | None) -> str:
    """Return the digest of a video, with that of the track that its squares follow."""
    track = None if region is None else region.track
    return sha256 if track is None else f"{sha256} {track.digest}"


class ActionRecognitionInference:
    """A trained network, ready to predict.

    Parameters
    ----------
    checkpoint_path : Path or str
        A ``.pt`` file of mpar-train.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    post : PostConfig, optional
        How probabilities become labels; by default as fitted on the validation recordings and
        stored in the checkpoint.
    stream : int, optional
        Index of the video stream to read; by default the stream chosen in preprocessing, else the
        one that players show.
    fps : Fraction, optional
        Frames per second of videos that do not state them; by default as in preprocessing.

    precision : {"fp32", "tf32", "bf16", "fp16"}
        Type in which the network computes. All but float32 are faster on some devices only, and
        change probabilities slightly.
    features : str, optional
        Where the image network of a checkpoint with features is now; by default where it was in
        training.

    Attributes
    ----------
    checkpoint : Checkpoint
        The loaded checkpoint.
    post : PostConfig
        How probabilities become labels.
    class_names : tuple of str
        Names of the classes.
    stream : int or None
        Index of the video stream to read.
    rate : Fraction or None
        Steps per second of the network (`mpar.cache.layout`).
    regions : tuple of Region
        Regions that preprocessing cut out of every video.
    experts : Experts
        The experts beside the network, and how much each counts.
    device : torch.device
        The device that computes.

    Raises
    ------
    CheckpointError
        The file is not a checkpoint of mpar, or is damaged.
    ConfigError
        The device cannot be used, or does not compute faster in this precision; or the weights of
        the image network are not there.
    """

    def __init__(
        self,
        checkpoint_path: Path | str,
        device: str = "auto",
        post: PostConfig | None = None,
        stream: int | None = None,
        fps: Fraction | None = None,
        precision: str = "fp32",
        features: str | None = None,
    ) -> None:
        self.checkpoint: Checkpoint = load_checkpoint(checkpoint_path)
        self.post = fitted_post(self.checkpoint) if post is None else post
        self.class_names = self.checkpoint.class_map.class_names
        given = self.checkpoint.data["config"]
        self.stream: int | None = given.get("stream") if stream is None else stream
        self.rate = Fraction(given["rate"]) if given.get("rate") else None
        self.fps = fps or (Fraction(given["fps"]) if given.get("fps") else None)
        self.regions = tuple(
            Region.parse(text, animal) for animal, text in given.get("regions") or ()
        )
        self.device = local_device(select_device(device))
        self.precision = precision
        network = None
        if self.checkpoint.model_config.model_type != NO_NETWORK:
            network = DensePredictor(self.checkpoint.build_net().to(self.device), precision)
        self.experts = Experts.from_dict(self.checkpoint.experts)
        self._embedder = None
        if features is not None and self.experts.features is None:
            raise ConfigError(f"{checkpoint_path}: was trained without features; drop --features")
        if self.experts.features is not None:
            try:
                self._embedder = self.experts.features.load_embedder(
                    self.checkpoint.seen_size, features, self.device
                )
            except ConfigError as error:
                if self.experts.powers["features"]:  # else only a report of each alone lacks it
                    raise ConfigError(f"{checkpoint_path}: {error}") from None
        self._predictor = MixedPredictor(self.experts, network, self._embedder)

    def predict_video(
        self, video_path: Path | str, stride: int = 1, return_probs: bool = False
    ) -> dict[str, Any]:
        """Predict a video.

        Parameters
        ----------
        video_path : Path or str
            A video of any size; resized to the size of the training frames.
        stride : int
            Return every `stride`-th frame.
        return_probs : bool
            Also return the probabilities of all classes.

        Returns
        -------
        dict
            ``video``, ``num_frames``, ``fps``, ``class_names``, ``warnings`` and
            ``predictions``: for each frame a dict of ``frame`` (int), ``action`` (class name),
            ``confidence`` (0-1) and, with `return_probs`, ``probabilities`` (class name to 0-1).

        Raises
        ------
        InputError, ConfigError
            As for `predict`.
        """
        if stride < 1:
            raise ConfigError(f"stride: found {stride}, expected 1 or more")
        prediction = self.predict(video_path)
        labels, confidence = prediction.labels.tolist(), prediction.confidence().tolist()
        actions = [*self.class_names, ""]  # index -1: no class
        rows = []
        for frame in range(0, len(labels), stride):
            row = {
                "frame": frame,
                "action": actions[labels[frame]],
                "confidence": confidence[frame],
            }
            if return_probs:
                probabilities = prediction.probabilities[frame].tolist()
                row["probabilities"] = dict(zip(self.class_names, probabilities, strict=True))
            rows.append(row)
        return {
            "video": prediction.video,
            "num_frames": prediction.num_frames,
            "fps": float(prediction.line.fps or 0),
            "class_names": list(self.class_names),
            "warnings": list(prediction.warnings),
            "predictions": rows,
        }

    def predict(
        self,
        video_path: Path | str,
        on_frames: Callable[[int], object] = lambda num_frames: None,
    ) -> Recording:
        """Predict a video, or the one region that preprocessing cut out of every video.

        Raises
        ------
        InputError
            The video cannot be decoded, or the region lies beyond its picture.
        ConfigError
            Preprocessing cut out several regions.
        """
        if len(self.regions) > 1:
            animals = ", ".join(region.animal for region in self.regions)
            raise ConfigError(
                f"{Path(video_path).name}: the network learnt from the regions of {animals}, "
                "expected one region; call predict_regions(video, network.regions), or "
                "predict_regions(video, (None,)) for the whole picture"
            )
        return self.predict_regions(video_path, self.regions or (None,), on_frames)[0]

    def predict_regions(
        self,
        video_path: Path | str,
        regions: Sequence[Region | None],
        on_frames: Callable[[int], object] = lambda num_frames: None,
    ) -> list[Recording]:
        """Predict several regions of a video, decoding it once.

        Raises
        ------
        InputError
            The video cannot be decoded, or a region lies beyond its picture.
        """
        path, size = Path(video_path), self.checkpoint.frame_size
        info = probe_video(path, stream=self.stream)
        regions = [sized(region, info.height, info.width) for region in regions]
        self._check_tracks(path, regions)
        is_whole = all(region is None for region in regions)
        keeps_size = is_whole and (info.height, info.width) == size
        walked = walk_video(
            self._predictor,
            path,
            size=None if keeps_size else size,
            stream=self.stream,
            rate=self.rate,
            fps=self.fps,
            regions=regions,
            following=self.checkpoint.following,
            on_frames=on_frames,
        )
        sha256 = sha256_of(path, lambda: on_frames(0))
        predictions = []
        for region, walk in zip(regions, walked.walks, strict=True):
            labels, probabilities = postprocess(walk.probabilities, self.post)
            place = "" if region is None else str(region)
            drift = self._find_drift(walk.appearance)
            predictions.append(
                Recording(
                    name=recording_name(path.stem, region),
                    video=path.name,
                    line=walked.line,
                    probabilities=probabilities[walk.steps],
                    labels=labels[walk.steps],
                    raw=labels_of(walk.probabilities)[walk.steps],
                    warnings=(
                        *self._find_resizing(walk.appearance),
                        *walked.warnings,
                        *walk.warnings,
                        *drift.values(),
                    ),
                    drift=drift,
                    learnt_part=self.checkpoint.learnt_part(sha256=sha256, region=place),
                    region=place,
                    source_digest=digest_with_track(sha256, region),
                    squares=walk.squares,
                )
            )
        return predictions

    def regions_with(self, tracks: Path | str | None) -> TrackFolder | tuple[Region, ...]:
        """Return the tracks in a folder, of the key points learnt from; without, the regions."""
        if tracks is None:
            return self.regions
        following = self.checkpoint.following
        return TrackFolder(Path(tracks), following.points or () if following else ())

    def _find_drift(self, look: Appearance) -> dict[str, str]:
        return find_drift(look, self.checkpoint.data["look"], self.checkpoint.following)

    def _find_resizing(self, look: Appearance) -> list[str]:
        """Return a warning if pictures are resized, and nobody knows if those of training were."""
        source, size = (look.height, look.width), self.checkpoint.frame_size
        if source == size or knows_size(self.checkpoint.data["look"]):
            return []
        squeeze = squeeze_of(
            source,
            size,
            "this is right only if the training videos had this shape; otherwise crop or film "
            "alike",
        )
        return [
            squeeze
            or f"frames are {source[1]}x{source[0]} px, resized to {size[1]}x{size[0]} as in "
            "training"
        ]

    def _check_tracks(self, path: Path, regions: Sequence[Region | None]) -> None:
        """Raise ConfigError if tracks are missing, or given to a network that does not use them."""
        following = self.checkpoint.following
        learnt = following is not None and following.points is not None
        if any((region is not None and region.track is not None) != learnt for region in regions):
            raise ConfigError(
                f"{path.name}: the network learnt from {describe_following(following)}; "
                + ("pass --tracks with those of this video" if learnt else "drop --tracks")
            )

    def predict_recording(
        self,
        store: Store,
        recording: int,
        on_frames: Callable[[int], object] = lambda num_frames: None,
        *,
        with_each: bool = False,
    ) -> Recording:
        """Predict a recording of a cache; if `with_each`, also with each expert alone.

        Raises
        ------
        ConfigError
            Its frames have another size than those of training, or other squares.
        """
        if store.following != self.checkpoint.following:
            raise ConfigError(
                f"{store.path}: shows {describe_following(store.following)}, expected "
                f"{describe_following(self.checkpoint.following)}, which the network learnt from; "
                f"preprocess {_how_to_follow(self.checkpoint.following)} into another --output"
            )
        if store.frame_size != self.checkpoint.frame_size:
            height, width = self.checkpoint.frame_size
            raise ConfigError(
                f"{store.path}: found frames of {store.frame_size[1]}x{store.frame_size[0]} px, "
                f"expected {width}x{height} as in training; preprocess with --size "
                f"{height}x{width} (height x width) into another --output"
            )
        info = store.recordings[recording]
        if not info.has_times:
            raise ConfigError(
                f"{store.path}: lacks the frame times of {info.name}, whose frame rate varies; "
                "make the cache again with mpar-preprocess"
            )
        meter = AppearanceMeter()
        powers = self.experts.powers
        names = {n for n in self._predictor.names() if with_each or powers[n]}
        each = self._predictor.predict_each(
            meter.watch(store.stream_views(recording)),
            on_frames,
            names,
            self._embedded(store, recording) if "features" in names else None,
        )
        found = mix(each, powers)
        labels, probabilities = postprocess(found, self.post)
        line = store.line(recording)
        assert info.rate is not None
        size = info.height, info.width
        drift = self._find_drift(meter.appearance(info.rate, size, info.fps))
        steps = _steps_of(store, recording)
        return Recording(
            name=info.name,
            video=info.video,
            line=line,
            probabilities=probabilities[steps],
            labels=labels[steps],
            raw=labels_of(found)[steps],
            warnings=(*info.warnings, *drift.values()),
            drift=drift,
            learnt_part=self.checkpoint.learnt_part(
                sha256=info.sha256, region=info.region, group=info.group
            ),
            start_frame=info.start_frame,
            video_num_frames=info.video_num_frames,
            region=info.region,
            group=info.group,
            source_digest=digest_of(store, recording),
            squares=SquarePath(store.following.side, store.corners(recording))
            if store.following
            else None,
            alone={n: labels_of(each[n])[steps] for n in EXPERTS if n in each and with_each},
        )

    def _embedded(self, store: Store, recording: int) -> np.ndarray:
        """Return the embedded frames of a recording, as they are kept beside the cache."""
        assert self.experts.features is not None
        assert self._embedder is not None
        return embeddings_of(store, recording, self._embedder, self.experts.features.stride)

    def how(self) -> dict[str, Any]:
        """Return plain values that identify the network and its options in predictions."""
        return {
            **self.checkpoint.provenance(),
            "precision": self.precision,
            "stream": self.stream,
            "fps_if_unknown": str(self.fps or ""),
            "postprocessing": self.post.to_dict(),
        }


def labels_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the most probable class of each step, (T,) int8."""
    return probabilities.argmax(axis=1).astype(np.int8)


def _steps_of(store: Store, recording: int) -> np.ndarray:
    """Return the step nearest to each frame of a recording, (T,) int64."""
    info = store.recordings[recording]
    if not info.has_own_steps:
        return np.arange(info.num_frames)
    assert info.rate is not None
    return find_steps(store.line(recording), info.rate, info.num_steps)


def _how_to_follow(following: Following | None) -> str:
    if following is None:
        return "without --follow and --tracks"
    size = f"--follow-size {following.side}"
    if following.points is None:
        return f"with {size}, without --tracks,"
    points = f"--track-points {','.join(following.points)} " if following.points else ""
    return f"with --tracks FOLDER {points}{size}"


def fitted_post(checkpoint: Checkpoint) -> PostConfig:
    """Return the post-processing stored with a network."""
    return PostConfig.from_dict(checkpoint.post.get("config", {}))
