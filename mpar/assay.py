"""From predictions to the numbers of an assay: by animal, window and class, and by group.

Time is counted in frames, by a frame rate that is a fraction. Frame k begins at k/fps seconds,
and lies in a window [start, stop) if that moment does; so bins part the frames of a recording, and
their seconds add up to its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import mpar
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import UNLABELLED
from mpar.labels.metadata import Animal, read_animals
from mpar.labels.scorings import Labelled
from mpar.report.assay_plots import plot_groups, plot_raster, plot_time_course
from mpar.report.html_report import summary_page
from mpar.report.style import add_remark, save_figure
from mpar.scores.comparison import same_animal_remark
from mpar.scores.stored_predictions import read_predictions
from mpar.system.files import write_json, write_table, write_text

BY_ANIMAL, BY_GROUP, SETTINGS = "by_animal.csv", "by_group.csv", "settings.json"
PAGE = "report.html"
MEASURES = (
    "Seconds",
    "Percent",
    "Bouts",
    "Bouts_per_min",
    "Mean_bout_s",
    "Median_bout_s",
    "Latency_s",
)
COMPLETE_SHARE = Fraction(99, 100)

_UNIT_SECONDS = {"s": 1, "min": 60, "h": 3600}
_TIME = r"(-?[0-9]+(?:\.[0-9]+)?)\s*(s|min|h)?"
_WINDOW_COLUMNS = (
    "Window_type",
    "Window",
    "Window_start_s",
    "Window_stop_s",
)
_OWN_COLUMNS = (
    "Recording",
    "Animal",
    "Group",
    *_WINDOW_COLUMNS,
    "Observed_s",
    "Unlabelled_s",
    "Complete",
    "Class",
    *MEASURES,
    "Latency_censored",
    "Same_animal",
)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in seconds from the beginning (or the stimulus); half-open.

    Parameters
    ----------
    kind : {"whole", "bin", "window"}
        Why it is looked at.
    name : str
        As it is shown.
    start, stop : Fraction
        `stop` is None for the end of each recording.
    """

    kind: str
    name: str
    start: Fraction
    stop: Fraction | None

    @property
    def figure_name(self) -> str:
        """Name of the file of its figure, without suffix."""
        return f"groups_{self.name.replace(' ', '_').strip('.')}"


@dataclass(frozen=True, kw_only=True, slots=True)
class AssayConfig:
    """How an assay is summed up.

    Parameters
    ----------
    bin_length : str, optional
        Length of the bins that part each recording, as "5min".
    windows : sequence of str
        Named windows, as "phase1=0-10min".
    onset_column : str, optional
        Column of the metadata with the time of the stimulus, in seconds of the recording; windows
        and latencies count from it.
    group_by : sequence of str
        Columns of the metadata whose values make a group; by default "group", if there is one.
    """

    bin_length: str | None = None
    windows: Sequence[str] = ()
    onset_column: str | None = None
    group_by: Sequence[str] = ()

    def __post_init__(self) -> None:
        windows = self.named_windows()
        # figures are named after them, and some disks do not tell a from A
        if len({"groups_whole", *(w.figure_name.lower() for w in windows)}) <= len(windows):
            names = ", ".join(window.name for window in windows)
            raise ConfigError(f"window: found the names {names}; make them different")
        if self.bin_length is not None:
            parse_time(self.bin_length, "bin")

    def named_windows(self) -> list[Window]:
        """Return the windows that were asked for by name."""
        return [parse_window(text) for text in self.windows]


@dataclass(frozen=True, kw_only=True, slots=True)
class AssayReport:
    """What `summarize_assay` wrote.

    Parameters
    ----------
    num_recordings, num_animals : int
        Summed up.
    groups : tuple of str
        In order.
    paths : tuple of Path
        Tables, figures (PNG; the PDF lies beside it) and the page.
    warnings : tuple of str
        What to know before comparing groups.
    problems : tuple of Problem
        Recordings that were left out.
    """

    num_recordings: int
    num_animals: int
    groups: tuple[str, ...]
    paths: tuple[Path, ...]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]


def parse_time(text: str, what: str) -> Fraction:
    """Return the seconds of "5min", "300s" or "0.5h".

    Raises
    ------
    ConfigError
        It is no time above 0 with a unit.

    Examples
    --------
    >>> parse_time("5min", "bin")
    Fraction(300, 1)
    """
    match = re.fullmatch(_TIME, text.strip())
    if not match or not match[2] or Fraction(match[1]) <= 0:
        raise ConfigError(f"{what}: found {text!r}, expected a time above 0 such as 5min, 300s, 1h")
    return Fraction(match[1]) * _UNIT_SECONDS[match[2]]


def parse_window(text: str) -> Window:
    """Return the window of "phase1=0-10min"; the first time takes the unit of the second.

    Raises
    ------
    ConfigError
        It is no name and no two times in order.

    Examples
    --------
    >>> parse_window("baseline=-2-0min").start
    Fraction(-120, 1)
    """
    name, equals, times = (part.strip() for part in text.partition("="))
    match = re.fullmatch(rf"{_TIME}\s*-\s*{_TIME}", times)
    if not (name and equals and match and match[4] and re.fullmatch(r"[\w .+-]{1,40}", name)):
        raise ConfigError(
            f"window: found {text!r}, expected a name and two times such as phase1=0-10min"
        )
    unit = _UNIT_SECONDS[match[4]]
    start = Fraction(match[1]) * (_UNIT_SECONDS[match[2]] if match[2] else unit)
    stop = Fraction(match[3]) * unit
    if stop <= start:
        raise ConfigError(f"window: {text!r} ends before it begins; expected NAME=START-STOP")
    return Window("window", name, start, stop)


def make_windows(config: AssayConfig, longest: Fraction) -> list[Window]:
    """Return the whole recording, the bins up to `longest` seconds, and the named windows."""
    windows = [Window("whole", "whole", Fraction(0), None)]
    if config.bin_length is not None:
        length = parse_time(config.bin_length, "bin")
        unit = re.fullmatch(_TIME, config.bin_length.strip())[2]  # type: ignore[index]
        for i in range(ceil(longest / length)):
            start, stop = i * length, (i + 1) * length
            shown = "-".join(f"{float(t / _UNIT_SECONDS[unit]):g}" for t in (start, stop))
            windows.append(Window("bin", f"{shown} {unit}", start, stop))
    return windows + config.named_windows()


def summarize_window(
    recording: Labelled, window: Window, class_names: Sequence[str], onset: Fraction = Fraction(0)
) -> list[dict[str, Any]]:
    """Sum up one window of a recording, one row a class.

    Parameters
    ----------
    recording : Labelled
        Its labels.
    window : Window
        Counts from `onset`.
    class_names : sequence of str, length K
        Name of each class.
    onset : Fraction
        Seconds of the recording.

    Returns
    -------
    list of dict
        ``Observed_s``
            Seconds of the window that were filmed.
        ``Unlabelled_s``
            Of them, without a label.
        ``Complete``
            "yes" if at least 99 % of the window was filmed (cameras stop a little early).
        ``Seconds``, ``Percent``
            Time of the class in the window, and in percent of what was filmed of it.
        ``Bouts``, ``Bouts_per_min``
            Bouts that BEGIN in the window, also by minute filmed. A bout across an edge counts
            once, where it begins, so that the bouts of bins add up.
        ``Mean_bout_s``, ``Median_bout_s``
            Of the same bouts, in their whole length, not cut at the window's end. None without
            bouts.
        ``Latency_s``
            Seconds from the window's beginning to the first of these bouts: a bout that is under
            way when the window begins has no latency. None, and ``Latency_censored`` "yes", if
            none begins.

        In a window of which nothing was filmed all measures are None.

    Notes
    -----
    Our choice: time is cut at the edges of a window, because it must add up; bouts are not, because
    a cut bout has a wrong length, and one that counts twice makes more of them.
    """
    fps, num_frames = recording.fps, len(recording.labels)
    first = ceil((window.start + onset) * fps)
    last = num_frames if window.stop is None else ceil((window.stop + onset) * fps)
    start = min(max(first, 0), num_frames)
    stop = max(start, min(last, num_frames))
    labels = recording.labels[start:stop]
    observed = (stop - start) / fps
    bouts = find_bouts(recording.labels)
    bouts = bouts[(bouts["start"] >= start) & (bouts["start"] < stop)]
    shared = {
        "Window_type": window.kind,
        "Window": window.name,
        "Window_start_s": float(window.start),
        "Window_stop_s": float((num_frames / fps - onset) if window.stop is None else window.stop),
        "Observed_s": float(observed),
        "Unlabelled_s": float(int((labels == UNLABELLED).sum()) / fps),
        "Complete": "yes" if 0 < stop - start >= COMPLETE_SHARE * (last - first) else "no",
    }
    rows = []
    for k, name in enumerate(class_names):
        row = shared | {"Class": name} | dict.fromkeys(MEASURES) | {"Latency_censored": None}
        if stop > start:
            mine = bouts[bouts["label"] == k]
            lengths = [(b - a) / fps for a, b in zip(mine["start"], mine["stop"], strict=True)]
            num_class = int((labels == k).sum())
            row["Seconds"] = float(num_class / fps)
            row["Percent"] = 100 * num_class / (stop - start)
            row["Bouts"] = len(mine)
            row["Bouts_per_min"] = float(len(mine) * 60 / observed)
            row["Latency_censored"] = "no" if len(mine) else "yes"
            if len(mine):
                row["Mean_bout_s"] = float(sum(lengths) / len(mine))
                row["Median_bout_s"] = float(np.median([float(length) for length in lengths]))
                row["Latency_s"] = float(int(mine["start"].iloc[0]) / fps - window.start - onset)
        rows.append(row)
    return rows


def summarize_animals(
    animals: Sequence[Animal], windows: Sequence[Window], class_names: Sequence[str]
) -> pd.DataFrame:
    """Sum up all windows of all recordings: one tidy row a recording, window and class.

    ``Same_animal`` is "yes" where the network learnt from the animal, of whichever recording.
    """
    learnt = {item.animal for item in animals if item.recording.learnt_part}
    rows = [
        {"Recording": item.recording.name, "Animal": item.animal, "Group": item.group}
        | item.metadata
        | row
        | {"Same_animal": "yes" if item.animal in learnt else "no"}
        for item in animals
        for window in windows
        for row in summarize_window(item.recording, window, class_names, item.onset)
    ]
    return pd.DataFrame(rows)


def summarize_groups(by_animal: pd.DataFrame) -> pd.DataFrame:
    """Average the animals of each group: one row a group, window, class and measure.

    Parameters
    ----------
    by_animal : DataFrame
        From `summarize_animals`.

    Returns
    -------
    DataFrame
        ``N`` animals with a value in a complete window, their ``Mean`` and ``SEM`` (None below two
        animals), and ``N_without``: animals without one, because they lack the window or, for
        latency and bout lengths, a bout. A mean latency leaves out those that never did it, and is
        too short then. ``N_same_animal``: how many of the N the network learnt from.

    Notes
    -----
    Recordings of one animal are averaged first, since they are not independent. SEM is the sample
    standard deviation (n - 1) over the root of n.
    """
    keys = ["Group", *_WINDOW_COLUMNS[:3], "Class"]
    learnt = set(by_animal.loc[by_animal["Same_animal"] == "yes", "Animal"])
    values = by_animal[[*keys, "Animal", *MEASURES]].copy()
    values[list(MEASURES)] = values[list(MEASURES)].astype(float)
    values.loc[by_animal["Complete"] != "yes", list(MEASURES)] = np.nan
    animals = values.groupby([*keys, "Animal"], sort=False)[list(MEASURES)].mean().reset_index()
    stops = by_animal.groupby(keys, sort=False)["Window_stop_s"].max()
    rows = []
    for key, part in animals.groupby(keys, sort=False):
        named = dict(zip(keys, key, strict=True))
        for measure in MEASURES:
            found = part.set_index("Animal")[measure].dropna()
            rows.append(
                named
                | {
                    "Window_stop_s": stops[key],
                    "Measure": measure,
                    "N": len(found),
                    "Mean": found.mean() if len(found) else None,
                    "SEM": found.std(ddof=1) / len(found) ** 0.5 if len(found) > 1 else None,
                    "N_without": len(part) - len(found),
                    "N_same_animal": int(found.index.isin(learnt).sum()),
                }
            )
    counts = ["N", "Mean", "SEM", "N_without", "N_same_animal"]
    return pd.DataFrame(rows)[["Group", *_WINDOW_COLUMNS, "Class", "Measure", *counts]]


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
        Holds ``NAME_predictions.csv`` of mpar-predict with their json.
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
        Write ``report.html`` too; one that is there already is replaced with the rest in any case.
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
        Options that do not fit the data, or files that exist.
    InputError
        Nothing could be summed up.
    """
    config = config or AssayConfig()
    folder = Path(output_folder)
    figure_names = ["ethograms", "groups_whole", "time_course"]
    figure_names += [window.figure_name for window in config.named_windows()]
    names = [f"{name}{suffix}" for name in figure_names for suffix in (".png", ".pdf")]
    existing = [n for n in (BY_ANIMAL, BY_GROUP, SETTINGS, PAGE, *names) if (folder / n).exists()]
    if existing and not overwrite:
        raise ConfigError(
            f"{folder}: {', '.join(existing)} exist already; pass --overwrite to replace them, or "
            "choose another --output"
        )
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
    windows = make_windows(config, max(animal.seconds for animal in animals))
    by_animal = summarize_animals(animals, windows, class_names)
    by_group = summarize_groups(by_animal)
    learnt = set(by_animal.loc[by_animal["Same_animal"] == "yes", "Recording"])
    remark = same_animal_remark(len(learnt), len(animals))

    paths = [folder / BY_ANIMAL, folder / BY_GROUP, folder / SETTINGS]
    write_table(paths[0], by_animal)
    write_table(paths[1], by_group)
    settings = {
        "mpar_version": mpar.__version__,
        "remark": remark,
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
        paths.append(save_figure(add_remark(figure, remark), folder / name)[0])
    warnings = _find_warnings(animals, windows, by_animal)
    if html or (folder / PAGE).exists():
        rows = [_raster_row(animal) for animal in animals]
        page = summary_page(settings, by_group, rows, class_names, figures, warnings, learnt)
        write_text(folder / PAGE, page)
        paths.append(folder / PAGE)
    return AssayReport(
        num_recordings=len(animals),
        num_animals=len({animal.animal for animal in animals}),
        groups=tuple(dict.fromkeys(animal.group for animal in animals)),
        paths=tuple(paths),
        warnings=tuple([remark] * bool(remark) + warnings),
        problems=tuple(sorted(problems)),
    )


def _draw_figures(
    animals: Sequence[Animal],
    windows: Sequence[Window],
    class_names: Sequence[str],
    by_animal: pd.DataFrame,
    by_group: pd.DataFrame,
) -> dict[str, Figure]:
    """Return the figures by file name; windows and bins that nobody fills have none."""
    figures = {"ethograms": plot_raster([_raster_row(a) for a in animals], class_names)}
    for window in windows:
        rows = by_animal[(by_animal["Window"] == window.name) & (by_animal["Complete"] == "yes")]
        if window.kind != "bin" and len(rows):
            title = "" if window.kind == "whole" else window.name
            figures[window.figure_name] = plot_groups(rows, class_names, title=title)
    bins = by_group[(by_group["Window_type"] == "bin") & (by_group["Measure"] == "Percent")]
    if bins["N"].sum():
        figures["time_course"] = plot_time_course(bins, class_names)
    return figures


def _raster_row(animal: Animal) -> tuple[str, str, np.ndarray, Fraction, Fraction]:
    recording = animal.recording
    return animal.group, recording.name, recording.labels, recording.fps, animal.onset


def _find_warnings(
    animals: Sequence[Animal], windows: Sequence[Window], by_animal: pd.DataFrame
) -> list[str]:
    warnings = []
    has_window = any(window.kind == "window" for window in windows)
    lengths = sorted(animal.seconds for animal in animals)
    if lengths[0] < COMPLETE_SHARE * lengths[-1]:
        warnings.append(
            f"recordings last {float(lengths[0]):.1f} to {float(lengths[-1]):.1f} s, so that "
            "seconds and counts of 'whole' do not compare; look at percent and rates"
            + (", or at the windows" if has_window else ", or pass --window")
        )
    for window in windows:
        rows = by_animal[by_animal["Window"] == window.name]
        missing = rows[rows["Complete"] != "yes"]["Recording"].nunique()
        if missing:
            warnings.append(
                f"{missing} of {len(animals)} recordings do not fill the window {window.name!r}; "
                "groups leave them out"
            )
    return warnings
