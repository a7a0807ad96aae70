"""The two files of a scored recording: ``NAME_<annotator>.csv``, and how it came about as JSON.

The CSV is what mpar reads. The JSON file is written first and says which CSV belongs to it, so that
a process that is killed between the two leaves a state that the next one completes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

import mpar
from mpar.errors import InputError
from mpar.formats.annotations import read_annotation
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import Scoring
from mpar.reviewer.history import ACCEPTED, SCORED, Change, Lane, find_spans
from mpar.system import files
from mpar.system.files import is_there, parse_json, remove_temporaries, write_text

FORMAT, VERSION = "mpar-review", 1
_BLOCK_ROWS = 2048


def now() -> str:
    """Return the time in UTC as text, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class ScoringFiles:
    """Where a scorer's lane of one recording is stored.

    Parameters
    ----------
    folder : Path
        The output folder.
    name : str
        Of the recording.
    annotator : str
        Who scores.
    class_map : ClassMap
        The codes.
    is_blind : bool
        Whether the scorer sees neither predictions nor the labels of others.
    """

    folder: Path
    name: str
    annotator: str
    class_map: ClassMap
    is_blind: bool = False
    _blocks: dict[int, tuple[bytes, str]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def table(self) -> Path:
        """The CSV."""
        return self.folder / f"{self.name}_{self.annotator}.csv"

    @property
    def record(self) -> Path:
        """The JSON file."""
        return self.folder / f"{self.name}_{self.annotator}.json"

    def check(self) -> None:
        """Refuse files that this scorer cannot continue, as far as that shows without the video."""
        data = self._read_record()
        if data is None and is_there(self.table):
            self._read_table()

    def labelled(self) -> list[tuple[int, int]]:
        """Return the stretches that have a code, half-open; none if the files are not sound."""
        try:
            data = self._read_record()
            if data is not None:
                return [(int(start), int(stop)) for start, stop, *_ in data["runs"]]
            if is_there(self.table):
                return find_spans(self._read_table().codes != UNLABELLED)
        except (InputError, KeyError, TypeError, ValueError):
            pass
        return []

    def corrected(self) -> list[str]:
        """Return the names of the label files that this scoring corrects."""
        data = self._read_record() or {}
        return [str(name) for name in data.get("corrects", [])]

    def load(self, num_frames: int) -> Lane:
        """Read the lane, or return an empty one; InputError if the files do not fit."""
        if self.folder.is_dir():
            for path in (self.table, self.record):
                remove_temporaries(self.folder, path)
        data = self._read_record()
        lane = Lane.empty(num_frames) if data is None else self._lane_of(data, num_frames)
        if not is_there(self.table):
            if data is not None and data["csv"] and data["csv_before"]:
                raise InputError.of(
                    self.table,
                    "missing-file",
                    f"is missing, expected it beside {self.record.name}; put it back, or remove "
                    "both",
                )
            return lane
        digest = _digest(self.table.read_bytes())
        if data is not None and digest in {data["csv"], data["csv_before"]}:
            return lane  # the second: a process was killed before it wrote the CSV
        codes = self._fitting(self._read_table(), num_frames)
        lane.write("file", 0, codes, SCORED, at=now(), by="the CSV as it was found")
        return lane

    def save(self, lane: Lane, about: Mapping[str, Any]) -> None:
        """Write both files; the CSV only if a frame has a code or had one.

        `about` holds plain values for the JSON file.
        """
        text = self._text_of(lane) if lane.changes or lane.undone or is_there(self.table) else ""
        data = text.encode()
        current = self.table.read_bytes() if is_there(self.table) else b""
        record = {
            "format": FORMAT,
            "format_version": VERSION,
            "mpar_version": mpar.__version__,
            "recording": self.name,
            "annotator": self.annotator,
            "is_blind": self.is_blind,
            "saved": now(),
            "num_frames": len(lane.codes),
            **about,
            "class_map": self.class_map.to_dict(),
            "csv": _digest(data),
            "csv_before": _digest(current),
            "revision": lane.revision,
            "seen": find_spans(lane.seen),
            "accepted": find_spans(lane.how == ACCEPTED),
            "scored": find_spans(lane.how == SCORED),
            "runs": [run for run in lane.runs() if run[2] != UNLABELLED],
        }
        write_record(self.record, record, history=lane.changes, undone=lane.undone)
        if data != current:
            write_text(self.table, text)

    def _text_of(self, lane: Lane) -> str:
        """Return the CSV; only blocks of rows that changed since the last call are made anew."""
        texts = ["Frame,Action\n"]
        for start in range(0, len(lane.codes), _BLOCK_ROWS):
            codes = lane.codes[start : start + _BLOCK_ROWS]
            key = codes.tobytes()
            before, text = self._blocks.get(start, (b"", ""))
            if before != key:
                text = self._rows_of(start, codes.tolist())
                self._blocks[start] = key, text
            texts.append(text)
        return "".join(texts)

    def _rows_of(self, start: int, codes: list[int]) -> str:
        names = {code: self.class_map.name_of(code) for code in {*codes} - {UNLABELLED}}
        names[UNLABELLED] = str(UNLABELLED)
        return "".join(f"{i},{names[code]}\n" for i, code in enumerate(codes, start))

    def _read_table(self) -> Scoring:
        scoring = read_annotation(self.table, self.class_map)
        if scoring.frames[0] != 0:
            raise InputError.of(
                self.table,
                "frame-numbers",
                f"starts at frame {scoring.frames[0]}, expected 0; choose another --annotator",
            )
        return scoring

    def _fitting(self, scoring: Scoring, num_frames: int) -> np.ndarray:
        if len(scoring.codes) != num_frames:
            raise InputError.of(
                self.table,
                "row-count",
                f"has {len(scoring.codes)} rows, expected one for each of {num_frames} frames; "
                "choose another --annotator",
            )
        return scoring.codes

    def _read_record(self) -> dict[str, Any] | None:
        """Return what the JSON file says, None if there is none."""
        try:
            data = parse_json(self.record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            data = None
        missing: list[str] = []
        try:
            if data["format"] != FORMAT or data["format_version"] != VERSION:
                raise KeyError
            class_map = ClassMap.from_dict(data["class_map"])
            _ = int(data["num_frames"]), str(data["csv"]), str(data["csv_before"])
            if not class_map.labels_alike(self.class_map):
                missing = self._carry_over(data, class_map)
        except (LookupError, TypeError, ValueError):  # ConfigError is one
            raise InputError.of(
                self.record,
                "damaged",
                "is damaged or was not written by this version of mpar-review; move it and its CSV "
                "away, or choose another --annotator",
            ) from None
        if missing:
            raise InputError.of(
                self.record,
                "other-classes",
                f"has labels or edits of {', '.join(missing)}, which the class map lacks; give it "
                "such a row again, or choose another --annotator",
            )
        return data

    def _carry_over(self, data: dict[str, Any], before: ClassMap) -> list[str]:
        """Give each label the code that its name has now; return the names that are no more."""
        changes = [*data["history"], *data["undone"]]
        runs = [*data["runs"], *(run for c in changes for run in (*c["before"], *c["after"]))]
        names = {run[2]: before.name_of(run[2]) for run in runs if run[2] != UNLABELLED}
        codes = {name: code for code, name, _ in self.class_map.rows}
        if missing := sorted({*names.values()} - {*codes}):
            return missing
        for run in runs:
            if run[2] != UNLABELLED:
                run[2] = codes[names[run[2]]]
        return []

    def _check_blindness(self, data: dict[str, Any]) -> None:
        """Refuse to go on in the other way: of one file, all labels correct others, or none do."""
        was_blind = bool(data.get("is_blind", self.is_blind))
        is_begun = any(data.get(name) for name in ("runs", "history", "undone"))
        if is_begun and was_blind != self.is_blind:
            way = "with" if was_blind else "without"
            raise InputError.of(
                self.record,
                "blind",
                f"was scored {way} --blind from its first frame on; start {way} --blind, or choose "
                "another --annotator (in mpar-studio: 'Blind' and 'Who scores' above the table of "
                "videos)",
            )

    def _lane_of(self, data: dict[str, Any], num_frames: int) -> Lane:
        self._check_blindness(data)
        if data["num_frames"] != num_frames:
            raise InputError.of(
                self.record,
                "row-count",
                f"is about {data['num_frames']} frames, but the video has {num_frames}; choose "
                "another --annotator",
            )
        try:
            lane = Lane.empty(num_frames)
            lane.put(tuple(map(int, run)) for run in data["runs"])  # type: ignore[misc]
            for start, stop in data["seen"]:
                lane.seen[start:stop] = True
            lane.changes = [Change.from_dict(item) for item in data["history"]]
            lane.undone = [Change.from_dict(item) for item in data["undone"]]
            lane.revision = int(data["revision"])
            self.class_map.merge(lane.codes)
        except (KeyError, TypeError, ValueError):
            raise InputError.of(
                self.record,
                "damaged",
                "is damaged; move it and its CSV away, or choose another --annotator",
            ) from None
        return lane


def write_record(path: Path, record: Mapping[str, Any], **changes: list[Change]) -> None:
    """Write the JSON file of a scoring, one edit a line.

    Each edit is turned into text once, so that a long history does not hold up the next edit.
    """
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for key, value in record.items()
    ]
    for name, items in changes.items():
        edits = ",\n".join(item.to_json() for item in items)
        lines.append(f'"{name}": [\n{edits}\n]')
    files.write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if data else ""
