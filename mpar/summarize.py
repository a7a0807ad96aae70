"""Tables and figures of an assay from predictions, by animal and by group."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

import mpar
from mpar.assay.event_plots import plot_events
from mpar.assay.group_tests import EXPLORATORY, compare_groups
from mpar.assay.plots import plot_groups, plot_raster, plot_time_course
from mpar.assay.responses import (
    choose_responses,
    columns_of_events,
    event_tables,
    parse_response_window,
    warn_of_overlaps,
)
from mpar.assay.stimuli import Stimulus, read_stimuli
from mpar.assay.tables import group_columns, widen
from mpar.assay.windows import (
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
from mpar.assay.workbook import check_workbook, write_workbook
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.classes import ClassMap
from mpar.matching.metadata import Animal, read_animals
from mpar.predictions.reading import read_predictions
from mpar.report.html_report import summary_page
from mpar.report.style import add_warning, save_figure
from mpar.scores.comparison import same_animal_warning
from mpar.system.files import is_there, parse_json, write_json, write_table, write_text

log = logging.getLogger(__name__)

BY_ANIMAL, BY_GROUP, SETTINGS = "by_animal.csv", "by_group.csv", "settings.json"
PAGE, WORKBOOK = "report.html", "summary.xlsx"
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
    "Recordings",
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
    events_path : Path or str, optional
        Stimuli (`read_stimuli`); also write ``events.csv`` with one row per stimulus (`respond`),
        ``responses.csv`` (`summarize_responses`) and the figures ``peri_event_<event>``.
    response_window : str
        Seconds from the stimulus in which a response begins, such as "0-2s".
    force_column : str, optional
        Column of the stimuli with the force of von Frey filaments; also write ``thresholds.csv``
        (`thresholds`).
    wide : bool
        Also write ``wide.csv``, one row per animal (`widen`), and ``prism_<measure>.csv``, one
        column per group (`group_columns`).
    xlsx : bool
        Also write all tables to ``summary.xlsx``, one sheet each.
    compare : str, optional
        Column of the metadata; also write ``comparison.csv``, which compares the groups that its
        values define (`compare_groups`).
    responses : sequence of str
        Classes that count as responses to the events; by default those that the class map marks.
    """

    bin_length: str | None = None
    windows: Sequence[str] = ()
    onset_column: str | None = None
    group_by: Sequence[str] = ()
    events_path: Path | str | None = None
    response_window: str = "0-2s"
    force_column: str | None = None
    wide: bool = False
    xlsx: bool = False
    compare: str | None = None
    responses: Sequence[str] = ()

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
        parse_response_window(self.response_window)
        if self.force_column is not None and self.events_path is None:
            raise ConfigError("force column: names a column of the events; pass --events")
        if self.responses and self.events_path is None:
            raise ConfigError("response: chooses what counts as a response; pass --events")

    def settings(self) -> dict[str, Any]:
        """Return the options as plain values for ``settings.json``."""
        has_events = self.events_path is not None
        return {
            "bin": self.bin_length,
            "windows": list(self.windows),
            "onset_column": self.onset_column,
            "group_by": list(self.group_by),
            "compare": self.compare,
            "events": str(self.events_path) if has_events else None,
            "response_window": self.response_window if has_events else None,
            "force_column": self.force_column,
        }

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
    responses, other_classes : tuple of str
        Classes that count as responses to the events (none without events), and all others.
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
    responses: tuple[str, ...]
    other_classes: tuple[str, ...]
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
        Replace these files; those of an earlier summary that this one does not make are removed.
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
    if config.xlsx:
        check_workbook()
    if not overwrite:
        _refuse_existing(folder, config)
    predictions, class_map, problems = read_predictions(prediction_folder, quiet=quiet)
    class_names = class_map.class_names
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
    events = _read_events(animals, config, class_map)
    problems += events.problems
    tables = _make_tables(animals, by_animal, by_group, config) | events.tables(class_names)
    paths = _write_tables(folder, tables, xlsx=config.xlsx)
    figures = _draw_figures(animals, windows, class_names, by_animal, by_group)
    figures |= plot_events(events.stimuli, class_names, events.window)
    made = {path.name for path in paths}
    made |= {name + suffix for name in figures for suffix in (".png", ".pdf")}
    _remove_older(folder, made)
    settings = {
        "mpar_version": mpar.__version__,
        "warning": warning,
        "predictions": str(prediction_folder),
        "metadata": str(metadata_path) if metadata_path else None,
        **config.settings(),
        "responses": list(events.responses),
        "left_out": [str(problem) for problem in sorted(problems)],
        "files": sorted(made),
    }
    write_json(folder / SETTINGS, settings)
    paths.append(folder / SETTINGS)
    for name, figure in figures.items():
        paths.append(save_figure(add_warning(figure, warning), folder / name)[0])
    warnings = [*_find_warnings(animals, windows, by_animal), *events.warnings]
    warnings += [f"comparison.csv is {EXPLORATORY}"] if config.compare is not None else []
    if html or (folder / PAGE).exists():
        page = summary_page(settings, by_group, animals, class_names, figures, warnings, learnt)
        write_text(folder / PAGE, page)
        paths.append(folder / PAGE)
    return AssayReport(
        num_recordings=len(animals),
        num_animals=len({animal.animal for animal in animals}),
        groups=tuple(dict.fromkeys(animal.group for animal in animals)),
        responses=tuple(events.responses),
        other_classes=tuple(name for name in class_names if name not in events.responses),
        paths=tuple(paths),
        warnings=tuple([warning] * bool(warning) + warnings),
        problems=tuple(sorted(problems)),
    )


def _remove_older(folder: Path, made: Collection[str]) -> None:
    """Remove what an earlier summary made there and this one does not: it has other settings."""
    try:
        known = parse_json((folder / SETTINGS).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, LookupError, TypeError):
        return
    for name in known if isinstance(known, list) else ():
        if name not in made and name == Path(str(name)).name:
            (folder / name).unlink(missing_ok=True)
            log.info("%s: removed, since it belongs to an earlier summary", name)


def _make_tables(
    animals: Sequence[Animal], by_animal: pd.DataFrame, by_group: pd.DataFrame, config: AssayConfig
) -> dict[str, pd.DataFrame]:
    """Return the tables by file name, without suffix."""
    tables = {"by_animal": by_animal, "by_group": by_group}
    named = [name for name in animals[0].metadata if name not in _OWN_COLUMNS]
    if config.wide:
        tables["wide"] = widen(by_animal, named)
        tables |= {f"prism_{name}": table for name, table in group_columns(by_animal)}
    if config.compare is not None:
        grouped = _grouped_by(by_animal, config.compare, named, config.group_by)
        tables["comparison"] = compare_groups(grouped)
    return tables


@dataclass(frozen=True, slots=True)
class _Events:
    """Stimuli, the classes that count as responses, and what is to be known about them."""

    window: tuple[Fraction, Fraction]
    has_force: bool = False
    stimuli: Sequence[Stimulus] = ()
    responses: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    warnings: Sequence[str] = ()

    def tables(self, class_names: Sequence[str]) -> dict[str, pd.DataFrame]:
        """Return the tables of the responses by file name, none without stimuli."""
        if not self.stimuli:
            return {}
        return event_tables(
            self.stimuli, self.window, class_names, self.responses, has_force=self.has_force
        )


def _read_events(animals: Sequence[Animal], config: AssayConfig, class_map: ClassMap) -> _Events:
    window = parse_response_window(config.response_window)
    if config.events_path is None:
        return _Events(window)
    responses = choose_responses(class_map, config.responses)
    stimuli, problems = read_stimuli(
        config.events_path,
        animals,
        force_column=config.force_column,
        taken=columns_of_events(responses),
    )
    if not stimuli:
        raise InputError(
            problems or [Problem(str(config.events_path), 0, "holds no stimulus", "empty")]
        )
    warnings = warn_of_overlaps(stimuli, window)
    return _Events(window, config.force_column is not None, stimuli, responses, problems, warnings)


def _write_tables(folder: Path, tables: dict[str, pd.DataFrame], *, xlsx: bool) -> list[Path]:
    """Write tables as CSV files and, if asked for, as a workbook; return the paths."""
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        write_table(path, table)
    if xlsx:
        paths.append(folder / WORKBOOK)
        write_workbook(paths[-1], tables)
    return paths


def _grouped_by(
    by_animal: pd.DataFrame, column: str, known: Sequence[str], group_by: Sequence[str]
) -> pd.DataFrame:
    """Return the table with the values of a metadata column as groups."""
    # the metadata column that makes the groups by default is the table's column Group
    is_default = [name.lower() for name in group_by or ("group",)] == ["group"]
    has_default = is_default and {*by_animal["Group"]} != {"all"}
    if column in known:
        table = by_animal.assign(Group=by_animal[column])
    elif has_default and column.lower() == "group":
        table = by_animal
    elif names := [*["group"] * has_default, *known]:
        raise ConfigError(
            f"compare: found no column {column!r} in the metadata, expected one of "
            f"{', '.join(names)}; name another column, or add it"
        )
    else:
        raise ConfigError(
            f"compare: found no column {column!r}, since there are no metadata; pass --metadata "
            "with it"
        )
    table = table[table["Group"] != ""]
    if table["Group"].nunique() < 2:
        raise ConfigError(
            f"compare: the column {column!r} has one value, expected two groups or more"
        )
    return table


def _refuse_existing(folder: Path, config: AssayConfig) -> None:
    """Raise ConfigError if an output file exists."""
    figures = ["ethograms", "groups_whole", "time_course"]
    figures += [window.figure_name for window in config.named_windows()]
    names = [f"{name}{suffix}" for name in figures for suffix in (".png", ".pdf")]
    own = [BY_ANIMAL, BY_GROUP, SETTINGS, PAGE, WORKBOOK]
    own += [f"{name}.csv" for name in ("wide", "comparison", "events", "responses", "thresholds")]
    existing = [name for name in (*own, *names) if is_there(folder / name)]
    for pattern in ("prism_*.csv", "peri_event_*.*"):
        existing += [path.name for path in folder.glob(pattern)]
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
    warnings = _warn_of_means(animals)
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


def _warn_of_means(animals: Sequence[Animal]) -> list[str]:
    """Warn that recordings of one animal and group are averaged although their metadata differ."""
    found: dict[tuple[str, str], list[Animal]] = defaultdict(list)
    for item in animals:
        found[item.animal, item.group].append(item)
    columns = [
        column
        for column in animals[0].metadata
        if any(len({item.metadata[column] for item in items}) > 1 for items in found.values())
    ]
    several = sum(len(items) > 1 for items in found.values())
    if not columns:
        return []
    return [
        f"the recordings of {several} animals are averaged, though they differ in "
        f"{', '.join(columns)}; --group-by COLUMN keeps such recordings apart"
    ]
