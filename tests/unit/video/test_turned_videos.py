"""Display matrices, regions and rates."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from mpar.video.regions import Region
from mpar.video.videos import Decoding, probe_video
from tests.fixtures.synthetic import (
    draw_frame_numbers,
)
from tests.unit.video.reading import make_video, numbers, read


def rotate_tag(path, quarter_turns):
    """Write into the header of an MP4 by how many quarter turns clockwise it is to be shown."""
    one = 1 << 16
    cos, sin = [(one, 0), (0, one), (-one, 0), (0, -one)][quarter_turns]
    data = path.read_bytes()
    start = data.index(b"tkhd") + 4 + 4 + 20 + 16  # the matrix. Source: ISO/IEC 14496-12, 8.3.2
    matrix = struct.pack(">9i", cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:start] + matrix + data[start + len(matrix) :])


def matrix_tag(path, *abcd):
    """Write the four numbers of a display matrix into the header of an MP4, as fractions."""
    data = path.read_bytes()
    start = data.index(b"tkhd") + 44
    a, b, c, d = (round(value * (1 << 16)) for value in abcd)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:start] + matrix + data[start + len(matrix) :])


@pytest.mark.parametrize(
    ("abcd", "expected"),
    [
        ((1, 0, 0, 1), lambda f: f),
        ((-1, 0, 0, 1), lambda f: f[:, ::-1]),
        ((1, 0, 0, -1), lambda f: f[::-1]),
        ((-1, 0, 0, -1), lambda f: f[::-1, ::-1]),
        ((0, 1, 1, 0), lambda f: f.T),
        ((0, -1, -1, 0), lambda f: f[::-1, ::-1].T),
        ((0, 1, -1, 0), lambda f: np.rot90(f, -1)),
        ((0, -1, 1, 0), lambda f: np.rot90(f, 1)),
        ((0, 0, 0, 0), lambda f: f),
        ((1, 1, 1, 1), lambda f: f),
        ((0.5, 0, 0, -2), lambda f: f[::-1]),
        ((0.9999, 0.01, -0.01, 0.9999), lambda f: f),
    ],
)
@pytest.mark.parametrize("size", [None, (40, 72)])
def test_display_matrices(tmp_path, abcd, expected, size):
    """Mirrored pictures are mirrored (left and right paws!), and nonsense changes nothing."""
    path = make_video(tmp_path / "v.mp4", num_frames=6, height=64, width=96)
    upright = read(path)[0][5]
    matrix_tag(path, *abcd)
    frames, warnings = read(path, size=size)
    whole = expected(upright)
    info = probe_video(path)
    assert (info.height, info.width) == whole.shape
    is_stretched = abcd == (0.5, 0, 0, -2)
    assert [text[:16] for text in warnings] == ["has pixels 0.25 "] * is_stretched
    if size is None:
        np.testing.assert_array_equal(frames[5], whole)
    else:
        small = cv2.resize(np.ascontiguousarray(whole), size[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(frames[5].astype(int) - small).mean() < 3


@pytest.mark.parametrize(("degrees", "turns"), [(10, 0), (50, 1), (100, 1), (200, 2), (-80, 3)])
def test_odd_angles_become_quarter_turns(tmp_path, degrees, turns):
    """Both functions turn to the nearest quarter, and the warning says so."""
    path = make_video(tmp_path / "v.mp4", num_frames=6, height=64, width=96)
    upright = read(path)[0][5]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix_tag(path, cos, sin, -sin, cos)
    frames, warnings = read(path)
    np.testing.assert_array_equal(frames[5], np.rot90(upright, -turns))
    info = probe_video(path)
    assert (info.height, info.width) == frames[0].shape
    assert [w.partition(":")[0] for w in warnings] == [
        "is rotated by an angle that is not a multiple of 90 degrees; mpar uses the nearest one"
    ]


@pytest.mark.parametrize(("degrees", "turns"), [(180, 2), (90, 1), (270, 3)])
def test_a_turn_that_only_the_first_picture_names(tmp_path, degrees, turns):
    """H.264 may carry the turn in the stream, once for all pictures that follow."""
    plain = make_video(tmp_path / "plain.mp4")
    turn = f"h264_metadata=display_orientation=insert:rotate={degrees}"
    with av.open(str(plain)) as source, av.open(str(tmp_path / "v.mp4"), "w") as target:
        stream = source.streams.video[0]
        out = target.add_stream_from_template(stream)
        turned = av.bitstream.BitStreamFilterContext(turn, stream)
        for packet in source.demux(stream):
            for new in turned.filter(packet if packet.dts is not None else None):
                new.stream = out
                target.mux(new)
    frames, warnings = read(tmp_path / "v.mp4")
    expected, _ = read(plain)
    assert len(frames) == len(expected) == 20
    for frame, upright in zip(frames, expected, strict=True):
        assert (frame == np.rot90(upright, turns)).all()
    assert not any("changes its rotation" in text for text in warnings)


def convert(path, pix_fmt):
    """Encode a video again in another pixel format."""
    with av.open(str(path)) as container:
        frames = [frame.reformat(format=pix_fmt) for frame in container.decode(video=0)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pix_fmt
        for i, frame in enumerate(frames):
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_rotation_tag_is_obeyed(tmp_path, quarter_turns, pix_fmt):
    """A telephone held upright gives upright mice, in the size that players show."""
    path = make_video(tmp_path / "v.mp4", num_frames=6, height=64, width=96)
    if pix_fmt != "yuv420p":
        convert(path, pix_fmt)
    upright, _ = read(path)
    assert upright[0].shape == (64, 96)
    rotate_tag(path, quarter_turns)
    turned, _ = read(path)
    for frame, expected in zip(turned, upright, strict=True):
        np.testing.assert_array_equal(frame, np.rot90(expected, -quarter_turns))
        assert frame.flags.c_contiguous
    info = probe_video(path)
    assert (info.height, info.width) == turned[0].shape
    small, _ = read(path, size=(40, 72))
    expected = cv2.resize(turned[5], (72, 40), interpolation=cv2.INTER_AREA)
    assert small[5].shape == (40, 72)
    assert np.abs(small[5].astype(int) - expected).mean() < 2


@pytest.mark.parametrize("size", [None, (20, 24), (60, 60)])
@pytest.mark.parametrize("quarter_turns", [0, 1])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv420p10le"])
def test_a_region_is_as_if_filmed_alone(tmp_path, size, quarter_turns, pix_fmt):
    """Of a turned picture of any range, resized or not: the part of it as shown."""
    path = make_video(tmp_path / "rack.mp4", num_frames=6, height=96, width=128)
    if pix_fmt != "yuv420p":
        convert(path, pix_fmt)
    rotate_tag(path, quarter_turns)
    whole, _ = read(path)
    regions = [Region("A", 30, 16, 50, 40), Region("B", 0, 60, 96, 36)]
    found = list(Decoding(path, size=size, regions=[*regions, None]).pictures())
    assert len(found) == len(whole) == 6
    for picture, (*cuts, rest) in zip(whole, found, strict=True):
        parts = [picture[16:56, 30:80], picture[60:96, 0:96], picture]
        for part, cut in zip(parts, [*cuts, rest], strict=True):
            if size is None:
                np.testing.assert_array_equal(cut, part)
                continue
            expected = cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA)
            assert cut.shape == size
            assert np.abs(cut.astype(int) - expected).mean() < 2
        assert all(cut.flags.c_contiguous and cut.flags.owndata for cut in cuts)


@pytest.mark.parametrize(
    ("fps", "is_expected"),
    [
        (30, True),
        (Fraction(30000, 1001), True),
        (Fraction(2997, 100), True),
        (25, False),
        (Fraction(24000, 1001), False),
        (60, False),
        (Fraction(31, 2), False),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_frame_rate_is_kept_exactly(tmp_path, fps, is_expected, suffix):
    """Bout times need the fraction itself; another rate than 30 is kept and told."""
    path = make_video(tmp_path / f"v.{suffix}", fps=fps)
    info = probe_video(path)
    assert info.fps == fps
    assert isinstance(info.fps, Fraction)
    _, warnings = read(path)
    told = (
        f"runs at {float(fps):.6g} frames per second, expected 30; mpar keeps its frames and times"
    )
    assert warnings == ([] if is_expected else [told])


def test_variable_frame_rate_is_told(tmp_path):
    """Frames are counted as they come: none is doubled to fill a pause in the recording."""
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for i, grey in enumerate(draw_frame_numbers(20)):
            frame = av.VideoFrame.from_ndarray(np.pad(grey, ((0, 32), (0, 0))), format="yuv420p")
            frame.pts, frame.time_base = i + 10 * (i > 9), Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert numbers(tmp_path / "v.mp4") == [*range(20)]
    _, warnings = read(tmp_path / "v.mp4")
    (warning,) = [text for text in warnings if "lost frames" in text]
    assert warning.startswith(
        "has lost frames: 1 step between frames is longer than the usual 33.3 ms, the longest "
        "0.367 s after frame 9; "
    )
