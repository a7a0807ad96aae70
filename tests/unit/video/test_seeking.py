"""Any frame that is decoded alone equals the frame of one pass over the whole video."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from mpar.video import seeking
from mpar.video.frame_index import Counting, FrameIndex, SmallPictures, scan_packets
from mpar.video.seeking import FrameReader
from mpar.video.videos import Decoding
from tests.fixtures.helpers import raises_problem
from tests.fixtures.synthetic import draw_frame_numbers, read_frame_number, write_video

NUM_FRAMES = 90
OPEN = {"x264-params": "open-gop=1:keyint=16:min-keyint=16:bframes=3:scenecut=0"}
REFRESH = {"x264-params": "intra-refresh=1:keyint=16:bframes=2"}
LONG = {"x264-params": "keyint=300:bframes=3:b-pyramid=2"}
KINDS = [
    ("libx264", "mp4", OPEN),
    ("libx264", "mp4", REFRESH),
    ("libx264", "mp4", LONG),
    ("libx264", "avi", OPEN),
    ("libx264", "mkv", OPEN),
    ("libx264", "ts", OPEN),
    ("libx264", "flv", OPEN),
    ("libx264", "h264", OPEN),
    ("mpeg2video", "mpg", {"g": "12", "bf": "2"}),
    ("mpeg2video", "ts", {"g": "12", "bf": "2"}),
    ("mpeg4", "avi", {"g": "12", "bf": "2"}),
    ("mpeg4", "mp4", {"g": "12", "bf": "2"}),
    ("mjpeg", "avi", {"qmin": "2", "qmax": "3"}),
    ("ffv1", "mkv", {}),
]


def count(path):
    """Return the packets and the index of a video."""
    table = scan_packets(path, None, lambda: False)
    counting = Counting(path, None, table)
    for _ in counting:
        pass
    return table, counting.index


def check_frames(path, num_tries=40):
    """Read frames and short stretches in random order, compare them with one pass; the reader."""
    decoding = Decoding(path)
    frames = [*decoding]
    table, index = count(path)
    line, expected = index.line, decoding.line
    assert (line.num_frames, line.fps, line.is_guess) == (
        expected.num_frames,
        expected.fps,
        expected.is_guess,
    )
    assert np.array_equal(line.starts, expected.starts)
    assert (index.height, index.width) == frames[0].shape
    reader = FrameReader(path, None, table)
    reader.use(index.packets)
    rng = np.random.default_rng(0)
    for start in rng.integers(0, len(frames), num_tries).tolist():
        stop = min(len(frames), start + int(rng.choice([1, 1, 5, 20])))
        found = [*reader.read(start, stop, index.digests, index.turns)]
        assert [number for number, _ in found] == [*range(start, stop)]
        for number, picture in found:
            assert np.array_equal(picture, frames[number])
    reader.close()
    return index


@pytest.mark.slow
@pytest.mark.parametrize(("codec", "suffix", "options"), KINDS)
def test_frames_by_number_equal_those_of_one_pass(tmp_path, codec, suffix, options):
    """Reordered frames, open groups, gradual refresh, containers with wrong or no time stamps."""
    path = tmp_path / f"v.{suffix}"
    write_video(path, draw_frame_numbers(NUM_FRAMES), codec=codec, options=options)
    index = check_frames(path)
    guess = index.table.guess_packets()
    assert guess is None or np.array_equal(guess, index.packets)
    assert suffix not in {"avi", "h264"} or guess is None


def write_uneven(path, codec="libx264"):
    """Write a video whose frames last one, two or five ticks."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"g": "12"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        time = 0
        for i, grey in enumerate(draw_frame_numbers(NUM_FRAMES)):
            frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, 90)
            time += (3, 6, 15)[i % 3]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_variable_rate(tmp_path, suffix):
    """Numbers do not come from times."""
    write_uneven(tmp_path / f"v.{suffix}")
    index = check_frames(tmp_path / f"v.{suffix}")
    assert index.line.times is not None


def cut_by_edit_list(path, first, num_frames):
    """Let the edit list of an mp4 begin at a frame that is not a key frame."""
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    timescale = int.from_bytes(data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20], "big")
    movie = int.from_bytes(data[data.index(b"mvhd") + 16 : data.index(b"mvhd") + 20], "big")
    old = int.from_bytes(data[at + 16 : at + 20], "big")
    data[at + 12 : at + 16] = (num_frames * movie // 30).to_bytes(4, "big")
    data[at + 16 : at + 20] = (old + first * timescale // 30).to_bytes(4, "big")
    path.write_bytes(data)


def test_edit_list(tmp_path):
    """Frames that the file hides have no number, here as in one pass."""
    path = tmp_path / "v.mp4"
    write_video(path, draw_frame_numbers(NUM_FRAMES), options=OPEN)
    cut_by_edit_list(path, 21, 40)
    frames = [read_frame_number(frame) for frame in Decoding(path)]
    assert frames[0] == 21
    assert len(frames) < NUM_FRAMES
    check_frames(path)


def test_stream_that_starts_within_a_group(tmp_path):
    """Frames without a key frame before them are counted as the decoder yields them."""
    whole = tmp_path / "whole.ts"
    write_video(whole, draw_frame_numbers(NUM_FRAMES), options=OPEN)
    data = whole.read_bytes()
    path = tmp_path / "v.ts"
    path.write_bytes(data[: 188 * 3] + data[len(data) // 4 // 188 * 188 :])
    check_frames(path)


def test_damaged_video(tmp_path):
    """Where bytes are wrong, a frame still looks as it does in one pass."""
    path = tmp_path / "v.mp4"
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 60, (NUM_FRAMES, 64, 64)).astype(np.uint8)
    write_video(path, draw_frame_numbers(NUM_FRAMES) // 2 + noise, options=OPEN)
    data = bytearray(path.read_bytes())
    for place in rng.integers(len(data) // 3, 2 * len(data) // 3, 12):
        data[place] ^= 255
    path.write_bytes(data)
    check_frames(path)


def test_a_seek_that_goes_wrong_is_noticed(tmp_path, monkeypatch):
    """If the decoder starts in the wrong place, the digest tells, and decoding starts earlier."""
    path = tmp_path / "v.mp4"
    write_video(path, draw_frame_numbers(NUM_FRAMES), options=OPEN)
    table, index = count(path)
    sought = []

    def seek_wrong(cursor, packet):
        sought.append(packet)
        cursor.packet = packet  # says so, but stands at the start
        cursor._packets = seeking.numbered(cursor._container.demux(cursor._video), packet)

    monkeypatch.setattr(seeking._Cursor, "seek", seek_wrong)
    reader = FrameReader(path, None, table)
    reader.use(index.packets)
    ((_, picture),) = reader.read(80, 81, index.digests, index.turns)
    assert sought
    assert read_frame_number(picture) == 80
    reader.close()


def test_a_frame_that_cannot_be_proven_is_not_shown(tmp_path):
    """An index of another video gives an error, not a picture."""
    path = tmp_path / "v.mp4"
    write_video(path, draw_frame_numbers(NUM_FRAMES), options=OPEN)
    table, index = count(path)
    reader = FrameReader(path, None, table)
    reader.use(index.packets)
    with raises_problem("unsteady"):
        [*reader.read(50, 51, index.digests[::-1].copy(), index.turns)]
    reader.close()


def test_steps_and_playback_decode_each_frame_once(tmp_path):
    """Going forward never starts again, and a jump decodes no more than one group."""
    path = tmp_path / "v.mp4"
    write_video(path, draw_frame_numbers(NUM_FRAMES), options=OPEN)
    table, index = count(path)
    reader = FrameReader(path, None, table)
    reader.use(index.packets)
    for number in range(20, 60):
        [*reader.read(number, number + 1, index.digests, index.turns)]
    assert reader.num_decoded <= 40 + 2 * 16
    before = reader.num_decoded
    [*reader.read(8, 9, index.digests, index.turns)]
    assert reader.num_decoded - before <= 2 * 16
    reader.close()


@pytest.mark.parametrize(("side", "expected"), [(64, 64), (400, 320)])
def test_small_pictures_are_of_frames_at_or_shortly_before(tmp_path, side, expected):
    """Four a second; each shows the frame that it says, at most 320 px wide."""
    path = tmp_path / "v.mp4"
    write_video(path, draw_frame_numbers(60, side, side))
    _, index = count(path)
    for frame in range(60):
        number, jpeg = index.small.near(frame)
        assert number == frame // 8 * 8
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert picture.shape == (expected, expected)
        assert read_frame_number(cv2.resize(picture, (side, side))) == number
    assert SmallPictures().near(3) is None


def test_index_is_kept_for_the_same_video_only(tmp_path):
    """A file gives back what was counted; another video, or a torn file, gives nothing."""
    path, saved = tmp_path / "v.mp4", tmp_path / ".v.npz"
    write_uneven(path)
    _, index = count(path)
    index.save(saved, path, None)
    loaded = FrameIndex.load(saved, path, None)
    for name in ("packets", "digests", "turns"):
        assert np.array_equal(getattr(loaded, name), getattr(index, name))
    assert np.array_equal(loaded.line.times, index.line.times)
    assert loaded.line.fps == index.line.fps
    assert np.array_equal(loaded.table.places, index.table.places)
    assert [loaded.small.near(i) for i in (0, 7, 39)] == [index.small.near(i) for i in (0, 7, 39)]
    assert FrameIndex.load(saved, path, 1) is None
    data = saved.read_bytes()
    for torn in (data[: len(data) // 2], b"", b"PK" + data[2:400]):
        saved.write_bytes(torn)
        assert FrameIndex.load(saved, path, None) is None
    saved.write_bytes(data)
    path.write_bytes(path.read_bytes() + b"\0")
    assert FrameIndex.load(saved, path, None) is None
    assert FrameIndex.load(tmp_path / "none.npz", path, None) is None
