"""mpar-studio: a study in one window."""

from __future__ import annotations

from pathlib import Path

import click
from mpar_cli import _options
from mpar_cli._run import command


@click.command()
@click.argument("study", type=_options.ANY_PATH)
@click.option(
    "--videos",
    type=_options.FOLDER,
    multiple=True,
    metavar="FOLDER",
    help="Make a new study of the videos in this folder; may be given several times.",
)
@_options.port
@_options.no_browser
@_options.quiet
@_options.version
@command
def main(study: Path, videos: tuple[Path, ...], port: int, no_browser: bool, quiet: bool) -> None:
    """Show a STUDY in your browser: its videos, what to do next, and what is being done.

    A study is a folder. With --videos, the command makes a new one.
    """
    import webbrowser

    from mpar.studio.study import new_study
    from mpar.studio.window import opened_studio

    if videos:
        new_study(study, videos)
    with opened_studio(study, port=port) as server:
        if not quiet:
            click.echo("press Ctrl-C to close the window; the job that runs goes on")
        click.echo(server.url)
        if not no_browser:
            webbrowser.open(server.url)
        server.serve()


if __name__ == "__main__":
    main()
