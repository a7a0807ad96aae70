"""The page of an evaluation: whole in itself, safe with any name, and true to metrics.json."""

from __future__ import annotations

import base64
import functools
import json
import re
import subprocess
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from mpar.evaluation import (
    evaluate_and_save_results,
    write_evaluation,
)
from mpar.report.html_report import evaluation_page
from mpar.report.plots import plot_class_f1
from mpar.report.style import class_colors
from mpar.scores.comparison import SAME_ANIMAL, Comparison
from mpar.scores.disagreements import find_disagreements
from mpar.scores.metrics import frame_scores
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import Page, find_browser, put_prediction, run

NAMES, PAIN = ("rest", "paw_lick", "<b>walk</b> & co"), ("paw_lick",)
EVIL = "<script>alert(1)</script>"


def compare(name, truth, predicted, **more):
    """Return a comparison of two scorings, one digit a frame, "." for unlabelled."""
    truth, predicted = (
        np.array([-1 if c == "." else int(c) for c in text], np.int8) for text in (truth, predicted)
    )
    return Comparison(
        name=name, truth=truth, predicted=predicted, line=TimeLine(len(truth), Fraction(10)), **more
    )


STUDY = [
    compare(
        EVIL,
        "0001110022",
        "0000110022",
        is_learnt=True,
        confidence=np.linspace(0.1, 1, 10),
        annotators={"<i>ann</i>": np.zeros(10, int), "</script>": np.ones(10, int)},
    ),
    compare("</script><!--", "00111100..", "0011112200", group="& animal"),
    compare("c", "0000000000", "000.000110"),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a study with hostile names, and the folder it lies in."""
    folder = tmp_path_factory.mktemp("html")
    provenance = {"checkpoint": f"/x/{EVIL}.pt", "left_out": ["a&b", EVIL], "postprocessing": {}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "mpar.report.evaluation_files.save_figure", lambda *_: None
        )  # slow, and not looked at
        write_evaluation(folder, STUDY, NAMES, responses=PAIN, provenance=provenance, html=True)
    return folder, (folder / "report.html").read_text(encoding="utf-8")


def test_page_is_whole_in_itself(written):
    """Balanced elements with distinct ids, and nothing that any of them could load."""
    page = Page(written[1])
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert "http" not in re.sub('http-equiv="Content', "", written[1]).lower().split("<script>")[0]
    for tag, attributes, _ in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert attributes.get("src", "data:image/").startswith("data:image/")
        assert attributes.get("href", "#headline").removeprefix("#") in ids
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?:|//\w+\.|\bimport\b|fetch\(|XMLHttp", page.texts("script")[-1])
    assert not re.search(r"url\(|@import", "".join(page.texts("style")))
    (policy,) = (a["content"] for _, a, _ in page.elements if "http-equiv" in a)
    assert policy.startswith("default-src 'none';")


def test_figures_need_nothing_either(written):
    """Inside the SVGs there is no script and no link but to their own parts."""
    page = Page(written[1])
    figures = [a["src"] for _, a, _ in page.elements if a.get("src", "").startswith("data:image/s")]
    assert len(figures) == 6
    for uri in figures:
        svg = base64.b64decode(uri.partition(",")[2]).decode()
        assert "<script" not in svg
        assert all(
            link[0] == "#" for link in re.findall(r'href="([^"]*)"', svg) if link[:5] != "data:"
        )


def test_names_are_text_wherever_they_stand(written):
    """A recording named like a script runs nothing and is read as it is called."""
    page = Page(written[1])
    assert len(page.texts("script")) == 2
    assert not {"b", "i"} & {tag for tag, a, text in page.elements if text in ("walk", "ann")}
    assert [r["name"] for r in page.data["recordings"]] == [c.name for c in STUDY]
    assert page.data["classes"] == [*NAMES, "unlabelled"]
    captions = page.texts("figcaption")[-len(STUDY) :]
    for c, caption in zip(STUDY, captions, strict=True):
        assert caption.startswith(c.name)
    everything = " ".join(page.texts("main"))
    for text in (*NAMES, "& animal", "</script> and <i>ann</i>", f"/x/{EVIL}.pt", "a&b"):
        assert text in everything


def test_numbers_are_those_of_the_json(written):
    """Every score of the tables, with its interval, is what metrics.json says."""
    metrics = json.loads((written[0] / "metrics.json").read_text(encoding="utf-8"))
    page = Page(written[1])
    scores, intervals = metrics["scores"], metrics["intervals"]

    def text(score, ends=None):
        shown = "n/a" if score is None else f"{score:.3f}"
        return shown if ends is None else f"{shown} [{ends[0]:.3f}, {ends[1]:.3f}]"

    tiles = [t for tag, a, t in page.elements if a.get("class") == "tile"]
    for tile, key in zip(tiles, ("macro_f1", "balanced_accuracy", "accuracy"), strict=True):
        assert text(scores[key], intervals[key]).replace(" ", "", 1) in tile
    pain, baselines, frames, confusion, bouts, annotators, worst = page.tables
    found = metrics["baselines"]["scores"]
    assert [row[0] for row in baselines[1:]] == ["mpar", "always the most frequent class"]
    for row, one in zip(baselines[1:], found.values(), strict=True):
        assert row[1] == text(one["macro_f1"], one["interval"])
        shown = [one["accuracy"], one["f1"]["paw_lick"]]
        assert row[2:] == [text(score) for score in shown]
    assert [row[0] for row in pain[1:]] == ["paw_lick"]
    for row, name in zip(frames[1:], NAMES, strict=True):
        mine, ends = scores["classes"][name], intervals["classes"][name]
        keys = ("precision", "recall", "specificity", "f1")
        expected = [text(mine[key], ends[key]) for key in keys]
        assert row == [name, *expected, str(mine["support"])]
    assert pain[1][1:] == frames[2][2:5]
    assert [[int(n) for n in row[1:]] for row in confusion[1:]] == scores["confusion"]
    for row, name in zip(bouts[1:], NAMES, strict=True):
        event = metrics["events"][name]
        assert row[1:3] == [str(event["true_bouts"]), str(event["predicted_bouts"])]
        for cell, criterion in zip(row[3:], ("onset ± 3 frames", "IoU ≥ 0.5"), strict=True):
            ends = intervals["classes"][name]["event_f1"][criterion]
            assert cell == text(event["f1"][criterion], ends)
    for row, pair in zip(annotators[1:], metrics["raters"], strict=True):
        assert row[1] == text(pair["kappa"])
        assert row[3:] == [text(pair["f1"][name]) for name in NAMES]
    error = metrics["calibration"]["expected_calibration_error"]
    assert f"Expected calibration error {error:.3f}" in " ".join(page.texts("section"))
    assert worst[1][:3] == ["c", "7-8", "0.70"]
    assert worst[2][:3] == [f"{EVIL} same-animal", "3", "0.30"]


def test_ethograms_hold_every_frame(written):
    """The bouts in the page, laid out again, are the labels; frames keep their numbers."""
    page = Page(written[1])
    assert page.data["colors"][:3] == list(class_colors(3))
    for c, found in zip(STUDY, page.data["recordings"], strict=True):
        assert [row["name"] for row in found["rows"]] == ["human", *c.annotators, "mpar"]
        arrays = (c.truth, *c.annotators.values(), c.predicted)
        for row, labels in zip(found["rows"], arrays, strict=True):
            starts, values = row["runs"][::2], row["runs"][1::2]
            lengths = np.diff([*starts, found["numFrames"]])
            assert np.repeat(values, lengths).tolist() == labels.tolist()
    first, second, _ = page.data["recordings"]
    assert list(base64.b64decode(first["confidence"])) == list(range(10, 101, 10))
    assert second["confidence"] is None


def test_worst_disagreements_by_hand():
    """Pain first, then frames times confidence; no more than three of a recording."""
    sure = np.array([0.5] * 10 + [1.0] * 10)
    study = [
        compare("a", "22222000000000000000", "00000000000022220000", confidence=sure),
        compare("b", "0000.", "0.111"),
        compare("c", "0202020202", "2020202020"),
    ]
    found = find_disagreements(study, ("rest", "paw_lick", "walk"), responses=PAIN)
    assert [tuple(item) for item in found[:4]] == [
        (1, 2, 4, 0, 1, 2.0),  # the last frame has no true label
        (0, 12, 16, 0, 2, 4.0),
        (0, 0, 5, 2, 0, 2.5),
        (1, 1, 2, 0, -1, 1.0),
    ]
    assert [item.recording for item in found[4:]] == [2, 2, 2]


def test_warning_stands_with_all_scores(written):
    """Same-animal is said in every section of scores, and at the recordings that are meant."""
    warning = f"{SAME_ANIMAL} (1 of 3)"
    page = Page(written[1])
    sections = {a["id"]: text for tag, a, text in page.elements if tag == "section"}
    assert {key for key, text in sections.items() if warning not in text} == {"provenance"}
    captions = [text for text in page.texts("figcaption") if "macro-F1 0" in text]
    assert ["same-animal" in text for text in captions] == [True, False, False]
    metrics = json.loads((written[0] / "metrics.json").read_text(encoding="utf-8"))
    assert "same-animal" not in evaluation_page(metrics | {"warning": ""}, STUDY[1:], {})


@pytest.mark.slow
def test_old_page_never_stands_beside_new_scores(tmp_path, monkeypatch):
    """Replacing an evaluation replaces its page, asked for or not; without a page there is none."""
    monkeypatch.setattr("mpar.report.evaluation_files.save_figure", lambda *_: None)
    evaluate_and_save_results([0, 1], [0, 1], ["a", "b"], tmp_path / "e", html=True)
    first = (tmp_path / "e" / "report.html").read_text()
    evaluate_and_save_results([0, 1], [1, 1], ["a", "b"], tmp_path / "e", overwrite=True)
    second = (tmp_path / "e" / "report.html").read_text()
    assert first != second
    assert "<b>0.500</b>" in second
    evaluate_and_save_results([0, 1], [1, 1], ["a", "b"], tmp_path / "other")
    assert not (tmp_path / "other" / "report.html").exists()


def test_equal_scores_are_equal_pages(written):
    """No date and no random number is in it."""
    metrics = json.loads((written[0] / "metrics.json").read_text(encoding="utf-8"))
    scores = frame_scores([0, 1, 2], [0, 1, 1], NAMES)
    pages = [evaluation_page(metrics, STUDY, {"class_f1": plot_class_f1(scores)}) for _ in "ab"]
    assert pages[0] == pages[1]


@pytest.mark.slow
def test_checkpoint_shows_frames_in_dispute(study, tmp_path, monkeypatch):
    """The command writes film strips, and they are the frames of the cache that they name."""
    import cv2

    from mpar.cache.store import Store

    monkeypatch.setattr("mpar.report.evaluation_files.save_figure", lambda *_: None)
    options = "-o", tmp_path, "--part", "val", "--html"
    result = run("evaluate", study.checkpoint, study.cache, *options)
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    films = [(a["src"], a["alt"]) for _, a, _ in page.elements if "frame " in a.get("alt", "")]
    assert len(films) > 4
    with Store(study.cache) as store:
        (name,) = metrics["recordings"]
        recording = [info.name for info in store.recordings].index(name)
        frames = store.frames(recording)
        for source, title in films:
            png = np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8)
            number = int(title.removeprefix("frame "))
            assert (cv2.imdecode(png, cv2.IMREAD_GRAYSCALE) == frames[number]).all()
    assert metrics["checkpoint_sha256"] in "".join(page.texts("dd"))


def test_summary_page(tmp_path, monkeypatch):
    """The command writes groups, their numbers as in by_group.csv, and ethograms from time 0."""
    monkeypatch.setattr("mpar.summarize.save_figure", lambda figure, path: (path, path))
    for name, licks in (("a", 5), ("b&amp;", 15), ("c", 0)):
        labels = [0] * 10 + [2] * licks + [0] * (40 - licks)
        put_prediction(tmp_path / "p", name, labels, learnt_part="train" if name == "c" else "")
    (tmp_path / "m.csv").write_text(
        "Recording,Group,stimulus_s\na,<i>x</i>,0.5\nb&amp;,<i>x</i>,0\nc,y,1\n"
    )
    arguments = "summarize", tmp_path / "p", "-o", tmp_path / "s", "--html"
    options = "--metadata", tmp_path / "m.csv", "--onset-column", "stimulus_s"
    result = run(*arguments, *options)
    assert result.exit_code == 0, result.output
    page = Page((tmp_path / "s" / "report.html").read_text(encoding="utf-8"))
    (table,) = page.tables
    measures = table[0][2:]
    by_group = pd.read_csv(tmp_path / "s" / "by_group.csv")
    for name, group, *cells in table[1:]:
        mine = by_group[(by_group["Class"] == name) & (by_group["Group"] == group)]
        found = mine.set_index("Measure")
        for measure, cell in zip(measures, cells, strict=True):
            mean, sem, n = found.loc[measure.replace(" ", "_"), ["Mean", "SEM", "N"]]
            text = "n/a" if pd.isna(mean) else f"{mean:,.2f}"
            assert cell == f"{text}{'' if pd.isna(sem) else f' ± {sem:,.2f}'} ({int(n)})"
    assert len(table) == 1 + 6 * 2
    assert [(r["name"], r["onset"]) for r in page.data["recordings"]] == [
        ("a", 0.5),
        ("b&amp;", 0.0),
        ("c", 1.0),
    ]
    assert page.data["recordings"][0]["rows"] == [{"name": "mpar", "runs": [0, 0, 10, 2, 15, 0]}]
    sections = {a["id"]: text for tag, a, text in page.elements if tag == "section"}
    warning = f"{SAME_ANIMAL} (1 of 3)"
    assert {key for key, text in sections.items() if warning not in text} == {"provenance"}
    captions = page.texts("figcaption")[-3:]
    assert captions == ["a in <i>x</i>", "b&amp; in <i>x</i>", "c in y same-animal"]
    if find_browser():
        root = read_in_browser(tmp_path / "s" / "report.html")
        assert "data-error" not in root
        assert root["data-drawn"] == "3"


# Does what a reader does: points, drags, follows a link; then writes down what the page says.
READER = """<script>
window.addEventListener("load", () => {
  const out = [], at = (canvas, share) => {
    const box = canvas.getBoundingClientRect();
    return {clientX: box.left + 90 + share * (box.width - 104), bubbles: true};
  };
  const canvas = document.querySelector("canvas");
  const said = () => canvas.closest("figure").querySelector("output").textContent;
  const send = (kind, share) => canvas.dispatchEvent(new PointerEvent(kind, at(canvas, share)));
  send("pointermove", 0.349); out.push(said());
  send("pointerdown", 0.05); send("pointerup", 0.95);
  send("pointermove", 0.001); out.push(said());
  canvas.dispatchEvent(new KeyboardEvent("keydown", {key: "0"}));
  send("pointermove", 0.999); out.push(said());
  document.querySelectorAll("a.show")[1].click(); out.push(said());
  document.documentElement.dataset.said = out.join("|");
});
</script></body>"""


@functools.cache
def read_in_browser(path):
    """Return what the script left at the root of a page."""
    options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --dump-dom"
    profile = f"--user-data-dir={path.parent / 'profile'}"
    result = subprocess.run(
        [find_browser(), *options.split(), profile, path.as_uri()],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    return Page(result.stdout).elements[0][1]


def test_script_runs_in_a_browser(written, tmp_path):
    """Headless Chromium draws every ethogram, reads frames, zooms and follows links."""
    if not find_browser():
        pytest.skip("no Chromium or Chrome on the PATH that starts")
    path = tmp_path / "read.html"
    path.write_text(written[1].replace("</body>", READER), encoding="utf-8")
    root = read_in_browser(path)
    assert "data-error" not in root
    assert root["data-drawn"] == "3"
    raters = "<i>ann</i> rest · </script> paw_lick"
    assert root["data-said"].split("|") == [
        f"frame 3 · 0.300 s · human paw_lick · {raters} · mpar rest · confidence 0.40",
        f"frame 0 · 0.000 s · human rest · {raters} · mpar rest · confidence 0.10",
        f"frame 9 · 0.900 s · human {NAMES[2]} · {raters} · mpar {NAMES[2]} · confidence 1.00",
        f"frame 3 · 0.300 s · human paw_lick · {raters} · mpar rest · confidence 0.40",
    ]
