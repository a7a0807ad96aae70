"""Dense evaluation against clip by clip, and ``mpar-predict`` against its parts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mpar.cache.clips import clip_frames
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.network.checkpoint import Checkpoint, save_checkpoint
from mpar.network.config import MODEL_TYPES, ModelConfig
from mpar.network.dense import DensePredictor, FoldedNet
from mpar.network.devices import native_precisions
from mpar.network.model import ClipNet
from tests.benchmarks.inputs import NUM_FRAMES, draw, make_folders
from tests.benchmarks.matrix import (
    count_operations,
    describe_peak,
    forget_peak,
    rate_of,
    seconds_of,
)
from tests.benchmarks.race import OURS, Row, own_memory_mib, race
from tests.fixtures.helpers import read_frames

BATCH_SIZE = 32
MODELS, SIDES = MODEL_TYPES, (64, 112)
NUM_CLIP_FRAMES, NUM_VIDEOS, VIDEO_SIZE = 2000, 24, (480, 640)
LENGTHS = (1_000, 10_000, 30_000)


def run(folder: Path) -> list[Row]:
    """Race the networks at two sizes, then the whole command, then ever longer recordings."""
    rows: list[Row] = []
    for model_type in MODELS:
        for side in SIDES:
            rows += _race_clips(model_type, side)
    cpu = torch.device("cpu")
    rates = {name: rate_of(name, cpu) for name in native_precisions(cpu)}
    for model_type in MODELS:
        for side in SIDES:
            rows += measure_precisions(model_type, side, cpu, rates, NUM_CLIP_FRAMES)
    make_folders(folder, NUM_VIDEOS, *VIDEO_SIZE)
    for side in SIDES:
        rows += _race_predict(folder, side)
    return rows + _lengthen()


def make_net(model_type: str) -> ClipNet:
    """Return a network with the statistics and the sureness of a trained one."""
    torch.manual_seed(0)
    net = ClipNet(ModelConfig(model_type=model_type)).eval()
    blocks: Any = net.blocks
    for block in blocks:  # statistics as after training, so that folding matters
        block.norm.running_mean.normal_(0, 0.1)
        block.norm.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        cast(torch.nn.Linear, net.head[-1]).weight.mul_(
            30
        )  # and probabilities are anything but equal
    return net


def _fold(net: ClipNet) -> ClipNet:
    """Put batch norm into the convolutions and data channels last: the best form of clips."""
    blocks: Any = net.blocks
    for block in blocks:
        last = "conv" if getattr(block, "taps", None) is None else "taps"
        setattr(block, last, fuse_conv_bn_eval(getattr(block, last), block.norm))
        block.norm = torch.nn.Identity()
    return net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def _race_clips(model_type: str, side: int) -> list[Row]:
    num_frames = NUM_CLIP_FRAMES
    frames = np.concatenate([draw(side, side)[0]] * 6)[:num_frames]
    net = make_net(model_type)
    folded = _fold(make_net(model_type))
    predictor = DensePredictor(net)
    chosen = np.arange(0, num_frames, num_frames // (2 * BATCH_SIZE))[: 2 * BATCH_SIZE]

    @torch.inference_mode()
    def clip_by_clip(net: ClipNet, layout: torch.memory_format) -> np.ndarray:
        outputs = []
        for batch in np.split(chosen, 2):
            clips = np.stack(
                [frames[clip_frames(t, clip_length=16, num_frames=num_frames)] for t in batch]
            )
            x = torch.from_numpy(clips).unsqueeze(1).float().div_(255)
            outputs.append(torch.softmax(net(x.contiguous(memory_format=layout)), dim=1).numpy())
        return np.concatenate(outputs)

    whole = predictor.predict(frames)
    difference = np.abs(clip_by_clip(net, torch.contiguous_format) - whole[chosen]).max()
    case = f"{model_type} {side}x{side}, difference {difference:.0e}"
    assert difference < 1e-5, case
    return race(
        case,
        {
            OURS: lambda: predictor.predict(frames),
            "clips of 32": lambda: clip_by_clip(net, torch.contiguous_format),
            "clips of 32, folded, channels last": lambda: clip_by_clip(
                folded, torch.channels_last_3d
            ),
        },
        work={
            OURS: num_frames,
            "clips of 32": len(chosen),
            "clips of 32, folded, channels last": len(chosen),
        },
        unit="frames/s",
        targets={"clips of 32": 8, "clips of 32, folded, channels last": 4.5},
        rounds=5,
    )


def measure_precisions(
    model_type: str, side: int, device: torch.device, rates: dict[str, float], num_frames: int
) -> Iterator[Row]:
    """Yield the frames a second of dense prediction in each precision, and what it changes.

    `rates` has the operations a second of a large product of matrices in each precision.
    """
    frames = np.concatenate([draw(side, side)[0]] * (num_frames // NUM_FRAMES + 1))
    frames = frames[:num_frames]
    net = make_net(model_type)
    few = frames[:200]
    exact = DensePredictor(net).predict(few)
    stretch = torch.from_numpy(few[:79])
    operations = count_operations(lambda: FoldedNet(net)(stretch)) / 64
    for name in native_precisions(device):
        predictor = DensePredictor(make_net(model_type).to(device), name)
        found = predictor.predict(few)
        difference = np.abs(found - exact).max()
        changed = (found.argmax(axis=1) != exact.argmax(axis=1)).mean()
        forget_peak(device)
        seconds = seconds_of(lambda p=predictor: p.predict(frames), device, 3)  # type: ignore[misc]
        rate = num_frames / seconds
        share = rate * operations / rates[name]
        case = (
            f"predict, {model_type} {side}x{side}, {name}: {share:.0%} of the matrix rate, "
            f"probabilities differ by {difference:.0e} from those of the CPU, labels in "
            f"{changed:.1%}{describe_peak(device)}"
        )
        row = Row(case, OURS, rate, "frames/s")
        click.echo(row)
        yield row
        assert name != "fp32" or difference < 1e-3, case


def save_net(path: Path, net: ClipNet, side: int) -> Path:
    """Save a network as if it had learnt from frames of side x side px."""
    checkpoint = Checkpoint(
        model_config=net.config,
        weights=net.state_dict(),
        class_map=DEFAULT_CLASS_MAP,
        data={
            "frame_size": [side, side],
            "config": {"size": [side, side]},
            "look": {"brightness": [0, 255], "contrast": [0, 128], "fps": [30, 30]},
        },
        split={part: [] for part in ("train", "val", "test")},
        training={},
        scores={},
        state={},
    )
    save_checkpoint(path, checkpoint)
    return path


def _race_predict(folder: Path, side: int) -> list[Row]:
    """Race ``mpar-predict`` against the network alone and decoding alone."""
    videos = sorted((folder / "Videos").iterdir())
    net = make_net("standard")
    checkpoint = save_net(folder / "net.pt", net, side)
    predictor = DensePredictor(net)
    decoded = np.stack(list(read_frames(videos[0], size=(side, side))))

    def predict() -> None:
        command = [sys.executable, "-m", "mpar_cli.predict", checkpoint, folder / "Videos"]
        options = ["-o", folder / "out", "--overwrite", "--quiet"]
        subprocess.run([*map(str, command + options)], check=True, capture_output=True)

    def decode(path: Path) -> None:
        for _ in read_frames(path, size=(side, side), threads=1):
            pass

    def decode_all() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(decode, videos))

    return race(
        f"predict {NUM_VIDEOS} videos, standard {side}x{side}",
        {
            OURS: predict,
            "network alone": lambda: [predictor.predict(decoded) for _ in videos],
            "decoding alone": decode_all,
        },
        work=NUM_VIDEOS * NUM_FRAMES,
        unit="frames/s",
        targets={"network alone": 0.9},
        rounds=2,
        warm_up=False,
    )


def _lengthen() -> list[Row]:
    """Predict ever longer recordings; say how much memory that takes on top."""
    rows = []
    net = make_net("light")
    frame = draw(64, 64, 1)[0][0]
    for num_frames in LENGTHS:
        predictor, before = DensePredictor(net), own_memory_mib()
        most = before

        def watch(_: int) -> None:
            nonlocal most
            most = max(most, own_memory_mib())

        started = time.perf_counter()
        predictor.predict((frame for _ in range(num_frames)), watch)
        rate = num_frames / (time.perf_counter() - started)
        rows.append(
            Row(
                f"light 64x64, {num_frames:,} frames: +{most - before:.0f} MiB",
                OURS,
                rate,
                "frames/s",
            )
        )
        click.echo(rows[-1])
    return rows
