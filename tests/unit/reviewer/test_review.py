"""The server of mpar-review: who may ask, what is saved, and what happens when something breaks."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.reviewer import desk as desk_module
from mpar.reviewer import scoring_files
from mpar.reviewer import study as study_module
from mpar.reviewer.history import SCORED
from mpar.system.serving import MAX_BODY_BYTES
from tests.fixtures.helpers import run
from tests.fixtures.synthetic import (
    write_annotation,
)
from tests.unit.reviewer.asking import (
    LICK,
    NUM_FRAMES,
    PORT,
    WALK,
    codes_of,
    put_predictions,
)


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
