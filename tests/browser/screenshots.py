"""Make the pictures of the tutorial: ``python -m tests.browser.screenshots`` (six minutes).

It makes the demo, goes through its screens in Chromium as the tutorial says, and writes
``data/tutorial/*.png``.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
from pathlib import Path

from mpar_cli._commands import Commands
from PIL import Image
from playwright.sync_api import sync_playwright

from mpar.studio.routes import opened_studio
from mpar.studio.study import demo_study
from tests.browser.window import SWITCHES
from tests.fixtures.helpers import find_browser

OUTPUT = Path(__file__).parents[2] / "data" / "tutorial"
WIDTH = 960


HOME = "/home/anna"  # stands for the temporary folder in the pictures
HIDE = """(home) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    text.data = text.data.replace(/\\S+(?=.mpar-demo)/g, home);
  }
}"""


def shoot(page, name):
    """Write what a page shows, small, in 256 colours."""
    page.wait_for_timeout(400)
    page.evaluate(HIDE, HOME)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture = picture.resize((WIDTH, WIDTH * picture.height // picture.width), Image.LANCZOS)
    # a median cut would give a class of few pixels the colour of another
    picture = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    picture.save(OUTPUT / f"{name}.png", optimize=True)
    sys.stdout.write(f"{name}.png: {(OUTPUT / f'{name}.png').stat().st_size // 1000} kB\n")


def go(page, screen):
    """Go to a screen."""
    page.evaluate(f"() => location.hash = '#/{screen}'")
    page.wait_for_selector(f"#{screen}:not([hidden]) > .part")


def wait_for_jobs(page, count):
    """Wait until so many jobs have ended well."""
    page.wait_for_function(
        f"() => studio.state.jobs.filter((job) => job.is_over).length >= {count}", timeout=900_000
    )
    assert page.evaluate("() => studio.state.jobs[0].state") in {"done", "problems"}


def visit(page):  # noqa: PLR0915
    """Go through the screens of a demo, as the tutorial does."""
    page.wait_for_selector("#videos-table tbody tr:nth-child(16)")
    page.wait_for_function("() => !studio.table.is_reading")
    shoot(page, "videos")
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Score mouse_13.mp4", exact=True).click()
    other = opened.value
    other.wait_for_selector("body[data-counted='360']")
    for key, count in (("1", 24), ("5", 40), ("2", 9), ("1", 20), ("6", 35)):
        other.keyboard.press(key)
        for _ in range(count):
            other.keyboard.press("ArrowRight")
            other.wait_for_timeout(30)
    other.keyboard.press("Escape")
    shoot(other, "score")
    for key in ("Control+a", "Delete"):
        other.keyboard.press(key)
    other.evaluate("async () => { await review.settle(); }")
    other.close()
    go(page, "learn")
    page.wait_for_timeout(3000)  # until the studio looks again
    page.wait_for_function("() => !studio.table.is_reading")
    shoot(page, "learn")
    page.locator("#learn-button").click()
    page.wait_for_function(
        "() => studio.state.runs[0]?.history.length >= 8", timeout=900_000, polling=200
    )
    page.locator("#running").evaluate("(e) => scrollTo(0, e.offsetTop - 70)")
    shoot(page, "learning")
    wait_for_jobs(page, 2)
    page.wait_for_selector("#result")
    page.locator("#result").evaluate("(e) => scrollTo(0, e.offsetTop - 70)")
    shoot(page, "learnt")
    go(page, "predict")
    page.locator("#predict-button").click()
    wait_for_jobs(page, 3)
    page.wait_for_selector("#predict >> text=16 of 16 videos predicted")
    page.evaluate("() => scrollTo(0, 0)")
    shoot(page, "predict")
    go(page, "check")
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Open the queue").click()
    other = opened.value
    other.wait_for_selector("#queue-panel li button")
    other.keyboard.press(".")
    other.wait_for_selector("#queue-panel[data-place='0']")
    other.wait_for_timeout(1000)
    shoot(other, "check")
    other.close()
    go(page, "results")
    page.wait_for_selector("#animals input")
    for k in range(1, 17):
        page.get_by_label(f"group of mouse_{k:02}").fill("drug" if k % 2 else "saline")
    page.get_by_role("button", name="Save animals.csv").click()
    page.get_by_label("Time bins", exact=True).fill("4s")
    page.get_by_label("Time bins", exact=True).press("Tab")
    page.wait_for_function("() => studio.state.options.summarize.bin")
    page.locator("#summarize-button").click()
    wait_for_jobs(page, 4)
    page.wait_for_selector("#results figure img")
    page.locator("#results-summary").evaluate("(e) => scrollTo(0, e.offsetTop - 60)")
    page.wait_for_timeout(1500)
    shoot(page, "results")


def main():
    """Make all pictures."""
    OUTPUT.mkdir(exist_ok=True)
    os.environ["LOGNAME"] = "anna"  # who scores
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, sync_playwright() as play:
        folder = Path(name, "mpar-demo")
        demo_study(folder)
        browser = play.chromium.launch(executable_path=find_browser(), args=SWITCHES)
        with opened_studio(Commands(), folder) as server:
            thread = threading.Thread(target=server.serve, daemon=True)
            thread.start()
            page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
            page.goto(server.url)
            visit(page)
            server.stop()
            thread.join()
        browser.close()


if __name__ == "__main__":
    main()
