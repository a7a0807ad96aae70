"""Nothing is done twice, and an interrupted run continues where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

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
    new_cache,
)
from mpar.cache.staging import (
    FrameWriter,
    stage_video,
)
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.system.files import sha256_of
from tests.fixtures.synthetic import (
    write_annotation,
)
from tests.integration.preprocess.running import (
    add_recording,
    codes_of,
    content,
    damage,
    interrupt_writing,
    listing,
    run,
)


def test_a_second_run_does_nothing(inputs, cache):
    """An up-to-date cache is neither decoded for nor written again."""
    first = run(inputs, cache)
    before, stat = cache.read_bytes(), cache.stat()
    second = run(inputs, cache)
    assert (second.num_decoded, second.is_written) == (0, False)
    assert second.recordings == first.recordings
    assert second.class_counts == first.class_counts
    assert cache.read_bytes() == before
    assert (cache.stat().st_ino, cache.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)
    assert listing(cache.parent).keys() == {Path("cache.h5")}


def test_one_more_video_decodes_only_that_one(inputs, cache, tmp_path):
    """A growing project pays for what is new, and gets the cache of a fresh run."""
    run(inputs, cache)
    add_recording(inputs, "m0", 20, first=250)
    report = run(inputs, cache)
    assert (report.num_decoded, report.is_written) == (1, True)
    run(inputs, tmp_path / "fresh.h5")
    assert content(cache) == content(tmp_path / "fresh.h5")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"group_pattern": "m"}, id="groups"),
        pytest.param(
            {"class_map": ClassMap(((0, "rest", "a"), *DEFAULT_CLASS_MAP.rows[1:]))}, id="classes"
        ),
    ],
)
def test_new_settings_are_written_without_decoding(inputs, cache, change):
    """A change that leaves the frames alone rewrites the cache from the frames it has."""
    run(inputs, cache)
    report = run(inputs, cache, **change, overwrite=True)
    assert (report.num_decoded, report.is_written) == (0, True)


def test_changed_labels_are_written_without_decoding(inputs, cache):
    """A corrected label file reaches the cache."""
    run(inputs, cache)
    codes = codes_of("m1", 40)
    codes[39] = (codes[39] + 1) % 8
    write_annotation(inputs / "Annotations" / "m1_a.csv", codes)
    report = run(inputs, cache)
    assert (report.num_decoded, report.is_written) == (0, True)
    with Store(cache) as store:
        np.testing.assert_array_equal(store.codes(0)[0], codes)


def test_another_size_is_decoded_again(inputs, cache):
    """Frames of one size never pass for those of another."""
    run(inputs, cache)
    report = run(inputs, cache, size=(32, 32), overwrite=True)
    assert (report.num_decoded, report.is_written) == (3, True)
    assert run(inputs, cache, size=(32, 32)).is_written is False


def test_workers_do_not_change_the_cache(inputs, tmp_path):
    """One worker and three give the same file."""
    for workers in (1, 3):
        run(inputs, tmp_path / f"{workers}.h5", workers=workers)
    assert content(tmp_path / "1.h5") == content(tmp_path / "3.h5")


@pytest.mark.parametrize(
    ("what", "num_decoded"), [("frames", 1), ("labels", 0), ("codes", 0), ("chunk_hashes", 1)]
)
def test_a_damaged_cache_is_made_sound_again(inputs, cache, what, num_decoded):
    """Damage in the old cache costs one decode and never stays."""
    run(inputs, cache)
    before = content(cache)
    with Store(cache) as store:
        damage(cache, np.ascontiguousarray(getattr(store, what)(1)).tobytes())
    report = run(inputs, cache)
    assert (report.num_decoded, report.is_written) == (num_decoded, True)
    with Store(cache) as store:
        assert store.verify() == []
    assert content(cache) == before


def interrupt_second_video(monkeypatch):
    """Raise KeyboardInterrupt after ten frames of the second video."""
    calls = []

    def stage(*arguments, on_frames, **keywords):
        calls.append(0)

        def counting(num_frames):
            on_frames(num_frames)
            calls[-1] += num_frames
            if len(calls) == 2 and calls[-1] == 10:
                raise KeyboardInterrupt

        return stage_video(*arguments, on_frames=counting, **keywords)

    monkeypatch.setattr(mpar.cache.decoding, "stage_video", stage)


@pytest.mark.parametrize(
    ("interrupt", "num_left"), [(interrupt_second_video, 2), (interrupt_writing, 0)]
)
@pytest.mark.parametrize("has_old", [False, True])
def test_an_interrupted_run_goes_on_where_it_stopped(
    inputs, cache, tmp_path, monkeypatch, interrupt, num_left, has_old
):
    """Ctrl-C leaves the old cache and whole parts only, and the next run uses them."""
    if has_old:
        run(inputs, cache, size=(32, 32))
    old = cache.read_bytes() if has_old else None
    with monkeypatch.context() as patch:
        interrupt(patch)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, cache, workers=1, overwrite=True)
    assert (cache.read_bytes() if cache.exists() else None) == old
    left = {path.name for path in cache.parent.iterdir()} - {".cache.h5.lock"}
    assert left == {".cache.h5.parts"} | ({"cache.h5"} if has_old else set())
    parts = [path.suffix for path in (cache.parent / ".cache.h5.parts").iterdir()]
    assert sorted(parts) == [".h5", *((3 - num_left) * [".json"])]
    report = run(inputs, cache, overwrite=True)
    assert (report.num_decoded, report.is_written) == (num_left, True)
    assert listing(cache.parent).keys() == {Path("cache.h5")}
    run(inputs, tmp_path / "undisturbed.h5")
    assert content(cache) == content(tmp_path / "undisturbed.h5")


@pytest.mark.parametrize("has_old", [False, True])
def test_a_full_disk_is_one_line_and_leaves_nothing_useless(inputs, cache, monkeypatch, has_old):
    """The error names the cache; only frames that the next run can use stay on the disk."""
    if has_old:
        run(inputs, cache)
        write_annotation(inputs / "Annotations" / "m1_a.csv", codes_of("x", 40))
    before = listing(cache.parent)

    def fail(self, frames):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FrameWriter, "add", fail)
    with pytest.raises(OSError, match="No space left on device") as error:
        run(inputs, cache)
    assert error.value.filename == str(cache)
    assert listing(cache.parent) == before


@pytest.mark.parametrize("has_fewer", [False, True])
def test_what_a_killed_run_left_is_room_for_the_next(
    inputs, cache, tmp_path, monkeypatch, has_fewer
):
    """Frames of a half decoded video take the room that its frames need, and no more."""
    new = new_cache(cache.parent / ".cache.h5.parts")
    with monkeypatch.context() as patch:
        interrupt_writing(patch)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, cache)
    notes = sorted(new.parent.glob("*.json"))
    notes[0].unlink()  # as if killed before this video was complete
    if has_fewer:
        (inputs / "Videos" / "m1.mp4").unlink()
        (inputs / "Annotations" / "m1_a.csv").unlink()
    usage = shutil.disk_usage(tmp_path)

    def measure(path):
        return usage._replace(free=(1 << 24) + size - 512 * new.stat().st_blocks)

    monkeypatch.setattr(shutil, "disk_usage", measure)
    size = 1 << 10
    with pytest.raises(ConfigError, match="make room"):
        run(inputs, cache)
    size = 64**2 * (48 * (not has_fewer) + 48 + 16)
    assert run(inputs, cache).is_written


def test_parts_of_another_size_are_not_mixed_up(inputs, cache, tmp_path, monkeypatch):
    """Parts left by an interrupted run count only for the same size."""
    with monkeypatch.context() as patch:
        interrupt_writing(patch)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, cache, size=(64, 32))
    assert run(inputs, cache, size=(32, 64)).num_decoded == 3
    run(inputs, tmp_path / "fresh.h5", size=(32, 64))
    assert content(cache) == content(tmp_path / "fresh.h5")
    assert listing(cache.parent).keys() == {Path("cache.h5")}


def change_note(change):
    def tamper(new, note):
        data = json.loads(note.read_text())
        change(data)
        note.write_text(json.dumps(data))

    return tamper


def flip_frame(new, note):
    ((_, _, place, *_),) = json.loads(note.read_text())["stretches"]
    data = bytearray(new.read_bytes())
    data[place] ^= 1
    new.write_bytes(data)


def cut_short(new, note):
    ((_, num_frames, place, *_),) = json.loads(note.read_text())["stretches"]
    new.write_bytes(new.read_bytes()[: place + num_frames * 64 * 64 - 1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tamper", "num_decoded"),
    [
        pytest.param(flip_frame, 1, id="bit flipped"),
        pytest.param(cut_short, 2, id="cut short"),
        pytest.param(lambda new, note: new.unlink(), 3, id="no frames"),
        pytest.param(lambda new, note: note.unlink(), 1, id="no note"),
        pytest.param(lambda new, note: note.write_text("{"), 1, id="note cut short"),
        pytest.param(lambda new, note: note.write_text("[]"), 1, id="note of another kind"),
        pytest.param(
            change_note(lambda data: data.update(line={"num_frames": 33, "fps": "1/0"})),
            1,
            id="rate without a value",
        ),
        pytest.param(
            change_note(lambda data: data.update(frame_size=[1e999, 64])), 1, id="endless"
        ),
        pytest.param(
            change_note(lambda data: data["stretches"][0].__setitem__(3, [0])),
            1,
            id="checksums of something else",
        ),
        pytest.param(
            change_note(lambda data: data["line"].update(num_frames=32)),
            1,
            id="fewer frames than the video",
        ),
        pytest.param(
            change_note(lambda data: data["stretches"][0].__setitem__(2, 4096)),
            1,
            id="frames of another video",
        ),
    ],
)
def test_damaged_frames_are_decoded_again(
    inputs, cache, tmp_path, monkeypatch, tamper, num_decoded
):
    """Nothing in the staging folder is trusted that does not match its checksums."""
    with monkeypatch.context() as patch:
        interrupt_writing(patch)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, cache)
    sha256 = sha256_of(inputs / "Videos" / "m2.mp4")
    staging = cache.parent / ".cache.h5.parts"
    tamper(new_cache(staging), staging / f"{sha256}_native.json")
    assert run(inputs, cache).num_decoded == num_decoded
    run(inputs, tmp_path / "undisturbed.h5")
    assert content(cache) == content(tmp_path / "undisturbed.h5")


def test_the_second_of_two_runs_is_refused(inputs, cache, monkeypatch):
    """Two writers of one cache never meet, and the first is not disturbed."""
    original = mpar.preprocess.write_structure
    refused = []

    def write(*arguments):
        with pytest.raises(ConfigError, match=r"cache\.h5: another process is writing it") as error:
            run(inputs, cache)
        refused.append(error)
        original(*arguments)

    monkeypatch.setattr(mpar.preprocess, "write_structure", write)
    report = run(inputs, cache)
    assert len(refused) == 1
    assert report.is_written
    assert listing(cache.parent).keys() == {Path("cache.h5")}
