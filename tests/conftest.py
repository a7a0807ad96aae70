"""Settings and inputs that several test files share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from matplotlib.figure import Figure

# The same examples in every run, and no failure because a machine is busy.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def _one_thread_per_worker():
    """Tests run side by side: threads of one would only wait for those of the other."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for commands that tests start
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def no_figures(monkeypatch):
    """Write empty figures of evaluations and summaries; real ones take a second and have tests."""

    def save_empty(figure, path):
        for suffix in (".png", ".pdf"):
            file = path.with_name(path.name + suffix)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return path, path

    monkeypatch.setattr("mpar.summarize.save_figure", save_empty)
    monkeypatch.setattr("mpar.report.evaluation_files.save_figure", save_empty)
    for name in ("bland_altman", "class_f1", "confusion", "ethogram", "event_f1", "reliability"):
        monkeypatch.setattr(f"mpar.report.evaluation_files.plot_{name}", lambda *_, **__: Figure())


class Study(NamedTuple):
    """A small study: folders, cache, and a network trained on it for two epochs."""

    videos: Path
    annotations: Path
    cache: Path
    run: Path
    checkpoint: Path


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """Six animals, 48 frames of 64x64 px, preprocessed to 32x32 and trained on."""
    from mpar.learning.recipe import TrainConfig
    from mpar.preprocess import PreprocessConfig, preprocess
    from mpar.train import best_checkpoint, train
    from tests.fixtures.synthetic import write_sample

    folder = tmp_path_factory.mktemp("study")
    write_sample(
        folder, num_animals=6, seed=3, num_frames=48, height=64, width=64, pain_fraction=0.3
    )
    videos, annotations, cache = folder / "Videos", folder / "Annotations", folder / "cache.h5"
    preprocess(videos, annotations, cache, config=PreprocessConfig(size=(32, 32)))
    config = TrainConfig(
        model_type="light", num_epochs=2, batch_size=4, window=12, sampling="balanced"
    )
    run = train(cache, folder / "checkpoints", config=config, device="cpu")
    return Study(videos, annotations, cache, run, best_checkpoint(run))
