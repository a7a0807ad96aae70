"""The window of a study: what is there, what can be done next, and what is being done."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpar.errors import ConfigError, MparError
from mpar.labels.classes import ClassMap
from mpar.labels.names import VIDEO_SUFFIXES, NameIndex
from mpar.matching.regions import read_regions
from mpar.review import ReviewConfig, opened_review
from mpar.studio.jobs import Job, Jobs, Runner
from mpar.studio.study import FILE_NAME, Study, shown
from mpar.system.files import locked, read_rows
from mpar.system.folders import find_files
from mpar.system.serving import PageServer, check_packages, closed_app, json_body, listen

if TYPE_CHECKING:
    from flask import Flask

_PAGE = Path(__file__).parent / "page"
_LOCK_NAME = "mpar-studio"
_LABEL_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".xlsx", ".boris", ".annot", ".eaf")
# what the page may show; other files of the study are not sent
_SHOWN = {
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".pdf": "application/pdf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# reports hold their own scripts and styles; in a sandbox they reach nothing else
_SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:"
)
_COMMANDS = ("preprocess", "train", "predict", "evaluate", "summarize")


class Studio:
    """A study with its jobs, as the page shows them.

    Parameters
    ----------
    folder : Path
        The study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs = Jobs(folder / "jobs")
        self._stack = contextlib.ExitStack()
        self._review_url = ""
        self._outputs: dict[int, tuple[dict[str, Any] | None, list[str]]] = {}
        self._lock = threading.Lock()

    def study(self) -> Study:
        """Read ``study.json``, which may have been changed by hand."""
        return Study.open(self.folder)

    def close(self) -> None:
        """Close the page for scoring, if it is open."""
        self._stack.close()

    def state(self) -> dict[str, Any]:
        """Return what the page shows and asks for often: steps, jobs, runs, results."""
        study = self.study()
        in_use = self._in_use(study)
        return {
            "name": self.folder.resolve().name,
            "folder": str(self.folder.resolve()),
            "runs": [self._run(study, name, name == in_use) for name in study.trained_runs()[::-1]],
            "jobs": [self._job(job) for job in reversed(self.jobs.all())],
            "steps": {command: self._step(study, command) for command in (*_COMMANDS, "review")},
            "results": self._results(study),
        }

    def videos(self) -> dict[str, Any]:
        """Return the videos with their label files and predictions, and the problems."""
        study = self.study()
        videos = find_files(study.video_folders, VIDEO_SUFFIXES)
        index = NameIndex((video.name, video) for video in videos)
        scored: Counter[Path] = Counter()
        if study.annotations.is_dir():
            for path in find_files(study.annotations, _LABEL_SUFFIXES):
                scored.update(index.find_owners(path.stem))
        predicted: set[Path] = set()
        for path in study.predictions(self._in_use(study)).glob("*_predictions.csv"):
            predicted.update(index.find_owners(path.stem))
        return {
            "videos": [
                {
                    "name": video.name,
                    "folder": str(video.parent),
                    "num_labels": scored[video],
                    "is_predicted": video in predicted,
                }
                for video in videos
            ],
            "problems": self._problems(study),
        }

    def _in_use(self, study: Study) -> str:
        try:
            return study.run_in_use()
        except ConfigError:
            return "none"

    def _problems(self, study: Study) -> list[str]:
        path = study.cache.with_name(f"{study.cache.name}.problems.csv")
        try:
            _, *rows = read_rows(path)
        except (OSError, ValueError):
            return []
        return [f"{file}{':' * bool(line)}{line}: {text}" for file, line, _, text in rows]

    def _run(self, study: Study, name: str, is_in_use: bool) -> dict[str, Any]:
        report = study.runs / name / "evaluation" / "classification_report.txt"
        return {
            "name": name,
            "is_in_use": is_in_use,
            "report": self._relative(report) if report.is_file() else "",
        }

    def _job(self, job: Job) -> dict[str, Any]:
        if job.number not in self._outputs:
            found = self.jobs.output(job.number)
            if job.is_over:  # what it said is final, and the page asks every second
                self._outputs[job.number] = found
        else:
            found = self._outputs[job.number]
        progress, texts = found
        return {
            "number": job.number,
            "line": shown([f"mpar-{job.command}", str(self.folder), *job.arguments]),
            "command": job.command,
            "state": job.state,
            "is_over": job.is_over,
            "progress": progress,
            "text": texts[-1] if texts else "",
        }

    def _step(self, study: Study, command: str) -> dict[str, Any]:
        problem = ""
        try:
            study.arguments(command)
        except ConfigError as error:
            problem = str(error)
        if command == "train" and not study.cache.is_file():
            problem = "preprocess first"
        return {"line": shown([f"mpar-{command}", str(self.folder)]), "problem": problem}

    def _results(self, study: Study) -> list[str]:
        folders = [
            study.results,
            *(study.runs / name / "evaluation" for name in study.trained_runs()),
        ]
        known = [folder for folder in folders if folder.is_dir()]
        return [self._relative(path) for path in find_files(known, _SHOWN)] if known else []

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def add(self, command: str, options: list[str]) -> int:
        """Add a job on the study; return its number."""
        if command not in _COMMANDS:
            raise ValueError(f"found the command {command[:40]!r}, expected one of {_COMMANDS}")
        return self.jobs.add(command, options).number

    def use(self, run: str) -> None:
        """Let the network of a run predict from now on."""
        study = self.study()
        if run not in study.trained_runs():
            raise ValueError(f"found no run {run[:60]!r} with a network")
        dataclasses.replace(study, in_use=run).save()

    def path_of(self, relative: str) -> Path | None:
        """Return a file of the results, None if there is none of that name."""
        return self.folder / relative if relative in self._results(self.study()) else None

    def review(self) -> str:
        """Open the page for scoring; return its link."""
        with self._lock:
            if not self._review_url:
                study = self.study()
                classes, regions = study.table("classes.csv"), study.table("regions.csv")
                review = self._stack.enter_context(
                    opened_review(
                        study.video_folders,
                        study.annotations,
                        predictions_folder=study.known_predictions(),
                        config=ReviewConfig(
                            class_map=None if classes is None else ClassMap.from_csv(classes),
                            regions=None if regions is None else read_regions(regions),
                        ),
                    )
                )
                thread = threading.Thread(target=review.serve, daemon=True)
                thread.start()
                self._stack.callback(thread.join)
                self._stack.callback(review.stop)
                self._review_url = review.url
            return self._review_url


def make_app(studio: Studio, token: str, port: int) -> Flask:
    """Return the application."""
    from flask import abort, request

    app = closed_app("mpar-studio", token, port, _PAGE, studio.folder)

    @app.errorhandler(MparError)
    def show_error(error: MparError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, 422

    @app.get(f"/{token}/state")
    def show_state() -> dict[str, Any]:
        return studio.state()

    @app.get(f"/{token}/videos")
    def show_videos() -> dict[str, Any]:
        return studio.videos()

    @app.get(f"/{token}/log")
    def show_log() -> dict[str, Any]:
        number = request.args.get("number", 0, int)
        return {"lines": studio.jobs.output(number)[1]}

    @app.get(f"/{token}/file/<path:relative>")
    def show_file(relative: str) -> tuple[bytes, dict[str, str]]:
        path = studio.path_of(relative)
        if path is None:
            abort(404)
        headers = {"Content-Type": _SHOWN[path.suffix.lower()]}
        if path.suffix.lower() == ".html":
            headers["Content-Security-Policy"] = _SANDBOX
        return path.read_bytes(), headers

    _add_actions(app, token, studio)
    return app


def _add_actions(app: Flask, token: str, studio: Studio) -> None:
    @app.post(f"/{token}/job")
    def add_job() -> dict[str, Any]:
        body = json_body()
        options = body.get("options", [])
        if not isinstance(options, list) or not all(isinstance(item, str) for item in options):
            raise ValueError("expected options as a list of texts")
        return {"number": studio.add(str(body.get("command")), options)}

    @app.post(f"/{token}/stop")
    def stop_job() -> dict[str, Any]:
        number = json_body().get("number")
        if number not in [job.number for job in studio.jobs.all()]:
            raise ValueError(f"found no job {str(number)[:20]}")
        studio.jobs.stop(number)
        return {}

    @app.post(f"/{token}/use")
    def use_run() -> dict[str, Any]:
        studio.use(str(json_body().get("run")))
        return {}

    @app.post(f"/{token}/review")
    def open_review() -> dict[str, Any]:
        return {"url": studio.review()}


@contextlib.contextmanager
def opened_studio(folder: Path | str, *, port: int = 0) -> Iterator[PageServer]:
    """Prepare the window of a study.

    Parameters
    ----------
    folder : Path or str
        With a ``study.json``.
    port : int
        Port on this computer; 0 takes any that is free.

    Raises
    ------
    ConfigError
        Flask or waitress is missing, the study cannot be read, the port is in use, or another
        window of this study is open.
    """
    check_packages("studio")
    folder = Path(folder).absolute()
    Study.open(folder)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / _LOCK_NAME))
        except ConfigError:
            raise ConfigError(
                f"{folder / FILE_NAME}: another window of this study is open; use or close it"
            ) from None
        listener = stack.enter_context(listen(port))
        studio = Studio(folder)
        stack.callback(studio.close)
        runner = Runner(studio.jobs)
        stack.callback(runner.close)
        server = PageServer(lambda token, number: make_app(studio, token, number), listener)
        stack.callback(server.close)
        yield server
