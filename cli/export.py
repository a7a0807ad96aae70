"""mpar-export: predictions -> files of BORIS, DeepEthogram, MARS/Bento, SimBA or NWB, or videos."""

from __future__ import annotations

from pathlib import Path

import click
from mpar_cli import _options
from mpar_cli._run import PROBLEMS_EXIT, command, show_problems

_OF_VIDEOS = ("video_folders", "label_folder", "bouts", "squares")


@click.command(
    cls=_options.GroupedCommand,
    groups={
        "Output": "format output overwrite quiet progress",
        "Videos and their clips": "videos labels bouts squares",
        "Other formats": "unscored metadata",
    },
)
@click.argument("predictions", type=_options.FOLDER)
@click.option(
    "--format",
    "label_format",
    type=click.Choice(["boris", "deepethogram", "simba", "annot", "nwb", "video"]),
    required=True,
    help="boris: a project, which belongs next to its videos; annot: MARS/Bento; nwb: bouts with "
    "confidence, one NWB file per recording; video: the videos with class, confidence and time "
    "below.",
)
@click.option(
    "--output",
    "-o",
    "output_folder",
    type=_options.ANY_PATH,
    default="exported",
    show_default=True,
    help="Folder for the files.",
)
@click.option(
    "--unscored", metavar="CLASS", help="Write frames of this class as frames without a behaviour."
)
@click.option(
    "--videos",
    "video_folders",
    type=_options.FOLDER,
    multiple=True,
    help="With --format video: folder of the videos that you predicted; may be given several "
    "times.",
)
@click.option(
    "--labels",
    "label_folder",
    type=_options.FOLDER,
    help="With --format video: label files of a person, for a second line.",
)
@click.option(
    "--bouts",
    metavar="CLASS",
    multiple=True,
    help="With --format video: write a clip of each bout of CLASS instead, with one second before "
    "and after, and contact sheets. Repeatable.",
)
@click.option(
    "--squares",
    is_flag=True,
    help="With --format video: draw the square that the network saw, if it follows the animal.",
)
@click.option(
    "--metadata",
    "metadata_path",
    type=_options.FILE,
    help="With --format nwb: CSV with a column Recording and others named as NWB names them, such "
    "as Animal, species, sex, age, session_start_time, experimenter.",
)
@_options.overwrite
@_options.quiet
@_options.version
@command
def main(
    predictions: Path,
    label_format: str,
    output_folder: Path,
    unscored: str | None,
    video_folders: tuple[Path, ...],
    label_folder: Path | None,
    bouts: tuple[str, ...],
    squares: bool,
    metadata_path: Path | None,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Write PREDICTIONS, a folder from mpar-predict, for another program or as videos.

    mpar-preprocess reads the files of other programs back, corrected or not.
    """
    if label_format == "video":
        from mpar.export import export_videos

        _options.refuse_given(["unscored", "metadata_path"], "--format video")
        if not video_folders:
            raise click.UsageError("--format video needs --videos, the folder that you predicted.")
        paths, problems = export_videos(
            predictions,
            video_folders,
            output_folder,
            label_folder=label_folder,
            bouts=bouts,
            squares=squares,
            overwrite=overwrite,
            quiet=quiet,
        )
    elif label_format == "nwb":
        from mpar.predictions.nwb import export_nwb

        _options.refuse_given(["unscored", *_OF_VIDEOS], "--format nwb")
        paths, problems = export_nwb(
            predictions,
            output_folder,
            metadata_path=metadata_path,
            overwrite=overwrite,
            quiet=quiet,
        )
    else:
        from mpar.predictions.reading import export_predictions

        _options.refuse_given([*_OF_VIDEOS, "metadata_path"], f"--format {label_format}")
        paths, problems = export_predictions(
            predictions, output_folder, label_format, unscored=unscored, overwrite=overwrite
        )
    if not quiet:
        for path in paths:
            click.echo(f"wrote {path}")
    if problems:
        show_problems(problems)
    return PROBLEMS_EXIT if problems else 0


if __name__ == "__main__":
    main()
