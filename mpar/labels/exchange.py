"""Label files of any format, recognised by their content and read; labels written for others.

Each format has one entry in `FORMATS`: how it is recognised, its reader, and its writer if it has
one. DeepEthogram, SimBA and MARS/Bento are here, BORIS is in `mpar.labels.boris`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd

from mpar.errors import ConfigError, InputError, Problem
from mpar.labels import boris, one_hot
from mpar.labels.annotations import (
    COLUMNS,
    DELIMITERS,
    Annotation,
    header_of,
    plain_cells,
    read_annotation,
    read_text,
)
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import MAX_FPS, Event, Labelled, Scoring
from mpar.labels.tables import NOTHING, ProblemList, find_decimal, find_header, parse_table
from mpar.system.files import write_table, write_text

ANNOTATION_SUFFIXES = (".csv", ".tsv", ".annot", ".boris")
AUTO = "auto"
SIMBA_NAME = "simba_bouts.csv"


def read_label_file(
    path: Path, class_map: ClassMap, label_format: str = AUTO
) -> list[Annotation | Scoring]:
    """Read a label file of any format.

    Parameters
    ----------
    path : Path
        The file.
    class_map : ClassMap
        The names that may occur.
    label_format : str
        A key of `FORMATS`, "mpar", or "auto" to recognise the file by its content.

    Returns
    -------
    list of Annotation or Scoring
        One annotation, or the scorings of one or several videos. A scoring that cannot be used
        holds its problems; a behaviour without a class is one.

    Raises
    ------
    InputError
        Nothing of the file can be read.
    """
    text = read_text(path)
    name = label_format
    if name == AUTO:
        name = "boris" if path.suffix.lower() == ".boris" else _recognise(text)
    if name == "mpar":
        return [read_annotation(path, class_map)]
    return [_checked(scoring, class_map) for scoring in FORMATS[name].read(path, text)]


def _checked(scoring: Scoring, class_map: ClassMap) -> Scoring:
    """Return a scoring that says which of its behaviours have no class."""
    unknown = scoring.find_unknown(class_map)
    if not unknown:
        return scoring
    known = dict.fromkeys((*class_map.class_names, *(name for _, name, _ in class_map.rows)))
    problem = Problem.of(
        scoring.path,
        f"found behaviours without a class: {', '.join(map(repr, unknown))}; expected names of the "
        f"class map ({', '.join(known)}); add a row for each to a --class-map"
        + (", or call the columns Frame and Action if they hold codes" * bool(scoring.columns)),
    )
    return replace(scoring, problems=(*scoring.problems, problem))


def _write_deepethogram(
    folder: Path, videos: Sequence[Labelled], class_names: Sequence[str], unscored: str | None
) -> None:
    names = [name for name in class_names if name != unscored]
    for item in videos:
        columns = {name: (item.labels == class_names.index(name)).astype(int) for name in names}
        table = pd.DataFrame(columns)
        table.insert(0, "background", 1 - table.sum(axis=1))
        table[item.labels == UNLABELLED] = -1
        write_table(folder / f"{item.name}_labels.csv", table, index=True)


# SimBA: a row a bout, the last frame included.


def _is_simba(cells: list[str]) -> bool:
    return {"event", "start_frame", "end_frame"} <= {cell.replace(" ", "_") for cell in cells}


def _read_simba(path: Path, text: str) -> list[Scoring]:
    """Read SimBA bouts, of one video or several."""
    table = parse_table(path, text, _is_simba)
    problems = ProblemList(path, table.decimal)
    events: dict[str, list[Event]] = defaultdict(list)
    starts: dict[str, list[tuple[Fraction, int]]] = defaultdict(list)
    ends: dict[str, list[tuple[Fraction, int]]] = defaultdict(list)
    for line, cells in table.rows:
        start = problems.frame(table.cell(cells, "start_frame", "start frame"), "start frame", line)
        last = problems.frame(table.cell(cells, "end_frame", "end frame"), "end frame", line)
        video = table.cell(cells, "video")
        events[video].append(Event(table.cell(cells, "event"), start, last + 1, line))
        if (time := table.cell(cells, "start_time", "start time")).lower() not in NOTHING:
            starts[video].append((problems.number(time, "start time", line), int(start)))
        if (time := table.cell(cells, "end time", "end_time")).lower() not in NOTHING:
            ends[video].append((problems.number(time, "end time", line), int(last) + 1))
    problems.check()
    return [
        Scoring(
            path,
            tuple(mine),
            in_frames=True,
            video=video,
            frame_times=(*starts[video], *_place_ends(starts[video], ends[video])),
        )
        for video, mine in events.items()
    ]


def _place_ends(
    starts: list[tuple[Fraction, int]], ends: list[tuple[Fraction, int]]
) -> list[tuple[Fraction, int]]:
    """Return the times at which bouts end, each with its frame.

    SimBA gives the time of the frame after the last; tables by hand that of the last one, which the
    rate of the starts tells.
    """
    time, frame = max(starts, default=(Fraction(0), 0))
    if time <= 0:
        return ends
    rate = frame / time
    early = all(abs(t * rate - (stop - 1)) < abs(t * rate - stop) for t, stop in ends)
    return [(t, stop - early) for t, stop in ends]


def _write_simba(
    folder: Path, videos: Sequence[Labelled], class_names: Sequence[str], unscored: str | None
) -> None:
    tables = []
    for item in videos:
        bouts = find_bouts(item.without(class_names, unscored))
        tables.append(
            pd.DataFrame(
                {
                    "Video": item.name,
                    "Event": np.array(class_names, dtype=object)[bouts["label"]],
                    "Start_time": [
                        float(item.start_of(frame)) for frame in bouts["start"].tolist()
                    ],
                    "End Time": [float(item.start_of(frame)) for frame in bouts["stop"].tolist()],
                    "Start_frame": bouts["start"],
                    "End_frame": bouts["stop"] - 1,
                    "Bout_time": [
                        float(item.start_of(stop) - item.start_of(start))
                        for start, stop in zip(
                            bouts["start"].tolist(), bouts["stop"].tolist(), strict=True
                        )
                    ],
                }
            )
        )
    write_table(folder / SIMBA_NAME, pd.concat(tables))


# MARS/Bento: text, frames from 1, the last one included.

_ANNOT_TITLE = "bento annotation file"
_ANNOT_KEYS = {
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


def _is_annot(text: str) -> bool:
    return text.lstrip()[: len(_ANNOT_TITLE)].lower() == _ANNOT_TITLE


def _read_annot(path: Path, text: str) -> list[Scoring]:
    """Read a MARS/Bento annotation file.

    Notes
    -----
    Starts and stops with a point are frames, from 1, divided by the file's own frame rate.
    Source: Bento's ``saveAnnot.m`` and ``loadAnnotSheetTxt.m``.
    """
    if not _is_annot(text):
        raise InputError.of(path, "does not begin with 'Bento annotation file'; export it again")
    head: dict[str, str] = {}
    key = channel = behaviour = ""
    rows = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        name, colon, value = line.partition(":")
        if line.endswith("-----"):
            channel, behaviour = line.rstrip("-"), ""
        elif channel and line.startswith(">"):
            behaviour = line[1:].strip()
        elif channel and line and not line.lower().startswith("start"):
            rows.append((channel, behaviour, line.split(), number))
        elif colon and name.lower() in _ANNOT_KEYS:
            key = name.lower()
            head[key] = value.strip()
        elif line and key and not head[key]:  # MARS writes the movie into the next line
            head[key] = line

    numbers = [cell for _, _, cells, _ in rows for cell in cells]
    problems = ProblemList(path, find_decimal(numbers, "\t"))
    if channels := list(dict.fromkeys(row[0] for row in rows))[1:]:
        problems.note(
            f"has bouts in the channels {', '.join([rows[0][0], *channels])}, expected one; save "
            "each to a file of its own"
        )
    first = head.get("annotation start frame", "1")
    if first != "1":
        problems.note(f"begins at frame {first!r}, expected 1; save it from the first frame on")
    rate = head.get("annotation framerate", "")
    frame_rate = problems.number(rate, "annotation framerate", 0) if rate else None
    is_time = any("." in cell or "," in cell for _, _, cells, _ in rows for cell in cells[:2])
    if is_time and not frame_rate:
        problems.note("has times, but no annotation framerate to read them with; add it")
        frame_rate = Fraction(1)
    scale = frame_rate if is_time and frame_rate else Fraction(1)

    events = []
    for _, behaviour, cells, number in rows:
        if not behaviour or len(cells) < 2:
            problems.note("is no bout below a >behaviour; fix the line", number)
            continue
        start, last = (
            Fraction(floor(problems.number(cell, what, number) * scale + Fraction(1, 2)))
            for cell, what in zip(cells, ("start", "stop"), strict=False)
        )
        if start < 1:
            problems.note(f"starts at frame {start}, but frames count from 1; fix the line", number)
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


def _write_annot(
    folder: Path, videos: Sequence[Labelled], class_names: Sequence[str], unscored: str | None
) -> None:
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


Reader = Callable[[Path, str], list[Scoring]]
Writer = Callable[[Path, Sequence[Labelled], Sequence[str], "str | None"], None]


def _has(is_header: Callable[[list[str]], bool]) -> Callable[[str], bool]:
    return lambda text: find_header(text, is_header) is not None


@dataclass(frozen=True, slots=True)
class Format:
    """A label format: how its text is recognised, read and written, and the files it writes."""

    is_text: Callable[[str], bool]
    read: Reader
    write: Writer | None = None
    file_name: str = ""


# In the order in which they are tried
FORMATS = {
    "boris": Format(boris.is_project, boris.read_project, boris.write_project, boris.PROJECT_NAME),
    "annot": Format(_is_annot, _read_annot, _write_annot, "{name}.annot"),
    "boris-tabular": Format(_has(boris.is_tabular), boris.read_tabular),
    "boris-aggregated": Format(_has(boris.is_aggregated), boris.read_aggregated),
    "simba": Format(_has(_is_simba), _read_simba, _write_simba, SIMBA_NAME),
    "deepethogram": Format(
        one_hot.is_by_frame, one_hot.read_by_frame, _write_deepethogram, "{name}_labels.csv"
    ),
    "boris-binary": Format(one_hot.is_by_time, one_hot.read_by_time),
}
READABLE = (AUTO, "mpar", *FORMATS)
WRITABLE = tuple(name for name, item in FORMATS.items() if item.write)


def _recognise(text: str) -> str:
    """Return the name of the format of a label file; mpar's own where no other fits."""
    header = header_of(text)
    if any({*plain_cells(header, delimiter)} >= COLUMNS for delimiter in DELIMITERS):
        return "mpar"
    return next((name for name, item in FORMATS.items() if item.is_text(text)), "mpar")


def write_labels(
    folder: Path | str,
    label_format: str,
    videos: Sequence[Labelled],
    class_names: Sequence[str],
    *,
    unscored: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write labels as another program's files.

    Parameters
    ----------
    folder : Path or str
        Made if it is missing.
    label_format : str
        One of `WRITABLE`.
    videos : sequence of Labelled
        At least one.
    class_names : sequence of str, length K
        Name of each class.
    unscored : str, optional
        The class whose frames are written as frames without any behaviour.
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ConfigError
        An unknown format or class, or a file that exists.
    InputError
        Labels that the format cannot hold.
    """
    if label_format not in WRITABLE:
        raise ConfigError(f"format: found {label_format!r}, expected one of {', '.join(WRITABLE)}")
    if unscored is not None and unscored not in class_names:
        raise ConfigError(f"unscored: found {unscored!r}, expected one of {', '.join(class_names)}")
    if label_format == "deepethogram" and "background" in class_names and unscored != "background":
        raise ConfigError(
            "unscored: deepethogram calls frames without a behaviour background, like a class "
            "here; pass --unscored background"
        )
    problems = []
    for item in videos:
        if label_format == "boris" and item.fps >= MAX_FPS:
            problems.append(
                Problem.of(
                    item.video,
                    f"has {float(item.fps):g} frames per second, which times in milliseconds "
                    "cannot tell apart; choose a format that counts frames",
                )
            )
        num_unlabelled = int((item.labels == UNLABELLED).sum())
        if unscored is not None and num_unlabelled and label_format != "deepethogram":
            problems.append(
                Problem.of(
                    item.video,
                    f"has {num_unlabelled:,} unlabelled frames, which {label_format} could not "
                    f"tell from {unscored}; drop --unscored, or predict without "
                    "--min-confidence",
                )
            )
    if problems:
        raise InputError(problems)
    item_format = FORMATS[label_format]
    paths = [Path(folder, item_format.file_name.format(name=item.name)) for item in videos]
    paths = list(dict.fromkeys(paths))
    existing = [path.name for path in paths if path.exists()]
    if existing and not overwrite:
        raise ConfigError(
            f"{folder}: {len(existing)} files exist already ({', '.join(existing[:3])}); pass "
            "--overwrite to replace them, or choose another --output"
        )
    assert item_format.write is not None
    item_format.write(Path(folder), videos, class_names, unscored)
    return paths
