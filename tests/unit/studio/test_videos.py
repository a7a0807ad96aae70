"""The table of videos: facts, scorers, problems, and what there is to learn from."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.studio import videos as videos_module
from mpar.studio.study import Study
from mpar.studio.videos import VideoTable
from tests.fixtures.synthetic import draw_frame_numbers, write_annotation, write_video
from tests.unit.studio.test_study import put_network, put_study


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch):
    monkeypatch.setattr(videos_module, "_LOOK_S", 0)
    monkeypatch.setattr(videos_module, "_REREAD_S", 0)


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
    table = VideoTable(small)
    found = wait_for(table, opened)
    assert found["is_reading"] is False
    rows = {row["name"]: row for row in found["videos"]}
    assert list(rows) == [f"mouse_{k:02}.mp4" for k in range(1, 7)]
    third = rows["mouse_03.mp4"]
    assert (third["num_frames"], third["size"], third["fps"]) == (48, "64 × 64", 30)
    assert third["scored"] == [
        {"name": "ann a", "animal": "", "file": "mouse_03_ann a.csv", "num_frames": 48}
    ]
    assert rows["mouse_04.mp4"]["scored"] == []
    assert [row["predicted"] for row in rows.values()] == [[], ["run_1"], [], [], [], []]
    video = table.video_named(third["id"])
    assert table.picture_path(video).read_bytes()[:2] == b"\xff\xd8"
    labelled = table.labelled(None)
    assert (labelled["num_recordings"], labelled["num_animals"]) == (5, 5)
    with Store(study.cache) as store:
        kept = [i for i, info in enumerate(store.recordings) if info.video != "mouse_04.mp4"]
        counts = sum(np.bincount(store.labels(i), minlength=6) for i in kept)
    assert [item["num_frames"] for item in labelled["classes"]] == counts.tolist()


def test_a_second_window_reads_no_video_again(small, monkeypatch):
    """Facts and pictures are kept; a changed file is read anew."""
    opened = Study.open(small)
    first = wait_for(VideoTable(small), opened)
    seen = []
    read = VideoTable._open
    monkeypatch.setattr(VideoTable, "_open", lambda self, v: seen.append(v.name) or read(self, v))
    assert wait_for(VideoTable(small), opened)["videos"] == first["videos"]
    assert seen == []
    shutil.copy(small / "Videos" / "mouse_01.mp4", small / "Videos" / "mouse_02.mp4")
    wait_for(VideoTable(small), opened)
    assert seen == ["mouse_02.mp4"]


def test_problems_stand_at_their_video(small):
    """Of the video, of its labels, and those that preprocessing listed; none for missing labels."""
    (small / "Videos" / "mouse_01.mp4").write_bytes(b"nothing")
    (small / "Annotations" / "mouse_02_annotation.csv").write_text("Frame,Action\n0,9\n1,9\n")
    (small / "Annotations" / "other.csv").write_text("Frame,Action\n0,0\n")
    (small / "cache.h5.problems.csv").write_text(
        "File,Line,Code,Problem\nmouse_03.mp4,,lost-frames,lost some\nmouse_04.mp4,,no-labels,x\n"
    )
    found = wait_for(VideoTable(small), Study.open(small))
    codes = {row["name"]: [p["code"] for p in row["problems"]] for row in found["videos"]}
    assert codes["mouse_01.mp4"] == ["video-damaged"]
    assert codes["mouse_02.mp4"] == ["unknown-class"]
    assert codes["mouse_03.mp4"] == ["lost-frames"]
    assert codes["mouse_04.mp4"] == []
    assert [(p["file"], p["code"]) for p in found["problems"]] == [("other.csv", "no-video")]


def test_the_pattern_names_animals(small):
    """Recordings of one animal count as one."""
    study = Study.open(small).with_option("preprocess", "group-pattern", "mouse_0[12]|m")
    table = VideoTable(small)
    found = wait_for(table, study)
    assert {row["animal"] for row in found["videos"]} == {"mouse_01", "mouse_02", "m"}
    assert table.labelled("mouse_0[12]|m")["num_animals"] == 3


def test_animals_of_one_video_are_recordings_of_their_own(small):
    """Each has its scorers; without regions, the page says what would go wrong."""
    folder = small / "Annotations"
    for path in folder.iterdir():
        name = path.name.replace("mouse_01_annotation", "mouse_01__A_ann")
        path.rename(folder / name.replace("mouse_02_annotation", "mouse_01__B"))
    table, study = VideoTable(small), Study.open(small)
    row = wait_for(table, study)["videos"][0]
    assert [(item["animal"], item["name"]) for item in row["scored"]] == [
        ("A", "ann"),
        ("B", "mouse_01__B"),
    ]
    assert [problem["code"] for problem in row["problems"]] == ["region"]
    labelled = table.labelled(None)
    assert (labelled["num_recordings"], labelled["num_animals"]) == (6, 6)
    (small / "regions.csv").write_text("Video,Animal,X,Y,Width,Height\n*,A,0,0,32,64\n")
    assert wait_for(table, study)["videos"][0]["problems"] == []


def test_a_mistake_in_classes_is_a_problem(small):
    """The table says so and goes on."""
    (small / "classes.csv").write_text("code,name\n0,rest\n")
    found = wait_for(VideoTable(small), Study.open(small))
    assert "classes.csv" in found["problems"][0]["text"]
    assert all(row["seconds"] for row in found["videos"])


@pytest.mark.slow
def test_five_hundred_videos_are_listed_at_once(tmp_path):
    """The first answer comes within two seconds; 200,000 rows of labels follow."""
    folder = put_study(tmp_path / "S")
    (folder / "Annotations").mkdir()
    path = tmp_path / "v.mp4"
    write_video(path, draw_frame_numbers(10, 64, 64))
    codes = np.random.default_rng(0).integers(0, 8, 400)
    write_annotation(tmp_path / "a.csv", codes)
    (folder / "Videos").mkdir()
    for k in range(500):
        shutil.copy(path, folder / "Videos" / f"m{k:03}.mp4")
        shutil.copy(tmp_path / "a.csv", folder / "Annotations" / f"m{k:03}_anna.csv")
    started = time.monotonic()
    table, study = VideoTable(folder), Study.open(folder)
    table.look(study)
    assert len(table.state(study)["videos"]) == 500
    assert time.monotonic() - started < 2
    wait_for(table, study)
    assert table.labelled(None)["num_recordings"] == 500
