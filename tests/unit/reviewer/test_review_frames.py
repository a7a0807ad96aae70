"""Pictures have their numbers, before and after the frames are counted."""

from __future__ import annotations

import getpass
import hashlib
import shutil
import struct
import threading
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.errors import ConfigError
from mpar.matching.regions import read_regions
from mpar.review import ReviewConfig
from mpar.reviewer import frames as frames_module
from mpar.reviewer.frames import VideoFrames
from mpar.reviewer.history import ACCEPTED, SCORED, Lane
from mpar.reviewer.review_config import login_name
from mpar.video.seeking import FrameReader
from tests.fixtures.synthetic import (
    read_frame_number,
)
from tests.unit.reviewer.asking import (
    LICK,
    NUM_FRAMES,
    codes_of,
    put_predictions,
)


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


def test_small_pictures_need_no_decoding(ask, monkeypatch):
    """The nearest at or before a frame, once it is counted; none past the end."""
    asker = ask()
    asker.state("m1")
    asker.study.frames_of("m1").join()
    monkeypatch.setattr(VideoFrames, "_decode", None)
    for frame in (0, 5, 59):
        ((number, found),) = unpack(asker.get("frames", name="m1", start=frame, small=1).data)
        assert frame - 8 < number == found <= frame
    assert asker.get("frames", name="m1", start=60, small=1).data == b""


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
