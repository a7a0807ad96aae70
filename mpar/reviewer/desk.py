"""One open recording: the scorer's lane, edits of it, and what it is compared with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mpar.errors import InputError, MparError
from mpar.labels.bouts import find_runs
from mpar.labels.classes import UNLABELLED
from mpar.predictions.reading import StoredPrediction
from mpar.reviewer.history import ACCEPTED, SCORED, find_spans
from mpar.reviewer.lanes import PredictedLane, read_predicted
from mpar.reviewer.scoring_files import ScoringFiles, now


class StaleError(MparError):
    """An edit was made on a state that is no longer the current one."""


class Desk:
    """A recording that is being scored.

    Parameters
    ----------
    files : ScoringFiles
        Where its lane is stored.
    num_frames : int
        Length T.
    prediction : StoredPrediction, optional
        Its prediction, if the scorer may see it.
    about : mapping
        Plain values for the JSON file.
    others : callable, optional
        Returns the names of the label files of others; those that are there when the first frame
        is scored are what this scoring corrects. By default, it corrects none.
    """

    def __init__(
        self,
        files: ScoringFiles,
        num_frames: int,
        *,
        prediction: StoredPrediction | None,
        about: Mapping[str, Any],
        others: Callable[[], list[str]] = list,
    ) -> None:
        self._files, self._about, self._others = files, dict(about), others
        self._about["corrects"] = files.corrected()
        self.lane = files.load(num_frames)
        self._stored = prediction
        self._predicted: PredictedLane | None = None
        self._prediction_error: InputError | None = None
        self._lock = threading.RLock()
        self._reading = threading.Lock()  # of the prediction, which may take seconds
        self._is_seen_saved = True

    def resize(self, num_frames: int) -> None:
        """Follow the number of frames once they are counted."""
        with self._lock:
            if len(self.lane.codes) != num_frames:
                self.lane = self.lane.resized(num_frames)
                with self._reading:
                    self._predicted = self._prediction_error = None
                if self.lane.changes:
                    self._save()

    @property
    def predicted(self) -> PredictedLane | None:
        """The prediction, None if there is none or it does not fit; read at the first request."""
        with self._reading:
            if self._predicted is None and self._stored and self._prediction_error is None:
                try:
                    self._predicted = read_predicted(
                        self._stored, self._files.class_map, len(self.lane.codes)
                    )
                except InputError as error:
                    self._prediction_error = error
            return self._predicted

    def state(self, *, with_prediction: bool = True) -> dict[str, Any]:
        """Return the lanes as plain values, without the prediction if it is still being read."""
        predicted = self.predicted if with_prediction else None
        with self._lock:
            return {
                **self.own_state(),
                "seen": find_spans(self.lane.seen),
                "predicted": None if predicted is None else _runs(predicted.codes),
                "has_probabilities": predicted is not None and predicted.probabilities.shape[1] > 0,
                "prediction_problem": str((with_prediction and self._prediction_error) or ""),
            }

    def own_state(self) -> dict[str, Any]:
        """Return the scorer's lane as plain values."""
        with self._lock:
            lane = self.lane
            return {
                "revision": lane.revision,
                "runs": lane.runs(),
                "undo": len(lane.changes),
                "redo": len(lane.undone),
                "last": lane.changes[-1].kind if lane.changes else "",
            }

    def codes_of(self, start: int, stop: int) -> np.ndarray:
        """Return the codes of a stretch; ValueError if the recording is shorter."""
        with self._lock:
            if stop > len(self.lane.codes):
                raise ValueError(f"frames {start} to {stop} are not in the recording")
            return self.lane.codes[start:stop].copy()

    def edit(
        self,
        kind: str,
        revision: int,
        *,
        start: int = 0,
        stop: int = 0,
        code: int = UNLABELLED,
        like: int | None = None,
        group: str = "",
        seen: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Set a code, accept the prediction, undo or redo, for some frames (half-open), and save.

        `revision` is that of the lane that the scorer sees; StaleError if the lane has another.
        With `like`, the code of that frame is set instead of `code`. Changes of one `group` that
        follow each other are undone together. `seen` are the stretches that were on the screen
        since the last call. ValueError if the frames do not exist, or there is no prediction.
        """
        with self._lock:
            lane = self.lane
            if revision != lane.revision:
                raise StaleError("this recording was changed in another window")
            before = lane.copy()
            self._note(seen)
            if not lane.changes and (lane.codes == UNLABELLED).all():
                self._about["corrects"] = self._others()
            if kind == "undo":
                is_changed = lane.undo() is not None
            elif kind == "redo":
                is_changed = lane.redo() is not None
            else:
                if not 0 <= start < stop <= len(lane.codes):
                    raise ValueError(f"frames {start} to {stop} are not in the recording")
                codes = self._codes_for(kind, start, stop, code, like)
                how = ACCEPTED if kind == "accept" else SCORED
                is_changed = lane.write(
                    kind, start, codes, how, at=now(), by=self._files.annotator, group=group
                )
            if is_changed:
                try:
                    self._save()
                except OSError:
                    self.lane = before  # what is not saved is not shown as saved
                    raise

    def _codes_for(
        self, kind: str, start: int, stop: int, code: int, like: int | None
    ) -> np.ndarray:
        if kind == "accept":
            predicted = self.predicted
            if predicted is None:
                raise ValueError("there is no prediction to accept")
            return predicted.codes[start:stop]
        if kind != "set":
            raise ValueError(f"unknown edit {kind!r}")
        if like is not None:
            if not 0 <= like < len(self.lane.codes):
                raise ValueError(f"frame {like} is not in the recording")
            code = int(self.lane.codes[like])
        return np.full(stop - start, code, np.int16)

    def note_seen(self, seen: Sequence[tuple[int, int]]) -> None:
        """Remember stretches that were on the screen, and save them."""
        with self._lock:
            self._note(seen)
            self.flush()

    def _note(self, seen: Sequence[tuple[int, int]]) -> None:
        for start, stop in seen:
            stretch = self.lane.seen[max(0, start) : max(0, stop)]
            self._is_seen_saved &= bool(stretch.all())
            stretch[:] = True

    def flush(self) -> None:
        """Save what was seen since the last edit."""
        with self._lock:
            if not self._is_seen_saved:
                self._save()

    def _save(self) -> None:
        about = dict(self._about)
        if self._predicted is not None:
            about["prediction"] = self._predicted.source
            own = self.lane.how == SCORED
            about["changed"] = find_spans(own & (self.lane.codes != self._predicted.codes))
        self._files.save(self.lane, about)
        self._is_seen_saved = True


def _runs(codes: np.ndarray) -> list[list[int]]:
    return find_runs(codes).tolist()
