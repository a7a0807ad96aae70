"""Files of ELAN: annotation documents (``.eaf``), tab-delimited text and CSV.

Source: ELAN's annotation format (EAF 3.0) and manual, ``Eaf`` of pympi, and exports in public
repositories. Times are milliseconds from the start of the first video, the end not included.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from mpar.errors import InputError
from mpar.labels.names import VIDEO_SUFFIXES, file_name
from mpar.labels.scorings import Event, Scoring
from mpar.system.csv_text import parse_rows
from mpar.system.tables import ProblemList, Table, find_header, parse_seconds, parse_table

_MILLISECOND = Fraction(1, 1000)
_TIME_CELL = re.compile(r"[0-9]+:[0-9]{2}:[0-9]{2}\.[0-9]{1,3}|[0-9]+\.[0-9]{1,3}|[0-9]+", re.ASCII)
_CLOCK = re.compile(r"[0-9]+:[0-9]{2}:[0-9]{2}\.[0-9]{1,3}", re.ASCII)
_MEDIA = re.compile(r"^\"?#(file:\S.*?|[^#]*?) -- offset: (-?[0-9]+)", re.MULTILINE)
_WAY_OUT = "save the document as .eaf and use that"
Tiers = dict[str, list[Event]]


def is_elan(text: str) -> bool:
    """Return True if a text is an annotation document of ELAN or an export as text or CSV."""
    return _is_document(text) or find_header(text, _is_header) is not None or _is_bare(text)


def read_elan(path: Path, text: str, channel: str | None = None) -> list[Scoring]:
    """Read a tier, by default the only one with annotations."""
    bad: dict[str, ProblemList] = {}
    if _is_document(text):
        tiers, videos, bad = _read_document(path, text)
    else:
        videos = _read_media(path, text)
        plain = re.sub(r"^\"?#.*$", "", text, flags=re.MULTILINE)  # other lines keep their number
        is_headed = find_header(plain, _is_header) is not None
        tiers = _read_table(path, plain) if is_headed else _read_bare(path, plain)
    chosen = _choose(path, tiers, bad, channel)
    bad.get(chosen, ProblemList(path)).check()
    events = tuple(tiers[chosen])
    is_video = [Path(name).suffix.lower() in VIDEO_SUFFIXES for name in videos]
    names = [name for name, is_one in zip(videos, is_video, strict=True) if is_one]
    return [Scoring(path, events, video=(names or [""])[0])]


def _choose(path: Path, tiers: Tiers, bad: dict[str, ProblemList], channel: str | None) -> str:
    """Return the tier to read; without a choice, the only one that has annotations."""
    used = [name for name, events in tiers.items() if events or bad.get(name)]
    if channel is None:
        if len(used) > 1:
            raise InputError.of(
                path,
                "channel",
                f"has annotations in the tiers {', '.join(used)}, expected one tier; choose one "
                f"with --channel, for instance --channel {used[0]!r}",
            )
        if not used:
            raise InputError.of(path, "empty", "has no annotation; score it or remove it")
        return used[0]
    if channel not in tiers:
        raise InputError.of(
            path,
            "channel",
            f"has the tiers {', '.join(tiers) or '(none)'}, expected {channel!r}; choose another "
            "--channel, or call the tier the same in all files",
        )
    return channel


def _is_document(text: str) -> bool:
    return "<ANNOTATION_DOCUMENT" in text[:4096]


def _read_document(path: Path, text: str) -> tuple[Tiers, list[str], dict[str, ProblemList]]:
    """Return the annotations of each tier of a document, its media, and problems by tier."""
    # entities can grow without limit or name other files; ELAN writes none
    if re.search("<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise InputError.of(
            path,
            "malformed",
            "declares a document type or entities, which ELAN never does; save it with ELAN",
        )
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line, _ = error.position
        raise InputError.of(
            path, "malformed", "is not well-formed XML; open it in ELAN and save it", line
        ) from None
    problems = ProblemList(path)
    units = {head.get("TIME_UNITS", "milliseconds") for head in root.iter("HEADER")}
    if units - {"milliseconds"}:
        problems.note(
            "malformed",
            f"has times in {', '.join(units)}, expected milliseconds; save it with ELAN",
        )
    media = [*root.iter("MEDIA_DESCRIPTOR")]
    places = [item.get("MEDIA_URL", "") for item in media]
    origins = [item.get("TIME_ORIGIN", "") for item in media]
    if shift := _find_shift(places, origins):
        problems.note(
            "time-offset",
            f"shifts its video by {shift} ms, expected 0, so that times count from the first "
            "frame; reset it in ELAN's media synchronization mode",
        )
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    spans: dict[str | None, tuple[str | None, str | None]] = {}
    parents: dict[str | None, str | None] = {}
    for item in root.iter("ALIGNABLE_ANNOTATION"):
        ends = slots.get(item.get("TIME_SLOT_REF1")), slots.get(item.get("TIME_SLOT_REF2"))
        spans[item.get("ANNOTATION_ID")] = ends
    for item in root.iter("REF_ANNOTATION"):
        parents[item.get("ANNOTATION_ID")] = item.get("ANNOTATION_REF")
    problems.check()
    tiers: Tiers = {}
    bad: dict[str, ProblemList] = {}
    for tier in root.iter("TIER"):
        name = tier.get("TIER_ID", "")
        events = tiers.setdefault(name, [])
        problems = bad.setdefault(name, ProblemList(path))
        for item in (*tier.iter("ALIGNABLE_ANNOTATION"), *tier.iter("REF_ANNOTATION")):
            key, seen = item.get("ANNOTATION_ID"), set[str | None]()
            while key in parents and key not in seen:  # a dependent tier has the parent's times
                seen.add(key)
                key = parents[key]
            value = (item.findtext("ANNOTATION_VALUE") or "").strip()
            start, stop = (_milliseconds(end) for end in spans.get(key, (None, None)))
            if start is None or stop is None:
                what = f"annotation {value!r} of tier {name!r}"
                problems.note("event-times", f"{what} has no times of its own; set them in ELAN")
            elif not value:
                problems.note(
                    "cell",
                    f"tier {name!r} has an annotation without text at {float(start):g} s; name "
                    "its behaviour in ELAN, or remove it",
                )
            else:
                events.append(Event(value, start, stop))
    return tiers, [file_name(unquote(place)) for place in places], bad


def _find_shift(places: Sequence[str], origins: Sequence[str]) -> str:
    """Return by how much the first medium or the first video is shifted, "" if neither is.

    Times count from the first medium, which may be a sound.
    """
    is_video = [Path(place).suffix.lower() in VIDEO_SUFFIXES for place in places]
    used = [0, is_video.index(True) if True in is_video else 0]
    shifts = (origins[i].strip() for i in used if i < len(origins))
    return next((shift for shift in shifts if shift.strip("+-0")), "")


def _milliseconds(value: str | None) -> Fraction | None:
    is_number = value is not None and re.fullmatch("[0-9]{1,12}", value, re.ASCII)
    return int(value or 0) * _MILLISECOND if is_number else None


def _read_media(path: Path, text: str) -> list[str]:
    """Return the media that lines above the table name."""
    found = _MEDIA.findall(text)
    if shift := _find_shift([name for name, _ in found], [offset for _, offset in found]):
        raise InputError.of(
            path,
            "time-offset",
            f"shifts its video by {shift} ms, expected 0, so that times count from the first "
            "frame; reset it in ELAN's media synchronization mode and export again",
        )
    return [file_name(unquote(name)) for name, _ in found]


def _is_header(cells: list[str]) -> bool:
    """Return True if a header, in lower case, is that of an export with names of columns."""
    return any(cell.startswith("begin time") for cell in cells) and any(
        cell.startswith("end time") for cell in cells
    )


_UNITS = ("ss.msec", "hh:mm:ss.ms", "msec", "")  # in the order of preference


def _find_time(table: Table, what: str) -> tuple[int, str]:
    """Return the column of the begin or end times, and its unit."""
    for unit in _UNITS:
        name = f"{what} time - {unit}" if unit else f"{what} time"
        if (column := table.find(name)) is not None:
            return column, unit
    raise InputError.of(
        table.path,
        "columns",
        f"has no {what} time in seconds, expected '{what.title()} Time - ss.msec'; export it with "
        "that column",
        table.header_line,
    )


def _read_table(path: Path, text: str) -> Tiers:
    """Read an export with names of columns: a row per annotation, or a column per tier."""
    table = parse_table(path, text, _is_header)
    problems = ProblemList(path, table.decimal)
    (begin, begin_unit), (end, end_unit) = _find_time(table, "begin"), _find_time(table, "end")
    others = [
        i
        for i, name in enumerate(table.columns)
        if name and not re.match(r"(begin|end) time\b|duration\b|tier\Z|participant\Z", name)
    ]
    tier = table.find("tier")
    if tier is not None:
        values = [i for i in others if table.columns[i] in {"annotation", "value"}] or others
        if len(values) != 1:
            shown = ", ".join(repr(table.names[i]) for i in values) or "none"
            raise InputError.of(
                path,
                "columns",
                f"has several columns besides tier and times ({shown}), expected one with the "
                "annotations; call it Annotation",
                table.header_line,
            )
        others = values
    tiers: Tiers = defaultdict(list)
    for line, cells in table.rows:
        start = _time_of(problems, cells[begin], "begin time", begin_unit, line)
        stop = _time_of(problems, cells[end], "end time", end_unit, line)
        for column in others:
            if cells[column]:
                name = table.names[column] if tier is None else cells[tier]
                tiers[name].append(Event(cells[column], start, stop, line))
    problems.check()
    return dict(tiers)


def _time_of(problems: ProblemList, cell: str, what: str, unit: str, line: int) -> Fraction:
    if unit == "msec":
        return problems.frame(cell, what, line) * _MILLISECOND
    return problems.time(cell, what, line)


def _is_bare(text: str) -> bool:
    """Return True if a text is tab-delimited without names of columns, ELAN's default."""
    lines = [line for line in text.splitlines()[:50] if line.strip() and not re.match('"?#', line)]
    rows = [[cell.strip() for cell in line.split("\t")] for line in lines]
    if not rows or any(len(cells) < 3 for cells in rows):
        return False
    if all(any(_CLOCK.fullmatch(c) for c in row) and len(_times_in(row)) > 1 for row in rows):
        return True
    _, layouts = _find_layouts(rows)  # plain numbers must agree with each other
    return len(rows) > 1 and any(has_duration for _, has_duration in layouts)


def _times_in(cells: Sequence[str]) -> list[int]:
    """Return the columns of times: those between the names of tier and participant and the text.

    If the names were not exported, times come first.
    """
    first = 0 if _CLOCK.fullmatch(cells[0].strip()) else 1
    return [i for i in range(first, len(cells) - 1) if _TIME_CELL.fullmatch(cells[i].strip())]


def _find_layouts(rows: Sequence[Sequence[str]]) -> tuple[list[int], list[tuple[int, bool]]]:
    """Return the columns of times, and the layouts that all numbers agree with.

    A layout is the number of formats of each time, and True if there are durations.
    """
    columns = {tuple(_times_in(cells)) for cells in rows}
    if len(columns) != 1:
        return [], []
    (mine,) = columns
    layouts = [
        (num_formats, has_duration)
        for num_formats in (1, 2, 3)
        for has_duration in (True, False)
        if all(_spans_of(cells, mine, num_formats, has_duration) for cells in rows)
    ]
    return [*mine], layouts


def _read_bare(path: Path, text: str) -> Tiers:
    """Read rows of tier, participant, times and annotation without names of columns.

    The times are begin and end, and the duration if it was exported, each in up to three formats.
    The numbers must tell which they are.
    """
    rows = [(line, cells) for line, cells in parse_rows(path, text, "\t") if any(cells)]
    columns, found = _find_layouts([cells for _, cells in rows])
    if len(found) != 1:
        raise InputError.of(
            path,
            "columns",
            "is tab-delimited text of ELAN without names of columns, and its numbers do not tell "
            f"begin, end and duration apart; {_WAY_OUT}",
        )
    tiers: Tiers = defaultdict(list)
    for line, cells in rows:
        span = _spans_of(cells, columns, *found[0])
        assert span is not None
        name = cells[0] if columns[0] else "(without a name)"
        tiers[name].append(Event(cells[-1], *span, line))
    return dict(tiers)


def _spans_of(
    cells: Sequence[str], columns: Sequence[int], num_formats: int, has_duration: bool
) -> tuple[Fraction, Fraction] | None:
    """Return begin and end of a row if its numbers agree with a layout, else None."""
    if len(columns) != num_formats * (3 if has_duration else 2):
        return None
    times = [_as_seconds(cells[i].strip()) for i in columns]
    groups = [times[i : i + num_formats] for i in range(0, len(times), num_formats)]
    if any(time is None or not _is_near(time, group[0]) for group in groups for time in group):
        return None
    start, stop, *duration = (_finest(group) for group in groups)
    if stop < start or any(not _is_near(stop - start, length) for length in duration):
        return None
    return start, stop


def _as_seconds(cell: str) -> Fraction | None:
    """Return a time in seconds; whole numbers are milliseconds."""
    return int(cell) * _MILLISECOND if cell.isdigit() else parse_seconds(cell)


def _is_near(a: Fraction, b: Fraction | None) -> bool:
    return b is not None and abs(a - b) <= _MILLISECOND


def _finest(group: Iterable[Fraction | None]) -> Fraction:
    return next(time for time in group if time is not None)
