"""How recordings look, and whether a new one looks like those a network learnt from.

A network trained on dim recordings at 30 frames per second labels every frame of a bright one at
60, but its labels are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mpar.cache.store import Store
from mpar.video.videos import View

_EVERY = 10  # frames of a video from one sampled frame to the next
_MAX_LOOKS = 100  # frames sampled per recording of a cache
_MIN_MARGIN = 10.0  # grey levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """How one recording looks.

    Parameters
    ----------
    brightness : float
        Mean grey level, 0-255.
    contrast : float
        Standard deviation of the grey levels of a frame, averaged over frames.
    fps : float
        Steps of the network per second.
    """

    brightness: float
    contrast: float
    fps: float


class AppearanceMeter:
    """Measures frames while they pass through."""

    def __init__(self) -> None:
        self._means: list[float] = []
        self._deviations: list[float] = []

    def watch(self, views: Iterable[View]) -> Iterator[View]:
        """Yield the views as they come, and measure what the network sees of them."""
        for number, view in enumerate(views):
            if number % _EVERY == 0:
                self.add(view.seen)
            yield view

    def add(self, frame: np.ndarray) -> None:
        """Measure one frame."""
        self._means.append(float(frame.mean()))
        self._deviations.append(float(frame.std()))

    def appearance(self, fps: Fraction) -> Appearance:
        """Return the average so far; raise ValueError if there was no frame."""
        if not self._means:
            raise ValueError("found no frame, expected at least one")
        return Appearance(
            brightness=float(np.mean(self._means)),
            contrast=float(np.mean(self._deviations)),
            fps=float(fps),
        )


def appearance_range(store: Store, recordings: Sequence[int]) -> dict[str, Any]:
    """Return the smallest and largest value of each attribute of `Appearance`, [float, float].

    At most 100 frames of each recording of a cache are measured, usually of `Store.seen`.
    """
    found = []
    for recording in recordings:
        info = store.recordings[recording]
        meter = AppearanceMeter()
        frame = np.empty((1, *store.frame_size), np.uint8)
        places = np.linspace(0, info.num_frames - 1, min(info.num_frames, _MAX_LOOKS))
        for place in places.astype(int).tolist():
            store.copy_frames(recording, place, place + 1, frame)
            meter.add(frame[0])
        assert info.rate is not None
        found.append(meter.appearance(info.rate))
    return {
        name: [float(pick(getattr(one, name) for one in found)) for pick in (min, max)]
        for name in ("brightness", "contrast", "fps")
    }


def find_drift(appearance: Appearance, learnt: dict[str, Any]) -> list[str]:
    """Return warnings if a recording looks unlike those that a network learnt from.

    Parameters
    ----------
    appearance : Appearance
        Appearance of the recording.
    learnt : dict
        From `appearance_range`.

    Returns
    -------
    list of str
        Warnings, empty if it looks alike.

    Notes
    -----
    Our choice: brightness may exceed the range by a quarter of its width, but at least by 10 grey
    levels; contrast by a factor of 1.5 and the frame rate by 10 %. A few training animals do not
    cover every harmless difference.
    """
    warnings = []
    least, greatest = learnt["brightness"]
    margin = max(_MIN_MARGIN, (greatest - least) / 4)
    if not least - margin <= appearance.brightness <= greatest + margin:
        warnings.append(
            f"its mean grey level is {appearance.brightness:.0f}, the network learnt from "
            f"{least:.0f} to {greatest:.0f}; check its predictions, or label part of it and train"
        )
    least, greatest = learnt["contrast"]
    if not least / 1.5 <= appearance.contrast <= greatest * 1.5:
        warnings.append(
            f"its contrast (standard deviation of grey levels) is {appearance.contrast:.0f}, the "
            f"network learnt from {least:.0f} to {greatest:.0f}; check its predictions"
        )
    least, greatest = learnt["fps"]
    if not least / 1.1 <= appearance.fps <= greatest * 1.1:
        rates = f"{least:g}" if least == greatest else f"{least:g} to {greatest:g}"
        warnings.append(
            f"it has {appearance.fps:g} frames per second, the network learnt from {rates}, so "
            "movements take more or fewer frames; convert the video to that rate, or make the "
            "cache with --rate"
        )
    return warnings
