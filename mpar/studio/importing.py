"""Label files on their way into a study: received, matched with the videos, and copied at last."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpar.errors import InputError, Problem
from mpar.formats.registry import ANNOTATION_SUFFIXES, POSSIBLE_SUFFIXES, format_of
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.labels.names import file_name
from mpar.matching.pairing import assign_label_files, is_label_file
from mpar.studio.study import Study
from mpar.studio.videos import KEPT
from mpar.system.faults import contained
from mpar.system.files import atomic_path

MAX_FILE_BYTES = 64 << 20
_SUFFIXES = (*ANNOTATION_SUFFIXES, *POSSIBLE_SUFFIXES)
# what this system cannot hold in a name; a video beside the label file may be named as oddly
_FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]' if os.name == "nt" else r"[/\x00-\x1f]")


class LabelImport:
    """Label files that were handed over and wait for a decision.

    They lie in a folder of their own until they are copied to the study's label files; what is
    there already is never replaced.

    Parameters
    ----------
    folder : Path
        The study.
    """

    def __init__(self, folder: Path) -> None:
        self.staged = folder / KEPT / "import"
        self._lock = threading.Lock()

    def receive(self, name: str, content: bytes) -> None:
        """Take a file in; ValueError if its name or its suffix is none of a label file."""
        name = file_name(name)
        suffix = Path(name).suffix.lower()
        if not name or name.startswith(".") or _FORBIDDEN.search(name) or len(name.encode()) > 200:
            raise ValueError(f"{name[:60]!r} cannot be the name of a label file; rename it")
        if suffix not in _SUFFIXES:
            raise ValueError(
                f"{name[:60]}: found {suffix or 'no suffix'}, expected a label file "
                f"({' '.join(_SUFFIXES)})"
            )
        with self._lock, atomic_path(self.staged / name, durable=False) as new:
            new.write_bytes(content)

    def clear(self) -> None:
        """Forget the files that wait."""
        with self._lock:
            shutil.rmtree(self.staged, ignore_errors=True)

    def _paths(self) -> list[Path]:
        found = self.staged.iterdir() if self.staged.is_dir() else ()
        return sorted(path for path in found if not path.name.startswith("."))

    def preview(
        self, study: Study, videos: Sequence[Path], problems: Sequence[Problem] = ()
    ) -> list[dict[str, Any]]:
        """Return of each file that waits its format, the videos it belongs to, and its problems.

        A file `can_copy` if it holds labels and no file of its name is there. `problems` are those
        found with all that wait, such as another number of rows than the video has frames.
        """
        path = study.table("classes.csv")
        class_map = DEFAULT_CLASS_MAP if path is None else ClassMap.from_csv(path)
        with self._lock:
            return [
                self._look_at(path, study, videos, class_map, problems) for path in self._paths()
            ]

    def _look_at(
        self,
        path: Path,
        study: Study,
        videos: Sequence[Path],
        class_map: ClassMap,
        found: Sequence[Problem],
    ) -> dict[str, Any]:
        name, matches = "", []
        problems: list[Problem] = []
        try:
            with contained(path, with_disk=True):
                name = format_of(path) if is_label_file(path) else ""
                sources, problems = assign_label_files([path], videos, class_map, warns=False)
                for source in sources:
                    problems += source.problems
                    for part in source.labels:
                        problems += part.problems
                        count = len(part.frames) or len(part.events)
                        unit = "frames" if part.is_by_frame else "events"
                        matches.append({"video": source.video.name, "count": count, "unit": unit})
        except InputError as error:
            problems = list(error.problems)
        known = {problem.message for problem in problems}
        problems += [p for p in found if p.path == path.name and p.message not in known]
        there = study.annotations / path.name
        state = "new"
        if there.exists():
            state = "same" if there.read_bytes() == path.read_bytes() else "taken"
        return {
            "name": path.name,
            "format": name,
            "matches": matches,
            "problems": [f"{problem} [{problem.code}]" for problem in problems],
            "state": state,
            "can_copy": state == "new" and bool(matches),
        }

    def copy(self, study: Study, names: Sequence[str]) -> list[str]:
        """Copy files to the label files of the study; return those that were copied.

        Files that are there already stay as they are.
        """
        copied = []
        with self._lock:
            for path in self._paths():
                target = study.annotations / path.name
                if path.name in names and not target.exists():
                    with atomic_path(target) as new:
                        shutil.copyfile(path, new)
                    copied.append(path.name)
        self.clear()
        return copied
