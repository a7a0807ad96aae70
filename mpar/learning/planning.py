"""How long a run trains: epochs and steps of an epoch, fixed before the first step."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

from mpar.cache.clips import tile_windows
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.learning.expected import DEFAULT_EPOCHS
from mpar.learning.learner import Learner
from mpar.learning.recipe import TrainConfig
from mpar.learning.splits import class_counts

_MAX_VALIDATION_SHARE = 0.05  # of the time given with --minutes
_MIN_EPOCHS = 3
_NUM_WARM_UP, _NUM_TIMED = 3, 8  # steps taken and undone to measure their time


def steps_of_one_pass(store: Store, recordings: Sequence[int], config: TrainConfig) -> int:
    """Return the number of steps that show every labelled frame once, on average."""
    if config.sampling == "balanced":  # counted, since a list of all frames may not fit in memory
        num_windows = -(-int(class_counts(store, recordings).sum()) // config.window)
    else:
        num_windows = len(tile_windows(store, recordings, window=config.window))
    return max(1, -(-num_windows // config.batch_size))


def plan_minutes(
    config: TrainConfig, one_pass: int, *, step_seconds: float, validation_seconds: float
) -> tuple[TrainConfig, int]:
    """Fix epochs and steps of an epoch so that training takes `config.minutes`.

    Parameters
    ----------
    config : TrainConfig
        Its `minutes` is above 0.
    one_pass : int
        From `steps_of_one_pass`. Without balanced sampling it is the length of an epoch.
    step_seconds, validation_seconds : float
        Measured time of a step and of a validation.

    Returns
    -------
    TrainConfig
        With the number of epochs: as many as leave 95 % of the time for learning, 3 to 30.
    int
        Steps of an epoch.

    Raises
    ------
    ConfigError
        The time is too short for three validations and a few steps.
    """
    seconds = 60 * config.minutes
    if config.sampling != "balanced":
        num_epochs = int(seconds // (one_pass * step_seconds + validation_seconds))
        if num_epochs < 1:
            needed = (one_pass * step_seconds + validation_seconds) / 60
            raise ConfigError(f"minutes: found {config.minutes:g}, expected {needed:.1f} or more")
        return dataclasses.replace(config, num_epochs=num_epochs), one_pass
    num_epochs = int(_MAX_VALIDATION_SHARE * seconds // max(validation_seconds, 1e-9))
    num_epochs = min(DEFAULT_EPOCHS, max(_MIN_EPOCHS, num_epochs))
    steps = int((seconds / num_epochs - validation_seconds) // step_seconds)
    if steps < 1:
        needed = num_epochs * (validation_seconds + step_seconds) / 60
        raise ConfigError(
            f"minutes: found {config.minutes:g}, expected {needed:.1f} or more, since a step takes "
            f"{step_seconds:.1f} s and a validation {validation_seconds:.0f} s here"
        )
    return dataclasses.replace(config, num_epochs=num_epochs), steps


def time_steps(
    learner: Learner, samples: np.ndarray, validate: Callable[[], object]
) -> tuple[float, float]:
    """Return the seconds of a step and of a validation; both are undone."""
    before = copy.deepcopy((learner.state(), learner.judged_net().state_dict()))
    size = learner.config.batch_size
    started = time.monotonic()
    for step in range(_NUM_WARM_UP + _NUM_TIMED):
        if step == _NUM_WARM_UP:
            learner.collect()
            started = time.monotonic()
        places = np.arange(step * size, (step + 1) * size) % len(samples)
        learner.take_step(samples[places], epoch=0, step=step, rate=0.0)
    learner.collect()
    ready = time.monotonic()
    validate()
    done = time.monotonic()
    learner.restore(*before)
    return (ready - started) / _NUM_TIMED, done - ready
