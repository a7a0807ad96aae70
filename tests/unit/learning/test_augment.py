"""Augmentations change a clip as a whole, and the same seed gives the same clips."""

import math

import pytest
import torch

from mpar.learning.augment import (
    augment,
    change_pace,
    mirror_labels,
    relight,
    reorient,
    resample,
    warp,
)

# of a square: the rotations, then the mirror images
ROTATIONS = [lambda x, k=k: x.rot90(k, (-2, -1)) for k in range(4)]
REFLECTIONS = [lambda x, turn=turn: turn(x.flip(-1)) for turn in ROTATIONS]


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _windows(height=6, width=6):
    return torch.rand(64, 1, 5, height, width, generator=_generator(9))


def _reorient_only(windows, generator):
    return reorient(windows, generator)[0]


def _kinds(windows, reoriented, images):
    """Return which of the images each clip became, by exact comparison."""
    return [
        [k for k, image in enumerate(images) if torch.equal(after, image(before))]
        for before, after in zip(windows, reoriented, strict=True)
    ]


def test_square_clips_take_all_eight_orientations():
    """Whole clips are turned or mirrored; exactly those that are mirror images are said to be."""
    windows = _windows()
    reoriented, is_mirrored = reorient(windows, _generator())
    kinds = _kinds(windows, reoriented, ROTATIONS + REFLECTIONS)
    assert {k for (k,) in kinds} == set(range(8))
    assert is_mirrored.tolist() == [k >= 4 for (k,) in kinds]


def test_from_the_side_up_stays_up():
    """With view side, clips are mirrored left to right at most, and tilted by 10 degrees."""
    windows = _windows()
    reoriented, is_mirrored = reorient(windows, _generator(), is_upright=True)
    kinds = _kinds(windows, reoriented, [lambda x: x, lambda x: x.flip(-1)])
    assert {k for (k,) in kinds} == {0, 1}
    assert is_mirrored.tolist() == [k == 1 for (k,) in kinds]
    top_bright = torch.zeros(64, 1, 4, 32, 32)
    top_bright[..., :10, :] = 1
    labels = torch.zeros(64, 1, dtype=torch.long)
    seen, _ = augment(top_bright, labels, [0], _generator(), view="side")
    assert (seen[..., :6, 8:24].mean(dim=(1, 2, 3, 4)) > seen[..., -6:, 8:24].mean()).all()
    turned, _ = augment(top_bright, labels, [0], _generator(), view="bottom")
    assert not (turned[..., :6, 8:24].mean(dim=(1, 2, 3, 4)) > turned[..., -6:, 8:24].mean()).all()


def test_oblong_clips_keep_their_shape():
    """Clips that are not square are flipped only; two flips are half a turn, no mirror image."""
    windows = _windows(6, 8)
    reoriented, is_mirrored = reorient(windows, _generator())
    flips = [
        lambda x: x,
        lambda x: x.flip((-1, -2)),
        lambda x: x.flip(-1),
        lambda x: x.flip(-2),
    ]
    kinds = _kinds(windows, reoriented, flips)
    assert {k for (k,) in kinds} == set(range(4))
    assert is_mirrored.tolist() == [k >= 2 for (k,) in kinds]


def test_left_and_right_swap_in_mirror_images():
    """Labels of mirrored windows swap, unlabelled and symmetric ones stay, others are kept."""
    labels = torch.tensor([[0, 1, 2, -1], [0, 1, 2, -1]])
    swapped = mirror_labels(labels, torch.tensor([True, False]), (0, 2, 1))
    assert swapped.tolist() == [[0, 2, 1, -1], [0, 1, 2, -1]]
    assert swapped.dtype == labels.dtype
    assert labels.tolist() == [[0, 1, 2, -1], [0, 1, 2, -1]], "the input was changed"


def test_augment_swaps_the_labels_of_exactly_the_mirrored_clips():
    """Whatever else happens to a picture, its handedness and its label agree."""
    size = 41
    y, x = torch.meshgrid(*2 * [torch.linspace(-1, 1, size)], indexing="ij")

    def blob(at_x, at_y, brightness):
        return brightness * torch.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 0.01)

    # three blobs by brightness, clockwise; mirrored they lie the other way around
    picture = blob(0, -0.4, 0.8) + blob(0.4, 0.2, 0.55) + blob(-0.4, 0.2, 0.35)
    windows = picture.expand(64, 1, 16, size, size)
    labels = torch.ones(64, 2, dtype=torch.int64)
    augmented, labels = augment(windows, labels, (0, 2, 1), _generator())
    assert set(labels.flatten().tolist()) == {1, 2}
    for clip, label in zip(augmented.mean(dim=(1, 2)), labels[:, 0].tolist(), strict=True):
        left, found = clip.clone(), []
        for _ in range(3):
            place = divmod(int(left.argmax()), size)
            found.append(torch.tensor([float(place[1]), float(place[0])]))
            near = (x - x[place]) ** 2 + (y - y[place]) ** 2 < 0.12
            left[near] = 0
        (ax, ay), (bx, by) = found[1] - found[0], found[2] - found[0]
        is_clockwise = bool(ax * by - ay * bx > 0)
        assert label == (1 if is_clockwise else 2)


@pytest.mark.parametrize("clip_length", [8, 16])
@pytest.mark.parametrize("window", [1, 2, 15, 16])
def test_labels_stay_with_their_frames_at_another_pace(clip_length, window):
    """Frames that spell their number: each label is still that of its frame, or unknown."""
    num_frames, num_windows, first = clip_length + window - 1, 200, clip_length // 2
    numbers = torch.arange(num_frames) / 64
    windows = numbers.view(1, 1, -1, 1, 1).expand(num_windows, 1, -1, 2, 3)
    labels = torch.arange(first, first + window).repeat(num_windows, 1)
    played, found = change_pace(windows, labels, _generator())
    assert (found.shape, found.dtype) == (labels.shape, labels.dtype)
    assert torch.equal(played, played[..., :1, :1].expand_as(played)), "frames were mixed"
    shown = (64 * played[:, 0, :, 0, 0]).round().long()
    named = shown[:, first : first + window]
    is_labelled = (named >= first) & (named < first + window)
    assert torch.equal(found, torch.where(is_labelled, named, -1))
    # the middle stays where it is, all else moves by the pace, one step up or down
    middle = (num_frames - 1) / 2
    expected = torch.arange(num_frames) - middle
    assert ((shown - middle).abs() <= 1.25 * expected.abs() + 0.5).all()
    at_edge = (shown == 0) | (shown == num_frames - 1)
    assert (((shown - middle).abs() >= expected.abs() / 1.25 - 0.5) | at_edge).all()
    steps = shown.diff(dim=1)
    assert set(steps.flatten().tolist()) == {0, 1, 2}, "none is repeated, or none left out"
    assert ((steps == 0) & ~at_edge[:, 1:]).any()


def test_another_pace_leaves_its_input_and_what_is_unlabelled():
    """Nothing is written to what came in, and -1 does not become a class."""
    windows, labels = _windows(), torch.tensor([[-1, 1]]).expand(64, 2)
    before = windows.clone(), labels.clone()
    played, found = change_pace(windows, labels, _generator())
    assert torch.equal(windows, before[0])
    assert torch.equal(labels, before[1])
    assert set(found[:, 0].tolist()) <= {-1, 1}
    again = change_pace(windows, labels, _generator())
    assert torch.equal(played, again[0])
    assert torch.equal(found, again[1])


@pytest.mark.parametrize("step", [_reorient_only, warp, relight])
@pytest.mark.parametrize("shape", [(1, 6, 6), (5, 6, 9), (16, 9, 6)], ids=str)
@pytest.mark.parametrize("num_windows", [1, 40])
def test_shape_type_range_and_input_are_kept(step, shape, num_windows):
    """Every augmentation leaves 0-1 pictures of the same form, and its input alone."""
    windows = torch.rand(num_windows, 1, *shape, generator=_generator(9)).round(decimals=1)
    before = windows.clone()
    for seed in range(4):
        after = step(windows, _generator(seed))
        assert after.shape == windows.shape
        assert after.dtype == windows.dtype
        assert after.min() >= 0
        assert after.max() <= 1
        assert torch.equal(windows, before)
        assert torch.equal(after, step(windows, _generator(seed)))


@pytest.mark.parametrize("step", [_reorient_only, warp, relight])
def test_frames_of_a_clip_are_treated_alike(step):
    """A clip of equal frames stays one: nothing flickers."""
    windows = _windows(7, 9)[:, :, :1].expand(-1, -1, 5, -1, -1)
    after = step(windows, _generator())
    assert torch.allclose(after, after[:, :, :1].expand_as(after), atol=1e-6)


def test_resampling_with_nothing_to_do_is_the_identity():
    """No rotation, zoom or shift: the same picture, oblong or not."""
    windows = _windows(6, 9)
    zero, one = torch.zeros(64), torch.ones(64)
    assert torch.allclose(
        resample(windows, angle=zero, zoom=one, shift_x=zero, shift_y=zero), windows, atol=1e-5
    )


def test_quarter_turns_agree_with_rot90():
    """Resampling by a quarter turn is a quarter turn, in one sense of rotation."""
    windows = _windows()
    zero, one = torch.zeros(64), torch.ones(64)
    turned = resample(windows, angle=zero + math.pi / 2, zoom=one, shift_x=zero, shift_y=zero)
    assert torch.allclose(turned, windows.rot90(1, (-2, -1)), atol=1e-5)


def test_shift_is_in_fractions_of_the_sides():
    """A shift of one in eight and one in four moves by whole pixels; the edge repeats."""
    windows = _windows(8, 4)
    zero, one = torch.zeros(64), torch.ones(64)
    shifted = resample(windows, angle=zero, zoom=one, shift_x=zero + 1 / 4, shift_y=zero - 1 / 8)
    assert torch.allclose(shifted[..., 1:, :-1], windows[..., :-1, 1:], atol=1e-5)
    assert torch.allclose(shifted[..., 1:, -1], windows[..., :-1, -1], atol=1e-5)
    assert torch.allclose(shifted[..., 0, :-1], windows[..., 0, 1:], atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(40, 40), (40, 64), (64, 40)])
@pytest.mark.parametrize("zoom", [0.85, 1.15])
def test_a_circle_stays_a_circle(height, width, zoom):
    """Rotation does not shear oblong frames; zoom changes both sides alike."""
    y, x = torch.meshgrid(
        torch.arange(height) - (height - 1) / 2,
        torch.arange(width) - (width - 1) / 2,
        indexing="ij",
    )
    radius = (x**2 + y**2).sqrt()
    windows = torch.sigmoid(2 * (12 - radius)).expand(9, 1, 2, height, width)
    zero = torch.zeros(9)
    angle = torch.linspace(-math.pi, math.pi, 9)
    after = resample(windows, angle=angle, zoom=zero + zoom, shift_x=zero, shift_y=zero)
    expected = torch.sigmoid(2 * (12 - radius / zoom))
    assert torch.allclose(after, expected.expand_as(after), atol=0.06)


def test_relight_is_one_curve_a_clip():
    """Equal pixels stay equal, and darker ones darker, whatever the frame."""
    windows = _windows().round(decimals=1)
    lit = relight(windows, _generator())
    for before, after in zip(windows, lit, strict=True):
        steps = [after[before == value] for value in before.unique()]
        assert all(torch.allclose(step, step[0]) for step in steps)
        means = torch.stack([step[0] for step in steps])
        assert (means.diff() >= 0).all()
        assert means[-1] > means[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_seed_decides(seed):
    """Same seed, same batch; another seed, another."""
    windows, labels = _windows(), torch.zeros(64, 1, dtype=torch.int64)
    results = [augment(windows, labels, (1, 0), _generator(s)) for s in (seed, seed, seed + 1)]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][0], results[2][0])
    assert torch.equal(windows, _windows()), "the input was changed"
    assert not labels.any(), "the labels were changed"
