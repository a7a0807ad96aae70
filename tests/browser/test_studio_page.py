"""The window of a study in Chromium: from an empty folder to the workbook, with clicks and keys."""

from __future__ import annotations

import json
import shutil
import threading
import zipfile

import pytest
from mpar_cli._commands import Commands

from mpar.formats.annotations import read_annotation
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.studio.jobs import Jobs
from mpar.studio.routes import opened_studio
from mpar.studio.study import Study
from tests.fixtures.helpers import run
from tests.unit.studio.test_study import put_network, put_study

pytestmark = pytest.mark.browser
OPTIONS = {"preprocess": {"size": 32}, "train": {"model": "light", "epochs": 1}}
ENDS = ("done", "problems", "failed", "stopped", "broken", "dropped")


@pytest.fixture
def open_page(browser):
    """Return a function that opens the window of a study, or of none, on a page."""
    opened = []

    def open_one(folder=None, is_ready=True, **options):
        context = opened_studio(Commands(), folder)
        server = context.__enter__()
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        window = browser.new_context(viewport={"width": 1280, "height": 720}, **options)
        page = window.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(server.url)
        if is_ready:
            page.wait_for_selector("body[data-ready]")
        page.folder = folder
        opened.append((context, server, thread, page))
        return page

    yield open_one
    for context, server, thread, page in opened:
        assert page.errors == []
        page.context.close()
        server.stop()
        thread.join()
        context.__exit__(None, None, None)


@pytest.fixture
def scored(study, tmp_path):
    """A new study with six videos, five of them scored."""
    folder = put_study(tmp_path / "Pain study", options=OPTIONS)
    shutil.copytree(study.videos, folder / "Videos")
    shutil.copytree(study.annotations, folder / "Annotations")
    (folder / "Annotations" / "mouse_03_annotation.csv").unlink()
    return folder


def go(page, screen):
    """Go to a screen by its link."""
    page.locator(f"#screens a[data-screen='{screen}']").click()
    page.wait_for_selector(f"#{screen}:not([hidden]) > .part")


def press(page, name):
    """Press a button by keyboard."""
    found = page.get_by_role("button", name=name, exact=True)
    found.wait_for()
    found.focus()
    page.keyboard.press("Enter")


def wait_for_jobs(page, number, states=("done",), seconds=180):
    """Wait until so many jobs have ended, the last ones in these states."""
    page.wait_for_function(
        "([number, ends]) => studio.state.jobs.length >= number"
        " && studio.state.jobs.every((job) => ends.includes(job.state))",
        arg=[number, ENDS],
        timeout=1000 * seconds,
    )
    found = page.evaluate("() => studio.state.jobs.map((job) => job.state)")
    assert found[0] in states, Jobs(page.folder / "jobs").output(number)[1][-4:]


def open_other(page, name):
    """Press a button that opens the page for scoring; return that page."""
    with page.context.expect_page() as opened:
        press(page, name)
    opened.value.wait_for_selector("#picture[data-frame]")
    opened.value.wait_for_selector("body[data-counted='48']")
    return opened.value


def score_all(page, *keys):
    """Give every frame a class with keys: the range of all frames, then the class."""
    for key in ("Control+a", *keys):
        page.keyboard.press(key)
    page.evaluate("async () => { await review.settle(); }")


def test_from_an_empty_folder_to_the_workbook(open_page, study, tmp_path):  # noqa: PLR0915
    """Import, score, learn, predict, correct, learn again, summarize; then a terminal goes on."""
    shutil.copytree(study.videos, tmp_path / "films")
    page = open_page()
    # the study, on the page that opens without one
    page.get_by_role("textbox", name="Videos").fill(str(tmp_path / "films"))
    page.get_by_role("textbox", name="Study").fill(str(tmp_path / "Pain"))
    press(page, "Make the study")
    page.wait_for_selector("tr[data-video='mouse_06.mp4'] td:has-text('64 × 64')")
    page.folder = folder = tmp_path / "Pain"
    # labels of four videos, seen before they are copied
    press(page, "Import labels")
    labels = sorted(study.annotations.iterdir())[:4]
    page.get_by_label("Label files", exact=True).set_input_files(labels)
    page.wait_for_selector("#import-list tr:nth-child(4)")
    assert "mouse_04.mp4: 48 frames" in page.locator("#import-list").inner_text()
    assert not any((folder / "Annotations").iterdir())
    press(page, "Copy to Annotations")
    page.wait_for_selector("tr[data-video='mouse_04.mp4'] td:has-text('annotation 100 %')")
    assert len([*(folder / "Annotations").iterdir()]) == 4
    # two videos are scored by keyboard
    for name, key in (("mouse_05", "1"), ("mouse_06", "5")):
        other = open_other(page, f"Score {name}.mp4")
        score_all(other, key)
        other.close()
    page.wait_for_selector("tr[data-video='mouse_06.mp4'] td:has-text('100 %')", timeout=20000)
    # a network
    go(page, "learn")
    for label, value in (("Picture size in px", "32"), ("Epochs", "1")):
        page.get_by_label(label, exact=True).fill(value)
        page.get_by_label(label, exact=True).press("Tab")
    page.get_by_label("Network", exact=True).select_option("fast")
    page.wait_for_function("() => studio.state.options.train.model === 'fast'")
    assert Study.open(folder).options == {
        "preprocess": {"size": "32"},
        "train": {"epochs": 1, "model": "fast"},
    }
    press(page, "Learn")
    wait_for_jobs(page, 2)
    page.wait_for_selector("#result >> text=macro-F1")
    (first,) = Study.open(folder).trained_runs()
    place = page.evaluate(
        f"async () => (await (await fetch('run?name={first}')).json()).disagreements[0]"
    )
    other = open_other(page, f"Look at {place['recording']}, frame {place['start']}")
    assert other.locator("#recording").input_value() == place["recording"]
    other.wait_for_selector(f"#picture[data-frame='{place['start']}']")
    other.close()
    # predictions, and three stretches of the queue
    go(page, "predict")
    press(page, "Predict 6 videos")
    wait_for_jobs(page, 3)
    page.wait_for_selector("#predict >> text=6 of 6 videos predicted")
    go(page, "check")
    other = open_other(page, "Open the queue")
    other.wait_for_selector("#queue-panel li button")
    other.keyboard.press(".")
    for place in range(3):  # what is accepted leads to the next one
        other.wait_for_selector(f"#queue-panel[data-place='{place}']")
        other.wait_for_function(
            "() => review.predicted && review.timeline.numCertain === review.state.num_frames"
        )
        other.keyboard.press("Shift+A")
    other.evaluate("async () => { await review.settle(); }")
    other.close()
    page.wait_for_function("() => studio.state.num_scored_since > 0")
    press(page, "Learn again with what I corrected")
    wait_for_jobs(page, 5)
    assert len(Study.open(folder).trained_runs()) == 2
    # the assay, with groups
    go(page, "predict")
    press(page, "Predict 6 videos")
    wait_for_jobs(page, 6)
    go(page, "results")
    page.wait_for_selector("#animals input")
    for k in range(1, 7):
        page.get_by_label(f"group of mouse_{k:02}").fill("drug" if k % 2 else "saline")
    press(page, "Save animals.csv")
    page.wait_for_selector("#message >> text=saved animals.csv")
    page.get_by_label("Time bins", exact=True).fill("0.5s")
    page.get_by_label("Time bins", exact=True).press("Tab")
    page.wait_for_function("() => studio.state.options.summarize.bin === '0.5s'")
    press(page, "Compute tables and figures")
    wait_for_jobs(page, 7)
    page.wait_for_selector("#results figure img")
    with page.expect_download() as download:
        page.get_by_role("link", name="summary/summary.xlsx").click(modifiers=["Alt"])
    assert zipfile.is_zipfile(download.value.path())
    press(page, "Export")
    wait_for_jobs(page, 8)
    page.get_by_role("link", name="export_boris/predictions.boris").wait_for()
    press(page, "Everything as one archive")
    wait_for_jobs(page, 9)
    page.locator("#results-away a[href$='.zip?download=1']").wait_for()
    # the same commands in a terminal give the same files
    again = tmp_path / "again"
    result = run("summarize", folder, "--wide", "--xlsx", "--html", "-o", again, "-q")
    assert result.exit_code == 0, result.output
    for path in again.glob("*.csv"):
        assert path.read_bytes() == (folder / "results" / "summary" / path.name).read_bytes()
    result = run("train", folder, "--epochs", 1, "-q")
    assert result.exit_code == 0, result.output
    go(page, "learn")
    page.wait_for_selector("#learn-runs tbody tr:nth-child(3)")
    assert Study.open(folder).run_in_use() != first


def test_problems_are_shown_where_they_are(open_page, scored):
    """A video without labels is no problem; damage is, at its video, with what to do."""
    (scored / "Videos" / "mouse_02.mp4").write_bytes(b"nothing")
    page = open_page(scored)
    page.wait_for_selector("tr[data-video='mouse_02.mp4'] code:has-text('video-damaged')")
    row = page.locator("tr[data-video='mouse_03.mp4']")
    assert "nobody yet" in row.inner_text()
    assert row.locator(".bad").count() == 0


def test_classes_are_edited_and_a_mistake_stays_in_the_dialog(open_page, scored):
    """The order gives keys; nothing is saved before the map is right."""
    page = open_page(scored)
    press(page, "Classes and keys")
    page.get_by_label("Class, row 6").fill("rest")
    page.keyboard.press("Tab")
    page.get_by_label("Code, row 6").fill("4")
    page.keyboard.press("Tab")
    focused = page.evaluate("() => document.activeElement.ariaLabel")
    assert focused == "Name, row 6"  # what is drawn again keeps the focus
    press(page, "Save classes.csv")
    page.wait_for_selector("#dialog .bad:has-text('occurs twice')")
    assert not (scored / "classes.csv").exists()
    page.get_by_label("Name, row 6").press("Control+z")
    assert page.get_by_label("Code, row 6").input_value() == "5"
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.keyboard.press("Escape")
    assert asked == ["Close without saving the changes?"]
    page.get_by_label("Key and colour, row 7").select_option("1")  # walk
    page.get_by_label("Is a response, row 1").check()
    press(page, "Save classes.csv")
    page.wait_for_selector("#dialog", state="hidden")
    found = ClassMap.from_csv(scored / "classes.csv")
    assert found.class_names[:2] == ("walk", "rest")
    assert (5, "flinch", "rest") in found.rows
    assert "walk" in found.responses


def test_typed_groups_stay_when_recordings_come(open_page, scored):
    """The table is drawn again with what was typed; other recordings have rows of their own."""
    page = open_page(scored)
    go(page, "results")
    page.get_by_label("group of mouse_01").fill("drug")
    shutil.copy(scored / "Videos" / "mouse_01.mp4", scored / "Videos" / "mouse_09.mp4")
    page.get_by_label("group of mouse_09").wait_for()
    assert page.get_by_label("group of mouse_01").input_value() == "drug"
    press(page, "Save animals.csv")
    page.wait_for_selector("#message >> text=saved animals.csv")
    assert "mouse_01,,drug" in (scored / "animals.csv").read_text()


def test_a_broken_study_is_said_on_the_page(open_page, scored):
    """Also when it is opened so; the page follows once the file is right."""
    text = (scored / "study.json").read_text()
    data = json.loads(text) | {"options": {"train": {"epochs": -3}}}
    (scored / "study.json").write_text(json.dumps(data))
    page = open_page(scored, is_ready=False)
    page.wait_for_selector("#broken >> text=epochs: found -3, expected a whole number")
    (scored / "study.json").write_text(text)
    page.wait_for_selector("tr[data-video='mouse_06.mp4']")
    assert page.locator("#broken").is_hidden()


def test_the_pattern_shows_what_it_finds_while_it_is_typed(open_page, scored):
    """The table changes with each key; study.json only when it is saved."""
    page = open_page(scored)
    page.get_by_label("Pattern").press_sequentially("0[12]")
    page.wait_for_selector("#videos-animals output:has-text('finds 2 animals; none in 4 videos')")
    assert page.locator("tr[data-video='mouse_02.mp4'] .animal").inner_text() == "02"
    assert Study.open(scored).options == OPTIONS
    press(page, "Save the pattern")
    page.wait_for_function("() => studio.state.options.preprocess['group-pattern']")
    assert Study.open(scored).options["preprocess"]["group-pattern"] == "0[12]"


def test_a_run_is_stopped_and_continued(open_page, scored):
    """Stop saves; Continue goes on with the same run; both pages of the study agree."""
    page = open_page(scored)
    second = page.context.new_page()
    second.goto(page.url)
    page.evaluate("() => studio.setOption('train', 'epochs', 400)")
    go(page, "learn")
    press(page, "Learn")
    page.wait_for_selector("#running svg.plot", timeout=120000)
    second.wait_for_selector("#now:not([hidden]) >> text=Learn")
    press(page, "Stop (what was learnt is saved)")
    wait_for_jobs(page, 2, ("stopped",))
    (folder,) = (scored / "runs").iterdir()
    before = page.evaluate("() => studio.state.runs[0].history.length")
    press(page, f"Continue {folder.name}")
    page.wait_for_function(
        "(before) => studio.state.runs[0].history.length > before", arg=before, timeout=120000
    )
    second.evaluate("() => location.hash = '#/learn'")
    press(second, "Stop (what was learnt is saved)")
    wait_for_jobs(page, 3, ("stopped",))
    assert len([*(scored / "runs").iterdir()]) == 1


def test_regions_are_drawn_into_the_study(open_page, scored):
    """The page for scoring draws; the study keeps them beside study.json."""
    page = open_page(scored)
    other = open_other(page, "Draw regions of mouse_02.mp4")
    other.wait_for_selector("#region-panel:not([hidden])")
    assert other.locator("#recording").input_value() == "mouse_02"
    other.get_by_role("button", name="Add a region").click()
    other.locator("#save-regions").click()
    other.wait_for_selector("#message:not([hidden])")
    assert (scored / "regions.csv").read_text().splitlines()[1] == "mouse_02.mp4,A,0,0,32,32"
    assert read_annotation(
        scored / "Annotations" / "mouse_02_annotation.csv", DEFAULT_CLASS_MAP
    ).codes.size


def test_moved_videos_are_asked_for(open_page, scored):
    """The page says what is missing, and takes the new folder after one look."""
    (scored / "Videos").rename(scored.parent / "elsewhere")
    page = open_page(scored)
    press(page, "Choose where they are")
    page.get_by_label("Path of the folder").fill(str(scored.parent / "elsewhere"))
    page.get_by_label("Path of the folder").press("Enter")
    page.wait_for_selector("#dialog >> text=6 videos")
    press(page, "Choose this folder")
    page.wait_for_selector("#dialog >> text=6 videos in")
    press(page, "Use it")
    page.wait_for_selector("#moved", state="hidden")
    page.wait_for_selector("tr[data-video='mouse_06.mp4']")


def test_hostile_names_are_text(open_page, scored):
    """Names of a video and of a label file that are markup are shown as they are written."""
    source = next((scored / "Videos").iterdir())
    name = "<img src=x onerror=alert(1)>.mp4"
    shutil.copy(source, scored / "Videos" / name)
    (scored / "Annotations" / "<b>x.csv").write_text("Frame,Action\n0,0\n")
    page = open_page(scored)
    page.wait_for_selector("#videos-table tbody tr:nth-child(7)")
    page.wait_for_selector("#videos-problems li")
    assert name in page.locator("#videos-table").inner_text()
    assert "<b>x.csv" in page.locator("#videos-problems").inner_text()
    assert page.locator("#videos img:not(.thumb), #videos b").count() == 0


@pytest.mark.parametrize("size", [(1280, 720), (820, 1180)], ids=["laptop", "tablet"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_fits(open_page, scored, size, scheme):
    """Controls have names for screen readers; nothing is wider than the page; keys reach all."""
    page = open_page(scored, color_scheme=scheme)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_selector("#videos-table tbody tr:nth-child(6)")
    for key, screen in zip(
        "134567", "videos learn predict check results jobs".split(), strict=True
    ):
        page.keyboard.press(key)
        page.wait_for_selector(f"#{screen}:not([hidden]) > .part")
        nameless = page.evaluate(
            "() => [...document.querySelectorAll('button, input, select, textarea, a, progress')]"
            ".filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length))"
            ".map((e) => e.outerHTML)"
        )
        assert nameless == []
        wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, screen
        assert page.locator("#screens a[aria-current='page']").count() == 1


def test_many_runs_do_not_cut_the_table(open_page, scored):
    """The newest run is named, with the number of the others; nothing is cut on a tablet."""
    runs = [f"run_20261130_12000{k}" for k in range(9)]
    for run_name in runs:
        put_network(scored, run_name)
        folder = scored / "predictions" / run_name
        folder.mkdir(parents=True)
        (folder / "mouse_01_predictions.csv").write_text("")
    page = open_page(scored)
    page.set_viewport_size({"width": 820, "height": 1180})
    page.wait_for_selector("#videos-table td.runs >> text=20261130_120008 and 8 more")
    page.wait_for_function("() => !studio.table.is_reading")
    wide = "e => e.scrollWidth - e.clientWidth"
    assert page.locator("#videos-table .scroll").evaluate(wide) <= 0


def test_what_is_late_or_clicked_twice(open_page, scored):
    """An older answer does not replace a newer one, a click counts once, what is typed stays."""
    page = open_page(scored)
    page.wait_for_selector("#videos-table tr[data-video]")
    page.evaluate(
        """() => { window.set = (name, value) => fetch("option", { method: "POST",
             headers: { "Content-Type": "application/json" },
             body: JSON.stringify({ command: "preprocess", name, value }) }); }"""
    )
    late = page.evaluate(
        """async () => {
          const ask = window.fetch;
          let isFirst = true;
          window.fetch = async (path, options) => {
            const isLate = path === "state" && isFirst;
            isFirst &&= !isLate;
            const answer = await ask(path, options);
            if (isLate) await new Promise((done) => setTimeout(done, 1500));
            return answer;
          };
          const late = studio.look();
          await new Promise((done) => setTimeout(done, 500));
          await set("label-offset", 7);
          await studio.look();
          const before = studio.state.options.preprocess["label-offset"];
          await late;
          window.fetch = ask;
          return [before, studio.state.options.preprocess["label-offset"]];
        }"""
    )
    assert late == [7, 7]
    field = "input[aria-label='Where nothing was scored']"
    page.fill(field, "res")
    page.evaluate("() => set('label-offset', 8)")
    page.wait_for_function("() => studio.state.options.preprocess['label-offset'] === 8")
    page.wait_for_timeout(100)
    assert page.input_value(field) == "res"
    page.fill(field, "rest")
    page.keyboard.press("Tab")
    page.wait_for_function("() => studio.state.options.preprocess.unscored === 'rest'")
    page.evaluate(
        """() => { const item = [...document.querySelectorAll("button")]
             .find((each) => each.textContent === "Check all files");
             item.click(); item.click(); }"""
    )
    page.wait_for_function("() => studio.state.jobs.length > 0")
    page.wait_for_timeout(1500)
    assert page.evaluate("() => studio.state.jobs.length") == 1
