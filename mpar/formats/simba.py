"""Bouts of SimBA: one row per bout, including its last frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from mpar.labels.bouts import find_bouts
from mpar.labels.scorings import Event, Recording, Scoring
from mpar.system.files import write_table
from mpar.system.tables import NOTHING, ProblemList, parse_table

SIMBA_NAME = "simba_bouts.csv"


def is_simba(cells: list[str]) -> bool:
    """Return True if a header, in lower case, is that of bouts."""
    return {"event", "start_frame", "end_frame"} <= {cell.replace(" ", "_") for cell in cells}


def read_simba(path: Path, text: str) -> list[Scoring]:
    """Read SimBA bouts of one or more videos."""
    table = parse_table(path, text, is_simba)
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
            starts[video].append((problems.time(time, "start time", line), int(start)))
        if (time := table.cell(cells, "end time", "end_time")).lower() not in NOTHING:
            ends[video].append((problems.time(time, "end time", line), int(last) + 1))
    problems.check()
    scorings = []
    for video, mine in events.items():
        is_early = _are_last_frames(starts[video], ends[video])
        scorings.append(
            Scoring(
                path,
                tuple(mine),
                in_frames=True,
                video=video,
                frame_times=(*starts[video], *((t, stop - is_early) for t, stop in ends[video])),
                warnings=(_EARLY_ENDS,) * is_early,
            )
        )
    return scorings


_EARLY_ENDS = (
    "has end times that match End_frame, but SimBA writes the time of the frame after it; mpar "
    "takes End_frame as the last frame of a bout: if it is the frame after the bout, subtract 1"
)


def _are_last_frames(
    starts: Sequence[tuple[Fraction, int]], ends: Sequence[tuple[Fraction, int]]
) -> bool:
    """Return True if end times match the last frames at the rate that the starts imply."""
    time, frame = max(starts, default=(Fraction(0), 0))
    if time <= 0 or not ends:
        return False
    rate = frame / time
    return all(abs(t * rate - (stop - 1)) < abs(t * rate - stop) for t, stop in ends)


def write_simba(
    folder: Path, videos: Sequence[Recording], class_names: Sequence[str], unscored: str | None
) -> None:
    """Write one file for all videos."""
    tables = []
    for item in videos:
        bouts = find_bouts(item.without(class_names, unscored))
        tables.append(
            pd.DataFrame(
                {
                    "Video": item.name,
                    "Event": np.array(class_names, dtype=object)[bouts["label"]],
                    "Start_time": [
                        float(item.clock.start_of(frame)) for frame in bouts["start"].tolist()
                    ],
                    "End Time": [
                        float(item.clock.start_of(frame)) for frame in bouts["stop"].tolist()
                    ],
                    "Start_frame": bouts["start"],
                    "End_frame": bouts["stop"] - 1,
                    "Bout_time": [
                        float(item.clock.start_of(stop) - item.clock.start_of(start))
                        for start, stop in zip(
                            bouts["start"].tolist(), bouts["stop"].tolist(), strict=True
                        )
                    ],
                }
            )
        )
    write_table(folder / SIMBA_NAME, pd.concat(tables))
