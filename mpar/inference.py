"""Predict every frame of videos and caches with a trained network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mpar.cache.drift import LookMeter, find_drift
from mpar.cache.staging import sha256_of
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError, Problem, StoreError
from mpar.labels.exchange import ANNOTATION_SUFFIXES
from mpar.labels.names import VIDEO_SUFFIXES, folded
from mpar.labels.regions import RegionTable, recording_name
from mpar.network.checkpoint import Checkpoint, load_checkpoint
from mpar.network.dense import DensePredictor
from mpar.network.devices import select_device
from mpar.network.pacing import walk_video
from mpar.scores.postprocess import PostConfig, postprocess
from mpar.scores.predictions import (
    SUMMARY_NAME,
    OutputConfig,
    Prediction,
    Written,
    check_summary,
    output_paths,
    update_summary,
    write_prediction,
)
from mpar.system.folders import find_files, warn_of_unread
from mpar.system.team import ALONE, Team, local_device
from mpar.system.workers import HangError, side_by_side
from mpar.video.regions import Region
from mpar.video.timeline import find_steps
from mpar.video.videos import probe_video, squeeze_of

STORE_SUFFIXES = (".h5", ".hdf5")


class ActionRecognitionInference:
    """A trained network, ready to predict.

    Parameters
    ----------
    checkpoint_path : Path or str
        A ``.pt`` file of mpar-train.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    post : PostConfig, optional
        How probabilities become labels; by default as the checkpoint says, which fitted it on
        validation recordings.
    stream : int, optional
        Index of the video stream to read; by default the one that preprocessing was told to
        read, else the one that players show.
    fps : Fraction, optional
        Frames per second of videos that do not state them; by default as in preprocessing.

    Attributes
    ----------
    checkpoint : Checkpoint
        Where it comes from.
    post : PostConfig
        How probabilities become labels.
    class_names : tuple of str
        Names of the classes.
    stream : int or None
        Index of the video stream that it reads.
    rate : Fraction or None
        Steps per second in which it walks through videos (`mpar.cache.layout`).
    regions : tuple of Region
        What preprocessing cut out of every video.
    device : torch.device
        Where it computes.

    Raises
    ------
    CheckpointError
        The file is not a checkpoint of mpar, or is damaged.
    """

    def __init__(
        self,
        checkpoint_path: Path | str,
        device: str = "auto",
        post: PostConfig | None = None,
        stream: int | None = None,
        fps: Fraction | None = None,
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
        self._predictor = DensePredictor(self.checkpoint.build_net().to(self.device))

    def predict_video(
        self, video_path: Path | str, stride: int = 1, return_probs: bool = False
    ) -> dict[str, Any]:
        """Predict a video.

        Parameters
        ----------
        video_path : Path or str
            A video of any size; resized as the training frames were.
        stride : int
            Return every `stride`-th frame.
        return_probs : bool
            Return the probabilities of all classes too.

        Returns
        -------
        dict
            ``video``, ``num_frames``, ``fps``, ``class_names``, ``warnings`` and
            ``predictions``: for each frame a dict of ``frame`` (int), ``action`` (class name),
            ``confidence`` (0-1) and, if asked, ``probabilities`` (class name to 0-1).

        Raises
        ------
        InputError, ConfigError
            As for `predict`.
        """
        if stride < 1:
            raise ConfigError(f"stride: found {stride}, expected 1 or more")
        prediction = self.predict(video_path)
        labels, confidence = prediction.labels().tolist(), prediction.confidence().tolist()
        actions = [*self.class_names, ""]  # the last, at -1, for none
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
            "num_frames": len(prediction.probabilities),
            "fps": float(prediction.line.fps or 0),
            "class_names": list(self.class_names),
            "warnings": list(prediction.warnings),
            "predictions": rows,
        }

    def predict(
        self,
        video_path: Path | str,
        on_frames: Callable[[int], object] = lambda num_frames: None,
    ) -> Prediction:
        """Predict a video, as arrays, or the one region that training cut out of every video.

        Raises
        ------
        InputError
            The video cannot be decoded, or the region lies beyond its picture.
        ConfigError
            Training cut out several regions.
        """
        if len(self.regions) > 1:
            animals = ", ".join(region.animal for region in self.regions)
            raise ConfigError(
                f"{Path(video_path).name}: the network learnt from the regions of {animals}, "
                "expected one animal; call predict_regions(video, network.regions), or "
                "predict_regions(video, (None,)) for the whole picture"
            )
        return self.predict_regions(video_path, self.regions or (None,), on_frames)[0]

    def predict_regions(
        self,
        video_path: Path | str,
        regions: Sequence[Region | None],
        on_frames: Callable[[int], object] = lambda num_frames: None,
    ) -> list[Prediction]:
        """Predict the animals of a video, decoding it once.

        Raises
        ------
        InputError
            The video cannot be decoded, or a region lies beyond its picture.
        """
        path, size = Path(video_path), self.checkpoint.frame_size
        info = probe_video(path, stream=self.stream)
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
            on_frames=on_frames,
        )
        sha256 = sha256_of(path, lambda: on_frames(0))
        predictions = []
        for region, walk in zip(regions, walked.walks, strict=True):
            labels, probabilities = postprocess(walk.probabilities, self.post)
            place = "" if region is None else str(region)
            shown = (region.height, region.width) if region else (info.height, info.width)
            predictions.append(
                Prediction(
                    name=recording_name(path.stem, region),
                    video=path.name,
                    line=walked.line,
                    probabilities=probabilities[walk.steps],
                    classes=labels[walk.steps],
                    raw=walk.probabilities.argmax(axis=1).astype(np.int8)[walk.steps],
                    warnings=(
                        *_find_resizing(shown, size),
                        *walked.warnings,
                        *find_drift(walk.look, self.checkpoint.data["look"]),
                    ),
                    learnt_part=self.checkpoint.learnt_part(sha256=sha256, region=place),
                    region=place,
                )
            )
        return predictions

    def predict_recording(
        self,
        store: Store,
        recording: int,
        on_frames: Callable[[int], object] = lambda num_frames: None,
    ) -> Prediction:
        """Predict a recording of a cache.

        Raises
        ------
        ConfigError
            Its frames have another size than those of training.
        """
        if store.frame_size != self.checkpoint.frame_size:
            height, width = self.checkpoint.frame_size
            raise ConfigError(
                f"{store.path}: frames are {store.frame_size[1]}x{store.frame_size[0]} px, the "
                f"network learnt from {width}x{height}; preprocess with --size "
                f"{height}x{width} (height x width) into another --output"
            )
        info = store.recordings[recording]
        if not info.has_times:
            raise ConfigError(
                f"{store.path}: does not hold the times of {info.name}, whose rate varies; make it "
                "again with mpar-preprocess"
            )
        meter = LookMeter()
        found = self._predictor.predict(meter.watch(store.stream_steps(recording)), on_frames)
        labels, probabilities = postprocess(found, self.post)
        line = store.line(recording)
        assert info.rate is not None
        if info.has_own_steps:
            steps = find_steps(line, info.rate, info.num_steps)
        else:
            steps = np.arange(info.num_frames)
        return Prediction(
            name=info.name,
            video=info.video,
            line=line,
            probabilities=probabilities[steps],
            classes=labels[steps],
            raw=found.argmax(axis=1).astype(np.int8)[steps],
            warnings=(
                *info.warnings,
                *find_drift(meter.look(info.rate), self.checkpoint.data["look"]),
            ),
            learnt_part=self.checkpoint.learnt_part(
                sha256=info.sha256, region=info.region, group=info.group
            ),
            start_frame=info.start_frame,
            video_num_frames=info.video_num_frames,
            region=info.region,
        )


def _find_resizing(source: tuple[int, int], size: tuple[int, int]) -> list[str]:
    """Say that frames of a (height, width) are resized to that of the training frames."""
    if source == size:
        return []
    squeeze = squeeze_of(
        source,
        size,
        "this is right only if the videos of training had its shape: else crop it, or film alike",
    )
    return [
        squeeze
        or f"frames are {source[1]}x{source[0]} px, resized to {size[1]}x{size[0]} as in training"
    ]


def fitted_post(checkpoint: Checkpoint) -> PostConfig:
    """Return the post-processing that was fitted with a network."""
    return PostConfig.from_dict(checkpoint.post.get("config", {}))


@dataclass(frozen=True, slots=True)
class Source:
    """A video, or a recording of a cache, to be predicted.

    Parameters
    ----------
    path : Path
        The video or the cache.
    names : tuple of str
        Of its recordings: one an animal.
    regions : tuple of (Region or None)
        Where each animal lives, None for the whole picture.
    recording : int, optional
        Position in a cache.
    """

    path: Path
    names: tuple[str, ...]
    regions: tuple[Region | None, ...] = (None,)
    recording: int | None = None


def find_sources(
    paths: Iterable[Path | str], regions: RegionTable | Sequence[Region] = ()
) -> tuple[list[Source], list[Problem]]:
    """List what is to be predicted: videos, the videos of folders, the recordings of caches.

    Parameters
    ----------
    paths : iterable of Path or str
        Videos, folders and caches.
    regions : RegionTable or sequence of Region
        Where animals live: by video, or in all videos alike.

    Returns
    -------
    sources : list of Source
        With different names, since the outputs are named after them.
    problems : list of Problem
        Names that occur twice, and files that do not exist or cannot be read.

    Raises
    ------
    ConfigError
        There is nothing to predict.
    """
    recordings: list[Source] = []
    videos: list[Path] = []
    problems = []
    for path in map(Path, paths):
        if path.is_dir():
            warn_of_unread([*VIDEO_SUFFIXES, *ANNOTATION_SUFFIXES], path)
            videos += find_files(path, VIDEO_SUFFIXES)
        elif path.suffix.lower() in STORE_SUFFIXES:
            try:
                with Store(path) as store:
                    recordings += [
                        Source(path, (info.name,), recording=i)
                        for i, info in enumerate(store.recordings)
                    ]
            except StoreError as error:
                problems.append(Problem(path.name, 0, str(error)))
        else:
            videos.append(path)
    if isinstance(regions, RegionTable):
        found, more = regions.share_out(videos)
        problems += more
    else:
        found = {video: tuple(regions) for video in videos if regions}
    sources = [*(_of_video(video, found.get(video, (None,))) for video in videos), *recordings]
    first: dict[str, Source] = {}
    good = []
    for source in sources:
        # disks of Windows and macOS do not tell capitals apart
        others = [first.setdefault(folded(name), source) for name in source.names]
        other = next((other for other in others if other is not source), None)
        if other is None:
            good.append(source)
            continue
        problems.append(
            Problem.of(
                source.path,
                f"its predictions would have the same file name as those of {other.path}; rename "
                "one, or predict it into another folder",
            )
        )
    if not sources and not problems:
        raise ConfigError("sources: found no video in them; check the paths")
    return good, problems


def _of_video(video: Path, regions: Sequence[Region | None]) -> Source:
    return Source(video, tuple(recording_name(video.stem, r) for r in regions), tuple(regions))


def predict_sources(
    network: ActionRecognitionInference,
    sources: Sequence[Source],
    output_folder: Path | str,
    *,
    config: OutputConfig | None = None,
    overwrite: bool = False,
    quiet: bool = True,
    team: Team = ALONE,
) -> tuple[list[Written], list[Problem]]:
    """Predict sources and write each as soon as it is done.

    Parameters
    ----------
    network : ActionRecognitionInference
        Predicts.
    sources : sequence of Source
        From `find_sources`.
    output_folder : Path or str
        Made if it is missing.
    config : OutputConfig, optional
        How to write.
    overwrite : bool
        Replace predictions that are there already.
    quiet : bool
        Show no progress bar.
    team : Team
        The processes that share out the sources; each returns what all of them wrote.

    Returns
    -------
    written : list of Written
        What was written.
    problems : list of Problem
        Sources that were skipped.

    Raises
    ------
    ConfigError
        Outputs exist already, or a summary of other classes, and `overwrite` is not set.
    """
    config = config or OutputConfig()
    folder = Path(output_folder)
    if not overwrite:
        team.led(lambda: _refuse_existing(folder, sources, network.class_names))
    own = team.share_of(sources)
    results: list[tuple[list[Written], list[Problem]]] = [([], [])] * len(own)
    num_frames = 0
    with tqdm(
        total=len(own),
        desc="predicting",
        unit="video",
        disable=quiet or not team.is_leader or None,
    ) as bar:

        def predict_one(source: Source, on_step: Callable[[], None]) -> list[Prediction]:
            def on_frames(num_new: int) -> None:
                nonlocal num_frames
                on_step()
                num_frames += num_new
                bar.set_postfix_str(f"{num_frames:,} frames")

            return _predict(network, source, on_frames)

        # while the last stretches of one video are evaluated the next is being decoded
        with contextlib.closing(side_by_side(predict_one, own, workers=2)) as done:
            for i, get_result in done:
                bar.update()
                try:
                    predictions = get_result()
                except InputError as error:
                    results[i] = [], list(error.problems)
                    continue
                except HangError as error:
                    results[i] = [], [Problem.of(own[i].path, str(error))]
                    continue
                written = [_write(network, folder, p, config) for p in predictions]
                results[i] = written, []
    results = team.gather_shares(results)
    return [w for found, _ in results for w in found], [p for _, bad in results for p in bad]


def _write(
    network: ActionRecognitionInference, folder: Path, found: Prediction, config: OutputConfig
) -> Written:
    """Write a prediction and its row of the summary."""
    checkpoint = network.checkpoint
    row = write_prediction(
        folder, found, checkpoint.class_map, config, network.post, checkpoint.provenance()
    )
    update_summary(folder / SUMMARY_NAME, row)
    return Written(
        name=found.name,
        video=found.video,
        num_frames=len(found.probabilities),
        warnings=found.warnings,
    )


def _refuse_existing(folder: Path, sources: Sequence[Source], class_names: Sequence[str]) -> None:
    """Raise ConfigError if predictions would replace files, or a summary is of other classes."""
    existing = [
        path.name
        for source in sources
        for name in source.names
        for path in output_paths(folder, name).values()
        if path.exists()
    ]
    if existing:
        shown = ", ".join(existing[:3]) + (" ..." if len(existing) > 3 else "")
        raise ConfigError(
            f"{folder}: {len(existing)} files exist already ({shown}); pass --overwrite to replace "
            "them, or choose another --output"
        )
    check_summary(folder / SUMMARY_NAME, class_names)


def _predict(
    network: ActionRecognitionInference, source: Source, on_frames: Callable[[int], object]
) -> list[Prediction]:
    """Predict a source; InputError says why not."""
    try:
        if source.recording is None:
            return network.predict_regions(source.path, source.regions, on_frames)
        with Store(source.path) as store:
            return [network.predict_recording(store, source.recording, on_frames)]
    except (ConfigError, StoreError) as error:
        raise InputError([Problem(source.path.name, 0, str(error))]) from None


def predict_multiple_videos(
    checkpoint_path: Path | str,
    video_paths: Iterable[Path | str],
    output_dir: Path | str,
    stride: int = 1,
    *,
    device: str = "auto",
    overwrite: bool = False,
    quiet: bool = True,
) -> list[Path]:
    """Predict videos (or folders of videos, or caches) and write the predictions.

    Parameters
    ----------
    checkpoint_path : Path or str
        A ``.pt`` file of mpar-train.
    video_paths : iterable of Path or str
        As for `find_sources`.
    output_dir : Path or str
        Gets the CSV files.
    stride : int
        Write every `stride`-th frame.
    device, overwrite, quiet
        As elsewhere.

    Returns
    -------
    list of Path
        The prediction CSVs.

    Raises
    ------
    InputError
        Some videos could not be predicted; all others are done and written.
    """
    network = ActionRecognitionInference(checkpoint_path, device)
    sources, problems = find_sources(video_paths, network.regions)
    written, more = predict_sources(
        network,
        sources,
        output_dir,
        config=OutputConfig(stride=stride),
        overwrite=overwrite,
        quiet=quiet,
    )
    if problems + more:
        raise InputError(problems + more)
    return [output_paths(Path(output_dir), w.name)["predictions"] for w in written]
