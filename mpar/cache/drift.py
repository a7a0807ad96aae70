"""How recordings look, and whether a new one looks like those a network learnt from.

A network that was trained on dim 30 FPS recordings names every frame of a bright 60 FPS one
without complaint, and wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mpar.cache.store import Store

_EVERY = 10  # frames of a video from one that is sampled to the next
_MAX_LOOKS = 100  # frames of a recording of a cache that are sampled
_MIN_MARGIN = 10.0  # grey levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """How one recording looks.

    Parameters
    ----------
    brightness : float
        Mean grey level, 0-255.
    contrast : float
        Standard deviation of the grey levels of a frame, mean over frames.
    fps : float
        Steps of the network per second.
    """

    brightness: float
    contrast: float
    fps: float


class AppearanceMeter:
    """Looks at frames on their way to somebody else."""

    def __init__(self) -> None:
        self._means: list[float] = []
        self._deviations: list[float] = []

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames, (H, W) uint8, as they come."""
        for number, frame in enumerate(frames):
            if number % _EVERY == 0:
                self.add(frame)
            yield frame

    def add(self, frame: np.ndarray) -> None:
        """Look at one frame."""
        self._means.append(float(frame.mean()))
        self._deviations.append(float(frame.std()))

    def appearance(self, fps: Fraction) -> Appearance:
        """Return what was seen, at so many frames per second; ValueError without a frame."""
        if not self._means:
            raise ValueError("found no frame to look at")
        return Appearance(
            brightness=float(np.mean(self._means)),
            contrast=float(np.mean(self._deviations)),
            fps=float(fps),
        )


def appearance_range(store: Store, recordings: Sequence[int]) -> dict[str, Any]:
    """Return how recordings of a cache look, from the least to the most.

    Parameters
    ----------
    store : Store
        Holds the frames, of which a hundred a recording are looked at.
    recordings : sequence of int
        Positions in the cache, at least one.

    Returns
    -------
    dict
        By attribute of `Appearance` the least and the greatest value, [float, float].
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
    """Say in what a recording lies outside of those that a network learnt from.

    Parameters
    ----------
    appearance : Appearance
        Of the recording.
    learnt : dict
        From `appearance_range`.

    Returns
    -------
    list of str
        Warnings, none if it looks alike.

    Notes
    -----
    Our choice: brightness may leave the range by a quarter of its width, or by 10 grey levels
    where the range is narrow; contrast by a factor of 1.5 and the frame rate by 10 %. A few
    training animals do not span what is harmless.
    """
    warnings = []
    least, greatest = learnt["brightness"]
    margin = max(_MIN_MARGIN, (greatest - least) / 4)
    if not least - margin <= appearance.brightness <= greatest + margin:
        warnings.append(
            f"its mean grey level is {appearance.brightness:.0f}, the network learnt from "
            f"{least:.0f} to {greatest:.0f}; check its predictions, or label some of it and train"
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
            f"it has {appearance.fps:g} frames per second, the network learnt from {rates}: every "
            "movement lasts another number of frames; convert the video to that rate, or make the "
            "cache with --rate"
        )
    return warnings
