"""Files of CowLog: a row for each key, in seconds, each behaviour lasting until the next.

Source of columns and meanings: CowLog's help and its ``main_menu.js`` (commas) and ``cowlog.js``
(blanks). Behaviours of a class exclude each other: one lasts until the next of its class, or END.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from mpar.errors import InputError
from mpar.labels.scorings import Event, Scoring
from mpar.system.tables import NOTHING, ProblemList, find_header, parse_table

_COLUMNS = {"time", "code", "class"}
_END = "end"
_OLD_HEADER = re.compile(r"\A\s*time code class[ \r]*$", re.IGNORECASE | re.MULTILINE)


def _is_header(cells: list[str]) -> bool:
    return {*cells} == _COLUMNS


def is_cowlog(text: str) -> bool:
    """Return True if a text is a file of CowLog without modifiers."""
    return _OLD_HEADER.match(text) is not None or find_header(text, _is_header) is not None


def read_cowlog(path: Path, text: str, channel: str | None = None) -> list[Scoring]:
    """Read the behaviours of a class, by default of the only one."""
    if _OLD_HEADER.match(text):  # the parts are separated by blanks, which a code may hold, too
        lines = (re.sub(r"[ \t]+$", "", line) for line in text.splitlines())
        text = "\n".join(
            re.sub(r"^(\S+) (.*?)(?: (\S+))?$", _with_tabs, line, flags=re.IGNORECASE)
            for line in lines
        )
    table = parse_table(path, text, _is_header)
    problems = ProblemList(path, table.decimal)
    rows: list[tuple[Fraction, str, str, int]] = []
    end: Fraction | None = None
    for line, cells in table.rows:
        time = problems.time(table.cell(cells, "time"), "time", line)
        code, kind = table.cell(cells, "code"), table.cell(cells, "class")
        if code.lower() == _END and kind.lower() in {"0", *NOTHING}:
            end = time
        else:
            rows.append((time, code, kind, line))
    problems.check()
    kinds = list(dict.fromkeys(kind for _, _, kind, _ in rows))
    rows = [row for row in rows if row[2] == _choose(path, kinds, channel)]
    rows.sort(key=lambda row: row[0])
    last = max((time for time, *_ in rows), default=Fraction(0))
    if end is None or end < last:
        problems.note(
            "event-times",
            "has no END after its last behaviour, which may have lasted to any time; press 'End "
            "coding' in CowLog and save it again, or add a row with its time, END and 0",
            rows[-1][3] if rows else 0,
        )
    problems.check()
    assert end is not None
    stops = [*(time for time, *_ in rows[1:]), end]
    events = tuple(
        Event(code, time, stop, line)
        for (time, code, _, line), stop in zip(rows, stops, strict=False)
        if stop > time  # the next key corrects one at the same time
    )
    gaps = ((end, None),)
    return [Scoring(path, events, unscored=gaps)]


def _with_tabs(match: re.Match[str]) -> str:
    return f"{match[1]}\t{match[2]}\t{match[3] or ''}"


def _choose(path: Path, kinds: list[str], channel: str | None) -> str:
    """Return the class to read; without a choice, the only one."""
    if channel is None and len(kinds) > 1:
        raise InputError.of(
            path,
            "channel",
            f"has behaviours of the CowLog classes {', '.join(kinds)}, which go on at the same "
            f"time, expected one; choose one with --channel, for instance --channel {kinds[0]}",
        )
    if channel is not None and channel not in kinds:
        raise InputError.of(
            path,
            "channel",
            f"has the CowLog classes {', '.join(kinds) or '(none)'}, expected {channel!r}; choose "
            "another --channel",
        )
    return channel or "".join(kinds)
