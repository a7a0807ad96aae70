"""A MARS/Bento file with several channels is read by the channel that the user chooses."""

from __future__ import annotations

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.errors import InputError
from mpar.formats.registry import read_label_file
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.fixtures.helpers import run
from tests.integration.test_lab_inputs import film
from tests.unit.formats.label_files import ANNOT, EXPECTED, put, read

TWO = ANNOT.replace("Ch1\n\nList", "Ch1\nCh2\nCh3\n\nList").rstrip() + (
    "\n\nCh2----------\n>walk\nStart\tStop\tDuration\n11\t20\t10\n\n"
)


def test_each_channel_can_be_chosen(tmp_path):
    """Ch1 has a lick and a flinch, Ch2 walks in frames 10-19, Ch3 has nothing."""
    path = put(tmp_path, TWO, "m1.annot")
    assert read(path, channel="Ch1").codes.tolist() == EXPECTED.tolist()
    codes = read(path, channel="Ch2").codes
    assert np.flatnonzero(codes == 6).tolist() == [*range(10, 20)]
    assert (codes >= 0).sum() == 10
    assert (read(path, channel="Ch3").codes == -1).all()


@pytest.mark.parametrize(
    ("text", "channel", "message"),
    [
        (
            TWO,
            None,
            "m1.annot: has bouts in the channels Ch1, Ch2, expected one channel; choose one with "
            "--channel, for instance --channel Ch1",
        ),
        (TWO, "Ch4", "m1.annot: has the channels Ch1, Ch2, Ch3, expected 'Ch4'; choose another"),
        (ANNOT, "Ch2", "m1.annot: has the channels Ch1, expected 'Ch2'; choose another"),
    ],
)
def test_channel_that_is_not_clear_is_refused(tmp_path, text, channel, message):
    """One line with the channels of the file."""
    with pytest.raises(InputError) as caught:
        read_label_file(put(tmp_path, text, "m1.annot"), DEFAULT_CLASS_MAP, channel=channel)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_other_formats_have_no_channels(tmp_path):
    """A folder may mix formats."""
    path = put(tmp_path, "Frame,Action\n0,walk\n")
    (part,) = read_label_file(path, DEFAULT_CLASS_MAP, channel="Ch2")
    assert part.codes.tolist() == [6]


def test_channel_on_the_command_line(tmp_path):
    """The option reaches the reader, and the cache remembers it."""
    for name in ("Videos", "Annotations"):
        (tmp_path / name).mkdir()
    film(tmp_path, "m1.mp4")
    text = TWO.replace("frame: 300", "frame: 90").replace("61\t61", "71\t71")
    put(tmp_path / "Annotations", text, "m1.annot")
    command = ["preprocess", tmp_path / "Videos", tmp_path / "Annotations", "-o", tmp_path / "c.h5"]
    result = run(*command)
    assert result.exit_code == 2
    assert "has bouts in the channels Ch1, Ch2" in result.output
    assert run(*command, "--channel", "Ch2").exit_code == 0
    with Store(tmp_path / "c.h5") as store:
        assert store.config["channel"] == "Ch2"
        labels = store.labels(0)
    assert np.flatnonzero(labels >= 0).tolist() == [*range(10, 20)]
    assert "channel was Ch2, now Ch1" in run(*command, "--channel", "Ch1").output
