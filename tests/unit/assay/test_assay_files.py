"""Options, files of the user, and real predictions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import mpar.summarize
from mpar.assay.windows import (
    Window,
    summarize_animals,
    summarize_window,
)
from mpar.errors import ConfigError
from mpar.inference import predict_multiple_videos
from mpar.network.checkpoint import load_checkpoint
from mpar.scores.comparison import SAME_ANIMAL
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import raises_problem, recording_of, run
from tests.unit.assay.tables import NAMES, NTSC, WHOLE, read_rows, recording, summarize


def test_options_that_do_not_fit(predictions):
    """Columns must be there, and need metadata to be in."""
    with pytest.raises(ConfigError, match="name columns of the metadata; pass --metadata"):
        summarize(predictions, group_by=["dose"])
    with pytest.raises(ConfigError, match=r"found the columns group, expected 'dose' among them"):
        summarize(predictions, "Recording,group\nm1,a\n", group_by=["dose"])
    with raises_problem("no-row"):
        summarize(predictions, "Recording,group\nm9,a\n")


def test_figures_of_the_user_are_kept(predictions):
    """A file that has the name of a figure is not replaced unasked either."""
    folder = predictions.parent / "s"
    folder.mkdir()
    (folder / "groups_a.pdf").write_text("mine")
    with pytest.raises(ConfigError, match=r"s: already holds groups_a.pdf; pass --overwrite"):
        summarize(predictions, windows=["a=0-1s"])
    assert [path.name for path in folder.iterdir()] == ["groups_a.pdf"]


def test_a_summary_leaves_nothing_of_an_earlier_one(predictions, monkeypatch):
    """Figures of windows that are no longer asked for go; what the user put there stays."""

    def draw(animals, windows, *rest):
        return {window.figure_name: Figure() for window in windows}

    monkeypatch.setattr(mpar.summarize, "_draw_figures", draw)
    folder = predictions.parent / "s"
    summarize(predictions, windows=["a=0-1s"], wide=True)
    (folder / "groups_mine.png").write_text("mine")
    gone = {"groups_a.png", "groups_a.pdf", "wide.csv"}
    assert gone < {path.name for path in folder.iterdir()}
    summarize(predictions, windows=["b=0-1s"], overwrite=True)
    left = {path.name for path in folder.iterdir()}
    assert not gone & left
    assert {"groups_mine.png", "groups_b.png", "by_animal.csv"} < left
    assert (folder / "groups_mine.png").read_text() == "mine"


def test_cells_that_a_spreadsheet_would_execute(predictions):
    """Text of the metadata cannot become a formula."""
    summarize(predictions, "Recording,group,=x\nm1,=1+1,@\nm2,b,c\nm3,b,c\n")
    header, first = (predictions.parent / "s" / "by_animal.csv").read_text().splitlines()[:2]
    assert ",'=x," in header
    assert first.startswith("m1,m1,'=1+1,'@,")


def test_real_predictions(study, tmp_path, monkeypatch):
    """What mpar-predict wrote is summed up; every second of every class is its own bouts.

    Of the six animals the network had learnt from five (four, and one to choose it on).
    """
    monkeypatch.setattr(mpar.summarize, "_draw_figures", lambda *results: {})
    predict_multiple_videos(study.checkpoint, [study.videos], tmp_path / "p", device="cpu")
    result = run("summarize", tmp_path / "p", "-o", tmp_path / "s")
    assert result.exit_code == 0
    assert f"warning: {SAME_ANIMAL} (5 of 6)\n" in result.output
    rows = read_rows(tmp_path / "s" / "by_animal.csv")
    split = load_checkpoint(study.checkpoint).split
    assert {row["Recording"] for row in rows if row["Same_animal"] == "no"} == {
        item["name"] for item in split["test"]
    }
    for name in {row["Recording"] for row in rows}:
        bouts = read_rows(tmp_path / "p" / f"{name}_bouts.csv")
        for row in (row for row in rows if row["Recording"] == name):
            mine = [b for b in bouts if b["Class"] == row["Class"]]
            assert int(row["Bouts"]) == len(mine)
            total = sum(int(bout["Frames"]) for bout in mine) / 30
            assert float(row["Seconds"]) == pytest.approx(total, abs=1e-6)
    (tmp_path / "none").mkdir()
    assert "found no NAME_predictions.csv" in run("summarize", tmp_path / "none").output


def test_summing_up_keeps_the_order_of_animals():
    """`summarize_animals` is one row a recording, window and class, in their order."""
    from mpar.matching.metadata import Animal

    animals = [Animal(recording([0, 2]), name, "a", Fraction(0), {}) for name in ("x", "y")]
    table = summarize_animals(animals, [WHOLE], NAMES)
    assert table["Animal"].tolist() == ["x"] * 6 + ["y"] * 6


def test_windows_of_an_uneven_recording():
    """By hand: frames at 0, 1, 2, 6 and 7 s, the last for 1 s; licks from 2 to 7 s."""
    line = TimeLine(5, Fraction(1), np.array([0.0, 1, 2, 6, 7]))
    item = recording_of([0, 0, 1, 1, 0], line=line)
    whole, first, second = (
        summarize_window(
            item, Window("window", "w", Fraction(a), b and Fraction(b)), ("rest", "lick")
        )
        for a, b in ((0, None), (0, 4), (4, 8))
    )
    assert [row["Seconds"] for row in whole] == [3, 5]
    assert (whole[1]["Percent"], whole[1]["Mean_bout_s"], whole[1]["Latency_s"]) == (62.5, 5, 2)
    assert [row["Seconds"] for row in first] == [2, 4]  # frame 2 begins here and lasts to 6 s
    assert [row["Seconds"] for row in second] == [1, 1]
    assert (second[1]["Bouts"], second[1]["Observed_s"], second[1]["Complete"]) == (0, 2, "no")


@settings(max_examples=80)
@given(
    fps=st.sampled_from([Fraction(30), NTSC, Fraction(25), Fraction(7), Fraction(300, 7)]),
    edges=st.tuples(st.integers(0, 200), st.integers(0, 200)).filter(lambda e: e[0] < e[1]),
    onset=st.integers(0, 40),
)
def test_windows_in_milliseconds_hold_the_frames_that_they_name(fps, edges, onset):
    """From frame a to frame b, both in milliseconds, counted from any onset: b - a frames."""
    labels = np.zeros(400, np.int8)
    labels[onset + edges[0]] = 2
    labels[onset + edges[1]] = 3
    start, stop, zero = (Fraction(round(1000 * f / fps), 1000) for f in (*edges, onset))
    # what the user adds up from rounded times may be off by a millisecond
    window = Window("window", "w", start, stop)
    times = [Fraction(round(1000 * (onset + f) / fps), 1000) - zero for f in edges]
    exact = Window("window", "w", *times)
    rows = summarize_window(recording(labels, fps), exact, NAMES, zero)
    assert rows[2]["Bouts"] == 1
    assert rows[3]["Bouts"] == 0
    assert rows[0]["Observed_s"] == pytest.approx(float((edges[1] - edges[0]) / fps))
    if not onset:
        assert summarize_window(recording(labels, fps), window, NAMES) == [
            row | {"Window_start_s": float(start), "Window_stop_s": float(stop)} for row in rows
        ]
