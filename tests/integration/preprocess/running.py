"""What tests of preprocessing share: inputs, a run, and the content of a cache."""

from __future__ import annotations

import h5py
import numpy as np

import mpar.cache.decoding
import mpar.cache.layout
import mpar.cache.staging
import mpar.cache.store
import mpar.cache.writer
import mpar.preprocess
import mpar.video.streams
from mpar.cache.notes import (
    DecodingOptions,
    FrameRun,
    new_cache,
)
from mpar.cache.staging import (
    ViewWriter,
    stage_video,
)
from mpar.preprocess import PreprocessConfig, preprocess
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    read_frame_number,
    write_annotation,
    write_video,
)

NUMBERS = draw_frame_numbers(300)
LENGTHS = {"m1": 40, "m2": 33, "m3": 16}


def codes_of(name, num_frames):
    return np.random.default_rng([ord(c) for c in name]).integers(-1, 8, num_frames)


def add_recording(folder, name, num_frames, *, first=0, side=64, width=64):
    """Write a video whose frames spell `first` and on, with its label file."""
    for sub in ("Videos", "Annotations"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    frames = NUMBERS[first : first + num_frames, :side, :]
    if (side, width) != (64, 64):
        frames = draw_frame_numbers(first + num_frames, side, width)[first:]
    write_video(folder / "Videos" / f"{name}.mp4", frames)
    write_annotation(folder / "Annotations" / f"{name}_a.csv", codes_of(name, num_frames))


def run(inputs, cache, *, workers=2, **keywords):
    options = {
        key: keywords.pop(key)
        for key in ("check_only", "overwrite", "class_map")
        if key in keywords
    }
    return preprocess(
        inputs / "Videos",
        inputs / "Annotations",
        cache,
        config=PreprocessConfig(**keywords),
        workers=workers,
        **options,
    )


def listing(folder):
    return {path.relative_to(folder): path.is_file() and path.read_bytes() for path in _all(folder)}


def _all(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix != ".lock")


def content(cache):
    """Everything in the cache but the time it was made."""
    found = {}

    def visit(name, item):
        values = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        data = item[()].tolist() if isinstance(item, h5py.Dataset) else None
        found[name] = values, data

    with h5py.File(cache) as file:
        visit("/", file)
        file.visititems(visit)
    del found["/"][0]["created_utc"]
    return found


def numbers(store, recording):
    return [read_frame_number(frame) for frame in store.frames(recording)]


def damage(cache, needle):
    """Flip a bit of the first byte of `needle` in the file."""
    data = bytearray(cache.read_bytes())
    data[data.index(needle)] ^= 1
    cache.write_bytes(data)


def interrupt_writing(monkeypatch):
    """Raise KeyboardInterrupt when all frames are in place, and half of the rest."""

    def write(path, *arguments):
        with path.open("r+b") as file:
            file.write(b"\x89HDF\r\n\x1a\n and no more")
        raise KeyboardInterrupt

    monkeypatch.setattr(mpar.preprocess, "write_structure", write)


PLACE = 512


NATIVE = DecodingOptions()


def stage(video, folder, options=NATIVE, regions=(None,), num_frames=40, counts=None):
    """Decode a video, with the frames of its regions one after the other."""
    folder.mkdir(exist_ok=True)
    new_cache(folder).touch()
    writers = [
        ViewWriter(new_cache(folder), [FrameRun(0, num_frames, PLACE + 10**6 * i)])
        for i in range(len(regions))
    ]
    counts = [] if counts is None else counts
    how = {"threads": 1, "on_frames": counts.append}
    return stage_video(video, "ab", folder, options, regions, writers, **how)


def frames_of(part, folder):
    """Read the frames of a part, (T, H, W)."""
    stored = new_cache(folder).read_bytes()
    found = []
    for stretch in part.stretches:
        shape = (stretch.num_frames, *part.frame_size)
        found.append(np.frombuffer(stored, np.uint8, np.prod(shape), stretch.place).reshape(shape))
    return np.concatenate(found)
