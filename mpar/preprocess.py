"""Turn videos and labels into a cache: in parallel, resumable, all or nothing.

Each video is first decoded into a staging folder (``.<cache>.parts/``), so that a run after a crash
continues where the last one stopped. Frames in an existing cache are reused. The cache is then
written to a temporary file and published by one rename.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tqdm import tqdm

from mpar.cache.collecting import Video, collect, usual_rate
from mpar.cache.config import PreprocessConfig
from mpar.cache.decoding import Parts, count_all, decode_into, find_known, load_others
from mpar.cache.joining import Joined, join_labels
from mpar.cache.layout import RecordingInfo
from mpar.cache.replacing import check_loss, check_options, is_same, open_old
from mpar.cache.staging import remove_parts
from mpar.cache.store import Store
from mpar.cache.writer import write_store
from mpar.errors import InputError, Problem
from mpar.labels.classes import DEFAULT_CLASS_MAP, UNLABELLED, ClassMap
from mpar.labels.laying import check_unscored
from mpar.system.files import locked, write_rows
from mpar.system.team import ALONE, Team

__all__ = ["PreprocessConfig", "PreprocessReport", "preprocess", "problems_path"]


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
    video_folder: Path | str,
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
    video_folder, annotation_folder : Path or str
        Searched with their subfolders; paired by name (`mpar.labels.pairing.find_recordings`).
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
        Decode and check everything, write nothing.
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
        Its `problems` list bad inputs; ``<cache>.problems.csv`` lists them, too.

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
    places = video_folder, annotation_folder
    quiet = quiet or not team.is_leader
    videos, problems = collect(*places, class_map, config, workers, team)
    run = _Run(cache_path, class_map, config, places, overwrite, quiet, videos, problems)
    if check_only:
        run.config = dataclasses.replace(config, rate=config.rate or usual_rate(videos, None))
        decoded, bad = count_all(videos, run.config, workers, quiet, team)
        return run.report(join_labels(videos, decoded, class_map, run.config), bad, len(decoded))
    with contextlib.ExitStack() as stack:
        done = team.on_leader(lambda: run.begin(stack))
        run.config = dataclasses.replace(config, rate=done[0])
        todo = [video for video in videos if video.sha256 not in done[1]]
        share = team.share_of(todo)
        decoded, bad = decode_into(run.staging, share, run.config, workers, quiet)
        staged = {sha256 for found in team.gather(list(decoded)) for sha256 in found}
        bad = [problem for found in team.gather(bad) for problem in found]
        if not team.is_leader:  # Windows cannot remove a mapped file
            decoded.clear()
        return team.on_leader(lambda: run.finish(decoded, staged, bad))


@dataclass
class _Run:
    """One run: its arguments, and the existing cache."""

    cache_path: Path
    class_map: ClassMap
    config: PreprocessConfig
    places: tuple[Path | str, Path | str]
    overwrite: bool
    quiet: bool
    videos: list[Video]
    problems: list[Problem]
    old: Store | None = None
    known: Parts = dataclasses.field(default_factory=dict)

    @property
    def staging(self) -> Path:
        return self.cache_path.with_name(f".{self.cache_path.name}.parts")

    def begin(self, stack: contextlib.ExitStack) -> tuple[Fraction | None, list[str]]:
        """Lock the cache; return its rate and the videos that need no decoding."""
        stack.enter_context(locked(self.cache_path))
        old = self.old = open_old(self.cache_path, self.overwrite)
        rate = usual_rate(self.videos, old.config if old and not self.overwrite else None)
        self.config = dataclasses.replace(self.config, rate=self.config.rate or rate)
        if old is not None:
            stack.enter_context(old)
            if not self.overwrite:
                new, default = self.config.to_dict(), PreprocessConfig().to_dict()
                if "rate" not in old.config:  # a cache of version 1: each video had its own rate
                    default["rate"] = new["rate"]
                check_options(old, self.class_map, new, default)
        self.known = find_known(self.videos, old, self.staging, self.config)
        return self.config.rate, list(self.known)

    def finish(self, decoded: Parts, staged: set[str], bad: list[Problem]) -> PreprocessReport:
        """Join all recordings with their labels, and publish the cache."""
        for video in self.videos:
            if video.sha256 in staged and video.sha256 not in decoded:
                decoded[video.sha256] = load_others(video, self.staging, self.config)
        joined = join_labels(self.videos, self.known | decoded, self.class_map, self.config)
        placed = [p.below(*self.places) for p in (*self.problems, *bad, *joined.problems)]
        _write_problems(self.cache_path, placed)
        if not joined.recordings:
            raise InputError(placed)
        if self.old is not None and not self.overwrite:
            check_loss(self.cache_path, self.old, joined.recordings, placed)
        is_written = self._publish(joined)
        report = self.report(joined, bad, len(decoded), is_written=is_written)
        self.known.clear()
        decoded.clear()
        joined.recordings.clear()
        remove_parts(self.staging)
        return report

    def _publish(self, joined: Joined) -> bool:
        """Write the cache unless it is up to date; return True if it was written."""
        old, config = self.old, self.config.to_dict()
        if old is not None and is_same(old, joined.recordings, self.class_map, config):
            return False
        if old is not None and os.name == "nt":  # Windows cannot replace a mapped file
            old.close()
        total = sum(item.info.num_frames for item in joined.recordings)
        with tqdm(total=total, desc="writing", unit="frame", disable=self.quiet or None) as bar:
            write_store(
                self.cache_path,
                joined.recordings,
                class_map=self.class_map,
                config=config,
                on_frames=bar.update,
            )
        return True

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
        problems = (*self.problems, *bad, *joined.problems)
        return PreprocessReport(
            recordings=tuple(item.info for item in joined.recordings),
            problems=tuple(sorted(problem.below(*self.places) for problem in problems)),
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
    rows = [(p.path, str(p.line or ""), p.message) for p in sorted(problems)]
    # file names need not be UTF-8
    plain = [[cell.encode("utf-8", "replace").decode() for cell in row] for row in rows]
    write_rows(path, [["File", "Line", "Problem"], *plain])
