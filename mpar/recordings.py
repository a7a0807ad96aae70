"""Pair videos with label files and lay the labels on the frames, collecting every problem.

A recording is a stretch of a video with its labels: the whole video, or one trial of it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpar.annotations import Annotation
from mpar.classes import UNLABELLED, ClassMap
from mpar.errors import ConfigError, InputError, Problem
from mpar.exchange import ANNOTATION_SUFFIXES, AUTO, find_videos, is_about
from mpar.videos import VIDEO_SUFFIXES

SEVERAL = ("trials", "annotators")
_PREDICTION = "prediction_"
_ANNOTATION_WORDS = {"annotation", "annotations", "labels", "label", "predictions"}


@dataclass(frozen=True, slots=True)
class Source:
    """A video and the label files that belong to it, in order of name."""

    video: Path
    annotations: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The video's name without its suffix."""
        return self.video.stem


@dataclass(frozen=True, slots=True)
class Recording:
    """Labels laid on a stretch of a video.

    Parameters
    ----------
    name : str
        Unique in a cache: the video's name, with ``_trial<k>`` for a trial.
    group : str
        The animal; recordings of one group never part in a split.
    start_frame, num_frames : int
        The stretch of the video.
    annotators : tuple of str
        Who scored it, one a row of `codes`.
    codes : (A, T) int16 array
        Raw codes by annotator, -1 for unlabelled.
    labels : (T,) int8 array
        Class index of the majority, -1 for unlabelled.
    """

    name: str
    group: str
    start_frame: int
    num_frames: int
    annotators: tuple[str, ...]
    codes: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        assert self.codes.shape == (len(self.annotators), self.num_frames)
        assert self.labels.shape == (self.num_frames,)


def find_files(folder: Path | str, suffixes: Iterable[str]) -> list[Path]:
    """List the files below `folder` with one of `suffixes` (any case), sorted by path.

    Hidden files and folders are passed over, and links to folders are not followed.

    Raises
    ------
    ConfigError
        The folder does not exist, or a folder cannot be listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is not a folder; check the path")
    suffixes = set(suffixes)
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(found)


def _refuse_folder(error: OSError) -> None:
    raise ConfigError(
        f"{error.filename}: cannot be listed ({error.strerror}); allow reading it or move it away"
    ) from None


def find_recordings(
    video_folder: Path | str, annotation_folder: Path | str, *, label_format: str = AUTO
) -> tuple[list[Source], list[Problem]]:
    """Pair the videos of one folder with the label files of another, by name.

    Video ``NAME.ext`` owns a label file whose stem is ``NAME``, starts with ``NAME`` and one
    of ``_ . -``, or is ``prediction_NAME.ext_<trial>``. Each label file goes to the longest
    name that fits, so that ``video_1`` never takes ``video_1_2_a.csv`` when
    ``video_1_2.mp4`` exists. A label file that names videos itself, as BORIS', belongs to those
    of them that are there (`find_owners`).

    Returns
    -------
    sources : list of Source
        Videos with at least one label file, in order of path.
    problems : list of Problem
        Videos without labels, labels without a video, videos whose name occurs twice (nobody
        knows whose labels are whose, so none of them is a source), and names that are not text.

    Raises
    ------
    ConfigError
        A folder does not exist, or there is no video at all.
    """
    videos = find_files(video_folder, VIDEO_SUFFIXES)
    annotations = find_files(annotation_folder, ANNOTATION_SUFFIXES)
    if not videos:
        raise ConfigError(
            f"{video_folder}: found no video ({' '.join(VIDEO_SUFFIXES)}); check the path"
        )
    problems = [
        Problem.of(path, "has a name that is not UTF-8 text; rename it")
        for path in videos + annotations
        if not _is_text(path.name)
    ]
    by_name: dict[str, list[Path]] = defaultdict(list)
    for video in filter(lambda path: _is_text(path.name), videos):
        by_name[_normal(video.stem)].append(video)
    for same in by_name.values():
        problems += [
            Problem.of(
                video, f"has the same name as {other}; rename one of them and its label files"
            )
            for video, other in zip(same, same[1:] + same[:1], strict=True)
            if len(same) > 1
        ]
    owned: dict[Path, list[Path]] = defaultdict(list)
    firsts = [same[0] for same in by_name.values()]
    for path in filter(lambda path: _is_text(path.name), annotations):
        owners, more = find_owners(path, firsts, label_format)
        problems += more
        for owner in owners:
            owned[owner].append(path)
    sources = []
    for video in (same[0] for same in by_name.values() if len(same) == 1):
        if owned[video]:
            sources.append(Source(video, tuple(sorted(owned[video]))))
        else:
            problems.append(
                Problem.of(
                    video,
                    f"has no labels, expected {video.stem}.csv or {video.stem}_*.csv; add them",
                )
            )
    return sources, problems


def find_owners(
    path: Path, videos: Sequence[Path], label_format: str = AUTO
) -> tuple[list[Path], list[Problem]]:
    """Return the videos that a label file belongs to, and what of it belongs to none.

    By the videos that it names, whatever their folder and suffix; by its own name if it names
    none, or only one that is not there.
    """
    try:
        names = find_videos(path, label_format)
    except InputError as error:
        owner = find_owner(path.stem, videos)
        return ([owner], []) if owner else ([], list(error.problems))  # reading it says what is
    owners = [video for video in videos if any(is_about(name, video) for name in names)]
    lost = [name for name in names if not any(is_about(name, video) for video in videos)]
    if len(names) < 2 and not owners:
        owner = find_owner(path.stem, videos)
        if owner is not None:
            return [owner], []
        named = f", nor does the video that it names ({names[0]!r})" if names else ""
        message = f"fits no video, expected a name that starts with a video's{named}; rename it"
        return [], [Problem.of(path, message)]
    return owners, [
        Problem.of(path, f"scores {name!r}, but there is no such video; add it, or remove its part")
        for name in lost
    ]


def find_owner(stem: str, videos: Iterable[Path]) -> Path | None:
    """Return the video with the longest name that the label file `stem` belongs to, if any."""
    stem = _normal(stem)
    fitting = []
    for video in videos:
        name, prediction = _normal(video.stem), _PREDICTION + _normal(video.name)
        if (
            stem in {name, prediction}
            or stem.startswith((f"{name}_", f"{name}.", f"{name}-"))
            or stem.startswith(f"{prediction}_")
        ):
            fitting.append(video)
    return max(fitting, key=lambda video: len(_normal(video.stem)), default=None)


def _is_text(name: str) -> bool:
    """Tell whether `name` is text, not bytes of another encoding that only the disk knows."""
    return not re.search("[\ud800-\udfff]", name)


def _normal(name: str) -> str:
    """Return `name` with composed accents: macOS stores them apart, other systems do not."""
    return unicodedata.normalize("NFC", name)


def find_group(video: Path, pattern: str | None) -> str:
    """Return the animal's id: what `pattern` finds in the file name, or the video's name.

    Raises
    ------
    InputError
        The pattern does not occur in the name.
    """
    if pattern is None:
        return video.stem
    match = re.search(pattern, _normal(video.name))
    group = match and (match[1] if match.re.groups else match[0])
    if not group:
        raise InputError.of(
            video,
            f"--group-pattern '{pattern}' finds no animal in this name; "
            "fix the pattern or rename the file",
        )
    return group


def check_recording(
    source: Source,
    annotations: Sequence[Annotation],
    num_frames: int,
    class_map: ClassMap,
    *,
    group: str,
    several: str | None = None,
    label_offset: int | None = None,
) -> list[Recording]:
    """Lay the label files of one video on its frames.

    Parameters
    ----------
    source : Source
        The video.
    annotations : sequence of Annotation
        Its label files.
    num_frames : int
        Frames that the video really yields.
    class_map : ClassMap
        Merges codes into classes.
    group : str
        The animal.
    several : {"trials", "annotators"}, optional
        What several label files are; by default the row counts decide. Trials are
        consecutive pieces whose rows add up to the video, annotators are as long as the video.
    label_offset : int, optional
        Frame at which the first row of a label file that is too short lies. Frames without
        a row are unlabelled.

    Returns
    -------
    list of Recording
        One for the video, or one a trial.

    Raises
    ------
    InputError
        The labels cannot be laid on the frames with certainty; the message says what would.
    """
    if _are_trials(annotations, num_frames, several, label_offset):
        return _lay_trials(source, annotations, num_frames, class_map, group, label_offset)
    problems: list[Problem] = []
    rows = []
    for annotation in annotations:
        try:
            rows.append(_lay(annotation, num_frames, label_offset))
        except InputError as error:
            problems += error.problems
    is_unclear = several is None and any(
        len(a.frames) not in {num_frames, num_frames - (label_offset or 0)} for a in annotations
    )
    if problems or (len(annotations) > 1 and is_unclear):
        if len(annotations) > 1 and several is None:
            counts = " + ".join(str(len(a.frames)) for a in annotations)
            problems.append(
                Problem.of(
                    source.video,
                    f"has {len(annotations)} label files with {counts} rows for {num_frames} "
                    "frames: neither trials (rows add up) nor annotators (each as long as the "
                    "video); fix them, or pass --several trials|annotators with --label-offset",
                )
            )
        raise InputError(problems)
    codes = np.stack(rows)
    names = _name_annotators(source, annotations)
    return [
        Recording(
            name=source.name,
            group=group,
            start_frame=0,
            num_frames=num_frames,
            annotators=names,
            codes=codes,
            labels=_vote(class_map.merge(codes), len(class_map.class_names)),
        )
    ]


def _are_trials(
    annotations: Sequence[Annotation],
    num_frames: int,
    several: str | None,
    label_offset: int | None,
) -> bool:
    if len(annotations) == 1 or several is not None:
        return len(annotations) > 1 and several == "trials"
    num_rows = sum(len(a.frames) for a in annotations)
    return num_frames in {num_rows, num_rows + len(annotations) * (label_offset or 0)}


def _lay_trials(
    source: Source,
    annotations: Sequence[Annotation],
    num_frames: int,
    class_map: ClassMap,
    group: str,
    label_offset: int | None,
) -> list[Recording]:
    numbers = [_trial_number(source.video, a.path) for a in annotations]
    if None in numbers or len(set(numbers)) < len(numbers):
        raise InputError.of(
            source.video,
            "its trials cannot be ordered: expected label files that end in different "
            f"numbers, found {', '.join(a.path.name for a in annotations)}; rename them",
        )
    counts = [len(a.frames) for a in annotations]
    lost = label_offset or 0 if sum(counts) != num_frames else 0  # complete trials lost none
    lengths = [count + lost for count in counts]
    if sum(lengths) != num_frames:
        each, rest = divmod(num_frames - sum(counts), len(counts))
        given = f" with --label-offset {lost} each" if lost else ""
        hint = (
            f"if each lost its first {each} frames, pass --several trials --label-offset {each}"
            if each > 0 and rest == 0
            else "fix the label files"
        )
        raise InputError.of(
            source.video,
            f"its {len(counts)} trials have {' + '.join(map(str, counts))} = {sum(counts)} "
            f"rows{given}, expected {num_frames} frames; {hint}",
        )
    recordings = []
    start = 0
    for number, annotation, length in sorted(
        zip(numbers, annotations, lengths, strict=True), key=lambda item: item[0] or 0
    ):
        codes = _lay(annotation, length, lost, start_frame=start)[None]
        recordings.append(
            Recording(
                name=f"{source.name}_trial{number}",
                group=group,
                start_frame=start,
                num_frames=length,
                annotators=_name_annotators(source, [annotation]),
                codes=codes,
                labels=class_map.merge(codes[0]),
            )
        )
        start += length
    return recordings


def _trial_number(video: Path, path: Path) -> int | None:
    """Return the number at the end of what a label file's name adds to the video's."""
    added = _normal(path.stem).removeprefix(_PREDICTION + _normal(video.name))
    match = re.search(r"[0-9]+\Z", added.removeprefix(_normal(video.stem)))
    return int(match[0]) if match else None


def _lay(
    annotation: Annotation, num_frames: int, label_offset: int | None, start_frame: int = 0
) -> np.ndarray:
    """Lay rows on `num_frames` frames, (T,) int16; frames without a row are unlabelled.

    Rows may count from 0, from 1 if the row count proves it, or (trials) on from `start_frame`,
    and from the offset instead if one is given.
    """
    num_rows, first = len(annotation.frames), int(annotation.frames[0])
    path = annotation.path
    offset = label_offset or 0 if num_rows < num_frames else 0
    origins = sorted({0, offset, start_frame, start_frame + offset})
    if (
        first not in origins
        and first - 1 not in origins
        and (num_rows == num_frames or label_offset is not None)
    ):
        raise InputError.of(
            path,
            f"its frames begin at {first}, expected {' or '.join(map(str, origins))}; "
            "renumber them",
        )
    if num_rows == num_frames:
        return annotation.codes
    if num_rows > num_frames:
        raise InputError.of(
            path,
            f"found {num_rows} rows, expected {num_frames} (the video's frames); check "
            "that they belong together and that the video is not cut short",
        )
    short = num_frames - num_rows
    if label_offset is None:
        numbered = f" (its Frame column begins at {first})" if first else ""
        raise InputError.of(
            path,
            f"found {num_rows} rows, expected {num_frames} (the video's frames){numbered}; if "
            f"the first {short} frames have no row pass --label-offset {short}, if the last "
            f"{short} have none pass --label-offset 0",
        )
    if label_offset + num_rows > num_frames:
        raise InputError.of(
            path,
            f"its {num_rows} rows from frame {label_offset} on end after the video's "
            f"{num_frames} frames; pass a --label-offset of at most {short}",
        )
    codes = np.full(num_frames, UNLABELLED, np.int16)
    codes[label_offset : label_offset + num_rows] = annotation.codes
    return codes


def _name_annotators(source: Source, annotations: Sequence[Annotation]) -> tuple[str, ...]:
    """Name annotators by what their file's name adds to the video's; by the stem if unclear."""
    names = []
    for annotation in annotations:
        stem = _normal(annotation.annotator or annotation.path.stem)
        rest = stem.removeprefix(_normal(source.name)).strip("_.- ")
        names.append(rest if rest and rest.lower() not in _ANNOTATION_WORDS else stem)
    if max(Counter(names).values()) > 1:
        names = [_normal(item.annotator or item.path.stem) for item in annotations]
    if max(Counter(names).values()) > 1:  # a folder an annotator
        names = [_normal("/".join(annotation.path.parts[-2:])) for annotation in annotations]
    return tuple(names)


def _vote(labels_AT: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the class that most annotators chose, (T,) int8; ties go to the first of them.

    Unlabelled is no vote: a frame is unlabelled only when every annotator left it so.
    """
    if len(labels_AT) == 1:
        return labels_AT[0]
    votes_KT = np.stack([(labels_AT == k).sum(axis=0) for k in range(num_classes)])
    most_T = votes_KT.max(axis=0)
    winner = np.full(labels_AT.shape[1], UNLABELLED, np.int8)
    for labels_T in labels_AT[::-1]:  # the first annotator has the last word among equals
        is_best = (labels_T >= 0) & (
            np.take_along_axis(votes_KT, np.maximum(labels_T, 0)[None].astype(np.intp), 0)[0]
            == most_T
        )
        winner[is_best] = labels_T[is_best]
    return winner
