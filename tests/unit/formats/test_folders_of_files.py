"""Folders of label files through the commands."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.formats.annotations import read_annotation
from mpar.formats.registry import (
    WRITABLE,
)
from mpar.inference import predict_multiple_videos
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.preprocess import PreprocessConfig, preprocess
from tests.fixtures.helpers import run
from tests.fixtures.synthetic import draw_frame_numbers, write_video
from tests.unit.formats.label_files import (
    ANNOT,
    BINARY,
    DEEPETHOGRAM,
    HEADER,
    NTSC,
    V8,
    put,
    row,
)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """Two videos of 60 and 45 frames at 29.97 frames per second."""
    folder = tmp_path_factory.mktemp("filmed")
    for name, num_frames in (("m1", 60), ("m2", 45)):
        write_video(folder / f"{name}.mp4", draw_frame_numbers(num_frames, 32, 32), fps=NTSC)
    return folder


def preprocessed(videos, folder, files, **options):
    """Preprocess `files`, a dict of name and text; return labels by recording and the report."""
    annotations = folder / "Annotations"
    annotations.mkdir(exist_ok=True)
    for name, text in files.items():
        put(annotations, text, name)
    report = preprocess(
        videos, annotations, folder / "c.h5", config=PreprocessConfig(**options), workers=1
    )
    with Store(folder / "c.h5") as store:
        labels = {
            info.name: (info.annotators, store.labels(i).tolist())
            for i, info in enumerate(store.recordings)
        }
    return labels, report


LICK_M1 = [-1] * 30 + [2] * 3 + [-1] * 27


LICK_M2 = [-1] * 15 + [2] * 15 + [-1] * 15


BOTH = HEADER + "".join(
    [
        row(1.001, "paw_lick", "START", video="D:\\\\films\\\\m1.avi", observation="A"),
        row(1.101, "paw_lick", "STOP", video="D:\\\\films\\\\m1.avi", observation="A"),
        row(0.501, "paw_lick", "START", video="/films/m2.mp4", observation="B"),
        row(1.001, "paw_lick", "STOP", video="/films/m2.mp4", observation="B"),
    ]
)


def test_one_boris_file_for_two_videos(filmed, tmp_path):
    """A file with several observations is shared out by the videos that it names."""
    labels, report = preprocessed(filmed, tmp_path, {"study.csv": BOTH})
    assert labels == {"m1": (("study",), LICK_M1), "m2": (("study",), LICK_M2)}
    assert not report.problems
    assert report.warnings == (
        "study.csv: 57 of 60 frames have no behaviour and stay unlabelled; pass --unscored CLASS "
        "if they belong to a class",
        "study.csv: 30 of 45 frames have no behaviour and stay unlabelled; pass --unscored CLASS "
        "if they belong to a class",
    )


def test_observations_of_one_video_are_annotators(filmed, tmp_path):
    """Two observations of a video in one file, and a third in another format: three annotators."""
    mine = BOTH + "".join(
        [
            row(1.001, "paw_lick", "START", video="m1.mp4", observation="C"),
            row(1.134, "paw_lick", "STOP", video="m1.mp4", observation="C"),
        ]
    )
    bento = ANNOT.replace("frame: 300", "frame: 60").replace("30.000000", "29.97003")
    bento = bento[: bento.index(">flinch")]
    files = {"study.csv": mine, "m1_third.annot": bento}
    labels, _ = preprocessed(filmed, tmp_path, files, unscored="rest")
    annotators, codes = labels["m1"]
    assert annotators == ("third", "A", "C")
    assert codes == [0] * 30 + [2] * 4 + [0] * 26  # the frame that only C saw is not outvoted


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("m2_labels.csv", DEEPETHOGRAM, "m2_labels.csv: found 300 rows, expected 45"),
        ("other.csv", BOTH.replace("m1.avi", "m7.avi"), "other.csv: scores 'm7.avi', but there is"),
        ("other.csv", BINARY, "other.csv: matches no video, expected a name that starts with that"),
        (
            "other.csv",
            V8.replace("m1.mp4", "m5.mp4"),
            "nor does the video name in it ('m5.mp4')",
        ),
        (
            "m2.csv",
            V8.replace("m1.mp4", "?"),
            "m2.csv: says that its video lasts 10.000 s, but the",
        ),
        ("m2.boris", '{"a": 1}', "m2.boris: cannot be read as a BORIS project"),
        ("other.boris", '{"a": 1}', "other.boris: cannot be read as a BORIS project"),
    ],
)
def test_problems_of_a_folder(filmed, tmp_path, name, text, expected):
    """A file that fits no video, or not its video, is named; the good recording is kept."""
    good = {"m1_labels.csv": DEEPETHOGRAM[: DEEPETHOGRAM.index("\n60,") + 1]}
    labels, report = preprocessed(filmed, tmp_path, good | {name: text})
    assert labels["m1"] == (("m1_labels",), LICK_M1)
    assert expected in "\n".join(map(str, report.problems))


def test_bad_options_of_formats(filmed, tmp_path):
    """A class or format that does not exist is refused before anything is decoded."""
    with pytest.raises(ConfigError, match="unscored: found 'sleep', expected one of rest"):
        preprocessed(filmed, tmp_path, {"m1.csv": BOTH}, unscored="sleep")
    with pytest.raises(ConfigError, match="label_format: found 'excel', expected one of"):
        preprocessed(filmed, tmp_path, {"m1.csv": BOTH}, label_format="excel")


@pytest.mark.usefixtures("no_figures")
def test_predictions_go_out_and_come_back(study, tmp_path):
    """mpar-predict, mpar-export, mpar-preprocess, mpar-evaluate: the same labels all the way."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for video in sorted(study.videos.iterdir())[:2]:
        shutil.copy(video, folder)
    predict_multiple_videos(study.checkpoint, [folder], tmp_path / "p", device="cpu")
    for label_format in WRITABLE:
        out, cache = tmp_path / label_format, tmp_path / f"{label_format}.h5"
        export = "export", tmp_path / "p", "--format", label_format, "-o", out
        assert run(*export).exit_code == 0
        assert "already contains" in run(*export).output
        result = run("preprocess", folder, out, "-o", cache)
        assert result.exit_code == 0, result.output
        assert "warning" not in result.output
        with Store(cache) as store:
            for i, info in enumerate(store.recordings):
                path = tmp_path / "p" / f"{info.name}_predictions.csv"
                predicted = read_annotation(path, store.class_map).codes
                assert store.labels(i).tolist() == store.class_map.merge(predicted).tolist()
    result = run("evaluate", tmp_path / "p", tmp_path / "boris", "-o", tmp_path / "e")
    assert re.search(r"macro-F1 1\.000.*accuracy 1\.000", result.output), result.output


@pytest.fixture(scope="module")
def trials(study, tmp_path_factory):
    """A video scored as trials of 20, 17 and 11 frames, and the predictions of them."""
    folder = tmp_path_factory.mktemp("trials")
    (folder / "videos").mkdir()
    (folder / "scored").mkdir()
    shutil.copy(sorted(study.videos.iterdir())[0], folder / "videos" / "m.mp4")
    for number, num_frames in enumerate((20, 17, 11), start=9):  # 10 comes after 9
        rows = "".join(f"{i},rest\n" for i in range(num_frames))
        put(folder / "scored", "Frame,Action\n" + rows, f"prediction_m.mp4_{number}.csv")
    cache = folder / "c.h5"
    result = run("preprocess", folder / "videos", folder / "scored", "-o", cache, "--size", "32")
    assert result.exit_code == 0, result.output
    predict_multiple_videos(study.checkpoint, [cache], folder / "p", device="cpu")
    rng = np.random.default_rng(0)
    for path in (folder / "p").glob("*_predictions.csv"):  # bouts of all classes, with any network
        table = pd.read_csv(path)
        names = rng.permutation(DEFAULT_CLASS_MAP.class_names)
        table["Action"] = names[np.arange(len(table)) // 3 % len(names)]
        table.to_csv(path, index=False)
    return folder


def test_trials_are_exported_as_their_video(trials, tmp_path):
    """Frame by frame in every format: the trials end to end are the video's labels."""
    paths = [trials / "p" / f"m_trial{number}_predictions.csv" for number in (9, 10, 11)]
    codes = [read_annotation(path, DEFAULT_CLASS_MAP).codes for path in paths]
    assert [len(part) for part in codes] == [20, 17, 11]
    for label_format in WRITABLE:
        out, cache = tmp_path / label_format, tmp_path / f"{label_format}.h5"
        result = run("export", trials / "p", "--format", label_format, "-o", out)
        assert result.exit_code == 0, result.output
        result = run("preprocess", trials / "videos", out, "-o", cache)
        assert result.exit_code == 0, result.output
        with Store(cache) as store:
            assert [info.name for info in store.recordings] == ["m"]
            expected = DEFAULT_CLASS_MAP.merge(np.concatenate(codes))
            assert store.labels(0).tolist() == expected.tolist()
            assert len({*expected.tolist()}) == len(DEFAULT_CLASS_MAP.class_names)


def test_trials_that_make_up_no_video(study, trials, tmp_path):
    """One line names a missing trial, or a whole video beside its trials."""
    shutil.copytree(trials / "p", tmp_path / "p")
    (tmp_path / "p" / "m_trial10_predictions.csv").unlink()
    result = run("export", tmp_path / "p", "--format", "simba", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert (
        "m_trial9_predictions.csv: the trials of m.mp4 in this folder (m_trial9, m_trial11) do not "
        "add up to its 48 frames; predict all of them from one cache"
    ) in result.output
    assert not (tmp_path / "out").exists()
    predict_multiple_videos(study.checkpoint, [trials / "videos"], tmp_path / "p", device="cpu")
    result = run("export", tmp_path / "p", "--format", "simba", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "is a trial of m.mp4, of which the folder also holds the whole video" in result.output
    assert (tmp_path / "out").exists()


def test_predictions_that_cannot_be_exported(study, tmp_path):
    """Predictions of unknown place and those without their json are named; nothing is guessed."""
    video = sorted(study.videos.iterdir())[0]
    predict_multiple_videos(study.checkpoint, [video], tmp_path, device="cpu", stride=5)
    path = tmp_path / f"{video.stem}_predictions.csv"
    shutil.copy(path, tmp_path / "x_trial1_predictions.csv")
    shutil.copy(path.with_suffix(".json"), tmp_path / "x_trial1_predictions.json")
    shutil.copy(path, tmp_path / "y_predictions.csv")
    result = run("export", tmp_path, "--format", "annot", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "x_trial1_predictions.csv: has another name than its video" in result.output
    assert (
        "y_predictions.csv: lacks y_predictions.json, which holds its frame rate" in result.output
    )
    assert [p.name for p in (tmp_path / "out").iterdir()] == [f"{video.stem}.annot"]
    assert "Annotation stop frame: 48\n" in (tmp_path / "out" / f"{video.stem}.annot").read_text()
    path.write_text(path.read_text().replace("\n10,", "\n11,"))
    result = run("export", tmp_path, "--format", "annot", "-o", tmp_path / "out2")
    assert "expected frames 0 to 47 in steps of 5; predict again" in result.output
    assert (
        "found no NAME_predictions.csv" in run("export", study.videos, "--format", "annot").output
    )
