"""Evaluation: the right frames compared, and honest about the animals."""

import json

import numpy as np
import pandas as pd
import pytest

from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.evaluation import (
    evaluate_and_save_results,
    evaluate_checkpoint,
    evaluate_folders,
    headline,
)
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.matching.label_options import LabelOptions
from mpar.network.checkpoint import load_checkpoint
from mpar.network.comparing import select_recordings
from mpar.predictions.postprocess import PostConfig
from mpar.predictions.writing import OutputConfig, write_prediction
from mpar.scores.comparison import SAME_ANIMAL, compare_folders
from tests.fixtures.helpers import raises_problem, recording_of, run
from tests.fixtures.synthetic import write_annotation, write_video

CLASS_NAMES = DEFAULT_CLASS_MAP.class_names


def write_fake_prediction(folder, checkpoint, name, codes, *, stride=1, video=None):
    """Write predictions that say `codes` with certainty."""
    labels = DEFAULT_CLASS_MAP.merge(np.asarray(codes))
    probabilities = np.full((len(labels), len(CLASS_NAMES)), 0.01, np.float32)
    probabilities[np.arange(len(labels)), labels] = 0.95
    prediction = recording_of(name=name, video=video or f"{name}.mp4", probabilities=probabilities)
    write_prediction(
        folder,
        prediction,
        checkpoint.class_map,
        OutputConfig(stride=stride),
        PostConfig(),
        checkpoint.provenance(),
    )


@pytest.fixture(scope="module")
def checkpoint(study):
    """The checkpoint of the small study."""
    return load_checkpoint(study.checkpoint)


def test_original_call_writes_all_files(tmp_path):
    """evaluate_and_save_results: metrics, report, figures as PNG and PDF, n/a instead of NaN."""
    truth = np.array([0, 0, 1, 1, 2, -1])
    predicted = np.array([0, 1, 1, 1, 2, 0])
    metrics = evaluate_and_save_results(truth, predicted, CLASS_NAMES, tmp_path / "e")
    # by hand: F1 of rest 2/3, paw_withdraw 4/5, paw_lick 1, others without support
    assert metrics["scores"]["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 1) / 3)
    assert metrics["scores"]["accuracy"] == pytest.approx(4 / 5)
    text = (tmp_path / "e" / "metrics.json").read_text()
    assert "NaN" not in text
    assert json.loads(text) == metrics
    report = (tmp_path / "e" / "classification_report.txt").read_text()
    assert "n/a" in report
    assert "nan" not in report.lower()
    for stem in ("confusion_matrix", "confusion_matrix_normalized", "class_f1"):
        assert (tmp_path / "e" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "e" / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "e" / "ethograms" / "recording.png").exists()


@pytest.mark.slow
def test_every_recording_has_an_ethogram_of_its_own(tmp_path):
    """Names that differ only in what file names cannot hold do not share a figure."""
    labels = {name: [0, 1] for name in ("a:b", "a/b", "A_b", "c")}
    evaluate_and_save_results(labels, labels, ["x", "y"], tmp_path)
    assert len(list((tmp_path / "ethograms").glob("*.png"))) == 4


@pytest.mark.usefixtures("no_figures")
def test_existing_evaluation_is_kept(tmp_path):
    """A second evaluation into the same folder needs to be asked for."""
    evaluate_and_save_results([0, 1], [0, 1], ["a", "b"], tmp_path)
    with pytest.raises(ConfigError, match="--overwrite"):
        evaluate_and_save_results([0, 1], [1, 1], ["a", "b"], tmp_path)
    metrics = evaluate_and_save_results([0, 1], [1, 1], ["a", "b"], tmp_path, overwrite=True)
    assert metrics["scores"]["accuracy"] == 0.5


def test_recordings_must_agree():
    """Names that only one side has are an error, not left out."""
    with pytest.raises(ValueError, match="found b in only one"):
        evaluate_and_save_results({"a": [0], "b": [0]}, {"a": [0]}, ["x", "y"], "unused")


def test_held_out_recordings_are_those_of_unseen_animals(study, checkpoint):
    """By default only the test animals are scored."""
    names = {part: {r["name"] for r in checkpoint.split[part]} for part in checkpoint.split}
    with Store(study.cache) as store:
        held_out = select_recordings(checkpoint, store)
        assert {store.recordings[i].name for i in held_out} == names["test"]
        for part in ("train", "val", "test"):
            chosen = select_recordings(checkpoint, store, part)
            assert {store.recordings[i].name for i in chosen} == names[part]
        assert len(select_recordings(checkpoint, store, "all")) == len(store)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("selection", "num_learnt"), [("held-out", 0), ("val", 1), ("train", 4), ("all", 5)]
)
@pytest.mark.usefixtures("no_figures")
def test_same_animal_scores_say_so(study, tmp_path, selection, num_learnt):
    """Scores of animals that were trained on are labelled wherever they are read."""
    metrics = evaluate_checkpoint(study.checkpoint, study.cache, tmp_path, selection=selection)
    warning = f"{SAME_ANIMAL} ({num_learnt} of {len(metrics['recordings'])})" if num_learnt else ""
    assert metrics["warning"] == warning
    report = (tmp_path / "classification_report.txt").read_text()
    assert ("same-animal" in report) == bool(num_learnt)


@pytest.mark.usefixtures("no_figures")
def test_predicted_training_videos_are_same_animal_too(study, checkpoint, tmp_path):
    """Predictions remember that their video was trained on, by its content, not its name."""
    from mpar.inference import predict_multiple_videos

    name = checkpoint.split["train"][0]["name"]
    (tmp_path / "v").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "v" / "renamed.mp4").write_bytes((study.videos / f"{name}.mp4").read_bytes())
    (annotation,) = study.annotations.glob(f"{name}_*.csv")
    (tmp_path / "a" / "renamed.csv").write_bytes(annotation.read_bytes())
    predict_multiple_videos(study.checkpoint, [tmp_path / "v"], tmp_path / "p")
    metrics, _ = evaluate_folders(tmp_path / "p", tmp_path / "a", tmp_path / "e")
    assert metrics["warning"] == f"{SAME_ANIMAL} (1 of 1)"


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_checkpoint_scores_equal_predictions_scored_by_hand(study, tmp_path):
    """Checkpoint + cache, and predictions + annotations, give the same scores of same frames."""
    from mpar.inference import predict_multiple_videos

    direct = evaluate_checkpoint(study.checkpoint, study.cache, tmp_path / "a", selection="all")
    predict_multiple_videos(study.checkpoint, [study.cache], tmp_path / "predictions")
    by_folder, problems = evaluate_folders(
        tmp_path / "predictions", study.annotations, tmp_path / "b"
    )
    assert problems == []
    assert by_folder["scores"] == direct["scores"]
    assert by_folder["recordings"].keys() == direct["recordings"].keys()
    errors = [m["calibration"]["expected_calibration_error"] for m in (direct, by_folder)]
    assert errors[1] == pytest.approx(errors[0], abs=1e-4)
    assert (tmp_path / "b" / "reliability.png").exists()


def test_folders_are_compared_frame_by_frame(checkpoint, tmp_path):
    """Perfect predictions score 1, and one wrong frame is exactly one frame."""
    codes = np.array([0, 0, 1, 5, 2, 2, 6, 7, 4, 0])
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "m_a.csv", codes)
    wrong = codes.copy()
    wrong[-1] = 6
    write_fake_prediction(tmp_path / "p", checkpoint, "m", wrong)
    (comparison,), _, problems = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert problems == []
    assert np.flatnonzero(comparison.truth != comparison.predicted).tolist() == [9]


@pytest.mark.usefixtures("no_figures")
def test_warnings_of_label_files_are_printed_as_by_preprocess(checkpoint, tmp_path):
    """With the place of the file in its folder, and without any effect on the scores."""
    (tmp_path / "ann" / "anna").mkdir(parents=True)
    (tmp_path / "v").mkdir()
    path = tmp_path / "ann" / "anna" / "m.csv"
    write_annotation(path, [0, 0, 2, 2])
    head, *rows = path.read_text().split()
    path.write_text("\n".join([head, *reversed(rows)]))
    write_fake_prediction(tmp_path / "p", checkpoint, "m", [0, 0, 2, 2])
    write_video(tmp_path / "v" / "m.mp4", np.zeros((4, 32, 32), np.uint8))
    scored = run("evaluate", tmp_path / "p", tmp_path / "ann", "-o", tmp_path / "e")
    preprocessed = run("preprocess", tmp_path / "v", tmp_path / "ann", "-o", tmp_path / "c.h5")
    (line,) = [line for line in scored.output.splitlines() if line.startswith("warning: anna/m")]
    assert "sort" in line
    assert line in preprocessed.output.splitlines()
    assert "macro-F1 1.000" in scored.output


@pytest.mark.usefixtures("no_figures")
def test_confidences_of_folders_are_those_of_their_frames(checkpoint, tmp_path):
    """Rows in any order, some gone: each confidence stays with its frame, and calibrates it."""
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "m.csv", [0, 0, 0, 6, -1])
    write_fake_prediction(tmp_path / "p", checkpoint, "m", [0, 0, 0, 0, 0])
    path = tmp_path / "p" / "m_predictions.csv"
    path.write_text("Frame;Confidence;Action\n4;0,1;rest\n3;0.6;rest\n0;0.8;rest\n2;1;rest\n")
    (comparison,), _, problems = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert problems == []
    assert comparison.truth.tolist() == [0, -1, 0, 4, -1]  # a frame without a row is not scored
    assert comparison.confidence.tolist() == [0.8, 0, 1, 0.6, 0.1]
    # by hand: 0.2 and 0 below what is right, 0.6 above; frame 4 has no true label
    metrics, _ = evaluate_folders(tmp_path / "p", tmp_path / "ann", tmp_path / "e", html=True)
    error = metrics["calibration"]["expected_calibration_error"]
    assert error == pytest.approx((0.2 + 0 + 0.6) / 3)
    report = "expected calibration error 0.267"
    assert report in (tmp_path / "e" / "classification_report.txt").read_text()
    assert report.capitalize() in (tmp_path / "e" / "report.html").read_text()
    path.write_text("Frame,Action\n" + "".join(f"{i},rest\n" for i in range(5)))
    (comparison,), _, _ = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert comparison.confidence is None


@pytest.mark.parametrize("cell", ["", "nan", "1.01", "-0.5", "95%", "high"])
def test_confidences_that_are_none(checkpoint, tmp_path, cell):
    """They are named with their row, and with a way out."""
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "m.csv", [0, 0])
    write_fake_prediction(tmp_path / "p", checkpoint, "m", [0, 0])
    text = f"Frame,Action,Confidence\n0,rest,1\n1,rest,{cell}\n"
    (tmp_path / "p" / "m_predictions.csv").write_text(text)
    _, _, (problem,) = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert str(problem) == (
        f"m_predictions.csv:3: confidence is {cell!r}, expected 0 to 1; fix the row, or remove the "
        "column"
    )


def test_rows_of_strided_predictions_stand_for_the_frames_up_to_the_next(checkpoint, tmp_path):
    """All frames of the video are compared, the last row with what is left of them."""
    codes = np.arange(20) % 8
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "m.csv", codes)
    write_fake_prediction(tmp_path / "p", checkpoint, "m", codes, stride=3)
    (comparison,), _, _ = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert comparison.truth.tolist() == DEFAULT_CLASS_MAP.merge(codes).tolist()
    every = DEFAULT_CLASS_MAP.merge(codes[::3]).tolist()
    assert comparison.predicted.tolist() == [label for label in every for _ in range(3)][:20]
    assert comparison.line.fps == 30


@pytest.mark.parametrize("stride", [1, 2, 3, 5, 15])
@pytest.mark.usefixtures("no_figures")
def test_scores_are_in_frames_and_seconds_whatever_the_stride(checkpoint, tmp_path, stride):
    """A lick found half a second late is late, and as long as it is."""
    truth, predicted = np.zeros((2, 300), int)
    truth[60:120] = 2
    predicted[75:135] = 2
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "m.csv", truth)
    write_fake_prediction(tmp_path / "p", checkpoint, "m", predicted, stride=stride)
    folders = (tmp_path / folder for folder in ("p", "ann", "out"))
    metrics, problems = evaluate_folders(*folders, html=True)
    assert problems == []
    scores = metrics["events"]["paw_lick"]["f1"]
    # a stride makes an onset up to stride - 1 frames later, no more: 75 is a multiple of 3, 5, 15
    assert scores["onset ± 3 frames"] == 0
    assert scores["onset ± 15 frames"] == (0 if stride == 2 else 1)
    assert scores["IoU ≥ 0.5"] == 1
    assert metrics["scores"]["num_frames"] == 300
    (lick,) = [
        row
        for row in pd.read_csv(tmp_path / "out" / "recordings.csv").to_dict("records")
        if row["Class"] == "paw_lick"
    ]
    assert (lick["True_s"], lick["Predicted_s"]) == (2, 2)
    late = 76 if stride == 2 else 75
    assert lick["True_latency_s"] == 2
    assert lick["Predicted_latency_s"] == pytest.approx(late / 30, abs=1e-6)
    page = (tmp_path / "out" / "report.html").read_text()
    assert '"numFrames": 300' in page or '"numFrames":300' in page


def test_rows_without_a_json_stand_for_one_frame_each(checkpoint, tmp_path):
    """Every fifth frame alone is refused: nothing says how many frames a row stands for."""
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "m.csv", np.zeros(16, int))
    write_fake_prediction(tmp_path / "p", checkpoint, "m", np.zeros(16, int), stride=5)
    (tmp_path / "p" / "m_predictions.json").unlink()
    comparisons, _, problems = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert comparisons == []
    assert {problem.path for problem in problems} == {"m_predictions.csv"}


def test_trials_of_one_video_are_found(checkpoint, tmp_path):
    """Two trials in the field's naming lie end to end in the predictions of their video."""
    codes = np.arange(24) % 8
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "prediction_m.avi_10.csv", codes[16:])
    write_annotation(tmp_path / "ann" / "prediction_m.avi_2.csv", codes[:16])
    write_fake_prediction(tmp_path / "p", checkpoint, "m", codes, video="m.avi")
    comparisons, _, problems = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert problems == []
    assert [c.name for c in comparisons] == ["m_trial2", "m_trial10"]
    for comparison in comparisons:
        assert (comparison.truth == comparison.predicted).all()


@pytest.mark.usefixtures("no_figures")
def test_animals_of_predictions_are_found_in_their_names(checkpoint, tmp_path):
    """Intervals are over animals; a video of one that was learnt from makes all of it learnt."""
    (tmp_path / "ann").mkdir()
    names = ("m1_a", "m1_b", "m2_a", "odd")
    for name in names:
        write_annotation(tmp_path / "ann" / f"{name}.csv", np.arange(24) % 8)
        write_fake_prediction(tmp_path / "p", checkpoint, name, np.arange(24) % 8)
    sidecar = tmp_path / "p" / "m1_a_predictions.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"learnt_part": "train"}))
    metrics, problems = evaluate_folders(
        *(tmp_path / folder for folder in ("p", "ann", "out")),
        options=LabelOptions(group_pattern=r"m\d"),
    )
    (problem,) = problems
    assert str(problem).startswith("odd.mp4: --group-pattern 'm\\d' finds no animal in 'odd' (the")
    assert metrics["intervals"]["num_animals"] == 2
    assert metrics["warning"] == f"{SAME_ANIMAL} (2 of 3)"
    alone, _ = evaluate_folders(*(tmp_path / folder for folder in ("p", "ann", "alone")))
    assert alone["intervals"]["num_animals"] == 4
    assert alone["warning"] == f"{SAME_ANIMAL} (1 of 4)"
    (tmp_path / "ann" / "m1_a.csv").unlink()
    found, _, _ = compare_folders(
        tmp_path / "p", tmp_path / "ann", options=LabelOptions(group_pattern=r"m\d")
    )
    assert [(c.name, c.is_learnt) for c in found] == [("m1_b", True), ("m2_a", False)]


@pytest.mark.usefixtures("no_figures")
def test_what_does_not_pair_is_named(checkpoint, tmp_path):
    """Predictions without labels, and labels without predictions, are listed."""
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "a.csv", np.zeros(5, int))
    write_annotation(tmp_path / "ann" / "zzz.csv", np.zeros(5, int))
    write_annotation(tmp_path / "ann" / "c.csv", np.zeros(4, int))
    write_annotation(tmp_path / "ann" / "d.csv", np.full(5, -1))
    for name in ("a", "b", "c", "d"):
        write_fake_prediction(tmp_path / "p", checkpoint, name, np.zeros(5, int))
    metrics, problems = evaluate_folders(tmp_path / "p", tmp_path / "ann", tmp_path / "out")
    assert list(metrics["recordings"]) == ["a"]
    assert [problem.path for problem in problems] == ["b_predictions.csv", "c.csv", "d", "zzz.csv"]
    assert str(problems[2]) == "d: has no labelled frame; score it, or move its prediction away"
    assert len(metrics["left_out"]) == 4


def test_nothing_to_compare_is_an_error(checkpoint, tmp_path):
    """Without a single pair there is no report of nothing."""
    (tmp_path / "ann").mkdir()
    with pytest.raises(ConfigError, match="found no NAME_predictions"):
        compare_folders(tmp_path / "ann", tmp_path / "ann")
    write_fake_prediction(tmp_path / "p", checkpoint, "a", np.zeros(5, int))
    with raises_problem("no-labels", "a_predictions.csv"):
        evaluate_folders(tmp_path / "p", tmp_path / "ann", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cache_of_other_classes_is_refused(study, tmp_path):
    """A network is never scored against classes it does not know."""
    from mpar.labels.classes import ClassMap
    from mpar.preprocess import PreprocessConfig, preprocess

    rows = tuple((code, f"name{code}", "even" if code % 2 == 0 else "odd") for code in range(8))
    cache = tmp_path / "other.h5"
    preprocess(
        study.videos,
        study.annotations,
        cache,
        class_map=ClassMap(rows),
        config=PreprocessConfig(size=(32, 32)),
    )
    with pytest.raises(ConfigError, match="found the classes even, odd"):
        evaluate_checkpoint(study.checkpoint, cache, tmp_path / "out", selection="all")


def test_trials_of_a_cache_are_not_laid_on_labels_of_others(checkpoint, tmp_path):
    """Predictions of two trials of equal length never take both label files for annotators."""
    (tmp_path / "ann").mkdir()
    for number in (1, 2):
        write_annotation(tmp_path / "ann" / f"m_{number}.csv", np.full(6, number))
        name = f"m_trial{number}"
        codes = np.full(6, number)
        write_fake_prediction(tmp_path / "p", checkpoint, name, codes, video="m.mp4")
    comparisons, _, problems = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert comparisons == []
    assert ["like a trial" in problem.message for problem in problems] == [True, True]


def test_two_predictions_of_one_video_are_named(checkpoint, tmp_path):
    """A prediction in a folder below never takes another's place unsaid."""
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "m.csv", np.zeros(5, int))
    write_fake_prediction(tmp_path / "p", checkpoint, "m", np.zeros(5, int))
    write_fake_prediction(tmp_path / "p" / "old", checkpoint, "m", np.ones(5, int))
    comparisons, _, problems = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert len(comparisons) == 1
    assert "predicts m.mp4, as does" in problems[0].message


def test_recordings_of_one_name_are_named(checkpoint, tmp_path):
    """Scores are kept by name: a trial called like another video would take its place."""
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "prediction_m.avi_1.csv", np.zeros(5, int))
    write_annotation(tmp_path / "ann" / "prediction_m.avi_2.csv", np.zeros(6, int))
    write_annotation(tmp_path / "ann" / "m_trial2.csv", np.ones(4, int))
    write_fake_prediction(tmp_path / "p", checkpoint, "m", np.zeros(11, int), video="m.avi")
    write_fake_prediction(tmp_path / "p", checkpoint, "m_trial2", np.ones(4, int))
    comparisons, _, (problem,) = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert sorted(c.name for c in comparisons) == ["m_trial1", "m_trial2"]
    assert "m_trial2: has the same name as another recording" in str(problem)


def test_predictions_are_no_human_labels(checkpoint, tmp_path):
    """Predictions that lie among the label files are not scored against themselves."""
    write_fake_prediction(tmp_path, checkpoint, "m", np.zeros(5, int))
    (tmp_path / "m_bouts.csv").unlink()
    comparisons, _, problems = compare_folders(tmp_path, tmp_path)
    assert comparisons == []
    assert "is a prediction, expected human labels" in str(problems)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"video": 5}',
        '"stride": 0',
        '"fps": "0"',
        '"class_map": []',
        '"start_frame": -1',
    ],
)
def test_damaged_sidecars_leave_one_recording_out(checkpoint, tmp_path, text):
    """A json that mpar did not write is named; the other predictions are scored."""
    (tmp_path / "ann").mkdir()
    for name in ("b_1", "b"):
        write_annotation(tmp_path / "ann" / f"{name}.csv", np.zeros(5, int))
        write_fake_prediction(tmp_path / "p", checkpoint, name, np.zeros(5, int))
    path = tmp_path / "p" / "b_1_predictions.json"
    if text[0] == '"':
        text = json.dumps(json.loads(path.read_text()) | json.loads("{" + text + "}"))
    path.write_text(text)
    comparisons, _, problems = compare_folders(tmp_path / "p", tmp_path / "ann")
    assert [c.name for c in comparisons] == ["b"]
    assert [problem.path for problem in problems] == ["b_1_predictions.json"]


@pytest.mark.parametrize("name", ["classification_report.txt", "class_f1.png", "ethograms"])
def test_files_of_the_user_are_kept(tmp_path, name):
    """Any file that would be replaced counts, not metrics.json alone."""
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="--overwrite"):
        evaluate_and_save_results([0, 1], [0, 1], ["a", "b"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.usefixtures("no_figures")
def test_unlisted_animals_are_held_out(study, checkpoint, tmp_path):
    """Without a test part, animals that the split leaves out are scored, not the validation."""
    import dataclasses

    from mpar.network.checkpoint import save_checkpoint

    split = {**checkpoint.split, "test": []}
    save_checkpoint(tmp_path / "c.pt", dataclasses.replace(checkpoint, split=split))
    metrics = evaluate_checkpoint(tmp_path / "c.pt", study.cache, tmp_path / "e")
    assert metrics["selection"] == "held-out"
    assert set(metrics["recordings"]) == {item["name"] for item in checkpoint.split["test"]}


@pytest.mark.usefixtures("no_figures")
def test_one_class_in_the_labels_is_no_perfect_score(checkpoint, tmp_path, caplog):
    """A network that names it everywhere scores 1: the headline says what that means instead."""
    (tmp_path / "ann").mkdir()
    write_annotation(tmp_path / "ann" / "m.csv", [2, 2, 2, -1, -1, -1])
    write_fake_prediction(tmp_path / "p", checkpoint, "m", [2] * 6)
    folders = tmp_path / "p", tmp_path / "ann"
    metrics, _ = evaluate_folders(*folders, tmp_path / "e", html=True)
    assert metrics["scores"]["macro_f1"] == 1
    shown = headline(metrics)
    assert shown == "recall of paw_lick 1.000; no macro-F1, since the labels hold no other class"
    assert metrics["warning"].startswith("one class: every labelled frame is paw_lick")
    assert "pass --unscored CLASS" in caplog.text
    for name in ("classification_report.txt", "recordings.csv", "events.csv", "report.html"):
        assert "one class: every labelled frame is paw_lick" in (tmp_path / "e" / name).read_text()
    caplog.clear()
    write_annotation(tmp_path / "ann" / "m.csv", [2, 2, 2, 0, 0, 0])
    metrics, _ = evaluate_folders(*folders, tmp_path / "f")
    assert (metrics["warning"], caplog.text) == ("", "")
    assert headline(metrics).startswith("macro-F1 0.3")


@pytest.mark.usefixtures("no_figures")
def test_no_table_of_an_evaluation_holds_a_formula(tmp_path):
    """Recordings are named by anyone."""
    names = ["=HYPERLINK(1)", "@x", "fine"]
    truth = {name: np.array([0, 1, 1]) for name in names}
    evaluate_and_save_results(truth, truth, ["rest", "walk"], tmp_path)
    table = pd.read_csv(tmp_path / "recordings.csv")
    assert list(dict.fromkeys(table["Recording"])) == ["'=HYPERLINK(1)", "'@x", "fine"]
    assert {*table["Animal"]} == {*table["Recording"]}


def test_a_cache_is_read_as_in_training(study, checkpoint, tmp_path, monkeypatch):
    """What was trained on over a network disk is not mapped for the scores."""
    import dataclasses

    from mpar.network.checkpoint import save_checkpoint

    data = checkpoint.data | {"access": "pread"}
    save_checkpoint(tmp_path / "c.pt", dataclasses.replace(checkpoint, data=data))
    opened = []

    def open_store(path, access="mmap"):
        opened.append(access)
        return Store(path, access=access)

    monkeypatch.setattr("mpar.evaluation.Store", open_store)
    monkeypatch.setattr("mpar.evaluation.write_evaluation", lambda *_, **__: {})
    evaluate_checkpoint(tmp_path / "c.pt", study.cache, tmp_path / "e")
    assert opened == ["pread"]


@pytest.mark.slow
def test_recording_without_a_compared_frame(tmp_path):
    """An empty recording is scored as nothing, not a traceback."""
    truth = {"a": np.array([0, 1]), "b": np.array([], int)}
    metrics = evaluate_and_save_results(truth, truth, ["x", "y"], tmp_path)
    assert metrics["recordings"]["b"] is None
