"""A study: one folder with everything that belongs together, in fixed places.

::

    Study/study.json     where the videos are, options, and which run is in use
    Study/Annotations/   label files
    Study/classes.csv  regions.csv  animals.csv  stimuli.csv    if there are any
    Study/cache.h5  runs/  predictions/RUN/  checks/  results/

Commands take a study instead of files and folders. `Study.arguments` says which these are, so
that everything can be done without a study, too.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mpar.errors import ConfigError
from mpar.system.files import locked, parse_json, write_json

if TYPE_CHECKING:
    from mpar.cache.preprocess_config import PreprocessConfig
    from mpar.labels.classes import ClassMap
    from mpar.learning.recipe import TrainConfig

FILE_NAME = "study.json"
VERSION = 1
COMMANDS = ("preprocess", "train", "predict", "evaluate", "export", "summarize", "review")
EXPORTS = ("boris", "deepethogram", "simba", "annot", "nwb", "video")
_KEYS = {"version", "videos", "options", "in_use"}
_BEST = "best_model_epoch*.pt"
_SCORES = "evaluation/metrics.json"
_SAMPLE = "mpar_sample"  # the folder data/ of the project, as a package without code
_NUM_UNSCORED = 4  # videos of the sample that a demo leaves to score and to predict
# of a demo: the defaults are for real studies and take longer
_DEMO_OPTIONS: dict[str, dict[str, Any]] = {
    "preprocess": {"size": "48"},
    "train": {"model": "fast", "clip-length": 8, "epochs": 12},
}


def is_study(path: Path | str) -> bool:
    """Return True if a path is a folder with a ``study.json``."""
    return Path(path, FILE_NAME).is_file()


def shown(command: Sequence[str]) -> str:
    """Return a command as people type it on this system."""
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


@dataclass(frozen=True, slots=True)
class Study:
    """What ``study.json`` says, and where everything else is.

    Parameters
    ----------
    folder : Path
        The study.
    videos : tuple of str
        Folders with videos, as written: absolute, or from the study's folder.
    options : mapping
        By command, values of its options by their names without ``--``: true for a flag, a list
        for an option that is given several times.
    in_use : str, optional
        Name of the run whose network predicts; by default the newest that has one.
    """

    folder: Path
    videos: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    in_use: str | None = None

    @classmethod
    def open(cls, folder: Path | str) -> Study:
        """Read a study.

        Raises
        ------
        ConfigError
            ``study.json`` cannot be read, or says something unknown.
        """
        path = Path(folder, FILE_NAME)
        try:
            data = parse_json(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise ConfigError(
                f"{path}: is not there; check the path, or make a study with mpar-studio "
                f"{shown([str(folder)])} --videos FOLDER"
            ) from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise ConfigError(f"{path}: is not JSON ({error}); correct it") from None
        if problem := _find_problem(data):
            raise ConfigError(f"{path}: {problem}")
        videos = data["videos"]
        return cls(
            Path(folder),
            tuple([videos] if isinstance(videos, str) else videos),
            data.get("options", {}),
            data.get("in_use"),
        )

    def save(self) -> None:
        """Write ``study.json``, atomically; ConfigError if another process is writing it."""
        data: dict[str, Any] = {"version": VERSION, "videos": list(self.videos)}
        data |= {"options": dict(self.options)} if self.options else {}
        data |= {"in_use": self.in_use} if self.in_use else {}
        with locked(self.folder / FILE_NAME, patience_seconds=5):
            write_json(self.folder / FILE_NAME, data)

    def with_option(self, command: str, name: str, value: Any) -> Study:
        """Return a copy with an option of a command; None takes it out."""
        of_command = {**self.options.get(command, {}), name: value}
        if value is None:
            del of_command[name]
        return replace(self, options={**self.options, command: of_command})

    def with_videos(self, folders: Sequence[Path]) -> Study:
        """Return a copy with other folders of videos; those in the study are written from it."""
        home = self.folder.resolve()
        written = []
        for folder in map(Path.resolve, folders):
            inside = folder.is_relative_to(home) and folder != home
            written.append(folder.relative_to(home).as_posix() if inside else str(folder))
        return replace(self, videos=tuple(dict.fromkeys(written)))

    @property
    def video_folders(self) -> tuple[Path, ...]:
        """The folders with videos."""
        return tuple(self.folder / written for written in self.videos)

    @property
    def missing_folders(self) -> tuple[Path, ...]:
        """The folders with videos that are not there, since somebody moved them."""
        return tuple(folder for folder in self.video_folders if not folder.is_dir())

    @property
    def annotations(self) -> Path:
        """The folder with label files."""
        return self.folder / "Annotations"

    @property
    def cache(self) -> Path:
        """The cache."""
        return self.folder / "cache.h5"

    @property
    def runs(self) -> Path:
        """The folder of the runs of training."""
        return self.folder / "runs"

    def predictions(self, run: str) -> Path:
        """Return the folder of the predictions of a run."""
        return self.folder / "predictions" / run

    @property
    def checks(self) -> Path:
        """The folder of what was checked to estimate how good predictions are."""
        return self.folder / "checks"

    @property
    def results(self) -> Path:
        """The folder of tables, figures and exports."""
        return self.folder / "results"

    def trained_runs(self) -> list[str]:
        """Return the names of the runs that have a network, the oldest first."""
        found = self.runs.iterdir() if self.runs.is_dir() else ()
        return sorted(path.name for path in found if any(path.glob(_BEST)))

    def run_in_use(self) -> str:
        """Return the name of the run whose network predicts.

        By default it is the newest that was tested, or the newest if none was.

        Raises
        ------
        ConfigError
            No run has a network, or that in use is gone.
        """
        known = self.trained_runs()
        if self.in_use is not None and self.in_use not in known:
            raise ConfigError(
                f"{self.folder / FILE_NAME}: found the run {self.in_use} in use, expected one of "
                f"{', '.join(known) or '(none)'}; correct it"
            )
        if not known:
            raise ConfigError(f"{self.folder}: has no trained network; run mpar-train on it first")
        tested = [run for run in known if (self.runs / run / _SCORES).is_file()]
        return self.in_use or (tested or known)[-1]

    def best_network(self, run: str) -> Path:
        """Return the best checkpoint of a run."""
        return max((self.runs / run).glob(_BEST), key=lambda path: path.stat().st_mtime)

    def arguments(self, command: str, given: Sequence[str] = ()) -> list[str]:
        """Return the arguments and options with which a command works on this study.

        What the user gave besides the study decides where the outputs of an export go, and whether
        a run is continued, which takes no options.

        Raises
        ------
        ConfigError
            Something that the command needs is not there yet.
        """
        places: dict[str, Callable[[], Sequence[Path | str]]] = {
            "preprocess": self._of_preprocess,
            "train": lambda: [self.cache, "--output", self.runs],
            "predict": self._of_predict,
            "evaluate": lambda: [
                *(self.predictions(self.run_in_use()), self.annotations),
                *("--output", self.results / "evaluation"),
            ],
            "export": lambda: self._of_export(given),
            "summarize": lambda: [
                *(self.predictions(self.run_in_use()), "--output", self.results / "summary"),
                *self._table("--metadata", "animals.csv"),
                *self._table("--events", "stimuli.csv"),
            ],
            "review": self._of_review,
        }
        if command == "train" and "--resume" in given:
            return [str(self.cache)]
        found = [str(item) for item in places[command]()]
        options = self.options.get(command, {})
        if command == "train":
            options = self._that_matter(options, given)
        for name, value in options.items():
            for one in value if isinstance(value, list) else [value]:
                found += [f"--{name}"] if one is True else [f"--{name}", str(one)]
        return found

    @staticmethod
    def _that_matter(options: Mapping[str, Any], given: Sequence[str]) -> dict[str, Any]:
        """Leave out options that only a network has if the study or the user wants none."""
        from mpar.learning.recipe import OF_EVERY_MODEL, TrainConfig, option_name

        words = [word for item in given for word in item.split("=", 1)]
        models = [model for name, model in itertools.pairwise(words) if name == "--model"]
        is_none = [options.get("model"), *models][-1] == "none"
        network_only = TrainConfig.__dataclass_fields__.keys() - {"model_type", *OF_EVERY_MODEL}
        idle = {option_name(name) for name in network_only} if is_none else set()
        return {k: value for k, value in options.items() if k.removeprefix("no-") not in idle}

    def _of_preprocess(self) -> list[Path | str]:
        first, *others = self.video_folders
        return [
            *(first, self.annotations, "--output", self.cache),
            *(part for folder in others for part in ("--videos", folder)),
            *self._table("--class-map", "classes.csv"),
            *self._table("--regions", "regions.csv"),
        ]

    def _of_predict(self) -> list[Path | str]:
        run = self.run_in_use()
        output = "--output", self.predictions(run)
        regions = self._table("--regions", "regions.csv")
        return [self.best_network(run), *self.video_folders, *output, *regions]

    def _of_export(self, given: Sequence[str]) -> list[Path | str]:
        name = next((b for a, b in itertools.pairwise(given) if a == "--format"), "")
        place = self.results / (f"export_{name}" if name in EXPORTS else "export")
        return [
            *(self.predictions(self.run_in_use()), "--output", place),
            *(part for f in self.video_folders if name == "video" for part in ("--videos", f)),
            *(self._table("--metadata", "animals.csv") if name == "nwb" else ()),
        ]

    def _of_review(self) -> list[Path | str]:
        first, *others = self.video_folders
        predictions = self.known_predictions()
        return [
            *(first, "--output", self.annotations),
            *(part for folder in others for part in ("--videos", folder)),
            *(("--predictions", predictions) if predictions else ()),
            *self._table("--class-map", "classes.csv"),
            *self._table("--regions", "regions.csv"),
        ]

    def known_predictions(self) -> Path | None:
        """Return the folder of the predictions of the run in use, None if there are none."""
        folder = self.predictions(self.run_in_use()) if self.trained_runs() else None
        return folder if folder is not None and folder.is_dir() else None

    def table(self, name: str) -> Path | None:
        """Return a table of the study such as ``classes.csv``, None if there is none."""
        path = self.folder / name
        return path if path.is_file() else None

    def _table(self, option: str, name: str) -> list[Path | str]:
        path = self.table(name)
        return [] if path is None else [option, path]


class Commands(Protocol):
    """What the window asks of the commands, so that nothing is checked or read in two ways."""

    def check_option(self, command: str, name: str, value: Any) -> None:
        """Raise ConfigError if a command would refuse an option as `Study.options` holds it."""

    def read_labelling(self, study: Study) -> tuple[ClassMap, PreprocessConfig]:
        """Return with which classes and options mpar-preprocess reads a study; or ConfigError."""

    def read_recipe(self, study: Study) -> TrainConfig:
        """Return with which recipe mpar-train trains on a study; or ConfigError."""


def new_study(folder: Path | str, videos: Sequence[Path]) -> Study:
    """Make a study of videos, with a folder for label files; ConfigError if there is one."""
    folder = Path(folder)
    if is_study(folder):
        raise ConfigError(f"{folder / FILE_NAME}: is there already; open it without --videos")
    folder.mkdir(parents=True, exist_ok=True)
    study = Study(folder, ()).with_videos(videos)
    study.annotations.mkdir(exist_ok=True)
    study.save()
    return study


def demo_study(folder: Path | str) -> Study:
    """Make a study of mpar's sample: drawn mice, some of them not scored yet.

    Raises
    ------
    ConfigError
        The folder is not empty, or the sample is not installed.
    """
    folder = Path(folder)
    found = importlib.util.find_spec(_SAMPLE)
    if found is None or not found.submodule_search_locations:
        raise ConfigError("demo: found no sample; install mpar again, or use a copy of its project")
    sample = Path(next(iter(found.submodule_search_locations)))
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty; choose a new folder for the demo")
    shutil.copytree(sample / "Videos", folder / "Videos")
    study = replace(new_study(folder, [folder / "Videos"]), options=_DEMO_OPTIONS)
    labels = sorted((sample / "Annotations").glob("*.csv"))
    for path in labels[:-_NUM_UNSCORED]:
        shutil.copy(path, study.annotations)
    study.save()
    return study


def _find_problem(data: Any) -> str:
    """Return what is wrong with the content of ``study.json``, "" if nothing is."""
    if not isinstance(data, dict) or data.get("version") != VERSION:
        found = data.get("version") if isinstance(data, dict) else data
        return f'found version {found!r}, expected "version": {VERSION}; correct it, or update mpar'
    if unknown := sorted(data.keys() - _KEYS):
        return f"found {unknown[0]!r}, expected some of {', '.join(sorted(_KEYS))}; remove it"
    videos = data.get("videos")
    videos = [videos] if isinstance(videos, str) else videos
    if not isinstance(videos, list) or not videos or not all(isinstance(v, str) for v in videos):
        return f'found "videos": {videos!r}, expected a list of folders; add them'
    options = data.get("options", {})
    if not isinstance(options, dict) or not all(isinstance(v, dict) for v in options.values()):
        return f'found "options": {options!r}, expected options by command; correct them'
    if unknown := sorted(options.keys() - {*COMMANDS}):
        return (
            f"found options of {unknown[0]!r}, expected those of {', '.join(COMMANDS)}; remove it"
        )
    if not isinstance(data.get("in_use"), (str, type(None))):
        return f'found "in_use": {data["in_use"]!r}, expected the name of a run; correct it'
    return ""
