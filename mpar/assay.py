"""Tables and figures of an assay from predictions, by animal and by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import mpar
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.metadata import Animal, read_animals
from mpar.report.assay_plots import plot_groups, plot_raster, plot_time_course
from mpar.report.html_report import summary_page
from mpar.report.style import add_warning, save_figure
from mpar.scores.comparison import same_animal_warning
from mpar.scores.stored_predictions import read_predictions
from mpar.scores.windows import (
    COMPLETE_SHARE,
    MEASURES,
    WINDOW_COLUMNS,
    Window,
    make_windows,
    parse_time,
    parse_window,
    summarize_animals,
    summarize_groups,
)
from mpar.system.files import write_json, write_table, write_text

BY_ANIMAL, BY_GROUP, SETTINGS = "by_animal.csv", "by_group.csv", "settings.json"
PAGE = "report.html"
_OWN_COLUMNS = (
    "Recording",
    "Animal",
    "Group",
    *WINDOW_COLUMNS,
    "Observed_s",
    "Unlabelled_s",
    "Complete",
    "Class",
    *MEASURES,
    "Latency_censored",
    "Same_animal",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AssayConfig:
    """How to summarize an assay.

    Parameters
    ----------
    bin_length : str, optional
        Length of the time bins, such as "5min".
    windows : sequence of str
        Named windows, such as "phase1=0-10min".
    onset_column : str, optional
        Column of the metadata with the time of the stimulus, in seconds from the start of the
        recording; windows and latencies count from it.
    group_by : sequence of str
        Columns of the metadata whose values define the groups; by default "group", if it exists.
    """

    bin_length: str | None = None
    windows: Sequence[str] = ()
    onset_column: str | None = None
    group_by: Sequence[str] = ()

    def __post_init__(self) -> None:
        windows = self.named_windows()
        # figure files have these names, and some disks ignore capitals
        if len({"groups_whole", *(w.figure_name.lower() for w in windows)}) <= len(windows):
            names = ", ".join(window.name for window in windows)
            raise ConfigError(
                f"window: found the names {names}, expected distinct names other than 'whole'; "
                "rename one"
            )
        if self.bin_length is not None:
            parse_time(self.bin_length, "bin")

    def named_windows(self) -> list[Window]:
        """Return the named windows."""
        return [parse_window(text) for text in self.windows]


@dataclass(frozen=True, kw_only=True, slots=True)
class AssayReport:
    """What `summarize_assay` wrote.

    Parameters
    ----------
    num_recordings, num_animals : int
        Number of summarized recordings and animals.
    groups : tuple of str
        Groups in order.
    paths : tuple of Path
        Tables, figures (PNG; with a PDF beside each) and the page.
    warnings : tuple of str
        Warnings about the comparison of groups.
    problems : tuple of Problem
        Recordings that were left out.
    """

    num_recordings: int
    num_animals: int
    groups: tuple[str, ...]
    paths: tuple[Path, ...]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]


def summarize_assay(
    prediction_folder: Path | str,
    output_folder: Path | str,
    *,
    metadata_path: Path | str | None = None,
    config: AssayConfig | None = None,
    html: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
) -> AssayReport:
    """Turn a folder of predictions into the tables and figures of an assay.

    Parameters
    ----------
    prediction_folder : Path or str
        Folder with ``NAME_predictions.csv`` of mpar-predict and their JSON files.
    output_folder : Path or str
        Gets ``by_animal.csv`` (`summarize_window` defines its columns), ``by_group.csv``
        (`summarize_groups`), ``settings.json`` and, as PNG and PDF, ``ethograms``,
        ``groups_<window>`` for the whole recordings and each named window, and ``time_course`` if
        there are bins.
    metadata_path : Path or str, optional
        As for `read_animals`.
    config : AssayConfig, optional
        Windows and groups.
    html : bool
        Also write ``report.html``. An existing page is always replaced together with the tables.
    overwrite : bool
        Replace these files.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    AssayReport

    Raises
    ------
    ConfigError
        The options do not fit the data, or files exist and `overwrite` is False.
    InputError
        No recording could be summarized.
    """
    config = config or AssayConfig()
    folder = Path(output_folder)
    if not overwrite:
        _refuse_existing(folder, config)
    predictions, class_names, problems = read_predictions(prediction_folder, quiet=quiet)
    animals, more = read_animals(
        predictions,
        metadata_path,
        onset_column=config.onset_column,
        group_by=config.group_by,
        taken=_OWN_COLUMNS,
    )
    problems += more
    if not animals:
        raise InputError(problems)
    longest = max(animal.seconds for animal in animals)
    windows = make_windows(longest, config.bin_length, config.named_windows())
    by_animal = summarize_animals(animals, windows, class_names)
    by_group = summarize_groups(by_animal)
    learnt = set(by_animal.loc[by_animal["Same_animal"] == "yes", "Recording"])
    warning = same_animal_warning(len(learnt), len(animals))

    paths = [folder / BY_ANIMAL, folder / BY_GROUP, folder / SETTINGS]
    write_table(paths[0], by_animal)
    write_table(paths[1], by_group)
    settings = {
        "mpar_version": mpar.__version__,
        "warning": warning,
        "predictions": str(prediction_folder),
        "metadata": str(metadata_path) if metadata_path else None,
        "bin": config.bin_length,
        "windows": list(config.windows),
        "onset_column": config.onset_column,
        "group_by": list(config.group_by),
        "left_out": [str(problem) for problem in sorted(problems)],
    }
    write_json(paths[2], settings)
    figures = _draw_figures(animals, windows, class_names, by_animal, by_group)
    for name, figure in figures.items():
        paths.append(save_figure(add_warning(figure, warning), folder / name)[0])
    warnings = _find_warnings(animals, windows, by_animal)
    if html or (folder / PAGE).exists():
        page = summary_page(settings, by_group, animals, class_names, figures, warnings, learnt)
        write_text(folder / PAGE, page)
        paths.append(folder / PAGE)
    return AssayReport(
        num_recordings=len(animals),
        num_animals=len({animal.animal for animal in animals}),
        groups=tuple(dict.fromkeys(animal.group for animal in animals)),
        paths=tuple(paths),
        warnings=tuple([warning] * bool(warning) + warnings),
        problems=tuple(sorted(problems)),
    )


def _refuse_existing(folder: Path, config: AssayConfig) -> None:
    """Raise ConfigError if an output file exists."""
    figures = ["ethograms", "groups_whole", "time_course"]
    figures += [window.figure_name for window in config.named_windows()]
    names = [f"{name}{suffix}" for name in figures for suffix in (".png", ".pdf")]
    existing = [n for n in (BY_ANIMAL, BY_GROUP, SETTINGS, PAGE, *names) if (folder / n).exists()]
    if existing:
        raise ConfigError(
            f"{folder}: already holds {', '.join(existing)}; pass --overwrite to replace them, or "
            "choose another --output"
        )


def _draw_figures(
    animals: Sequence[Animal],
    windows: Sequence[Window],
    class_names: Sequence[str],
    by_animal: pd.DataFrame,
    by_group: pd.DataFrame,
) -> dict[str, Figure]:
    """Return the figures by file name, without windows and bins that no recording fills."""
    figures = {"ethograms": plot_raster(animals, class_names)}
    for window in windows:
        rows = by_animal[(by_animal["Window"] == window.name) & (by_animal["Complete"] == "yes")]
        if window.kind != "bin" and len(rows):
            title = "" if window.kind == "whole" else window.name
            figures[window.figure_name] = plot_groups(rows, class_names, title=title)
    bins = by_group[(by_group["Window_type"] == "bin") & (by_group["Measure"] == "Percent")]
    if bins["N"].sum():
        figures["time_course"] = plot_time_course(bins, class_names)
    return figures


def _find_warnings(
    animals: Sequence[Animal], windows: Sequence[Window], by_animal: pd.DataFrame
) -> list[str]:
    warnings = []
    has_window = any(window.kind == "window" for window in windows)
    lengths = sorted(animal.seconds for animal in animals)
    if lengths[0] < COMPLETE_SHARE * lengths[-1]:
        warnings.append(
            f"recordings last {float(lengths[0]):.1f} to {float(lengths[-1]):.1f} s, so seconds "
            "and counts of 'whole' are not comparable; compare percent and rates"
            + (", or the windows" if has_window else ", or pass --window")
        )
    for window in windows:
        rows = by_animal[by_animal["Window"] == window.name]
        missing = rows[rows["Complete"] != "yes"]["Recording"].nunique()
        if missing:
            warnings.append(
                f"{missing} of {len(animals)} recordings do not fill the window {window.name!r}; "
                "group means leave them out"
            )
    return warnings
