"""Blind scorers, files that exist, and files that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mpar.errors import ConfigError
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.matching.pairing import assign_label_files
from mpar.reviewer import scoring_files
from mpar.reviewer.history import SCORED
from tests.fixtures.synthetic import (
    write_annotation,
)
from tests.unit.reviewer.asking import (
    LICK,
    NUM_FRAMES,
    WALK,
    codes_of,
    put_predictions,
)


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


@pytest.mark.parametrize("was_blind", [False, True])
def test_a_scoring_is_blind_or_not_from_its_first_frame(ask, tmp_path, was_blind):
    """The other way, its recording is refused, not the others; an unlabelled one may change."""
    out = tmp_path / "out"
    out.mkdir()
    write_annotation(out / "m1_ben.csv", [LICK] * NUM_FRAMES)
    asker = ask(is_blind=was_blind)
    asker.edit("set", start=0, stop=4, code=WALK)
    asker.state("m2")  # its frames are counted
    asker.post("seen", {"seen": [[0, 9]]}, name="m2")
    before = [(out / f"m1_anna.{suffix}").read_bytes() for suffix in ("csv", "json")]
    asker = ask(is_blind=not was_blind)
    way = "with" if was_blind else "without"
    assert f"start {way} --blind, or choose another --annotator" in asker.state()["error"]
    edit = {"kind": "set", "revision": 1, "start": 20, "stop": 30, "code": LICK}
    assert asker.post("edit", edit, name="m1").status_code == 422
    assert [(out / f"m1_anna.{suffix}").read_bytes() for suffix in ("csv", "json")] == before
    assert json.loads((out / "m2_anna.json").read_text())["is_blind"] is was_blind
    assert asker.edit("set", "m2", start=0, stop=4, code=WALK).status_code == 200
    assert json.loads((out / "m2_anna.json").read_text())["is_blind"] is not was_blind
    asker = ask(is_blind=was_blind)
    assert asker.edit("undo").status_code == 200  # a redo would bring the labels back
    assert "--blind" in ask(is_blind=not was_blind).state()["error"]


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
        asker = ask()
        assert fragment in asker.state()["error"]
        assert fragment in "".join(asker.study.warnings)
        assert asker.state("m2")["runs"] == [[0, 40, -1, 0]]  # the others are open
        assert path.read_text() == text


def test_names_keep_their_labels_if_the_class_map_changes(ask, tmp_path):
    """Codes may differ, also in the history; a recording with a name that is gone is refused."""
    out, make = tmp_path / "out", type(DEFAULT_CLASS_MAP)
    asker = ask()
    asker.edit("set", start=0, stop=5, code=LICK)
    asker.edit("set", start=3, stop=9, code=WALK)
    asker.edit("set", "m2", start=0, stop=5, code=LICK)
    before = [(out / f"m1_anna.{suffix}").read_bytes() for suffix in ("csv", "json")]
    asker = ask(class_map=make(((LICK, "sit", "sit"), (9, "paw_lick", "paw_lick"))))
    assert "has labels or edits of walk, which the class map lacks" in asker.state()["error"]
    assert [(out / f"m1_anna.{suffix}").read_bytes() for suffix in ("csv", "json")] == before
    assert asker.state("m2")["runs"][0] == [0, 5, 9, SCORED]
    rows = ((LICK, "sit", "sit"), (WALK, "paw_lick", "pain"), (9, "walk", "active"))
    asker = ask(class_map=make(rows))
    assert asker.state()["runs"][:2] == [[0, 3, WALK, SCORED], [3, 9, 9, SCORED]]
    asker.edit("undo")
    assert asker.state()["runs"][0] == [0, 5, WALK, SCORED]
    assert codes_of(out) == [LICK] * 5 + [-1] * 55  # by name, as before
    asker.edit("redo")
    assert (out / "m1_anna.csv").read_bytes() == before[0]


def test_predictions_of_other_classes_are_left_out_with_a_warning(ask, tmp_path):
    """After a change of classes people can score, but nothing can be estimated."""
    predictions = put_predictions(tmp_path / "predictions", np.full(NUM_FRAMES, 2))
    other = type(DEFAULT_CLASS_MAP)((*DEFAULT_CLASS_MAP.rows, (70, "groom", "groom")))
    asker = ask(predictions, class_map=other)
    study = asker.get("study").json
    (warning,) = [text for text in study["warnings"] if "other classes" in text]
    assert "shows no predictions; train with these classes" in warning
    assert not study["has_queue"]
    assert not study["recordings"][0]["has_prediction"]
    assert asker.state()["predicted"] is None
    assert asker.edit("set", start=0, stop=9, code=70).status_code == 200
    assert "0,groom" in (tmp_path / "out" / "m1_anna.csv").read_text()
    with pytest.raises(ConfigError, match="predicted with other classes"):
        ask(predictions, class_map=other, is_estimate=True)


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


def corrected(out, name="m1_anna"):
    return json.loads((out / f"{name}.json").read_text())["corrects"]


def test_what_was_there_at_the_first_label_is_corrected(ask, tmp_path):
    """Preprocessing puts it in their place; what comes later, or is scored blind, stands beside."""
    out = tmp_path / "out"
    out.mkdir()
    write_annotation(out / "m1.csv", [LICK] * NUM_FRAMES)
    write_annotation(out / "m2.csv", [LICK] * 40)
    asker = ask()
    asker.edit("set", start=3, stop=5, code=WALK)
    write_annotation(out / "m1_late.csv", [WALK] * NUM_FRAMES)
    asker.edit("set", start=7, stop=8, code=WALK)
    assert corrected(out) == ["m1.csv"]
    ask().edit("set", start=9, stop=10, code=WALK)  # continued another day
    assert corrected(out) == ["m1.csv"]
    asker = ask(is_blind=True, annotator="blind")
    asker.edit("set", start=0, stop=NUM_FRAMES, code=WALK)
    assert corrected(out, "m1_blind") == []
    paths = sorted(out.glob("m1*.csv"))
    (source,), _ = assign_label_files(paths, [Path("m1.mp4")], DEFAULT_CLASS_MAP)
    assert {part.path.name: part.corrects for part in source.labels} == {
        "m1.csv": (),
        "m1_anna.csv": ("m1.csv",),
        "m1_blind.csv": (),
        "m1_late.csv": (),
    }
    assert codes_of(out, "m1") == [LICK] * NUM_FRAMES


def test_only_files_that_may_hold_labels_of_the_recording_are_corrected(ask, tmp_path):
    """Of files named after no video those that name it, and no table of another own animal."""
    out = tmp_path / "out"
    out.mkdir()
    head = "Observation id,Media file,Subject,Behavior,Behavior type,Time,FPS\n"
    for name, media in [("both", "D:/films/M1.mp4"), ("others", "m10.mp4"), ("more", "m2.avi")]:
        text = f"{head}o,{media},,walk,START,0,30\no,{media},,walk,STOP,1,30\n"
        (out / f"{name}.csv").write_text(text)
    (out / "notes.csv").write_text("Date,Room\n1,2\n")
    asker = ask(annotator="ben")
    asker.edit("set", start=0, stop=5, code=LICK)
    assert corrected(out, "m1_ben") == ["both.csv"]
    asker = ask()
    asker.edit("set", start=0, stop=5, code=LICK)
    assert corrected(out) == ["m1_ben.csv", "both.csv"]
    regions = "Video,Animal,X,Y,Width,Height\nm1.mp4,A,0,0,32,32\nm1.mp4,B,32,0,32,32\n"
    (out / "regions.csv").write_text(regions)
    asker = ask()
    for animal in "AB":
        asker.edit("set", f"m1__{animal}", start=0, stop=5, code=LICK)
        names = ["m1_anna.csv", "m1_ben.csv", "both.csv"]
        assert corrected(out, f"m1__{animal}_anna") == names
