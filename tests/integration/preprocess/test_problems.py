"""Problems are collected over all files; nothing is lost or replaced by accident."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.errors import ConfigError, InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.preprocess import PreprocessConfig, problems_path
from tests.fixtures.synthetic import (
    write_annotation,
)
from tests.integration.preprocess.running import add_recording, codes_of, listing, run


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
