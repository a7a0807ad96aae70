"""Reads in a thread what a recording is compared with, so that nobody waits for it to score."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Reading(Generic[Result]):
    """The result of a slow function, which a thread calls.

    Parameters
    ----------
    function : callable
        Is called once.
    key : object
        Of what it reads; with another key, the result is no longer valid.
    """

    def __init__(self, function: Callable[[], Result], key: object) -> None:
        self.key = key
        self._function = function
        self._result: Result
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="lanes", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except Exception as error:
            self._error = error

    def is_ready(self, seconds: float = 0) -> bool:
        """Return True once the result is there; wait for it so long at most."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Result:
        """Return the result, or raise the error of the function."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result
