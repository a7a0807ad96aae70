"""The board: its images, and that training goes on when it cannot be written."""

import itertools
import logging

import numpy as np
import pytest
from matplotlib.text import Text

from mpar.cache.store import Store
from mpar.learning.board import TrainingBoard, _EventsFile, plot_worst_clips
from mpar.learning.recipe import TrainConfig
from mpar.scores.metrics import WorstFrame
from mpar.train import best_checkpoint, train


def full_disk(*_args, **_options):
    raise OSError(28, "No space left on device")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["__init__", "_write", "add"])
def test_training_goes_on_without_a_board(study, tmp_path, monkeypatch, caplog, method):
    """Whatever cannot be written is reported once, and the run ends as any other."""
    monkeypatch.setattr(_EventsFile, method, full_disk)
    config = TrainConfig(model_type="light", num_epochs=2, batch_size=8, window=48)
    with caplog.at_level(logging.WARNING, logger="mpar"):
        run = train(study.cache, tmp_path, config=config, device="cpu")
    said = [record.getMessage() for record in caplog.records]
    assert sum("No space left on device); training continues" in text for text in said) == 1
    assert len((run / "metrics.csv").read_text().splitlines()) == 3
    assert best_checkpoint(run).exists()


def test_board_without_a_folder(tmp_path, caplog):
    """A folder that cannot be made is an OSError like others; nothing is drawn in vain."""
    (tmp_path / "file").write_text("")
    board = TrainingBoard(tmp_path / "file")
    for epoch in (1, 2):
        board.add(epoch, {"Epoch": epoch, "Val_loss": 1.0}, lambda: pytest.fail("drawn"))
    board.close()
    assert len(caplog.records) == 1


def test_worst_clips_show_their_frames(study):
    """The outlined tile is the named frame; captions say what was taken for what."""
    with Store(study.cache) as store:
        worst = [WorstFrame(1, 20, 2, 4, 0.0123), WorstFrame(0, 0, 0, 1, 0.0)]
        figure = plot_worst_clips(store, [3, 5], worst, clip_length=16)
        frames = [np.array(store.frames(5))[20], np.array(store.frames(3))[0]]
        names = store.class_names
        recordings = [store.recordings[5].name, store.recordings[3].name]
    (axes,) = figure.axes
    canvas = np.asarray(axes.images[0].get_array())
    for frame, box in zip(frames, axes.patches, strict=True):
        left, top = (round(value + 0.5) for value in box.get_xy())
        tile = canvas[top + 1 : top + 1 + frame.shape[0], left + 1 : left + 1 + frame.shape[1]]
        np.testing.assert_array_equal(tile, frame)
    captions = [label.get_text() for label in axes.get_yticklabels()]
    assert (
        captions[0] == f"{recordings[0]}\nframe 20\n{names[2]} → {names[4]}\np({names[2]}) = 0.012"
    )
    assert captions[1].endswith(f"p({names[0]}) < 0.001")


@pytest.mark.parametrize("clip_length", [8, 10, 16, 30, 32])
def test_strip_fits_and_holds_the_named_frame(study, clip_length):
    """For every clip length there are four to ten frames, and no text leaves the figure."""
    with Store(study.cache) as store:
        worst = [WorstFrame(0, frame, 1, 3, 0.5) for frame in (0, 20, 47)]
        figure = plot_worst_clips(store, [0], worst, clip_length=clip_length)
    figure.canvas.draw()
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert "0" in labels
    assert 4 <= len(labels) <= 10
    for text in figure.findobj(Text):
        if text.get_text():
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y1 <= figure.bbox.y1
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(lower.y1 <= upper.y0 for upper, lower in itertools.pairwise(boxes))
