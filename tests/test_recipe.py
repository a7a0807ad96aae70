"""The recipe: bad options are refused, the defaults are the published ones."""

import pytest

from mpar.errors import ConfigError
from mpar.recipe import TrainConfig


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"clip_length": 15}, "clip_length: found 15"),
        ({"model_type": "huge"}, "expected one of standard, light"),
        ({"loss": "hinge"}, "expected one of cross_entropy, focal"),
        ({"sampling": "some"}, "expected one of all, balanced"),
        ({"num_epochs": 0}, "num_epochs: found 0"),
        ({"learning_rate": float("nan")}, "learning_rate: found nan"),
        ({"seed": -1}, "seed: found -1"),
        ({"dropout": 1.0}, "dropout: found 1.0"),
    ],
)
def test_bad_options_are_refused(options, fragment):
    """Every option names itself, what was found and what was expected."""
    with pytest.raises(ConfigError, match=fragment):
        TrainConfig(**options)


def test_unknown_option_lists_the_known_ones():
    """A misspelt option of the API is not swallowed."""
    with pytest.raises(ConfigError, match=r"unknown epochs, expected \['augment'"):
        TrainConfig.from_dict({"epochs": 3})


def test_defaults_are_the_published_recipe():
    """The recipe of the original, value by value."""
    config = TrainConfig()
    assert (config.learning_rate, config.weight_decay, config.restart_epochs) == (1e-3, 1e-5, 10)
    assert (config.batch_size, config.num_epochs, config.patience) == (32, 100, 15)
    assert (config.grad_clip, config.clip_length, config.model_type) == (1.0, 16, "standard")
    assert (config.loss, config.sampling, config.window) == ("cross_entropy", "all", 1)
    run_config = {"dropout": 0.5, "use_amp": True, "augment": False}
    assert run_config.items() <= config.to_dict().items()
