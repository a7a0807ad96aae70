"""Times, guessed rates, streams and shapes of videos on their way to the cache."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest

import mpar.cache.decoding
import mpar.cache.layout
import mpar.cache.staging
import mpar.cache.store
import mpar.cache.writer
import mpar.preprocess
import mpar.video.streams
from mpar.cache.notes import (
    DecodedAnimal,
    DecodingOptions,
    load_part,
    save_note,
)
from mpar.cache.staging import (
    count_frames,
)
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.preprocess import PreprocessConfig
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import raises_problem, write_two_streams
from tests.fixtures.synthetic import (
    read_frame_number,
    write_annotation,
)
from tests.integration.preprocess.running import NUMBERS, add_recording, codes_of, run, stage


def write_uneven(path, num_frames=40):
    """Write a video of 30 frames per second that lacks a moment after frame 9."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
        for i, grey in enumerate(NUMBERS[:num_frames]):
            frame = av.VideoFrame.from_ndarray(grey, format="gray")
            frame.pts, frame.time_base = i + (i > 9), Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def seconds_of(num_frames):
    return [(i + (i > 9)) / 30 for i in range(num_frames)]


def test_times_of_an_uneven_video_survive_the_staging_folder(tmp_path):
    """Labels are laid by the times that the file has, in the first run and in a resumed one."""
    write_uneven(tmp_path / "v.mkv")
    (staged,) = stage(tmp_path / "v.mkv", tmp_path / "parts")
    loaded = load_part("ab", tmp_path / "parts", DecodingOptions())
    (counted,) = count_frames(
        tmp_path / "v.mkv", DecodingOptions(), threads=1, on_frames=lambda num: None
    )
    for part in (staged, loaded, counted):
        assert part.line.times.tolist() == pytest.approx(seconds_of(40), abs=1e-3)
        assert part.line.times.dtype == np.float64
        assert part.line.fps == 30
        assert (part.line.is_guess, len(part.warnings)) == (False, 1)
    path = tmp_path / "parts" / "ab_native.json"
    note = json.loads(path.read_text())
    note["line"]["times"] = [0.0, 1.0]
    path.write_text(json.dumps(note))
    assert load_part("ab", tmp_path / "parts", DecodingOptions()) is None


def test_guess_of_the_rate_survives_the_staging_folder(tmp_path):
    """Whoever lays labels may know better than a bare stream."""
    for is_guess in (False, True):
        part = DecodedAnimal(TimeLine(20, Fraction(25), is_guess=is_guess), (64, 64), ("guess",))
        save_note(part, "ab", tmp_path, DecodingOptions())
        assert load_part("ab", tmp_path, DecodingOptions()).line.is_guess is is_guess


def test_an_uneven_video_keeps_its_frames_times_and_steps(inputs, cache):
    """Frame i stays frame i; the network walks in steps of 1/30 s. The next run knows it all."""
    write_uneven(inputs / "Videos" / "uneven.mkv")
    write_annotation(inputs / "Annotations" / "uneven.csv", codes_of("uneven", 40))
    assert run(inputs, cache).num_decoded == 4
    with Store(cache) as store:
        assert [(r.name, r.num_frames, r.num_steps, r.rate) for r in store.recordings] == [
            *(("m1", 40, 40, 30), ("m2", 33, 33, 30), ("m3", 16, 16, 30), ("uneven", 40, 41, 30))
        ]
        assert [read_frame_number(frame) for frame in store.frames(3)] == [*range(40)]
        source = store.source_frame(3).tolist()
        assert source == [*range(10), source[10], *range(10, 40)]
        assert [read_frame_number(frame) for frame in store.stream_steps(3)] == source
        np.testing.assert_array_equal(store.step_labels(3), store.labels(3)[source])
        assert store.line(3).times.tolist() == pytest.approx(seconds_of(40), abs=1e-3)
        assert store.line(0).times is None
        assert store.verify() == []
    report = run(inputs, cache)
    assert (report.num_decoded, report.is_written) == (0, False)


def test_cache_that_does_not_know_of_times_is_decoded_again(inputs, cache, monkeypatch):
    """An older mpar did not look at time stamps."""
    run(inputs, cache)
    original = mpar.cache.layout.RecordingInfo.from_dict.__func__

    def forget(cls, data):
        return original(cls, {k: v for k, v in data.items() if k != "num_steps"})

    monkeypatch.setattr(mpar.cache.layout.RecordingInfo, "from_dict", classmethod(forget))
    assert run(inputs, cache).num_decoded == 3


def write_two_cameras(folder):
    for sub in ("Videos", "Annotations"):
        (folder / sub).mkdir(parents=True)
    write_two_streams(folder / "Videos" / "two.mkv", [(64, 64), (96, 96)], 1)
    write_annotation(folder / "Annotations" / "two.csv", codes_of("two", 6))


def test_stream_shapes_the_cache(tmp_path):
    """Each stream has its own frames, parts and cache; a wrong one is a problem."""
    write_two_cameras(tmp_path / "in")
    cache = tmp_path / "c.h5"
    for stream, side in ((None, 96), (0, 64), (1, 96)):
        report = run(tmp_path / "in", cache, stream=stream, overwrite=True)
        assert (report.num_decoded, report.is_written) == (1, True)
        with Store(cache) as store:
            assert store.frame_size == (side, side)
            assert store.config["stream"] == stream
        (info,) = report.recordings
        assert bool(info.warnings) == (stream is None)
        assert run(tmp_path / "in", cache, stream=stream).num_decoded == 0
    with raises_problem("no-stream"):
        run(tmp_path / "in", tmp_path / "d.h5", stream=7)
    with pytest.raises(ConfigError, match="stream: found -1"):
        PreprocessConfig(stream=-1)


def test_parts_of_another_stream_are_not_mixed_up(tmp_path):
    """A part counts only for its own stream."""
    write_two_streams(tmp_path / "v.mkv", [(64, 64), (96, 96)], 1)
    stage(tmp_path / "v.mkv", tmp_path, DecodingOptions(stream=0), num_frames=6)
    assert load_part("ab", tmp_path, DecodingOptions()) is None
    assert load_part("ab", tmp_path, DecodingOptions(stream=1)) is None
    (stretch,) = load_part("ab", tmp_path, DecodingOptions(stream=0)).stretches
    assert stretch.num_frames == 6


@pytest.mark.parametrize("check_only", [False, True])
def test_squeezed_videos_are_told(tmp_path, cache, check_only, caplog):
    """A --size of another shape is named by video, and one for several shapes for all of them."""
    add_recording(tmp_path, "square", 16)
    add_recording(tmp_path, "wide", 16, first=20, width=96)
    report = run(tmp_path, cache, size=(32, 32), check_only=check_only)
    assert [info.warnings for info in report.recordings] == [
        (),
        (
            "frames of 96x64 px are squeezed to 32x32 px, which makes everything 1.50 times too "
            "tall; pass --size 21x32 (height x width) to keep the shape, or crop the videos",
        ),
    ]
    (message,) = caplog.messages
    assert "2 shapes (64x64 px as in square.mp4, 96x64 px as in wide.mp4)" in message
    caplog.clear()
    (tmp_path / "Videos" / "square.mp4").unlink()
    (tmp_path / "Annotations" / "square_a.csv").unlink()
    report = run(tmp_path, cache, size=(32, 48), check_only=check_only, overwrite=True)
    assert ([info.warnings for info in report.recordings], caplog.messages) == ([()], [])
