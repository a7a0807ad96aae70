"""Predictions: the right frame in every row, and every row written."""

import csv
import json

import numpy as np
import pytest
import torch

from mpar.cache.clips import ClipSampler, clip_frames
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.formats.annotations import read_annotation
from mpar.inference import (
    ActionRecognitionInference,
    find_inputs,
    predict_inputs,
    predict_multiple_videos,
)
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.network.checkpoint import load_checkpoint, save_checkpoint
from mpar.predictions.postprocess import PostConfig
from mpar.predictions.writing import OutputConfig, write_prediction
from mpar.preprocess import preprocess
from tests.fixtures.helpers import (
    make_checkpoint,
    raises_problem,
    recording_of,
    run,
    write_two_streams,
)
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    read_frame_number,
    write_annotation,
    write_video,
)

CLASS_NAMES = DEFAULT_CLASS_MAP.class_names


def read_rows(path):
    """Return the rows of a CSV as dicts."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A video of 75 frames that spell their number, and its cache: five chunks, the last of 11."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "v").mkdir()
    (folder / "a").mkdir()
    write_video(folder / "v" / "numbers.mp4", draw_frame_numbers(75, 32, 32))
    write_annotation(folder / "a" / "numbers.csv", np.arange(75) % 8)
    preprocess(folder / "v", folder / "a", folder / "cache.h5")
    return folder


@pytest.mark.parametrize("clip_length", [8, 16, 24])
@pytest.mark.parametrize("stride", [1, 3])
def test_every_frame_is_the_right_one(numbers, tmp_path, clip_length, stride):
    """Video, cache, sampler and prediction agree on every frame, by value, to both edges."""
    with Store(numbers / "cache.h5") as store:
        frames = store.frames(0).copy()
        assert [read_frame_number(frame) for frame in frames] == list(range(75))
        sampler = ClipSampler(store, clip_length=clip_length)
        samples = np.array([[0, t] for t in range(0, 75, stride)])
        clips, labels = sampler.gather(samples)
        expected = np.stack(
            [clip_frames(t, clip_length=clip_length, num_frames=75) for _, t in samples.tolist()]
        )
        found = [[read_frame_number(frame) for frame in clip[0]] for clip in clips.numpy()]
        assert found == expected.tolist()
        assert labels[:, 0].tolist() == [
            DEFAULT_CLASS_MAP.class_index_of(t % 8) for t in range(0, 75, stride)
        ]
    checkpoint = make_checkpoint(tmp_path / "net.pt", clip_length=clip_length)
    (path,) = predict_multiple_videos(
        checkpoint_path=checkpoint,
        video_paths=[numbers / "v" / "numbers.mp4"],
        output_dir=tmp_path / "out",
        stride=stride,
    )
    rows = read_rows(path)
    assert [int(row["Frame"]) for row in rows] == list(range(0, 75, stride))
    net = load_checkpoint(checkpoint).build_net()
    with torch.no_grad():
        reference = net(clips.float() / 255).softmax(1).numpy()
    written = np.array([[float(row[f"{name}_prob"]) for name in CLASS_NAMES] for row in rows])
    np.testing.assert_allclose(written, reference, atol=1e-5)
    shifted = np.abs(reference[1:] - reference[:-1]).max(axis=1)
    assert (shifted > 1e-4).mean() > 0.9, "neighbouring clips must differ for this test to see"


def test_predictions_are_read_back_as_annotations(numbers, tmp_path):
    """Name or code, any stride: the CSV is a label file of the same frames."""
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"), "cpu")
    prediction = network.predict(numbers / "v" / "numbers.mp4")
    for stride in (1, 4):
        for action_format in ("name", "code"):
            config = OutputConfig(stride=stride, action_format=action_format, min_confidence=0.3)
            write_prediction(
                tmp_path,
                prediction,
                network.checkpoint.class_map,
                config,
                PostConfig(),
                network.checkpoint.provenance(),
            )
            path = tmp_path / "numbers_predictions.csv"
            table = read_annotation(path, DEFAULT_CLASS_MAP, allow_gaps=True)
            assert table.frames.tolist() == list(range(0, 75, stride))
            is_sure = prediction.confidence() >= 0.3
            expected = np.where(is_sure, prediction.labels, -1)[::stride]
            assert DEFAULT_CLASS_MAP.merge(table.codes).tolist() == expected.tolist()


def test_precision_is_recorded_and_refused(numbers, tmp_path):
    """The JSON file says in which type the network computed; fp16 is nothing for a CPU."""
    checkpoint = make_checkpoint(tmp_path / "net.pt")
    options = [checkpoint, numbers / "v", "-o", tmp_path / "out", "--device", "cpu"]
    assert run("predict", *options).exit_code == 0
    sidecar = json.loads((tmp_path / "out" / "numbers_predictions.json").read_text())
    assert sidecar["precision"] == "fp32"
    refused = run("predict", *options, "--overwrite", "--precision", "fp16")
    assert refused.exit_code == 2
    assert "precision: found fp16, which cpu" in refused.output


def test_low_confidence_is_unlabelled(tmp_path):
    """Below the threshold a frame has no label; at it, it has."""
    probabilities = np.zeros((3, len(CLASS_NAMES)), np.float32)
    probabilities[:, :2] = [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]
    for least, expected in ((0.75, [0, -1, 1]), (0.76, [-1, -1, -1]), (0.0, [0, 0, 1])):
        prediction = recording_of(name="a", probabilities=probabilities)
        config = OutputConfig(min_confidence=least)
        write_prediction(tmp_path, prediction, DEFAULT_CLASS_MAP, config, PostConfig(), {})
        table = read_annotation(tmp_path / "a_predictions.csv", DEFAULT_CLASS_MAP)
        assert DEFAULT_CLASS_MAP.merge(table.codes).tolist() == expected


def test_api_returns_what_the_original_documented(numbers, tmp_path):
    """The original's call and the shape of what it returns."""
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"))
    result = network.predict_video(
        video_path=numbers / "v" / "numbers.mp4", stride=2, return_probs=True
    )
    assert (result["num_frames"], result["fps"], result["video"]) == (75, 30.0, "numbers.mp4")
    assert len(result["predictions"]) == 38
    row = result["predictions"][5]
    assert row["frame"] == 10
    assert row["action"] == max(row["probabilities"], key=row["probabilities"].get)
    assert row["confidence"] == max(row["probabilities"].values())
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    plain = network.predict_video(numbers / "v" / "numbers.mp4")["predictions"][0]
    assert "probabilities" not in plain


@pytest.mark.parametrize(
    ("height", "width", "told"),
    [
        (64, 64, "frames are 64x64 px, resized to 32x32 as in training"),
        (64, 66, "frames are 66x64 px, resized to 32x32 as in training"),
        (
            64,
            96,
            "frames of 96x64 px are squeezed to 32x32 px, which makes everything 1.50 times too "
            "tall; this is right only if the training videos had this shape; otherwise crop or "
            "film alike",
        ),
    ],
)
def test_other_sizes_are_resized_and_said_so(tmp_path, height, width, told):
    """A video of another size is predicted at the size of training, with a warning."""
    frames = draw_frame_numbers(20, height, width)
    write_video(tmp_path / "wide.mp4", frames)
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"))
    prediction = network.predict(tmp_path / "wide.mp4")
    assert len(prediction.probabilities) == 20
    assert prediction.warnings == (told,)


def test_video_and_cache_give_the_same_predictions(numbers, tmp_path):
    """What is predicted from a cache equals what is predicted from its video."""
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"))
    from_video = network.predict(numbers / "v" / "numbers.mp4")
    with Store(numbers / "cache.h5") as store:
        from_cache = network.predict_recording(store, 0)
    assert np.array_equal(from_video.probabilities, from_cache.probabilities)


def test_cache_of_another_size_is_refused(numbers, tmp_path):
    """A cache is not resized behind the user's back."""
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "n.pt", frame_size=(48, 64)))
    with (
        Store(numbers / "cache.h5") as store,
        pytest.raises(ConfigError, match="--size 48x64"),
    ):
        network.predict_recording(store, 0)


def test_bad_video_is_skipped_and_named(numbers, tmp_path):
    """The good videos are predicted, the bad ones named, none in silence."""
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes((numbers / "v" / "numbers.mp4").read_bytes())
    (videos / "b.mp4").write_text("not a video")
    with raises_problem("video-damaged", "b.mp4", "gone.mp4"):
        predict_multiple_videos(
            make_checkpoint(tmp_path / "net.pt"), [videos, tmp_path / "gone.mp4"], tmp_path / "out"
        )
    names = sorted(path.name for path in (tmp_path / "out").glob("[!.]*"))
    assert names == ["a_bouts.csv", "a_predictions.csv", "a_predictions.json", "summary.csv"]


def test_results_are_in_the_order_of_the_videos(numbers, tmp_path):
    """Videos are predicted two at a time, but a short one does not overtake a long one."""
    videos = tmp_path / "videos"
    videos.mkdir()
    frames = draw_frame_numbers(300, 32, 32)
    lengths = {"a": 300, "b": 2, "c": 1, "d": 40}
    for name, num_frames in lengths.items():
        write_video(videos / f"{name}.mp4", frames[:num_frames])
    checkpoint = make_checkpoint(tmp_path / "net.pt")
    paths = predict_multiple_videos(checkpoint, [videos], tmp_path / "out")
    assert [path.name for path in paths] == [f"{name}_predictions.csv" for name in lengths]
    assert [len(read_rows(path)) for path in paths] == list(lengths.values())


def test_interrupt_leaves_whole_files(numbers, tmp_path, monkeypatch):
    """Ctrl-C while a video is being written: what is there is whole, and nothing hangs."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in "abc":
        (videos / f"{name}.mp4").write_bytes((numbers / "v" / "numbers.mp4").read_bytes())
    written = []

    def write(folder, prediction, *rest):
        if written:
            raise KeyboardInterrupt
        written.append(prediction.name)
        return write_prediction(folder, prediction, *rest)

    monkeypatch.setattr("mpar.inference.write_prediction", write)
    with pytest.raises(KeyboardInterrupt):
        predict_multiple_videos(make_checkpoint(tmp_path / "net.pt"), [videos], tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").glob("[!.]*"))
    (name,) = written  # whichever was done first
    endings = ["_bouts.csv", "_predictions.csv", "_predictions.json"]
    assert names == [*(f"{name}{ending}" for ending in endings), "summary.csv"]


def test_same_name_twice_is_a_problem(numbers, tmp_path):
    """Two videos of one name would write one file: the second is named, not predicted."""
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.mp4").write_bytes(b"")
    sources, problems = find_inputs([tmp_path / "x", tmp_path / "y"])
    assert [source.path for source in sources] == [tmp_path / "x" / "m.mp4"]
    assert "same file name" in problems[0].message
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="found no video"):
        find_inputs([empty])


def test_nothing_is_overwritten_unasked(numbers, tmp_path):
    """Predictions that exist are kept, and checked for before anything is computed."""
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"))
    sources, _ = find_inputs([numbers / "v"])
    out = tmp_path / "out"
    out.mkdir()
    (out / "numbers_predictions.csv").write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        predict_inputs(network, sources, out)
    assert [p.name for p in out.iterdir()] == ["numbers_predictions.csv"]
    assert (out / "numbers_predictions.csv").read_text() == "mine"
    predict_inputs(network, sources, out, overwrite=True)
    assert len(read_rows(out / "numbers_predictions.csv")) == 75


def test_sidecar_bouts_and_summary_agree_with_the_rows(numbers, tmp_path):
    """All files of a prediction tell one story."""
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"))
    sources, _ = find_inputs([numbers / "v"])
    predict_inputs(network, sources, tmp_path / "out")
    rows = read_rows(tmp_path / "out" / "numbers_predictions.csv")
    bouts = read_rows(tmp_path / "out" / "numbers_bouts.csv")
    (summary,) = read_rows(tmp_path / "out" / "summary.csv")
    sidecar = json.loads((tmp_path / "out" / "numbers_predictions.json").read_text())
    for bout in bouts:
        for frame in range(int(bout["First_frame"]), int(bout["Last_frame"]) + 1):
            assert rows[frame]["Action"] == bout["Class"]
    for name in CLASS_NAMES:
        count = sum(row["Action"] == name for row in rows)
        assert int(summary[f"{name}_frames"]) == count
        assert int(summary[f"{name}_bouts"]) == sum(bout["Class"] == name for bout in bouts)
    assert (sidecar["num_frames"], sidecar["fps"], sidecar["stride"]) == (75, "30", 1)
    assert sidecar["checkpoint_sha256"] == network.checkpoint.digest


def test_summary_gathers_all_videos_of_a_folder(numbers, tmp_path):
    """Later predictions add rows; a video predicted again replaces its own."""
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"))
    write_video(tmp_path / "other.mp4", draw_frame_numbers(10, 32, 32))
    for paths in ([numbers / "v"], [tmp_path / "other.mp4"], [tmp_path / "other.mp4"]):
        predict_inputs(network, find_inputs(paths)[0], tmp_path / "out", overwrite=True)
    rows = read_rows(tmp_path / "out" / "summary.csv")
    assert [(row["video"], row["frames"]) for row in rows] == [("numbers", "75"), ("other", "10")]


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"stride": 0}, "stride: found 0"),
        ({"min_confidence": 1.5}, "min_confidence: found 1.5"),
        ({"action_format": "number"}, "action_format: found 'number'"),
    ],
)
def test_bad_output_options_are_refused(options, fragment):
    """Each option names itself and its range."""
    with pytest.raises(ConfigError, match=fragment):
        OutputConfig(**options)


@pytest.mark.parametrize(
    "content", [b"", b"video;fps\nm;30\n", b"video,my notes\nm,\xe9\n", b"video,fps\nm,30,1\n"]
)
def test_foreign_summary_is_kept(numbers, tmp_path, content):
    """A summary.csv of other classes, or the user's own, is replaced only when asked."""
    checkpoint = make_checkpoint(tmp_path / "n.pt")
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.csv").write_bytes(content)
    video = numbers / "v" / "numbers.mp4"
    with pytest.raises(ConfigError, match=r"summary\.csv: is not a summary of the classes rest"):
        predict_multiple_videos(checkpoint, [video], out)
    assert [path.name for path in out.glob("[!.]*")] == ["summary.csv"]
    assert (out / "summary.csv").read_bytes() == content
    predict_multiple_videos(checkpoint, [video], out, overwrite=True)
    assert read_rows(out / "summary.csv")[0]["video"] == "numbers"


def test_stream_is_that_of_training_unless_another_is_given(tmp_path):
    """What preprocessing was told holds for new videos, too; a wrong stream is a problem."""
    path = write_two_streams(tmp_path / "v.mkv", [(64, 64), (96, 96)], 1)
    checkpoint = make_checkpoint(tmp_path / "net.pt", frame_size=(64, 64))
    network = ActionRecognitionInference(checkpoint)
    told = network.predict(path).warnings
    assert told[0].startswith("frames are 96x96 px, resized")
    assert "has 2 video streams" in told[1]
    assert ActionRecognitionInference(checkpoint, stream=0).predict(path).warnings == ()
    network.checkpoint.data["config"]["stream"] = 0
    save_checkpoint(checkpoint, network.checkpoint)
    assert ActionRecognitionInference(checkpoint).predict(path).warnings == ()
    assert ActionRecognitionInference(checkpoint, stream=1).stream == 1
    with raises_problem("no-stream"):
        ActionRecognitionInference(checkpoint, stream=5).predict(path)


def test_recording_of_a_cache_keeps_its_warnings(tmp_path):
    """Predicting from a cache repeats the warnings about its videos."""
    for folder in ("v", "l"):
        (tmp_path / folder).mkdir()
    write_video(tmp_path / "v" / "a.mp4", draw_frame_numbers(20, 32, 32), fps=25)
    write_annotation(tmp_path / "l" / "a.csv", np.zeros(20, int))
    preprocess(tmp_path / "v", tmp_path / "l", tmp_path / "c.h5")
    network = ActionRecognitionInference(make_checkpoint(tmp_path / "net.pt"))
    with Store(tmp_path / "c.h5") as store:
        found = network.predict_recording(store, 0).warnings
    assert found == network.predict(tmp_path / "v" / "a.mp4").warnings
    assert found == ("runs at 25 frames per second, expected 30; mpar keeps its frames and times",)
