"""Write the videos of predictions again, with what was predicted below each picture.

The files of other programs are written by `mpar.predictions.reading.export_predictions`.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import UNLABELLED
from mpar.labels.names import VIDEO_SUFFIXES, NameIndex, safe_in_names
from mpar.labels.scorings import Recording
from mpar.predictions.reading import read_probabilities
from mpar.report.band import Band
from mpar.report.contact_sheet import MAX_ROWS, Strip, choose_frames, draw_sheet, shrink
from mpar.scores.comparison import compare_folders
from mpar.system.faults import LOG_NAME, contained, logged
from mpar.system.files import atomic_path, refuse_existing
from mpar.system.folders import Folders, find_files, list_folders
from mpar.system.progress import Bar
from mpar.video.following import WHOLE
from mpar.video.regions import Region
from mpar.video.videos import Decoding
from mpar.video.writing import AddFrame, new_video

CONTEXT_SECONDS = Fraction(1)  # of a clip, before and after its bout
NETWORK, SCORER = "mpar", "scorer"


@dataclass(frozen=True, slots=True)
class _Piece:
    """Frames `start` to `stop` of a recording, which become one video."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Bout:
    """A bout to show on a contact sheet, and its pictures so far."""

    class_name: str
    text: str
    frames: tuple[int, ...]
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """A recording to write: its video, the pieces of it, and what a person scored."""

    item: Recording
    video: Path
    pieces: tuple[_Piece, ...]
    bouts: tuple[_Bout, ...]
    truth: NDArray[np.int8] | None


def export_videos(
    prediction_folder: Path | str,
    video_folder: Folders,
    output_folder: Path | str,
    *,
    label_folder: Path | str | None = None,
    bouts: Sequence[str] = (),
    squares: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
) -> tuple[list[Path], list[Problem]]:
    """Write videos with a band of class, confidence and time below each picture.

    Parameters
    ----------
    prediction_folder : Path or str
        Folder with ``NAME_predictions.csv`` of mpar-predict and their JSON files.
    video_folder : Path, str or sequence of them
        The videos that were predicted; also searched below.
    output_folder : Path or str
        Gets ``NAME_scored.mp4``, or with `bouts` a clip of each bout,
        ``NAME_<class>_<first frame>.mp4``, and ``<class>_sheet_<number>.png``.
    label_folder : Path or str, optional
        Label files of a person, shown in a second line.
    bouts : sequence of str
        Classes whose bouts become clips, with one second before and after.
    squares : bool
        Draw the squares that the network saw.
    overwrite : bool
        Replace files that exist.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    paths : list of Path
        The written files.
    problems : list of Problem
        Recordings that were left out, and label files that cannot be shown.

    Raises
    ------
    ConfigError
        An unknown class, a file that exists, or squares where no prediction has any.
    InputError
        No recording can be written.

    Notes
    -----
    Frame i of a video is frame i of the recording, shown at the same time after the first one;
    pictures are grey as the network sees them, at native size, cut to the region of the animal.
    """
    folder = Path(output_folder)
    predictions, class_map, problems = read_probabilities(prediction_folder, quiet=True)
    class_names = class_map.class_names
    if unknown := [name for name in bouts if name not in class_names]:
        raise ConfigError(f"bouts: found {unknown[0]!r}, expected one of {', '.join(class_names)}")
    if squares and not any(item.squares for item in predictions):
        raise ConfigError(
            f"squares: found none in {prediction_folder}; mpar-predict notes them if the network "
            "learnt with --follow or --tracks, so predict again or drop --squares"
        )
    truths: dict[str, NDArray[np.int8]] = {}
    if label_folder is not None:
        comparisons, _, more = compare_folders(prediction_folder, label_folder)
        problems += more
        truths = {c.name: c.truth for c in comparisons}
    tasks, more = _plan(predictions, class_names, video_folder, bouts, truths)
    problems += more
    if not tasks:
        raise InputError(problems or [Problem.of(prediction_folder, "no-bouts", _no_bout(bouts))])
    if not overwrite:
        _refuse_existing(folder, [piece.name for task in tasks for piece in task.pieces], tasks)
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    shown: list[_Bout] = []
    num_frames = sum(task.item.num_frames for task in tasks)
    with Bar(total=num_frames, desc="writing", unit="frame", quiet=quiet) as bar:
        for task in tasks:
            try:
                with contained(task.video, with_disk=True):
                    paths += _write(task, class_names, folder, bool(truths), squares, bar.update)
                shown += task.bouts
            except InputError as error:
                problems += error.problems
    for name in dict.fromkeys(bout.class_name for bout in shown):
        paths += _write_sheets(folder, name, [bout for bout in shown if bout.class_name == name])
    problems = logged(problems, folder / LOG_NAME)
    if not paths:
        raise InputError(problems)
    return paths, sorted(dict.fromkeys(problems))


def _no_bout(bouts: Sequence[str]) -> str:
    return f"has no bout of {', '.join(bouts)}; choose other --bouts"


def _plan(
    predictions: Sequence[Recording],
    class_names: Sequence[str],
    video_folder: Folders,
    classes: Sequence[str],
    truths: dict[str, NDArray[np.int8]],
) -> tuple[list[_Task], list[Problem]]:
    """Return what to write of each recording, and the recordings without a video."""
    index = NameIndex((path.name, path) for path in find_files(video_folder, VIDEO_SUFFIXES))
    tasks, problems = [], []
    for item in predictions:
        found = index.find(item.video)
        if len(found) != 1:
            what = f"{len(found)} videos" if found else "no video"
            where = ", ".join(map(str, list_folders(video_folder)))
            message = f"found {what} named {item.video} in {where}, expected one; " + (
                "move the others away" if found else "pass the folder that you predicted"
            )
            problems.append(Problem.of(f"{item.name}_predictions.csv", "no-video", message))
            continue
        pieces = [_Piece(f"{item.name}_scored.mp4", 0, item.num_frames)]
        bouts: list[_Bout] = []
        if classes:
            pieces, bouts = _find_clips(item, class_names, classes)
        if pieces:
            truth = truths.get(item.name)
            tasks.append(_Task(item, found[0], tuple(pieces), tuple(bouts), truth))
    return tasks, problems


def _find_clips(
    item: Recording, class_names: Sequence[str], classes: Sequence[str]
) -> tuple[list[_Piece], list[_Bout]]:
    """Return the clips of the bouts of some classes, in order, and what the sheet shows."""
    clock = item.clock
    pieces, bouts = [], []
    for start, stop, k in find_bouts(item.labels).itertuples(index=False):
        name = class_names[k]
        if name not in classes:
            continue
        begin, end = clock.start_of(start), clock.start_of(stop)
        first = clock.first_at(begin - CONTEXT_SECONDS)
        last = max(stop, clock.first_at(end + CONTEXT_SECONDS))
        pieces.append(_Piece(f"{item.name}_{safe_in_names(name)}_{start:06}.mp4", first, last))
        confidence = item.probabilities[start:stop, k].mean()
        text = (
            f"{item.name}   {_clock_text(float(begin))} to {_clock_text(float(end))}   "
            f"frames {start} to {stop - 1}   confidence {confidence:.2f}"
        )
        bouts.append(_Bout(name, text, tuple(choose_frames(start, stop))))
    return pieces, bouts


def _refuse_existing(folder: Path, names: Sequence[str], tasks: Sequence[_Task]) -> None:
    """Raise ConfigError if an output exists."""
    numbers: dict[str, int] = {}
    for task in tasks:
        for bout in task.bouts:
            numbers[bout.class_name] = numbers.get(bout.class_name, 0) + 1
    sheets = [
        _sheet_name(name, sheet)
        for name, number in numbers.items()
        for sheet in range(-(-number // MAX_ROWS))
    ]
    refuse_existing(folder, (*names, *sheets))


def _write(
    task: _Task,
    class_names: Sequence[str],
    folder: Path,
    has_truth: bool,
    has_squares: bool,
    advance: Callable[[int], object],
) -> list[Path]:
    """Write the videos of a recording; they appear when all of it was read."""
    item = task.item
    parts = folder / f".{item.name}.parts"
    shutil.rmtree(parts, ignore_errors=True)  # of a process that was killed
    try:
        band: Band | None = None
        rate = item.clock.fps or Fraction(30)
        starts = item.clock.starts
        shown_at: dict[int, list[_Bout]] = {}
        for bout in task.bouts:
            for i in bout.frames:
                shown_at.setdefault(i, []).append(bout)
        waiting = sorted(task.pieces, key=lambda piece: piece.start)[::-1]
        with contextlib.ExitStack() as stack:
            writing: list[tuple[_Piece, AddFrame, contextlib.ExitStack]] = []
            for i, picture in enumerate(_read(task)):
                band = band or Band(
                    class_names, [NETWORK, SCORER] if has_truth else [""], *picture.shape
                )
                while waiting and waiting[-1].start == i:
                    piece = waiting.pop()
                    own = stack.enter_context(contextlib.ExitStack())
                    add = own.enter_context(new_video(parts / piece.name, rate))
                    writing.append((piece, add, own))
                if has_squares:
                    picture = _with_square(task, i, picture)
                if writing:
                    drawn = _draw(task, band, i, picture, has_truth)
                for piece, add, _ in writing:
                    add(drawn, float(starts[i] - starts[piece.start]))
                for done in [each for each in writing if each[0].stop == i + 1]:
                    done[2].close()
                    writing.remove(done)
                for bout in shown_at.get(i, ()):
                    bout.pictures.append(shrink(picture))
                advance(1)
        paths = [folder / piece.name for piece in task.pieces]
        for path in paths:
            (parts / path.name).replace(path)
        return paths
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def _read(task: _Task) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a recording; raise InputError if the video has other frames."""
    recording = task.item
    region = Region.parse(recording.region, recording.subject) if recording.region else None
    expected = recording.video_num_frames or task.item.num_frames
    start, stop = recording.start_frame, recording.start_frame + task.item.num_frames
    found = 0
    for picture in Decoding(task.video, regions=(region,)):
        if start <= found < stop:
            yield picture
        found += 1
    if found != expected:
        raise InputError.of(
            task.video,
            "other-video",
            f"has {found} frames, expected the {expected} frames of its prediction; pass the "
            "video that you predicted, or predict it again",
        )


def _draw(
    task: _Task, band: Band, i: int, picture: NDArray[np.uint8], has_truth: bool
) -> NDArray[np.uint8]:
    """Return a picture with its band."""
    item = task.item
    label = int(item.labels[i])
    labels = [label]
    confidences: list[float | None] = [float(item.probabilities[i, label])]
    if has_truth:
        is_known = task.truth is not None and len(task.truth) == item.num_frames
        labels.append(int(task.truth[i]) if is_known and task.truth is not None else UNLABELLED)
        confidences.append(None)
    time = _clock_text(float(item.clock.start_of(i)))
    return band.draw(picture, labels, confidences, f"{time}   frame {i}")


def _with_square(task: _Task, i: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture with the square that the network saw, white between black lines."""
    path, region = task.item.squares, task.item.region
    if path is None or path.corners[i, 0] == WHOLE:
        return picture
    around = Region.parse(region) if region else Region("", 0, 0, 0, 0)
    x, y = (path.corners[i] - (around.x, around.y)).tolist()
    last = path.side - 1
    picture = picture.copy()
    for inset, level in ((0, 0), (1, 255), (2, 0)):
        corner, end = (x + inset, y + inset), (x + last - inset, y + last - inset)
        cv2.rectangle(picture, corner, end, level)
    return picture


def _clock_text(seconds: float) -> str:
    """Return minutes and seconds: "1:05.27"."""
    hundredths = round(100 * seconds)
    return f"{hundredths // 6000}:{hundredths % 6000 / 100:05.2f}"


def _sheet_name(class_name: str, number: int) -> str:
    return f"{safe_in_names(class_name)}_sheet_{number + 1:02}.png"


def _write_sheets(folder: Path, class_name: str, bouts: Sequence[_Bout]) -> list[Path]:
    """Write the contact sheets of a class."""
    paths = []
    for number, start in enumerate(range(0, len(bouts), MAX_ROWS)):
        rows = [Strip(b.text, tuple(b.pictures)) for b in bouts[start : start + MAX_ROWS]]
        picture = cv2.cvtColor(draw_sheet(rows), cv2.COLOR_RGB2BGR)
        _, png = cv2.imencode(".png", picture)
        paths.append(folder / _sheet_name(class_name, number))
        with atomic_path(paths[-1]) as temporary:
            temporary.write_bytes(png.tobytes())
    return paths
