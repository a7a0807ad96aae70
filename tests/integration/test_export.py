"""Videos with a band: frame i is frame i at its time, with its class; clips; nothing half done."""

import weakref
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mpar.errors import ConfigError, InputError
from mpar.export import export_videos
from mpar.labels.classes import DEFAULT_CLASS_MAP, ClassMap
from mpar.predictions.postprocess import PostConfig
from mpar.predictions.writing import OutputConfig, write_prediction
from mpar.report import band
from mpar.report.style import class_colors
from mpar.video.videos import Decoding
from mpar.video.writing import new_video
from tests.fixtures.helpers import put_prediction, recording_of, run
from tests.fixtures.synthetic import draw_frame_numbers, read_frame_number, write_video

NAMES = DEFAULT_CLASS_MAP.class_names
REST, WITHDRAW, LICK, SHAKE, WALK, ACTIVE = range(6)


def predict(folder, name, labels, line=None, **more):
    """Write a prediction with these labels, as mpar-predict does."""
    labels = np.asarray(labels)
    probabilities = np.full((len(labels), 6), 0.05, np.float32)
    probabilities[np.arange(len(labels)), labels] = 0.75
    prediction = recording_of(name=name, line=line, probabilities=probabilities, **more)
    write_prediction(folder, prediction, DEFAULT_CLASS_MAP, OutputConfig(), PostConfig(), {})


def write_uneven(path, frames, ticks):
    """Write frames that are shown at multiples of 1/30 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuv420p"
        for grey, tick in zip(frames, ticks, strict=True):
            planes = np.pad(grey, ((0, len(grey) // 2), (0, 0)), constant_values=128)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = tick, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def numbers(path, height=320, width=320):
    """Return the numbers that the pictures of a video spell, and its time line."""
    decoding = Decoding(path)
    found = [read_frame_number(frame[:height, :width]) for frame in decoding]
    return found, decoding.line


def colors(path):
    """Return the RGB colour of the band in each frame, left of its text."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.array([frame[-4:-2, 1:3].mean(axis=(0, 1)) for frame in frames])


def expected_colors(labels):
    palette = [np.array(to_rgb(color)) * 255 for color in class_colors(6)]
    return np.array([palette[k] for k in labels])


@pytest.fixture
def lab(tmp_path):
    """A video of 90 numbered frames and its prediction, with a lick in frames 40 to 49."""
    (tmp_path / "Videos").mkdir()
    write_video(tmp_path / "Videos" / "a.mp4", draw_frame_numbers(90))
    labels = np.array([REST] * 20 + [WALK] * 20 + [LICK] * 10 + [REST] * 40)
    predict(tmp_path / "predictions", "a", labels)
    return tmp_path


def export(lab, *options, out="out"):
    folders = lab / "predictions", "--format", "video", "--videos", lab / "Videos"
    return run("export", *folders, "-o", lab / out, *options)


def test_frame_i_of_the_output_is_frame_i_with_its_class(lab):
    """By the numbers in the pictures and the colour of the band."""
    result = export(lab)
    path = lab / "out" / "a_scored.mp4"
    assert result.output == f"wrote {path}\n"
    found, line = numbers(path)
    assert found == list(range(90))
    assert (line.fps, line.times) == (30, None)
    labels = np.array([REST] * 20 + [WALK] * 20 + [LICK] * 10 + [REST] * 40)
    assert abs(colors(path) - expected_colors(labels)).max() < 25
    assert sorted(item.name for item in (lab / "out").iterdir()) == ["a_scored.mp4"]


def test_an_uneven_video_keeps_frames_and_times(tmp_path):
    """Frames last one to three thirtieths of a second; none is doubled or dropped."""
    ticks = np.cumsum(np.random.default_rng(0).integers(1, 4, 60)).tolist()
    (tmp_path / "Videos").mkdir()
    write_uneven(tmp_path / "Videos" / "a.mp4", draw_frame_numbers(60), ticks)
    source = Decoding(tmp_path / "Videos" / "a.mp4")
    assert len([*source]) == 60
    predict(tmp_path / "predictions", "a", [REST] * 30 + [LICK] * 30, line=source.line)
    export(tmp_path)
    found, line = numbers(tmp_path / "out" / "a_scored.mp4")
    assert found == list(range(60))
    assert line.times - line.times[0] == pytest.approx(source.line.starts - source.line.starts[0])
    # a clip starts a second before the lick, however many frames that is
    export(tmp_path, "--bouts", "paw_lick", out="clips")
    first = int(np.searchsorted(source.line.starts, source.line.starts[30] - 1 - 1e-9))
    found, _ = numbers(tmp_path / "clips" / "a_paw_lick_000030.mp4")
    assert found == list(range(first, 60))


def test_class_names_may_hold_what_file_names_may_not(tmp_path):
    """A bout of "lick: left?" is cut out all the same."""
    rows = ((0, "rest", "rest"), (1, "l", "lick: left?"))
    labels = [0] * 10 + [1] * 10
    put_prediction(tmp_path / "predictions", "a", labels, class_map=ClassMap(rows))
    path = tmp_path / "predictions" / "a_predictions.csv"
    shares = ["rest_prob,lick: left?_prob", *("0,1" if k else "1,0" for k in labels)]
    lines = zip(path.read_text().splitlines(), shares, strict=True)
    path.write_text("".join(f"{row},{share}\n" for row, share in lines))
    (tmp_path / "Videos").mkdir()
    write_video(tmp_path / "Videos" / "a.mp4", draw_frame_numbers(20))
    export(tmp_path, "--bouts", "lick: left?")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a_lick_ left__000010.mp4",
        "lick_ left__sheet_01.png",
    ]


def test_a_region_is_cut_out(tmp_path):
    """Two animals side by side: each has its own video, with its own numbers and classes."""
    (tmp_path / "Videos").mkdir()
    left, right = draw_frame_numbers(20), draw_frame_numbers(70)[50:]
    write_video(tmp_path / "Videos" / "rack.mp4", np.concatenate([left, right], axis=2))
    for number, animal in enumerate("AB"):
        more = {"video": "rack.mp4", "region": f"{64 * number},0,64,64"}
        predict(tmp_path / "predictions", f"rack__{animal}", [WALK + number] * 20, **more)
    export(tmp_path)
    for number, animal in enumerate("AB"):
        path = tmp_path / "out" / f"rack__{animal}_scored.mp4"
        found, _ = numbers(path)
        assert found == [50 * number + i for i in range(20)]
        assert abs(colors(path) - expected_colors([WALK + number] * 20)).max() < 25


def test_a_trial_shows_its_part_of_the_video(lab):
    """The second trial of a cache starts at frame 60."""
    more = {"video": "a.mp4", "start_frame": 60, "video_num_frames": 90}
    predict(lab / "trials", "a_trial2", [WALK] * 30, **more)
    (path,), problems = export_videos(lab / "trials", lab / "Videos", lab / "out")
    assert problems == []
    assert numbers(path)[0] == list(range(60, 90))


def test_labels_of_a_person_have_a_second_line(lab):
    """The lowest line has the colours of the person's labels, white where there are none."""
    (lab / "Labels").mkdir()
    truth = np.array([ACTIVE] * 45 + [WALK] * 30)
    rows = [f"{i},{NAMES[k]}" for i, k in enumerate(truth)] + [f"{i},-1" for i in range(75, 90)]
    (lab / "Labels" / "a_anna.csv").write_text("\n".join(["Frame,Action", *rows]) + "\n")
    export(lab, "--labels", lab / "Labels")
    found = colors(lab / "out" / "a_scored.mp4")
    assert abs(found[:75] - expected_colors(truth)).max() < 25
    assert found[75:].min() > 230


def test_each_bout_becomes_a_clip_with_a_second_around_it(lab):
    """Frames 40 to 49 at 30 frames/s: from 10 to 79; clips that overlap are both whole."""
    labels = np.array([LICK] * 5 + [REST] * 35 + [LICK] * 10 + [WALK] * 5 + [LICK] * 35)
    predict(lab / "predictions", "a", labels)
    result = export(lab, "--bouts", "paw_lick")
    folder = lab / "out"
    spans = {0: (0, 35), 40: (10, 80), 55: (25, 90)}
    for start, (first, last) in spans.items():
        path = folder / f"a_paw_lick_{start:06}.mp4"
        assert numbers(path)[0] == list(range(first, last))
        assert abs(colors(path) - expected_colors(labels[first:last])).max() < 25
    assert len(result.output.splitlines()) == 4
    sheet = cv2.imread(str(folder / "paw_lick_sheet_01.png"))
    # three rows of a line of text, 160 px and a gap; pictures of the first and the last frame
    assert sheet.shape == (3 * (20 + 160 + 4), 6 * 164 + 4, 3)
    shown = [
        [
            read_frame_number(sheet[20 + 184 * row :, 4 + 164 * k :][:160, :160].mean(axis=2))
            for k in range(6)
        ]
        for row in range(3)
    ]
    assert [row[0] for row in shown] == [0, 40, 55]
    assert shown[1] == [40, 42, 44, 45, 47, 49]
    assert shown[2][-1] == 89


def test_large_pictures_keep_their_size(tmp_path):
    """Odd sides get a pixel more, since H.264 wants even ones."""
    (tmp_path / "Videos").mkdir()
    write_video(tmp_path / "Videos" / "a.avi", draw_frame_numbers(5, 243, 361), codec="ffv1")
    predict(tmp_path / "predictions", "a", [WALK] * 5, video="a.avi")
    export(tmp_path)
    decoding = Decoding(tmp_path / "out" / "a_scored.mp4")
    frames = [*decoding]
    # a line of 18 px below 243 px, and one to be even
    assert frames[0].shape == (262, 362)
    assert [read_frame_number(frame[:243, :361]) for frame in frames] == list(range(5))


def test_existing_files_are_kept(lab):
    """Without --overwrite, nothing is written at all."""
    export(lab, "--bouts", "paw_lick")
    (lab / "out" / "a_paw_lick_000040.mp4").unlink()
    before = {path.name: path.read_bytes() for path in (lab / "out").iterdir()}
    result = export(lab, "--bouts", "paw_lick")
    assert result.exit_code == 2
    assert "already contains 1 output file (paw_lick_sheet_01.png)" in result.output
    assert before == {path.name: path.read_bytes() for path in (lab / "out").iterdir()}
    assert export(lab, "--bouts", "paw_lick", "--overwrite").exit_code == 0
    assert (lab / "out" / "a_paw_lick_000040.mp4").exists()


@pytest.mark.parametrize("num_frames", [60, 120])
def test_another_video_of_the_same_name_is_refused(lab, num_frames):
    """The number of frames gives it away; no file is left, and the others are written."""
    write_video(lab / "Videos" / "b.mp4", draw_frame_numbers(10))
    predict(lab / "predictions", "b", [REST] * 10)
    write_video(lab / "Videos" / "a.mp4", draw_frame_numbers(num_frames))
    result = export(lab)
    assert result.exit_code == 1
    assert f"has {num_frames} frames, expected the 90 frames of its prediction" in result.output
    assert [path.name for path in (lab / "out").iterdir()] == ["b_scored.mp4"]


def test_a_missing_video_is_a_problem(lab):
    """And one that occurs twice; the message names it."""
    predict(lab / "predictions", "b", [REST] * 10)
    (lab / "Videos" / "more").mkdir()
    (lab / "Videos" / "more" / "a.mp4").write_bytes((lab / "Videos" / "a.mp4").read_bytes())
    with pytest.raises(InputError) as error:
        export_videos(lab / "predictions", lab / "Videos", lab / "out")
    assert "found 2 videos named a.mp4" in str(error.value)
    assert "found no video named b.mp4" in str(error.value)


def test_a_damaged_video_leaves_nothing(lab):
    """Neither a video nor a folder of parts."""
    path = lab / "Videos" / "a.mp4"
    path.write_bytes(b"no video")
    result = export(lab)
    assert result.exit_code == 2
    assert "cannot be opened as a video" in result.output
    assert [*(lab / "out").iterdir()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bouts", "sleep"], "bouts: found 'sleep', expected one of rest"),
        (["--bouts", "paw_shake"], "has no bout of paw_shake"),
        (["--unscored", "rest"], "--unscored cannot be combined with --format video"),
    ],
)
def test_bad_options_are_refused(lab, options, message):
    """Nothing is written."""
    result = export(lab, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert not (lab / "out").exists()


def test_options_of_videos_belong_to_videos(lab):
    """And a video needs its folder."""
    result = run("export", lab / "predictions", "--format", "boris", "--bouts", "rest")
    assert "--bouts cannot be combined with --format boris" in result.output
    result = run("export", lab / "predictions", "--format", "video")
    assert "--format video needs --videos" in result.output


def test_an_interrupted_video_does_not_appear(tmp_path):
    """The old file stays as it was."""
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")

    def write_and_fail():
        with new_video(path, Fraction(30)) as add:
            add(np.zeros((32, 32, 3), np.uint8), 0.0)
            raise ConfigError("stop")

    with pytest.raises(ConfigError):
        write_and_fail()
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]


def test_frames_within_a_tick_stay_in_order(tmp_path):
    """A camera that stamps two frames alike loses none."""
    path = tmp_path / "v.mp4"
    with new_video(path, Fraction(30)) as add:
        for picture, seconds in zip(draw_frame_numbers(4), (0, 1e-9, 2e-9, 0.1), strict=True):
            add(np.repeat(picture[:, :, None], 3, axis=2), seconds)
    assert numbers(path, 64, 64)[0] == [0, 1, 2, 3]


def test_pictures_are_encoded_as_they_come(lab, monkeypatch):
    """Memory does not grow with the length: no more pictures are alive than the encoder holds."""
    alive, most = [0], [0]
    draw = band.Band.draw

    def forget():
        alive[0] -= 1

    def counting(self, *arguments):
        picture = draw(self, *arguments)
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        weakref.finalize(picture, forget)
        return picture

    monkeypatch.setattr(band.Band, "draw", counting)
    export(lab)
    assert 0 < most[0] < 10
