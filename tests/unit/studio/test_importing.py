"""Label files on their way into a study."""

from __future__ import annotations

import pytest

from mpar.labels.names import VIDEO_SUFFIXES
from mpar.studio.importing import LabelImport
from mpar.studio.study import Study
from mpar.system.folders import find_files
from tests.unit.formats.label_files import V8


@pytest.fixture
def imports(small):
    """Label files for a small study."""
    for path in (small / "Annotations").iterdir():
        if "mouse_01" not in path.name:
            path.unlink()
    found = LabelImport(small)
    found.study = Study.open(small)
    found.videos = find_files(found.study.video_folders, VIDEO_SUFFIXES)
    return found


OWN = b"Frame,Action\n" + b"".join(b"%d,rest\n" % k for k in range(48))


def test_formats_and_matches_are_named_and_files_copied_on_demand(imports, small):
    """Each file says what it is and where it belongs; only what was chosen is copied."""
    tabular = V8.replace("m1.mp4", "mouse_02.mp4").encode()
    for name, content in (
        ("mouse_03_ben.csv", OWN),
        ("C:\\boris\\session.csv", tabular),
        ("mouse_99_ben.csv", OWN),
        ("mouse_01_annotation.csv", OWN),
        ("mouse_04_ben.csv", b"Frame,Action\n0,jump\n"),
    ):
        imports.receive(name, content)
    found = {item["name"]: item for item in imports.preview(imports.study, imports.videos)}
    assert {name: item["format"] for name, item in found.items()} == {
        "mouse_01_annotation.csv": "mpar",
        "mouse_03_ben.csv": "mpar",
        "mouse_04_ben.csv": "mpar",
        "mouse_99_ben.csv": "mpar",
        "session.csv": "boris-tabular",
    }
    assert found["mouse_03_ben.csv"]["matches"] == [
        {"video": "mouse_03.mp4", "count": 48, "unit": "frames"}
    ]
    assert found["session.csv"]["matches"][0]["video"] == "mouse_02.mp4"
    assert "[no-video]" in found["mouse_99_ben.csv"]["problems"][0]
    assert "jump" in found["mouse_04_ben.csv"]["problems"][0]
    assert found["mouse_01_annotation.csv"]["state"] == "taken"
    assert [name for name, item in found.items() if item["can_copy"]] == [
        "mouse_03_ben.csv",
        "session.csv",
    ]
    before = (small / "Annotations" / "mouse_01_annotation.csv").read_bytes()
    copied = imports.copy(imports.study, ["mouse_03_ben.csv", "mouse_01_annotation.csv"])
    assert copied == ["mouse_03_ben.csv"]
    assert (small / "Annotations" / "mouse_03_ben.csv").read_bytes() == OWN
    assert (small / "Annotations" / "mouse_01_annotation.csv").read_bytes() == before
    assert not (small / "Annotations" / "session.csv").exists()
    assert imports.preview(imports.study, imports.videos) == []


@pytest.mark.parametrize(
    "name", ["", ".csv", "a.exe", "..", "a\0.csv", "a\nb.csv", "x" * 300 + ".csv", "Videos"]
)
def test_names_that_are_no_label_files(imports, name):
    """They are refused before anything is written."""
    with pytest.raises(ValueError, match=r"cannot be the name|expected a label file"):
        imports.receive(name, OWN)


def test_a_path_in_a_name_leads_nowhere(imports, small):
    """Only the last part of a name counts."""
    imports.receive("../../mouse_05_x.csv", OWN)
    (found,) = imports.preview(imports.study, imports.videos)
    assert found["name"] == "mouse_05_x.csv"
    assert not (small.parent / "mouse_05_x.csv").exists()
