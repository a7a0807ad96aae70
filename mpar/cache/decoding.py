"""Fill the new cache: decode videos in parallel, and keep what earlier runs decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mpar.cache.collecting import Video
from mpar.cache.notes import (
    DecodedAnimal,
    Parts,
    Plan,
    load_part,
    new_cache,
    remove_note,
    save_note,
)
from mpar.cache.preprocess_config import PreprocessConfig
from mpar.cache.staging import ViewWriter, count_frames, move_frames, stage_video
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError, Problem, StoreError
from mpar.system.faults import contained
from mpar.system.progress import Bar
from mpar.system.team import Team
from mpar.system.workers import HangError, run_parallel
from mpar.video.following import TrackFollower
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine, line_from_times

_SHARE = (
    "cannot read what another process wrote; put this folder on a disk that all processes share"
)


def find_known(
    videos: Sequence[Video], old: Store | None, staging: Path, config: PreprocessConfig
) -> Parts:
    """Return what earlier runs decoded; the frames in the staging folder match their checksums."""
    known = {}
    for video in videos:
        parts = [_find_part(video, region, old, staging, config) for region in video.regions]
        found = [part for part in parts if part is not None]
        if len(found) == len(parts):
            known[video.sha256] = found
    return known


def _find_part(
    video: Video, region: Region | None, old: Store | None, staging: Path, config: PreprocessConfig
) -> DecodedAnimal | None:
    part = load_part(video.sha256, staging, config.decoding, region)
    if part is None and old is not None:
        part = _find_in_old(video, region, old, config)
    return part if part is None or _follows(part, region, config) else None


def _follows(part: DecodedAnimal, region: Region | None, config: PreprocessConfig) -> bool:
    """Return True if the squares of a part are those of the track of its animal, if it has one."""
    following = config.decoding.following
    if following is None or region is None or region.track is None:
        return True
    follower = TrackFollower(region.track, (region.height, region.width), following.side)
    return part.corners == tuple(follower.square(i)[:2] for i in range(part.line.num_frames))


def _find_in_old(
    video: Video, region: Region | None, old: Store, config: PreprocessConfig
) -> DecodedAnimal | None:
    """Return a part that the existing cache holds completely, else None."""
    new = config.to_dict()
    if any(old.config.get(key) != new[key] for key in ("size", "stream", "fps", "follow_size")):
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
        times = np.concatenate([old.times(i) for i in pieces])
        corners = [corner for i in pieces for corner in old.corners(i).tolist()]
        for i in pieces:
            old.chunk_hashes(i)
            old.seen.chunk_hashes(i)
    except StoreError:  # damaged: decode it again
        return None
    line = line_from_times(times, infos[0].fps)
    if (
        video.info.is_rate_guessed and config.fps is None
    ):  # its rate in the cache may come from labels
        line = TimeLine(line.num_frames, video.info.fps, is_guess=True)
    following = config.decoding.following
    return DecodedAnimal(
        line,
        old.frame_size,
        infos[0].warnings,
        in_old=tuple(pieces),
        square_px=following.size if following else 0,
        corners=tuple((x, y) for x, y in corners),
    )


def settle(
    videos: Sequence[Video], parts: Parts, plan: Plan, staging: Path, config: PreprocessConfig
) -> Parts:
    """Move the frames in the new cache to their places in a plan; forget those without a place.

    Notes
    -----
    Frames are moved only if the labels fit another number of frames than expected, or if inputs
    have changed since a run was interrupted. Their notes follow each step, so that another
    interruption costs one recording at most.
    """
    settled = {sha256: list(found) for sha256, found in parts.items()}
    # from, to, number of bytes, film of a stretch of a part
    moves: list[tuple[int, int, int, tuple[Video, int, int, str]]] = []
    reached = 0
    for video in videos:
        for number, part in enumerate(parts.get(video.sha256, ())):
            targets = plan.get((video.sha256, number), [])
            if not part.stretches:
                continue
            # blocks in another order could overwrite each other
            if not part.fills(targets) or part.stretches[0].place < reached:
                settled[video.sha256][number] = part = replace(part, stretches=())
                save_note(part, video.sha256, staging, config.decoding, video.regions[number])
                continue
            last = part.films(part.stretches[-1])[-1]
            reached = last.place + last.num_bytes(part.stretches[-1].num_frames)
            moves += [
                (
                    film.place,
                    getattr(target, film.field),
                    film.num_bytes(stretch.num_frames),
                    (video, number, i, film.field),
                )
                for i, (stretch, target) in enumerate(zip(part.stretches, targets, strict=True))
                for film in part.films(stretch)
            ]
    # a block that moves down cannot meet one before it, nor one that moves up a later one
    down = [move for move in moves if move[1] < move[0]]
    up = [move for move in moves if move[1] > move[0]]
    for old, new, num_bytes, (video, number, i, field) in (*down, *reversed(up)):
        part, region = settled[video.sha256][number], video.regions[number]
        remove_note(video.sha256, staging, config.decoding, region)
        move_frames(new_cache(staging), old, new, num_bytes)
        stretches = list(part.stretches)
        moved = stretches[i]
        stretches[i] = (
            replace(moved, place=new) if field == "place" else replace(moved, square_place=new)
        )
        settled[video.sha256][number] = part = replace(part, stretches=tuple(stretches))
        save_note(part, video.sha256, staging, config.decoding, region)
    return settled


def lacks_frames(video: Video, parts: Parts, plan: Plan) -> bool:
    """Return True if the new cache is to hold frames of a video that are nowhere yet."""
    known = parts.get(video.sha256)
    for number in range(len(video.sources)):
        targets = plan.get((video.sha256, number), [])
        if targets and not (known and (known[number].in_old or known[number].fills(targets))):
            return True
    return False


def copy_from_old(parts: Parts, plan: Plan, old: Store, staging: Path, quiet: bool) -> Parts:
    """Copy frames of the existing cache to their places in the new one, as planned.

    Returns
    -------
    Parts
        Without those whose frames in the existing cache do not match their checksums.
    """
    parts = {sha256: list(found) for sha256, found in parts.items()}
    todo = [
        (sha256, number, targets)
        for (sha256, number), targets in plan.items()
        if parts[sha256][number].in_old and not parts[sha256][number].fills(targets)
    ]
    total = sum(target.num_frames for _, _, targets in todo for target in targets)
    with Bar(total=total, desc="copying", unit="frame", quiet=quiet) as bar:
        for sha256, number, targets in todo:
            if sha256 not in parts:  # another animal of this video is damaged
                continue
            part = parts[sha256][number]
            try:
                with ViewWriter(new_cache(staging), targets) as writer:
                    for i in part.in_old:
                        seen = old.seen.stream_chunks(i) if old.following else None
                        for frames in old.stream_chunks(i):
                            writer.add(frames, next(seen) if seen else frames)
                            bar.update(len(frames))
                    parts[sha256][number] = replace(part, stretches=writer.end())
            except StoreError:
                del parts[sha256]
    return parts


def decode_into(
    staging: Path,
    videos: Sequence[Video],
    plan: Plan,
    config: PreprocessConfig,
    workers: int,
    quiet: bool,
) -> tuple[Parts, list[Problem]]:
    """Decode videos into their places in the new cache."""
    new = new_cache(staging)
    if videos and not new.exists():
        raise ConfigError(f"{staging}: {_SHARE}")
    writers: dict[str, list[ViewWriter]] = {}

    def decode(video: Video, **how: Any) -> list[DecodedAnimal]:
        mine = writers[video.sha256] = [
            ViewWriter(new, plan.get((video.sha256, number), []))
            for number in range(len(video.sources))
        ]
        return stage_video(
            video.path, video.sha256, staging, config.decoding, video.regions, mine, **how
        )

    def give_up(video: Video) -> None:
        for writer in writers.get(video.sha256, []):
            writer.abandon()

    return _decode_all(videos, decode, workers, quiet, give_up)


def count_all(
    videos: Sequence[Video], config: PreprocessConfig, workers: int, quiet: bool, team: Team
) -> tuple[Parts, list[Problem]]:
    """Decode videos without storing their frames."""
    counted, bad = _decode_all(
        team.share_of(videos),
        lambda video, **how: count_frames(video.path, config.decoding, video.regions, **how),
        workers,
        quiet,
    )
    parts: Parts = {}
    for found in team.gather(counted):
        parts |= found
    return parts, [problem for found in team.gather(bad) for problem in found]


def load_others(video: Video, staging: Path, config: PreprocessConfig) -> list[DecodedAnimal]:
    """Return recordings that another process staged."""
    parts = [load_part(video.sha256, staging, config.decoding, region) for region in video.regions]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts):
        raise ConfigError(f"{staging}: {_SHARE}")
    return found


def _decode_all(
    videos: Sequence[Video],
    decode: Callable[..., list[DecodedAnimal]],
    workers: int,
    quiet: bool,
    give_up: Callable[[Video], object] = lambda video: None,
) -> tuple[Parts, list[Problem]]:
    """Decode videos in parallel threads; the decoder releases the interpreter.

    If one hangs, `give_up` is called with its video.
    """
    # each video is decoded by one thread; with a single video, the other cores may resize
    threads = 1 if min(workers, len(videos)) > 1 else 0
    total = sum(video.info.num_packets for video in videos)
    decoded: Parts = {}
    problems: list[Problem] = []
    with Bar(total=total, desc="decoding", unit="frame", quiet=quiet) as bar:

        def decode_one(video: Video, on_step: Callable[[], None]) -> list[DecodedAnimal]:
            def on_frames(num_frames: int) -> None:
                on_step()
                bar.update(num_frames)

            return decode(video, threads=threads, on_frames=on_frames)

        with contextlib.closing(run_parallel(decode_one, videos, workers=workers)) as done:
            for i, result in done:
                try:
                    with contained(videos[i].path):
                        decoded[videos[i].sha256] = result()
                except InputError as error:
                    problems += error.problems
                except HangError as error:
                    give_up(videos[i])
                    problems.append(Problem.of(videos[i].path, "hangs", str(error)))
    return decoded, problems
