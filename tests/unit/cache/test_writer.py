"""Writing a cache: where frames lie, what is refused, and what a failed write leaves."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mpar
import mpar.cache.writer
from mpar.cache.layout import split_chunks
from mpar.cache.store import Store
from mpar.cache.writer import find_places, write_store, write_structure
from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.unit.cache.caches import CONFIG, FOLLOWING, LENGTHS, make_recording, with_squares, write


def test_on_frames_adds_up(tmp_path, recordings):
    """Progress counts real frames, not the padding of the last chunk."""
    counts = []
    write(tmp_path / "cache.h5", recordings)
    with Store(tmp_path / "cache.h5") as store:
        store.verify(counts.append)
    assert sum(counts) == sum(LENGTHS)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_the_old_cache(
    tmp_path, small_cache, recordings, error, monkeypatch
):
    """A full disk or Ctrl-C in the middle of the frames changes nothing in the folder."""
    path = Path(shutil.copy(small_cache, tmp_path / "cache.h5"))
    before = path.read_bytes()
    written = []

    def fail(file, array):
        written.append(array)
        if len(written) == 4:
            raise error
        original(file, array)

    original = mpar.cache.writer.write_all
    monkeypatch.setattr(mpar.cache.writer, "write_all", fail)
    with pytest.raises(type(error)):
        write(path, recordings)
    assert len(written) == 4
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["cache.h5"]  # noqa: PTH208


def test_too_little_room_is_said_before_writing(tmp_path, monkeypatch, recordings):
    """A disk that cannot hold the cache is refused with both sizes, and nothing is written."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        ConfigError, match=r"cache\.h5: needs 0\.02 GB, found 0\.00 GB free.*--size"
    ):
        write(tmp_path / "cache.h5", recordings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("follows", [False, True])
def test_lengths_decide_where_frames_lie(tmp_path, recordings, follows):
    """Frames and squares can be put in their places before anything else is known."""
    config = FOLLOWING if follows else CONFIG
    recordings = [with_squares(r) for r in recordings] if follows else recordings
    lengths = [recording.info.num_frames for recording in recordings]
    frame_size = recordings[0].frames.shape[1:]
    places = find_places(lengths, frame_size, 5 if follows else 0)
    films = [
        (film, place)
        for recording, there in zip(recordings, places, strict=True)
        for film, place in zip((recording.frames, recording.squares), there, strict=False)
    ]
    assert len(films) == len(recordings) * (1 + follows)
    path = tmp_path / "cache.h5"
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config=config)
    data = path.read_bytes()
    for film, place in films:
        assert data[place:].startswith(film.tobytes())
    # the rest written around frames that are there, over whatever was between them
    other = tmp_path / "other.h5"
    filled = bytearray(b"\xff" * (len(data) + 100))
    for film, place in films:
        chunks = b"".join(chunk.tobytes() for chunk in split_chunks(film))
        filled[place : place + len(chunks)] = chunks
    other.write_bytes(filled)
    write_structure(other, recordings, frame_size, DEFAULT_CLASS_MAP, config)
    with Store(path) as store, Store(other) as same:
        assert same.verify() == []
        assert same.fingerprint == store.fingerprint
        assert other.stat().st_size == path.stat().st_size


def test_recordings_must_fit_together(tmp_path):
    """No cache without recordings, with a name twice or with frames of two sizes."""
    one = make_recording("one", 3)
    for recordings in ([], [one, one]):
        with pytest.raises(ValueError, match="at least one recording, each with a different name"):
            write(tmp_path / "cache.h5", recordings)
    with pytest.raises(ValueError, match=r"sizes .*\(5, 7\).*\(7, 5\).*, expected one"):
        write(tmp_path / "cache.h5", [one, make_recording("two", 3, height=7, width=5)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"labels": np.zeros(3, np.int64)}, id="wide labels"),
        pytest.param({"labels": np.zeros(4, np.int8)}, id="more labels than frames"),
        pytest.param({"codes": np.zeros((1, 3), np.int16)}, id="an annotator without codes"),
        pytest.param({"codes": np.zeros((2, 3), np.int32)}, id="wide codes"),
        pytest.param({"frames": np.zeros((3, 5, 7), np.float32)}, id="float frames"),
        pytest.param({"frames": np.zeros((3, 35), np.uint8)}, id="flat frames"),
        pytest.param({"frames": np.zeros((3, 0, 7), np.uint8)}, id="frames without a pixel"),
    ],
)
def test_a_recording_checks_its_arrays(change):
    """Arrays that the format cannot hold are refused before they are written."""
    with pytest.raises(ValueError, match=f"one: found {next(iter(change))} of shape .*, expected"):
        replace(make_recording("one", 3), **change)
