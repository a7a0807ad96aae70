"""Bouts: runs of equal labels in a frame-by-frame scoring, with their times and totals.

A label array is (T,) integers: a class index from 0, or -1 where the frame has no label.
Frame indices are 0-based everywhere: the first frame of a recording is frame 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mpar.labels.classes import UNLABELLED
from mpar.video.timeline import TimeLine


def as_labels(
    labels: ArrayLike, *, num_classes: int | None = None, name: str = "labels"
) -> NDArray[np.int64]:
    """Convert `labels` to a label array and check it.

    Parameters
    ----------
    labels : array_like of int, shape (T,)
        Class index per frame, -1 where unlabelled; any integer dtype.
    num_classes : int, optional
        Number of classes K; by default any class index is valid.
    name : str
        Name of the array in error messages.

    Returns
    -------
    numpy.ndarray of int64, shape (T,)

    Raises
    ------
    ValueError
        Not one-dimensional, not integers, below -1, or K and above.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: found {array.dtype} of shape {array.shape}, expected integers of shape (T,)"
        )
    bad = array < UNLABELLED
    if num_classes is not None:
        bad |= array >= num_classes
    if bad.any():
        frame = int(np.argmax(bad))
        highest = "" if num_classes is None else f" to {num_classes - 1}"
        raise ValueError(
            f"{name}: found {array[frame]} at index {frame}, expected a class index"
            f" from 0{highest}, or -1 for unlabelled"
        )
    return array.astype(np.int64)


def find_runs(labels: ArrayLike) -> NDArray[np.int64]:
    """Find the maximal runs of equal labels, including runs of unlabelled frames (-1).

    Parameters and errors are those of `find_bouts`. Returns rows of (start, stop, label), which
    cover every frame, (R, 3).

    Examples
    --------
    >>> find_runs([0, 0, 2, -1, 2, 2]).tolist()
    [[0, 2, 0], [2, 3, 2], [3, 4, -1], [4, 6, 2]]
    """
    array = as_labels(labels)
    is_first = np.ones(len(array), dtype=bool)
    is_first[1:] = array[1:] != array[:-1]
    start = np.flatnonzero(is_first)
    stop = np.append(start[1:], len(array))[: len(start)]
    return np.stack([start, stop, array[start]], axis=1)


def find_bouts(labels: ArrayLike) -> pd.DataFrame:
    """Find the bouts of a label array: its maximal runs of one class.

    Parameters
    ----------
    labels : array_like of int, shape (T,)
        Class index per frame, -1 where unlabelled.

    Returns
    -------
    pandas.DataFrame
        One row per bout in order of time, int64 columns ``start`` and ``stop`` (half-open:
        the bout is ``labels[start:stop]``) and ``label``. Unlabelled runs have no row but
        separate bouts. Without labelled frames, there are no rows.

    Raises
    ------
    ValueError
        `labels` is not a label array.

    Examples
    --------
    >>> find_bouts([0, 0, 2, -1, 2, 2]).values.tolist()
    [[0, 2, 0], [2, 3, 2], [4, 6, 2]]
    """
    runs = find_runs(labels)
    return pd.DataFrame(runs[runs[:, 2] != UNLABELLED], columns=["start", "stop", "label"])


def bout_table(
    labels: ArrayLike,
    line: TimeLine | Fraction | float,
    class_names: Sequence[str],
    *,
    confidence: ArrayLike | None = None,
    stride: int = 1,
    num_frames: int | None = None,
) -> pd.DataFrame:
    """List the bouts of a recording with their frames and times, ready to write as CSV.

    Parameters
    ----------
    labels : array_like of int, shape (N,)
        Class index per row, -1 where unlabelled. Row i is frame ``i * stride``.
    line : TimeLine, Fraction or float
        When each frame is shown; or frames per second, if frames are evenly spaced.
    class_names : sequence of str, length K
        Name of each class.
    confidence : array_like of float, shape (N,), optional
        Confidence of each labelled row, 0 to 1; values in unlabelled rows are ignored.
    stride : int
        Only every stride-th frame was scored.
    num_frames : int, optional
        Frames T of the recording; required if `stride` is above 1 and `line` is a rate, because
        the number of rows does not determine it.

    Returns
    -------
    pandas.DataFrame
        One row per bout in order of time:

        ``Class``
            Name of the class.
        ``First_frame``, ``Last_frame``
            First and last frame of the bout, 0-based, BOTH INCLUDED: a bout of one frame has
            ``First_frame == Last_frame``.
        ``Frames``
            ``Last_frame - First_frame + 1``.
        ``Start_s``, ``Stop_s``, ``Duration_s``
            Seconds on the clock of the recording. A frame is shown until the next one is:
            adjoining bouts share their boundary, and ``Duration_s = Stop_s - Start_s``. At an even
            rate ``Start_s = First_frame / fps`` and ``Duration_s = Frames / fps``.
        ``Mean_confidence``
            Mean over the rows of the bout; only with `confidence`.

    Raises
    ------
    ValueError
        An array of the wrong shape or range, an fps or stride that is not positive, or a
        `num_frames` that does not fit the rows.

    Notes
    -----
    Each row stands for its frame and the ``stride - 1`` unscored ones after it, the last row
    for the rest of the recording::

        frame   0 1 2 3 4 5 6     stride = 3, num_frames = 7
        row     0 . . 1 . . 2     labels = [0, 1, 1]
        bouts   0 0 0 1 1 1 1     frames 0-2 and 3-6

    Our choice, because the frames of all rows then add up to the recording. Onsets are exact to
    within `stride` frames, and a shorter bout can be missed.

    Examples
    --------
    >>> table = bout_table([0, 1, 1], 30, ["rest", "walk"], stride=3, num_frames=7)
    >>> table[["Class", "First_frame", "Last_frame", "Stop_s"]].values.tolist()
    [['rest', 0, 2, 0.1], ['walk', 3, 6, 0.23333333333333334]]
    """
    array = as_labels(labels, num_classes=len(class_names))
    line = _as_line(line, len(array), stride, num_frames)
    rows = find_bouts(array)
    first = rows["start"] * stride
    stop = (rows["stop"] * stride).clip(upper=line.num_frames)
    starts, stops = ([line.start_of(frame) for frame in at.tolist()] for at in (first, stop))
    table = pd.DataFrame(
        {
            "Class": np.array(class_names, dtype=object)[rows["label"]],
            "First_frame": first,
            "Last_frame": stop - 1,
            "Frames": stop - first,
            "Start_s": list(map(float, starts)),
            "Stop_s": list(map(float, stops)),
            "Duration_s": [float(b - a) for a, b in zip(starts, stops, strict=True)],
        }
    )
    if confidence is not None:
        values = np.asarray(confidence, dtype=np.float64)
        if values.shape != array.shape:
            raise ValueError(f"confidence: found shape {values.shape}, expected {array.shape}")
        used = values[array != UNLABELLED]
        if not ((used >= 0) & (used <= 1)).all():
            raise ValueError("confidence: found a value outside 0 to 1 in a labelled row")
        table["Mean_confidence"] = [
            float(values[start:stop].mean())
            for start, stop in zip(rows["start"], rows["stop"], strict=True)
        ]
    return table


def summarize(
    labels: ArrayLike,
    line: TimeLine | Fraction | float,
    class_names: Sequence[str],
    *,
    stride: int = 1,
    num_frames: int | None = None,
) -> dict[str, Any]:
    """Summarize a recording in one row: time, bouts and first onset of every class.

    Parameters
    ----------
    labels, line, class_names, stride, num_frames
        As in `bout_table`, which defines the meaning of rows with a stride.

    Returns
    -------
    dict of str to int, float or None
        ``frames`` and ``seconds`` of the recording, then for each class

        ``<class>_frames``
            Frames with this label.
        ``<class>_percent``
            Time with this label in percent of the WHOLE recording, including unlabelled frames. If
            some frames are unlabelled, the classes add up to less than 100.
        ``<class>_bouts``
            Number of bouts.
        ``<class>_latency_s``
            Second on the clock of the recording at which the first bout starts; None if there is
            no bout.

    Raises
    ------
    ValueError
        As in `bout_table`, or the recording has no frames.
    """
    line = _as_line(line, len(np.asarray(labels)), stride, num_frames)
    table = bout_table(labels, line, class_names, stride=stride)
    if line.num_frames == 0:
        raise ValueError("labels: found no frames, expected at least one")
    seconds = float(line.seconds - line.lead_seconds)
    row: dict[str, Any] = {"frames": line.num_frames, "seconds": seconds}
    for name in class_names:
        bouts = table[table["Class"] == name]
        row[f"{name}_frames"] = int(bouts["Frames"].sum())
        row[f"{name}_percent"] = 100 * float(bouts["Duration_s"].sum()) / seconds
        row[f"{name}_bouts"] = len(bouts)
        row[f"{name}_latency_s"] = float(bouts["Start_s"].iloc[0]) if len(bouts) else None
    return row


def _as_line(
    line: TimeLine | Fraction | float, num_rows: int, stride: int, num_frames: int | None
) -> TimeLine:
    """Return the time line of a recording that has a row for every stride-th frame."""
    if stride < 1:
        raise ValueError(f"stride: found {stride}, expected 1 or more")
    if not isinstance(line, TimeLine):
        if not 0 < line < float("inf"):
            raise ValueError(f"fps: found {line}, expected a positive number")
        if num_frames is None and stride > 1:
            raise ValueError(
                "num_frames: found none, expected a number of frames if stride is above 1"
            )
        line = TimeLine(num_rows if num_frames is None else num_frames, Fraction(line))
    expected = -(-line.num_frames // stride)
    if num_rows != expected:
        raise ValueError(
            f"labels: found {num_rows} rows, expected {expected}:"
            f" one in {stride} of {line.num_frames} frames"
        )
    return line
