"""The served page: kills, requests, folders, queue and estimate."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.predictions.postprocess import PostConfig
from mpar.predictions.writing import OutputConfig, write_prediction
from mpar.review import ReviewConfig, opened_review
from mpar.system.serving import MAX_BODY_BYTES
from tests.fixtures.helpers import recording_of, run
from tests.unit.reviewer.asking import (
    LICK,
    NUM_FRAMES,
    codes_of,
    put_predictions,
)


def start_server(videos, out, *arguments):
    """Start mpar-review in a process of its own; return it and its link."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mpar_cli.review", str(videos), "-o", str(out)),
            *("--annotator", "anna", "--no-browser", "--quiet", *map(str, arguments)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    return process, process.stdout.readline().strip()


def ask_server(link, path, body=None, **values):
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    data = None if body is None else json.dumps(body)
    connection.request(
        "GET" if body is None else "POST", f"{parts.path}{path}?{urlencode(values)}", data
    )
    reply = connection.getresponse()
    found = json.loads(reply.read())
    connection.close()
    return reply.status, found


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_a_kill(videos, tmp_path):
    """Killed in the middle of scoring, twice: each edit that was confirmed is there."""
    out, expected = tmp_path / "out", [-1] * NUM_FRAMES
    rng = np.random.default_rng(3)
    for _ in range(2):
        process, link = start_server(videos, out)
        try:
            while (state := ask_server(link, "recording", name="m1")[1])[
                "num_certain"
            ] < NUM_FRAMES:
                time.sleep(0.05)
            shown = [-1] * NUM_FRAMES
            for start, stop, code, _ in state["runs"]:
                shown[start:stop] = [code] * (stop - start)
            assert shown == expected
            killer = threading.Timer(float(rng.uniform(0.05, 0.5)), process.kill)
            killer.start()
            revision = state["revision"]
            try:
                while True:
                    start = int(rng.integers(NUM_FRAMES - 5))
                    code = int(rng.choice([0, 1, 2, 4]))
                    edit = {"kind": "set", "start": start, "stop": start + 5, "code": code}
                    sent = [*expected]
                    sent[start : start + 5] = [code] * 5
                    reply = ask_server(link, "edit", edit | {"revision": revision}, name="m1")
                    assert reply[0] == 200
                    revision, expected = reply[1]["revision"], sent
            except (OSError, http.client.HTTPException, ValueError):
                pass  # killed
            process.wait(20)
        finally:
            process.kill()
            process.communicate()
        # the last edit may have reached the disk without its confirmation
        record = json.loads((out / "m1_anna.json").read_text())
        saved = [-1] * NUM_FRAMES
        for start, stop, code, _ in record["runs"]:
            saved[start:stop] = [code] * (stop - start)
        assert saved in (expected, sent)
        assert codes_of(out) in (expected, sent)
        expected = saved


@pytest.fixture
def served(videos, tmp_path):
    """A server in a thread of this process."""
    with opened_review(videos, tmp_path / "out", config=ReviewConfig(annotator="anna")) as review:
        thread = threading.Thread(target=review.serve)
        thread.start()
        yield review
        review.stop()
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("head", [f"Content-Length: {1 << 30}", "Transfer-Encoding: chunked"])
def test_a_large_body_is_refused_without_reading_it(served, head):
    """A client that announces or sends 1 GB gets an answer after 1 MB at most."""
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as client:
        client.sendall(
            f"POST {parts.path}edit HTTP/1.1\r\nHost: {parts.netloc}\r\n{head}\r\n\r\n".encode()
        )
        sent = 0
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n" if "chunked" in head else b"x" * 65536
        try:
            client.settimeout(0.2)
            while sent < 4 * MAX_BODY_BYTES:
                client.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass  # closed, or no longer read
        client.settimeout(20)
        try:
            reply = client.recv(100)
        except ConnectionResetError:
            reply = b"HTTP/1.1 413"  # closed while this test was still sending
    assert reply.startswith(b"HTTP/1.1 413")
    assert ask_server(served.url, "study")[0] == 200


def test_served_to_this_computer_only(served):
    """It listens on the loopback address, and the link holds a token that cannot be guessed."""
    parts = urlsplit(served.url)
    assert parts.hostname == "127.0.0.1"
    assert len(parts.path.strip("/")) >= 32
    assert served._server.socket.getsockname()[0] == "127.0.0.1"


def test_second_instance_and_port_in_use(served, videos, tmp_path):
    """One line each."""
    result = run("review", videos, "-o", tmp_path / "out", "--no-browser", "--annotator", "b")
    assert result.exit_code == 2
    assert "another mpar-review writes there" in result.output
    assert result.output.count("\n") == 1
    port = urlsplit(served.url).port
    result = run(
        *("review", videos, "-o", tmp_path / "other", "--no-browser", "--annotator", "b"),
        *("--port", port),
    )
    assert result.exit_code == 2
    assert f"port: {port} is in use" in result.output
    assert result.output.count("\n") == 1


def test_missing_packages_are_one_line(videos, tmp_path, monkeypatch):
    """The rest of mpar works without them."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = run("review", videos, "-o", tmp_path / "out", "--annotator", "b")
    assert result.exit_code == 2
    assert result.output == (
        "error: review: flask and waitress not installed; pip install mpar[review]\n"
    )


def test_bad_folders_are_one_line(tmp_path):
    """A folder without videos; predictions that are none."""
    (tmp_path / "empty").mkdir()
    result = run("review", tmp_path / "empty", "-o", tmp_path / "out", "--annotator", "b")
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert "found no video" in result.output


def put_doubtful(folder, num_frames=NUM_FRAMES):
    """Write a prediction that is sure of rest, and in frames 20-29 doubts lick or withdraw."""
    probabilities = np.full((num_frames, 6), 0.004, np.float32)
    probabilities[:, 0] = 0.98
    probabilities[20:30] = [0.02, 0.45, 0.47, 0.02, 0.02, 0.02]
    prediction = recording_of(probabilities=probabilities)
    folder.mkdir(exist_ok=True)
    write_prediction(folder, prediction, DEFAULT_CLASS_MAP, OutputConfig(), PostConfig(), {})
    return folder


def test_queue_hands_out_what_is_doubtful_and_not_done(ask, tmp_path):
    """The doubtful place comes with its reason; once it is labelled, it is gone."""
    asker = ask(put_doubtful(tmp_path / "predictions"))
    assert asker.study.queue.is_ready(20)
    found = asker.get("queue").json
    assert found["is_ready"]
    (stretch,) = found["stretches"]
    assert stretch["recording"] == "m1"
    assert stretch["start"] < 20 < 30 < stretch["stop"]
    assert stretch["reason"].startswith("paw_lick or paw_withdraw?")
    asker.edit("set", start=0, stop=NUM_FRAMES, code=LICK)
    assert asker.get("queue").json["stretches"] == []
    assert ask().get("queue").status_code == 404
    assert ask(tmp_path / "predictions", is_blind=True).get("queue").status_code == 404


def test_estimate_is_blind_and_keeps_what_was_checked(ask, tmp_path):
    """Each stretch is scored in a lane of its own; gaps are pointed out; a restart goes on."""
    out = tmp_path / "out"
    predictions = put_predictions(tmp_path / "predictions", np.repeat([0, 2], NUM_FRAMES // 2))
    ask(predictions).edit("accept", start=0, stop=NUM_FRAMES)
    asker = ask(predictions, is_estimate=True)
    state = asker.state()
    assert state["predicted"] is None
    assert state["others"] == {}
    assert state["runs"] == [[0, NUM_FRAMES, -1, 0]]
    found = asker.get("check").json
    assert (found["place"], found["num_checked"], found["num_stretches"]) == (0, 0, 1)
    assert found["stretch"] | {"reason": ""} == {
        "recording": "m1",
        "start": 0,
        "stop": NUM_FRAMES,
        "reason": "",
    }
    for body in ({"place": 1}, {"place": -1}, {"place": "0"}, {}):
        assert asker.post("check", body).status_code == 400
    asker.edit("set", start=0, stop=40, code=LICK)
    assert asker.post("check", {"place": 0}).json == {"num_gaps": 20}
    assert not (out / "estimate.json").exists()
    reply = asker.post("check", {"place": 0, "allows_gaps": True}).json
    assert (reply["place"], reply["num_checked"], reply["stretch"]) == (1, 1, None)
    # 40 frames are lick, 10 of which mpar found; it called none of the others lick
    recall = reply["result"]["classes"]["paw_lick"]["recall"]
    assert recall["estimate"] == pytest.approx(10 / 40)
    assert codes_of(out, "m1_anna-estimate") == [LICK] * 40 + [-1] * 20
    asker = ask(predictions, is_estimate=True)
    assert asker.get("check").json["num_checked"] == 1
    asker.edit("set", start=40, stop=NUM_FRAMES, code=0)
    assert asker.get("check", place=0).json["place"] == 0
    assert asker.post("check", {"place": 0}).json["num_checked"] == 1
    assert json.loads((out / "estimate.json").read_text())["checked"][0]["bouts"] == [
        [2, 40],
        [0, 20],
    ]


def test_estimate_needs_predictions_of_these_videos(ask, tmp_path):
    """One line each."""
    with pytest.raises(ConfigError, match="pass --predictions"):
        ask(is_estimate=True)
    folder = put_predictions(tmp_path / "predictions", np.zeros(40, int), name="other")
    with pytest.raises(ConfigError, match="no prediction of these videos"):
        ask(folder, is_estimate=True)


def test_page_of_the_estimate_is_written_at_the_end(videos, tmp_path):
    """What was checked stands on a page beside estimate.json."""
    predictions = put_predictions(tmp_path / "predictions", np.zeros(NUM_FRAMES, int))
    config = ReviewConfig(annotator="anna", is_estimate=True)
    with opened_review(
        videos, tmp_path / "out", predictions_folder=predictions, config=config
    ) as review:
        assert review.write_estimate() is None
        checking = review.study.checking
        stretch = checking.stretch_at(0)
        checking.record(stretch, np.zeros(NUM_FRAMES, np.int16), allows_gaps=False)
        path = review.write_estimate()
    assert path == tmp_path / "out" / "estimate.html"
    assert "paw_lick" in path.read_text(encoding="utf-8")


def test_an_output_that_is_a_file_is_refused(tmp_path):
    """The message says what to do, and the file stays as it was."""
    output = tmp_path / "scores.csv"
    output.write_text("mine")
    with (
        pytest.raises(ConfigError, match="is a file, expected a folder"),
        opened_review(tmp_path, output),
    ):
        pass
    assert output.read_text() == "mine"


def test_requests_that_wait_for_a_thread_are_no_news(videos, tmp_path):
    """A busy page does not write the server's queue into the terminal."""
    logger = logging.getLogger("waitress.queue")
    logger.setLevel(logging.WARNING)  # as in a new process
    with opened_review(videos, tmp_path / "out", config=ReviewConfig(annotator="anna")):
        assert not logger.isEnabledFor(logging.WARNING)
