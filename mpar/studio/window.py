"""The window of a study: what is there, what can be done next, and what is being done."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from mpar.errors import ConfigError, MparError
from mpar.labels.classes import ClassMap
from mpar.labels.names import VIDEO_SUFFIXES
from mpar.matching.metadata import read_animals
from mpar.matching.regions import read_regions
from mpar.studio.importing import LabelImport
from mpar.studio.jobs import Job, Jobs, Runner
from mpar.studio.results import list_results, methods_text
from mpar.studio.runs import (
    drift_of,
    estimate_of,
    is_outdated,
    is_summary_old,
    list_runs,
    num_scored_since,
    summarized_run,
)
from mpar.studio.study import (
    EXPORTS,
    FILE_NAME,
    Commands,
    Study,
    demo_study,
    is_study,
    new_study,
    shown,
)
from mpar.studio.tables import digest_of
from mpar.studio.videos import VideoTable
from mpar.system.files import locked

_LOCK_NAME = "mpar-studio"
_STEPS = ("preprocess", "train", "predict", "evaluate", "summarize", "export", "review", "studio")
_JOBS = ("preprocess", "train", "predict", "evaluate", "summarize", "export", "studio")
# what the page may write into study.json; every other option is written by hand
_OPTIONS = {
    "preprocess": ("size", "follow", "group-pattern", "label-offset", "unscored"),
    "train": ("model", "minutes", "epochs", "view", "features"),
    "summarize": ("bin", "window", "group-by", "response-window", "response"),
    "evaluate": ("group-pattern",),
    "review": ("group-pattern", "annotator", "blind"),
}
_MAX_FOLDERS = 500


class Studio:
    """A study with its jobs, as the page shows them; or none, until one is chosen.

    Parameters
    ----------
    commands : Commands
        What jobs run.
    folder : Path, optional
        The study.

    Raises
    ------
    ConfigError
        It is no study, or another window of it is open.
    """

    def __init__(self, commands: Commands, folder: Path | None = None) -> None:
        self._commands = commands
        self.folder: Path | None = None
        self._stack = contextlib.ExitStack()
        self._reviews: dict[bool, tuple[Any, str, contextlib.ExitStack]] = {}
        self._outputs: dict[int, dict[str, Any]] = {}
        self._lock = threading.RLock()
        self.jobs = Jobs(Path())
        if folder is not None:
            self.open(folder)

    def open(self, folder: Path) -> None:
        """Show a study, and start its jobs."""
        with self._lock:
            if self.folder is not None:
                raise ConfigError(f"{self.folder}: is open; start mpar-studio again for another")
            folder = folder.absolute()
            Study.open(folder)
            try:
                self._stack.enter_context(locked(folder / _LOCK_NAME))
            except ConfigError:
                raise ConfigError(
                    f"{folder / FILE_NAME}: another window of this study is open; use or close it"
                ) from None
            self.jobs = Jobs(folder / "jobs")
            self.videos = VideoTable(folder, self._commands)
            self.imports = LabelImport(folder)
            self._stack.callback(self.videos.close)
            self.folder = folder

    def run_jobs(self) -> None:
        """Start the jobs of the study one after another, from now on."""
        with self._lock:
            runner = Runner(self.jobs)
            self._stack.callback(runner.close)

    def study(self) -> Study:
        """Read ``study.json``, which may have been changed by hand."""
        if self.folder is None:
            raise ConfigError("study: none is open; choose or make one")
        study = Study.open(self.folder)
        for command, options in study.options.items():
            for name, value in options.items():
                try:
                    self._commands.check_option(command, name, value)
                except ConfigError as error:
                    path = self.folder / FILE_NAME
                    raise ConfigError(f"{path}: options of {command}: {error}") from None
        return study

    def close(self) -> None:
        """Close the pages for scoring, and let go of the study."""
        with self._lock:
            for _, _, stack in self._reviews.values():
                stack.close()
            self._stack.close()

    def state(self) -> dict[str, Any]:
        """Return what the page shows and asks for often: jobs, runs, results, what is missing."""
        if self.folder is None:
            return {"folder": "", "home": str(Path.cwd())}
        study = self.study()
        run = self._in_use(study)
        outdated = bool(run) and is_outdated(study, run)
        runs = list_runs(study, run)
        jobs = [self._job(job) for job in reversed(self.jobs.all())]
        return {
            "name": self.folder.resolve().name,
            "folder": str(self.folder),
            "revision": self.videos.look(study),
            "missing": [str(folder) for folder in study.missing_folders],
            "runs": runs,
            "in_use": run,
            "jobs": jobs,
            "steps": {command: self._step(study, command, outdated) for command in _STEPS},
            "options": {
                command: {name: study.options.get(command, {}).get(name) for name in names}
                for command, names in _OPTIONS.items()
            },
            "estimate_line": shown(
                ["mpar-review", str(study.folder), "--estimate", "--output", str(study.checks)]
            ),
            "expected": self._expected(study, runs),
            "has_cache": study.cache.is_file(),
            "has_summary": (study.results / "summary" / "settings.json").is_file(),
            "has_evaluation": (study.results / "evaluation" / "metrics.json").is_file(),
            "num_scored_since": num_scored_since(study, run) if run else 0,
            "estimate": estimate_of(study),
            "is_outdated": outdated,
            "summary_run": summarized_run(study),
            "is_summary_old": is_summary_old(study),
            "drift": drift_of(study, run) if run else [],
            "results": list_results(study),
            "exports": EXPORTS,
        }

    def _expected(self, study: Study, runs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return about how long learning takes in seconds, and the run whose speed tells so."""
        run, speed = "", None
        try:
            config = self._commands.read_recipe(study)
            for known in runs:
                speeds = [epoch["frames_a_second"] for epoch in known["history"]]
                if not run and speeds and known["options"]["model_type"] == config.model_type:
                    run, speed = known["name"], speeds[-1]
            return {"seconds": self.videos.expect(config, speed), "run": run}
        except ConfigError as error:
            return {"seconds": None, "run": "", "problem": str(error)}

    def _in_use(self, study: Study) -> str:
        try:
            return study.run_in_use()
        except ConfigError:
            return ""

    def recordings(self, study: Study) -> list[str]:
        """Return the names of what was predicted by the run in use, else those of all videos."""
        folder = study.predictions(self._in_use(study) or "-")
        names = [
            path.name.removesuffix("_predictions.csv")
            for path in sorted(folder.glob("*_predictions.csv"))
        ]
        return names or [video.stem for video in self.videos.all()]

    def methods(self, study: Study) -> str:
        """Return the methods paragraph, "" without a network."""
        try:
            return methods_text(study)
        except ConfigError:
            return ""

    def _job(self, job: Job) -> dict[str, Any]:
        if job.number in self._outputs:
            found = self._outputs[job.number]
        else:
            progress, texts = self.jobs.output(job.number, is_whole=job.is_over)
            found = {
                "progress": progress,
                "text": texts[-1] if texts else "",
                "num_warnings": sum(text.startswith("warning: ") for text in texts),
            }
            if job.is_over:  # what it said is final, and the page asks every second
                self._outputs[job.number] = found
        assert self.folder is not None
        return found | {
            "number": job.number,
            "line": shown([f"mpar-{job.command}", str(self.folder), *job.arguments]),
            "command": job.command,
            "arguments": job.arguments,
            "state": job.state,
            "is_over": job.is_over,
        }

    def _step(self, study: Study, command: str, outdated: bool) -> dict[str, Any]:
        problem = ""
        try:
            _ = command == "studio" or study.arguments(command)
        except ConfigError as error:
            problem = str(error)
        if command == "train" and not study.cache.is_file():
            problem = "preprocess first"
        if command in {"evaluate", "summarize", "export"}:
            if study.known_predictions() is None:
                problem = problem or "predict first"
            elif outdated:
                problem = problem or "predict again first: the network has gone on since"
        return {"line": shown([f"mpar-{command}", str(study.folder)]), "problem": problem}

    def add(self, command: str, options: list[str], after: int | None = None) -> int:
        """Add a job on the study; return its number, that of the same one if it waits already."""
        if command not in _JOBS or (command == "studio" and options != ["--archive"]):
            raise ValueError(f"found the command {command[:40]!r}, expected one of {_JOBS}")
        self.study()
        with self._lock:
            same = (
                job.number
                for job in self.jobs.all()
                if (job.state, job.command, job.arguments) == ("waiting", command, (*options,))
            )
            return next(same, None) or self.jobs.add(command, options, after).number

    def use(self, run: str) -> None:
        """Let the network of a run predict from now on."""
        with self._lock:
            study = self.study()
            if run not in study.trained_runs():
                raise ValueError(f"found no run {run[:60]!r} with a network")
            dataclasses.replace(study, in_use=run).save()

    def set_option(self, command: str, name: str, value: Any) -> None:
        """Write an option into ``study.json``; None takes it out."""
        if name not in _OPTIONS.get(command, ()):
            raise ValueError(
                f"found the option {name[:40]!r} of {command[:40]!r}, which the page "
                "does not set; write it into study.json"
            )
        value = None if value is False or value in ("", []) else value
        with self._lock:
            study = self.study()
            if value is not None:
                try:
                    self._commands.check_option(command, name, value)
                    if name == "group-by":
                        read_animals([], study.table("animals.csv"), group_by=value)
                except MparError as error:
                    raise ValueError(str(error)) from None
            of = ("preprocess", "evaluate", "review") if name == "group-pattern" else (command,)
            for each in of:
                study = study.with_option(each, name, value)
            study.save()

    def set_videos(self, folders: list[Path]) -> None:
        """Let the study have these folders of videos."""
        if missing := [folder for folder in folders if not folder.is_dir()]:
            raise ValueError(f"{missing[0]}: is not a folder; check the path")
        if not folders:
            raise ValueError("a study needs a folder of videos")
        with self._lock:
            self.study().with_videos(folders).save()

    def make(self, folder: Path, videos: list[Path]) -> None:
        """Make a study, and show it."""
        self.set_or_refuse(folder)
        if missing := [item for item in videos if not item.is_dir()]:
            raise ValueError(f"{missing[0]}: is not a folder; check the path")
        if not videos:
            raise ValueError("a study needs a folder of videos; choose one")
        new_study(folder, videos)
        self.open(folder)

    def make_demo(self, folder: Path) -> None:
        """Make a study of mpar's sample, and show it."""
        self.set_or_refuse(folder)
        demo_study(folder)
        self.open(folder)

    def set_or_refuse(self, folder: Path) -> None:
        """Refuse to make a study if one is open, or at a path that is not absolute."""
        if self.folder is not None:
            raise ValueError("a study is open already")
        if not folder.is_absolute():
            raise ValueError(f"{folder}: expected a whole path, such as {Path.cwd() / 'Study'}")

    def path_of(self, relative: str) -> Path | None:
        """Return a file of the results, None if there is none of that name."""
        study = self.study()
        return study.folder / relative if relative in list_results(study) else None

    def review(
        self,
        *,
        name: str = "",
        frame: int = 0,
        draws_regions: bool = False,
        is_estimate: bool = False,
    ) -> str:
        """Open the page for scoring, or for an estimate, at a frame; return its link."""
        from mpar.review import ReviewConfig, opened_review  # slow to load

        with self._lock:
            study = self.study()
            classes, regions = study.table("classes.csv"), study.table("regions.csv")
            options = study.options.get("review", {})
            pattern, annotator = options.get("group-pattern"), options.get("annotator", "")
            is_blind = options.get("blind", False)
            # another network, other classes or new videos: the page must read them anew
            predictions = study.known_predictions()
            names = sorted(p.name for p in predictions.glob("*.csv")) if predictions else []
            key = (
                study.video_folders,
                predictions,
                names,
                pattern,
                annotator,
                is_blind,
                *(digest_of(study.folder / table) for table in ("classes.csv", "regions.csv")),
                [str(video) for video in self.videos.all()],
            )
            known = self._reviews.get(is_estimate)
            # predictions that are coming do not close a page on which somebody scores
            jobs = self.jobs.all()
            is_predicting = any((j.command, j.state) == ("predict", "running") for j in jobs)
            if known is not None and known[0] != key and not is_predicting:
                known[2].close()
                known = self._reviews.pop(is_estimate) and None
            if known is None:
                stack = contextlib.ExitStack()
                review = stack.enter_context(
                    opened_review(
                        study.video_folders,
                        study.checks if is_estimate else study.annotations,
                        predictions_folder=predictions,
                        config=ReviewConfig(
                            annotator=annotator,
                            class_map=None if classes is None else ClassMap.from_csv(classes),
                            regions=None if regions is None else read_regions(regions),
                            regions_path=study.folder / "regions.csv",
                            group_pattern=pattern,
                            is_blind=is_blind,
                            is_estimate=is_estimate,
                        ),
                    )
                )
                thread = threading.Thread(target=review.serve, daemon=True)
                thread.start()
                stack.callback(thread.join)
                stack.callback(review.stop)
                known = self._reviews[is_estimate] = (key, review.url, stack)
            at = {"name": name, "frame": frame} if name else {}
            at |= {"regions": 1} if draws_regions else {}
            return known[1] + ("#" + urlencode(at) if at else "")


def list_folder(path: Path) -> dict[str, Any]:
    """Return the folders in a folder, to choose one: their names only, hidden ones left out.

    ValueError if it cannot be listed.
    """
    try:
        with os.scandir(path) as entries:
            found = sorted(
                (entry for entry in entries if not entry.name.startswith(".")),
                key=lambda entry: entry.name.lower(),
            )
            folders = [entry.name for entry in found if _is_folder(entry)]
            num_videos = sum(Path(entry.name).suffix.lower() in VIDEO_SUFFIXES for entry in found)
    except OSError as error:
        raise ValueError(f"{path}: cannot be listed ({error.strerror}); choose another") from None
    return {
        "path": str(path),
        "parent": str(path.parent),
        "folders": folders[:_MAX_FOLDERS],
        "num_more": max(0, len(folders) - _MAX_FOLDERS),
        "num_videos": num_videos,
        "is_study": is_study(path),
        "separator": os.sep,
        "drives": os.listdrives() if hasattr(os, "listdrives") else [],
    }


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
