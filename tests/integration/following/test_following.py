"""The network sees squares that follow the animal, in every command."""

from __future__ import annotations

import contextlib
import csv
import logging
import re

import cv2
import numpy as np
import pytest

import mpar.cache.decoding
import mpar.preview
from mpar.cache.store import Store
from mpar.errors import ConfigError, InputError
from mpar.inference import (
    ActionRecognitionInference,
    find_inputs,
    predict_inputs,
)
from mpar.learning.networks import begin_folds, run_folds
from mpar.learning.recipe import TrainConfig
from mpar.learning.signals import TrainingInterruptedError
from mpar.matching.regions import read_regions
from mpar.matching.tracks import TrackFolder
from mpar.network.checkpoint import load_checkpoint
from mpar.network.comparing import compare_with_store
from mpar.network.movement import MovementModel
from mpar.predictions.reading import read_sidecars
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.preview import preview
from mpar.report.preview_plot import plot_following
from mpar.review import ReviewConfig
from mpar.reviewer.study import Study as ReviewStudy
from mpar.train import best_checkpoint, resume_training, train
from mpar.video.following import Following
from mpar.video.regions import Region
from mpar.video.videos import Decoding
from tests.fixtures.helpers import assert_equal_weights, interrupt_after, run
from tests.fixtures.synthetic import write_annotation, write_video
from tests.integration.following.films import (
    FOLLOW,
    HEIGHT,
    NUM_FRAMES,
    SIDE,
    TRAINING,
    WIDTH,
    ask_for_squares,
    draw,
    spy_on,
    write_chamber,
    write_study,
)
from tests.unit.reviewer.asking import Asker


def test_prediction_sees_the_squares_of_preprocessing(study, monkeypatch):
    """By value: those of the cache, of the cache predicted, and of the video."""
    network = ActionRecognitionInference(best_checkpoint(study / "run"), "cpu")
    assert network.checkpoint.following == Following(SIDE, 32)
    assert network.checkpoint.seen_size == (32, 32)
    seen = spy_on(monkeypatch, network)
    with Store(study / "cache.h5") as store:
        assert (store.frame_size, store.seen.frame_size) == ((32, 48), (32, 32))
        squares = store.seen.frames(2)
        assert len(np.unique(store.corners(2), axis=0)) > 20  # it does follow
        of_cache = network.predict_recording(store, 2)
        np.testing.assert_array_equal(seen, squares)
        seen.clear()
        of_video = network.predict(study / "Videos" / "m2.mp4")
        np.testing.assert_array_equal(seen, squares)
        np.testing.assert_array_equal(of_video.probabilities, of_cache.probabilities)
        for found in (of_cache, of_video):  # and each keeps where they were
            assert found.squares.side == SIDE
            np.testing.assert_array_equal(found.squares.corners, store.corners(2))


def test_predictions_keep_their_squares(study, tmp_path):
    """The JSON file holds them, and an exported video shows them where the network saw them."""
    network = ActionRecognitionInference(best_checkpoint(study / "run"), "cpu")
    inputs, _ = find_inputs([study / "Videos" / "m2.mp4"])
    predict_inputs(network, inputs, tmp_path / "p")
    (stored,), _, _ = read_sidecars(tmp_path / "p")
    with Store(study / "cache.h5") as store:
        corners = store.corners(2)
    np.testing.assert_array_equal(stored.squares().corners, corners)
    how = ["--format", "video", "--videos", study / "Videos"]
    for options in ([], ["--squares"]):
        out = tmp_path / f"out{len(options)}"
        result = run("export", tmp_path / "p", *how, *options, "-o", out)
        assert result.exit_code == 0, result.output
    plain, drawn = (
        np.stack(list(Decoding(tmp_path / f"out{n}" / "m2_scored.mp4"))).astype(int) for n in (0, 1)
    )
    scale = -(-320 // WIDTH)
    for i in (0, 30, NUM_FRAMES - 1):
        changed = (abs(drawn[i] - plain[i]) > 40)[: HEIGHT * scale, : WIDTH * scale]
        rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
        ends = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        (x, y), side = corners[i] * scale, SIDE * scale
        assert np.abs(np.array(ends) - (y, y + side, x, x + side)).max() <= scale
    sidecar = tmp_path / "p" / "m2_predictions.json"
    text = sidecar.read_text()
    for damage in ('"moves": ""', '"moves": "1:2,3"', '"moves": "0:2"', '"moves": 3'):
        sidecar.write_text(re.sub('"moves": ".*"', damage, text))
        result = run("export", tmp_path / "p", *how, "--squares", "-o", tmp_path / "out3")
        assert "holds squares that mpar-predict did not write" in result.output
    sidecar.write_text(re.sub('"squares": {[^}]*}', '"squares": null', text))
    result = run("export", tmp_path / "p", *how, "--squares", "-o", tmp_path / "out3")
    assert result.exit_code == 2
    assert "--follow or --tracks" in result.output


def test_the_page_gets_squares_of_predictions_and_of_tracks(study, tmp_path):
    """Frame, x and y of each move; none of a prediction if the scorer is blind."""
    network = ActionRecognitionInference(best_checkpoint(study / "run"), "cpu")
    inputs, _ = find_inputs([study / "Videos" / "m2.mp4"])
    (found,) = predict_inputs(network, inputs, tmp_path / "p").written
    assert ask_for_squares(study / "Videos", tmp_path, tmp_path / "p", name="m2") == {
        "side": SIDE,
        "moves": found.squares.moves(),
    }
    blind = {"is_blind": True, "name": "m2", "annotator": "ben"}
    assert ask_for_squares(study / "Videos", tmp_path, tmp_path / "p", **blind) is None
    videos, _, tracks, _ = write_chamber(tmp_path / "chamber")
    folder = TrackFolder(tracks)
    for animal, y in (("left", 35), ("right", 60)):
        squares = ask_for_squares(videos, tmp_path, None, name=f"c0__{animal}", regions=folder)
        assert squares["side"] == 25  # 1.4 times 18 px
        places = np.array(squares["moves"])
        assert (abs(places[:, 2] + 12.5 - y) < 1).all()
        assert abs(places[0, 1] + 12.5 - (25 if animal == "left" else 100)) < 5


def test_the_page_refuses_tracks_of_another_length(tmp_path):
    """A video cut after tracking would show squares beside the animal."""
    videos, _, tracks, _ = write_chamber(tmp_path)
    path = tracks / "c0DLC_net_1.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    config = ReviewConfig(annotator="anna", regions=TrackFolder(tracks))
    with contextlib.closing(ReviewStudy(videos, tmp_path / "out", None, config)) as study:
        assert "has 70 frames, its tracks in c0DLC_net_1.csv 69" in str(
            Asker(study).state("c0__left")
        )


def test_the_movement_model_sees_whole_pictures(study, tmp_path):
    """It is the one that a cache without squares gives."""
    plain = tmp_path / "plain.h5"
    preprocess(
        study / "Videos", study / "Annotations", plain, config=PreprocessConfig(size=(32, 48))
    )
    folder = train(
        plain, tmp_path, config=TRAINING, split_path=study / "run" / "split.csv", device="cpu"
    )
    with_squares, without = (
        MovementModel.from_dict(load_checkpoint(best_checkpoint(run)).experts["movement"])
        for run in (study / "run", folder)
    )
    np.testing.assert_array_equal(with_squares.linear.coefficients, without.linear.coefficients)


def test_training_resumes_to_the_same_weights(study, tmp_path, monkeypatch):
    """An interrupted run on squares ends like one that was not."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        with pytest.raises(TrainingInterruptedError):
            train(study / "cache.h5", tmp_path, config=TRAINING, run_name="run", device="cpu")
    resume_training(tmp_path / "run", device="cpu")
    assert_equal_weights(best_checkpoint(tmp_path / "run"), best_checkpoint(study / "run"))


@pytest.mark.usefixtures("no_figures")
@pytest.mark.slow
def test_folds_follow_without_being_told(study, tmp_path):
    """Each fold learns from squares, and is scored on them."""
    config = TrainConfig(model_type="light", num_epochs=1, batch_size=4, window=12)
    folds = begin_folds(study / "cache.h5", tmp_path, num_folds=3, config=config, device="cpu")
    run_folds(folds, device="cpu")
    assert load_checkpoint(best_checkpoint(folds / "fold_1")).following == Following(SIDE, 32)


def test_a_cache_that_shows_something_else_is_refused(study, tmp_path):
    """A network of squares does not predict from whole pictures or other squares."""
    network = ActionRecognitionInference(best_checkpoint(study / "run"), "cpu")
    for number, config in enumerate(
        (
            PreprocessConfig(size=(32, 48)),
            PreprocessConfig(size=(32, 48), follow=True, follow_size=SIDE + 2),
        )
    ):
        other = tmp_path / f"{number}.h5"
        preprocess(study / "Videos", study / "Annotations", other, config=config)
        with Store(other) as store:
            shown = "whole pictures" if number == 0 else "squares of 42 px"
            message = f"shows {shown}.*expected squares of 40 px.*--follow-size 40"
            with pytest.raises(ConfigError, match=message):
                compare_with_store(network, store, [0])
        with pytest.raises(ConfigError, match="follow_size"):
            Store([study / "cache.h5", other])
        with pytest.raises(ConfigError, match="follow_size was 40"):
            preprocess(study / "Videos", study / "Annotations", study / "cache.h5", config=config)


def test_joined_caches_show_their_squares(study, tmp_path):
    """In the order of the caches."""
    places = write_study(tmp_path, ["x", "y"], first_seed=6)
    preprocess(*places, tmp_path / "b.h5", config=FOLLOW)
    with Store([tmp_path / "b.h5", study / "cache.h5"][::-1]) as both:
        with Store(tmp_path / "b.h5") as store:
            np.testing.assert_array_equal(both.seen.frames(6), store.seen.frames(0))
            np.testing.assert_array_equal(both.corners(6), store.corners(0))
        assert both.seen.frame_size == (32, 32)


def test_a_killed_run_continues_with_the_same_squares(study, tmp_path, monkeypatch):
    """What is there is not decoded again, and the cache is the same, byte for byte."""
    original = mpar.cache.decoding.stage_video

    def stage(path, *arguments, on_frames, **keywords):
        def counting(num_frames):
            on_frames(num_frames)
            if path.stem == "m3":
                raise KeyboardInterrupt

        return original(path, *arguments, on_frames=counting, **keywords)

    places, cache = (study / "Videos", study / "Annotations"), tmp_path / "cache.h5"
    monkeypatch.setattr(mpar.cache.decoding, "stage_video", stage)
    with pytest.raises(KeyboardInterrupt):
        preprocess(*places, cache, config=FOLLOW, workers=1)
    monkeypatch.setattr(mpar.cache.decoding, "stage_video", original)
    assert preprocess(*places, cache, config=FOLLOW).num_decoded == 3
    with Store(cache) as store, Store(study / "cache.h5") as whole:
        assert store.fingerprint == whole.fingerprint
        assert store.verify() == []


def test_a_new_video_keeps_the_squares_of_the_others(study, tmp_path):
    """They are copied, with the side that the cache has; only the new video is decoded."""
    places = write_study(tmp_path, ["a0", "m0", "m1"])
    (places[0] / "a0.mp4").rename(tmp_path / "a0.mp4")
    (places[1] / "a0.csv").rename(tmp_path / "a0.csv")
    measured = PreprocessConfig(size=(32, 48), follow=True)
    cache = tmp_path / "cache.h5"
    preprocess(*places, cache, config=measured)
    with Store(cache) as store:
        before, side = store.seen.frames(0).copy(), store.following.side
        corners = store.corners(0)
    assert 30 <= side <= 60  # the ellipse is 20 px long
    (tmp_path / "a0.mp4").rename(places[0] / "a0.mp4")
    (tmp_path / "a0.csv").rename(places[1] / "a0.csv")
    report = preprocess(*places, cache, config=measured)
    assert report.num_decoded == 1
    with Store(cache) as store:
        assert store.following.side == side
        assert store.recordings[1].name == "m0"
        np.testing.assert_array_equal(store.seen.frames(1), before)
        np.testing.assert_array_equal(store.corners(1), corners)
        assert store.verify() == []
    assert not preprocess(*places, cache, config=measured).is_written


def test_each_region_has_its_own_square(study, tmp_path, monkeypatch):
    """In a rack, a square stays in its chamber, and prediction finds the same."""
    both = [draw(seed) for seed in (0, 1)]
    folder = tmp_path / "rack"
    for part in ("Videos", "Annotations"):
        (folder / part).mkdir(parents=True)
    write_video(folder / "Videos" / "r.mp4", np.concatenate([f for f, _ in both], axis=2))
    for animal, (_, codes) in zip("ab", both, strict=True):
        write_annotation(folder / "Annotations" / f"r__{animal}.csv", codes)
    with (folder / "regions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["Video", "Animal", "X", "Y", "Width", "Height"],
                ["*", "a", 0, 0, WIDTH, HEIGHT],
                ["*", "b", WIDTH, 0, WIDTH, HEIGHT],
            ]
        )
    regions = read_regions(folder / "regions.csv")
    config = PreprocessConfig(size=(32, 48), follow=True, follow_size=SIDE, regions=regions)
    preprocess(folder / "Videos", folder / "Annotations", folder / "c.h5", config=config)
    network = ActionRecognitionInference(best_checkpoint(study / "run"), "cpu")
    with Store(folder / "c.h5") as store:
        assert [info.name for info in store.recordings] == ["r__a", "r__b"]
        left, right = store.corners(0)[:, 0], store.corners(1)[:, 0]
        assert ((left >= 0) & (left <= WIDTH - SIDE)).all()
        assert ((right >= WIDTH) & (right <= 2 * WIDTH - SIDE)).all()
        seen = spy_on(monkeypatch, network)
        network.predict_regions(folder / "Videos" / "r.mp4", [Region("b", WIDTH, 0, WIDTH, HEIGHT)])
        np.testing.assert_array_equal(seen, store.seen.frames(1))


def test_an_animal_that_never_moves_is_reported(study, tmp_path, caplog):
    """Preprocessing warns, and without any other video there is no size to measure."""
    places = write_study(tmp_path, ["still"])
    frames, _ = draw(0)
    write_video(places[0] / "still.mp4", np.repeat(frames[:1], NUM_FRAMES, axis=0))
    report = preprocess(*places, tmp_path / "c.h5", config=FOLLOW)
    assert "shows no animal that moves in all of 70 frames" in report.recordings[0].warnings[-1]
    with Store(tmp_path / "c.h5") as store:
        assert (store.corners(0) == -1).all()
    with pytest.raises(ConfigError, match=r"no animal moves .*--follow-size"):
        preprocess(*places, tmp_path / "d.h5", config=PreprocessConfig(size=(32, 32), follow=True))


@pytest.mark.slow
def test_starting_from_a_network_of_whole_pictures_is_reported(study, tmp_path, caplog):
    """Animals have another size for it."""
    plain = tmp_path / "plain.h5"
    preprocess(
        study / "Videos", study / "Annotations", plain, config=PreprocessConfig(size=(32, 48))
    )
    with caplog.at_level(logging.WARNING):
        train(
            plain,
            tmp_path,
            config=TRAINING,
            init_path=best_checkpoint(study / "run"),
            device="cpu",
        )
    assert "will see whole pictures, but that of --init learnt from squares of 40 px" in caplog.text


def test_preview_draws_the_squares_of_preprocessing(study, tmp_path, monkeypatch):
    """Evenly spaced frames, then the frames with the smallest, largest and least sure animal."""
    strips = []

    def plot(rows):
        strips.extend(rows)
        return plot_following(rows)

    monkeypatch.setattr(mpar.preview, "plot_following", plot)
    how = {"size": (32, 48), "follow": True, "follow_size": SIDE}
    assert preview(study / "Videos", tmp_path / "p.png", **how) == []
    with Store(study / "cache.h5") as store:
        for number, row in enumerate(strips):
            corners, squares = store.corners(number), store.seen.frames(number)
            assert [shown.caption for shown in row.frames] == [
                f"frame {i}" for i in (0, 23, 46, 69)
            ]
            for i, shown in zip((0, 23, 46, 69), row.frames, strict=True):
                assert shown.square[:2] == tuple(corners[i])
                assert shown.picture.shape == (HEIGHT, WIDTH)
            kinds, frames = zip(
                *(shown.caption.split(": frame ") for shown in row.cuts), strict=True
            )
            assert kinds == ("smallest", "largest", "least sure")
            for i, shown in zip(map(int, frames), row.cuts, strict=True):
                np.testing.assert_array_equal(shown.picture, squares[i])
            lengths = [shown.square.length for shown in row.cuts]
            assert lengths[0] <= lengths[2] <= lengths[1] or lengths[2] == 0
    picture = cv2.imread(str(tmp_path / "p.png"))
    edge = np.array([16, 176, 248])  # of the squares, in OpenCV's order
    assert (np.abs(picture.astype(int) - edge).max(axis=2) < 20).sum() > 500


def test_preview_measures_the_square_and_shows_what_never_moves(study, tmp_path, caplog):
    """A video without movement is shown whole."""
    places = write_study(tmp_path, ["a", "still"])
    frames, _ = draw(0)
    write_video(places[0] / "still.mp4", np.repeat(frames[:1], NUM_FRAMES, axis=0))
    with caplog.at_level(logging.INFO):
        assert preview(places[0], tmp_path / "p.png", size=(32, 32), follow=True) == []
    assert "the network sees squares of" in caplog.text
    with pytest.raises(InputError, match="is smaller than the square"):
        preview(places[0], tmp_path / "q.png", follow=True, follow_size=HEIGHT + 1)
    assert not (tmp_path / "q.png").exists()
