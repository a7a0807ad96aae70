"""The network is as large as promised, and dense evaluation is evaluation clip by clip."""

from __future__ import annotations

import copy

import pytest
import torch

from mpar.errors import ConfigError
from mpar.network.config import MODEL_TYPES, ModelConfig
from mpar.network.model import ClipNet, _PairMax, _pool, filter_time
from tests.fixtures.helpers import CLIP_LENGTHS, make_net


def draw(batch_size, num_frames):
    """Noise that is bright or dark frame by frame, (B, 1, F, 20, 26): order can be seen."""
    levels = torch.rand(batch_size, 1, num_frames, 1, 1)
    return torch.rand(batch_size, 1, num_frames, 20, 26) * levels


def clips_of(frames_B1FHW, clip_length):
    """Every whole clip, (N, B, 1, L, H, W)."""
    num_outputs = frames_B1FHW.shape[2] - clip_length + 1
    return torch.stack([frames_B1FHW[:, :, i : i + clip_length] for i in range(num_outputs)])


@pytest.mark.parametrize(
    ("model_type", "promised", "exact"),
    [("standard", 3.0e6, 3_030_822), ("light", 0.6e6, 642_086), ("fast", 0.4e6, 419_622)],
)
def test_number_of_parameters(model_type, promised, exact):
    """All sizes stay within a tenth of what is promised, whatever else changes."""
    net = ClipNet(ModelConfig(model_type=model_type))
    assert abs(net.num_parameters() - promised) < 0.1 * promised
    assert net.num_parameters() == exact


@pytest.mark.slow
@pytest.mark.parametrize("clip_length", CLIP_LENGTHS)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_dense_equals_clip_by_clip(model_type, clip_length):
    """Output i of a stretch is that of its i-th clip, for every length and both parities."""
    net = make_net(model_type=model_type, clip_length=clip_length)
    for num_outputs in (1, 4):
        frames = draw(2, clip_length + num_outputs - 1)
        with torch.inference_mode():
            dense = net.dense(frames)
            clips = clips_of(frames, clip_length)
            single = net(clips.flatten(0, 1)).unflatten(0, (num_outputs, 2)).transpose(0, 1)
        assert dense.shape == (2, num_outputs, 6)
        torch.testing.assert_close(dense, single, atol=1e-5, rtol=0)
        spread = single.amax(dim=1) - single.amin(dim=1)
        assert num_outputs == 1 or spread.max() > 0.01  # else anything would agree


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 23), (31, 18)])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_dense_equals_clip_by_clip_at_odd_sizes(model_type, height, width):
    """Rows and columns that strides and poolings leave over change nothing."""
    net = make_net(model_type=model_type, clip_length=8)
    frames = torch.rand(1, 1, 10, height, width)
    with torch.inference_mode():
        single = net(clips_of(frames, 8)[:, 0])
        torch.testing.assert_close(net.dense(frames)[0], single, atol=1e-5, rtol=0)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_gradients_equal_clip_by_clip(model_type):
    """Training on a stretch moves the weights as training on its clips does."""
    net = make_net(model_type=model_type, clip_length=8)
    other = copy.deepcopy(net)
    frames, weights = torch.rand(1, 1, 12, 20, 26), torch.randn(5, 6)
    (net.dense(frames)[0] * weights).sum().backward()
    (other(clips_of(frames, 8)[:, 0]) * weights).sum().backward()
    for (name, one), two in zip(net.named_parameters(), other.parameters(), strict=True):
        scale = two.grad.abs().max().item()
        assert scale > 0, name
        torch.testing.assert_close(one.grad, two.grad, atol=1e-4 * scale, rtol=0, msg=name)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_only_the_frames_of_the_clip_matter(model_type):
    """Every frame of a clip is seen, and none beyond it."""
    net = make_net(model_type=model_type, clip_length=8)
    frames = torch.rand(1, 1, 12, 16, 16)
    changes = []
    with torch.inference_mode():
        before = net.dense(frames)
        for t in range(12):
            changed = frames.clone()
            changed[:, :, t] = 1 - changed[:, :, t]
            moved = (net.dense(changed) - before).abs().amax(dim=(0, 2)) > 1e-6
            changes.append(moved.nonzero().flatten().tolist())
    expected = [[i for i in range(5) if i <= t < i + 8] for t in range(12)]
    assert changes == expected


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_brightness_and_its_drift_are_not_seen(model_type):
    """With centred frames a change of light from frame to frame changes nothing, else it does."""
    frames, light = torch.rand(1, 1, 11, 20, 26) * 0.5, torch.rand(1, 1, 11, 1, 1) * 0.5
    for centre_frames in (True, False):
        net = make_net(model_type=model_type, clip_length=8, centre_frames=centre_frames)
        with torch.inference_mode():
            change = (net.dense(frames + light) - net.dense(frames)).abs().max()
        assert (change < 1e-5) == centre_frames


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_first_layer_begins_with_motion_and_edges(model_type):
    """Half of the kernels see nothing in a still picture, the others nothing in an even one."""
    net = ClipNet(ModelConfig(model_type=model_type))
    kernels = net.blocks[0].conv
    still = torch.rand(1, 1, 1, 16, 16).expand(-1, -1, 3, -1, -1)
    even = torch.rand(1, 1, 3, 1, 1).mean(dim=2, keepdim=True).expand(-1, -1, 3, 16, 16)
    with torch.inference_mode():
        of_still, of_even = kernels(still)[0], kernels(even)[0, :, :, 1:-1, 1:-1]
    assert of_still[:16].abs().max() < 1e-6
    assert of_still[16:].abs().amax(dim=(1, 2, 3)).min() > 0.01
    assert of_even.abs().max() < 1e-6


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("clip_length", [8, 32])
def test_smallest_frames_and_any_number_of_classes(model_type, clip_length):
    """16 x 16 px are enough for all sizes, and classes are as many as asked for."""
    net = make_net(model_type=model_type, clip_length=clip_length, num_classes=3)
    assert net(torch.rand(2, 1, clip_length, 16, 16)).shape == (2, 3)
    assert net.output_frames >= 1


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1, 1, 17, 16, 16), id="longer than a clip"),
        pytest.param((1, 1, 15, 16, 16), id="shorter than a clip"),
        pytest.param((1, 3, 16, 16, 16), id="three colours"),
        pytest.param((1, 16, 16, 16), id="no channel"),
        pytest.param((16, 16), id="one frame"),
        pytest.param((1, 1, 16, 15, 16), id="too low"),
        pytest.param((1, 1, 16, 16, 15), id="too narrow"),
    ],
)
def test_wrong_shapes_are_refused(shape):
    """A batch of another shape is named with the right one, not half evaluated."""
    net = make_net(model_type="light")
    with pytest.raises(ValueError, match=r"found frames of shape \(.*expected \(B, 1, 16, H, W\)"):
        net(torch.zeros(shape))
    if shape[2:3] != (17,):
        with pytest.raises(ValueError, match=r"found frames .*expected \(B, 1, at least 16, H, W"):
            net.dense(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "huge"}, "model_type: found 'huge', expected one of standard, light, fast"),
        ({"num_classes": 1}, "num_classes: found 1, expected 2-127"),
        ({"num_classes": 128}, "num_classes: found 128"),
        ({"dropout": 1.0}, "dropout: found 1.0, expected 0 to below 1"),
        ({"dropout": -0.1}, "dropout: found -0.1"),
        ({"dropout": float("nan")}, "dropout: found nan"),
        ({"clip_length": 15}, "clip_length: found 15, expected an even number from 8 to 32"),
        ({"clip_length": 34}, "clip_length: found 34"),
    ],
)
def test_bad_configs_are_refused(options, message):
    """A network that cannot be built is refused with the value and the range."""
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**options)


def test_config_round_trip():
    """A config comes back from its plain types."""
    config = ModelConfig(
        model_type="light", num_classes=4, clip_length=24, dropout=0.25, centre_frames=False
    )
    assert ModelConfig(**config.to_dict()) == config


@pytest.mark.parametrize("num_frames", [3, 5, 9])
def test_maxima_of_pairs_and_their_gradient(num_frames):
    """By torch's own operations; without equal neighbours both gradients are the same."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, num_frames, 4, 5).contiguous(memory_format=torch.channels_last_3d)
    ours, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    maxima = torch.maximum(plain[:, :, :-1], plain[:, :, 1:])
    expected = torch.cat([maxima[:, :, 0::2], maxima[:, :, 1::2]])
    found = _PairMax.apply(ours)
    assert torch.equal(found, expected)
    weights = torch.randn_like(expected)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad)
    assert ours.grad.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("kernel_t", [3, 5])
def test_filtering_time_equals_a_convolution_of_each_channel(kernel_t):
    """By torch's own 3D convolution, with both gradients, whatever the layout."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 7, 3, 5)
    taps, bias = torch.randn(4, 1, kernel_t, 1, 1, requires_grad=True), torch.randn(4)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        ours = x.contiguous(memory_format=layout).requires_grad_()
        plain = x.clone().requires_grad_()
        found = filter_time(ours, taps, bias)
        expected = torch.nn.functional.conv3d(plain, taps, bias, groups=4)
        torch.testing.assert_close(found, expected)
        weights = torch.randn_like(expected)
        gradients = torch.autograd.grad((found * weights).sum(), [ours, taps])
        others = torch.autograd.grad((expected * weights).sum(), [plain, taps])
        torch.testing.assert_close(gradients, others)


def test_pooling_stays_in_the_short_type():
    """Autocast on a CPU would widen it; the maxima are those of float32."""
    x = torch.randn(1, 2, 4, 6, 6).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = _pool(x, (1, 2, 2))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found.float(), torch.nn.functional.max_pool3d(x.float(), (1, 2, 2)))
