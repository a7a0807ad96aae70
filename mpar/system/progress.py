"""Show how far long work is: as a bar for people, or as events for other programs."""

from __future__ import annotations

import io
from typing import Any

from tqdm import tqdm

from mpar.system import events

_INTERVAL_S = 0.5


class Bar(tqdm):
    """A bar of tqdm, which is silent if `quiet` or if nobody looks at the terminal.

    As an event, it has the stage of the work, the units that are done and their number (null if
    unknown), the seconds that passed and that are left, and a note. An event comes at most twice a
    second, and one when the work ends.
    """

    def __init__(self, *args: Any, quiet: bool = False, **options: Any) -> None:
        if events.is_wanted():
            options |= {"mininterval": _INTERVAL_S, "file": io.StringIO(), "disable": quiet}
        else:
            options["disable"] = quiet or None
        super().__init__(*args, **options)

    def display(self, *args: Any, **options: Any) -> Any:
        """Show the state; tqdm calls this when it is time."""
        if not events.is_wanted():
            return super().display(*args, **options)
        elapsed = self.format_dict["elapsed"]
        rate = (self.n - self.initial) / elapsed if elapsed else 0
        return events.write_event(
            "progress",
            stage=(self.desc or "").removesuffix(": "),
            done=self.n,
            total=self.total,
            unit=self.unit,
            elapsed_s=round(elapsed, 2),
            left_s=round((self.total - self.n) / rate, 1) if self.total and rate else None,
            note=self.postfix or "",
        )
