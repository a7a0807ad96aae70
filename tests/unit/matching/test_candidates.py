"""Row counts that fit other files or rates are named as candidates, not as reasons."""

from __future__ import annotations

import pytest

from tests.integration.test_lab_inputs import by_frame, film, preprocessed, read_labels, write

ROWS = ["rest"] * 100 + ["walk"] * 80


@pytest.mark.parametrize(
    ("names", "num_rows", "texts"),
    [
        (
            ("GX010123.mp4", "GX020123.mp4"),
            180,
            [
                "GX010123.csv: found 180 rows, expected 90 (the video's frames); 180 would fit "
                "GX010123.mp4 and GX020123.mp4 together (90 + 90 frames): if they are chapters of "
                "one recording, give each its own rows, numbered from 0, in GX010123.csv, "
                "GX020123.csv; or 180 would fit a copy at 60 frames per second (the video has 30)",
            ],
        ),
        (("GOPR0007.mp4", "GP010007.mp4"), 180, ["GOPR0007.mp4 and GP010007.mp4 together (90 +"]),
        (("cam_09.mp4", "cam_10.mp4"), 180, ["cam_09.mp4 and cam_10.mp4 together (90 + 90 fr"]),
        (("a1.mp4", "b2.mp4"), 180, ["(the video's frames); 180 would fit a copy at 60 frames"]),
        (("GX010123.mp4", "GX020123.mp4"), 170, ["170 rows, expected 90 (the video's frames); ch"]),
        (("GX010123.mp4", "GX020124.mp4"), 180, ["(the video's frames); 180 would fit a copy at"]),
    ],
)
def test_rows_of_several_chapters(tmp_path, names, num_rows, texts):
    """Both the chapters and the rate fit 180 rows; the message names both, with ways out."""

    def make(folder):
        film(folder, *names)
        write(folder, f"{names[0][:-4]}.csv", by_frame(*ROWS[:num_rows]))

    output = preprocessed(tmp_path, make)
    assert read_labels(tmp_path / "c.h5") == {}
    for text in texts:
        assert text in output


def test_the_way_out_of_chapters_works(tmp_path):
    """Each chapter with its own rows, numbered from 0."""

    def make(folder):
        film(folder, "GX010123.mp4", "GX020123.mp4")
        write(folder, "GX010123.csv", by_frame(*ROWS[:90]))
        write(folder, "GX020123.csv", by_frame(*ROWS[90:]))

    preprocessed(tmp_path, make)
    assert read_labels(tmp_path / "c.h5") == {
        "GX010123": "rest 0-89",
        "GX020123": "rest 0-9, walk 10-89",
    }
