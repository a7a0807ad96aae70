"""Tracks of DeepLabCut and SLEAP come back by value, and each goes to its video."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpar.errors import ConfigError, InputError
from mpar.matching.tracks import TrackFolder, read_tracks
from tests.fixtures.tracks import write_dlc_csv, write_dlc_hdf5, write_sleap

NUM_FRAMES = 8
WRITERS = [
    pytest.param(write_dlc_csv, "film.csv", id="DeepLabCut csv"),
    pytest.param(write_dlc_hdf5, "film.h5", id="DeepLabCut h5"),
    pytest.param(write_sleap, "film.slp", id="SLEAP project"),
    pytest.param(write_sleap, "film.analysis.h5", id="SLEAP export"),
]
TWO = ("left", "right")


def make_places(num_animals=2, num_points=2, num_frames=NUM_FRAMES):
    """Return places of key points, of which one is missing for a while."""
    rng = np.random.default_rng(num_animals)
    places = rng.uniform(10, 90, (num_frames, num_animals, num_points, 2))
    places[3:5, -1, 0] = np.nan
    return places


@pytest.mark.parametrize(("write", "name"), WRITERS)
@pytest.mark.parametrize("animals", [("",), TWO], ids=["one", "two"])
def test_files_come_back_by_value(tmp_path, write, name, animals):
    """Names and places, also where a point is missing; a single animal has no name."""
    if write is write_sleap:
        pytest.importorskip("sleap_io")
    places = make_places(len(animals))
    found = read_tracks(write(tmp_path / name, places, animals))
    assert (found.animals, found.points) == (animals, ("nose", "tail"))
    np.testing.assert_allclose(found.places, places, atol=1e-4)
    assert found.is_sparse == (write is write_sleap)


def test_the_square_is_around_the_chosen_points(tmp_path):
    """By hand: the middle of the outermost points that were found."""
    places = np.array([[[[10, 20], [30, 60], [500, 500]]], [[[10, 20], [np.nan] * 2, [1, 1]]]])
    write_dlc_csv(tmp_path / "m1DLC_net_1.csv", places, points=("nose", "tail", "lamp"))
    video = Path("m1.mp4")
    found, problems = TrackFolder(tmp_path, ("nose", "tail")).by_video([video])
    assert problems == []
    (region,) = found[video]
    assert region.track.middle.tolist() == [[20, 40], [10, 20]]
    assert region.track.half_extent.tolist() == [[10, 20], [0, 0]]
    assert region.animal == ""
    _, (problem,) = TrackFolder(tmp_path, ("nose", "ear")).by_video([video])
    assert "no key point ear, expected some of nose, tail, lamp" in problem.message


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("m1.csv", "m1.mp4"),
        ("m1DLC_resnet50_studyJun1shuffle1_100000.csv", "m1.mp4"),
        ("m10DLC_resnet50_studyJun1shuffle1_100000_filtered.csv", "m10.mp4"),
        ("m1_tracked.csv", "m1.mp4"),
        ("labels.v002.003_m10.csv", "m10.mp4"),
        ("labels.v002.003_a.001_b.csv", "a.001_b.mp4"),
        ("a.001_b.csv", "a.001_b.mp4"),
    ],
)
def test_files_belong_to_the_video_that_they_are_named_after(tmp_path, name, video):
    """With what DeepLabCut adds behind it, or SLEAP before it."""
    videos = [Path(other) for other in ("m1.mp4", "m10.mp4", "a.001_b.mp4", "b.mp4")]
    write_dlc_csv(tmp_path / name, make_places(1))
    found, problems = TrackFolder(tmp_path).by_video(videos)
    assert [path.name for path in found] == [video]
    assert len(problems) == len(videos) - 1
    assert all("has no tracks in" in problem.message for problem in problems)


def test_one_file_in_two_formats_counts_once_and_two_files_are_a_problem(tmp_path):
    """DeepLabCut writes both; tracks of two networks leave the choice to the user."""
    places, video = make_places(1), Path("m1.mp4")
    write_dlc_csv(tmp_path / "m1DLC_x.csv", places)
    write_dlc_hdf5(tmp_path / "m1DLC_x.h5", places)
    assert TrackFolder(tmp_path).by_video([video])[1] == []
    write_dlc_csv(tmp_path / "m1DLC_y.csv", places)
    _, (problem,) = TrackFolder(tmp_path).by_video([video])
    assert "has several tracks" in problem.message
    assert "m1DLC_y.csv" in problem.message


@pytest.mark.parametrize("stem", ["m1DLC_x", "m1"])
def test_filtered_tracks_go_before_those_they_come_from(tmp_path, caplog, stem):
    """The log says so."""
    caplog.set_level("INFO")
    places, video = make_places(1), Path("m1.mp4")
    write_dlc_csv(tmp_path / f"{stem}.csv", places)
    write_dlc_csv(tmp_path / f"{stem}_filtered.csv", np.full_like(places, 33))
    found, problems = TrackFolder(tmp_path).by_video([video])
    assert problems == []
    assert (found[video][0].track.middle == 33).all()
    assert f"{stem}.csv: filtered tracks are there, too, and are read" in caplog.text


@pytest.mark.parametrize("decimal", [".", ","])
def test_tables_may_have_semicolons(tmp_path, decimal):
    """As a spreadsheet saves them."""
    path, places = tmp_path / "m1.csv", make_places(2)
    text = write_dlc_csv(path, places, TWO).read_text()
    path.write_text(text.replace(",", ";").replace(".", decimal))
    np.testing.assert_allclose(read_tracks(path).places, places)


def test_a_delimiter_in_quotes_is_part_of_a_cell(tmp_path):
    """It does not make the row longer than others."""
    path, places = tmp_path / "m1.csv", make_places(2)
    text = write_dlc_csv(path, places, TWO).read_text()
    path.write_text(text.replace("DLC_net", '"DLC, net"'))
    np.testing.assert_allclose(read_tracks(path).places, places)


def test_an_animal_that_is_never_found_is_left_out(tmp_path):
    """DeepLabCut has as many animals as were planned; a file without any is a problem."""
    places, video = make_places(2), Path("m1.mp4")
    places[:, 1] = np.nan
    places[2, 0] = np.inf
    write_dlc_csv(tmp_path / "m1.csv", places, TWO)
    found, problems = TrackFolder(tmp_path).by_video([video])
    assert problems == []
    (region,) = found[video]
    assert region.animal == "left"
    assert np.isnan(region.track.middle).any(axis=1).nonzero()[0].tolist() == [2]
    write_dlc_csv(tmp_path / "m1.csv", np.full_like(places, np.nan), TWO)
    _, (problem,) = TrackFolder(tmp_path).by_video([video])
    assert "no place of any key point in any frame" in problem.message
    assert "likelihood is below 0.6" in problem.message


class Harm:
    """What an unpickler must not make."""

    def __reduce__(self):
        return (print, ("harm",))


def put_harm(path):
    write_dlc_hdf5(path, make_places(1))
    with h5py.File(path, "a") as file:
        names = pickle.dumps([Harm()], protocol=0)
        file["df_with_missing/table"].attrs["values_block_0_kind"] = np.bytes_(names)


def put_gap(path):
    write_dlc_csv(path, make_places(1))
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:5] + lines[6:]))


def cut_rows(path, *numbers, cells=5):
    """Write tracks with 13 cells a row, of which some lose all but the first ones."""
    lines = write_dlc_csv(path, make_places(2), TWO).read_text().splitlines()
    for number in numbers:
        lines[number - 1] = ",".join(lines[number - 1].split(",")[:cells])
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("name", "put", "message"),
    [
        ("m1.csv", lambda path: cut_rows(path, 7), r"csv:7: found 5 cells, expected 13"),
        ("m1.csv", lambda path: cut_rows(path, 12), r"csv:12: found 5 cells, expected 13"),
        ("m1.csv", lambda path: cut_rows(path, 6, 9), r"csv:6: .*13.* \(2 such rows\)"),
        ("m1.csv", lambda path: cut_rows(path, 4), r"csv:4: found 5 cells"),
        (
            "m1.csv",
            lambda path: write_dlc_csv(path, make_places(1), points=("nose", "nose")),
            "column nose/x twice",
        ),
        (
            "m1.h5",
            lambda path: write_dlc_hdf5(path, make_places(2), ("left", "left")),
            "column left/nose/x twice",
        ),
        (
            "m1.csv",
            lambda path: write_dlc_csv(path, make_places(2), ("left", "")),
            "names its animals 'left', ''",
        ),
        ("m1.csv", lambda path: path.write_text("Frame,Action\n0,rest\n"), "first rows are not"),
        ("m1.csv", lambda path: path.write_text(""), "cannot be read as tracks"),
        ("m1.csv", put_gap, "rows are not frames 0, 1, 2"),
        ("m1.h5", lambda path: path.write_bytes(b"no HDF5"), r"tracks \(it is damaged, cut short"),
        ("m1.h5", lambda path: h5py.File(path, "w").close(), "no table of DeepLabCut"),
        ("m1.h5", put_harm, "column names use"),
        (
            "m1.csv",
            lambda path: write_dlc_csv(path, make_places(2), ("a/b", "c")),
            "names its animals 'a/b', 'c'",
        ),
        (
            "m1.csv",
            lambda path: write_dlc_csv(path, make_places(2), ("Left", "left")),
            "names its animals",
        ),
        ("m1.h5", lambda path: write_dlc_hdf5(path, make_places(num_frames=0)), "holds no tracks"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, name, put, message):
    """With the reason, and without running what they hold."""
    put(tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_tracks(tmp_path / name)
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize(("write", "name"), WRITERS[1:])
def test_damage_is_named_in_plain_words(tmp_path, write, name):
    """Wherever a file is cut, and where bytes of its head are wrong: no words of HDF5."""
    if write is write_sleap:
        pytest.importorskip("sleap_io")
    path, rng = tmp_path / name, np.random.default_rng(0)
    whole = write(path, make_places(), TWO).read_bytes()
    refused = []
    for _ in range(30):
        wrong = bytearray(whole)
        for place in rng.integers(0, 512, 20):
            wrong[place] ^= 0xFF
        for data in (whole[: rng.integers(len(whole))], bytes(wrong)):
            path.write_bytes(data)
            try:
                read_tracks(path)
            except InputError as error:
                refused.append(str(error))
    assert len(refused) > 30
    assert [text for text in refused if "cannot be read as tracks (it" not in text] == []


def test_files_of_sleap_need_the_extra(tmp_path, monkeypatch):
    """The message names it."""
    original = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name == "sleap_io":
            raise ImportError(name)
        return original(name, *arguments, **keywords)

    (tmp_path / "m1.slp").write_bytes(b"")
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"pip install 'mpar\[tracks\]'"):
        TrackFolder(tmp_path).by_video([Path("m1.mp4")])


def test_several_animals_of_sleap_must_be_tracked(tmp_path):
    """Without tracks, they have no names."""
    sleap_io = pytest.importorskip("sleap_io")
    skeleton = sleap_io.Skeleton(nodes=["nose"])
    video = sleap_io.Video(filename="m1.mp4", open_backend=False)
    instances = [
        sleap_io.PredictedInstance.from_numpy(np.full((1, 2), x), skeleton=skeleton)
        for x in (5.0, 9.0)
    ]
    frame = sleap_io.LabeledFrame(video=video, frame_idx=0, instances=instances)
    sleap_io.Labels([frame]).save(str(tmp_path / "m1.slp"))
    with pytest.raises(InputError, match="animals have no tracks"):
        read_tracks(tmp_path / "m1.slp")
