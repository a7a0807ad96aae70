"""Decode videos and lay their labels down in a cache: in parallel, resumable, all or nothing.

Each video is decoded into a staging folder first (``.<cache>.parts/``), so that a run that was
killed goes on with what is done; frames that an existing cache already holds are taken from
there. The cache is then written beside its final name and published by one rename.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mpar.cache.layout import RecordingInfo, hash_chunks
from mpar.cache.replacing import check_loss, check_options, is_same, open_old
from mpar.cache.staging import (
    DecodedVideo,
    blank_video,
    count_frames,
    load_part,
    pack_blank,
    remove_parts,
    sha256_of,
    stage_pieces,
    stage_video,
)
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.errors import ConfigError, InputError, Problem, StoreError
from mpar.labels.annotations import Annotation
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap
from mpar.labels.exchange import ANNOTATION_SUFFIXES, AUTO, READABLE
from mpar.labels.laying import check_unscored, lay
from mpar.labels.names import VIDEO_SUFFIXES
from mpar.labels.pairing import Source, find_group, find_recordings, warn_of_groups
from mpar.labels.recordings import SEVERAL, Recording, check_recording, describe_trials
from mpar.system.files import locked, write_rows
from mpar.system.folders import warn_of_unread
from mpar.system.team import ALONE, Team
from mpar.system.workers import HangError, side_by_side
from mpar.video.timeline import TimeLine
from mpar.video.videos import MAX_PIXELS, MIN_SIDE_PX, VideoInfo, probe_video, squeeze_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """How videos and labels become a cache.

    Parameters
    ----------
    size : (int, int), optional
        Height and width in px that frames are resized to; by default they stay as they are.
    group_pattern : str, optional
        Regular expression that finds the animal's id in a video's file name: its first group,
        or the whole match. By default each video is an animal of its own.
    several : {"trials", "annotators"}, optional
        What several label files of one video are; by default the row counts decide.
    label_offset : int, optional
        Frame at which the first row of a label file that is too short lies.
    label_format : str
        Format of the label files, a key of `mpar.labels.exchange.FORMATS` or "mpar"; by default
        each is recognised by its content.
    unscored : str, optional
        Class of the frames in which another program scored no behaviour; by default they stay
        unlabelled.
    stream : int, optional
        Index of the video stream in files that have several; by default the one that players
        show.
    """

    size: tuple[int, int] | None = None
    group_pattern: str | None = None
    several: str | None = None
    label_offset: int | None = None
    label_format: str = AUTO
    unscored: str | None = None
    stream: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and (
            min(self.size) < MIN_SIDE_PX or self.size[0] * self.size[1] > MAX_PIXELS
        ):
            raise ConfigError(
                f"size: found {self.size[0]}x{self.size[1]}, expected at least "
                f"{MIN_SIDE_PX}x{MIN_SIDE_PX} px and at most {MAX_PIXELS} in all"
            )
        if self.several is not None and self.several not in SEVERAL:
            raise ConfigError(f"several: found {self.several!r}, expected one of {SEVERAL}")
        if self.label_format not in READABLE:
            raise ConfigError(
                f"label_format: found {self.label_format!r}, expected one of {READABLE}"
            )
        if self.label_offset is not None and self.label_offset < 0:
            raise ConfigError(f"label_offset: found {self.label_offset}, expected 0 or more")
        if self.stream is not None and self.stream < 0:
            raise ConfigError(f"stream: found {self.stream}, expected 0 or more")
        if self.group_pattern is not None:
            try:
                re.compile(self.group_pattern)
            except re.error as error:
                raise ConfigError(
                    f"group_pattern: {self.group_pattern!r} is not a regular expression ({error})"
                ) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain types."""
        data = dataclasses.asdict(self)
        return data | {"size": list(self.size) if self.size else None}


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessReport:
    """What a run of `preprocess` found and did.

    Parameters
    ----------
    recordings : tuple of RecordingInfo
        The good ones.
    problems : tuple of Problem
        Why the others were left out.
    code_counts, class_counts : dict
        Frames by raw code (first annotator) and by class; key -1 or "unlabelled" for none.
    notices : tuple of str
        What was accepted in label files, or of all videos together, but is worth knowing.
    num_decoded : int
        Videos decoded in this run; the others were known from an earlier one.
    is_written : bool
        False when only checking, and when the cache was up to date.
    """

    recordings: tuple[RecordingInfo, ...]
    problems: tuple[Problem, ...]
    code_counts: dict[int, int]
    class_counts: dict[str, int]
    notices: tuple[str, ...]
    num_decoded: int
    is_written: bool


@dataclass(frozen=True, slots=True)
class _Video:
    """A video whose label files could be read."""

    source: Source
    group: str
    sha256: str
    size_bytes: int
    info: VideoInfo

    @property
    def path(self) -> Path:
        return self.source.video


def preprocess(
    video_folder: Path | str,
    annotation_folder: Path | str,
    cache_path: Path | str,
    *,
    class_map: ClassMap = DEFAULT_CLASS_MAP,
    config: PreprocessConfig | None = None,
    workers: int | None = None,
    check_only: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    team: Team = ALONE,
) -> PreprocessReport:
    """Turn a folder of videos and a folder of label files into a cache.

    Parameters
    ----------
    video_folder, annotation_folder : Path or str
        Searched with their subfolders; paired by name (`mpar.labels.pairing.find_recordings`).
    cache_path : Path or str
        The cache to make. An existing cache is replaced when the new one is complete; what it
        already holds is not decoded again.
    class_map : ClassMap
        From codes and names to classes.
    config : PreprocessConfig, optional
        Everything else that shapes the cache.
    workers : int, optional
        Videos decoded side by side; by default one a processor core.
    check_only : bool
        Decode and check everything, write nothing.
    overwrite : bool
        Replace an existing cache even if it was made with another class map or config, if
        recordings would be lost, or if it cannot be read.
    quiet : bool
        Show no progress bar.
    team : Team
        The processes that share out the decoding, on one disk; the first one writes the cache.

    Returns
    -------
    PreprocessReport
        Bad inputs are in its `problems`, which are also written to ``<cache>.problems.csv``.

    Raises
    ------
    InputError
        Not one recording is good; with all problems.
    ConfigError
        A folder or option is wrong, the cache is being written by another process, the existing
        cache was made with another class map or config, or the new cache would lack recordings
        that it has.
    """
    config = config or PreprocessConfig()
    check_unscored(config.unscored, class_map)
    cache_path = Path(cache_path)
    workers = max(1, workers or os.cpu_count() or 1)
    videos, problems = _collect(video_folder, annotation_folder, class_map, config, workers, team)
    places = video_folder, annotation_folder
    quiet = quiet or not team.is_leader
    if check_only:
        decoded, bad = _count_all(videos, config, workers, quiet, team)
        problems += bad
        notices: list[Problem] = []
        good = _lay_labels(videos, decoded, class_map, config, problems, notices)
        return _report(good, problems, notices, places, class_map, len(decoded), False)
    staging = cache_path.with_name(f".{cache_path.name}.parts")
    with contextlib.ExitStack() as stack:
        old: Store | None = None
        known: dict[str, DecodedVideo] = {}

        def begin() -> list[str]:
            nonlocal old, known
            stack.enter_context(locked(cache_path))
            old = open_old(cache_path, overwrite)
            if old is not None:
                stack.enter_context(old)
                if not overwrite:
                    check_options(old, class_map, config.to_dict(), PreprocessConfig().to_dict())
            known = _find_known(videos, old, staging, config)
            return list(known)

        done = team.led(begin)
        todo = [video for video in videos if video.sha256 not in done]
        decoded, bad = _decode_all(
            team.share_of(todo),
            lambda video, **how: stage_video(
                video.path,
                video.sha256,
                staging,
                size=config.size,
                stream=config.stream,
                **how,
            ),
            workers,
            quiet,
        )
        staged = [sha256 for found in team.gather(list(decoded)) for sha256 in found]
        problems += [problem for found in team.gather(bad) for problem in found]
        if not team.is_leader:  # Windows removes no file that is still mapped
            decoded.clear()

        def finish() -> PreprocessReport:
            notices: list[Problem] = []
            for sha256 in set(staged) - set(decoded):
                decoded[sha256] = _load_others_part(sha256, staging, config)
            good = _lay_labels(videos, known | decoded, class_map, config, problems, notices)
            placed = [problem.below(video_folder, annotation_folder) for problem in problems]
            _write_problems(cache_path, placed)
            if not good:
                raise InputError(placed)
            if old is not None and not overwrite:
                check_loss(cache_path, old, good, placed)
            is_written = _publish(cache_path, old, good, class_map, config, quiet)
            report = _report(good, problems, notices, places, class_map, len(decoded), is_written)
            known.clear()
            decoded.clear()
            del good
            remove_parts(staging)
            return report

        return team.led(finish)


def _count_all(
    videos: list[_Video], config: PreprocessConfig, workers: int, quiet: bool, team: Team
) -> tuple[dict[str, DecodedVideo], list[Problem]]:
    """Decode videos without keeping their frames, by SHA-256."""
    decoded, bad = _decode_all(
        team.share_of(videos),
        lambda video, **how: count_frames(
            video.path, size=config.size, stream=config.stream, **how
        ),
        workers,
        quiet,
    )
    # of the frames only the shape means anything, so they travel as that
    for found in team.gather({sha: pack_blank(video) for sha, video in decoded.items()}):
        decoded |= {sha: blank_video(*packed) for sha, packed in found.items()}
    return decoded, [problem for found in team.gather(bad) for problem in found]


def _load_others_part(sha256: str, staging: Path, config: PreprocessConfig) -> DecodedVideo:
    part = load_part(sha256, staging, size=config.size, stream=config.stream)
    if part is None:
        raise ConfigError(
            f"{staging}: what another process decoded cannot be read here; all processes need "
            "one disk, which this folder lies on"
        )
    return part


def _publish(
    cache_path: Path,
    old: Store | None,
    good: list[NewRecording],
    class_map: ClassMap,
    config: PreprocessConfig,
    quiet: bool,
) -> bool:
    """Write the cache, unless the existing one says the same; tell whether it was written."""
    if old is not None and is_same(old, good, class_map, config.to_dict()):
        return False
    if old is not None and os.name == "nt":  # Windows replaces no file that is mapped
        old.close()
    total = sum(item.info.num_frames for item in good)
    with tqdm(total=total, desc="writing", unit="frame", disable=quiet or None) as bar:
        write_store(
            cache_path,
            good,
            class_map=class_map,
            config=config.to_dict(),
            on_frames=bar.update,
        )
    return True


def _collect(
    video_folder: Path | str,
    annotation_folder: Path | str,
    class_map: ClassMap,
    config: PreprocessConfig,
    workers: int,
    team: Team,
) -> tuple[list[_Video], list[Problem]]:
    """Pair, group and read all that is quick to read, before anything slow begins."""
    if team.is_leader:
        warn_of_unread([*VIDEO_SUFFIXES, *ANNOTATION_SUFFIXES], video_folder, annotation_folder)
    sources, problems = find_recordings(
        video_folder, annotation_folder, class_map, label_format=config.label_format
    )
    paths = [source.video for source in team.share_of(sources)]
    own: list[Any] = [None] * len(paths)

    def look_at(path: Path, on_step: Callable[[], None]) -> tuple[str, VideoInfo] | InputError:
        return _look_at(path, config.stream, on_step)

    with contextlib.closing(side_by_side(look_at, paths, workers=workers)) as done:
        for i, result in done:
            try:
                own[i] = result()
            except HangError as error:
                own[i] = InputError.of(paths[i], str(error))
    facts = team.gather_shares(own)
    videos: list[_Video] = []
    first: dict[str, _Video] = {}
    for source, fact in zip(sources, facts, strict=True):
        found = list(source.problems)
        try:
            group = find_group(source.video, config.group_pattern)
        except InputError as error:
            found += error.problems
        if isinstance(fact, InputError):
            found += fact.problems
            problems += found
            continue
        sha256, info = fact
        if found:
            problems += found
            continue
        if sha256 in first:
            # a copy could put the same frames on both sides of a split
            message = f"has the same content as {first[sha256].path.name}; remove one of them"
            problems.append(Problem.of(source.video, message))
            continue
        size_bytes = source.video.stat().st_size
        video = _Video(source, group, sha256, size_bytes, info)
        videos.append(video)
        first[sha256] = video
    if team.is_leader:
        warn_of_groups([video.group for video in videos], config.group_pattern)
        _warn_of_shapes(videos, config)
    return videos, problems


def _warn_of_shapes(videos: list[_Video], config: PreprocessConfig) -> None:
    """Warn that one size squeezes some videos otherwise than others."""
    first: dict[tuple[int, int], Path] = {}
    for video in videos if config.size else ():
        size = video.info.height, video.info.width
        if all(squeeze_of(size, other) for other in first):
            first[size] = video.path
    if len(first) > 1:
        log.warning(
            "the videos have %d shapes (%s), and one --size squeezes each of them in another way: "
            "mice look different by video; crop the videos to one shape first",
            len(first),
            ", ".join(f"{w}x{h} px as in {path.name}" for (h, w), path in first.items()),
        )


def _look_at(
    path: Path, stream: int | None, on_step: Callable[[], None]
) -> tuple[str, VideoInfo] | InputError:
    """Return a video's SHA-256 and what it says of itself, or why not."""
    try:
        return sha256_of(path, on_step), probe_video(path, stream=stream)
    except InputError as error:
        return error
    except OSError as error:  # a link to nowhere, a folder called v.mp4, no permission
        return InputError.of(path, f"cannot be read ({error.strerror}); check the file")


def _find_known(
    videos: list[_Video], old: Store | None, staging: Path, config: PreprocessConfig
) -> dict[str, DecodedVideo]:
    """Return what earlier runs decoded, by SHA-256, each checked against its checksums."""
    known = {}
    for video in videos:
        found = load_part(video.sha256, staging, size=config.size, stream=config.stream)
        if found is None and old is not None:
            found = _find_in_old(video, old, staging, config)
        if found is not None:
            known[video.sha256] = found
    return known


def _find_in_old(
    video: _Video, old: Store, staging: Path, config: PreprocessConfig
) -> DecodedVideo | None:
    """Return the frames of a video that the existing cache holds whole, else None.

    A cache holds no times, so a video whose frame rate varies is decoded again.
    """
    new = config.to_dict()
    if any(old.config.get(key) != new[key] for key in ("size", "stream")):
        return None
    pieces = [i for i, info in enumerate(old.recordings) if info.sha256 == video.sha256]
    pieces.sort(key=lambda i: old.recordings[i].start_frame)
    infos = [old.recordings[i] for i in pieces]
    if not all(info.is_steady for info in infos):
        return None
    if not infos or sum(info.num_frames for info in infos) != infos[0].video_num_frames:
        return None
    try:
        frames = [old.frames(i) for i in pieces]
    except StoreError:  # damaged: decode it again
        return None
    warnings, is_guess = infos[0].warnings, video.info.is_rate_guessed
    fps = video.info.fps if is_guess else infos[0].fps  # the cache may have it from the labels
    if len(frames) == 1 and os.name != "nt":  # Windows cannot replace a file that is mapped
        hashes = old.chunk_hashes(pieces[0])
        return DecodedVideo(frames[0], fps, warnings, hashes, is_rate_guessed=is_guess)
    return stage_pieces(
        frames,
        video.sha256,
        staging,
        size=config.size,
        stream=config.stream,
        fps=fps,
        warnings=warnings,
        is_rate_guessed=is_guess,
    )


def _decode_all(
    videos: list[_Video],
    decode: Callable[..., DecodedVideo],
    workers: int,
    quiet: bool,
) -> tuple[dict[str, DecodedVideo], list[Problem]]:
    """Decode videos side by side, by SHA-256; the decoder releases the interpreter."""
    # a video is decoded by one thread; what cores are left when there is but one may resize
    threads = 1 if min(workers, len(videos)) > 1 else 0
    total = sum(video.info.num_frames_hint for video in videos)
    decoded: dict[str, DecodedVideo] = {}
    problems: list[Problem] = []
    with tqdm(total=total, desc="decoding", unit="frame", disable=quiet or None) as bar:

        def decode_one(video: _Video, on_step: Callable[[], None]) -> DecodedVideo:
            def on_frames(num_frames: int) -> None:
                on_step()
                bar.update(num_frames)

            return decode(video, threads=threads, on_frames=on_frames)

        with contextlib.closing(side_by_side(decode_one, videos, workers=workers)) as done:
            for i, result in done:
                try:
                    decoded[videos[i].sha256] = result()
                except InputError as error:
                    problems += error.problems
                except HangError as error:
                    problems.append(Problem.of(videos[i].path, str(error)))
    return decoded, problems


def _lay_labels(
    videos: list[_Video],
    decoded: dict[str, DecodedVideo],
    class_map: ClassMap,
    config: PreprocessConfig,
    problems: list[Problem],
    notices: list[Problem],
) -> list[NewRecording]:
    """Lay labels on frames and check that all frames have one size.

    Adds to the problems, and to the notices, which say what was accepted in the label files.
    """
    good = []
    sizes: dict[Path, tuple[int, ...]] = {}
    names: set[str] = set()
    for video in videos:
        if video.sha256 not in decoded:
            continue
        facts = decoded[video.sha256]
        frames = facts.frames
        try:
            line = TimeLine(len(frames), facts.fps, facts.times, facts.is_rate_guessed)
            annotations = lay(
                video.source.labels,
                class_map,
                line,
                unscored=config.unscored,
                several=config.several,
            )
            facts = dataclasses.replace(facts, fps=_rate_of(video, facts, annotations))
            recordings = check_recording(
                video.path,
                annotations,
                len(frames),
                class_map,
                group=video.group,
                fps=facts.fps,
                several=config.several,
                label_offset=config.label_offset,
            )
        except InputError as error:
            problems += error.problems
            continue
        notices += [Problem.of(item.path, text) for item in annotations for text in item.notices]
        notices += [
            Problem.of(video.path, _describe_annotators(recording, class_map))
            for recording in recordings
            if len(recording.annotators) > 1
        ]
        if (
            len(recordings) > 1
            and config.several is None
            and (text := describe_trials(annotations))
        ):
            notices.append(Problem.of(video.path, text))
        sizes[video.path] = frames.shape[1:]
        for item in _cut_recordings(video, facts, recordings):
            if item.info.name in names:
                message = f"its recording {item.info.name} has the name of another; rename it"
                problems.append(Problem.of(video.path, message))
                continue
            names.add(item.info.name)
            good.append(item)
    if not good:
        return []
    (height, width), _ = Counter(sizes.values()).most_common(1)[0]
    problems += [
        Problem.of(
            path,
            f"frames are {size[1]}x{size[0]} px, most others are {width}x{height}; pass "
            f"--size {height}x{width} (height x width) or another to bring all to one size",
        )
        for path, size in sizes.items()
        if size != (height, width)
    ]
    return [item for item in good if item.frames.shape[1:] == (height, width)]


def _describe_annotators(recording: Recording, class_map: ClassMap) -> str:
    """Say who scored a recording and how far they agree: two files may be copies, or parts."""
    labels_AT = class_map.merge(recording.codes)
    is_shared = (labels_AT != UNLABELLED).all(axis=0)
    is_equal = (labels_AT == labels_AT[0]).all(axis=0) & is_shared
    share = f"{100 * is_equal.sum() / is_shared.sum():.0f} %" if is_shared.any() else "none"
    return (
        f"has {len(labels_AT)} annotators ({', '.join(recording.annotators)}), who agree on "
        f"{share} of the frames that all labelled; ties go to {recording.annotators[0]}"
    )


def _rate_of(video: _Video, facts: DecodedVideo, annotations: list[Annotation]) -> Fraction:
    """Return the rate of a video: that of its labels if it does not state one itself."""
    rates = {item.fps for item in annotations if item.fps is not None}
    if not facts.is_rate_guessed or not rates:
        return facts.fps
    if len(rates) > 1:
        shown = " and ".join(f"{float(rate):g}" for rate in sorted(rates))
        raise InputError.of(
            video.path,
            f"states no frame rate, and its label files say {shown} frames per second; correct "
            "them, or convert the video to .mp4 at the rate of the camera",
        )
    return rates.pop()


def _cut_recordings(
    video: _Video, decoded: DecodedVideo, recordings: list[Recording]
) -> Iterator[NewRecording]:
    """Yield the recordings of a video with their frames."""
    for recording in recordings:
        start, stop = recording.start_frame, recording.start_frame + recording.num_frames
        info = RecordingInfo(
            name=recording.name,
            video=video.path.name,
            group=recording.group,
            fps=decoded.fps,
            start_frame=start,
            num_frames=recording.num_frames,
            video_num_frames=len(decoded.frames),
            size_bytes=video.size_bytes,
            sha256=video.sha256,
            annotators=recording.annotators,
            warnings=decoded.warnings,
            is_steady=decoded.times is None,
        )
        frames, hashes = decoded.frames[start:stop], decoded.chunk_hashes
        if len(frames) < len(decoded.frames):
            hashes = hash_chunks(frames)
        yield NewRecording(
            info=info,
            frames=frames,
            labels=recording.labels,
            codes=recording.codes,
            chunk_hashes=hashes,
        )


def _report(
    good: list[NewRecording],
    problems: list[Problem],
    notices: list[Problem],
    places: tuple[Path | str, Path | str],
    class_map: ClassMap,
    num_decoded: int,
    is_written: bool,
) -> PreprocessReport:
    """Make the report; files are shown by their place in the folders."""
    codes: Counter[int] = Counter()
    labels: Counter[int] = Counter()
    for item in good:
        codes.update(item.codes[0].tolist())
        labels.update(item.labels.tolist())
    class_counts = {name: labels[i] for i, name in enumerate(class_map.class_names)}
    return PreprocessReport(
        recordings=tuple(item.info for item in good),
        problems=tuple(sorted(problem.below(*places) for problem in problems)),
        code_counts={code: codes[code] for code in (*class_map.codes, UNLABELLED)},
        class_counts=class_counts | {"unlabelled": labels[UNLABELLED]},
        notices=tuple(str(notice.below(*places)) for notice in notices),
        num_decoded=num_decoded,
        is_written=is_written,
    )


def problems_path(cache_path: Path | str) -> Path:
    """Return where the problems of a cache's inputs are listed."""
    cache_path = Path(cache_path)
    return cache_path.with_name(f"{cache_path.name}.problems.csv")


def _write_problems(cache_path: Path, problems: list[Problem]) -> None:
    """List the problems beside the cache; a list of an earlier run is never left to mislead."""
    path = problems_path(cache_path)
    if not problems:
        path.unlink(missing_ok=True)
        return
    rows = [(p.path, str(p.line or ""), p.message) for p in sorted(problems)]
    # file names need not be UTF-8
    plain = [[cell.encode("utf-8", "replace").decode() for cell in row] for row in rows]
    write_rows(path, [["File", "Line", "Problem"], *plain])
