"""Pictures with data beside them that PyAV does not know."""

from __future__ import annotations

import numpy as np
import pytest
from av.sidedata.sidedata import Type

from mpar.cache.store import Store
from mpar.video.grey import _admit_unknown_kinds
from tests.fixtures.film import write_jpegs
from tests.fixtures.helpers import read_frames, run
from tests.fixtures.synthetic import draw_frame_numbers


@pytest.fixture
def unpatched(monkeypatch):
    """PyAV as it comes, whatever other tests have read before."""
    monkeypatch.setattr(Type, "_missing_", classmethod(lambda cls, value: None))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        pytest.param(1, lambda picture: picture, id="upright"),
        pytest.param(2, lambda picture: picture[:, ::-1], id="mirrored"),
        pytest.param(3, lambda picture: picture[::-1, ::-1], id="upside down"),
        pytest.param(6, lambda picture: np.rot90(picture, -1), id="turned to the right"),
        pytest.param(8, np.rot90, id="turned to the left"),
    ],
)
def test_motion_jpeg_with_exif_is_read_as_its_pictures_say(tmp_path, unpatched, orientation, turn):
    """EXIF changes no picture but its orientation, which players follow as well."""
    pictures = draw_frame_numbers(6, 32, 48)
    plain = list(read_frames(write_jpegs(tmp_path / "plain.avi", pictures)))
    path = write_jpegs(tmp_path / "exif.avi", pictures, orientation=orientation)
    found = list(read_frames(path))
    assert len(found) == 6
    for picture, expected in zip(found, plain, strict=True):
        np.testing.assert_array_equal(picture, turn(expected))


def test_kinds_that_nobody_knows_get_a_name(unpatched):
    """LCEVC, stereo views, and whatever comes next; known kinds stay."""
    known = Type(6)
    _admit_unknown_kinds()
    assert [Type(value).value for value in (28, 29, 99)] == [28, 29, 99]
    assert Type(6) is known is Type.DISPLAYMATRIX


def test_time_lapse_with_exif_goes_into_the_cache(tmp_path, unpatched):
    """The labels of all its frames, and those of the good video beside it."""
    videos, labels = tmp_path / "v", tmp_path / "a"
    videos.mkdir()
    labels.mkdir()
    write_jpegs(videos / "lapse.avi", draw_frame_numbers(8, 32, 48), orientation=1)
    write_jpegs(videos / "good.avi", draw_frame_numbers(5, 32, 48))
    for name, code, count in (("lapse", 0, 8), ("good", 6, 5)):
        rows = "".join(f"{i},{code}\n" for i in range(count))
        (labels / f"{name}.csv").write_text("Frame,Action\n" + rows)
    cache = tmp_path / "c.h5"
    assert run("preprocess", videos, labels, "-o", cache).exit_code == 0
    with Store(cache) as store:
        found = {info.video: store.labels(i).tolist() for i, info in enumerate(store.recordings)}
    assert found == {"lapse.avi": [0] * 8, "good.avi": [4] * 5}
