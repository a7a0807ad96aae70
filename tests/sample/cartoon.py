"""How the cartoon mouse of `tests.sample.synthetic` acts, moves and looks.

Data flows one way: a script (which bout when) gives motion (named arrays, one value per
frame), and motion is drawn. Lengths are in px of a 128 px frame and are scaled to the frame
asked for. In the animal's own axes x points to the nose and y to its side; the paws are, in
this order, fore and fore, hind and hind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

REST, WITHDRAW, LICK, GUARD, SHAKE, FLINCH, WALK, ACTIVE = range(8)
PAIN_LENGTHS = {WITHDRAW: (5, 9), LICK: (8, 25), GUARD: (7, 10), SHAKE: (6, 10), FLINCH: (5, 7)}
CALM_LENGTHS = {REST: (20, 60), WALK: (15, 45), ACTIVE: (15, 50)}
MIN_GAP = 12  # frames between two pain events, where the recording has room for it

PAW_X = np.array([15.0, 15.0, -12.0, -12.0])
PAW_Y = np.array([8.0, -8.0, 12.0, -12.0])

Array = npt.NDArray[np.floating]
Motion = dict[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bout:
    """One stretch of one action.

    Parameters
    ----------
    start, stop : int
        First frame and the frame after the last.
    code : int
        Action code, 0-7.
    """

    start: int
    stop: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Animal:
    """What distinguishes one animal and its place under the camera from another.

    Parameters
    ----------
    size, girth, speed : float
        Body length, body width and walking speed, relative to a middling mouse.
    background, body, paw : float
        Grey levels (0-255) of the empty glass, the belly and a paw pressed on the glass.
    gradient : tuple of float
        Relative change of the light from left to right and from top to bottom.
    drift, drift_period_seconds : float
        Relative size and period of the slow change of the light.
    noise : float
        Standard deviation of the sensor noise, grey levels.
    """

    size: float
    girth: float
    speed: float
    background: float
    body: float
    paw: float
    gradient: tuple[float, float]
    drift: float
    drift_period_seconds: float
    noise: float


def draw_animal(rng: np.random.Generator) -> Animal:
    """Draw an animal; its paws are the brightest part, as contact with the glass makes them."""
    background = rng.uniform(15, 105)
    body = background + rng.uniform(25, 65)
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.35)
    return Animal(
        size=rng.uniform(0.82, 1.1),
        girth=rng.uniform(0.9, 1.25),
        speed=rng.uniform(0.75, 1.3),
        background=background,
        body=body,
        paw=min(body + rng.uniform(50, 90), 235),
        gradient=(slope * np.cos(angle), slope * np.sin(angle)),
        drift=rng.uniform(0.01, 0.06),
        drift_period_seconds=rng.uniform(5, 20),
        noise=rng.uniform(0.8, 3.5),
    )


# ---------------------------------------------------------------- script: which bout when


def write_script(
    rng: np.random.Generator, num_frames: int, fraction: float, codes: Sequence[int], fps: float
) -> list[Bout]:
    """Spread pain events over the recording and fill the gaps with rest, walk and active."""
    pace = fps / 30
    mean_length = pace * np.mean([np.mean(PAIN_LENGTHS[code]) for code in codes])
    num_events = int(fraction * num_frames / mean_length + rng.random())
    kinds = [codes[k % len(codes)] for k in range(num_events)]
    events = [(kind, _draw_length(rng, PAIN_LENGTHS[kind], pace)) for kind in kinds]
    while sum(length for _, length in events) > 0.75 * num_frames:
        events.pop()
    rng.shuffle(events)

    spare, num_gaps = num_frames - sum(length for _, length in events), len(events) + 1
    min_gap = min(round(MIN_GAP * pace), spare // num_gaps)
    gaps = rng.multinomial(spare - min_gap * num_gaps, rng.dirichlet(np.full(num_gaps, 3.0)))
    calm = _deal(rng, list(CALM_LENGTHS))
    parts: list[tuple[int, int]] = []
    for gap, event in zip(gaps, [*events, None], strict=True):
        parts += _fill_gap(rng, int(gap) + min_gap, calm, pace)
        parts += [event] if event else []
    stops = np.cumsum([length for _, length in parts]).tolist()
    return [
        Bout(start=stop - length, stop=stop, code=int(code))
        for stop, (code, length) in zip(stops, parts, strict=True)
    ]


def _fill_gap(
    rng: np.random.Generator, gap: int, calm: Iterator[int], pace: float
) -> list[tuple[int, int]]:
    """Fill `gap` frames with calm bouts; the last takes what is too short for another one."""
    parts = []
    while gap > 0:
        code = next(calm)
        length = _draw_length(rng, CALM_LENGTHS[code], pace)
        length = gap if gap - length < MIN_GAP * pace else length
        parts.append((code, length))
        gap -= length
    return parts


def _deal(rng: np.random.Generator, codes: Sequence[int]) -> Iterator[int]:
    """Yield all codes in random order, over and over."""
    while True:
        yield from rng.permutation(codes).tolist()


def _draw_length(rng: np.random.Generator, bounds: tuple[int, int], pace: float) -> int:
    """Draw a bout length in frames; `bounds` are inclusive and hold at 30 FPS."""
    return max(1, round(pace * int(rng.integers(bounds[0], bounds[1] + 1))))


# ---------------------------------------------------------------- motion: numbers per frame
#
# speed px/s, turn rad/s; bend (of the chest) and head (against the chest) rad; reach of the
# head, jolt (sideways) and paw_x, paw_y px from their places; swell relative; lift 0-1.


def make_motion(
    rng: np.random.Generator, script: Sequence[Bout], animal: Animal, fps: float
) -> Motion:
    """Add up what every bout does to the animal, blended over two frames at its edges."""
    num_frames = script[-1].stop
    seconds = np.arange(num_frames) / fps
    motion: Motion = {name: np.zeros(num_frames) for name in ("speed", "turn", "reach", "jolt")}
    motion |= {name: np.zeros((num_frames, 4)) for name in ("paw_x", "paw_y", "lift")}
    motion["head"] = _wander(rng, seconds, 0.3)
    motion["bend"] = _wander(rng, seconds, 0.15)
    motion["tail"] = _wander(rng, seconds, 0.6)
    motion["swell"] = 0.025 * np.sin(2 * np.pi * rng.uniform(1.8, 3.0) * seconds)
    motion["paw_x"] += rng.normal(0, 1.0, 4)
    motion["paw_y"] += rng.normal(0, 0.7, 4)
    for bout in script:
        window = slice(max(0, bout.start - 1), bout.stop + 1)
        frame = np.arange(num_frames)[window]
        inside = np.minimum(frame - bout.start, bout.stop - 1 - frame)  # -1 just outside
        weight = np.clip((inside + 1.5) / 2, 0, 1)
        for name, value in _ACTIONS[bout.code](rng, seconds[window] - seconds[bout.start]).items():
            motion[name][window] += (weight if value.ndim == 1 else weight[:, None]) * value
    motion["speed"] *= animal.speed
    return motion


def _wander(rng: np.random.Generator, seconds: Array, size: float) -> Array:
    """Wander slowly and smoothly about zero, mostly within `size`."""
    rates, phases = rng.uniform(0.05, 0.35, 3), rng.uniform(0, 2 * np.pi, 3)
    return size * np.sin(2 * np.pi * np.outer(seconds, rates) + phases).sum(1) / 2


def _swing(rng: np.random.Generator, t: Array, low_hz: float, high_hz: float) -> Array:
    """Swing between -1 and 1 at a rate drawn from the range."""
    return np.sin(2 * np.pi * (rng.uniform(low_hz, high_hz) * t + rng.random()))


def _move_hind_paw(
    rng: np.random.Generator, x: Array, inward: Array, lift: Array
) -> tuple[Motion, int]:
    """Move one hind paw, drawn at random; also return its side, 1 or -1."""
    paw = int(rng.integers(2, 4))
    side = 1 if PAW_Y[paw] > 0 else -1
    only = np.eye(4)[paw]
    return {
        "paw_x": np.outer(x, only),
        "paw_y": np.outer(-side * inward, only),
        "lift": np.outer(lift, only),
    }, side


def _rest(rng: np.random.Generator, t: Array) -> Motion:
    return {"reach": 0.3 * _swing(rng, t, 3, 5)}


def _walk(rng: np.random.Generator, t: Array) -> Motion:
    phase = 2 * np.pi * (rng.uniform(3.0, 4.5) * t + rng.random())
    gait = phase[:, None] + np.pi * np.array([0, 1, 1, 0])
    return {
        "speed": np.full_like(t, rng.uniform(35, 60)),
        "turn": np.full_like(t, rng.uniform(-1.0, 1.0)),
        "bend": 0.12 * np.sin(phase),
        "head": -0.1 * np.sin(phase),
        "paw_x": 4.5 * np.cos(gait),
        "lift": 0.7 * np.clip(-np.sin(gait), 0, None),
    }


def _active(rng: np.random.Generator, t: Array) -> Motion:
    """Rear, fumble with the forepaws or curl up to a hind paw; sweep, sniff, turn on the spot.

    Curling up is slow and without bobbing, and stepping slower than a withdrawal, so that the
    pose of a single frame does not give the pain events away.
    """
    kind = rng.choice(["rear", "fumble", "curl"])
    rear = (0.7 + 0.3 * _swing(rng, t, 0.3, 0.8)) * (kind == "rear")
    curl = (0.7 + 0.3 * _swing(rng, t, 0.3, 0.6)) * (kind == "curl")
    sweep = rng.uniform(0.5, 1.0) * _swing(rng, t, 0.7, 1.6) * (1 - 0.8 * curl)
    fumble = np.stack([_swing(rng, t, 2, 5), _swing(rng, t, 2, 5)], axis=1) * (kind == "fumble")
    step = np.stack([_swing(rng, t, 0.7, 1.3)] * 2, axis=1) * [1, -1]
    motion, side = _move_hind_paw(rng, 10 * curl, -3 * curl, 0.15 * curl)
    motion["paw_x"] += (3 * fumble + 3 * rear[:, None]) @ np.eye(2, 4)
    motion["paw_y"] += 2 * fumble[:, ::-1] @ np.eye(2, 4)
    motion["lift"] += np.hstack([0.4 * abs(fumble) + 0.9 * rear[:, None], step.clip(0, 0.7)])
    return motion | {
        "turn": rng.uniform(0.6, 1.6) * _swing(rng, t, 0.3, 0.8),
        "bend": 0.75 * side * curl + 0.3 * sweep,
        "head": 1.25 * side * curl + 0.8 * sweep,
        "reach": 1.2 * _swing(rng, t, 3, 5) - 8 * rear,
        "swell": 0.15 * rear,
    }


def _withdraw(rng: np.random.Generator, t: Array) -> Motion:
    up = np.sin(np.linspace(0, np.pi, len(t))) ** 0.5
    motion, side = _move_hind_paw(rng, 5 * up, 5 * up, up)
    return motion | {"bend": 0.1 * side * up}


def _flinch(rng: np.random.Generator, t: Array) -> Motion:
    up = np.sin(np.linspace(0, np.pi, len(t)))
    motion, side = _move_hind_paw(rng, 3 * up, 3 * up, 0.8 * up)
    twitch = np.sin(2 * np.pi * 7.5 * t)
    return motion | {"jolt": -1.5 * side * twitch, "bend": 0.2 * twitch, "reach": -3 * up}


def _guard(rng: np.random.Generator, t: Array) -> Motion:
    held = np.ones_like(t)
    motion, side = _move_hind_paw(rng, 4 * held, 4.5 * held, 0.85 * held)
    return motion | {"bend": 0.08 * side * held}


def _shake(rng: np.random.Generator, t: Array) -> Motion:
    vibration = _swing(rng, t, 8, 12)
    motion, side = _move_hind_paw(
        rng, -5 + 1.5 * vibration, -3.5 - 4.5 * vibration, np.full_like(t, 0.15)
    )
    return motion | {"jolt": 0.5 * vibration, "bend": np.full_like(t, -0.1 * side)}


def _lick(rng: np.random.Generator, t: Array) -> Motion:
    bob = _swing(rng, t, 4, 8)
    motion, side = _move_hind_paw(rng, 12 + 1.0 * bob, -3 - 1.0 * bob, np.full_like(t, 0.15))
    return motion | {
        "bend": np.full_like(t, 0.75 * side),
        "head": side * (1.35 + 0.27 * bob),
        "reach": 3.5 * bob,
    }


_ACTIONS: dict[int, Callable[[np.random.Generator, Array], Motion]] = {
    REST: _rest,
    WITHDRAW: _withdraw,
    LICK: _lick,
    GUARD: _guard,
    SHAKE: _shake,
    FLINCH: _flinch,
    WALK: _walk,
    ACTIVE: _active,
}


def walk_path(rng: np.random.Generator, motion: Motion, aspect: float, fps: float) -> Motion:
    """Integrate speed and turn to a path that steers back to the middle near the walls."""
    room = np.array([64 * max(1, aspect) - 40, 64 * max(1, 1 / aspect) - 40])  # x, y
    place, heading = rng.uniform(-0.8, 0.8, 2) * room, rng.uniform(0, 2 * np.pi)
    places, headings = [], []
    for speed, turn in zip(motion["speed"] / fps, motion["turn"] / fps, strict=True):
        homeward = np.arctan2(-place[1], -place[0]) - heading
        homeward = (homeward + np.pi) % (2 * np.pi) - np.pi
        nearness = min(1.0, float(np.max(np.abs(place / room))) ** 3)
        heading += turn + 0.12 * speed * nearness * np.clip(homeward, -1, 1)
        place = place + speed * np.array([np.cos(heading), np.sin(heading)])
        place = np.clip(place, -1.2 * room, 1.2 * room)
        places.append(place)
        headings.append(heading)
    return {"place": np.array(places), "heading": np.array(headings)}


# ---------------------------------------------------------------- drawing: pixels per frame


class _Pen:
    """Draws ellipses and lines, given in the animal's axes, on a canvas of twice the size."""

    def __init__(self, canvas: npt.NDArray[np.uint8], place: Array, heading: float, px: Array):
        self.canvas, self.heading, self.px = canvas, heading, px
        self.unit = min(canvas.shape) / 128
        self.place = place * self.unit + np.array(canvas.shape[::-1]) / 2

    def to_canvas(self, points: Array) -> npt.NDArray[np.int32]:
        """Map points (N, 2) to sixteenths of a canvas pixel."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        turned = (points * self.px) @ np.array([[cos, sin], [-sin, cos]])
        return np.rint(16 * (turned * self.unit + self.place - 0.5)).astype(np.int32)

    def ellipse(self, centre: Array, axes: tuple[float, float], angle: float, level: float) -> None:
        """Fill an ellipse; `axes` are half lengths, `angle` is against the animal's own axis."""
        x, y = self.to_canvas(centre[None])[0].tolist()
        a, b = np.rint(16 * np.array(axes) * self.px * self.unit).astype(int).tolist()
        degrees = float(np.degrees(self.heading + angle))
        cv2.ellipse(self.canvas, (x, y), (a, b), degrees, 0, 360, level, -1, cv2.LINE_AA, 4)

    def line(self, points: Array, thickness: float, level: float) -> None:
        """Draw a line through points (N, 2)."""
        width = max(1, round(thickness * self.unit))
        cv2.polylines(self.canvas, [self.to_canvas(points)], False, level, width, cv2.LINE_AA, 4)


def _direction(angle: float) -> Array:
    return np.array([np.cos(angle), np.sin(angle)])


def draw_frames(
    rng: np.random.Generator, motion: Motion, animal: Animal, height: int, width: int, fps: float
) -> npt.NDArray[np.uint8]:
    """Draw every frame at twice its size, shrink it, then light it and add sensor noise."""
    num_frames = len(motion["heading"])
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    light = 1 + animal.gradient[0] * x + animal.gradient[1] * y
    turns = np.arange(num_frames) / (fps * animal.drift_period_seconds) + rng.random()
    gains = 1 + animal.drift * np.sin(2 * np.pi * turns)
    frames = np.empty((num_frames, height, width), np.uint8)
    for i, gain in enumerate(gains):
        canvas = np.full((2 * height, 2 * width), round(animal.background), np.uint8)
        _draw_mouse(canvas, {name: value[i] for name, value in motion.items()}, animal)
        clean = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
        noise = animal.noise * rng.standard_normal((height, width), np.float32)
        lit = clean * (gain * light) + noise
        frames[i] = np.clip(np.rint(lit), 0, 255)
    return frames


def _draw_mouse(canvas: npt.NDArray[np.uint8], now: Mapping[str, Array], animal: Animal) -> None:
    """Draw the mouse as `now` has it: the soft body, blurred, then the paws on the glass."""
    size = animal.size * np.array([1.0, animal.girth])
    heading, bend = float(now["heading"]), float(now["bend"])
    pen = _Pen(canvas, now["place"], heading, size)
    swell, body = 1 + float(now["swell"]), animal.body
    across = np.array([0.0, float(now["jolt"])])
    chest, look = _direction(bend), _direction(bend + float(now["head"]))
    side = np.array([-look[1], look[0]])

    along = np.linspace(0, 1, 12)
    curl = np.pi - 0.4 * bend + float(now["tail"]) * along
    steps = 4.0 * np.stack([np.cos(curl), np.sin(curl)], axis=1)
    tail = np.array([-24.0, 0.0]) + np.cumsum(steps, axis=0)
    pen.line(tail, 3.0, body + 10)
    pen.line(tail[:5], 4.5, body + 10)

    pen.ellipse(across + np.array([-9, 0]), (20, 14.5 * swell), 0, body)
    pen.ellipse(across + 10 * chest, (16, 11.5 * swell), bend, body)
    skull = across + 20 * chest + (7 + float(now["reach"])) * look
    for ear in (-1, 1):
        pen.ellipse(skull - 3 * look + ear * 8 * side, (4.5, 4.5), 0, body - 14)
    pen.ellipse(skull, (11, 8), bend + float(now["head"]), body + 6)
    pen.ellipse(skull + 9 * look, (7, 4.2), bend + float(now["head"]), body + 6)
    pen.ellipse(across + np.array([-10, 0]), (14, 8.5 * swell), 0, body + 12)
    blur = 1.2 * pen.unit
    cv2.GaussianBlur(canvas, (0, 0), blur, dst=canvas)
    pen.ellipse(skull + 15 * look, (1.8, 1.8), 0, animal.paw - 15)
    pen.ellipse(skull + 8 * look, (3.0, 1.2), bend + float(now["head"]), body - 25)

    for paw in range(4):
        spot = np.array([PAW_X[paw] + now["paw_x"][paw], PAW_Y[paw] + now["paw_y"][paw]])
        if paw < 2:
            spot = spot[0] * chest + spot[1] * np.array([-chest[1], chest[0]])
        lift = float(now["lift"][paw])
        length, breadth = (3.2, 2.8) if paw < 2 else (5.2, 3.8)
        shrink = 1 - 0.4 * lift
        level = animal.paw + lift * (body + 8 - animal.paw)
        splay = 0.35 * np.sign(PAW_Y[paw])
        pen.ellipse(across + spot, (length * shrink, breadth * shrink), splay, level)
