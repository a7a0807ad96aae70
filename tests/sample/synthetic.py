"""Draws labelled bottom-view cartoon mice for tests, benchmarks and the sample in data/.

`draw_recording` draws a mouse and its codes, `draw_frame_numbers` frames that spell their own
number; the rest writes them to files. How the mouse acts and looks is in `tests.sample.cartoon`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from tests.sample.cartoon import (
    PAIN_LENGTHS,
    draw_animal,
    draw_frames,
    make_motion,
    walk_path,
    write_script,
)

MIN_SIDE_PX = 32
NUMBER_SIDE = 4  # a frame number is drawn as 4 x 4 blocks, the most significant bit first

DEFAULT_OPTIONS = {
    "libx264": {"crf": "20", "preset": "slow"},
    "mpeg4": {"qmin": "2", "qmax": "4"},
    "mjpeg": {"qmin": "2", "qmax": "3"},
}

Fps = int | float | Fraction


def draw_recording(
    *,
    seed: int,
    animal_seed: int | None = None,
    num_frames: int = 360,
    height: int = 128,
    width: int = 128,
    pain_fraction: float = 0.06,
    pain_codes: Sequence[int] | None = None,
    fps: Fps = 30,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    """Draw one recording of one animal together with its codes.

    Parameters
    ----------
    seed : int
        Defines the recording, and the animal where `animal_seed` is None.
    animal_seed : int, optional
        Defines the animal and its lighting: give several recordings the same one.
    num_frames : int
        Length T, at least 1.
    height, width : int
        Size of a frame in px, at least 32.
    pain_fraction : float
        Share of frames in pain events, 0-0.5. It holds on average: one recording deviates by
        about one event, and one that has no room for an event has none.
    pain_codes : sequence of int, optional
        Kinds of pain event, dealt out in turn and shuffled in time; by default all five,
        beginning anywhere.
    fps : int, float or Fraction
        Frames per second. Bouts keep their duration in seconds.

    Returns
    -------
    frames : ndarray of uint8, shape (T, H, W)
        Grey levels.
    codes : ndarray of int16, shape (T,)
        Action code of each frame, 0-7.

    Raises
    ------
    ValueError
        A value is out of its range.
    """
    if num_frames < 1 or min(height, width) < MIN_SIDE_PX or fps <= 0:
        raise ValueError(
            f"num_frames={num_frames}, height={height}, width={width}, fps={fps}: "
            f"need at least 1 frame, sides of {MIN_SIDE_PX} px or more and fps above 0"
        )
    if not 0 <= pain_fraction <= 0.5:
        raise ValueError(f"pain_fraction={pain_fraction}: need 0 to 0.5")
    if pain_codes is not None and not (len(pain_codes) and set(pain_codes) <= set(PAIN_LENGTHS)):
        raise ValueError(f"pain_codes={pain_codes}: choose from {sorted(PAIN_LENGTHS)}")
    rng = np.random.default_rng(seed)
    animal = draw_animal(np.random.default_rng([1, seed if animal_seed is None else animal_seed]))
    if pain_codes is None:
        pain_codes = rng.permutation(list(PAIN_LENGTHS)).tolist()
    script = write_script(rng, num_frames, pain_fraction, pain_codes, float(fps))
    motion = make_motion(rng, script, animal, float(fps))
    motion |= walk_path(rng, motion, width / height, float(fps))
    frames = draw_frames(rng, motion, animal, height, width, float(fps))
    codes = np.concatenate([np.full(b.stop - b.start, b.code, np.int16) for b in script])
    return frames, codes


def draw_frame_numbers(num_frames: int, height: int = 64, width: int = 64) -> npt.NDArray[np.uint8]:
    """Draw frames that spell their own number, to prove that reading is frame-exact.

    Parameters
    ----------
    num_frames : int
        Length T, 0-65536.
    height, width : int
        Size of a frame in px, at least 32 for the blocks to survive compression.

    Returns
    -------
    frames : ndarray of uint8, shape (T, H, W)
        Frame number as 4 x 4 blocks, white for 1; the most significant bit at the top left.

    Raises
    ------
    ValueError
        The numbers do not fit 16 bits, or the frames are too small.

    Examples
    --------
    >>> [read_frame_number(frame) for frame in draw_frame_numbers(3)]
    [0, 1, 2]
    """
    num_bits = NUMBER_SIDE**2
    if not 0 <= num_frames <= 2**num_bits or min(height, width) < MIN_SIDE_PX:
        raise ValueError(
            f"num_frames={num_frames}, height={height}, width={width}: need 0 to {2**num_bits} "
            f"frames and sides of {MIN_SIDE_PX} px or more"
        )
    bits = np.arange(num_frames)[:, None] >> np.arange(num_bits)[::-1] & 1
    blocks = (255 * bits).astype(np.uint8).reshape(num_frames, NUMBER_SIDE, NUMBER_SIDE)
    rows = np.arange(height) * NUMBER_SIDE // height
    columns = np.arange(width) * NUMBER_SIDE // width
    return blocks[:, rows[:, None], columns]


def read_frame_number(frame: npt.NDArray[np.number]) -> int:
    """Read the number that `draw_frame_numbers` drew, from the middle of each block.

    Parameters
    ----------
    frame : ndarray, shape (H, W), uint8 or float
        Grey levels 0-255, at any size of 8 px or more.

    Returns
    -------
    int
        Frame number, 0-65535.

    Raises
    ------
    ValueError
        The frame is not two-dimensional or too small.
    """
    if frame.ndim != 2 or min(frame.shape) < 2 * NUMBER_SIDE:
        raise ValueError(f"frame of shape {frame.shape}: need (H, W) of at least 8 x 8")
    number = 0
    for block in np.ndindex(NUMBER_SIDE, NUMBER_SIDE):
        steps = [side / NUMBER_SIDE for side in frame.shape]
        rows, columns = (
            slice(int((i + 0.25) * step), int(np.ceil((i + 0.75) * step)))
            for i, step in zip(block, steps, strict=True)
        )
        number = 2 * number + int(frame[rows, columns].mean() > 127.5)
    return number


def write_video(
    path: Path | str,
    frames: npt.NDArray[np.uint8],
    *,
    fps: Fps = 30,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    pix_fmt: str | None = None,
) -> None:
    """Encode grey frames to the container that the suffix of `path` names.

    Parameters
    ----------
    path : Path or str
        File to write, replaced when it exists: .mp4, .avi, .mkv and so on.
    frames : ndarray of uint8, shape (T, H, W)
        Grey levels, at least one frame.
    fps : int, float or Fraction
        Constant frame rate, frames per second.
    codec : str
        Encoder as FFmpeg names it: libx264, mpeg4, mjpeg, ffv1.
    options : mapping of str to str, optional
        Encoder options; by default small files that still look like what was drawn.
    pix_fmt : {"yuv420p", "yuvj420p", "gray"}, optional
        By default yuvj420p for mjpeg, gray for ffv1, else yuv420p.

    Raises
    ------
    ValueError
        Frames of another type or shape, of odd size with yuv420p, or an unknown `pix_fmt`.

    Notes
    -----
    yuv420p holds ``Y = rint(16 + grey * 219 / 255)``, the limited range of ITU-R BT.601;
    yuvj420p and gray hold the grey levels themselves.
    """
    pix_fmt = pix_fmt or {"mjpeg": "yuvj420p", "ffv1": "gray"}.get(codec, "yuv420p")
    if pix_fmt not in ("yuv420p", "yuvj420p", "gray"):
        raise ValueError(f"pix_fmt={pix_fmt!r}: choose yuv420p, yuvj420p or gray")
    if frames.dtype != np.uint8 or frames.ndim != 3 or not frames.size:
        raise ValueError(
            f"frames of type {frames.dtype} and shape {frames.shape}: "
            "need uint8 (T, H, W), none of them 0"
        )
    _, height, width = frames.shape
    if pix_fmt != "gray" and (height % 2 or width % 2):
        raise ValueError(f"frames of {height} x {width} px: {pix_fmt} needs even sides")
    if options is None:
        options = DEFAULT_OPTIONS.get(codec, {})
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=dict(options))
        if not isinstance(stream, av.VideoStream):
            raise ValueError(f"codec={codec!r} does not encode video")
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.color_range = 1 if pix_fmt == "yuv420p" else 2  # limited or full
        for index, grey in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(_to_planes(grey, pix_fmt), format=pix_fmt)
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _to_planes(grey: npt.NDArray[np.uint8], pix_fmt: str) -> npt.NDArray[np.uint8]:
    """Lay out a grey frame as FFmpeg holds it: the luma, then two neutral chroma planes."""
    if pix_fmt == "gray":
        return np.ascontiguousarray(grey)
    luma = np.rint(16 + grey * (219 / 255)) if pix_fmt == "yuv420p" else grey
    return np.pad(luma.astype(np.uint8), ((0, len(grey) // 2), (0, 0)), constant_values=128)


def write_annotation(path: Path | str, codes: Sequence[int] | npt.NDArray[np.integer]) -> None:
    """Write codes as a CSV of ``Frame,Action``, frames counted from 0.

    Parameters
    ----------
    path : Path or str
        File to write, replaced when it exists.
    codes : sequence of int or ndarray, shape (T,)
        Action code of each frame.
    """
    rows = [f"{frame},{int(code)}" for frame, code in enumerate(codes)]
    Path(path).write_text("\n".join(["Frame,Action", *rows]) + "\n", newline="")


def write_sample(
    folder: Path | str,
    *,
    num_animals: int,
    seed: int,
    num_frames: int = 360,
    height: int = 128,
    width: int = 128,
    pain_fraction: float = 0.06,
    fps: Fps = 30,
) -> list[Path]:
    """Write one recording of each of several animals, with its annotation.

    Kinds of pain event are dealt out over the animals in turn, so that three animals of 360
    frames show all eight codes.

    Parameters
    ----------
    folder : Path or str
        Made when missing; gets ``Videos/mouse_01.mp4`` and
        ``Annotations/mouse_01_annotation.csv`` and so on.
    num_animals : int
        Number of recordings.
    seed : int
        Defines the whole sample.
    num_frames, height, width, pain_fraction, fps
        As in `draw_recording`.

    Returns
    -------
    list of Path
        The videos.
    """
    videos, annotations = Path(folder) / "Videos", Path(folder) / "Annotations"
    videos.mkdir(parents=True, exist_ok=True)
    annotations.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(list(PAIN_LENGTHS))
    paths = []
    for k in range(num_animals):
        frames, codes = draw_recording(
            seed=int(rng.integers(2**32)),
            num_frames=num_frames,
            height=height,
            width=width,
            pain_fraction=pain_fraction,
            pain_codes=np.roll(kinds, -2 * k).tolist(),
            fps=fps,
        )
        paths.append(videos / f"mouse_{k + 1:02}.mp4")
        write_video(paths[-1], frames, fps=fps)
        write_annotation(annotations / f"mouse_{k + 1:02}_annotation.csv", codes)
    return paths
