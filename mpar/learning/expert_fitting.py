"""Fit the experts beside the network: the movement model, and the head on frozen features.

Shapes: N rows, D features, C components, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mpar.cache.store import Store
from mpar.labels.classes import UNLABELLED
from mpar.learning.splits import class_counts
from mpar.network.experts import LinearModel
from mpar.network.features import FeatureModel, ViewEmbedder, embeddings_of, pool, stride_of
from mpar.network.movement import MovementModel, movement_of
from mpar.system.progress import Bar
from mpar.system.team import ALONE, Team

MAX_STEPS = 100_000  # of all recordings, a minute of reading at 64 x 64 px
_DEFAULT_RATE = 30.0  # of a cache whose videos do not state their rate
# sklearn's C, found on real recordings of a few seconds
_MOVEMENT_C, _FEATURES_C = 0.01, 3.0
_MAX_ITERATIONS = 300
_NUM_COMPONENTS = 150  # 40 to all do as well

Stretches = Mapping[int, tuple[int, int]]


class Fitting(Protocol):
    """An expert that can be fitted on any of some recordings, and predict the others."""

    def fit(self, recordings: Sequence[int]) -> Any:
        """Return the expert, fitted on the labelled steps of some of the recordings."""
        ...

    def predict(self, model: Any, recording: int) -> np.ndarray:
        """Return the probabilities of the steps of a recording, (T, K)."""
        ...


def find_stretches(
    store: Store, recordings: Sequence[int], *, max_steps: int = MAX_STEPS
) -> dict[int, tuple[int, int]]:
    """Return start and stop of what experts learn from each recording, `max_steps` in all.

    Of longer recordings it is the stretch that holds most of the rare classes.
    """
    counts = class_counts(store, recordings)
    share = max(1, max_steps // max(1, len(recordings)))
    return {i: _richest_stretch(store.step_labels(i), counts, share) for i in recordings}


def _richest_stretch(truth: np.ndarray, counts: np.ndarray, length: int) -> tuple[int, int]:
    """Return start and stop of the stretch in which rare classes weigh most."""
    if len(truth) <= length:
        return 0, len(truth)
    weights = np.where(truth >= 0, 1 / np.maximum(counts, 1)[np.maximum(truth, 0)], 0.0)
    sums = np.concatenate([[0.0], weights.cumsum()])
    start = int((sums[length:] - sums[:-length]).argmax())
    return start, start + length


class MovementFitting:
    """Fits the movement model.

    Parameters
    ----------
    store : Store
        The cache.
    stretches : mapping of int to (int, int)
        Start and stop of what to learn from each recording, from `find_stretches`.

    Notes
    -----
    Logistic regression with an L2 penalty, each class with the same total weight
    (`sklearn.linear_model.LogisticRegression`).
    """

    def __init__(self, store: Store, stretches: Stretches) -> None:
        self._num_classes = len(store.class_names)
        self._rate = _rate_of(store, [*stretches])
        self._rows = {i: movement_of(store, i, self._rate, *ends) for i, ends in stretches.items()}
        self._truths = {i: store.step_labels(i)[slice(*ends)] for i, ends in stretches.items()}

    def fit(self, recordings: Sequence[int]) -> MovementModel:
        """Return the model, as `Fitting.fit`."""
        x_ND = np.concatenate([self._rows[i] for i in recordings])
        truth = np.concatenate([self._truths[i] for i in recordings])
        return MovementModel(
            rate=self._rate, linear=_fit_linear(x_ND, truth, self._num_classes, _MOVEMENT_C)
        )

    def predict(self, model: MovementModel, recording: int) -> np.ndarray:
        """Return probabilities, as `Fitting.predict`."""
        return model.probabilities(self._rows[recording])


class FeatureFitting:
    """Fits the principal components and the head of frozen features.

    Parameters
    ----------
    store : Store
        The cache.
    stretches : mapping of int to (int, int)
        As for `MovementFitting`.
    embedder : ViewEmbedder
        Embeds the frames.
    view : {"bottom", "side"}
        As for `mpar.network.features.ViewEmbedder`.
    team : Team
        The processes that share the embedding.
    quiet : bool
        Show no progress bar.

    Notes
    -----
    Logistic regression as for the movement model, on the pooled 150 largest components
    (`mpar.network.features.pool`), all divided by one number: divided each by its own standard
    deviation, the many small components drown the few that show postures.
    """

    def __init__(
        self,
        store: Store,
        stretches: Stretches,
        embedder: ViewEmbedder,
        view: str,
        team: Team = ALONE,
        *,
        quiet: bool = True,
    ) -> None:
        self._num_classes = len(store.class_names)
        self._rate = _rate_of(store, [*stretches])
        self._stride = stride_of(self._rate)
        self._embedder, self._view = embedder, view
        self._num_steps = {i: stop - start for i, (start, stop) in stretches.items()}
        self._rows = embed_recordings(store, stretches, embedder, self._stride, team, quiet=quiet)
        self._truths = {
            i: store.step_labels(i)[slice(*ends)][:: self._stride] for i, ends in stretches.items()
        }

    def fit(self, recordings: Sequence[int]) -> FeatureModel:
        """Return the model, as `Fitting.fit`."""
        from sklearn.decomposition import PCA

        x_ND = np.concatenate([self._rows[i] for i in recordings]).astype(np.float32)
        number = min(_NUM_COMPONENTS, *x_ND.shape)
        pca = PCA(number, svd_solver="covariance_eigh").fit(x_ND)
        components, mean = pca.components_.astype(np.float32), pca.mean_.astype(np.float32)
        pooled = [
            pool(
                (self._rows[i].astype(np.float32) - mean) @ components.T, self._rate / self._stride
            )
            for i in recordings
        ]
        truth = np.concatenate([self._truths[i] for i in recordings])
        return FeatureModel(
            source=self._embedder.source,
            digest=self._embedder.digest,
            view=self._view,
            rate=self._rate,
            mean=mean,
            components=components,
            linear=_fit_linear(
                np.concatenate(pooled), truth, self._num_classes, _FEATURES_C, has_one_scale=True
            ),
        )

    def predict(self, model: FeatureModel, recording: int) -> np.ndarray:
        """Return probabilities, as `Fitting.predict`."""
        return model.probabilities(self._rows[recording], self._num_steps[recording])


def embed_recordings(
    store: Store,
    stretches: Stretches,
    embedder: ViewEmbedder,
    stride: int,
    team: Team = ALONE,
    *,
    quiet: bool = True,
) -> dict[int, np.ndarray]:
    """Return the embeddings of stretches of recordings, and keep them beside the cache."""

    def embed(recording: int, bar: Bar) -> np.ndarray:
        return embeddings_of(
            store, recording, embedder, stride, *stretches[recording], on_frames=bar.update
        )

    def embed_all(recordings: Sequence[int], *, quiet: bool) -> dict[int, np.ndarray]:
        num_frames = sum(stop - start for start, stop in (stretches[i] for i in recordings))
        with Bar(total=num_frames, desc="features", unit="frame", quiet=quiet) as bar:
            return {i: embed(i, bar) for i in recordings}

    if team.size > 1:  # each makes its share, and all read what is kept
        embed_all(team.share_of([*stretches]), quiet=quiet or not team.is_leader)
        team.gather(None)
    return embed_all([*stretches], quiet=quiet or not team.is_leader)


def _fit_linear(
    x_ND: np.ndarray,
    truth_N: np.ndarray,
    num_classes: int,
    regularization: float,
    *,
    has_one_scale: bool = False,
) -> LinearModel:
    """Fit logistic regression on the labelled rows, each class with the same total weight."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    is_known = truth_N != UNLABELLED
    x_ND, truth_N = x_ND[is_known], truth_N[is_known]
    scaler = StandardScaler().fit(x_ND)
    mean, scale = scaler.mean_, scaler.scale_
    if has_one_scale:
        scale = np.full_like(scale, np.sqrt(scaler.var_.sum()) or 1)
    coefficients = np.zeros((num_classes, x_ND.shape[1]))
    intercepts = np.zeros(num_classes)
    present = np.unique(truth_N)
    if len(present) > 1:
        model = LogisticRegression(
            C=regularization, class_weight="balanced", max_iter=_MAX_ITERATIONS
        ).fit((x_ND - mean) / scale, truth_N)
        own, bias = model.coef_, model.intercept_
        if len(present) == 2:  # sklearn keeps one row for two classes
            own, bias = np.concatenate([-own / 2, own / 2]), np.concatenate([-bias / 2, bias / 2])
        # a class without frames here gets the mean of the others: no opinion
        coefficients[:], intercepts[:] = own.mean(axis=0), bias.mean()
        coefficients[present], intercepts[present] = own, bias
    return LinearModel(mean=mean, scale=scale, coefficients=coefficients, intercepts=intercepts)


def _rate_of(store: Store, recordings: Sequence[int]) -> float:
    """Return the steps per second of the recordings."""
    rates = [float(rate) for i in recordings if (rate := store.recordings[i].rate)]
    return float(np.median(rates)) if rates else _DEFAULT_RATE
