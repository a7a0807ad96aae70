"""The table of videos: facts, scorers, problems, and what there is to learn from."""

from __future__ import annotations

import itertools
import os
import shutil
import time

import numpy as np
import pytest
from mpar_cli._commands import Commands

from mpar.cache.store import Store
from mpar.studio import videos as videos_module
from mpar.studio.study import Study
from mpar.studio.videos import VideoTable
from tests.fixtures.helpers import run
from tests.fixtures.synthetic import draw_frame_numbers, write_annotation, write_video
from tests.unit.studio.test_study import put_network, put_study


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch):
    monkeypatch.setattr(videos_module, "_LOOK_S", 0)
    monkeypatch.setattr(videos_module, "_REREAD_S", 0)
    monkeypatch.setattr(videos_module, "_REST", 0)


def wait_for(table, study):
    """Return the state once everything is read."""
    table.look(study)
    end = time.monotonic() + 60
    while table.is_reading:
        assert time.monotonic() < end
        time.sleep(0.01)
    return table.state(study)


def test_facts_scorers_and_predictions(small, study):
    """What the table says is what the files say; counts are those of the cache."""
    (small / "Annotations" / "mouse_03_annotation.csv").rename(
        small / "Annotations" / "mouse_03_ann a.csv"
    )
    (small / "Annotations" / "mouse_04_annotation.csv").unlink()
    put_network(small, "run_1")
    folder = small / "predictions" / "run_1"
    folder.mkdir(parents=True)
    (folder / "mouse_02_predictions.csv").write_text("Frame\n")
    opened = Study.open(small)
    table = VideoTable(small, Commands())
    found = wait_for(table, opened)
    assert found["is_reading"] is False
    rows = {row["name"]: row for row in found["videos"]}
    assert list(rows) == [f"mouse_{k:02}.mp4" for k in range(1, 7)]
    third = rows["mouse_03.mp4"]
    assert (third["num_frames"], third["size"], third["fps"]) == (48, "64 × 64", 30)
    assert third["scored"] == [
        {
            "name": "ann a",
            "animal": "",
            "file": "mouse_03_ann a.csv",
            "num_frames": 48,
            "corrects": [],
        }
    ]
    assert rows["mouse_04.mp4"]["scored"] == []
    assert [row["predicted"] for row in rows.values()] == [[], ["run_1"], [], [], [], []]
    video = table.video_named(third["id"])
    assert table.picture_path(video).read_bytes()[:2] == b"\xff\xd8"
    labelled = table.labelled()
    assert (labelled["num_recordings"], labelled["num_animals"]) == (5, 5)
    with Store(study.cache) as store:
        kept = [i for i, info in enumerate(store.recordings) if info.video != "mouse_04.mp4"]
        counts = sum(np.bincount(store.labels(i), minlength=6) for i in kept)
    assert [item["num_frames"] for item in labelled["classes"]] == counts.tolist()


def test_a_second_window_reads_no_video_again(small, monkeypatch):
    """Facts and pictures are kept; a changed file is read anew."""
    opened = Study.open(small)
    first = wait_for(VideoTable(small, Commands()), opened)
    seen = []
    read = VideoTable._open
    monkeypatch.setattr(VideoTable, "_open", lambda self, v: seen.append(v.name) or read(self, v))
    assert wait_for(VideoTable(small, Commands()), opened)["videos"] == first["videos"]
    assert seen == []
    shutil.copy(small / "Videos" / "mouse_01.mp4", small / "Videos" / "mouse_02.mp4")
    wait_for(VideoTable(small, Commands()), opened)
    assert seen == ["mouse_02.mp4"]


def test_problems_stand_at_their_video(small):
    """Of the video, of its labels, and those that preprocessing listed; none for missing labels."""
    (small / "Videos" / "mouse_01.mp4").write_bytes(b"nothing")
    (small / "Annotations" / "mouse_02_annotation.csv").write_text("Frame,Action\n0,9\n1,9\n")
    (small / "Annotations" / "other.csv").write_text("Frame,Action\n0,0\n")
    (small / "cache.h5.problems.csv").write_text(
        "File,Line,Code,Problem\nmouse_03.mp4,,lost-frames,lost some\nmouse_04.mp4,,no-labels,x\n"
    )
    found = wait_for(VideoTable(small, Commands()), Study.open(small))
    codes = {row["name"]: [p["code"] for p in row["problems"]] for row in found["videos"]}
    assert codes["mouse_01.mp4"] == ["video-damaged"]
    assert codes["mouse_02.mp4"] == ["unknown-class"]
    assert codes["mouse_03.mp4"] == ["lost-frames"]
    assert codes["mouse_04.mp4"] == []
    assert [(p["file"], p["code"]) for p in found["problems"]] == [("other.csv", "no-video")]
    later = (small / "cache.h5.problems.csv").stat().st_mtime + 10
    os.utime(small / "Videos" / "mouse_03.mp4", (later, later))  # somebody repaired it
    found = wait_for(VideoTable(small, Commands()), Study.open(small))
    assert found["videos"][2]["problems"] == []


def test_the_pattern_names_animals(small):
    """Recordings of one animal count as one."""
    study = Study.open(small).with_option("preprocess", "group-pattern", "mouse_0[12]|m")
    study.save()
    table = VideoTable(small, Commands())
    found = wait_for(table, study)
    assert {row["animal"] for row in found["videos"]} == {"mouse_01", "mouse_02", "m"}
    assert table.labelled()["num_animals"] == 3


def test_animals_of_one_video_are_recordings_of_their_own(small):
    """Each has its scorers; without regions, the page says what would go wrong."""
    folder = small / "Annotations"
    for path in folder.iterdir():
        name = path.name.replace("mouse_01_annotation", "mouse_01__A_ann")
        path.rename(folder / name.replace("mouse_02_annotation", "mouse_01__B"))
    table, study = VideoTable(small, Commands()), Study.open(small)
    row = wait_for(table, study)["videos"][0]
    assert [(item["animal"], item["name"]) for item in row["scored"]] == [
        ("A", "ann"),
        ("B", "mouse_01__B"),
    ]
    assert [problem["code"] for problem in row["problems"]] == ["region"]
    assert counts_of(table) == counts_of_cache(small)
    (small / "regions.csv").write_text(
        "Video,Animal,X,Y,Width,Height\n*,A,0,0,32,64\n*,B,32,0,32,64\n"
    )
    row = wait_for(table, study)["videos"][0]
    assert [(item["animal"], item["name"]) for item in row["scored"]] == [
        ("A", "ann"),
        ("B", "mouse_01__B"),
    ]
    assert row["problems"] == []
    assert counts_of(table) == counts_of_cache(small)


def counts_of(table):
    """Return recordings, animals, and frames and bouts by class."""
    found = table.labelled()
    classes = [(item["num_frames"], item["num_bouts"]) for item in found["classes"]]
    return found["num_recordings"], found["num_animals"], classes


def counts_of_cache(folder):
    """Return the same of the cache that mpar-preprocess makes of a study."""
    (folder / "cache.h5").unlink(missing_ok=True)
    result = run("preprocess", folder, "--allow-problems")
    assert result.exit_code == 0, result.output
    counts = np.zeros((6, 2), int)
    with Store(folder / "cache.h5") as store:
        for i in range(len(store.recordings)):
            for label, bout in itertools.groupby(store.labels(i).tolist()):
                if label >= 0:
                    counts[label] += len([*bout]), 1
        animals = {info.group or info.name for info in store.recordings}
        return len(store.recordings), len(animals), [tuple(row) for row in counts.tolist()]


def test_counts_before_learning_are_those_of_the_cache(small):
    """Annotators, corrections, trials, refused files, copies and animals count as they do there."""
    labels, videos = small / "Annotations", small / "Videos"
    write_annotation(labels / "mouse_01_ben.csv", [4] * 30 + [2] * 18)
    write_annotation(labels / "mouse_01_eva.csv", [-1] * 40 + [0] * 8)
    (labels / "mouse_01_eva.json").write_text(
        '{"format": "mpar-review", "corrects": ["mouse_01_annotation.csv", "mouse_01_ben.csv"]}'
    )
    write_annotation(labels / "mouse_02_ben.csv", [4] * 47)  # one row is missing
    (labels / "mouse_03_annotation.csv").unlink()
    write_annotation(labels / "mouse_03_1.csv", [4] * 20)
    write_annotation(labels / "mouse_03_2.csv", [0] * 28)
    (labels / "mouse_04_annotation.csv").unlink()
    event = "Observation id,Media file name,FPS,Subject,Behavior,Behavior type,Start (s),Stop (s)\n"
    (labels / "mouse_04.csv").write_text(event + "a,mouse_04.mp4,30,,walk,STATE,0.1,0.9\n")
    (labels / "mouse_05_annotation.csv").write_text("Frame,Action\n0,9\n")
    shutil.copy(videos / "mouse_06.mp4", videos / "mouse_07.mp4")
    shutil.copy(labels / "mouse_06_annotation.csv", labels / "mouse_07_annotation.csv")
    for options in ({}, {"group-pattern": "mouse_0[123]|m"}, {"unscored": "rest", "size": "32"}):
        study = Study(small, ("Videos",), {"preprocess": options})
        study.save()
        table = VideoTable(small, Commands())
        rows = {row["name"]: row for row in wait_for(table, study)["videos"]}
        codes = {name: [p["code"] for p in row["problems"]] for name, row in rows.items()}
        assert codes["mouse_02.mp4"] == ["row-count"]
        assert codes["mouse_05.mp4"] == ["unknown-class"]
        assert codes["mouse_07.mp4"] == ["same-content"]
        assert [item["corrects"] for item in rows["mouse_01.mp4"]["scored"]][-1] != []
        assert table.labelled()["num_refused"] == 3
        assert counts_of(table) == counts_of_cache(small)
        (small / "cache.h5.problems.csv").unlink()


def test_a_mistake_in_classes_is_a_problem(small):
    """The table says so and goes on."""
    (small / "classes.csv").write_text("code,name\n0,rest\n")
    found = wait_for(VideoTable(small, Commands()), Study.open(small))
    assert "classes.csv" in found["problems"][0]["text"]
    assert all(row["seconds"] for row in found["videos"])


@pytest.mark.slow
def test_five_hundred_videos_are_listed_at_once(tmp_path):
    """The first answer comes within two seconds; 200,000 rows of labels follow."""
    folder = put_study(tmp_path / "S")
    (folder / "Annotations").mkdir()
    path = tmp_path / "v.mp4"
    write_video(path, draw_frame_numbers(400, 64, 64))
    codes = np.random.default_rng(0).integers(0, 8, 400)
    write_annotation(tmp_path / "a.csv", codes)
    (folder / "Videos").mkdir()
    for k in range(500):
        # a box of mp4 that says nothing makes each another file
        box = (12).to_bytes(4, "big") + b"free" + k.to_bytes(4, "big")
        (folder / "Videos" / f"m{k:03}.mp4").write_bytes(path.read_bytes() + box)
        shutil.copy(tmp_path / "a.csv", folder / "Annotations" / f"m{k:03}_anna.csv")
    started = time.monotonic()
    table, study = VideoTable(folder, Commands()), Study.open(folder)
    table.look(study)
    assert len(table.state(study)["videos"]) == 500
    assert time.monotonic() - started < 2
    wait_for(table, study)
    assert table.labelled()["num_recordings"] == 500
