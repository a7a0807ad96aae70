"""What is known of each video of a study, collected in a thread and kept between windows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
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
from mpar.learning.expected import expect_seconds
from mpar.learning.recipe import TrainConfig
from mpar.learning.scarcity import MIN_SCORED_BOUTS, MIN_TRAIN_BOUTS, MIN_TRAIN_FRAMES
from mpar.matching.groups import find_group
from mpar.matching.pairing import find_label_files, find_recordings
from mpar.matching.sources import Source
from mpar.studio.runs import is_outdated
from mpar.studio.study import FILE_NAME, Commands, Study
from mpar.system.faults import contained
from mpar.system.files import atomic_path, read_rows, sha256_of, write_json
from mpar.system.folders import find_files
from mpar.video.streams import VideoInfo
from mpar.video.timeline import TimeLine
from mpar.video.videos import MIN_SIDE_PX, Decoding, probe_video

KEPT = ".studio"  # what can be computed again lies in this folder of the study
_PICTURE_PX = 120
_LOOK_S = 2.0  # between two looks at the folders
_REREAD_S = 5.0  # between two readings of the label files, which change with every edit
_REST = 9  # times as long as a reading took, so that it holds up no one who scores
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
    """

    scored: list[dict[str, Any]] = field(default_factory=list)
    animals: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Laid:
    """A recording as preprocessing would lay its labels.

    Parameters
    ----------
    video, animal : str
        File name of its video, and its animal.
    frames, bouts : (K,) int64 arrays
        Of each class.
    """

    video: str
    animal: str
    frames: np.ndarray
    bouts: np.ndarray


@dataclass(slots=True)
class Read:
    """What the label files say: by video, as recordings, their problems, and what is left out.

    `num_px` is the size of a picture as the network will see it.
    """

    class_map: ClassMap = DEFAULT_CLASS_MAP
    labels: dict[Path, Labels] = field(default_factory=dict)
    laid: list[Laid] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    num_refused: int = 0
    num_px: int = 0


class VideoTable:
    """The videos of a study: what their files state, who scored them, what is wrong.

    Opening five hundred videos takes longer than a page may, so a thread does it: `state` returns
    what is known. Facts and pictures are kept in a folder of the study, and are found again as long
    as a video keeps its path, size and time.

    Parameters
    ----------
    folder : Path
        The study.
    commands : Commands
        Tells how labels are read.
    """

    def __init__(self, folder: Path, commands: Commands) -> None:
        self._kept, self._commands = folder / KEPT, commands
        self.revision = 0  # counts what changed
        self._videos: list[Path] = []
        self._keys: dict[Path, str] = {}
        self._facts: dict[str, dict[str, Any]] = self._load()
        self._labels = Read()
        self._runs: dict[str, list[str]] = {}
        self._seen: Any = None
        self._now: Any = None  # label files, tables, options and videos as they are, and as read
        self._label_state: Any = None
        self._looked_at = self._read_next = -1e9
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
        """Whether the thread still reads, or will after a rest."""
        return self._is_busy or self._now != self._label_state

    @property
    def _is_busy(self) -> bool:
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
            files = [(str(path), _key(path)) for path in (*labels, *tables)]
            state = files, study.options.get("preprocess")
            runs = _predicted_by(study)
            seen = (keys, state, runs, _key(_problems_of(study)))
            self._now = state, videos
            if seen == self._seen and self._now == self._label_state:
                return self.revision
            self._seen, self._videos, self._keys, self._runs = seen, videos, keys, runs
            self.revision += 1
            if not self._is_busy:
                self._thread = threading.Thread(
                    target=self._read, args=(study, self._now), daemon=True
                )
                self._thread.start()
            return self.revision

    def _read(self, study: Study, state: Any) -> None:
        unknown = [video for video in state[1] if self._keys.get(video) not in self._facts]
        for number, video in enumerate(unknown, 1):
            facts = self._open(video)
            if self._is_closed:
                return
            self._facts[self._keys[video]] = facts
            self.revision += 1
            if number % _SAVE_EVERY == 0:
                self._save()
        if unknown:
            self._save()
        started = time.monotonic()
        if state == self._label_state or started < self._read_next:
            return
        try:
            with contained(study.annotations, with_disk=True):
                read = self._lay(study, state[1], study.annotations)
        except InputError as error:
            read = Read(problems=list(error.problems))
        except MparError as error:  # of a table, or of the options
            read = Read(problems=[Problem.of(FILE_NAME, "malformed", str(error))])
        self._labels, self._label_state = read, state
        now = time.monotonic()
        self._read_next = now + max(_REREAD_S, _REST * (now - started))
        self.revision += 1

    def _open(self, video: Path) -> dict[str, Any]:
        """Return what the file of a video states, and keep a small picture of its beginning."""

        def go_on() -> None:
            if self._is_closed:
                raise InputError.of(video, "not-counted", "nobody waits for it")

        try:
            with contained(video, with_disk=True):
                info = probe_video(video, on_packets=go_on)
                with contextlib.closing(iter(Decoding(video, threads=1))) as frames:  # type: ignore[type-var]
                    picture = next(frames)
                scale = _PICTURE_PX / max(picture.shape)
                small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                data = cv2.imencode(".jpg", small)[1].tobytes()
                path = self.picture_path(video)
                if path is not None:
                    with contextlib.suppress(OSError), atomic_path(path, durable=False) as new:
                        new.write_bytes(data)
                return {"problem": "", "info": asdict(info) | {"fps": str(info.fps)}}
        except InputError as error:
            return {"problem": error.problems[0].message, "code": error.problems[0].code}

    def problems_with(self, study: Study, labels: Path) -> list[Problem]:
        """Return what is wrong with a folder of label files, if all videos have been read."""
        if any(self._keys.get(video) not in self._facts for video in self._videos):
            return []
        try:
            with contained(labels, with_disk=True):
                return self._lay(study, self._videos, labels).problems
        except MparError:  # Videos says it
            return []

    def _lay(self, study: Study, videos: list[Path], annotations: Path) -> Read:
        """Lay labels on frames as preprocessing does, but on as many as packets promise."""
        from mpar.cache.collecting import gather_videos  # slow to load, and not needed at once
        from mpar.cache.labelling import expect_parts, join_labels

        class_map, config = self._commands.read_labelling(study)
        if not videos or not annotations.is_dir():
            return Read(class_map)
        if config.follow:  # it says nothing about labels, and need not be measured
            config = replace(config, follow_size=config.follow_size or MIN_SIDE_PX)
        folders = [folder for folder in study.video_folders if folder.is_dir()]
        sources, problems = find_recordings(
            folders, annotations, class_map, config, regions=config.regions, warns=False
        )
        sizes = Counter(video.stat().st_size for video in videos)
        facts = {s.video: self._fact(s.video, sizes[s.video.stat().st_size] > 1) for s in sources}
        found, more = gather_videos(sources, facts, config)
        joined = join_labels(found, expect_parts(found, class_map, config), class_map, config)
        problems = [*problems, *more, *joined.problems]
        read = Read(
            class_map,
            problems=[p.below(annotations, *study.video_folders) for p in problems],
            num_refused=len(sources) - len(set(joined.origins)),
            num_px=joined.frame_size[0] * joined.frame_size[1],
        )
        for source in sources:
            self._count(source, class_map, read.labels.setdefault(source.video, Labels()))
        for item in joined.recordings:
            runs = find_bouts(item.labels)
            frames, bouts = np.zeros((2, len(class_map.class_names)), np.int64)
            np.add.at(frames, runs["label"], runs["stop"] - runs["start"])
            np.add.at(bouts, runs["label"], 1)
            animal = item.info.group or item.info.name
            read.laid.append(Laid(item.info.video, animal, frames, bouts))
        return read

    def _fact(self, video: Path, has_twin: bool) -> tuple[str, VideoInfo] | InputError:
        """Return what tells a video from others, and its properties; or why it cannot be read."""
        facts = self._facts[self._keys[video]]
        if facts["problem"]:
            return InputError.of(video, facts["code"], facts["problem"])
        if has_twin and "sha256" not in facts:  # others of its size may have its content
            facts["sha256"] = sha256_of(video)
        info = facts["info"]
        return facts.get("sha256", str(video)), VideoInfo(**info | {"fps": Fraction(info["fps"])})

    def _count(self, source: Source, class_map: ClassMap, found: Labels) -> None:
        """Note who scored how many frames of an animal."""
        facts = self._facts[self._keys[source.video]]
        info = facts.get("info", {"num_packets": 0, "fps": "30"})
        line = TimeLine(info["num_packets"], Fraction(info["fps"]))
        for part in source.labels:
            added = added_to(part.path.stem, source.path.name)
            animal, rest = part.subject, added
            if added.startswith(JOINT):
                animal, _, rest = added.removeprefix(JOINT).partition("_")
            if source.region is not None:
                animal = source.region.animal
            name = part.annotator or rest.strip("_.- ") or part.path.stem
            labels = np.zeros(0, np.int8)
            with contextlib.suppress(InputError, ValueError):
                (laid,) = events_to_frames([part], class_map, line)
                labels = class_map.merge(laid.codes)
            num_scored = int(np.count_nonzero(labels != UNLABELLED))
            of_file = {"name": name, "animal": animal, "file": part.path.name}
            found.scored.append(
                of_file | {"num_frames": num_scored, "corrects": list(part.corrects)}
            )
            if animal not in found.animals:
                found.animals.append(animal)

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
        known = dict.fromkeys((*self._labels.problems, *_listed_problems(study)))
        by_video, others = _problems_by_video(known, self._videos)
        return {
            "videos": [
                self._row(video, pattern, by_video.get(video, []), has_regions)
                for video in self._videos
            ],
            "problems": [_shown(problem) for problem in others],
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
        labels = self._labels.labels.get(video, Labels())
        found = [*problems]
        if any(labels.animals) and not has_regions:
            text = "has label files of animals, but no regions, so they would count as several "
            text += "people who scored one animal; draw its regions"
            found.append(Problem.of(video, "region", text))
        if facts and facts["problem"] and facts["code"] not in {item.code for item in found}:
            found.insert(0, Problem.of(video, facts["code"], facts["problem"]))
        row = {
            "id": str(video),
            "name": video.name,
            "folder": str(video.parent),
            "has_picture": bool(facts and not facts["problem"]),
            "animal": animal_of(video, pattern),
            "scored": labels.scored,
            "predicted": self._runs.get(video.stem, []),
            "problems": [_shown(problem) for problem in found],
        }
        if facts and not facts["problem"]:
            info, rate = facts["info"], Fraction(facts["info"]["fps"])
            row |= {
                "fps": round(float(rate), 2),
                "num_frames": info["num_packets"],
                "seconds": round(float(info["num_packets"] / rate), 1),
                "size": f"{info['width']} × {info['height']}",
            }
        return row

    def labelled(self) -> dict[str, Any]:
        """Return recordings, frames and bouts by class, and what is too little to learn from.

        They are those that preprocessing would lay, if decoding yields a frame for each packet.
        """
        read, classes = self._labels, []
        for k, name in enumerate(read.class_map.class_names):
            frames, bouts = (
                sum(int(getattr(item, key)[k]) for item in read.laid) for key in ("frames", "bouts")
            )
            classes.append(
                {
                    "name": name,
                    "is_response": name in read.class_map.responses,
                    "num_frames": frames,
                    "num_bouts": bouts,
                    "num_videos": len({item.video for item in read.laid if item.frames[k]}),
                    "is_little": bouts < _ENOUGH_BOUTS or frames < MIN_TRAIN_FRAMES,
                }
            )
        return {
            "classes": classes,
            "num_recordings": len(read.laid),
            "num_animals": len({item.animal for item in read.laid}),
            "num_empty": sum(not item.frames.any() for item in read.laid),
            "num_refused": read.num_refused,
            "enough_bouts": _ENOUGH_BOUTS,
            "enough_frames": MIN_TRAIN_FRAMES,
        }

    def expect(self, config: TrainConfig, labels_a_second: float | None) -> float | None:
        """Return about how long a recipe learns from these labels, in seconds; None if unknown."""
        num_labelled = sum(int(item.frames.sum()) for item in self._labels.laid)
        return expect_seconds(config, num_labelled, self._labels.num_px, labels_a_second)

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            data = json.loads((self._kept / "videos.json").read_text(encoding="utf-8"))
            # a version before kept others
            return {key: facts for key, facts in data.items() if facts["problem"] or facts["info"]}
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


def _listed_problems(study: Study) -> list[Problem]:
    """Return the problems that preprocessing listed last, of files that have not changed since."""
    with contextlib.suppress(OSError, ValueError):
        _, *rows = read_rows(_problems_of(study))
        made = _problems_of(study).stat().st_mtime
        folders = (study.annotations, *study.video_folders)
        return [
            Problem(file, int(line or 0), text, code)
            for file, line, code, text in rows
            if not any(_is_newer(folder / file, made) for folder in folders)
        ]
    return []


def _is_newer(path: Path, seconds: float) -> bool:
    try:
        return path.stat().st_mtime > seconds
    except OSError:
        return False


def _problems_by_video(
    problems: Iterable[Problem], videos: Iterable[Path]
) -> tuple[dict[Path, list[Problem]], list[Problem]]:
    """Return problems by video, and those of no video."""
    by_video: dict[Path, list[Problem]] = {}
    others = []
    index = NameIndex((video.name, video) for video in videos)
    for problem in problems:
        if problem.code in _NOT_PROBLEMS:
            continue
        owners = index.find(problem.path) or index.find_owners(Path(problem.path).stem)
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
