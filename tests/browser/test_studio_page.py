"""The window of a study in Chromium: from videos and labels to results, with clicks and keys."""

from __future__ import annotations

import shutil
import threading

import pytest

from mpar.studio.jobs import Jobs
from mpar.studio.study import Study, shown
from mpar.studio.window import opened_studio
from tests.unit.studio.test_study import put_study

pytestmark = pytest.mark.browser
OPTIONS = {"preprocess": {"size": 32}, "train": {"model": "light", "epochs": 1}}
ENDS = ("done", "problems", "failed", "stopped", "broken")


@pytest.fixture
def window(browser, study, tmp_path):
    """A page on a new study with six videos, five of them scored."""
    folder = put_study(tmp_path / "Pain study", options=OPTIONS)
    shutil.copytree(study.videos, folder / "Videos")
    shutil.copytree(study.annotations, folder / "Annotations")
    (folder / "Annotations" / "mouse_03_annotation.csv").unlink()
    with opened_studio(folder) as server:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(server.url)
        page.wait_for_selector("body[data-ready]")
        page.folder = folder
        yield page
        assert page.errors == []
        page.close()
        server.stop()
        thread.join()


def do(page, button, state="done", seconds=120):
    """Press a button by keyboard; wait until its job has ended."""
    number = page.locator("#jobs > li").count() + 1
    page.get_by_role("button", name=button, exact=True).focus()
    page.keyboard.press("Enter")
    own = f"#jobs > li:nth-last-child({number}) .state"
    ended = ", ".join(f"{own}[data-state='{name}']" for name in ENDS)
    page.wait_for_selector(ended, timeout=1000 * seconds)
    found = page.locator(own).get_attribute("data-state")
    assert found == state, "\n".join(Jobs(page.folder / "jobs").output(number)[1][-4:])


def test_a_study_from_labels_to_results(window):
    """Every step is a command that can be copied; what it made is on the page."""
    assert window.locator("#videos tr").count() == 6
    assert window.locator("#videos tr", has_text="mouse_03").inner_text().split()[-2:] == [
        "none",
        "no",
    ]
    assert window.get_by_role("button", name="Learn", exact=True).is_disabled()
    do(window, "Preprocess", "problems")
    window.wait_for_selector("#problems li")
    assert "mouse_03.mp4" in window.locator("#problems").inner_text()
    window.get_by_label("Minutes").fill("90")
    command = shown(["mpar-train", str(window.folder), "--minutes", "90"])
    window.wait_for_function(
        "(text) => [...document.querySelectorAll('code')].some((c) => c.textContent === text)",
        arg=command,
    )
    window.get_by_label("Minutes").fill("")
    do(window, "Learn")
    do(window, "Predict")
    assert window.locator("#videos").inner_text().count("yes") == 6
    do(window, "Summarize")
    window.wait_for_selector("#results a")
    with window.context.expect_page() as opened:
        window.locator("#results a", has_text="ethograms.png").first.click()
    assert opened.value.evaluate("document.images[0].naturalWidth") > 100
    (name,) = Study.open(window.folder).trained_runs()
    assert window.get_by_label(f"{name} (in use)").is_checked()


def test_scoring_opens_from_the_window(window):
    """The page for scoring writes into the study, and its link is given once."""
    for _ in range(2):
        with window.context.expect_page() as opened:
            window.get_by_role("button", name="Open the page for scoring").click()
        opened.value.wait_for_selector("#picture[data-frame]")
    assert [page.url for page in window.context.pages[1:]] == [opened.value.url] * 2


def test_hostile_names_are_text(window):
    """A video whose name is markup is shown as it is written."""
    source = next((window.folder / "Videos").iterdir())
    name = "<img src=x onerror=alert(1)>.mp4"
    shutil.copy(source, window.folder / "Videos" / name)
    window.wait_for_selector("#videos tr:nth-child(7)")
    assert name in window.locator("#videos").inner_text()
    assert window.locator("#videos img").count() == 0


@pytest.mark.parametrize("size", [(1280, 720), (820, 1180)], ids=["laptop", "tablet"])
def test_everything_has_a_name_and_fits(window, size):
    """Controls have names for screen readers; nothing is wider than the page."""
    window.set_viewport_size({"width": size[0], "height": size[1]})
    nameless = window.evaluate(
        "() => [...document.querySelectorAll('button, input, select, a, progress')].filter((e) =>"
        " !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert nameless == []
    wide = window.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
