"""What a study found: its files to look at and to take away, a methods paragraph, an archive."""

from __future__ import annotations

import datetime
import hashlib
import platform
import zipfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import mpar
from mpar.errors import ConfigError, counted
from mpar.studio.runs import is_outdated, read_json, report_of
from mpar.studio.study import FILE_NAME, Study
from mpar.system.files import atomic_path, read_rows
from mpar.system.folders import find_files
from mpar.system.progress import Bar

# what the page may send; other files of the study stay where they are
SENT = {
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".pdf": "application/pdf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".boris": "application/json",
    ".annot": "text/plain; charset=utf-8",
    ".nwb": "application/octet-stream",
    ".mp4": "video/mp4",
    ".zip": "application/zip",
}
_TABLES = ("classes.csv", "regions.csv", "animals.csv", "stimuli.csv")
_OF_RUN = ("config.json", "metrics.csv", "split.csv")
_BLOCK = 1 << 20


def list_results(study: Study) -> list[str]:
    """Return the files that the page may send, by their path in the study."""
    folders = [
        study.results,
        study.checks,
        *(study.runs / name / "evaluation" for name in study.trained_runs()),
    ]
    known = [folder for folder in folders if folder.is_dir()]
    found = find_files(known, SENT) if known else []
    return [path.relative_to(study.folder).as_posix() for path in found]


def _range(ends: list[float] | None) -> str:
    return f" (95 % interval {ends[0]:.2f} to {ends[1]:.2f})" if ends else ""


def methods_text(study: Study) -> str:
    """Return a paragraph for the methods of a paper, from the files of the run in use.

    Raises
    ------
    ConfigError
        There is no network yet.
    """
    run = study.run_in_use()
    if is_outdated(study, run):
        return "The network has gone on since it predicted: predict again, then copy this."
    folder = study.runs / run
    training = read_json(folder / "config.json").get("training", {})
    try:
        parts = Counter(row[-1] for row in read_rows(folder / "split.csv")[1:] if row)
    except (OSError, ValueError):
        parts = Counter()
    best, report = study.best_network(run), report_of(study, run)
    predicted = [read_json(p) for p in sorted(study.predictions(run).glob("*_predictions.json"))]
    sentences = [
        f"Behaviour was scored frame by frame with mpar {mpar.__version__} (Python "
        f"{platform.python_version()}, PyTorch {version('torch')})."
    ]
    if training:
        size = predicted[0].get("frame_size") if predicted else None
        shown = f", pictures of {size[1]} × {size[0]} px" if size else ""
        kind = training["model_type"]
        network = (
            "A model of movement and image features"
            if kind == "none"
            else f"A 3D convolutional network ({kind}, clips of {training['clip_length']} "
            f"frames{shown})"
        )
        sentences.append(
            f"{network} learnt from {counted(parts['train'], 'recording')} scored by hand; "
            f"{counted(parts['val'], 'other')} chose the best epoch "
            f"({best.stem.rpartition('epoch')[2]}), and {parts['test']} of animals that took no "
            f"part in either {'served as the test' if report else 'are held out for a test'} "
            f"(seed {training['seed']})."
        )
    if report:
        interval = report["intervals"]
        text = f"On {counted(report['num_recordings'], 'recording')} held out, the macro-F1 over "
        scored = [name for name, of in report["scores"]["classes"].items() if of["support"]]
        of_all = f" of {len(report['classes'])}" if len(scored) < len(report["classes"]) else ""
        text += f"{len(scored)}{of_all} classes was {report['scores']['macro_f1']:.2f}"
        text += _range(interval["macro_f1"])
        recalls = []
        for name in report["responses"]:
            recall = report["scores"]["classes"][name]["recall"]
            if recall is not None:
                ends = interval["classes"].get(name, {}).get("recall")
                recalls.append(f"{name} {recall:.2f}{_range(ends)}")
        more = f"; recall of {', '.join(recalls)}" if recalls else ""
        method = f" Intervals: {interval['method']}, {interval['num_resamples']:,} resamples."
        method = method if interval["macro_f1"] else ""
        sentences.append(f"{text}{more}.{method} {report['baselines']['verdict']}")
    if predicted:
        num_frames = sum(item.get("num_frames", 0) for item in predicted)
        digest = str(predicted[0].get("checkpoint_sha256", ""))[:12]
        sentences.append(
            f"This network (SHA-256 {digest}…) scored {counted(len(predicted), 'recording')} "
            f"({num_frames:,} frames)."
        )
    settings = read_json(study.results / "summary" / "settings.json")
    if settings:
        chosen = [f"bins of {settings['bin']}"] if settings.get("bin") else []
        chosen += [f"the window {window}" for window in settings.get("windows", [])]
        groups = " / ".join(settings.get("group_by") or []) or "the column group, if there is one"
        sentences.append(
            "Seconds, bouts and latencies were computed for each animal"
            + (f" in {', '.join(chosen)}" if chosen else "")
            + f", with groups by {groups}."
        )
    return " ".join(sentences)


def _archived(study: Study) -> list[Path]:
    """Return the files that make a result repeatable; videos, cache and other runs stay out."""
    run = study.run_in_use()
    folders = [study.annotations, study.predictions(run), study.results, study.checks]
    folders.append(study.runs / run / "evaluation")
    files = [study.folder / name for name in (FILE_NAME, *_TABLES)]
    files += [study.runs / run / name for name in _OF_RUN] + [study.best_network(run)]
    for folder in folders:
        files += sorted(folder.rglob("*")) if folder.is_dir() else []
    return [
        path
        for path in files
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".zip"
    ]


def write_archive(study: Study, *, quiet: bool = True) -> Path:
    """Write a study without videos to one file, ``results/NAME_YYYYMMDD_HHMMSS.zip``.

    It holds study.json, the tables, label files, the run in use, its predictions, the results, the
    methods paragraph, and ``SHA256SUMS`` with a checksum of each file.

    Raises
    ------
    ConfigError
        There is no network yet.
    """
    now = datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
    name = study.folder.resolve().name
    path = study.results / f"{name}_{now}.zip"
    if path.exists():
        raise ConfigError(f"{path}: is there already; wait a second")
    files, sums = _archived(study), []
    total = sum(file.stat().st_size for file in files)
    with atomic_path(path) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
        with Bar(total=total, unit="byte", desc="archive", quiet=quiet) as bar:
            for file in files:
                place = file.relative_to(study.folder).as_posix()
                digest = hashlib.sha256()
                info = zipfile.ZipInfo.from_file(file, f"{name}/{place}", strict_timestamps=False)
                info.compress_type = zipfile.ZIP_DEFLATED
                with file.open("rb") as source, archive.open(info, "w") as target:
                    while block := source.read(_BLOCK):
                        digest.update(block)
                        target.write(block)
                        bar.update(len(block))
                sums.append(f"{digest.hexdigest()}  {place}\n")
        methods = methods_text(study) + "\n"
        sums.append(f"{hashlib.sha256(methods.encode()).hexdigest()}  methods.txt\n")
        archive.writestr(f"{name}/methods.txt", methods)
        archive.writestr(f"{name}/SHA256SUMS", "".join(sums))
    return path
