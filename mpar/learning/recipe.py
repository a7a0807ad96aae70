"""The recipe: every choice that training makes, checked before anything runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from mpar.cache.clips import check_clip_length
from mpar.errors import ConfigError
from mpar.network.model import MODEL_TYPES

OPTIMIZERS = ("adam", "muon")
LOSSES = ("cross_entropy", "focal")
SAMPLINGS = ("all", "balanced")


# NaN is in none of them
_RANGES: tuple[tuple[tuple[str, ...], type, Callable[[Any], bool], str], ...] = (
    (
        ("num_epochs", "batch_size", "window", "patience"),
        Integral,
        lambda value: value >= 1,
        "a whole number, 1 or more",
    ),
    (
        ("freeze_backbone_epochs", "restart_epochs", "seed"),
        Integral,
        lambda value: value >= 0,
        "a whole number, 0 or more",
    ),
    (("learning_rate", "grad_clip"), Real, lambda value: 0 < value < math.inf, "more than 0"),
    (
        ("weight_decay", "focal_gamma", "warmup_epochs"),
        Real,
        lambda value: 0 <= value < math.inf,
        "0 or more",
    ),
    (("dropout", "ema_decay", "test_fraction"), Real, lambda value: 0 <= value < 1, "0 to below 1"),
    (("val_fraction",), Real, lambda value: 0 < value < 1, "more than 0 and below 1"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a network is trained.

    Parameters
    ----------
    model_type : {"standard", "light"}
        Size of the network.
    clip_length : int
        Frames the network sees at a time, even, 8 to 32.
    dropout : float
        0 to below 1.
    centre_frames : bool
        See `mpar.network.model.ModelConfig`.
    num_epochs : int
        Passes over the training frames, at most.
    batch_size : int
        Windows a step.
    window : int
        Consecutive labelled frames learnt from one window. 1 is plain clip training; more share
        the work of their overlapping clips.
    sampling : {"all", "balanced"}
        An epoch takes every labelled frame once, with the loss weighted by inverse class
        frequency; or draws as many with each class equally often, without weights.
    optimizer : {"adam", "muon"}
        See `mpar.learning.optimizers.make_optimizers`.
    learning_rate, weight_decay : float
        Of the optimizer.
    freeze_backbone_epochs : int
        Learn the fully connected layers only for so many epochs first; for networks that begin
        with another one's weights.
    restart_epochs : int
        Period of the cosine learning rate with warm restarts (T_0), changed once an epoch.
        0: no restart; it falls step by step until the end of the last epoch.
    warmup_epochs : float
        The learning rate rises from 0 over this many epochs first.
    loss : {"cross_entropy", "focal"}
        What is minimised.
    focal_gamma : float
        Focusing exponent of the focal loss.
    grad_clip : float
        Largest norm of the gradient.
    ema_decay : float
        Validate and keep a moving average of the weights, in which each step's weigh
        ``1 - ema_decay``. 0 keeps those of the last step.
    patience : int
        Stop after this many epochs without a better one, by validation macro-F1 and, where that
        is equal, loss.
    augment : bool
        Show the network mirrored, turned and relit clips. Classes swap as the
        class map's mirrors say.
    use_amp : bool
        Mixed precision on CUDA, and on processors that compute in bfloat16 natively.
    compile : bool
        Let torch compile the network, which takes half a minute or more before the first step.
        Meant for GPUs, where it was not measured yet; on a CPU, which needs a C++ compiler for
        it, steps were as quick as without.
    val_fraction, test_fraction : float
        Share of the groups, unless a split file is given.
    seed : int
        Fixes everything random.
    """

    model_type: str = "standard"
    clip_length: int = 16
    dropout: float = 0.2
    centre_frames: bool = True
    num_epochs: int = 30
    batch_size: int = 4
    window: int = 16
    sampling: str = "balanced"
    optimizer: str = "muon"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-5
    freeze_backbone_epochs: int = 0
    restart_epochs: int = 0
    warmup_epochs: float = 0.5
    loss: str = "cross_entropy"
    focal_gamma: float = 2.0
    grad_clip: float = 1.0
    ema_decay: float = 0.97
    patience: int = 30
    augment: bool = True
    use_amp: bool = True
    compile: bool = False
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_clip_length(self.clip_length)
        for name, choices in (
            ("model_type", MODEL_TYPES),
            ("loss", LOSSES),
            ("sampling", SAMPLINGS),
            ("optimizer", OPTIMIZERS),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name}: found {getattr(self, name)!r}, expected one of {', '.join(choices)}"
                )
        for names, kind, is_good, expected in _RANGES:
            for name in names:
                value = getattr(self, name)
                if not isinstance(value, kind) or not is_good(value):
                    raise ConfigError(f"{name}: found {value}, expected {expected}")
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError(
                f"val_fraction, test_fraction: found {self.val_fraction} and "
                f"{self.test_fraction}, expected less than 1 together"
            )

    def learning_rate_at(self, epoch: float) -> float:
        """Return the learning rate after `epoch` epochs, whole ones and the part of the next.

        Notes
        -----
        Source: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm
        Restarts", eq. 5 with a minimum of 0; T_cur counts whole epochs where there are restarts.
        """
        period, now = self.restart_epochs, int(epoch) % max(1, self.restart_epochs)
        progress = now / period if period else epoch / self.num_epochs
        rise = min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * progress))

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainConfig:
        """Rebuild from `to_dict`; ConfigError names unknown keys."""
        names = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - names):
            raise ConfigError(
                f"training config: found unknown {', '.join(unknown)}, expected {sorted(names)}"
            )
        return cls(**data)


# That of the original project, as it was published, and what was found to learn rare events sooner
RECIPES = {
    "mpar": TrainConfig(),
    "original": TrainConfig(
        dropout=0.5,
        centre_frames=False,
        num_epochs=100,
        batch_size=32,
        window=1,
        sampling="all",
        optimizer="adam",
        learning_rate=1e-3,
        restart_epochs=10,
        warmup_epochs=0,
        ema_decay=0,
        patience=15,
        augment=False,
    ),
}


def named_recipe(name: str, **options: Any) -> TrainConfig:
    """Return a recipe of `RECIPES`, changed by options.

    Raises
    ------
    ConfigError
        There is no such recipe or option, or a value is out of its range.
    """
    if name not in RECIPES:
        raise ConfigError(f"recipe: found {name!r}, expected one of {', '.join(RECIPES)}")
    return TrainConfig.from_dict(RECIPES[name].to_dict() | options)
