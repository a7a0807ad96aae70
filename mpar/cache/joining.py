"""Join decoded recordings with their labels."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.cache.collecting import Video
from mpar.cache.config import PreprocessConfig
from mpar.cache.decoding import Parts
from mpar.cache.layout import RecordingInfo, hash_chunks
from mpar.cache.staging import Decoded, Facts
from mpar.cache.writer import NewRecording
from mpar.errors import InputError, Problem
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.laying import lay_on_frames
from mpar.labels.recordings import check_recording, describe_trials
from mpar.labels.scorings import Recording, Scoring
from mpar.labels.sources import Source
from mpar.video.oddities import tells_of_loss
from mpar.video.timeline import find_grid


@dataclasses.dataclass(slots=True)
class Joined:
    """Recordings that are ready for the cache, with problems and warnings.

    Parameters
    ----------
    recordings : list of NewRecording
        With different names and of one frame size.
    problems, warnings : list of Problem
        Why others were left out, and what to check in those that are used.
    """

    recordings: list[NewRecording] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    warnings: list[Problem] = dataclasses.field(default_factory=list)


def join_labels(
    videos: Sequence[Video], decoded: Parts, class_map: ClassMap, config: PreprocessConfig
) -> Joined:
    """Lay labels on frames; check that all frames have one size and all names differ."""
    joined = Joined()
    sizes: dict[Path, tuple[int, ...]] = {}
    names: set[str] = set()
    for video in videos:
        for number, part in enumerate(decoded.get(video.sha256, ())):
            source = video.sources[number]
            try:
                made = _join(video, number, part, class_map, config, joined.warnings)
            except InputError as error:
                joined.problems += error.problems
                # the labels may fit the video before it lost frames
                joined.problems += [
                    Problem.of(source.path, text)
                    for text in part.facts.warnings
                    if tells_of_loss(text)
                ]
                continue
            sizes[source.path] = part.frames.shape[1:]
            for item in made:
                if item.info.name in names:
                    message = (
                        f"its recording {item.info.name} has the same name as another; rename it"
                    )
                    joined.problems.append(Problem.of(source.path, message))
                    continue
                names.add(item.info.name)
                joined.recordings.append(item)
    if joined.recordings:
        _keep_one_size(joined, sizes)
    return joined


def _keep_one_size(joined: Joined, sizes: dict[Path, tuple[int, ...]]) -> None:
    """Keep the recordings of the most common size; the others become problems."""
    (height, width), _ = Counter(sizes.values()).most_common(1)[0]
    joined.problems += [
        Problem.of(
            path,
            f"frames are {size[1]}x{size[0]} px, most others are {width}x{height}; pass "
            f"--size {height}x{width} (height x width), or another size, to make all of them equal",
        )
        for path, size in sizes.items()
        if size != (height, width)
    ]
    joined.recordings = [r for r in joined.recordings if r.frames.shape[1:] == (height, width)]


def _join(
    video: Video,
    number: int,
    part: Decoded,
    class_map: ClassMap,
    config: PreprocessConfig,
    warnings: list[Problem],
) -> list[NewRecording]:
    """Return the recordings of one animal in a video, one per trial."""
    source = video.sources[number]
    scorings = lay_on_frames(
        source.labels,
        class_map,
        part.facts.line,
        unscored=config.unscored,
        several=config.several,
    )
    facts = _with_rate_of_labels(source, part.facts, scorings)
    recordings = check_recording(
        source,
        scorings,
        facts.line,
        class_map,
        group=video.groups[number],
        several=config.several,
        label_offset=config.label_offset,
    )
    part = dataclasses.replace(part, facts=facts)
    made = list(_cut(video, part, recordings, config.rate))
    warnings += [Problem.of(item.path, text) for item in scorings for text in item.warnings]
    warnings += [
        Problem.of(source.path, _describe_annotators(recording, class_map))
        for recording in recordings
        if len(recording.annotators) > 1
    ]
    warnings += [
        Problem.of(source.path, f"its recording {recording.name} has no labelled frame")
        for recording in recordings
        if (recording.labels == UNLABELLED).all()
    ]
    if len(recordings) > 1 and config.several is None and (text := describe_trials(scorings)):
        warnings.append(Problem.of(source.path, text))
    return made


def _describe_annotators(recording: Recording, class_map: ClassMap) -> str:
    """Describe the annotators and their agreement: two files may be copies, or parts."""
    labels_AT = class_map.merge(recording.codes)
    is_shared = (labels_AT != UNLABELLED).all(axis=0)
    is_equal = (labels_AT == labels_AT[0]).all(axis=0) & is_shared
    share = f"{100 * is_equal.sum() / is_shared.sum():.0f} %" if is_shared.any() else "none"
    return (
        f"has {len(labels_AT)} annotators ({', '.join(recording.annotators)}), who agree on "
        f"{share} of the frames that all labelled; ties go to {recording.annotators[0]}"
    )


def _with_rate_of_labels(source: Source, facts: Facts, scorings: Sequence[Scoring]) -> Facts:
    """Return the facts of a video, at the rate of its labels if it does not state one."""
    rates = {item.frame_rate for item in scorings if item.frame_rate is not None}
    if not facts.line.is_guess or not rates:
        return facts
    if len(rates) > 1:
        shown = " and ".join(f"{float(rate):g}" for rate in sorted(rates))
        raise InputError.of(
            source.path,
            f"states no frame rate, and its label files state {shown} frames per second; "
            "correct them, or convert the video to .mp4 at the rate of the camera",
        )
    return dataclasses.replace(facts, line=dataclasses.replace(facts.line, fps=rates.pop()))


def _cut(
    video: Video,
    decoded: Decoded,
    recordings: Sequence[Recording],
    rate: Fraction | None,
) -> Iterator[NewRecording]:
    """Yield the recordings of a video with their frames and steps."""
    line = decoded.facts.line
    assert line.fps is not None
    for recording in recordings:
        span = slice(recording.start_frame, recording.start_frame + recording.num_frames)
        # times at a guessed rate would select the wrong frames
        steps, step_rate = find_grid(recording.line, None if line.is_guess else rate)
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
            annotators=recording.annotators,
            warnings=decoded.facts.warnings,
        )
        frames, hashes = decoded.frames[span], decoded.chunk_hashes
        if len(frames) < len(decoded.frames):
            hashes = hash_chunks(frames)
        yield NewRecording(
            info=info,
            frames=frames,
            labels=recording.labels,
            codes=recording.codes,
            times=line.starts[span],
            source_frame=steps,
            chunk_hashes=hashes,
        )
