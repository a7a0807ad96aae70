"""Warnings about a decoded video: its rate, its time stamps, and missing frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from mpar.errors import counted
from mpar.video.streams import EXPECTED_FPS, RAW_STREAMS, End, VideoInfo
from mpar.video.timeline import TimeLine, first_back

# How long other streams of the file may outlast the picture: sound comes in blocks, and a camera
# may record it a little longer.
_MAX_OUTLAST_SECONDS = Fraction(2)
_MAX_OUTLAST_PART = Fraction(1, 20)


@dataclass(slots=True)
class Tally:
    """Counts and time stamps collected while decoding.

    In units of `time_base`: `stamps` say when frames are shown, `moments` when packets with
    pictures are decoded.
    """

    num_frames: int = 0
    num_packets: int = 0
    num_damaged: int = 0
    num_lost: int = 0
    stamps: list[int | None] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    time_base: Fraction = Fraction(1)
    last_duration: int = 0
    is_odd_angle: bool = False
    first_turned: int | None = None
    is_end_missing: bool = False
    is_alone: bool = False
    pixel_shape: Fraction = Fraction(1)

    def shown_stamps(self, container: str) -> list[int | None]:
        """Return the stamp of each frame in the order shown, None if unknown."""
        if container in RAW_STREAMS:
            return [None] * self.num_frames
        if container != "avi":
            return self.stamps
        # AVI states decoding times, from which FFmpeg guesses the others; both give the same order
        is_whole = len(self.moments) == self.num_frames
        return [*self.moments] if is_whole else [None] * self.num_frames


_CUT, _ALIGNMENT = "it may be cut short", "check the alignment of its labels"
_MAX_PIXEL_SHAPE = Fraction(21, 20)
_LONG_LEAD_SECONDS = 0.25  # encoders often delay the picture by less


def find_time_warnings(info: VideoInfo, line: TimeLine, tally: Tally) -> list[str]:
    """Return warnings about the rate and the time stamps."""
    warnings = []
    assert line.fps is not None
    fps = f"{float(line.fps):.6g} frames per second"
    if info.is_rate_guessed:
        warnings.append(
            f"states no frame rate, so {fps} is a guess; put it into an mp4 at its true rate "
            "(ffmpeg -framerate RATE -i IN -c copy OUT.mp4)"
        )
    elif abs(line.fps - EXPECTED_FPS) > Fraction(1, 2):
        warnings.append(f"runs at {fps}, expected {EXPECTED_FPS}; mpar keeps its frames and times")
    if line.lead_seconds > _LONG_LEAD_SECONDS:
        warnings.append(
            f"shows its first picture after {float(line.lead_seconds):.3g} s of sound or of frames "
            "that cannot be decoded; times in label files count from the start, as in players"
        )
    if not line.is_steady:
        warnings.append(_describe_steps(line, fps))
    back = first_back(tally.shown_stamps(info.container))
    if back is not None:
        warnings.append(
            f"has time stamps that go backwards at frame {back}; mpar reads its frames in file "
            f"order at {fps}; {_ALIGNMENT}"
        )
    return warnings


def _describe_steps(line: TimeLine, fps: str) -> str:
    """Describe how the time from frame to frame varies."""
    steps_ms = 1000 * line.steps
    if line.has_gaps:
        num_long = int(np.count_nonzero(line.is_long))
        are = "step between frames is" if num_long == 1 else "steps between frames are"
        longest = int(np.argmax(steps_ms))
        return (
            f"has lost frames: {num_long:,} {are} longer than the usual "
            f"{np.median(steps_ms):.1f} ms, the longest {steps_ms[longest] / 1000:.3g} s after "
            f"frame {longest}; times follow the time stamps"
        )
    return (
        f"has a variable frame rate: {fps} on average, {steps_ms.min():.1f} to "
        f"{steps_ms.max():.1f} ms from frame to frame; times follow the time "
        "stamps"
    )


def find_loss_warnings(
    tally: Tally, info: VideoInfo, line: TimeLine, num_announced: int, end: End
) -> list[str]:
    """Return warnings about missing or concealed frames, rotation and pixel shape."""
    assert line.fps is not None
    warnings = []
    num_frames = tally.num_frames
    yields = f"yields {counted(num_frames, 'frame')}"
    if tally.num_damaged or tally.num_lost:
        warnings.append(
            f"is damaged: {counted(tally.num_damaged, 'frame')} concealed and "
            f"{counted(tally.num_lost, 'packet')} not decoded; frames may be missing, "
            f"{_ALIGNMENT}"
        )
    spare = info.container != "avi"  # elsewhere the last packet may hold no picture
    known = [stamp for stamp in tally.shown_stamps(info.container) if stamp is not None]
    stop = (max(known) + tally.last_duration) * tally.time_base if known else end.seconds
    lacking = end.seconds - stop
    # else sound may outlast the picture, and an index that lists all its frames is right
    can_only_be_picture = end.is_of_picture or tally.is_alone
    if end.is_of_picture or (tally.is_alone and line.is_steady):
        allowed = 3 / (2 * line.fps)
    else:
        allowed = max(_MAX_OUTLAST_SECONDS, _MAX_OUTLAST_PART * end.seconds)
    num_expected = num_announced or (0 if end.is_estimate else info.num_frames_hint)
    is_short = tally.num_packets < num_announced
    reaches_end = bool(end.is_of_picture and known and lacking <= allowed)
    if is_short and reaches_end and not tally.is_end_missing:  # the damage is in the middle
        if not warnings:
            warnings.append(
                f"{yields} but its header announces {num_expected:,}; frames are missing, "
                f"{_ALIGNMENT}"
            )
    elif is_short or (tally.is_end_missing and num_frames < num_expected):
        warnings.append(f"{yields} but its header announces {num_expected:,}; {_CUT}")
    elif tally.is_end_missing:
        warnings.append(f"{yields} and then breaks off; {_CUT}")
    elif lacking > allowed and (can_only_be_picture or not num_announced):
        warnings.append(
            f"{yields}, the last {float(lacking):.1f} s before the end that its header announces; "
            f"{_CUT}"
        )
    elif (
        not warnings and num_frames < tally.num_packets - spare and _has_frame_a_packet(tally, info)
    ):
        warnings.append(
            f"{yields} of {counted(tally.num_packets, 'packet')}: the others could not be "
            f"decoded, as happens before the first key frame; {_ALIGNMENT}"
        )
    return warnings + _find_shape_warnings(tally, info)


def tells_of_loss(warning: str) -> bool:
    """Return True if a warning is about missing or misplaced frames, so that labels may not fit."""
    return _CUT in warning or _ALIGNMENT in warning


def _find_shape_warnings(tally: Tally, info: VideoInfo) -> list[str]:
    """Return warnings about rotation and pixel shape."""
    warnings = []
    if tally.is_odd_angle:
        warnings.append(
            "is rotated by an angle that is not a multiple of 90 degrees; mpar uses the nearest one"
        )
    if not 1 / _MAX_PIXEL_SHAPE < tally.pixel_shape < _MAX_PIXEL_SHAPE:
        warnings.append(
            f"has pixels {float(tally.pixel_shape):.3g} times as wide as high, which players "
            f"stretch; mpar does not stretch its {info.width}x{info.height} px"
        )
    if tally.first_turned is not None:
        warnings.append(
            f"changes its rotation at frame {tally.first_turned}; mpar follows the change"
        )
    return warnings


def _has_frame_a_packet(tally: Tally, info: VideoInfo) -> bool:
    """Return True if each packet should give a frame; interlaced ones may give half a frame."""
    is_of_fields = abs(2 * tally.num_frames - tally.num_packets) <= 1
    return info.codec in {"h264", "hevc"} and not is_of_fields
