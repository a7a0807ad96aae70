"""A folder that is partly predicted: what is there is kept if it is what this run would write."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mpar.errors import InputError
from mpar.inference import predict_multiple_videos
from mpar.network.predictor import ActionRecognitionInference
from mpar.preprocess import preprocess
from mpar.system.files import write_together
from tests.fixtures.helpers import make_checkpoint, run
from tests.fixtures.synthetic import draw_frame_numbers, write_annotation, write_video


@pytest.fixture
def study(tmp_path):
    """A network, and the predictions of three videos."""
    (tmp_path / "v").mkdir()
    for k, name in enumerate("abc"):
        write_video(tmp_path / "v" / f"{name}.mp4", draw_frame_numbers(20 + k, 32, 48))
    make_checkpoint(tmp_path / "net.pt")
    assert predict(tmp_path).exit_code == 0
    return tmp_path


@pytest.fixture
def seen(monkeypatch):
    """Names of the videos that the network sees from now on."""
    names = []
    whole = ActionRecognitionInference.predict_regions

    def note(self, path, regions, *rest):
        names.append((path.stem, *(region.animal for region in regions if region)))
        return whole(self, path, regions, *rest)

    monkeypatch.setattr(ActionRecognitionInference, "predict_regions", note)
    return names


def predict(folder, *more):
    """Predict all videos into one folder."""
    return run(
        *("predict", folder / "net.pt", folder / "v", "-o", folder / "p", "--device", "cpu"), *more
    )


def listing(folder):
    """Return the content of each file that is not hidden."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


def test_only_new_videos_are_predicted(study, seen):
    """The others keep their files; the summary covers all; the screen says how many were there."""
    before = listing(study / "p")
    write_video(study / "v" / "d.mp4", draw_frame_numbers(15, 32, 48))
    result = predict(study)
    assert (result.exit_code, seen) == (0, [("d",)])
    assert "3 predictions" in result.output
    after = listing(study / "p")
    changed = {name for name in after if after[name] != before.get(name)}
    endings = ("_bouts.csv", "_predictions.csv", "_predictions.json")
    assert changed == {"summary.csv", *(f"d{ending}" for ending in endings)}
    rows = after["summary.csv"].decode().splitlines()
    assert [row.split(",")[0] for row in rows] == ["video", *"abcd"]
    paths = predict_multiple_videos(study / "net.pt", [study / "v"], study / "p", device="cpu")
    assert [path.name[0] for path in paths] == [*"abcd"]
    assert len(seen) == 1


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(["b_predictions.csv"], id="before the frames"),
        pytest.param(["b_predictions.csv", "b_bouts.csv"], id="before the bouts"),
        pytest.param(["b_bouts.csv"], id="bouts deleted"),
        pytest.param(["b_predictions.csv", "b_bouts.csv", "b_predictions.json"], id="all"),
    ],
)
def test_killed_run_continues(study, seen, lost):
    """Whatever a process that was killed left: the same command makes the folder whole."""
    before = listing(study / "p")
    for name in lost:
        (study / "p" / name).unlink()
    assert predict(study).exit_code == 0
    assert seen == [("b",)]
    assert listing(study / "p") == before


def test_summary_is_completed_from_what_is_there(study, seen):
    """A process may be killed between a prediction and its row."""
    before = listing(study / "p")
    (study / "p" / "summary.csv").unlink()
    assert predict(study).exit_code == 0
    assert seen == []
    assert listing(study / "p") == before


def test_overwrite_predicts_everything(study, seen):
    """As it always did."""
    assert predict(study, "--overwrite").exit_code == 0
    assert sorted(seen) == [("a",), ("b",), ("c",)]


def _change_sidecar(study, change):
    path = study / "p" / "b_predictions.json"
    sidecar = json.loads(path.read_text())
    change(sidecar)
    path.write_text(json.dumps(sidecar))


def _other_video(study):
    write_video(study / "v" / "b.mp4", draw_frame_numbers(21, 32, 48) + 1)


def _hand_made(study):
    path = study / "p" / "b_predictions.csv"
    path.write_text(path.read_text().replace("rest", "walk"))


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (lambda s: make_checkpoint(s / "net.pt", clip_length=8), (), "is of another network"),
        (lambda s: None, ("--stride", 2), "was made with --stride 1, now 2"),
        (lambda s: None, ("--min-confidence", 0.5), "--min-confidence 0.0, now 0.5"),
        (lambda s: None, ("--format", "code"), "--format name, now code"),
        (lambda s: None, ("--smooth", 5), "post-processing"),
        (lambda s: None, ("--fps", 25), "--fps not given, now 25"),
        (lambda s: None, ("--stream", 0), "--stream not given, now 0"),
        (_other_video, (), "b_predictions.json is of another video"),
        (_hand_made, (), "b_predictions.csv was changed after mpar wrote it"),
        (lambda s: (s / "p" / "b_bouts.csv").write_text("x"), (), "b_bouts.csv was changed"),
        (lambda s: (s / "p" / "b_predictions.json").unlink(), (), "without b_predictions.json"),
        (lambda s: (s / "p" / "b_predictions.json").write_text("{"), (), "is damaged"),
        (
            lambda s: (s / "p" / "b_predictions.json").write_text("[" * 100_000),
            (),
            "is damaged",
        ),
        (lambda s: _change_sidecar(s, lambda d: d.pop("sha256")), (), "did not note how"),
    ],
)
def test_other_predictions_are_refused_with_the_reason(study, seen, change, options, reason):
    """Nothing is predicted or changed, and the message says what differs and the way out."""
    change(study)
    before = listing(study / "p")
    result = predict(study, *options)
    assert result.exit_code == 2
    text = " ".join(result.output.split())
    assert reason in text
    assert "--overwrite" in text
    assert seen == []
    assert listing(study / "p") == before


def test_video_that_cannot_be_read_any_more_is_its_own_problem(study, seen):
    """Its prediction stays; a new video beside it is predicted."""
    before = listing(study / "p")
    (study / "v" / "b.mp4").unlink()
    (study / "v" / "b.mp4").symlink_to("nowhere")
    write_video(study / "v" / "d.mp4", draw_frame_numbers(15, 32, 48))
    assert predict(study).exit_code == 1
    after = listing(study / "p")
    assert {name: after[name] for name in before if name != "summary.csv"} == {
        name: data for name, data in before.items() if name != "summary.csv"
    }
    assert "d_predictions.csv" in after


def test_animals_of_one_video_count_each(study, seen):
    """Only the animal that is missing is predicted again."""
    regions = study / "regions.csv"
    regions.write_text("Video,Animal,X,Y,Width,Height\n*,left,0,0,24,32\n*,right,24,0,24,32\n")
    out = ("-o", study / "q", "--regions", regions)
    assert predict(study, *out).exit_code == 0
    before = listing(study / "q")
    (study / "q" / "b__right_predictions.csv").unlink()
    seen.clear()
    assert predict(study, *out).exit_code == 0
    assert seen == [("b", "right")]
    assert listing(study / "q") == before


def test_recordings_of_a_cache_are_kept(study, monkeypatch):
    """A cache that holds other frames is noticed."""
    (study / "l").mkdir()
    for k, name in enumerate("abc"):
        write_annotation(study / "l" / f"{name}.csv", np.zeros(20 + k, int))
    cache = study / "c.h5"
    preprocess(study / "v", study / "l", cache, config=None)
    arguments = ("predict", study / "net.pt", cache, "-o", study / "q", "--device", "cpu")
    make_checkpoint(study / "net.pt", frame_size=(32, 48))
    assert run(*arguments).exit_code == 0
    before = listing(study / "q")
    (study / "q" / "b_predictions.csv").unlink()
    assert "2 predictions" in run(*arguments).output
    assert listing(study / "q") == before
    _other_video(study)
    preprocess(study / "v", study / "l", cache, overwrite=True)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "b_predictions.json is of another video" in " ".join(result.output.split())


def test_name_that_is_too_long_leaves_nothing(study):
    """The video is a problem, the others are predicted, and there is no half of its files."""
    long = "x" * (255 - len("_predictions.csv"))  # too long for the JSON file alone
    write_video(study / "v" / f"{long}.mp4", draw_frame_numbers(15, 32, 48))
    write_video(study / "v" / "z.mp4", draw_frame_numbers(16, 32, 48))
    assert predict(study).exit_code == 1
    assert not list((study / "p").glob("x*"))
    assert not list((study / "p").glob(".*tmp*"))
    assert (study / "p" / "z_predictions.csv").exists()
    with pytest.raises(InputError, match=r"xxx.*cannot be read or written"):
        predict_multiple_videos(study / "net.pt", [study / "v"], study / "p", device="cpu")


@pytest.mark.parametrize("blocked", ["a.json", "b.csv", "c.csv"])
def test_files_that_belong_together_are_written_together(tmp_path, blocked):
    """If the disk refuses one, there is none of the new content and no sign of completeness."""
    (tmp_path / blocked).mkdir()
    paths = [tmp_path / name for name in ("a.json", "b.csv", "c.csv")]
    with pytest.raises(OSError, match=blocked):
        write_together(dict.fromkeys(paths, "new"))
    assert [path.name for path in tmp_path.iterdir()] == [blocked]
