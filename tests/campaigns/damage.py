"""Bit flips and truncation: campaign 4 in a cache, campaign 5 in a checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mpar.cache.layout import RecordingInfo, hash_chunks
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.errors import CheckpointError, StoreError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.video.timeline import TimeLine, find_grid
from tests.campaigns.cases import Plant, Verdict, judged, nothing, write_bytes

LENGTHS = (3, 17, 40)
PAGE_BYTES = 4096


def make_damage(rng: np.random.Generator, size: int, targets: np.ndarray) -> tuple[str, int, list]:
    """Draw what happens to a file of `size` bytes: (kind, bytes kept, [(offset, xor or None)]).

    Half of the damage lies at one of the offsets `targets`. None sets a byte to zero, as a lost
    page of a disk does.
    """
    kind = rng.choice(["bit", "bits", "burst", "page", "cut"], p=[0.5, 0.1, 0.1, 0.1, 0.2])
    offset = int(rng.choice(targets)) if rng.random() < 0.5 else int(rng.integers(size))
    if kind == "cut":
        return "cut", int(rng.integers(size)), []
    if kind == "page":
        start = offset // PAGE_BYTES * PAGE_BYTES
        return "page", size, [(i, None) for i in range(start, min(size, start + PAGE_BYTES))]
    if kind == "bit":
        offsets = [offset]
    elif kind == "bits":
        offsets = [offset, *rng.integers(size, size=int(rng.integers(1, 8))).tolist()]
    else:
        offsets = [*range(offset, min(size, offset + int(rng.integers(2, 64))))]
    return str(kind), size, [(i, 1 << int(rng.integers(8))) for i in offsets]


def apply_damage(data: bytes, damage: tuple[str, int, list]) -> bytes:
    """Return `data` as `make_damage` said."""
    _, num_kept, changes = damage
    damaged = bytearray(data[:num_kept])
    for offset, mask in changes:
        damaged[offset] = damaged[offset] ^ mask if mask else 0
    return bytes(damaged)


def describe(number: int, damage: tuple[str, int, list]) -> str:
    """Name a case of damage."""
    kind, num_kept, changes = damage
    where = f"to {num_kept} bytes" if kind == "cut" else f"at byte {changes[0][0]}"
    return f"{number}: {kind} {where}"


@functools.cache
def small_recordings() -> tuple[NewRecording, ...]:
    """Make recordings of noise, shorter and longer than a chunk; the longest in steps of its own.

    The camera lost two frames there, and the network walks at half the rate.
    """
    made = []
    for num_frames in LENGTHS:
        rng = np.random.default_rng(num_frames)
        frames = rng.integers(0, 256, (num_frames, 16, 18), dtype=np.uint8)
        codes = rng.integers(-1, 8, (2, num_frames)).astype(np.int16)
        info = RecordingInfo(
            name=f"mouse_{num_frames}",
            video=f"mouse_{num_frames}.mp4",
            group=f"animal {num_frames}",
            fps=Fraction(30000, 1001),
            start_frame=0,
            num_frames=num_frames,
            video_num_frames=num_frames,
            size_bytes=12345,
            sha256="ab" * 32,
            annotators=("anna", "bo"),
            warnings=("runs at 29.97 frames per second",),
        )
        times = source = None
        if num_frames == max(LENGTHS):
            shown_at = np.where(np.arange(num_frames) < num_frames // 2, 0, 2) + np.arange(
                num_frames
            )
            line = TimeLine(num_frames, info.fps, shown_at / float(info.fps))
            times, (source, rate) = line.times, find_grid(line, info.fps / 2)
            info = replace(info, num_steps=len(source), rate=rate, has_own_steps=True)
        made.append(
            NewRecording(
                info=info,
                frames=frames,
                labels=DEFAULT_CLASS_MAP.merge(codes[0]),
                codes=codes,
                chunk_hashes=hash_chunks(frames),
                times=times,
                source_frame=source,
            )
        )
    return tuple(made)


def write_small_cache(path: Path) -> Path:
    """Write a cache of `small_recordings`."""
    config = {"size": None, "note": "é"}
    write_store(path, small_recordings(), class_map=DEFAULT_CLASS_MAP, config=config)
    return path


# --- campaign 4


@functools.cache
def _pristine(path: Path) -> bytes:
    return path.read_bytes()


def judge_cache(case: tuple[Path, str, tuple[str, int, list], int]) -> str:
    """Use every byte of a damaged cache as training and prediction do."""
    path, access, damage, damaged_recording = case
    data = _pristine(path)
    damaged = path.with_name("damaged.h5")
    damaged.unlink(missing_ok=True)  # never write into what may be mapped still
    write_bytes(damaged, apply_damage(data, damage))
    bad, refused = read_all(damaged, access)
    if not bad and refused is not None and 0 <= damaged_recording not in refused:
        return "damage within a recording was not detected"
    return bad


def read_all(damaged: Path, access: str) -> tuple[str, set[int] | None]:
    """Read all of what may be the cache of `small_recordings`.

    Returns
    -------
    (str, set of int or None)
        What went wrong, and the recordings that were refused; None if the file was.
    """
    recordings = small_recordings()
    refusals: dict[int, str] = {}
    try:
        store = Store(damaged, access=access)
    except StoreError as error:
        return "" if damaged.name in str(error) else f"does not name the file: {error}", None
    with store:
        if store.recordings != tuple(recording.info for recording in recordings):
            return "says other things of its recordings, with no word", None
        for i, recording in enumerate(recordings):
            batch = np.empty((1, recording.info.num_steps, *store.frame_size), np.uint8)
            steps = recording.frames[recording.source_frame]
            reads = (
                (recording.frames, lambda i=i: store.frames(i)),
                (steps, lambda i=i, b=batch: _read_batch(store, i, b)),
                (recording.labels, lambda i=i: store.labels(i)),
                (recording.codes, lambda i=i: store.codes(i)),
                (recording.times, lambda i=i: store.times(i)),
                (recording.source_frame, lambda i=i: store.source_frame(i)),
            )
            for expected, read in reads:
                try:
                    if not np.array_equal(read(), expected):
                        return f"recording {i} has other values, with no word", None
                except StoreError as error:
                    refusals[i] = str(error)
                    if damaged.name not in str(error) or recording.info.name not in str(error):
                        return f"does not name file and recording: {error}", None
        problems = store.verify()
    if refusals and not problems:
        return f"verify does not find what reading found: {refusals}", None
    return "", set(refusals)


def _read_batch(store: Store, recording: int, batch: np.ndarray) -> np.ndarray:
    store.copy_batch(np.array([recording]), np.array([0]), batch, np.array([0]))
    return batch[0]


def _find_recording(store: Store, damage: tuple[str, int, list], data: bytes) -> int:
    """Return the recording that single damage lies in, or -1."""
    _, num_kept, changes = damage
    if num_kept < len(data) or apply_damage(data, damage) == data:
        return -1
    for i, (info, entry) in enumerate(zip(store.recordings, store._entries, strict=True)):
        for key, num_bytes in store._owners[0].index.extents(info).items():
            start = entry[f"{key}_offset"]
            if any(start <= at < start + num_bytes and _changes(data, at, m) for at, m in changes):
                return i
    return -1


def _changes(data: bytes, offset: int, mask: int | None) -> bool:
    return bool(mask) or data[offset] != 0


def damage_caches(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 4: whatever is damaged in a cache is found before it is used."""
    path = folder / "cache.h5"
    data = write_small_cache(path).read_bytes()
    with Store(path) as store:
        is_frames = np.zeros(len(data), bool)
        for info, entry in zip(store.recordings, store._entries, strict=True):
            start = entry["frames_offset"]
            is_frames[start : start + store._owners[0].index.extents(info)["frames"]] = True

        def cases() -> Iterator[tuple[str, tuple]]:
            rng = np.random.default_rng(seed)
            for number in range(size):
                damage = make_damage(rng, len(data), np.flatnonzero(~is_frames))
                access = ("mmap", "pread")[number % 2]
                recording = _find_recording(store, damage, data)
                yield describe(number, damage), (path, access, damage, recording)

        yield from judged(judge_cache, cases(), plant=plant, timeout_seconds=30)


def without_cache_checksums() -> None:
    """Let every checksum of a chunk pass."""
    Store._check_chunks = lambda *arguments: None


# --- campaign 5


def judge_checkpoint(case: tuple[Path, tuple[str, int, list]]) -> str:
    """Load a damaged checkpoint, for prediction and to go on with training."""
    from mpar.network.checkpoint import load_checkpoint
    from mpar.train import resume_training

    run, damage = case
    last = run / "last.pt"
    data = _sound_last(run)
    last.unlink(missing_ok=True)
    write_bytes(last, apply_damage(data, damage))
    if last.read_bytes() == data:
        return ""
    try:
        found, sound = load_checkpoint(last), load_checkpoint(run / "sound.pt")
        return "" if _is_same(found, sound) else "was loaded, with no word"
    except CheckpointError as error:
        if "last.pt" not in str(error):
            return f"does not name the file: {error}"
    try:
        resume_training(run, device="cpu")
        return "training went on from it, with no word"
    except CheckpointError as error:
        good = next(run.glob("best_model_epoch*.pt"))
        if good.name not in str(error):
            return f"does not name the last good checkpoint: {error}"
    return ""


def _is_same(first: Any, second: Any) -> bool:
    """Tell whether two checkpoints hold the same: damage beside the data, as in dates, is none."""
    import torch

    first, second = vars(first) | {"digest": ""}, vars(second) | {"digest": ""}
    weights, expected = first.pop("weights"), second.pop("weights")
    return (
        first == second
        and [*weights] == [*expected]
        and all(torch.equal(weights[key], expected[key]) for key in expected)
    )


@functools.cache
def _sound_last(run: Path) -> bytes:
    return (run / "sound.pt").read_bytes()


def damage_checkpoints(
    seed: int, size: int, folder: Path, plant: Plant = nothing
) -> Iterator[Verdict]:
    """Campaign 5: a damaged checkpoint is refused, and the last good one named."""
    run = make_run_folder(folder / "run")
    num_bytes = (run / "sound.pt").stat().st_size
    # the directory of the zip archive, where a reader is led astray most easily
    ends = np.concatenate([np.arange(4096), np.arange(num_bytes - 30_000, num_bytes)])

    def cases() -> Iterator[tuple[str, tuple]]:
        rng = np.random.default_rng(seed)
        for number in range(size):
            damage = make_damage(rng, num_bytes, ends)
            yield describe(number, damage), (run, damage)

    yield from judged(judge_checkpoint, cases(), plant=plant)


def make_run_folder(run: Path) -> Path:
    """Make a run folder with a small ``sound.pt``, as last checkpoint, and a best one."""
    import torch

    from mpar.learning.recipe import TrainConfig
    from mpar.network.checkpoint import Checkpoint, save_checkpoint
    from mpar.network.config import ModelConfig
    from mpar.network.model import ClipNet

    config = ModelConfig(model_type="light")
    torch.manual_seed(0)
    parts = {"train": [], "val": [], "test": []}
    for name, state in (("best_model_epoch3.pt", {}), ("sound.pt", {"epoch": 3})):
        checkpoint = Checkpoint(
            model_config=config,
            weights=ClipNet(config).state_dict(),
            class_map=DEFAULT_CLASS_MAP,
            data={
                **{"frame_size": [16, 18], "config": {}, "fingerprint": "0", "path": "cache.h5"},
                "look": {"brightness": [0, 255], "contrast": [0, 128], "fps": [30, 30]},
            },
            split=parts,
            training=TrainConfig().to_dict(),
            scores={"epoch": 3},
            state=state,
        )
        save_checkpoint(run / name, checkpoint)
    return run


def without_checkpoint_checksums() -> None:
    """Let every checksum of a checkpoint pass."""
    from mpar.network import checkpoint

    checkpoint._check_archive = lambda data: None
