"""The options for reading labels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mpar.errors import ConfigError
from mpar.formats.registry import AUTO, READABLE

SEVERAL = TRIALS, ANNOTATORS, PARTS = "trials", "annotators", "parts"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelOptions:
    """How label files are read, and whose labels they are.

    Parameters
    ----------
    group_pattern : str, optional
        Regular expression that finds the animal's id in a video's file name: its first group,
        or the whole match. By default, each video counts as one animal.
    several : {"trials", "annotators", "parts"}, optional
        How to read several scorings of one video. By default, row counts tell trials from
        annotators, and scorings that share no behaviour or no time are parts of one. Trials are
        consecutive pieces whose rows add up to the video; annotators each have as many rows as
        the video.
    label_offset : int, optional
        Frame of the first row of a label file that is too short. Frames without a row are
        unlabelled.
    label_format : str
        Format of the label files, a key of `mpar.formats.registry.FORMATS` or "mpar"; by default
        mpar recognises each file by its content.
    channel : str, optional
        The channel (MARS/Bento), tier (ELAN) or class (CowLog) to read of files with several.
    unscored : str, optional
        Class of frames in which another program scored no behaviour; by default they stay
        unlabelled, and a warning counts them.
    """

    group_pattern: str | None = None
    several: str | None = None
    label_offset: int | None = None
    label_format: str = AUTO
    channel: str | None = None
    unscored: str | None = None

    def __post_init__(self) -> None:
        if self.several is not None and self.several not in SEVERAL:
            raise ConfigError(f"several: found {self.several!r}, expected one of {SEVERAL}")
        if self.label_format not in READABLE:
            raise ConfigError(
                f"label_format: found {self.label_format!r}, expected one of {READABLE}"
            )
        if self.label_offset is not None and self.label_offset < 0:
            raise ConfigError(f"label_offset: found {self.label_offset}, expected 0 or more")
        if self.group_pattern is not None:
            try:
                re.compile(self.group_pattern)
            except re.error as error:
                raise ConfigError(
                    f"group_pattern: {self.group_pattern!r} is not a regular expression ({error})"
                ) from None


DEFAULT_OPTIONS = LabelOptions()
