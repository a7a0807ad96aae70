"""Name the programs whose files mpar does not read, and a way out that works for each."""

from __future__ import annotations

import re
from pathlib import Path

BOUTS = (
    "write its bouts as a table with the columns Behavior, Start (s) and Stop (s) (times from the "
    "video's start, as seconds or hh:mm:ss), or Event, Start_frame and End_frame (numbers from 0, "
    "the last frame included), named after the video"
)

# marks in the first rows of other programs' files, and what to do with these files
_PROGRAMS = {
    ("# csv_header = metadata_id",): f"a file of the VGG Image Annotator (VIA); {BOUTS}",
    ("annotation_id", "lead_time"): "a CSV of Label Studio; export the project as JSON",
    ("time", "class1"): "a file of CowLog with modifiers; " + BOUTS,
    ("number of header lines",): "an EthoVision export without Trial time and Recording time; "
    "export raw data or the manual scoring log, with English names of columns",
    ("time_relative_sf",): "an export of The Observer without Behavior or Event_Type; export both",
    ("event_type", "behavior"): "a table of events without times in seconds (Time_Relative_sf in "
    "The Observer); export them",
    ("scorer", "bodyparts"): "DeepLabCut pose data, not labels; pass the folder with the labels",
    ("behavior", "start (s)"): "a table of bouts without Stop (s); add it",
    ("behavior", "time"): "a table of events without their type (START, STOP or POINT in "
    "Behavior type); if it comes from BORIS, export 'tabular events' again",
    ("time", "behavior"): "a table of events without their type (START, STOP or POINT in "
    "Behavior type); if it comes from BORIS, export 'tabular events' again",
    ("time",): "a table by time; each of its other columns must hold 0 and 1 for one behaviour",
}


_POSES = re.compile(r"(.+)_(x|y|p|likelihood)")
# parts of files that are not tables, and what to do with these files
_TEXTS = (
    (r"\A\s*(<\?xml[^>]*>\s*)?<annotations>.*<(track|image) ", f"a file of CVAT; {BOUTS}"),
    (r"^FirstLineOfData *=", f"a file of JWatcher; {BOUTS} (it counts in milliseconds)"),
    (
        r'"annotations".*"result"',
        "a file of Label Studio without labels on the time line, which mpar does not read",
    ),
    (r'"_via_|__VIA_PROJECT_ID__', f"a project of the VGG Image Annotator (VIA); {BOUTS}"),
)


def name_text(text: str) -> str:
    """Return the program that wrote a file that is not a table, with advice; "" if unknown."""
    start = text[:20_000]
    return next(
        (what for mark, what in _TEXTS if re.search(mark, start, re.DOTALL | re.MULTILINE)), ""
    )


def name_program(rows: list[tuple[int, list[str]]]) -> str:
    """Return the program that wrote a table, with advice; "" if unknown."""
    if _is_of_poses(rows):
        return (
            "a table of poses with behaviours, such as SimBA's targets_inserted; delete the "
            "columns of poses and probabilities, and keep one column of 0 and 1 for each behaviour"
        )
    cells = {cell.lower().rstrip(":") for _, row in rows[:40] for cell in row}
    found = next((text for marks, text in _PROGRAMS.items() if cells >= {*marks}), "")
    return found or _describe_bouts(rows)


def _describe_bouts(rows: list[tuple[int, list[str]]]) -> str:
    """Describe a table with columns for the starts and ends of bouts, "" for another one."""
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    starts = [cell for cell in header if re.match(r"start|begin|onset|from\b", cell)]
    ends = [cell for cell in header if re.match(r"stop|end|offset|finish|to\b", cell)]
    if not starts or not ends:
        return ""
    if "frame" in starts[0] and "frame" in ends[0]:
        return (
            f"a table of bouts; if {ends[0]} is the last frame of each bout and the first frame of "
            "the video is 0, call the columns Event, Start_frame and End_frame"
        )
    return f"a table of bouts; {BOUTS}"


def _is_of_poses(rows: list[tuple[int, list[str]]]) -> bool:
    """Return True if a header names x and y of two points or more, beside other columns."""
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    parts: dict[str, set[str]] = {}
    for match in filter(None, map(_POSES.fullmatch, header)):
        parts.setdefault(match[1], set()).add(match[2])
    is_pose = any({"x", "y"} <= found for found in parts.values())
    return is_pose and any(not _POSES.fullmatch(cell) for cell in header if cell)


def describe_unread(path: Path) -> str:
    """Return the program that wrote a file whose suffix mpar does not read, with advice, or ""."""
    try:
        with path.open("rb") as file:
            text = file.read(20_000).decode("utf-8", "replace")
    except OSError:
        return ""
    return name_text(text)
