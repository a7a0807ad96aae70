"""The page of an estimate: every number with its interval, and nothing that needs escaping."""

import numpy as np
import pytest

from mpar.report.estimate_page import estimate_page, plot_estimates
from mpar.scores.estimate import Estimate
from tests.fixtures.helpers import Page, recording_of


@pytest.fixture(scope="module")
def estimate():
    """Half-checked predictions of two animals; names need escaping."""
    rng = np.random.default_rng(0)
    names = ("rest", "paw_lick", "a<b")
    predictions, truths = [], {}
    for name in ("m1", "m<2>"):
        labels = np.repeat(rng.choice(3, 60, p=[0.7, 0.2, 0.1]), 10).astype(np.int8)
        rows = np.full((600, 3), 0.1, np.float32)
        rows[np.arange(600), labels] = 0.8
        predictions.append(recording_of(labels, name, 10, probabilities=rows))
        truths[name] = np.where(rng.random(600) < 0.1, 0, labels)
    estimate = Estimate.open(predictions, names, responses=("paw_lick",), path=None)
    for _ in range(30):
        stretch = estimate.next_stretch()
        estimate.record(stretch, truths[stretch.recording][stretch.start : stretch.stop])
    return estimate


def test_estimate_page_shows_every_number_with_its_interval(estimate):
    """Tables are the numbers of the result, names are escaped, and nothing is loaded."""
    result = estimate.result()
    page = Page(estimate_page(result, estimate.history(4), ["folder <x>"]))
    scores, seconds, animals = page.tables
    for row, (name, cells) in zip(scores[1:], result["classes"].items(), strict=True):
        low, high = cells["recall"]["interval"]
        assert row[0] == name
        assert row[2] == f"{cells['recall']['estimate']:.2f} [{low:.2f}, {high:.2f}]"
    lick = result["classes"]["paw_lick"]["seconds"]
    assert seconds[2][1] == f"{lick['predicted']:.1f}"
    assert seconds[2][2].startswith(f"{lick['estimate']:.1f} [")
    assert [row[0] for row in animals[1:]] == ["m1", "m<2>"]
    text = " ".join(page.texts("p"))
    assert "You checked 30 of 60 stretches (1.0 min of video)" in " ".join(text.split())
    assert f"check about {result['more_to_halve']} more" in " ".join(text.split())
    assert "folder <x>" in text
    assert len(page.texts("figure")) == 1
    assert all(a["src"].startswith("data:") for tag, a, _ in page.elements if tag == "img")


def test_estimate_page_says_why_there_is_no_number_yet(estimate):
    """Notes instead of numbers, and no figure."""
    page = Page(estimate_page(estimate.result(5)))
    scores, seconds, _ = page.tables
    assert scores[1][1] == seconds[1][2] == "fewer than 20 stretches checked"
    assert page.texts("figure") == []


def test_figure_of_an_estimate_shows_numbers_and_bands(estimate):
    """A row for the class of pain; the line ends at the result."""
    figure = plot_estimates(estimate.history(4))
    assert len(figure.axes) == 3
    cell = estimate.result()["classes"]["paw_lick"]
    for axes, key in zip(figure.axes, ("precision", "recall", "seconds"), strict=True):
        x, y = axes.lines[0].get_data()
        assert x[-1] == 30
        assert y[-1] == pytest.approx(cell[key]["estimate"])
        (band,) = axes.collections
        tops = band.get_paths()[0].vertices[:, 1]
        assert tops.max() == pytest.approx(
            max(p["classes"]["paw_lick"][key]["interval"][1] for p in estimate.history(4))
        )
