"""The page of mpar-review in a real browser: keys, drags, two windows, the numbers of frames."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from mpar.labels.classes import ClassMap
from mpar.review import ReviewConfig, opened_review
from mpar.reviewer import desk as desk_module
from mpar.reviewer import frames as frames_module
from mpar.video.seeking import FrameReader
from tests.fixtures.helpers import find_browser
from tests.fixtures.synthetic import draw_frame_numbers, write_video
from tests.unit.reviewer.test_review import (
    LICK,
    WALK,
    codes_of,
    put_predictions,
    start_server,
)

pytestmark = pytest.mark.browser

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NUM_FRAMES = 240
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking "
    "--disable-component-update --no-first-run --disable-extensions"
).split()
REST, WITHDRAW = 0, 1


@pytest.fixture(scope="module")
def browser():
    path = find_browser()
    if not path:
        pytest.skip("no Chromium or Chrome on the PATH that starts")
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Videos whose pixels spell the number of the frame: reordered frames, and AVI."""
    folder = tmp_path_factory.mktemp("review")
    (folder / "Videos").mkdir()
    frames = draw_frame_numbers(NUM_FRAMES, 128, 160)
    options = {"x264-params": "keyint=48:bframes=3:open-gop=1"}
    write_video(folder / "Videos" / "m1.mp4", frames, options=options)
    write_video(folder / "Videos" / "m2.avi", frames[:60], codec="mpeg4", options={"bf": "2"})
    labels = np.repeat([0, 2, 4, 0], 60)
    put_predictions(folder / "predictions", labels)
    return folder


class Window:
    """A window of the browser on the page."""

    def __init__(self, browser, url, script="", **options):
        context = {"viewport": {"width": 1280, "height": 720}} | options
        self.page = browser.new_page(**context)
        self.page.add_init_script(script)
        self.errors = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector("#picture[data-frame]")
        self.page.wait_for_selector(f"body[data-counted='{NUM_FRAMES}']")

    def press(self, *keys):
        """Press keys one after another."""
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, *events):
        """Press keys as a keyboard of another layout reports them: (key, code, shift)."""
        for key, code, *shift in events:
            self.page.evaluate(
                "e => document.dispatchEvent(new KeyboardEvent('keydown', {...e, bubbles: true}))",
                {"key": key, "code": code, "shiftKey": bool(shift)},
            )

    def labels(self):
        """Return what stands beside each class."""
        return self.page.locator("#classes kbd").all_inner_texts()

    def goes_to(self, frame):
        """Go to a frame by a script, as a click on the time line does."""
        self.page.evaluate("frame => review.go(frame)", frame)
        self.page.wait_for_selector(f"#picture[data-frame='{frame}']")

    def settle(self):
        """Wait until all edits are confirmed."""
        self.page.evaluate("async () => { await review.sender.settle(); }")

    def own(self):
        """Return the codes of the scorer's lane on the page."""
        return self.page.evaluate("() => [...review.own]")

    @property
    def frame(self):
        """Return where the scorer is."""
        return self.page.evaluate("() => review.player.frame")

    def place_of(self, frame, kind="own"):
        """Return where a frame of a lane is on the screen."""
        script = """([frame, kind]) => {
          const { timeline } = review, box = timeline.canvas.getBoundingClientRect();
          const k = timeline.lanes.findIndex((lane) => lane.kind === kind);
          return [box.left + timeline.x(frame), box.top + timeline.tops[k] + 6];
        }"""
        return self.page.evaluate(script, [frame, kind])

    def drag(self, start, stop, kind="own"):
        """Drag from one frame to another on a lane."""
        mouse = self.page.mouse
        mouse.move(*self.place_of(start, kind))
        mouse.down()
        mouse.move(*self.place_of((start + stop) / 2, kind))
        mouse.move(*self.place_of(stop, kind))
        mouse.up()

    def close(self):
        """Close the window; no script may have failed."""
        self.settle()
        self.page.close()
        assert self.errors == []


@pytest.fixture
def open_window(browser, sources, tmp_path):
    """Return a function that opens a window; the first call starts the server."""
    windows, servers = [], []

    def open_one(predictions=False, is_estimate=False, class_map=None, **options):
        if not servers:
            context = opened_review(
                sources / "Videos",
                tmp_path / "out",
                predictions_folder=sources / "predictions" if predictions else None,
                config=ReviewConfig(annotator="anna", is_estimate=is_estimate, class_map=class_map),
            )
            review = context.__enter__()
            thread = threading.Thread(target=review.serve)
            thread.start()
            servers.append((context, review, thread))
        windows.append(Window(browser, servers[0][1].url, **options))
        return windows[-1]

    yield open_one
    for window in windows:
        if not window.page.is_closed():
            window.close()
    for context, review, thread in servers:
        review.stop()
        thread.join(20)
        context.__exit__(None, None, None)


def test_a_video_is_scored_by_keyboard_alone(open_window, tmp_path):
    """What the keys say is in the CSV, to the frame: stepping, ranges, splitting, joining."""
    window, out = open_window(), tmp_path / "out"
    expected = np.full(NUM_FRAMES, -1)
    window.press("1", *["ArrowRight"] * 10)  # rest on 0-10
    window.press("3", *["ArrowRight"] * 5)  # lick from 10 to 15
    window.press("Escape", *["ArrowRight"] * 5)
    expected[0:10], expected[10:16] = REST, LICK
    window.press("i", "PageDown", "o", "2")  # a range of a second
    expected[20:51] = WITHDRAW
    window.press("PageDown", "Enter", "5")  # the gap here becomes walk
    expected[51:NUM_FRAMES] = WALK
    window.press("Home", *["ArrowRight"] * 12, "s")
    expected[12] = -1
    window.press("PageDown", "s", "ArrowLeft", "j")  # splits 42, joins again
    window.press("End", "Delete", "Home", "g")
    expected[51:NUM_FRAMES] = -1
    window.settle()
    assert window.own() == expected.tolist()
    assert window.frame == 12
    assert codes_of(out) == expected.tolist()
    window.press("n", "Shift+O")  # the bout here, 13-15, ends at 13
    window.press("ArrowLeft", "Shift+I")  # and starts at 12
    expected[14:16], expected[12] = -1, LICK
    window.settle()
    assert codes_of(out) == expected.tolist()
    assert json.loads((out / "m1_anna.json").read_text())["history"]


def layout_script(printed):
    """Return a script that makes the browser tell of a keyboard with these characters."""
    return (
        f"const printed = new Map(Object.entries({json.dumps(printed)}));"
        "Object.defineProperty(navigator, 'keyboard',"
        " {value: {getLayoutMap: async () => printed}});"
    )


AZERTY = {
    **{f"Digit{k}": c for k, c in zip("1234567890", "&é\"'(-è_çà", strict=True)},
    **{f"Key{c.upper()}": c for c in "ertyuiopsdfghjklxcvbn"},
    **{"KeyQ": "a", "KeyA": "q", "KeyZ": "w", "KeyW": "z", "Semicolon": "m"},
}
RUSSIAN = {
    **{f"Digit{k}": k for k in "1234567890"},
    **{f"Key{c}": k for c, k in zip("DEHKWTY", "врлцен", strict=False)},
}


def test_digits_are_keys_at_a_place(open_window, tmp_path):
    """A French keyboard sends & for the key of 1, - for that of 6, and digits with Shift."""
    window = open_window(script=layout_script(AZERTY))
    assert window.labels() == ["&", "é", '"', "'", "(", "-", "Del"]
    expected = np.full(NUM_FRAMES, -1)
    step = ("ArrowRight", "ArrowRight")
    window.type(("&", "Digit1"), step, step, ('"', "Digit3"), step, ("-", "Digit6"), step)
    window.type(("5", "Digit5", True), step, ("2", "Numpad2"), step, ("Escape", "Escape"))
    expected[:7] = [REST, REST, LICK, 7, WALK, WITHDRAW, WITHDRAW]
    # without Num Lock, the number pad moves
    window.type(("Home", "Numpad7"), ("ArrowRight", "Numpad6"))
    window.settle()
    assert window.frame == 1
    assert window.own() == codes_of(tmp_path / "out") == expected.tolist()


def test_letters_are_characters(open_window, tmp_path):
    """The key a accepts wherever it stands; a Cyrillic letter is the Latin one at its place."""
    window = open_window(predictions=True)
    window.type(("a", "KeyQ"))  # AZERTY
    window.type(("ф", "KeyA"))  # Russian
    window.settle()
    assert codes_of(tmp_path / "out") == [REST] * 60 + [LICK] * 60 + [-1] * 120
    window.type(("q", "KeyA"))  # is no a
    window.settle()
    assert codes_of(tmp_path / "out") == [REST] * 60 + [LICK] * 60 + [-1] * 120


def many_classes(count):
    """Return a class map of so many classes."""
    return ClassMap(tuple((k, f"behaviour{k}", f"behaviour{k}") for k in range(count)))


def test_classes_beyond_the_keys_take_two(open_window, tmp_path):
    """The first 17 have a key each; q and such a key stand for the next 17, q q for those after."""
    window = open_window(class_map=many_classes(40))
    labels = window.labels()
    assert len({*labels}) == 41
    assert (labels[0], labels[16], labels[17], labels[27], labels[33]) == (
        *("1", "y", "q 1", "q d", "q y"),
    )
    assert (labels[34], labels[39]) == ("q q 1", "q q 6")
    window.press("y", "ArrowRight", "q", "1", "ArrowRight", "q", "q", "6", "ArrowRight")
    window.press("q", "Escape", "2", "ArrowRight")  # Esc drops the prefix, not the labelling
    window.press("q", "n", "1", "ArrowRight", "Escape")  # nor is q n a class
    window.settle()
    expected = [16, 17, 39, 1, 0, 0]
    assert window.own()[:7] == [*expected, -1]
    rows = (tmp_path / "out" / "m1_anna.csv").read_text().splitlines()
    assert rows[1:8] == [*(f"{i},behaviour{k}" for i, k in enumerate(expected)), "6,-1"]


def test_letters_of_classes_are_shown_as_printed(open_window):
    """With another alphabet, the page names the letters at the places of the Latin ones."""
    window = open_window(class_map=many_classes(13), script=layout_script(RUSSIAN))
    assert window.labels() == [*"1234567890", "в", "р", "л", "Del"]


def test_playing_labels_what_is_passed(open_window, tmp_path):
    """While a class is on, each frame that is shown gets it; pausing and Esc end that."""
    window = open_window()
    window.press("ArrowUp", "ArrowUp", "3", "Space")
    window.page.wait_for_selector("#play >> text=Pause")
    while window.frame < 60:
        window.page.wait_for_timeout(30)
    window.press("Space", "Escape")
    window.settle()
    last = window.frame
    assert codes_of(tmp_path / "out") == [LICK] * (last + 1) + [-1] * (NUM_FRAMES - 1 - last)
    window.press("Control+z")
    window.settle()
    assert codes_of(tmp_path / "out") == [-1] * NUM_FRAMES


def test_predictions_are_corrected_by_dragging(open_window, tmp_path):
    """Accepted bouts come over; dragged edges move to where the mouse let go."""
    window, out = open_window(predictions=True), tmp_path / "out"
    window.press("a", "a", "a", "a")
    window.settle()
    expected = np.repeat([REST, LICK, WALK, REST], 60)
    assert codes_of(out) == expected.tolist()
    window.drag(60, 70)
    window.drag(120, 101)
    expected[60:70], expected[101:120] = REST, WALK
    window.settle()
    assert codes_of(out) == expected.tolist()
    window.drag(190.5, 200.5)  # a range
    window.press("2")
    expected[190:201] = WITHDRAW
    window.settle()
    assert codes_of(out) == expected.tolist()
    record = json.loads((out / "m1_anna.json").read_text())
    assert record["changed"] == [[60, 70], [101, 120], [190, 201]]


def test_fifty_steps_are_undone_and_redone(open_window, tmp_path):
    """Across a reload of the page, too."""
    window, out = open_window(), tmp_path / "out"
    states = []
    for k in range(50):
        window.press("ArrowRight", "14"[k % 2], "Escape")
        window.settle()
        states.append(window.own())
    assert len({*map(tuple, states)}) == 50
    for state in states[-2:24:-1]:
        window.press("Control+z")
        window.settle()
        assert window.own() == state
    window.page.reload()
    window.page.wait_for_selector("#picture[data-frame='0']")
    for state in states[24::-1]:
        window.press("Control+z")
        window.settle()
        assert window.own() == state
    window.press("Control+z")
    window.settle()
    assert codes_of(out) == [-1] * NUM_FRAMES
    window.press(*["Control+Shift+Z"] * 50)
    window.settle()
    assert codes_of(out) == states[-1]


def test_keys_after_an_undo_wait_for_it(open_window, tmp_path):
    """However slow the disk, what is pressed after an undo acts on the lane without the edit."""
    window = open_window()

    def delay(route):
        time.sleep(0.3)
        route.continue_()

    window.press("i")
    window.goes_to(9)
    window.press("o", "3")  # frames 0 to 9
    window.goes_to(10)
    window.press("i")
    window.goes_to(19)
    window.press("o", "5")  # frames 10 to 19, which is undone
    window.settle()
    window.page.route("**/edit?*", delay)
    window.press("Control+z", "Enter", "1", "Control+z", "Control+y", "ArrowRight", "2")
    window.page.wait_for_selector("body[data-revision='6']")
    window.settle()
    expected = [LICK] * 10 + [REST] * (NUM_FRAMES - 10)
    expected[20] = WITHDRAW
    assert codes_of(tmp_path / "out", "m1_anna") == window.own() == expected


def test_two_windows_do_not_overwrite_each_other(open_window, tmp_path):
    """The second is refused with a message and shows the first one's edits, or sees them itself."""
    first, second = open_window(), open_window()
    second.page.evaluate("() => { review.name = 'paused'; }")  # it does not look for news
    second.page.evaluate("() => { review.sender.name = 'm1'; }")
    first.press("1", "ArrowRight", "ArrowRight", "Escape")
    first.settle()
    second.page.evaluate("() => { review.name = 'm1'; }")
    second.press("3")
    second.page.wait_for_selector("#message >> text=another window")
    assert second.own()[:4] == [REST] * 3 + [-1]
    second.goes_to(10)
    second.press("4", "Escape")
    second.settle()
    first.page.wait_for_selector("#message >> text=Changed in another window")
    assert first.own() == second.own() == codes_of(tmp_path / "out")


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
    released.append(True)
    for route in held:
        route.continue_()
    page.wait_for_selector("#picture[data-frame='200']")
    assert page.locator("#late").is_hidden()


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
    monkeypatch.setattr("tests.browser.test_review_page.NUM_FRAMES", 10)
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
