"""The page of mpar-review in a real browser: keys, drags, two windows, the numbers of frames."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from mpar.labels.classes import ClassMap
from tests.browser.window import NUM_FRAMES, REST, WITHDRAW
from tests.unit.reviewer.asking import LICK, WALK, codes_of

pytestmark = pytest.mark.browser


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


def test_the_square_of_the_network_is_shown_and_hidden(open_window):
    """Off at first; then where the prediction says, frame by frame; nowhere without an animal."""
    window = open_window(predictions=True)
    places = []
    for frame, keys in ((12, ()), (12, ("Shift+R",)), (99, ()), (100, ()), (5, ()), (239, ())):
        window.press(*keys)
        window.goes_to(frame)
        places.append(window.square())
    early, late = [20, 30, 64, 64], [24, 30, 64, 64]
    assert places == [None, early, early, late, None, late]
    shown = window.page.locator("#square rect").bounding_box()
    picture = window.page.locator("#picture").bounding_box()
    scale = picture["width"] / 160
    assert abs(shown["x"] - picture["x"] - 24 * scale) < 3
    assert abs(shown["width"] - 64 * scale) < 4
    window.press("Shift+R")
    assert window.square() is None


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
    window.wait_for_prediction()
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
    window.wait_for_prediction()
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
    window.page.wait_for_function("() => Number(document.body.dataset.revision) >= 6")
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


@pytest.mark.parametrize("size", [(1280, 720), (820, 1180)], ids=["laptop", "tablet"])
def test_the_page_fits_a_small_laptop_and_a_tablet(open_window, size):
    """Nothing is wider than the window, and five stretches of the queue are in sight."""
    window = open_window(predictions=True)
    window.page.set_viewport_size({"width": size[0], "height": size[1]})
    window.page.wait_for_selector("#queue-panel li button")
    wide = window.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    room = window.page.evaluate("() => document.querySelector('#queue-panel ol').clientHeight")
    entry = window.page.evaluate("() => document.querySelector('#queue-panel li').offsetHeight")
    assert room >= 5 * entry
    bottom = window.page.evaluate(
        "() => document.querySelector('#queue-panel').getBoundingClientRect().bottom"
        " - document.querySelector('#side').getBoundingClientRect().bottom"
    )
    assert bottom <= 1


def test_the_list_names_the_recording_that_is_open(open_window):
    """Another recording is chosen while the page waits, and the choice is dropped."""
    window = open_window()
    window.page.evaluate("review.hold()")
    window.page.select_option("#recording", "m2")
    window.page.evaluate("review.refresh()")  # takes the newest state, and drops what waits
    window.settle()
    named = "[review.name, document.getElementById('recording').value]"
    assert window.page.evaluate(named) == ["m1", "m1"]
    window.page.select_option("#recording", "m2")
    window.page.wait_for_function("() => review.state && review.name === 'm2'")
    assert window.page.evaluate(named) == ["m2", "m2"]
