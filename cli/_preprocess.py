"""Output of mpar-preprocess: the counts of a cache, or a picture of the videos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from mpar_cli import _options
from mpar_cli._run import PROBLEMS_EXIT, show_problems, show_table, show_video_warnings

if TYPE_CHECKING:
    from mpar.cache.preprocess_config import PreprocessConfig
    from mpar.labels.classes import ClassMap
    from mpar.preprocess import PreprocessReport


def read_options(params: Mapping[str, Any]) -> tuple[ClassMap, PreprocessConfig]:
    """Return the class map and the config that the options of mpar-preprocess make."""
    from mpar.cache.preprocess_config import PreprocessConfig

    points = [point.strip() for point in (params["track_points"] or "").split(",")]
    points = [point for point in points if point]
    if points and params["tracks_path"] is None:
        raise click.UsageError("--track-points needs --tracks")
    follows = params["follow"], params["follow_size"] is not None, params["tracks_path"] is not None
    regions = _options.read_regions(params["regions_path"], params["tracks_path"], tuple(points))
    names = "size group_pattern several label_offset label_format channel unscored stream rate fps "
    given = {name: params[name] for name in f"{names} follow_size".split()}
    config = PreprocessConfig(**given, follow=any(follows), regions=regions)
    return _options.read_class_map(params["class_map_path"]), config


def draw_preview(
    video_folder: list[Path], path: Path, config: PreprocessConfig, overwrite: bool, quiet: bool
) -> int:
    """Draw videos and regions; return the exit code."""
    from mpar.preview import preview

    problems = preview(
        video_folder,
        path,
        regions=config.regions,
        size=config.size,
        stream=config.stream,
        follow=config.follow,
        follow_size=config.follow_size,
        overwrite=overwrite,
        quiet=quiet,
    )
    click.echo(f"wrote {path}; nothing was preprocessed")
    if problems:
        show_problems(problems)
    return PROBLEMS_EXIT if problems else 0


def show_report(report: PreprocessReport, class_map: ClassMap) -> None:
    """Print warnings, and frame counts before and after merging classes."""
    for line in report.warnings:
        click.echo(f"warning: {line}")
    show_video_warnings(report.recordings)
    num_frames = sum(info.num_frames for info in report.recordings)
    seconds = float(sum(info.num_frames / info.fps for info in report.recordings))
    groups = len({info.group for info in report.recordings})
    click.echo(
        f"{len(report.recordings)} recordings of {groups} animals, {num_frames:,} frames, "
        f"{seconds:,.1f} s; {report.num_decoded} videos decoded"
    )
    rows = [["code", "name", "frames", "->", "class", "frames"]]
    shown: set[str] = set()
    for code, name, class_name in class_map.rows:
        merged = f"{report.class_counts[class_name]:,}" if class_name not in shown else ""
        shown.add(class_name)
        rows.append([str(code), name, f"{report.code_counts[code]:,}", "", class_name, merged])
    unlabelled = f"{report.class_counts['unlabelled']:,}"
    rows.append(["-1", "unlabelled", f"{report.code_counts[-1]:,}", "", "unlabelled", unlabelled])
    show_table(rows)
    if any(len(info.annotators) > 1 for info in report.recordings):
        click.echo(
            "where several people scored a recording, the codes are those of the first by name, "
            "the classes those of their majority"
        )
