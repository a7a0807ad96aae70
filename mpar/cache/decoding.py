"""Decode the videos of a cache in parallel, except those that an earlier run decoded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mpar.cache.collecting import Video
from mpar.cache.config import PreprocessConfig
from mpar.cache.staging import (
    Decoded,
    Facts,
    blank,
    count_frames,
    load_part,
    stage_pieces,
    stage_video,
)
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError, Problem, StoreError
from mpar.system.team import Team
from mpar.system.workers import HangError, run_parallel
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine, line_from_times

# by SHA-256 of the video: one per source
Parts = dict[str, list[Decoded]]


def find_known(
    videos: Sequence[Video], old: Store | None, staging: Path, config: PreprocessConfig
) -> Parts:
    """Return the recordings that earlier runs decoded, after a check of their checksums."""
    known = {}
    for video in videos:
        parts = [_find_part(video, region, old, staging, config) for region in video.regions]
        found = [part for part in parts if part is not None]
        if len(found) == len(parts):
            known[video.sha256] = found
    return known


def _find_part(
    video: Video, region: Region | None, old: Store | None, staging: Path, config: PreprocessConfig
) -> Decoded | None:
    part = load_part(video.sha256, staging, config.making, region)
    if part is not None or old is None:
        return part
    return _find_in_old(video, region, old, staging, config)


def _find_in_old(
    video: Video, region: Region | None, old: Store, staging: Path, config: PreprocessConfig
) -> Decoded | None:
    """Return a recording that the existing cache holds completely, else None."""
    new = config.to_dict()
    if any(old.config.get(key) != new[key] for key in ("size", "stream", "fps")):
        return None
    where = "" if region is None else str(region)
    pieces = [
        i
        for i, info in enumerate(old.recordings)
        if info.sha256 == video.sha256 and info.region == where
    ]
    pieces.sort(key=lambda i: old.recordings[i].start_frame)
    infos = [old.recordings[i] for i in pieces]
    if not all(info.has_times for info in infos):
        return None
    if not infos or sum(i.num_frames for i in infos) != infos[0].video_num_frames:
        return None
    try:
        frames = [old.frames(i) for i in pieces]
        times = np.concatenate([old.times(i) for i in pieces])
    except StoreError:  # damaged: decode it again
        return None
    line = line_from_times(times, infos[0].fps)
    if (
        video.info.is_rate_guessed and config.fps is None
    ):  # its rate in the cache may come from labels
        line = TimeLine(line.num_frames, video.info.fps, is_guess=True)
    facts = Facts(line, infos[0].warnings)
    if len(frames) == 1 and os.name != "nt":  # Windows cannot replace a mapped file
        return Decoded(frames[0], facts, old.chunk_hashes(pieces[0]))
    return stage_pieces(frames, video.sha256, staging, config.making, region, facts)


def decode_into(
    staging: Path, videos: Sequence[Video], config: PreprocessConfig, workers: int, quiet: bool
) -> tuple[Parts, list[Problem]]:
    """Decode videos into the staging folder."""
    return _decode_all(
        videos,
        lambda video, **how: stage_video(
            video.path, video.sha256, staging, config.making, video.regions, **how
        ),
        workers,
        quiet,
    )


def count_all(
    videos: Sequence[Video], config: PreprocessConfig, workers: int, quiet: bool, team: Team
) -> tuple[Parts, list[Problem]]:
    """Decode videos without storing their frames."""
    decoded, bad = _decode_all(
        team.share_of(videos),
        lambda video, **how: count_frames(video.path, config.making, video.regions, **how),
        workers,
        quiet,
    )
    # only the shape of the frames matters, so only that is sent
    packed = {
        sha: [(part.frames.shape[1:], part.facts) for part in parts]
        for sha, parts in decoded.items()
    }
    for found in team.gather(packed):
        decoded |= {sha: [blank(*part) for part in parts] for sha, parts in found.items()}
    return decoded, [problem for found in team.gather(bad) for problem in found]


def load_others(video: Video, staging: Path, config: PreprocessConfig) -> list[Decoded]:
    """Return recordings that another process staged."""
    parts = [load_part(video.sha256, staging, config.making, region) for region in video.regions]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        raise ConfigError(
            f"{staging}: cannot read the frames that another process decoded; put this folder on a "
            "disk that all processes share"
        )
    return found


def _decode_all(
    videos: Sequence[Video],
    decode: Callable[..., list[Decoded]],
    workers: int,
    quiet: bool,
) -> tuple[Parts, list[Problem]]:
    """Decode videos in parallel threads; the decoder releases the interpreter."""
    # each video is decoded by one thread; with a single video, the other cores may resize
    threads = 1 if min(workers, len(videos)) > 1 else 0
    total = sum(video.info.num_frames_hint for video in videos)
    decoded: Parts = {}
    problems: list[Problem] = []
    with tqdm(total=total, desc="decoding", unit="frame", disable=quiet or None) as bar:

        def decode_one(video: Video, on_step: Callable[[], None]) -> list[Decoded]:
            def on_frames(num_frames: int) -> None:
                on_step()
                bar.update(num_frames)

            return decode(video, threads=threads, on_frames=on_frames)

        with contextlib.closing(run_parallel(decode_one, videos, workers=workers)) as done:
            for i, result in done:
                try:
                    decoded[videos[i].sha256] = result()
                except InputError as error:
                    problems += error.problems
                except HangError as error:
                    problems.append(Problem.of(videos[i].path, str(error)))
    return decoded, problems
