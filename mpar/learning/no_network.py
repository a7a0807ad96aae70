"""Takes the place of the learner in runs with ``--model none``, which train no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpar.cache.store import Store
from mpar.learning.learner import Learner
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import class_counts
from mpar.network.config import ModelConfig


class NoLearner(Learner):
    """A learner without a network: it takes no step, and has nothing to save.

    Parameters
    ----------
    store, recordings, config
        As for `mpar.learning.learner.Learner`.
    """

    num_learnt = 0
    wait_seconds = 0.0
    learning_rate = np.nan

    def __init__(self, store: Store, recordings: Sequence[int], config: TrainConfig) -> None:
        self.counts = class_counts(store, recordings)
        self.model_config = ModelConfig(
            model_type=config.model_type,
            num_classes=len(store.class_names),
            clip_length=config.clip_length,
        )

    def weights(self) -> dict[str, Any]:
        """Return no weights."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return nothing to continue from."""
        return {}

    def restore(self, state: dict[str, Any], weights: dict[str, Any]) -> None:
        """Do nothing."""
