"""What mpar-review shows, and who scores."""

from __future__ import annotations

import getpass
import re
from dataclasses import dataclass
from pathlib import Path

from mpar.errors import ConfigError
from mpar.labels.classes import ClassMap
from mpar.matching.regions import RegionTable
from mpar.matching.tracks import TrackFolder

_ANNOTATOR = re.compile(r"[^\W\d_][\w-]{0,39}")
_RESERVED = {"predictions", "bouts", "labels"}  # ends of the names of other files of mpar


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewConfig:
    """What to show, and who scores.

    Parameters
    ----------
    annotator : str
        Name of the scorer, which becomes part of file names; by default the login name.
    class_map : ClassMap, optional
        By default that of the predictions, or mpar's.
    is_blind : bool
        Hide predictions and other scorers.
    is_estimate : bool
        Hand out the stretches of an estimate (`mpar.scores.estimate`), blind.
    regions : RegionTable or TrackFolder, optional
        Where the animals live, or their tracks; by default ``regions.csv`` in the output folder, if
        it exists.
    regions_path : Path, optional
        Where regions that are drawn on the page are saved; by default in the output folder.
    stream : int, optional
        Video stream to show, as in `mpar.video.videos.Decoding`.
    group_pattern : str, optional
        Finds the animal in the name of a recording; by default, each is an animal.
    """

    annotator: str = ""
    class_map: ClassMap | None = None
    is_blind: bool = False
    is_estimate: bool = False
    regions: RegionTable | TrackFolder | None = None
    regions_path: Path | None = None
    stream: int | None = None
    group_pattern: str | None = None

    def __post_init__(self) -> None:
        if self.annotator and (
            not _ANNOTATOR.fullmatch(self.annotator) or self.annotator.lower() in _RESERVED
        ):
            raise ConfigError(
                f"annotator: found {self.annotator!r}, expected a name of letters, digits, - and _ "
                f"that starts with a letter and is not {', '.join(sorted(_RESERVED))}"
            )


def login_name() -> str:
    """Return the user of this computer as an annotator; ConfigError if the name cannot be one."""
    try:
        name = re.sub(r"[^\w-]+", "-", getpass.getuser())
    except (KeyError, OSError, ImportError):
        name = ""
    if not _ANNOTATOR.fullmatch(name) or name.lower() in _RESERVED:
        raise ConfigError("annotator: found no login name that fits; pass --annotator NAME")
    return name
