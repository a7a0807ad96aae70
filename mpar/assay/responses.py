"""Responses to stimuli: one row per stimulus, rates by group, and von Frey thresholds.

Shapes: S stimuli, T frames.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from mpar.assay.stimuli import Stimulus
from mpar.errors import ConfigError
from mpar.labels.bouts import find_bouts
from mpar.labels.classes import UNLABELLED, ClassMap

EVENT_COLUMNS = (
    *("Recording", "Animal", "Group", "Event", "Start_s", "Stop_s"),
    *("Window_start_s", "Window_stop_s", "Complete", "Unlabelled_s", "Under_way"),
    *("Response", "Latency_s", "Latency_censored", "First_class", "First_bout_s"),
)
_TIME = r"(-?[0-9]+(?:\.[0-9]+)?)"


def parse_response_window(text: str) -> tuple[Fraction, Fraction]:
    """Return the seconds of "0-2s", counted from the stimulus.

    Raises
    ------
    ConfigError
        The text is not two times in order.
    """
    match = re.fullmatch(rf"\s*{_TIME}\s*s?\s*-\s*{_TIME}\s*s\s*", text)
    if not match or Fraction(match[2]) <= Fraction(match[1]):
        raise ConfigError(f"response window: found {text!r}, expected two times such as 0-2s")
    return Fraction(match[1]), Fraction(match[2])


def columns_of_events(responses: Sequence[str]) -> list[str]:
    """Return the names of the result columns of events.csv."""
    return [*EVENT_COLUMNS, *(f"{name}_s" for name in responses)]


def choose_responses(class_map: ClassMap, chosen: Collection[str] = ()) -> tuple[str, ...]:
    """Return the classes that count as responses, in order of class.

    Parameters
    ----------
    class_map : ClassMap
        The classes, some of which it marks as responses.
    chosen : collection of str
        Classes that count instead of those.

    Raises
    ------
    ConfigError
        A chosen class does not exist, or there is no response.
    """
    names = class_map.class_names
    if unknown := [name for name in chosen if name not in names]:
        raise ConfigError(f"response: found {unknown[0]!r}, expected one of {', '.join(names)}")
    found = tuple(name for name in names if name in (chosen or class_map.responses))
    if not found:
        raise ConfigError(
            f"events: none of the classes ({', '.join(names)}) is marked as a response; pass "
            "--response CLASS for each that counts"
        )
    return found


def event_tables(
    stimuli: Sequence[Stimulus],
    window: tuple[Fraction, Fraction],
    class_names: Sequence[str],
    responses: Sequence[str],
    *,
    has_force: bool,
) -> dict[str, pd.DataFrame]:
    """Return the tables of `respond`, `summarize_responses` and `thresholds` by file name."""
    events = respond(stimuli, window, class_names, responses)
    tables = {"events": events, "responses": summarize_responses(events)}
    return tables | ({"thresholds": thresholds(stimuli, events)} if has_force else {})


def find_stops(stimuli: Sequence[Stimulus], window: tuple[Fraction, Fraction]) -> list[Fraction]:
    """Return the second at which the window of each stimulus stops.

    It stops where the window of the next stimulus in the same recording begins, so that one bout
    does not answer two stimuli. Stimuli in the same frame share their window.
    """
    starts: dict[str, list[tuple[int, Fraction]]] = defaultdict(list)
    for item in stimuli:
        clock = item.animal.recording.clock
        starts[item.animal.recording.name].append((clock.frame_of(item.start), item.start))
    stops = []
    for item in stimuli:
        frame = item.animal.recording.clock.frame_of(item.start)
        later = [s for f, s in starts[item.animal.recording.name] if f > frame]
        stop = item.start + window[1]
        stops.append(min(stop, min(later) + window[0]) if later else stop)
    return stops


def warn_of_overlaps(stimuli: Sequence[Stimulus], window: tuple[Fraction, Fraction]) -> list[str]:
    """Return warnings about stimuli that are closer together than their windows are long."""
    pairs = zip(stimuli, find_stops(stimuli, window), strict=True)
    cut = [item for item, stop in pairs if stop < item.start + window[1]]
    frames = Counter(
        (item.animal.recording.name, item.animal.recording.clock.frame_of(item.start))
        for item in stimuli
    )
    warnings = []
    if cut:
        first = cut[0]
        warnings.append(
            f"{len(cut)} of {len(stimuli)} stimuli (the first: {first.event} of "
            f"{first.animal.recording.name} at {float(first.start):g} s) came less than "
            f"{float(window[1] - window[0]):g} s before the next one; their windows for responses "
            "stop there, so that one bout does not answer two stimuli"
        )
    if together := sum(number for number in frames.values() if number > 1):
        warnings.append(
            f"{together} stimuli began at the same time as another one; a bout answers all of them"
        )
    return warnings


def respond(
    stimuli: Sequence[Stimulus],
    window: tuple[Fraction, Fraction],
    class_names: Sequence[str],
    responses: Sequence[str],
) -> pd.DataFrame:
    """Return what followed each stimulus, one row per stimulus.

    Parameters
    ----------
    stimuli : sequence of Stimulus
        From `mpar.assay.stimuli.read_stimuli`.
    window : (Fraction, Fraction)
        Seconds from the start of the stimulus within which a response must begin, half-open. A
        window stops earlier where that of the next stimulus begins (`find_stops`).
    class_names : sequence of str, length K
        Names of the classes.
    responses : sequence of str
        Those that count as responses.

    Returns
    -------
    DataFrame
        Further columns of the stimuli, then ``Complete`` ("yes" if the whole window was filmed),
        ``Unlabelled_s``, ``Under_way`` ("yes" if a bout of a response was under way when the window
        began; it does not count), ``Response`` ("yes" if a bout of any response begins in the
        window; empty if none does, but part of the window was not filmed or has no label),
        ``Latency_s`` from the stimulus to the first of these bouts, ``Latency_censored`` ("yes" if
        there is none), ``First_class`` and ``First_bout_s``, the class and whole length of that
        bout, and for each response ``<class>_s``, its seconds within the window.
    """
    counting = [class_names.index(name) for name in responses]
    stops = find_stops(stimuli, window)
    return pd.DataFrame(
        [
            _respond(item, (item.start + window[0], stop), class_names, counting)
            for item, stop in zip(stimuli, stops, strict=True)
        ]
    )


def _respond(
    item: Stimulus,
    window: tuple[Fraction, Fraction],
    names: Sequence[str],
    counting: Sequence[int],
) -> dict[str, Any]:
    """Return the row of a stimulus, whose window is in seconds of the recording."""
    recording, clock = item.animal.recording, item.animal.recording.clock
    begin, end = window
    start, stop = clock.first_at(begin), clock.first_at(end)
    is_inside = np.zeros(clock.num_frames, bool)
    is_inside[start:stop] = True
    labels = recording.labels
    unlabelled = float(clock.seconds_of(is_inside & (labels == UNLABELLED)))
    is_complete = begin >= 0 and clock.is_before_end(end)
    bouts = find_bouts(labels)
    bouts = bouts[bouts["label"].isin(counting)]
    first = bouts[(bouts["start"] >= start) & (bouts["start"] < stop)].head(1)
    row: dict[str, Any] = {
        **{"Recording": recording.name, "Animal": item.animal.animal, "Group": item.animal.group},
        **{"Event": item.event, "Start_s": float(item.start)},
        "Stop_s": None if item.stop is None else float(item.stop),
        **item.columns,
        **{"Window_start_s": float(begin), "Window_stop_s": float(end)},
        "Complete": "yes" if is_complete else "no",
        "Unlabelled_s": unlabelled,
        "Under_way": _yes(((bouts["start"] < start) & (bouts["stop"] > start)).any()),
        "Response": "no" if is_complete and not unlabelled else "",
        **{"Latency_s": None, "Latency_censored": "yes", "First_class": "", "First_bout_s": None},
    }
    for a, b, label in first[["start", "stop", "label"]].to_numpy().tolist():
        row |= {
            "Response": "yes",
            "Latency_s": float(max(clock.start_of(a) - item.start, begin - item.start)),
            "Latency_censored": "no",
            "First_class": names[label],
            "First_bout_s": float(clock.start_of(b) - clock.start_of(a)),
        }
    for k in counting:
        row[f"{names[k]}_s"] = float(clock.seconds_of(is_inside & (labels == k)))
    return row


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def summarize_responses(responses: pd.DataFrame) -> pd.DataFrame:
    """Return response rates by group and event.

    Parameters
    ----------
    responses : DataFrame
        From `respond`.

    Returns
    -------
    DataFrame
        ``N_animals`` and ``N_events`` with a known response, ``N_unknown`` events,
        ``Response_percent`` with its ``SEM`` (means over animals, whose events are averaged first),
        and ``Mean_latency_s`` of the responses, which leaves out events without one.
    """
    rows = []
    for (group, event), part in responses.groupby(["Group", "Event"], sort=False):
        known = part[part["Response"] != ""]
        rates = (100.0 * (known["Response"] == "yes")).groupby(known["Animal"]).mean()
        latencies = known["Latency_s"].astype(float).groupby(known["Animal"]).mean().dropna()
        rows.append(
            {
                **{"Group": group, "Event": event, "N_animals": len(rates)},
                **{"N_events": len(known), "N_unknown": len(part) - len(known)},
                "Response_percent": rates.mean() if len(rates) else None,
                "SEM": rates.std(ddof=1) / len(rates) ** 0.5 if len(rates) > 1 else None,
                "Mean_latency_s": latencies.mean() if len(latencies) else None,
            }
        )
    return pd.DataFrame(rows)


def thresholds(stimuli: Sequence[Stimulus], responses: pd.DataFrame) -> pd.DataFrame:
    """Return the von Frey threshold of each recording and event.

    Stimuli of different recordings are no series: nothing says which came first, and other days
    have other thresholds.

    Parameters
    ----------
    stimuli : sequence of Stimulus
        With forces.
    responses : DataFrame
        From `respond`, one row for each of them.

    Returns
    -------
    DataFrame
        ``Recording``, ``Animal``, ``Group``, ``Event``, ``Forces`` and ``Pattern`` (X: response,
        O: none, in the order of time; unknown responses are left out), ``N_unknown`` of these,
        ``Threshold_50`` in the unit of the force, and a ``Note`` where there is none.
    """
    table = responses.assign(_force=[float(item.force or 0) for item in stimuli])
    rows = []
    keys = ["Recording", "Animal", "Group", "Event"]
    for series, part in table.groupby(keys, sort=False):
        known = part[part["Response"] != ""]
        forces = known["_force"].tolist()
        is_response = (known["Response"] == "yes").tolist()
        threshold, note = up_down_threshold(forces, is_response)
        rows.append(
            {
                **dict(zip(keys, series, strict=True)),
                "Forces": " ".join(f"{force:g}" for force in forces),
                "Pattern": "".join("X" if found else "O" for found in is_response),
                "N_unknown": len(part) - len(known),
                **{"Threshold_50": threshold, "Note": note},
            }
        )
    return pd.DataFrame(rows)


def up_down_threshold(
    forces: Sequence[float], is_response: Sequence[bool]
) -> tuple[float | None, str]:
    """Return the force to which an animal responds half of the time, by the up-down method.

    Parameters
    ----------
    forces : sequence of float
        Force of each stimulus, above 0, in the order of testing.
    is_response : sequence of bool
        Whether the animal responded.

    Returns
    -------
    threshold : float or None
        In the unit of the forces; None if it cannot be told.
    note : str
        Why there is none.

    Notes
    -----
    The threshold is the maximum of the likelihood of a cumulative normal curve over the logarithm
    of force, whose standard deviation equals the mean step between neighbouring stimuli. These
    maxima are what the tables of Dixon 1980, "Efficient Analysis of Experimental Observations",
    hold for steps of equal size; Chaplan et al. 1994, "Quantitative Assessment of Tactile Allodynia
    in the Rat Paw", applied them to von Frey filaments. Here steps need not be equal, and the
    number of stimuli is not limited.
    """
    if len(forces) < 2 or len(set(is_response)) < 2:
        always = is_response and all(is_response)
        return None, (
            "no stimulus"
            if not forces
            else f"{'always' if always else 'never'} responded: the "
            f"threshold lies {'below' if always else 'above'} these forces"
        )
    x = np.log10(np.asarray(forces, float))
    steps = np.abs(np.diff(x))
    steps = steps[steps > 0]
    if not len(steps):
        return None, "all forces are equal"
    spread = steps.mean()
    signs = np.where(is_response, 1.0, -1.0)

    def loss(place: float) -> float:
        return float(-norm.logcdf(signs * (x - place) / spread).sum())

    found = minimize_scalar(
        loss, bounds=(x.min() - 5 * spread, x.max() + 5 * spread), method="bounded",
        options={"xatol": 1e-7},
    )  # fmt: skip
    return float(10**found.x), ""
