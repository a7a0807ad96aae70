"""The server of the window: closed to others, and to paths outside the results."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import time
import urllib.request
from urllib.parse import quote

import pytest
from mpar_cli._commands import Commands

from mpar.errors import ConfigError
from mpar.studio import tables
from mpar.studio.routes import opened_studio
from mpar.studio.study import Study
from mpar.system.files import sha256_of
from tests.fixtures.helpers import run
from tests.unit.studio.conftest import PORT
from tests.unit.studio.test_study import put_network, put_study

pytest.importorskip("flask", reason="mpar[review] is not installed")


@pytest.fixture
def client(opened, tmp_path):
    """Ask the application of a study with a result."""
    folder = put_study(tmp_path / "S")
    (folder / "Videos").mkdir()
    (folder / "Annotations").mkdir()
    (folder / "results").mkdir()
    (folder / "results" / "a.csv").write_text("x\n")
    (folder / "secret.csv").write_text("y\n")
    return opened(folder)


def test_only_those_with_the_link_get_in(client):
    """Another token or host is refused, also for what starts jobs."""
    assert client("state").status_code == 200
    for options in (
        {"token": "guess"},
        {"host": "evil.example"},
        {"host": f"127.0.0.1:{PORT + 1}"},
    ):
        assert client("state", **options).status_code == 403
        assert client("job", {"command": "train"}, **options).status_code == 403
    assert not (client.folder / "jobs").exists()


@pytest.mark.parametrize(
    "path",
    [
        "secret.csv",
        "../S/secret.csv",
        "results/../secret.csv",
        "results%2F..%2Fsecret.csv",
        "/etc/passwd",
        "study.json",
    ],
)
def test_no_path_leads_out_of_the_results(client, path):
    """Only files that the page lists are sent."""
    assert client(f"file/{path}").status_code in {404, 308}
    assert client("file/results/a.csv").data == b"x\n"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("job", b"{"),
        ("job", {"command": "review"}),
        ("job", {"command": "../_job"}),
        ("job", {"command": "train", "options": "--epochs 3"}),
        ("job", {"command": "train", "options": [3]}),
        ("stop", {"number": 1}),
        ("stop", {"number": [1]}),
        ("use", {"run": "../x"}),
        ("use", {}),
        ("job", {"command": "studio", "options": ["--demo"]}),
        ("job", {"command": "train", "after": 7}),
        ("option", {"command": "train", "name": "output", "value": "/tmp"}),
        ("option", {"command": "train", "name": "minutes", "value": {"a": 1}}),
        ("option", {"command": "x", "name": "y", "value": "z"}),
        ("video-folders", {"folders": ["../Videos"]}),
        ("video-folders", {"folders": []}),
        ("video-folders", {"folders": "/"}),
        ("look-in", {"folder": "Videos"}),
        ("open", {"folder": "relative", "videos": []}),
        ("open", {"folder": 3}),
        ("import?name=../x.exe", b"1"),
        ("import/copy", {"names": 3}),
        ("classes", {"rows": [[1]], "digest": ""}),
        ("animals", {"columns": [], "rows": [], "digest": ""}),
        ("pattern", b"["),
        ("review", {"frame": "first"}),
    ],
)
def test_bad_requests_change_nothing(client, path, body):
    """They are refused with a reason."""
    before = (client.folder / "study.json").read_text()
    files = sorted(p.name for p in client.folder.rglob("*"))
    answer = client(path, body)
    assert answer.status_code == 400
    assert answer.json["error"]
    assert sorted(p.name for p in client.folder.rglob("*")) == files
    assert (client.folder / "study.json").read_text() == before
    assert not (client.folder / "jobs").exists()


def test_a_run_is_put_in_use_and_jobs_are_added(client):
    """study.json says which run; a job waits with its options."""
    for name in ("run_1", "run_2"):
        put_network(client.folder, name)
    assert client("use", {"run": "run_1"}).status_code == 200
    assert Study.open(client.folder).in_use == "run_1"
    assert client("job", {"command": "predict", "options": ["--stride", "2"]}).json == {"number": 1}
    state = client("state").json
    assert state["jobs"][0]["line"] == f"mpar-predict {client.folder} --stride 2"
    assert [run["is_in_use"] for run in state["runs"]] == [False, True]
    client("stop", {"number": 1})
    assert client("state").json["jobs"][0]["state"] == "stopped"


def test_a_page_among_the_results_is_kept_in_a_sandbox(client):
    """A report runs its own scripts and reaches nothing else."""
    (client.folder / "results" / "report.html").write_text("<script>1</script>")
    policy = client("file/results/report.html").headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")


def test_a_study_changed_by_hand_is_shown_as_it_is(client):
    """A mistake in study.json is a message, not a dead page."""
    (client.folder / "study.json").write_text("{")
    answer = client("state")
    assert answer.status_code == 422
    assert "study.json: is not JSON" in answer.json["error"]


def test_one_window_a_study_and_no_study_by_accident(tmp_path):
    """A second window is refused; so is a folder without a study."""
    folder = put_study(tmp_path / "S")
    with opened_studio(Commands(), folder), pytest.raises(ConfigError, match="another window"):
        opened_studio(Commands(), folder).__enter__()
    assert "--videos FOLDER" in run("studio", tmp_path / "none").output
    (tmp_path / "V").mkdir()
    result = run("studio", folder, "--videos", tmp_path / "V")
    assert result.exit_code == 2
    assert "is there already" in result.output


def test_without_a_study_one_is_chosen_or_made(opened, tmp_path, study):
    """The page lists folders by name; nothing else works before a study is open."""
    ask = opened()
    assert ask("state").json["folder"] == ""
    for path in ("videos", "run?name=x", "animals", "classes", "import", "methods"):
        assert ask(path).status_code == 422
    assert ask("picture?id=x").status_code == 404
    assert ask("job", {"command": "train"}).status_code == 422
    shutil.copytree(study.videos, tmp_path / "films")
    (tmp_path / ".hidden").mkdir()
    found = ask(f"folders?path={tmp_path}").json
    assert found["folders"] == ["films"]
    assert ask(f"folders?path={tmp_path / 'films'}").json["num_videos"] == 6
    assert ask("folders?path=films").status_code == 400
    body = {"folder": str(tmp_path / "New"), "videos": [str(tmp_path / "no")]}
    assert "is not a folder" in ask("open", body).json["error"]
    assert not (tmp_path / "New").exists()
    body["videos"] = [str(tmp_path / "films")]
    assert ask("open", body).status_code == 200
    assert Study.open(tmp_path / "New").video_folders == (tmp_path / "films",)
    assert ask("state").json["name"] == "New"
    assert ask("open", body).status_code == 400  # one is open


def test_the_demo_is_a_study_and_is_made_once(opened, tmp_path):
    """Sixteen videos, twelve scored; a folder with something in it is refused."""
    ask = opened()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    answer = ask("open", {"folder": str(tmp_path / "full"), "is_demo": True})
    assert "is not empty" in answer.json["error"]
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    assert ask("open", {"folder": str(tmp_path / "demo"), "is_demo": True}).status_code == 200
    assert len(ask("videos").json["videos"]) == 16
    assert len([*(tmp_path / "demo" / "Annotations").iterdir()]) == 12


def test_options_go_into_the_study(client):
    """They are those that the commands read; a pattern is one for all commands."""
    for name, value in (("size", "48"), ("follow", True), ("group-pattern", "m[0-9]+")):
        assert (
            client("option", {"command": "preprocess", "name": name, "value": value}).status_code
            == 200
        )
    client("option", {"command": "preprocess", "name": "follow", "value": None})
    study = Study.open(client.folder)
    assert study.options["preprocess"] == {"size": "48", "group-pattern": "m[0-9]+"}
    assert study.options["review"] == study.options["evaluate"] == {"group-pattern": "m[0-9]+"}
    assert client("state").json["options"]["preprocess"]["size"] == "48"
    client("option", {"command": "preprocess", "name": "label-offset", "value": 0})
    assert "--label-offset 0" in " ".join(Study.open(client.folder).arguments("preprocess"))


def test_groups_are_columns_of_the_animals(client):
    """Another column is refused at once, with those that there are."""
    body = {"command": "summarize", "name": "group-by", "value": ["nosuch"]}
    assert client("option", body).status_code == 400
    (client.folder / "animals.csv").write_text("Recording,Animal,dose\nm1,a,3\n")
    answer = client("option", body)
    assert "animals.csv: found the columns dose, expected 'nosuch'" in answer.json["error"]
    assert client("option", body | {"value": ["dose"]}).status_code == 200


def test_a_job_that_waits_is_not_added_twice(client):
    """Two clicks, or two pages, ask for the same."""
    job = {"command": "predict", "options": ["--stride", "2"]}
    assert [client("job", job).json["number"] for _ in range(2)] == [1, 1]
    assert client("job", job | {"options": []}).json == {"number": 2}


def test_labels_of_any_length_are_received(opened, small):
    """A file may be longer than other requests; it waits outside of the label files."""
    ask = opened(small)
    rows = b"Frame,Action\n" + b"".join(b"%d,rest\n" % k for k in range(200_000))
    assert len(rows) > 1 << 20
    assert ask("import?name=mouse_01_ben.csv", rows).status_code == 200
    (found,) = ask("import").json["files"]
    assert found["matches"][0]["count"] == 200_000
    assert ask("import/copy", {"names": ["mouse_01_ben.csv"]}).json == {
        "copied": ["mouse_01_ben.csv"]
    }
    assert (small / "Annotations" / "mouse_01_ben.csv").read_bytes() == rows


def test_a_full_disk_is_a_message(client, monkeypatch):
    """The page says what was not saved; the study stays as it was."""
    before = (client.folder / "study.json").read_bytes()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mpar.system.files.os.fsync", refuse)
    answer = client("option", {"command": "train", "name": "minutes", "value": 3})
    assert answer.status_code == 507
    assert "No space left" in answer.json["error"]
    assert (client.folder / "study.json").read_bytes() == before


def test_moved_videos_are_asked_for_and_found_by_content(opened, small, study):
    """The study opens without its videos; the new folder is recognised, renamed files are named."""
    shutil.copy(study.cache, small / "cache.h5")
    (small / "Videos").rename(small.parent / "elsewhere")
    ask = opened(small)
    state = ask("state").json
    assert state["missing"] == [str(small / "Videos")]
    assert ask("videos").json["videos"] == []
    new = small.parent / "elsewhere"
    (new / "mouse_02.mp4").rename(new / "second.mp4")
    (new / "mouse_03.mp4").write_bytes(b"other")
    found = ask("look-in", {"folder": str(new)}).json
    assert found == {
        "num_videos": 6,
        "num_known": 6,
        "num_found": 5,
        "renamed": [["mouse_02.mp4", "second.mp4"]],
    }
    assert ask("video-folders", {"folders": [str(new)]}).status_code == 200
    assert ask("state").json["missing"] == []
    assert Study.open(small).video_folders == (new,)


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    """A study with a run, its evaluation, predictions and a summary, made by commands."""
    folder = put_study(tmp_path_factory.mktemp("finished") / "Pain")
    shutil.copytree(study.videos, folder / "Videos")
    shutil.copytree(study.annotations, folder / "Annotations")
    shutil.copy(study.cache, folder / "cache.h5")
    shutil.copytree(study.run, folder / "runs" / "run_1")
    for command in (
        ["evaluate", study.checkpoint, study.cache, "-o", folder / "runs/run_1/evaluation"],
        ["predict", folder, "-q"],
        ["summarize", folder, "-q"],
    ):
        result = run(*command)
        assert result.exit_code == 0, result.output
    return folder


def test_what_a_run_found_is_what_its_files_say(opened, finished):
    """The page shows metrics.json; disagreements lead to frames of a recording."""
    ask = opened(finished)
    (item,) = ask("state").json["runs"]
    metrics = json.loads((finished / "runs/run_1/evaluation/metrics.json").read_text())
    assert item["macro_f1"] == metrics["scores"]["macro_f1"]
    assert (item["is_finished"], item["is_in_use"], item["num_predicted"]) == (True, True, 6)
    assert [epoch["epoch"] for epoch in item["history"]] == [1, 2]
    report = ask("run?name=run_1").json
    assert report["confusion"] == metrics["scores"]["confusion"]
    assert report["disagreements"] == metrics["disagreements"] != []
    for place in report["disagreements"]:
        assert place["recording"] in metrics["recordings"]
        assert 0 <= place["start"] < place["stop"] <= 48
        assert place["truth"] != place["predicted"]
    assert ask("file/" + report["ethograms"][0]).data[:4] == b"\x89PNG"
    assert ask("run?name=../run_1").status_code == 400
    text = ask("methods").json["text"]
    assert f"{metrics['scores']['macro_f1']:.2f}" in text
    assert "scored 6 recordings (288 frames)" in text


def test_the_archive_holds_everything_with_its_checksums(finished, tmp_path):
    """A command writes it; it opens elsewhere as a study, and its sums are right."""
    before = {*finished.glob("results/*.zip")}
    result = run("studio", finished, "--archive", "-q")
    assert result.exit_code == 0, result.output
    (path,) = {*finished.glob("results/*.zip")} - before
    shutil.unpack_archive(path, tmp_path)
    folder = tmp_path / "Pain"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    named = {line[66:]: line[:64] for line in lines}
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == {*named, "SHA256SUMS"}
    assert all(sha256_of(folder / name) == digest for name, digest in named.items())
    assert {"study.json", "methods.txt", "runs/run_1/config.json"} <= found
    assert not [name for name in found if name.endswith((".mp4", ".h5", ".zip"))]
    assert Study.open(folder).run_in_use() == "run_1"
    result = run("studio", "--archive")
    assert result.exit_code == 2


def test_a_copied_study_works_elsewhere(opened, finished, tmp_path):
    """Everything in the study is named from it."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    ask = opened(copy)
    state = ask("state").json
    assert state["missing"] == []
    assert state["in_use"] == "run_1"
    assert len(ask("videos").json["videos"]) == 6
    result = run("predict", copy, "-q")
    assert "6 predictions of this network with these options already there" in result.output


def test_a_study_with_predictions_can_be_scored_after_a_change_of_classes(
    opened, finished, tmp_path
):
    """The page leaves out the predictions, and says so."""
    folder = tmp_path / "Study"
    shutil.copytree(finished, folder)
    study = Study.open(folder)
    classes = tables.read_classes(study)
    groom = {"code": 70, "name": "groom", "class": "groom", "mirror": "", "response": ""}
    tables.write_classes(study, classes | {"rows": [*classes["rows"], groom]})
    ask = opened(folder)
    reply = ask("review", {})
    assert reply.status_code == 200, reply.json
    with urllib.request.urlopen(f"{reply.json['url']}study") as page:
        shown = json.load(page)
    assert "predicted with other classes" in shown["warnings"][0]
    assert "groom" in [item["name"] for item in shown["classes"]]


def test_the_page_for_scoring_is_opened_anew_only_if_it_must(opened, small):
    """Other classes need a new one, but not while predictions come; links lead to a frame."""
    ask = opened(small)
    ask("state")
    first = ask("review", {}).json["url"]
    assert ask("review", {"name": "mouse_02", "frame": 7}).json["url"] == (
        f"{first}#name=mouse_02&frame=7"
    )
    jobs = ask.studio.jobs
    job = jobs.add("predict", [])
    tables.write_classes(Study.open(small), tables.read_classes(Study.open(small)))
    with jobs.held(job.number):
        jobs.save(dataclasses.replace(job, state="running"))
        assert ask("review", {}).json["url"] == first
    assert ask("review", {}).json["url"] != first


@pytest.mark.parametrize(
    ("command", "name", "value", "found"),
    [
        ("train", "epochs", -3, "found -3, expected a whole number, 0 to 10,000,000"),
        ("train", "epochs", 10**9, "found 1000000000, expected a whole number, 0 to 10,000,000"),
        ("preprocess", "label-offset", -1, "found -1"),
        ("train", "minutes", "soon", "found 'soon'"),
        ("train", "model", "huge", "found 'huge'"),
        ("preprocess", "size", "4", "found 4x4, expected at least 16x16 px"),
        ("preprocess", "group-pattern", "(", "is not a regular expression"),
        ("preprocess", "follow", "yes", "found 'yes', expected true"),
        ("summarize", "bin", "abc", "found 'abc', expected a time above 0"),
        ("summarize", "window", ["a=1-0min"], "ends before it begins"),
        ("review", "annotator", "x" * 150, "expected a name of letters"),
    ],
)
def test_an_option_that_a_command_refuses_is_refused_at_once(client, command, name, value, found):
    """By the command itself, on the page and in study.json, with file and field."""
    answer = client("option", {"command": command, "name": name, "value": value})
    assert answer.status_code == 400
    assert found in answer.json["error"]
    put_study(client.folder, options={command: {name: value}})
    answer = client("state")
    assert answer.status_code == 422
    assert f"study.json: options of {command}: " in answer.json["error"]
    assert found in answer.json["error"]


def test_options_that_no_command_knows_are_named(client):
    """The window names a misspelt option in study.json before a job fails."""
    put_study(client.folder, options={"train": {"epoch": 3}})
    assert "found 'epoch', expected an option of mpar-train" in client("state").json["error"]
    put_study(client.folder, options={"preprocess": {"output": "other.h5"}})
    assert "mpar-preprocess takes it from the study" in client("state").json["error"]
    put_study(client.folder, options={"train": {"minutes": {"a": 1}}})
    assert "minutes: found {'a': 1}" in client("state").json["error"]
    put_study(client.folder, options={"train": {"features": True, "movement": True, "minutes": 3}})
    assert client("state").status_code == 200
    put_study(client.folder, options={"preprocess": {"tracks": "/not/there/now"}})
    assert client("state").status_code == 200


def test_commands_to_copy_are_quoted_for_the_shell(opened, tmp_path):
    """A name with quotes, blanks and a dollar comes back as one word."""
    folder = put_study(tmp_path / 'My "great" $HOME')
    (folder / "Videos").mkdir()
    put_network(folder, "run_1")
    (folder / "runs" / "run_1" / "config.json").write_text("{}")
    state = opened(folder)("state").json
    lines = [step["line"] for step in state["steps"].values()]
    lines += [state["runs"][0]["resume_line"], state["estimate_line"]]
    for line in lines:
        assert shlex.split(line)[1] == str(folder)
    assert shlex.split(state["runs"][0]["resume_line"])[2:] == state["runs"][0]["resume"]


def test_a_folder_that_cannot_be_written_is_named(opened, tmp_path):
    """As a message; nothing is half made."""
    (tmp_path / "films").mkdir()
    (tmp_path / "file").write_text("x")
    ask = opened()
    body = {"folder": str(tmp_path / "file" / "S"), "videos": [str(tmp_path / "films")]}
    answer = ask("open", body)
    assert answer.status_code == 507
    assert "Not a directory" in answer.json["error"]
    body["folder"] = str(tmp_path / ("x" * 300))
    assert "File name too long" in ask("open", body).json["error"]
    assert ask("state").json["folder"] == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_label_files_of_oddly_named_videos_are_taken_in(opened, small):
    """A video may be called so, and its label file has to be."""
    name = 'a<b>"?"'
    (small / "Videos" / "mouse_01.mp4").rename(small / "Videos" / f"{name}.mp4")
    ask = opened(small)
    ask("state")
    rows = b"Frame,Action\n" + b"".join(b"%d,rest\n" % k for k in range(48))
    assert ask(f"import?name={quote(name)}_ben.csv", rows).status_code == 200
    (found,) = ask("import").json["files"]
    assert found["matches"][0]["video"] == f"{name}.mp4"
    assert ask("import/copy", {"names": [found["name"]]}).json["copied"] == [f"{name}_ben.csv"]
    assert ask("import?name=..%2F..%2Fx.csv", rows).status_code == 200
    assert not (small.parent / "x.csv").exists()


def test_the_expected_time_needs_no_run_and_learns_from_one(opened, small):
    """It follows the options, and the speed of a run of the same network once there is one."""
    ask = opened(small)

    def expected(**options):
        put_study(small, options={"preprocess": {"size": 32}, "train": options})
        return ask("state").json["expected"]

    ask("state")
    while ask("videos").json["is_reading"]:
        time.sleep(0.05)
    first = expected(model="fast")
    assert first["run"] == ""
    assert expected(model="fast", epochs=60)["seconds"] < first["seconds"]  # 1,000 steps at least
    assert expected(minutes=3)["seconds"] == 180
    assert expected(model="none")["seconds"] is None
    put_network(small, "run_1")
    run = small / "runs" / "run_1"
    (run / "config.json").write_text('{"training": {"model_type": "fast"}}')
    (run / "metrics.csv").write_text("Epoch,Frames_per_second\n1,10\n")
    assert expected(model="fast")["run"] == "run_1"
    assert expected(model="fast")["seconds"] > first["seconds"]


def test_label_files_of_another_length_are_known_at_the_import(small, opened):
    """The import says what the table of videos would say once they are copied."""
    client = opened(small)
    while client("videos").json["is_reading"]:
        time.sleep(0.05)
    rows = b"".join(b"%d,rest\n" % k for k in range(40))
    client("import?name=mouse_03_ben.csv", b"Frame,Action\n" + rows)
    (file,) = client("import").json["files"]
    assert "[row-count]" in file["problems"][0]
    assert "40" in file["problems"][0]
    assert file["can_copy"]
