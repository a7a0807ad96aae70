"""A study: its file, and what commands make of it."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.studio.runs import is_summary_old
from mpar.studio.study import COMMANDS, Study, is_study
from tests.fixtures.helpers import run


def put_study(folder, **data):
    """Write a study.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"version": 1, "videos": ["Videos"], **data})
    (folder / "study.json").write_text(text, encoding="utf-8")
    return folder


def put_network(folder, name, epoch=1):
    """Pretend that a run has a network."""
    path = folder / "runs" / name / f"best_model_epoch{epoch}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"version": 2}, "found version 2"),
        ({"video": "a"}, "found 'video'"),
        ({"videos": []}, "expected a list of folders"),
        ({"videos": [1]}, "expected a list of folders"),
        ({"options": ["size"]}, "expected options by command"),
        ({"options": {"size": 64}}, "expected options by command"),
        ({"options": {"preproces": {}}}, "found options of 'preproces'"),
        ({"in_use": 3}, "expected the name of a run"),
    ],
)
def test_what_a_study_cannot_say(tmp_path, data, found):
    """Nothing is guessed or passed over."""
    with pytest.raises(ConfigError, match=found):
        Study.open(put_study(tmp_path, **data))


@pytest.mark.parametrize("text", ["{", "[]", "\udcff", "[" * 100_000])
def test_a_file_that_is_no_study(tmp_path, text):
    """A message, no traceback, also in the commands."""
    (tmp_path / "study.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=r"study\.json: "):
        Study.open(tmp_path)
    result = run("preprocess", tmp_path)
    assert result.exit_code == 2
    assert "study.json: " in result.output


def test_places_and_options(tmp_path):
    """Files that are there are passed on; options come last, so that those of the user win."""
    options = {"size": 64, "allow-problems": True, "unscored": "rest"}
    study = Study.open(
        put_study(tmp_path, videos=["V", str(tmp_path / "W")], options={"preprocess": options})
    )
    expected = [tmp_path / "V", tmp_path / "Annotations", "--output", tmp_path / "cache.h5"]
    expected += ["--videos", tmp_path / "W"]
    given = ["--size", "64", "--allow-problems", "--unscored", "rest"]
    assert study.arguments("preprocess") == [*map(str, expected), *given]
    (tmp_path / "classes.csv").write_text("")
    (tmp_path / "regions.csv").write_text("")
    expected += ["--class-map", tmp_path / "classes.csv", "--regions", tmp_path / "regions.csv"]
    assert study.arguments("preprocess") == [*map(str, expected), *given]


def test_the_run_in_use(tmp_path):
    """The newest with a network, or the one that the study names."""
    study = Study.open(put_study(tmp_path))
    with pytest.raises(ConfigError, match="run mpar-train on it first"):
        study.arguments("predict")
    first, second = put_network(tmp_path, "run_1"), put_network(tmp_path, "run_2", 7)
    (tmp_path / "runs" / "run_3").mkdir()
    assert study.run_in_use() == "run_2"
    assert study.arguments("predict")[0] == str(second)
    study = Study.open(put_study(tmp_path, in_use="run_1"))
    assert study.arguments("predict") == [
        *(str(first), str(tmp_path / "Videos"), "--output", str(tmp_path / "predictions" / "run_1"))
    ]
    with pytest.raises(ConfigError, match="expected one of run_1, run_2"):
        Study.open(put_study(tmp_path, in_use="run_3")).run_in_use()


def test_every_command_takes_a_study(tmp_path):
    """Each names its outputs."""
    put_network(put_study(tmp_path), "run_1")
    study = Study.open(tmp_path)
    for command in COMMANDS:
        arguments = study.arguments(command)
        assert str(tmp_path) in arguments[arguments.index("--output") + 1]


@pytest.mark.slow
def test_a_study_from_videos_to_results(study, tmp_path):
    """All commands on one folder give what they give with their files; a copy works elsewhere."""
    folder = tmp_path / "Study"
    options = {"preprocess": {"size": "32"}, "train": {"model": "light", "epochs": 1}}
    put_study(folder, videos=["Videos/a", "Videos/b"], options=options)
    shutil.copytree(study.annotations, folder / "Annotations")
    for number, video in enumerate(sorted(study.videos.iterdir())):
        place = folder / "Videos" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, place)
    moved = tmp_path / "elsewhere"
    assert is_study(folder)
    for command in ("preprocess", "train"):
        result = run(command, folder)
        assert result.exit_code == 0, result.output
        assert f"runs mpar-{command} {folder}" in result.stderr
    with Store(folder / "cache.h5") as made, Store(study.cache) as expected:
        assert made.frame_size == (32, 32)
        assert {i.sha256 for i in made.recordings} == {i.sha256 for i in expected.recordings}
    folder.rename(moved)
    for command in ("predict", "evaluate", "summarize"):
        result = run(command, moved, "--quiet")
        assert result.exit_code == 0, result.output
        assert "runs mpar" not in result.stderr
    (name,) = Study.open(moved).trained_runs()
    assert len([*(moved / "predictions" / name).glob("*_predictions.csv")]) == 6
    assert (moved / "results" / "evaluation" / "metrics.json").is_file()
    assert (moved / "results" / "summary" / "by_animal.csv").is_file()


def test_options_and_folders_are_changed_in_a_copy(tmp_path):
    """Folders in the study are written from it, so that it can be moved."""
    study = Study.open(put_study(tmp_path / "S"))
    changed = study.with_option("train", "minutes", 3).with_option("train", "view", "side")
    assert changed.with_option("train", "minutes", None).options == {"train": {"view": "side"}}
    assert study.options == {}
    inside, outside = tmp_path / "S" / "V", tmp_path / "W"
    assert study.with_videos([inside, outside, inside]).videos == ("V", str(outside))


def test_what_is_given_decides_where_outputs_go(tmp_path):
    """Each export has a folder of its own; a run is continued without options."""
    folder = put_study(tmp_path, options={"train": {"minutes": 3}})
    put_network(folder, "run_1")
    (folder / "animals.csv").write_text("Recording\n")
    study = Study.open(folder)
    assert study.arguments("train", ["--resume", "x"]) == [str(folder / "cache.h5")]
    assert "--minutes" in study.arguments("train")
    places = {
        name: study.arguments("export", ["--format", name]) for name in ("boris", "nwb", "video")
    }
    assert places["boris"][-1] == str(folder / "results" / "export_boris")
    assert places["nwb"][-2:] == ["--metadata", str(folder / "animals.csv")]
    assert places["video"][-2:] == ["--videos", str(folder / "Videos")]
    study = Study.open(put_study(tmp_path, videos=["Videos", str(tmp_path / "W")]))
    videos = ["--videos", str(folder / "Videos"), "--videos", str(tmp_path / "W")]
    assert study.arguments("export", ["--format", "video"])[-4:] == videos


@pytest.mark.parametrize(
    ("model", "given", "kept"),
    [
        ("none", [], ["--model", "none", "--seed", "3"]),
        ("fast", ["--model", "none"], ["--model", "fast", "--seed", "3"]),
        ("fast", ["--model=none"], ["--model", "fast", "--seed", "3"]),
        ("none", ["--model", "fast"], None),
        ("fast", ["--features", "none"], None),
    ],
)
def test_without_a_network_its_options_are_left_out(tmp_path, model, given, kept):
    """A study may hold them from before; mpar-train would refuse them."""
    options = {"model": model, "clip-length": 8, "no-amp": True, "epochs": 12, "seed": 3}
    study = Study.open(put_study(tmp_path, options={"train": options}))
    every = ["--model", model, "--clip-length", "8", "--no-amp", "--epochs", "12", "--seed", "3"]
    assert study.arguments("train", given)[3:] == (kept or every)


@pytest.mark.parametrize("is_given", [False, True])
def test_regions_drawn_for_a_study_lie_in_it(tmp_path, monkeypatch, is_given):
    """Wherever the page for scoring was started; other outputs keep theirs."""
    (tmp_path / "Videos").mkdir()
    put_study(tmp_path)
    configs = []

    def open_nothing(*_folders, config, **_options):
        configs.append(config)
        raise ConfigError("that is enough")

    monkeypatch.setattr("mpar.review.opened_review", open_nothing)
    run("review", *([tmp_path] if is_given else [tmp_path / "Videos", "-o", tmp_path / "labels"]))
    run("review", tmp_path / "Videos", "-o", tmp_path / "labels" / "of_me")
    assert [config.regions_path for config in configs] == [tmp_path / "regions.csv", None]


def test_a_correction_is_learnt_and_compared_in_place_of_what_it_corrects(small, study):
    """The cache has one annotator; only the corrected frames differ, and evaluation agrees."""
    first, path = "mouse_01_annotation.csv", small / "Annotations" / "mouse_01_eva.csv"
    rows = [f"{i},{'walk' if 10 <= i < 20 else -1}" for i in range(48)]
    path.write_text("Frame,Action\n" + "\n".join(rows) + "\n")
    about = {"format": "mpar-review", "corrects": [first]}
    path.with_suffix(".json").write_text(json.dumps(about))
    assert "corrects mouse_01_annotation.csv: its labels of 10" in run("preprocess", small).output
    with Store(study.cache) as before, Store(small / "cache.h5") as after:
        assert after.recordings[0].annotators == ("mouse_01_annotation + eva",)
        was, now = before.labels(0).copy(), after.labels(0)
        was[10:20] = after.class_map.class_names.index("walk")
        assert now.tolist() == was.tolist()
    folder = small / "predictions" / "run_1"
    folder.mkdir(parents=True)
    walk = [f"{i},walk" for i in range(48)]
    (folder / "mouse_01_predictions.csv").write_text("Frame,Action\n" + "\n".join(walk) + "\n")
    put_network(small, "run_1")
    result = run("evaluate", small, "--overwrite")
    metrics = json.loads((small / "results/evaluation/metrics.json").read_text())
    assert result.exit_code in {0, 1}, result.output
    assert metrics["scores"]["classes"]["walk"]["support"] == int((now == 4).sum())


def test_a_summary_is_old_once_its_predictions_are_new(tmp_path):
    """The names of the runs are the same, and the numbers are not."""
    study = Study.open(put_study(tmp_path))
    put_network(tmp_path, "run_1")
    assert not is_summary_old(study)
    prediction = study.predictions("run_1") / "m1_predictions.csv"
    settings = study.results / "summary" / "settings.json"
    for path in (prediction, settings):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"predictions": str(prediction.parent)}))
    os.utime(prediction, (1, 1))
    assert not is_summary_old(study)
    os.utime(settings, (0, 0))
    assert is_summary_old(study)
