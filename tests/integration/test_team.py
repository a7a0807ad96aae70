"""Training in a team: two processes that share each batch do what one does with all of it."""

import csv
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

import mpar.system.team
from mpar.cache.store import Store
from mpar.errors import TeamError
from mpar.learning.loop import TrainingRun
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import split_store
from mpar.learning.sums import TeamNorm, norm_together, sum_over
from mpar.network.checkpoint import load_checkpoint, save_checkpoint
from mpar.system.team import ALONE, Pulse, Team, joined_team, local_device
from mpar.train import resume_training, train

# nothing here is random by member: neither dropout nor augmentation
CONFIG = TrainConfig(
    model_type="light",
    num_epochs=2,
    batch_size=19,
    window=12,
    sampling="all",
    dropout=0,
    augment=False,
    use_amp=False,
    learning_rate=1e-3,
)
OPTIONS = "--model light --epochs 2 --batch-size 19 --window 12 --sampling all --dropout 0"
OPTIONS += " --no-augment --no-amp --learning-rate 1e-3"


def in_a_team(folder: Path, command: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a command in two processes of torchrun."""
    torchrun = [sys.executable, *"-m torch.distributed.run --standalone --nproc-per-node=2".split()]
    return subprocess.Popen(
        [*torchrun, "-m", f"mpar_cli.{command}", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def read_columns(run, *names):
    """Return columns of metrics.csv, (N, epochs)."""
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    return np.array([[float(row[name]) for row in rows] for name in names])


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["light", "fast"])
def test_two_processes_train_as_one_does(study, tmp_path, model_type):
    """Same losses and weights to float tolerance; in its last batch one has nothing to do."""
    config = dataclasses.replace(CONFIG, model_type=model_type)
    alone = train(study.cache, tmp_path / "one", config=config, device="cpu")
    with Store(study.cache) as store:
        run = TrainingRun(tmp_path, store, split_store(store), config, torch.device("cpu"))
        assert len(run._samples(0)) % CONFIG.batch_size == 1
    options = [*OPTIONS.split(), "--model", model_type]
    process = in_a_team(tmp_path, "train", study.cache, "-o", "two", *options)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    (together,) = (tmp_path / "two").iterdir()
    names = "Train_loss", "Val_loss", "Val_macro_F1"
    expected = read_columns(alone, *names)
    np.testing.assert_allclose(read_columns(together, *names), expected, rtol=1e-3, atol=0)
    weights = [load_checkpoint(run / "last.pt").weights for run in (alone, together)]
    for key, value in weights[0].items():
        # not biases: Adam takes a step of one size also where a gradient is nothing but rounding
        if value.ndim > 1:
            assert (weights[1][key] - value).abs().mean() < 0.02 * value.abs().mean(), key
    assert out.count("best checkpoint") == 1
    assert "evaluation" in {path.name for path in together.iterdir()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun is stopped otherwise there")
def test_a_team_that_is_stopped_can_go_on(study, tmp_path):
    """SIGTERM reaches every process, they stop at one step, and the run is resumed alone."""
    process = in_a_team(
        tmp_path, "train", study.cache, "-o", "runs", *OPTIONS.split(), "--epochs", "40"
    )
    deadline = time.monotonic() + 180
    while not list(tmp_path.glob("runs/*/metrics.csv")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode != 0
    (run,) = (tmp_path / "runs").iterdir()
    checkpoint = load_checkpoint(run / "last.pt")
    assert 1 <= checkpoint.state["epoch"] < 40
    done = checkpoint.state["epoch"] + 1
    shorter = replace(checkpoint, training={**checkpoint.training, "num_epochs": done})
    save_checkpoint(run / "last.pt", shorter)
    resume_training(run, device="cpu")
    assert load_checkpoint(run / "last.pt").state["epoch"] == done


@pytest.mark.parametrize("num_samples", [1, 4, 5, 11])
@pytest.mark.parametrize("size", [2, 3])
def test_each_window_is_one_members(num_samples, size):
    """Shares cover a batch exactly once, also when it does not divide."""
    samples = np.arange(2 * num_samples).reshape(-1, 2)
    shares = [Team(rank, size).share_of(samples) for rank in range(size)]
    assert sorted(np.concatenate(shares)[:, 0].tolist()) == samples[:, 0].tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("num_items", [0, 1, 4, 5])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_are_put_together_in_order(monkeypatch, num_items, size):
    """What each member made of its share comes back in the order of the whole."""
    items = list(range(num_items))
    shares = [Team(rank, size).share_of(items) for rank in range(size)]
    monkeypatch.setattr(Team, "gather", lambda self, item: shares)
    assert Team(0, size).gather_shares(shares[0]) == items


def files_of(folder):
    """Return the bytes of all files of a folder by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*"))}


def contents_of(cache):
    """Return all data and attributes of a cache as bytes, but for the time it was made."""
    contents = {}
    with h5py.File(cache) as file:

        def remember(name, item):
            if isinstance(item, h5py.Dataset):
                contents[name] = (item.dtype, item.shape, item.chunks, item[()].tobytes())
            for key, value in item.attrs.items():
                contents[f"{name}.{key}"] = repr(value)

        remember("", file)
        file.visititems(remember)
    del contents[".created_utc"]
    return contents


@pytest.mark.slow
def test_two_processes_preprocess_as_one_does(study, tmp_path):
    """The same bytes, and the problems of both, once; nothing is left of the staging folder."""
    videos = tmp_path / "Videos"
    shutil.copytree(study.videos, videos)
    for number in (0, 1):  # one for each process
        (videos / f"bad{number}.mp4").write_bytes(b"no video")
    annotations = tmp_path / "Annotations"
    shutil.copytree(study.annotations, annotations)
    for number in (0, 1):
        (annotations / f"bad{number}.csv").write_text("Frame,Action\n0,rest\n")
    folders = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        folders.append(folder)
    arguments = [videos, annotations, "-o", "cache.h5"]
    alone_cache = folders[0] / "cache.h5"
    run = [sys.executable, "-m", "mpar_cli.preprocess", *map(str, arguments)]
    alone = subprocess.run(run, cwd=folders[0], capture_output=True, text=True, encoding="utf-8")
    process = in_a_team(folders[1], "preprocess", *arguments)
    out, err = process.communicate(timeout=240)
    assert (alone.returncode, process.returncode != 0) == (1, True)
    files = [files_of(folder) for folder in folders]
    assert [len(found.pop("cache.h5")) for found in files] == [alone_cache.stat().st_size] * 2
    assert list(files[0]) == ["cache.h5.problems.csv"]
    assert files[1] == files[0]
    assert contents_of(folders[1] / "cache.h5") == contents_of(alone_cache)
    assert out == alone.stdout
    assert [err.count(f"bad{number}.mp4: ") for number in (0, 1)] == [1, 1]
    check = in_a_team(folders[1], "preprocess", *arguments[:2], "--check")
    checked, _ = check.communicate(timeout=240)
    assert checked.replace("checked only; no cache was written\n", "") in out


@pytest.mark.slow
def test_two_processes_predict_as_one_does(study, tmp_path):
    """The same bytes, one summary; what is there already is kept by both."""
    arguments = [study.checkpoint, study.videos, "--device", "cpu", "-o"]
    run = [sys.executable, "-m", "mpar_cli.predict", *map(str, arguments), "one"]
    alone = subprocess.run(
        run,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    process = in_a_team(tmp_path, "predict", *arguments, "two")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    assert out == alone.stdout.replace("one", "two")
    process = in_a_team(tmp_path, "predict", *arguments, "two")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert out.count("already there and kept") == 1
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")


def test_norm_of_one_is_batch_norm():
    """Outputs, gradients and running statistics are those of torch's own."""
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(2, 4, 3, 5, 5)
    plain = nn.Sequential(nn.BatchNorm3d(4))
    nn.init.normal_(plain[0].weight)
    team = nn.Sequential(nn.BatchNorm3d(4))
    team.load_state_dict(plain.state_dict())
    norm_together(team, ALONE)
    assert isinstance(team[0], TeamNorm)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [net(inp) for net, inp in zip((plain, team), inputs, strict=True)]
    torch.testing.assert_close(outputs[0], outputs[1])
    for output in outputs:
        output.square().mul(torch.arange(4.0).view(1, 4, 1, 1, 1)).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain.state_dict(), team.state_dict())
    torch.testing.assert_close(plain.eval()(x), team.eval()(x))


def test_alone_without_torchrun(monkeypatch):
    """A plain process is a team of one that leads; sums and shares are everything."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_team(torch.device("cpu")) as team:
        assert (team, team.is_leader) == (ALONE, True)
    values = torch.arange(3.0)
    assert sum_over(team, values) is values
    assert team.gather("x") == ["x"]
    assert team.on_leader(lambda: "x") == "x"
    assert team.share_of([1, 2, 3]) == [1, 2, 3]


def test_each_process_of_a_machine_has_its_gpu(monkeypatch):
    """Each is numbered by torchrun; the CPU has no number."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert local_device(torch.device("cpu")) == torch.device("cpu")


def test_any_members_signal_stops_all(study, tmp_path, monkeypatch):
    """The greatest signal number counts; when to save is the leader's word."""
    with Store(study.cache) as store:
        split = split_store(store)
        run = TrainingRun(tmp_path, store, split, CONFIG, torch.device("cpu"))
    assert run._ask_all([], True) == (0, True)
    assert run._ask_all([2]) == (2, False)
    run.team = Team(1, 2)
    monkeypatch.setattr(Team, "gather", lambda self, item, at_once: [(0, True), item])
    assert run._ask_all([15], False) == (15, True)


class ScriptedStore:
    """A store in which a member comes after so many rounds; until then it beats or is silent."""

    def __init__(self, num_rounds, *, beats):
        self.rounds_left, self.beats = num_rounds, beats
        self.num_waits = 0

    def set(self, *_):
        """Be told that this member waits."""

    def delete_key(self, *_):
        """Forget that it did."""

    def add(self, key, number):
        """Tell how often a member has beaten."""
        return self.num_waits if self.beats or key == "beats of 0" else 7

    def wait(self, *_):
        """Let a round pass."""
        self.num_waits += 1
        if self.num_waits <= self.rounds_left:
            raise dist.DistStoreError


def pulse_of(monkeypatch, store):
    """Return the pulse of one of two members, which writes no beats of its own."""
    monkeypatch.setattr(Pulse, "_open_store", lambda self: store)
    monkeypatch.setattr(Pulse, "_beat", lambda self, store: None)
    return Pulse(0, 2)


PATIENT_ROUNDS = int(mpar.system.team.PATIENCE_SECONDS / (2 * mpar.system.team._BEAT_SECONDS))


def test_a_busy_member_is_waited_for(monkeypatch):
    """Far longer than one that gives no sign of life."""
    store = ScriptedStore(5 * PATIENT_ROUNDS, beats=True)
    pulse_of(monkeypatch, store).wait_for_all()
    assert store.num_waits == 5 * PATIENT_ROUNDS + 1


def test_a_silent_member_is_named(monkeypatch):
    """The others stop waiting for it after ten minutes, not before, and say what to do."""
    store = ScriptedStore(5 * PATIENT_ROUNDS, beats=False)
    message = r"process 1 of 2 gave no sign of life for 10 minutes: .*--resume\)"
    with pytest.raises(TeamError, match=message):
        pulse_of(monkeypatch, store).wait_for_all()
    assert store.num_waits == PATIENT_ROUNDS + 1
    pulse_of(monkeypatch, ScriptedStore(PATIENT_ROUNDS, beats=False)).wait_for_all()


def test_members_beat_and_meet(monkeypatch):
    """Two pulses over a store of torch count up by themselves and wait for each other."""
    store = dist.HashStore()
    monkeypatch.setattr(mpar.system.team, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(Pulse, "_open_store", lambda self: store)
    pulses = [Pulse(rank, 2) for rank in range(2)]
    for _ in range(3):
        threads = [threading.Thread(target=pulse.wait_for_all) for pulse in pulses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    deadline = time.monotonic() + 60
    while min(store.add(f"beats of {rank}", 0) for rank in (0, 1)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for pulse in pulses:
        pulse.stop()


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (RuntimeError("[/x/gloo/transport/tcp/pair.cc:534] Connection closed by peer"), True),
        (dist.DistNetworkError("The server socket has failed"), True),
        (RuntimeError("something else"), False),
    ],
)
def test_what_a_lost_member_does_to_the_others_is_one_message(monkeypatch, error, is_told):
    """Errors of the connection are told as such; all others stay what they are."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(Pulse, "_open_store", lambda self: dist.HashStore())
    monkeypatch.setattr(dist, "init_process_group", lambda *arguments, **options: None)
    expected = TeamError if is_told else type(error)
    message = "another process of the 2 died" if is_told else "else"
    with pytest.raises(expected, match=message), joined_team():
        raise error
