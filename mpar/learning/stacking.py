"""How much each expert counts: powers fitted on recordings that it did not learn from.

Source: Wolpert 1992, "Stacked Generalization".

Shapes: T steps, N labelled steps, E experts, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from mpar.cache.scenes import number_scenes
from mpar.cache.store import Store
from mpar.labels.classes import UNLABELLED
from mpar.learning.expert_fitting import Fitting
from mpar.learning.splits import class_counts, kept_together
from mpar.network.experts import log_of, mix

_NUM_FOLDS = 5
_MAX_RECORDINGS = 200  # that say how much an expert counts
_MAX_POWER = 4.0
_LEAST_POWER = 0.05
# of equal powers of movement and features: chosen on real recordings, of which 8 cannot tell that
# an expert is useless
PRIOR = 1.0

Found = Mapping[str, Sequence[np.ndarray]]


def fold_by_scene(store: Store, recordings: Sequence[int]) -> list[list[int]]:
    """Divide recordings into at most five parts; animals and backgrounds stay together.

    Recordings without a label are left out, and of many only 200 are used. If all recordings show
    one background, only animals stay together; if there is one animal, recordings do. One recording
    gives fewer than two parts.
    """
    labelled = [i for i in recordings if class_counts(store, [i]).any()]
    places = np.linspace(0, len(labelled) - 1, min(len(labelled), _MAX_RECORDINGS)).astype(int)
    chosen = [labelled[place] for place in places]
    scenes = number_scenes(store, chosen)
    together = kept_together(store)
    groups = {i: together[i] for i in chosen}
    numbers = {i: i for i in chosen}
    for links in ([groups, scenes], [groups], []):
        clusters = _cluster(chosen, [*links, numbers])
        if len(clusters) > 1:
            break
    sizes = {i: int(class_counts(store, [i]).sum()) for i in chosen}
    folds: list[list[int]] = [[] for _ in range(min(_NUM_FOLDS, len(clusters)))]
    for cluster in sorted(clusters, key=lambda c: (-sum(sizes[i] for i in c), c)):
        min(folds, key=lambda fold: sum(sizes[i] for i in fold)).extend(cluster)
    return [sorted(fold) for fold in folds]


def _cluster(recordings: Sequence[int], links: Sequence[Mapping[int, object]]) -> list[list[int]]:
    """Return the parts that no link joins: two recordings with the same value of a link."""
    clusters: list[list[int]] = []
    for recording in recordings:
        joined, apart = [recording], []
        for cluster in clusters:
            is_joined = any(link[recording] == link[other] for link in links for other in cluster)
            if is_joined:
                joined = cluster + joined
            else:
                apart.append(cluster)
        clusters = [*apart, joined]
    return [sorted(cluster) for cluster in clusters]


def hide_unlearnt(
    folds: Sequence[Sequence[int]], truths: Mapping[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """Return the labels without those of classes that the other folds do not show.

    No expert can tell a class that it never saw, so these labels would only say that all are bad.
    """
    shown = {}
    for fold in folds:
        others = [truths[i] for other in folds if other is not fold for i in other]
        for i in fold:
            is_learnt = np.isin(truths[i], np.concatenate(others))
            shown[i] = np.where(is_learnt, truths[i], UNLABELLED)
    return shown


def predict_out_of_fold(folds: Sequence[Sequence[int]], fitting: Fitting) -> dict[int, np.ndarray]:
    """Return the probabilities of each recording by an expert that learnt from the other folds."""
    found: dict[int, np.ndarray] = {}
    for fold in folds:
        model = fitting.fit([i for other in folds if other is not fold for i in other])
        found |= {i: fitting.predict(model, i) for i in fold}
    return found


def fit_powers(
    truths: Sequence[np.ndarray], found: Found, *, prior: float = 0.0
) -> dict[str, float]:
    """Return the powers of experts with the lowest log loss of their mixture.

    Parameters
    ----------
    truths : sequence of (T,) integer arrays
        Labels of recordings, -1 for unlabelled, with at least one label.
    found : mapping of str to sequence of (T, K) float arrays
        Probabilities by each expert, which did not learn from these recordings.
    prior : float
        How much equal powers, whose sum is 1, count beside the evidence of one recording. All
        experts then stay in the mixture.

    Returns
    -------
    dict of str to float
        Each 0 to 4, and not all 0. Every class that occurs has the same weight in the loss, as in
        training.

    Notes
    -----
    Without a prior, as long as the expert that matters least lowers the loss by less than the
    standard error of its gain over recordings, it is left out: the simplest mixture that may be as
    good.
    Source: Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3.
    """
    names = [*found]
    while True:
        powers, losses = _minimize_loss(truths, {name: found[name] for name in names}, prior)
        gains = {}
        for name in names if len(names) > 1 and not prior else ():
            rest = {other: found[other] for other in names if other != name}
            gains[name] = _minimize_loss(truths, rest, prior)[1] - losses
        least = min(gains, key=lambda name: gains[name].sum(), default="")
        if not least or gains[least].sum() > _error_of_sum(gains[least]):
            break
        names.remove(least)
    if not any(powers.values()):  # all are worse than no opinion, and nothing says which to trust
        return dict.fromkeys(found, _LEAST_POWER)
    return {name: powers.get(name, 0.0) for name in found}


def _error_of_sum(gains: np.ndarray) -> float:
    """Return the standard error of the sum of gains by recording; 0 of a single one."""
    return float(np.sqrt(len(gains)) * gains.std(ddof=1)) if len(gains) > 1 else 0.0


def _minimize_loss(
    truths: Sequence[np.ndarray], found: Found, prior: float
) -> tuple[dict[str, float], np.ndarray]:
    """Return the best powers of all these experts, and the loss of each recording with them."""
    loss = _Loss(truths, found)
    num = len(found)
    weight = prior / sum((truth != UNLABELLED).any() for truth in truths)

    def of(powers_E: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = loss.of(powers_E)
        apart = powers_E - 1 / num
        return value + weight * float(apart @ apart), gradient + 2 * weight * apart

    result = minimize(
        of, np.full(num, 0.5), jac=True, method="L-BFGS-B", bounds=[(0, _MAX_POWER)] * num
    )
    best = np.round(result.x, 3)
    return dict(zip(found, best.tolist(), strict=True)), loss.by_recording(best)


class _Loss:
    """The log loss of a mixture, with its gradient; convex in the powers."""

    def __init__(self, truths: Sequence[np.ndarray], found: Found) -> None:
        truth = np.concatenate(truths)
        is_known = truth != UNLABELLED
        self._truth = truth[is_known]
        self._recording = np.repeat(np.arange(len(truths)), [len(t) for t in truths])[is_known]
        self._logs_ENK = np.stack(
            [log_of(np.concatenate(parts)[is_known]) for parts in found.values()]
        )
        weights = 1 / np.bincount(self._truth)[self._truth]
        self._weights = weights / weights.sum()

    def by_recording(self, powers_E: np.ndarray) -> np.ndarray:
        """Return the part of each labelled recording in the loss."""
        logits = np.tensordot(powers_E, self._logs_ENK, axes=1)
        of_truth = np.take_along_axis(logits, self._truth[:, None], axis=1)[:, 0]
        losses = self._weights * (logsumexp(logits, axis=1) - of_truth)
        sums = np.bincount(self._recording, losses)
        return sums[np.unique(self._recording)]

    def of(self, powers_E: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient."""
        logits = np.tensordot(powers_E, self._logs_ENK, axes=1)
        rows = np.arange(len(self._truth))
        expected_EN = (softmax(logits, axis=1) * self._logs_ENK).sum(axis=2)
        gradient = (expected_EN - self._logs_ENK[:, rows, self._truth]) @ self._weights
        return float(self.by_recording(powers_E).sum()), gradient


def fit_powers_with_network(
    truths: Sequence[np.ndarray],
    network: Sequence[np.ndarray],
    others: Found,
    powers: Mapping[str, float],
) -> dict[str, float]:
    """Return the powers of all experts, where those of the others keep their proportion.

    Parameters
    ----------
    truths : sequence of (T,) integer arrays
        Labels of the validation recordings, which the network did not learn from.
    network : sequence of (T, K) float arrays
        Its probabilities.
    others : mapping of str to sequence of (T, K) float arrays
        Those of the other experts.
    powers : mapping of str to float
        Powers of the others among themselves.
    """
    rows = zip(*others.values(), strict=True)
    beside = [mix(dict(zip(others, row, strict=True)), powers) for row in rows]
    both = fit_powers(truths, {"network": network, "beside": beside})
    return {"network": both["network"]} | {
        name: round(both["beside"] * power, 3) for name, power in powers.items()
    }
