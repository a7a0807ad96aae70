"""Damage of a cache never passes as data, and odd files are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpar.cache.layout import hash_bytes
from mpar.cache.store import Store
from mpar.errors import StoreError
from tests.unit.cache.caches import (
    FOLLOWING,
    USES,
    assert_holds,
    assert_sound_beside,
    content_of,
    data_offsets,
    flip,
    make_recording,
    small_recordings,
    write,
)


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
