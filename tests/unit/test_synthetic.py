"""Drawn recordings are labelled as asked, and their files hold what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.fixtures.cartoon import (
    CALM_LENGTHS,
    FLINCH,
    GUARD,
    LICK,
    MIN_GAP,
    PAIN_LENGTHS,
    REST,
    SHAKE,
    WALK,
    WITHDRAW,
    Bout,
    draw_animal,
    draw_frames,
    make_motion,
    walk_path,
    write_script,
)
from tests.fixtures.synthetic import (
    draw_frame_numbers,
    draw_recording,
    read_frame_number,
    write_annotation,
    write_sample,
    write_video,
)

Frames = npt.NDArray[np.uint8]


def read_lumas(path: Path) -> Frames:
    """Luma planes as they lie in the file, with no range conversion."""
    lumas = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            lumas.append(rows[: frame.height, : frame.width].copy())
    return np.stack(lumas)


def to_grey(lumas: Frames) -> npt.NDArray[np.float64]:
    """Undo the limited range."""
    return np.clip(np.rint((lumas - 16.0) * 255 / 219), 0, 255)


def find_bouts(codes: npt.NDArray[np.int16]) -> list[Bout]:
    """Cut codes into runs of one code."""
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    return [Bout(start=a, stop=b, code=int(codes[a])) for a, b in pairwise(edges)]


def write_scripts(num_scripts: int, fraction: float = 0.06, fps: float = 30) -> list[list[Bout]]:
    """Scripts of 360 frames, each with its own order of pain events."""
    rngs = [np.random.default_rng(seed) for seed in range(num_scripts)]
    return [
        write_script(rng, 360, fraction, rng.permutation(list(PAIN_LENGTHS)).tolist(), fps)
        for rng in rngs
    ]


def test_recording_has_the_promised_arrays() -> None:
    """Shapes and types hold, also away from the square default."""
    frames, codes = draw_recording(seed=1, num_frames=40, height=96, width=130)
    assert (frames.shape, frames.dtype) == ((40, 96, 130), np.uint8)
    assert (codes.shape, codes.dtype) == ((40,), np.int16)


def test_seed_defines_the_recording() -> None:
    """The same seed gives the same pixels and codes, another seed others."""
    first, again = (draw_recording(seed=5, num_frames=60) for _ in range(2))
    other = draw_recording(seed=6, num_frames=60)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_animal_seed_keeps_the_animal() -> None:
    """Recordings of one animal share the glass, those of several do not."""

    def glass(seed: int, animal_seed: int) -> float:
        frames, _ = draw_recording(seed=seed, animal_seed=animal_seed, num_frames=1)
        return float(np.median(frames))

    assert abs(glass(1, animal_seed=3) - glass(2, animal_seed=3)) < 8
    assert np.ptp([glass(1, animal_seed=a) for a in range(6)]) > 20


def test_every_code_occurs_in_a_sample() -> None:
    """Sixteen recordings show each code, 0 to 7, in at least three of them."""
    shown = [{bout.code for bout in script} for script in write_scripts(16)]
    for code in range(8):
        assert sum(code in codes for codes in shown) >= 3, code


@pytest.mark.parametrize(
    ("fps", "pace"), [(30, 1), (60, 2), (15, 0.5)], ids=["30 FPS", "60 FPS", "15 FPS"]
)
def test_bouts_keep_their_lengths(fps: float, pace: float) -> None:
    """Pain events are short, calm bouts are not slivers, and both scale with the frame rate."""
    for bout in (bout for script in write_scripts(40, fps=fps) for bout in script):
        num_frames = bout.stop - bout.start
        if bout.code in PAIN_LENGTHS:
            low, high = PAIN_LENGTHS[bout.code]
            assert round(low * pace) <= num_frames <= round(high * pace)
        else:
            assert num_frames >= int(min(MIN_GAP, CALM_LENGTHS[bout.code][0]) * pace)


def test_script_is_whole() -> None:
    """Bouts follow each other without gap or overlap, and pain events never touch."""
    for script in write_scripts(40, fraction=0.3):
        assert script[0].start == 0
        assert script[-1].stop == 360
        for bout, following in pairwise(script):
            assert bout.stop == following.start
            assert not (bout.code in PAIN_LENGTHS and following.code in PAIN_LENGTHS)


@pytest.mark.parametrize("fraction", [0.0, 0.06, 0.2])
def test_pain_fraction_holds_on_average(fraction: float) -> None:
    """The share of pain frames is what was asked for, neither rarer nor more frequent."""
    scripts = write_scripts(150, fraction=fraction)
    pain = sum(b.stop - b.start for script in scripts for b in script if b.code in PAIN_LENGTHS)
    assert pain / (360 * len(scripts)) == pytest.approx(fraction, rel=0.1)


def test_recording_at_default_has_two_or_three_events() -> None:
    """Twelve seconds hold a few events, so that small samples are of use."""
    counts = [sum(bout.code in PAIN_LENGTHS for bout in script) for script in write_scripts(40)]
    assert set(counts) == {2, 3}


@pytest.mark.parametrize("num_frames", [1, 2, 7, 16])
def test_very_short_recordings_are_drawn(num_frames: int) -> None:
    """A recording shorter than any bout is still whole."""
    frames, codes = draw_recording(seed=2, num_frames=num_frames, pain_fraction=0.5)
    assert len(frames) == len(codes) == num_frames


@pytest.mark.slow
def test_walk_moves_and_rest_does_not() -> None:
    """Labels agree with what is drawn: frames differ far more in walking than at rest."""
    change: dict[int, list[float]] = {REST: [], WALK: []}
    for seed in range(4):
        frames, codes = draw_recording(seed=seed, num_frames=240, pain_fraction=0)
        for bout in find_bouts(codes):
            if bout.code in change:
                inner = frames[bout.start + 2 : bout.stop - 2].astype(np.float32)
                smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in inner])
                change[bout.code].append(float(abs(smooth[3:] - smooth[:-3]).mean()))
    assert min(change[WALK]) > 1.5 * max(change[REST])


def draw_event(code: int, seed: int) -> Frames:
    """Thirty frames of a mouse at rest, but for one event in frames 10-17."""
    rng, fps = np.random.default_rng(seed), 30.0
    animal = draw_animal(np.random.default_rng(0))
    bounds = [(0, 10, REST), (10, 18, code), (18, 30, REST)]
    script = [Bout(start=start, stop=stop, code=kind) for start, stop, kind in bounds]
    motion = make_motion(rng, script, animal, fps)
    motion |= walk_path(rng, motion, 1.0, fps)
    return draw_frames(rng, motion, animal, 128, 128, fps)


@pytest.mark.parametrize("code", [WITHDRAW, GUARD, FLINCH], ids=["withdraw", "guard", "flinch"])
@pytest.mark.parametrize("seed", range(3))
def test_withdrawn_paw_leaves_the_glass(code: int, seed: int) -> None:
    """One bright paw is gone in the middle of the event, and on the glass before and after."""
    frames = draw_event(code, seed)
    bright = (frames > np.percentile(frames, 99)).sum((1, 2))
    assert bright[13:15].max() < 0.85 * min(bright[:8].min(), bright[20:].min())


@pytest.mark.parametrize("code", [LICK, SHAKE], ids=["lick", "shake"])
@pytest.mark.parametrize("seed", range(3))
def test_lick_and_shake_keep_moving(code: int, seed: int) -> None:
    """Licking and shaking change the picture all along, not only at their edges."""
    smooth = [cv2.GaussianBlur(frame, (0, 0), 1).astype(float) for frame in draw_event(code, seed)]
    change = abs(np.diff(smooth, axis=0)).max((1, 2))
    assert np.median(change[11:16]) > 2 * change[:8].max()


@pytest.mark.parametrize(
    "options",
    [
        {"num_frames": 0},
        {"height": 16},
        {"fps": 0},
        {"pain_fraction": 0.6},
        {"pain_codes": [0]},
        {"pain_codes": []},
    ],
    ids=str,
)
def test_recording_refuses_senseless_values(options: dict[str, object]) -> None:
    """Values out of range are named, not drawn."""
    with pytest.raises(ValueError, match=next(iter(options))):
        draw_recording(**{"seed": 0} | options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (128, 128), (77, 51)], ids=str)
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg", "ffv1"])
def test_frame_numbers_survive_files_and_resizing(
    codec: str, size: tuple[int, int], tmp_path: Path
) -> None:
    """A number reads back after lossy coding, left in its luma range, and after resizing."""
    drawn = draw_frame_numbers(300)[[*range(40), 255, 256, 257, 299]]
    write_video(tmp_path / "numbers.mkv", drawn, codec=codec)
    lumas = read_lumas(tmp_path / "numbers.mkv")
    resized = [cv2.resize(luma, size, interpolation=cv2.INTER_AREA) for luma in lumas]
    assert [read_frame_number(frame) for frame in resized] == [*range(40), 255, 256, 257, 299]


def test_frame_numbers_use_all_sixteen_bits() -> None:
    """The highest number and both chequered ones are told apart."""
    frames = draw_frame_numbers(65536, 32, 32)
    for number in (0, 1, 21845, 32768, 43690, 65535):
        assert read_frame_number(frames[number]) == number


@pytest.mark.parametrize(
    "call",
    [
        lambda: draw_frame_numbers(65537),
        lambda: draw_frame_numbers(-1),
        lambda: draw_frame_numbers(1, height=8),
        lambda: read_frame_number(np.zeros((4, 64), np.uint8)),
        lambda: read_frame_number(np.zeros((64, 64, 3), np.uint8)),
    ],
    ids=["too many", "negative", "too small to draw", "too small to read", "colour"],
)
def test_frame_numbers_refuse(call: Callable[[], object]) -> None:
    """Numbers that would not read back are refused."""
    with pytest.raises(ValueError, match="need"):
        call()


@pytest.mark.slow
def test_h264_decodes_to_what_was_drawn(tmp_path: Path) -> None:
    """Default quality loses only sensor noise, adds no offset and takes little space."""
    frames, _ = draw_recording(seed=3)  # a noisy animal
    path = tmp_path / "mouse.mp4"
    write_video(path, frames)
    error = to_grey(read_lumas(path)) - frames
    assert len(error) == 360
    assert abs(error).mean() < 2.8
    assert np.percentile(abs(error), 99) <= 10
    assert abs(error.mean()) < 0.3
    assert path.stat().st_size < 250_000


def test_h264_keeps_the_range_of_flat_grey(tmp_path: Path) -> None:
    """Black, white and the greys between come back within one level."""
    levels = np.array([0, 1, 16, 100, 128, 235, 254, 255], np.uint8)
    frames = np.broadcast_to(levels[:, None, None], (8, 64, 64))
    write_video(tmp_path / "flat.mp4", frames, options={"crf": "1"})
    assert abs(to_grey(read_lumas(tmp_path / "flat.mp4")) - frames).max() <= 1


def test_ffv1_is_lossless(tmp_path: Path) -> None:
    """Frames of odd size come back bit for bit from the lossless codec."""
    frames, _ = draw_recording(seed=4, num_frames=5, height=33, width=47)
    write_video(tmp_path / "mouse.mkv", frames, codec="ffv1")
    assert np.array_equal(read_lumas(tmp_path / "mouse.mkv"), frames)


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (30, Fraction(30)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (30000 / 1001, Fraction(30000, 1001)),
    ],
    ids=["whole", "fraction", "float"],
)
def test_frame_rate_is_exact(
    fps: int | float | Fraction, expected: Fraction, tmp_path: Path
) -> None:
    """The file has the frame rate asked for, and all frames."""
    write_video(tmp_path / "numbers.mp4", draw_frame_numbers(31), fps=fps)
    with av.open(str(tmp_path / "numbers.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == expected
        assert stream.frames == 31


@pytest.mark.parametrize(
    ("frames", "pix_fmt", "message"),
    [
        (np.zeros((2, 32, 32)), None, "float64"),
        (np.zeros((32, 32), np.uint8), None, r"\(32, 32\)"),
        (np.zeros((2, 32, 32, 3), np.uint8), None, r"\(2, 32, 32, 3\)"),
        (np.zeros((0, 32, 32), np.uint8), None, r"\(0, 32, 32\)"),
        (np.zeros((2, 33, 32), np.uint8), None, "even"),
        (np.zeros((2, 32, 33), np.uint8), None, "even"),
        (np.zeros((2, 32, 32), np.uint8), "rgb24", "rgb24"),
    ],
    ids=["float", "one frame", "colour", "no frames", "odd height", "odd width", "pixel format"],
)
def test_video_refuses(frames: Frames, pix_fmt: str | None, message: str, tmp_path: Path) -> None:
    """Frames that would be written wrongly are refused, and no file is left behind."""
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "bad.mp4", frames, pix_fmt=pix_fmt)
    assert not list(tmp_path.iterdir())


def test_annotation_text(tmp_path: Path) -> None:
    """The CSV is the field's: a header, frames from 0, Unix line ends on every system."""
    write_annotation(tmp_path / "a.csv", np.array([0, 7, 2], np.int16))
    assert (tmp_path / "a.csv").read_bytes() == b"Frame,Action\n0,0\n1,7\n2,2\n"


@pytest.mark.slow
def test_sample_is_paired_and_complete(tmp_path: Path) -> None:
    """Three animals give matching videos and annotations that show all eight codes."""
    videos = write_sample(tmp_path, num_animals=3, seed=1, height=64, width=64)
    assert [path.name for path in videos] == ["mouse_01.mp4", "mouse_02.mp4", "mouse_03.mp4"]
    seen = set()
    for path in videos:
        text = (tmp_path / "Annotations" / f"{path.stem}_annotation.csv").read_text()
        rows = [line.split(",") for line in text.splitlines()[1:]]
        assert [int(frame) for frame, _ in rows] == list(range(len(read_lumas(path))))
        seen |= {int(code) for _, code in rows}
    assert seen == set(range(8))
