"""Compare what a scoring says about its video with the video: rate, length, times of frames."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from math import floor

from mpar.errors import InputError, Problem
from mpar.labels.scorings import MAX_FPS, Scoring
from mpar.video.timeline import TimeLine

# rates of cameras and films, in frames per second
USUAL_RATES = [
    *map(Fraction, (1, 2, 3, 5, 6, 8, 10, 12, 15, 16, 20, 24, 25, 30, 40, 48, 50, 60)),
    *map(Fraction, (75, 80, 90, 100, 120, 150, 200, 240, 250, 300, 500, 1000)),
    *(Fraction(rate * 1000, 1001) for rate in (24, 30, 60, 120)),
    Fraction(15, 2),
    Fraction(25, 2),
]


def check_rate(scoring: Scoring, line: TimeLine, warnings: list[str]) -> TimeLine:
    """Return the time line for a scoring, after a check that file and video agree.

    This is the time line of the video, at the file's rate if the video states none. Raises
    InputError if the file and the video contradict each other.
    """
    path, rate = scoring.path, scoring.frame_rate or _rate_of_frames(scoring)
    if line.is_guess and rate is not None:
        line = TimeLine(line.num_frames, rate)
        warnings.append(
            f"its video does not state a frame rate; mpar takes {float(rate):g} frames per "
            "second from this file"
        )
    if not scoring.in_frames:
        if line.fps is None:
            raise InputError.of(
                path,
                "frame-rate",
                "has times in seconds, but the frame rate of its video is unknown",
            )
        if line.is_guess:
            raise InputError.of(
                path,
                "frame-rate",
                "has times in seconds, but neither it nor its video states a frame rate "
                f"({float(line.fps):g} is only a guess); convert the video to .mp4 at the rate of "
                "the camera",
            )
        if line.fps >= MAX_FPS:
            raise InputError.of(
                path,
                "frame-rate",
                f"its times in milliseconds cannot tell frames apart at {float(line.fps):g} frames "
                f"per second, expected fewer than {MAX_FPS}",
            )
    if line.fps is not None and line.is_steady and not line.lead_seconds:
        problems = [
            *_find_contradictions(scoring, line, line.fps),
            *_find_row_problems(scoring, line),
        ]
        if problems:
            raise InputError(problems)
        seconds = scoring.media_seconds or Fraction(0)
        # sound is often a little longer than the picture, but never by half
        if seconds - line.seconds > max(line.seconds * 3 / 10, Fraction(1, 4)):
            warnings.append(
                f"says that its video lasts {float(seconds):.3f} s, but the picture lasts "
                f"{float(line.seconds):.3f} s; unless the sound lasts that long, pass the video "
                "that was scored"
            )
    return line


def check_count(scoring: Scoring, line: TimeLine) -> None:
    """Raise InputError if the frames of a file cannot be those of its video."""
    if scoring.row_times and scoring.row_times[0] >= line.seconds:
        raise InputError.of(
            scoring.path,
            "past-end",
            f"starts at {float(scoring.row_times[0]):g} s, after the end of its video "
            f"({float(line.seconds):.3f} s); check that they belong together, and that times count "
            "from the video's first frame",
        )
    found, total = scoring.num_scored, line.num_frames
    if found is None or line.fps is None:
        return
    # fewer frames mean a part of the video, unless their number fits another usual rate
    other = None if scoring.frame_rate else find_other_rate(line.fps * found / total, line.fps)
    if found > total + max(2, total // 50) or (found < total and other is not None):
        why = f" (which would fit {float(other):g} frames per second)" if other is not None else ""
        raise InputError.of(
            scoring.path,
            "past-end",
            f"is scored up to frame {found}{why}, but its video has {total} frames; pass the video "
            "that was scored",
        )


def find_other_rate(found: Fraction, fps: Fraction) -> Fraction | None:
    """Return the usual rate within 1 % of `found`, or None if it is also that of the video.

    Both are frames per second, `found` according to another source than the video.
    """
    near = min(USUAL_RATES, key=lambda rate: abs(rate - found))
    is_other = abs(near - found) <= near / 100 and abs(near - fps) > fps / 50
    return near if is_other else None


def _rate_of_frames(scoring: Scoring) -> Fraction | None:
    """Return the usual rate that fits the frame times of a file, None if there is none."""
    time, frame = max(scoring.frame_times, default=(Fraction(0), 0))
    if time <= 0 or frame < 30:  # too few: an error of one frame would give another rate
        return None
    near = min(USUAL_RATES, key=lambda rate: abs(rate - frame / time))
    return near if abs(near * time - frame) <= 2 else None


def _find_contradictions(scoring: Scoring, line: TimeLine, fps: Fraction) -> list[Problem]:
    """Return statements of a file about its video that the video contradicts."""
    rate, seconds = scoring.frame_rate, scoring.media_seconds
    if rate is not None and abs(rate - fps) > fps / 200:
        return [
            Problem.of(
                scoring.path,
                "frame-rate",
                f"says that its video has {float(rate):g} frames per second, but the video has "
                f"{float(fps):g}; score this video, or pass the one that was scored",
            )
        ]
    early = _find_misfit(scoring.frame_times, fps)
    for time, frame in scoring.frame_times:
        # players count from 0 or 1 and round; a wrong rate soon misses by more
        if abs(line.frame_of(time) - frame) > 2 or (time, frame) == early:
            return [
                Problem.of(
                    scoring.path,
                    "frame-rate",
                    f"says that frame {frame} is shown at {float(time):g} s, but in its video that "
                    f"is frame {line.frame_of(time)} ({float(fps):g} frames per second); score "
                    "this video, or pass the one that was scored",
                )
            ]
    if seconds is not None and line.num_frames:
        # sound may outlast the picture, but hardly by its whole length; it is never shorter
        slack = max(Fraction(1, 4), line.seconds / 50, 2 / fps)
        is_another = not -slack <= seconds - line.seconds <= max(slack, line.seconds)
        by_length = line.num_frames / seconds if seconds else Fraction(0)
        other = None if rate is not None else find_other_rate(by_length, fps)
        if is_another or other is not None:
            why = (
                f" (which would fit {float(other):g} frames per second)"
                if other is not None
                else ""
            )
            return [
                Problem.of(
                    scoring.path,
                    "length",
                    f"says that its video lasts {float(seconds):.3f} s{why}, but the video has "
                    f"{line.num_frames} frames and lasts {float(line.seconds):.3f} s; pass the "
                    "video that was scored",
                )
            ]
    return []


def _find_misfit(
    frame_times: Sequence[tuple[Fraction, int]], fps: Fraction
) -> tuple[Fraction, int] | None:
    """Return the pair that fits `fps` worst, if another usual rate fits all pairs exactly.

    This separates labels at another rate from rounding by players, even near the start.
    """

    def miss(pair: tuple[Fraction, int], rate: Fraction) -> Fraction:
        return abs(pair[1] - pair[0] * rate)

    worst = max(frame_times, key=lambda pair: miss(pair, fps), default=None)
    if worst is None or miss(worst, fps) <= Fraction(3, 2):
        return None
    is_exact = any(
        all(miss(pair, rate) <= Fraction(1, 10) + rate / 1000 for pair in frame_times)
        for rate in USUAL_RATES
    )
    return worst if is_exact else None


def _find_row_problems(scoring: Scoring, line: TimeLine) -> list[Problem]:
    """Return a problem if the rows of a table by time do not cover every frame."""
    times = scoring.row_times
    if len(times) < 2 or line.fps is None:
        return []
    longest = max(b - a for a, b in itertools.pairwise(times))
    mean = (times[-1] - times[0]) / (len(times) - 1)
    # times are rounded: a row may be half a frame late, but on average there is one per frame
    if longest <= Fraction(3, 2) / line.fps and mean * line.fps <= Fraction(1005, 1000):
        return []
    if abs(mean * line.fps / 1000 - 1) < Fraction(1, 10):
        message = (
            f"has a row every {float(mean):g} s, expected one per frame, which they would be in "
            "milliseconds; if they are, divide them by 1000"
        )
        return [Problem.of(scoring.path, "row-interval", message)]
    return [
        Problem.of(
            scoring.path,
            "row-interval",
            f"has a row every {float(max(mean, longest)):g} s, expected one per frame; export it "
            f"with a time interval of {floor(1000 / line.fps) / 1000} s",
        )
    ]
