"""mpar-review: score videos on a local web page, from scratch or by correcting predictions."""

from __future__ import annotations

from pathlib import Path

import click
from mpar_cli import _options
from mpar_cli._run import command, show_message


@click.command(
    cls=_options.GroupedCommand,
    groups={
        "What to do": "output predictions annotator blind estimate",
        "Videos and labels": "videos class-map regions tracks stream group-pattern",
    },
)
@click.argument("videos", type=_options.FOLDER)
@click.option(
    "--output",
    "-o",
    "output_folder",
    type=_options.ANY_PATH,
    required=True,
    help="Folder for the label files; scorings in it are continued.",
)
@click.option(
    "--predictions",
    "predictions_folder",
    type=_options.FOLDER,
    help="Folder from mpar-predict whose predictions to correct.",
)
@click.option(
    "--annotator",
    metavar="NAME",
    default="",
    callback=_options.checked_by("mpar.reviewer.review_config.ReviewConfig", "annotator"),
    help="Who scores; part of the file names. By default, the login name.",
)
@click.option("--blind", is_flag=True, help="Hide predictions and the labels of others.")
@click.option(
    "--estimate",
    is_flag=True,
    help="Hand out stretches drawn at random, blind, and estimate how good the predictions are.",
)
@_options.videos
@_options.class_map
@_options.regions
@_options.tracks
@_options.stream
@_options.group_pattern
@_options.port
@_options.no_browser
@_options.quiet
@_options.version
@command
def main(
    videos: Path,
    more_videos: tuple[Path, ...],
    output_folder: Path,
    predictions_folder: Path | None,
    annotator: str,
    blind: bool,
    estimate: bool,
    class_map_path: Path | None,
    regions_path: Path | None,
    tracks_path: Path | None,
    stream: int | None,
    group_pattern: str | None,
    port: int,
    no_browser: bool,
    quiet: bool,
) -> None:
    """Score the videos in the folder VIDEOS on a page in your browser.

    Each edit is saved at once, as NAME_<annotator>.csv with a JSON file beside it.
    """
    import webbrowser

    from mpar.review import ReviewConfig, opened_review
    from mpar.studio.study import is_study

    study = output_folder.parent  # if it is one, its regions lie beside its label files
    config = ReviewConfig(
        annotator=annotator,
        class_map=None if class_map_path is None else _options.read_class_map(class_map_path),
        is_blind=blind,
        is_estimate=estimate,
        regions=_options.read_regions(regions_path, tracks_path),
        regions_path=study / "regions.csv" if is_study(study) else None,
        stream=stream,
        group_pattern=group_pattern,
    )
    with opened_review(
        [videos, *more_videos],
        output_folder,
        predictions_folder=predictions_folder,
        config=config,
        port=port,
    ) as review:
        for warning in review.study.warnings:
            show_message(warning, "warning")
        if not quiet:
            click.echo(f"{review.study.describe()}; press Ctrl-C to stop, all edits are saved")
        click.echo(review.url)
        if not no_browser:
            webbrowser.open(review.url)
        review.serve()
        if path := review.write_estimate():
            click.echo(f"wrote {path}")


if __name__ == "__main__":
    main()
