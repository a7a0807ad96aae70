"""What other programs learn of a run: lines of JSON, if somebody asked for them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, TextIO

_stream: TextIO | None = None


@contextlib.contextmanager
def lines_of_json(stream: TextIO) -> Iterator[None]:
    """Write events to a stream while the block runs."""
    global _stream
    before, _stream = _stream, stream
    try:
        yield
    finally:
        _stream = before


def is_wanted() -> bool:
    """Return True if events are written."""
    return _stream is not None


def write_event(event: str, **values: Any) -> bool:
    """Write a line such as ``{"event": "message", ...}``; False if nobody asked for events."""
    if _stream is None:
        return False
    # in one call, so that lines of several threads do not mix
    _stream.write(json.dumps({"event": event, **values}) + "\n")
    _stream.flush()
    return True
