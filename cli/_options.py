"""Options that several commands share, so that each has the same meaning everywhere."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import mpar
from mpar.errors import ConfigError
from mpar.studio.study import COMMANDS, Study, is_study, shown
from mpar.system.events import lines_of_json

EXISTING = click.Path(exists=True, path_type=Path)
ANY_PATH = click.Path(path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class GroupedCommand(click.Command):
    """A command whose help shows the options in groups, what most people need first.

    Parameters
    ----------
    groups : mapping of str to str
        By heading, the names of its options without ``--``, separated by spaces. Options that no
        group names stand under `others`.
    others : str
        Heading of all further options.

    If the first argument is a study (`mpar.studio.study`), its files and options take its place.
    """

    def __init__(
        self, *args: Any, groups: Mapping[str, str], others: str = "Other options", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.groups = {title: names.split() for title, names in groups.items()}
        self.others = others

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with those of a study in its place."""
        if args and is_study(args[0]):
            assert self.callback is not None
            # of its file: as a script, the module has another name
            name = Path(inspect.unwrap(self.callback).__code__.co_filename).stem
            if name not in COMMANDS:  # it takes the study itself
                return super().parse_args(ctx, args)
            try:
                args = [*Study.open(args[0]).arguments(name, args[1:]), *args[1:]]
            except ConfigError as error:
                raise click.UsageError(str(error), ctx) from None
            if not {"-q", "--quiet", "--progress"} & {*args}:
                click.echo(f"runs {shown([f'mpar-{name}', *args])}", err=True)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, in the order of the groups."""
        records = {
            max(param.opts, key=len).lstrip("-"): record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            and (record := param.get_help_record(ctx)) is not None
        }
        named = {name for names in self.groups.values() for name in names}
        for title, names in self.groups.items():
            with formatter.section(title):
                formatter.write_dl([records[name] for name in names])
        with formatter.section(self.others):
            formatter.write_dl([record for name, record in records.items() if name not in named])


def _parse_rate(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
    """Turn "30", "29.97" or "30000/1001" into a Fraction."""
    if value is None:
        return None
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(
            f"found {value!r}, expected frames per second, such as 30"
        ) from None
    if rate <= 0:
        raise click.BadParameter(f"found {value!r}, expected frames per second above 0")
    return rate


Callback = Callable[[click.Context, click.Parameter, Any], Any]


def checked(check: Callable[[Any], object]) -> Callback:
    """Return a callback that refuses what a function of the library refuses, if a value is given.

    Whoever looks at a command line, and at nothing else, then knows that its values can be used.
    """

    def callback(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        if value not in (None, ()):
            try:
                check(value)
            except ConfigError as error:
                raise click.BadParameter(str(error).partition(": ")[2]) from None
        return value

    return callback


def checked_by(config: str, field: str) -> Callback:
    """Return a callback that lets a config refuse a value of one of its fields.

    `config` is the name of its class with its module, which is imported only for a value.
    """
    module, _, name = config.rpartition(".")
    return checked(lambda value: getattr(importlib.import_module(module), name)(**{field: value}))


version = click.version_option(mpar.__version__, prog_name="mpar")
_quiet = click.option("--quiet", "-q", is_flag=True, help="Do not show progress bars or notes.")


def _show_progress(ctx: click.Context, _param: click.Parameter, value: str) -> None:
    if value == "json":
        ctx.with_resource(lines_of_json(sys.stderr))


_progress = click.option(
    "--progress",
    type=click.Choice(["bar", "json"]),
    default="bar",
    show_default=True,
    expose_value=False,
    callback=_show_progress,
    help="Show progress and messages as text, or as lines of JSON for other programs.",
)


def quiet(function: Any) -> Any:
    """Add --quiet and --progress."""
    return _quiet(_progress(function))


port = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on this computer; by default, any that is free.",
)
no_browser = click.option(
    "--no-browser", is_flag=True, help="Print the link, but do not open a browser."
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
precision = click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Compute in a shorter type: faster on some hardware, with slightly other probabilities.",
)
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto uses a GPU if one works.",
)
videos = click.option(
    "--videos",
    "more_videos",
    type=FOLDER,
    multiple=True,
    metavar="FOLDER",
    help="A further folder of videos; may be given several times.",
)
class_map = click.option(
    "--class-map",
    "class_map_path",
    type=FILE,
    help="CSV with code,name[,modifier],class[,mirror][,response] that replaces the default "
    "codes and classes.",
)
several = click.option(
    "--several",
    type=click.Choice(["trials", "annotators", "parts"]),
    help="How to read several scorings of one video: consecutive pieces, people who each scored "
    "all of it, or parts of one scoring. By default, mpar decides by their rows and behaviours.",
)
label_offset = click.option(
    "--label-offset",
    type=click.IntRange(min=0),
    help="Frame of the first row of label files that are too short.",
)
annotation_format = click.option(
    "--annotation-format",
    "label_format",
    type=click.Choice(
        [
            "auto",
            "mpar",
            "boris",
            "boris-tabular",
            "boris-aggregated",
            "boris-binary",
            "deepethogram",
            "simba",
            "annot",
            "ethovision",
            "observer",
            "elan",
            "cowlog",
            "jabs",
            "label-studio",
            "feral",
        ]
    ),
    default="auto",
    show_default=True,
    help="Format of the label files; auto recognises each file by its content.",
)
channel = click.option(
    "--channel",
    metavar="NAME",
    help="Channel (MARS/Bento), tier (ELAN) or class (CowLog) to read of files with several.",
)
unscored = click.option(
    "--unscored",
    metavar="CLASS",
    help="Class of frames in which another program scored no behaviour; by default unlabelled.",
)
group_pattern = click.option(
    "--group-pattern",
    metavar="REGEX",
    callback=checked_by("mpar.matching.label_options.LabelOptions", "group_pattern"),
    help="Pattern of the animal's id in video file names; by default, each video counts as one "
    "animal.",
)
stream = click.option(
    "--stream",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read video stream N of files that have several; by default the one that players show, "
    "and in prediction the one used in training.",
)
fps = click.option(
    "--fps",
    metavar="R",
    callback=_parse_rate,
    help="Frames per second of videos that do not state a rate, such as bare .h264.",
)
rate = click.option(
    "--rate",
    metavar="R",
    callback=_parse_rate,
    help="Frames per second for training; by default the rate of most videos. mpar samples "
    "videos at other rates at this rate.",
)
regions = click.option(
    "--regions",
    "regions_path",
    type=FILE,
    help="CSV with Video,Animal,X,Y,Width,Height in px: where each animal lives if a video shows "
    "several; * stands for every video.",
)
tracks = click.option(
    "--tracks",
    "tracks_path",
    type=FOLDER,
    help="Folder with key points of DeepLabCut (.h5, .csv) or SLEAP (.slp, .analysis.h5) for each "
    "video: squares follow these, and each animal in them becomes a recording.",
)
features = click.option(
    "--features",
    metavar="FILE.onnx",
    type=FILE,
    help="Where the image network of a checkpoint with features is, if it was moved.",
)
raw = click.option(
    "--raw",
    is_flag=True,
    help="Use the most probable class of each frame, without post-processing.",
)


def read_regions(
    path: Path | None, tracks_path: Path | None = None, points: tuple[str, ...] = ()
) -> Any:
    """Return the regions in a file, or the tracks in a folder; None without either."""
    from mpar.errors import ConfigError
    from mpar.matching.regions import read_regions
    from mpar.matching.tracks import TrackFolder

    if path is not None and tracks_path is not None:
        raise ConfigError("regions: found both --regions and --tracks; pass one of them")
    if tracks_path is not None:
        return TrackFolder(tracks_path, points)
    return None if path is None else read_regions(path)


def parse_size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
    """Turn "128" or "96x128" into (height, width)."""
    if value is None:
        return None
    match = re.fullmatch("([0-9]{1,6})(?:[xX]([0-9]{1,6}))?", value)
    if not match:
        raise click.BadParameter(
            f"found {value!r}, expected N, or height and width as HxW, such as 96x128"
        )
    size = int(match[1]), int(match[2] or match[1])
    return checked_by("mpar.cache.preprocess_config.PreprocessConfig", "size")(_ctx, _param, size)


size = click.option(
    "--size",
    metavar="N|HxW",
    callback=parse_size,
    help="Resize frames to N x N, or to height H and width W, in px.",
)


def read_class_map(path: Path | None) -> Any:
    """Return the class map in a file, or the default map without a file."""
    from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap

    return DEFAULT_CLASS_MAP if path is None else ClassMap.from_csv(path)


def refuse_given(names: list[str], option: str) -> None:
    """Refuse options on the command line that `option` does not allow."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)} cannot be combined with {option}.")
