"""mpar-train: cache -> run folder with checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from mpar_cli import _options
from mpar_cli._recipe import recipe_options
from mpar_cli._run import command


@click.command(
    cls=_options.GroupedCommand,
    groups={
        "Run": "output minutes epochs resume device access quiet progress",
        "Animals": "val-fraction test-fraction split folds leave-one-out learning-curve seed",
        "Network and camera": "model clip-length view init recipe",
        "Report": "html version help",
    },
    others="The recipe in detail",
)
@click.argument("caches", metavar="[CACHE]...", type=_options.FILE, nargs=-1)
@click.option(
    "--output",
    "-o",
    "output_folder",
    type=_options.ANY_PATH,
    default="checkpoints",
    show_default=True,
    help="Folder for the run folder run_YYYYMMDD_HHMMSS.",
)
@click.option("--resume", "run_folder", type=_options.FOLDER, help="Continue an interrupted run.")
@recipe_options
@click.option(
    "--init", "init_path", type=_options.FILE, help="Start with the weights of this checkpoint."
)
@click.option(
    "--folds", "num_folds", type=int, help="Cross-validate with this many folds of animals."
)
@click.option("--leave-one-out", is_flag=True, help="Cross-validate, one animal at a time.")
@click.option(
    "--learning-curve",
    "has_curve",
    is_flag=True,
    help="Train on a quarter, half and all of the animals: would more help?",
)
@click.option(
    "--split", "split_path", type=_options.FILE, help="CSV with Recording,Part: the split."
)
@click.option("--html", is_flag=True, help="Also write evaluation/report.html, all on one page.")
@click.option(
    "--access",
    type=click.Choice(["mmap", "pread"]),
    default="mmap",
    show_default=True,
    help="How to read the cache; use pread on network disks.",
)
@_options.device
@_options.quiet
@_options.version
@command
def main(
    caches: tuple[Path, ...],
    output_folder: Path,
    run_folder: Path | None,
    init_path: Path | None,
    num_folds: int | None,
    leave_one_out: bool,
    has_curve: bool,
    split_path: Path | None,
    html: bool,
    access: str,
    device: str,
    quiet: bool,
    recipe_name: str,
    **recipe: Any,
) -> None:
    """Train a network on a CACHE made by mpar-preprocess, or on several as one.

    Recordings are split by animal into training, validation and test. After training, the best
    checkpoint is evaluated on the test animals, and a summary is shown. Ctrl-C saves and stops;
    --resume continues with the options of the run. --folds trains several networks, so that every
    animal is scored by a network that never saw it.
    """
    from mpar.learning.recipe import OF_EVERY_MODEL, named_recipe
    from mpar.learning.runs import is_curve, is_folds
    from mpar.learning.training import resume_training, train
    from mpar.system.team import is_leading

    is_cross_validated = num_folds is not None or leave_one_out
    features: str | None = recipe["features"]
    if features and features.lower().endswith(".onnx"):
        features = recipe["features"] = str(Path(features).absolute())  # for --resume elsewhere
    if run_folder is not None:
        of_new_runs = ["recipe_name", *recipe, "output_folder", "split_path", "init_path", "access"]
        of_new_runs.remove("features")  # its network may have moved
        _options.refuse_given([*of_new_runs, "num_folds", "leave_one_out", "has_curve"], "--resume")
        if not is_folds(run_folder) and not is_curve(run_folder):
            resume_training(
                run_folder,
                device=device,
                cache_path=caches or None,
                features=features,
                quiet=quiet,
            )
    elif caches:
        if init_path is not None:
            _options.refuse_given(["model_type", "clip_length", "centre_frames"], "--init")
        if recipe["model_type"] == "none":
            idle = recipe.keys() - {"model_type", *OF_EVERY_MODEL}
            _options.refuse_given([*idle], "--model none")
        given = {name: value for name, value in recipe.items() if value is not None}
        config = named_recipe(recipe_name, **given)
        if has_curve:
            from mpar.learning.networks import begin_curve

            _options.refuse_given(["num_folds", "leave_one_out", "html"], "--learning-curve")
            run_folder = begin_curve(
                caches,
                output_folder,
                config=config,
                split_path=split_path,
                init_path=init_path,
                device=device,
                access=access,
            )
        elif is_cross_validated:
            from mpar.learning.networks import begin_folds

            of_one_run = ["split_path", "test_fraction", *(["num_folds"] if leave_one_out else [])]
            _options.refuse_given(of_one_run, "--leave-one-out" if leave_one_out else "--folds")
            run_folder = begin_folds(
                caches,
                output_folder,
                num_folds=num_folds,
                config=config,
                init_path=init_path,
                device=device,
                access=access,
            )
        else:
            run_folder = train(
                caches,
                output_folder,
                config=config,
                split_path=split_path,
                init_path=init_path,
                device=device,
                access=access,
                quiet=quiet,
            )
    else:
        raise click.UsageError("Give a CACHE to train on, or --resume RUN.")
    from mpar.train import finish_run  # imports what draws figures

    summary = finish_run(
        run_folder,
        cache_path=caches or None,
        html=html,
        features=features,
        device=device,
        quiet=quiet,
    )
    click.echo(summary, nl=is_leading())


if __name__ == "__main__":
    main()
