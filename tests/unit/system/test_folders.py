"""What a folder holds and mpar does not read is listed, with the way out."""

from __future__ import annotations

import logging

import pytest

from mpar.system.folders import describe_unread, warn_of_unread

READ = [".mp4", ".csv"]


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        pytest.param(["a.mp4", "B.MP4", "a.csv"], [], id="all is read"),
        pytest.param([".a.seq", ".git/a.seq", "Thumbs.db", "~$a.xlsx"], [], id="hidden files"),
        pytest.param(["a_predictions.json", "cache.h5"], [], id="what mpar made"),
        pytest.param(["a_anna.csv", "a_anna.json", "estimate.json"], [], id="of mpar-review"),
        pytest.param(
            ["m1.seq", "sub/m2.SEQ", "m3.mp4.part"],
            [
                "V: 1 .part file is not read (m3.mp4.part): unfinished downloads: finish them",
                "V: 2 .seq files are not read (m1.seq, m2.SEQ): sequences of StreamPix or Norpix: "
                "export them as .avi or .mp4",
            ],
            id="videos of other kinds",
        ),
        pytest.param(
            [f"{i}.xlsx" for i in range(5)] + ["README", "a.xyz"],
            [
                "V: 1 other file is not read (README)",
                "V: 5 .xlsx files are not read (0.xlsx, 1.xlsx, 2.xlsx and 2 more): workbooks: "
                "save them as 'CSV UTF-8'",
                "V: 1 .xyz file is not read (a.xyz)",
            ],
            id="workbooks, and files that nobody knows",
        ),
        pytest.param(
            [f"m7/{i:03d}.tif" for i in range(12)] + ["a.mp4", "plot.png"],
            [
                "V: the 12 pictures in m7 are not read (000.tif ...): make a video of them, one "
                "frame per picture",
                "V: 1 .png file is not read (plot.png)",
            ],
            id="a film as pictures",
        ),
    ],
)
def test_what_is_passed_over_is_described(tmp_path, names, lines):
    """One line a kind, with names and advice."""
    assert describe_unread(fill(tmp_path / "V", *names), READ) == lines


def test_one_folder_given_twice_is_described_once(tmp_path, caplog):
    """Videos and labels may lie in one folder."""
    fill(tmp_path, "a.seq")
    with caplog.at_level(logging.WARNING):
        warn_of_unread(READ, tmp_path, tmp_path / ".")
    assert len(caplog.messages) == 1
