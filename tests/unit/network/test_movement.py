"""The movement model: measures of known pictures, and its fit."""

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.learning.expert_fitting import MovementFitting, find_stretches
from mpar.network.checkpoint import load_checkpoint
from mpar.network.movement import (
    MovementMeter,
    MovementModel,
    movement_of,
)
from mpar.video.videos import View

RATE = 30.0
# columns of the first window: 3 energies, 3 spreads, 3 elongations, maximum, deviation, 2 travels
ENERGY, SPREAD, ELONGATION, MAXIMUM, TRAVEL = 0, 3, 6, 9, 11
NUM_OF_WINDOW = 13


def features_of(frames, rate=RATE):
    """Return the features of whole pictures; what the network sees must pass unchanged."""
    meter = MovementMeter(rate)
    seen = np.random.default_rng(0).integers(0, 256, (len(frames), 8, 8), dtype=np.uint8)
    passed = list(meter.watch(map(View, frames, seen)))
    np.testing.assert_array_equal(passed, seen)
    return meter.features()


def squares(places, side=6, shape=(32, 32), background=40):
    """Draw a bright square at a place (y, x) in each frame."""
    frames = np.full((len(places), *shape), background, np.uint8)
    for frame, (y, x) in zip(frames, places, strict=True):
        frame[y : y + side, x : x + side] = 220
    return list(frames)


def test_more_movement_means_more_energy():
    """A faster square has more energy than a slower one, and a still one has the least."""
    still, slow, fast = (
        features_of(squares([(10, 2 + step * i % 20) for i in range(60)]))[30, ENERGY]
        for step in (0, 1, 4)
    )
    assert still == pytest.approx(np.log(1e-5), abs=1e-4)
    assert still < slow < fast


def test_direction_and_place_do_not_matter():
    """The same movement elsewhere, turned by a quarter or mirrored, has the same features."""
    path = [(4 + i % 6, 5 + i % 9) for i in range(40)]
    frames = squares(path)
    expected = features_of(frames)
    moved = features_of(squares([(y + 9, x + 7) for y, x in path]))
    np.testing.assert_allclose(moved, expected, atol=2e-3)
    for changed in (
        [np.rot90(frame).copy() for frame in frames],
        [frame[:, ::-1].copy() for frame in frames],
    ):
        np.testing.assert_allclose(features_of(changed), expected, atol=2e-3)


def test_noise_does_not_count():
    """Noise of the camera, of any strength, is no movement."""
    rng = np.random.default_rng(0)
    quiet, noisy = (
        np.clip(rng.normal(100, sigma, (60, 32, 32)), 0, 255).astype(np.uint8) for sigma in (1, 6)
    )
    moving = squares([(10, 2 + i % 20) for i in range(60)])
    energies = [features_of(list(f))[30, ENERGY] for f in (quiet, noisy, moving)]
    assert energies[0] < energies[2] - 1
    assert energies[1] < energies[2] - 1


def test_length_does_not_matter():
    """Chunks of measuring leave no trace: the first half of a film has the same features."""
    rng = np.random.default_rng(1)
    frames = list(rng.integers(0, 255, (101, 16, 20), np.uint8))
    whole = features_of(frames)
    assert whole.shape == (101, 3 * NUM_OF_WINDOW)
    half = features_of(frames[:50])
    reach = 16  # half the longest window, one second
    np.testing.assert_array_equal(half[: 50 - reach], whole[: 50 - reach])


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_very_short_recordings_have_features(num_frames):
    """A recording shorter than every lag and window has finite features."""
    frames = squares([(5, 5 + i) for i in range(num_frames)])
    features = features_of(frames)
    assert features.shape == (num_frames, 3 * NUM_OF_WINDOW)
    assert np.isfinite(features).all()


def test_model_learns_what_moves(study):
    """It tells classes that differ in movement apart better than chance, on its own recordings."""
    with Store(study.cache) as store:
        recordings = range(len(store.recordings))
        model = MovementFitting(store, find_stretches(store, recordings)).fit(recordings)
        truth = np.concatenate([store.step_labels(i) for i in recordings])
        found = np.concatenate(
            [model.probabilities(movement_of(store, i, model.rate)) for i in recordings]
        )
    assert found.shape == (len(truth), 6)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    is_known = truth >= 0
    recalls = [(found.argmax(axis=1)[truth == k] == k).mean() for k in np.unique(truth[is_known])]
    assert np.mean(recalls) > 2 / len(recalls)


def test_long_recordings_are_read_in_part(study, monkeypatch):
    """With a limit, it reads the richest stretch of each recording, and never more."""
    read = []
    copy_steps = Store.copy_steps

    def counting(store, recording, start, stop, out):
        read.append(stop - start)
        copy_steps(store, recording, start, stop, out)

    monkeypatch.setattr(Store, "copy_steps", counting)
    with Store(study.cache) as store:
        recordings = range(len(store.recordings))
        stretches = find_stretches(store, recordings, max_steps=20 * len(recordings))
        MovementFitting(store, stretches).fit(recordings)
    assert 0 < sum(read) <= 20 * len(recordings)


def test_model_survives_a_checkpoint(study):
    """Saved in a checkpoint and loaded, it gives the same probabilities."""
    checkpoint = load_checkpoint(study.checkpoint)
    model = MovementModel.from_dict(checkpoint.experts["movement"])
    again = MovementModel.from_dict(model.to_dict())
    features = np.random.default_rng(0).normal(size=(7, len(model.linear.mean)))
    np.testing.assert_array_equal(again.probabilities(features), model.probabilities(features))
