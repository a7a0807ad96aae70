"""Name what row counts would fit, if they are not those of a video: candidates, not reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from mpar.aligning.contradictions import find_other_rate
from mpar.errors import InputError
from mpar.labels.names import VIDEO_SUFFIXES
from mpar.video.videos import probe_video

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
