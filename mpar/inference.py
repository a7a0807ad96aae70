"""Predict every frame of videos and caches with a trained network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
from mpar.network.checkpoint import Checkpoint, load_checkpoint
from mpar.network.dense import DensePredictor
from mpar.network.devices import select_device
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
from mpar.video.videos import Decoding, probe_video, squeeze_of

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
    ) -> None:
        self.checkpoint: Checkpoint = load_checkpoint(checkpoint_path)
        self.post = fitted_post(self.checkpoint) if post is None else post
        self.class_names = self.checkpoint.class_map.class_names
        given = self.checkpoint.data["config"].get("stream")
        self.stream: int | None = given if stream is None else stream
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
        InputError
            The video cannot be decoded.
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
            "fps": float(prediction.fps),
            "class_names": list(self.class_names),
            "warnings": list(prediction.warnings),
            "predictions": rows,
        }

    def predict(
        self,
        video_path: Path | str,
        on_frames: Callable[[int], object] = lambda num_frames: None,
    ) -> Prediction:
        """Predict a video, as arrays. Raises InputError when it cannot be decoded."""
        path = Path(video_path)
        info = probe_video(path, stream=self.stream)
        source, size = (info.height, info.width), self.checkpoint.frame_size
        decoding = Decoding(path, size=None if source == size else size, stream=self.stream)
        meter = LookMeter()
        found = self._predictor.predict(meter.watch(decoding), on_frames)
        fps = decoding.info.fps if decoding.line.fps is None else decoding.line.fps
        labels, probabilities = postprocess(found, self.post)
        warnings = [
            *_find_resizing(source, size),
            *decoding.warnings,
            *find_drift(meter.look(fps), self.checkpoint.data["look"]),
        ]
        return Prediction(
            name=path.stem,
            video=path.name,
            fps=fps,
            probabilities=probabilities,
            classes=labels,
            raw=found.argmax(axis=1).astype(np.int8),
            warnings=tuple(warnings),
            learnt_part=self.checkpoint.learnt_part(sha256=sha256_of(path, lambda: on_frames(0))),
            times=decoding.line.times,
            is_steady=decoding.line.times is None,
            is_rate_guessed=info.is_rate_guessed,
        )

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
        meter = LookMeter()
        frames = meter.watch(store.stream(recording))
        found = self._predictor.predict(frames, on_frames)
        labels, probabilities = postprocess(found, self.post)
        return Prediction(
            name=info.name,
            video=info.video,
            fps=info.fps,
            probabilities=probabilities,
            classes=labels,
            raw=found.argmax(axis=1).astype(np.int8),
            warnings=(
                *info.warnings,
                *find_drift(meter.look(info.fps), self.checkpoint.data["look"]),
            ),
            learnt_part=self.checkpoint.learnt_part(sha256=info.sha256, group=info.group),
            start_frame=info.start_frame,
            video_num_frames=info.video_num_frames,
            is_steady=info.has_times,
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
    """A video, or a recording of a cache, to be predicted."""

    name: str
    path: Path
    recording: int | None = None


def find_sources(paths: Iterable[Path | str]) -> tuple[list[Source], list[Problem]]:
    """List what is to be predicted: videos, the videos of folders, the recordings of caches.

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
    sources: list[Source] = []
    problems = []
    for path in map(Path, paths):
        if path.is_dir():
            warn_of_unread([*VIDEO_SUFFIXES, *ANNOTATION_SUFFIXES], path)
            sources += [Source(video.stem, video) for video in find_files(path, VIDEO_SUFFIXES)]
        elif path.suffix.lower() in STORE_SUFFIXES:
            try:
                with Store(path) as store:
                    sources += [Source(r.name, path, i) for i, r in enumerate(store.recordings)]
            except StoreError as error:
                problems.append(Problem(path.name, 0, str(error)))
        else:
            sources.append(Source(path.stem, path))
    first: dict[str, Source] = {}
    for source in sources:
        # disks of Windows and macOS do not tell capitals apart
        if first.setdefault(folded(source.name), source) is not source:
            other = first[folded(source.name)].path
            problems.append(
                Problem.of(
                    source.path,
                    f"its predictions would have the same file name as those of {other}; rename "
                    "one, or predict it into another folder",
                )
            )
    if not sources and not problems:
        raise ConfigError("sources: found no video in them; check the paths")
    return list(first.values()), problems


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
    results: list[Written | list[Problem]] = [[]] * len(own)
    num_frames = 0
    with tqdm(
        total=len(own),
        desc="predicting",
        unit="video",
        disable=quiet or not team.is_leader or None,
    ) as bar:

        def predict_one(source: Source, on_step: Callable[[], None]) -> Prediction | list[Problem]:
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
                    result = get_result()
                except HangError as error:
                    result = [Problem.of(own[i].path, str(error))]
                if isinstance(result, Prediction):
                    row = write_prediction(
                        folder,
                        result,
                        network.checkpoint.class_map,
                        config,
                        network.post,
                        network.checkpoint.provenance(),
                    )
                    update_summary(folder / SUMMARY_NAME, row)
                    results[i] = Written(
                        name=result.name,
                        video=result.video,
                        num_frames=len(result.probabilities),
                        warnings=result.warnings,
                    )
                else:
                    results[i] = result
    results = team.gather_shares(results)
    written = [result for result in results if isinstance(result, Written)]
    return written, [p for result in results if not isinstance(result, Written) for p in result]


def _refuse_existing(folder: Path, sources: Sequence[Source], class_names: Sequence[str]) -> None:
    """Raise ConfigError if predictions would replace files, or a summary is of other classes."""
    existing = [
        path.name
        for source in sources
        for path in output_paths(folder, source.name).values()
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
) -> Prediction | list[Problem]:
    """Predict a source, or say why not."""
    try:
        if source.recording is None:
            return network.predict(source.path, on_frames)
        with Store(source.path) as store:
            return network.predict_recording(store, source.recording, on_frames)
    except InputError as error:
        return list(error.problems)
    except (ConfigError, StoreError) as error:
        return [Problem(source.path.name, 0, str(error))]


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
    sources, problems = find_sources(video_paths)
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
