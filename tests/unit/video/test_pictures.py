"""Pictures that show little are named, and ordinary ones are not."""

import numpy as np
import pytest

from mpar.video.pictures import PictureMeter
from tests.fixtures.synthetic import draw_recording


def look(frames, *, is_flagged=False):
    """Show frames to a meter as decoding does and return its warnings."""
    meter = PictureMeter()
    for frame in frames:
        meter.add(frame, is_flagged=is_flagged)
    return meter.find_warnings()


@pytest.fixture(scope="module")
def mouse():
    return draw_recording(seed=4, num_frames=121, height=96, width=128)[0]


def interlace(frames):
    """Take the even lines of one frame and the odd lines of the next."""
    woven = frames[:-1].copy()
    woven[:, 1::2] = frames[1:, 1::2]
    return woven


def slide(num_frames, step):
    """Draw a bright disc that crosses a grey floor by so many px a frame."""
    y, x = np.mgrid[:96, :256]
    discs = [(y - 48) ** 2 + (x - 30 - step * i) ** 2 < 400 for i in range(num_frames)]
    return np.where(discs, 200, 90).astype(np.uint8)


def test_ordinary_recordings_pass(mouse):
    """Moving, still, bright, dim and noisy pictures are as they should be."""
    rng = np.random.default_rng(0)
    noise = np.clip(mouse + rng.normal(0, 12, mouse.shape), 0, 255).astype(np.uint8)
    for frames in (mouse, mouse[:1], mouse[[0] * 30], mouse // 2, noise, slide(40, 4)):
        assert look(frames) == []
        assert look(frames, is_flagged=True) == []


@pytest.mark.parametrize("is_flagged", [False, True])
def test_teeth_are_seen(is_flagged):
    """Two moments in one picture are told whether the file says so or not."""
    (warning,) = look(interlace(slide(42, 4)), is_flagged=is_flagged)
    assert warning.startswith("is interlaced")
    assert "yadif" in warning


def test_horizontal_bars_are_no_teeth():
    """Stripes that move sideways, or stand still, were filmed in one moment each."""
    frames = slide(42, 4)
    frames[:, ::4] = 20
    assert look(frames) == []


@pytest.mark.parametrize(
    ("low", "high", "start"),
    [
        (0, 15, "is almost black"),
        (0, 23, "is almost black"),
        (100, 130, "is faint"),
        (100, 107, "shows nothing"),
    ],
)
def test_sliver_of_the_range(mouse, low, high, start):
    """Twelve bits in sixteen leave 16 of 256 levels; the message gives what there is."""
    frames = (low + mouse.astype(float) / 255 * (high - low)).astype(np.uint8)
    (warning,) = look(frames)
    assert warning.startswith(start)
    darkest, brightest = map(int, warning.split("grey levels ")[1].split(" of")[0].split(" to "))
    assert low <= darkest < brightest <= high


def test_black_stretches_are_named(mouse):
    """First and last frame of each stretch, as labels count them."""
    frames = mouse.copy()
    frames[30:61] = 3
    frames[100] = 0
    frames[118:] = 255  # blank, too
    (warning,) = look(frames)
    assert warning.startswith("is black or blank in 35 of 121 frames (30-60, 100, 118-120): ")
    frames[:] = mouse
    frames[::10] = 0
    (warning,) = look(frames)
    assert "(0, 10, 20, 30, 40 and 8 more stretches)" in warning


def test_a_few_black_frames_are_no_matter(mouse):
    """A fade, or the first picture of a camera that wakes up."""
    frames = mouse.copy()
    frames[:4] = 0
    assert look(frames) == []
    frames[4] = 0
    assert len(look(frames)) == 1


def test_limited_range_is_reckoned_in_full_range(mouse):
    """Black is 16 there; the message gives levels as mpar has them."""
    meter = PictureMeter()
    for _ in range(5):
        meter.add(np.full((64, 64), 16, np.uint8), is_limited=True)
    (warning,) = meter.find_warnings()
    assert "grey levels 0 to 0 of" in warning
