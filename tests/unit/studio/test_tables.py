"""The tables that people edit on the page."""

from __future__ import annotations

import pytest

from mpar.errors import ConfigError, InputError
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.studio.study import Study
from mpar.studio.tables import (
    ChangedError,
    parse_animals,
    read_animals,
    read_classes,
    write_animals,
    write_classes,
    write_stimuli,
)
from tests.unit.studio.test_study import put_study


@pytest.fixture
def study(tmp_path):
    """An empty study."""
    return Study.open(put_study(tmp_path / "S"))


def test_classes_come_back_as_they_went(study):
    """What the page shows and saves is the map that the commands read; a mistake saves nothing."""
    found = read_classes(study)
    assert [item["key"] for item in found["looks"][:6]] == [*"123456"]
    write_classes(study, found)
    path = study.folder / "classes.csv"
    assert ClassMap.from_csv(path) == DEFAULT_CLASS_MAP
    found = read_classes(study)
    found["rows"][0]["class"] = "paw_lick"  # a name of another code
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="paw_lick"):
        write_classes(study, found)
    assert path.read_bytes() == before


def test_mirrors_and_modifiers_are_kept(study):
    """Columns that the page shows less often are not lost."""
    (study.folder / "classes.csv").write_text(
        "code,name,modifier,class,mirror,response\n0,rest,,rest,,\n"
        "1,lick,left,left,right,yes\n2,lick,right,right,left,yes\n"
    )
    before = ClassMap.from_csv(study.folder / "classes.csv")
    write_classes(study, read_classes(study))
    assert ClassMap.from_csv(study.folder / "classes.csv") == before


def test_a_table_that_changed_meanwhile_is_not_replaced(study):
    """Somebody else's edit wins until it was seen."""
    found = read_animals(study, ["m1"])
    (study.folder / "animals.csv").write_text("Recording,group\nm1,drug\n")
    with pytest.raises(ChangedError, match=r"animals\.csv: was changed"):
        write_animals(study, found)
    assert "drug" in (study.folder / "animals.csv").read_text()


def test_animals_have_a_row_for_each_recording(study):
    """Rows of a file stay, with all their columns; others are added."""
    (study.folder / "animals.csv").write_text("Recording;group;dose\nm2.mp4;drug;1,5\n")
    found = read_animals(study, ["m1", "m2"])
    assert found["columns"] == ["Recording", "group", "dose"]
    assert [row["Recording"] for row in found["rows"]] == ["m2.mp4", "m1"]
    found["rows"][1]["group"] = "=1+1"
    write_animals(study, found)
    assert "m1,'=1+1,\n" in (study.folder / "animals.csv").read_text()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"columns": ["Animal"], "rows": []}, "Recording among them"),
        ({"columns": ["Recording", "recording"], "rows": []}, "column 'recording' occurs twice"),
        ({"columns": ["Recording"], "rows": [{"Recording": "a"}] * 2}, "'a' occurs twice"),
        ({"columns": ["Recording", "a,b"], "rows": []}, "with a comma"),
        ({"columns": ["Recording"], "rows": "a"}, "list of objects"),
        ({"columns": ["Recording"], "rows": [{"Recording": "a" * 2000}]}, "1000 characters"),
    ],
)
def test_tables_that_cannot_be_saved(study, body, found):
    """Nothing is written."""
    with pytest.raises(ValueError, match=found):
        write_animals(study, {"digest": "", **body})
    assert not (study.folder / "animals.csv").exists()


def test_tables_that_are_handed_over(study):
    """Animals are shown before they are saved; stimuli are kept, and never replaced."""
    found = parse_animals(study, b"recording,Animal\nm1,a\n")
    assert found == {
        "columns": ["Recording", "Animal"],
        "rows": [{"Recording": "m1", "Animal": "a"}],
    }
    with pytest.raises(InputError, match="found the columns"):
        parse_animals(study, b"x,y\n1,2\n")
    assert write_stimuli(study, b"Recording,Event,Start_s\nm1,1,5\nm1,2,9\n") == 2
    with pytest.raises(ConfigError, match="is there already"):
        write_stimuli(study, b"Recording,Event,Start_s\nm1,1,5\n")
    assert (study.folder / "stimuli.csv").read_bytes().count(b"\n") == 3
