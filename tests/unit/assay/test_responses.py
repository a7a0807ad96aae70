"""Responses to stimuli: worked by hand, a drawn study with known rates, von Frey thresholds."""

import csv
import json
from fractions import Fraction

import numpy as np
import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.assay.responses import (
    choose_responses,
    parse_response_window,
    respond,
    summarize_responses,
    thresholds,
    up_down_threshold,
)
from mpar.assay.stimuli import Stimulus, read_stimuli
from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.matching.metadata import Animal
from tests.fixtures.helpers import put_prediction, raises_problem, recording_of, run

NAMES, PAIN = DEFAULT_CLASS_MAP.class_names, DEFAULT_CLASS_MAP.responses
WITHDRAW, LICK, WALK = (NAMES.index(name) for name in ("paw_withdraw", "paw_lick", "walk"))
WINDOW = (Fraction(0), Fraction(2))


OWN_MAP = ClassMap(
    (
        (0, "rest", "rest"),
        (1, "paw_lick", "paw_lick"),
        (2, "flinch", "flinch"),
        (3, "walk", "walk"),
    ),
    responses=("paw_lick", "flinch"),
)


def animal_of(labels, name="m1", group="all", fps=10):
    """Return an animal with labels at 10 frames a second."""
    return Animal(recording_of(labels, name, fps), name, group, Fraction(0), {})


def stimulus(animal, start, event="von Frey", force=None):
    """Return a stimulus at a second."""
    return Stimulus(animal, event, Fraction(start), None, force, {}, 2)


def row_of(labels, start, window=WINDOW):
    """Return the response to one stimulus."""
    return respond([stimulus(animal_of(labels), start)], window, NAMES, PAIN).iloc[0].to_dict()


def labels_with(*bouts, num_frames=100):
    """Return rest with bouts of (class, start, stop)."""
    labels = np.zeros(num_frames, np.int8)
    for label, start, stop in bouts:
        labels[start:stop] = label
    return labels


def test_response_by_hand():
    """Stimulus at 3 s; withdrawal at 3.5 to 3.9 s, licking from 4.0 to 6.0 s."""
    row = row_of(labels_with((WITHDRAW, 35, 39), (LICK, 40, 60)), 3)
    assert (row["Response"], row["First_class"], row["Latency_censored"]) == (
        *("yes", "paw_withdraw"),
        "no",
    )
    assert row["Latency_s"] == pytest.approx(0.5)
    assert row["First_bout_s"] == pytest.approx(0.4)
    assert row["paw_lick_s"] == pytest.approx(1.0)  # up to the end of the window
    assert row["paw_withdraw_s"] == pytest.approx(0.4)
    assert row["Under_way"] == "no"


@pytest.mark.parametrize(
    ("first", "expected"),
    [(29, "no"), (30, "yes"), (49, "yes"), (50, "no")],
)
def test_window_is_half_open(first, expected):
    """A bout that begins one frame too early or too late is no response."""
    assert row_of(labels_with((WITHDRAW, first, first + 1)), 3)["Response"] == expected


def test_bout_under_way_is_no_response():
    """Licking that began before the stimulus counts as under way, not as a response."""
    row = row_of(labels_with((LICK, 20, 45)), 3)
    assert (row["Response"], row["Under_way"], row["Latency_censored"]) == ("no", "yes", "yes")
    assert row["paw_lick_s"] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("labels", "start"),
    [(labels_with(), 9), (labels_with((-1, 40, 42)), 3)],
    ids=["recording ends", "part has no label"],
)
def test_what_was_not_seen_is_unknown(labels, start):
    """No response in a window that was not seen whole: neither yes nor no."""
    assert row_of(labels, start)["Response"] == ""


def test_response_in_a_part_is_a_response():
    """What was seen counts, even if the recording ends within the window."""
    row = row_of(labels_with((LICK, 92, 95)), 9)
    assert (row["Response"], row["Complete"]) == ("yes", "no")


def test_other_classes_are_no_response():
    """Walking is no pain."""
    assert row_of(labels_with((WALK, 31, 40)), 3)["Response"] == "no"


def test_choosing_responses():
    """Those of the class map, or those that the user names; none at all is refused."""
    assert choose_responses(DEFAULT_CLASS_MAP) == PAIN
    assert choose_responses(DEFAULT_CLASS_MAP, ["walk", "paw_lick", "walk"]) == ("paw_lick", "walk")
    for names in ((), ("lick",)):
        with pytest.raises(ConfigError, match="response"):
            choose_responses(ClassMap(OWN_MAP.rows), names)


def answers(labels, starts, window=WINDOW):
    """Return response and latency of each stimulus of one recording at 10 frames a second."""
    animal = animal_of(labels)
    found = respond([stimulus(animal, start) for start in starts], window, NAMES, PAIN)
    return list(zip(found["Response"], found["Latency_s"].fillna(-1).round(6), strict=True))


@pytest.mark.parametrize(
    ("lick", "starts", "window", "expected"),
    [
        # the bout begins after the second touch and answers that one alone
        ((25, 35), (1, 2), (0, 2), [("no", -1), ("yes", 0.5)]),
        ((15, 35), (1, 2), (0, 2), [("yes", 0.5), ("no", -1)]),
        ((25, 35), (1, 2, 9), (0, 2), [("no", -1), ("yes", 0.5), ("", -1)]),
        # windows from 0.5 to 2 s: that of the first touch ends where that of the second begins
        ((22, 35), (1, 2), ("0.5", 2), [("yes", 1.2), ("no", -1)]),
        ((25, 35), (1, 2), ("0.5", 2), [("no", -1), ("yes", 0.5)]),
        # in the same frame they share their window
        ((25, 35), (2, "2.0004"), (0, 2), [("yes", 0.5), ("yes", 0.4996)]),
    ],
)
def test_one_bout_answers_one_stimulus(lick, starts, window, expected):
    """Windows stop where the next one begins."""
    window = tuple(Fraction(edge) for edge in window)
    labels = labels_with((LICK, *lick))
    assert answers(labels, [Fraction(s) for s in starts], window) == expected


@given(
    starts=st.lists(st.integers(0, 90), min_size=1, max_size=6, unique=True),
    bouts=st.lists(st.integers(0, 18), max_size=6, unique=True),
    length=st.integers(1, 40),
)
def test_no_bout_answers_two_stimuli(starts, bouts, length):
    """Against plain arithmetic: each bout goes to the last stimulus before it, if near enough."""
    starts = sorted(starts)
    labels = labels_with(*((LICK, 5 * b, 5 * b + 2) for b in bouts))
    window = Fraction(0), Fraction(length, 10)
    answered = {}
    for frame in sorted(5 * b for b in bouts):
        before = [s for s in starts if s <= frame]
        if before and frame < before[-1] + length:
            answered.setdefault(before[-1], (frame - before[-1]) / 10)
    for start, (response, latency) in zip(
        starts, answers(labels, [Fraction(s, 10) for s in starts], window), strict=True
    ):
        assert (response == "yes") == (start in answered)
        if start in answered:
            assert latency == pytest.approx(answered[start])


@given(
    fps=st.sampled_from([Fraction(30), Fraction(30000, 1001), Fraction(25), Fraction(300, 7)]),
    frame=st.integers(5, 160),
)
def test_times_in_milliseconds_are_the_frames_that_they_name(fps, frame):
    """A bout that begins in the frame of the stimulus answers it; one frame before does not."""
    start = Fraction(round(1000 * frame / fps), 1000)
    for first, expected in ((frame, "yes"), (frame - 1, "no")):
        labels = labels_with((LICK, first, first + 3), num_frames=400)
        animal = animal_of(labels, fps=fps)
        row = respond([stimulus(animal, start)], WINDOW, NAMES, PAIN).iloc[0]
        assert row["Response"] == expected
        if expected == "yes":
            assert 0 <= row["Latency_s"] < 0.0006


def test_rates_average_animals_first():
    """One animal with 4 stimuli and one with 1 count alike: (25 + 100) / 2 percent."""
    busy = animal_of(labels_with((LICK, 12, 15), num_frames=400), "busy")
    calm = animal_of(labels_with((LICK, 12, 15)), "calm")
    items = [stimulus(busy, start) for start in (1, 10, 20, 30)] + [stimulus(calm, 1)]
    row = summarize_responses(respond(items, WINDOW, NAMES, PAIN)).iloc[0]
    assert (row["N_animals"], row["N_events"], row["N_unknown"]) == (2, 5, 0)
    assert row["Response_percent"] == pytest.approx(62.5)
    assert row["SEM"] == pytest.approx(np.std([25, 100], ddof=1) / 2**0.5)
    assert row["Mean_latency_s"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-2s", (0, 2)), ("0.1 - 1.5 s", (Fraction(1, 10), Fraction(3, 2))), ("-1-1s", (-1, 1))],
)
def test_response_windows_are_parsed(text, expected):
    """With and without spaces and unit of the first time."""
    assert parse_response_window(text) == expected


@pytest.mark.parametrize("text", ["2-0s", "0-2", "0-2min", "2s", ""])
def test_response_windows_that_are_none(text):
    """The message shows one that works."""
    with pytest.raises(ConfigError, match="expected two times such as 0-2s"):
        parse_response_window(text)


# Von Frey thresholds


@pytest.mark.parametrize(
    ("pattern", "k"),
    [
        ("OX", -0.5),
        ("XO", 0.5),
        ("OXO", 0.842),
        ("OXX", -0.178),
        ("OXOX", -0.5),
        ("OXXO", 1.0),
        ("OOX", -0.388),
        ("XXO", 0.388),
    ],
)
def test_thresholds_are_those_of_the_tables(pattern, k):
    """Last force and k steps, with k as tabulated by Dixon for these patterns."""
    step, place, places = 0.224, 0.3, []
    for answer in pattern:
        places.append(place)
        place += step if answer == "O" else -step
    threshold, note = up_down_threshold([10**x for x in places], [a == "X" for a in pattern])
    assert note == ""
    assert (np.log10(threshold) - places[-1]) / step == pytest.approx(k, abs=6e-4)


def test_thresholds_hold_the_truth_on_average():
    """Drawn animals with a threshold of 1 g, six stimuli each: the geometric mean is near 1 g."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        place, places, answers = 0.112, [], []
        for _ in range(8):
            places.append(place)
            answers.append(bool(rng.normal(place, 0.224) > 0))
            place += -0.224 if answers[-1] else 0.224
        threshold, _ = up_down_threshold([10**x for x in places], answers)
        if threshold is not None:
            found.append(np.log10(threshold))
    assert len(found) > 280
    assert abs(np.mean(found)) < 0.03


@pytest.mark.parametrize(
    ("forces", "answers", "note"),
    [
        ([], [], "no stimulus"),
        ([1, 2, 4], [False] * 3, "never responded: the threshold lies above these forces"),
        ([4, 2, 1], [True] * 3, "always responded: the threshold lies below these forces"),
        ([2, 2, 2], [True, False, True], "all forces are equal"),
    ],
)
def test_no_threshold_is_no_number(forces, answers, note):
    """Without a change of response there is a note instead."""
    assert up_down_threshold(forces, answers) == (None, note)


def test_recordings_of_an_animal_are_no_series():
    """XX on day 0 and XO on day 7 are two series, not XXXO; what is unknown is counted."""
    days = [animal_of(labels_with((LICK, 15, 20), (LICK, 45, 48)), f"day{d}") for d in (0, 7)]
    days[1].recording.labels[40:70] = 0
    days = [Animal(day.recording, "m1", "all", Fraction(0), {}) for day in days]
    stimuli = [stimulus(day, s, force=f) for day in days for s, f in ((1, 4), (4, 2), (9, 1))]
    found = thresholds(stimuli, respond(stimuli, WINDOW, NAMES, PAIN))
    assert found["Recording"].tolist() == ["day0", "day7"]
    assert found["Animal"].tolist() == ["m1", "m1"]
    assert found["Pattern"].tolist() == ["XX", "XO"]
    assert found["N_unknown"].tolist() == [1, 1]
    assert found["Threshold_50"].isna().tolist() == [True, False]


# Files and the command


def write_events(path, text):
    path.write_text(text)
    return path


def test_rows_with_faults_are_left_out_and_named(tmp_path):
    """Each faulty row is one line with its number; the others are read."""
    animals = [animal_of(labels_with(), name) for name in ("m1", "m2")]
    path = write_events(
        tmp_path / "events.csv",
        "Recording;Event;Start_s;Stop_s;Trial;Force_g\n"
        "m1.mp4;von Frey;1,5;;1;0,6\n"
        "m9;von Frey;1;;1;0,6\n"
        "m2;von Frey;99;;1;0,6\n"
        "m2;von Frey;2;1;1;0,6\n"
        "m2;;2;;1;0,6\n"
        "m2;von Frey;2;;1;0\n"
        "m2;von Frey;2;3;2;1,4\n"
        "m2;short\n",
    )
    stimuli, problems = read_stimuli(path, animals, force_column="Force_g")
    assert [(s.animal.recording.name, s.start, s.force, s.columns["Trial"]) for s in stimuli] == [
        ("m1", Fraction(3, 2), Fraction(3, 5), "1"),
        ("m2", Fraction(2), Fraction(7, 5), "2"),
    ]
    assert sorted(problem.line for problem in problems) == [3, 4, 5, 6, 7, 9]
    assert all("events.csv" in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("text", "lines", "starts"),
    [
        ("m1,poke,1,a\nm1,poke,2,b\nm1,poke,2,b\n", [4], [1, 2]),  # alike: once
        ("m1,poke,1,a\nm1.mp4,Poke,2.0,b\nm1,poke,00:00:02,b\n", [4], [1, 2]),
        ("m1,poke,1,a\nm1,poke,2,b\nm1,poke,2.0004,c\n", [4], [1]),  # which of them is right?
        ("m1,poke,1,a\nm1,heat,1,a\nm2,poke,1,a\n", [], [1, 1, 1]),
    ],
    ids=["pasted twice", "spelled otherwise", "other columns", "other event or recording"],
)
def test_stimuli_that_stand_twice(tmp_path, text, lines, starts):
    """A row that is there twice counts once; rows that contradict each other do not count."""
    path = write_events(tmp_path / "e.csv", "Recording,Event,Start_s,Trial\n" + text)
    animals = [animal_of(labels_with(), name) for name in ("m1", "m2")]
    stimuli, problems = read_stimuli(path, animals)
    assert [problem.line for problem in problems] == lines
    assert [item.start for item in stimuli] == starts


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("00:00:05", 5),
        ("0:05.5", Fraction(11, 2)),
        ("5", 5),
        ("10", "is the end"),
        ("00:00:10", "is the end"),
        ("11", "after the end"),
        ("later", "such as"),
        ("-1", "such as"),
    ],
)
def test_times_of_stimuli(tmp_path, cell, expected):
    """Seconds or a clock; a message says whether a time is the end, after it, or none."""
    path = write_events(tmp_path / "e.csv", f"Recording,Event,Start_s\nm1,heat,{cell}\n")
    stimuli, problems = read_stimuli(path, [animal_of(labels_with())])
    if isinstance(expected, str):
        assert expected in problems[0].message
    else:
        assert [item.start for item in stimuli] == [expected]
        assert not problems


def test_stimuli_on_two_sheets(tmp_path, caplog):
    """A workbook with a sheet a day is read as its first sheet; the others are named."""
    book = openpyxl.Workbook()
    for sheet, start in ((book.active, 1.5), (book.create_sheet("day 2"), 4)):
        sheet.append(["Recording", "Event", "Start_s"])
        sheet.append(["m1", "heat", start])
    book.save(tmp_path / "e.xlsx")
    stimuli, _ = read_stimuli(tmp_path / "e.xlsx", [animal_of(labels_with())])
    assert [item.start for item in stimuli] == [Fraction(3, 2)]
    assert "e.xlsx: has 2 sheets with a table; mpar reads 'Sheet' and not 'day 2'" in caplog.text


def test_events_that_are_spelled_in_two_ways(tmp_path, caplog):
    """Two spellings of one event would split a von Frey series, and its threshold, in two."""
    rows = "m1,von Frey,1\nm1,Von  Frey,4\nm1,heat,7\n"
    path = write_events(tmp_path / "e.csv", "Recording,Event,Start_s\n" + rows)
    stimuli, _ = read_stimuli(path, [animal_of(labels_with())])
    assert len(stimuli) == 3
    text = "e.csv: the events 'von Frey' and 'Von  Frey' differ only in case or spaces and"
    assert text in caplog.text


@pytest.mark.parametrize(
    ("cells", "starts"),
    [
        (["1.600", "2.500"], []),  # 1.6 or 1600?
        (["1.6000", "2.500"], [Fraction(8, 5), Fraction(5, 2)]),
        (["1.600", "0:02.500"], [Fraction(8, 5), Fraction(5, 2)]),  # seconds of a clock are sure
        (["1,600", "2,500"], [Fraction(8, 5), Fraction(5, 2)]),
        (["1,600", "0:02.500"], [Fraction(5, 2)]),
    ],
)
def test_decimal_mark_of_a_table_with_tabs(tmp_path, cells, starts):
    """With tabs, 1.600 is read if another cell shows the mark; else the message says why not."""
    rows = "".join(f"m1\theat\t{cell}\n" for cell in cells)
    path = write_events(tmp_path / "e.csv", "Recording\tEvent\tStart_s\n" + rows)
    stimuli, problems = read_stimuli(path, [animal_of(labels_with())])
    assert [item.start for item in stimuli] == starts
    if not starts:
        assert problems[0].message == (
            "found Start_s '1.600', which may be 1.6 or 1600; write it as 1.6000"
        )


@pytest.mark.parametrize("is_marked", [True, False])
def test_own_classes_answer_von_frey(tmp_path, is_marked):
    """A flinch 0.2 s after both touches of 1 g: OOXOXO and a threshold of 0.87 g.

    The class map marks flinch as a response, or an old one does not and --response does.
    """
    forces = (0.4, 0.6, 1.0, 0.6, 1.0, 0.6)
    labels = np.zeros(600, np.int8)
    rows = ["Recording,Event,Start_s,Force_g"]
    for i, force in enumerate(forces):
        rows.append(f"m1,von Frey,{1 + 10 * i},{force}")
        if force == 1.0:
            labels[12 + 100 * i : 15 + 100 * i] = 2
    path = write_events(tmp_path / "events.csv", "\n".join(rows))
    put_prediction(tmp_path / "p", "m1", labels, fps=10, class_map=OWN_MAP)
    chosen = []
    if not is_marked:
        sidecar = tmp_path / "p" / "m1_predictions.json"
        data = json.loads(sidecar.read_text())
        del data["class_map"]["responses"]
        sidecar.write_text(json.dumps(data))
        chosen = ["--response", "flinch", "--response", "paw_lick"]
    options = ["--events", path, "--force-column", "Force_g", *chosen, "-o", tmp_path / "out"]
    result = run("summarize", tmp_path / "p", *options)
    assert result.exit_code == 0, result.output
    (row,) = read_rows(tmp_path / "out" / "thresholds.csv")
    assert (row["Pattern"], float(row["Threshold_50"])) == (
        "OOXOXO",
        pytest.approx(0.87, abs=0.005),
    )
    found = [r for r in read_rows(tmp_path / "out" / "events.csv") if r["Response"] == "yes"]
    assert [(r["First_class"], float(r["Latency_s"])) for r in found] == [("flinch", 0.2)] * 2
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["responses"] == ["paw_lick", "flinch"]


def test_no_class_that_counts_is_refused(tmp_path):
    """Rather than "never responded", mpar says how to mark the classes that count."""
    put_prediction(tmp_path / "p", "m1", labels_with(), class_map=ClassMap(OWN_MAP.rows))
    path = write_events(tmp_path / "e.csv", "Recording,Event,Start_s\nm1,x,1\n")
    result = run("summarize", tmp_path / "p", "--events", path, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "--response CLASS" in result.output
    assert not (tmp_path / "out").exists()


def test_predictions_that_disagree_on_responses(tmp_path):
    """Two networks of one class map, marked differently: the disagreement is named, not denied."""
    for name, marked in (("m1", ("flinch",)), ("m2", ("flinch", "paw_lick"))):
        own = ClassMap(OWN_MAP.rows, responses=marked)
        put_prediction(tmp_path / "p", name, labels_with(), class_map=own)
    path = write_events(tmp_path / "e.csv", "Recording,Event,Start_s\nm1,x,1\n")
    result = run("summarize", tmp_path / "p", "--events", path, "-o", tmp_path / "out")
    text = " ".join(result.output.split())
    assert result.exit_code == 2
    assert "mark different classes as responses (flinch or paw_lick, flinch), so none" in text


@pytest.mark.slow
def test_classes_that_do_not_count_are_named(tmp_path):
    """Someone whose old class map cannot say that flinch counts sees that it does not."""
    put_prediction(tmp_path / "p", "m1", labels_with(), class_map=DEFAULT_CLASS_MAP)
    path = write_events(tmp_path / "e.csv", "Recording,Event,Start_s\nm1,x,1\nm1,x,2\n")
    result = run("summarize", tmp_path / "p", "--events", path, "-o", tmp_path / "out")
    text = " ".join(result.output.split())
    assert "bouts of rest, walk, active do not" in text
    assert "1 of 2 stimuli" in text  # came too close together


def test_own_columns_do_not_replace_results(tmp_path):
    """A column of the events that is called like the seconds of a class is refused."""
    put_prediction(tmp_path / "p", "m1", labels_with())
    path = write_events(tmp_path / "e.csv", "Recording,Event,Start_s,paw_lick_s\nm1,x,1,9\n")
    result = run("summarize", tmp_path / "p", "--events", path, "-o", tmp_path / "out")
    assert "not paw_lick_s; fix the header" in result.output
    assert not (tmp_path / "out").exists()


def test_numbers_without_a_leading_zero(tmp_path):
    """R writes .4 for 0.4."""
    path = write_events(tmp_path / "e.csv", "Recording,Event,Start_s,F\nm1,x,.5,.4\nm1,x,1,0.6\n")
    stimuli, problems = read_stimuli(path, [animal_of(labels_with())], force_column="F")
    assert not problems
    assert [(s.start, s.force) for s in stimuli] == [
        (Fraction(1, 2), Fraction(2, 5)),
        (Fraction(1), Fraction(3, 5)),
    ]


@pytest.mark.parametrize("header", ["Recording,Start_s", "Recording,Event,Start_s,Response", ""])
def test_headers_that_do_not_fit(tmp_path, header):
    """The message lists what is there and what is needed."""
    path = write_events(tmp_path / "e.csv", f"{header}\nm1,x,1\n")
    with raises_problem("columns"):
        read_stimuli(path, [animal_of([0])], taken=("Response",))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two groups of 8 animals, three stimuli each, that respond in 30 and 80 % of them.

    A response is a withdrawal of 0.3 s after 0.5 s and licking of 1 s.
    """
    folder = tmp_path_factory.mktemp("events")
    rng = np.random.default_rng(4)
    events = ["Recording,Event,Start_s,Trial,Force_g"]
    metadata = ["Recording,group"]
    truth = {}
    for i in range(16):
        group, rate = ("control", 0.3) if i < 8 else ("CFA", 0.8)
        labels = np.zeros(30 * 40, np.int8)
        for trial, start in enumerate((5, 15, 25)):
            is_response = rng.random() < rate
            truth[f"m{i}", trial] = is_response
            if is_response:
                labels[30 * start + 15 : 30 * start + 24] = WITHDRAW
                labels[30 * start + 24 : 30 * start + 54] = LICK
            events.append(f"m{i},von Frey,{start},{trial},{[0.6, 1.0, 1.4][trial]}")
        put_prediction(folder / "predictions", f"m{i}", labels)
        metadata.append(f"m{i},{group}")
    (folder / "events.csv").write_text("\n".join(events))
    (folder / "animals.csv").write_text("\n".join(metadata))
    options = ["--metadata", folder / "animals.csv", "--events", folder / "events.csv"]
    options += ["--force-column", "Force_g", "--html", "-o", folder / "out"]
    result = run("summarize", folder / "predictions", *options)
    assert result.exit_code == 0, result.output
    return folder / "out", truth


def read_rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_drawn_study_is_recovered(study):
    """Every response, latency and lick time is found; rates are those that were drawn."""
    folder, truth = study
    rows = read_rows(folder / "events.csv")
    assert len(rows) == 48
    for row in rows:
        is_response = truth[row["Recording"], int(row["Trial"])]
        assert row["Response"] == ("yes" if is_response else "no")
        if is_response:
            assert float(row["Latency_s"]) == pytest.approx(0.5)
            assert float(row["paw_lick_s"]) == pytest.approx(1.0)
            assert row["First_class"] == "paw_withdraw"
    rates = {
        row["Group"]: float(row["Response_percent"]) for row in read_rows(folder / "responses.csv")
    }
    for group, animals in (("control", range(8)), ("CFA", range(8, 16))):
        found = [truth[f"m{i}", trial] for i in animals for trial in range(3)]
        assert rates[group] == pytest.approx(100 * np.mean(found))


def test_thresholds_of_the_study(study):
    """One row an animal, with forces, pattern, and a number or a note."""
    folder, truth = study
    rows = read_rows(folder / "thresholds.csv")
    assert len(rows) == 16
    for row in rows:
        answers = [truth[row["Animal"], trial] for trial in range(3)]
        assert row["Pattern"] == "".join("X" if a else "O" for a in answers)
        threshold, note = up_down_threshold([0.6, 1.0, 1.4], answers)
        assert row["Note"] == note
        assert (row["Threshold_50"] == "") == (threshold is None)
        if threshold is not None:
            assert float(row["Threshold_50"]) == pytest.approx(threshold, abs=1e-5)


def test_figure_and_page_show_the_stimuli(study):
    """The figure is written, and the page has its caption."""
    folder, _ = study
    assert (folder / "peri_event_von_Frey.png").stat().st_size > 10_000
    assert "what happened around each stimulus" in (folder / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_long_names_of_events(tmp_path):
    """An event may have a sentence for a name; its figures get a part of it, each its own."""
    put_prediction(tmp_path / "p", "m1", labels_with())
    names = ["ö" * 300 + end for end in "ab"]
    text = "Recording,Event,Start_s\n" + "".join(
        f"m1,{name},{start}\n" for start, name in enumerate(names)
    )
    path = write_events(tmp_path / "e.csv", text)
    out = tmp_path / "out"
    result = run("summarize", tmp_path / "p", "--events", path, "-o", out, "--html")
    assert result.exit_code == 0, result.output
    assert len([*out.glob("peri_event_*.png")]) == 2
    assert [row["Event"] for row in read_rows(out / "events.csv")] == names
