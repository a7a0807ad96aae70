"""Run mpar's commands in forked processes that meet a fault on the disk, or a signal."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import importlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tqdm import tqdm

KINDS = ("none", "kill", "once", "full", "dead", "short", "read", "hang")  # as in faults.c
ERRORS = {"full": errno.ENOSPC}
CRASHED = 70


class UnavailableError(Exception):
    """A campaign cannot be run on this machine; says why."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at operation number `at` on files below `folder` (see ``faults.c``)."""

    folder: Path
    kind: str = "none"
    at: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Parameters
    ----------
    code : int or None
        Exit code, negative for a signal, None if it hung.
    output : str
        What it said.
    operations : list of str
        What it did below the folder of the fault, in order.
    seconds : float
        That it took.
    """

    code: int | None
    output: str
    operations: list[str]
    seconds: float

    def crash(self) -> str:
        """Return how it failed as no command may, or ""."""
        if self.code is None:
            return "hung"
        if "Traceback" in self.output:
            return f"traceback: {self.output[-600:]}"
        if self.code < 0:
            return f"died of {signal.Signals(-self.code).name}: {self.output[-300:]}"
        return "" if self.code in (0, 1, 2) else f"exit code {self.code}: {self.output[-300:]}"


def build_library(folder: Path) -> Path:
    """Compile the library of faults."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        raise UnavailableError("needs Linux and a C compiler")
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


@contextlib.contextmanager
def preloaded(library: Path) -> Iterator[None]:
    """Let processes that are begun meanwhile load the library first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        patch.setenv("OMP_NUM_THREADS", "1")  # a process that has threads cannot be forked
        yield


def run_command(
    name: str,
    *arguments: object,
    scratch: Path,
    fault: Fault | None = None,
    signals: tuple[tuple[float, int], ...] = (),
    timeout_seconds: float = 120,
) -> Outcome:
    """Run ``mpar-<name>`` in a forked process.

    Parameters
    ----------
    name : str
        "preprocess", "train"...
    *arguments
        Of the command.
    scratch : Path
        A folder for what it says.
    fault : Fault, optional
        What it meets.
    signals : ((seconds, number), ...)
        Sent to it, each so many seconds after the one before.
    timeout_seconds : float
        It hangs after that.
    """
    call = command_call(name, *arguments)
    return run_forked(
        call, scratch=scratch, fault=fault, signals=signals, timeout_seconds=timeout_seconds
    )


def command_call(name: str, *arguments: object) -> Callable[[], object]:
    """Return the function that is ``mpar-<name>``, with all imported that it needs."""
    warm_up(name != "preprocess")
    main = importlib.import_module(f"mpar_cli.{name}").main
    return lambda: main([str(argument) for argument in arguments], prog_name=f"mpar-{name}")


def warm_up(with_torch: bool) -> None:
    """Import once what every forked process would else import."""
    names = ["mpar.preprocess"]
    if with_torch:
        names += ["mpar.train", "mpar.inference", "mpar.evaluation"]
        names += ["torch._dynamo", "torch.utils.tensorboard"]
    for name in names:
        importlib.import_module(name)


def run_forked(
    call: Callable[[], object],
    *,
    scratch: Path,
    fault: Fault | None = None,
    signals: tuple[tuple[float, int], ...] = (),
    timeout_seconds: float = 120,
) -> Outcome:
    """Call a function in a forked process; see `run_command`."""
    return Forked(call, scratch, fault).end(signals, timeout_seconds)


class Forked:
    """A function that runs in a forked process.

    Parameters
    ----------
    call, scratch, fault
        As in `run_command`.
    """

    def __init__(
        self, call: Callable[[], object], scratch: Path, fault: Fault | None = None
    ) -> None:
        self._output, self._log = scratch / "output.txt", scratch / "operations.txt"
        for path in (self._output, self._log):
            path.write_bytes(b"")
        # a semaphore of all processes, as tqdm has it, stays taken when its holder is killed
        tqdm.set_lock(threading.RLock())
        self._started = time.monotonic()
        self._status: tuple[int, int] | None = None
        self._process = os.fork()
        if not self._process:
            _be_child(call, self._output, self._log, fault)

    def send(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.is_running:
            os.kill(self._process, number)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        self._status = self._status or _wait(self._process, 0)
        return self._status is None

    def end(
        self, signals: tuple[tuple[float, int], ...] = (), timeout_seconds: float = 120
    ) -> Outcome:
        """Wait for its end, sending signals meanwhile."""
        deadline = self._started + timeout_seconds
        status = self._status
        for seconds, number in signals:
            status = status or _wait(self._process, min(deadline, time.monotonic() + seconds))
            if not status:
                os.kill(self._process, number)
        status = status or _wait(self._process, deadline)
        if not status:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        return Outcome(
            os.waitstatus_to_exitcode(status[1]) if status else None,
            self._output.read_text("utf-8", "replace"),
            self._log.read_text("utf-8", "replace").splitlines(),
            time.monotonic() - self._started,
        )


def _wait(process: int, deadline: float) -> tuple[int, int] | None:
    """Return what waitpid says, None at the deadline."""
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return found, status
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def _be_child(call: Callable[[], object], output: Path, log: Path, fault: Fault | None) -> None:
    """Be the forked process: never returns."""
    code = CRASHED
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        if fault is not None:
            log_descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
            ctypes.CDLL(None).fault_arm(
                os.fsencode(fault.folder),
                ctypes.c_long(fault.at),
                KINDS.index(fault.kind),
                ERRORS.get(fault.kind, errno.EIO),
                log_descriptor,
            )
        call()
        code = 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except BaseException:
        traceback.print_exc()
    try:
        # as the interpreter ends: threads, then exit handlers, then those of libraries such as HDF5
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        ctypes.CDLL(None).exit(code)
