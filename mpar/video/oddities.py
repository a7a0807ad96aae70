"""What is odd about a video once it is decoded: its rate, and frames that are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from mpar.video.streams import EXPECTED_FPS, VideoInfo
from mpar.video.timing import LONG_STEP, Timing

# The end of the file's other streams by which they may outlast the picture: sound is cut in
# blocks of its own, and a camera that stops may record it on for a moment.
_MAX_OUTLAST_SECONDS = Fraction(2)
_MAX_OUTLAST_PART = Fraction(1, 20)


@dataclass(slots=True)
class Tally:
    """What is counted while decoding; `stamps` are in units of `time_base`."""

    num_frames: int = 0
    num_packets: int = 0
    num_damaged: int = 0
    num_lost: int = 0
    stamps: list[int | None] = field(default_factory=list)
    time_base: Fraction = Fraction(1)
    last_duration: int = 0
    is_odd_angle: bool = False
    first_turned: int | None = None
    is_end_missing: bool = False
    is_alone: bool = False


_LONG_LEAD_SECONDS = 0.25  # encoders delay the picture by less, as a matter of course


def find_time_warnings(info: VideoInfo, timing: Timing) -> list[str]:
    """Return what is odd about the rate and the time stamps."""
    warnings = []
    fps = f"{float(timing.fps):.6g} frames per second"
    if info.is_rate_guessed:
        warnings.append(
            f"states no frame rate: {fps} is a guess; put it into an mp4 at its true rate "
            "(ffmpeg -framerate RATE -i IN -c copy OUT.mp4)"
        )
    elif abs(timing.fps - EXPECTED_FPS) > Fraction(1, 2):
        warnings.append(f"runs at {fps}, expected {EXPECTED_FPS}; kept as is")
    if timing.lead_seconds > _LONG_LEAD_SECONDS:
        warnings.append(
            f"has sound that begins {timing.lead_seconds:.3g} s before the picture: times in label "
            "files count from the sound, as in players"
        )
    steps = np.diff(timing.times) * 1000 if timing.times is not None else np.zeros(0)
    # times are given for videos of one rate too, if the sound begins earlier
    if len(steps) and (not timing.lead_seconds or steps.max() > LONG_STEP * steps.min()):
        num_long = np.count_nonzero(steps > LONG_STEP * np.median(steps))
        warnings.append(
            f"has a variable frame rate ({fps} on average, steps of {steps.min():.3g} to "
            f"{steps.max():.3g} ms, {num_long} of them long, as where frames were lost): mpar "
            "counts its frames one by one, so durations in seconds are approximate"
        )
    # AVI has no time stamps of its own: steps that go backwards say nothing
    if timing.first_back is not None and info.container != "avi":
        warnings.append(
            f"has time stamps that go backwards at frame {timing.first_back}: mpar takes its "
            f"frames as they come, at {fps}; check the alignment of its labels"
        )
    return warnings


def find_loss_warnings(
    tally: Tally, info: VideoInfo, timing: Timing, num_announced: int, end_seconds: Fraction
) -> list[str]:
    """Return what tells that frames are missing or were made up."""
    warnings = []
    num_frames = tally.num_frames
    if tally.num_damaged or tally.num_lost:
        warnings.append(
            f"is damaged: {tally.num_damaged} frames were concealed and {tally.num_lost} packets "
            "could not be decoded; frames may be missing, check the alignment of its labels"
        )
    known = [stamp for stamp in tally.stamps if stamp is not None]
    stop = (max(known) + tally.last_duration) * tally.time_base if known else end_seconds
    lacking = end_seconds - stop
    allowed = max(_MAX_OUTLAST_SECONDS, _MAX_OUTLAST_PART * end_seconds)
    if tally.is_alone and timing.times is None:  # nothing else can outlast the picture
        allowed = 3 / (2 * timing.fps)
    num_hinted = num_announced or info.num_frames_hint
    if tally.num_packets < num_announced or (tally.is_end_missing and num_frames < num_hinted):
        warnings.append(
            f"yields {num_frames} frames but its header announces {num_hinted}; it may be cut short"
        )
    elif tally.is_end_missing:
        warnings.append(f"yields {num_frames} frames and then breaks off; it may be cut short")
    elif lacking > allowed:
        warnings.append(
            f"yields {num_frames} frames, the last {float(lacking):.1f} s before the end that its "
            "header announces; it may be cut short"
        )
    elif not warnings and num_frames < tally.num_packets - 1 and _has_frame_a_packet(tally, info):
        warnings.append(
            f"yields {num_frames} frames of {tally.num_packets} packets: the others could not be "
            "decoded, as before a first key frame; check the alignment of its labels"
        )
    if tally.is_odd_angle:
        warnings.append(
            "is to be shown at an angle that is no quarter turn: mpar turns it to the nearest one"
        )
    if tally.first_turned is not None:
        warnings.append(
            f"is to be shown another way up from frame {tally.first_turned} on; mpar turns it so"
        )
    return warnings


def _has_frame_a_packet(tally: Tally, info: VideoInfo) -> bool:
    """Tell whether each packet should give a frame: interlaced ones may give half of one."""
    is_of_fields = abs(2 * tally.num_frames - tally.num_packets) <= 1
    return info.codec in {"h264", "hevc"} and not is_of_fields
