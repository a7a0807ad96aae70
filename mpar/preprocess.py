"""Turn videos and labels into a cache: in parallel, resumable, all or nothing.

The numbers of packets and the labels tell how long each recording will most likely be. So mpar lays
out the new cache first, in a staging folder (``.<cache>.parts/``), and decodes each frame straight
to its place. If a number was wrong, frames are moved. A run after a crash continues where the last
one stopped. Frames in an existing cache are copied. One rename publishes the new cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpar.aligning.laying import check_unscored
from mpar.cache.collecting import Video, collect, follow_size, name_points, usual_rate
from mpar.cache.decoding import (
    copy_from_old,
    count_all,
    decode_into,
    find_known,
    lacks_frames,
    load_others,
    settle,
)
from mpar.cache.labelling import Joined, expect_parts, join_labels, with_hashes
from mpar.cache.layout import RecordingInfo
from mpar.cache.notes import Parts, Plan, make_new_cache, new_cache, remove_staging
from mpar.cache.preprocess_config import PreprocessConfig
from mpar.cache.replacing import check_loss, check_options, is_same, open_old
from mpar.cache.store import Store
from mpar.cache.writer import check_room, write_structure
from mpar.errors import InputError, Problem
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap
from mpar.system.faults import LOG_NAME, logged
from mpar.system.files import locked, naming, publish, write_rows
from mpar.system.folders import Folders, list_folders
from mpar.system.team import ALONE, Team

__all__ = ["PreprocessConfig", "PreprocessReport", "preprocess", "problems_path"]

_MAX_TRIES = 2  # to decode a video again


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessReport:
    """The results of a run of `preprocess`.

    Parameters
    ----------
    recordings : tuple of RecordingInfo
        Recordings without problems.
    problems : tuple of Problem
        Why the others were left out.
    code_counts, class_counts : dict
        Frames by raw code (first annotator) and by class; key -1 or "unlabelled" for none.
    warnings : tuple of str
        What to check in label files and videos that are used all the same.
    num_decoded : int
        Videos decoded in this run; earlier runs decoded the others.
    is_written : bool
        False if this was only a check, or if the cache was up to date.
    """

    recordings: tuple[RecordingInfo, ...]
    problems: tuple[Problem, ...]
    code_counts: dict[int, int]
    class_counts: dict[str, int]
    warnings: tuple[str, ...]
    num_decoded: int
    is_written: bool


def preprocess(
    video_folder: Folders,
    annotation_folder: Path | str,
    cache_path: Path | str,
    *,
    class_map: ClassMap = DEFAULT_CLASS_MAP,
    config: PreprocessConfig | None = None,
    workers: int | None = None,
    check_only: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
    team: Team = ALONE,
) -> PreprocessReport:
    """Turn a folder of videos and a folder of label files into a cache.

    Parameters
    ----------
    video_folder : Path, str or sequence of them
    annotation_folder : Path or str
        Searched with their subfolders; paired by name (`mpar.matching.pairing.find_recordings`).
    cache_path : Path or str
        The cache to make. An existing cache is replaced once the new one is complete; videos in it
        are not decoded again.
    class_map : ClassMap
        Maps codes and names to classes.
    config : PreprocessConfig, optional
        Everything else that shapes the cache.
    workers : int, optional
        Videos decoded in parallel; by default one per processor core.
    check_only : bool
        Decode and check everything, and write only the list of problems.
    overwrite : bool
        Replace an existing cache even if it was made with another class map or config, if
        recordings would be lost, or if it cannot be read.
    quiet : bool
        Show no progress bar.
    team : Team
        Processes that share the decoding, on one disk; the first one writes the cache.

    Returns
    -------
    PreprocessReport
        Its `problems` list bad inputs; ``<cache>.problems.csv`` lists them, too. If mpar itself
        failed with a file, ``<cache>.errors.log`` has the traceback.

    Raises
    ------
    InputError
        No recording is free of problems; lists all problems.
    ConfigError
        A folder or option is wrong, another process is writing the cache, the existing cache was
        made with another class map or config, or the new cache would lack some of its recordings.
    """
    config = config or PreprocessConfig()
    check_unscored(config.unscored, class_map)
    cache_path = Path(cache_path)
    workers = max(1, workers or os.cpu_count() or 1)
    places = (*list_folders(video_folder), Path(annotation_folder))
    quiet = quiet or not team.is_leader
    videos, problems = collect(video_folder, annotation_folder, class_map, config, workers, team)
    run = _Run(cache_path, class_map, config, places, overwrite, workers, quiet, videos, problems)
    if not check_only:
        run.log = cache_path.with_name(f"{cache_path.name}.{LOG_NAME}")
    else:
        run.settle_config(None)
        decoded, bad = count_all(videos, run.config, workers, quiet, team)
        found = join_labels(videos, decoded, class_map, run.config)
        report = run.report(found, bad, len(decoded))
        if team.is_leader:
            with run.naming():
                _write_problems(cache_path, list(report.problems))
        return report
    with contextlib.ExitStack() as stack:
        run.config, run.plan, todo = team.on_leader(lambda: run.begin(stack))
        share = team.share_of([video for video in videos if video.sha256 in todo])
        with run.naming():
            decoded, bad = decode_into(run.staging, share, run.plan, run.config, workers, quiet)
        staged = {sha256 for found in team.gather(list(decoded)) for sha256 in found}
        bad = [problem for found in team.gather(bad) for problem in found]
        return team.on_leader(lambda: run.finish(decoded, staged, bad))


@dataclass
class _Run:
    """One run: its arguments, the existing cache, and what is known of the videos."""

    cache_path: Path
    class_map: ClassMap
    config: PreprocessConfig
    places: tuple[Path, ...]
    overwrite: bool
    workers: int
    quiet: bool
    videos: list[Video]
    problems: list[Problem]
    old: Store | None = None
    parts: Parts = dataclasses.field(default_factory=dict)
    plan: Plan = dataclasses.field(default_factory=dict)
    noted: dict[Problem, Problem] = dataclasses.field(default_factory=dict)
    log: Path | None = None

    @property
    def staging(self) -> Path:
        return self.cache_path.with_name(f".{self.cache_path.name}.parts")

    def naming(self) -> contextlib.AbstractContextManager[None]:
        """Let errors of the disk name the cache."""
        return naming(self.cache_path, new_cache(self.staging))

    def settle_config(self, old_config: dict[str, Any] | None) -> None:
        """Complete the options that depend on the videos, or on the existing cache."""
        rate = self.config.rate or usual_rate(self.videos, old_config)
        side = follow_size(self.videos, self.config, old_config)
        regions = name_points(self.videos, self.config, old_config)
        self.config = dataclasses.replace(self.config, rate=rate, follow_size=side, regions=regions)

    def begin(self, stack: contextlib.ExitStack) -> tuple[PreprocessConfig, Plan, list[str]]:
        """Lock the cache; return its options, its plan and the videos to decode."""
        stack.enter_context(locked(self.cache_path))
        stack.callback(self._tidy)
        old = self.old = open_old(self.cache_path, self.overwrite)
        if old is not None:
            stack.enter_context(old)
        self.settle_config(old.config if old and not self.overwrite else None)
        if old is not None and not self.overwrite:
            new, default = self.config.to_dict(), PreprocessConfig().to_dict()
            if "rate" not in old.config:  # a cache of version 1: each video had its own rate
                default["rate"] = new["rate"]
            check_options(old, self.class_map, new, default)
        self.parts = find_known(self.videos, old, self.staging, self.config)
        unknown = [video for video in self.videos if video.sha256 not in self.parts]
        parts = self.parts | expect_parts(unknown, self.class_map, self.config)
        joined = join_labels(self.videos, parts, self.class_map, self.config)
        with self.naming():
            self._settle(joined)
            todo = [*unknown, *self._find_lacking()]
            if todo:
                self._make_file(joined)
        return self.config, self.plan, [video.sha256 for video in todo]

    def _tidy(self) -> None:
        """Remove a new cache that no later run can use; it may be what fills the disk."""
        with contextlib.suppress(OSError):  # an error of the run matters more
            if not any(self.staging.glob("*.json")):
                remove_staging(self.staging)

    def _settle(self, joined: Joined) -> None:
        """Plan the cache anew, and move to their places the frames that are there already."""
        self.plan = joined.plan()
        self.parts = settle(self.videos, self.parts, self.plan, self.staging, self.config)

    def _make_file(self, joined: Joined) -> None:
        """Make sure that the file of the new cache exists and that the disk has room for it."""
        lengths = [target.num_frames for targets in self.plan.values() for target in targets]
        sizes = joined.frame_size, joined.square_px
        taken = make_new_cache(self.staging, self.plan, *sizes)
        check_room(self.cache_path, lengths, *sizes, taken)

    def finish(self, decoded: Parts, staged: set[str], bad: list[Problem]) -> PreprocessReport:
        """Join all recordings with their labels, and publish the cache."""
        for video in self.videos:
            if video.sha256 in staged and video.sha256 not in decoded:
                decoded[video.sha256] = load_others(video, self.staging, self.config)
        self.parts |= decoded
        with self.naming():
            report = self._complete(staged, bad)
        remove_staging(self.staging)
        return report

    def _complete(self, decoded: set[str], bad: list[Problem]) -> PreprocessReport:
        """Publish the cache once all its frames are in place.

        A video is decoded again if its labels fit after all, if it is longer than expected, or if
        the existing cache turns out to be damaged.
        """
        num_tries: Counter[str] = Counter()
        while True:
            joined = self._join(bad)
            self._settle(joined)
            lacking = self._find_lacking()
            if not lacking:
                if self._is_up_to_date(joined):
                    return self.report(joined, bad, len(decoded))
                self._make_file(joined)
                if self.old is not None:
                    self.parts = copy_from_old(
                        self.parts, self.plan, self.old, self.staging, self.quiet
                    )
                    lacking = self._find_lacking()
            if not lacking:
                self._publish(joined)
                return self.report(joined, bad, len(decoded), is_written=True)
            num_tries.update(video.sha256 for video in lacking)
            for video in lacking:
                self.parts.pop(video.sha256, None)
                if num_tries[video.sha256] > _MAX_TRIES:
                    raise InputError.of(
                        video.path, "unsteady", "gives other frames each time; export it again"
                    )
            self._make_file(joined)
            found, more = decode_into(
                self.staging, lacking, self.plan, self.config, self.workers, self.quiet
            )
            self.parts |= found
            decoded, bad = decoded | {*found}, [*bad, *more]

    def _join(self, bad: list[Problem]) -> Joined:
        """Lay the labels on the frames, list all problems, and refuse to lose recordings."""
        joined = join_labels(self.videos, self.parts, self.class_map, self.config)
        problems = self._shown((*self.problems, *bad, *joined.problems))
        _write_problems(self.cache_path, problems)
        if not joined.recordings:
            raise InputError(problems)
        if self.old is not None and not self.overwrite:
            check_loss(self.cache_path, self.old, joined.recordings, problems)
        return joined

    def _shown(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return problems with the place of each file, and log each traceback once."""
        problems = [problem.below(*self.places) for problem in problems]
        new = [problem for problem in problems if problem.trace and problem not in self.noted]
        self.noted.update(zip(new, logged(new, self.log), strict=True))
        return [self.noted.get(problem, problem) for problem in problems]

    def _find_lacking(self) -> list[Video]:
        return [video for video in self.videos if lacks_frames(video, self.parts, self.plan)]

    def _is_up_to_date(self, joined: Joined) -> bool:
        recordings, config = with_hashes(joined, self.parts), self.config.to_dict()
        return self.old is not None and is_same(self.old, recordings, self.class_map, config)

    def _publish(self, joined: Joined) -> None:
        new, recordings = new_cache(self.staging), with_hashes(joined, self.parts)
        config = self.config.to_dict()
        write_structure(new, recordings, joined.frame_size, self.class_map, config)
        if self.old is not None and os.name == "nt":  # Windows cannot replace a mapped file
            self.old.close()
        publish(new, self.cache_path)

    def report(
        self, joined: Joined, bad: list[Problem], num_decoded: int, *, is_written: bool = False
    ) -> PreprocessReport:
        """Make the report, which shows files by their place in the folders."""
        codes: Counter[int] = Counter()
        labels: Counter[int] = Counter()
        for item in joined.recordings:
            codes.update(item.codes[0].tolist())
            labels.update(item.labels.tolist())
        names = self.class_map.class_names
        class_counts = {name: labels[i] for i, name in enumerate(names)}
        problems = self._shown((*self.problems, *bad, *joined.problems))
        return PreprocessReport(
            recordings=tuple(item.info for item in joined.recordings),
            problems=tuple(sorted(problems)),
            code_counts={code: codes[code] for code in (*self.class_map.codes, UNLABELLED)},
            class_counts=class_counts | {"unlabelled": labels[UNLABELLED]},
            warnings=tuple(str(warning.below(*self.places)) for warning in joined.warnings),
            num_decoded=num_decoded,
            is_written=is_written,
        )


def problems_path(cache_path: Path | str) -> Path:
    """Return the path of the list of problems of a cache's inputs."""
    cache_path = Path(cache_path)
    return cache_path.with_name(f"{cache_path.name}.problems.csv")


def _write_problems(cache_path: Path, problems: list[Problem]) -> None:
    """List the problems next to the cache, and remove the list of an earlier run."""
    path = problems_path(cache_path)
    if not problems:
        path.unlink(missing_ok=True)
        return
    rows = [(p.path, str(p.line or ""), p.code, p.message) for p in sorted(problems)]
    # file names need not be UTF-8
    plain = [[cell.encode("utf-8", "replace").decode() for cell in row] for row in rows]
    write_rows(path, [["File", "Line", "Code", "Problem"], *plain])
