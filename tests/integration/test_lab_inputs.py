"""What labs bring, through the real command: right labels frame by frame, or a clear refusal."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from mpar.cache.store import Store
from mpar.labels.classes import DEFAULT_CLASS_MAP
from tests.fixtures.helpers import drop_timing, run, write_two_streams
from tests.fixtures.synthetic import draw_frame_numbers, write_video

FRAMES = draw_frame_numbers(120, 64, 64)
COLUMNS = (
    "Observation id,Observation date,Description,Observation duration,Observation type,Source,"
    "Time offset (s),Media duration (s),FPS,Subject,Behavior,Behavioral category,Behavior type,"
    "Time,Media file name,Image index,Image file path,Comment\n"
)


def film(folder: Path, *names: str, num_frames: int = 90, fps: Fraction | int = 30) -> None:
    for i, name in enumerate(names):  # each of other frames, as no video may occur twice
        write_video(folder / "Videos" / name, FRAMES[i : i + num_frames], fps=fps)


def write(folder: Path, name: str, text: str) -> None:
    (folder / "Annotations" / name).write_text(text, encoding="utf-8")


def boris(
    video: str,
    *bouts: tuple[str, float, float],
    fps: str = "30.000",
    seconds: str = "3.000",
    subject: str = "No focal subject",
    early: float = 0.0,
) -> str:
    """Return tabular events: (behaviour, start, stop) in seconds, all but the last stop early."""
    rows = []
    for i, (behaviour, start, stop) in enumerate(bouts):
        end = stop - early * (i + 1 < len(bouts))
        for mark, time in (("START", start), ("STOP", end)):
            rows.append(
                f"o,2026-03-01 10:00:00,,{seconds},Media file(s),player #1:{video},0.0,{seconds},"
                f"{fps},{subject},{behaviour},,{mark},{time:.3f},{video},NA,NA,\n"
            )
    return COLUMNS + "".join(rows)


def by_frame(*names: str, header: str = "Frame,Action") -> str:
    return header + "\n" + "".join(f"{i},{name}\n" for i, name in enumerate(names))


THIRDS = ("rest", 0, 1), ("paw_lick", 1, 2), ("walk", 2, 3)
LAID_THIRDS = "rest 0-29, paw_lick 30-59, walk 60-89"


def stops_before_starts(folder):
    film(folder, "m1.mp4")
    write(folder, "m1.csv", boris("m1.mp4", *THIRDS, early=0.001))


def sound_after_the_picture(folder):
    film(folder, "m1.mp4")
    bouts = ("rest", 0, 2), ("walk", 2, 3.4)
    write(folder, "m1.csv", boris("m1.mp4", *bouts, seconds="3.400"))


def a_file_for_each_subject(folder):
    film(folder, "m1.mp4")
    for subject in "AB":
        text = boris("m1.mp4", ("walk", 0, 2), subject=f"mouse {subject}")
        write(folder, f"m1_mouse{subject}.csv", text)


def a_binary_table_for_each_subject(folder):
    film(folder, "m1.mp4")
    rows = "".join(f"{i / 30:.3f}\t{int(i < 60)}\n" for i in range(90))
    for subject in "AB":
        write(folder, f"m1_mouse {subject}.tsv", "time\twalk\n" + rows)


def decimal_commas(folder):
    film(folder, "m1.mp4")
    text = boris("m1.mp4", ("paw_lick", 0.5, 1.5))
    write(
        folder,
        "m1.csv",
        "\ufeff" + text.replace(",", ";").replace(".000", ",000").replace(".500", ",500"),
    )


def names_in_capitals(folder):
    film(folder, "m1.mp4", "m2.mp4")
    write(folder, "m1.csv", by_frame(*["Rest"] * 30, *["Paw Lick"] * 30, *["walk "] * 30))
    write(folder, "m2.csv", boris("m2.mp4", ("Paw_Lick", 0.5, 1.5), ("walk ", 2, 2.5)))


def names_of_videos_in_capitals(folder):
    film(folder, "Mouse 1.MP4")
    write(folder, "bouts.csv", "Video,Event,Start_frame,End_frame\nmouse 1,walk,0,9\n")


def rates_that_disagree(folder):
    film(folder, "m1.mp4")
    write(folder, "m1.csv", boris("m1.mp4", *THIRDS, fps="25.000", seconds="3.600"))


def rows_at_another_rate(folder):
    film(folder, "m1.mp4")
    write(folder, "m1.csv", by_frame(*["rest"] * 75))


def predictions_of_every_fifth_frame(folder):
    film(folder, "m1.mp4")
    write(folder, "m1.csv", "Frame,Action\n" + "".join(f"{i},rest\n" for i in range(0, 90, 5)))


def one_hot_by_frame(folder):
    film(folder, "m1.mp4")
    names = ["rest"] * 15 + ["paw_lick"] * 30 + ["rest"] * 15 + ["walk"] * 30
    cells = [",".join(str(int(n == k)) for k in ("rest", "paw_lick", "walk")) for n in names]
    write(folder, "m1.csv", by_frame(*cells, header="Frame,rest,paw_lick,walk"))


def one_hot_by_rounded_time(folder):
    film(folder, "m1.mp4")
    rows = "".join(f"{i / 30:.2f},{int(15 <= i < 45)}\n" for i in range(90))
    write(folder, "m1.csv", "Time,paw_lick\n" + rows)


def deepethogram_without_row_numbers(folder):
    film(folder, "m1.mp4")
    rows = ["1,0,0"] * 15 + ["0,1,0"] * 30 + ["1,0,0"] * 15 + ["0,0,1"] * 30
    write(folder, "m1_labels.csv", "background,paw_lick,walk\n" + "\n".join(rows) + "\n")


def deepethogram_without_background(folder):
    film(folder, "m1.mp4")
    rows = ["0,0"] * 15 + ["1,0"] * 30 + ["0,0"] * 15 + ["0,1"] * 30
    lines = [f"{i},{row}" for i, row in enumerate(rows)]
    write(folder, "m1_labels.csv", ",paw_lick,walk\n" + "\n".join(lines) + "\n")


def names_with_dots(folder):
    film(folder, "mouse1.mp4", "mouse1.2.mp4")
    write(folder, "simba.csv", "Video,Event,Start_frame,End_frame\nmouse1.2,paw_lick,10,20\n")


def files_that_are_not_read(folder):
    film(folder, "good.mp4")
    write(folder, "good.csv", by_frame(*["rest"] * 90))
    (folder / "Videos" / "m1.seq").write_bytes(b"x")
    (folder / "Videos" / "m2.mp4.part").write_bytes(b"x")
    (folder / "Annotations" / "m3.ods").write_bytes(b"x")


def a_copy_beside_the_labels(folder):
    film(folder, "m1.mp4")
    write(folder, "m1.csv", by_frame(*["walk"] * 90))
    write(folder, "m1 (1).csv", by_frame(*["rest"] * 45, *["walk"] * 45))


def folders_of_two_people(folder):
    film(folder, "m1.mp4")
    for person in ("anna", "ben"):
        (folder / "Annotations" / person).mkdir()
        write(folder, f"{person}/m1.csv", by_frame(*["grooming"] * 90))


def encode(path: Path, frames: list[av.VideoFrame]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def film_of_two_rates(path: Path) -> None:
    """Film 60 frames at 30 a second, then 60 at 20."""
    frames = []
    for i, grey in enumerate(FRAMES):
        frame = av.VideoFrame.from_ndarray(grey, format="gray")
        frame.time_base = Fraction(1, 60)
        frame.pts = 2 * i if i < 60 else 120 + 3 * (i - 60)
        frames.append(frame)
    encode(path, frames)


BY_THE_CLOCK = ("rest", 0, 1), ("paw_lick", 1, 1.667), ("walk", 1.667, 3), ("rest", 3, 5)


def two_rates_in_one_video(folder):
    film_of_two_rates(folder / "Videos" / "m1.mkv")
    write(folder, "m1.csv", boris("m1.mkv", *BY_THE_CLOCK, fps="24.000", seconds="5.000"))


def sound_before_the_picture(folder):
    """The picture begins 0.5 s after the sound, from which players count."""
    with av.open(str(folder / "Videos" / "m1.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 28000), np.int16), "s16", "mono")
        sound.rate, sound.pts, sound.time_base = 8000, 0, Fraction(1, 8000)
        container.mux(audio.encode(sound))
        for i, grey in enumerate(FRAMES[:90]):
            frame = av.VideoFrame.from_ndarray(grey, format="gray")
            frame.pts, frame.time_base = i + 15, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        container.mux(audio.encode())
    bouts = ("rest", 0.5, 1.5), ("paw_lick", 1.5, 2.5), ("walk", 2.5, 3.5)
    write(folder, "m1.csv", boris("m1.mkv", *bouts, seconds="3.500", early=0.001))


def a_bare_stream(folder):
    path = folder / "Videos" / "pi.h264"
    params = "force-cfr=1:bframes=0:keyint=999:scenecut=0"  # one header, at the start
    write_video(path, FRAMES[:90], options={"x264-params": params})
    path.write_bytes(drop_timing(path.read_bytes()))


def rate_only_in_the_labels(folder):
    a_bare_stream(folder)
    write(folder, "pi.csv", boris("pi.h264", *THIRDS))


def rate_nowhere(folder):
    a_bare_stream(folder)
    write(folder, "pi.csv", boris("pi.h264", *THIRDS, fps="NA"))


def two_cameras_in_one_file(folder):
    write_two_streams(folder / "Videos" / "m1.mkv", [(64, 64), (96, 96)], 1)
    write(folder, "m1.csv", by_frame(*["walk"] * 6))


def twelve_bits_in_sixteen(folder):
    grey = FRAMES[:20].astype(np.uint16) * 16
    frames = [av.VideoFrame.from_ndarray(frame, format="gray16le") for frame in grey]
    encode(folder / "Videos" / "m1.mkv", frames)
    write(folder, "m1.csv", by_frame(*["walk"] * 20))


Case = Callable[[Path], None]


@pytest.mark.parametrize(
    ("make", "labels", "texts"),
    [
        (stops_before_starts, {"m1": LAID_THIRDS}, []),
        (
            sound_after_the_picture,
            {"m1": "rest 0-59, walk 60-89"},
            ["warning: m1.csv: 'walk' (2-3.4 s) ends after the picture"],
        ),
        (
            a_file_for_each_subject,
            {},
            [
                (
                    "scores the subjects 'mouse A', 'mouse B' of one video, expected one animal "
                    "per video"
                )
            ],
        ),
        (a_binary_table_for_each_subject, {}, ["BORIS writes one per subject"]),
        (decimal_commas, {"m1": "paw_lick 15-44"}, []),
        (
            names_in_capitals,
            {"m1": LAID_THIRDS, "m2": "paw_lick 15-44, walk 60-74"},
            [
                "m1.csv: mpar reads 'Rest' as rest, 'Paw Lick' as paw_lick",
                "m2.csv: mpar reads 'Paw_Lick' as",
            ],
        ),
        (names_of_videos_in_capitals, {"Mouse 1": "walk 0-9"}, []),
        (
            rates_that_disagree,
            {},
            ["says that its video has 25 frames per second, but the video has 30"],
        ),
        (
            rows_at_another_rate,
            {},
            [
                (
                    "found 75 rows, expected 90 (the video's frames); 75 would fit a copy at 25 "
                    "frames per second (the video has 30)"
                )
            ],
        ),
        (predictions_of_every_fifth_frame, {}, ["has a row for only one frame in 5"]),
        (one_hot_by_frame, {"m1": "rest 0-14, paw_lick 15-44, rest 45-59, walk 60-89"}, []),
        (one_hot_by_rounded_time, {"m1": "paw_lick 15-44"}, []),
        (deepethogram_without_row_numbers, {"m1": "paw_lick 15-44, walk 60-89"}, []),
        (deepethogram_without_background, {"m1": "paw_lick 15-44, walk 60-89"}, []),
        (
            names_with_dots,
            {"mouse1.2": "paw_lick 10-20"},
            ["mouse1.mp4: has no labels, expected mouse1.csv or mouse1_*.csv"],
        ),
        (
            files_that_are_not_read,
            {"good": "rest 0-89"},
            ["1 .seq file is not read (m1.seq)", "(m2.mp4.part)", "(m3.ods): workbooks: save"],
        ),
        (
            two_rates_in_one_video,
            {"m1": "rest 0-29, paw_lick 30-49, walk 50-79, rest 80-119"},
            ["warning: m1.mkv: has a variable frame rate"],
        ),
        (
            sound_before_the_picture,
            {"m1": LAID_THIRDS},
            ["m1.mkv: shows its first picture after 0.5 s of sound or of frames that cannot be"],
        ),
        (
            rate_only_in_the_labels,
            {"pi": LAID_THIRDS},
            ["pi.csv: its video does not state a frame rate; mpar takes 30 frames per second from"],
        ),
        (rate_nowhere, {}, ["neither it nor its video states a frame rate (25 is only a guess)"]),
        (
            two_cameras_in_one_file,
            {"m1": "walk 0-5"},
            ["mpar reads stream 1; pass --stream N to read another"],
        ),
        (twelve_bits_in_sixteen, {"m1": "walk 0-19"}, ["m1.mkv: is almost black"]),
        (
            a_copy_beside_the_labels,
            {"m1": "rest 0-44, walk 45-89"},
            [
                "m1.mp4: has 2 annotators ((1), m1), who agree on 50 % of the frames that all "
                "labelled; ties go to (1)"
            ],
        ),
        (
            folders_of_two_people,
            {},
            ["anna/m1.csv:2: action 'grooming' is not", "ben/m1.csv:2:", "(90 such rows)"],
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_labs_bring(tmp_path, make: Case, labels, texts):
    """Each recording has just these labels ("a-b" both included), and the output says why."""
    output = preprocessed(tmp_path, make)
    assert read_labels(tmp_path / "c.h5") == labels
    for text in texts:
        assert text in output, output


def preprocessed(folder, make, *options):
    """Make a study and preprocess it; return what the command prints."""
    (folder / "Videos").mkdir()
    (folder / "Annotations").mkdir()
    make(folder)
    result = run(
        "preprocess", folder / "Videos", folder / "Annotations", "-o", folder / "c.h5", *options
    )
    assert result.exit_code in {0, 1, 2}
    return result.output


def read_labels(cache):
    """Return the labelled stretches of each recording of a cache, nothing if there is none."""
    if not cache.exists():
        return {}
    with Store(cache) as store:
        return {
            info.name: describe(store.labels(i), store.class_names)
            for i, info in enumerate(store.recordings)
        }


def describe(labels, class_names):
    edges = np.flatnonzero(np.diff(labels)) + 1
    stretches = zip([0, *edges], [*edges, len(labels)], strict=True)
    return ", ".join(
        f"{class_names[labels[start]]} {start}-{stop - 1}"
        for start, stop in stretches
        if labels[start] >= 0
    )


def test_the_description_is_read_off_the_frames():
    """The table above would notice a label that is off by one."""
    labels = np.array([-1, 0, 0, 2, -1, -1, 2])
    assert describe(labels, DEFAULT_CLASS_MAP.class_names) == "rest 1-2, paw_lick 3-3, paw_lick 6-6"


@pytest.mark.usefixtures("no_figures")
def test_labels_by_the_clock_go_out_and_come_back(study, tmp_path):
    """Predictions of a video of two rates have the times of its frames in every format."""
    film_of_two_rates(tmp_path / "m1.mkv")
    result = run("predict", study.checkpoint, tmp_path / "m1.mkv", "-o", tmp_path / "p")
    assert result.exit_code == 0, result.output
    path = tmp_path / "p" / "m1_predictions.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table["Action"] = np.repeat(["rest", "paw_lick", "walk", "rest"], [30, 20, 40, 30])
    table.to_csv(path, index=False)
    for label_format in ("boris", "simba", "deepethogram", "annot"):
        out = tmp_path / label_format
        assert run("export", tmp_path / "p", "--format", label_format, "-o", out).exit_code == 0
        result = run("evaluate", tmp_path / "p", out, "-o", tmp_path / f"e_{label_format}")
        assert "accuracy 1.000" in result.output, result.output
        (tmp_path / "videos").mkdir(exist_ok=True)
        film_of_two_rates(tmp_path / "videos" / "m1.mkv")
        cache = tmp_path / f"{label_format}.h5"
        result = run("preprocess", tmp_path / "videos", out, "-o", cache)
        assert read_labels(cache) == {"m1": "rest 0-29, paw_lick 30-49, walk 50-89, rest 90-119"}


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_every_command_lists_what_it_passes_over(study, tmp_path):
    """A file that nobody reads is not taken for one that was used."""
    (tmp_path / "Videos").mkdir()
    (tmp_path / "Annotations").mkdir()
    film(tmp_path, "m1.mp4")
    (tmp_path / "Videos" / "m2.seq").write_bytes(b"x")
    write(tmp_path, "m1.csv", by_frame(*["rest"] * 90))
    (tmp_path / "Annotations" / "m2.ods").write_bytes(b"x")
    predictions = tmp_path / "p"
    result = run("predict", study.checkpoint, tmp_path / "Videos", "-o", predictions)
    assert "warning: Videos: 1 .seq file is not read (m2.seq)" in result.output
    (predictions / "corrected.csv").write_text("x")
    commands = [
        ("evaluate", predictions, tmp_path / "Annotations", "-o", tmp_path / "e"),
        ("summarize", predictions, "-o", tmp_path / "s"),
        ("export", predictions, "--format", "simba", "-o", tmp_path / "x"),
    ]
    for command in commands:
        output = run(*command).output
        assert "warning: p: 1 .csv file is not read (corrected.csv)" in output
        assert ("(m2.ods): workbooks: save them" in output) == (command[0] == "evaluate")
