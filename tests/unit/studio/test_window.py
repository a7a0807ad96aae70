"""The server of the window: closed to others, and to paths outside the results."""

from __future__ import annotations

import json

import pytest

from mpar.errors import ConfigError
from mpar.studio.study import Study
from mpar.studio.window import Studio, make_app, opened_studio
from tests.fixtures.helpers import run
from tests.unit.studio.test_study import put_network, put_study

pytest.importorskip("flask", reason="mpar[review] is not installed")

PORT, TOKEN = 4321, "secret"


@pytest.fixture
def client(tmp_path):
    """Ask the application without a server; jobs wait, since nothing starts them."""
    folder = put_study(tmp_path / "S")
    (folder / "Videos").mkdir()
    (folder / "results").mkdir()
    (folder / "results" / "a.csv").write_text("x\n")
    (folder / "secret.csv").write_text("y\n")
    client = make_app(Studio(folder), TOKEN, PORT).test_client()
    client.folder = folder

    def ask(path, body=None, token=TOKEN, host=f"127.0.0.1:{PORT}"):
        options = {"base_url": f"http://{host}"}
        if body is None:
            return client.get(f"/{token}/{path}", **options)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.post(f"/{token}/{path}", data=data, **options)

    client.ask = ask
    return client


def test_only_those_with_the_link_get_in(client):
    """Another token or host is refused, also for what starts jobs."""
    assert client.ask("state").status_code == 200
    for options in (
        {"token": "guess"},
        {"host": "evil.example"},
        {"host": f"127.0.0.1:{PORT + 1}"},
    ):
        assert client.ask("state", **options).status_code == 403
        assert client.ask("job", {"command": "train"}, **options).status_code == 403
    assert Studio(client.folder).jobs.all() == []


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
    assert client.ask(f"file/{path}").status_code in {404, 308}
    assert client.ask("file/results/a.csv").data == b"x\n"


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
    ],
)
def test_bad_requests_change_nothing(client, path, body):
    """They are refused with a reason."""
    before = (client.folder / "study.json").read_text()
    answer = client.ask(path, body)
    assert answer.status_code == 400
    assert answer.json["error"]
    assert (client.folder / "study.json").read_text() == before
    assert not (client.folder / "jobs").exists()


def test_a_run_is_put_in_use_and_jobs_are_added(client):
    """study.json says which run; a job waits with its options."""
    for name in ("run_1", "run_2"):
        put_network(client.folder, name)
    assert client.ask("use", {"run": "run_1"}).status_code == 200
    assert Study.open(client.folder).in_use == "run_1"
    assert client.ask("job", {"command": "predict", "options": ["--stride", "2"]}).json == {
        "number": 1
    }
    state = client.ask("state").json
    assert state["jobs"][0]["line"] == f"mpar-predict {client.folder} --stride 2"
    assert [run["is_in_use"] for run in state["runs"]] == [False, True]
    client.ask("stop", {"number": 1})
    assert client.ask("state").json["jobs"][0]["state"] == "stopped"


def test_a_page_among_the_results_is_kept_in_a_sandbox(client):
    """A report runs its own scripts and reaches nothing else."""
    (client.folder / "results" / "report.html").write_text("<script>1</script>")
    policy = client.ask("file/results/report.html").headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")


def test_a_study_changed_by_hand_is_shown_as_it_is(client):
    """A mistake in study.json is a message, not a dead page."""
    (client.folder / "study.json").write_text("{")
    answer = client.ask("state")
    assert answer.status_code == 422
    assert "study.json: is not JSON" in answer.json["error"]


def test_one_window_a_study_and_no_study_by_accident(tmp_path):
    """A second window is refused; so is a folder without a study."""
    folder = put_study(tmp_path / "S")
    with opened_studio(folder), pytest.raises(ConfigError, match="another window"):
        opened_studio(folder).__enter__()
    assert "--videos FOLDER" in run("studio", tmp_path / "none").output
    (tmp_path / "V").mkdir()
    result = run("studio", folder, "--videos", tmp_path / "V")
    assert result.exit_code == 2
    assert "is there already" in result.output
