"""Every frame of a video comes once, in order, in true grey levels, or somebody is told."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from mpar.labels.names import VIDEO_SUFFIXES
from mpar.video.videos import probe_video
from tests.fixtures.synthetic import (
    draw_recording,
    read_frame_number,
    write_video,
)
from tests.unit.video.reading import CONTAINERS, make_video, numbers, read


def read_with_opencv(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        is_read, frame = capture.read()
        if not is_read:
            return frames
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))


@pytest.mark.parametrize(("codec", "suffix"), CONTAINERS)
@pytest.mark.parametrize("threads", [0, 1])
def test_every_frame_comes_once_in_order(tmp_path, codec, suffix, threads):
    """Counts and order are exact in every container, frames reordered by the codec included."""
    path = make_video(tmp_path / f"v.{suffix}", num_frames=40, codec=codec)
    frames, warnings = read(path, threads=threads)
    assert [read_frame_number(frame) for frame in frames] == [*range(40)]
    assert {(f.shape, f.dtype, f.ndim) for f in frames} == {((64, 96), np.dtype(np.uint8), 2)}
    assert warnings == []
    assert f".{suffix}" in VIDEO_SUFFIXES


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_shortest_videos_are_read_to_the_end(tmp_path, num_frames):
    """The frames that a decoder holds back are not lost."""
    assert numbers(make_video(tmp_path / "v.mp4", num_frames)) == [*range(num_frames)]


def test_size_is_height_and_width(tmp_path):
    """Resized frames are (height, width), as is the size that the file has."""
    path = make_video(tmp_path / "v.mp4", height=64, width=128)
    info = probe_video(path)
    assert (info.height, info.width) == (64, 128)
    frames, _ = read(path, size=(40, 56))
    assert {frame.shape for frame in frames} == {(40, 56)}
    assert [read_frame_number(frame) for frame in frames] == [*range(20)]


@pytest.mark.parametrize("size", [(32, 32), (40, 24), (96, 128)])
def test_resizing_averages_areas(tmp_path, size):
    """Resized frames equal OpenCV's averaging of the frames at full size."""
    drawn, _ = draw_recording(seed=3, num_frames=4, height=96, width=128)
    write_video(tmp_path / "v.mp4", drawn)
    full, _ = read(tmp_path / "v.mp4")
    small, _ = read(tmp_path / "v.mp4", size=size)
    for frame, resized in zip(full, small, strict=True):
        expected = cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)
        difference = np.abs(expected.astype(int) - resized)
        assert difference.mean() < 0.7
        assert difference.max() <= 3


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", "mp4"), ("mpeg4", "avi"), ("mjpeg", "mkv"), ("ffv1", "mkv")]
)
def test_grey_equals_opencvs(tmp_path, codec, suffix):
    """A second decoder with its own colour conversion sees the same mouse, within rounding."""
    drawn, _ = draw_recording(seed=1, num_frames=12, height=64, width=96)
    write_video(tmp_path / f"v.{suffix}", drawn, codec=codec)
    frames, _ = read(tmp_path / f"v.{suffix}")
    others = read_with_opencv(tmp_path / f"v.{suffix}")
    difference = np.abs(np.stack(frames).astype(int) - np.stack(others))
    assert difference.max() <= 2
    assert np.abs(np.stack(frames).astype(int) - drawn).mean() < 3


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "levels_off"),
    [
        pytest.param("ffv1", "gray", 0, id="grey"),
        pytest.param("libx264", "gray", 0, id="grey H.264"),
        pytest.param("libx264", "yuvj420p", 0, id="full range"),
        pytest.param("ffv1", "yuv420p", 1, id="limited range"),
        pytest.param("libx264", "yuv420p", 1, id="limited range H.264"),
    ],
)
@pytest.mark.parametrize("size", [None, (64, 256), (32, 256)])
def test_grey_levels_are_those_drawn(tmp_path, codec, pix_fmt, levels_off, size):
    """Full range is taken as it is; limited range has 220 levels, so it is off by 1 at most."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (3, 64, 1))
    options = {"qp": "0"} if codec == "libx264" else None  # lossless
    write_video(tmp_path / "v.mkv", ramp, codec=codec, pix_fmt=pix_fmt, options=options)
    for frame in read(tmp_path / "v.mkv", size=size)[0]:
        levels = frame.astype(int)
        assert np.abs(levels - np.arange(256)).max() <= levels_off
        assert (levels[:, 0] == 0).all()
        assert (levels[:, -1] == 255).all()


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("size", [None, (64, 256)])
def test_full_range_may_be_a_tag(tmp_path, pix_fmt, size):
    """Full range that only the file's tag tells is taken as it is, too."""
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 256, 64, pix_fmt
        stream.codec_context.color_range = 2
        neutral = np.full_like(ramp, 128)
        planes = {"yuv420p": np.concatenate([ramp, neutral[:32]])}
        planes["yuv444p"] = np.stack([ramp, neutral, neutral])
        frame = av.VideoFrame.from_ndarray(planes[pix_fmt], format=pix_fmt)
        frame.color_range = 2
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (frame,), _ = read(tmp_path / "v.mkv", size=size)
    np.testing.assert_array_equal(frame, ramp)


def test_colour_and_more_than_8_bits_become_grey(tmp_path):
    """Other pixel formats come out as the luma that OpenCV makes of them."""
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:, :32], rgb[:32, 32:] = (255, 0, 0), (0, 200, 0)
    for name, codec, pix_fmt in [
        ("a.mkv", "ffv1", "yuv444p"),
        ("b.mkv", "ffv1", "yuv422p10le"),
        ("c.mkv", "ffv1", "bgr0"),
    ]:
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 64, pix_fmt
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(stream.encode())
        (frame,), _ = read(tmp_path / name)
        (other,) = read_with_opencv(tmp_path / name)
        assert np.abs(frame.astype(int) - other).max() <= 2, pix_fmt
        colours = [int(frame[y, x]) for y, x in [(40, 8), (8, 56), (56, 56)]]
        assert colours == pytest.approx([76, 117, 0], abs=2), pix_fmt
