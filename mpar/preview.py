"""Draw what a network will see of videos, before they are fully decoded."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.names import VIDEO_SUFFIXES
from mpar.matching.regions import RegionTable
from mpar.report.preview_plot import PreviewRow, plot_preview
from mpar.system.faults import LOG_NAME, contained, logged
from mpar.system.files import atomic_path
from mpar.system.folders import Folders, find_files, list_folders
from mpar.system.progress import Bar
from mpar.video.grey import UPRIGHT, GreyConverter
from mpar.video.regions import Region
from mpar.video.videos import Decoding

MAX_VIDEOS = 24
_NUM_FRAMES, _EVERY = 300, 12  # at the start of each video

log = logging.getLogger(__name__)


def preview(
    video_folder: Folders,
    path: Path | str,
    *,
    regions: RegionTable | None = None,
    size: tuple[int, int] | None = None,
    stream: int | None = None,
    overwrite: bool = False,
    quiet: bool = True,
) -> list[Problem]:
    """Draw each video with its regions, and what the network sees of them.

    Parameters
    ----------
    video_folder : Path, str or sequence of them
        Searched with its subfolders. The first 24 videos are drawn.
    path : Path or str
        The PNG to write.
    regions, size, stream
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
    which moves.
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
    rows = []
    for video in Bar(videos[:MAX_VIDEOS], desc="looking", unit="video", quiet=quiet):
        try:
            with contained(video, with_disk=True):
                rows.append(_look_at(video, found.get(video, ()), size, stream))
        except InputError as error:
            problems += error.problems
    problems = logged(problems, path.with_name(f"{path.name}.{LOG_NAME}"))
    if not rows:
        raise InputError(problems)
    with atomic_path(path) as temporary:
        plot_preview(rows).savefig(temporary, format="png", dpi=150)
    return problems


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
