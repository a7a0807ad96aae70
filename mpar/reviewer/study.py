"""The recordings that a scorer sees, and what is open of them."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from mpar.errors import ConfigError, InputError, counted
from mpar.formats.registry import ANNOTATION_SUFFIXES
from mpar.labels.bouts import find_runs
from mpar.labels.classes import DEFAULT_CLASS_MAP, NO_RESPONSES, ClassMap, agree_on
from mpar.labels.names import VIDEO_SUFFIXES, NameIndex, folded
from mpar.matching.pairing import find_label_files
from mpar.matching.regions import COLUMNS, EVERY, RegionTable, read_regions
from mpar.matching.sources import Source
from mpar.matching.tracks import TrackFolder
from mpar.predictions.reading import (
    StoredPrediction,
    choose_predictions,
    read_sidecars,
)
from mpar.reviewer.desk import Desk
from mpar.reviewer.frames import VideoFrames
from mpar.reviewer.lanes import may_name, read_others
from mpar.reviewer.reading import Reading
from mpar.reviewer.review_config import ReviewConfig, login_name
from mpar.reviewer.scoring_files import ScoringFiles
from mpar.reviewer.worklist import ESTIMATE_NAME, Checking, Queue
from mpar.system.files import write_rows
from mpar.system.folders import Folders, find_files, list_folders
from mpar.video.animal_size import follow_track
from mpar.video.following import SquarePath
from mpar.video.regions import Region, check_track, sized

REGIONS_NAME = "regions.csv"
_MAX_OPEN_VIDEOS = 3
_OF_ESTIMATE = "-estimate"


class Study:
    """Recordings with their predictions and labels.

    Parameters
    ----------
    video_folder : Path, str or sequence of them
        Searched with its subfolders.
    output_folder : Path
        Where scorings are read and written.
    predictions_folder : Path, optional
        From mpar-predict.
    config : ReviewConfig
        What to show.

    Raises
    ------
    ConfigError, InputError
        There is no video, or names of recordings, regions or the annotator do not fit.
    """

    def __init__(
        self,
        video_folder: Folders,
        output_folder: Path,
        predictions_folder: Path | None,
        config: ReviewConfig,
    ) -> None:
        self.output_folder, self.config = output_folder, config
        name = config.annotator or login_name()
        # predictions that this person accepted elsewhere must not count as truth
        self.annotator = f"{name}{_OF_ESTIMATE}" if config.is_estimate else name
        self.is_blind = config.is_blind or config.is_estimate
        self.videos = find_files(video_folder, VIDEO_SUFFIXES)
        if not self.videos:
            raise ConfigError(
                f"{list_folders(video_folder)[0]}: found no video ({' '.join(VIDEO_SUFFIXES)}); "
                "check the path"
            )
        self._predicted: dict[str, StoredPrediction] = {}
        self.warnings: list[str] = []
        self.class_map = config.class_map or DEFAULT_CLASS_MAP
        if predictions_folder is not None:
            self._find_predictions(predictions_folder)
        own = self.regions_path = config.regions_path or output_folder / REGIONS_NAME
        self._table = config.regions or (read_regions(own) if own.is_file() else None)
        self.recordings: dict[str, Source] = {}
        self._lock = threading.RLock()
        self._frames: OrderedDict[Path, VideoFrames] = OrderedDict()
        self._desks: dict[str, Desk] = {}
        self._readings: dict[str, Reading[tuple[dict[str, list[list[int]]], list[str]]]] = {}
        self._list_recordings()
        self.queue: Queue | None = None
        self.checking: Checking | None = None
        self._hand_out(predictions_folder)

    def _hand_out(self, predictions_folder: Path | None) -> None:
        """Prepare the stretches to look at."""
        pattern = self.config.group_pattern
        if self.config.is_estimate:
            if predictions_folder is None:
                raise ConfigError("estimate: found no predictions; pass --predictions")
            path = self.output_folder / ESTIMATE_NAME
            self.checking = Checking(
                predictions_folder, self.recordings, self.class_map, path, pattern
            )
            self.warnings += self.checking.warnings
        elif predictions_folder is not None and self._predicted and not self.is_blind:
            self.queue = Queue(
                predictions_folder, [*self.recordings], self.class_map.responses, pattern
            )
        if (self.queue or self.checking) and not self.class_map.responses:
            self.warnings.append(f"all classes count alike in what you check: {NO_RESPONSES}")

    def reviewed(self) -> dict[str, list[tuple[int, int]]]:
        """Return the stretches of each recording that have a code."""
        return {name: self._files_of(item).labelled() for name, item in self.recordings.items()}

    def close(self) -> None:
        """Save what is open and stop decoding."""
        with self._lock:
            for desk in self._desks.values():
                desk.flush()
            self._desks.clear()
            while self._frames:
                self._frames.popitem()[1].close()

    def _find_predictions(self, folder: Path) -> None:
        stored, _, problems = read_sidecars(folder)
        chosen, _, more = choose_predictions(stored)
        self.warnings += [str(problem) for problem in (*problems, *more)]
        self._predicted = {item.name: item for item in chosen.values()}
        maps = {
            ClassMap.from_dict(item.sidecar["class_map"])
            for item in chosen.values()
            if item.sidecar
        }
        shared = agree_on(maps) if maps else self.class_map
        if shared is None:
            raise ConfigError(
                f"{folder}: found predictions of {len(maps)} different class maps; keep those of "
                "one network in a folder"
            )
        if self.config.class_map is None:
            self.class_map = shared
        if {*shared.class_names} != {*self.class_map.class_names}:
            self._predicted = {}
            self.warnings.append(
                f"{folder}: was predicted with other classes than those of the class map, so mpar "
                "shows no predictions; train with these classes and predict again"
            )

    def _list_recordings(self) -> None:
        """Find the recordings of all videos, and refuse names that would mix up files."""
        regions: dict[Path, tuple[Region, ...]] = {}
        if self._table is not None:
            regions, problems = self._table.by_video(self.videos)
            self.warnings += [str(problem) for problem in problems]
        found = [
            Source(video, region=region)
            for video in self.videos
            for region in regions.get(video, (None,))
        ]
        by_name: dict[str, Source] = {}
        for recording in found:
            other = by_name.setdefault(folded(recording.name), recording)
            if other is not recording:
                raise InputError.of(
                    recording.video,
                    "same-name",
                    f"has the same name as {other.video}; rename one of them",
                )
        index = NameIndex((recording.name, recording) for recording in found)
        for recording in found:
            owners = index.find_owners(f"{recording.name}_{self.annotator}")
            if owners != [recording]:
                raise ConfigError(
                    f"annotator: {recording.name}_{self.annotator}.csv would count as labels of "
                    f"{owners[0].video.name}; choose another --annotator"
                )
        self.recordings = {recording.name: recording for recording in found}
        self._check_existing()

    def _check_existing(self) -> None:
        if not self.output_folder.is_dir():
            return
        names = {path.name for path in self.output_folder.iterdir()}
        folds = {folded(name): name for name in names}
        warnings = dict.fromkeys(self.warnings)
        for recording in self.recordings.values():
            files = self._files_of(recording)
            for path in (files.table, files.record):
                found = folds.get(folded(path.name), path.name)
                if found != path.name and path.name not in names:
                    raise ConfigError(
                        f"annotator: found {found}, which differs from {path.name} only in "
                        "case; pass --annotator as it was written there"
                    )
            try:
                files.check()
            except InputError as error:  # opening the recording raises it
                warnings |= dict.fromkeys(map(str, error.problems))
        self.warnings = [*warnings]

    def _files_of(self, recording: Source) -> ScoringFiles:
        return ScoringFiles(
            self.output_folder, recording.name, self.annotator, self.class_map, self.is_blind
        )

    def has_prediction(self, name: str) -> bool:
        """Return True if a prediction may be shown for a recording."""
        return name in self._predicted and not self.is_blind

    @property
    def has_tracks(self) -> bool:
        """Whether tracks say which animals there are."""
        return isinstance(self._table, TrackFolder)

    def squares_of(self, name: str) -> SquarePath | None:
        """Return the squares of a recording: those of its prediction, or of its track."""
        if self.has_prediction(name):
            with contextlib.suppress(InputError):  # reading the prediction says what is wrong
                if path := self._predicted[name].squares():
                    return path
        region, frames = self.recordings[name].region, self.frames_of(name)
        if region is None or region.track is None or not frames.num_frames:
            return None
        return follow_track(region.track, (frames.info.height, frames.info.width))

    def regions_of(self, video: Path) -> tuple[Region, ...]:
        """Return the regions of a video."""
        return tuple(
            recording.region
            for recording in self.recordings.values()
            if recording.video == video and recording.region is not None
        )

    def frames_of(self, name: str) -> VideoFrames:
        """Open the video of a recording (KeyError if there is none of that name)."""
        recording = self.recordings[name]
        with self._lock:
            video = recording.video
            if video not in self._frames:
                self._frames[video] = VideoFrames(
                    video,
                    self.config.stream,
                    self.output_folder / f".{video.stem}.frames.npz",
                )
            self._frames.move_to_end(video)
            while len(self._frames) > _MAX_OPEN_VIDEOS:
                self._frames.popitem(last=False)[1].close()
            return self._frames[video]

    def desk_of(self, name: str) -> Desk:
        """Open a recording for scoring (KeyError if there is none of that name).

        InputError if its files do not fit, or its frames are not counted yet.
        """
        frames = self.frames_of(name)
        if frames.error is not None:
            raise frames.error
        recording, num_frames = self.recordings[name], frames.num_frames
        if num_frames is None:
            raise InputError.of(
                recording.video, "not-counted", "its frames are being counted; wait"
            )
        region = sized(recording.region, frames.info.height, frames.info.width)
        check_track(recording.video, region, num_frames)
        with self._lock:
            desk = self._desks.get(name)
            if desk is None:
                desk = self._desks[name] = Desk(
                    self._files_of(recording),
                    num_frames,
                    prediction=None if self.is_blind else self._predicted.get(name),
                    about={
                        "video": recording.video.name,
                        "region": str(region or ""),
                    },
                    others=lambda: self._names_of_others(recording),
                )
            desk.resize(num_frames)
            return desk

    def lanes_of(self, name: str) -> Reading[tuple[dict[str, list[list[int]]], list[str]]]:
        """Read, in a thread, the prediction of a recording and what `others_of` returns.

        What was read once is kept until the files or the frames change.
        """
        desk, frames = self.desk_of(name), self.frames_of(name)

        def read() -> tuple[dict[str, list[list[int]]], list[str]]:
            _ = desk.predicted
            return self.others_of(name)

        with self._lock:
            key = (desk, frames.index is None, frames.num_frames, self._state_of_labels())
            reading = self._readings.get(name)
            if reading is None or reading.key != key:
                reading = self._readings[name] = Reading(read, key)
            return reading

    def _state_of_labels(self) -> list[tuple[str, int, int]]:
        """Return name, size and time of the label files of others."""
        if self.is_blind or not self.output_folder.is_dir():
            return []
        own = self._own_tables()
        found = []
        for path in find_files(self.output_folder, ANNOTATION_SUFFIXES):
            if path not in own:
                with contextlib.suppress(OSError):
                    state = path.stat()
                    found.append((str(path), state.st_size, state.st_mtime_ns))
        return found

    def _own_tables(self) -> set[Path]:
        tables = {self._files_of(item).table for item in self.recordings.values()}
        return tables | {self.regions_path}

    def _files_of_others(self, video: Path) -> tuple[list[Path], list[Path]]:
        """Return the label files of others that are named after a video, and after none."""
        if self.is_blind or not self.output_folder.is_dir():
            return [], []
        index, own = NameIndex((item.name, item) for item in self.videos), self._own_tables()
        owners = {
            path: index.find_owners(path.stem)
            for path in find_label_files(self.output_folder)
            if path not in own and not path.stem.endswith("_predictions")
        }
        named = [path for path, found in owners.items() if found == [video]]
        return named, [path for path, found in owners.items() if not found]

    def _names_of_others(self, recording: Source) -> list[str]:
        """Return the names of the label files whose labels a recording's scorer corrects."""
        named, joint = self._files_of_others(recording.video)
        return [p.name for p in (*named, *(p for p in joint if may_name(p, recording.video)))]

    def others_of(self, name: str) -> tuple[dict[str, list[list[int]]], list[str]]:
        """Return the runs of others by annotator as (start, stop, code), and problems."""
        recording, frames = self.recordings[name], self.frames_of(name)
        paths, _ = self._files_of_others(recording.video)
        lanes, problems = read_others(
            paths,
            recording.video,
            recording.region,
            self.regions_of(recording.video),
            self.class_map,
            frames.line,
        )
        return {name: find_runs(codes).tolist() for name, codes in lanes.items()}, problems

    def save_regions(self, video: Path, regions: Sequence[Region]) -> None:
        """Replace the regions of a video in ``regions.csv`` of the output folder.

        InputError if the new table is not valid; the old one stays.
        """
        if self.has_tracks:
            raise InputError.of(
                self.regions_path,
                "region",
                "the animals of this study are those of --tracks; start mpar-review without it to "
                "draw regions",
            )
        with self._lock:
            kept = (
                []
                if not isinstance(self._table, RegionTable)
                else [
                    row
                    for row in self._table.rows
                    if row.video == EVERY
                    or NameIndex([(video.name, video)]).find(row.video) != [video]
                ]
            )
            rows = [(row.video, row.region) for row in kept] + [(video.name, r) for r in regions]
            header = tuple(name.capitalize() for name in COLUMNS)
            table = [header] + [(v, r.animal, r.x, r.y, r.width, r.height) for v, r in rows]
            trial = self.regions_path.with_name(f".{REGIONS_NAME}.new.csv")
            try:
                if rows:
                    write_rows(trial, table)
                    checked = read_regions(trial)
                    checked.by_video(self.videos)
            except InputError as error:
                raise InputError(
                    type(p).of(self.regions_path, p.code, p.message, p.line) for p in error.problems
                ) from None
            finally:
                trial.unlink(missing_ok=True)
            for desk in self._desks.values():
                desk.flush()
            if rows:
                write_rows(self.regions_path, table)
                self._table = RegionTable(self.regions_path, checked.rows)
            else:
                self.regions_path.unlink(missing_ok=True)
                self._table = None
            self._desks.clear()
            self._readings.clear()
            self._list_recordings()

    def describe(self) -> str:
        """Return what is shown, in one line."""
        hidden = ", blind" if self.is_blind else ""
        return f"{counted(len(self.recordings), 'recording')}, annotator {self.annotator}{hidden}"
