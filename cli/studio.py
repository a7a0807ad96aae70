"""mpar-studio: a study in one window."""

from __future__ import annotations

from pathlib import Path

import click
from mpar_cli import _options
from mpar_cli._commands import Commands
from mpar_cli._run import command

DEMO = Path("mpar-demo")


@click.command(
    cls=_options.GroupedCommand,
    groups={"Study": "videos demo archive", "Page": "port no-browser"},
)
@click.argument("study", type=_options.ANY_PATH, required=False)
@click.option(
    "--videos",
    type=_options.FOLDER,
    multiple=True,
    metavar="FOLDER",
    help="Make a new study of the videos in this folder; may be given several times.",
)
@click.option(
    "--demo", is_flag=True, help=f"Make a study of mpar's sample, by default in {DEMO}, or open it."
)
@click.option(
    "--archive",
    is_flag=True,
    help="Open no window; write the study without its videos to results/NAME_TIME.zip, with "
    "checksums and a methods paragraph.",
)
@_options.port
@_options.no_browser
@_options.quiet
@_options.version
@command
def main(
    study: Path | None,
    videos: tuple[Path, ...],
    demo: bool,
    archive: bool,
    port: int,
    no_browser: bool,
    quiet: bool,
) -> None:
    """Show a STUDY in your browser: its videos, what to do next, and what is being done.

    A study is a folder. Without one, you choose or make it on the page.
    """
    import webbrowser

    from mpar.errors import ConfigError
    from mpar.studio.study import Study, demo_study, is_study, new_study

    if archive:
        from mpar.studio.results import write_archive

        if study is None or videos or demo:
            raise ConfigError("archive: expected a STUDY and nothing else")
        click.echo(f"wrote {write_archive(Study.open(study), quiet=quiet)}")
        return

    from mpar.studio.routes import opened_studio

    if demo:
        study = study or DEMO
        if not is_study(study):
            demo_study(study)
    elif videos:
        if study is None:
            raise ConfigError("studio: found --videos without a STUDY; name the folder to make")
        new_study(study, videos)
    with opened_studio(Commands(), study, port=port) as server:
        if not quiet:
            click.echo("press Ctrl-C to close the window; the job that runs goes on")
        click.echo(server.url)
        if not no_browser:
            webbrowser.open(server.url)
        server.serve()


if __name__ == "__main__":
    main()
