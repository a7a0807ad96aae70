"""List the files in a folder that mpar reads, and warn about those that it ignores."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from mpar.errors import ConfigError

log = logging.getLogger(__name__)

Folders: TypeAlias = Path | str | Sequence[Path | str]

_PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
_MIN_PICTURES = 10  # fewer pictures in a folder are figures, not a film
# other kinds of files, and what to do with them
_WAYS_OUT = {
    ".seq": "sequences of StreamPix or Norpix: export them as .avi or .mp4",
    ".part": "unfinished downloads: finish them",
    ".crdownload": "unfinished downloads: finish them",
    ".tmp": "unfinished files: finish the copy",
    ".xlsx": "workbooks: save them as 'CSV UTF-8'",
    ".xls": "workbooks: save them as 'CSV UTF-8'",
    ".ods": "workbooks: save them as CSV",
    ".mat": "MATLAB files: save the labels as CSV",
    ".zip": "archives: unpack them",
    ".7z": "archives: unpack them",
    ".gz": "archives: unpack them",
    ".rar": "archives: unpack them",
    ".tar": "archives: unpack them",
    ".gif": "animated pictures: convert them to .mp4",
    ".ivf": "convert them to .mp4",
    ".mjpeg": "convert them to .mp4",
    ".mjpg": "convert them to .mp4",
    ".rm": "convert them to .mp4",
    ".265": "convert them to .mp4",
    ".264": "rename them to .h264, or convert them to .mp4",
    ".raw": "raw frames: convert them to .avi or .mp4",
    ".bin": "raw frames: convert them to .avi or .mp4",
    ".mp4v": "rename them to .mp4",
    ".insv": "convert them to .mp4",
}
_HIDDEN = (".", "~$")  # programs lock an open workbook with a file ~$...
# files of the system and of mpar, without a warning
_NOT_NOTABLE = (
    "thumbs.db",
    "desktop.ini",
    "_predictions.json",
    ".h5",
    "estimate.json",
    "estimate.html",
    "errors.log",
)


def list_folders(folders: Folders) -> list[Path]:
    """Return one or several folders as a list."""
    return [Path(folders)] if isinstance(folders, (str, Path)) else [*map(Path, folders)]


def find_files(folders: Folders, suffixes: Iterable[str]) -> list[Path]:
    """List the files below one or several folders with these suffixes (any case), by path.

    This skips hidden files and folders, and does not follow links to folders. ConfigError if a
    folder does not exist, or cannot be listed.
    """
    suffixes = set(suffixes)
    found: set[Path] = set()
    for folder in list_folders(folders):
        if not folder.is_dir():
            raise ConfigError(f"{folder}: is not a folder; check the path")
        for parent, inside, names in os.walk(folder, onerror=_refuse_folder):
            inside[:] = [name for name in inside if not name.startswith(".")]
            found |= {
                Path(parent, name)
                for name in names
                if not name.startswith(_HIDDEN) and Path(name).suffix.lower() in suffixes
            }
    return sorted(found)


def _refuse_folder(error: OSError) -> None:
    raise ConfigError(
        f"{error.filename}: cannot be listed ({error.strerror}); allow reading it, or move it "
        "elsewhere"
    ) from None


def warn_of_unread(
    endings: Iterable[str],
    *folders: Path | str,
    is_read: Callable[[Path], bool] | None = None,
    name: Callable[[Path], str] | None = None,
) -> None:
    """Warn about each kind of file below `folders` that mpar ignores (`describe_unread`)."""
    endings = [*endings]
    different = {Path(folder).resolve(): folder for folder in folders}
    for folder in different.values():
        for line in describe_unread(folder, endings, is_read=is_read, name=name):
            log.warning("%s", line)


def describe_unread(
    folder: Path | str,
    endings: Iterable[str],
    *,
    is_read: Callable[[Path], bool] | None = None,
    name: Callable[[Path], str] | None = None,
) -> list[str]:
    """Describe the files below `folder` that mpar ignores, by kind.

    `endings`, in lower case, are those of files that mpar reads or expects beside them; `is_read`
    tells further ones by their content; `name` names the program that wrote a file, with advice. A
    line reads ``2 .seq files are not read (m1.seq, m2.seq): sequences of ...``
    """
    folder, known = Path(folder), (*endings, *_NOT_NOTABLE)
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    lines = []
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = [name for name in sorted(names) if not name.startswith(_HIDDEN)]
        # a JSON file that says how a table came about, as mpar-review writes it
        shown = [file for file in shown if file.removesuffix(".json") + ".csv" not in shown]
        pictures = [name for name in shown if Path(name).suffix.lower() in _PICTURES]
        if len(pictures) >= _MIN_PICTURES:
            lines.append(
                f"the {len(pictures)} pictures in {Path(parent).name} are not read "
                f"({pictures[0]} ...): make a video of them, one frame per picture"
            )
            shown = [name for name in shown if name not in pictures]
        for file in shown:
            path = Path(parent, file)
            if file.lower().endswith(known) or (is_read is not None and is_read(path)):
                continue
            suffix = path.suffix.lower()
            program = name(path) if name is not None else ""
            kinds[suffix, program or _WAYS_OUT.get(suffix, "")].append(file)
    for (suffix, advice), found in sorted(kinds.items()):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        kind = suffix or "other"
        count = f"1 {kind} file is" if len(found) == 1 else f"{len(found)} {kind} files are"
        way_out = f": {advice}" if advice else ""
        lines.append(f"{count} not read ({', '.join(found[:3])}{more}){way_out}")
    return [f"{folder.name or folder}: {line}" for line in lines]
