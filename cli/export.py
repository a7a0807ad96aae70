"""mpar-export: predictions -> files of BORIS, DeepEthogram, MARS/Bento or SimBA."""

from __future__ import annotations

from pathlib import Path

import click
from mpar_cli import _options
from mpar_cli._run import PROBLEMS_EXIT, command, show_problems


@click.command()
@click.argument("predictions", type=_options.FOLDER)
@click.option(
    "--format",
    "label_format",
    type=click.Choice(["boris", "deepethogram", "simba", "annot"]),
    required=True,
    help="boris: a project, which belongs next to its videos; annot: MARS/Bento.",
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
@_options.overwrite
@_options.quiet
@_options.version
@command
def main(
    predictions: Path,
    label_format: str,
    output_folder: Path,
    unscored: str | None,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Write PREDICTIONS, a folder from mpar-predict, in the format of another program.

    mpar-preprocess reads all of them back, corrected or not.
    """
    from mpar.scores.stored_predictions import export_predictions

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
