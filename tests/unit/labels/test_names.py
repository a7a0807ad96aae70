"""One rule tells which video a name stands for, however people write it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpar.formats.registry import ANNOTATION_SUFFIXES
from mpar.labels.names import (
    UNFINISHED,
    UNREAD_VIDEO_SUFFIXES,
    VIDEO_SUFFIXES,
    NameIndex,
    added_to,
    without_suffix,
)
from mpar.system.folders import _WAYS_OUT

VIDEOS = ["mouse1.mp4", "mouse1.2.mp4", "mouse1.2.b.avi", "Day 1 m.mov", "day 1 n.MOV", "é_1.mkv"]


def index_of(*names):
    return NameIndex((name, name) for name in names)


@pytest.mark.parametrize(
    ("written", "video"),
    [
        pytest.param("mouse1", "mouse1.mp4", id="without its suffix"),
        pytest.param("mouse1.avi", "mouse1.mp4", id="before it was converted"),
        pytest.param("mouse1.2", "mouse1.2.mp4", id="a dot is part of the name"),
        pytest.param("mouse1.2.b", "mouse1.2.b.avi", id="two dots"),
        pytest.param("mouse1.3", None, id="another number"),
        pytest.param("mouse", None, id="a part of the name"),
        pytest.param("C:\\films\\mouse1.mp4", "mouse1.mp4", id="a folder of Windows"),
        pytest.param("/films/mouse1.2", "mouse1.2.mp4", id="a folder of Unix"),
        pytest.param("MOUSE1.MP4", "mouse1.mp4", id="capitals"),
        pytest.param("day 1 m", "Day 1 m.mov", id="capitals in the file"),
        pytest.param(" Day  1 N ", "day 1 n.MOV", id="blanks"),
        pytest.param("e\u0301_1", "é_1.mkv", id="accents stored apart"),
    ],
)
def test_name_stands_for_one_video(written, video):
    """Folders, suffixes of videos, capitals and blanks do not count; dots and digits do."""
    assert index_of(*VIDEOS).find(written) == ([video] if video else [])


def test_exact_name_wins():
    """Where two videos differ in capitals only, each is found by its own spelling alone."""
    index = index_of("A.mp4", "a.avi")
    assert [index.find(name) for name in ("A", "a", "A.mp4")] == [["A.mp4"], ["a.avi"], ["A.mp4"]]
    assert index_of("Mm.mp4", "mM.mp4").find("MM") == ["Mm.mp4", "mM.mp4"]


_PARTS = st.sampled_from(["m", "M", "1", "2", "10", " ", ".", "_", "-", "é", "e\u0301", "mp4", "x"])
_STEMS = (
    st.lists(_PARTS, min_size=1, max_size=6)
    .map("".join)
    .filter(lambda stem: stem.strip(" .") == stem and without_suffix(stem) == stem)
)


@given(
    stems=st.lists(
        _STEMS, min_size=1, max_size=6, unique_by=lambda s: unicodedata.normalize("NFC", s)
    ),
    data=st.data(),
)
def test_own_name_is_found_whatever_else_there_is(stems, data):
    """With or without suffix, in a folder or not, a name finds its own video and no other."""
    suffix = st.sampled_from(VIDEO_SUFFIXES)
    names = [stem + data.draw(suffix) for stem in stems]
    index = index_of(*names)
    for stem, name in zip(stems, names, strict=True):
        form = data.draw(st.sampled_from(["NFC", "NFD"]))
        for written in (name, stem, f"/a.b/{stem}", f"D:\\x\\{name}"):
            assert index.find(unicodedata.normalize(form, written)) == [name]
        assert index.find_owners(stem) == [name]
        assert index.find_owners(f"prediction_{name}_3") in (
            [name],
            index.find_owners(f"prediction_{stem}"),
        )


@given(video=_STEMS, other=_STEMS)
def test_a_label_file_goes_to_a_name_that_it_begins_with(video, other):
    """Nothing is paired that does not begin with the video's name and a sign that ends it."""
    for owner in index_of(f"{video}.mp4").find_owners(other):
        added = added_to(other, owner)
        assert added == "" or added[0] in "_.- "
        assert len(added) < len(other)


@pytest.mark.parametrize(
    ("stem", "video", "added"),
    [
        ("mouse_7_anna", "mouse_7.mp4", "_anna"),
        ("MOUSE_7-2", "mouse_7.mp4", "-2"),
        ("prediction_mouse_7.mp4_10", "mouse_7.mp4", "_10"),
        ("mouse_7", "mouse_7.mp4", ""),
        ("other", "mouse_7.mp4", "other"),
    ],
)
def test_what_a_label_file_adds_to_the_name(stem, video, added):
    """It names the annotator or the trial."""
    assert added_to(stem, video) == added


def test_a_video_is_read_or_not():
    """No suffix is both read and listed as unread, or named with a way out that nobody needs."""
    read = {*VIDEO_SUFFIXES, *ANNOTATION_SUFFIXES}
    assert not read & {*UNREAD_VIDEO_SUFFIXES, *UNFINISHED}
    assert not (read - {".xlsx"}) & {*_WAYS_OUT}  # workbooks are not read everywhere
    assert {".vob", ".hevc", ".h265"} <= read
