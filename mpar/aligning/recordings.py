"""Recordings: the labels of one video laid on its frames, as a whole or by trial.

If row counts are not those of the video, messages name what they would fit: candidates, not
reasons.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.aligning.contradictions import find_other_rate
from mpar.aligning.laying import split_corrections
from mpar.errors import InputError, Problem
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.names import VIDEO_SUFFIXES, added_to, normal
from mpar.labels.scorings import Recording, Scoring
from mpar.matching.label_options import DEFAULT_OPTIONS, TRIALS, LabelOptions
from mpar.matching.sources import Source
from mpar.video.timeline import TimeLine
from mpar.video.videos import probe_video

_ANNOTATION_WORDS = {"annotation", "annotations", "labels", "label", "predictions"}


def check_recording(
    source: Source,
    scorings: Sequence[Scoring],
    line: TimeLine,
    class_map: ClassMap,
    options: LabelOptions = DEFAULT_OPTIONS,
    *,
    group: str,
) -> list[Recording]:
    """Lay the label files of one video on its frames.

    Parameters
    ----------
    source : Source
        The video, and the region of the animal.
    scorings : sequence of Scoring
        Its labels, by frame.
    line : TimeLine
        Time line of the video; its rate tells whether labels were made at another one.
    class_map : ClassMap
        Merges codes into classes.
    options : LabelOptions
        How to read several label files. Parts were added to one scoring before
        (`mpar.aligning.laying.events_to_frames`).
    group : str
        The animal.

    Returns
    -------
    list of Recording
        One for the video, or one per trial.

    Raises
    ------
    InputError
        It is unclear how the labels fit the frames; the message names the option that decides.
    """
    num_frames, several, label_offset = line.num_frames, options.several, options.label_offset
    scorings, corrections = split_corrections(scorings, options)
    pieces: list[tuple[str, int, Sequence[Scoring], np.ndarray]]
    if not _are_trials(scorings, num_frames, several, label_offset):
        codes = _lay_annotators(source.video, scorings, line, several, label_offset)
        pieces = [(source.name, 0, scorings, codes)]
    else:
        pieces = _lay_trials(source.path, scorings, line, label_offset)
    # whoever corrected a correction saw more files than its author
    corrected = [
        (item, _lay_annotators(source.video, [item], line, several, label_offset)[0])
        for item in sorted(corrections, key=lambda item: len(item.corrects))
    ]
    recordings = []
    for name, start, own, codes in pieces:
        filled, annotators = _lay_filled(own, codes.shape), _name_annotators(source.path, own)
        span = slice(start, start + codes.shape[1])
        for item, laid in corrected:
            codes, filled = codes.copy(), filled.copy()
            rows = _correct(item, laid[span], own, codes, filled)
            who = _name_annotators(source.path, [item])[0]
            annotators = tuple(f"{n} + {who}" if i in rows else n for i, n in enumerate(annotators))
        recordings.append(
            Recording(
                name=name,
                video=source.video.name,
                line=line.piece(span.start, span.stop),
                labels=_vote(class_map.merge(codes), len(class_map.class_names), filled),
                group=group,
                region="" if source.region is None else str(source.region),
                start_frame=start,
                video_num_frames=num_frames,
                annotators=annotators,
                codes=codes,
            )
        )
    return recordings


def _correct(
    correction: Scoring,
    laid: np.ndarray,
    scorings: Sequence[Scoring],
    codes: np.ndarray,
    filled: np.ndarray,
) -> list[int]:
    """Put the labels of a correction, (T,), in the place of those that it corrects, (A, T).

    The first of the corrected scorings takes them; return its row. Others lose theirs there, so
    that nobody counts as agreeing with what somebody else corrected.
    """
    names = [normal(item.path.name) for item in scorings]
    # a correction of corrections alone is one of what these correct
    rows = [i for i, name in enumerate(names) if name in correction.corrects] or [
        *range(len(names))
    ]
    is_mine = laid != UNLABELLED
    for row in rows:
        codes[row, is_mine] = laid[is_mine] if row == rows[0] else UNLABELLED
        filled[row, is_mine] = False
    return rows[:1] if is_mine.any() else []


def _are_trials(
    scorings: Sequence[Scoring],
    num_frames: int,
    several: str | None,
    label_offset: int | None,
) -> bool:
    if len(scorings) == 1 or several is not None:
        return len(scorings) > 1 and several == TRIALS
    num_rows = sum(len(a.frames) for a in scorings)
    return num_frames in {num_rows, num_rows + len(scorings) * (label_offset or 0)}


def _lay_annotators(
    video: Path,
    scorings: Sequence[Scoring],
    line: TimeLine,
    several: str | None,
    label_offset: int | None,
) -> np.ndarray:
    """Return the codes of the whole video by annotator, (A, T) int16."""
    num_frames, fps = line.num_frames, line.fps
    counts = {len(a.frames) for a in scorings}
    is_unclear = (
        len(scorings) > 1
        and several is None
        and counts - {num_frames, num_frames - (label_offset or 0)}
    )
    if is_unclear and num_frames not in counts:
        raise InputError(_find_unclear(video, scorings, num_frames, fps, label_offset))
    problems: list[Problem] = []
    rows = []
    for scoring in scorings:
        try:
            rows.append(_lay_rows(scoring, num_frames, label_offset, fps=fps, video=video))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    if is_unclear:
        raise InputError(_find_unclear(video, scorings, num_frames, fps, label_offset))
    return np.stack(rows)


def _find_unclear(
    video: Path,
    scorings: Sequence[Scoring],
    num_frames: int,
    fps: Fraction | None,
    label_offset: int | None,
) -> list[Problem]:
    """Return why several label files cannot be used if none is as long as the video."""
    counts = [len(a.frames) for a in scorings]
    total = sum(counts)
    shown = f"{' + '.join(map(str, counts))} = {total} rows"
    numbers = [_trial_number(video, a.path) for a in scorings]
    is_numbered = None not in numbers and len({*numbers}) == len(numbers)
    hint = ""
    if is_numbered:
        hint = _describe_missing(numbers) or describe_rate(total, num_frames, fps)
    if hint:
        message = (
            f"its {len(counts)} label files have {shown}, but it has {num_frames} frames; {hint}"
        )
        return [Problem.of(video, "row-count", message)]
    if all(describe_rate(count, num_frames, fps) for count in counts):
        problems: list[Problem] = []
        for scoring in scorings:
            try:
                _lay_rows(scoring, num_frames, None, fps=fps)
            except InputError as error:
                problems += error.problems
        return problems
    each, rest = divmod(num_frames - total, len(counts))
    hint = "fix them, or pass --several trials|annotators with --label-offset"
    if each > 0 and not rest:
        hint = (
            f"if they are trials that each lost their first {each} frames, pass --several trials "
            f"--label-offset {each}; otherwise fix them"
        )
    return [
        Problem.of(
            video,
            "several-files",
            f"its {len(counts)} label files have {shown}, but it has {num_frames} frames: neither "
            f"trials (rows add up) nor annotators (each as long as the video); {hint}",
        )
    ]


def describe_trials(scorings: Sequence[Scoring]) -> str:
    """Return a warning that label files count as trials, "" if they cannot be annotators."""
    # two annotators of a copy at half the rate have as many rows as two trials; only trials
    # differ in length or continue the frame numbers
    counts = [len(a.frames) for a in scorings]
    if max(counts) - min(counts) > 1 or len({int(a.frames[0]) for a in scorings}) > 1:
        return ""
    return (
        f"mpar takes its {len(counts)} label files as trials, since "
        f"{' + '.join(map(str, counts))} = {sum(counts)} rows; if they are several annotators, "
        "pass --several annotators"
    )


def _lay_trials(
    video: Path, scorings: Sequence[Scoring], line: TimeLine, label_offset: int | None
) -> list[tuple[str, int, Sequence[Scoring], np.ndarray]]:
    """Return the name, first frame, scoring and (1, T) int16 codes of each trial."""
    num_frames = line.num_frames
    numbers = [_trial_number(video, a.path) for a in scorings]
    if None in numbers or len(set(numbers)) < len(numbers):
        shown = " + ".join(str(len(a.frames)) for a in scorings)
        raise InputError.of(
            video,
            "several-files",
            f"its {len(scorings)} label files have {shown} rows and count as trials, whose "
            "order is unclear: expected names that end in different numbers, found "
            f"{', '.join(a.path.name for a in scorings)}; if they are annotators, pass "
            "--several annotators; if they are trials, end their names in 1, 2, ...; if they are "
            "parts of one scoring, pass --several parts",
        )
    counts = [len(a.frames) for a in scorings]
    lost = label_offset or 0 if sum(counts) != num_frames else 0  # complete trials lost no frames
    lengths = [count + lost for count in counts]
    if sum(lengths) != num_frames:
        each, rest = divmod(num_frames - sum(counts), len(counts))
        given = f" with --label-offset {lost} each" if lost else ""
        hint = (
            f"if each lost its first {each} frames, pass --several trials --label-offset {each}"
            if each > 0 and rest == 0
            else "fix the label files"
        )
        if {*counts} == {num_frames}:
            hint = "each is as long as the video: if they are annotators, pass --several annotators"
        else:
            by_rate = describe_rate(sum(counts), num_frames, line.fps)
            hint = _describe_missing(numbers) or by_rate or hint
        raise InputError.of(
            video,
            "row-count",
            f"its {len(counts)} trials have {' + '.join(map(str, counts))} = {sum(counts)} "
            f"rows{given}, expected {num_frames} frames; {hint}",
        )
    pieces: list[tuple[str, int, Sequence[Scoring], np.ndarray]] = []
    start = 0
    for number, scoring, length in sorted(
        zip(numbers, scorings, lengths, strict=True), key=lambda item: item[0] or 0
    ):
        codes = _lay_rows(scoring, length, lost, start_frame=start)[None]
        pieces.append((f"{video.stem}_trial{number}", start, [scoring], codes))
        start += length
    return pieces


def _describe_missing(numbers: Sequence[int | None]) -> str:
    """Describe missing trials: a few missing numbers between the others; "" if none."""
    known = {number for number in numbers if number is not None}
    between = range(min(known), min(max(known), min(known) + 2 * len(known)))
    missing = [str(number) for number in between if number not in known]
    if not missing or max(known) > between.stop:
        return ""
    return f"there is no label file of trial {', '.join(missing)}; add it"


def _trial_number(video: Path, path: Path) -> int | None:
    """Return the number at the end of a label file's name, None if there is none."""
    match = re.search(r"[0-9]+\Z", added_to(path.stem, video.name))
    return int(match[0]) if match else None


def _lay_rows(
    scoring: Scoring,
    num_frames: int,
    label_offset: int | None,
    *,
    start_frame: int = 0,
    fps: Fraction | None = None,
    video: Path | None = None,
) -> np.ndarray:
    """Return the code of each of `num_frames` frames, (T,) int16, unlabelled without a row.

    Rows may count from 0, from 1 if the row count proves it, from `start_frame` (trials), or from
    the offset if there is one.
    """
    num_rows, first = len(scoring.frames), int(scoring.frames[0])
    short = num_frames - num_rows
    by_number = _offset_of(first, short)
    path = scoring.path
    offset = label_offset or 0 if num_rows < num_frames else 0
    origins = sorted({0, offset, start_frame, start_frame + offset})
    if (
        first not in origins
        and first - 1 not in origins
        and (num_rows == num_frames or label_offset is not None)
    ):
        advice = (
            f"pass --label-offset {by_number}"
            if by_number
            else "check that the labels belong to this video, and number its first frame 0"
        )
        raise InputError.of(
            path,
            "frame-numbers",
            f"its frames start at {first}, expected {' or '.join(map(str, origins))}; {advice}",
        )
    if num_rows == num_frames:
        return scoring.codes
    by_rate = describe_rate(num_rows, num_frames, fps)
    if num_rows > num_frames:
        chapters = describe_chapters(num_rows, num_frames, video) if video else ""
        fits = "; or ".join(filter(None, (chapters, by_rate)))
        hint = fits or "check that they belong together and that the video is not cut short"
        raise InputError.of(
            path,
            "row-count",
            f"found {num_rows} rows, expected {num_frames} (the video's frames); {hint}",
        )
    if label_offset is None:
        numbered = f" (its Frame column starts at {first})" if first else ""
        hint = f"pass --label-offset {by_number}, which matches its frame numbers" * (by_number > 0)
        hint = (
            hint
            or by_rate
            or (
                f"if the first {short} frames have no row, pass --label-offset {short}; if the "
                f"last {short} have none, pass --label-offset 0"
            )
        )
        raise InputError.of(
            path,
            "row-count",
            f"found {num_rows} rows, expected {num_frames} (the video's frames){numbered}; {hint}",
        )
    if label_offset + num_rows > num_frames:
        raise InputError.of(
            path,
            "row-count",
            f"its {num_rows} rows from frame {label_offset} on go past the video's "
            f"{num_frames} frames; pass a --label-offset of at most {short}",
        )
    codes = np.full(num_frames, UNLABELLED, np.int16)
    codes[label_offset : label_offset + num_rows] = scoring.codes
    return codes


def _offset_of(first: int, short: int) -> int:
    """Return the offset that the first frame number (from 0 or 1) implies, 0 if none."""
    return min(first, short) if 1 < first <= short + 1 else 0


def _name_annotators(video: Path, scorings: Sequence[Scoring]) -> tuple[str, ...]:
    """Name annotators by the text that their file's name adds to the video's, or by the stem."""
    names = []
    for scoring in scorings:
        stem = normal(scoring.annotator or scoring.path.stem)
        rest = added_to(stem, video.name).strip("_.- ")
        names.append(rest if rest and rest.lower() not in _ANNOTATION_WORDS else stem)
    if max(Counter(names).values()) > 1:
        names = [normal(item.annotator or item.path.stem) for item in scorings]
    if max(Counter(names).values()) > 1:  # one folder per annotator
        names = [normal("/".join(scoring.path.parts[-2:])) for scoring in scorings]
    return tuple(names)


def _lay_filled(scorings: Sequence[Scoring], shape: tuple[int, ...]) -> np.ndarray:
    """Return where annotators left a frame empty that counts as a class, (A, T) bool."""
    filled_AT = np.zeros(shape, bool)
    for row, scoring in zip(filled_AT, scorings, strict=True):
        if len(scoring.is_filled):  # rows of an offset lie at the end
            row[len(row) - len(scoring.is_filled) :] = scoring.is_filled
    return filled_AT


def _vote(labels_AT: np.ndarray, num_classes: int, filled_AT: np.ndarray) -> np.ndarray:
    """Return the class that most annotators chose, (T,) int8; ties go to the first of them.

    Unlabelled frames do not vote: a frame stays unlabelled only if no annotator labelled it. A
    frame that an annotator left empty counts as a vote only if all of them left it empty.
    """
    if len(labels_AT) == 1:
        return labels_AT[0]
    is_seen_T = ((labels_AT != UNLABELLED) & ~filled_AT).any(axis=0)
    labels_AT = np.where(filled_AT & is_seen_T, np.int8(UNLABELLED), labels_AT)
    votes_KT = np.stack([(labels_AT == k).sum(axis=0) for k in range(num_classes)])
    most_T = votes_KT.max(axis=0)
    winner = np.full(labels_AT.shape[1], UNLABELLED, np.int8)
    for labels_T in labels_AT[::-1]:  # the first annotator comes last and so wins ties
        is_best = (labels_T >= 0) & (
            np.take_along_axis(votes_KT, np.maximum(labels_T, 0)[None].astype(np.intp), 0)[0]
            == most_T
        )
        winner[is_best] = labels_T[is_best]
    return winner


_MAX_CHAPTERS = 30
# how cameras number the files of one recording: the chapter, and what they have in common
_GOPRO = re.compile(r"(G[HXLP])(\d{2})(\d{4})", re.IGNORECASE)
_FIRST_GOPRO = re.compile(r"GOPR(\d{4})", re.IGNORECASE)


def describe_rate(num_rows: int, num_frames: int, fps: Fraction | None) -> str:
    """Describe the other usual rate that a number of rows would fit, "" if there is none."""
    rate = find_other_rate(fps * num_rows / num_frames, fps) if fps else None
    if fps is None or rate is None:
        return ""
    return (
        f"{num_rows} would fit a copy at {float(rate):g} frames per second (the video has "
        f"{float(fps):g}): if they are of such a copy, pass it, or score this video (use "
        "--label-offset only if they come from this very video)"
    )


def describe_chapters(num_rows: int, num_frames: int, video: Path) -> str:
    """Describe the files of one recording that a number of rows would fit together, or "".

    Cameras cut long recordings into chapters, and their names tell the order.
    """
    names, counts = [video.name], [num_frames]
    for path in _later_chapters(video):
        names.append(path.name)
        counts.append(_count_frames(path))
        if not counts[-1] or sum(counts) > num_rows:
            return ""
        if sum(counts) == num_rows:
            break
    if len(names) < 2 or sum(counts) != num_rows:
        return ""
    stems = ", ".join(f"{Path(name).stem}.csv" for name in names)
    return (
        f"{num_rows} would fit {' and '.join(names)} together "
        f"({' + '.join(map(str, counts))} frames): if they are chapters of one recording, give "
        f"each its own rows, numbered from 0, in {stems}"
    )


def _later_chapters(video: Path) -> Iterator[Path]:
    """Yield the files that may follow a video in a recording, in order.

    GoPro counts chapters in the middle of the name. Elsewhere, a number in it may count them.
    """
    try:
        files = [path for path in video.parent.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES]
    except OSError:
        return
    by_name = {path.name.lower(): path for path in files}
    for number in range(1, _MAX_CHAPTERS):
        path = by_name.get((_name_chapter(video.stem, number) + video.suffix).lower())
        if path is None or path == video:
            return
        yield path


def _name_chapter(stem: str, number: int) -> str:
    """Return the name of the file so many chapters later, "" if the name has no number."""
    if match := _GOPRO.fullmatch(stem):
        return f"{match[1]}{int(match[2]) + number:02d}{match[3]}"
    if match := _FIRST_GOPRO.fullmatch(stem):
        return f"GP{number:02d}{match[1]}"
    if match := re.fullmatch(r"(.*?)([0-9]+)", stem):
        return f"{match[1]}{int(match[2]) + number:0{len(match[2])}d}"
    return ""


def _count_frames(path: Path) -> int:
    """Return the number of pictures in a video, 0 if it cannot be read."""
    try:
        return probe_video(path, on_packets=lambda: None).num_packets
    except (InputError, OSError):
        return 0
