"""mpar-train: cache -> run folder with checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
from mpar_cli import _options
from mpar_cli._run import command

log = logging.getLogger("mpar.cli")


@click.command()
@click.argument("cache_path", metavar="[CACHE]", type=_options.FILE, required=False)
@click.option(
    "--output",
    "-o",
    "output_folder",
    type=_options.ANY_PATH,
    default="checkpoints",
    show_default=True,
    help="Gets a folder run_YYYYMMDD_HHMMSS.",
)
@click.option("--resume", "run_folder", type=_options.FOLDER, help="Go on with an interrupted run.")
@click.option(
    "--model",
    "model_type",
    type=click.Choice(["standard", "light"]),
    default="standard",
    show_default=True,
    help="About 3.0 or 0.6 million parameters.",
)
@click.option("--clip-length", default=16, show_default=True, help="Frames seen, even, 8-32.")
@click.option("--epochs", "num_epochs", default=100, show_default=True, help="At most so many.")
@click.option("--batch-size", default=32, show_default=True, help="Windows a step.")
@click.option(
    "--window",
    default=1,
    show_default=True,
    help="Consecutive frames learnt from one window; more share work. 1: clip by clip.",
)
@click.option(
    "--sampling",
    type=click.Choice(["all", "balanced"]),
    default="all",
    show_default=True,
    help="An epoch is every frame, with a class-weighted loss; or each class equally often.",
)
@click.option("--learning-rate", default=1e-3, show_default=True, help="Of Adam.")
@click.option("--weight-decay", default=1e-5, show_default=True, help="Of Adam.")
@click.option(
    "--restart-epochs",
    default=10,
    show_default=True,
    help="Period of the cosine schedule, T_0; 0: one fall over all epochs.",
)
@click.option("--warmup-epochs", default=0.0, show_default=True, help="Rise before the schedule.")
@click.option("--dropout", default=0.5, show_default=True, help="0 to below 1.")
@click.option(
    "--loss",
    type=click.Choice(["cross_entropy", "focal"]),
    default="cross_entropy",
    show_default=True,
    help="What is minimised.",
)
@click.option("--focal-gamma", default=2.0, show_default=True, help="Of the focal loss.")
@click.option("--label-smoothing", default=0.0, show_default=True, help="Of cross_entropy.")
@click.option("--grad-clip", default=1.0, show_default=True, help="Largest gradient norm.")
@click.option(
    "--ema-decay", default=0.0, show_default=True, help="Keep a moving average of the weights."
)
@click.option(
    "--patience", default=15, show_default=True, help="Epochs without a better macro-F1 to stop."
)
@click.option(
    "--augment/--no-augment",
    default=False,
    show_default=True,
    help="Mirror, turn, relight; left and right swap by the class map's mirrors.",
)
@click.option(
    "--amp/--no-amp", "use_amp", default=True, show_default=True, help="Mixed precision on CUDA."
)
@click.option("--val-fraction", default=0.2, show_default=True, help="Share of the animals.")
@click.option("--test-fraction", default=0.2, show_default=True, help="Share of the animals.")
@click.option("--split", "split_path", type=_options.FILE, help="CSV Recording,Part instead.")
@click.option("--seed", default=0, show_default=True, help="Fixes everything random.")
@click.option(
    "--access",
    type=click.Choice(["mmap", "pread"]),
    default="mmap",
    show_default=True,
    help="How to read the cache; pread for network disks.",
)
@_options.device
@_options.quiet
@_options.version
@command
def main(
    cache_path: Path | None,
    output_folder: Path,
    run_folder: Path | None,
    split_path: Path | None,
    access: str,
    device: str,
    quiet: bool,
    **recipe: Any,
) -> None:
    """Train a network on a CACHE made by mpar-preprocess.

    Recordings are split into training, validation and test by animal. After training the best
    checkpoint is evaluated on the test animals and a summary is shown. Ctrl-C saves and stops;
    --resume goes on, with the options the run began with.
    """
    from mpar.evaluation import evaluate_checkpoint
    from mpar.recipe import TrainConfig
    from mpar.summary import summarize_run
    from mpar.train import best_checkpoint, resume_training, train

    if run_folder is not None:
        _options.refuse_given([*recipe, "output_folder", "split_path", "access"], "--resume")
        resume_training(run_folder, device=device, cache_path=cache_path, quiet=quiet)
    elif cache_path is not None:
        run_folder = train(
            cache_path,
            output_folder,
            config=TrainConfig(**recipe),
            split_path=split_path,
            device=device,
            access=access,
            quiet=quiet,
        )
    else:
        raise click.UsageError("Give a CACHE to train on, or --resume RUN.")
    result = evaluate_checkpoint(
        best_checkpoint(run_folder),
        cache_path,
        run_folder / "evaluation",
        device=device,
        overwrite=True,
    )
    click.echo(summarize_run(run_folder, result, cache_path=cache_path))


if __name__ == "__main__":
    main()
