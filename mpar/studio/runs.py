"""What training left in a study: read from the files of the runs, computed nowhere else."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import Any

from mpar.studio.study import Study, shown
from mpar.system.files import parse_json, read_rows, sha256_of

_SHOWN_OPTIONS = ("model_type", "num_epochs", "minutes", "view", "features", "clip_length")


def list_runs(study: Study, in_use: str) -> list[dict[str, Any]]:
    """Return the runs of a study, the newest first; `in_use` is the one that predicts, or ""."""
    folders = sorted(study.runs.iterdir(), reverse=True) if study.runs.is_dir() else []
    trained = study.trained_runs()
    return [
        _summary(study, folder, has_network=folder.name in trained)
        | {"is_in_use": folder.name == in_use}
        for folder in folders
        if (folder / "config.json").is_file() or folder.name in trained
    ]


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file of a run holds; nothing if it is not there or not whole."""
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _summary(study: Study, folder: Path, *, has_network: bool) -> dict[str, Any]:
    metrics = read_json(folder / "evaluation" / "metrics.json")
    scores, intervals = metrics.get("scores", {}), metrics.get("intervals", {})
    responses = metrics.get("responses", [])
    training = read_json(folder / "config.json").get("training", {})
    recalls = [scores["classes"][name]["recall"] for name in responses] if scores else []
    known = [recall for recall in recalls if recall is not None]
    parts = _parts(folder)
    return {
        "name": folder.name,
        "options": {name: training.get(name) for name in _SHOWN_OPTIONS},
        "has_network": has_network,
        "resume": ["--resume", str(folder)],
        "resume_line": shown(["mpar-train", str(study.folder), "--resume", str(folder)]),
        "is_finished": bool(metrics),
        "can_continue": (folder / "last.pt").is_file() and not metrics,
        "parts": {name: len(found) for name, found in parts.items()},
        "tested_on": sorted(parts["test"]),
        "history": history_of(folder),
        "macro_f1": scores.get("macro_f1"),
        "interval": intervals.get("macro_f1"),
        "num_animals": intervals.get("num_animals"),
        "recall": sum(known) / len(known) if known else None,
        "verdict": metrics.get("baselines", {}).get("verdict", ""),
        "num_predicted": len([*study.predictions(folder.name).glob("*_predictions.json")]),
    }


def _parts(folder: Path) -> dict[str, list[str]]:
    """Return the recordings in each part of the split."""
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    with contextlib.suppress(OSError, ValueError):
        for row in read_rows(folder / "split.csv")[1:]:
            if row and row[-1] in parts:
                parts[row[-1]].append(row[0])
    return parts


def history_of(folder: Path) -> list[dict[str, float | None]]:
    """Return of each epoch its loss, macro-F1, seconds and frames a second."""
    names = {
        "epoch": "Epoch",
        "loss": "Train_loss",
        "val_loss": "Val_loss",
        "macro_f1": "Val_macro_F1",
        "seconds": "Seconds",
        "frames_a_second": "Frames_per_second",
    }
    try:
        header, *rows = read_rows(folder / "metrics.csv")
    except (OSError, ValueError):
        return []
    found = []
    for row in rows:
        cells = dict(zip(header, row, strict=False))
        found.append({key: _number(cells.get(name, "")) for key, name in names.items()})
    return found


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def report_of(study: Study, name: str) -> dict[str, Any]:
    """Return the evaluation of a run as its files hold it; ValueError if there is no such run.

    It is empty as long as the run was not evaluated.
    """
    folder = study.runs / name
    if name not in [run.name for run in (study.runs.iterdir() if study.runs.is_dir() else ())]:
        raise ValueError(f"found no run {name[:60]!r}")
    metrics = read_json(folder / "evaluation" / "metrics.json")
    if not metrics:
        return {}
    names = metrics["scores"]["class_names"]
    ethograms = sorted((folder / "evaluation" / "ethograms").glob("*.png"))
    page = folder / "evaluation" / "report.html"
    return {
        "name": name,
        "classes": names,
        "responses": metrics["responses"],
        "scores": {key: metrics["scores"][key] for key in ("macro_f1", "accuracy", "classes")},
        "confusion": metrics["scores"]["confusion"],
        "intervals": metrics["intervals"],
        "baselines": metrics["baselines"],
        "warning": metrics["warning"],
        "notes": metrics["notes"],
        "selection": metrics.get("selection", ""),
        "num_recordings": len(metrics["recordings"]),
        "disagreements": metrics.get("disagreements", []),
        "ethograms": [path.relative_to(study.folder).as_posix() for path in ethograms],
        "page": page.relative_to(study.folder).as_posix() if page.is_file() else "",
    }


def is_outdated(study: Study, run: str) -> bool:
    """Return True if a run went on after it predicted, so that its network is another now."""
    # mpar-predict never mixes networks in a folder, so one prediction tells
    sidecar = next(study.predictions(run).glob("*_predictions.json"), None)
    if sidecar is None:
        return False
    known = read_json(sidecar).get("checkpoint_sha256")
    try:
        network = study.best_network(run)
        state = network.stat()
        return known != _digest_of(network, state.st_size, state.st_mtime_ns)
    except (OSError, ValueError):
        return False


@functools.lru_cache(maxsize=64)
def _digest_of(path: Path, _size_bytes: int, _mtime_ns: int) -> str:
    return sha256_of(path)


def num_scored_since(study: Study, run: str) -> int:
    """Return how many label files are newer than the beginning of a run."""
    try:
        begin = (study.runs / run / "config.json").stat().st_mtime
    except OSError:
        return 0
    found = study.annotations.glob("*.csv") if study.annotations.is_dir() else ()
    return sum(path.stat().st_mtime > begin for path in found)


def drift_of(study: Study, run: str) -> list[dict[str, Any]]:
    """Return the warnings about the videos that a run predicted, each with its videos."""
    videos: dict[str, list[str]] = {}
    for path in sorted(study.predictions(run).glob("*_predictions.json")):
        sidecar = read_json(path)
        for warning in sidecar.get("warnings", []):
            videos.setdefault(str(warning), []).append(str(sidecar.get("video", path.name)))
    return [{"text": text, "videos": names} for text, names in videos.items()]


def summarized_run(study: Study) -> str:
    """Return the run whose predictions the summary is of, "" without a summary."""
    settings = read_json(study.results / "summary" / "settings.json")
    return Path(str(settings.get("predictions", ""))).name


def is_summary_old(study: Study) -> bool:
    """Return True if the predictions of the summary were made anew after it."""
    try:
        made = (study.results / "summary" / "settings.json").stat().st_mtime
        found = study.predictions(summarized_run(study)).glob("*_predictions.csv")
        return any(path.stat().st_mtime > made for path in found)
    except OSError:
        return False


def estimate_of(study: Study) -> dict[str, Any]:
    """Return the result of the estimate in ``checks/estimate.json``; empty without one."""
    found = read_json(study.checks / "estimate.json")
    return found.get("result") or {}
