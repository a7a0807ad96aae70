"""Train on a cache, or on folders of videos and label files, and score what came of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mpar.cache.joined import Caches
from mpar.cache.store import Store
from mpar.errors import InputError
from mpar.evaluation import evaluate_checkpoint
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.learning.networks import run_curve, run_folds
from mpar.learning.recipe import named_recipe
from mpar.learning.runs import is_curve, is_folds
from mpar.learning.splits import (
    class_counts,
)
from mpar.learning.training import best_checkpoint, resume_training, train
from mpar.network.checkpoint import Checkpoint, load_checkpoint
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.scores.metrics import score_text
from mpar.system.team import is_leading
from mpar.system.text import text_table

__all__ = ["best_checkpoint", "finish_run", "resume_training", "train", "train_model"]


def train_model(
    video_dir: Path | str,
    annotation_dir: Path | str,
    output_dir: Path | str = "checkpoints",
    num_epochs: int | None = None,
    batch_size: int | None = None,
    clip_length: int | None = None,
    learning_rate: float | None = None,
    model_type: str | None = None,
    use_amp: bool | None = None,
    *,
    recipe: str = "mpar",
    class_map: ClassMap | Path | str | None = None,
    device: str = "auto",
    allow_problems: bool = False,
    quiet: bool = True,
    **options: Any,
) -> Path:
    """Train from folders: preprocess into ``output_dir/cache.h5`` (once), then train.

    Parameters
    ----------
    video_dir, annotation_dir : Path or str
        As for `mpar.preprocess.preprocess`.
    output_dir : Path or str
        Gets the cache and the run folder.
    num_epochs, batch_size, clip_length, learning_rate, model_type, use_amp
        As in `TrainConfig`; None takes the value of the recipe.
    recipe : {"mpar", "original"}
        Recipe of all options that are not given.
    class_map : ClassMap, Path or str, optional
        Map from codes and names to classes, or its CSV; by default as for `preprocess`.
    device : str
        As for `train`.
    allow_problems : bool
        Train on the good recordings if some are bad.
    quiet : bool
        Show no progress bars.
    **options
        Further fields of `TrainConfig`, and those of `mpar.preprocess.PreprocessConfig`: ``size``,
        ``group_pattern`` (without it each video counts as one animal), ``several``,
        ``label_offset``, ``label_format``, ``channel``, ``unscored``.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    InputError
        Videos or label files have problems; the error lists all of them.
    """
    options |= {
        "num_epochs": num_epochs,
        "batch_size": batch_size,
        "clip_length": clip_length,
        "learning_rate": learning_rate,
        "model_type": model_type,
        "use_amp": use_amp,
    }
    given = {name: value for name, value in options.items() if value is not None}
    of_cache = {field.name for field in dataclasses.fields(PreprocessConfig)} & given.keys()
    preprocess_config = PreprocessConfig(**{name: given.pop(name) for name in of_cache})
    config = named_recipe(recipe, **given)
    if class_map is None or isinstance(class_map, ClassMap):
        classes = class_map or DEFAULT_CLASS_MAP
    else:
        classes = ClassMap.from_csv(Path(class_map))
    cache_path = Path(output_dir) / "cache.h5"
    report = preprocess(
        video_dir,
        annotation_dir,
        cache_path,
        class_map=classes,
        config=preprocess_config,
        quiet=quiet,
    )
    if report.problems and not allow_problems:
        raise InputError(report.problems)
    return train(cache_path, output_dir, config=config, device=device, quiet=quiet)


def finish_run(
    run_folder: Path | str,
    *,
    cache_path: Caches | None = None,
    html: bool = False,
    features: str | None = None,
    device: str = "auto",
    quiet: bool = True,
) -> str:
    """Score what a run folder holds and return its summary; for several networks, train the rest.

    Parameters
    ----------
    run_folder : Path or str
        Of `train`, `mpar.learning.networks.begin_folds` or
        `mpar.learning.networks.begin_curve`.
    cache_path : Path, str or sequence of them, optional
        New paths of the caches if they were moved.
    html, features, device, quiet
        As for `mpar.evaluation.evaluate_checkpoint`.

    Returns
    -------
    str
        Empty in the processes of torchrun that do not lead.
    """
    run_folder = Path(run_folder)
    options: dict[str, Any] = {"cache_path": cache_path, "features": features, "device": device}
    if is_curve(run_folder):
        return summarize_curve(run_folder, run_curve(run_folder, quiet=quiet, **options))
    if is_folds(run_folder):
        folds = run_folds(run_folder, html=html, quiet=quiet, **options)
        return summarize_folds(run_folder, folds)
    if not is_leading():
        return ""
    found = evaluate_checkpoint(
        best_checkpoint(run_folder),
        output_folder=run_folder / "evaluation",
        html=html,
        overwrite=True,
        **options,
    )
    return summarize_run(run_folder, found, cache_path=cache_path)


def summarize_run(
    run_folder: Path | str, evaluation: dict[str, Any], *, cache_path: Caches | None = None
) -> str:
    """Return the summary of a finished run: how it ended, scores by class, and paths of its files.

    Parameters
    ----------
    run_folder : Path or str
        Folder with ``last.pt`` and the best checkpoint.
    evaluation : dict
        Result of `mpar.evaluation.evaluate_checkpoint` for the best checkpoint, whose files are in
        ``evaluation`` in the run folder.
    cache_path : Path, str or sequence of them, optional
        New paths of the caches if they were moved.

    Returns
    -------
    str
        Lines without a newline at the end. Scores that do not exist are "n/a" or "-".
    """
    run_folder = Path(run_folder)
    best_path = best_checkpoint(run_folder)
    best, last = load_checkpoint(best_path), load_checkpoint(run_folder / "last.pt")
    validation, tested = best.scores["validation"], evaluation["scores"]
    part = _part_name(best, evaluation)
    with Store(cache_path or best.data["path"]) as store:
        names = {item["name"] for item in best.split["train"]}
        train = [i for i, info in enumerate(store.recordings) if info.name in names]
        num_train = dict(zip(store.class_names, class_counts(store, train).tolist(), strict=True))

    lines = [
        _how_it_ended(best, last),
        f"validation  macro-F1 {validation['macro_f1']:.3f}, accuracy "
        f"{validation['accuracy']:.3f} (too optimistic, since it selected the best epoch)",
    ]
    if part:
        lines.append(
            f"{part:<10}  macro-F1 {tested['macro_f1']:.3f}, accuracy {tested['accuracy']:.3f} "
            f"({len(evaluation['recordings'])} recordings)"
        )
    else:
        lines.append("test        no test part, so the scores on new animals are unknown")
    lines.append(f"baselines   {evaluation['baselines']['verdict']}")
    if best_alone := evaluation["baselines"]["best_alone"]:
        lines.append(f"experts     {best_alone}")
    if evaluation["warning"]:
        lines.append(f"warning     {evaluation['warning']}")

    head = ["class", "training frames", "validation F1"]
    head += [f"{part} F1", f"{part} recall", f"{part} frames"] if part else []
    rows = []
    for name in validation["class_names"]:
        row = [name, f"{num_train[name]:,}", score_text(validation["classes"][name]["f1"])]
        if part:
            scores = tested["classes"][name]
            row += [
                score_text(scores["f1"]),
                score_text(scores["recall"]),
                f"{scores['support']:,}",
            ]
        rows.append(row)
    lines += ["", *text_table([head, *rows]), ""]

    lines += _absent("classes without training frames", num_train)
    lines += _absent("classes without validation frames", _supports(validation))
    if part:
        lines += _absent(f"classes without {part} frames", _supports(tested))
    run = _quoted(run_folder)
    places = [
        ("best checkpoint", str(best_path)),
        ("evaluation", str(run_folder / "evaluation")),
        ("by epoch", str(run_folder / "metrics.csv")),
        ("curves, images", f"tensorboard --logdir {run}"),
        ("next", f"mpar-predict {_quoted(best_path)} VIDEOS -o predictions"),
        ("show again", f"mpar-train --resume {run} (training is complete; prints this summary)"),
    ]
    return "\n".join([*lines, *(f"{what:<16}{where}" for what, where in places)])


def summarize_folds(folder: Path | str, evaluation: dict[str, Any]) -> str:
    """Return the summary of a finished cross-validation.

    Parameters
    ----------
    folder : Path or str
        From `mpar.learning.networks.begin_folds`.
    evaluation : dict
        Result of `mpar.learning.networks.run_folds`.
    """
    folder = Path(folder)
    report = (folder / "evaluation" / "classification_report.txt").read_text(encoding="utf-8")
    num_animals = evaluation["intervals"]["num_animals"]
    rows = [["fold", "recordings held out", "macro-F1"]]
    for item in evaluation["folds"]:
        rows.append(
            [
                str(item["fold"]),
                f"{len(item['recordings'])}",
                score_text(item["macro_f1"]),
            ]
        )
    return "\n".join(
        [
            f"Scores over {num_animals} animals, each scored by a network that never saw it:",
            "",
            report,
            *text_table(rows),
            "",
            f"evaluation      {folder / 'evaluation'}",
        ]
    )


def summarize_curve(folder: Path | str, curve: dict[str, Any]) -> str:
    """Return the summary of a learning curve.

    Parameters
    ----------
    folder : Path or str
        From `mpar.learning.networks.begin_curve`.
    curve : dict
        Result of `mpar.learning.networks.run_curve`.
    """

    def shown(score: list[float | None]) -> str:
        ends = "" if None in score else f" [{score[1]:.2f}, {score[2]:.2f}]"
        return f"{score_text(score[0])}{ends}"

    rows = [["animals", "bouts", "macro-F1", *(f"F1 {name}" for name in curve["shown"])]]
    for point in curve["points"]:
        scores = [point["macro_f1"], *point["f1"].values()]
        rows.append([str(point["num_animals"]), f"{point['num_events']:,}", *map(shown, scores)])
    lines = [*text_table(rows), "", curve["verdict"], "", "figure and numbers  "]
    return "\n".join(lines) + f"{Path(folder) / 'learning_curve.*'}"


def _part_name(best: Checkpoint, evaluation: dict[str, Any]) -> str:
    """Return the evaluated part: "test", "held-out" (in no part of the split), or ""."""
    if evaluation["selection"] == "val":
        return ""
    names = {item["name"] for item in best.split["test"]}
    return "test" if set(evaluation["recordings"]) <= names else "held-out"


def _how_it_ended(best: Checkpoint, last: Checkpoint) -> str:
    num_done, best_epoch = last.state["epoch"], best.scores["epoch"]
    if num_done >= last.training["num_epochs"]:
        why = f"all {num_done} epochs complete"
    else:
        why = (
            f"stopped by --patience after epoch {num_done}: {num_done - best_epoch} in a row "
            "without a better validation macro-F1 (or, if equal, loss)"
        )
    return f"best epoch  {best_epoch}; {why}"


def _supports(scores: dict[str, Any]) -> dict[str, int]:
    return {name: scores["classes"][name]["support"] for name in scores["class_names"]}


def _absent(what: str, counts: dict[str, int]) -> list[str]:
    """Return a line that lists the classes without frames, or no line."""
    names = [name for name, count in counts.items() if not count]
    return [f"{what}: {', '.join(names)}"] if names else []


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)
