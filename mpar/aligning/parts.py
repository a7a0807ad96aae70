"""Parts of one scoring: several passes over a video, or pieces of it, are added, never voted on.

A person may score one behaviour in each pass, or the halves of a video in two observations. Such
scorings share no behaviour, or no time. If they counted as annotators, each of them would outvote
the others wherever it is empty.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpar.errors import MAX_PROBLEMS_PER_FILE, InputError, Problem, counted
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import Scoring
from mpar.video.timeline import TimeLine

_WAY_OUT = "pass --several annotators if several people scored"


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A scoring by frame, before frames without a behaviour are filled.

    Parameters
    ----------
    scoring : Scoring
        By frame; -1 where it has no behaviour.
    source : Scoring
        The scoring as its file holds it.
    is_free : (N,) bool array
        Frames that someone looked at and that have no behaviour; never rows of mpar's own files.
    lines : (N,) int64 array
        Line of the file that gives each frame its code, 0 if unknown.
    """

    scoring: Scoring
    source: Scoring
    is_free: np.ndarray
    lines: np.ndarray

    @property
    def is_labelled(self) -> np.ndarray:
        """Frames with a code, (N,) bool."""
        return self.scoring.codes != UNLABELLED

    def names(self, class_map: ClassMap) -> set[str]:
        """Return the behaviours that it holds or has a column for."""
        columns = (class_map.find_code(name) for name in self.source.columns)
        codes = {*self.scoring.codes[self.is_labelled].tolist(), *columns}
        return {class_map.name_of(code) for code in codes if code is not None}

    def scored(self) -> np.ndarray:
        """Return the frames that it says something about, (N,) bool."""
        is_table = bool(self.source.columns)
        return self.is_labelled | self.is_free if is_table else self.is_labelled


def are_parts(
    laid: Sequence[Laid], class_map: ClassMap, num_frames: int, unscored: str | None
) -> bool:
    """Return True if scorings of one video are parts of one scoring, False if they are annotators.

    InputError if some seem to be parts of one scoring, and others not.
    """
    told = [item for item in laid if item.is_labelled.any() or item.source.columns]
    if len(told) < 2 or {len(item.scoring.codes) for item in laid} != {num_frames}:
        return False
    found = [
        (_are_parts(a, b, class_map, unscored), a, b) for a, b in itertools.combinations(told, 2)
    ]
    if len({is_part for is_part, _, _ in found}) > 1:
        # unlabelled rows of mpar's own files never vote: it makes no difference for a pair of them
        found = [
            (is_part, a, b)
            for is_part, a, b in found
            if not is_part or not (a.source.is_by_frame and b.source.is_by_frame)
        ]
    pairs = {is_part: (a, b) for is_part, a, b in found}
    if len(pairs) == 1:
        return True in pairs
    (a, b), (c, d) = pairs[True], pairs[False]
    message = (
        f"its scorings in {_place(a)} and {_place(b)} share no behaviour or no time, like parts of "
        f"one scoring, but those in {_place(c)} and {_place(d)} share both, like annotators; pass "
        "--several parts if they are parts of one scoring, or --several annotators if several "
        "people scored"
    )
    raise InputError.of(a.source.path, "several-files", message)


def _are_parts(a: Laid, b: Laid, class_map: ClassMap, unscored: str | None) -> bool:
    """Return True if two scorings share no frame or no behaviour.

    The class of frames without a behaviour tells nothing, unless a scoring holds no other. If every
    frame has a label in one of mpar's own files, its author looked for all classes.
    """
    if not (a.scored() & b.scored()).any():
        return True
    if any(item.source.is_by_frame and item.is_labelled.all() for item in (a, b)):
        return False
    mine, others = a.names(class_map), b.names(class_map)
    if unscored is not None:
        rest = {class_map.name_of(class_map.code_of(unscored, forgiving=True))}
        if mine - rest and others - rest:
            mine = mine - rest
    return not mine & others


def without_rest(item: Laid, class_map: ClassMap, unscored: str | None) -> Laid:
    """Return a part without labels of the class for frames without a behaviour: it saw nothing."""
    if unscored is None:
        return item
    code = class_map.code_of(unscored, forgiving=True)
    is_rest = item.scoring.codes == code
    codes = np.where(is_rest, UNLABELLED, item.scoring.codes).astype(np.int16)
    return replace(item, scoring=replace(item.scoring, codes=codes), is_free=item.is_free | is_rest)


def add_parts(
    laid: Sequence[Laid], class_map: ClassMap, line: TimeLine, unscored: str | None = None
) -> Laid:
    """Return parts of one scoring as one; InputError if two give a frame different classes.

    A frame is free if nobody saw a behaviour in it and every part looked at it. If the parts looked
    at different stretches of the video, one of them is enough.
    """
    is_from_1 = max(int(item.scoring.frames[-1]) for item in laid) == line.num_frames
    laid = [_on_video(item, line.num_frames, int(is_from_1)) for item in laid]
    codes, lines = laid[0].scoring.codes.copy(), laid[0].lines.copy()
    owner = np.where(laid[0].is_labelled, 0, -1)
    problems: list[Problem] = []
    for i, item in enumerate(laid[1:], start=1):
        mine = item.scoring.codes
        is_both = item.is_labelled & (codes != UNLABELLED)
        clash = np.flatnonzero(is_both & (class_map.merge(mine) != class_map.merge(codes)))
        for other in np.unique(owner[clash]).tolist():
            frames = clash[owner[clash] == other]
            first = frames[0]
            there = laid[other]
            line_there = f" (line {lines[first]})" if lines[first] else ""
            codes_there = {int(mine[first]), int(codes[first])}
            is_rest = unscored is not None and class_map.find_code(unscored) in codes_there
            way_out = f"; pass --several parts if {unscored} only says that a part saw nothing"
            message = (
                f"{counted(len(frames), 'frame')} from frame {first} on "
                f"{'is' if len(frames) == 1 else 'are'} {class_map.name_of(int(mine[first]))!r} "
                f"here and {class_map.name_of(int(codes[first]))!r} in {_place(there)}"
                f"{line_there}, expected one class from parts of one scoring; correct one of them, "
                f"or {_WAY_OUT}" + way_out * is_rest
            )
            problems.append(
                Problem.of(item.source.path, "contradiction", message, int(item.lines[first]))
            )
        is_new = item.is_labelled & (codes == UNLABELLED)
        codes[is_new], lines[is_new], owner[is_new] = mine[is_new], item.lines[is_new], i
    if problems:
        raise InputError(problems[:MAX_PROBLEMS_PER_FILE])
    seen = np.stack([item.is_labelled | item.is_free for item in laid])
    is_apart = (seen.sum(axis=0) <= 1).all()
    is_free = (seen.any(axis=0) if is_apart else seen.all(axis=0)) & (codes == UNLABELLED)
    return Laid(_join(laid, codes), replace(laid[0].source, columns=()), is_free, lines)


def _join(laid: Sequence[Laid], codes: np.ndarray) -> Scoring:
    """Return one scoring with the codes of all parts, their names and their warnings."""
    first = laid[0].scoring
    texts = [
        text if item.scoring.path == first.path else f"{item.scoring.path.name}: {text}"
        for item in laid
        for text in item.scoring.warnings
    ]
    names = dict.fromkeys(item.scoring.annotator or item.scoring.path.stem for item in laid)
    rates = (item.scoring.frame_rate for item in laid if item.scoring.frame_rate is not None)
    return Scoring(
        first.path,
        frames=np.arange(len(codes)),
        codes=codes,
        annotator=" + ".join(names),
        frame_rate=next(rates, None),
        warnings=tuple(dict.fromkeys(texts)),
    )


def describe_parts(laid: Sequence[Laid], class_map: ClassMap) -> str:
    """Return a warning that scorings count as parts of one, with the behaviours of each."""
    shown = "; ".join(
        f"{_place(item)}: {', '.join(sorted(item.names(class_map))) or 'nothing'}" for item in laid
    )
    return (
        f"is one of {len(laid)} scorings of its video that share no behaviour or no time "
        f"({shown}); mpar adds them as parts of one scoring; {_WAY_OUT}"
    )


def _place(item: Laid) -> str:
    """Return the file of a scoring, and its observation if it names one."""
    scoring = item.source
    observation = f" (observation {scoring.annotator!r})" if scoring.annotator else ""
    return scoring.path.name + observation


def _on_video(item: Laid, num_frames: int, origin: int) -> Laid:
    """Return a part with a code for each frame of the video, where its frame numbers say."""
    scoring = item.scoring
    if len(scoring.codes) == num_frames:
        return item
    first, last = int(scoring.frames[0]), int(scoring.frames[-1])
    if first < origin or last - origin >= num_frames:
        raise InputError.of(
            scoring.path,
            "frame-numbers",
            f"found frames {first}-{last}, expected numbers of the video's frames "
            f"(0-{num_frames - 1}) in a part of one scoring; fix its frame numbers",
        )
    codes = np.full(num_frames, UNLABELLED, np.int16)
    lines = np.zeros(num_frames, np.int64)
    is_free = np.zeros(num_frames, bool)
    places = scoring.frames - origin
    codes[places], lines[places], is_free[places] = scoring.codes, item.lines, item.is_free
    frames = np.arange(num_frames)
    return Laid(replace(scoring, frames=frames, codes=codes), item.source, is_free, lines)


def check_numbers(laid: Sequence[Laid], num_frames: int) -> None:
    """Raise InputError if label files are pieces of a video, but all count from its first frame."""
    short = [item.scoring for item in laid if len(item.scoring.codes) < num_frames]
    starts = {int(scoring.frames[0]) for scoring in short}
    if len(short) > 1 and len(starts) == 1:
        counts = " + ".join(str(len(scoring.codes)) for scoring in short)
        raise InputError.of(
            short[0].path,
            "several-files",
            f"all {len(short)} parts start at frame {starts.pop()} ({counts} rows for {num_frames} "
            "frames), expected the frame numbers of the video; number the rows of each part, or "
            "pass --several trials",
        )
