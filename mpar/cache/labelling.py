"""Join decoded recordings with their labels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.aligning.laying import events_to_frames
from mpar.aligning.recordings import check_recording, describe_trials
from mpar.cache.collecting import Video
from mpar.cache.layout import RecordingInfo
from mpar.cache.notes import DecodedAnimal, FrameRun, Parts, Plan
from mpar.cache.preprocess_config import PreprocessConfig
from mpar.cache.writer import NewRecording, find_places
from mpar.errors import InputError, Problem
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import Recording, Scoring
from mpar.matching.sources import Source
from mpar.system.faults import contained
from mpar.video.following import WHOLE
from mpar.video.oddities import tells_of_loss
from mpar.video.timeline import TimeLine, find_grid


@dataclasses.dataclass(frozen=True, slots=True)
class Joined:
    """Recordings that belong into the cache, with problems and warnings.

    Parameters
    ----------
    recordings : tuple of NewRecording
        With different names and of one frame size, without frames.
    origins : tuple of (str, int)
        SHA-256 of the video of each, and number of its source.
    frame_size : (int, int)
        Height and width in px; (0, 0) without a recording.
    square_px : int
        Side of the squares that follow the animals, as stored; 0 without.
    problems, warnings : tuple of Problem
        Why others were left out, and what to check in those that are used.
    """

    recordings: tuple[NewRecording, ...] = ()
    origins: tuple[tuple[str, int], ...] = ()
    frame_size: tuple[int, int] = (0, 0)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    square_px: int = 0

    def plan(self) -> Plan:
        """Return where the frames of each source lie in the cache."""
        infos = [recording.info for recording in self.recordings]
        lengths = [info.num_frames for info in infos]
        places = find_places(lengths, self.frame_size, self.square_px)
        plan: Plan = {}
        for origin, info, (place, *squares) in zip(self.origins, infos, places, strict=True):
            stretch = FrameRun(info.start_frame, info.num_frames, place, square_place=sum(squares))
            plan.setdefault(origin, []).append(stretch)
        return plan


def with_hashes(joined: Joined, parts: Parts) -> list[NewRecording]:
    """Return the recordings with the checksums of their frames, if these are in the new cache."""
    recordings = []
    for recording, (sha256, number) in zip(joined.recordings, joined.origins, strict=True):
        span = recording.info.start_frame, recording.info.num_frames
        for stretch in parts[sha256][number].stretches:
            if stretch.span == span:
                hashes = np.array(stretch.chunk_hashes, np.uint64)
                more = np.array(stretch.square_hashes, np.uint64) if joined.square_px else None
                recording = dataclasses.replace(recording, chunk_hashes=hashes, square_hashes=more)
        recordings.append(recording)
    return recordings


def expect_parts(videos: Sequence[Video], class_map: ClassMap, config: PreprocessConfig) -> Parts:
    """Return what decoding most likely finds: as many frames as there are packets.

    If the labels do not fit that number, but another likely one, it is that one.
    """
    expected = {}
    for video in videos:
        guesses = [_guess(video, count, config) for count in video.info.likely_counts or [1]]
        fits = [
            guess
            for guess in guesses
            if not join_labels([video], {video.sha256: guess}, class_map, config).problems
        ]
        expected[video.sha256] = (fits or guesses)[0]
    return expected


def _guess(video: Video, num_frames: int, config: PreprocessConfig) -> list[DecodedAnimal]:
    info = video.info
    is_guess = info.is_rate_guessed and config.fps is None
    fps = config.fps or info.fps if info.is_rate_guessed else info.fps
    line = TimeLine(num_frames, fps, is_guess=is_guess)
    shown = [(r.height, r.width) if r else (info.height, info.width) for r in video.regions]
    following = config.decoding.following
    return [
        DecodedAnimal(
            line,
            config.size or size,
            square_px=following.size if following else 0,
            corners=((WHOLE, WHOLE),) * (num_frames if following else 0),
        )
        for size in shown
    ]


def join_labels(
    videos: Sequence[Video], parts: Parts, class_map: ClassMap, config: PreprocessConfig
) -> Joined:
    """Lay labels on frames; check that all frames have one size and all names differ."""
    found: list[tuple[NewRecording, tuple[str, int]]] = []
    sizes: dict[Path, tuple[int, int]] = {}
    names: set[str] = set()
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for video in videos:
        for number, part in enumerate(parts.get(video.sha256, ())):
            source = video.sources[number]
            try:
                with contained(source.path):
                    recordings, remarks = _join(video, number, part, class_map, config)
            except InputError as error:
                problems += error.problems
                # the labels may fit the video before it lost frames
                problems += [
                    Problem.of(source.path, "lost-frames", text)
                    for text in part.warnings
                    if tells_of_loss(text)
                ]
                continue
            warnings += remarks
            sizes[source.path] = part.frame_size
            for recording in recordings:
                if recording.info.name in names:
                    message = (
                        f"its recording {recording.info.name} has the same name as another; "
                        "rename it"
                    )
                    problems.append(Problem.of(source.path, "same-name", message))
                    continue
                names.add(recording.info.name)
                found.append((recording, (video.sha256, number)))
    size, odd = _find_size(sizes)
    kept = [(r, origin) for r, origin in found if parts[origin[0]][origin[1]].frame_size == size]
    return Joined(
        recordings=tuple(recording for recording, _ in kept),
        origins=tuple(origin for _, origin in kept),
        frame_size=size,
        problems=(*problems, *odd),
        warnings=tuple(warnings),
        square_px=config.decoding.following.size if config.decoding.following else 0,
    )


def _find_size(sizes: dict[Path, tuple[int, int]]) -> tuple[tuple[int, int], list[Problem]]:
    """Return the most common frame size, and a problem for each video of another one."""
    if not sizes:
        return (0, 0), []
    (height, width), _ = Counter(sizes.values()).most_common(1)[0]
    return (height, width), [
        Problem.of(
            path,
            "frame-size",
            f"frames are {size[1]}x{size[0]} px, most others are {width}x{height}; pass "
            f"--size {height}x{width} (height x width), or another size, to make all of them equal",
        )
        for path, size in sizes.items()
        if size != (height, width)
    ]


def _join(
    video: Video, number: int, part: DecodedAnimal, class_map: ClassMap, config: PreprocessConfig
) -> tuple[list[NewRecording], list[Problem]]:
    """Return the recordings of one animal in a video, one per trial, and what to check."""
    source = video.sources[number]
    scorings = events_to_frames(source.labels, class_map, part.line, config)
    line = _with_rate_of_labels(source, part.line, scorings)
    recordings = check_recording(
        source,
        scorings,
        line,
        class_map,
        config,
        group=video.groups[number],
    )
    made = [_make(video, number, line, part, recording, config.rate) for recording in recordings]
    warnings = [
        Problem.of(item.path, "warning", text) for item in scorings for text in item.warnings
    ]
    warnings += [
        Problem.of(source.path, "warning", _describe_annotators(recording, class_map))
        for recording in recordings
        if len(recording.annotators) > 1
    ]
    warnings += [
        Problem.of(source.path, "warning", f"its recording {recording.name} has no labelled frame")
        for recording in recordings
        if (recording.labels == UNLABELLED).all()
    ]
    if len(recordings) > 1 and config.several is None and (text := describe_trials(scorings)):
        warnings.append(Problem.of(source.path, "warning", text))
    return made, warnings


def _describe_annotators(recording: Recording, class_map: ClassMap) -> str:
    """Describe the annotators, their agreement and what is lost: files may be copies, or parts."""
    labels_AT = class_map.merge(recording.codes)
    is_shared = (labels_AT != UNLABELLED).all(axis=0)
    is_equal = (labels_AT == labels_AT[0]).all(axis=0) & is_shared
    share = f"{100 * is_equal.sum() / is_shared.sum():.0f} %" if is_shared.any() else "none"
    lost = [
        name
        for k, name in enumerate(class_map.class_names)
        if (labels_AT == k).any() and not (recording.labels == k).any()
    ]
    outvoted = (
        f"; {', '.join(lost)} {'is' if len(lost) == 1 else 'are'} outvoted in every frame; if they "
        "are parts of one scoring, pass --several parts and --unscored CLASS, the class of the "
        "frames in which a part saw nothing"
    )
    return (
        f"has {len(labels_AT)} annotators ({', '.join(recording.annotators)}), who agree on "
        f"{share} of the frames that all labelled; ties go to {recording.annotators[0]}"
        + outvoted
        * bool(lost)
    )


def _with_rate_of_labels(source: Source, line: TimeLine, scorings: Sequence[Scoring]) -> TimeLine:
    """Return the time line of a video, at the rate of its labels if it does not state one."""
    rates = {item.frame_rate for item in scorings if item.frame_rate is not None}
    if not line.is_guess or not rates:
        return line
    if len(rates) > 1:
        shown = " and ".join(f"{float(rate):g}" for rate in sorted(rates))
        raise InputError.of(
            source.path,
            "frame-rate",
            f"states no frame rate, and its label files state {shown} frames per second; "
            "correct them, or convert the video to .mp4 at the rate of the camera",
        )
    return dataclasses.replace(line, fps=rates.pop())


def _make(
    video: Video,
    number: int,
    line: TimeLine,
    part: DecodedAnimal,
    recording: Recording,
    rate: Fraction | None,
) -> NewRecording:
    """Return a recording of a video with its steps, without its frames."""
    assert line.fps is not None
    span = slice(recording.start_frame, recording.start_frame + recording.num_frames)
    # times at a guessed rate would select the wrong frames
    steps, step_rate = find_grid(recording.line, None if line.is_guess else rate)
    shown = video.regions[number] or video.info
    info = RecordingInfo(
        name=recording.name,
        video=recording.video,
        group=recording.group,
        fps=line.fps,
        start_frame=recording.start_frame,
        num_frames=recording.num_frames,
        num_steps=len(steps),
        rate=step_rate,
        has_own_steps=not np.array_equal(steps, np.arange(recording.num_frames)),
        video_num_frames=recording.video_num_frames,
        size_bytes=video.size_bytes,
        sha256=video.sha256,
        region=recording.region,
        height=shown.height,
        width=shown.width,
        annotators=recording.annotators,
        warnings=part.warnings,
    )
    return NewRecording(
        info=info,
        labels=recording.labels,
        codes=recording.codes,
        times=line.starts[span],
        source_frame=steps,
        corners=np.array(part.corners[span], np.int32) if part.square_px else None,
    )
