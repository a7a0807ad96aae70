"""Soft labels: windows as one of several annotators scored them."""

import numpy as np

from mpar.cache.store import Store
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.learning.annotators import AnnotatorLabels
from mpar.preprocess import preprocess
from tests.fixtures.synthetic import write_annotation, write_sample

CODES = {"anna": 0, "ben": 0, "carl": 2}  # rest, rest, paw_lick


def make_cache(folder):
    """Two recordings of 24 frames: the first scored by three people, the second by one."""
    write_sample(folder, num_animals=2, seed=0, num_frames=24, height=32, width=32)
    first, second = sorted((folder / "Videos").iterdir())
    for path in (folder / "Annotations").iterdir():
        path.unlink()
    for name, code in CODES.items():
        codes = np.full(24, code)
        codes[20:] = -1 if name == "carl" else 6
        write_annotation(folder / "Annotations" / f"{first.stem}_{name}.csv", codes)
    write_annotation(folder / "Annotations" / f"{second.stem}_anna.csv", np.full(24, 7))
    preprocess(folder / "Videos", folder / "Annotations", folder / "c.h5")
    return folder / "c.h5"


def test_each_window_is_one_annotators(tmp_path):
    """Labels are those of one person, each as often as the others; the ends stay unlabelled."""
    index = {name: k for k, name in enumerate(DEFAULT_CLASS_MAP.class_names)}
    rest, lick, walk, active = (index[n] for n in ("rest", "paw_lick", "walk", "active"))
    with Store(make_cache(tmp_path)) as store:
        annotators = AnnotatorLabels(store, [0, 1])
        assert len(annotators) == 1
        samples = np.tile([[0, 16], [0, -2], [1, 16]], (300, 1))
        majority = np.tile([[rest] * 4 + [walk] * 4, [-1, -1] + [rest] * 6, [active] * 8], (300, 1))
        drawn = annotators.draw(samples, majority, np.random.default_rng(0))
    inner, edge, single = drawn[::3].tolist(), drawn[1::3].tolist(), drawn[2::3]
    allowed = [[rest] * 4 + [walk] * 4, [lick] * 4 + [-1] * 4]
    assert all(row in allowed for row in inner)
    assert 0.25 < np.mean([row == allowed[1] for row in inner]) < 0.42  # a third
    assert all(row in ([-1, -1] + [k] * 6 for k in (rest, lick)) for row in edge)
    np.testing.assert_array_equal(single, active)
