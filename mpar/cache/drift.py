"""How recordings look, and whether a new one looks like those a network learnt from.

A network trained on dim recordings at 30 frames per second labels every frame of a bright one at
60, but its labels are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np

from mpar.cache.store import Store
from mpar.video.following import Following
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
    height, width : int
        Size in px of what the video shows of the animal's region, before it is resized; 0 if
        unknown.
    video_fps : float
        Frames per second of the video; 0 if unknown.
    """

    brightness: float
    contrast: float
    fps: float
    height: int = 0
    width: int = 0
    video_fps: float = 0


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

    def appearance(
        self, fps: Fraction, size: tuple[int, int], video_fps: Fraction | None
    ) -> Appearance:
        """Return the average so far; raise ValueError if there was no frame.

        `size` is (height, width); the other values are as for `Appearance`.
        """
        if not self._means:
            raise ValueError("found no frame, expected at least one")
        return Appearance(
            brightness=float(np.mean(self._means)),
            contrast=float(np.mean(self._deviations)),
            fps=float(fps),
            height=size[0],
            width=size[1],
            video_fps=float(video_fps or 0),
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
        found.append(meter.appearance(info.rate, (info.height, info.width), info.fps))
    return {
        field.name: [float(pick(getattr(one, field.name) for one in found)) for pick in (min, max)]
        for field in fields(Appearance)
    }


def knows_size(learnt: dict[str, Any]) -> bool:
    """Return True if the size of all videos that a network learnt from is known."""
    return bool(learnt.get("height", [0])[0])


def find_drift(
    appearance: Appearance, learnt: dict[str, Any], following: Following | None = None
) -> dict[str, str]:
    """Return warnings if a recording looks unlike those that a network learnt from.

    Parameters
    ----------
    appearance : Appearance
        Appearance of the recording.
    learnt : dict
        From `appearance_range`.
    following : Following, optional
        The squares that the network sees.

    Returns
    -------
    dict of str to str
        Warnings by code, some of `mpar.errors.KINDS`; empty if it looks alike.

    Notes
    -----
    Our choice: brightness may exceed the range by a quarter of its width, but at least by 10 grey
    levels; contrast by a factor of 1.5; steps per second, height and width by 10 %. If the videos
    learnt from have more frames per second, it is by 25 % at most. A few training animals do not
    cover every harmless difference.
    """
    warnings = {}
    least, greatest = learnt["brightness"]
    margin = max(_MIN_MARGIN, (greatest - least) / 4)
    if not least - margin <= appearance.brightness <= greatest + margin:
        warnings["other-brightness"] = (
            f"its mean grey level is {appearance.brightness:.0f}, the network learnt from "
            f"{least:.0f} to {greatest:.0f}; check its predictions, or label part of it and train"
        )
    least, greatest = learnt["contrast"]
    if not least / 1.5 <= appearance.contrast <= greatest * 1.5:
        warnings["other-contrast"] = (
            f"its contrast (standard deviation of grey levels) is {appearance.contrast:.0f}, the "
            f"network learnt from {least:.0f} to {greatest:.0f}; check its predictions"
        )
    least, greatest = learnt["fps"]
    if not least / 1.1 <= appearance.fps <= greatest * 1.1:
        rates = f"{least:g}" if least == greatest else f"{least:g} to {greatest:g}"
        warnings["other-rate"] = (
            f"it has {appearance.fps:g} frames per second, the network learnt from {rates}, so "
            "movements take more or fewer frames; convert the video to that rate, or make the "
            "cache with --rate"
        )
    elif 0 < appearance.video_fps < learnt.get("video_fps", [0])[0] / 1.25:
        warnings["other-rate"] = (
            f"it has {appearance.video_fps:.4g} frames per second, the network learnt from "
            f"{learnt['video_fps'][0]:.4g} or more, so it sees some frames twice; check its "
            "predictions"
        )
    if knows_size(learnt) and appearance.height:
        sides = [(getattr(appearance, side), *learnt[side]) for side in ("height", "width")]
        if not all(least / 1.1 <= side <= greatest * 1.1 for side, least, greatest in sides):
            (height, *heights), (width, *widths) = sides
            sizes = dict.fromkeys(f"{w:.0f}x{h:.0f}" for w, h in zip(widths, heights, strict=True))
            effect = (
                f"squares of {following.side} px hold more or less of it; convert it to that size"
                if following
                else "its animal may be larger, smaller or sharper; check its predictions"
            )
            warnings["other-size"] = (
                f"it shows {width}x{height} px, the network learnt from {' to '.join(sizes)}, so "
                + effect
            )
    return warnings
