"""Find videos and label files in folders, and pair them.

mpar reads each label file once, even if it covers several videos.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mpar.errors import ConfigError, InputError, Problem, counted
from mpar.formats.programs import describe_unread
from mpar.formats.registry import (
    ANNOTATION_SUFFIXES,
    POSSIBLE_SUFFIXES,
    holds_labels,
    read_label_file,
)
from mpar.labels.classes import ClassMap
from mpar.labels.names import (
    UNFINISHED,
    UNREAD_VIDEO_SUFFIXES,
    VIDEO_SUFFIXES,
    NameIndex,
    file_name,
    folded,
    normal,
    unread_video,
    without_suffix,
)
from mpar.labels.scorings import JOINT, Scoring
from mpar.matching.label_options import DEFAULT_OPTIONS, LabelOptions
from mpar.matching.regions import RegionTable
from mpar.matching.sources import (
    Source,
    drop_copies,
    drop_predictions,
    drop_workbooks,
    note_corrections,
    note_number,
    split_sources,
)
from mpar.matching.tracks import TrackFolder
from mpar.system.faults import contained
from mpar.system.folders import Folders, find_files, list_folders, warn_of_unread

log = logging.getLogger(__name__)


def find_recordings(
    video_folder: Folders,
    annotation_folder: Path | str,
    class_map: ClassMap,
    options: LabelOptions = DEFAULT_OPTIONS,
    *,
    regions: RegionTable | TrackFolder | None = None,
    warns: bool = True,
) -> tuple[list[Source], list[Problem]]:
    """Pair the videos of one folder with the label files of another.

    A label file that names its videos, such as a BORIS file, belongs to those of them that exist;
    any other belongs to the video whose name it starts with (`mpar.labels.names`).

    Parameters
    ----------
    video_folder : Path, str or sequence of them
    annotation_folder : Path or str
        Searched with their subfolders.
    class_map : ClassMap
        The names that may occur in label files.
    options : LabelOptions
        How to read label files.
    regions : RegionTable or TrackFolder, optional
        Where the animals of each video live, or are; each animal then has its own source.
    warns : bool
        Name the tables that hold no labels.

    Returns
    -------
    sources : list of Source
        Videos with at least one label file, in order of path.
    problems : list of Problem
        Videos without labels, labels without a video, videos whose name occurs twice (their labels
        are ambiguous, so none of them is a source), and names that are not text.

    Raises
    ------
    ConfigError
        A folder does not exist, or there is no video.
    """
    videos = find_files(video_folder, VIDEO_SUFFIXES)
    annotations = find_label_files(annotation_folder)
    if not videos:
        where = ", ".join(map(str, list_folders(video_folder)))
        raise ConfigError(f"{where}: found no video ({' '.join(VIDEO_SUFFIXES)}); check the path")
    problems = [
        Problem.of(path, "file-name", "has a name that is not UTF-8 text; rename it")
        for path in videos + annotations
        if not _is_text(path.name)
    ]
    by_name: dict[str, list[Path]] = defaultdict(list)
    for video in filter(lambda path: _is_text(path.name), videos):
        by_name[normal(video.stem)].append(video)
    for same in by_name.values():
        problems += [
            Problem.of(
                video,
                "same-name",
                f"has the same name as {other}; rename one of them and its label files",
            )
            for video, other in zip(same, same[1:] + same[:1], strict=True)
            if len(same) > 1
        ]
    paths = [path for path in annotations if _is_text(path.name)]
    firsts = [same[0] for same in by_name.values()]
    unread = find_files(video_folder, (*UNREAD_VIDEO_SUFFIXES, *UNFINISHED))
    sources, more = assign_label_files(
        paths,
        firsts,
        class_map,
        options,
        unread=[
            name for path in unread if _is_text(path.name) and (name := unread_video(path.name))
        ],
        warns=warns,
    )
    problems += more
    # an unreadable file may hold the labels of any video
    unreadable = [Path(problem.path).name for problem in more if "UTF-8" in problem.message]
    alone = [source for source in sources if len(by_name[normal(source.video.stem)]) == 1]
    if regions is not None:
        alone, more = split_sources(alone, regions)
        problems += more
    problems += [
        Problem.of(
            source.path,
            "no-labels",
            f"has no labels, expected {source.path.stem}.csv or {source.path.stem}_*.csv; "
            + (f"fix {unreadable[0]}, or add labels" if unreadable else "add labels"),
        )
        for source in alone
        if not source.labels and not source.problems
    ]
    return [source for source in alone if source.labels or source.problems], problems


def find_label_files(folder: Path | str) -> list[Path]:
    """List the possible label files below `folder`, sorted by path."""
    paths = find_files(folder, (*ANNOTATION_SUFFIXES, *POSSIBLE_SUFFIXES))
    return [path for path in paths if is_label_file(path)]


def is_label_file(path: Path) -> bool:
    """Return True if mpar reads a file as labels: by its suffix, or else by its content."""
    suffix = path.suffix.lower()
    if suffix in POSSIBLE_SUFFIXES:
        return holds_labels(path)
    return suffix in ANNOTATION_SUFFIXES


def warn_of_unread_labels(*folders: Path | str) -> None:
    """Warn about the files below `folders` that mpar ignores, with the programs that wrote them."""
    endings = [*VIDEO_SUFFIXES, *ANNOTATION_SUFFIXES]
    warn_of_unread(endings, *folders, is_read=is_label_file, name=describe_unread)


def assign_label_files(
    paths: Iterable[Path],
    videos: Sequence[Path],
    class_map: ClassMap,
    options: LabelOptions = DEFAULT_OPTIONS,
    *,
    unread: Iterable[str] = (),
    warns: bool = True,
) -> tuple[list[Source], list[Problem]]:
    """Read label files, each once, and assign their labels to videos, which need not exist.

    `unread` names further videos that mpar cannot read; their label files become problems. Options
    are those of `find_recordings`. Returns one source per video, in the same order, and problems of
    label files, or parts of them, that belong to none of these videos.
    """
    sources = {video: Source(video) for video in videos}
    stems = {folded(without_suffix(video.name)) for video in videos}
    others = [Path(name) for name in unread if folded(without_suffix(name)) not in stems]
    index = NameIndex((video.name, video) for video in (*videos, *others))
    problems: list[Problem] = []
    own_tables: list[Path] = []
    for path in paths:
        by_file = index.find_owners(path.stem)
        try:
            with contained(path, with_disk=True):
                parts = read_label_file(path, class_map, options.label_format, options.channel)
        except InputError as error:
            source = sources.get(by_file[0]) if len(by_file) == 1 else None
            unreadable = problems if source is None else source.problems
            unreadable.extend(error.problems)
            continue
        if not parts:
            own_tables.append(path)
            continue
        parts = [_split_animal(part, index) for part in parts]
        names = dict.fromkeys(part.video for part in parts)
        names.pop("", None)
        owners = {name: index.find(name) for name in names}
        # the file's own name overrides a single video name that matches nothing
        is_by_file = not any(owners.values()) and len(names) < 2
        if is_by_file:
            problems += _take(path, parts, by_file, sources, next(iter(names), ""))
            continue
        for name, mentioned in owners.items():
            mine = [part for part in parts if part.video == name]
            problems += _take_named(path, mine, mentioned, sources, name)
        problems += [
            problem
            for part in parts
            if not part.video
            for problem in part.problems or (_nameless(path, part),)
        ]
    if own_tables and warns:
        _warn_of_tables(own_tables)
    for source in sources.values():
        drop_workbooks(source)
        note_number(source)
        drop_predictions(source)
        drop_copies(source)
        note_corrections(source)
        if len(source.labels) == 1:
            # the file name identifies the annotator
            source.labels = [replace(source.labels[0], annotator="")]
    return list(sources.values()), problems


def _warn_of_tables(paths: Sequence[Path]) -> None:
    folder = Path(os.path.commonpath([path.parent for path in paths]))
    names = ", ".join(path.name for path in paths[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    log.warning(
        "%s: contains %s without labels (%s%s), which mpar does not read",
        *(folder.name, counted(len(paths), "table"), names, more),
    )


def _split_animal(part: Scoring, index: NameIndex[Path]) -> Scoring:
    """Take ``VIDEO__ANIMAL``, as mpar names regions in exports, as a video and its animal."""
    video, joint, animal = part.video.partition(JOINT)
    if not joint or part.subject or index.find(part.video) or not index.find(video):
        return part
    return replace(part, video=video, subject=without_suffix(animal))


def _take(
    path: Path,
    parts: Sequence[Scoring],
    owners: list[Path],
    sources: dict[Path, Source],
    named: str,
) -> list[Problem]:
    """Assign the parts of a file to the video that the file is named after."""
    if named and NameIndex([(file_name(named), named)]).find_owners(path.stem):
        # the file is named after the video in it, whose name starts with that of another video
        owners = []
    if len(owners) != 1:
        if own := [p for part in parts for p in part.problems]:
            return own
        code = "unclear-video" if owners else "no-video"
        return [Problem.of(path, code, _describe_owners(owners, file_name(named)))]
    if owners[0] not in sources:
        return [_of_unread(path, owners[0].name)]
    source = sources[owners[0]]
    for part in parts:
        if part.problems:
            source.problems += [p for p in part.problems if p not in source.problems]
            continue
        if named:
            part = part.warned(
                f"names the video {file_name(named)!r}; mpar takes it as {source.video.name}, "
                "which its file name matches"
            )
        source.labels.append(part)
    return []


def _describe_owners(owners: list[Path], named: str) -> str:
    if owners:
        fits = " and ".join(owner.name for owner in owners)
        return f"matches {fits}, whose names differ only in case or spaces; rename one"
    nor = f", nor does the video name in it ({named!r})" if named else ""
    return f"matches no video{nor}, expected a name that starts with that of a video; rename it"


def _take_named(
    path: Path,
    parts: Sequence[Scoring],
    owners: list[Path],
    sources: dict[Path, Source],
    name: str,
) -> list[Problem]:
    """Assign the parts of a file that name a video to that video."""
    shown = file_name(name)
    if len(owners) == 1 and owners[0] not in sources:
        return [_of_unread(path, owners[0].name)]
    if len(owners) == 1:
        source = sources[owners[0]]
        for part in parts:
            source.problems += [p for p in part.problems if p not in source.problems]
            source.labels += [part] if not part.problems else []
        return []
    if owners:
        fits = " or ".join(owner.name for owner in owners)
        return [
            Problem.of(
                path, "unclear-video", f"scores {shown!r}, which may be {fits}; rename one of them"
            )
        ]
    message = f"scores {shown!r}, but there is no such video; add it, or remove its labels"
    return [Problem.of(path, "no-video", message)]


def _of_unread(path: Path, video: str) -> Problem:
    return Problem.of(
        path,
        "unread-video",
        f"belongs to {video}, which mpar cannot read; convert the video, or move both elsewhere",
    )


def _nameless(path: Path, part: Scoring) -> Problem:
    return Problem.of(
        path,
        "no-video",
        f"observation {part.annotator!r} names no video, unlike others in this file; add it, or "
        "save the observation to a file named after its video",
    )


def _is_text(name: str) -> bool:
    """Return True if `name` is text, not bytes in an unknown encoding."""
    return not re.search("[\ud800-\udfff]", name)
