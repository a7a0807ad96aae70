"""mpar-preprocess: videos and label files -> cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from mpar_cli import _options
from mpar_cli._preprocess import draw_preview, read_options, show_report
from mpar_cli._run import ERROR_EXIT, PROBLEMS_EXIT, command, show_message, show_problems


@click.command(
    cls=_options.GroupedCommand,
    groups={
        "Output": "output check preview overwrite allow-problems quiet progress",
        "Videos": "videos size regions rate fps stream workers",
        "A square that follows the animal": "follow follow-size tracks track-points",
        "Labels": "class-map unscored group-pattern several",
    },
    others="Unusual label files, and other options",
)
@click.argument("video_folder", metavar="VIDEOS", type=_options.FOLDER)
@click.argument("annotation_folder", metavar="ANNOTATIONS", type=_options.FOLDER)
@click.option(
    "--output",
    "-o",
    "cache_path",
    type=_options.ANY_PATH,
    default="cache.h5",
    show_default=True,
    help="The cache to make; videos already in it are not decoded again.",
)
@_options.videos
@_options.size
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of videos to decode in parallel; by default one per processor core.",
)
@_options.class_map
@_options.label_offset
@_options.several
@_options.annotation_format
@_options.channel
@_options.unscored
@_options.group_pattern
@_options.stream
@_options.rate
@_options.fps
@_options.regions
@click.option(
    "--follow",
    is_flag=True,
    help="Show the network a square that follows the animal instead of the whole picture.",
)
@click.option(
    "--follow-size",
    type=click.IntRange(min=16),
    metavar="PIXELS",
    help="Side of this square in the videos; by default 1.4 times the length of an animal.",
)
@_options.tracks
@click.option(
    "--track-points",
    metavar="A,B,...",
    help="With --tracks: the key points that the square is around; by default all.",
)
@click.option(
    "--preview",
    "preview_path",
    type=_options.ANY_PATH,
    metavar="FILE.png",
    help="Draw each video with its regions and what the network will see, then stop.",
)
@click.option(
    "--check",
    "check_only",
    is_flag=True,
    help="Decode and check everything, but write only the list of problems.",
)
@click.option("--allow-problems", is_flag=True, help="Exit with 0 even if some inputs are bad.")
@_options.overwrite
@_options.quiet
@_options.version
@command
def main(
    video_folder: Path,
    annotation_folder: Path,
    cache_path: Path,
    more_videos: tuple[Path, ...],
    workers: int | None,
    preview_path: Path | None,
    check_only: bool,
    allow_problems: bool,
    overwrite: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Turn a folder of VIDEOS and a folder of ANNOTATIONS into a cache for training.

    Video NAME.ext owns the label files NAME.csv, NAME_*.csv and prediction_NAME.ext_*.csv.
    Label files have the columns Frame (from 0) and Action (code or name), or come from BORIS,
    DeepEthogram, MARS/Bento, SimBA, ELAN and other programs. Recordings with problems are left out
    and listed; the exit code is then 1, or 2 if none is left.
    """
    from mpar.errors import counted
    from mpar.preprocess import preprocess, problems_path
    from mpar.system.team import joined_team

    class_map, config = read_options(options)
    videos = [video_folder, *more_videos]
    if preview_path is not None:
        return draw_preview(videos, preview_path, config, overwrite, quiet)
    with joined_team() as team:
        report = preprocess(
            videos,
            annotation_folder,
            cache_path,
            class_map=class_map,
            config=config,
            workers=workers,
            check_only=check_only,
            overwrite=overwrite,
            quiet=quiet,
            team=team,
        )
    if not team.is_leader:
        return 0
    if check_only and report.problems:  # before all else: warnings would hide them
        show_problems(report.problems, limit=None)
    show_report(report, class_map)
    if report.problems:
        if not check_only:
            show_problems(report.problems)
        num_problems = counted(len(report.problems), "problem")
        show_message(f"{num_problems}, also listed in {problems_path(cache_path)}")
    if check_only:
        click.echo("checked only; no cache was written")
    elif report.is_written:
        size_mb = cache_path.stat().st_size / 1e6
        click.echo(f"wrote {cache_path} ({size_mb:.1f} MB); next: mpar-train {cache_path}")
    else:
        click.echo(f"{cache_path} is up to date")
    if not report.recordings:
        return ERROR_EXIT
    return PROBLEMS_EXIT if report.problems and not allow_problems else 0


if __name__ == "__main__":
    main()
