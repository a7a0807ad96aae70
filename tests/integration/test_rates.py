"""Animals filmed at several rates, from videos to scores: one row for every frame of each."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from mpar.cache.store import Store
from mpar.inference import ActionRecognitionInference
from mpar.labels.classes import UNLABELLED
from mpar.learning.splits import class_counts
from mpar.network import pacing
from mpar.network.checkpoint import load_checkpoint
from tests.fixtures.helpers import make_checkpoint, run
from tests.fixtures.synthetic import draw_recording, write_annotation, write_video

RATES = (30, 60, 120, 30, 60, 15)
SECONDS = 2
OPTIONS = "--model light --epochs 1 --batch-size 4 --window 4 --device cpu --quiet"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Six animals for two seconds each, the videos of 60 and 120/s in the validation part too."""
    folder = tmp_path_factory.mktemp("rates")
    (folder / "Videos").mkdir()
    (folder / "Annotations").mkdir()
    for animal, fps in enumerate(RATES):
        frames, codes = draw_recording(
            seed=animal, num_frames=SECONDS * fps, height=32, width=32, fps=fps, pain_fraction=0.2
        )
        write_video(folder / "Videos" / f"m{animal}.mp4", frames, fps=fps)
        write_annotation(folder / "Annotations" / f"m{animal}.csv", codes)
    parts = ["train", "val", "val", "train", "test", "test"]
    rows = "".join(f"m{i},{part}\n" for i, part in enumerate(parts))
    (folder / "split.csv").write_text(f"Recording,Part\n{rows}")
    arguments = folder / "Videos", folder / "Annotations", "-o", folder / "cache.h5"
    result = run("preprocess", *arguments, "--rate", "30", "--quiet")
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.slow
def test_a_network_learns_and_is_judged_in_steps(lab, tmp_path):
    """Validation scores each labelled step of 30/s once; evaluation each frame of the video."""
    split = ["--split", lab / "split.csv"]
    result = run("train", lab / "cache.h5", "-o", tmp_path, *split, *OPTIONS.split())
    assert result.exit_code == 0, result.output
    best = next(tmp_path.glob("run_*/best_model_epoch*.pt"))
    with Store(lab / "cache.h5") as store:
        assert [info.num_steps for info in store.recordings] == [SECONDS * 30] * 6
        steps_K = class_counts(store, [1, 2])
        num_frames = {
            info.name: int((store.labels(i) != UNLABELLED).sum())
            for i, info in enumerate(store.recordings)
        }
    validation = load_checkpoint(best).scores["validation"]
    assert [c["support"] for c in validation["classes"].values()] == steps_K.tolist()
    evaluation = json.loads((best.parent / "evaluation" / "metrics.json").read_text())
    found = {
        name: sum(c["support"] for c in scores["classes"].values())
        for name, scores in evaluation["recordings"].items()
    }
    assert found == {name: num_frames[name] for name in ("m4", "m5")}
    result = run("predict", best, lab / "Videos", "-o", tmp_path / "p", "--device", "cpu")
    assert result.exit_code == 0, result.output
    for animal, fps in enumerate(RATES):
        table = pd.read_csv(tmp_path / "p" / f"m{animal}_predictions.csv")
        assert table["Frame"].tolist() == [*range(SECONDS * fps)]
        np.testing.assert_allclose(table["Time"], np.arange(SECONDS * fps) / fps, atol=5e-7)


@pytest.mark.parametrize(
    "fps", [Fraction(1, 2), 10, 15, 25, Fraction(30000, 1001), 30, 50, 60, 90, 120]
)
def test_a_steady_video_is_decoded_and_predicted_once(tmp_path, monkeypatch, fps):
    """What the first pass shows the network is what the time line asks for."""
    passes = []

    class Counted(pacing.Decoding):
        def __init__(self, *arguments, **options):
            passes.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(pacing, "Decoding", Counted)
    network = ActionRecognitionInference(
        make_checkpoint(tmp_path / "net.pt", frame_size=(32, 32)), "cpu"
    )
    network.rate = Fraction(30)
    frames = np.random.default_rng(0).integers(0, 256, (41, 32, 32), dtype=np.uint8)
    write_video(tmp_path / "v.mp4", frames, fps=fps)
    assert len(network.predict(tmp_path / "v.mp4").labels) == 41
    assert len(passes) == 1
