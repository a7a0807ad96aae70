"""Parallel threads; one that hangs is abandoned, and the others continue."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, TypeVar

from mpar.errors import MparError

Item = TypeVar("Item")
Result = TypeVar("Result")

PATIENCE_SECONDS = 600.0
_TICK_SECONDS = 1.0
_LAST_SECONDS = 60.0  # to wait for threads that were asked to stop


class HangError(MparError):
    """A thread hangs, on a disk that does not respond or in the decoder."""

    def __init__(self) -> None:
        minutes = PATIENCE_SECONDS / 60
        super().__init__(
            f"made no progress for {minutes:.3g} minutes, so mpar gave up; check that its disk "
            "responds, or export it again"
        )


def run_parallel(
    function: Callable[[Item, Callable[[], None]], Result], items: Iterable[Item], *, workers: int
) -> Generator[tuple[int, Callable[[], Result]], None, None]:
    """Call a function for each item in parallel threads; yield (index, result) as they finish.

    The function gets an item and a callable, which it calls after each step of progress, and which
    raises KeyboardInterrupt if it should stop. Calling `result` returns what the function returned
    or raises its error, or HangError if there was no progress for `PATIENCE_SECONDS`.

    Notes
    -----
    Nothing can end a thread from outside, and Python's executors wait for their threads even when
    the process should end. Silence is counted in ticks, not by a clock, which may jump when a
    computer wakes up.
    """
    waiting = deque(enumerate(items))
    running: list[_Task[Any, Any]] = []
    done: queue.SimpleQueue[_Task[Any, Any]] = queue.SimpleQueue()
    next_tick = time.monotonic() + _TICK_SECONDS
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                task = _Task(function, *waiting.popleft(), done)
                running.append(task)
                task.start()
            ended: list[_Task[Any, Any]] = []
            with contextlib.suppress(queue.Empty):
                ended = [done.get(timeout=_TICK_SECONDS)]
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + _TICK_SECONDS
                ended += [task for task in running if task not in ended and task.hangs()]
            for task in ended:
                if task in running:  # else it was abandoned before
                    running.remove(task)
                    yield task.index, task.result
    finally:
        for task in running:
            task.is_to_stop = True
        deadline = time.monotonic() + _LAST_SECONDS
        for task in running:
            task.join(max(0, deadline - time.monotonic()))


class _Task(threading.Thread, Generic[Item, Result]):
    """One call, in a thread that does not keep the process from ending."""

    def __init__(
        self,
        function: Callable[[Item, Callable[[], None]], Result],
        index: int,
        item: Item,
        done: queue.SimpleQueue[_Task[Item, Result]],
    ) -> None:
        super().__init__(daemon=True, name=f"worker {index}")
        self.index = index
        self.is_to_stop = self._is_given_up = False
        self._function, self._item, self._done = function, item, done
        self._num_steps, self._num_seen, self._num_silent_ticks = 0, -1, 0
        self._value: Result
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._value = self._function(self._item, self._step)
        except BaseException as error:
            self._error = error
        self._done.put(self)

    def _step(self) -> None:
        if self.is_to_stop:
            raise KeyboardInterrupt
        self._num_steps += 1

    def hangs(self) -> bool:
        """Count a tick; after too many without progress, abandon the call and return True."""
        is_silent = self._num_steps == self._num_seen
        self._num_silent_ticks = self._num_silent_ticks + 1 if is_silent else 0
        self._num_seen = self._num_steps
        if self._num_silent_ticks * _TICK_SECONDS < PATIENCE_SECONDS:
            return False
        self._is_given_up = self.is_to_stop = True  # in case it ever continues
        return True

    def result(self) -> Result:
        """Return the result of the call, or raise its error."""
        if self._is_given_up:
            raise HangError
        if self._error is not None:
            raise self._error
        return self._value
