"""The commands as people run them: real videos, bad inputs, exit codes and what is printed."""

import csv
import dataclasses
import importlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mpar_cli import train as train_module
from mpar_cli._run import show_predicted

from mpar.cache.store import Store
from mpar.inference import Predicted
from mpar.learning.recipe import TrainConfig
from mpar.network.checkpoint import load_checkpoint
from tests.fixtures.cli import COMMANDS
from tests.fixtures.helpers import recording_of, run
from tests.fixtures.synthetic import draw_frame_numbers, write_annotation, write_sample, write_video


def read_rows(path):
    """Return the rows of a CSV as dicts."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.mark.slow
def test_main_job_end_to_end(tmp_path):
    """Folders in, scores out, through the installed programs in processes of their own."""
    write_sample(
        tmp_path, num_animals=5, seed=3, num_frames=40, height=48, width=48, pain_fraction=0.3
    )

    def program(name, *arguments):
        return subprocess.run(
            [sys.executable, "-m", f"mpar_cli.{name}", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        ).stdout

    out = program("preprocess", "Videos", "Annotations", "-o", "cache.h5", "--size", 32)
    assert "5 recordings of 5 animals, 200 frames" in out
    options = "--model light --clip-length 8 --window 10 --batch-size 4 --epochs 1 --device cpu"
    out = program("train", "cache.h5", "-o", "runs", *options.split())
    assert re.search(r"^test +macro-F1 0\.\d{3}", out, re.MULTILINE)
    (checkpoint,) = tmp_path.glob("runs/run_*/best_model_epoch1.pt")
    program("predict", checkpoint, "Videos", "-o", "predictions")
    for video in (tmp_path / "Videos").iterdir():
        rows = read_rows(tmp_path / "predictions" / f"{video.stem}_predictions.csv")
        assert [int(row["Frame"]) for row in rows] == list(range(40))
    out = program("evaluate", checkpoint, "cache.h5", "-o", "evaluation")
    assert "macro-F1" in out
    by_folder = program("evaluate", "predictions", "Annotations", "-o", "evaluation2")
    assert "5 recordings" in by_folder
    assert (tmp_path / "evaluation" / "confusion_matrix.png").exists()
    assert "sound" in program("info", "cache.h5", "--verify")
    assert "clip length" in program("info", checkpoint)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_and_version(command):
    """Every command explains itself and every option."""
    text = run(command, "--help").output
    assert text.startswith("Usage:")
    module = importlib.import_module(f"mpar_cli.{command}")
    for option in module.main.params:
        if option.param_type_name == "option":
            assert option.help, f"{command} {option.name} has no help"
    assert "0.1.0" in run(command, "--version").output


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_does_not_load_the_libraries(command):
    """--help answers at once: nothing heavy is imported for it."""
    code = (
        f"import sys, mpar_cli.{command}; "
        "print([m for m in ('torch', 'numpy', 'h5py', 'av', 'cv2', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_shows_what_both_recipes_have():
    """Every option of a recipe has a place, and its help names the values that are really used."""
    text = " ".join(run("train", "--help").output.split())
    for line in (
        "--recipe [mpar|original]",
        "--model [auto|standard|light|fast|none] About 3.0 (standard), 0.6 (light) or 0.4 million "
        "parameters (fast, for CPUs); auto: standard on a GPU, else fast; none: only movement and "
        "--features, in minutes. [default: standard]",
        "--features [FILE.onnx] Mix in frozen features of an image network: that of "
        "mpar[features], or FILE.onnx. [default: none]",
        "--epochs INTEGER Maximum number of epochs of one pass each; 0: 30 epochs of 1,000 to "
        "30,000 steps in all. [default: 0; original: 100]",
        "--learning-rate FLOAT Highest learning rate. [default: 0.003; original: 0.001]",
        "--warmup-epochs FLOAT Epochs of linear warm-up. [default: 0.5; original: 0]",
        "--augment / --no-augment Mirror",
        "[default: on; original: off]",
        "--compile / --no-compile Compile",
        "--seed INTEGER Seed of all random choices. [default: 0]",
    ):
        assert line in text
    options = {option.name for option in train_module.main.params}
    assert {field.name for field in dataclasses.fields(TrainConfig)} <= options


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_waiting_threads_sleep_unless_told_otherwise(own):
    """Torch reads the variable when it is imported, which must come later."""
    code = (
        "import os, sys, mpar_cli.train\n"
        "assert 'torch' not in sys.modules\n"
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": own} if own else {}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (own or "PASSIVE")


def test_preprocess_reports_counts_before_and_after_merging(folders):
    """The table adds up, code by code and class by class."""
    result = run("preprocess", folders / "Videos", folders / "Annotations", "-o", folders / "c.h5")
    assert result.exit_code == 0
    assert "3 recordings of 3 animals, 72 frames, 2.4 s; 3 videos decoded" in result.output
    with Store(folders / "c.h5") as store:
        labels = np.concatenate([store.labels(i) for i in range(3)])
    for index, name in enumerate(store.class_names):
        (row,) = re.findall(rf"^\d+ .* {name} +(\d+)$", result.output, re.MULTILINE)
        assert int(row) == (labels == index).sum()
    again = run("preprocess", folders / "Videos", folders / "Annotations", "-o", folders / "c.h5")
    assert "is up to date" in again.output


def test_preprocess_leaves_bad_recordings_out(folders):
    """Good recordings are cached, bad ones named and listed; the exit code says so."""
    annotations = sorted((folders / "Annotations").iterdir())
    annotations[0].write_text("Frame,Action\n0,0\n1,99\n2,walking\n")
    (folders / "Videos" / "mouse_02.mp4").write_bytes(b"no video")
    arguments = folders / "Videos", folders / "Annotations", "-o", folders / "c.h5"
    result = run("preprocess", *arguments)
    assert result.exit_code == 1
    assert f"{annotations[0].name}:3: action '99' is not in the class map (0-7" in result.output
    assert f"{annotations[0].name}:4: action 'walking'" in result.output
    assert "mouse_02.mp4: cannot be opened as a video" in result.output
    assert len(read_rows(folders / "c.h5.problems.csv")) == 3
    with Store(folders / "c.h5") as store:
        assert [info.name for info in store.recordings] == ["mouse_03"]
    assert run("preprocess", *arguments, "--allow-problems").exit_code == 0


def test_preprocess_with_nothing_good(folders):
    """Without one good recording there is no cache, and the exit code is 2."""
    shutil.rmtree(folders / "Annotations")
    (folders / "Annotations").mkdir()
    result = run("preprocess", folders / "Videos", folders / "Annotations", "-o", folders / "c.h5")
    assert result.exit_code == 2
    assert "mouse_01.mp4: has no labels" in result.output
    assert not (folders / "c.h5").exists()


def test_check_shows_all_problems_first_and_lists_them(tmp_path):
    """Notes and a common problem, such as sizes, hide none of 40 bad label files."""
    for sub in ("Videos", "Annotations"):
        (tmp_path / sub).mkdir()
    for i in range(35):
        size = 32 + 2 * i if i < 20 else 32
        write_video(tmp_path / "Videos" / f"m{i}.mp4", draw_frame_numbers(3 + i, size, 32)[i:])
        labels = "Frame,Action\n" + "".join(f"{j},rest\n" for j in range(3))
        (tmp_path / "Annotations" / f"m{i}.csv").write_text(labels)
    for i in range(40):
        (tmp_path / "Annotations" / f"z{i:02}.csv").write_text(f"Frame,Action\n0,x{i}y\n")
    cache = tmp_path / "c.h5"
    places = tmp_path / "Videos", tmp_path / "Annotations"
    result = run("preprocess", *places, "-o", cache, "--check")
    assert result.exit_code == 1
    assert not cache.exists()
    lines = result.output.splitlines()
    shown = [line for line in lines if line.startswith("  ")]
    assert lines[0] == "59 problems:"
    assert [line.split(":")[0].strip() for line in shown[:19]] == [f"m{i}.mp4" for i in SIZES]
    assert all(f"x{i}y" in shown[19 + i] for i in range(40))
    assert lines.index(shown[-1]) < next(i for i, text in enumerate(lines) if "recordings" in text)
    listed = pd.read_csv(tmp_path / "c.h5.problems.csv")
    assert len(listed) == 59
    run("preprocess", *places, "-o", cache, "--allow-problems")
    assert pd.read_csv(tmp_path / "c.h5.problems.csv").equals(listed)


SIZES = sorted(range(1, 20), key=lambda i: f"m{i}.mp4")


def test_check_writes_nothing(folders):
    """--check decodes and reports; without a problem, it leaves no file behind."""
    before = sorted(folders.rglob("*"))
    cache = folders / "c.h5"
    result = run("preprocess", folders / "Videos", folders / "Annotations", "-o", cache, "--check")
    assert result.exit_code == 0
    assert "checked only; no cache was written" in result.output
    assert sorted(folders.rglob("*")) == before


@pytest.mark.parametrize(
    ("size", "expected"), [("20", (20, 20)), ("16x24", (16, 24)), ("16X24", (16, 24))]
)
def test_size_takes_one_or_two_numbers(folders, size, expected):
    """--size N and --size HxW, before or after the folders."""
    options = "--size", size, "-o", folders / "c.h5"
    assert run("preprocess", *options, folders / "Videos", folders / "Annotations").exit_code == 0
    with Store(folders / "c.h5") as store:
        assert store.frame_size == expected
    assert run("preprocess", folders / "Videos", folders / "Annotations", *options).exit_code == 0


def test_size_leaves_a_folder_alone_that_is_named_by_a_date(folders, monkeypatch):
    """The word after --size N is never a part of it."""
    (folders / "Videos").rename(folders / "20240115")
    monkeypatch.chdir(folders)
    arguments = "--size", "32", "20240115", "Annotations", "-o", "c.h5"
    assert run("preprocess", *arguments).exit_code == 0
    with Store(folders / "c.h5") as store:
        assert store.frame_size == (32, 32)


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        (["--size", "tiny"], "expected N, or height and width as HxW, such as 96x128"),
        (["--size", "32x"], "found '32x', expected N"),
        (["--size", "8x8x8"], "found '8x8x8', expected N"),
        (["--size", "\u00b2"], "expected N"),
        (["--size", "4"], "expected at least 16x16 px"),
        (["--group-pattern", "("], "is not a regular expression"),
        (["--label-offset", "-1"], "is not in the range x>=0"),
        (["--stream", "-1"], "is not in the range x>=0"),
        (["--workers", "0"], "is not in the range x>=1"),
        (["--several", "videos"], "is not one of 'trials', 'annotators'"),
    ],
)
def test_bad_options_of_preprocess(folders, options, fragment):
    """A wrong option is named, and nothing is written."""
    arguments = folders / "Videos", folders / "Annotations", "-o", folders / "c.h5", *options
    result = run("preprocess", *arguments)
    assert result.exit_code == 2
    assert fragment in result.output
    assert not (folders / "c.h5").exists()


def test_own_class_map(folders):
    """--class-map replaces codes and classes; a bad one is refused with its row."""
    (folders / "classes.csv").write_text(
        "code,name,class\n" + "".join(f"{c},n{c},{'pain' if c < 6 else 'move'}\n" for c in range(8))
    )
    arguments = folders / "Videos", folders / "Annotations", "-o", folders / "c.h5", "--class-map"
    assert run("preprocess", *arguments, folders / "classes.csv").exit_code == 0
    with Store(folders / "c.h5") as store:
        assert store.class_names == ("pain", "move")
    (folders / "bad.csv").write_text("code,name,class\n0,a,b\n0,c,d\n")
    result = run("preprocess", *arguments, folders / "bad.csv")
    assert result.exit_code == 2
    assert "bad.csv: class map: code 0 occurs twice" in result.output


def test_trials_and_offset(tmp_path):
    """The field's layout: 45 rows for 60 frames are refused, with the option that settles it."""
    (tmp_path / "v").mkdir()
    (tmp_path / "a").mkdir()
    write_video(tmp_path / "v" / "m.mp4", draw_frame_numbers(60, 32, 32))
    write_annotation(tmp_path / "a" / "prediction_m.mp4_0.csv", np.zeros(45, int))
    arguments = tmp_path / "v", tmp_path / "a", "-o", tmp_path / "c.h5"
    result = run("preprocess", *arguments)
    assert result.exit_code == 2
    assert "pass --label-offset 15" in result.output
    assert run("preprocess", *arguments, "--label-offset", 15).exit_code == 0
    with Store(tmp_path / "c.h5") as store:
        assert store.labels(0).tolist() == [-1] * 15 + [0] * 45


def test_train_without_a_cache_or_with_too_few_animals(folders):
    """Training says what it lacks."""
    assert "Give a CACHE" in run("train").output
    one = folders / "one"
    (one / "Videos").mkdir(parents=True)
    (one / "Annotations").mkdir()
    for kind in ("Videos", "Annotations"):
        path = sorted((folders / kind).iterdir())[0]
        shutil.copy(path, one / kind)
    run("preprocess", one / "Videos", one / "Annotations", "-o", one / "c.h5")
    result = run("train", one / "c.h5", "-o", one / "runs")
    assert result.exit_code == 2
    assert "found 1 animals with labels (mouse_01), expected at least 2" in result.output
    assert "--test-fraction" not in result.output
    assert not (one / "runs").exists()


@pytest.mark.parametrize(
    ("command", "arguments", "fragment"),
    [
        ("train", ["{video}"], "cannot be read as an HDF5 file"),
        ("predict", ["{video}", "{video}"], "is not a checkpoint of mpar"),
        ("evaluate", ["{folder}", "{video}"], "found one folder and one file"),
        ("evaluate", ["{video}", "{video}"], "is not a checkpoint of mpar"),
        ("info", ["{video}"], "cannot be read as an HDF5 file"),
    ],
)
def test_wrong_files_give_one_line(folders, command, arguments, fragment):
    """A file of another kind is one clear message and exit code 2, never a traceback."""
    names = {"video": folders / "Videos" / "mouse_01.mp4", "folder": folders / "Videos"}
    result = run(command, *[argument.format(**names) for argument in arguments])
    assert result.exit_code == 2
    assert fragment in result.output


def test_animals_of_one_video_are_counted_as_recordings(tmp_path, capsys):
    """Whole videos are videos."""
    found = [recording_of([0, 1], name, region=f"0,0,9,9,{name}") for name in ("a", "b")]
    show_predicted(Predicted(found, [], []), tmp_path)
    show_predicted(Predicted([recording_of([0, 1])], [], []), tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        f"2 recordings, 4 frames -> {tmp_path}",
        f"1 video, 2 frames -> {tmp_path}",
    ]


def test_predict_skips_bad_videos(study, tmp_path):
    """Bad sources are named with exit code 1; the good one is predicted, once."""
    (tmp_path / "bad.mp4").write_text("no")
    good = sorted(study.videos.iterdir())[0]
    arguments = study.checkpoint, good, tmp_path / "bad.mp4", "-o", tmp_path / "out"
    result = run("predict", *arguments)
    assert result.exit_code == 1
    assert "bad.mp4: cannot be opened as a video" in result.output
    assert "1 video, 48 frames" in result.output
    assert "resized" not in result.output  # as the training videos were
    before = (tmp_path / "out" / f"{good.stem}_predictions.csv").stat().st_mtime_ns
    result = run("predict", *arguments)
    assert result.exit_code == 1
    assert "1 prediction of this network" in result.output
    assert (tmp_path / "out" / f"{good.stem}_predictions.csv").stat().st_mtime_ns == before


def test_nothing_usable_is_exit_code_2(study, folders, tmp_path):
    """Everywhere: 1 is for some bad inputs beside good ones."""
    bad = tmp_path / "bad"
    for sub in ("Videos", "Annotations", "predictions"):
        (bad / sub).mkdir(parents=True)
    (bad / "Videos" / "m.mp4").write_text("no")
    write_annotation(bad / "Annotations" / "m.csv", np.zeros(5, int))
    (bad / "predictions" / "m_predictions.csv").write_text("Frame,Action\n0,x\n")
    annotations, predictions = bad / "Annotations", bad / "predictions"
    commands = (
        ("preprocess", bad / "Videos", annotations, "-o", tmp_path / "c.h5"),
        ("preprocess", bad / "Videos", annotations, "-o", tmp_path / "c.h5", "--check"),
        (
            *("preprocess", bad / "Videos", annotations, "-o", tmp_path / "c.h5"),
            *("--check", "--allow-problems"),
        ),
        ("train", bad / "Videos" / "m.mp4"),
        ("predict", study.checkpoint, bad / "Videos", "-o", tmp_path / "p"),
        ("predict", study.checkpoint, bad / "Videos" / "m.mp4", "-o", tmp_path / "p"),
        ("predict", study.checkpoint, tmp_path / "none.h5", "-o", tmp_path / "p"),
        ("evaluate", predictions, annotations, "-o", tmp_path / "e"),
        ("export", predictions, "--format", "simba", "-o", tmp_path / "x"),
        ("summarize", predictions, "-o", tmp_path / "s"),
        ("info", bad / "Videos" / "m.mp4"),
    )
    for command, *arguments in commands:
        result = run(command, *arguments)
        assert (command, result.exit_code) == (command, 2), result.output
    shutil.copy(bad / "Videos" / "m.mp4", folders / "Videos" / "zz.mp4")
    good = folders / "Videos", folders / "Annotations", "-o", tmp_path / "c.h5"
    assert run("preprocess", *good, "--check").exit_code == 1
    assert run("preprocess", *good, "--check", "--allow-problems").exit_code == 0
    video = sorted(study.videos.iterdir())[0]
    arguments = study.checkpoint, video, bad / "Videos", "-o", tmp_path / "q"
    assert run("predict", *arguments).exit_code == 1


@pytest.mark.slow
def test_labels_of_one_class_are_neither_learnt_nor_praised(tmp_path):
    """Only licks were scored and --unscored was forgotten: training says so before it begins."""
    write_sample(tmp_path, num_animals=4, seed=0, num_frames=24, height=32, width=32)
    for path in (tmp_path / "Annotations").iterdir():
        write_annotation(path, np.where(np.arange(24) % 7 < 4, 2, -1))
    cache = tmp_path / "c.h5"
    folders = tmp_path / "Videos", tmp_path / "Annotations"
    assert run("preprocess", *folders, "-o", cache).exit_code == 0
    for more in ((), ("--folds", 2), ("--leave-one-out",)):
        result = run("train", cache, "-o", tmp_path / "runs", *more)
        assert result.exit_code == 2
        assert "every labelled frame is paw_lick, so a network would predict" in result.output
        assert "preprocess again with --overwrite and --unscored CLASS" in result.output
        assert not (tmp_path / "runs").exists()


def test_advice_on_memory_names_options_that_there_are(study, monkeypatch, tmp_path):
    """A batch size is nothing that predicting has, nor is a CPU the way out of a CPU."""

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("mpar.inference.ActionRecognitionInference.__init__", fail)
    text = run("predict", study.checkpoint, study.videos, "-o", tmp_path).output
    assert "not enough memory; preprocess with a smaller --size, or pass --device cpu" in text
    monkeypatch.setattr("mpar.learning.training.train", fail)
    text = run("train", study.cache, "-o", tmp_path, "--device", "cpu").output
    assert "lower --batch-size or --window, or preprocess with a smaller --size\n" in text
    text = run("predict", study.checkpoint, study.videos, "--device", "cpu").output
    assert "not enough memory; preprocess with a smaller --size\n" in text


def test_predict_options(study, tmp_path):
    """--stride, --format code and --min-confidence show in the rows."""
    video = sorted(study.videos.iterdir())[0]
    options = "--stride", 5, "--format", "code", "--min-confidence", 1.0
    assert run("predict", study.checkpoint, video, "-o", tmp_path, *options).exit_code == 0
    rows = read_rows(tmp_path / f"{video.stem}_predictions.csv")
    assert [int(row["Frame"]) for row in rows] == list(range(0, 48, 5))
    assert {row["Action"] for row in rows} == {"-1"}


@pytest.mark.slow
def test_evaluate_prints_what_it_wrote(study, tmp_path):
    """The report on the screen is the report on the disk, and same-animal scores say so."""
    arguments = study.checkpoint, study.cache, "-o", tmp_path / "e", "--part", "train"
    result = run("evaluate", *arguments)
    assert result.exit_code == 0
    assert (tmp_path / "e" / "classification_report.txt").read_text() in result.output
    assert "same-animal" in result.output
    assert run("evaluate", *arguments).exit_code == 2


def test_predictions_say_how_they_were_processed(study, tmp_path):
    """Fitted with the network by default, nothing with --raw, and single values by option."""
    video = next(study.videos.glob("*.mp4"))
    arguments = [str(study.checkpoint), str(video), "--device", "cpu", "--quiet"]
    ways = {
        "fitted": [],
        "raw": ["--raw"],
        "own": ["--raw", "--smooth", "5", "--threshold", "walk=1", "--weight", "rest=2"],
    }
    found = {}
    for name, options in ways.items():
        result = run("predict", *arguments, "-o", tmp_path / name, *options)
        assert result.exit_code == 0, result.output
        (path,) = (tmp_path / name).glob("*_predictions.json")
        found[name] = json.loads(path.read_text())["postprocessing"]
    fitted = load_checkpoint(study.checkpoint).post
    assert found["fitted"] == fitted["config"]
    assert set(fitted["effect"]) == {"raw", "post"}
    assert found["raw"]["smooth_frames"] == found["raw"]["temperature"] == 1
    assert found["own"]["thresholds"] == [0, 0, 0, 0, 1, 0]
    assert found["own"]["weights"] == [2, 1, 1, 1, 1, 1]
    (path,) = (tmp_path / "raw").glob("*_predictions.csv")
    table = pd.read_csv(path)
    best = table.filter(like="_prob").idxmax(axis=1).str.removesuffix("_prob")
    assert (best == table["Action"]).all()
    result = run("info", study.checkpoint)
    powers = load_checkpoint(study.checkpoint).experts["powers"]
    counting = [f"{name} to the power {power:g}" for name, power in powers.items() if power]
    assert ", ".join(counting) in result.output
    assert "post-processing" in result.output
    assert "validation raw" in result.output
    result = run("predict", *arguments, "-o", tmp_path / "x", "--threshold", "jump=1")
    assert "expected CLASS=NUMBER" in result.output


def test_options_without_effect_are_refused(study, tmp_path):
    """An option that would be ignored is an error, so that nobody believes it was used."""
    result = run("train", study.cache, "--resume", study.run, "--epochs", 3, "--loss", "focal")
    assert result.exit_code == 2
    assert "--epochs, --loss cannot be combined with --resume" in result.output
    result = run("train", study.cache, "--init", study.checkpoint, "--model", "light")
    assert "--model cannot be combined with --init" in result.output
    result = run("evaluate", study.checkpoint, study.cache, "--label-offset", 0)
    assert "--label-offset apply to label files" in result.output
    result = run("evaluate", study.checkpoint, study.cache, "--group-pattern", "m")
    assert "--group-pattern and --label-offset apply to label files" in result.output
    result = run("evaluate", study.videos, study.annotations, "--part", "val")
    assert "--part, --raw and --features apply to a checkpoint and a cache" in result.output


def test_info_finds_damage(study, tmp_path):
    """--verify names the damaged recording and exits with 2."""
    damaged = tmp_path / "c.h5"
    shutil.copy(study.cache, damaged)
    with Store(damaged) as store:
        offset = store._entries[2]["frames_offset"]
        name = store.recordings[2].name
    data = bytearray(damaged.read_bytes())
    data[offset + 100] ^= 1
    damaged.write_bytes(data)
    result = run("info", damaged, "--verify")
    assert result.exit_code == 2
    assert f"recording {name} do not match their checksum" in result.output
    assert run("info", study.cache, "--verify").exit_code == 0
