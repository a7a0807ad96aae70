"""Several caches read as one: every frame by value, the same training, and what is refused."""

import json
import pickle

import numpy as np
import pytest

from mpar.cache.clips import ClipSampler
from mpar.cache.store import Store
from mpar.errors import ConfigError, StoreError
from mpar.labels.classes import ClassMap
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import PARTS
from mpar.matching.regions import read_regions
from mpar.network.checkpoint import load_checkpoint
from mpar.network.comparing import _labelled
from mpar.preprocess import PreprocessConfig, preprocess
from mpar.train import best_checkpoint, resume_training, train
from tests.fixtures.helpers import assert_equal_weights, make_store, run
from tests.fixtures.synthetic import draw_frame_numbers, write_annotation, write_video

LABELS = np.tile(np.repeat([0, 1, 2, 6], 5), 2).astype(np.int8) % 6


def film(number, num_frames=40, side=16):
    """Frames that say which recording they are of, and their number."""
    frames = np.full((num_frames, side, side), number, np.uint8)
    frames[:, 0, 0] = np.arange(num_frames)
    return frames


def write(path, recordings, **more):
    """Write a cache and return its path."""
    with make_store(path, recordings, **more) as store:
        return store.path


def studies(tmp_path, sizes=(3, 3), *, same_names=False):
    """Write a cache of all recordings, and one for each part of them."""
    recordings = [(f"g{i}", LABELS, film(i)) for i in range(sum(sizes))]
    whole = write(tmp_path / "whole.h5", recordings)
    parts, start = [], 0
    for number, size in enumerate(sizes):
        path = tmp_path / f"study{number}.h5"
        first, content = (0, start) if same_names else (start, 0)
        parts.append(write(path, recordings[start : start + size], first=first, content=content))
        start += size
    return whole, parts


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_recordings_follow_each_other(tmp_path, access):
    """Everything that a cache can be asked for is that of the recording at this position."""
    whole, parts = studies(tmp_path, (2, 1, 3))
    with Store(whole) as one, Store(parts, access=access) as many:
        assert many.recordings == one.recordings
        for i in range(6):
            for name in ("labels", "codes", "source_frame", "times", "chunk_hashes", "frames"):
                np.testing.assert_array_equal(getattr(many, name)(i), getattr(one, name)(i))
            assert np.array_equal([*many.stream_steps(i)], film(i))
            assert many.line(i).to_dict() == one.line(i).to_dict()
            out = np.empty((5, 16, 16), np.uint8)
            many.copy_steps(i, 3, 8, out)
            np.testing.assert_array_equal(out, film(i)[3:8])
        assert many.verify() == []
        again = pickle.loads(pickle.dumps(many))
        np.testing.assert_array_equal(again.frames(4), film(4))
        again.close()


@pytest.mark.parametrize("access", ["mmap", "pread"])
def test_a_batch_mixes_caches(tmp_path, access):
    """Clips of both caches in one batch, at the edges of recordings too, as of one cache."""
    whole, parts = studies(tmp_path)
    rng = np.random.default_rng(0)
    samples = np.stack([rng.integers(6, size=64), rng.integers(40, size=64)], axis=1)
    with Store(whole) as one, Store(parts, access=access) as many:
        expected, labels = ClipSampler(one, clip_length=8, window=3).gather(samples)
        found, others = ClipSampler(many, clip_length=8, window=3).gather(samples)
        assert (found == expected).all()
        assert (labels == others).all()
        assert {int(clip[0, 0, 1, 1]) for clip in found} == {*range(6)}


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["light", "fast"])
def test_training_on_two_caches_equals_that_on_one(tmp_path, model_type):
    """To the bit; the run resumes without naming them again, and both are evaluated together."""
    whole, parts = studies(tmp_path)
    config = TrainConfig(
        model_type=model_type, clip_length=8, num_epochs=2, batch_size=4, sampling="balanced"
    )
    one = train(whole, tmp_path / "one", config=config, device="cpu")
    many = train(parts, tmp_path / "many", config=config, device="cpu")
    assert_equal_weights(one / "last.pt", many / "last.pt")
    resume_training(many, device="cpu")
    options = ["--part", "all", "-o", tmp_path / "e", "--device", "cpu"]
    evaluated = run("evaluate", best_checkpoint(many), *parts, *options)
    assert evaluated.exit_code == 0, evaluated.output
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert metrics["cache"] == [str(path) for path in parts]
    assert len(metrics["recordings"]) == 6


@pytest.mark.slow
def test_command_takes_several_caches(tmp_path):
    """Also cross-validation, whose folds read the same caches; a lost one is named.

    Recordings of both have the same names, and a run goes on wherever the caches are.
    """
    _, parts = studies(tmp_path, same_names=True)
    options = ["--model", "light", "--clip-length", 8, "--epochs", 1, "--device", "cpu"]
    result = run("train", *parts, "-o", tmp_path / "runs", "--folds", 2, *options)
    assert result.exit_code == 0, result.output
    (folds,) = (tmp_path / "runs").iterdir()
    plan = json.loads((folds / "folds.json").read_text())
    assert plan["cache"] == [str(path) for path in parts]
    parts[1].rename(tmp_path / "moved.h5")
    lost = run("train", "--resume", folds / "fold_1", "--device", "cpu")
    assert lost.exit_code == 2
    assert f"found no cache at {parts[1]}" in lost.output
    found = run("train", parts[0], tmp_path / "moved.h5", "--resume", folds, "--device", "cpu")
    assert found.exit_code == 0, found.output


def test_caches_that_differ_are_refused(tmp_path):
    """The message names the cache, what differs, and the option."""
    _, (first, _) = studies(tmp_path)
    small = write(tmp_path / "small.h5", [("a", LABELS, film(9, side=20))], first=9)
    with pytest.raises(ConfigError, match=r"small.h5: found size 20x20, expected size 16x16"):
        Store([first, small])
    slow = write(tmp_path / "slow.h5", [("a", LABELS, film(9))], first=9, rate="15/1")
    with pytest.raises(ConfigError, match=r"found rate 15/1, expected no rate .* the same --rate"):
        Store([first, slow])


def test_a_video_in_two_caches_is_refused(tmp_path):
    """Its frames could lie on both sides of a split."""
    whole, (first, _) = studies(tmp_path)
    with pytest.raises(ConfigError, match=r"study0.h5: holds the video .* as does .*whole.h5"):
        Store([whole, first])
    with pytest.raises(ConfigError, match="holds the video"):
        Store([first, first])


@pytest.mark.parametrize(("box", "is_shared"), [("32,0,32,64", True), ("0,0,16,64", False)])
def test_pixels_in_two_caches_are_refused(tmp_path, box, is_shared):
    """Also those of a region, in a cache of other regions or of the whole picture."""
    write_video(tmp_path / "m.mp4", draw_frame_numbers(20))
    stores = []
    for number, own in enumerate(("16,0,48,64", box)):
        table = tmp_path / f"{number}.csv"
        table.write_text(f"Video,Animal,X,Y,Width,Height\nm,a{number},{own}\n")
        write_annotation(tmp_path / f"m__a{number}.csv", np.zeros(20, int))
        config = PreprocessConfig(size=(32, 32), regions=read_regions(table))
        stores.append(tmp_path / f"{number}.h5")
        preprocess(tmp_path, tmp_path, stores[-1], config=config)
        (tmp_path / f"m__a{number}.csv").unlink()
    if is_shared:
        with pytest.raises(ConfigError, match=r"holds the video m\.mp4, as does"):
            Store(stores)
    else:
        Store(stores).close()


def test_recordings_of_the_same_name_are_told_apart(tmp_path, caplog):
    """Those of the second cache get its number; the animals of one name count as one."""
    _, (first, _) = studies(tmp_path)
    other = write(tmp_path / "other.h5", [("g0", LABELS, film(7))], content=7)
    with Store([first, other]) as store:
        names = [info.name for info in store.recordings]
        assert names == ["r0", "r1", "r2", "r0_cache2"]
        assert store.recordings[0].group == store.recordings[3].group == "g0"
    assert "1 animals (g0, ...) are in several caches; each counts as one animal" in caplog.text


def test_parts_are_found_in_whatever_caches(tmp_path):
    """Recordings of a part are evaluated whatever their names, which depend on the other caches."""
    films = [[(f"g{n}{i}", LABELS, film(5 * n + i)) for i in range(4)] for n in range(2)]
    first, second = (
        write(tmp_path / f"{n}.h5", own, content=10 * n) for n, own in enumerate(films)
    )
    config = TrainConfig(model_type="light", clip_length=8, num_epochs=1, batch_size=4)
    folder = train([first, second], tmp_path / "run", config=config, device="cpu")
    checkpoint = load_checkpoint(best_checkpoint(folder))
    counts = [0, 0]
    for part in PARTS:
        expected = {item["sha256"] for item in checkpoint.split[part]}
        for paths in ([first, second], [second, first], [first], [second]):
            with Store(paths) as store:
                own = {info.sha256 for info in store.recordings} & expected
                found = [store.recordings[i].sha256 for i in _labelled(checkpoint, store, part)]
                assert sorted(found) == sorted(own)
                counts[len(paths) - 1] += len(found)
    assert counts == [8, 16]


def test_a_damaged_cache_among_several_is_named(tmp_path):
    """And nothing stays open."""
    _, (first, second) = studies(tmp_path)
    second.write_bytes(second.read_bytes()[:5000])
    with pytest.raises(StoreError, match=r"study1.h5"):
        Store([first, second])


def test_caches_that_mark_other_responses(tmp_path, caplog):
    """They hold the same labels, so they are one cache; which classes count is then open."""
    names, recordings = ("rest", "lick", "walk"), [[(f"g{i}", LABELS % 3, film(i))] for i in (0, 1)]
    paths = []
    for number, (marked, content) in enumerate(zip((("lick",), ()), recordings, strict=True)):
        rows = tuple((k, name, name) for k, name in enumerate(names))
        class_map = ClassMap(rows, responses=marked)
        paths.append(
            write(tmp_path / f"{number}.h5", content, class_map=class_map, content=9 * number)
        )
    with Store(paths) as store:
        assert len(store) == 2
        assert store.class_map.responses == ()
    assert "mark different classes as responses (lick or none)" in caplog.text
