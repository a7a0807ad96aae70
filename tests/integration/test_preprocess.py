"""Videos and labels become a cache frame by frame, once each, all or nothing."""

from __future__ import annotations

import csv
import json
import shutil
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import h5py
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
    DecodedAnimal,
    DecodingOptions,
    FrameRun,
    load_part,
    new_cache,
    remove_staging,
    save_note,
)
from mpar.cache.staging import (
    FrameWriter,
    ViewWriter,
    count_frames,
    move_frames,
    stage_video,
)
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.errors import ConfigError, InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.preprocess import PreprocessConfig, preprocess, problems_path
from mpar.system.files import sha256_of
from mpar.system.team import ALONE
from mpar.video.regions import Region
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import raises_problem, write_two_streams
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    read_frame_number,
    write_annotation,
    write_sample,
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


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    for k, (name, num_frames) in enumerate(LENGTHS.items()):
        add_recording(folder, name, num_frames, first=100 * k)
    return folder


@pytest.fixture
def inputs(drawn, tmp_path):
    """Copy three recordings, free to be changed."""
    shutil.copytree(drawn, tmp_path / "in")
    return tmp_path / "in"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "out" / "cache.h5"


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


# --- what is in the cache


def test_frame_i_of_the_video_is_frame_i_of_the_cache(inputs, cache):
    """Frames and labels agree to the last frame, in every recording."""
    report = run(inputs, cache)
    assert (report.num_decoded, report.is_written, report.problems) == (3, True, ())
    with Store(cache) as store:
        assert store.verify() == []
        assert store.recordings == report.recordings
        assert [info.name for info in store.recordings] == list(LENGTHS)
        for i, (name, num_frames) in enumerate(LENGTHS.items()):
            assert numbers(store, i) == list(range(100 * i, 100 * i + num_frames))
            codes = codes_of(name, num_frames)
            np.testing.assert_array_equal(store.codes(i), codes[None])
            np.testing.assert_array_equal(store.labels(i), DEFAULT_CLASS_MAP.merge(codes))
            info, video = store.recordings[i], inputs / "Videos" / f"{name}.mp4"
            assert (info.video, info.group, info.fps) == (video.name, name, Fraction(30))
            assert (info.start_frame, info.video_num_frames) == (0, num_frames)
            assert (info.size_bytes, info.sha256) == (video.stat().st_size, sha256_of(video))
    assert listing(cache.parent).keys() == {Path("cache.h5")}


def test_trials_are_consecutive_pieces_of_their_video(tmp_path, cache):
    """Each trial holds its own frames and labels, in order of its number, and one group."""
    add_recording(tmp_path, "m1", 45)
    (tmp_path / "Annotations" / "m1_a.csv").unlink()
    for number, rows in ((1, 12), (2, 16), (10, 17)):
        codes = np.full(rows, number % 8)
        write_annotation(tmp_path / "Annotations" / f"m1_{number}.csv", codes)
    run(tmp_path, cache)
    with Store(cache) as store:
        names = [info.name for info in store.recordings]
        assert names == ["m1_trial1", "m1_trial2", "m1_trial10"]
        assert [info.group for info in store.recordings] == ["m1"] * 3
        assert [info.start_frame for info in store.recordings] == [0, 12, 28]
        assert numbers(store, 0) + numbers(store, 1) + numbers(store, 2) == list(range(45))
        assert [set(store.codes(i)[0].tolist()) for i in range(3)] == [{1}, {2}, {2}]
    # the pieces in the cache are put together again when another video comes in
    before = content(cache)
    add_recording(tmp_path, "m2", 20, first=50)
    report = run(tmp_path, cache)
    assert (report.num_decoded, report.is_written) == (1, True)
    after = content(cache)
    assert {key: after[key] for key in before if "recordings/" in key} == {
        key: before[key] for key in before if "recordings/" in key
    }


def test_a_sample_of_drawn_mice(tmp_path, cache):
    """The sample that the documentation uses passes without a problem or a warning."""
    write_sample(tmp_path, num_animals=2, seed=3, num_frames=36, height=64, width=64)
    report = run(tmp_path, cache)
    assert (report.problems, report.warnings) == ((), ())
    assert [info.num_frames for info in report.recordings] == [36, 36]


def test_size_is_height_then_width(inputs, cache):
    """Frames are resized to rows and columns in the order that is documented."""
    run(inputs, cache, size=(48, 32))
    with Store(cache) as store:
        assert store.frame_size == (48, 32)
        assert store.frames(0).shape == (40, 48, 32)
        assert numbers(store, 0) == list(range(40))
        assert store.config["size"] == [48, 32]


def test_group_pattern_finds_the_animal(inputs, cache):
    """The pattern's group names the animal; a name without one is a problem."""
    (inputs / "Videos" / "m3.mp4").rename(inputs / "Videos" / "other.mp4")
    (inputs / "Annotations" / "m3_a.csv").rename(inputs / "Annotations" / "other.csv")
    report = run(inputs, cache, group_pattern="m([0-9])")
    assert [info.group for info in report.recordings] == ["1", "2"]
    assert [(p.path, "finds no animal" in p.message) for p in report.problems] == [
        ("other.mp4", True)
    ]


def test_several_annotators_vote_and_keep_their_codes(inputs, cache):
    """Labels are the majority's, and every annotator's codes stay, one row each."""
    codes = {"ann": [0] * 16, "bob": [2] * 8 + [0] * 8, "eve": [2] * 16}
    (inputs / "Annotations" / "m3_a.csv").unlink()
    for name, values in codes.items():
        write_annotation(inputs / "Annotations" / f"m3_{name}.csv", values)
    report = run(inputs, cache)
    with Store(cache) as store:
        assert store.recordings[2].annotators == ("ann", "bob", "eve")
        assert store.codes(2).tolist() == list(codes.values())
        assert store.labels(2).tolist() == [2] * 8 + [0] * 8
    first = np.concatenate([codes_of("m1", 40), codes_of("m2", 33)])
    assert report.code_counts[0] == (first == 0).sum() + 16  # the first annotator's


def test_label_offset_leaves_the_first_frames_unlabelled(inputs, cache):
    """A label file that is too short is a problem until its place is said."""
    write_annotation(inputs / "Annotations" / "m1_a.csv", [7] * 30)
    report = run(inputs, cache)
    (problem,) = report.problems
    assert problem.path == "m1_a.csv"
    assert "found 30 rows, expected 40" in problem.message
    assert "pass --label-offset 10" in problem.message
    report = run(inputs, cache, label_offset=10)
    assert report.problems == ()
    with Store(cache) as store:
        assert store.codes(0).tolist() == [[-1] * 10 + [7] * 30]
        assert store.labels(0).tolist() == [-1] * 10 + [5] * 30


def test_counts_are_those_of_the_label_files(inputs, cache):
    """Frames are counted by code and by class, those without either included."""
    report = run(inputs, cache)
    codes = np.concatenate([codes_of(name, n) for name, n in LENGTHS.items()])
    assert report.code_counts == {code: (codes == code).sum() for code in (*range(8), -1)}
    merged = {"rest": [0], "paw_withdraw": [1, 3, 5], "paw_lick": [2], "paw_shake": [4]}
    merged |= {"walk": [6], "active": [7], "unlabelled": [-1]}
    assert report.class_counts == {
        name: np.isin(codes, members).sum() for name, members in merged.items()
    }
    assert list(report.class_counts) == list(merged)


def test_warnings_name_their_file(inputs, cache):
    """What was accepted with a shrug is told, with the file it lies in."""
    path = inputs / "Annotations" / "m2_a.csv"
    header, first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, second, first, *rest]))
    report = run(inputs, cache)
    assert report.warnings == ("m2_a.csv: its rows were out of order; mpar sorted them by frame",)


# --- doing things once


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


# --- interrupted runs


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


def interrupt_writing(monkeypatch):
    """Raise KeyboardInterrupt when all frames are in place, and half of the rest."""

    def write(path, *arguments):
        with path.open("r+b") as file:
            file.write(b"\x89HDF\r\n\x1a\n and no more")
        raise KeyboardInterrupt

    monkeypatch.setattr(mpar.preprocess, "write_structure", write)


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


# --- plans that turn out wrong


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


# --- problems


def add_problems(inputs):
    """Put one of each kind of bad input beside the good ones."""
    videos, annotations = inputs / "Videos", inputs / "Annotations"
    (videos / "broken.mp4").write_bytes(b"no video")
    write_annotation(annotations / "broken.csv", [0])
    shutil.copy(videos / "m1.mp4", videos / "silent.mp4")
    shutil.copy(videos / "m1.mp4", videos / "twin.mp4")
    write_annotation(annotations / "twin.csv", [0] * 40)
    write_annotation(annotations / "m2_a.csv", [0, 9, 0, 99] + [0] * 29)
    write_annotation(annotations / "=orphan.csv", [0])


def test_problems_are_collected_over_all_files(inputs, cache):
    """Bad inputs are listed together, good ones go in, and a solved list is taken away."""
    add_problems(inputs)
    report = run(inputs, cache)
    assert [info.name for info in report.recordings] == ["m1", "m3"]
    expected = [
        ("=orphan.csv", 0, "no-video"),
        ("broken.mp4", 0, "video-damaged"),
        ("m2_a.csv", 3, "unknown-class"),
        ("m2_a.csv", 5, "unknown-class"),
        ("silent.mp4", 0, "no-labels"),
        ("twin.mp4", 0, "same-content"),
    ]
    assert [(p.path, p.line, p.code) for p in report.problems] == expected
    with problems_path(cache).open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["File", "Line", "Code", "Problem"]
    cells = [
        ("'=orphan.csv" if i == 0 else p.path, str(p.line or ""), p.code, p.message)
        for i, p in enumerate(report.problems)
    ]
    assert [tuple(row) for row in rows] == cells
    for path in [*inputs.rglob("*orphan*"), *inputs.rglob("broken*"), *inputs.rglob("twin*")]:
        path.unlink()
    (inputs / "Videos" / "silent.mp4").unlink()
    write_annotation(inputs / "Annotations" / "m2_a.csv", codes_of("m2", 33))
    assert run(inputs, cache).problems == ()
    assert listing(cache.parent).keys() == {Path("cache.h5")}


def test_a_name_that_is_no_utf_8_can_be_listed(inputs, cache):
    """A file name from an old disk does not end the run while it is being complained of."""
    try:
        write_annotation(inputs / "Annotations" / "K\udce4fig.csv", [0])
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert len(run(inputs, cache).problems) == 1
    assert problems_path(cache).read_text(encoding="utf-8").count("\n") == 2


def test_nothing_good_is_an_error_with_every_problem(tmp_path, cache):
    """Without one good recording there is no cache, but a list of what is wrong."""
    add_recording(tmp_path, "m1", 3)
    write_annotation(tmp_path / "Annotations" / "m1_a.csv", [0, 99, 0])
    write_annotation(tmp_path / "Annotations" / "x.csv", [0])
    with pytest.raises(InputError) as error:
        run(tmp_path, cache)
    assert [problem.path for problem in error.value.problems] == ["m1_a.csv", "x.csv"]
    assert listing(cache.parent).keys() == {Path("cache.h5.problems.csv")}


def test_sizes_that_differ_are_a_problem(tmp_path, cache):
    """The odd one out is named, with the option that brings all to one size."""
    add_recording(tmp_path, "m1", 20)
    add_recording(tmp_path, "m2", 20, first=20, side=48, width=80)
    add_recording(tmp_path, "m3", 20, first=40, side=48, width=80)
    report = run(tmp_path, cache)
    assert [info.name for info in report.recordings] == ["m2", "m3"]
    (problem,) = report.problems
    assert problem.path == "m1.mp4"
    assert "64x64 px, most others are 80x48; pass --size 48x80 (height x width)" in problem.message
    report = run(tmp_path, cache, size=(48, 80))
    assert report.problems == ()
    assert len(report.recordings) == 3


def test_recordings_are_not_lost_by_accident(inputs, cache):
    """A cache that would lack recordings is not written unless told, and says which."""
    run(inputs, cache)
    before = cache.read_bytes()
    (inputs / "Videos" / "m1.mp4").unlink()
    (inputs / "Videos" / "m3.mp4").write_bytes(b"no video")
    message = r"cache\.h5: .* lack 2 recordings .*\(m1, m3\); pass --overwrite"
    with pytest.raises(ConfigError, match=message) as error:
        run(inputs, cache)
    assert "m3.mp4: cannot be opened" in str(error.value)
    assert cache.read_bytes() == before
    report = run(inputs, cache, overwrite=True)
    assert (report.num_decoded, report.is_written) == (0, True)
    with Store(cache) as store:
        assert [info.name for info in store.recordings] == ["m2"]


OTHER_MAP = ClassMap((*DEFAULT_CLASS_MAP.rows[:7], (7, "active", "walk")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (48, 32)}, "size was 32x32, now 48x32"),
        ({"size": None}, "size was 32x32, now not given"),
        ({"group_pattern": "m"}, r"group_pattern was m\(\.\), now m"),
        ({"group_pattern": None}, r"group_pattern was m\(\.\), now not given"),
        ({"unscored": "rest"}, "unscored was not given, now rest"),
        ({"label_offset": 7}, "label_offset was 0, now 7"),
        ({"class_map": OTHER_MAP}, "class map had 7,active,active, now 7,active,walk"),
        (
            {"size": (32, 64), "unscored": "walk"},
            "size was 32x32, now 32x64; unscored was not given, now walk",
        ),
    ],
)
def test_a_cache_of_other_options_is_not_replaced(inputs, cache, changes, message):
    """Runs trained on it could not go on: the options that differ are named before decoding."""
    options = {"size": (32, 32), "group_pattern": "m(.)", "label_offset": 0}
    run(inputs, cache, **options)
    before = cache.read_bytes()
    with pytest.raises(ConfigError, match=message) as error:
        run(inputs, cache, **options | changes)
    assert "pass --overwrite to replace it, or choose another --output" in str(error.value)
    assert cache.read_bytes() == before
    assert run(inputs, cache, **options | changes, overwrite=True).is_written


def test_marks_of_responses_travel_and_change_without_decoding(inputs, cache):
    """What counts as a response is no part of the labels, so the frames of the cache stay."""
    unmarked = ClassMap(DEFAULT_CLASS_MAP.rows)
    run(inputs, cache, class_map=unmarked)
    with Store(cache) as store:
        assert store.class_map.responses == ()
        frames = [store.chunk_hashes(i).tolist() for i in range(len(store))]
    report = run(inputs, cache)
    assert (report.is_written, report.num_decoded) == (True, 0)
    with Store(cache) as store:
        assert store.class_map == DEFAULT_CLASS_MAP
        assert [store.chunk_hashes(i).tolist() for i in range(len(store))] == frames


def test_a_cache_grows_without_overwrite(inputs, cache):
    """New videos, also ones that need an option, and changed labels replace the cache as ever."""
    run(inputs, cache)
    add_recording(inputs, "m8", 20, first=7)
    assert run(inputs, cache).num_decoded == 1
    write_annotation(inputs / "Annotations" / "m8_a.csv", np.full(20, 6))
    assert run(inputs, cache).is_written
    # the advice on label files that are too short can be followed
    add_recording(inputs, "m9", 20, first=3)
    write_annotation(inputs / "Annotations" / "m9_a.csv", np.zeros(15, int))
    (problem,) = run(inputs, cache).problems
    assert "--label-offset" in problem.message
    assert run(inputs, cache, label_offset=5).problems == ()


def test_an_option_that_an_old_cache_lacks_had_its_default(inputs, cache):
    """A cache of an older mpar grows like one of today's."""
    run(inputs, cache)
    with Store(cache) as store:
        config = store.config
        config.pop("unscored")
        new = [
            NewRecording(
                info=info,
                frames=store.frames(i).copy(),
                labels=store.labels(i),
                codes=store.codes(i),
                chunk_hashes=store.chunk_hashes(i),
            )
            for i, info in enumerate(store.recordings)
        ]
    write_store(cache, new, class_map=DEFAULT_CLASS_MAP, config=config)
    with pytest.raises(ConfigError, match="unscored was not given, now rest"):
        run(inputs, cache, unscored="rest")
    assert run(inputs, cache).is_written


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_cache_is_never_replaced(inputs, cache, overwrite):
    """A slip in the output path costs nobody a file, least of all one of the inputs."""
    for path in filter(Path.is_file, inputs.rglob("*")):
        data = path.read_bytes()
        with pytest.raises(ConfigError, match="is not a cache, and mpar"):
            run(inputs, path, overwrite=overwrite)
        assert path.read_bytes() == data
    cache.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"cache\.h5: is a folder or a device, expected a file"):
        run(inputs, cache, overwrite=overwrite)
    assert listing(cache) == {}


@pytest.mark.parametrize("share", [0, 0.001, 0.5])
def test_a_damaged_cache_is_replaced_on_demand(inputs, cache, share):
    """What is left of a cache after a full disk is in nobody's way."""
    run(inputs, cache)
    data = cache.read_bytes()
    left = data[: int(share * len(data))]
    cache.write_bytes(left)
    message = r"cache\.h5: .* pass --overwrite to replace it"
    with pytest.raises(ConfigError, match=message):
        run(inputs, cache)
    assert cache.read_bytes() == left
    assert run(inputs, cache, overwrite=True).is_written


def test_checking_writes_only_the_list_of_problems(inputs, tmp_path):
    """A check says all that a run would say, and leaves every folder as it was."""
    add_problems(inputs)
    before = listing(tmp_path)
    checked = run(inputs, tmp_path / "cache.h5", check_only=True)
    problems = tmp_path / "cache.h5.problems.csv"
    written = problems.read_bytes()
    problems.unlink()
    assert listing(tmp_path) == before
    assert (checked.num_decoded, checked.is_written) == (2, False)
    real = run(inputs, tmp_path / "cache.h5")
    assert problems.read_bytes() == written
    for field in ("recordings", "problems", "code_counts", "class_counts", "warnings"):
        assert getattr(checked, field) == getattr(real, field)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (15, 64)}, "size: found 15x64, expected at least 16x16"),
        ({"size": (1 << 14, 1 << 13)}, "size: found 16384x8192"),
        ({"several": "both"}, "several: found 'both', expected one of"),
        ({"label_offset": -1}, "label_offset: found -1, expected 0 or more"),
        ({"group_pattern": "("}, "group_pattern: .* is not a regular expression"),
    ],
)
def test_bad_options_are_refused(options, message):
    """Options are checked before anything is read."""
    with pytest.raises(ConfigError, match=message):
        PreprocessConfig(**options)


# --- staging

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


# --- times, guessed rates, streams and shapes


def write_uneven(path, num_frames=40):
    """Write a video of 30 frames per second that lacks a moment after frame 9."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
        for i, grey in enumerate(NUMBERS[:num_frames]):
            frame = av.VideoFrame.from_ndarray(grey, format="gray")
            frame.pts, frame.time_base = i + (i > 9), Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def seconds_of(num_frames):
    return [(i + (i > 9)) / 30 for i in range(num_frames)]


def test_times_of_an_uneven_video_survive_the_staging_folder(tmp_path):
    """Labels are laid by the times that the file has, in the first run and in a resumed one."""
    write_uneven(tmp_path / "v.mkv")
    (staged,) = stage(tmp_path / "v.mkv", tmp_path / "parts")
    loaded = load_part("ab", tmp_path / "parts", DecodingOptions())
    (counted,) = count_frames(
        tmp_path / "v.mkv", DecodingOptions(), threads=1, on_frames=lambda num: None
    )
    for part in (staged, loaded, counted):
        assert part.line.times.tolist() == pytest.approx(seconds_of(40), abs=1e-3)
        assert part.line.times.dtype == np.float64
        assert part.line.fps == 30
        assert (part.line.is_guess, len(part.warnings)) == (False, 1)
    path = tmp_path / "parts" / "ab_native.json"
    note = json.loads(path.read_text())
    note["line"]["times"] = [0.0, 1.0]
    path.write_text(json.dumps(note))
    assert load_part("ab", tmp_path / "parts", DecodingOptions()) is None


def test_guess_of_the_rate_survives_the_staging_folder(tmp_path):
    """Whoever lays labels may know better than a bare stream."""
    for is_guess in (False, True):
        part = DecodedAnimal(TimeLine(20, Fraction(25), is_guess=is_guess), (64, 64), ("guess",))
        save_note(part, "ab", tmp_path, DecodingOptions())
        assert load_part("ab", tmp_path, DecodingOptions()).line.is_guess is is_guess


def test_an_uneven_video_keeps_its_frames_times_and_steps(inputs, cache):
    """Frame i stays frame i; the network walks in steps of 1/30 s. The next run knows it all."""
    write_uneven(inputs / "Videos" / "uneven.mkv")
    write_annotation(inputs / "Annotations" / "uneven.csv", codes_of("uneven", 40))
    assert run(inputs, cache).num_decoded == 4
    with Store(cache) as store:
        assert [(r.name, r.num_frames, r.num_steps, r.rate) for r in store.recordings] == [
            *(("m1", 40, 40, 30), ("m2", 33, 33, 30), ("m3", 16, 16, 30), ("uneven", 40, 41, 30))
        ]
        assert [read_frame_number(frame) for frame in store.frames(3)] == [*range(40)]
        source = store.source_frame(3).tolist()
        assert source == [*range(10), source[10], *range(10, 40)]
        assert [read_frame_number(frame) for frame in store.stream_steps(3)] == source
        np.testing.assert_array_equal(store.step_labels(3), store.labels(3)[source])
        assert store.line(3).times.tolist() == pytest.approx(seconds_of(40), abs=1e-3)
        assert store.line(0).times is None
        assert store.verify() == []
    report = run(inputs, cache)
    assert (report.num_decoded, report.is_written) == (0, False)


def test_cache_that_does_not_know_of_times_is_decoded_again(inputs, cache, monkeypatch):
    """An older mpar did not look at time stamps."""
    run(inputs, cache)
    original = mpar.cache.layout.RecordingInfo.from_dict.__func__

    def forget(cls, data):
        return original(cls, {k: v for k, v in data.items() if k != "num_steps"})

    monkeypatch.setattr(mpar.cache.layout.RecordingInfo, "from_dict", classmethod(forget))
    assert run(inputs, cache).num_decoded == 3


def write_two_cameras(folder):
    for sub in ("Videos", "Annotations"):
        (folder / sub).mkdir(parents=True)
    write_two_streams(folder / "Videos" / "two.mkv", [(64, 64), (96, 96)], 1)
    write_annotation(folder / "Annotations" / "two.csv", codes_of("two", 6))


def test_stream_shapes_the_cache(tmp_path):
    """Each stream has its own frames, parts and cache; a wrong one is a problem."""
    write_two_cameras(tmp_path / "in")
    cache = tmp_path / "c.h5"
    for stream, side in ((None, 96), (0, 64), (1, 96)):
        report = run(tmp_path / "in", cache, stream=stream, overwrite=True)
        assert (report.num_decoded, report.is_written) == (1, True)
        with Store(cache) as store:
            assert store.frame_size == (side, side)
            assert store.config["stream"] == stream
        (info,) = report.recordings
        assert bool(info.warnings) == (stream is None)
        assert run(tmp_path / "in", cache, stream=stream).num_decoded == 0
    with raises_problem("no-stream"):
        run(tmp_path / "in", tmp_path / "d.h5", stream=7)
    with pytest.raises(ConfigError, match="stream: found -1"):
        PreprocessConfig(stream=-1)


def test_parts_of_another_stream_are_not_mixed_up(tmp_path):
    """A part counts only for its own stream."""
    write_two_streams(tmp_path / "v.mkv", [(64, 64), (96, 96)], 1)
    stage(tmp_path / "v.mkv", tmp_path, DecodingOptions(stream=0), num_frames=6)
    assert load_part("ab", tmp_path, DecodingOptions()) is None
    assert load_part("ab", tmp_path, DecodingOptions(stream=1)) is None
    (stretch,) = load_part("ab", tmp_path, DecodingOptions(stream=0)).stretches
    assert stretch.num_frames == 6


@pytest.mark.parametrize("check_only", [False, True])
def test_squeezed_videos_are_told(tmp_path, cache, check_only, caplog):
    """A --size of another shape is named by video, and one for several shapes for all of them."""
    add_recording(tmp_path, "square", 16)
    add_recording(tmp_path, "wide", 16, first=20, width=96)
    report = run(tmp_path, cache, size=(32, 32), check_only=check_only)
    assert [info.warnings for info in report.recordings] == [
        (),
        (
            "frames of 96x64 px are squeezed to 32x32 px, which makes everything 1.50 times too "
            "tall; pass --size 21x32 (height x width) to keep the shape, or crop the videos",
        ),
    ]
    (message,) = caplog.messages
    assert "2 shapes (64x64 px as in square.mp4, 96x64 px as in wide.mp4)" in message
    caplog.clear()
    (tmp_path / "Videos" / "square.mp4").unlink()
    (tmp_path / "Annotations" / "square_a.csv").unlink()
    report = run(tmp_path, cache, size=(32, 48), check_only=check_only, overwrite=True)
    assert ([info.warnings for info in report.recordings], caplog.messages) == ([()], [])
