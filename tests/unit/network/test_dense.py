"""Whole recordings are named as clip by clip, however they are cut into stretches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import mpar.network.dense
from mpar.cache.clips import clip_frames
from mpar.errors import ConfigError
from mpar.network.config import MODEL_TYPES
from mpar.network.dense import DensePredictor, FoldedNet
from tests.fixtures.helpers import CLIP_LENGTHS, make_net


def draw(num_frames, height=20, width=26, seed=0):
    """Noise that is bright or dark frame by frame."""
    rng = np.random.default_rng(seed)
    frames = rng.random((num_frames, height, width)) * rng.random((num_frames, 1, 1))
    return (256 * frames).astype(np.uint8)


def predict_clip_by_clip(net, frames):
    """Softmax of each frame's own clip, edges repeated."""
    length = net.config.clip_length
    indices = [
        clip_frames(t, clip_length=length, num_frames=len(frames)) for t in range(len(frames))
    ]
    clips = torch.from_numpy(frames[np.stack(indices)]).float().div(255).unsqueeze(1)
    with torch.inference_mode():
        return torch.softmax(net(clips), dim=1).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("clip_length", CLIP_LENGTHS)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_folded_net_equals_clip_by_clip(model_type, clip_length):
    """Folding and the side-by-side phases change nothing but rounding, at every length."""
    net = make_net(model_type=model_type, clip_length=clip_length)
    folded = FoldedNet(net)
    for num_outputs in (1, 4):
        frames = torch.from_numpy(draw(clip_length + num_outputs - 1))
        clips = torch.stack([frames[i : i + clip_length] for i in range(num_outputs)])
        with torch.inference_mode():
            expected = net(clips.float().div(255).unsqueeze(1))
        found = folded(frames)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("num_frames", [1, 5, 15, 16, 17, 50])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_predict_names_every_frame(model_type, num_frames):
    """Recordings of any length get one row a frame, equal to that of the frame's clip."""
    net = make_net(model_type=model_type)
    frames = draw(num_frames)
    counts = []
    found = DensePredictor(net).predict(iter(frames), counts.append)
    assert (found.shape, found.dtype) == ((num_frames, 6), np.float32)
    np.testing.assert_allclose(found, predict_clip_by_clip(net, frames), atol=1e-5, rtol=0)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert sum(counts) == num_frames


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_short_floats_change_probabilities_slightly(monkeypatch, model_type):
    """In bfloat16, which tests emulate; the first digits stay, and so do nearly all labels."""
    monkeypatch.setattr("mpar.network.devices.has_fast_bfloat16", lambda device: True)
    net, frames = make_net(model_type=model_type), draw(60)
    exact = DensePredictor(net).predict(frames)
    found = DensePredictor(net, "bf16").predict(frames)
    assert found.dtype == np.float32
    difference = np.abs(found - exact).max()
    assert 1e-5 < difference < 0.1
    assert (found.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.9


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("fp16", "found fp16, which cpu .* does not compute faster; expected fp32"),
        ("int8", "found 'int8', expected one of fp32, tf32, bf16, fp16"),
    ],
)
def test_precision_that_the_device_lacks_is_refused(precision, message):
    """The message names those that it has."""
    with pytest.raises(ConfigError, match=message):
        DensePredictor(make_net(model_type="light"), precision)


@pytest.mark.slow
@pytest.mark.parametrize("stretch", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("clip_length", [8, 16])
@pytest.mark.parametrize("model_type", ["light", "fast"])
def test_borders_of_stretches_do_not_show(monkeypatch, model_type, stretch, clip_length):
    """Where a recording is cut, and how the first layer is, changes no output."""
    monkeypatch.setattr(mpar.network.dense, "_MIN_STRETCH", stretch)
    monkeypatch.setattr(mpar.network.dense, "_MAX_STRETCH", stretch)
    monkeypatch.setattr(mpar.network.dense, "_FIRST_OUTPUTS", stretch)
    monkeypatch.setattr(mpar.network.dense, "_FIRST_LAYER_PX", 3 * 20 * 26)
    net = make_net(model_type=model_type, clip_length=clip_length)
    predictor = DensePredictor(net)
    for num_frames in (1, 7, 8, 21):
        frames = draw(num_frames)
        counts = []
        found = predictor.predict(frames, counts.append)
        np.testing.assert_allclose(found, predict_clip_by_clip(net, frames), atol=1e-5, rtol=0)
        assert sum(counts) == num_frames
        assert max(counts) <= stretch


def test_workers_and_callers_side_by_side_change_nothing(monkeypatch):
    """With more threads, and several recordings at once, every row is the same to the bit."""
    monkeypatch.setattr(mpar.network.dense, "_MAX_STRETCH", 16)
    net = make_net()
    recordings = [draw(100 + i, seed=i) for i in range(4)]
    expected = [DensePredictor(net).predict(frames) for frames in recordings]
    num_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        predictor = DensePredictor(net)
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(predictor.predict, recordings))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(num_threads)
    for a, b in zip(expected, found, strict=True):
        assert np.array_equal(a, b)


def test_memory_is_bounded_by_what_is_under_way(monkeypatch):
    """However long the recording, only a few stretches are read ahead of the results."""
    monkeypatch.setattr(mpar.network.dense, "_MAX_STRETCH", 16)
    num_read = num_done = most = 0

    def read():
        nonlocal num_read, most
        for frame in draw(400):
            num_read += 1
            most = max(most, num_read - num_done)
            yield frame

    def count(num_frames):
        nonlocal num_done
        num_done += num_frames

    DensePredictor(make_net()).predict(read(), count)
    assert num_done == 400
    assert most <= 3 * 16 + 16


def test_a_caller_that_stops_is_heard():
    """An error of the progress callback ends the prediction, and the predictor can go on."""
    predictor = DensePredictor(make_net())

    def stop(num_frames):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictor.predict(draw(300), stop)
    assert len(predictor.predict(draw(5))) == 5


def test_no_frames_give_no_rows():
    """An empty recording is an empty table, not an error."""
    assert DensePredictor(make_net(model_type="light")).predict([]).shape == (0, 6)


def test_later_training_does_not_change_a_predictor():
    """A predictor keeps the weights it was made of, the fully connected ones included."""
    net = make_net(model_type="light")
    predictor = DensePredictor(net)
    frames = draw(5)
    before = predictor.predict(frames)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1
        for buffer in net.buffers():
            buffer += 1
    np.testing.assert_array_equal(predictor.predict(frames), before)


def test_a_net_in_training_is_predicted_with_and_left_as_it_is():
    """Dropout is off in predictions, and stays on in the network that is being trained."""
    net = make_net(model_type="light").train()
    frames = draw(5)
    found = DensePredictor(net).predict(frames)
    assert all(module.training for module in net.modules())
    np.testing.assert_allclose(found, predict_clip_by_clip(net.eval(), frames), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(torch.zeros(15, 16, 16, dtype=torch.uint8), id="shorter than a clip"),
        pytest.param(torch.zeros(1, 16, 16, 16, dtype=torch.uint8), id="a batch"),
        pytest.param(torch.zeros(16, 16, dtype=torch.uint8), id="one frame"),
        pytest.param(torch.zeros(16, 15, 16, dtype=torch.uint8), id="too low"),
        pytest.param(torch.zeros(16, 16, 16), id="float"),
    ],
)
def test_folded_net_refuses_wrong_frames(frames):
    """Frames that would be scaled twice or misread are refused."""
    with pytest.raises(ValueError, match=r"found frames of shape .*expected \(at least 16, H, W\)"):
        FoldedNet(make_net(model_type="light"))(frames)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([np.zeros((16, 16), np.uint8), np.zeros((16, 18), np.uint8)], id="two sizes"),
        pytest.param([np.zeros((16, 16), np.uint8), np.zeros((1, 16), np.uint8)], id="one row"),
        pytest.param([np.zeros((16, 16), np.float32)], id="float"),
        pytest.param([np.zeros((16, 16, 3), np.uint8)], id="colour"),
        pytest.param([np.zeros((15, 16), np.uint8)], id="too low"),
        pytest.param([np.zeros((0, 16), np.uint8)], id="no rows"),
    ],
)
def test_predict_refuses_wrong_frames(frames):
    """No frame is stretched, cut or rounded to fit the others."""
    with pytest.raises(ValueError, match="found a frame of shape"):
        DensePredictor(make_net(model_type="light")).predict(frames)
