"""Tracks: the key points that DeepLabCut and SLEAP found, as paths of the animals of videos.

Shapes: T frames, A animals, P key points.
"""

from __future__ import annotations

import io
import logging
import pickle
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpar.errors import ConfigError, InputError, Problem, shorten
from mpar.labels.names import NameIndex, folded
from mpar.matching.regions import is_file_name
from mpar.system.csv_text import number_rows, parse_rows, read_text
from mpar.system.faults import plain_reason
from mpar.system.folders import find_files
from mpar.system.tables import DELIMITERS
from mpar.video.regions import Region, Track

SUFFIXES = (".h5", ".csv", ".slp")
_HEADS = ["scorer", "individuals", "bodyparts", "coords"]
_LEAST_LIKELIHOOD = 0.6  # DeepLabCut's own default in its plots and filters
_MOST_PX = 1e6  # beyond is no place, but infinity or a mistake
_DLC_MARK = re.compile(r"DLC_|DeepCut_")  # what DeepLabCut adds to the name of a video
_FILTERED = "_filtered"  # what DeepLabCut adds to the name of tracks
_SLEAP_PREFIX = re.compile(r".*?\.\d{3}_(?=.)")  # what SLEAP puts before it: "labels.v001.000_"

log = logging.getLogger(__name__)


class _NoTracksError(ValueError):
    """Why a file holds no tracks, in words for the user."""


@dataclass(frozen=True, slots=True)
class TrackFile:
    """The content of one file.

    Parameters
    ----------
    animals : tuple of str
        Their names; "" for a single animal.
    points : tuple of str
        Names of the key points.
    places : (T, A, P, 2) float array
        x and y in px, NaN where a point was not found.
    is_sparse : bool
        As for `mpar.video.regions.Track`.
    """

    animals: tuple[str, ...]
    points: tuple[str, ...]
    places: np.ndarray
    is_sparse: bool = False


@dataclass(frozen=True, slots=True)
class TrackFolder:
    """A folder with tracks, which give each animal of a video a place, as a regions file does.

    Parameters
    ----------
    path : Path
        Searched with its subfolders.
    points : tuple of str
        The key points that squares are around, in any order; all if empty.
    """

    path: Path
    points: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(sorted({*self.points})))

    @property
    def of_every_video(self) -> tuple[Region, ...]:
        """Nothing: tracks are of one video."""
        return ()

    def by_video(
        self, videos: Sequence[Path]
    ) -> tuple[dict[Path, tuple[Region, ...]], list[Problem]]:
        """Return the animals of each video that has tracks, and problems of all others.

        Their regions are whole pictures, whose size is not known yet (`mpar.video.regions.sized`).
        """
        files = self._pair(videos)
        found: dict[Path, tuple[Region, ...]] = {}
        problems: list[Problem] = []
        for video in videos:
            try:
                found[video] = self._read(video, files.get(video, []))
            except InputError as error:
                problems += error.problems
        return found, problems

    def _pair(self, videos: Sequence[Path]) -> dict[Path, list[Path]]:
        """Return the files of each video, one per name: DeepLabCut writes the same twice.

        Filtered tracks go before those that they come from.
        """
        index = NameIndex((video.name, video) for video in videos)
        files: dict[Path, dict[str, Path]] = {}
        for path in find_files(self.path, SUFFIXES):
            stem = path.name.removesuffix(path.suffix).removesuffix(".analysis")
            mark = _DLC_MARK.search(stem)
            name = stem[: mark.start()] if mark else stem
            # the name itself comes first: a video may be called "a.001_b"
            owners = index.find_owners(name) or index.find_owners(
                _SLEAP_PREFIX.sub("", name, count=1)
            )
            for video in owners:
                files.setdefault(video, {}).setdefault(stem, path)
        raw = [
            by_name.pop(stem).name
            for by_name in files.values()
            for stem in [*by_name]
            if stem + _FILTERED in by_name
        ]
        if raw:
            others = f" (and {len(raw) - 1} more)" if len(raw) > 1 else ""
            log.info("%s%s: filtered tracks are there, too, and are read", raw[0], others)
        return {video: list(by_name.values()) for video, by_name in files.items()}

    def _read(self, video: Path, paths: Sequence[Path]) -> tuple[Region, ...]:
        if len(paths) != 1:
            names = f" ({', '.join(path.name for path in paths)})" if paths else ""
            raise InputError.of(
                video,
                "duplicate" if paths else "missing-file",
                f"has {'several' if paths else 'no'} tracks in {self.path}{names}, expected one "
                "file whose name starts with that of the video",
            )
        file = read_tracks(paths[0])
        unknown = [point for point in self.points if point not in file.points]
        if unknown:
            raise InputError.of(
                paths[0],
                "columns",
                f"has no key point {', '.join(unknown)}, expected some of "
                f"{', '.join(file.points)}; track it, too, or choose others with mpar-preprocess "
                "--track-points",
            )
        points = self.points or tuple(sorted(file.points))
        chosen = [file.points.index(point) for point in points]
        regions = tuple(
            Region(animal, 0, 0, 0, 0, _as_track(paths[0], places_TP2, points, file.is_sparse))
            for animal, places_TP2 in zip(
                file.animals, np.moveaxis(file.places[:, :, chosen], 1, 0), strict=True
            )
            if not np.isnan(places_TP2).all()  # DeepLabCut's spare animals
        )
        if not regions:
            raise InputError.of(
                paths[0],
                "empty",
                f"has no place of {', '.join(self.points) or 'any key point'} in any frame (cells "
                f"are empty, or the likelihood is below {_LEAST_LIKELIHOOD}), expected some; track "
                "the video again, or choose other --track-points of mpar-preprocess",
            )
        return regions


def _as_track(
    path: Path, places_TP2: np.ndarray, points: tuple[str, ...], is_sparse: bool
) -> Track:
    """Return the middle and the extent of some key points."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames without any point
        low, high = np.nanmin(places_TP2, axis=1), np.nanmax(places_TP2, axis=1)
    middle, half = (low + high) / 2, (high - low) / 2
    return Track(path, middle.astype(np.float32), half.astype(np.float32), is_sparse, points)


def read_tracks(path: Path) -> TrackFile:
    """Read a file of DeepLabCut (.h5, .csv) or SLEAP (.slp, .analysis.h5).

    Raises
    ------
    InputError
        The file is none of these or damaged, or names its animals as no file can be named.
    ConfigError
        It is of SLEAP, and sleap-io is not installed.
    """
    try:
        with np.errstate(over="ignore"):  # places beyond any picture, which go below
            file = _READERS[path.suffix.lower()](path)
    except (ConfigError, InputError):
        raise
    except _UNREADABLE as error:
        reason = str(error) if isinstance(error, _NoTracksError) else plain_reason(error)
        raise InputError.of(
            path,
            "unknown-format",
            f"cannot be read as tracks ({reason}), expected a .csv or .h5 of DeepLabCut, or a .slp "
            "or .analysis.h5 of SLEAP; export it again",
        ) from None
    odd = file.animals != ("",) and not all(a and is_file_name(a) for a in file.animals)
    if odd or len({folded(animal) for animal in file.animals}) < len(file.animals):
        raise InputError.of(
            path,
            "cell",
            f"names its animals {', '.join(map(repr, file.animals))}, expected different names "
            "that files can have; rename them",
        )
    if not file.places.size:
        raise InputError.of(path, "empty", "holds no tracks; track the video again")
    file.places[~(np.abs(file.places) < _MOST_PX).all(axis=-1)] = np.nan
    return file


def _read_csv(path: Path) -> TrackFile:
    """Read a table of DeepLabCut: three or four rows of header, then a row for each frame."""
    text = read_text(path)
    first = "\n".join(text.splitlines()[: len(_HEADS)])
    delimiter = max(DELIMITERS, key=first.count)
    head = [cells for _, cells in parse_rows(path, first, delimiter) if cells[0] in _HEADS]
    if [cells[0] for cells in head] not in (_HEADS, [_HEADS[0], *_HEADS[2:]]):
        raise _NoTracksError("its first rows are not scorer, bodyparts and coords")
    _check_lengths(path, text, delimiter, len(head[0]))
    try:
        rows = number_rows(text, len(head), delimiter)
    except ValueError:
        raise _NoTracksError("it has no rows, or a cell that is no number") from None
    columns = list(zip(*(cells[1:] for cells in head), strict=True))
    return _from_columns(columns, rows[:, 0], rows[:, 1:])


def _check_lengths(path: Path, text: str, delimiter: str, expected: int) -> None:
    """Raise InputError with each row that is cut, whose missing cells would count as empty."""
    problems = [
        Problem.of(
            path, "cell", f"found {found} cells, expected {expected}; export it again", number
        )
        for number, row in enumerate(text.splitlines(), start=1)
        if row.strip() and (found := _num_cells(path, row, delimiter)) != expected
    ]
    if problems:
        raise InputError(shorten(path, problems))


def _num_cells(path: Path, row: str, delimiter: str) -> int:
    if '"' in row:  # a delimiter in quotes is part of a cell
        return len(parse_rows(path, row, delimiter)[0][1])
    return row.count(delimiter) + 1  # much quicker


def _read_hdf5(path: Path) -> TrackFile:
    """Read an HDF5 file of SLEAP or DeepLabCut; its content says which."""
    with h5py.File(path) as file:
        if "track_names" in file:
            return _read_sleap(path)
        for group in file.values():
            if isinstance(group, h5py.Group) and isinstance(group.get("table"), h5py.Dataset):
                table = group["table"]
                columns = _unpickle(table.attrs["values_block_0_kind"])
                return _from_columns(columns, table["index"], table["values_block_0"])
    raise _NoTracksError("it holds no table of DeepLabCut and no tracks of SLEAP")


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists and texts; anything that would run code is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise _NoTracksError(
            f"its column names use {module}.{name}; save it as .csv (save_as_csv=True)"
        )


def _unpickle(text: Any) -> list[tuple[str, ...]]:
    """Return column names, which pandas pickles in HDF5 files."""
    data = bytes(text) if isinstance(text, bytes) else str(text).encode("latin-1")
    return [tuple(map(str, column)) for column in _PlainUnpickler(io.BytesIO(data)).load()]


def _from_columns(columns: Sequence[Any], index: np.ndarray, values: np.ndarray) -> TrackFile:
    """Return tracks from columns (scorer, individual, body part, coordinate) of DeepLabCut."""
    if not np.array_equal(index, np.arange(len(values))):
        raise _NoTracksError("its rows are not frames 0, 1, 2, ...: these are no tracks of a video")
    has_animals = len(columns[0]) == 4
    places: dict[tuple[str, str, str], int] = {}
    for i, column in enumerate(columns):
        name = (column[1] if has_animals else "", column[-2], column[-1])
        if places.setdefault(name, i) != i:
            raise _NoTracksError(f"it has the column {'/'.join(filter(None, name))} twice")
    # "single" holds points that belong to no animal, such as corners of the arena
    named = dict.fromkeys(animal for animal, _, _ in places)
    animals = tuple(animal for animal in named if animal != "single") or tuple(named)
    points = tuple(dict.fromkeys(point for animal, point, _ in places if animal in animals))
    found = np.full((len(values), len(animals), len(points), 2), np.nan)
    for i, animal in enumerate(animals):
        for j, point in enumerate(points):
            for k, axis in enumerate("xy"):
                if (animal, point, axis) in places:
                    found[:, i, j, k] = values[:, places[animal, point, axis]]
            if (likelihood := places.get((animal, point, "likelihood"))) is not None:
                found[~(values[:, likelihood] >= _LEAST_LIKELIHOOD), i, j] = np.nan
    return TrackFile(animals if len(animals) > 1 else ("",), points, found)


def _read_sleap(path: Path) -> TrackFile:
    try:
        import sleap_io
    except ImportError:
        raise ConfigError(
            f"{path}: is a file of SLEAP, which mpar reads through sleap-io; install it: "
            "pip install 'mpar[tracks]'"
        ) from None
    if path.suffix.lower() == ".slp":
        labels = sleap_io.load_slp(str(path), open_videos=False)
    else:
        labels = sleap_io.load_analysis_h5(str(path))
    if len(labels.videos) != 1:
        raise _NoTracksError(
            f"it holds {len(labels.videos)} videos, expected one; export each alone"
        )
    animals = tuple(track.name for track in labels.tracks)
    if not animals and max((len(frame.instances) for frame in labels), default=0) > 1:
        raise _NoTracksError("its animals have no tracks; track them in SLEAP first")
    return TrackFile(
        animals if len(animals) > 1 else ("",),
        tuple(labels.skeleton.node_names),
        labels.numpy(untracked=not animals),
        is_sparse=True,
    )


# what h5py, sleap-io and unpickling raise if bytes are damaged
_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError),
    pickle.UnpicklingError,
)
_READERS = {".csv": _read_csv, ".h5": _read_hdf5, ".slp": _read_sleap}
