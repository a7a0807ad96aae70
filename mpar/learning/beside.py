"""The experts beside the network in a run, and how much each counts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from mpar.cache.store import Store
from mpar.labels.classes import UNLABELLED
from mpar.learning.expert_fitting import (
    FeatureFitting,
    MovementFitting,
    embed_recordings,
    find_stretches,
)
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import Split, shares_pictures
from mpar.learning.stacking import (
    PRIOR,
    fit_powers,
    fit_powers_with_network,
    fold_by_scene,
    hide_unlearnt,
    predict_out_of_fold,
)
from mpar.network.config import NO_NETWORK
from mpar.network.experts import EXPERTS
from mpar.network.features import ViewEmbedder, load_embedder
from mpar.network.mixture import Experts
from mpar.network.movement import movement_of
from mpar.system.team import ALONE, Team

log = logging.getLogger(__name__)


class Beside:
    """The movement model and the frozen features of a run.

    Parameters
    ----------
    store, split, config
        Of the run. The models learn from its training recordings.
    device : torch.device
        Where frames are embedded.
    team : Team
        The processes that share this.
    experts : Experts, optional
        Those of a resumed run.

    Attributes
    ----------
    names : list of str
        The experts that may count.
    quiet : bool
        Show no progress bar.

    Raises
    ------
    ConfigError
        The image network is not there, or is not that of the resumed run.
    """

    def __init__(
        self,
        store: Store,
        split: Split,
        config: TrainConfig,
        device: torch.device,
        team: Team = ALONE,
        experts: Experts | None = None,
    ) -> None:
        self._store, self._split, self._view, self._team = store, split, config.view, team
        self._has_network = config.model_type != NO_NETWORK
        self.names = [n for n in EXPERTS if n != "network" and getattr(config, n)]
        if "movement" in self.names and shares_pictures(store):
            self.names.remove("movement")
            if team.is_leader:
                log.info("the movement model does not count: it sees several animals together")
        self.quiet = True
        self._embedder: ViewEmbedder | None = None
        if experts is not None:
            self.experts = experts
        if experts is not None and experts.features is not None:
            self._embedder = experts.features.load_embedder(
                store.seen.frame_size, config.features, device
            )
        elif config.features:
            embedder = load_embedder(config.features, device)
            self._embedder = ViewEmbedder(embedder, config.view, store.seen.frame_size)

    # what reads many frames waits until a checkpoint or a validation needs it

    @cached_property
    def _known(self) -> list[int]:
        """The recordings that may say how much an expert counts."""
        return sorted((*self._split.train, *self._split.val))

    @cached_property
    def _stretches(self) -> dict[int, tuple[int, int]]:
        return find_stretches(self._store, self._known)

    @cached_property
    def _movement(self) -> MovementFitting:
        return MovementFitting(self._store, self._stretches)

    @cached_property
    def _features(self) -> FeatureFitting:
        assert self._embedder is not None
        return FeatureFitting(
            self._store,
            self._stretches,
            self._embedder,
            self._view,
            self._team,
            quiet=self.quiet,
        )

    @cached_property
    def experts(self) -> Experts:
        """The models, fitted on the training recordings; they do not count yet."""
        return self._fit(self._split.train)

    def _fit(self, recordings: Sequence[int]) -> Experts:
        features = None
        if self._embedder is not None:
            features = self._features.fit(recordings)
        return Experts(
            movement=self._movement.fit(recordings), features=features, powers={"network": 1.0}
        )

    def with_powers(self, powers: Mapping[str, float]) -> None:
        """Let each expert count from now on with its power.

        Without a network, the models learn from the validation recordings, too, once these have
        scored models that did not.
        """
        experts = self.experts if self._has_network else self._fit(self._known)
        self.experts = replace(experts, powers={n: powers.get(n, 0.0) for n in EXPERTS})

    @cached_property
    def _out_of_fold(self) -> tuple[list[np.ndarray], dict[str, list[np.ndarray]]]:
        """Labels of recordings, and what experts that learnt from others say of them."""
        folds = fold_by_scene(self._store, self._known)
        if len(folds) < 2:
            return [], {}
        truths = {
            i: self._store.step_labels(i)[slice(*self._stretches[i])]
            for fold in folds
            for i in fold
        }
        truths = hide_unlearnt(folds, truths)
        if all((truth == UNLABELLED).all() for truth in truths.values()):
            return [], {}
        found = {}
        if "movement" in self.names:
            found["movement"] = predict_out_of_fold(folds, self._movement)
        if "features" in self.names:
            found["features"] = predict_out_of_fold(folds, self._features)
        rows = {name: [of[i] for i in truths] for name, of in found.items()}
        return [*truths.values()], rows

    @cached_property
    def powers(self) -> dict[str, float]:
        """Powers of these experts without the network, fitted out of fold."""
        truths, found = self._out_of_fold
        if not found:
            return dict.fromkeys(self.names, 1.0)
        return fit_powers(truths, found, prior=PRIOR)

    @cached_property
    def validation(self) -> dict[str, list[np.ndarray]]:
        """Probabilities by each expert that may count, of the validation recordings."""
        return self.predict(self._split.val)

    def predict(self, recordings: Sequence[int]) -> dict[str, list[np.ndarray]]:
        """Return the probabilities by each expert that may count, (T, K) for each recording."""
        store, found = self._store, {}
        if "movement" in self.names:
            movement = self.experts.movement
            assert movement is not None
            found["movement"] = [
                movement.probabilities(movement_of(store, i, movement.rate)) for i in recordings
            ]
        if "features" in self.names:
            features = self.experts.features
            assert features is not None
            assert self._embedder is not None
            whole = {i: (0, store.recordings[i].num_steps) for i in recordings}
            rows = embed_recordings(
                store, whole, self._embedder, features.stride, self._team, quiet=self.quiet
            )
            found["features"] = [features.probabilities(rows[i], whole[i][1]) for i in recordings]
        return found

    def powers_with(
        self, network: Sequence[np.ndarray] | None, *, can_choose: bool
    ) -> dict[str, float]:
        """Return the powers of all experts.

        `network` holds its (T, K) probabilities for the validation recordings. It counts only if
        there are any and these recordings can tell how good it is (`can_choose`).
        """
        if network is None:
            return self.powers
        if not self.names:
            return {"network": 1.0}
        if not can_choose:
            return {"network": 0.0, **self.powers}
        powers = self.powers if len(self.names) > 1 else {self.names[0]: 1.0}
        truths = [self._store.step_labels(i) for i in self._split.val]
        return fit_powers_with_network(truths, network, self.validation, powers)
