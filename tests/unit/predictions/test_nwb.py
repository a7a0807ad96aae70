"""NWB files hold the bouts of predictions: valid, with provenance, and equal when read back."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction

import numpy as np
import nwbinspector
import pandas as pd
import pynwb
import pytest

import mpar
from mpar.errors import ConfigError
from mpar.inference import predict_multiple_videos
from mpar.labels.bouts import bout_table
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.predictions import nwb
from mpar.predictions.nwb import UNKNOWN_START, metadata_of, write_nwb
from mpar.video.timeline import TimeLine
from tests.fixtures.helpers import put_prediction, recording_of, run

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:hdmf", "ignore::UserWarning:pynwb")
NAMES = DEFAULT_CLASS_MAP.class_names
COLUMNS = {
    "label": "Class",
    "start_time": "Start_s",
    "stop_time": "Stop_s",
    "first_frame": "First_frame",
    "last_frame": "Last_frame",
    "confidence": "Mean_confidence",
}


def read_back(path):
    """Validate a file; return its tables and what describes it."""
    assert pynwb.validate(path=str(path)) == []
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        file = io.read()
        module = file.processing["behavior"]
        tables = {name: module[name].to_dataframe() for name in module.data_interfaces}
        bouts = module["bouts"]
        facts = {
            "file": file.session_description,
            "start": file.session_start_time,
            "subject": file.subject and file.subject.subject_id,
            "method": bouts.labeling_method,
            "software": bouts.source_software,
            "how": json.loads(bouts.parameters),
            "exclusive": module["ethogram"].exclusive,
            "observed": bouts.observation_intervals is not None,
            "identifier": file.identifier,
        }
        return tables, facts


def written(folder, labels, line, **how):
    item = recording_of(labels, "m1__A", line=line, video="m1.mp4", region="0,0,9,9")
    confidence = np.linspace(0.5, 1, len(labels))
    bouts = bout_table(labels, line, NAMES, confidence=confidence)
    write_nwb(folder / "m1.nwb", item, bouts, DEFAULT_CLASS_MAP, how, metadata_of(item))
    return bouts, *read_back(folder / "m1.nwb")


TIMES = np.array([0.5, 0.6, 0.65, 1.0, 1.2, 1.21, 1.5, 1.7])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "observed"),
    [
        ([0, 0, 2, 2, 2, 1, 0, 0], None),
        ([0, 0, 2, -1, -1, 1, 0, -1], [(0.5, 1.0), (1.21, 1.7)]),
        ([-1] * 8, []),
    ],
)
def test_bouts_read_back_equal(tmp_path, labels, observed):
    """Seconds of a video whose frame rate varies, and the stretches that have a label."""
    line = TimeLine(8, Fraction(6), TIMES)
    bouts, tables, facts = written(tmp_path, labels, line, mpar_version="9.9")
    found = tables["bouts"]
    assert len(found) == len(bouts)
    for mine, theirs in COLUMNS.items():
        assert found[mine].tolist() == bouts[theirs].tolist()
    assert facts["observed"] == (observed is not None)
    if observed is not None:
        assert [
            *zip(*(tables["observed"][c] for c in ("start_time", "stop_time")), strict=True)
        ] == observed
    assert tables["ethogram"]["behavior"].tolist() == [*NAMES]
    assert tables["ethogram"]["definition"][1] == "codes 1 paw_withdraw, 3 paw_guard, 5 flinch"
    assert tables["ethogram"]["native_code"].tolist() == [0, 1, 2, 4, 6, 7]
    assert (facts["exclusive"], facts["method"], facts["subject"]) == (True, "automated", "A")
    assert facts["software"] == "mpar 9.9"
    assert facts["how"] == {"mpar_version": "9.9", "exported_by": f"mpar {mpar.__version__}"}
    assert facts["start"] == UNKNOWN_START
    assert "1970-01-01 stands for it" in facts["file"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("stride", [1, 5])
def test_predictions_as_nwb(study, tmp_path, stride):
    """One file per recording, equal to NAME_bouts.csv, with the digest of the network."""
    videos = sorted(study.videos.iterdir())[:2]
    predictions, out = tmp_path / "p", tmp_path / "out"
    predict_multiple_videos(study.checkpoint, videos, predictions, device="cpu", stride=stride)
    command = "export", predictions, "--format", "nwb", "-o", out
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == [f"{v.stem}.nwb" for v in videos]
    identifiers = set()
    for video in videos:
        tables, facts = read_back(out / f"{video.stem}.nwb")
        bouts = pd.read_csv(predictions / f"{video.stem}_bouts.csv")
        for mine, theirs in COLUMNS.items():
            if mine == "label":
                assert tables["bouts"][mine].tolist() == bouts[theirs].tolist()
            else:  # the CSV has six decimals
                assert tables["bouts"][mine].to_numpy() == pytest.approx(bouts[theirs], abs=2e-6)
        sidecar = json.loads((predictions / f"{video.stem}_predictions.json").read_text())
        sidecar.pop("times")
        assert len(sidecar["checkpoint_sha256"]) == 64
        assert facts["how"] == {**sidecar, "exported_by": f"mpar {mpar.__version__}"}
        assert facts["subject"] == video.stem
        identifiers.add(facts["identifier"])
    assert len(identifiers) == 2
    assert "already contains 2 output files" in run(*command).output
    assert run(*command, "--overwrite").exit_code == 0
    refused = run(*command, "--unscored", "rest")
    assert refused.exit_code == 2
    assert "--unscored cannot be combined with --format nwb" in refused.output


@pytest.mark.usefixtures("no_figures")
def test_bad_prediction_is_left_out(study, tmp_path):
    """One line names it; the others are written."""
    video = sorted(study.videos.iterdir())[0]
    predict_multiple_videos(study.checkpoint, [video], tmp_path / "p", device="cpu")
    path = tmp_path / "p" / f"{video.stem}_predictions.csv"
    table = pd.read_csv(path)
    table.drop(columns="Confidence").to_csv(tmp_path / "p" / "x_predictions.csv", index=False)
    shutil.copy(path.with_suffix(".json"), tmp_path / "p" / "x_predictions.json")
    result = run("export", tmp_path / "p", "--format", "nwb", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "x_predictions.csv: lacks the column Confidence; predict again" in result.output
    assert [found.name for found in (tmp_path / "out").iterdir()] == [f"{video.stem}.nwb"]


def test_nothing_is_left_of_a_file_that_fails(tmp_path, monkeypatch):
    """The old file stays, and no piece of the new one."""
    line = TimeLine(3, Fraction(30))
    written(tmp_path, [0, 0, 1], line)
    before = (tmp_path / "m1.nwb").read_bytes()
    monkeypatch.setattr(
        pynwb.NWBHDF5IO, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError, match="full"):
        written(tmp_path, [0, 1, 1], line)
    assert [path.name for path in tmp_path.iterdir()] == ["m1.nwb"]
    assert (tmp_path / "m1.nwb").read_bytes() == before


def test_without_the_packages(monkeypatch, tmp_path):
    """One line says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "ndx_ethogram", None)
    with pytest.raises(ConfigError, match="run pip install pynwb ndx-ethogram"):
        nwb.export_nwb(tmp_path, tmp_path / "out")


FULL = {
    "Recording": "m1.mp4",
    "Animal": "A7",
    "Species": "mouse",
    "sex": "male",
    "age": "8 weeks",
    "date_of_birth": "2026-01-03",
    "strain": "C57BL/6J",
    "genotype": "WT",
    "weight": "0.021 kg",
    "description": "Ear tag 7",
    "Session start time": "2026-03-05T14:30:00+01:00",
    "experimenter": "Smith, Anna; Li, Bo",
    "institution": "University of X",
    "experiment_description": "Formalin test",
    "keywords": "pain; formalin",
    "cage": "12",
}


def export_with(folder, *rows):
    """Export two predictions with rows of metadata; return the result of the command."""
    for name in ("m1", "m2"):
        labels = np.repeat([0, 2, 0, 1, 0], 20)
        put_prediction(folder / "p", name, labels)
        path = folder / "p" / f"{name}_predictions.csv"
        pd.read_csv(path).assign(Confidence=0.9).to_csv(path, index=False)
    pd.DataFrame(rows).to_csv(folder / "animals.csv", index=False)
    options = "--format", "nwb", "--metadata", folder / "animals.csv", "-o", folder / "out"
    return run("export", folder / "p", *options)


@pytest.mark.slow
def test_a_full_table_passes_the_inspector(tmp_path):
    """What the table says is in the file, and nwbinspector finds nothing to complain of."""
    result = export_with(tmp_path, FULL, FULL | {"Recording": "m2", "Animal": "A8"})
    assert result.exit_code == 0, result.output
    for name, animal in (("m1", "A7"), ("m2", "A8")):
        path = str(tmp_path / "out" / f"{name}.nwb")
        assert [m.message for m in nwbinspector.inspect_nwbfile(nwbfile_path=path)] == []
        assert pynwb.validate(path=path) == []
        with pynwb.NWBHDF5IO(path, "r") as io:
            file = io.read()
            subject = file.subject
            assert (subject.subject_id, subject.species, subject.sex, subject.age) == (
                *(animal, "Mus musculus", "M"),
                "P8W",
            )
            assert (subject.strain, subject.genotype, subject.weight, subject.description) == (
                *("C57BL/6J", "WT", "0.021 kg"),
                "Ear tag 7",
            )
            assert subject.date_of_birth.date().isoformat() == "2026-01-03"
            assert file.session_start_time.isoformat() == "2026-03-05T14:30:00+01:00"
            assert tuple(file.experimenter) == ("Smith, Anna", "Li, Bo")
            assert (file.institution, file.experiment_description) == (
                "University of X",
                "Formalin test",
            )
            assert list(file.keywords) == ["pain", "formalin"]
            assert "1970" not in file.session_description


def test_without_a_table_the_animal_is_the_subject(tmp_path):
    """Its name is known, so the file has a subject; its sex is stated as unknown."""
    export_with(tmp_path, FULL)
    result = run("export", tmp_path / "p", "--format", "nwb", "-o", tmp_path / "bare")
    assert result.exit_code == 0, result.output
    path = str(tmp_path / "bare" / "m1.nwb")
    with pynwb.NWBHDF5IO(path, "r") as io:
        subject = io.read().subject
        assert (subject.subject_id, subject.sex, subject.species) == ("m1", "U", None)
    found = [m.check_function_name for m in nwbinspector.inspect_nwbfile(nwbfile_path=path)]
    assert "check_subject_exists" not in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sex": "boy"}, "found sex 'boy', expected M, F, U (unknown) or O (other)"),
        ({"species": "Mouse (C57)"}, "found species 'Mouse (C57)', expected a Latin name"),
        ({"age": "young"}, "found age 'young', expected an age such as P8W"),
        ({"date_of_birth": "03.01.2026"}, "expected a date such as 2026-03-05"),
        ({"date_of_birth": "2926-01-03"}, "expected a date of the past"),
    ],
)
def test_cells_that_are_not_of_their_kind(tmp_path, changes, expected):
    """The recording is left out with one line that says what is expected; the other is written."""
    row = {name.lower(): cell for name, cell in FULL.items()}
    result = export_with(tmp_path, row | changes, row | {"recording": "m2", "animal": "A8"})
    assert result.exit_code == 1
    assert expected in " ".join(result.output.split())
    assert [path.name for path in (tmp_path / "out").glob("*.nwb")] == ["m2.nwb"]


def test_an_animal_that_two_rows_describe_differently(tmp_path):
    """Sex and date of birth belong to the animal; age and weight may change between sessions."""
    other = {"Recording": "m2", "age": "9 weeks", "weight": "0.022 kg"}
    assert export_with(tmp_path / "a", FULL, FULL | other).exit_code == 0
    result = export_with(tmp_path / "b", FULL, FULL | other | {"sex": "F"})
    assert result.exit_code == 2  # nothing is left to write
    assert "animal 'A7' has the sex 'M' in m1 and 'F' in m2" in " ".join(result.output.split())
    assert not [*(tmp_path / "b").glob("out/*.nwb")]


def test_a_table_without_columns_of_nwb(tmp_path):
    """Nothing would come of it, so mpar says which names it knows."""
    result = export_with(tmp_path, {"Recording": "m1", "cage": "1"}, {"Recording": "m2"})
    assert result.exit_code == 2
    assert "date_of_birth" in result.output
