"""What several test files make, run and compare."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
from fractions import Fraction
from html.parser import HTMLParser

import av
import numpy as np
import torch
from click.testing import CliRunner

from mpar.cache.layout import RecordingInfo, hash_chunks
from mpar.cache.store import Store
from mpar.cache.writer import NewRecording, write_store
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.labels.scorings import Recording
from mpar.learning.learner import Learner
from mpar.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mpar.network.config import ModelConfig
from mpar.network.model import ClipNet
from mpar.video.timeline import TimeLine
from mpar.video.videos import Decoding
from tests.sample.synthetic import draw_frame_numbers


def run(command, *arguments):
    """Run a command in this process; an exception that is not an exit is a failure."""
    module = importlib.import_module(f"mpar_cli.{command}")
    result = CliRunner().invoke(module.main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result


def recording_of(labels=None, name="m1", fps=30, line=None, probabilities=None, **more):
    """Return a recording with labels, by default the most probable classes."""
    if labels is None:
        labels = probabilities.argmax(axis=1)
    if probabilities is not None:
        more["probabilities"] = probabilities
    labels = np.asarray(labels, np.int8)
    line = line or TimeLine(len(labels), Fraction(fps))
    return Recording(**{"name": name, "video": f"{name}.mp4", **more}, line=line, labels=labels)


def make_checkpoint(path, *, clip_length=16, frame_size=(32, 32), class_map=DEFAULT_CLASS_MAP):
    """Save an untrained network; its outputs differ for every clip, which is all it takes."""
    config = ModelConfig(
        model_type="light", clip_length=clip_length, num_classes=len(class_map.class_names)
    )
    torch.manual_seed(1)
    net = ClipNet(config)
    for block in net.blocks:  # so that clips are far apart
        block.norm.running_var.fill_(0.1)
    checkpoint = Checkpoint(
        model_config=config,
        weights=net.state_dict(),
        class_map=class_map,
        data={
            "frame_size": list(frame_size),
            "config": {},
            "fingerprint": "",
            "path": "",
            "look": {"brightness": [0, 255], "contrast": [0, 128], "fps": [1, 100]},
        },
        split={"train": [], "val": [], "test": []},
        training={},
        scores={"epoch": 1},
    )
    save_checkpoint(path, checkpoint)
    return path


INFO = RecordingInfo(
    name="",
    video="v.mp4",
    group="g",
    fps=Fraction(30),
    start_frame=0,
    num_frames=0,
    video_num_frames=0,
    size_bytes=1,
    sha256="0" * 64,
    annotators=("a",),
    warnings=(),
)


CLIP_LENGTHS = tuple(range(8, 33, 2))


def make_net(seed=0, **options):
    """Make a network in evaluation mode whose outputs differ from clip to clip.

    Batch norm does something, and weights are large enough for signals to reach the end.
    """
    torch.manual_seed(seed)
    net = ClipNet(ModelConfig(**options)).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(module.weight, 1, 0.5)  # some below 0
            torch.nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, (torch.nn.Conv3d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return net


def weights_of(path):
    """Return the weights of a checkpoint."""
    return load_checkpoint(path).weights


def assert_equal_weights(first, second):
    """Compare two networks to the bit."""
    for key, value in weights_of(first).items():
        assert torch.equal(value, weights_of(second)[key]), key


def interrupt_after(monkeypatch, num_steps, signum=signal.SIGINT):
    """Send this process a signal after so many training steps."""
    take_step = Learner.take_step
    taken = [0]

    def counting(self, samples, **place):
        value = take_step(self, samples, **place)
        taken[0] += 1
        if taken[0] == num_steps:
            os.kill(os.getpid(), signum)
        return value

    monkeypatch.setattr(Learner, "take_step", counting)


def make_store(path, recordings, *, first=0, content=0, **config):
    """Write a cache of (group, labels) or (group, labels, frames); else with 16x16 frames.

    Recordings are named r0, r1, ... from `first` on; `content` makes their videos other ones.
    """
    new = []
    for number, (group, labels, *film) in enumerate(recordings, start=first):
        frames = film[0] if film else np.full((len(labels), 16, 16), number, np.uint8)
        info = RecordingInfo(
            name=f"r{number}",
            video=f"r{number}.mp4",
            group=group,
            fps=Fraction(30),
            start_frame=0,
            num_frames=len(labels),
            video_num_frames=len(labels),
            size_bytes=1,
            sha256=f"{number + content:064x}",
            annotators=("a",),
            warnings=(),
        )
        labels = np.asarray(labels, np.int8)
        new.append(
            NewRecording(
                info=info,
                frames=frames,
                labels=labels,
                codes=labels[None].astype(np.int16),
                chunk_hashes=hash_chunks(frames),
            )
        )
    write_store(path, new, class_map=DEFAULT_CLASS_MAP, config={"size": None, **config})
    return Store(path)


def put_prediction(
    folder, name, labels, fps=Fraction(30), video=None, class_map=DEFAULT_CLASS_MAP, **more
):
    """Write labels as mpar-predict does."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = (*class_map.class_names, "")
    rows = "".join(f"{i},{texts[k]}\n" for i, k in enumerate(np.asarray(labels).tolist()))
    (folder / f"{name}_predictions.csv").write_text("Frame,Action\n" + rows)
    sidecar = {
        "video": video or f"{name}.mp4",
        "num_frames": len(labels),
        "fps": str(fps),
        "stride": 1,
        "class_map": class_map.to_dict(),
        **more,
    }
    (folder / f"{name}_predictions.json").write_text(json.dumps(sidecar))


def write_two_streams(path, sizes, default):
    """Write videos of (height, width) side by side into one file, with one default stream."""
    with av.open(str(path), "w") as container:
        streams = []
        for number, (height, width) in enumerate(sizes):
            stream = container.add_stream("ffv1", rate=30)
            stream.height, stream.width, stream.pix_fmt = height, width, "gray"
            stream.disposition = av.stream.Disposition(int(number == default))
            streams.append(stream)
        for i in range(6):
            for number, (stream, size) in enumerate(zip(streams, sizes, strict=True)):
                grey = draw_frame_numbers(20 * number + 7, *size)[20 * number + i]
                frame = av.VideoFrame.from_ndarray(grey, format="gray")
                frame.pts, frame.time_base = i, Fraction(1, 30)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    return path


def drop_timing(data):
    """Take the timing out of a bare H.264 stream. Source: ITU-T H.264, annex E."""
    start = data.index(b"\0\0\0\1\x67") + 4
    stop = data.index(b"\0\0\0\1", start)
    unit = data[start:stop]
    raw = unit.replace(b"\0\0\3", b"\0\0")  # without the bytes that keep start codes apart
    bits = "".join(f"{byte:08b}" for byte in raw)
    # num_units_in_tick and time_scale, behind timing_info_present_flag
    timing = "1" + f"{1:032b}" + f"{60:032b}"
    place = bits.index(timing)
    bits = bits[:place] + "0" + bits[place + len(timing) + 1 :]  # and without fixed_frame_rate
    bits = bits.rstrip("0")[:-1] + "1"
    bits += "0" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return data[:start] + packed.replace(b"\0\0", b"\0\0\3") + data[stop:]


VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Every element of a page with its attributes and text, and whether they are balanced."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.tables = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):  # noqa: D102
        self.elements.append([tag, dict(attributes), ""])
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append((tag, len(self.elements) - 1))

    def handle_endtag(self, tag):  # noqa: D102
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}>"
        self.open.pop()

    def handle_data(self, data):  # noqa: D102
        for _, i in self.open:
            self.elements[i][2] += data
        if {"td", "th"} & {tag for tag, _ in self.open}:
            self.tables[-1][-1][-1] += data

    def texts(self, tag):
        """Return the text in each element of a kind."""
        return [text for name, _, text in self.elements if name == tag]

    @property
    def data(self):
        """What the script is given."""
        (text,) = (text for tag, a, text in self.elements if tag == "script" and a.get("id"))
        return json.loads(text)


def read_frames(path, *, warnings=None, **options):
    """Yield the frames of a video; `warnings` gets a line for each oddity at the end."""
    decoding = Decoding(path, **options)
    yield from decoding
    if warnings is not None:
        warnings += decoding.warnings


def find_browser():
    """Return a browser that starts; Ubuntu's package is a stub where there are no snaps."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        path = shutil.which(name)
        if path and not subprocess.run([path, "--version"], capture_output=True).returncode:
            return path
    return None
