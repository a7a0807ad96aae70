"""Write predictions to files.

For a recording NAME a folder gets ``NAME_predictions.csv`` (one row per frame),
``NAME_predictions.json`` (how they were made), ``NAME_bouts.csv``, and a row in ``summary.csv``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mpar
from mpar.errors import ConfigError
from mpar.labels.bouts import bout_table, summarize
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import Recording
from mpar.predictions.postprocess import PostConfig
from mpar.system.files import (
    json_text,
    locked,
    read_rows,
    table_text,
    write_rows,
    write_together,
)

ACTION_FORMATS = ("name", "code")
SUMMARY_NAME = "summary.csv"
SUFFIX = "_predictions"
# files that mpar writes to a folder of predictions, which need no warning that mpar ignores them
OUTPUT_ENDINGS = (
    *("_predictions.csv", "_predictions.json", "_bouts.csv", "summary.csv", "by_animal.csv"),
    *("by_group.csv", ".png", ".pdf", ".html"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputConfig:
    """How predictions are written.

    Parameters
    ----------
    stride : int
        Write every `stride`-th frame; the network always sees all frames.
    min_confidence : float
        0 to 1; a frame whose best class is less probable stays unlabelled.
    action_format : {"name", "code"}
        Write the name of the class, or its first raw code.
    """

    stride: int = 1
    min_confidence: float = 0.0
    action_format: str = "name"

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ConfigError(f"stride: found {self.stride}, expected 1 or more")
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"min_confidence: found {self.min_confidence}, expected 0 to 1")
        if self.action_format not in ACTION_FORMATS:
            raise ConfigError(
                f"action_format: found {self.action_format!r}, expected one of {ACTION_FORMATS}"
            )


def output_paths(folder: Path, name: str) -> dict[str, Path]:
    """Return the files of one prediction: "predictions", "bouts" and "sidecar"."""
    return {
        "predictions": folder / f"{name}_predictions.csv",
        "bouts": folder / f"{name}_bouts.csv",
        "sidecar": folder / f"{name}_predictions.json",
    }


def write_prediction(
    folder: Path,
    prediction: Recording,
    class_map: ClassMap,
    config: OutputConfig,
    post: PostConfig,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the files of one prediction, all or none; return its row of the summary.

    The CSV comes last, as a sign that all are there. `post` and `provenance`, plain values that
    identify the network, go to the JSON file.
    """
    num_frames = prediction.num_frames
    confidence = prediction.confidence()[:: config.stride]
    labels = prediction.labels[:: config.stride]
    labels = np.where(confidence < config.min_confidence, np.int8(UNLABELLED), labels)
    paths = output_paths(folder, prediction.name)
    bouts = bout_table(
        labels,
        prediction.line,
        class_map.class_names,
        confidence=np.clip(confidence, 0, 1),
        stride=config.stride,
    )
    table = pd.DataFrame(
        {
            "Frame": np.arange(0, num_frames, config.stride),
            "Time": prediction.line.starts[:: config.stride],
            "Action": _actions(class_map, config.action_format)[labels],
            "Confidence": confidence,
            **{
                f"{name}_prob": prediction.probabilities[:: config.stride, k]
                for k, name in enumerate(class_map.class_names)
            },
        }
    )
    summary = {"video": prediction.name, "fps": float(prediction.line.fps or 0)} | summarize(
        labels, prediction.line, class_map.class_names, stride=config.stride
    )
    texts = {"bouts": table_text(bouts), "predictions": table_text(table)}
    how = {
        **provenance,
        **_sidecar(prediction, class_map, config, post),
        "summary": summary,
        "sha256": {kind: hashlib.sha256(text.encode()).hexdigest() for kind, text in texts.items()},
    }
    texts = {"sidecar": json_text(how), **texts}
    write_together({paths[kind]: text for kind, text in texts.items()})
    return summary


def _sidecar(
    prediction: Recording, class_map: ClassMap, config: OutputConfig, post: PostConfig
) -> dict[str, Any]:
    """Return how a prediction was made, and from what."""
    return {
        "mpar_version": mpar.__version__,
        "video": prediction.video,
        **prediction.line.to_dict(),
        "start_frame": prediction.start_frame,
        "video_num_frames": prediction.video_num_frames or prediction.num_frames,
        "region": prediction.region,
        "source_digest": prediction.source_digest,
        "stride": config.stride,
        "min_confidence": config.min_confidence,
        "action_format": config.action_format,
        "postprocessing": post.to_dict(),
        "class_map": class_map.to_dict(),
        "warnings": list(prediction.warnings),
        "drift": dict(prediction.drift),
        "learnt_part": prediction.learnt_part,
        "squares": None if prediction.squares is None else prediction.squares.to_dict(),
    }


def _actions(class_map: ClassMap, action_format: str) -> np.ndarray:
    """Return the text of each class index; the last one, for -1, is that of unlabelled frames."""
    names = class_map.class_names
    if action_format == "name":
        return np.array([*names, ""], dtype=object)
    return np.array([*(str(class_map.code_of_class(name)) for name in names), "-1"], dtype=object)


def check_summary(path: Path, class_names: Sequence[str]) -> None:
    """Raise ConfigError if the summary of a folder cannot take rows of these classes."""
    columns = ["video", "fps", *summarize([UNLABELLED], 1, class_names)]
    if _read_summary(path, columns) is None:
        raise ConfigError(
            f"{path}: is not a summary of the classes {', '.join(class_names)}; pass --overwrite "
            "to replace it, or choose another --output"
        )


def _read_summary(path: Path, columns: list[str]) -> dict[str, dict[str, str]] | None:
    """Return the rows of a summary by video; {} if there is no file, None if it is another file."""
    try:
        header, *rows = read_rows(path)
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    if header != columns or any(len(row) != len(columns) for row in rows):
        return None
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


def update_summary(path: Path, *rows: Mapping[str, Any]) -> None:
    """Add rows to the summary of a folder; they replace older rows of the same videos.

    Several processes may do this in one folder; each waits for its turn.
    """
    cells = [{key: _cell(value) for key, value in row.items()} for row in rows]
    with locked(path, patience_seconds=60):
        before = _read_summary(path, list(cells[0])) or {}
        known = before | {row["video"]: row for row in cells}
        if known != before:
            table = [list(known[name].values()) for name in sorted(known)]
            write_rows(path, [list(cells[0]), *table])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
