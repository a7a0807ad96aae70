"""Random work on the page while every answer of the server is late: nothing lands elsewhere."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mpar.labels.bouts import find_runs
from tests.browser.window import NUM_FRAMES, REST
from tests.unit.reviewer.asking import LICK, WALK, codes_of

pytestmark = pytest.mark.browser

PREDICTED = np.repeat([REST, LICK, WALK, REST], 60)
CODES = {"1": REST, "3": LICK, "5": WALK}
KEYS = {
    "label": [*CODES],
    "move": ["ArrowRight"] * 4 + ["ArrowLeft", "PageDown", "PageUp", "Home", "End"],
    "edit": ["Escape", "i", "o", "Delete", "a", "Ctrl+z", "Ctrl+z", "Ctrl+y"],
}
# each request waits before it is sent and before its answer is there
LATE = """(() => {
  const ask = window.fetch;
  let state = %d;
  const wait = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const share = state / 2 ** 32;
    return new Promise((done) => setTimeout(done, window.late ? %d * share ** 3 : 0));
  };
  window.fetch = async (...given) => {
    await wait();
    const answer = await ask(...given);
    await wait();
    return answer;
  };
})();"""
# press or drag, and return what the page was at just before
ACT = """([kind, value]) => {
  const { name, timeline, own, held } = review, { handlers } = timeline;
  const isOpen = Boolean(review.state) && !review.isLeaving;
  // the recording on the screen may be a shorter one by now: a mouse cannot go beyond its end
  if (kind === "range" && isOpen) {
    value = [Math.min(value[0], own.length - 1), Math.min(value[1], own.length)];
  }
  const at = { name, isOpen, done: value };
  if (kind === "key") {
    const [key, isControl] = value.startsWith("Ctrl+") ? [value.slice(5), true] : [value, false];
    const code = /^[0-9]$/.test(key) ? `Digit${key}` : "";
    const options = { key, code, ctrlKey: isControl, shiftKey: /^[A-Z]$/.test(key), bubbles: true };
    document.dispatchEvent(new KeyboardEvent("keydown", options));
  } else if (kind === "click") {
    handlers.onSeek(value);
    handlers.onSelect(null);
  } else if (kind === "range") {
    handlers.onSeek(value[0]);
    handlers.onSeek(value[1] - 1);
    handlers.onSelect(value);
  } else if (kind === "edge") {
    const edges = isOpen && !held ? [...own.keys()].filter((i) => i && own[i] !== own[i - 1]) : [];
    const edge = edges[Math.floor(value * edges.length)];
    at.done = null;
    if (edge === undefined) return at;
    const to = value > 0.5 ? (edges.find((i) => i > edge) ?? own.length) - 1
      : (edges.filter((i) => i < edge).at(-1) ?? 0) + 1;
    if (to !== edge) handlers.onEdge(edge, to);
    at.done = [edge, to];
  } else if (kind === "evict") {
    review.player.frames?.blobs.clear();
    review.player.frames?.bitmaps.clear();
  }
  return at;
}"""


class Lane:
    """What should be labelled in a recording, and how it came about."""

    def __init__(self, num_frames):
        self.now = np.full((2, num_frames), -1)  # codes; 1 where a prediction was accepted
        self.undone, self.done, self.before = [], [], None

    def put(self, start, stop, codes, is_accepted=False):
        """Set codes in the current step."""
        self.now[0, start:stop] = codes
        self.now[1, start:stop] = np.where(self.now[0, start:stop] >= 0, is_accepted, -1)

    def begin(self):
        """Begin a step that can be undone."""
        self.before = self.now.copy()

    def end(self):
        """End it; one without a change is none."""
        if self.before is not None and (self.before != self.now).any():
            self.done.append(self.before)
            self.undone.clear()
        self.before = None

    def back(self, source, target):
        """Undo or redo."""
        if source:
            target.append(self.now.copy())
            self.now = source.pop().copy()


class Scorer:
    """What keys and mouse should do, each in its turn."""

    def __init__(self):
        self.lanes = {"m1": Lane(NUM_FRAMES), "m2": Lane(60)}
        self.wanted = ""
        self.open("m1")

    def open(self, name):
        """Be at the first frame of a recording."""
        self.name, self.lane, self.frame = name, self.lanes[name], 0
        self.last = self.lane.now.shape[1] - 1
        self.brush = self.span = None

    def stop(self):
        """Stop labelling."""
        self.lane.end()
        self.brush = None

    def go(self, frame, is_step=False):
        """Move."""
        frame = min(max(0, frame), self.last)
        if not (is_step and frame >= self.frame):
            self.stop()
        self.frame = frame
        if self.brush:
            self.lane.put(self.brush[0], frame + 1, self.brush[1])

    def edit(self, start, stop, codes, is_accepted=False):
        """Label a stretch."""
        self.stop()
        self.lane.begin()
        self.lane.put(start, stop, codes, is_accepted)
        self.lane.end()
        self.span = None

    def here(self, codes):
        """Return the run at the frame."""
        return next((a, b) for a, b, _ in find_runs(codes).tolist() if a <= self.frame < b)

    def key(self, key):
        """Press a key."""
        moves = {"PageDown": 30, "PageUp": -30, "Home": -NUM_FRAMES, "End": NUM_FRAMES}
        steps = {"ArrowRight": 1, "ArrowLeft": -1}
        if key in CODES:
            self.label(CODES[key])
        elif key in moves or key in steps:
            self.go(self.frame + (moves | steps)[key], key in steps)
        elif key == "Escape":
            if not self.brush:
                self.span = None
            self.stop()
        elif key in {"i", "o"}:
            self.stop()
            start, stop = self.span or (self.frame, self.frame + 1)
            stop = max(stop, self.frame + 1) if key == "i" else self.frame + 1
            self.span = (self.frame if key == "i" else min(start, self.frame), stop)
        elif key == "Delete":
            self.stop()
            codes = self.lane.now[0]
            span = self.span or (self.here(codes) if codes[self.frame] >= 0 else None)
            if span:
                self.edit(*span, -1)
        elif key == "a" and self.name == "m1":
            start, stop = self.span or self.here(PREDICTED)
            self.edit(start, stop, PREDICTED[start:stop], is_accepted=True)
            self.go(stop)
        elif key.startswith("Ctrl+"):
            self.stop()
            pair = self.lane.done, self.lane.undone
            self.lane.back(*(pair if key == "Ctrl+z" else pair[::-1]))

    def label(self, code):
        """Press the key of a class."""
        if self.span:
            self.edit(*self.span, code)
        elif not self.brush or self.brush[1] != code:
            self.stop()
            self.lane.begin()
            self.brush = (self.frame, code)
            self.lane.put(self.frame, self.frame + 1, code)

    def mouse(self, kind, value):
        """Click on the time line, drag over it, or drag an edge."""
        if kind == "click":
            self.go(value)
            self.span = None
        elif kind == "range":
            self.go(value[1] - 1)
            self.span = tuple(value)
        elif kind == "edge" and value:
            edge, to = value
            codes = self.lane.now[0]
            span = self.span
            if to > edge:
                self.edit(edge, to, codes[edge - 1])
            elif to < edge:
                self.edit(to, edge, codes[edge])
            self.span = span


def choose(random, last):
    """Return something to do."""
    draw = random.random()
    if draw < 0.25:
        return "key", random.choice(KEYS["label"])
    if draw < 0.55:
        return "key", random.choice(KEYS["move"])
    if draw < 0.65:
        return "key", random.choice(KEYS["edit"])
    if draw < 0.75:
        return "click", random.randint(0, last)
    if draw < 0.85:
        start = random.randint(0, last)
        return "range", [start, random.randint(start, last) + 1]
    if draw < 0.88:
        return "edge", random.random()
    if draw < 0.97:
        return "key", random.choice("mM")
    return "evict", None


def work(window, scorer, random, num_steps, pause_ms=200):
    """Do random things on the page and in the model."""
    for _ in range(num_steps):
        kind, value = choose(random, scorer.last)
        if scorer.wanted and value in ("m", "M"):
            continue
        at = window.page.evaluate(ACT, [kind, value])
        if scorer.wanted and at["isOpen"] and at["name"] == scorer.wanted:
            scorer.open(scorer.wanted)
            scorer.wanted = ""
        if not scorer.wanted:
            if value in ("m", "M"):
                other = "m2" if value == "m" else "m1"
                if other != scorer.name:
                    scorer.stop()
                    scorer.wanted = other
            elif kind == "key":
                scorer.key(value)
            else:
                scorer.mouse(kind, at["done"])
        if random.random() < 0.4:
            window.page.wait_for_timeout(pause_ms * random.random() ** 2)
    if scorer.wanted:
        window.page.wait_for_function(
            "name => review.name === name && review.state && !review.isLeaving", arg=scorer.wanted
        )
        scorer.open(scorer.wanted)
        scorer.wanted = ""
    window.settle()
    window.page.evaluate("() => review.scorer.stop()")
    window.settle()
    scorer.stop()


@pytest.mark.parametrize("seed", [3, 4])
def test_what_is_late_lands_where_it_was_meant(open_window, tmp_path, seed):
    """Page and CSV hold what keys and mouse asked for, each at its frame, none elsewhere."""
    window = open_window(predictions=True, script=LATE % (seed, 700))
    window.page.wait_for_function("() => review.predicted && review.timeline.curve")
    window.page.evaluate(
        "() => { window.late = true; window.said = []; const { say } = review;"
        " review.say = (text, isPlain) => { if (text && !isPlain) said.push(text);"
        " say.call(review, text, isPlain); }; }"
    )
    scorer = Scorer()
    rng = random.Random(seed)
    for _ in range(2):
        work(window, scorer, rng, 60)
        assert window.page.evaluate("() => said") == []
        assert window.frame == scorer.frame
        assert window.own() == scorer.lane.now[0].tolist()
        for name, lane in scorer.lanes.items():
            if (tmp_path / "out" / f"{name}_anna.csv").is_file():
                assert codes_of(tmp_path / "out", f"{name}_anna") == lane.now[0].tolist()
            else:
                assert (lane.now[0] == -1).all()
    assert window.errors == []
