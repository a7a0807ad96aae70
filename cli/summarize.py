"""mpar-summarize: predictions -> the numbers and figures of an assay."""

from __future__ import annotations

from pathlib import Path

import click
from mpar_cli import _options
from mpar_cli._run import PROBLEMS_EXIT, command, show_message, show_problems

_CONFIG = "mpar.summarize.AssayConfig"


@click.command(
    cls=_options.GroupedCommand,
    groups={
        "Output": "output html wide xlsx overwrite quiet progress",
        "Animals and groups": "metadata group-by compare",
        "Time": "bin window onset-column",
        "Stimuli": "events response-window response force-column",
    },
)
@click.argument("predictions", type=_options.FOLDER)
@click.option(
    "--output",
    "-o",
    "output_folder",
    type=_options.ANY_PATH,
    default="summary",
    show_default=True,
    help="Folder for the tables and figures.",
)
@click.option(
    "--metadata",
    "metadata_path",
    type=_options.FILE,
    help="CSV with a column Recording and any others (Animal, group, dose, sex).",
)
@click.option(
    "--group-by",
    metavar="COLUMN",
    multiple=True,
    help="Metadata column that defines the groups; may be repeated; by default group.",
)
@click.option(
    "--bin",
    "bin_length",
    metavar="TIME",
    callback=_options.checked_by(_CONFIG, "bin_length"),
    help="Length of time bins, such as 5min or 30s.",
)
@click.option(
    "--window",
    "windows",
    metavar="NAME=START-STOP",
    multiple=True,
    callback=_options.checked_by(_CONFIG, "windows"),
    help="A time window, such as phase1=0-10min; may be repeated.",
)
@click.option(
    "--onset-column",
    metavar="COLUMN",
    help="Metadata column with the time of the stimulus in seconds, which becomes time 0.",
)
@click.option(
    "--events",
    "events_path",
    type=_options.FILE,
    help="CSV with Recording,Event,Start_s and others: what followed each stimulus.",
)
@click.option(
    "--response-window",
    metavar="START-STOP",
    default="0-2s",
    callback=_options.checked_by(_CONFIG, "response_window"),
    show_default=True,
    help="With --events: seconds from the stimulus in which a response begins.",
)
@click.option(
    "--response",
    "responses",
    metavar="CLASS",
    multiple=True,
    help="With --events: a class that counts as a response; may be repeated; by default those "
    "that the class map marks.",
)
@click.option(
    "--force-column",
    metavar="COLUMN",
    help="With --events: column of von Frey forces, for the 50 % threshold (up-down method).",
)
@click.option(
    "--wide",
    is_flag=True,
    help="Also write wide.csv (a row per animal and group) and prism_MEASURE.csv (a column per "
    "group).",
)
@click.option("--xlsx", is_flag=True, help="Also write all tables to summary.xlsx.")
@click.option(
    "--compare",
    metavar="COLUMN",
    help="Also compare the groups of this metadata column (exploratory): comparison.csv.",
)
@click.option("--html", is_flag=True, help="Also write report.html, the whole report on one page.")
@_options.overwrite
@_options.quiet
@_options.version
@command
def main(
    predictions: Path,
    output_folder: Path,
    metadata_path: Path | None,
    group_by: tuple[str, ...],
    bin_length: str | None,
    windows: tuple[str, ...],
    onset_column: str | None,
    events_path: Path | None,
    response_window: str,
    responses: tuple[str, ...],
    force_column: str | None,
    wide: bool,
    xlsx: bool,
    compare: str | None,
    html: bool,
    overwrite: bool,
    quiet: bool,
) -> int:
    """Summarize PREDICTIONS, a folder from mpar-predict, by animal, window and class, and by group.

    Writes by_animal.csv (one row per animal, window and class), by_group.csv (mean, SEM and n),
    and figures of ethograms, groups and time courses (PNG and PDF).
    """
    from mpar.summarize import AssayConfig, summarize_assay

    report = summarize_assay(
        predictions,
        output_folder,
        metadata_path=metadata_path,
        config=AssayConfig(
            bin_length=bin_length,
            windows=windows,
            onset_column=onset_column,
            group_by=group_by,
            events_path=events_path,
            response_window=response_window,
            responses=responses,
            force_column=force_column,
            wide=wide,
            xlsx=xlsx,
            compare=compare,
        ),
        html=html,
        overwrite=overwrite,
        quiet=quiet,
    )
    for warning in report.warnings:
        show_message(warning, "warning")
    click.echo(
        f"{report.num_recordings} recordings of {report.num_animals} animals in "
        f"{len(report.groups)} groups ({', '.join(report.groups)})"
    )
    if report.responses:
        click.echo(
            f"responses: bouts of {', '.join(report.responses)} count, bouts of "
            f"{', '.join(report.other_classes) or 'no class'} do not; --response CLASS chooses "
            "others"
        )
    for path in report.paths:
        click.echo(f"wrote {path}")
    if report.problems:
        show_problems(report.problems)
    return PROBLEMS_EXIT if report.problems else 0


if __name__ == "__main__":
    main()
