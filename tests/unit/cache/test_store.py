"""The cache holds what was put in, for h5py and for mpar."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mpar
import mpar.cache.writer
from mpar.cache.layout import hash_bytes, hash_chunks, split_chunks
from mpar.cache.store import Store
from mpar.errors import ConfigError, StoreError
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from tests.unit.cache.caches import CONFIG, assert_holds, content_of, make_recording, write


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_the_network_sees_the_squares(followed, access):
    """They come back by value beside the frames, also in another process."""
    path, recordings = followed
    with Store(path, access=access) as store:
        assert (store.frame_size, store.seen.frame_size) == ((5, 7), (5, 5))
        assert store.seen.seen is store.seen
        assert store.verify() == []
        with pickle.loads(pickle.dumps(store.seen)) as other:
            for i, recording in enumerate(recordings):
                np.testing.assert_array_equal(store.seen.frames(i), recording.squares)
                np.testing.assert_array_equal(other.frames(i), recording.squares)
                np.testing.assert_array_equal(other.labels(i), recording.labels)
                np.testing.assert_array_equal(store.frames(i), recording.frames)
                np.testing.assert_array_equal(store.corners(i), recording.corners)
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == 3
        np.testing.assert_array_equal(file["recordings/000004/squares"], recordings[4].squares)


def test_without_squares_the_network_sees_the_frames(tmp_path, recordings):
    """The file is then of the version before, which older programs read."""
    path = write(tmp_path / "cache.h5", recordings)
    with Store(path) as store:
        assert store.seen is store
        assert store.corners(0).shape == (0, 2)
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == 2


@pytest.mark.parametrize("what", ["squares", "corners"])
def test_damaged_squares_are_refused(followed, what):
    """A flipped bit is found before use, and by a check of everything."""
    path, recordings = followed
    data = getattr(recordings[4], what).tobytes()
    content = path.read_bytes()
    place = content.index(data)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with Store(path) as store:
        with pytest.raises(StoreError, match=what):
            store.seen.frames(4) if what == "squares" else store.corners(4)
        assert what in store.verify()[0]


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_store_returns_what_was_written(cache, recordings, access):
    """Every value and type survives, for recordings shorter, as long and longer than a chunk."""
    with Store(cache, access=access) as store:
        assert_holds(store, recordings)
        assert store.frame_size == (5, 7)
        assert len(store) == 5
        assert repr(store) == "Store(cache.h5: 5 recordings, 149 frames, 5x7)"
        assert store.verify() == []


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_copy_frames_returns_any_stretch(cache, recordings, access):
    """Stretches within, across and up to the borders of chunks are the frames asked for."""
    with Store(cache, access=access) as store:
        for start, stop in [(0, 1), (15, 16), (15, 17), (16, 32), (3, 99), (99, 100), (0, 100)]:
            out = np.empty((stop - start, 5, 7), np.uint8)
            store.copy_frames(4, start, stop, out)
            np.testing.assert_array_equal(out, recordings[4].frames[start:stop])
            spread = np.empty((5, stop - start, 7), np.uint8).transpose(1, 0, 2)
            store.copy_frames(4, start, stop, spread)
            np.testing.assert_array_equal(spread, out)


@pytest.mark.parametrize("access", ["mmap", "pread"])
@pytest.mark.parametrize(
    ("start", "stop", "shape"),
    [(-1, 1, (2, 5, 7)), (99, 101, (2, 5, 7)), (9, 9, (0, 5, 7)), (0, 2, (3, 5, 7))],
    ids=["before the first frame", "beyond the last", "no frame", "out of another length"],
)
def test_copy_frames_refuses_frames_that_are_not_there(cache, access, start, stop, shape):
    """A wrong stretch is an error, never bytes of something else, nor one frame repeated."""
    with Store(cache, access=access) as store:
        store.frames(4)  # all checked: the quick path is guarded too
        with pytest.raises(ValueError, match=r"found .*, expected"):
            store.copy_frames(4, start, stop, np.empty(shape, np.uint8))
        with pytest.raises(ValueError, match="float32"):
            store.copy_frames(4, 0, 2, np.empty((2, 5, 7), np.float32))


def test_plain_h5py_reads_the_cache(cache, recordings):
    """People without mpar find the documented tree, types and attributes."""
    with h5py.File(cache) as file:
        assert sorted(file) == ["index", "recordings"]
        assert sorted(file["recordings"]) == [f"{i:06d}" for i in range(len(recordings))]
        attrs = file.attrs
        assert attrs["format"].decode() == "mpar-cache"
        assert attrs["format_version"] == 2
        assert attrs["generator"].decode() == f"mpar {mpar.__version__}"
        assert attrs["created_utc"].decode()[10:].startswith("T")
        assert [n.decode() for n in attrs["class_names"]] == list(DEFAULT_CLASS_MAP.class_names)
        assert ClassMap.from_dict(json.loads(attrs["class_map"])) == DEFAULT_CLASS_MAP
        assert json.loads(attrs["config"]) == CONFIG
        for i, recording in enumerate(recordings):
            group = file[f"recordings/{i:06d}"]
            info, attrs = recording.info, group.attrs
            for key in ("name", "video", "group", "sha256"):
                assert attrs[key].decode() == getattr(info, key)
            for key in ("start_frame", "num_frames", "video_num_frames", "size_bytes"):
                assert attrs[key] == getattr(info, key)
            assert attrs["fps"].decode() == "30000/1001"
            for key in ("annotators", "warnings"):
                assert [text.decode() for text in attrs[key]] == list(getattr(info, key))
            assert (attrs["rate"].decode(), attrs["region"].decode()) == ("30000/1001", "")
            assert (attrs["height"], attrs["width"]) == (info.height, info.width)
            assert len(attrs) == 17
            for item in (group, *group.values()):  # no bytes that say when they were written
                assert not item.id.get_create_plist().get_obj_track_times()
            np.testing.assert_array_equal(group["frames"][:16], recording.frames[:16], strict=True)
            for key in ("frames", "labels", "codes", "chunk_hashes", "times", "source_frame"):
                np.testing.assert_array_equal(
                    group[key][:], content_of(recording, key), strict=True
                )


def test_chunks_lie_end_to_end_from_a_page_on(tmp_path):
    """A recording is one stretch of the file, unfiltered, so that it maps as one array."""
    recordings = [make_recording(f"r{t}", t, height=13, width=21) for t in (1, 16, 17, 100)]
    cache = write(tmp_path / "cache.h5", recordings)
    data = cache.read_bytes()
    with h5py.File(cache) as file:
        for i, recording in enumerate(recordings):
            frames = file[f"recordings/{i:06d}/frames"]
            length = min(16, recording.info.num_frames)
            assert frames.chunks == (length, 13, 21)
            assert frames.id.get_create_plist().get_nfilters() == 0
            num_chunks = -(-recording.info.num_frames // 16)
            infos = [frames.id.get_chunk_info(k) for k in range(num_chunks)]
            first = infos[0].byte_offset
            assert first % 4096 == 0 or frames.nbytes < 4096
            assert [k.byte_offset for k in infos] == [
                first + k * length * 273 for k in range(num_chunks)
            ]
            assert [k.chunk_offset[0] for k in infos] == [16 * k for k in range(num_chunks)]
            raw = recording.frames.tobytes()
            assert data[first : first + len(raw)] == raw


def test_attributes_hold_no_text_of_variable_length(cache):
    """Such text lies in heaps without checksum, where one bit can hang the HDF5 library."""
    with h5py.File(cache) as file:
        for target in (file, *file["recordings"].values()):
            for key in target.attrs:
                assert target.attrs.get_id(key).dtype.kind in "iuS"


def test_long_and_odd_texts_survive(tmp_path):
    """Texts beyond 64 kB and file names that are not UTF-8 come back as they were."""
    recording = make_recording("K\udce4fig ä🐭", 3)
    recording = replace(recording, info=replace(recording.info, warnings=("x" * 70_000, "")))
    path = write(tmp_path / "cache.h5", [recording])
    with Store(path) as store:
        assert_holds(store, [recording])
        assert store.verify() == []


@settings(derandomize=True, deadline=None, max_examples=15)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    num_annotators=st.integers(1, 3),
    access=st.sampled_from(["mmap", "pread"]),
)
def test_round_trip(tmp_path_factory, lengths, size, num_annotators, access):
    """Any lengths, frame sizes and numbers of annotators come back as written."""
    recordings = [
        make_recording(f"r{i}", t, height=size[0], width=size[1], num_annotators=num_annotators)
        for i, t in enumerate(lengths)
    ]
    path = write(tmp_path_factory.mktemp("trip") / "cache.h5", recordings)
    with Store(path, access=access) as store:
        assert_holds(store, recordings)
        assert store.verify() == []


def test_split_chunks_fills_up_the_last():
    """Chunks are as stored: 16 frames with zeros behind the last, or all when fewer."""
    frames = np.arange(18, dtype=np.uint8).reshape(18, 1, 1)
    chunks = [chunk.copy() for chunk in split_chunks(frames)]
    assert [chunk.ravel().tolist() for chunk in chunks] == [
        list(range(16)),
        [16, 17] + 14 * [0],
    ]
    assert [chunk.shape for chunk in split_chunks(frames[:3])] == [(3, 1, 1)]
    assert hash_chunks(frames).tolist() == [hash_bytes(chunk) for chunk in chunks]


def test_frames_are_views_that_nobody_can_write_to(cache):
    """Mapped frames are not copied, and no mode lets a caller change the cache."""
    with Store(cache) as store:
        assert np.shares_memory(store.frames(4), store.frames(4))
        for access in ("mmap", "pread"):
            with (
                Store(cache, access=access) as other,
                pytest.raises(ValueError, match="read-only"),
            ):
                other.frames(4)[0] = 0


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_closing_leaves_views_valid(cache, recordings, access):
    """What was handed out stays; what was not is refused."""
    store = Store(cache, access=access)
    frames = store.frames(3)
    store.close()
    store.close()
    np.testing.assert_array_equal(frames, recordings[3].frames)
    with pytest.raises(StoreError, match="cannot be read"):
        store.labels(0)
    with pytest.raises(StoreError, match="cannot be read"):
        store.frames(4)


def test_store_pickles_as_its_path(cache, recordings):
    """Workers get a path and a mode, no open file and no frames."""
    with Store(cache, access="pread") as store:
        data = pickle.dumps(store)
    assert len(data) < 500
    with pickle.loads(data) as copy:
        assert (copy.path, copy.access) == (cache, "pread")
        assert_holds(copy, recordings)


def test_a_pickled_store_opens_no_other_cache(tmp_path, cache, small_cache):
    """A worker that opens the path after the cache was replaced would serve other clips."""
    path = tmp_path / "cache.h5"
    shutil.copy(cache, path)
    with Store(path) as store:
        data = pickle.dumps(store)
    shutil.copy(small_cache, path)
    with pytest.raises(StoreError, match="was replaced by another cache"):
        pickle.loads(data)


def sum_of_frames(store):
    with store:
        return [int(store.frames(i).sum()) for i in range(len(store))]


def test_store_opens_in_a_spawned_process(cache, recordings):
    """A process that shares nothing reads the same frames."""
    with Store(cache) as store, multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(sum_of_frames, (store,))
    assert found == [int(recording.frames.sum()) for recording in recordings]


def test_unknown_access_is_refused(cache):
    """A misspelt mode is named with the right ones."""
    with pytest.raises(ConfigError, match="access: found 'read', expected 'mmap' or 'pread'"):
        Store(cache, access="read")
