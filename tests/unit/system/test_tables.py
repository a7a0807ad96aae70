"""Numbers and times in label files."""

from __future__ import annotations

from fractions import Fraction

import pytest

from mpar.formats.registry import read_label_file
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.system.tables import parse_seconds


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90.5", Fraction(181, 2)),
        ("1:30", 90),
        ("01:30.5", Fraction(181, 2)),
        ("01:30,5", Fraction(181, 2)),
        ("90:00", 5400),
        ("1:00:00", 3600),
        ("00:00:05.", 5),
        ("01:61:00", None),
        ("1:5", None),
        ("1:75", None),
        ("00:00:05:12", None),
        ("-00:05", None),
        ("", None),
    ],
)
def test_seconds(written, seconds):
    """A time is seconds, minutes:seconds or hours:minutes:seconds; time codes are none of them."""
    assert parse_seconds(written) == seconds


SIMBA = "Video,Event,Start_time,End Time,Start_frame,End_frame\n"


@pytest.mark.parametrize(
    ("name", "text", "start", "stop"),
    [
        ("s.csv", SIMBA + "m1,walk,00:00:01.000,00:02.000,30,59\n", 30, 60),
        (
            "b.annot",
            "Bento annotation file\nMovie file(s): m1.mp4\nAnnotation framerate: 30\n"
            "Ch1----------\n>walk\n00:01.033\t0:02.0\t1\n",
            30,
            60,
        ),
    ],
)
def test_seconds_in_formats(tmp_path, name, text, start, stop):
    """Formats with frames and seconds take clocks, too."""
    (tmp_path / name).write_text(text)
    (scoring,) = read_label_file(tmp_path / name, DEFAULT_CLASS_MAP)
    assert [(event.start, event.stop) for event in scoring.events] == [(start, stop)]
