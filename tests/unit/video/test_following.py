"""A square stays with the animal, and where it lies depends on the frames alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import mpar.video.following
import mpar.video.videos
from mpar.errors import InputError
from mpar.video.following import (
    WHOLE,
    Follower,
    Following,
    Square,
    SquarePath,
    TrackFollower,
    block_length,
    find_warnings,
    measure_length,
)
from mpar.video.regions import Region, Track, side_around
from mpar.video.videos import Decoding
from tests.fixtures.synthetic import write_video

HEIGHT, WIDTH, SIDE = 96, 128, 40
NUM_FRAMES = 200
ADVICE = "do this"


def walk(num_frames, start=(30, 30), stop=(100, 60)):
    """Return the middle of an animal that walks from one place to another, (T, 2)."""
    return np.linspace(start, stop, num_frames)


def draw(path_T2, *, length=20, noise=2.0, light=0.0, seed=0, shape=(HEIGHT, WIDTH)):
    """Draw a bright ellipse along a path on a textured, noisy floor, (T, H, W) uint8."""
    rng = np.random.default_rng(seed)
    floor = cv2.GaussianBlur(rng.uniform(0, 120, shape), None, 3) + 40
    frames = []
    for t, (x, y) in enumerate(path_T2):
        frame = floor.copy()
        axes = (round(length / 2), round(length / 4))
        cv2.ellipse(frame, (round(x), round(y)), axes, 20, 0, 360, 200, -1)
        frame += light * np.sin(t / 7) + rng.normal(0, noise, shape)
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return np.stack(frames)


def follow(frames, *, side=SIDE, block=64, shape=None):
    """Return the square of each frame."""
    follower = Follower(shape or frames.shape[1:], side, block)
    found = [square for frame in frames for square in follower.add(frame)]
    return found + follower.end()


def middles(squares, side=SIDE):
    """Return the middle of each square, (T, 2)."""
    return np.array([(s.x, s.y) for s in squares]) + side / 2


@pytest.mark.parametrize("block", [16, 64, 512])
@pytest.mark.parametrize("light", [0, 25], ids=["steady light", "light that comes and goes"])
def test_the_square_stays_with_an_animal_that_walks(block, light):
    """The whole animal, 20 px long, is in the square of 40 px."""
    path = walk(NUM_FRAMES)
    squares = follow(draw(path, light=light), block=block)
    assert len(squares) == NUM_FRAMES
    assert np.abs(middles(squares) - path).max() < 10
    assert all(square.evidence for square in squares)
    assert find_warnings(squares, ADVICE) == []


def test_frames_may_be_resized_to_another_shape():
    """Squares are in px of the region, whatever the size of the pictures."""
    path = walk(NUM_FRAMES)
    frames = draw(path)
    small = np.stack([cv2.resize(f, (48, 48), interpolation=cv2.INTER_AREA) for f in frames])
    assert np.abs(middles(follow(small, shape=(HEIGHT, WIDTH))) - path).max() < 10


def test_a_still_animal_keeps_its_place():
    """It is longer still than frames wait, so it becomes part of the background."""
    path = np.concatenate(
        [walk(60), np.tile(walk(60)[-1], (400, 1)), walk(60, (100, 60), (40, 60))]
    )
    squares = follow(draw(path, noise=0), block=32)
    # where it lay, the background is wrong for a while, so a tip may leave the square
    assert np.abs(middles(squares) - path).max() < 12


def test_the_square_stands_still_while_the_animal_moves_on_the_spot():
    """It would otherwise make the floor move; then it moves no further than it must."""
    path = np.concatenate(
        [30 + 2 * np.sin(np.arange(200)[:, None] * [0.7, 0.5]), walk(60, (30, 30), (90, 30))]
    )
    corners = [square[:2] for square in follow(draw(path), block=512)]
    assert len(set(corners[20:180])) == 1
    steps = np.diff(np.array(corners)[200:, 0])
    assert (steps >= 0).all()


def test_an_animal_that_moves_late_was_there_before():
    """As far as frames wait for their squares, the first place counts backwards."""
    path = np.concatenate([np.tile([30, 30], (40, 1)), walk(60)])
    still = draw(path, noise=0)
    assert np.abs(middles(follow(still, block=100))[:40] - (30, 30)).max() < 6
    early = follow(still, block=16)
    whole = [square.x == WHOLE for square in early]
    assert (whole[0], whole[-1]) == (True, False)
    warning = find_warnings(early, ADVICE)[0]
    assert f"in the first {sum(whole)} of 100 frames" in warning


def test_a_picture_without_an_animal_is_shown_whole():
    """Noise is no evidence."""
    floor = draw(np.tile([-99, -99], (NUM_FRAMES, 1)), noise=3, light=10)
    squares = follow(floor)
    assert {(square.x, square.y) for square in squares} == {(WHOLE, WHOLE)}
    (warning,) = find_warnings(squares, ADVICE)
    assert warning.startswith("shows no animal that moves in all of 200 frames")


def add_clock(frames, width=30):
    """Draw digits that change in every frame into the upper left corner."""
    rng = np.random.default_rng(1)
    frames[:, 4:10, 4 : 4 + width] = 255 * rng.integers(0, 2, (len(frames), 1, width))
    return frames


@pytest.mark.parametrize("block", [64, 512])
def test_a_clock_in_the_picture_is_no_animal(block):
    """The animal walks, lies still for long, and walks on; the clock ticks all the time.

    After a few looks, it is not yet known how far the animal walks.
    """
    path = np.concatenate(
        [walk(150, (40, 60)), np.tile([100, 60], (300, 1)), walk(150, (100, 60), (50, 80))]
    )
    frames = add_clock(draw(path, length=24))
    squares = follow(frames, block=block)
    assert np.abs(middles(squares) - path)[50:].max() < 14
    assert find_warnings(squares, ADVICE) == []
    assert measure_length(frames[:150], (HEIGHT, WIDTH)) < 40


@pytest.mark.parametrize("block", [64, 218, 512])
def test_a_clock_that_the_animal_touches_stays_a_clock(block):
    """It walks for 30 s, passes beneath the digits, and lies still far from them."""
    to, fro = walk(300, (40, 70), (100, 80)), walk(300, (100, 80), (40, 70))
    ways = [to, fro, to, walk(100, (100, 80), (100, 20)), walk(100, (100, 20), (20, 20))]
    ways.append(walk(100, (20, 20), (30, 80)))
    path = np.concatenate([*ways, np.tile([30, 80], (300, 1))])
    squares = follow(add_clock(draw(path, length=24)), block=block)
    inside = path.clip(SIDE / 2, (WIDTH - SIDE / 2, HEIGHT - SIDE / 2))
    assert np.abs(middles(squares) - inside)[250:].max() < SIDE / 2


def test_a_lamp_that_blinks_from_the_start_gives_way_to_the_animal():
    """While only the lamp is seen, it is followed; from the first walk on, never again."""
    walked = walk(150, (100, 60), (40, 80)).repeat(2, 0)
    path = np.concatenate([walked[:1].repeat(128, 0), walked, walked[-1:].repeat(600, 0)])
    frames = draw(path, noise=0)
    frames[np.arange(len(frames)) // 10 % 2 > 0, 4:14, 4:14] = 255
    found = middles(follow(frames, block=64))
    assert np.abs(found[60] - (20, 20)).max() <= 1
    assert np.abs(found - path)[200:].max() < SIDE / 2  # where it lay, the background is wrong


def test_an_animal_that_stays_is_no_clock():
    """It moves on the spot beside another thing of its size, or beside a flicker of one pixel."""
    path = np.array([30, 60]) + 3 * np.sin(np.arange(NUM_FRAMES)[:, None] * [0.7, 0.5])
    frames = draw(path)
    frames[::3, 80, 100] = 255
    assert np.abs(middles(follow(frames)) - path).max() < 10
    both = np.concatenate([frames, draw(path, seed=1)], axis=1)
    kept = mpar.video.following._Fixtures().without(
        mpar.video.following._find_spots(both[::2], both[::2], None)
    )
    assert (kept > 0).any(axis=(0, 2)).nonzero()[0].max() > HEIGHT / 4


def test_the_square_does_not_leave_the_region():
    """At a wall the animal is off its middle, and does not count as cut off."""
    squares = follow(draw(walk(NUM_FRAMES, (12, 12), (116, 84))))
    corners = np.array([(s.x, s.y) for s in squares])
    assert (corners.min(axis=0) >= 0).all()
    assert (corners.max(axis=0) <= (WIDTH - SIDE, HEIGHT - SIDE)).all()
    assert find_warnings(squares, ADVICE) == []


def test_an_animal_larger_than_its_square_is_reported():
    """The warning names the share and what to do."""
    (warning,) = find_warnings(follow(draw(walk(NUM_FRAMES), length=70)), ADVICE)
    assert "reaches beyond its square in" in warning
    assert warning.endswith(f"of the frames; {ADVICE}")


@pytest.mark.parametrize("length", [20, 40])
def test_the_length_of_an_animal_is_measured(length):
    """It is at most half too long, from frames of any size: what it has just left counts, too."""
    frames = draw(walk(NUM_FRAMES), length=length)
    for pictures in (frames, frames[:, ::2, ::2]):
        assert 0.9 * length < measure_length(pictures, (HEIGHT, WIDTH)) < 1.5 * length
    assert measure_length(draw(np.tile([-99, -99], (50, 1))), (HEIGHT, WIDTH)) is None


def test_frames_wait_in_bounded_memory():
    """Large frames wait in small numbers, and blocks begin with a look."""
    assert [block_length(n) for n in (1, 640 * 480, 1 << 26)] == [512, 218, 32]


@pytest.fixture
def film(tmp_path):
    """A video of two chambers side by side, and the frames that went in."""
    both = [
        draw(walk(150, *ends), seed=i)
        for i, ends in enumerate([((30, 30), (100, 60)), ((99, 20), (20, 70))])
    ]
    path = tmp_path / "film.mp4"
    write_video(path, np.concatenate(both, axis=2), options={"crf": "10", "g": "25"})
    return path


REGIONS = [Region("a", 0, 0, WIDTH, HEIGHT), Region("b", WIDTH, 0, WIDTH, HEIGHT)]


def views(path, regions, **options):
    """Return the squares of each region, and what the network sees, (R, T, h, w)."""
    decoding = Decoding(path, regions=regions, following=Following(SIDE, 32), **options)
    seen = np.stack([[view.seen for view in one] for one in decoding.views()], axis=1)
    return decoding.squares, seen


def test_squares_are_the_same_however_a_video_is_read(film, monkeypatch):
    """In one thread or side by side, all regions or one, and always those of the pictures."""
    monkeypatch.setattr(mpar.video.videos, "can_decode_ahead", lambda *_: True)
    squares, seen = views(film, REGIONS, size=(64, 64), threads=1)
    again, same = views(film, REGIONS, size=(64, 64), threads=2)
    assert again == squares
    np.testing.assert_array_equal(same, seen)
    (one,), other = views(film, REGIONS[1:], size=(64, 64), threads=1)
    assert one == squares[1]
    np.testing.assert_array_equal(other[0], seen[1])
    pictures = [p[0] for p in Decoding(film, regions=REGIONS[:1], size=(64, 64)).pictures()]
    block = block_length(HEIGHT * WIDTH * 2)
    assert follow(pictures, block=block, shape=(HEIGHT, WIDTH)) == squares[0]


@pytest.mark.parametrize("size", [None, (64, 64)])
def test_the_network_sees_the_square(film, size):
    """What it sees equals a fixed region of that place, at full resolution."""
    (squares, _), (seen, _) = views(film, REGIONS, size=size)
    for t in (0, 70, 149):
        where = Region("", squares[t].x, squares[t].y, SIDE, SIDE)
        cut = [*Decoding(film, regions=[where], size=(32, 32))][t]
        np.testing.assert_array_equal(seen[t], cut)


def track_of(places_TP2):
    """Return the track of key points."""
    low, high = places_TP2.min(axis=1), places_TP2.max(axis=1)
    return Track(Path("m.csv"), (low + high) / 2, (high - low) / 2)


def test_the_square_around_a_track_holds_all_key_points():
    """Also of an animal that darts; at a slow pace the square still rests."""
    rng = np.random.default_rng(3)
    steps = rng.normal(0, 1, (300, 2)) * np.where(np.arange(300) % 40 < 10, 12, 0.2)[:, None]
    middle = np.array([200, 150]) + steps.cumsum(axis=0).clip(-80, 80)
    angle = rng.normal(0, 0.2, 300).cumsum()
    nose = 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    places = np.stack([middle + nose, middle, middle - nose], axis=1)
    track = track_of(places)
    side = side_around([track], 1.4)
    follower = TrackFollower(track, (300, 400), side)
    corners = np.array([follower.square(frame)[:2] for frame in range(300)])
    assert ((places >= corners[:, None]) & (places <= corners[:, None] + side)).all()
    is_slow = np.arange(1, 300) % 40 > 10
    assert (np.diff(corners, axis=0)[is_slow] == 0).all(axis=1).mean() > 0.5
    # a frame without key points is as the one before
    track.middle[50] = track.half_extent[50] = np.nan
    again = TrackFollower(track, (300, 400), side)
    assert again.square(50)[:2] == again.square(49)[:2]


@pytest.mark.parametrize("num_held", [20, 21])
def test_a_track_without_key_points_is_a_warning(num_held):
    """Above a tenth of the frames, also those behind its end; by hand."""
    places = np.tile([[[50.0, 50.0]]], (190, 1, 1))
    places[: num_held - 10] = np.nan
    follower = TrackFollower(track_of(places), (HEIGHT, WIDTH), SIDE)
    warnings = find_warnings([follower.square(i) for i in range(200)], "", ADVICE)
    expected = (
        "no key point of the tracks in 10 % of the frames (21 of 200), so the square stays where "
        "it was; do this"
    )
    assert warnings == ([expected] if num_held > 20 else [])


def test_the_side_of_squares_holds_the_key_points():
    """1.4 times the usual length; more if the animal is often longer; by hand."""
    track = track_of(np.array([[[0, 0], [10, 0]]] * 90 + [[[0, 0], [30, 5]]] * 10, float))
    assert side_around([track], 1.4) == 30
    assert side_around([track_of(np.array([[[0, 0], [10.5, 0]]] * 9))], 1.4) == 15
    assert side_around([track_of(np.zeros((9, 2, 2)))], 1.4) == 0


def test_a_straight_line_has_a_length(monkeypatch):
    """Its variance across, which is 0, comes out of OpenCV as a negative number now and then."""
    rng = np.random.default_rng(0)
    lines = np.zeros((50, 51, 64), np.float32)
    for line in lines:
        line[5:25, rng.integers(5, 60)] = rng.uniform(3, 60, 20)
    moments = [cv2.moments(line) for line in lines]
    (worst, *_) = sorted(moments, key=lambda one: one["mu20"])
    assert worst["mu20"] < 0
    monkeypatch.setattr(cv2, "moments", lambda part: worst)
    seen = mpar.video.following._see(lines[0], (510, 640), 150, None)
    assert seen.half_width == 0
    assert seen.length == pytest.approx(2 * seen.half_height)


def test_a_path_of_squares_is_written_by_its_moves():
    """By hand: two frames without an animal, a move, a stay; and back again."""
    around = Region("A", 10, 20, 60, 60)
    squares = [Square(WHOLE, WHOLE)] * 2 + [Square(1, 2), Square(3, 2), Square(3, 2)]
    path = SquarePath.of(squares, 8, around)
    assert path.moves() == [[0, -1, -1], [2, 11, 22], [3, 13, 22]]
    data = path.to_dict()
    assert data == {"side": 8, "moves": "0:-1,-1 2:11,22 3:13,22"}
    again = SquarePath.from_dict(data, 7)
    assert again.corners.tolist() == [*path.corners.tolist(), [13, 22], [13, 22]]


def test_a_picture_smaller_than_the_square_is_refused(film):
    """The message names both sizes and the way out."""
    decoding = Decoding(film, following=Following(97, 32))
    with pytest.raises(InputError, match=r"256x96 px is smaller .*\(97 px\).*--follow-size"):
        next(decoding.views())
