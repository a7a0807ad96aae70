"""Draw what a network will see of videos, before they are fully decoded."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.names import VIDEO_SUFFIXES
from mpar.matching.regions import RegionTable
from mpar.matching.tracks import TrackFolder
from mpar.report.preview_plot import FollowRow, PreviewRow, Shown, plot_following, plot_preview
from mpar.system.faults import LOG_NAME, contained, logged
from mpar.system.files import atomic_path
from mpar.system.folders import Folders, find_files, list_folders
from mpar.system.progress import Bar
from mpar.video.animal_size import Filmed, measure_side
from mpar.video.following import Following, Square
from mpar.video.grey import UPRIGHT, GreyConverter
from mpar.video.regions import Region, sized
from mpar.video.timeline import take
from mpar.video.videos import Decoding, probe_video

MAX_VIDEOS = 24
_NUM_FRAMES, _EVERY = 300, 12  # at the start of each video
_NUM_EVEN = 4  # evenly spaced frames of a strip

log = logging.getLogger(__name__)


def preview(
    video_folder: Folders,
    path: Path | str,
    *,
    regions: RegionTable | TrackFolder | None = None,
    size: tuple[int, int] | None = None,
    stream: int | None = None,
    follow: bool = False,
    follow_size: int | None = None,
    overwrite: bool = False,
    quiet: bool = True,
) -> list[Problem]:
    """Draw each video with its regions, and what the network sees of them.

    With `follow`, draw a strip of frames with the square for each animal instead, and what the
    network sees where the animal is smallest and largest and where it was least sure.

    Parameters
    ----------
    video_folder : Path, str or sequence of them
        Searched with its subfolders. The first 24 videos are drawn.
    path : Path or str
        The PNG to write.
    regions, size, stream, follow, follow_size
        As in `mpar.preprocess.PreprocessConfig`.
    overwrite : bool
        Replace an existing picture.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    list of Problem
        Videos that cannot be decoded, regions beyond a picture, and rows for other videos.

    Raises
    ------
    ConfigError
        There is no video, or the picture already exists.
    InputError
        No video can be drawn.

    Notes
    -----
    The median is taken over every twelfth of the first 300 frames. It shows little of the animal,
    which moves. The squares are those of preprocessing; without `follow_size`, their side is
    measured on all videos here.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ConfigError(f"preview: found {path.name!r}, expected a name that ends in .png")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: already exists; pass --overwrite to replace it")
    videos = find_files(video_folder, VIDEO_SUFFIXES)
    if not videos:
        raise ConfigError(f"{list_folders(video_folder)[0]}: found no video; check the path")
    found, problems = regions.by_video(videos) if regions else ({}, [])
    if len(videos) > MAX_VIDEOS:
        log.warning("the preview shows the first %d of %d videos", MAX_VIDEOS, len(videos))
    following = None
    if follow:
        filmed = _probe_all(videos, found, stream) if follow_size is None else []
        side = follow_size or measure_side(filmed, size=size, stream=stream)
        points = regions.points if isinstance(regions, TrackFolder) else None
        following = Following(side, min(size) if size else side, points)
    rows, strips = [], []
    if isinstance(regions, TrackFolder):
        videos = [*found]
    for video in Bar(videos[:MAX_VIDEOS], desc="looking", unit="video", quiet=quiet):
        try:
            with contained(video, with_disk=True):
                if following is None:
                    rows.append(_look_at(video, found.get(video, ()), size, stream))
                else:
                    strips += _follow(video, found.get(video, (None,)), size, stream, following)
        except InputError as error:
            problems += error.problems
    problems = logged(problems, path.with_name(f"{path.name}.{LOG_NAME}"))
    if not rows and not strips:
        raise InputError(problems)
    with atomic_path(path) as temporary:
        figure = plot_following(strips) if strips else plot_preview(rows)
        figure.savefig(temporary, format="png", dpi=150)
    return problems


def _probe_all(
    videos: Sequence[Path], regions: Mapping[Path, Sequence[Region]], stream: int | None
) -> list[Filmed]:
    """Return the properties of all videos that can be opened."""
    filmed = []
    for video in videos:
        with contextlib.suppress(InputError):  # reported when it is drawn
            info = probe_video(video, stream=stream)
            mine = regions.get(video, (None,))
            filmed.append(Filmed(video, info, [sized(r, info.height, info.width) for r in mine]))
    return filmed


def _follow(
    video: Path,
    regions: Sequence[Region | None],
    size: tuple[int, int] | None,
    stream: int | None,
    following: Following,
) -> list[FollowRow]:
    """Return the strip of each animal of a video."""
    info = probe_video(video, stream=stream)
    regions = [sized(region, info.height, info.width) for region in regions]
    decoding = Decoding(video, size=size, stream=stream, regions=regions, following=following)
    views = itertools.islice(decoding.views(), _NUM_FRAMES)
    seen = [[view.seen for view in one] for one in views]
    rows = []
    for number, (region, squares) in enumerate(zip(regions, decoding.squares, strict=True)):
        even = np.linspace(0, len(squares) - 1, _NUM_EVEN).astype(int).tolist()
        whole = Decoding(video, stream=stream, regions=[region])
        pictures = list(take(itertools.islice(whole, even[-1] + 1), np.array(even)))
        places = _find_extremes(squares)
        rows.append(
            FollowRow(
                name=video.name if region is None else f"{video.name}, {region.animal}",
                frames=tuple(
                    Shown(f"frame {i}", picture, squares[i])
                    for i, picture in zip(even, pictures, strict=True)
                ),
                cuts=tuple(
                    Shown(f"{what}: frame {i}", seen[i][number], squares[i])
                    for what, i in places.items()
                ),
                side=following.side,
            )
        )
    return rows


def _find_extremes(squares: Sequence[Square]) -> dict[str, int]:
    """Return the frames in which the animal is smallest and largest, and was seen least clearly."""
    evidence = np.array([square.evidence for square in squares])
    lengths = np.array([square.length if square.evidence else np.nan for square in squares])
    if np.isnan(lengths).all():
        return {"nothing seen": 0}
    return {
        "smallest": int(np.nanargmin(lengths)),
        "largest": int(np.nanargmax(lengths)),
        "least sure": int(evidence.argmin()),
    }


def _look_at(
    video: Path, regions: Sequence[Region], size: tuple[int, int] | None, stream: int | None
) -> PreviewRow:
    """Return the median frame of a video, and the regions of its middle sampled frame."""
    decoding = Decoding(video, stream=stream)
    frames = [*itertools.islice(decoding, 0, _NUM_FRAMES, _EVERY)]
    height, width = frames[0].shape
    beyond = [region for region in regions if not region.is_inside(height, width)]
    if beyond:
        raise InputError(
            Problem.of(
                video,
                "region",
                f"its region {region} extends beyond its picture of {width}x{height} px",
            )
            for region in beyond
        )
    whole = Region("", 0, 0, width, height)
    middle = frames[len(frames) // 2]
    to_grey = GreyConverter(size)
    cuts = [to_grey.cut(middle, False, UPRIGHT, region) for region in regions or (whole,)]
    return PreviewRow(video.name, np.median(frames, axis=0), tuple(regions), tuple(cuts))
