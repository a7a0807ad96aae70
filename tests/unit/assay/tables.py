"""Recordings and rows that tests of the assay share."""

from __future__ import annotations

import csv
from fractions import Fraction

from mpar.assay.windows import (
    Window,
)
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.summarize import AssayConfig, summarize_assay
from tests.fixtures.helpers import recording_of

NAMES = DEFAULT_CLASS_MAP.class_names


NTSC = Fraction(30000, 1001)


WHOLE = Window("whole", "whole", Fraction(0), None)


def read_rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def recording(labels, fps=Fraction(10)):
    return recording_of(labels, fps=fps)


def summarize(predictions, text=None, overwrite=False, **options):
    folder = predictions.parent
    path = None
    if text is not None:
        path = folder / "animals.csv"
        path.write_text(text, encoding="utf-8")
    return summarize_assay(
        predictions,
        folder / "s",
        metadata_path=path,
        config=AssayConfig(**options),
        overwrite=overwrite,
    )
