"""The jobs of a study: commands that run one after another, as processes of their own.

A job is two files in ``Study/jobs``: ``NUMBER.json`` says what it is, ``NUMBER.log`` holds what it
printed, and the process that runs it holds the lock of the first. So a job outlives the window, and
whoever looks at the study next finds it running, ended, or broken.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mpar.system.files import parse_json, write_json

_WAIT_S = 0.3  # between two looks at the jobs
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Job:
    """A command on a study.

    Parameters
    ----------
    number : int
        From 1, in the order in which jobs were added.
    command : str
        Such as "train".
    arguments : tuple of str
        What follows its name and the study, which may be moved.
    added : str
        When it was added, in UTC.
    state : {"waiting", "running", "done", "problems", "failed", "stopped", "broken", "dropped"}
        It is broken if its process ended without a word, and dropped if the job `after` which it
        was to run did not succeed.
    code : int, optional
        Its exit code.
    pid : int, optional
        Its process.
    after : int, optional
        Number of the job whose results it needs.
    """

    number: int
    command: str
    arguments: tuple[str, ...]
    added: str
    state: str = "waiting"
    code: int | None = None
    pid: int | None = None
    after: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state not in {"waiting", "running"}


_SUCCEEDED = {"done", "problems"}  # with problems, the good inputs were used
_STATE_OF_CODE = {0: "done", 1: "problems", 130: "stopped", 143: "stopped"}


class Jobs:
    """The jobs of a study, on the disk.

    Parameters
    ----------
    folder : Path
        ``Study/jobs``; created with the first job.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def path(self, number: int) -> Path:
        """Return the file that says what a job is."""
        return self.folder / f"{number:04}.json"

    def log_path(self, number: int) -> Path:
        """Return the file with what a job printed."""
        return self.folder / f"{number:04}.log"

    def add(self, command: str, arguments: Sequence[str], after: int | None = None) -> Job:
        """Add a job, which waits for those before it, and needs the results of one of them."""
        with self._lock:
            known = [int(path.stem) for path in self._paths()]
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
            job = Job(max(known, default=0) + 1, command, tuple(arguments), now, after=after)
            self.save(job)
        return job

    def all(self) -> list[Job]:
        """Return all jobs, the oldest first; files that are no jobs are passed over."""
        found = []
        for path in self._paths():
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                found.append(self.read(int(path.stem)))
        return found

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9][0-9][0-9][0-9].json"))

    def read(self, number: int) -> Job:
        """Read a job. It is broken if its file says that it runs, but its process is gone."""
        job = self._load(number)
        if job.state == "running" and not self._is_held(number):
            job = self._load(number)  # it may have ended since
            if job.state == "running":
                return replace(job, state="broken")
        return job

    def _load(self, number: int) -> Job:
        data = parse_json(self.path(number).read_text(encoding="utf-8"))
        return Job(**data | {"arguments": tuple(data["arguments"])})

    def save(self, job: Job) -> None:
        """Write what a job is, atomically."""
        write_json(self.path(job.number), asdict(job))

    @contextlib.contextmanager
    def held(self, number: int) -> Iterator[None]:
        """Hold a job's lock, as the process that runs it does; Timeout if another holds it."""
        with FileLock(f"{self.path(number)}.lock", timeout=0):
            yield

    def _is_held(self, number: int) -> bool:
        try:
            with self.held(number):
                return False
        except Timeout:
            return True

    def start_next(self) -> Job | None:
        """Start the first job that waits, unless one runs; return it."""
        with self._lock:
            jobs = {job.number: job for job in self.all()}
            if any(job.state == "running" for job in jobs.values()):
                return None
            number = 0
            for job in [job for job in jobs.values() if job.state == "waiting"]:
                needed = jobs.get(job.after or 0)
                if needed is None or not needed.is_over or needed.state in _SUCCEEDED:
                    number = job.number
                    break
                jobs[job.number] = replace(job, state="dropped")
                self.save(jobs[job.number])
            if not number:
                return None
            # a process group of its own, so that it outlives the window
            options: dict[str, Any] = {"start_new_session": True}
            if os.name == "nt":
                options = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            with self.log_path(number).open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "mpar_cli._job", str(self.path(number))],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    **options,
                )
            # until it holds its lock and says that it runs, or has ended
            while process.poll() is None and self.read(number).state == "waiting":
                threading.Event().wait(0.02)
            threading.Thread(target=process.wait, daemon=True).start()  # no zombie stays
            job = self.read(number)
            if job.state == "waiting":  # it could not even begin
                job = replace(job, state="broken")
                self.save(job)
            return job

    def stop(self, number: int) -> None:
        """Interrupt a job that runs, so that it saves and ends; a waiting one is dropped."""
        job = self.read(number)
        if job.state == "waiting":
            self.save(replace(job, state="stopped"))
        elif job.state == "running" and job.pid is not None:
            interrupt = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, interrupt)

    def output(
        self, number: int, *, is_whole: bool = False
    ) -> tuple[dict[str, Any] | None, list[str]]:
        """Return the last event of progress of a job, and its last lines of text, or all."""
        try:
            with self.log_path(number).open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(0 if is_whole else max(0, end - _TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return None, []
        progress, texts = None, []
        for line in lines:
            event = _event_of(line)
            if event is None:
                texts.append(line)
            elif event["event"] == "progress":
                progress = event
            elif event["event"] == "message":
                level = "" if event["level"] == "info" else f"{event['level']}: "
                texts.append(f"{level}{event['text']}")
            elif event["event"] == "problem":
                where = f"{event['file']}:{event['line']}" if event["line"] else event["file"]
                texts.append(f"{where}: {event['text']}")
        return progress, texts


def _event_of(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"event": '):
        return None
    try:
        event = parse_json(line)
    except ValueError:  # cut in half
        return None
    return event if isinstance(event, dict) else None


def run_job(path: Path, run: Callable[[str, list[str]], int]) -> int:
    """Run a job in this process: hold its lock, say that it runs, and how it ended.

    Parameters
    ----------
    path : Path
        Its file.
    run : callable
        Runs a command with its arguments; returns the exit code.
    """
    jobs, number = Jobs(path.parent), int(path.stem)
    with jobs.held(number):
        job = jobs.read(number)
        jobs.save(replace(job, state="running", pid=os.getpid()))
        study = path.absolute().parent.parent
        code = run(job.command, [str(study), *job.arguments])
        jobs.save(replace(job, state=_STATE_OF_CODE.get(code, "failed"), code=code))
    return code


class Runner:
    """Starts the jobs of a study one after another, in a thread."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(_WAIT_S):
            with contextlib.suppress(OSError):  # a full disk: the next look tries again
                self._jobs.start_next()

    def close(self) -> None:
        """Start no more jobs; the one that runs goes on."""
        self._is_over.set()
        self._thread.join()
