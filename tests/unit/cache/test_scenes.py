"""Splits that flatter: pieces of one film, and sessions on both sides."""

import numpy as np

from mpar.cache.scenes import check_scenes
from tests.fixtures.helpers import make_store


def store_of(folder, films):
    """Make a cache of films, each a recording of an animal of its own."""
    labels = np.zeros(len(films[0]), np.int8)
    recordings = [(f"m{i}", labels[: len(film)], film) for i, film in enumerate(films)]
    return make_store(folder / "c.h5", recordings)


def film(seed, scene=0, num_frames=40):
    """Draw a square on its own way over the background of a scene, with noise."""
    background = np.random.default_rng(scene).integers(30, 160, (32, 32)).astype(float)
    rng = np.random.default_rng(100 + seed)
    places = rng.integers(0, 26, 2) + np.cumsum(rng.integers(-1, 2, (num_frames, 2)), axis=0)
    frames = np.repeat(background[None], num_frames, axis=0)
    for frame, (y, x) in zip(frames, np.clip(places, 0, 26), strict=True):
        frame[y : y + 6, x : x + 6] = 230
    return np.clip(frames + rng.normal(0, 1, frames.shape), 0, 255).astype(np.uint8)


def test_pieces_of_one_film_are_found(tmp_path):
    """A recording that goes on where another ends is named, whichever side it is on."""
    whole = film(1, scene=1, num_frames=80)
    films = [whole[:40], film(2, scene=2), whole[40:], film(3, scene=3)]
    with store_of(tmp_path, films) as store:
        for learnt, tested in (((0, 1), (2, 3)), ((2, 1), (0, 3))):
            (pieces, *_) = check_scenes(store, learnt, tested)
            assert "(r2 goes on where r0 ends)" in pieces
        assert check_scenes(store, (0, 2), (1, 3)) == []


def test_sessions_on_both_sides_are_found(tmp_path):
    """Two animals in two cages: each tested recording shows the cage of one learnt from."""
    films = [film(1, scene=1), film(2, scene=2), film(3, scene=1), film(4, scene=2)]
    with store_of(tmp_path, films) as store:
        (warning,) = check_scenes(store, (0, 1), (2, 3))
        assert warning.startswith("2 of 2 recordings show the same background")
        assert check_scenes(store, (0, 2), (1, 3)) == []  # whole cages on each side


def test_brightness_does_not_hide_a_session(tmp_path):
    """The same cage under brighter light is the same cage."""
    brighter = (film(3, scene=1).astype(int) + 12).clip(0, 255).astype(np.uint8)
    with store_of(tmp_path, [film(1, scene=1), film(2, scene=2), brighter]) as store:
        (warning,) = check_scenes(store, (0, 1), (2,))
    assert "(r2)" in warning


def test_one_fixed_camera_says_nothing(tmp_path):
    """If all recordings show one scene, sessions cannot be told apart, so mpar is silent."""
    with store_of(tmp_path, [film(seed, scene=1) for seed in range(4)]) as store:
        assert check_scenes(store, (0, 1), (2, 3)) == []


def test_still_frames_are_no_pieces(tmp_path):
    """Recordings without any movement, such as test patterns, continue nothing."""
    still = np.full((10, 32, 32), 90, np.uint8)
    with store_of(tmp_path, [still, still.copy()]) as store:
        assert check_scenes(store, (0,), (1,)) == []
