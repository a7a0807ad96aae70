"""How much each expert counts: folds that share nothing, and powers that do not hurt."""

import numpy as np
import pytest
import torch

from mpar.cache.store import Store
from mpar.learning import stacking
from mpar.learning.beside import Beside
from mpar.learning.expert_fitting import MovementFitting, find_stretches
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import split_store
from mpar.learning.stacking import (
    fit_powers,
    fit_powers_with_network,
    fold_by_scene,
    predict_out_of_fold,
)
from mpar.network.experts import mix


def draw(num_recordings, share_right, seed):
    """Draw recordings of 60 frames, and an expert that is right in a share of them."""
    rng = np.random.default_rng(seed)
    truths = [rng.integers(0, 3, 60) for _ in range(num_recordings)]
    found = []
    for truth in truths:
        guess = np.where(rng.random(60) < share_right, truth, rng.integers(0, 3, 60))
        found.append(np.where(np.arange(3) == guess[:, None], 0.8, 0.1))
    return truths, found


def test_powers_follow_the_better_expert():
    """A perfect expert counts, and one that guesses does not."""
    truths, right = draw(8, 1.0, seed=0)
    _, guess = draw(8, 0.0, seed=1)
    powers = fit_powers(truths, {"network": right, "movement": guess})
    assert powers["network"] > 0.5
    assert powers["movement"] == 0
    powers = fit_powers(truths, {"network": guess, "movement": right})
    assert powers["network"] == 0
    assert powers["movement"] > 0.5


def test_two_experts_that_know_different_things_both_count():
    """One tells class 0 from the rest, the other 1 from 2: only together they are right."""
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 3, 60) for _ in range(6)]
    first = [np.array([[0.8, 0.1, 0.1], [0.1, 0.45, 0.45], [0.1, 0.45, 0.45]])[t] for t in truths]
    second = [np.array([[0.34, 0.33, 0.33], [0.2, 0.7, 0.1], [0.2, 0.1, 0.7]])[t] for t in truths]
    powers = fit_powers(truths, {"movement": first, "features": second})
    assert min(powers.values()) > 0.3
    mixed = [
        mix({"movement": a, "features": b}, powers) for a, b in zip(first, second, strict=True)
    ]
    assert all((m.argmax(axis=1) == t).all() for m, t in zip(mixed, truths, strict=True))


def test_an_expert_that_helps_in_one_recording_only_does_not_count():
    """Its gain is below its standard error over recordings: it could as well have hurt."""
    truths, good = draw(10, 0.7, seed=2)
    _, other = draw(10, 0.0, seed=3)
    other[0] = np.where(np.arange(3) == truths[0][:, None], 0.98, 0.01)
    powers = fit_powers(truths, {"movement": good, "features": other})
    assert powers["features"] == 0
    assert powers["movement"] > 0


def test_a_prior_keeps_what_few_recordings_cannot_judge():
    """An expert that looks useless in two recordings counts more than one that does in forty."""
    powers = {}
    for number in (2, 40):
        truths, good = draw(number, 0.8, seed=6)
        _, guess = draw(number, 0.0, seed=7)
        found = {"movement": guess, "features": good}
        powers[number] = fit_powers(truths, found, prior=1.0)
        assert fit_powers(truths, found)["movement"] == 0
    assert powers[2]["movement"] > 0.2
    assert powers[40]["movement"] < 0.15
    assert all(one["features"] > one["movement"] for one in powers.values())
    assert fit_powers(truths[:1], {"movement": good[:1]}, prior=1e6) == {"movement": 1.0}


def test_without_a_good_expert_all_count_alike():
    """Experts worse than no opinion would all get 0; with nothing to go by, none is preferred."""
    truths = [np.arange(3).repeat(20)] * 3
    wrong = [np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])[t] for t in truths]
    worse = [row**2 / (row**2).sum(axis=1, keepdims=True) for row in wrong]
    powers = fit_powers(truths, {"movement": worse, "features": wrong})
    assert powers == {"movement": 0.05, "features": 0.05}


def test_the_others_keep_their_proportion_beside_a_network():
    """A network that guesses leaves the powers of the others in their proportion."""
    truths, good = draw(6, 0.8, seed=4)
    _, guess = draw(6, 0.0, seed=5)
    powers = fit_powers_with_network(
        truths, guess, {"movement": good, "features": good}, {"movement": 0.6, "features": 0.3}
    )
    assert powers["network"] == 0
    assert powers["movement"] == pytest.approx(2 * powers["features"], abs=2e-3)


def test_folds_keep_animals_and_backgrounds_together(study, monkeypatch):
    """Recordings that share an animal or a background never stand on both sides of a fold."""
    with Store(study.cache) as store:
        number = len(store.recordings)
        assert number == 6
        scenes = {0: 0, 1: 0, 2: 1, 3: 2, 4: 2, 5: 3}
        monkeypatch.setattr(stacking, "number_scenes", lambda *_: scenes)
        folds = fold_by_scene(store, range(number))
        assert sorted(i for fold in folds for i in fold) == [*range(number)]
        for fold in folds:
            others = {scenes[i] for other in folds if other is not fold for i in other}
            assert not others & {scenes[i] for i in fold}
        monkeypatch.setattr(stacking, "number_scenes", lambda _, chosen: dict.fromkeys(chosen, 0))
        assert len(fold_by_scene(store, range(number))) == 5  # one camera: animals alone
        assert len(fold_by_scene(store, [3])) == 1


def test_links_join_through_others():
    """A shares its background with B and B its animal with C, so all three stay together."""
    animals, scenes = {0: "a", 1: "b", 2: "b", 3: "c"}, {0: 1, 1: 1, 2: 2, 3: 3}
    assert sorted(stacking._cluster([0, 1, 2, 3], [animals, scenes])) == [[0, 1, 2], [3]]


def test_classes_that_the_other_folds_lack_say_nothing():
    """Class 2 is only in the first fold: no expert could have learnt it for that fold."""
    truths = {0: np.array([0, 2, 2]), 1: np.array([1, 2, -1]), 2: np.array([0, 1, 1])}
    shown = stacking.hide_unlearnt([[0, 1], [2]], truths)
    assert {i: labels.tolist() for i, labels in shown.items()} == {
        0: [0, -1, -1],
        1: [1, -1, -1],
        2: [0, 1, 1],
    }


def test_out_of_fold_predictions_come_from_the_other_folds():
    """Each recording is predicted by an expert that learnt from all others and not from it."""

    class Fitting:
        def fit(self, recordings):
            return set(recordings)

        def predict(self, model, recording):
            assert recording not in model
            return np.array([len(model)])

    found = predict_out_of_fold([[0, 1], [2], [3, 4]], Fitting())
    assert {i: int(n[0]) for i, n in found.items()} == {0: 3, 1: 3, 2: 4, 3: 3, 4: 3}


def test_a_network_that_nothing_can_judge_does_not_count(study):
    """If validation cannot tell, the movement model counts alone; without it, the network."""
    with Store(study.cache) as store:
        split = split_store(store, val_fraction=0.2, test_fraction=0.2, seed=0)
        uniform = [np.full((info.num_steps, 6), 1 / 6) for info in store.recordings]
        network = [uniform[i] for i in split.val]
        cpu = torch.device("cpu")
        powers = Beside(store, split, TrainConfig(), cpu).powers_with(network, can_choose=False)
        assert powers["network"] == 0
        assert powers["movement"] > 0
        alone = Beside(store, split, TrainConfig(movement=False), cpu)
        assert alone.powers_with(network, can_choose=False) == {"network": 1.0}


def test_without_a_network_models_learn_from_validation_recordings_in_the_end(study):
    """They are validated without these recordings, and fitted anew with them."""
    with Store(study.cache) as store:
        split = split_store(store, val_fraction=0.2, test_fraction=0.2, seed=0)
        config = TrainConfig(model_type="none")
        beside = Beside(store, split, config, torch.device("cpu"))
        before = beside.experts.movement
        _ = beside.validation
        beside.with_powers(beside.powers_with(None, can_choose=True))
        known = sorted((*split.train, *split.val))
        expected = MovementFitting(store, find_stretches(store, known)).fit(known)
    np.testing.assert_array_equal(beside.experts.movement.linear.mean, expected.linear.mean)
    assert not np.array_equal(before.linear.mean, expected.linear.mean)
    assert beside.experts.powers["movement"] > 0
