"""mpar-evaluate: predictions against human labels -> scores and figures."""

from __future__ import annotations

from pathlib import Path

import click
from mpar_cli import _options
from mpar_cli._run import PROBLEMS_EXIT, command, show_problems


@click.command(
    cls=_options.GroupedCommand,
    groups={
        "Output": "output html overwrite quiet progress",
        "A checkpoint on a cache": "part raw device",
        "Predictions against label files": "class-map unscored group-pattern several",
    },
    others="Unusual label files, and other options",
)
@click.argument("predictions", metavar="CHECKPOINT|PREDICTIONS", type=_options.EXISTING)
@click.argument(
    "labels", metavar="CACHE...|ANNOTATIONS", type=_options.EXISTING, nargs=-1, required=True
)
@click.option(
    "--output",
    "-o",
    "output_folder",
    type=_options.ANY_PATH,
    default="evaluation",
    show_default=True,
    help="Folder for the report and figures.",
)
@click.option(
    "--part",
    "selection",
    type=click.Choice(["held-out", "train", "val", "test", "all"]),
    default="held-out",
    show_default=True,
    help="Recordings of a cache to score; held-out: animals not used in training.",
)
@_options.class_map
@_options.label_offset
@_options.several
@_options.annotation_format
@_options.channel
@_options.unscored
@_options.group_pattern
@_options.raw
@click.option("--html", is_flag=True, help="Also write report.html, the whole report on one page.")
@_options.features
@_options.device
@_options.overwrite
@_options.quiet
@_options.version
@command
def main(
    predictions: Path,
    labels: tuple[Path, ...],
    output_folder: Path,
    selection: str,
    class_map_path: Path | None,
    label_offset: int | None,
    several: str | None,
    label_format: str,
    channel: str | None,
    unscored: str | None,
    group_pattern: str | None,
    raw: bool,
    html: bool,
    features: Path | None,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Score a network, or predictions, against human labels.

    Give a CHECKPOINT and a CACHE (or several as one), or a folder of PREDICTIONS (from
    mpar-predict) and a folder of ANNOTATIONS. Writes scores of frames and bouts, with confidence
    intervals over animals, and tables and figures (PNG and PDF).
    """
    from mpar.errors import Problem
    from mpar.evaluation import evaluate_checkpoint, evaluate_folders, headline
    from mpar.matching.label_options import LabelOptions

    _check_options(
        predictions,
        labels,
        is_of_files=bool(class_map_path or several or channel or unscored or group_pattern)
        or label_format != "auto"
        or label_offset is not None,
        is_of_networks=selection != "held-out" or raw or features is not None,
    )
    problems: list[Problem] = []
    if predictions.is_dir():
        result, problems = evaluate_folders(
            predictions,
            labels[0],
            output_folder,
            class_map=_options.read_class_map(class_map_path) if class_map_path else None,
            options=LabelOptions(
                group_pattern=group_pattern,
                several=several,
                label_offset=label_offset,
                label_format=label_format,
                channel=channel,
                unscored=unscored,
            ),
            html=html,
            overwrite=overwrite,
        )
    else:
        result = evaluate_checkpoint(
            predictions,
            labels,
            output_folder,
            selection=selection,
            raw=raw,
            html=html,
            device=device,
            overwrite=overwrite,
            quiet=quiet,
            features=features,
        )
    click.echo((output_folder / "classification_report.txt").read_text(encoding="utf-8"))
    click.echo(f"{len(result['recordings'])} recordings: {headline(result)}")
    click.echo(f"report and figures: {output_folder}")
    if problems:
        show_problems(problems)
    return PROBLEMS_EXIT if problems else 0


def _check_options(
    predictions: Path, labels: tuple[Path, ...], *, is_of_files: bool, is_of_networks: bool
) -> None:
    """Refuse options that do not fit the arguments: two files, or two folders."""
    from mpar.errors import ConfigError

    if {predictions.is_dir()} != {path.is_dir() for path in labels}:
        raise ConfigError(
            "found one folder and one file, expected CHECKPOINT and CACHE (two files) or "
            "PREDICTIONS and ANNOTATIONS (two folders)"
        )
    if predictions.is_dir() and len(labels) > 1:
        raise ConfigError(f"found {len(labels)} folders of labels, expected one")
    if predictions.is_file() and is_of_files:
        raise ConfigError(
            "--class-map, --several, --annotation-format, --unscored, --group-pattern and "
            "--label-offset apply to label files, but found a cache, which stores labels and "
            "animals; drop them"
        )
    if predictions.is_dir() and is_of_networks:
        raise ConfigError(
            "--part, --raw and --features apply to a checkpoint and a cache, but found folders; "
            "drop them"
        )


if __name__ == "__main__":
    main()
