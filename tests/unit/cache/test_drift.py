"""Drift: what is measured of a recording, and what lies outside of what was learnt."""

import dataclasses
import json
import re
from fractions import Fraction

import numpy as np
import pytest

from mpar.cache.drift import Appearance, AppearanceMeter, appearance_range, find_drift
from mpar.cache.store import Store
from mpar.errors import KINDS
from mpar.inference import ActionRecognitionInference
from mpar.network.checkpoint import load_checkpoint, save_checkpoint
from mpar.network.comparing import compare_with_store
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.video.following import Following
from mpar.video.videos import View
from tests.fixtures.helpers import make_checkpoint, read_frames, run
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    draw_recording,
    write_annotation,
    write_video,
)

LEARNT = {
    **{"brightness": [40.0, 80.0], "contrast": [12.0, 18.0], "fps": [30.0, 30.0]},
    **{"height": [240.0, 240.0], "width": [320.0, 360.0], "video_fps": [30.0, 60.0]},
}
LIKE = {"brightness": 60.0, "contrast": 15.0, "fps": 30.0}
LIKE |= {"height": 240, "width": 320, "video_fps": 30.0}


def test_every_tenth_frame_is_looked_at():
    """By hand: frames 0, 10 and 20 of half black and half grey; all views pass unchanged."""
    frames = np.full((25, 4, 6), 255, np.uint8)
    frames[::10] = 0
    frames[::10, :2] = np.array([40, 60, 80])[:, None, None]
    meter = AppearanceMeter()
    views = [View(np.zeros((8, 8), np.uint8), frame) for frame in frames]
    assert all(one is other for one, other in zip(meter.watch(views), views, strict=True))
    look = meter.appearance(Fraction(30000, 1001), (8, 9), Fraction(60))
    assert (look.brightness, look.contrast) == (30, 30)
    assert (look.height, look.width, look.video_fps) == (8, 9, 60)
    assert look.fps == pytest.approx(29.97, abs=1e-3)


def test_nothing_seen_is_an_error():
    """A recording without frames has no look."""
    with pytest.raises(ValueError, match="no frame"):
        AppearanceMeter().appearance(Fraction(30), (8, 9), None)


def test_range_of_a_cache_holds_every_recording(study):
    """Least and greatest over the recordings asked for, as the whole frames have it."""
    with Store(study.cache) as store:
        found = appearance_range(store, [1, 4])
        frames = [np.stack(list(store.frames(i))) for i in (1, 4)]
    means = sorted(float(f.mean()) for f in frames)
    assert found["brightness"] == pytest.approx(means)
    contrasts = sorted(float(f.std(axis=(1, 2)).mean()) for f in frames)
    assert found["contrast"] == pytest.approx(contrasts)
    assert found["fps"] == found["video_fps"] == [30, 30]
    assert found["height"] == found["width"] == [64, 64]  # of the videos: frames are smaller
    assert frames[0].shape[1:] == (32, 32)


@pytest.mark.parametrize(
    ("change", "code", "fragment"),
    [
        ({}, None, ""),
        ({"brightness": 89.0}, None, ""),
        (
            {"brightness": 91.0},
            "other-brightness",
            "its mean grey level is 91, the network learnt from 40 to 80",
        ),
        ({"brightness": 29.0}, "other-brightness", "its mean grey level is 29"),
        ({"contrast": 26.0}, None, ""),
        ({"contrast": 28.0}, "other-contrast", "contrast .* is 28, the network learnt from 12"),
        ({"contrast": 7.0}, "other-contrast", "contrast .* is 7"),
        ({"fps": 29.97}, None, ""),
        (
            {"fps": 60.0},
            "other-rate",
            "it has 60 frames per second, the network learnt from 30, so ",
        ),
        ({"fps": 25.0}, "other-rate", "it has 25 frames per second"),
        ({"video_fps": 25.0}, None, ""),
        ({"video_fps": 120.0}, None, ""),
        ({"video_fps": 0.0}, None, ""),
        (
            {"video_fps": 15.0},
            "other-rate",
            "it has 15 frames per second, the network learnt from 30 or more, so it sees some "
            "frames twice",
        ),
        ({"width": 390}, None, ""),
        ({"height": 0, "width": 0}, None, ""),
        ({"width": 400}, "other-size", "it shows 400x240 px, .* from 320x240 to 360x240, so"),
        ({"height": 480, "width": 640}, "other-size", "it shows 640x480 px, the network"),
    ],
    ids=str,
)
def test_warnings(change, code, fragment):
    """Each attribute warns beyond its margin, by its code, and names what was learnt."""
    warnings = find_drift(Appearance(**LIKE | change), LEARNT)
    assert [*warnings] == ([] if code is None else [code])
    assert set(warnings) <= set(KINDS)
    for warning in warnings.values():
        assert re.search(fragment, warning)


def test_older_networks_do_not_know_the_size_of_their_videos():
    """Nothing is then said about sizes and rates of videos."""
    for learnt in (LEARNT | {"height": [0.0, 240.0], "width": [0.0, 320.0]}, _without_sizes()):
        assert find_drift(Appearance(**LIKE | {"height": 9, "width": 9}), learnt) == {}


def _without_sizes():
    return {key: LEARNT[key] for key in ("brightness", "contrast", "fps")}


def test_squares_say_what_another_size_does_to_them():
    """A square has a side in px of the video."""
    look = Appearance(**LIKE | {"height": 480, "width": 640})
    (warning,) = find_drift(look, LEARNT, Following(117, 64)).values()
    assert "squares of 117 px hold more or less of it; convert it to that size" in warning


def test_predicting_warns_of_a_brightened_and_of_a_60_fps_video(study, tmp_path):
    """And not of a training video, nor of a new animal filmed alike."""
    network = ActionRecognitionInference(study.checkpoint, "cpu")
    learnt = network.checkpoint.data["look"]
    source = sorted(study.videos.iterdir())[0]
    frames = np.stack(list(read_frames(source)))
    too_bright = np.clip(frames.astype(int) + 110, 0, 255).astype(np.uint8)
    write_video(tmp_path / "bright.mp4", too_bright)
    write_video(tmp_path / "quick.mp4", frames, fps=60)
    write_video(tmp_path / "alike.mp4", frames)
    seed = _seed_of_a_middling_animal(learnt["brightness"])
    new, _ = draw_recording(seed=seed, num_frames=40, height=64, width=64)
    write_video(tmp_path / "new.mp4", new)
    found = {
        path.stem: [w for w in network.predict(path).warnings if "learnt from" in w]
        for path in sorted(tmp_path.glob("*.mp4"))
    }
    assert "mean grey level" in found["bright"][0]
    assert found["alike"] == found["new"] == found["quick"] == []  # it walks at its own rate
    look = Appearance(brightness=learnt["brightness"][0], contrast=learnt["contrast"][0], fps=60)
    assert "60 frames per second" in find_drift(look, learnt)["other-rate"]


def test_predicting_a_larger_video_warns_on_the_screen_and_in_the_files(study, tmp_path):
    """By its code: in the JSON file, in the events of --progress json; text elsewhere."""
    source = sorted(study.videos.iterdir())[0]
    frames = np.stack(list(read_frames(source)))
    write_video(tmp_path / "large.mp4", frames.repeat(2, axis=1).repeat(2, axis=2))
    arguments = [study.checkpoint, source, tmp_path / "large.mp4", "-o", tmp_path / "out"]
    result = run("predict", *arguments, "--device", "cpu", "--progress", "json")
    events = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    coded = [event for event in events if "code" in event and event["event"] == "message"]
    text = "it shows 128x128 px, the network learnt from 64x64, so"
    assert [event["code"] for event in coded] == ["other-size"]
    assert coded[0]["text"].startswith(f"large.mp4: {text}")
    drift = {
        name: json.loads((tmp_path / "out" / f"{name}_predictions.json").read_text())
        for name in ("large", source.stem)
    }
    assert [*drift["large"]["drift"]] == ["other-size"]
    assert drift["large"]["warnings"] == [*drift["large"]["drift"].values()]
    assert drift[source.stem]["drift"] == {}
    assert drift[source.stem]["warnings"] == []  # it is resized as all were


def test_the_rate_is_that_of_the_steps(tmp_path, caplog):
    """A network learns at the rate of its cache, whatever that of the videos."""
    (tmp_path / "v").mkdir()
    write_video(tmp_path / "v" / "a.mkv", draw_frame_numbers(40, 32, 32), fps=60, codec="ffv1")
    write_annotation(tmp_path / "v" / "a.csv", np.arange(40) // 20)
    path = make_checkpoint(tmp_path / "net.pt")
    trained = load_checkpoint(path)
    data = trained.data | {"config": {"rate": "30"}}
    save_checkpoint(path, dataclasses.replace(trained, data=data))
    network, messages = ActionRecognitionInference(path, "cpu"), []
    for rate in (30, 15):
        config = PreprocessConfig(rate=Fraction(rate))
        preprocess(tmp_path / "v", tmp_path / "v", tmp_path / f"{rate}.h5", config=config)
        with Store(tmp_path / f"{rate}.h5") as store:
            assert appearance_range(store, [0])["fps"] == [rate, rate]
            caplog.clear()
            compare_with_store(network, store, [0])
        messages.append(caplog.messages)
    assert messages[0] == []
    assert "1 recordings (a, ...) do not have the 30 steps per second" in messages[1][0]


def _seed_of_a_middling_animal(brightness):
    """Find an animal that is neither brighter nor darker than those learnt from."""
    for seed in range(100, 200):
        frames, _ = draw_recording(seed=seed, num_frames=20, height=64, width=64)
        if brightness[0] < frames.mean() < brightness[1]:
            return seed
    raise AssertionError("no such animal")
