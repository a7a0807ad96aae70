"""The numbers of an assay: time, bouts and latencies by animal, window and class, and by group.

A frame belongs to the window [start, stop) in which it begins, where a time may be rounded to
milliseconds (`mpar.video.timeline.TimeLine.first_at`). Every frame from time 0 on therefore belongs
to exactly one bin, and the seconds of the bins add up. Each frame lasts until the next one begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pandas as pd

from mpar.errors import ConfigError
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import UNLABELLED
from mpar.labels.scorings import Recording
from mpar.matching.metadata import Animal

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
WINDOW_COLUMNS = (
    "Window_type",
    "Window",
    "Window_start_s",
    "Window_stop_s",
)


@dataclass(frozen=True, slots=True)
class Window:
    """A time window, in seconds from the beginning (or the stimulus); half-open.

    Parameters
    ----------
    kind : {"whole", "bin", "window"}
        The whole recording, one of equal bins, or a window named by the user.
    name : str
        Displayed name.
    start, stop : Fraction
        If `stop` is None, the window ends with each recording.
    """

    kind: str
    name: str
    start: Fraction
    stop: Fraction | None

    @property
    def figure_name(self) -> str:
        """File name of its figure, without suffix."""
        return f"groups_{self.name.replace(' ', '_').strip('.')}"


def parse_time(text: str, what: str) -> Fraction:
    """Return the seconds of "5min", "300s" or "0.5h".

    Raises
    ------
    ConfigError
        The text is not a time above 0 with a unit.

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
        The text is not a name with two times in order.

    Examples
    --------
    >>> parse_window("baseline=-2-0min").start
    Fraction(-120, 1)
    """
    name, equals, times = (part.strip() for part in text.partition("="))
    match = re.fullmatch(rf"{_TIME}\s*-\s*{_TIME}", times)
    if not (name and equals and match and match[4] and re.fullmatch(r"[\w .+-]{1,40}", name)):
        raise ConfigError(
            f"window: found {text!r}, expected a name and two times, such as phase1=0-10min"
        )
    unit = _UNIT_SECONDS[match[4]]
    start = Fraction(match[1]) * (_UNIT_SECONDS[match[2]] if match[2] else unit)
    stop = Fraction(match[3]) * unit
    if stop <= start:
        raise ConfigError(f"window: {text!r} ends before it begins; expected NAME=START-STOP")
    return Window("window", name, start, stop)


def make_windows(
    longest: Fraction, bin_length: str | None = None, named: Sequence[Window] = ()
) -> list[Window]:
    """Return the whole recording, the bins up to `longest` seconds, and the named windows."""
    windows = [Window("whole", "whole", Fraction(0), None)]
    if bin_length is not None:
        length = parse_time(bin_length, "bin")
        unit = re.fullmatch(_TIME, bin_length.strip())[2]  # type: ignore[index]
        for i in range(ceil(longest / length)):
            start, stop = i * length, (i + 1) * length
            shown = "-".join(f"{float(t / _UNIT_SECONDS[unit]):g}" for t in (start, stop))
            windows.append(Window("bin", f"{shown} {unit}", start, stop))
    return [*windows, *named]


def summarize_window(
    recording: Recording, window: Window, class_names: Sequence[str], onset: Fraction = Fraction(0)
) -> list[dict[str, Any]]:
    """Summarize one window of a recording, one row per class.

    Parameters
    ----------
    recording : Recording
        The recording with its labels.
    window : Window
        The window, counted from `onset`.
    class_names : sequence of str, length K
        Name of each class.
    onset : Fraction
        Time zero of the window (the stimulus), in seconds from the start of the recording.

    Returns
    -------
    list of dict
        ``Observed_s``
            Seconds of the window that were filmed.
        ``Unlabelled_s``
            Of these, seconds without a label.
        ``Complete``
            "yes" if at least 99 % of the window was filmed (cameras stop a little early).
        ``Seconds``, ``Percent``
            Time of the class in the window, in seconds and in percent of the filmed time.
        ``Bouts``, ``Bouts_per_min``
            Bouts that begin in the window, also per filmed minute. A bout across an edge counts
            once, where it begins, so the bouts of all bins add up.
        ``Mean_bout_s``, ``Median_bout_s``
            Whole length of the same bouts, not cut at the end of the window. None without bouts.
        ``Latency_s``
            Seconds from the start of the window to the first of these bouts. A bout that is under
            way when the window begins has no latency. If no bout begins, the latency is None and
            ``Latency_censored`` is "yes".

        If nothing of the window was filmed, all measures are None.

    Notes
    -----
    We cut time at the edges of a window so that it adds up. We do not cut bouts: a cut bout has a
    wrong length, and a bout that counts in two windows raises their number. This is our choice.
    """
    clock = recording.clock
    begin, end = (
        window.start + onset,
        (clock.seconds if window.stop is None else window.stop + onset),
    )
    start, stop = clock.first_at(begin), clock.first_at(end)
    stop = max(start, stop)
    is_inside = np.zeros(clock.num_frames, bool)
    is_inside[start:stop] = True
    observed = clock.seconds_of(is_inside)
    bouts = find_bouts(recording.labels)
    bouts = bouts[(bouts["start"] >= start) & (bouts["start"] < stop)]
    shared = {
        "Window_type": window.kind,
        "Window": window.name,
        "Window_start_s": float(window.start),
        "Window_stop_s": float(end - onset),
        "Observed_s": float(observed),
        "Unlabelled_s": float(clock.seconds_of(is_inside & (recording.labels == UNLABELLED))),
        "Complete": "yes" if 0 < observed >= COMPLETE_SHARE * (end - begin) else "no",
    }
    rows = []
    for k, name in enumerate(class_names):
        row = shared | {"Class": name} | dict.fromkeys(MEASURES) | {"Latency_censored": None}
        if stop > start:
            mine = bouts[bouts["label"] == k]
            lengths = [
                clock.start_of(b) - clock.start_of(a)
                for a, b in zip(mine["start"].tolist(), mine["stop"].tolist(), strict=True)
            ]
            seconds = clock.seconds_of(is_inside & (recording.labels == k))
            row["Seconds"] = float(seconds)
            row["Percent"] = float(100 * seconds / observed)
            row["Bouts"] = len(mine)
            row["Bouts_per_min"] = float(len(mine) * 60 / observed)
            row["Latency_censored"] = "no" if len(mine) else "yes"
            if len(mine):
                row["Mean_bout_s"] = float(sum(lengths) / len(mine))
                row["Median_bout_s"] = float(np.median([float(length) for length in lengths]))
                latency = clock.start_of(int(mine["start"].iloc[0])) - begin
                row["Latency_s"] = max(0.0, float(latency))
        rows.append(row)
    return rows


def summarize_animals(
    animals: Sequence[Animal], windows: Sequence[Window], class_names: Sequence[str]
) -> pd.DataFrame:
    """Summarize all windows of all recordings: one row per recording, window and class.

    ``Same_animal`` is "yes" if the network learnt from any recording of the animal.
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
    """Average the animals of each group: one row per group, window, class and measure.

    Parameters
    ----------
    by_animal : DataFrame
        From `summarize_animals`.

    Returns
    -------
    DataFrame
        ``N`` animals with a value in a complete window, their ``Mean`` and ``SEM`` (None below two
        animals), and ``N_without``: animals without a value, because they lack the window or, for
        latency and bout lengths, a bout. A mean latency leaves out animals without a bout and is
        therefore too short. ``N_same_animal``: number of the N animals that the network learnt
        from.

    Notes
    -----
    We average the recordings of one animal first, since they are not independent. SEM is the
    sample standard deviation (n - 1) divided by the square root of n.
    """
    keys = ["Group", *WINDOW_COLUMNS[:3], "Class"]
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
    return pd.DataFrame(rows)[["Group", *WINDOW_COLUMNS, "Class", "Measure", *counts]]
