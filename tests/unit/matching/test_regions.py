"""Several animals in one video: each region is a recording, as if it had been filmed alone."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError
from mpar.formats.annotations import read_annotation
from mpar.formats.registry import read_label_file
from mpar.inference import ActionRecognitionInference
from mpar.labels.classes import DEFAULT_CLASS_MAP
from mpar.matching.regions import read_regions
from mpar.matching.sources import Source, split_sources
from mpar.network.checkpoint import load_checkpoint, save_checkpoint
from mpar.predictions.reading import read_predictions
from mpar.report.preview_plot import PreviewRow, plot_preview
from mpar.video.regions import Region
from tests.fixtures.helpers import make_checkpoint, run
from tests.fixtures.synthetic import draw_recording

SIDE, NUM_FRAMES = 48, 40
ANIMALS = ("A", "B", "C", "D")
CORNERS = {"A": (0, 0), "B": (SIDE, 0), "C": (0, SIDE), "D": (SIDE, SIDE)}
HEADER = "Video,Animal,X,Y,Width,Height\n"
RACK = HEADER + "".join(f"*,{animal},{x},{y},{SIDE},{SIDE}\n" for animal, (x, y) in CORNERS.items())


def write_lossless(path, frames, fps=30):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "gray"
        for i, grey in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(grey), format="gray")
            frame.pts, frame.time_base = i, 1 / Fraction(fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_labels(path, codes):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{i},{code}\n" for i, code in enumerate(codes))
    path.write_text("Frame,Action\n" + rows)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Four animals side by side in rack1.mkv, and each alone in a video of its own."""
    folder = tmp_path_factory.mktemp("rack")
    for name in ("rack", "alone"):
        (folder / name).mkdir()
    drawn = {
        animal: draw_recording(seed=i, num_frames=NUM_FRAMES, height=SIDE, width=SIDE)
        for i, animal in enumerate(ANIMALS)
    }
    rows = [np.concatenate([drawn[a][0] for a in pair], axis=2) for pair in ("AB", "CD")]
    write_lossless(folder / "rack" / "rack1.mkv", np.concatenate(rows, axis=1))
    for animal, (frames, codes) in drawn.items():
        write_lossless(folder / "alone" / f"{animal}.mkv", frames)
        write_labels(folder / "rack_labels" / f"rack1__{animal}_anna.csv", codes)
        write_labels(folder / "alone_labels" / f"{animal}.csv", codes)
    (folder / "regions.csv").write_text(RACK)
    return folder


def test_animals_of_a_rack_are_recordings(lab, tmp_path):
    """Frames, labels and animals are those of the same animals filmed alone."""
    caches = tmp_path / "rack.h5", tmp_path / "alone.h5"
    regions = ["--regions", lab / "regions.csv"]
    for name, cache, options in zip(("rack", "alone"), caches, (regions, []), strict=True):
        result = run("preprocess", lab / name, lab / f"{name}_labels", "-o", cache, *options)
        assert result.exit_code == 0, result.output
    with Store(caches[0]) as rack, Store(caches[1]) as alone:
        assert [r.name for r in rack.recordings] == [f"rack1__{animal}" for animal in ANIMALS]
        assert len({r.group for r in rack.recordings}) == 4
        assert rack.recordings[1].region == f"{SIDE},0,{SIDE},{SIDE}"
        assert rack.config["regions"][0] == ["A", f"0,0,{SIDE},{SIDE}"]
        for i in range(4):
            np.testing.assert_array_equal(rack.frames(i), alone.frames(i))
            np.testing.assert_array_equal(rack.labels(i), alone.labels(i))
    result = run("preprocess", lab / "rack", lab / "rack_labels", "-o", caches[0], *regions)
    assert "up to date" in result.output
    moved = tmp_path / "moved.csv"
    moved.write_text(RACK.replace("*,", "rack1,").replace(f"A,0,0,{SIDE}", f"A,0,0,{SIDE - 8}"))
    arguments = lab / "rack", lab / "rack_labels", "-o", caches[0], "--regions"
    result = run("preprocess", *arguments, moved)
    assert result.exit_code == 2
    assert "regions was" in result.output


@pytest.mark.slow
def test_a_rack_is_predicted_as_if_filmed_alone(lab, tmp_path):
    """N rows a frame and animal, equal to the last digit; labels are compared by animal."""
    network = make_checkpoint(tmp_path / "net.pt", frame_size=(SIDE, SIDE))
    regions = ["--regions", lab / "regions.csv"]
    for name, options in (("rack", regions), ("alone", [])):
        result = run("predict", network, lab / name, "-o", tmp_path / name, *options)
        assert result.exit_code == 0, result.output
    for animal in ANIMALS:
        rack = (tmp_path / "rack" / f"rack1__{animal}_predictions.csv").read_text()
        assert rack == (tmp_path / "alone" / f"{animal}_predictions.csv").read_text()
        assert rack.count("\n") == NUM_FRAMES + 1
    scores = []
    for name in ("rack", "alone"):
        arguments = tmp_path / name, lab / f"{name}_labels", "-o", tmp_path / f"e_{name}"
        result = run("evaluate", *arguments)
        assert result.exit_code == 0, result.output
        scores.append(result.output.partition("accuracy")[2].partition("\n")[0])
    assert scores[0] == scores[1]
    _, class_map, _ = read_predictions(tmp_path / "rack")
    for label_format in ("boris", "simba", "deepethogram", "annot"):
        exported, cache = tmp_path / label_format, tmp_path / f"{label_format}.h5"
        result = run("export", tmp_path / "rack", "--format", label_format, "-o", exported)
        assert result.exit_code == 0, result.output
        again = run("preprocess", lab / "rack", exported, "-o", cache, *regions)
        assert "4 recordings of 4 animals" in again.output, again.output
        with Store(cache) as store:
            for number, animal in enumerate(ANIMALS):
                path = tmp_path / "rack" / f"rack1__{animal}_predictions.csv"
                codes = read_annotation(path, class_map).codes
                np.testing.assert_array_equal(store.labels(number), class_map.merge(codes))


def test_subjects_of_a_boris_file_are_the_animals(lab, tmp_path):
    """The files that are refused without regions are the normal case with them."""
    labels = tmp_path / "labels"
    labels.mkdir()
    head = "Observation id,Media file,Total length,FPS,Subject,Behavior,Behavior type,Time\n"
    for animal, start in (("a", 0.5), ("B", 1.0)):
        times = ((start, "START"), (start + 0.2, "STOP"))
        rows = "".join(f"o,rack1.mkv,1.333,30,{animal},walk,{kind},{t}\n" for t, kind in times)
        (labels / f"{animal}.csv").write_text(head + rows)
    arguments = lab / "rack", labels, "-o", tmp_path / "c.h5"
    result = run("preprocess", *arguments)
    assert "scores the subjects" in result.output
    result = run("preprocess", *arguments, "--regions", lab / "regions.csv")
    assert "rack1__C.mkv: has no labels" in result.output
    with Store(tmp_path / "c.h5") as store:
        assert [r.name for r in store.recordings] == ["rack1__A", "rack1__B"]
        assert np.flatnonzero(store.codes(0)[0] == 6).tolist() == [*range(15, 21)]
        assert np.flatnonzero(store.codes(1)[0] == 6).tolist() == [*range(30, 36)]


def table_of(events):
    head = "Observation id,Media file,Total length,FPS,Subject,Behavior,Behavior type,Time\n"
    rows = [
        f"o,rack1.mkv,1.333,30,{animal},walk,{kind},{time}\n"
        for animal, *times in events
        for kind, time in zip(("START", "STOP"), times, strict=True)
    ]
    return head + "".join(rows)


def bouts_of(events):
    head = "Observation id,Media file,Subject,Behavior,Behavior type,Start (s),Stop (s)\n"
    return head + "".join(f"o,rack1.mkv,{a},walk,STATE,{s},{e}\n" for a, s, e in events)


def project_of(events):
    marks = [[time, a, "walk", "", ""] for a, *times in events for time in times]
    observation = {"type": "MEDIA", "file": {"1": ["rack1.mkv"]}, "events": marks}
    kinds = {"0": {"code": "walk", "type": "State event"}}
    return json.dumps({"behaviors_conf": kinds, "observations": {"o": observation}})


@pytest.mark.parametrize(
    ("name", "write"),
    [("o.csv", table_of), ("o.csv", bouts_of), ("o.boris", project_of)],
)
def test_subjects_of_one_observation_are_the_animals(lab, tmp_path, name, write):
    """Their bouts may overlap in time; an event of no animal may be of any."""
    events = [("a", 0.5, 0.8), ("B", 0.6, 0.9), ("C", 0, 0.2), ("D", 1.0, 1.1), ("A", 1.0, 1.1)]
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels" / name
    path.write_text(write(events))
    arguments = lab / "rack", tmp_path / "labels", "-o", tmp_path / "c.h5"
    result = run("preprocess", *arguments)
    assert result.exit_code == 2
    assert "scores the subjects 'a', 'B', 'C', 'D' of one video, expected one" in result.output
    regions = "--regions", lab / "regions.csv"
    result = run("preprocess", *arguments, *regions)
    assert result.exit_code == 0, result.output
    expected = [[*range(15, 24), *range(30, 33)], [*range(18, 27)], [*range(6)], [*range(30, 33)]]
    with Store(tmp_path / "c.h5") as store:
        walks = [np.flatnonzero(store.codes(i)[0] == 6).tolist() for i in range(4)]
    assert walks == expected
    path.write_text(write([*events, ("", 0.5, 0.8)]))
    result = run("preprocess", *arguments, *regions, "--overwrite")
    assert result.exit_code == 2
    assert "has the subjects 'a', 'B', 'C', 'D', none, expected one animal" in result.output


def test_labels_of_no_animal_are_named(lab, tmp_path):
    """A file that names none, and a subject without a region, are one line each."""
    write_labels(tmp_path / "labels" / "rack1.csv", np.zeros(NUM_FRAMES, int))
    write_labels(tmp_path / "labels" / "rack1__A.csv", np.zeros(NUM_FRAMES, int))
    (tmp_path / "labels" / "b.csv").write_text(
        "Observation id,Media file,Total length,FPS,Subject,Behavior,Behavior type,Time\n"
        "o,rack1.mkv,1.333,30,Z,walk,START,0.5\no,rack1.mkv,1.333,30,Z,walk,STOP,0.7\n"
    )
    regions = lab / "regions.csv"
    arguments = lab / "rack", tmp_path / "labels", "-o", tmp_path / "c.h5"
    output = run("preprocess", *arguments, "--regions", regions).output
    assert (
        "rack1.csv: names no animal of rack1.mkv, expected a file name that starts with" in output
    )
    assert (
        "b.csv: scores the subject 'Z' of rack1.mkv, whose regions belong to A, B, C, D" in output
    )
    assert "1 recordings of 1 animals" in output


def test_one_region_without_a_name_is_a_crop(lab, tmp_path):
    """The recording keeps the name of its video."""
    (tmp_path / "r.csv").write_text(HEADER + f"rack1.mkv,,0,{SIDE},{2 * SIDE},{SIDE}\n")
    write_labels(tmp_path / "labels" / "rack1.csv", np.zeros(NUM_FRAMES, int))
    arguments = lab / "rack", tmp_path / "labels", "-o", tmp_path / "c.h5"
    result = run("preprocess", *arguments, "--regions", tmp_path / "r.csv", "--size", "24x48")
    assert result.exit_code == 0, result.output
    with Store(tmp_path / "c.h5") as store:
        assert (store.recordings[0].name, store.frame_size) == ("rack1", (24, 48))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Video,Animal,X,Y\n", "found the columns 'Video,Animal,X,Y', expected Video, Animal"),
        (HEADER, "has no rows below its header"),
        (HEADER + "*,A,0,0,8,48\n", "width is '8', expected a whole number of px from 16"),
        (HEADER + "*,A,-1,0,48,48\n", "x is '-1', expected a whole number of px from 0"),
        (HEADER + "*,A,0,0,48\n", "found 5 cells, expected 6"),
        (HEADER + "*,a/b,0,0,48,48\n", "'a/b' cannot be part of a file name"),
        (HEADER + "*,a.,0,0,48,48\n", "'a.' cannot be part of a file name"),
        (HEADER + "*,..,0,0,48,48\n", "'..' cannot be part of a file name"),
        (HEADER + "*,a\x01,0,0,48,48\n", "cannot be part of a file name"),
        (HEADER + f"*,{'é' * 51},0,0,48,48\n", "cannot be part of a file name"),
        (HEADER + ",A,0,0,48,48\n", "names no video"),
        (HEADER + "v,A,0,0,48,48\nV,a ,48,0,48,48\n", "animal 'a' of V also occurs in line 2"),
        (HEADER + "v,A,0,0,48,48\nv,B,47,47,48,48\n", "regions of A and B of v overlap"),
        (
            HEADER + "v,A,0,0,48,48\nv,,48,0,48,48\n",
            ("v has several regions, expected the name of an animal"),
        ),
    ],
)
def test_regions_that_make_no_sense(tmp_path, text, message):
    """Each row has its line."""
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(InputError) as error:
        read_regions(tmp_path / "r.csv")
    assert message in str(error.value)


def test_regions_are_found_by_video(tmp_path):
    """Rows of a video replace those of all; a row of no video is a problem."""
    rows = "*,A,0,0,16,16\nm1,B,0,0,20,20\nM2.MP4,C,0,0,20,20\nm9,D,0,0,20,20\n"
    (tmp_path / "r.csv").write_text(HEADER.replace(",", ";") + rows.replace(",", ";"))
    table = read_regions(tmp_path / "r.csv")
    videos = [tmp_path / name for name in ("m1.mp4", "m2.mp4", "m3.mp4")]
    found, problems = table.by_video(videos)
    assert [found[video][0].animal for video in videos] == ["B", "C", "A"]
    assert [str(problem) for problem in problems] == [
        "r.csv:5: 'm9' names no video here; correct the row or remove it"
    ]
    assert table.of_every_video == (Region("A", 0, 0, 16, 16),)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("A,20,0", "r.csv:3: animal 'A' of m1.mp4 also occurs in line 2"),
        ("B,19,0", "r.csv:3: the regions of A and B of m1.mp4 overlap"),
        (",20,0", "r.csv:3: m1.mp4 has several regions, expected the name of an animal for each"),
    ],
)
def test_two_spellings_are_one_video(tmp_path, second, message):
    """Two recordings would have one name, and the second replace the first."""
    (tmp_path / "r.csv").write_text(HEADER + f"m1,A,0,0,20,20\nM1.mp4,{second},20,20\n")
    with pytest.raises(InputError) as error:
        read_regions(tmp_path / "r.csv").by_video([tmp_path / "m1.mp4"])
    assert message in str(error.value)


def test_videos_without_a_row_are_named(tmp_path, caplog):
    """Of a rack, the whole picture is not an animal."""
    (tmp_path / "r.csv").write_text(HEADER + "m1,A,0,0,20,20\n")
    videos = [tmp_path / f"{name}.mp4" for name in ("m1", "m2", "m3")]
    found, problems = read_regions(tmp_path / "r.csv").by_video(videos)
    assert ([*found], problems) == (videos[:1], [])
    assert caplog.messages == [
        ("r.csv: has no row for m2.mp4 and 1 more; mpar uses the whole picture")
    ]


def test_python_cuts_as_training_did(lab, tmp_path):
    """`predict` takes the one region of every video, and refuses to choose from several."""
    path = make_checkpoint(tmp_path / "net.pt", frame_size=(SIDE, SIDE))
    regions = [[a, f"{x},{y},{SIDE},{SIDE}"] for a, (x, y) in CORNERS.items()]
    trained = load_checkpoint(path)
    for kept, name in ((regions[1:2], "one.pt"), (regions, "four.pt")):
        save_checkpoint(
            tmp_path / name,
            dataclasses.replace(trained, data=trained.data | {"config": {"regions": kept}}),
        )
    rack, alone = lab / "rack" / "rack1.mkv", lab / "alone" / "B.mkv"
    found = ActionRecognitionInference(tmp_path / "one.pt").predict(rack)
    expected = ActionRecognitionInference(path).predict(alone)
    assert (found.name, found.region) == ("rack1__B", f"{SIDE},0,{SIDE},{SIDE}")
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    with pytest.raises(ConfigError, match="the network learnt from the regions of A, B"):
        ActionRecognitionInference(tmp_path / "four.pt").predict_video(rack)


def test_regions_beyond_the_picture(lab, tmp_path):
    """Found when decoding; the other videos go on."""
    (tmp_path / "r.csv").write_text(HEADER + f"*,A,{SIDE},0,{2 * SIDE},{SIDE}\n")
    network = make_checkpoint(tmp_path / "net.pt", frame_size=(SIDE, SIDE))
    arguments = lab / "rack", "-o", tmp_path / "p", "--regions", tmp_path / "r.csv"
    result = run("predict", network, *arguments)
    assert result.exit_code == 2
    assert (
        f"its region of A ({SIDE},0,{2 * SIDE},{SIDE}) extends beyond its picture" in result.output
    )


def test_preview_shows_regions_and_cuts(lab, tmp_path):
    """A picture of the right size; it is not replaced by accident."""
    arguments = lab / "rack", lab / "rack_labels", "--regions", lab / "regions.csv", "--size", "32"
    path = tmp_path / "preview.png"
    result = run("preprocess", *arguments, "--preview", path)
    assert result.exit_code == 0, result.output
    assert cv2.imread(str(path)).shape[1] > 900
    assert not (lab / "cache.h5").exists()
    result = run("preprocess", *arguments, "--preview", path)
    assert result.exit_code == 2
    assert "already exists" in result.output
    (tmp_path / "r.csv").write_text(HEADER + f"*,A,{SIDE},0,{2 * SIDE},{SIDE}\n")
    arguments = lab / "rack", lab / "rack_labels", "--regions", tmp_path / "r.csv"
    result = run("preprocess", *arguments, "--preview", tmp_path / "p.png")
    assert (result.exit_code, (tmp_path / "p.png").exists()) == (2, False)
    assert "extends beyond its picture of 96x96 px" in result.output


def test_names_in_a_preview_do_not_cover_each_other():
    """A long name of a video, and names of twelve animals side by side, each in its place."""
    regions = [Region(f"mouse {i + 10}", i % 4 * 160, i // 4 * 120, 160, 120) for i in range(12)]
    cuts = [np.zeros((64, 64), np.uint8)] * 12
    name = "a_rack_with_a_long_name_2026-01-01_camera_3.mp4"
    figure = plot_preview([PreviewRow(name, np.zeros((360, 640)), tuple(regions), tuple(cuts))])
    figure.canvas.draw()
    first, second, *_ = figure.axes
    titles = [axes._left_title.get_window_extent() for axes in (first, second)]
    assert titles[0].x1 <= titles[1].x0
    assert len(first.texts) == len(first.patches) == 12
    for text, box in zip(first.texts, first.patches, strict=True):
        assert text.get_window_extent().x1 <= box.get_window_extent().x1


def test_label_files_of_animals_without_regions(tmp_path):
    """Their rows name another video: the animals' files are no two people who scored it all."""
    for stem in ("m1__L", "m1__R", "m2_anna"):
        path = tmp_path / f"{stem}.csv"
        scorings = read_label_file(put_rows(path), DEFAULT_CLASS_MAP)
        assert len(scorings) == 1
    (tmp_path / "r.csv").write_text(f"{HEADER}m9,L,0,0,24,48\nm9,R,24,0,24,48\n")
    sources = [
        Source(
            Path(f"{name}.mp4"),
            [
                s
                for p in sorted(tmp_path.glob(f"{name}_*.csv"))
                for s in read_label_file(p, DEFAULT_CLASS_MAP)
            ],
        )
        for name in ("m1", "m2")
    ]
    found, problems = split_sources(sources, read_regions(tmp_path / "r.csv"))
    assert [source.name for source in found] == ["m2"]
    assert [Path(p.path).name for p in problems] == ["r.csv", "r.csv", "m1__L.csv", "m1__R.csv"]


def put_rows(path):
    path.write_text("Frame,Action\n0,rest\n1,walk\n")
    return path
