"""Squares around the tracks of other programs, by value."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError
from mpar.inference import (
    ActionRecognitionInference,
    find_inputs,
    predict_inputs,
    predict_multiple_videos,
)
from mpar.learning.recipe import TrainConfig
from mpar.matching.tracks import TrackFolder
from mpar.network.checkpoint import load_checkpoint
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.preview import preview
from mpar.train import best_checkpoint, train
from mpar.video.following import Following
from tests.fixtures.helpers import run
from tests.fixtures.tracks import write_dlc_csv
from tests.integration.following.films import GREYS, NUM_FRAMES, SIDE, tracked, write_chamber


def test_two_animals_in_one_chamber_are_not_swapped(study, tmp_path):
    """Labels, squares and predictions by value, though their paths cross."""
    videos, labels, tracks, codes = write_chamber(tmp_path, num_videos=3)
    cache = tmp_path / "cache.h5"
    report = preprocess(videos, labels, cache, config=tracked(tracks))
    assert report.problems == ()
    config = TrainConfig(model_type="light", num_epochs=1, batch_size=4, window=12)
    folder = train(cache, tmp_path, config=config, device="cpu")
    network = ActionRecognitionInference(best_checkpoint(folder), "cpu")
    with Store(cache) as store:
        names = [info.name for info in store.recordings]
        assert names == [f"c{i}__{animal}" for i in range(3) for animal in GREYS]
        for i, name in enumerate(names):
            animal = name.split("__")[1]
            np.testing.assert_array_equal(store.codes(i)[0], codes[animal])
            # the middle of the square is the animal, give or take a wall
            middle = store.seen.frames(i)[12:-12, 15:17, 15:17]
            assert np.abs(middle.astype(int) - GREYS[animal]).max() < 40
            x = store.corners(i)[:, 0]
            assert (np.diff(x) >= 0).all() if animal == "left" else (np.diff(x) <= 0).all()
        inputs, problems = find_inputs([videos], TrackFolder(tracks))
        assert problems == []
        done = predict_inputs(network, inputs, tmp_path / "predictions")
        assert [item.name for item in done.written] == names
        for i, name in enumerate(names):
            of_cache = network.predict_recording(store, i)
            with (tmp_path / "predictions" / f"{name}_predictions.csv").open() as file:
                rows = list(csv.DictReader(file))
            found = [float(row["rest_prob"]) for row in rows]
            np.testing.assert_allclose(found, of_cache.probabilities[:, 0], atol=1e-6)
        both = [network.predict_recording(store, i).probabilities for i in (0, 1)]
        assert np.abs(both[0] - both[1]).max() > 1e-3  # a swap would show
        # the movement model sees both animals in every picture, so it cannot tell them apart
        assert network.experts.powers == {"network": 1.0, "movement": 0.0, "features": 0.0}
    again = predict_inputs(network, inputs, tmp_path / "predictions")
    assert sorted(again.kept) == names
    message = "preprocess with --tracks FOLDER --track-points nose,tail --follow-size 40 into"
    with Store(study / "cache.h5") as store, pytest.raises(ConfigError, match=message):
        network.predict_recording(store, 0)
    hide_most(tracks / "c0DLC_net_1.csv")
    inputs, _ = find_inputs([videos / "c0.mp4"], network.regions_with(tracks))
    done = predict_inputs(network, inputs, tmp_path / "hidden")
    for item in done.written:
        (warning,) = [text for text in item.warnings if "key point" in text]
        assert "in 86 % of the frames (60 of 70)" in warning
        assert warning.endswith("track the video again, since labels of these frames may be wrong")
    places = np.full((NUM_FRAMES, 2, 2, 2), 40.0)
    write_dlc_csv(tracks / "c0DLC_net_1.csv", places, tuple(GREYS), ("nose", "ear"))
    _, (problem,) = find_inputs([videos / "c0.mp4"], network.regions_with(tracks))
    assert "has no key point tail, expected some of nose, ear" in problem.message


@pytest.mark.parametrize("how", [[], ["--folds", "2"], ["--learning-curve"]])
def test_movement_alone_cannot_tell_animals_of_one_picture_apart(tmp_path, how):
    """Training is refused, and leaves no folder."""
    videos, labels, tracks, _ = write_chamber(tmp_path, num_videos=3)
    preprocess(videos, labels, tmp_path / "c.h5", config=tracked(tracks))
    result = run("train", tmp_path / "c.h5", "--model", "none", *how, "-o", tmp_path / "runs")
    assert result.exit_code == 2
    assert "nothing tells animals of one picture apart; pass --features" in result.output
    assert not (tmp_path / "runs").exists()


def hide_most(path):
    """Leave the key points of the first ten frames of tracks."""
    places = np.full((NUM_FRAMES, 2, 2, 2), np.nan)
    places[:10] = 40
    write_dlc_csv(path, places, tuple(GREYS))


def test_tracks_without_key_points_are_a_warning(tmp_path):
    """A square that stays shows the floor, so preprocessing says so."""
    videos, labels, tracks, _ = write_chamber(tmp_path)
    hide_most(tracks / "c0DLC_net_1.csv")
    report = preprocess(videos, labels, tmp_path / "c.h5", config=tracked(tracks))
    assert report.problems == ()
    for info in report.recordings:
        (warning,) = [text for text in info.warnings if "key point" in text]
        assert "in 86 % of the frames (60 of 70), so the square stays where it was" in warning
        assert warning.endswith("track the video again, or pass other --track-points")


def test_tracks_are_kept_apart_from_squares_that_mpar_finds(study, tmp_path):
    """Caches, networks and predictions with and without tracks do not mix."""
    videos, labels, tracks, _ = write_chamber(tmp_path)
    cache = tmp_path / "cache.h5"
    preprocess(videos, labels, cache, config=tracked(tracks))
    found = ActionRecognitionInference(best_checkpoint(study / "run"), "cpu")
    message = r"follow tracks \(nose, tail\).*preprocess with --follow-size 40, without --tracks,"
    with Store(cache) as store, pytest.raises(ConfigError, match=message):
        found.predict_recording(store, 0)
    message = "found tracks of .*, expected no tracks as in .*the same --tracks"
    with pytest.raises(ConfigError, match=message):
        Store([study / "cache.h5", cache])
    followed = PreprocessConfig(size=(32, 48), follow=True, follow_size=SIDE)
    message = "tracks was of .*, now not given"
    with pytest.raises(ConfigError, match=message):
        preprocess(videos, labels, cache, config=followed)
    inputs, _ = find_inputs([videos], TrackFolder(tracks))
    (problem,) = predict_inputs(found, inputs, tmp_path / "p").problems
    # the path says which video
    assert problem.message.startswith(
        "the network learnt from squares of 40 px that follow the animal"
    )
    assert "drop --tracks" in problem.message


def write_other_points(path):
    """Write tracks with a third key point."""
    places = np.full((NUM_FRAMES, 2, 3, 2), 50.0)
    write_dlc_csv(path, places, tuple(GREYS), ("nose", "tail", "ear"))


def test_a_cache_names_all_key_points(tmp_path, monkeypatch):
    """Tracks with other ones would shift the squares; a cache that names none goes on as before."""
    videos, labels, tracks, _ = write_chamber(tmp_path, num_videos=2)
    cache, old = tmp_path / "c.h5", tmp_path / "old.h5"
    preprocess(videos, labels, cache, config=tracked(tracks))
    with monkeypatch.context() as patch:
        patch.setattr("mpar.preprocess.name_points", lambda videos, config, old: config.regions)
        preprocess(videos, labels, old, config=tracked(tracks))
    assert not preprocess(videos, labels, old, config=tracked(tracks)).is_written
    for path, points in ((cache, ("nose", "tail")), (old, ())):
        with Store(path) as store:
            assert store.following.points == points
    write_other_points(tracks / "c1DLC_net_1.csv")
    message = "c1DLC_net_1.csv: found the key points ear, nose, tail, expected nose, tail as in c0"
    with pytest.raises(ConfigError, match=f"{message}.*--track-points"):
        preprocess(videos, labels, cache, config=tracked(tracks))
    write_other_points(tracks / "c0DLC_net_1.csv")
    with pytest.raises(ConfigError, match="tracks was of nose, tail, now of ear, nose, tail"):
        preprocess(videos, labels, cache, config=tracked(tracks))


def test_the_order_of_key_points_does_not_matter(tmp_path):
    """Also that of a cache of an earlier version, which kept it."""
    videos, labels, tracks, _ = write_chamber(tmp_path)
    folder = TrackFolder(tracks, ("nose", "tail"))
    object.__setattr__(folder, "points", ("tail", "nose"))
    old = PreprocessConfig(size=(32, 48), follow=True, follow_size=SIDE, regions=folder)
    assert preprocess(videos, labels, tmp_path / "c.h5", config=old).is_written
    again = dataclasses.replace(old, regions=TrackFolder(tracks, ("nose", "tail")))
    assert not preprocess(videos, labels, tmp_path / "c.h5", config=again).is_written
    with Store(tmp_path / "c.h5") as store:
        assert store.following == Following.of(old.to_dict()) == Following.of(again.to_dict())


def test_changed_tracks_are_followed_anew(tmp_path):
    """Only if asked. Frames of unchanged tracks are copied; those of others are decoded again."""
    videos, labels, tracks, _ = write_chamber(tmp_path, num_videos=2)
    cache = tmp_path / "cache.h5"
    preprocess(videos, labels, cache, config=tracked(tracks))
    with Store(cache) as store:
        before = [store.corners(i) for i in range(4)]
    places = np.full((NUM_FRAMES, 2, 2, 2), 50.0)
    places[:, 1] = 70
    write_dlc_csv(tracks / "c1DLC_net_1.csv", places, tuple(GREYS))
    with pytest.raises(ConfigError, match=r"the tracks of c1__left, c1__right differ.*--overwrite"):
        preprocess(videos, labels, cache, config=tracked(tracks))
    with Store(cache) as store:
        np.testing.assert_array_equal(store.corners(2), before[2])
    preprocess(videos, labels, cache, config=tracked(tracks), overwrite=True)
    with Store(cache) as store:
        np.testing.assert_array_equal(store.corners(0), before[0])
        assert (store.corners(2) == 50 - SIDE / 2).all()
        assert store.verify() == []


def test_tracks_of_another_length_are_a_problem(tmp_path):
    """A video cut after tracking would shift every place, so it is left out."""
    videos, labels, tracks, _ = write_chamber(tmp_path, num_videos=2)
    path = tracks / "c1DLC_net_1.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    (tracks / "c0DLC_net_1.csv").rename(tracks / "c0.csv")
    report = preprocess(videos, labels, tmp_path / "c.h5", config=tracked(tracks))
    assert [info.name for info in report.recordings] == ["c0__left", "c0__right"]
    (problem,) = report.problems
    assert "has 70 frames, its tracks in c1DLC_net_1.csv 69" in problem.message


def test_labels_of_animals_need_tracks_that_name_them(tmp_path):
    """Tracks of one animal cannot say whose labels these are; nobody becomes an annotator."""
    videos, labels, tracks, _ = write_chamber(tmp_path, num_videos=2)
    write_dlc_csv(tracks / "c1DLC_net_1.csv", np.full((NUM_FRAMES, 1, 2, 2), 20.0), ("left",))
    report = preprocess(videos, labels, tmp_path / "c.h5", config=tracked(tracks))
    assert [info.name for info in report.recordings] == ["c0__left", "c0__right"]
    assert {problem.code for problem in report.problems} == {"no-animal"}
    assert len(report.problems) == 2


def test_tracks_of_another_size_are_a_problem(tmp_path):
    """Tracks of the full-size video lie mostly outside the small one; no square shows a floor."""
    videos, labels, tracks, _ = write_chamber(tmp_path, num_videos=2)
    places = np.full((NUM_FRAMES, 2, 2, 2), 500.0)
    write_dlc_csv(tracks / "c1DLC_net_1.csv", places, tuple(GREYS))
    report = preprocess(videos, labels, tmp_path / "c.h5", config=tracked(tracks))
    assert [info.name for info in report.recordings] == ["c0__left", "c0__right"]
    assert "in 100% of the frames its tracks in c1DLC" in report.problems[0].message


def test_no_usable_tracks_are_problems_not_a_fault(tmp_path):
    """Also if the side of the squares is to be measured from them."""
    videos, labels, tracks, _ = write_chamber(tmp_path)
    config = PreprocessConfig(
        size=(32, 48), follow=True, regions=TrackFolder(tracks, ("no_such_point",))
    )
    with pytest.raises(InputError, match="has no key point no_such_point"):
        preprocess(videos, labels, tmp_path / "c.h5", config=config)


def test_the_side_comes_from_the_tracks(tmp_path, caplog):
    """The ends of an animal are 18 px apart; one point alone has no length."""
    videos, labels, tracks, _ = write_chamber(tmp_path)
    folder = TrackFolder(tracks)
    config = PreprocessConfig(size=(32, 48), follow=True, regions=folder)
    preprocess(videos, labels, tmp_path / "c.h5", config=config)
    with Store(tmp_path / "c.h5") as store:
        assert store.following == Following(25, 32, ("nose", "tail"))  # 1.4 times 18 px
    config = PreprocessConfig(size=(32, 48), follow=True, regions=TrackFolder(tracks, ("nose",)))
    with pytest.raises(ConfigError, match=r"all at one place.*--follow-size"):
        preprocess(videos, labels, tmp_path / "d.h5", config=config)
    strips = tmp_path / "p.png"
    assert preview(videos, strips, size=(32, 48), follow=True, regions=folder) == []
    assert strips.exists()


def test_commands_take_tracks(tmp_path):
    """Preprocess and predict, from the command line; without tracks, prediction says what to do."""
    videos, labels, tracks, _ = write_chamber(tmp_path, num_videos=3)
    cache = tmp_path / "cache.h5"
    how = ["--size", "32", "--tracks", tracks, "--track-points"]
    for points in ("tail,nose", "nose,tail,nose"):  # one and the same
        result = run("preprocess", videos, labels, "-o", cache, *how, points)
        assert result.exit_code == 0, result.output
    config = TrainConfig(model_type="light", num_epochs=1, batch_size=4, window=12)
    best = best_checkpoint(train(cache, tmp_path, config=config, device="cpu"))
    assert load_checkpoint(best).following.points == ("nose", "tail")
    out = tmp_path / "predictions"
    result = run("predict", best, videos, "-o", out, "--tracks", tracks)
    assert result.exit_code == 0, result.output
    assert (out / "c2__right_predictions.csv").exists()
    again = run("predict", best, videos, "-o", out, "--tracks", tracks)
    assert "already there and kept" in " ".join(again.output.split()), again.output
    # corrected tracks show other squares, so no prediction of the old ones is kept
    text = (tracks / "c2DLC_net_1.csv").read_text()
    (tracks / "c2DLC_net_1.csv").write_text(text.replace("\n3,", "\n3,1", 1))
    refused = run("predict", best, videos, "-o", out, "--tracks", tracks)
    assert refused.exit_code == 2, refused.output
    assert "c2__" in refused.output
    (tracks / "c2DLC_net_1.csv").write_text(text)
    paths = predict_multiple_videos(best, [videos], tmp_path / "door", tracks=tracks)
    assert [path.name for path in paths] == [
        f"c{i}__{animal}_predictions.csv" for i in range(3) for animal in GREYS
    ]
    assert {path.read_text() == (out / path.name).read_text() for path in paths} == {True}
    # an animal whose key points are further apart than in training is named, with what to do here
    wide = np.full((NUM_FRAMES, 2, 2, 2), 50.0)
    wide[:, 0, :, 0] = [30, 90]
    wide[:, 1, :, 0] = [45, 55]
    write_dlc_csv(tracks / "c1DLC_net_1.csv", wide, tuple(GREYS))
    warned = run("predict", best, videos / "c1.mp4", "-o", tmp_path / "wide", "--tracks", tracks)
    text = " ".join(warned.output.split())
    assert "c1__left: the animal reaches beyond its square in 100 % of the frames" in text
    assert "film it as small as in training" in text
    assert "--follow-size" not in text
    assert "c1__right: the animal" not in text
    result = run("predict", best, videos, "-o", tmp_path / "other")
    assert result.exit_code == 2
    assert "pass --tracks with those of this video" in result.output
    result = run("info", cache)
    assert "follow tracks (nose, tail)" in result.output
    result = run("preprocess", videos, labels, "-o", cache, "--track-points", "nose")
    assert result.exit_code == 2
