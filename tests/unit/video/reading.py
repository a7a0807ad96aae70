"""Videos in many containers, and how tests read them."""

from __future__ import annotations

from tests.fixtures.helpers import read_frames
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    read_frame_number,
    write_video,
)

CONTAINERS = [
    ("libx264", "mp4"),
    ("libx264", "avi"),
    ("libx264", "mkv"),
    ("libx264", "mov"),
    ("libx264", "ts"),
    ("libx264", "h264"),
    ("mpeg4", "mp4"),
    ("mpeg4", "avi"),
    ("mpeg4", "mkv"),
    ("mjpeg", "mp4"),
    ("mjpeg", "avi"),
    ("mjpeg", "mkv"),
    ("ffv1", "mp4"),
    ("ffv1", "avi"),
    ("ffv1", "mkv"),
]


def make_video(path, num_frames=20, height=64, width=96, **options):
    write_video(path, draw_frame_numbers(num_frames, height, width), **options)
    return path


def read(path, **options):
    """Return the frames and the warnings of a video."""
    warnings = []
    frames = [*read_frames(path, warnings=warnings, **options)]
    return frames, warnings


def numbers(path, **options):
    return [read_frame_number(frame) for frame in read(path, **options)[0]]
