"""How many steps a run takes, and for how long, before anything is measured.

Imports neither torch nor numpy.
"""

from __future__ import annotations

import dataclasses
import math

from mpar.errors import ConfigError
from mpar.learning.recipe import AUTO, TrainConfig
from mpar.network.config import NO_NETWORK

# By default a run has 30 epochs of this many steps in all. Our choice: the loss of small studies
# still fell at 480 steps, and about 1,100 learn drawn animals well; more was not measured.
MIN_STEPS, MAX_STEPS = 1_000, 30_000
DEFAULT_EPOCHS = 30


def plan_steps(config: TrainConfig, one_pass: int) -> tuple[TrainConfig, int]:
    """Fix epochs and steps of an epoch without a time limit.

    Parameters
    ----------
    config : TrainConfig
        If its `num_epochs` is 0, short epochs get more steps and long ones fewer.
    one_pass : int
        From `steps_of_one_pass`.

    Returns
    -------
    TrainConfig
        With the number of epochs; without a network, one.
    int
        Steps of an epoch; without a network, none.

    Raises
    ------
    ConfigError
        Both epochs and minutes are given.
    """
    if config.model_type == NO_NETWORK:
        return dataclasses.replace(config, num_epochs=1, minutes=0.0), 0
    if config.num_epochs and config.minutes:
        raise ConfigError(
            f"epochs, minutes: found {config.num_epochs} and {config.minutes:g}, expected only one "
            "of them"
        )
    if config.num_epochs:
        return config, one_pass
    config = dataclasses.replace(config, num_epochs=DEFAULT_EPOCHS)
    if config.sampling != "balanced":  # an epoch is one pass by definition
        return config, one_pass
    least, most = (math.ceil(total / DEFAULT_EPOCHS) for total in (MIN_STEPS, MAX_STEPS))
    return config, min(max(one_pass, least), most)


# Seconds of a step of 64 labels, and of a frame in validation, on two cores without other work at
# 64 x 64 px: from the table of hours in the README. Light is between, by its operations a frame.
_SECONDS = {"standard": (0.4, 0.0029), "light": (0.25, 0.0018), "fast": (0.061, 0.00023)}
_MEASURED_LABELS, _MEASURED_PX = 64, 64 * 64


def expect_seconds(
    config: TrainConfig, num_labelled: int, num_px: int, labels_a_second: float | None = None
) -> float | None:
    """Return about how long training takes, None if nothing is known.

    Parameters
    ----------
    config : TrainConfig
        The recipe. `AUTO` counts as a machine without a GPU.
    num_labelled : int
        Labelled frames of all recordings, which animals share evenly.
    num_px : int
        Pixels of a picture as the network sees it; smaller ones than 64 x 64 count as such.
    labels_a_second : float, optional
        Speed of a run on this machine; by default that of two cores, in proportion to the pixels.

    Returns
    -------
    float
        Seconds of all epochs with their validations; without reading videos and the movement model.
    """
    if config.minutes:
        return 60 * config.minutes
    kind = "fast" if config.model_type == AUTO else config.model_type
    if kind == NO_NETWORK or not num_labelled:
        return None
    share = max(1.0, num_px / _MEASURED_PX)
    of_step, of_frame = (seconds * share for seconds in _SECONDS[kind])
    labels = config.window * config.batch_size
    of_step *= labels / _MEASURED_LABELS
    if labels_a_second:
        of_frame *= labels / labels_a_second / of_step
        of_step = labels / labels_a_second
    share = 1 - config.val_fraction - config.test_fraction
    planned, steps = plan_steps(config, max(1, math.ceil(share * num_labelled / labels)))
    of_validation = config.val_fraction * num_labelled * of_frame
    return planned.num_epochs * (steps * of_step + of_validation)
