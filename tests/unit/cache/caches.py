"""Caches that the tests of this folder read and damage."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import h5py
import numpy as np

from mpar.cache.layout import RecordingInfo, hash_chunks
from mpar.cache.writer import NewRecording, write_store
from mpar.labels.classes import DEFAULT_CLASS_MAP

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
        height=240,
        width=320,
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


def content_of(recording, key):
    """Return what a cache must hold of a recording under `key`."""
    return hash_chunks(recording.frames) if key == "chunk_hashes" else getattr(recording, key)


def small_recordings():
    return [make_recording("one", 17), make_recording("two", 3)]


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


def assert_sound_beside(store, damaged):
    for i, recording in enumerate(small_recordings()):
        if recording.info.name != damaged:
            np.testing.assert_array_equal(store.frames(i), recording.frames)
