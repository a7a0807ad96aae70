"""Pictures on the page, and what a killed server or a late prediction does to them."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from mpar.reviewer import desk as desk_module
from mpar.reviewer import frames as frames_module
from mpar.video.seeking import FrameReader
from tests.browser.window import NUM_FRAMES, REST, Window
from tests.unit.reviewer.asking import LICK, WALK, codes_of
from tests.unit.reviewer.test_review_server import start_server

pytestmark = pytest.mark.browser

NUMBER_ON_CANVAS = """() => {
  const canvas = document.getElementById("picture"), context = canvas.getContext("2d");
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let number = 0;
  for (let row = 0; row < 4; row++) for (let column = 0; column < 4; column++) {
    const x = Math.floor((column + 0.5) * canvas.width / 4);
    const y = Math.floor((row + 0.5) * canvas.height / 4);
    number = 2 * number + (data[4 * (y * canvas.width + x)] > 127);
  }
  return [number, Number(canvas.dataset.frame)];
}"""


def test_the_canvas_shows_the_right_frame_at_200_places(open_window):
    """Jumps and steps, in a video with reordered frames and in an AVI; then while it plays."""
    window = open_window()
    rng = np.random.default_rng(0)
    for name, count in (("m1", NUM_FRAMES), ("m2", 60)):
        if name != "m1":
            window.press("m")
            window.page.wait_for_selector("#picture[data-frame='0']")
        for frame in rng.integers(0, count, 50).tolist():
            window.goes_to(frame)
            assert window.page.evaluate(NUMBER_ON_CANVAS) == [frame, frame]
            key, near = ("ArrowLeft", frame - 1) if frame else ("ArrowRight", 1)
            window.press(key)
            window.page.wait_for_selector(f"#picture[data-frame='{near}']")
            assert window.page.evaluate(NUMBER_ON_CANVAS) == [near, near]
    for key in ("Space", "Shift+Space"):
        window.goes_to(30)
        window.press(key)
        shown = []
        while len({a for a, _ in shown}) < 8:
            window.page.wait_for_timeout(20)
            shown.append(window.page.evaluate(NUMBER_ON_CANVAS))
        assert all(a == b for a, b in shown)
        window.press("Space")


def test_a_picture_that_is_late_is_marked(open_window):
    """Until the frame is there, the page says which one is still shown."""
    window = open_window()
    page = window.page
    held, released = [], []
    page.route("**/frames?*", lambda r: r.continue_() if released else held.append(r))
    page.evaluate("() => review.player.frames.blobs.clear()")
    page.evaluate("() => review.player.frames.bitmaps.clear()")
    page.evaluate("() => review.go(200)")
    page.wait_for_selector("#late >> text=Frame 200 comes; this is frame 0")
    assert page.evaluate(NUMBER_ON_CANVAS) == [0, 0]
    window.press("1")  # waits for the frame: nobody scores what is not on the screen
    assert page.evaluate("() => review.own[200]") == -1
    released.append(True)
    for route in held:
        route.continue_()
    page.wait_for_selector("#picture[data-frame='200']")
    assert page.locator("#late").is_hidden()
    page.wait_for_function("() => review.own[200] !== -1")


def test_a_small_picture_comes_first_and_cannot_be_scored(open_window):
    """It is marked with its frame, gives way to the exact one, and labels wait for that."""
    window = open_window()
    page = window.page
    page.wait_for_function("() => Number(document.body.dataset.counted) > 200")
    held, released = [], []

    def pass_on(route):
        if released or "small=1" in route.request.url:
            route.continue_()
        else:
            held.append(route)

    page.route("**/frames?*", pass_on)
    page.evaluate("() => review.player.frames.blobs.clear()")
    page.evaluate("() => review.player.frames.bitmaps.clear()")
    page.evaluate("() => review.go(200)")
    page.wait_for_selector("#picture[data-sketch]:not([data-sketch=''])")
    sketch = int(page.get_attribute("#picture", "data-sketch"))
    assert 200 - 8 < sketch <= 200
    assert page.get_attribute("#picture", "data-frame") == ""
    assert page.locator("#late").inner_text() == (
        f"Frame 200 comes; this is a small picture of frame {sketch}"
    )
    window.press("1")
    page.wait_for_timeout(100)
    assert page.evaluate("() => review.own[200]") == -1
    released.append(True)
    for route in held:
        route.continue_()
    page.wait_for_selector("#picture[data-frame='200']")
    assert page.evaluate(NUMBER_ON_CANVAS) == [200, 200]
    page.wait_for_function("() => review.own[200] !== -1")
    assert page.evaluate("() => review.own[199]") == -1


@pytest.mark.parametrize("way", ["click", "recording"])
def test_a_label_that_waits_for_its_frame_goes_nowhere_else(open_window, tmp_path, way):
    """What the mouse asks for meanwhile, a move or another recording, comes after it."""
    window = open_window()
    page = window.page
    held, released = [], []
    page.route("**/frames?*", lambda r: r.continue_() if released else held.append(r))
    page.evaluate("() => review.player.frames.blobs.delete(200)")
    page.evaluate("() => review.player.frames.bitmaps.delete(200)")
    page.evaluate("() => review.go(200)")
    window.press("4")
    if way == "click":
        page.mouse.click(*window.place_of(0.5))  # a frame that is here at once
    else:
        page.select_option("#recording", "m2")
    page.wait_for_timeout(100)
    assert page.evaluate("() => review.own[200]") == -1
    released.append(True)
    for route in held:
        route.continue_()
    page.wait_for_selector("#picture[data-frame='0']")
    window.settle()
    assert page.evaluate("() => review.name") == ("m1" if way == "click" else "m2")
    assert set(window.own()[:200]) == {-1}
    codes = codes_of(tmp_path / "out")
    assert [k for k, code in enumerate(codes) if code != -1] == [200]


def test_a_killed_server_is_noticed_and_loses_nothing(browser, sources, tmp_path):
    """What the page showed as saved is there when the server starts again."""
    out = tmp_path / "out"
    process, link = start_server(sources / "Videos", out)
    try:
        window = Window(browser, link)
        window.press("3", *["ArrowRight"] * 20, "Escape")
        window.settle()
        process.kill()
        process.wait(20)
        window.press("4", "ArrowRight")
        window.page.wait_for_selector("#saved.bad >> text=Not saved")
        window.page.close()
    finally:
        process.kill()
        process.communicate()
    assert codes_of(out) == [LICK] * 21 + [-1] * (NUM_FRAMES - 21)
    process, link = start_server(sources / "Videos", out)
    try:
        window = Window(browser, link)
        assert window.own() == codes_of(out)
        window.press("Control+z")
        window.settle()
        assert codes_of(out) == [-1] * NUM_FRAMES
        window.close()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_nothing_overlaps(open_window, scheme):
    """At the smallest size: controls have names, the picture is large, and no part is cut off."""
    window = open_window(predictions=True, color_scheme=scheme)
    page = window.page
    for element in page.query_selector_all("button, select, input, canvas"):
        name = (
            element.get_attribute("aria-label")
            or element.inner_text()
            or element.evaluate("e => e.closest('label')?.innerText ?? ''")
        )
        assert name.strip()
    boxes = [
        page.query_selector(name).bounding_box()
        for name in ("header", "#stage", "#side", "#controls", "#time")
    ]
    for k, one in enumerate(boxes):
        assert one["x"] >= 0
        assert one["y"] >= 0
        assert one["x"] + one["width"] <= 1280.5
        assert one["y"] + one["height"] <= 720.5
        for other in boxes[k + 1 :]:
            apart = (
                one["x"] + one["width"] <= other["x"] + 0.5
                or other["x"] + other["width"] <= one["x"] + 0.5
                or one["y"] + one["height"] <= other["y"] + 0.5
                or other["y"] + other["height"] <= one["y"] + 0.5
            )
            assert apart
    assert page.query_selector("#holder").bounding_box()["height"] > 720 / 2
    assert page.evaluate(
        "() => document.getElementById('side').scrollHeight <= "
        "document.getElementById('side').clientHeight"
    )
    window.press("?")
    assert page.locator("dialog").is_visible()
    for text in ("paw_lick", "accept the range or bout", "whole recording"):
        assert text in page.inner_text("dialog")
    window.press("Escape", "Tab")
    assert page.evaluate("() => document.activeElement.matches(':focus-visible')")


def test_a_problem_stays_until_something_is_done(open_window):
    """A plain message goes by itself; a problem goes with a click, or later with a key."""
    window = open_window()
    page, message = window.page, window.page.locator("#message")
    page.clock.install()
    page.evaluate("() => review.say('all well', true)")
    page.clock.fast_forward(8000)
    assert message.is_hidden()
    for is_clicked in (True, False):
        page.evaluate("() => review.say('disk full')")
        page.clock.fast_forward(60_000)
        assert message.is_visible()
        if is_clicked:
            message.click()
        else:
            window.press("ArrowRight")
        assert message.is_hidden()
    page.clock.resume()


def test_regions_are_drawn_and_saved(open_window, tmp_path):
    """With the mouse and with numbers; the recordings are then those of the animals."""
    window = open_window()
    window.press("r")
    box = window.page.query_selector("#holder").bounding_box()
    mouse = window.page.mouse
    mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    mouse.down()
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.move(box["x"] + 3 * box["width"] / 4, box["y"] + 3 * box["height"] / 4)
    mouse.up()
    window.page.fill("input[aria-label='x of region 1 in px']", "10")
    window.page.click("#save-regions")
    window.page.wait_for_selector("#message >> text=Saved regions.csv")
    assert (tmp_path / "out" / "regions.csv").read_text() == (
        "Video,Animal,X,Y,Width,Height\nm1.mp4,A,10,32,80,64\n"
    )
    window.page.wait_for_selector("#recording option[value='m1__A']", state="attached")


def test_the_queue_is_reviewed_by_keyboard(open_window, tmp_path):
    """The next stretch is marked and looped over; accepting it goes on to the one after."""
    window = open_window(predictions=True)
    window.page.wait_for_selector("#queue-panel li")
    first = window.page.evaluate("() => review.queue.list[0]")
    window.press(".")
    window.page.wait_for_selector("#queue-panel[data-place='0']")
    assert window.frame == first["start"]
    assert first["reason"] in window.page.inner_text("#hint")
    window.press("Shift+A")
    window.settle()
    expected = np.repeat([REST, LICK, WALK, REST], 60)[first["start"] : first["stop"]]
    assert codes_of(tmp_path / "out")[first["start"] : first["stop"]] == expected.tolist()
    assert window.page.query_selector("#queue-panel .done")


def test_an_estimate_is_made_by_keyboard(open_window, tmp_path):
    """Stretch after stretch, blind; frames that were left out are pointed out once."""
    window = open_window(predictions=True, is_estimate=True)
    page = window.page
    num_stretches = page.evaluate("() => review.queue.state.num_stretches")
    for k in range(num_stretches):
        page.wait_for_selector(f"#queue-panel[data-place='{k}']")
        assert page.evaluate("() => review.predicted") is None
        start, stop = page.evaluate("() => review.timeline.stretch")
        if k == 0:
            window.press(".")
            page.wait_for_selector("#message >> text=frames have no class")
        window.press("i", *["ArrowRight"] * (stop - start - 1), "o", "3", ".")
    page.wait_for_selector("#queue-panel >> text=All stretches are checked")
    assert codes_of(tmp_path / "out", "m1_anna-estimate") == [LICK] * NUM_FRAMES
    found = json.loads((tmp_path / "out" / "estimate.json").read_text())["result"]
    assert found["classes"]["paw_lick"]["recall"]["estimate"] == pytest.approx(60 / NUM_FRAMES)
    assert found["classes"]["paw_lick"]["precision"]["estimate"] == pytest.approx(1)


def test_picture_from_before_its_proof_is_shown_anew(open_window, monkeypatch):
    """What stood on the screen while frames were counted is replaced, and not scored before."""
    gate, read = threading.Event(), FrameReader.read

    class Slow(frames_module.Counting):
        def __iter__(self):
            for k, _ in enumerate(super().__iter__()):
                if k == 9:
                    gate.wait(60)
                yield

    def read_wrong(self, start, stop, digests=(), turns=()):
        for number, picture in read(self, start, stop, digests, turns):
            yield number, picture if number < len(digests) else 255 - picture

    monkeypatch.setattr(frames_module, "Counting", Slow)
    monkeypatch.setattr(FrameReader, "read", read_wrong)
    # the window opens on proven frames, then goes on to others
    monkeypatch.setattr("tests.browser.window.NUM_FRAMES", 10)
    window = open_window()
    grey = "() => review.player.context.getImageData(80, 120, 1, 1).data[0]"
    window.goes_to(5)
    window.goes_to(100)
    wrong = window.page.evaluate(grey)
    window.press("3")
    window.settle()
    assert window.own() == [-1] * 240
    assert window.page.evaluate("() => review.seen.flags[100]") == 0
    gate.set()
    window.page.wait_for_selector("body[data-counted='240']")
    assert abs(window.page.evaluate(grey) - (255 - wrong)) <= 3
    assert wrong != 255 - wrong
    window.press("3")
    window.settle()
    assert window.own() == [-1] * 100 + [LICK] + [-1] * 139


def test_prediction_that_comes_later_is_shown_then(open_window, monkeypatch, tmp_path):
    """The page scores at once; what it is compared with appears when it has been read."""
    gate, read = threading.Event(), desk_module.read_predicted

    def read_late(*arguments):
        gate.wait(60)
        return read(*arguments)

    monkeypatch.setattr(desk_module, "read_predicted", read_late)
    window = open_window(predictions=True)
    window.press("3", "Escape", "a")
    window.settle()
    assert window.own()[:2] == [LICK, -1]
    assert "still reading" in window.page.inner_text("#message")
    gate.set()
    window.page.wait_for_function("() => review.predicted && review.timeline.curve")
    assert window.own()[:2] == [LICK, -1]
    window.goes_to(1)
    window.press("a")
    window.settle()
    assert codes_of(tmp_path / "out") == [REST] * 60 + [-1] * 180
