"""Decoding to grey frames, against PyAV alone, ffmpeg, OpenCV, torchcodec and decord."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tests.benchmarks.inputs import NUM_FRAMES, make_video
from tests.benchmarks.race import OURS, Row, race
from tests.fixtures.helpers import read_frames

SIZES = ((480, 640), (1024, 1280))
Size = tuple[int, int] | None
Reader = Callable[[Path, Size, int], Iterator[Any]]


def run(folder: Path) -> list[Row]:
    """Race at two sizes, native and resized, one video at a time and two."""
    rows: list[Row] = []
    for height, width in SIZES:
        path = make_video(folder / f"{width}x{height}.mp4", height, width)
        for size in (None, (128, 128)):
            readers = _readers(size)
            _check_equal(path, size, readers)
            targets = {"PyAV, decoding alone": 0.85, "ffmpeg": 1.5, "cv2": 1.3}
            if size is not None:
                targets["ffmpeg"] = 1.3
            for num_videos in (1, 2):
                case = f"decode {width}x{height}" + (" -> 128x128" if size else "")
                rows += race(
                    f"{case}, {num_videos} at a time",
                    {
                        name: partial(_consume, reader, path, size, num_videos)
                        for name, reader in readers.items()
                    },
                    work=NUM_FRAMES * num_videos,
                    unit="frames/s",
                    targets=targets,
                    rounds=3,
                )
    return rows


def _readers(size: Size) -> dict[str, Reader]:
    readers: dict[str, Reader] = {
        OURS: lambda path, size, threads: read_frames(path, size=size, threads=threads),
        "PyAV, decoding alone": _decode_only,
        "PyAV, decoding alone, one thread": _decode_in_one_thread,
        "cv2": _read_cv2,
    }
    if shutil.which("ffmpeg"):
        readers["ffmpeg"] = _read_ffmpeg
    if importlib.util.find_spec("torchcodec"):
        readers["torchcodec"] = _read_torchcodec
    if importlib.util.find_spec("decord"):
        readers["decord"] = _read_decord
    return readers


def _consume(reader: Reader, path: Path, size: Size, num_videos: int) -> None:
    """Read a video so many times side by side; several get one decoder thread each."""
    threads = 0 if num_videos == 1 else 1

    def read_one(_: int) -> int:
        return sum(1 for _ in reader(path, size, threads))

    with ThreadPoolExecutor(num_videos) as pool:
        assert set(pool.map(read_one, range(num_videos))) == {NUM_FRAMES}


def _check_equal(path: Path, size: Size, readers: dict[str, Reader]) -> None:
    ours = next(readers[OURS](path, size, 1)).astype(int)
    for name, reader in readers.items():
        if reader not in (_decode_only, _decode_in_one_thread):
            difference = np.abs(next(reader(path, size, 1)).astype(int) - ours)
            assert difference.mean() < 3, f"{name} reads other pixels: {difference.mean()}"


def _decode_only(path: Path, size: Size, threads: int) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        yield from container.decode(stream)


def _decode_in_one_thread(path: Path, size: Size, threads: int) -> Iterator[av.VideoFrame]:
    """Decode as mpar does, whose frames must not depend on the number of cores."""
    return _decode_only(path, size, 1)


def _read_ffmpeg(path: Path, size: Size, threads: int) -> Iterator[np.ndarray]:
    command = ["ffmpeg", "-v", "error", "-threads", str(threads), "-i", str(path)]
    if size is not None:
        command += ["-vf", f"scale={size[1]}:{size[0]}:flags=area"]
    command += ["-pix_fmt", "gray", "-f", "rawvideo", "-"]
    if size is None:
        with av.open(str(path)) as container:
            size = container.streams.video[0].height, container.streams.video[0].width
    buffer = np.empty(size, np.uint8)
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=1 << 20) as process:
        assert process.stdout is not None
        try:
            while process.stdout.readinto(buffer.reshape(-1)):  # type: ignore[attr-defined]
                yield buffer
        finally:
            process.kill()


def _read_cv2(path: Path, size: Size, threads: int) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    while True:
        is_read, frame = capture.read()
        if not is_read:
            return
        yield _shrink(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), size)


def _read_torchcodec(path: Path, size: Size, threads: int) -> Iterator[np.ndarray]:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(
        str(path),
        dimension_order="NHWC",
        num_ffmpeg_threads=threads,
        seek_mode="approximate",
    )
    for i in range(len(decoder)):
        frame = decoder.get_frame_at(i).data
        yield _shrink(cv2.cvtColor(frame.numpy(), cv2.COLOR_RGB2GRAY), size)


def _read_decord(path: Path, size: Size, threads: int) -> Iterator[np.ndarray]:
    from decord import VideoReader

    reader = VideoReader(str(path), num_threads=threads)
    for i in range(len(reader)):
        yield _shrink(cv2.cvtColor(reader[i].asnumpy(), cv2.COLOR_RGB2GRAY), size)


def _shrink(frame: np.ndarray, size: Size) -> np.ndarray:
    if size is None:
        return frame
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)
