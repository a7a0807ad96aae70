"""Regions files: where each animal lives in a video, and which labels are of which animal."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpar.errors import InputError, Problem
from mpar.labels.names import NameIndex, folded
from mpar.labels.scorings import JOINT, Scoring
from mpar.system.tables import read_named_rows
from mpar.video.regions import Region
from mpar.video.streams import MIN_SIDE_PX

log = logging.getLogger(__name__)

TITLES = ("Video", "Animal", "X", "Y", "Width", "Height")
COLUMNS = tuple(title.lower() for title in TITLES)
MAX_NAME_BYTES = 100  # file names stay below the limit of 255
EVERY = "*"  # in the column Video: every video without its own row


@dataclass(frozen=True, slots=True)
class RegionRow:
    """A row of a regions file: its line, the video that it names, and the region."""

    line: int
    video: str
    region: Region


@dataclass(frozen=True, slots=True)
class RegionTable:
    """A regions file.

    Parameters
    ----------
    path : Path
        The file.
    rows : tuple of RegionRow
        The rows of the file.
    """

    path: Path
    rows: tuple[RegionRow, ...]

    @property
    def of_every_video(self) -> tuple[Region, ...]:
        """The regions of videos without their own rows."""
        return tuple(row.region for row in self.rows if row.video == EVERY)

    def by_video(
        self, videos: Sequence[Path]
    ) -> tuple[dict[Path, tuple[Region, ...]], list[Problem]]:
        """Return the regions of each video that has any, and problems of rows without a video.

        InputError if rows that name the same video contradict each other.
        """
        index = NameIndex((video.name, video) for video in videos)
        found: dict[Path, list[RegionRow]] = {}
        problems = []
        for row in self.rows:
            named = index.find(row.video) if row.video != EVERY else []
            if len(named) == 1:
                found.setdefault(named[0], []).append(replace(row, video=named[0].name))
            elif row.video != EVERY:
                what = "names several videos" if named else "names no video here"
                message = f"{row.video!r} {what}; correct the row or remove it"
                problems.append(Problem.of(self.path, "no-video", message, row.line))
        if wrong := [p for rows in found.values() for p in _compare_rows(self.path, rows)]:
            raise InputError(wrong)
        star = self.of_every_video
        own = {video: tuple(row.region for row in rows) for video, rows in found.items()}
        regions = {video: own.get(video, star) for video in videos}
        whole = [video.name for video in videos if not regions[video]]
        if whole and len(whole) < len(videos):
            shown = whole[0] + (f" and {len(whole) - 1} more" if len(whole) > 1 else "")
            log.warning("%s: has no row for %s; mpar uses the whole picture", self.path.name, shown)
        return {video: places for video, places in regions.items() if places}, problems


def read_regions(path: Path | str) -> RegionTable:
    """Read a regions file.

    Parameters
    ----------
    path : Path or str
        CSV with the columns Video, Animal, X, Y, Width, Height, in px. A video may have its
        suffix or not; ``*`` stands for every video without its own row. Animal may be empty if a
        video has one region.

    Raises
    ------
    InputError
        Lists every invalid row: numbers that are not whole or too small, an animal twice in a
        video, regions that overlap.
    """
    path = Path(path)
    table = read_named_rows(path, TITLES, has_others=False)
    rows, problems = [], [*table.problems]
    for line, row in table.rows:
        try:
            rows.append(_read_row({name.lower(): cell for name, cell in row.items()}, line))
        except ValueError as error:
            problems.append(Problem.of(path, "cell", str(error), line))
    problems += _compare_rows(path, rows)
    if not rows and not problems:
        problems.append(
            Problem.of(path, "empty", "has no rows below its header; add the regions", 1)
        )
    if problems:
        raise InputError(problems)
    return RegionTable(path, tuple(rows))


def _read_row(row: Mapping[str, str], line: int) -> RegionRow:
    numbers = []
    for name in COLUMNS[2:]:
        number = int(row[name]) if row[name].isascii() and row[name].isdigit() else -1
        least = MIN_SIDE_PX if name in {"width", "height"} else 0
        if number < least:
            raise ValueError(
                f"{name} is {row[name][:40]!r}, expected a whole number of px from {least}; fix "
                "the row"
            )
        numbers.append(number)
    animal = row["animal"]
    if animal and not is_file_name(animal):
        raise ValueError(f"animal {animal[:40]!r} cannot be part of a file name; rename it")
    if not row["video"]:
        raise ValueError("names no video, expected one or *; fix the row")
    x, y, width, height = numbers
    return RegionRow(line, row["video"], Region(animal, x, y, width, height))


def is_file_name(animal: str) -> bool:
    """Return True if the name of an animal can be part of a file name everywhere."""
    is_name = Path(animal).name == animal.strip(". ") and animal.isprintable()
    is_short = len(animal.encode()) <= MAX_NAME_BYTES
    return is_name and is_short and not set(animal) & set('\\/:*?"<>|')


def _compare_rows(path: Path, rows: Sequence[RegionRow]) -> list[Problem]:
    """Return contradictions between rows of one video."""
    problems = []
    for one, other in itertools.combinations(rows, 2):
        if folded(one.video) != folded(other.video):
            continue
        a, b = one.region, other.region
        message = ""
        if folded(a.animal) == folded(b.animal):
            message = f"animal {b.animal!r} of {other.video} also occurs in line {one.line}"
        elif not a.animal or not b.animal:
            message = f"{other.video} has several regions, expected the name of an animal for each"
        elif a.overlaps(b):
            message = f"the regions of {a.animal} and {b.animal} of {other.video} overlap"
        if message:
            problems.append(Problem.of(path, "region", f"{message}; fix the row", other.line))
    return problems


def recording_name(stem: str, region: Region | None) -> str:
    """Return a recording's name: the video's, and the animal's if its region names one."""
    return f"{stem}{JOINT}{region.animal}" if region is not None and region.animal else stem


def share_labels(
    video: Path, labels: Sequence[Scoring], regions: Sequence[Region]
) -> tuple[dict[Region, list[Scoring]], list[Problem]]:
    """Give each region of a video the labels of its animal; also return problems.

    These are the labels of a subject of that name, or in a file named ``VIDEO__ANIMAL*``. Every
    region has an entry. Labels without an animal, or of an animal without a region, are problems.
    """
    shared: dict[Region, list[Scoring]] = {region: [] for region in regions}
    by_file = NameIndex((recording_name(video.stem, region), region) for region in regions)
    by_animal = {folded(region.animal): region for region in regions}
    animals = ", ".join(region.animal for region in regions)
    problems = []
    for item in labels:
        owners = by_file.find_owners(item.path.stem)
        if item.subject and folded(item.subject) in by_animal:
            shared[by_animal[folded(item.subject)]].append(replace(item, subject=""))
        elif item.subject and animals:
            message = (
                f"scores the subject {item.subject!r} of {video.name}, whose regions belong to "
                f"{animals}"
            )
            problems.append(Problem.of(item.path, "no-animal", f"{message}; correct one of them"))
        elif len(owners) == 1 or not animals:
            shared[owners[0] if owners else regions[0]].append(item)
        else:
            message = (
                f"names no animal of {video.name}, expected a file name that starts with "
                f"{' or '.join(recording_name(video.stem, r) for r in regions)}, or subjects with "
                "these names; rename it"
            )
            problems.append(Problem.of(item.path, "no-animal", message))
    return shared, problems
