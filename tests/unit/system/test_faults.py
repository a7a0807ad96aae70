"""One item that fails in a way that nobody expected does not end the run of the others."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.errors import InputError, Problem
from mpar.reviewer.frames import VideoFrames
from mpar.system.faults import contained, logged
from mpar.video.grey import GreyConverter
from tests.fixtures.helpers import make_checkpoint, put_prediction, run
from tests.fixtures.synthetic import draw_frame_numbers, write_annotation, write_video

BAD_WIDTH = 56


@pytest.fixture
def folders(tmp_path):
    """Two good videos, and between them one of a size that the decoder will not take."""
    for folder in "vl":
        (tmp_path / folder).mkdir()
    for name, width in (("a", 48), ("b", BAD_WIDTH), ("c", 48)):
        write_video(tmp_path / "v" / f"{name}.mp4", draw_frame_numbers(20, 32, width) + ord(name))
        write_annotation(tmp_path / "l" / f"{name}.csv", np.full(20, 6))
    return tmp_path


@pytest.fixture
def failing(monkeypatch):
    """A decoder that raises what no decoder should, for one of the videos."""
    luma = GreyConverter.luma

    def fail(self, frame):
        if frame.width == BAD_WIDTH:
            raise KeyError("nobody expected this")
        return luma(self, frame)

    monkeypatch.setattr(GreyConverter, "luma", fail)


def read_column(path, name):
    with path.open(encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_preprocessing_goes_on(folders, failing):
    """The others are in the cache; the log has the traceback, the list says where."""
    cache = folders / "c.h5"
    result = run("preprocess", folders / "v", folders / "l", "-o", cache, "--size", 32)
    assert result.exit_code == 1
    with Store(cache) as store:
        assert [info.video for info in store.recordings] == ["a.mp4", "c.mp4"]
        assert all((store.labels(i) == 4).all() for i in (0, 1))
    assert read_column(folders / "c.h5.problems.csv", "File") == ["b.mp4"]
    log = folders / "c.h5.errors.log"
    assert str(log) in read_column(folders / "c.h5.problems.csv", "Problem")[0]
    assert log.read_text().count("Traceback") == 1
    assert "KeyError: 'nobody" in log.read_text()


def test_checking_goes_on_and_writes_only_its_problems(folders, failing, monkeypatch):
    """The log is among the temporary files."""
    (folders / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folders / "tmp"))
    cache = folders / "out" / "c.h5"
    result = run("preprocess", folders / "v", folders / "l", "-o", cache, "--check", "--size", 32)
    assert result.exit_code == 1
    assert [path.name for path in cache.parent.iterdir()] == ["c.h5.problems.csv"]
    assert "KeyError" in (folders / "tmp" / "mpar-errors.log").read_text()


def test_preview_goes_on(folders, failing):
    """The picture shows the others."""
    path = folders / "p.png"
    result = run("preprocess", folders / "v", folders / "l", "--preview", path)
    assert result.exit_code == 1
    assert path.stat().st_size
    assert "KeyError" in (folders / "p.png.errors.log").read_text()


def test_prediction_goes_on(folders, failing):
    """So does prediction."""
    net = make_checkpoint(folders / "net.pt")
    result = run("predict", net, folders / "v", "-o", folders / "p", "--device", "cpu")
    assert result.exit_code == 1
    assert read_column(folders / "p" / "summary.csv", "video") == ["a", "c"]
    assert len(read_column(folders / "p" / "c_predictions.csv", "Frame")) == 20
    assert [*(folders / "p").glob("b*")] == []
    assert "KeyError" in (folders / "p" / "errors.log").read_text()


def test_export_goes_on(folders, monkeypatch):
    """Videos with a band, and the reports of evaluations, are written for the others."""
    net = make_checkpoint(folders / "net.pt")
    run("predict", net, folders / "v", "-o", folders / "p", "--device", "cpu")
    luma = GreyConverter.luma
    monkeypatch.setattr(
        GreyConverter,
        "luma",
        lambda self, frame: {}["x"] if frame.width == BAD_WIDTH else luma(self, frame),
    )
    out = folders / "o"
    arguments = ("--format", "video", "--videos", folders / "v", "-o", out)
    assert run("export", folders / "p", *arguments).exit_code == 1
    assert sorted(p.name for p in out.iterdir()) == [
        *("a_scored.mp4", "c_scored.mp4", "errors.log")
    ]


def test_page_names_the_video(folders, failing):
    """The page gets a message, and the log the traceback."""
    frames = VideoFrames(folders / "v" / "b.mp4", None, folders / "o" / ".b.frames.npz")
    frames.join()
    assert isinstance(frames.error, InputError)
    (problem,) = frames.error.problems
    assert problem.path == "b.mp4"
    assert str(folders / "o" / "errors.log") in problem.message
    assert "KeyError" in (folders / "o" / "errors.log").read_text()
    frames.close()


def test_label_reader_that_fails_costs_its_video(folders, monkeypatch):
    """Readers of labels may fail as decoders do."""
    from mpar.matching import pairing

    read = pairing.read_label_file
    monkeypatch.setattr(
        pairing,
        "read_label_file",
        lambda path, *rest: [][1] if path.stem == "b" else read(path, *rest),
    )
    cache = folders / "c.h5"
    run("preprocess", folders / "v", folders / "l", "-o", cache, "--size", 32)
    with Store(cache) as store:
        assert [info.video for info in store.recordings] == ["a.mp4", "c.mp4"]


def test_full_memory_is_no_problem_of_one_video():
    """Nor is what mpar raised on purpose, or a disk that all share."""
    for error in (MemoryError(), RuntimeError("CUDA out of memory"), OSError(28, "full")):
        with pytest.raises(type(error)), contained("a.mp4"):
            raise error
    with pytest.raises(InputError, match=r"a\.mp4: .*full"), contained("a.mp4", with_disk=True):
        raise OSError(28, "full")


def test_log_grows_and_says_where_it_is(tmp_path):
    """Two runs, two tracebacks; problems without one stay as they are."""
    plain = Problem.of("x.csv", "empty", "is empty")
    log = tmp_path / "new" / "errors.log"
    for _ in range(2):
        with pytest.raises(InputError) as caught, contained("a.mp4"):
            raise ZeroDivisionError("odd")
        found = logged([plain, *caught.value.problems], log)
        assert found[0] is plain
        assert str(log) in found[1].message
        assert not found[1].trace
    assert log.read_text().count("ZeroDivisionError: odd") == 2 * 2  # the problem, the traceback
    json.dumps(found[1].message)


def test_export_leaves_out_what_the_disk_refuses(folders):
    """A name can be long enough for a prediction, and too long with what an export adds."""
    long = "b" * (255 - len("_predictions.json"))
    for name in ("a", long):
        put_prediction(folders / "p", name, np.full(10, 4))
    result = run("export", folders / "p", "-o", folders / "o", "--format", "deepethogram")
    assert result.exit_code == 0
    blocked = folders / "o2"
    (blocked / "a.annot").mkdir(parents=True)
    arguments = ("-o", blocked, "--format", "annot", "--overwrite")
    result = run("export", folders / "p", *arguments)
    assert result.exit_code == 1
    assert sorted(path.name for path in blocked.iterdir()) == ["a.annot", f"{long}.annot"]
    assert f"{long}.annot" in result.output
