"""Which recordings show the same scene, so that a score on one of them may only show memory.

A network can recognize a cage, or where a mouse sat. If pieces of one session lie on both sides of
a split, the score shows that.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mpar.cache.store import Store

_NUM_LOOKS = 25  # frames of a recording for its median
_SIDE_PX = 32
_MAX_RECORDINGS = 200  # looked at on each side of a split
_MAX_DIFFERENCE = 1.0  # grey levels of three quarters of the pixels; found on real sessions
_MAX_SHARE = 0.15  # of the structure of the median frames (interquartile range)
_MIN_SHARE = 0.25  # of the recordings; fewer change the score little
_MAX_JUMP = 1.5  # change from one piece to the next, in changes within a piece


def check_scenes(store: Store, learnt: Sequence[int], tested: Sequence[int]) -> list[str]:
    """Return warnings about recordings to test on that continue, or look like, those learnt from.

    Parameters
    ----------
    store : Store
        The cache.
    learnt, tested : sequence of int
        Positions of recordings.

    Returns
    -------
    list of str
        Empty if nothing was found, or if all recordings show one scene, as with a fixed camera:
        mpar cannot tell sessions apart then.

    Notes
    -----
    Our choice: two recordings show the same scene if three quarters of the pixels of their median
    frames (32 x 32 px) differ by at most 1 grey level and 15 % of their interquartile range, apart
    from brightness. One continues
    another if the change from the last frame to the first is at most 1.5 times the change
    between neighbouring frames.
    """
    learnt, tested = _thinned(learnt), _thinned(tested)
    looks = {i: _look(store, i) for i in {*learnt, *tested}}
    names = {i: store.recordings[i].name for i in looks}
    warnings = []
    pieces = [
        f"{names[j]} goes on where {names[i]} ends"
        for test in tested
        for other in learnt
        for i, j in ((test, other), (other, test))
        if _continues(looks[i], looks[j])
    ]
    if pieces:
        warnings.append(
            f"pieces of one film lie on both sides of the split ({_some(pieces)}), so the score "
            "flatters; keep them together with --group-pattern, or with a --split of your own"
        )
    scenes = _number_alike({i: look[0] for i, look in looks.items()})
    known = {scenes[i] for i in learnt}
    same = [names[i] for i in tested if scenes[i] in known]
    if len(same) >= _MIN_SHARE * len(tested) and len(set(scenes.values())) > 1:
        warnings.append(
            f"{len(same)} of {len(tested)} recordings show the same background as recordings that "
            f"the network learns from ({_some(same)}); if they are of the same session, the score "
            "flatters: test whole sessions, with --group-pattern or a --split of your own"
        )
    return warnings


def _thinned(recordings: Sequence[int]) -> list[int]:
    """Return at most 200 of the recordings, evenly spaced, since each takes time to read."""
    number = min(len(recordings), _MAX_RECORDINGS)
    return [recordings[i] for i in np.linspace(0, len(recordings) - 1, number).astype(int)]


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:2]) + (", ..." if len(items) > 2 else "")


Look = tuple[np.ndarray, np.ndarray, np.ndarray, float]


def _look(store: Store, recording: int) -> Look:
    """Return the median, the first and the last frame, and the change between neighbours."""
    num_frames = store.recordings[recording].num_frames
    places = np.linspace(0, num_frames - 1, min(num_frames, _NUM_LOOKS)).astype(int).tolist()
    small = {place: _small(store, recording, place) for place in places}
    steps = [
        float(np.abs(small[place] - _small(store, recording, place + 1)).mean())
        for place in places[:-1]
    ]
    median = np.median(list(small.values()), axis=0)
    return median, small[places[0]], small[places[-1]], float(np.median(steps)) if steps else 0.0


def _small(store: Store, recording: int, frame: int) -> np.ndarray:
    picture = np.empty((1, *store.frame_size), np.uint8)
    store.copy_frames(recording, frame, frame + 1, picture)
    return cv2.resize(
        picture[0].astype(np.float32), (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA
    )


def _continues(before: Look, after: Look) -> bool:
    """Return True if one recording begins as another ends, with the animal at the same place."""
    change = float(np.abs(after[1] - before[2]).mean())
    usual = max(before[3], after[3])
    # without any movement within the pieces, every pair of frames would look alike
    return usual > 0 and change <= _MAX_JUMP * usual


def number_scenes(store: Store, recordings: Sequence[int]) -> dict[int, int]:
    """Return a number for each recording, the same for all that show the same background."""
    return _number_alike({i: _look(store, i)[0] for i in recordings})


def _number_alike(medians: dict[int, np.ndarray]) -> dict[int, int]:
    """Return a number for each recording, the same for all that show the same scene."""
    scenes: dict[int, int] = {}
    first: list[np.ndarray] = []
    for recording, median in sorted(medians.items()):
        known = (n for n, other in enumerate(first) if _is_same_scene(median, other))
        scenes[recording] = next(known, len(first))
        if scenes[recording] == len(first):
            first.append(median)
    return scenes


def _is_same_scene(median: np.ndarray, other: np.ndarray) -> bool:
    difference = median - other
    difference = np.abs(difference - np.median(difference))
    # a plain background has too little structure to be recognized by
    structure = min(np.subtract(*np.percentile(one, [75, 25])) for one in (median, other))
    return bool(np.percentile(difference, 75) <= min(_MAX_DIFFERENCE, _MAX_SHARE * structure))
