"""The cache holds what was put in, for h5py and for mpar, and damage never passes as data."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mpar
import mpar.cache.writer
from mpar.cache.layout import RecordingInfo, hash_bytes, hash_chunks, split_chunks
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, find_places, write_store, write_structure
from mpar.errors import ConfigError, StoreError
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap

LENGTHS = (1, 15, 16, 17, 100)
CONFIG = {"size": [5, 7], "group_pattern": "(m.)", "several": None, "label_offset": None}


def make_recording(name, num_frames, *, height=5, width=7, num_annotators=2):
    rng = np.random.default_rng([num_frames, height, width])
    frames = rng.integers(0, 256, (num_frames, height, width), dtype=np.uint8)
    codes = rng.integers(-1, 8, (num_annotators, num_frames)).astype(np.int16)
    info = RecordingInfo(
        name=name,
        video=f"{name}.mp4",
        group="mouse ä",
        fps=Fraction(30000, 1001),
        start_frame=3,
        num_frames=num_frames,
        video_num_frames=num_frames + 3,
        size_bytes=1 << 40,
        sha256="ab" * 32,
        annotators=("anna", "bo", "chloë")[:num_annotators],
        warnings=("runs at 29.97",) if num_frames % 2 else (),
    )
    return NewRecording(
        info=info,
        frames=frames,
        labels=DEFAULT_CLASS_MAP.merge(codes[0]),
        codes=codes,
        chunk_hashes=hash_chunks(frames),
    )


FOLLOWING = CONFIG | {"follow": True, "follow_size": 9}


def with_squares(recording):
    """Add squares of 5 px, the shorter side of the frames, and their corners."""
    num_frames = recording.info.num_frames
    rng = np.random.default_rng([num_frames, 5])
    return replace(
        recording,
        squares=rng.integers(0, 256, (num_frames, 5, 5), dtype=np.uint8),
        corners=rng.integers(-1, 90, (num_frames, 2)).astype(np.int32),
    )


@pytest.fixture
def followed(tmp_path, recordings):
    """A cache with squares, and its recordings."""
    recordings = [with_squares(recording) for recording in recordings]
    path = tmp_path / "followed.h5"
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config=FOLLOWING)
    return path, recordings


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


def write(path, recordings, **keywords):
    write_store(path, recordings, class_map=DEFAULT_CLASS_MAP, config=CONFIG, **keywords)
    return path


def assert_holds(store, recordings):
    """A store gives back every value and type of what was written."""
    assert store.recordings == tuple(recording.info for recording in recordings)
    assert (store.class_map, store.config) == (DEFAULT_CLASS_MAP, CONFIG)
    assert store.class_names == DEFAULT_CLASS_MAP.class_names
    for i, recording in enumerate(recordings):
        for found, expected in (
            (np.stack(list(store.stream(i))), recording.frames),
            (store.frames(i), recording.frames),
            (store.labels(i), recording.labels),
            (store.codes(i), recording.codes),
            (store.chunk_hashes(i), hash_chunks(recording.frames)),
        ):
            np.testing.assert_array_equal(found, expected, strict=True)


@pytest.fixture(scope="module")
def recordings():
    return [make_recording(f"m{num_frames}", num_frames) for num_frames in LENGTHS]


@pytest.fixture(scope="module")
def cache(tmp_path_factory, recordings):
    return write(tmp_path_factory.mktemp("cache") / "cache.h5", recordings)


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
            assert len(attrs) == 15
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


# --- damage


def content_of(recording, key):
    """Return what a cache must hold of a recording under `key`."""
    return hash_chunks(recording.frames) if key == "chunk_hashes" else getattr(recording, key)


def small_recordings():
    return [make_recording("one", 17), make_recording("two", 3)]


@pytest.fixture(scope="module")
def small_cache(tmp_path_factory):
    return write(tmp_path_factory.mktemp("small") / "cache.h5", small_recordings())


def data_offsets(cache):
    """Byte offsets of all that mpar uses, by (recording or "index", what)."""
    with h5py.File(cache) as file:
        offset = file["index"].id.get_offset()
        spans = {("index", "index"): range(offset, offset + file["index"].size)}
        for group in file["recordings"].values():
            name = group.attrs["name"].decode()
            for key in ("labels", "codes", "chunk_hashes"):
                offset = group[key].id.get_offset()
                spans[name, key] = range(offset, offset + group[key].nbytes)
            offset = group["frames"].id.get_chunk_info(0).byte_offset
            spans[name, "frames"] = range(offset, offset + group["frames"].nbytes)
    return spans


def flip(path, source, offset, bit):
    data = bytearray(source.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


USES = {
    "frames": lambda store, i: store.frames(i),
    "chunk_hashes": lambda store, i: store.frames(i),
    "labels": lambda store, i: store.labels(i),
    "codes": lambda store, i: store.codes(i),
}


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_one_flipped_bit_in_the_data_is_found_before_use(tmp_path, small_cache, access):
    """Damaged frames, labels, codes, checksums and index never reach anybody as data."""
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.h5"
    for (name, what), span in data_offsets(small_cache).items():
        picks = {span[0], span[-1], *rng.choice(span, 3).tolist()}
        for offset in sorted(picks):
            flip(path, small_cache, offset, int(rng.integers(8)))
            if what == "index":
                with pytest.raises(StoreError, match=r"damaged\.h5: its index does not match"):
                    Store(path, access=access)
                continue
            with Store(path, access=access) as store:
                number = [info.name for info in store.recordings].index(name)
                message = f"damaged.h5: .*of recording {name} do not match.*mpar-preprocess"
                with pytest.raises(StoreError, match=message):
                    USES[what](store, number)
                if what in ("frames", "chunk_hashes"):
                    with pytest.raises(StoreError, match=message):
                        list(store.stream(number))
                problems = store.verify()
                assert len(problems) == 1
                assert f"recording {name} " in problems[0]
                assert_sound_beside(store, name)


def assert_sound_beside(store, damaged):
    for i, recording in enumerate(small_recordings()):
        if recording.info.name != damaged:
            np.testing.assert_array_equal(store.frames(i), recording.frames)


def test_one_flipped_bit_anywhere_is_found_or_irrelevant(tmp_path, small_cache):
    """Wherever the bit lies, the file is refused, verify finds it, or no value changes."""
    rng = np.random.default_rng(1)
    path = tmp_path / "damaged.h5"
    num_bytes = small_cache.stat().st_size
    num_irrelevant, messages = 0, []
    for offset in rng.choice(num_bytes, 150, replace=False).tolist():
        flip(path, small_cache, offset, int(rng.integers(8)))
        try:
            store = Store(path)
        except StoreError as error:
            messages.append(str(error))
            continue
        with store:
            problems = store.verify()
            messages += problems
            if problems:
                continue
            assert_holds(store, small_recordings())
        with h5py.File(path) as file:
            for i, recording in enumerate(small_recordings()):
                group = file[f"recordings/{i:06d}"]
                for key in ("frames", "labels", "codes", "chunk_hashes"):
                    np.testing.assert_array_equal(group[key][:], content_of(recording, key))
        num_irrelevant += 1
    assert num_irrelevant < 75  # padding between the parts, not most of the file
    assert all(str(path) in message for message in messages)


def test_a_damaged_chunk_names_its_frames(tmp_path, cache):
    """The message counts frames to the last real one, and sound chunks stay readable."""
    span = data_offsets(cache)["m100", "frames"]
    path = tmp_path / "damaged.h5"
    flip(path, cache, span[-1], 0)
    with Store(path) as store:
        out = np.empty((96, 5, 7), np.uint8)
        store.copy_frames(4, 0, 96, out)
        with pytest.raises(StoreError, match="frames 96-99 of recording m100 do not match"):
            store.copy_frames(4, 95, 97, out[:2])


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path, small_cache, fraction):
    """Half a copy is refused on opening, whatever its length."""
    data = small_cache.read_bytes()
    path = tmp_path / "short.h5"
    path.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(StoreError, match=r"short\.h5: "):
        Store(path)


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_frames_beyond_the_end_are_refused(tmp_path, small_cache, access):
    """An index that points past the end of the file never becomes a read there."""
    num_bytes = change_index(tmp_path, small_cache, "frames_offset", 10_000).stat().st_size
    for offset in (1 << 40, num_bytes - 17 * 35):  # the last chunk is stored whole
        path = change_index(tmp_path, small_cache, "frames_offset", offset)
        with pytest.raises(StoreError, match="recording one lies beyond the end of the file"):
            Store(path, access=access)


def change_index(folder, source, key, value):
    """Copy a cache and change its index, checksum and all."""

    def change(index):
        target = index if key in index else index["recordings"][0]
        target[key] = value
        return json.dumps(index).encode()

    return replace_index(folder, source, change)


def replace_index(folder, source, change):
    path = Path(shutil.copy(source, folder / "changed.h5"))
    with h5py.File(path, "r+") as file:
        data = np.frombuffer(change(json.loads(file["index"][:].tobytes())), np.uint8)
        del file["index"]
        file.create_dataset("index", data=data)
        file.attrs["index_hash"] = np.uint64(hash_bytes(data))
    return path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("frames_offset", -1, id="offset before the file"),
        pytest.param("frames_offset", "x", id="offset not a number"),
        pytest.param("name", "../one", id="name that leaves its folder"),
        pytest.param("name", "o\0ne", id="name with a NUL"),
        pytest.param("num_frames", 0, id="empty recording"),
        pytest.param("num_frames", -16, id="negative length"),
        pytest.param("num_frames", 1e999, id="infinite length"),
        pytest.param("fps", "1/0", id="rate without a value"),
        pytest.param("frame_size", [5], id="one side"),
        pytest.param("frame_size", [0, 7], id="no height"),
        pytest.param("class_map", {"rows": []}, id="no classes"),
        pytest.param("config", 7, id="config not a table"),
        pytest.param("recordings", [None], id="recording not a table"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(tmp_path, small_cache, key, value):
    """A forged index with a true checksum is a StoreError, not a crash."""
    with pytest.raises(StoreError, match=r"changed\.h5: "):
        Store(change_index(tmp_path, small_cache, key, value))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"follow": False}, id="squares without following"),
        pytest.param({"follow_size": 0}, id="no side"),
        pytest.param({"follow_size": "x"}, id="side not a number"),
        pytest.param({"follow_size": None}, id="side missing"),
        pytest.param({"size": [0, 7]}, id="no size"),
        pytest.param({"size": 5}, id="size not a pair"),
        pytest.param({"size": [10**6, 10**6]}, id="squares beyond the file"),
        pytest.param({"tracks": 5}, id="points not a list"),
    ],
)
def test_squares_that_make_no_sense_are_refused(tmp_path, followed, changes):
    """Their size is in the options, which may be forged, too."""
    with pytest.raises(StoreError, match=r"changed\.h5: "):
        Store(change_index(tmp_path, followed[0], "config", FOLLOWING | changes))


@pytest.mark.parametrize("text", [b"{", b"[]", b"7", b"\xff", b"[" * 100_000])
def test_an_index_that_is_no_json_table_is_refused(tmp_path, small_cache, text):
    """Whatever the index holds, opening ends in a StoreError."""
    with pytest.raises(StoreError, match="index is not as mpar writes it"):
        Store(replace_index(tmp_path, small_cache, lambda index: text))


def soft_link(file, data, folder):
    file["elsewhere"] = data
    file["index"] = h5py.SoftLink("/elsewhere")


def external_link(file, data, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["index"] = data
    file["index"] = h5py.ExternalLink("other.h5", "/index")


def external_storage(file, data, folder):
    (folder / "other.bin").write_bytes(data.tobytes())
    external = [(str(folder / "other.bin"), 0, len(data))]
    file.create_dataset("index", (len(data),), np.uint8, external=external)


def virtual(file, data, folder):
    file["elsewhere"] = data
    layout = h5py.VirtualLayout(data.shape, np.uint8)
    layout[:] = h5py.VirtualSource(file["elsewhere"])
    file.create_virtual_dataset("index", layout)


PLANTS = {
    "soft link": soft_link,
    "external link": external_link,
    "external storage": external_storage,
    "virtual": virtual,
    "compressed": lambda file, data, _: file.create_dataset("index", data=data, compression="gzip"),
    "chunked": lambda file, data, _: file.create_dataset("index", data=data, chunks=(8,)),
    "group": lambda file, data, _: file.create_group("index"),
    "missing": lambda file, data, _: None,
    "other type": lambda file, data, _: file.create_dataset("index", data=data.view(np.int8)),
    "two-dimensional": lambda file, data, _: file.create_dataset("index", data=data[None]),
    "empty": lambda file, data, _: file.create_dataset("index", data=data[:0]),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_an_index_that_leads_elsewhere_is_refused(tmp_path, small_cache, plant):
    """Opening a cache never follows links, nor opens other files, nor decompresses."""
    path = Path(shutil.copy(small_cache, tmp_path / "planted.h5"))
    with h5py.File(path, "r+") as file:
        data = file["index"][:]
        del file["index"]
        plant(file, data, tmp_path)
    with pytest.raises(StoreError, match=r"planted\.h5: its index is not as mpar writes it; make"):
        Store(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "found an HDF5 file of another kind"),
        ({"format": None}, "found an HDF5 file of another kind"),
        (
            {"format_version": 4},
            "found cache format version 4, expected 1 or 2 or 3; make it again",
        ),
        ({"format_version": None}, "found cache format version None, expected 1 or 2 or 3"),
        ({"index_hash": None}, "its index does not match its checksum"),
    ],
    ids=["other format", "no format", "newer version", "no version", "no checksum"],
)
def test_another_format_or_version_is_refused(tmp_path, small_cache, change, message):
    """What this version cannot read is named, not guessed at."""
    path = Path(shutil.copy(small_cache, tmp_path / "other.h5"))
    with h5py.File(path, "r+") as file:
        for key, value in change.items():
            del file.attrs[key]
            if value is not None:
                file.attrs[key] = np.bytes_(value) if isinstance(value, str) else value
    with pytest.raises(StoreError, match=rf"other\.h5: {message}"):
        Store(path)


def make_version_1(path, *, is_steady):
    """Rewrite a cache as version 1 had it: without times and steps."""
    with h5py.File(path, "r+") as file:
        index = json.loads(file["index"][:].tobytes())
        for number, entry in enumerate(index["recordings"]):
            group = file[f"recordings/{number:06d}"]
            for key in ("times", "source_frame"):
                del group[key], entry[f"{key}_offset"], entry[f"{key}_hash"]
            for key in ("rate", "num_steps", "has_own_steps", "region"):
                del group.attrs[key], entry[key]
            group.attrs["is_steady"] = entry["is_steady"] = int(is_steady)
        data = np.frombuffer(json.dumps(index).encode(), np.uint8)
        del file["index"]
        file["index"] = data
        file.attrs["format_version"] = 1
        file.attrs["index_hash"] = np.uint64(hash_bytes(data))


@pytest.mark.parametrize("is_steady", [True, False])
def test_version_1_is_still_read(tmp_path, small_cache, is_steady):
    """Its steps are its frames, and it knows the times of steady videos only."""
    path = Path(shutil.copy(small_cache, tmp_path / "old.h5"))
    make_version_1(path, is_steady=is_steady)
    with Store(path) as old, Store(small_cache) as new:
        assert old.verify() == []
        assert old.recordings == tuple(replace(r, has_times=is_steady) for r in new.recordings)
        for i, info in enumerate(old.recordings):
            np.testing.assert_array_equal(old.frames(i), new.frames(i))
            np.testing.assert_array_equal(old.step_labels(i), new.labels(i))
            assert [frame.sum() for frame in old.stream_steps(i)] == new.frames(i).sum(
                (1, 2)
            ).tolist()
            assert old.line(i).fps == (info.fps if is_steady else None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("times", lambda a: a[::-1]),
        ("times", lambda a: a * np.nan),
        ("source_frame", lambda a: a + 1),
    ],
)
def test_times_and_steps_that_make_no_sense(tmp_path, key, value):
    """Even with a sound checksum, no frame is taken from beyond a recording."""
    recording = make_recording("one", 17)
    array = np.ascontiguousarray(value(getattr(recording, key)))
    path = write(tmp_path / "cache.h5", [replace(recording, **{key: array})])
    with Store(path) as store:
        read = store.line if key == "times" else store.source_frame
        with pytest.raises(StoreError, match=f"the {key} of recording one are not as mpar writes"):
            read(0)
        assert len(store.verify()) == 1


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_steps_of_another_rate(tmp_path, access):
    """Batches, stretches and streams walk in steps, whatever lies between them."""
    rng = np.random.default_rng(3)
    recordings = []
    for name, num_frames, num_steps in (("slow", 20, 50), ("fast", 90, 31), ("even", 40, 40)):
        recording = make_recording(name, num_frames)
        steps = np.sort(rng.integers(0, num_frames, num_steps))
        own = {"num_steps": num_steps, "rate": Fraction(30), "has_own_steps": True}
        if name == "even":
            recordings.append(recording)
        else:
            info = replace(recording.info, **own)
            recordings.append(replace(recording, info=info, source_frame=steps))
    path = write(tmp_path / "cache.h5", recordings)
    with Store(path, access=access) as store:
        expected = [r.frames[r.source_frame] for r in recordings]
        for i, frames in enumerate(expected):
            np.testing.assert_array_equal(np.stack([*store.stream_steps(i)]), frames)
            np.testing.assert_array_equal(
                store.step_labels(i), recordings[i].labels[recordings[i].source_frame]
            )
        which = rng.integers(0, 3, 64)
        starts = np.array([rng.integers(0, len(expected[i]) - 16 + 1) for i in which])
        out = np.zeros((64, 16, 5, 7), np.uint8)
        store.copy_batch(which, starts, out, np.arange(64))
        for row, (i, start) in enumerate(zip(which, starts, strict=True)):
            np.testing.assert_array_equal(out[row], expected[i][start : start + 16])
        with pytest.raises(ValueError, match="beyond the end of its recording"):
            store.copy_batch(np.array([1]), np.array([16]), out, np.array([0]))


def test_what_is_no_hdf5_is_refused(tmp_path):
    """A missing file, a folder, text and noise are a StoreError that names the path."""
    (tmp_path / "text.h5").write_text("Frame,Action\n")
    (tmp_path / "noise.h5").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "folder.h5").mkdir()
    for name in ("text", "noise", "folder", "missing"):
        with pytest.raises(StoreError, match=rf"{name}\.h5: cannot be "):
            Store(tmp_path / f"{name}.h5")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("name", np.bytes_("x"), id="name"),
        pytest.param("num_frames", 16, id="length"),
        pytest.param("frames", np.zeros((17, 5, 7), np.uint8), id="other frames"),
        pytest.param("labels", np.zeros(17, np.int8), id="other labels"),
        pytest.param("frames", h5py.SoftLink("/index"), id="link"),
    ],
)
def test_verify_finds_a_tree_that_differs_from_the_index(tmp_path, small_cache, key, value):
    """What readers of plain HDF5 see is compared with what mpar sees."""
    path = Path(shutil.copy(small_cache, tmp_path / "differs.h5"))
    with h5py.File(path, "r+") as file:
        group = file["recordings/000000"]
        if key in group:
            group.move(key, f"old_{key}")  # its space in the file is not used again
            if getattr(value, "ndim", 0) == 3:
                group.create_dataset(key, data=value, chunks=(16, 5, 7))
            else:
                group[key] = value
        else:
            group.attrs[key] = value
    with Store(path) as store:
        (problem,) = store.verify()
        assert "recording one differs between the index and the HDF5 tree" in problem


# --- use


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


# --- writing


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


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_copy_batch_equals_copy_frames(tmp_path, access):
    """Every stretch lands in its row, and rows that were not asked for stay as they were."""
    path = write(tmp_path / "cache.h5", [make_recording(f"r{n}", n) for n in (9, 40, 70)])
    rng = np.random.default_rng(0)
    with Store(path, access=access) as store:
        numbers = rng.integers(3, size=50)
        starts = np.array([rng.integers(store.recordings[i].num_frames - 4) for i in numbers])
        rows = rng.permutation(60)[:50]
        out = np.full((60, 5, *store.frame_size), 7, np.uint8)
        store.copy_batch(numbers, starts, out, rows)
        expected = np.full_like(out, 7)
        for number, start, row in zip(numbers.tolist(), starts.tolist(), rows, strict=True):
            store.copy_frames(number, start, start + 5, expected[row])
        assert np.array_equal(out, expected)
        for start in (-1, 5):
            with pytest.raises(ValueError, match="beyond the end"):
                store.copy_batch(np.array([0]), np.array([start]), out, np.array([0]))
        with pytest.raises(ValueError, match="contiguous"):
            store.copy_batch(np.array([0]), np.array([0]), out[:, :, ::-1], np.array([0]))


READS = {
    "copy_frames": lambda store, out: store.copy_frames(2, 0, 16, out[0]),
    "copy_batch": lambda store, out: store.copy_batch(
        np.array([2]), np.array([0]), out, np.array([0])
    ),
}


@pytest.mark.parametrize("access", ["mmap", "pread"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_cache_changed_under_its_reader_is_checked_again(
    tmp_path, cache, recordings, read, access
):
    """What was sound when first read is not taken for sound after the file was written to."""
    path = Path(shutil.copy(cache, tmp_path))
    out = np.empty((1, 16, 5, 7), np.uint8)
    with Store(path, access=access) as store:
        read(store, out)
        os.utime(path, ns=(1, 1))  # touched, not changed
        read(store, out)
        np.testing.assert_array_equal(out[0], recordings[2].frames)
        offset = store._entries[2]["frames_offset"]
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(bytes(255 - byte for byte in recordings[2].frames[0].tobytes()))
        with pytest.raises(StoreError, match=r"frames 0-15 of recording m16 do not match"):
            read(store, out)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not let a mapped file be cut short")
@pytest.mark.parametrize("access", ["mmap", "pread"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_cache_cut_short_under_its_reader_is_an_error(tmp_path, cache, read, access):
    """Not zeros, and no signal."""
    path = Path(shutil.copy(cache, tmp_path))
    out = np.empty((1, 16, 5, 7), np.uint8)
    with Store(path, access=access) as store:
        read(store, out)
        os.truncate(path, store._entries[2]["frames_offset"] + 40)
        with pytest.raises(StoreError, match=r"cache\.h5: was cut short while it was being read"):
            read(store, out)
