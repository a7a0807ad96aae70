"""mpar-predict: checkpoint and videos -> one CSV row for every frame of every video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import click
from mpar_cli import _options
from mpar_cli._run import ERROR_EXIT, PROBLEMS_EXIT, command, show_predicted, show_problems


@click.command(
    cls=_options.GroupedCommand,
    groups={
        "Output": "output overwrite format stride min-confidence quiet progress",
        "Videos": "regions tracks fps stream",
        "From probabilities to labels": "raw smooth close-gaps weight threshold",
    },
)
@click.argument("checkpoint", type=_options.FILE)
@click.argument("sources", nargs=-1, required=True, type=_options.ANY_PATH)
@click.option(
    "--output",
    "-o",
    "output_folder",
    type=_options.ANY_PATH,
    default="predictions",
    show_default=True,
    help="Folder for the CSV files.",
)
@click.option(
    "--stride",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Write every n-th frame.",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Leave frames with a lower confidence unlabelled.",
)
@click.option(
    "--format",
    "action_format",
    type=click.Choice(["name", "code"]),
    default="name",
    show_default=True,
    help="Write class names or raw codes.",
)
@_options.stream
@_options.fps
@_options.regions
@_options.tracks
@_options.raw
@click.option(
    "--smooth",
    "smooth_frames",
    type=int,
    help="Average probabilities over this odd number of frames.",
)
@click.option(
    "--close-gaps", type=int, help="Close gaps of up to this many frames between bouts of a class."
)
@click.option(
    "--weight",
    "weights",
    metavar="CLASS=W",
    multiple=True,
    help="Multiply the probability of a class by W before choosing the best class; W above 1 finds "
    "more of it.",
)
@click.option(
    "--threshold",
    "thresholds",
    metavar="CLASS=P",
    multiple=True,
    help="Assign a class only where its probability is at least P; may be repeated.",
)
@_options.features
@_options.device
@_options.precision
@_options.overwrite
@_options.quiet
@_options.version
@command
def main(
    checkpoint: Path,
    sources: tuple[Path, ...],
    output_folder: Path,
    stride: int,
    min_confidence: float,
    action_format: str,
    stream: int | None,
    fps: Fraction | None,
    regions_path: Path | None,
    tracks_path: Path | None,
    raw: bool,
    smooth_frames: int | None,
    close_gaps: int | None,
    weights: tuple[str, ...],
    thresholds: tuple[str, ...],
    features: Path | None,
    device: str,
    precision: str,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Predict every frame of SOURCES: videos, folders of videos, or caches.

    Each video gets NAME_predictions.csv, NAME_bouts.csv and a row in summary.csv. What this
    network has already predicted with the same options is kept, so that an interrupted run
    continues by the same command. A bad video is reported and skipped; the exit code is then 1,
    or 2 if none is left. By default, labels are post-processed with values in the checkpoint,
    which were fitted on validation recordings.
    """
    from mpar.inference import ActionRecognitionInference, find_inputs, predict_inputs
    from mpar.predictions.postprocess import PostConfig, change_post
    from mpar.predictions.writing import OutputConfig
    from mpar.system.team import joined_team

    config = OutputConfig(stride=stride, min_confidence=min_confidence, action_format=action_format)
    with joined_team() as team:
        network = ActionRecognitionInference(
            checkpoint,
            device,
            stream=stream,
            fps=fps,
            precision=precision,
            features=None if features is None else str(features),
        )
        network.post = change_post(
            PostConfig() if raw else network.post,
            network.class_names,
            smooth_frames=smooth_frames,
            close_gaps=close_gaps,
            weights=weights,
            thresholds=thresholds,
        )
        regions = _options.read_regions(regions_path, tracks_path)
        if regions is None or tracks_path is not None:
            regions = network.regions_with(tracks_path)
        found, problems = find_inputs(sources, regions)
        done = predict_inputs(
            *(network, found, output_folder),
            config=config,
            overwrite=overwrite,
            quiet=quiet,
            team=team,
        )
    if not team.is_leader:
        return 0
    problems += done.problems
    show_predicted(done, output_folder)
    click.echo(f"post-processing: {network.post.describe(network.class_names)}")
    if problems:
        show_problems(problems)
    if not done.written and not done.kept:
        return ERROR_EXIT
    return PROBLEMS_EXIT if problems else 0


if __name__ == "__main__":
    main()
