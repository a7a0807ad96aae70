"""Predict every frame of videos and caches with a trained network."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mpar.cache.store import Store, digest_of
from mpar.errors import ConfigError, InputError, Problem, StoreError
from mpar.formats.registry import ANNOTATION_SUFFIXES
from mpar.labels.names import VIDEO_SUFFIXES, folded
from mpar.labels.scorings import Recording
from mpar.matching.regions import RegionTable, recording_name
from mpar.matching.tracks import TrackFolder
from mpar.network.predictor import ActionRecognitionInference, digest_with_track
from mpar.predictions.standing import look_at
from mpar.predictions.writing import (
    SUMMARY_NAME,
    OutputConfig,
    check_summary,
    output_paths,
    update_summary,
    write_prediction,
)
from mpar.system.faults import LOG_NAME, contained, logged
from mpar.system.files import sha256_of
from mpar.system.folders import find_files, warn_of_unread
from mpar.system.progress import Bar
from mpar.system.team import ALONE, Team
from mpar.system.workers import HangError, run_parallel
from mpar.video.regions import Region
from mpar.video.videos import probe_video

STORE_SUFFIXES = (".h5", ".hdf5")


@dataclass(frozen=True, slots=True)
class Input:
    """A video, or a recording of a cache, to predict.

    Parameters
    ----------
    path : Path
        The video or the cache.
    names : tuple of str
        Names of its recordings, one per animal.
    regions : tuple of (Region or None)
        Region of each animal, None for the whole picture.
    recording : int, optional
        Position in a cache.
    """

    path: Path
    names: tuple[str, ...]
    regions: tuple[Region | None, ...] = (None,)
    recording: int | None = None

    def without(self, names: Collection[str]) -> Input:
        """Return the input without some of its recordings."""
        pairs = [
            pair for pair in zip(self.names, self.regions, strict=True) if pair[0] not in names
        ]
        return replace(
            self, names=tuple(name for name, _ in pairs), regions=tuple(r for _, r in pairs)
        )


@dataclass(frozen=True, slots=True)
class Predicted:
    """The results of a run of `predict_inputs`.

    Parameters
    ----------
    written : list of Recording
        The written predictions, without their probabilities.
    kept : list of str
        Names of the recordings whose predictions were there.
    problems : list of Problem
        Sources that were skipped.
    """

    written: list[Recording]
    kept: list[str]
    problems: list[Problem]


def find_inputs(
    paths: Iterable[Path | str], regions: RegionTable | TrackFolder | Sequence[Region] = ()
) -> tuple[list[Input], list[Problem]]:
    """List the inputs to predict: videos, the videos of folders, the recordings of caches.

    Parameters
    ----------
    paths : iterable of Path or str
        Videos, folders and caches.
    regions : RegionTable, TrackFolder or sequence of Region
        Regions or tracks of the animals by video, or the same regions for all videos.

    Returns
    -------
    inputs : list of Input
        Sources with distinct names, since output files take their names.
    problems : list of Problem
        Names that occur twice, and files that do not exist or cannot be read.

    Raises
    ------
    ConfigError
        There is nothing to predict.
    """
    recordings: list[Input] = []
    videos: list[Path] = []
    problems: list[Problem] = []
    for path in map(Path, paths):
        if path.is_dir():
            warn_of_unread([*VIDEO_SUFFIXES, *ANNOTATION_SUFFIXES], path)
            videos += find_files(path, VIDEO_SUFFIXES)
        elif path.suffix.lower() in STORE_SUFFIXES:
            try:
                with contained(path, with_disk=True), Store(path) as store:
                    recordings += [
                        Input(path, (info.name,), recording=i)
                        for i, info in enumerate(store.recordings)
                    ]
            except InputError as error:
                problems += error.problems
            except StoreError as error:
                problems.append(Problem(path.name, 0, str(error), "damaged"))
        else:
            videos.append(path)
    num_videos = len(videos)
    if isinstance(regions, (RegionTable, TrackFolder)):
        found, more = regions.by_video(videos)
        problems += more
        if isinstance(regions, TrackFolder):
            videos = [*found]
            found = {video: _sized(video, mine) for video, mine in found.items()}
    else:
        found = {video: tuple(regions) for video in videos if regions}
    inputs = [*(_of_video(video, found.get(video, (None,))) for video in videos), *recordings]
    first: dict[str, Input] = {}
    good = []
    for item in inputs:
        # file names on Windows and macOS ignore capitals
        others = [first.setdefault(folded(name), item) for name in item.names]
        other = next((other for other in others if other is not item), None)
        if other is None:
            good.append(item)
            continue
        problems.append(
            Problem.of(
                item.path,
                "same-name",
                f"its predictions would have the same file name as those of {other.path}; rename "
                "one, or predict one into another folder",
            )
        )
    if not inputs and not num_videos and not problems:
        raise ConfigError("sources: found no video, expected at least one; check the paths")
    return good, problems


def _sized(video: Path, regions: Sequence[Region]) -> tuple[Region, ...]:
    """Return tracked regions of a video with their size, if it can be opened."""
    with contextlib.suppress(InputError):  # reported when it is predicted
        info = probe_video(video)
        return tuple(replace(r, height=info.height, width=info.width) for r in regions)
    return tuple(regions)


def _of_video(video: Path, regions: Sequence[Region | None]) -> Input:
    return Input(video, tuple(recording_name(video.stem, r) for r in regions), tuple(regions))


def predict_inputs(
    network: ActionRecognitionInference,
    inputs: Sequence[Input],
    output_folder: Path | str,
    *,
    config: OutputConfig | None = None,
    overwrite: bool = False,
    quiet: bool = True,
    team: Team = ALONE,
) -> Predicted:
    """Predict inputs and write each as soon as it is finished.

    Parameters
    ----------
    network : ActionRecognitionInference
        The network.
    inputs : sequence of Input
        From `find_inputs`.
    output_folder : Path or str
        Created if it does not exist. Predictions in it that this network made of the same videos
        with the same options are kept (`mpar.predictions.standing`).
    config : OutputConfig, optional
        How to write.
    overwrite : bool
        Replace all existing predictions.
    quiet : bool
        Show no progress bar.
    team : Team
        The processes that share the inputs; each returns the results of all.

    Returns
    -------
    Predicted
        What was written, kept and skipped.

    Raises
    ------
    ConfigError
        Other outputs or a summary of other classes exist, and `overwrite` is False.
    """
    config = config or OutputConfig()
    folder = Path(output_folder)
    kept: list[str] = []
    if not overwrite:
        kept = team.on_leader(lambda: _find_kept(network, folder, inputs, config))
    own = team.share_of([rest for item in inputs if (rest := item.without(kept)).names])
    results: list[tuple[list[Recording], list[Problem]]] = [([], [])] * len(own)
    num_frames = 0
    with Bar(
        total=len(own),
        desc="predicting",
        unit="video",
        quiet=quiet or not team.is_leader,
    ) as bar:

        def predict_one(item: Input, on_step: Callable[[], None]) -> list[Recording]:
            def on_frames(num_new: int) -> None:
                nonlocal num_frames
                on_step()
                num_frames += num_new
                bar.set_postfix_str(f"{num_frames:,} frames")

            return _predict(network, item, on_frames)

        # two workers: one decodes the next video while the other finishes the last stretches
        with contextlib.closing(run_parallel(predict_one, own, workers=2)) as done:
            for i, get_result in done:
                bar.update()
                path = own[i].path
                try:
                    with contained(path, with_disk=True):
                        predictions = get_result()
                except InputError as error:
                    results[i] = [], list(error.problems)
                    continue
                except HangError as error:
                    results[i] = [], [Problem.of(path, "hangs", str(error))]
                    continue
                results[i] = [], []
                for prediction in predictions:
                    try:
                        with contained(path, with_disk=True):
                            results[i][0].append(_write(network, folder, prediction, config))
                    except InputError as error:
                        results[i][1].extend(error.problems)
    results = [(found, logged(bad, folder / LOG_NAME)) for found, bad in results]
    results = team.gather_shares(results)
    written = [item for found, _ in results for item in found]
    return Predicted(written, kept, [problem for _, bad in results for problem in bad])


def _write(
    network: ActionRecognitionInference, folder: Path, found: Recording, config: OutputConfig
) -> Recording:
    """Write a prediction and its row of the summary."""
    class_map = network.checkpoint.class_map
    row = write_prediction(folder, found, class_map, config, network.post, network.how())
    update_summary(folder / SUMMARY_NAME, row)
    return replace(found, probabilities=np.empty((0, 0), np.float32), raw=None)


def _find_kept(
    network: ActionRecognitionInference,
    folder: Path,
    inputs: Sequence[Input],
    config: OutputConfig,
) -> list[str]:
    """Return the recordings whose predictions are there, and complete the summary.

    Raises
    ------
    ConfigError
        Files of other predictions would be replaced, or the summary has other classes.
    """
    check_summary(folder / SUMMARY_NAME, network.class_names)
    how = network.how() | dataclasses.asdict(config)
    rows, reasons = [], []
    for item in inputs:
        digest = functools.cache(functools.partial(_digest_of, item))
        for name, region in zip(item.names, item.regions, strict=True):
            # a recording of a cache has its region from there
            wanted = how if item.recording is not None else how | {"region": str(region or "")}
            found = look_at(folder, name, wanted, functools.partial(_with_track, digest, region))
            if found.reason:
                reasons.append(found.reason)
            elif found.is_kept:
                rows.append(found.summary)
    if reasons:
        more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise ConfigError(
            f"{folder}: holds files that this run would replace: {'; '.join(reasons[:3])}{more}; "
            "pass --overwrite to predict all videos again, move these files away, or choose "
            "another --output"
        )
    if rows:
        update_summary(folder / SUMMARY_NAME, *rows)
    return [row["video"] for row in rows]


def _with_track(digest: Callable[[], str], region: Region | None) -> str:
    found = digest()
    return found and digest_with_track(found, region)


def _digest_of(item: Input) -> str:
    """Return the digest of an input, "" if it cannot be read."""
    try:
        if item.recording is None:
            return sha256_of(item.path)
        with Store(item.path) as store:
            return digest_of(store, item.recording)
    except (OSError, StoreError):
        return ""


def _predict(
    network: ActionRecognitionInference, item: Input, on_frames: Callable[[int], object]
) -> list[Recording]:
    """Predict an input; raise InputError if that fails."""
    try:
        if item.recording is None:
            return network.predict_regions(item.path, item.regions, on_frames)
        with Store(item.path) as store:
            return [network.predict_recording(store, item.recording, on_frames)]
    except (ConfigError, StoreError) as error:
        code = "damaged" if isinstance(error, StoreError) else "does-not-fit"
        # they name the file themselves, by its path or name
        message = str(error).removeprefix(f"{item.path}: ").removeprefix(f"{item.path.name}: ")
        raise InputError([Problem(item.path.name, 0, message, code)]) from None


def predict_multiple_videos(
    checkpoint_path: Path | str,
    video_paths: Iterable[Path | str],
    output_dir: Path | str,
    stride: int = 1,
    *,
    tracks: Path | str | None = None,
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
        As for `find_inputs`.
    output_dir : Path or str
        Gets the CSV files.
    stride : int
        Write every `stride`-th frame.
    tracks : Path or str, optional
        Folder with the key points of these videos; only for a network that learnt with tracks,
        which needs it. Each animal in them has predictions of its own.
    device
        As for `ActionRecognitionInference`.
    overwrite, quiet
        As for `predict_inputs`.

    Returns
    -------
    list of Path
        The prediction CSVs, also those that were there.

    Raises
    ------
    InputError
        Some videos could not be predicted; the predictions of all others are written.
    """
    network = ActionRecognitionInference(checkpoint_path, device)
    inputs, problems = find_inputs(video_paths, network.regions_with(tracks))
    found = predict_inputs(
        network,
        inputs,
        output_dir,
        config=OutputConfig(stride=stride),
        overwrite=overwrite,
        quiet=quiet,
    )
    if problems + found.problems:
        raise InputError(problems + found.problems)
    done = {*found.kept, *(item.name for item in found.written)}
    names = [name for item in inputs for name in item.names if name in done]
    return [output_paths(Path(output_dir), name)["predictions"] for name in names]
