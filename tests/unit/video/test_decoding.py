"""Stretches decoded side by side give the frames, times and warnings of a single pass."""

from __future__ import annotations

import av
import numpy as np
import pytest

import mpar.video.decoding
from mpar.video.decoding import can_decode_ahead
from mpar.video.streams import opened
from mpar.video.videos import Decoding
from tests.fixtures.synthetic import draw_frame_numbers, read_frame_number

NUM_FRAMES = 150
X264 = {"g": "25", "x264-params": "scenecut=0"}


def write(path, codec="libx264", options=X264, num_frames=NUM_FRAMES):
    """Write a video whose pixels encode the frame numbers."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i, grey in enumerate(draw_frame_numbers(num_frames, 48, 64)):
            frame = av.VideoFrame.from_ndarray(grey, format="gray").reformat(format="yuv420p")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def facts_of(path, threads):
    """Return everything that one pass over a video finds."""
    decoding = Decoding(path, threads=threads)
    frames = np.stack([*decoding])
    times = None if decoding.line.times is None else decoding.line.times.tolist()
    return frames, times, decoding.line.fps, decoding.warnings


@pytest.fixture
def groups(monkeypatch):
    """Note the groups that came out whole."""
    whole = []
    original = mpar.video.decoding._Group.sound_frames

    def sound_frames(self):
        yield from original(self)
        if self.is_done:
            whole.append(len(self.stamps))

    monkeypatch.setattr(mpar.video.decoding._Group, "sound_frames", sound_frames)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    return whole


def compare(path):
    alone, ahead = facts_of(path, 1), facts_of(path, 2)
    assert np.array_equal(alone[0], ahead[0])
    assert alone[1:] == ahead[1:]
    return ahead[0]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(
    "options",
    [X264, X264 | {"bf": "0"}, {"g": "1"}, {"g": "40", "bf": "5", "x264-params": "ref=6"}],
    ids=["B-frames", "no B-frames", "key frames only", "many references"],
)
def test_closed_groups_come_out_whole(tmp_path, groups, suffix, options):
    """Every frame is there by its number, and all came from decoders side by side."""
    frames = compare(write(tmp_path / f"v{suffix}", options=options))
    assert [read_frame_number(frame) for frame in frames] == [*range(NUM_FRAMES)]
    assert sum(groups) == NUM_FRAMES
    assert len(groups) > 2


@pytest.mark.parametrize(
    "options",
    [
        {"g": "25", "x264-params": "open-gop=1:scenecut=0"},
        {"g": "25", "x264-params": "intra-refresh=1:scenecut=0"},
        {"g": "2000", "x264-params": "scenecut=0"},
    ],
    ids=["open groups", "intra refresh", "one group"],
)
def test_streams_that_cannot_be_cut(tmp_path, groups, options):
    """One decoder reads them, with the same frames."""
    frames = compare(write(tmp_path / "v.mp4", options=options))
    assert [read_frame_number(frame) for frame in frames] == [*range(NUM_FRAMES)]
    assert len(groups) <= 1


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "ffv1"])
def test_other_codecs_are_left_to_one_decoder(tmp_path, codec):
    """Only for H.264 and H.265 it is known where a stream starts afresh."""
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = {"mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        for grey in draw_frame_numbers(6, 48, 64):
            frame = av.VideoFrame.from_ndarray(grey, format="gray")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode())
    with opened(path, None) as (container, video, _):
        assert not can_decode_ahead(container, video)
    compare(path)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_damaged_files_are_as_in_a_single_pass(tmp_path, groups, suffix, seed):
    """Bits flipped, bytes lost or the end cut off: not a pixel, time or warning differs."""
    path = write(tmp_path / f"v{suffix}", options=X264 | {"bf": "5"})
    rng = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    place = int(rng.integers(len(data) // 4, len(data) - 300))
    if seed % 3 == 0:
        for at in rng.integers(len(data) // 4, len(data), 3):
            data[at] ^= 1 << int(rng.integers(8))
    elif suffix == ".mp4":  # its index, at the end, must stay where it is
        place = int(rng.integers(len(data) // 4, len(data) // 2))
        data[place : place + 40] = bytes(40)
    elif seed % 3 == 1:
        del data[place : place + int(rng.integers(1, 300))]
    else:
        del data[place:]
    path.write_bytes(data)
    compare(path)


def test_a_reader_that_stops_early_leaves_no_thread(tmp_path, groups):
    """Threads end with the iteration, also if the frames of a group wait for their turn."""
    import threading

    before = threading.active_count()
    frames = iter(Decoding(write(tmp_path / "v.mp4"), threads=2))
    next(frames)
    assert threading.active_count() > before
    frames.close()
    assert threading.active_count() == before
