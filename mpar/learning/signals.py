"""Stop training on SIGINT, SIGTERM or a closed console window, after the current step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from mpar.errors import MparError


class TrainingInterruptedError(MparError):
    """A signal stopped training after its state was saved.

    Parameters
    ----------
    signum : int
        The signal.
    run_folder : Path
        Pass it to `resume_training`.
    """

    def __init__(self, signum: int, run_folder: Path) -> None:
        self.signum = signum
        self.run_folder = run_folder
        super().__init__(
            f"stopped by {signal.Signals(signum).name}; to continue, run mpar-train --resume "
            f"{run_folder}"
        )


# Windows sends SIGBREAK when its console window closes
_SIGNALS = (signal.SIGINT, signal.SIGTERM, *filter(None, [getattr(signal, "SIGBREAK", None)]))


@contextlib.contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect the signals that stop a run instead of stopping at once; a second SIGINT does."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught  # Python handles signals only in the main thread
        return

    def handle(signum: int, _frame: object) -> None:
        if caught and signum == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(signum)

    previous = {s: signal.signal(s, handle) for s in _SIGNALS}
    try:
        yield caught
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
