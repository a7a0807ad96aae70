"""What is known of each video of a study, collected in a thread and kept between windows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mpar.aligning.laying import events_to_frames
from mpar.errors import InputError, MparError, Problem
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap
from mpar.labels.names import VIDEO_SUFFIXES, NameIndex, added_to
from mpar.labels.scorings import JOINT
from mpar.learning.scarcity import MIN_SCORED_BOUTS, MIN_TRAIN_BOUTS, MIN_TRAIN_FRAMES
from mpar.matching.groups import find_group
from mpar.matching.pairing import assign_label_files, find_label_files
from mpar.matching.sources import Source
from mpar.studio.runs import is_outdated
from mpar.studio.study import Study
from mpar.system.faults import contained
from mpar.system.files import atomic_path, read_rows, write_json
from mpar.system.folders import find_files
from mpar.video.timeline import TimeLine
from mpar.video.videos import Decoding

KEPT = ".studio"  # what can be computed again lies in this folder of the study
_PICTURE_PX = 120
_LOOK_S = 2.0  # between two looks at the folders
_REREAD_S = 5.0  # between two readings of the label files, which change with every edit
_SAVE_EVERY = 20  # videos
_ENOUGH_BOUTS = MIN_TRAIN_BOUTS + 2 * MIN_SCORED_BOUTS  # to learn, to validate and to test
# of these codes the table speaks in columns of its own
_NOT_PROBLEMS = {"no-labels", "warning"}


@dataclass(slots=True)
class Labels:
    """What people scored of a video.

    Parameters
    ----------
    scored : list of dict
        By annotator: name, file, and number of frames with a label.
    animals : list of str
        Scored animals of the video, "" for its only one.
    frames, bouts : (K,) int64 arrays
        Of each class, by the first annotator of each animal.
    problems : list of Problem
        Of its label files.
    """

    scored: list[dict[str, Any]] = field(default_factory=list)
    animals: list[str] = field(default_factory=list)
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    bouts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    problems: list[Problem] = field(default_factory=list)


class VideoTable:
    """The videos of a study: what their files state, who scored them, what is wrong.

    Opening five hundred videos takes longer than a page may, so a thread does it: `state` returns
    what is known. Facts and pictures are kept in a folder of the study, and are found again as long
    as a video keeps its path, size and time.

    Parameters
    ----------
    folder : Path
        The study.
    """

    def __init__(self, folder: Path) -> None:
        self._kept = folder / KEPT
        self.revision = 0  # counts what changed
        self._videos: list[Path] = []
        self._keys: dict[Path, str] = {}
        self._facts: dict[str, dict[str, Any]] = self._load()
        self._labels: dict[Path, Labels] = {}
        self._loose: list[Problem] = []  # problems of files that belong to no video
        self._class_map = DEFAULT_CLASS_MAP
        self._runs: dict[str, list[str]] = {}
        self._seen: Any = None
        self._label_state: Any = None
        self._looked_at = self._read_at = -1e9
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Stop the thread."""
        self._is_closed = True
        if self._thread is not None:
            self._thread.join()

    @property
    def is_reading(self) -> bool:
        """Whether the thread still reads."""
        return self._thread is not None and self._thread.is_alive()

    def look(self, study: Study) -> int:
        """See whether files came, went or changed, and read those; return the revision."""
        with self._lock:
            if time.monotonic() < self._looked_at + _LOOK_S:
                return self.revision
            self._looked_at = time.monotonic()
            folders = [folder for folder in study.video_folders if folder.is_dir()]
            videos = find_files(folders, VIDEO_SUFFIXES)
            keys = {video: _key(video) for video in videos}
            labels = find_label_files(study.annotations) if study.annotations.is_dir() else []
            tables = [study.folder / name for name in ("classes.csv", "regions.csv")]
            state = [(str(path), _key(path)) for path in (*labels, *tables)]
            runs = _predicted_by(study)
            seen = (keys, state, runs, _key(_problems_of(study)))
            if seen == self._seen and (state, videos) == self._label_state:
                return self.revision
            self._seen, self._videos, self._keys, self._runs = seen, videos, keys, runs
            self.revision += 1
            if not self.is_reading:
                self._thread = threading.Thread(
                    target=self._read, args=(study, labels, (state, videos)), daemon=True
                )
                self._thread.start()
            return self.revision

    def _read(self, study: Study, labels: list[Path], state: Any) -> None:
        videos = state[1]
        unknown = [video for video in videos if self._keys.get(video) not in self._facts]
        for number, video in enumerate(unknown, 1):
            if self._is_closed:
                return
            self._facts[self._keys[video]] = self._open(video)
            self.revision += 1
            if number % _SAVE_EVERY == 0:
                self._save()
        if unknown:
            self._save()
        if state == self._label_state or time.monotonic() < self._read_at + _REREAD_S:
            return
        self._read_at = time.monotonic()
        try:
            path = study.table("classes.csv")
            class_map = DEFAULT_CLASS_MAP if path is None else ClassMap.from_csv(path)
            with contained(study.annotations, with_disk=True):
                sources, loose = assign_label_files(labels, videos, class_map, warns=False)
                found = {source.video: self._count(source, class_map) for source in sources}
        except InputError as error:
            found, loose = {}, list(error.problems)
        except MparError as error:  # of classes.csv
            found, loose = {}, [Problem.of("classes.csv", "malformed", str(error))]
        else:
            self._class_map = class_map
        self._labels, self._loose, self._label_state = found, loose, state
        self.revision += 1

    def _open(self, video: Path) -> dict[str, Any]:
        """Return what the file of a video states, and keep a small picture of its beginning."""
        try:
            with contained(video, with_disk=True):
                decoding = Decoding(video, threads=1)
                with contextlib.closing(iter(decoding)) as frames:  # type: ignore[type-var]
                    picture = next(frames)
                scale = _PICTURE_PX / max(picture.shape)
                small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                data = cv2.imencode(".jpg", small)[1].tobytes()
                path = self.picture_path(video)
                if path is not None:
                    with contextlib.suppress(OSError), atomic_path(path, durable=False) as new:
                        new.write_bytes(data)
                info = decoding.info
                return {
                    "fps": str(info.fps),
                    "num_frames": info.num_frames_hint,
                    "height": info.height,
                    "width": info.width,
                    "problem": "",
                }
        except InputError as error:
            return {"problem": error.problems[0].message, "code": error.problems[0].code}

    def _count(self, source: Source, class_map: ClassMap) -> Labels:
        """Lay the labels of a video on its frames, roughly: only decoding gives their number."""
        names = class_map.class_names
        frames, bouts = np.zeros((2, len(names)), np.int64)
        found = Labels([], [], frames, bouts, list(source.problems))
        facts = self._facts.get(self._keys.get(source.video, ""), {})
        line = TimeLine(facts.get("num_frames") or 0, Fraction(facts.get("fps", 30)))
        for part in source.labels:
            found.problems += part.problems
            added = added_to(part.path.stem, source.video.name)
            animal, rest = part.subject, added
            if added.startswith(JOINT):
                animal, _, rest = added.removeprefix(JOINT).partition("_")
            name = part.annotator or rest.strip("_.- ") or part.path.stem
            labels = np.zeros(0, np.int8)
            # whether the file fits the true number of frames, only preprocessing can tell
            with contextlib.suppress(InputError, ValueError):
                (laid,) = events_to_frames([part], class_map, line)
                labels = class_map.merge(laid.codes)
            num_scored = int(np.count_nonzero(labels != UNLABELLED))
            of_file = {"name": name, "animal": animal, "file": part.path.name}
            found.scored.append(of_file | {"num_frames": num_scored})
            if animal not in found.animals and num_scored:
                found.animals.append(animal)
                runs = find_bouts(labels)
                np.add.at(frames, runs["label"], runs["stop"] - runs["start"])
                np.add.at(bouts, runs["label"], 1)
        return found

    def picture_path(self, video: Path) -> Path | None:
        """Return where the picture of a video is kept, None if it is not of this study."""
        key = self._keys.get(video)
        return None if key is None else self._kept / f"{key}.jpg"

    def video_named(self, name: str) -> Path | None:
        """Return a video of the study by its name in the table."""
        return next((video for video in self._videos if str(video) == name), None)

    def all(self) -> list[Path]:
        """Return the videos that were found last."""
        return self._videos

    def state(self, study: Study) -> dict[str, Any]:
        """Return the table, and the problems that belong to no video."""
        pattern = study.options.get("preprocess", {}).get("group-pattern")
        has_regions = study.table("regions.csv") is not None
        by_name, others = _problems_by_video(study, self._videos)
        return {
            "videos": [
                self._row(video, pattern, by_name.get(video, []), has_regions)
                for video in self._videos
            ],
            "problems": [_shown(problem) for problem in (*self._loose, *others)],
            "is_reading": self.is_reading,
            "revision": self.revision,
            "pattern": pattern or "",
            "missing": [str(folder) for folder in study.missing_folders],
            "folders": [str(folder) for folder in study.video_folders],
        }

    def _row(
        self, video: Path, pattern: str | None, problems: list[Problem], has_regions: bool
    ) -> dict[str, Any]:
        facts = self._facts.get(self._keys.get(video, ""))
        labels = self._labels.get(video, Labels())
        found = [*labels.problems, *(p for p in problems if p not in labels.problems)]
        if any(labels.animals) and not has_regions:
            text = "has label files of animals, but no regions, so they would count as several "
            text += "people who scored one animal; draw its regions"
            found.append(Problem.of(video, "region", text))
        if facts and facts["problem"]:
            found.insert(0, Problem.of(video, facts["code"], facts["problem"]))
        row = {
            "id": str(video),
            "name": video.name,
            "folder": str(video.parent),
            "is_known": facts is not None,
            "animal": animal_of(video, pattern),
            "scored": labels.scored,
            "predicted": self._runs.get(video.stem, []),
            "problems": [_shown(problem) for problem in found],
        }
        if facts and not facts["problem"]:
            rate = Fraction(facts["fps"])
            row |= {
                "fps": round(float(rate), 2),
                "num_frames": facts["num_frames"],
                "seconds": round(float(facts["num_frames"] / rate), 1),
                "size": f"{facts['width']} × {facts['height']}",
            }
        return row

    def labelled(self, pattern: str | None) -> dict[str, Any]:
        """Return recordings, frames and bouts by class, and what is too little to learn from."""
        names = self._class_map.class_names
        items = {video: found for video, found in self._labels.items() if found.frames.sum()}
        classes = []
        for k, name in enumerate(names):
            num_frames, num_bouts = (
                int(sum(getattr(item, key)[k] for item in items.values()))
                for key in ("frames", "bouts")
            )
            is_little = num_bouts < _ENOUGH_BOUTS or num_frames < MIN_TRAIN_FRAMES
            classes.append(
                {
                    "name": name,
                    "is_response": name in self._class_map.responses,
                    "num_frames": num_frames,
                    "num_bouts": num_bouts,
                    "num_videos": sum(bool(item.frames[k]) for item in items.values()),
                    "is_little": is_little,
                }
            )
        names_of = [
            video.with_name(f"{video.stem}{JOINT * bool(animal)}{animal}{video.suffix}")
            for video, item in items.items()
            for animal in item.animals
        ]
        return {
            "classes": classes,
            "num_recordings": len(names_of),
            "num_animals": len({animal_of(name, pattern) or str(name) for name in names_of}),
            "enough_bouts": _ENOUGH_BOUTS,
            "enough_frames": MIN_TRAIN_FRAMES,
        }

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            data = json.loads((self._kept / "videos.json").read_text(encoding="utf-8"))
            return {key: facts for key, facts in data.items() if isinstance(facts["problem"], str)}
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            return {}

    def _save(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: it is read again next time
            write_json(self._kept / "videos.json", self._facts, durable=False)


def animal_of(video: Path, pattern: str | None) -> str:
    """Return the animal that a pattern finds in the name of a video, "" if it finds none."""
    try:
        return find_group(video, pattern or None)
    except InputError:
        return ""


def _key(path: Path) -> str:
    """Return what stays the same as long as a file does."""
    try:
        state = path.stat()
    except OSError:
        return ""
    text = f"{path}\0{state.st_size}\0{state.st_mtime_ns}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]


def _predicted_by(study: Study) -> dict[str, list[str]]:
    """Return by stem of a video the runs that predicted it."""
    found: dict[str, list[str]] = {}
    for run in study.trained_runs():
        if is_outdated(study, run):
            continue
        names = {
            path.name.removesuffix("_predictions.csv").partition("__")[0]
            for path in study.predictions(run).glob("*_predictions.csv")
        }
        for name in names:
            found.setdefault(name, []).append(run)
    return found


def _problems_of(study: Study) -> Path:
    return study.cache.with_name(f"{study.cache.name}.problems.csv")


def _problems_by_video(
    study: Study, videos: Iterable[Path]
) -> tuple[dict[Path, list[Problem]], list[Problem]]:
    """Return the problems that preprocessing listed last, by video, and those of no video."""
    by_video: dict[Path, list[Problem]] = {}
    others = []
    index = NameIndex((video.name, video) for video in videos)
    with contextlib.suppress(OSError, ValueError, KeyError):
        _, *rows = read_rows(_problems_of(study))
        for file, line, code, text in rows:
            if code in _NOT_PROBLEMS:
                continue
            problem = Problem(file, int(line or 0), text, code)
            owners = index.find(file) or index.find_owners(Path(file).stem)
            if len(owners) == 1:
                by_video.setdefault(owners[0], []).append(problem)
            else:
                others.append(problem)
    return by_video, others


def _shown(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.path,
        "line": problem.line,
        "code": problem.code,
        "text": problem.message,
    }
