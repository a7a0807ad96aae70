"""A page of mpar-review in Chromium."""

from __future__ import annotations

NUM_FRAMES = 240


SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking "
    "--disable-component-update --no-first-run --disable-extensions"
).split()


REST, WITHDRAW = 0, 1


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

    def wait_for_prediction(self):
        """Wait until the prediction is on the page."""
        self.page.wait_for_function("() => review.predicted")

    def settle(self):
        """Wait until all labels are at their frames and all edits are confirmed."""
        self.page.evaluate("async () => { await review.settle(); }")

    def square(self):
        """Return x, y, width and height of the square in px of the video, None if hidden."""
        return self.page.evaluate(
            "() => square.hasAttribute('hidden') ? null : ['x', 'y', 'width', 'height']"
            ".map((name) => Number(square.firstElementChild.getAttribute(name)))"
        )

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
