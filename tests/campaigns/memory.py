"""An hour of video through every command, and what it takes in memory: campaign 15."""

from __future__ import annotations

import csv
import importlib
import itertools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from tests.campaigns.cases import Plant, Verdict, nothing
from tests.campaigns.forks import UnavailableError

HEIGHT, WIDTH, FPS = 1024, 1280, 30
LENGTHS = 6 * 60 * FPS, 60 * 60 * FPS  # frames
SHORT_LENGTHS = 90, 180  # in 30 frames, those that wait for their turn are not yet as many as ever
SIZE = 32  # px of the network, for the sake of time
MAX_MIB = 1536
# rows of tables, time stamps and probabilities; a frame of the video itself has 1.3 MB
MAX_BYTES_A_FRAME, MAX_NOISE_MIB = 512, 40
NUM_LABELLED = 40  # frames of each recording: an epoch is that short
TRAIN_OPTIONS = "--model light --epochs 1 --window 8 --batch-size 4 --device cpu --quiet".split()


@dataclass(frozen=True, slots=True)
class Memory:
    """What a command took at most, in MiB.

    Parameters
    ----------
    total : float
        Resident memory.
    own, mapped : float
        Of it its own, and pages of files that it mapped, which the system takes back at need.
    """

    total: float
    own: float
    mapped: float

    def __str__(self) -> str:
        return f"{self.total:.0f} MiB ({self.own:.0f} own, {self.mapped:.0f} mapped)"


def write_long_video(
    path: Path, num_frames: int, seed: int = 0, num_different: int = 10 * FPS
) -> Path:
    """Write a video of 1280 x 1024 px: some frames are encoded, and then said again and again."""
    sample = path.with_name(f"sample_{path.name}")
    num_different = min(num_frames, num_different)
    with av.open(str(sample), "w") as container:
        stream = container.add_stream("libx264", FPS)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "40", "bf": "0", "g": str(10 * FPS)}
        rng = np.random.default_rng(seed)
        texture = rng.integers(90, 110, (HEIGHT, WIDTH), dtype=np.uint8)
        for number in range(num_different):
            grey = texture.copy()
            x, y = 3 * number % (WIDTH - 200), 2 * number % (HEIGHT - 200)
            grey[y : y + 200, x : x + 200] = 200
            frame = av.VideoFrame.from_ndarray(grey, "gray").reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(sample)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        packets = [
            (bytes(packet), packet.is_keyframe)
            for packet in source.demux(stream)
            if packet.size and packet.pts is not None
        ]
        assert len(packets) == num_different
        for number, (data, is_keyframe) in zip(
            range(num_frames), itertools.cycle(packets), strict=False
        ):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.duration, packet.time_base = 1, Fraction(1, FPS)
            packet.is_keyframe, packet.stream = is_keyframe, copied
            target.mux(packet)
    sample.unlink()
    return path


def write_study(folder: Path, num_frames: int, is_short: bool) -> Path:
    """Write a long video and, to train, two short ones; some frames at their ends are labelled."""
    lengths = {"long": num_frames} | ({} if is_short else {"val": 80, "test": 80})
    for kind in ("Videos", "Annotations"):
        (folder / kind).mkdir(parents=True)
    with (folder / "split.csv").open("w", newline="") as split:
        rows = csv.writer(split)
        rows.writerow(["Recording", "Part"])
        for number, (name, length) in enumerate(lengths.items()):
            path = folder / "Videos" / f"{name}.mp4"
            write_long_video(path, length, number, FPS if is_short else 10 * FPS)
            labels = np.full(length, -1)
            labels[-NUM_LABELLED:] = np.arange(min(NUM_LABELLED, length)) // 10 % 4
            lines = [f"{frame},{label}\n" for frame, label in enumerate(labels.tolist())]
            text = "Frame,Action\n" + "".join(lines)
            (folder / "Annotations" / f"{name}.csv").write_text(text)
            rows.writerow([name, "train" if name == "long" else name])
    return folder


def run_measured(name: str, *arguments: object, plant: Plant = nothing) -> tuple[str, Memory]:
    """Run a command in a process of its own; return what went wrong, and what memory it took."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_call, args=(plant, name, [str(a) for a in arguments]))
    process.start()
    status = Path(f"/proc/{process.pid}/status")
    most = {"VmHWM": 0, "RssAnon": 0, "RssFile": 0}
    while process.is_alive():
        for line in status.read_text().splitlines() if status.exists() else ():
            key, _, value = line.partition(":")
            if key in most:
                most[key] = max(most[key], int(value.split()[0]))
        time.sleep(0.02)
    bad = f"{name} ended with code {process.exitcode}" if process.exitcode else ""
    return bad, Memory(*(kib / 1024 for kib in most.values()))


def _call(plant: Plant, name: str, arguments: list[str]) -> None:
    plant()
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    importlib.import_module(f"mpar_cli.{name}").main(arguments, prog_name=f"mpar-{name}")


def steps(study: Path, is_short: bool) -> Iterator[tuple[str, str, list[object]]]:
    """Yield what is run on a study: a title, the command and its arguments."""
    cache = study / "cache.h5"
    videos, annotations = study / "Videos", study / "Annotations"
    how = [] if is_short else ["--size", SIZE]
    yield (
        "preprocess it",
        "preprocess",
        [videos, annotations, "-o", cache, *how, "--workers", 1, "--quiet"],
    )
    if is_short:
        return
    runs = study / "runs"
    for access in ("mmap", "pread"):
        yield (
            f"train on its cache ({access})",
            "train",
            [
                *(cache, "-o", runs / access, "--split", study / "split.csv", "--access", access),
                *TRAIN_OPTIONS,
            ],
        )
    network = next((runs / "mmap").glob("*/best*.pt"))
    options = ["--device", "cpu", "--quiet"]
    yield (
        "predict it",
        "predict",
        [network, videos / "long.mp4", "-o", study / "predictions", *options],
    )
    yield "predict its cache", "predict", [network, cache, "-o", study / "of_cache", *options]


def measure_memory(seed: int, size: int, folder: Path, plant: Plant = nothing) -> Iterator[Verdict]:
    """Campaign 15: every command on six minutes and on an hour, 32 x 32 px for the network.

    If `size` is not 0, preprocessing alone, of some seconds and without resizing.
    """
    if sys.platform != "linux":
        raise UnavailableError("needs Linux")
    lengths = SHORT_LENGTHS if size else LENGTHS
    studies = [write_study(folder / str(length), length, bool(size)) for length in lengths]
    took: dict[str, list[Memory]] = {}
    both = zip(*(steps(study, bool(size)) for study in studies), strict=True)
    for pair in both:
        for length, (title, command, arguments) in zip(lengths, pair, strict=True):
            bad, memory = run_measured(command, *arguments, plant=plant)
            took.setdefault(title, []).append(memory)
            growth = memory.total - took[title][0].total
            allowed = MAX_NOISE_MIB + (length - lengths[0]) * MAX_BYTES_A_FRAME / 2**20
            if not bad and memory.total >= MAX_MIB:
                bad = f"took {memory}, expected less than {MAX_MIB}"
            if not bad and growth > allowed:
                bad = f"took {memory}, with {lengths[0]} frames {took[title][0]}"
            case = f"{title}, {length} frames: {memory}"
            tqdm.write(case)
            yield Verdict(case, bad)


def with_whole_videos_in_memory() -> None:
    """Keep all frames of a video before the first one is used."""
    from mpar.cache import staging
    from mpar.video.videos import View

    class Whole(staging.Decoding):
        def views(self) -> Iterator[list[View]]:
            return iter([*super().views()])

    staging.Decoding = Whole  # type: ignore[misc]
