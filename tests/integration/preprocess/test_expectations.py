"""Plans that turn out wrong, and inputs that change, do not change the cache."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mpar.cache.decoding
import mpar.cache.layout
import mpar.cache.staging
import mpar.cache.store
import mpar.cache.writer
import mpar.preprocess
import mpar.video.streams
from mpar.cache.staging import (
    move_frames,
)
from mpar.cache.store import Store
from tests.fixtures.synthetic import (
    write_annotation,
)
from tests.integration.preprocess.running import (
    LENGTHS,
    add_recording,
    codes_of,
    damage,
    interrupt_writing,
    listing,
    run,
)


@pytest.fixture
def frozen(monkeypatch):
    """Stop the clock that caches are stamped with, so that equal ones have equal bytes."""
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    clock = SimpleNamespace(now=lambda zone: moment)
    monkeypatch.setattr(mpar.cache.writer, "datetime", clock)


@pytest.fixture
def short_labels(inputs):
    """Give each recording a label file of ten rows, which fit any number of frames."""
    for name in LENGTHS:
        write_annotation(inputs / "Annotations" / f"{name}_a.csv", codes_of(name, 10))


EXPECTED = [
    pytest.param({40: [41], 33: [], 16: [99, 17]}, id="labels that do not seem to fit"),
    pytest.param({40: [41, 40], 33: [66, 11, 33]}, id="labels that decide"),
]
EXPECTED_BY_COUNT = [
    pytest.param({40: [30]}, id="a longer one"),
    pytest.param({40: [90]}, id="a shorter one"),
    pytest.param({40: [15], 33: [16], 16: [15]}, id="longer ones"),
    pytest.param({40: [41], 33: [34], 16: [17]}, id="shorter ones"),
    pytest.param({40: [99], 33: [3], 16: [40]}, id="shorter and longer ones"),
    pytest.param({40: [3], 33: [99], 16: [3]}, id="longer and shorter ones"),
]


def expect(monkeypatch, counts):
    monkeypatch.setattr(
        mpar.video.streams.VideoInfo,
        "likely_counts",
        property(lambda info: counts.get(info.num_packets, [info.num_packets])),
    )


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("counts", EXPECTED)
def test_wrong_expectations_do_not_change_the_cache(inputs, cache, tmp_path, monkeypatch, counts):
    """If the labels fit after all, the frames come in, and the bytes are the same."""
    run(inputs, tmp_path / "undisturbed.h5")
    expect(monkeypatch, counts)
    report = run(inputs, cache)
    assert (report.num_decoded, report.problems) == (3, ())
    assert cache.read_bytes() == (tmp_path / "undisturbed.h5").read_bytes()
    assert listing(cache.parent).keys() == {Path("cache.h5")}


@pytest.mark.usefixtures("frozen", "short_labels")
@pytest.mark.parametrize("counts", EXPECTED_BY_COUNT)
def test_wrong_lengths_do_not_change_the_cache(inputs, cache, tmp_path, monkeypatch, counts):
    """Frames behind a recording of another length than expected are moved."""
    run(inputs, tmp_path / "undisturbed.h5", label_offset=0)
    expect(monkeypatch, counts)
    assert run(inputs, cache, label_offset=0).num_decoded == 3
    assert cache.read_bytes() == (tmp_path / "undisturbed.h5").read_bytes()


@pytest.mark.usefixtures("frozen", "short_labels")
@pytest.mark.parametrize("at", range(4))
def test_an_interrupted_move_costs_one_recording(inputs, cache, tmp_path, monkeypatch, at):
    """Ctrl-C in the middle of moving frames loses those under way only."""
    run(inputs, tmp_path / "undisturbed.h5", label_offset=0)
    moved = []

    def move(path, old, new, num_bytes):
        moved.append((old, new))
        if len(moved) == at + 1:
            move_frames(path, old, new, num_bytes // 2)
            raise KeyboardInterrupt
        move_frames(path, old, new, num_bytes)

    with monkeypatch.context() as patch:
        interrupt_writing(patch)
        expect(patch, {40: [99], 33: [34]})  # two moves when all is decoded
        with pytest.raises(KeyboardInterrupt):
            run(inputs, cache, label_offset=0)
    add_recording(inputs, "m0", 20, first=250)  # and three when there is one more
    write_annotation(inputs / "Annotations" / "m0_a.csv", codes_of("m0", 10))
    monkeypatch.setattr(mpar.cache.decoding, "move_frames", move)
    if at < 3:
        with pytest.raises(KeyboardInterrupt):
            run(inputs, cache, label_offset=0)
    report = run(inputs, cache, label_offset=0)
    assert report.num_decoded == (2 if at < 3 else 1)
    assert len(moved) == 3
    run(inputs, tmp_path / "fresh.h5", label_offset=0)
    assert cache.read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def drop_first(inputs):
    (inputs / "Videos" / "m1.mp4").unlink()
    (inputs / "Annotations" / "m1_a.csv").unlink()


def spoil_first(inputs):
    write_annotation(inputs / "Annotations" / "m1_a.csv", codes_of("m1", 39))


def cut_first_in_two(inputs):
    (inputs / "Annotations" / "m1_a.csv").unlink()
    for number, rows in ((1, 13), (2, 27)):
        write_annotation(inputs / "Annotations" / f"m1_{number}.csv", codes_of("m1", rows))


def swap_names(inputs):
    for folder, suffix in (("Videos", ".mp4"), ("Annotations", "_a.csv")):
        paths = [inputs / folder / f"{name}{suffix}" for name in ("m1", "m2", "x")]
        paths[0].rename(paths[2])
        paths[1].rename(paths[0])
        paths[2].rename(paths[1])


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize(
    ("change", "num_decoded"),
    [
        (drop_first, 0),
        (spoil_first, 0),
        (cut_first_in_two, 1),
        (swap_names, 1),
        (lambda inputs: add_recording(inputs, "m0", 20, first=250), 1),
        (lambda inputs: add_recording(inputs, "m4", 20, first=250), 1),
    ],
    ids=["one fewer", "labels that do not fit", "trials", "another order", "a first", "a last"],
)
@pytest.mark.parametrize("has_old", [False, True])
def test_inputs_may_change_after_an_interruption(
    inputs, cache, tmp_path, monkeypatch, change, num_decoded, has_old
):
    """What is decoded already is put in its new place."""
    if has_old:
        run(inputs, cache, size=(32, 32))
    with monkeypatch.context() as patch:
        interrupt_writing(patch)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, cache, overwrite=True)
    change(inputs)
    assert run(inputs, cache, overwrite=True).num_decoded == num_decoded
    run(inputs, tmp_path / "fresh.h5")
    assert cache.read_bytes() == (tmp_path / "fresh.h5").read_bytes()


@pytest.mark.usefixtures("frozen")
def test_a_grown_cache_is_that_of_one_run(inputs, cache, tmp_path):
    """Frames of the old cache go to the places that they have in a new one."""
    run(inputs, cache)
    for name in ("m0", "m9"):
        add_recording(inputs, name, 20, first=ord(name[1]))
    assert run(inputs, cache).num_decoded == 2
    run(inputs, tmp_path / "fresh.h5")
    assert cache.read_bytes() == (tmp_path / "fresh.h5").read_bytes()


@pytest.mark.usefixtures("frozen")
def test_damage_that_appears_while_the_cache_grows(inputs, cache, tmp_path):
    """Frames that do not match their checksums are decoded again, not copied."""
    run(inputs, cache)
    with Store(cache) as store:
        damage(cache, np.ascontiguousarray(store.frames(1)).tobytes())
    add_recording(inputs, "m0", 20, first=250)
    assert run(inputs, cache).num_decoded == 2
    run(inputs, tmp_path / "fresh.h5")
    assert cache.read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_no_frame_is_written_twice_or_for_nothing(inputs, cache, monkeypatch):
    """A run writes about as many bytes as the cache has, and none of a recording left out."""
    write_annotation(inputs / "Annotations" / "m2_a.csv", codes_of("m2", 20))
    written = []
    original = mpar.cache.staging.FrameWriter.add

    def add(self, frames):
        if self._targets:
            written.append(len(frames))
        original(self, frames)

    monkeypatch.setattr(mpar.cache.staging.FrameWriter, "add", add)
    monkeypatch.setattr(mpar.cache.decoding, "move_frames", None)
    report = run(inputs, cache)
    assert [info.name for info in report.recordings] == ["m1", "m3"]
    assert sum(written) == 40 + 16
