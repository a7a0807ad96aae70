"""Collect the inputs of a cache: videos, their properties, and their labels."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from mpar.cache.notes import Regions
from mpar.cache.preprocess_config import PreprocessConfig
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.classes import ClassMap
from mpar.matching.groups import find_group, warn_of_groups
from mpar.matching.pairing import find_recordings, warn_of_unread_labels
from mpar.matching.regions import RegionTable
from mpar.matching.sources import Source
from mpar.matching.tracks import TrackFolder
from mpar.system.faults import contained
from mpar.system.files import sha256_of
from mpar.system.folders import Folders, list_folders
from mpar.system.team import Team
from mpar.system.workers import HangError, run_parallel
from mpar.video.animal_size import Filmed, measure_side
from mpar.video.regions import sized
from mpar.video.videos import VideoInfo, probe_video, squeeze_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Video:
    """A video with readable label files.

    Parameters
    ----------
    sources : tuple of Source
        One per animal.
    groups : tuple of str
        The animal of each source.
    sha256, size_bytes, info
        Checksum, size and properties of the file.
    """

    sources: tuple[Source, ...]
    groups: tuple[str, ...]
    sha256: str
    size_bytes: int
    info: VideoInfo

    @property
    def path(self) -> Path:
        """The file."""
        return self.sources[0].video

    @property
    def regions(self) -> Regions:
        """The region of each source."""
        return [source.region for source in self.sources]


def collect(
    video_folder: Folders,
    annotation_folder: Path | str,
    class_map: ClassMap,
    config: PreprocessConfig,
    workers: int,
    team: Team,
) -> tuple[list[Video], list[Problem]]:
    """Pair, group and check everything that is quick to read, before slow steps start.

    Returns the videos that can be decoded, with their labels, and the problems of all others.
    """
    if team.is_leader:
        warn_of_unread_labels(*list_folders(video_folder), annotation_folder)
    sources, problems = find_recordings(
        video_folder,
        annotation_folder,
        class_map,
        config,
        regions=config.regions,
        warns=team.is_leader,
    )
    paths = list(dict.fromkeys(source.video for source in sources))
    facts = dict(zip(paths, _look_at_all(paths, config.stream, workers, team), strict=True))
    videos, more = gather_videos(sources, facts, config)
    problems += more
    if team.is_leader:
        sources = [source for video in videos for source in video.sources]
        warn_of_groups([source.path.stem for source in sources], config.group_pattern)
        _warn_of_shapes(videos, config)
    return videos, problems


def gather_videos(
    sources: Sequence[Source],
    facts: Mapping[Path, tuple[str, VideoInfo] | InputError],
    config: PreprocessConfig,
) -> tuple[list[Video], list[Problem]]:
    """Return the videos that can be decoded, with their labels, and the problems of all others.

    `facts` holds the SHA-256 and the properties of each video, or its error.
    """
    videos: list[Video] = []
    problems: list[Problem] = []
    first: dict[str, Path] = {}
    # the sources of a video follow each other
    for path, group in itertools.groupby(sources, lambda source: source.video):
        mine, fact = list(group), facts[path]
        if isinstance(fact, InputError):
            problems += [problem for source in mine for problem in source.problems]
            problems += fact.problems
            continue
        good, groups, bad = _group(mine, config.group_pattern)
        problems += bad
        if not good:
            continue
        sha256, info = fact
        if sha256 in first:
            # a copy could put the same frames on both sides of a split
            message = f"has the same content as {first[sha256].name}; remove one of them"
            problems.append(Problem.of(path, "same-content", message))
            continue
        first[sha256] = path
        for source in good:
            source.region = sized(source.region, info.height, info.width)
        videos.append(Video(tuple(good), tuple(groups), sha256, path.stat().st_size, info))
    return videos, problems


def _group(
    sources: Sequence[Source], pattern: str | None
) -> tuple[list[Source], list[str], list[Problem]]:
    """Return the sources whose labels could be read, the animal of each, and other problems."""
    good, groups, problems = [], [], []
    for source in sources:
        found = list(source.problems)
        try:
            group = find_group(source.path, pattern)
        except InputError as error:
            found += error.problems
        problems += found
        if not found:
            good.append(source)
            groups.append(group)
    return good, groups, problems


def _look_at_all(
    paths: Sequence[Path], stream: int | None, workers: int, team: Team
) -> list[tuple[str, VideoInfo] | InputError]:
    """Return the SHA-256 and the properties of each video, or its error."""
    paths = team.share_of(paths)
    own: list[Any] = [None] * len(paths)

    def look_at(path: Path, on_step: Callable[[], None]) -> tuple[str, VideoInfo] | InputError:
        try:
            with contained(path):
                sha256 = sha256_of(path, on_step)
                return sha256, probe_video(path, stream=stream, on_packets=on_step)
        except InputError as error:
            return error
        except OSError as error:  # a broken link, no permission
            return InputError.of(
                path, "unreadable", f"cannot be read ({error.strerror}); check the file"
            )

    with contextlib.closing(run_parallel(look_at, paths, workers=workers)) as done:
        for i, result in done:
            try:
                own[i] = result()
            except HangError as error:
                own[i] = InputError.of(paths[i], "hangs", str(error))
    return team.gather_shares(own)


def usual_rate(videos: Sequence[Video], old_config: dict[str, Any] | None) -> Fraction | None:
    """Return the rate of a cache: that of the existing one, else that of most videos.

    Videos that do not state a rate do not count.
    """
    if old_config and old_config.get("rate"):
        return Fraction(old_config["rate"])
    rates = Counter(video.info.fps for video in videos if not video.info.is_rate_guessed)
    return max(rates, key=lambda rate: (rates[rate], rate)) if rates else None


def name_points(
    videos: Sequence[Video], config: PreprocessConfig, old_config: dict[str, Any] | None
) -> RegionTable | TrackFolder | None:
    """Return the regions of a cache; tracks name the key points that squares are around.

    By default, these are all key points of the tracks. A cache of an earlier version names none.

    Raises
    ------
    ConfigError
        Tracks have other key points than those of another video, and none were chosen.
    """
    regions = config.regions
    if not isinstance(regions, TrackFolder) or regions.points:
        return regions
    if old_config and old_config.get("tracks") == []:
        return regions
    tracks = [r.track for video in videos for r in video.regions if r is not None and r.track]
    files = {track.points: track.path.name for track in tracks}
    if len(files) > 1:
        (expected, first), (found, other) = list(files.items())[:2]
        raise ConfigError(
            f"{other}: found the key points {', '.join(found)}, expected {', '.join(expected)} as "
            f"in {first}, since squares are around all of them; pass --track-points with some that "
            "all tracks have"
        )
    return replace(regions, points=next(iter(files), ()))


def follow_size(
    videos: Sequence[Video], config: PreprocessConfig, old_config: dict[str, Any] | None
) -> int | None:
    """Return the side of the squares of a cache in px of the videos; None without following.

    It is the one given, else that of the existing cache, else measured
    (`mpar.video.animal_size.measure_side`).
    """
    if not config.follow or config.follow_size:
        return config.follow_size
    if old_config and old_config.get("follow_size"):
        return int(old_config["follow_size"])
    return measure_side(
        [Filmed(video.path, video.info, video.regions) for video in videos],
        size=config.size,
        stream=config.stream,
    )


def _warn_of_shapes(videos: Sequence[Video], config: PreprocessConfig) -> None:
    """Warn if one size squeezes some videos differently from others."""
    first: dict[tuple[int, int], Path] = {}
    for video in videos if config.size else ():
        for region in video.regions:
            info = video.info
            size = (region.height, region.width) if region else (info.height, info.width)
            if all(squeeze_of(size, other) for other in first):
                first[size] = video.path
    if len(first) > 1:
        log.warning(
            "the videos have %d shapes (%s), and one --size squeezes each of them differently, "
            "so mice look different in each; crop the videos to one shape first",
            len(first),
            ", ".join(f"{w}x{h} px as in {path.name}" for (h, w), path in first.items()),
        )
