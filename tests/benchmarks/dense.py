"""Dense evaluation against clip by clip, and ``mpar-predict`` against its parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mpar.clips import clip_frames
from mpar.dense import DensePredictor
from mpar.model import ClipNet, ModelConfig
from tests.benchmarks.inputs import draw
from tests.benchmarks.race import OURS, Row, race

BATCH_SIZE = 32
NUM_VIDEOS = 24


def run(folder: Path) -> list[Row]:
    """Race the networks at two sizes, then the whole command, then ever longer recordings."""
    rows: list[Row] = []
    for model_type in ("standard", "light"):
        for side in (64, 112):
            rows += _race_clips(model_type, side)
    for side in (64, 112):
        rows += _race_predict(folder / f"predict{side}", side)
    return rows + _lengthen()


def _make_net(model_type: str) -> ClipNet:
    torch.manual_seed(0)
    net = ClipNet(ModelConfig(model_type=model_type)).eval()
    for block in net.blocks:  # statistics as after training, so that folding matters
        block.norm.running_mean.normal_(0, 0.1)
        block.norm.running_var.uniform_(0.5, 1.5)
    return net


def _race_clips(model_type: str, side: int) -> list[Row]:
    num_frames = 2000
    frames = np.concatenate([draw(side, side)[0]] * 6)[:num_frames]
    net = _make_net(model_type)
    last = _make_net(model_type).to(memory_format=torch.channels_last_3d)
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
    # work differs (all frames, 64 clips): compare the time of one frame
    per_frame = 2 * BATCH_SIZE / num_frames
    rows = race(
        case,
        {
            OURS: lambda: predictor.predict(frames),
            "clips of 32": lambda: clip_by_clip(net, torch.contiguous_format),
            "clips of 32, channels last": lambda: clip_by_clip(last, torch.channels_last_3d),
        },
        work=num_frames,
        unit="frames/s",
        rounds=3,
    )
    return rows
