"""Progress bars."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm


class ProgressBar(tqdm):
    """A bar on a terminal, and none elsewhere.

    Parameters
    ----------
    *arguments, **options
        Of tqdm.
    quiet : bool
        Show none anywhere.

    Notes
    -----
    tqdm reads the wall clock: were that set back, a bar would stand still until it has caught
    up, and show negative times.
    """

    def __init__(self, *arguments: Any, quiet: bool, **options: Any) -> None:
        super().__init__(*arguments, disable=quiet or None, **options)

    @property
    def _time(self) -> Callable[[], float]:
        return time.monotonic

    @_time.setter
    def _time(self, clock: Callable[[], float]) -> None:
        """Leave the clock that tqdm sets alone."""
