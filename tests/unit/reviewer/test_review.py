"""The server of mpar-review: who may ask, what is saved, and what happens when something breaks."""

from __future__ import annotations

import getpass
import hashlib
import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from urllib.parse import urlencode, urlsplit

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.errors import ConfigError, InputError
from mpar.formats.annotations import read_annotation
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.matching.regions import read_regions
from mpar.predictions.postprocess import PostConfig
from mpar.predictions.writing import OutputConfig, write_prediction
from mpar.review import ReviewConfig, opened_review
from mpar.reviewer import desk as desk_module
from mpar.reviewer import frames as frames_module
from mpar.reviewer import scoring_files
from mpar.reviewer import study as study_module
from mpar.reviewer.frames import VideoFrames
from mpar.reviewer.history import ACCEPTED, SCORED, Lane
from mpar.reviewer.review_config import login_name
from mpar.reviewer.server import MAX_BODY_BYTES, make_app
from mpar.reviewer.study import Study
from mpar.video.seeking import FrameReader
from tests.fixtures.helpers import raises_problem, recording_of, run
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    read_frame_number,
    write_annotation,
    write_video,
)

NUM_FRAMES = 60
PORT = 5000
LICK = DEFAULT_CLASS_MAP.code_of_class("paw_lick")
WALK = DEFAULT_CLASS_MAP.code_of_class("walk")


class Asker:
    """Asks the application without a network."""

    def __init__(self, study):
        app = make_app(study, "token", PORT, ("#000000",) * 12)
        self.study, self.client = study, app.test_client()

    def get(self, path, token="token", host=f"127.0.0.1:{PORT}", **values):
        """Ask for something."""
        return self.client.get(
            f"/{token}/{path}", query_string=values or None, base_url=f"http://{host}"
        )

    def post(self, path, body, **values):
        """Send something."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(
            f"/token/{path}", query_string=values, data=data, base_url=f"http://127.0.0.1:{PORT}"
        )

    def state(self, name="m1"):
        """Return the state of a recording once its frames are counted."""
        frames = self.study.frames_of(name)
        frames.join()
        return self.get("recording", name=name).json

    def edit(self, kind, name="m1", **values):
        """Edit the newest revision."""
        revision = self.state(name)["revision"]
        return self.post("edit", {"kind": kind, "revision": revision, **values}, name=name)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "Videos"
    folder.mkdir()
    frames = draw_frame_numbers(NUM_FRAMES)
    write_video(folder / "m1.mp4", frames, options={"x264-params": "keyint=16:bframes=3"})
    write_video(folder / "m2.avi", frames[:40], codec="mpeg4")
    return folder


@pytest.fixture
def ask(videos, tmp_path):
    """Return a function that opens the application on the folders; several calls restart it."""
    opened = []

    def make(predictions=None, **options):
        while opened:
            opened.pop().close()
        config = ReviewConfig(**{"annotator": "anna"} | options)
        opened.append(Study(videos, tmp_path / "out", predictions, config))
        return Asker(opened[-1])

    yield make
    while opened:
        opened.pop().close()


def put_predictions(folder, labels, name="m1"):
    """Write a prediction that is 80 % sure."""
    probabilities = np.full((len(labels), 6), 0.04, np.float32)
    probabilities[np.arange(len(labels)), labels] = 0.8
    prediction = recording_of(name=name, probabilities=probabilities)
    provenance = {"checkpoint": "best.pt", "checkpoint_sha256": "ab12"}
    folder.mkdir(exist_ok=True)
    write_prediction(
        folder, prediction, DEFAULT_CLASS_MAP, OutputConfig(), PostConfig(), provenance
    )
    return folder


def codes_of(folder, name="m1_anna"):
    return read_annotation(folder / f"{name}.csv", DEFAULT_CLASS_MAP).codes.tolist()


def test_only_those_with_the_link_get_in(ask):
    """A wrong token, another host name and another port are refused, whatever is asked."""
    asker = ask()
    assert asker.get("").status_code == 200
    assert asker.get("study", host=f"localhost:{PORT}").status_code == 200
    for token in ("", "other", "token2", "tok", "%00", "t\u00f6ken"):
        for path in ("", "study", "page/main.js", "frames?name=m1"):
            assert asker.get(path, token=token).status_code == 403
    for host in ("evil.example", "127.0.0.1", "127.0.0.1:80", f"127.0.0.1.evil.example:{PORT}"):
        assert asker.get("study", host=host).status_code == 403
    assert asker.client.get("/", base_url=f"http://127.0.0.1:{PORT}").status_code == 403
    headers = asker.get("").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "page/../server.py",
        "page/%2e%2e/server.py",
        "page/..%2fserver.py",
        "page//etc/passwd",
        "page/index.html%00.js",
        "../../etc/passwd",
        "page/",
        "recording?name=../Videos/m1",
        "recording?name=m1%00",
        "frames?name=/etc/passwd",
        "probability?name=m1&class=99",
        "probability?name=m1&class=-1",
    ],
)
def test_no_path_leads_out(ask, path):
    """Names are looked up in lists; they are never joined to a path."""
    asker = ask()
    asker.state()
    assert asker.get(path).status_code in {403, 404, 308}


def test_page_and_its_modules(ask):
    """The page names only files that exist, and each module imports only files that exist."""
    asker = ask()
    page = asker.get("").get_data(as_text=True)
    assert "page/main.js" in page
    for name in ("main.js", "review.css", "timeline.js"):
        reply = asker.get(f"page/{name}")
        assert reply.status_code == 200
        assert "http" not in reply.get_data(as_text=True).replace("http://www.w3.org/2000/svg", "")


BAD_EDITS = [
    b"",
    b"[]",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    {"kind": "set", "start": 0, "stop": 1, "code": 2},
    {"kind": "set", "revision": 0, "start": -1, "stop": 1, "code": 2},
    {"kind": "set", "revision": 0, "start": 5, "stop": 5, "code": 2},
    {"kind": "set", "revision": 0, "start": 5, "stop": 61, "code": 2},
    {"kind": "set", "revision": 0, "start": 5, "stop": 10**30, "code": 2},
    {"kind": "set", "revision": 0, "start": 0, "stop": 1, "code": 99},
    {"kind": "set", "revision": 0, "start": 0, "stop": 1, "code": -2},
    {"kind": "set", "revision": 0, "start": 0.5, "stop": 1, "code": 2},
    {"kind": "set", "revision": 0, "start": "0", "stop": 1, "code": 2},
    {"kind": "set", "revision": True, "start": 0, "stop": 1, "code": 2},
    {"kind": "set", "revision": 0, "start": 0, "stop": 1, "like": 60},
    {"kind": "set", "revision": 0, "start": 0, "stop": 1, "code": 2, "seen": [[0]]},
    {"kind": "set", "revision": 0, "start": 0, "stop": 1, "code": 2, "seen": [["a", 1]]},
    {"kind": "accept", "revision": 0, "start": 0, "stop": 1},
    {"kind": "burn", "revision": 0, "start": 0, "stop": 1},
    {"kind": "set", "revision": 7, "start": 0, "stop": 1, "code": 2},
]


def test_bad_edits_change_nothing(ask, tmp_path):
    """Each is refused with a message, none with a traceback, and no file appears."""
    asker = ask()
    asker.state()
    for body in BAD_EDITS:
        reply = asker.post("edit", body, name="m1")
        assert reply.status_code in {400, 409, 422}, body
        assert reply.json["error"]
    assert asker.post("edit", b"x" * (MAX_BODY_BYTES + 1), name="m1").status_code == 413
    assert not [*(tmp_path / "out").glob("m1*")]
    assert asker.state()["revision"] == 0


def test_edits_are_saved_as_mpar_reads_them(ask, videos, tmp_path):
    """Set, erase, copy a neighbour, undo, redo: after each, the CSV holds what the page shows."""
    asker, out = ask(), tmp_path / "out"
    expected = np.full(NUM_FRAMES, -1)

    def check():
        assert codes_of(out) == expected.tolist()
        shown = np.full(NUM_FRAMES, -1)
        for start, stop, code, _ in asker.state()["runs"]:
            shown[start:stop] = code
        assert (shown == expected).all()

    assert asker.edit("set", start=3, stop=20, code=LICK, seen=[[0, 12]]).status_code == 200
    expected[3:20] = LICK
    check()
    asker.edit("set", start=10, stop=60, code=WALK)
    expected[10:60] = WALK
    check()
    asker.edit("set", start=15, stop=18, code=-1)
    expected[15:18] = -1
    check()
    asker.edit("set", start=15, stop=17, like=18)
    expected[15:17] = WALK
    check()
    asker.edit("undo")
    expected[15:17] = -1
    check()
    asker.edit("redo")
    expected[15:17] = WALK
    check()
    record = json.loads((out / "m1_anna.json").read_text(encoding="utf-8"))
    assert record["seen"] == [[0, 12]]
    assert record["scored"] == [[3, 17], [18, 60]]
    assert [item["kind"] for item in record["history"]] == ["set"] * 4
    assert {item["by"] for item in record["history"]} == {"anna"}
    (out / "m2_anna.csv").write_text("Frame,Action\n" + "".join(f"{i},rest\n" for i in range(40)))
    result = run("preprocess", videos, out, "--check")
    assert result.exit_code == 0, result.output
    assert "not read" not in result.output


def test_nothing_is_written_for_a_recording_that_is_only_looked_at(ask, tmp_path):
    """What was seen is noted in the JSON file, but no CSV without a label comes about."""
    asker, out = ask(), tmp_path / "out"
    asker.state()
    assert not [*out.glob("m1*")]
    assert asker.post("seen", {"seen": [[0, 5], [9, 12]]}, name="m1").status_code == 200
    assert [path.name for path in out.glob("m1*")] == ["m1_anna.json"]
    asker = ask()
    assert asker.state()["seen"] == [[0, 5], [9, 12]]
    asker.edit("set", start=0, stop=1, code=LICK)
    assert asker.state()["seen"] == [[0, 5], [9, 12]]


def test_files_of_a_long_recording_hold_every_edit(tmp_path):
    """The CSV, of which only changed blocks are made anew, and the history, one edit a line."""
    num_frames, rng = 5000, np.random.default_rng(0)
    files = scoring_files.ScoringFiles(tmp_path, "m1", "anna", DEFAULT_CLASS_MAP)
    desk = desk_module.Desk(files, num_frames, prediction=None, about={"video": "m1.mp4"})
    expected = np.full(num_frames, -1)
    for number in range(60):
        start = int(rng.integers(num_frames - 1))
        stop = min(num_frames, start + int(rng.integers(1, 3000)))
        code = int(rng.integers(-1, 8))
        desk.edit("set", desk.lane.revision, start=start, stop=stop, code=code)
        expected[start:stop] = code
        if number % 10 == 9:
            desk.edit("undo", desk.lane.revision)
            desk.edit("redo", desk.lane.revision)
        texts = (DEFAULT_CLASS_MAP.name_of(k) if k >= 0 else "-1" for k in expected.tolist())
        rows = "".join(f"{i},{text}\n" for i, text in enumerate(texts))
        assert files.table.read_text() == f"Frame,Action\n{rows}"
    record = json.loads(files.record.read_text(encoding="utf-8"))
    assert len(record["history"]) == len(desk.lane.changes)
    again = files.load(num_frames)
    assert again.codes.tolist() == expected.tolist()
    assert again.changes == desk.lane.changes
    while again.undo() is not None:
        pass
    assert (again.codes == -1).all()


def test_history_survives_a_restart(ask):
    """All steps are undone by a second server, and redone by a third."""
    asker = ask()
    for k in range(20):
        assert asker.edit("set", start=k, stop=k + 2, code=k % 3).status_code == 200
    last = asker.state()["runs"]
    asker = ask()
    assert asker.state()["undo"] == 20
    for _ in range(20):
        asker.edit("undo")
    assert asker.state()["runs"] == [[0, NUM_FRAMES, -1, 0]]
    asker = ask()
    for _ in range(20):
        asker.edit("redo")
    assert asker.state()["runs"] == last


def test_an_edit_of_an_old_state_is_refused(ask):
    """The second of two windows does not overwrite what the first one did."""
    asker = ask()
    revision = asker.state()["revision"]
    edit = {"kind": "set", "revision": revision, "start": 0, "stop": 5, "code": LICK}
    assert asker.post("edit", edit, name="m1").status_code == 200
    reply = asker.post("edit", edit | {"code": WALK}, name="m1")
    assert reply.status_code == 409
    assert "another window" in reply.json["error"]
    assert asker.state()["runs"][0] == [0, 5, LICK, SCORED]
    assert asker.get("progress", name="m1").json["revision"] == revision + 1


def test_accepting_copies_the_prediction(ask, tmp_path):
    """The record tells accepted frames from scored and changed ones, and names the checkpoint."""
    labels = np.repeat([0, 2, 4], 20)
    asker = ask(put_predictions(tmp_path / "predictions", labels))
    state = asker.state()
    assert state["predicted"] == [[0, 20, 0], [20, 40, LICK], [40, 60, WALK]]
    values = np.frombuffer(asker.get("probability", **{"name": "m1", "class": 2}).data, np.uint8)
    assert values.tolist() == [10] * 20 + [204] * 20 + [10] * 20
    asker.edit("accept", start=10, stop=50)
    asker.edit("set", start=38, stop=43, code=LICK)
    record = json.loads((tmp_path / "out" / "m1_anna.json").read_text(encoding="utf-8"))
    assert record["accepted"] == [[10, 38], [43, 50]]
    assert record["changed"] == [[40, 43]]
    assert record["prediction"]["checkpoint_sha256"] == "ab12"
    assert codes_of(tmp_path / "out")[36:46] == [LICK] * 7 + [WALK] * 3


def test_prediction_of_another_length_is_not_shown(ask, tmp_path):
    """The page says so instead of shifting it."""
    asker = ask(put_predictions(tmp_path / "predictions", np.zeros(58, int)))
    state = asker.state()
    assert state["predicted"] is None
    assert "58 rows up to frame 57, expected frames 0 to 59 in steps of 1" in state["problems"][0]
    assert asker.edit("accept", start=0, stop=9).status_code == 400


def test_long_tables_hold_up_nobody(ask, tmp_path, monkeypatch):
    """The recording opens and is scored while predictions and labels of others are being read."""
    gate, calls = threading.Event(), []
    read_others, read_predicted = study_module.read_others, desk_module.read_predicted

    def read_late(*arguments):
        gate.wait(20)
        calls.append(1)
        return read_others(*arguments)

    def read_prediction_late(*arguments):
        gate.wait(20)
        return read_predicted(*arguments)

    monkeypatch.setattr(study_module, "read_others", read_late)
    monkeypatch.setattr(desk_module, "read_predicted", read_prediction_late)
    out = tmp_path / "out"
    out.mkdir()
    write_annotation(out / "m1_bea.csv", np.full(NUM_FRAMES, WALK))
    asker = ask(put_predictions(tmp_path / "predictions", np.zeros(NUM_FRAMES, int)))
    state = asker.state()
    assert (state["is_reading"], state["others"], state["predicted"]) == (True, {}, None)
    assert asker.edit("set", start=0, stop=5, code=LICK).status_code == 200
    assert codes_of(out)[:6] == [LICK] * 5 + [-1]
    gate.set()
    while asker.get("progress", name="m1").json["is_reading"]:
        time.sleep(0.02)
    for _ in range(2):  # and read once, whatever this scorer saves
        state = asker.state()
        assert state["others"] == {"bea": [[0, NUM_FRAMES, WALK]]}
        assert state["predicted"] == [[0, NUM_FRAMES, 0]]
        assert state["runs"][0] == [0, 5, LICK, SCORED]
        assert len(calls) == 1
    write_annotation(out / "m1_bea.csv", np.full(NUM_FRAMES, LICK))
    while asker.state()["is_reading"]:
        time.sleep(0.02)
    assert asker.state()["others"] == {"bea": [[0, NUM_FRAMES, LICK]]}
    assert len(calls) == 2


def test_blind_scorers_get_nothing_of_others(ask, tmp_path):
    """Neither predictions nor labels leave the server, and nothing can be accepted."""
    out = tmp_path / "out"
    out.mkdir()
    write_annotation(out / "m1_ben.csv", [LICK] * NUM_FRAMES)
    predictions = put_predictions(tmp_path / "predictions", np.full(NUM_FRAMES, 2))
    asker = ask(predictions)
    assert asker.state()["others"] == {"ben": [[0, NUM_FRAMES, LICK]]}
    asker = ask(predictions, is_blind=True)
    state = asker.state()
    assert state["others"] == {}
    assert state["predicted"] is None
    assert asker.get("probability", **{"name": "m1", "class": 2}).status_code == 404
    assert asker.edit("accept", start=0, stop=9).status_code == 400
    assert asker.get("study").json["recordings"][0]["has_prediction"] is False
    asker.edit("set", start=0, stop=9, code=WALK)
    assert json.loads((out / "m1_anna.json").read_text())["is_blind"] is True


def test_an_existing_file_is_continued(ask, tmp_path):
    """Codes that share a class stay apart; undo leads back to the file as it was."""
    out = tmp_path / "out"
    out.mkdir()
    codes = [3] * 30 + [1] * 30  # paw_guard counts as paw_withdraw
    write_annotation(out / "m1_anna.csv", codes)
    asker = ask()
    assert [run_[:3] for run_ in asker.state()["runs"]] == [[0, 30, 3], [30, 60, 1]]
    asker.edit("set", start=0, stop=5, code=LICK)
    assert codes_of(out) == [LICK] * 5 + codes[5:]
    asker.edit("undo")
    assert codes_of(out) == codes


def test_a_file_changed_by_hand_is_taken_over(ask, tmp_path):
    """What somebody typed into the CSV counts, and can be undone."""
    out = tmp_path / "out"
    asker = ask()
    asker.edit("set", start=0, stop=5, code=LICK)
    table = out / "m1_anna.csv"
    table.write_text(table.read_text().replace("7,-1", "7,walk"))
    asker = ask()
    assert [7, 8, WALK, SCORED] in asker.state()["runs"]
    asker.edit("undo")
    assert codes_of(out) == [LICK] * 5 + [-1] * 55


def test_files_that_do_not_fit_are_refused_and_stay(ask, tmp_path):
    """A CSV of another length, one that starts late, one that is no label file, a foreign JSON."""
    out = tmp_path / "out"
    out.mkdir()
    table, record = out / "m1_anna.csv", out / "m1_anna.json"
    write_annotation(table, [0] * 58)
    asker = ask()
    reply = asker.state()
    assert "58 rows, expected one for each of 60 frames" in reply["error"]
    assert (
        asker.post(
            "edit", {"kind": "set", "revision": 0, "start": 0, "stop": 1, "code": 2}, name="m1"
        ).status_code
        == 422
    )
    assert table.read_text().count("\n") == 59
    for path, text, fragment in [
        (table, "Frame,Action\n5,rest\n6,rest\n", "starts at frame 5"),
        (table, "a,b\n1,2\n", "expected one Frame and one Action"),
        (record, "{}", "was not written by this version of mpar-review"),
        (record, "{", "was not written by this version of mpar-review"),
        (record, '{"format": "mpar-review", "format_version": 2}', "this version"),
    ]:
        table.unlink(missing_ok=True)
        path.write_text(text)
        with pytest.raises(InputError, match=fragment):
            ask()
        assert path.read_text() == text


def test_scoring_of_another_class_map_is_refused(ask, tmp_path):
    """Codes would change their meaning."""
    ask().edit("set", start=0, stop=5, code=LICK)
    other = type(DEFAULT_CLASS_MAP)(((0, "sit", "sit"), (2, "run", "run")))
    with raises_problem("other-classes"):
        ask(class_map=other)


def test_files_from_a_killed_process_are_completed(ask, tmp_path, monkeypatch):
    """Killed between the two files, the JSON counts; a missing CSV is not silently made anew."""
    out = tmp_path / "out"
    asker = ask()
    asker.edit("set", start=0, stop=5, code=LICK)
    write_text = scoring_files.write_text

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scoring_files, "write_text", die)
    with pytest.raises(KeyboardInterrupt):
        asker.edit("set", start=5, stop=9, code=WALK)
    monkeypatch.setattr(scoring_files, "write_text", write_text)
    assert codes_of(out)[:9] == [LICK] * 5 + [-1] * 4
    asker = ask()
    assert asker.state()["runs"][:2] == [[0, 5, LICK, SCORED], [5, 9, WALK, SCORED]]
    asker.edit("set", start=20, stop=21, code=LICK)
    assert codes_of(out)[:9] == [LICK] * 5 + [WALK] * 4
    (out / "m1_anna.csv").unlink()
    asker = ask()
    assert "put it back, or remove both" in asker.state()["error"]


def test_what_cannot_be_saved_is_not_shown_as_saved(ask, tmp_path, monkeypatch):
    """A full disk gives a message, and the lane stays as it was on the disk."""
    asker = ask()
    asker.edit("set", start=0, stop=5, code=LICK)

    def fail(path, *_, **__):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(scoring_files, "write_record", fail)
    reply = asker.edit("set", start=5, stop=9, code=WALK)
    assert reply.status_code == 507
    assert "No space left on device" in reply.json["error"]
    monkeypatch.undo()
    assert asker.state()["runs"][0] == [0, 5, LICK, SCORED]
    assert asker.edit("set", start=5, stop=9, code=WALK).status_code == 200
    assert codes_of(tmp_path / "out")[:9] == [LICK] * 5 + [WALK] * 4


def unpack(data):
    """Return the numbers in a reply and the numbers in its pictures."""
    found, place = [], 0
    while place < len(data):
        number, length = struct.unpack_from("<II", data, place)
        picture = cv2.imdecode(
            np.frombuffer(data, np.uint8, length, place + 8), cv2.IMREAD_GRAYSCALE
        )
        found.append((number, read_frame_number(picture)))
        place += 8 + length
    return found


@pytest.mark.parametrize(("name", "count"), [("m1", 60), ("m2", 40)])
def test_frames_have_their_numbers(ask, name, count):
    """In any order, one by one, in stretches, every third one, and past the end."""
    asker = ask()
    asker.state(name)

    def numbers(**values):
        found = unpack(asker.get("frames", name=name, **values).data)
        assert [a for a, _ in found] == [b for _, b in found]
        return [a for a, _ in found]

    for start in np.random.default_rng(0).integers(0, count, 20).tolist():
        assert numbers(start=start, stop=start + 1, urgent=1) == [start]
    assert numbers(start=5, stop=30) == [*range(5, 30)]
    assert numbers(start=3, stop=30, step=3) == [*range(3, 30, 3)]
    assert numbers(start=count - 2, stop=count + 9) == [count - 2, count - 1]
    assert numbers(start=count, stop=count + 9) == []
    assert asker.get("frames", name=name, start=-1, stop=3).status_code == 400


def test_no_more_pictures_are_kept_than_fit(videos, tmp_path, monkeypatch):
    """The least used picture goes first, and comes back the same."""
    monkeypatch.setattr(frames_module, "_MAX_CACHE_BYTES", 6_000)
    frames = VideoFrames(videos / "m1.mp4", None, tmp_path / "i.npz")
    frames.join()
    first = frames.encoded(0, 30)
    assert sum(map(len, frames._cache.values())) <= 6_000
    assert len(frames._cache) < 30
    assert frames.encoded(0, 30) == first
    frames.close()


def test_frames_are_counted_once(videos, tmp_path, monkeypatch):
    """The second time, nothing is decoded to count; a frame is scored only once it is certain."""
    gate = threading.Event()
    real = frames_module.Counting

    class Slow(real):
        def __iter__(self):
            for k, _ in enumerate(super().__iter__()):
                if k == 9:
                    gate.wait(20)
                yield

    monkeypatch.setattr(frames_module, "Counting", Slow)
    index = tmp_path / "i.npz"
    frames = VideoFrames(videos / "m1.mp4", None, index)
    assert frames.wait(20)
    assert frames.num_frames == NUM_FRAMES  # as the file states
    assert [n for n, _ in frames.encoded(50, 52)] == [50, 51]
    assert frames.num_certain <= 10
    gate.set()
    frames.join()
    assert frames.num_certain == NUM_FRAMES
    frames.close()
    monkeypatch.setattr(frames_module, "Counting", None)
    frames = VideoFrames(videos / "m1.mp4", None, index)
    frames.join()
    assert frames.num_certain == NUM_FRAMES
    frames.close()


@pytest.fixture
def late_proof(monkeypatch):
    """Frames whose pictures are wrong until they are proven, and the gate that lets that happen."""
    gate = threading.Event()
    real, read = frames_module.Counting, FrameReader.read

    class Slow(real):
        def __iter__(self):
            for k, _ in enumerate(super().__iter__()):
                if k == 9:
                    gate.wait(20)
                yield

    def read_wrong(self, start, stop, digests=(), turns=()):
        # as a seek into a video that refreshes its pictures in parts
        for number, picture in read(self, start, stop, digests, turns):
            yield number, picture if number < len(digests) else picture // 2

    monkeypatch.setattr(frames_module, "Counting", Slow)
    monkeypatch.setattr(FrameReader, "read", read_wrong)
    yield gate
    gate.set()


def decoded(found):
    """Return the mean grey level of pictures by number."""
    return {
        number: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).mean().item()
        for number, data in found
    }


def test_pictures_from_before_their_proof_are_decoded_again(videos, tmp_path, late_proof):
    """Once counted, each picture is the right one, whatever was shown before."""
    right = VideoFrames(videos / "m1.mp4", None, tmp_path / "right.npz")
    late_proof.set()
    right.join()
    expected = decoded(right.encoded(0, NUM_FRAMES))
    right.close()
    late_proof.clear()
    frames = VideoFrames(videos / "m1.mp4", None, tmp_path / "i.npz")
    assert frames.wait(20)
    before = decoded(frames.encoded(0, NUM_FRAMES))
    assert sum(before[i] != expected[i] for i in expected) >= NUM_FRAMES - 11
    assert frames.num_certain <= 10
    late_proof.set()
    frames.join()
    assert decoded(frames.encoded(20, 21)) == {20: expected[20]}
    assert decoded(frames.encoded(0, NUM_FRAMES, 3)) == {
        i: expected[i] for i in range(0, NUM_FRAMES, 3)
    }
    assert decoded(frames.encoded(0, NUM_FRAMES)) == expected
    frames.close()


def test_a_prediction_does_not_make_frames_certain(ask, tmp_path, late_proof):
    """It tells how many frames there are, but not that the pictures are right."""
    asker = ask(put_predictions(tmp_path / "predictions", np.zeros(NUM_FRAMES, int)))
    while (state := asker.get("recording", name="m1").json)["num_frames"] is None:
        time.sleep(0.02)
    edit = {"kind": "set", "revision": state["revision"], "start": 20, "stop": 30, "code": LICK}
    assert asker.post("edit", edit, name="m1").status_code == 422
    late_proof.set()


def test_edits_of_frames_that_are_not_counted_yet_wait(ask, monkeypatch):
    """The number of such a frame may still turn out wrong."""
    asker = ask()
    asker.state()
    monkeypatch.setattr(VideoFrames, "num_certain", 10)
    assert asker.edit("set", start=5, stop=10, code=LICK).status_code == 200
    reply = asker.edit("set", start=5, stop=11, code=LICK)
    assert reply.status_code == 422
    assert "counted 10 frames so far" in reply.json["error"]


def test_regions_are_saved_as_mpar_reads_them(ask, tmp_path):
    """They split the video into one recording per animal; bad ones leave the file as it was."""
    asker, path = ask(), tmp_path / "out" / "regions.csv"
    asker.state()

    def save(*regions):
        names = ("animal", "x", "y", "width", "height")
        body = {"regions": [dict(zip(names, region, strict=True)) for region in regions]}
        return asker.post("regions", body, name=next(iter(asker.study.recordings)))

    reply = save(("A", 0, 0, 32, 64), ("B", 32, 0, 32, 64))
    assert reply.json == {"recordings": ["m1__A", "m1__B"], "path": "regions.csv"}
    table = read_regions(path)
    assert [(row.video, str(row.region)) for row in table.rows] == [
        ("m1.mp4", "0,0,32,64"),
        ("m1.mp4", "32,0,32,64"),
    ]
    text = path.read_text()
    for bad, status in [
        ([("A", 0, 0, 40, 64), ("B", 32, 0, 32, 64)], 422),
        ([("A", 0, 0, 3, 64)], 422),
        ([("../A", 0, 0, 32, 64)], 422),
        ([("A", 40, 0, 32, 64)], 400),
        ([("A", "x", 0, 32, 64)], 400),
    ]:
        assert save(*bad).status_code == status
        assert path.read_text() == text
    asker = ask()
    assert [*asker.study.recordings] == ["m1__A", "m1__B", "m2"]
    asker.edit("set", "m1__B", start=0, stop=5, code=LICK)
    assert codes_of(tmp_path / "out", "m1__B_anna")[:6] == [LICK] * 5 + [-1]
    assert save().json["recordings"] == ["m1"]
    assert not path.exists()


def test_videos_are_never_changed(ask, videos, tmp_path):
    """Nor does anything new lie beside them."""

    def look():
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in videos.iterdir()}

    before = look()
    asker = ask()
    for name in ("m1", "m2"):
        asker.state(name)
        asker.edit("set", name, start=0, stop=5, code=LICK)
        asker.get("frames", name=name, start=0, stop=20)
    assert look() == before


def test_a_video_that_cannot_be_read_is_a_message(ask, videos):
    """The others can be scored."""
    (videos / "bad.mp4").write_bytes(b"no video")
    asker = ask()
    reply = asker.get("recording", name="bad")
    assert reply.status_code == 422
    assert "cannot be opened as a video" in reply.json["error"]
    assert asker.state("m1")["num_frames"] == NUM_FRAMES


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "1", "predictions", "", "a b", "x" * 41, "con.csv"]
)
def test_annotators_have_names_for_files(name, monkeypatch):
    """Others are refused before anything is opened; a login name is brought into form."""
    if name:
        with pytest.raises(ConfigError, match="annotator"):
            ReviewConfig(annotator=name)
    monkeypatch.setattr(getpass, "getuser", lambda: "dr müller")
    assert login_name() == "dr-müller"
    monkeypatch.setattr(getpass, "getuser", lambda: "7")
    with pytest.raises(ConfigError, match="--annotator NAME"):
        login_name()


def test_annotators_whose_files_would_belong_to_another_video(ask, videos):
    """m1_anna.csv is the label file of m1_anna.mp4, if there is such a video."""
    shutil.copy(videos / "m1.mp4", videos / "m1_anna.mp4")
    with pytest.raises(ConfigError, match=r"would count as labels of m1_anna\.mp4"):
        ask()
    ask(annotator="ben")


def test_annotators_that_differ_in_capitals(ask, tmp_path):
    """On some disks both would be the same file."""
    ask(annotator="anna").edit("set", start=0, stop=5, code=LICK)
    with pytest.raises(ConfigError, match="differs from m1_Anna"):
        ask(annotator="Anna")


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.integers(0, 19), st.integers(1, 20), st.integers(-1, 3), st.integers(0, 2)
            ),
            st.sampled_from(["undo", "redo"]),
        ),
        max_size=25,
    )
)
def test_undo_and_redo_lead_back(steps):
    """Any edits, grouped or not: undoing all gives the empty lane, redoing all the last one."""
    lane = Lane.empty(20)
    for step in steps:
        if isinstance(step, str):
            getattr(lane, step)()
            continue
        start, length, code, group = step
        codes = np.full(min(20, start + length) - start, code, np.int16)
        how = ACCEPTED if group == 2 else SCORED
        lane.write("set", start, codes, how, at="", by="", group="g" * (group == 1))
        assert (lane.codes[start : start + len(codes)] == code).all()
    while lane.redo():
        pass
    last = lane.runs()
    while lane.undo():
        pass
    assert lane.runs() == [(0, 20, -1, 0)]
    while lane.redo():
        pass
    assert lane.runs() == last


def test_one_stroke_is_one_step(ask):
    """What a scorer labels in one go, sent in pieces, is undone at once."""
    asker = ask()
    for stop in (3, 9, 20):
        asker.edit("set", start=max(0, stop - 6), stop=stop, code=LICK, group="stroke")
    assert asker.state()["undo"] == 1
    asker.edit("undo")
    assert asker.state()["runs"] == [[0, NUM_FRAMES, -1, 0]]


# --- the server itself --------------------------------------------------------------------------


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


# --- the queue and the estimate -----------------------------------------------------------------


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
