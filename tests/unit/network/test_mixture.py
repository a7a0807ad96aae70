"""All experts together: their product, and prediction in one pass."""

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.network.checkpoint import load_checkpoint
from mpar.network.dense import DensePredictor
from mpar.network.experts import mix
from mpar.network.features import FeatureMeter, ViewEmbedder
from mpar.network.mixture import Experts, MixedPredictor
from mpar.network.movement import MovementMeter, MovementModel, movement_of
from mpar.video.videos import View


def test_product_of_experts():
    """Powers 1 and 0 leave the network alone; 0 and 1 give the other; 1 and 1 the product."""
    network = np.array([[0.7, 0.2, 0.1], [0.25, 0.5, 0.25]], np.float32)
    own = np.array([[0.1, 0.8, 0.1], [0.6, 0.2, 0.2]])
    found = {"network": network, "movement": own}
    assert mix(found, {"network": 1.0, "movement": 0.0}) is network
    np.testing.assert_allclose(mix(found, {"network": 0.0, "movement": 1.0}), own, atol=1e-6)
    np.testing.assert_allclose(
        mix(found, {"network": 1.0, "movement": 1.0})[0],
        np.array([0.07, 0.16, 0.01]) / 0.24,
        atol=1e-6,
    )


@pytest.fixture
def trained(study):
    """Network, movement model, the frames of a recording, and what the model says of them."""
    checkpoint = load_checkpoint(study.checkpoint)
    movement = MovementModel.from_dict(checkpoint.experts["movement"])
    network = DensePredictor(checkpoint.build_net())
    with Store(study.cache) as store:
        frames = list(store.stream_steps(0))
        own = movement.probabilities(movement_of(store, 0, movement.rate))
    return network, movement, frames, own


def test_prediction_mixes_both_models(trained):
    """The predictor multiplies what the network and the movement model say of the same frames."""
    network, movement, frames, own = trained

    def predict(of_network, of_movement, net=network):
        powers = {"network": of_network, "movement": of_movement, "features": 0.0}
        predictor = MixedPredictor(Experts(movement=movement, powers=powers), net)
        return predictor.predict(map(View, frames, frames))

    alone = network.predict(frames)
    powers = {"network": 0.7, "movement": 0.4}
    expected = mix({"network": alone, "movement": own}, powers)
    np.testing.assert_allclose(predict(0.7, 0.4), expected, atol=1e-6)
    np.testing.assert_array_equal(predict(1.0, 0.0), alone)
    squared = alone**2
    squared /= squared.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predict(2.0, 0.0), squared, atol=1e-6)
    np.testing.assert_allclose(predict(0.0, 1.0, net=None), own, atol=1e-6)


class Brightness:
    """An image network that embeds a picture as its mean."""

    source, digest = "brightness", "0"

    def embed(self, pictures_NSS):
        """Return one number for each picture."""
        return pictures_NSS.mean(axis=(1, 2))[:, None].astype(np.float32)


def test_the_movement_model_sees_whole_pictures_and_the_others_squares(trained):
    """Each expert gets its own half of a view."""
    network, movement, frames, own = trained
    squares = [np.ascontiguousarray(frame[::-1, ::-1]) // 2 for frame in frames]
    powers = {"network": 0.7, "movement": 0.4, "features": 0.0}
    predictor = MixedPredictor(Experts(movement=movement, powers=powers), network)
    expected = mix({"network": network.predict(squares), "movement": own}, powers)
    found = predictor.predict(map(View, frames, squares))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    meter = FeatureMeter(ViewEmbedder(Brightness(), "side", frames[0].shape), 2)
    seen = MovementMeter(movement.rate).watch(map(View, frames, squares))
    assert len([*meter.watch(seen)]) == len(frames)
    means = [square.mean() for square in squares[::2]]
    np.testing.assert_allclose(meter.embedded()[:, 0], means, atol=0.1)
