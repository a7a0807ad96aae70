"""Films of drawn animals, alone and two in one chamber with tracks, and what tests ask of them."""

from __future__ import annotations

import cv2
import numpy as np

from mpar.learning.recipe import TrainConfig
from mpar.matching.tracks import TrackFolder
from mpar.preprocess import PreprocessConfig
from mpar.review import ReviewConfig
from mpar.reviewer.study import Study as ReviewStudy
from tests.fixtures.synthetic import write_annotation, write_video
from tests.fixtures.tracks import write_dlc_csv
from tests.unit.reviewer.asking import Asker

NUM_FRAMES, HEIGHT, WIDTH, SIDE = 70, 96, 128, 40


FOLLOW = PreprocessConfig(size=(32, 48), follow=True, follow_size=SIDE)

TRAINING = TrainConfig(model_type="light", num_epochs=2, batch_size=4, window=12)


def draw(seed):
    """Draw an ellipse that crosses a textured floor, (T, H, W), and its codes."""
    rng = np.random.default_rng(seed)
    floor = cv2.GaussianBlur(rng.uniform(0, 120, (HEIGHT, WIDTH)), None, 3) + 40
    places = np.linspace(rng.uniform(25, 40, 2), rng.uniform(70, 85, 2), NUM_FRAMES)
    codes = np.repeat([0, 2], [NUM_FRAMES // 2, NUM_FRAMES - NUM_FRAMES // 2])
    frames = []
    for code, (x, y) in zip(codes, places, strict=True):
        frame = floor.copy()
        cv2.ellipse(frame, (round(x), round(y)), (10, 5), 90 * code, 0, 360, 220, -1)
        frames.append((frame + rng.normal(0, 1, frame.shape)).clip(0, 255).astype(np.uint8))
    return np.stack(frames), codes


def write_study(folder, names, first_seed=0):
    """Write a video and its labels for each name."""
    for part in ("Videos", "Annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names, start=first_seed):
        frames, codes = draw(seed)
        write_video(folder / "Videos" / f"{name}.mp4", frames)
        write_annotation(folder / "Annotations" / f"{name}.csv", codes)
    return folder / "Videos", folder / "Annotations"


def spy_on(monkeypatch, network):
    """Let a network note the frames that it sees."""
    seen = []
    original = network._predictor._network.predict

    def predict(frames, *arguments):
        return original((seen.append(np.array(frame)) or frame for frame in frames), *arguments)

    monkeypatch.setattr(network._predictor._network, "predict", predict)
    return seen


def ask_for_squares(videos, tmp_path, predictions, *, name, **options):
    """Return the squares that the page gets of a recording, and score a frame of it."""
    config = ReviewConfig(**{"annotator": "anna"} | options)
    study = ReviewStudy(videos, tmp_path / f"out_{name}", predictions, config)
    try:
        asker = Asker(study)
        state = asker.state(name)
        assert (state["region"], state["regions"]) == (None, [])
        edit = {"start": 0, "stop": 5, "code": 0}
        assert asker.edit("set", name, **edit).status_code == 200
        region = [{"animal": "A", "x": 0, "y": 0, "width": 50, "height": 50}]
        if study.has_tracks:
            refused = asker.post("regions", {"regions": region}, name=name)
            assert "those of --tracks" in refused.json["error"]
    finally:
        study.close()
    files = {path.name for path in (tmp_path / f"out_{name}").iterdir()}
    assert f"{name}_anna.csv" in files
    return state["squares"]


GREYS = {"left": 230, "right": 15}


def write_chamber(folder, *, num_videos=1):
    """Write videos of a chamber with a bright and a dark animal whose paths cross.

    Returns the folders of videos, labels and tracks, and the codes by animal.
    """
    folders = [folder / name for name in ("Videos", "Annotations", "Tracks")]
    for one in folders:
        one.mkdir(parents=True)
    codes = {
        "left": np.repeat([0, 2], [NUM_FRAMES // 2, NUM_FRAMES - NUM_FRAMES // 2]),
        "right": np.repeat([6, 0, 6], [20, 20, NUM_FRAMES - 40]),
    }
    across = np.linspace(25, 100, NUM_FRAMES)
    for seed in range(num_videos):
        rng = np.random.default_rng(seed)
        floor = cv2.GaussianBlur(rng.uniform(80, 160, (HEIGHT, WIDTH)), None, 3)
        middles = np.stack([[across, np.full_like(across, 35)], [across[::-1], across * 0 + 60]])
        frames = []
        for t in range(NUM_FRAMES):
            frame = floor.copy()
            for (x, y), grey in zip(middles[:, :, t], GREYS.values(), strict=True):
                cv2.ellipse(frame, (round(x), round(y)), (9, 6), 0, 0, 360, grey, -1)
            frames.append(frame.clip(0, 255).astype(np.uint8))
        write_video(folders[0] / f"c{seed}.mp4", np.stack(frames), options={"crf": "5"})
        for animal, own in codes.items():
            write_annotation(folders[1] / f"c{seed}__{animal}.csv", own)
        places_TA2 = middles.transpose(2, 0, 1)
        reach = np.array([9, 0])
        ends = np.stack([places_TA2 - reach, places_TA2 + reach], axis=2)
        write_dlc_csv(folders[2] / f"c{seed}DLC_net_1.csv", ends, tuple(codes))
    return *folders, codes


def tracked(tracks, **changes):
    return PreprocessConfig(
        size=(32, 48), follow=True, follow_size=SIDE, regions=TrackFolder(tracks), **changes
    )
