"""The staging folder: frames at their places, noted once they are complete."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import mpar.cache.decoding
import mpar.cache.layout
import mpar.cache.staging
import mpar.cache.store
import mpar.cache.writer
import mpar.preprocess
import mpar.video.streams
from mpar.cache.collecting import collect
from mpar.cache.decoding import decode_into, load_others
from mpar.cache.layout import hash_chunks
from mpar.cache.notes import (
    DecodingOptions,
    FrameRun,
    load_part,
    remove_staging,
)
from mpar.cache.staging import (
    FrameWriter,
    count_frames,
    move_frames,
)
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.system.team import ALONE
from mpar.video.regions import Region
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    read_frame_number,
    write_annotation,
    write_video,
)
from tests.integration.preprocess.running import (
    NUMBERS,
    add_recording,
    frames_of,
    numbers,
    run,
    stage,
)


def test_a_part_comes_back_as_it_was_staged(drawn, tmp_path):
    """Frames, rate and warnings survive the staging folder; other sizes do not see them."""
    video = drawn / "Videos" / "m1.mp4"
    counts = []
    (staged,) = stage(video, tmp_path, counts=counts)
    assert sum(counts) == 40
    loaded = load_part("ab", tmp_path, DecodingOptions())
    assert loaded.stretches == staged.stretches
    assert [read_frame_number(frame) for frame in frames_of(loaded, tmp_path)] == list(range(40))
    assert (loaded.line.fps, loaded.warnings, loaded.frame_size) == (Fraction(30), (), (64, 64))
    (stretch,) = loaded.stretches
    assert stretch.chunk_hashes == tuple(hash_chunks(NUMBERS[:40]).tolist())
    assert load_part("ab", tmp_path, DecodingOptions(size=(64, 64))) is None
    assert load_part("cd", tmp_path, DecodingOptions()) is None
    (counted,) = count_frames(video, DecodingOptions(), threads=1, on_frames=counts.append)
    assert (counted.line.num_frames, counted.frame_size) == (40, (64, 64))
    assert (counted.line.fps, counted.stretches) == (Fraction(30), ())
    assert sum(counts) == 80


@pytest.mark.parametrize(
    ("planned", "found"),
    [
        pytest.param([(0, 40)], [(0, 40)], id="as expected"),
        pytest.param([(0, 45)], [(0, 40)], id="shorter"),
        pytest.param([(0, 39)], [(0, 39)], id="longer"),
        pytest.param([(7, 16), (23, 17)], [(7, 16), (23, 17)], id="without the first trial"),
        pytest.param([(0, 7), (23, 9)], [(0, 7), (23, 9)], id="without two trials"),
        pytest.param([(0, 7), (45, 9)], [(0, 7)], id="ends before the last trial"),
        pytest.param([(0, 7), (7, 16), (23, 17)], [(0, 7), (7, 16), (23, 17)], id="trials"),
        pytest.param([(0, 35), (35, 20)], [(0, 35), (35, 5)], id="shorter last trial"),
        pytest.param([], [], id="not wanted"),
    ],
)
def test_frames_go_to_their_places(tmp_path, planned, found):
    """Each stretch has chunks and padding of its own, in whatever blocks frames come."""
    for step in (1, 3, 16, 40):
        path = tmp_path / f"{step}.h5"
        path.write_bytes(b"\xff" * 700_000)  # what was there before does not shine through
        targets = [FrameRun(*span, 200_000 * i + 4096) for i, span in enumerate(planned)]
        with FrameWriter(path, targets) as writer:
            for start in range(0, 40, step):
                writer.add(NUMBERS[start : min(40, start + step)])
            stretches = writer.end()
        assert [stretch.span for stretch in stretches] == found
        for stretch in stretches:
            start, num_frames = stretch.span
            frames = NUMBERS[start : start + num_frames]
            assert stretch.chunk_hashes == tuple(hash_chunks(frames).tolist())
            data = path.read_bytes()[stretch.place :]
            assert data[: frames.nbytes] == frames.tobytes()
            num_missing = -num_frames % 16 if num_frames > 16 else 0
            padding = data[frames.nbytes :][: num_missing * 64 * 64]
            assert padding == bytes(num_missing * 64 * 64)


def test_a_writer_that_is_given_up_writes_no_more(tmp_path):
    """What it still buffers stays out of the file, which may be a cache in use by now."""
    path = tmp_path / "new.h5"
    path.write_bytes(bytes(1000))
    ones = np.ones((3, 4, 4), np.uint8)
    hanging = FrameWriter(path, [FrameRun(0, 9, 0)])
    hanging.add(ones)
    hanging.abandon()
    with pytest.raises(ValueError, match="closed file"):
        hanging.add(ones)
    failing = FrameWriter(path, [FrameRun(0, 9, 0)])
    failing.add(ones)
    failing.__exit__(KeyboardInterrupt)
    assert path.read_bytes() == bytes(1000)


@pytest.mark.parametrize("step", [-70, -7, 7, 70, 5000])
def test_blocks_move_over_themselves(tmp_path, monkeypatch, step):
    """A block keeps its content wherever it goes, in steps smaller than itself."""
    monkeypatch.setattr(mpar.cache.staging, "_MOVED_BYTES", 32)
    data = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    path = tmp_path / "file"
    path.write_bytes(data)
    move_frames(path, 100, 100 + step, 150)
    assert path.read_bytes()[100 + step :][:150] == data[100:250]
    assert path.read_bytes()[: 100 + min(0, step)] == data[: 100 + min(0, step)]
    with pytest.raises(OSError, match="ends too early"):
        move_frames(path, 10**6, 0, 150)


def test_regions_of_a_video_are_staged_in_one_pass(drawn, tmp_path):
    """Each region has a part of its own, cut out of the same frames, and resized if asked."""
    video, counts = drawn / "Videos" / "m1.mp4", []
    regions = (Region("a", 0, 0, 64, 32), Region("b", 8, 16, 32, 48))
    parts = stage(video, tmp_path / "cut", regions=regions, counts=counts)
    assert sum(counts) == 40
    (part,) = stage(video, tmp_path / "whole")
    whole = frames_of(part, tmp_path / "whole")
    cut = [frames_of(part, tmp_path / "cut") for part in parts]
    np.testing.assert_array_equal(cut[0], whole[:, :32])
    np.testing.assert_array_equal(cut[1], whole[:, 16:64, 8:40])
    loaded = load_part("ab", tmp_path / "cut", DecodingOptions(), regions[1])
    np.testing.assert_array_equal(frames_of(loaded, tmp_path / "cut"), cut[1])
    small = stage(video, tmp_path / "cut", DecodingOptions(size=(16, 16)), regions)
    assert [part.frame_size for part in small] == [(16, 16)] * 2
    with pytest.raises(
        InputError, match=r"its region of b \(40,0,32,32\) extends beyond its picture"
    ):
        stage(video, tmp_path / "bad", regions=(Region("b", 40, 0, 32, 32),))
    assert [path.name for path in (tmp_path / "bad").iterdir()] == ["new.h5"]


def test_a_disk_that_is_not_shared_is_told(drawn, tmp_path):
    """A process of a team that does not find the new cache says what to do about it."""
    config = PreprocessConfig()
    places = drawn / "Videos", drawn / "Annotations"
    videos, _ = collect(*places, DEFAULT_CLASS_MAP, config, 1, ALONE)
    with pytest.raises(ConfigError, match="put this folder on a disk that all processes share"):
        decode_into(tmp_path / "nowhere", videos, {}, config, 1, True)
    with pytest.raises(ConfigError, match="put this folder on a disk that all processes share"):
        load_others(videos[0], tmp_path / "nowhere", config)


def test_cleaning_up_leaves_other_files(tmp_path):
    """Only what mpar wrote is removed; the folder goes when nothing else lies in it."""
    folder = tmp_path / "parts"
    remove_staging(folder)
    for name in ("notes.txt", "ab_native.raw", "ab_native.json", ".ab.1234.tmp.json", "new.h5"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    remove_staging(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    remove_staging(folder)
    assert not folder.exists()


def test_trials_next_to_one_that_is_left_out_keep_their_frames(tmp_path, cache):
    """A trial whose name is taken stays out; the frames of the others do not shift."""
    add_recording(tmp_path, "m", 45)
    (tmp_path / "Annotations" / "m_a.csv").unlink()
    for number, rows in ((1, 12), (2, 16), (3, 17)):
        write_annotation(tmp_path / "Annotations" / f"m_{number}.csv", np.zeros(rows, int))
    for number in (1, 3):
        name = f"m_trial{number}"
        (tmp_path / "Videos" / "a").mkdir(exist_ok=True)
        write_video(tmp_path / "Videos" / "a" / f"{name}.mp4", NUMBERS[100 : 110 + number])
        write_annotation(tmp_path / "Annotations" / f"{name}.csv", np.zeros(10 + number, int))
    report = run(tmp_path, cache)
    assert len(report.problems) == 2
    with Store(cache) as store:
        names = [info.name for info in store.recordings]
        assert names == ["m_trial1", "m_trial3", "m_trial2"]
        assert numbers(store, 2) == list(range(12, 28))
        assert store.verify() == []


def test_trial_named_like_another_video_is_a_problem(tmp_path):
    """Two recordings of one name cannot both go into a cache: the second is named, not lost."""
    for name, num_frames in (("a", 40), ("a_trial1", 16)):
        (tmp_path / "v").mkdir(exist_ok=True)
        write_video(tmp_path / "v" / f"{name}.mp4", draw_frame_numbers(num_frames, 32, 32))
    (tmp_path / "l").mkdir()
    write_annotation(tmp_path / "l" / "a_1.csv", np.zeros(20, int))
    write_annotation(tmp_path / "l" / "a_2.csv", np.zeros(20, int))
    write_annotation(tmp_path / "l" / "a_trial1.csv", np.zeros(16, int))
    report = preprocess(tmp_path / "v", tmp_path / "l", tmp_path / "c.h5")
    assert [info.name for info in report.recordings] == ["a_trial1", "a_trial2"]
    assert [(p.path, "has the same name as another" in p.message) for p in report.problems] == [
        ("a_trial1.mp4", True)
    ]
