"""Write TensorBoard events during a run; errors here never stop training."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpar.cache.clips import copy_window
from mpar.cache.store import Store
from mpar.learning.validation import Validation
from mpar.scores.metrics import WorstFrame

if TYPE_CHECKING:  # matplotlib takes 0.5 s to import: only when something is drawn
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

_DPI = 100
_NUM_TILES = 8
_MAX_NAME = 24
# TensorBoard shows the curves of one group (the part before the slash) side by side
_TAGS = {
    "Train_loss": "loss/train",
    "Val_loss": "loss/validation",
    "Val_macro_F1": "validation/macro_F1",
    "Val_accuracy": "validation/accuracy",
}
_TAG_PREFIXES = {"Val_F1_": "validation_F1/", "Val_recall_": "validation_recall/"}


class TrainingBoard:
    """Writes TensorBoard events; if that fails, it logs one warning and stops writing.

    Parameters
    ----------
    folder : Path
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: _EventsFile | None = None
        self._is_broken = False

    def add(
        self, epoch: int, row: Mapping[str, float], draw: Callable[[], Mapping[str, Figure]]
    ) -> None:
        """Add the numbers and figures of an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 1. A resumed run may repeat epochs; TensorBoard then hides the events
            that the earlier process wrote for this epoch and later ones.
        row : mapping of str to float
            The row of the epoch in ``metrics.csv``; NaN is left out.
        draw : callable
            Returns figures by tag; not called if events cannot be written.
        """
        if self._is_broken:
            return
        try:
            if self._writer is None:
                self._writer = _EventsFile(self._folder)
                self._writer.begin(epoch)
            self._writer.add(epoch, row, draw)
        except OSError as error:
            self._is_broken = True
            log.warning("cannot write TensorBoard events (%s); training continues", error)

    def close(self) -> None:
        """Close the events file."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()


class _EventsFile:
    """A file of TensorBoard events.

    Not a SummaryWriter, which would print the traceback of its thread if the disk is full.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # slow to import
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns():020}.{socket.gethostname()}.{os.getpid()}"
        self._event = Event
        self._records = RecordWriter((folder / name).open("xb"))

    def begin(self, epoch: int) -> None:
        """Hide the events of this epoch and later ones in earlier files of the folder."""
        from tensorboard.compat.proto.event_pb2 import SessionLog

        self._write(file_version="brain.Event:2")
        self._write(step=epoch, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **content: Any) -> None:
        event = self._event(wall_time=time.time(), **content)
        self._records.write(event.SerializeToString())

    def add(
        self, epoch: int, row: Mapping[str, float], draw: Callable[[], Mapping[str, Figure]]
    ) -> None:
        from torch.utils.tensorboard.summary import image, scalar

        for column, value in row.items():
            if column != "Epoch" and not np.isnan(value):
                self._write(step=epoch, summary=scalar(_tag(column), value))
        for tag, figure in draw().items():
            pixels = _pixels(figure)
            self._write(step=epoch, summary=image(tag, pixels, dataformats="HWC"))
        self._records.flush()

    def close(self) -> None:
        self._records.close()


def draw_validation(
    store: Store, recordings: Sequence[int], validation: Validation, clip_length: int
) -> dict[str, Figure]:
    """Return the figures of an epoch: the confusion matrix and the worst clips."""
    from mpar.report.plots import plot_confusion

    worst = plot_worst_clips(store, recordings, validation.worst, clip_length=clip_length)
    confusion = plot_confusion(validation.scores, normalize=True)
    return {"validation/confusion": confusion, "validation/worst_clips": worst}


def plot_worst_clips(
    store: Store, recordings: Sequence[int], worst: Sequence[WorstFrame], *, clip_length: int
) -> Figure:
    """Plot the clips of the worst frames of some recordings, about every second frame of each."""
    from mpar.report.plots import plot_clips

    middle, step = clip_length // 2, max(2, clip_length // _NUM_TILES)
    shown = np.arange(middle % step, clip_length, step)  # the middle frame is among them
    clips, captions = [], []
    for item in worst:
        recording = recordings[item.recording]
        clip = np.empty((clip_length, *store.frame_size), np.uint8)
        copy_window(store, recording, item.frame - middle, clip)
        clips.append(clip[shown])
        name = store.recordings[recording].name
        name = name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
        truth, predicted = store.class_names[item.truth], store.class_names[item.predicted]
        frame = store.source_frame(recording)[item.frame]
        captions.append(
            f"{name}\nframe {frame}\n{truth} \N{RIGHTWARDS ARROW} {predicted}\n"
            f"p({truth}) {_probability_text(item.probability)}"
        )
    return plot_clips(clips, captions, offsets=(shown - middle).tolist())


def _probability_text(probability: float) -> str:
    return "< 0.001" if probability < 0.001 else f"= {probability:.3f}"


def _tag(column: str) -> str:
    """Return the TensorBoard tag of a column of ``metrics.csv``."""
    for prefix, group in _TAG_PREFIXES.items():
        if column.startswith(prefix):
            return group + column[len(prefix) :]
    return _TAGS.get(column, f"run/{column}")


def _pixels(figure: Figure) -> np.ndarray:
    """Return a figure as pixels, (H, W, 3) uint8."""
    from mpar.report.glyphs import make_readable

    make_readable(figure)
    figure.set_dpi(_DPI)
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
