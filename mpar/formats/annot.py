"""Files of MARS/Bento: text, frames from 1, the last one included."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from pathlib import Path, PureWindowsPath

from mpar.errors import InputError
from mpar.labels.bouts import find_bouts
from mpar.labels.scorings import Event, Recording, Scoring
from mpar.system.files import write_text
from mpar.system.tables import ProblemList, find_decimal

_TITLE = "bento annotation file"
_KEYS = {
    "movie file(s)",
    "stimulus name",
    "start date time",
    "annotation start frame",
    "annotation stop frame",
    "annotation start time",
    "annotation stop time",
    "annotation framerate",
    "list of channels",
    "list of annotations",
}

_Row = tuple[str, str, list[str], int]  # channel, behaviour, cells, number of the line


def is_annot(text: str) -> bool:
    """Return True if a text is a MARS/Bento annotation file."""
    return text.lstrip()[: len(_TITLE)].lower() == _TITLE


def read_annot(path: Path, text: str, channel: str | None = None) -> list[Scoring]:
    """Read a channel of a MARS/Bento annotation file, by default the only one with bouts.

    Notes
    -----
    Starts and stops with a decimal point are frames, from 1, divided by the file's frame rate.
    Source: Bento's ``saveAnnot.m`` and ``loadAnnotSheetTxt.m``.
    """
    if not is_annot(text):
        raise InputError.of(
            path, "unknown-format", "does not start with 'Bento annotation file'; export it again"
        )
    head, rows, channels = _split(text)
    rows = _choose_channel(path, rows, channels, channel)
    numbers = [cell for _, _, cells, _ in rows for cell in cells]
    problems = ProblemList(path, find_decimal(numbers, "\t"))
    first = head.get("annotation start frame", "1")
    if first != "1":
        problems.note(
            "frame-numbers", f"starts at frame {first!r}, expected 1; save it from the first frame"
        )
    rate = head.get("annotation framerate", "")
    frame_rate = problems.number(rate, "annotation framerate", 0) if rate else None
    is_time = any({*".,:"} & {*cell} for _, _, cells, _ in rows for cell in cells[:2])
    if is_time and not frame_rate:
        problems.note("frame-rate", "has times but no annotation framerate to convert them; add it")
        frame_rate = Fraction(1)
    scale = frame_rate if is_time and frame_rate else Fraction(1)

    events = []
    for _, behaviour, cells, number in rows:
        if not behaviour or len(cells) < 2:
            problems.note("cell", "is not a bout below a >behaviour line; fix the line", number)
            continue
        start, last = (
            Fraction(floor(problems.time(cell, what, number) * scale + Fraction(1, 2)))
            for cell, what in zip(cells, ("start", "stop"), strict=False)
        )
        if start < 1:
            problems.note(
                "frame-numbers",
                f"starts at frame {start}, but frames count from 1; fix the line",
                number,
            )
        events.append(Event(behaviour, start - 1, last, number))
    gaps = []
    num_scored = None
    if stop := head.get("annotation stop frame"):
        gaps.append((problems.frame(stop, "annotation stop frame", 0), None))
        num_scored = int(gaps[0][0])
    problems.check()
    movie = PureWindowsPath(head.get("movie file(s)", "")).name
    return [
        Scoring(
            path,
            tuple(events),
            in_frames=True,
            video=movie,
            unscored=tuple(gaps),
            num_scored=num_scored,
            frame_rate=frame_rate,
        )
    ]


def _choose_channel(
    path: Path, rows: list[_Row], channels: list[str], channel: str | None
) -> list[_Row]:
    """Return the rows of a channel; without a choice, of the only one that has bouts."""
    used = list(dict.fromkeys(row[0] for row in rows))
    if channel is None:
        if len(used) > 1:
            raise InputError.of(
                path,
                "channel",
                f"has bouts in the channels {', '.join(used)}, expected one channel; choose one "
                f"with --channel, for instance --channel {used[0]}",
            )
        return rows
    if channel not in channels:
        raise InputError.of(
            path,
            "channel",
            f"has the channels {', '.join(channels) or '(none)'}, expected {channel!r}; choose "
            "another --channel, or save this file's channels under the same names",
        )
    return [row for row in rows if row[0] == channel]


def _split(text: str) -> tuple[dict[str, str], list[_Row], list[str]]:
    """Return the header values by key, the lines with bouts, and the names of all channels."""
    head: dict[str, str] = {}
    key = channel = behaviour = ""
    rows: list[_Row] = []
    channels: dict[str, None] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        name, colon, value = line.partition(":")
        if line.endswith("-----"):
            channel, behaviour = line.rstrip("-"), ""
            channels[channel] = None
        elif channel and line.startswith(">"):
            behaviour = line[1:].strip()
        elif channel and line and not line.lower().startswith("start"):
            rows.append((channel, behaviour, line.split(), number))
        elif colon and name.lower() in _KEYS:
            key = name.lower()
            head[key] = value.strip()
        elif line and key == "list of channels":
            channels[line] = None
        elif line and key and not head[key]:  # MARS writes the movie on the next line
            head[key] = line
    return head, rows, list(channels)


def write_annot(
    folder: Path, videos: Sequence[Recording], class_names: Sequence[str], unscored: str | None
) -> None:
    """Write one file per video."""
    names = [name for name in class_names if name != unscored]
    for item in videos:
        bouts = find_bouts(item.without(class_names, unscored))
        lines = [
            "Bento annotation file",
            f"Movie file(s): {item.video}",
            "",
            "Stimulus name:",
            "Annotation start frame: 1",
            f"Annotation stop frame: {len(item.labels)}",
            f"Annotation framerate: {float(item.fps):f}",
            "",
            "List of channels:",
            "Ch1",
            "",
            "List of annotations:",
            *names,
            "",
            "Ch1----------",
        ]
        for label in sorted({*bouts["label"].tolist()}):
            lines += [f">{class_names[label]}", "Start\tStop\tDuration"]
            for bout in bouts[bouts["label"] == label].itertuples():
                lines.append(f"{bout.start + 1}\t{bout.stop}\t{bout.stop - bout.start}")
            lines.append("")
        write_text(folder / f"{item.name}.annot", "\n".join([*lines, "", ""]))
