"""What is in the cache: every frame, label and trial of every recording."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from mpar.cache.store import Store
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.system.files import sha256_of
from tests.fixtures.helpers import run as run_command
from tests.fixtures.synthetic import (
    write_annotation,
    write_sample,
)
from tests.integration.preprocess.running import (
    LENGTHS,
    add_recording,
    codes_of,
    content,
    listing,
    numbers,
    run,
)


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
    folders = inputs / "Videos", inputs / "Annotations"
    shown = run_command("preprocess", *folders, "-o", cache).output
    text = "the codes are those of the first by name, the classes those of their majority"
    assert text in shown
    for name in ("bob", "eve"):
        (inputs / "Annotations" / f"m3_{name}.csv").unlink()
    alone = run_command("preprocess", *folders, "-o", cache.with_name("a.h5")).output
    assert text not in alone


def test_label_offset_leaves_the_first_frames_unlabelled(inputs, cache):
    """A label file that is too short is a problem until --label-offset gives its first frame."""
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
    """A warning names the file, also if mpar uses it."""
    path = inputs / "Annotations" / "m2_a.csv"
    header, first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, second, first, *rest]))
    report = run(inputs, cache)
    assert report.warnings == ("m2_a.csv: its rows were out of order; mpar sorted them by frame",)
