"""The recipe: bad options are refused, the published one is kept."""

import math
import re

import pytest
import torch

from mpar.errors import ConfigError
from mpar.learning.recipe import TrainConfig, named_recipe


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"clip_length": 15}, "clip_length: found 15"),
        ({"model_type": "huge"}, "expected one of auto, standard, light, fast"),
        ({"loss": "hinge"}, "expected one of cross_entropy, focal"),
        ({"sampling": "some"}, "expected one of all, balanced"),
        ({"optimizer": "sgd"}, "expected one of adam, muon"),
        ({"view": "front"}, "expected one of bottom, side"),
        *(
            ({name: value}, f"{name}: found {value}, expected a whole number, 1 or more")
            for name in ("batch_size", "window", "patience")
            for value in (0, -3, 1.5, "2")
        ),
        *(
            ({name: value}, f"{name}: found {value}, expected a whole number, 0 or more")
            for name in ("seed", "restart_epochs", "freeze_backbone_epochs")
            for value in (-1, 0.5)
        ),
        *(
            ({name: value}, f"{name}: found {value}, expected a number above 0")
            for name in ("learning_rate", "grad_clip")
            for value in (0, -1.0, float("inf"), float("nan"), "high")
        ),
        *(
            ({name: value}, f"{name}: found {value}, expected 0 or more")
            for name in ("minutes", "weight_decay", "focal_gamma", "warmup_epochs")
            for value in (-0.5, float("inf"), float("nan"))
        ),
        *(
            ({name: value}, f"{name}: found {value}, expected 0 to below 1")
            for name in ("dropout", "ema_decay", "test_fraction")
            for value in (-0.1, 1.0, 7, float("nan"))
        ),
        *(
            ({"val_fraction": value}, f"val_fraction: found {value}, expected a number above 0 and")
            for value in (0, -0.2, 1, 7, float("nan"))
        ),
        (
            {"val_fraction": 0.6, "test_fraction": 0.4},
            "val_fraction, test_fraction: found 0.6 and 0.4, expected less than 1 together",
        ),
    ],
)
def test_bad_options_are_refused(options, fragment):
    """Every option names itself, what was found and what was expected."""
    with pytest.raises(ConfigError, match=re.escape(fragment)):
        TrainConfig(**options)


def test_unknown_option_lists_the_known_ones():
    """A misspelt option of the API is not swallowed."""
    with pytest.raises(ConfigError, match=r"unknown epochs, expected \['augment'"):
        TrainConfig.from_dict({"epochs": 3})


def test_original_is_the_published_recipe():
    """The recipe of the original, value by value."""
    config = named_recipe("original")
    assert (config.learning_rate, config.weight_decay, config.restart_epochs) == (1e-3, 1e-5, 10)
    assert (config.batch_size, config.num_epochs, config.patience) == (32, 100, 15)
    assert (config.grad_clip, config.clip_length, config.model_type) == (1.0, 16, "standard")
    assert (config.loss, config.sampling, config.window) == ("cross_entropy", "all", 1)
    others = {"dropout": 0.5, "use_amp": True, "augment": False, "optimizer": "adam"}
    others |= {"ema_decay": 0, "centre_frames": False, "warmup_epochs": 0}
    assert others.items() <= config.to_dict().items()


def test_options_change_a_recipe():
    """What is given counts, the rest is the recipe's; a wrong name lists the right ones."""
    config = named_recipe("original", window=4)
    assert (config.window, config.optimizer) == (4, "adam")
    assert named_recipe("mpar") == TrainConfig()
    with pytest.raises(ConfigError, match="found 'best', expected one of mpar, original"):
        named_recipe("best")


def test_learning_rate_restarts_as_torch_does():
    """With restarts it is that of torch's scheduler, epoch for epoch, all through an epoch."""
    config = TrainConfig(learning_rate=0.3, restart_epochs=4, warmup_epochs=0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=4)
    for epoch in range(10):
        expected = pytest.approx(optimizer.param_groups[0]["lr"])
        assert config.learning_rate_at(epoch) == expected
        assert config.learning_rate_at(epoch + 0.9) == expected
        optimizer.step()
        scheduler.step()


def test_learning_rate_without_restarts_rises_and_falls_to_nothing():
    """It rises in a line, then follows one half period of the cosine to the end of the run."""
    config = TrainConfig(learning_rate=0.2, restart_epochs=0, num_epochs=8, warmup_epochs=2)
    assert config.learning_rate_at(0) == 0
    assert config.learning_rate_at(1) == pytest.approx(0.5 * 0.1 * (1 + math.cos(math.pi / 8)))
    assert config.learning_rate_at(4) == pytest.approx(0.1)
    assert config.learning_rate_at(8) == pytest.approx(0)
    rates = [config.learning_rate_at(epoch / 10) for epoch in range(20, 81)]
    assert rates == sorted(rates, reverse=True)
