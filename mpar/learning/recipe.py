"""The recipe: every option of training, checked before anything runs.

Imports neither torch nor numpy, so that `mpar-train --help` is fast.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

from mpar.cache.clip_lengths import check_clip_length
from mpar.errors import ConfigError
from mpar.network.config import MODEL_TYPES, NO_NETWORK

VIEWS = ("bottom", "side")
# what also matters without a network
OF_EVERY_MODEL = ("movement", "features", "view", "val_fraction", "test_fraction", "seed")
_SHORT_NAMES = {"model_type": "model", "num_epochs": "epochs", "use_amp": "amp"}
AUTO = "auto"  # the model type that suits the device (`mpar.learning.training.resolve_model`)


class _Range(NamedTuple):
    """A range of valid numbers; NaN is in no range."""

    kind: type
    holds: Callable[[Any], bool]
    text: str


_FROM_1 = _Range(Integral, lambda value: value >= 1, "a whole number, 1 or more")
_FROM_0 = _Range(Integral, lambda value: value >= 0, "a whole number, 0 or more")
_EPOCHS = _Range(Integral, lambda value: 0 <= value <= 10**7, "a whole number, 0 to 10,000,000")
_POSITIVE = _Range(Real, lambda value: 0 < value < math.inf, "a number above 0")
_NOT_NEGATIVE = _Range(Real, lambda value: 0 <= value < math.inf, "0 or more")
_SHARE = _Range(Real, lambda value: 0 <= value < 1, "0 to below 1")
_TRUE_SHARE = _Range(Real, lambda value: 0 < value < 1, "a number above 0 and below 1")


def _field(
    default: Any, text: str, within: _Range | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """Return a field of `TrainConfig`: its default, its help text, and its valid values."""
    metadata = {"help": text, "range": within, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How a network is trained.

    Parameters
    ----------
    **options
        The fields below, each with its default and its meaning.

    Notes
    -----
    For `model_type`, `dropout` and `centre_frames` see `mpar.network.config.ModelConfig`, for
    `optimizer` see `mpar.learning.optimizers.make_optimizers`, for the moving average of weights
    (`ema_decay`) `mpar.learning.learner.Learner`.
    """

    model_type: str = _field(
        "standard",
        "About 3.0 (standard), 0.6 (light) or 0.4 million parameters (fast, for CPUs); auto: "
        "standard on a GPU, else fast; none: only movement and --features, in minutes.",
        choices=(AUTO, *MODEL_TYPES, NO_NETWORK),
    )
    clip_length: int = _field(16, "Frames of a clip, even, 8-32.")
    num_epochs: int = _field(
        0,
        "Maximum number of epochs of one pass each; 0: 30 epochs of 1,000 to 30,000 steps in all.",
        _EPOCHS,
    )
    minutes: float = _field(
        0.0, "Time to train in, instead of --epochs, on this machine; 0: no limit.", _NOT_NEGATIVE
    )
    batch_size: int = _field(4, "Windows per step.", _FROM_1)
    window: int = _field(
        16,
        "Consecutive labels learnt from one window; more share work. 1: single clips.",
        _FROM_1,
    )
    sampling: str = _field(
        "balanced",
        "An epoch: all frames, with a class-weighted loss; or balanced: each class equally often.",
        choices=("all", "balanced"),
    )
    optimizer: str = _field(
        "muon", "Adam; or Muon for convolutions and Adam for the rest.", choices=("adam", "muon")
    )
    learning_rate: float = _field(3e-3, "Highest learning rate.", _POSITIVE)
    weight_decay: float = _field(1e-5, "Weight decay of the optimizers.", _NOT_NEGATIVE)
    freeze_backbone_epochs: int = _field(
        0, "With --init: first epochs that train only the last layers.", _FROM_0
    )
    restart_epochs: int = _field(
        0, "Period of the cosine schedule (T_0); 0: one period over all epochs.", _FROM_0
    )
    warmup_epochs: float = _field(0.5, "Epochs of linear warm-up.", _NOT_NEGATIVE)
    dropout: float = _field(0.2, "0 to below 1.", _SHARE)
    centre_frames: bool = _field(
        True, "Subtract each frame's mean; half of the first filters start with motion only."
    )
    soft_labels: bool = _field(
        True, "If several people scored a recording, learn each window as one of them, at random."
    )
    loss: str = _field("cross_entropy", "Loss function.", choices=("cross_entropy", "focal"))
    focal_gamma: float = _field(2.0, "Gamma of the focal loss.", _NOT_NEGATIVE)
    grad_clip: float = _field(1.0, "Largest gradient norm.", _POSITIVE)
    ema_decay: float = _field(
        0.97, "Decay of the moving average of the weights; 0: keep the last weights.", _SHARE
    )
    patience: int = _field(
        30, "Stop after so many epochs without a better macro-F1 (if equal, loss).", _FROM_1
    )
    augment: bool = _field(
        True,
        "Mirror, rotate, zoom, shift, change light and pace; mirroring swaps classes by the class "
        "map's column mirror.",
    )
    view: str = _field(
        "bottom",
        "Where the camera looks from: bottom (or top), so that any rotation looks natural; or "
        "side, which only mirrors left and right and tilts a little.",
        choices=VIEWS,
    )
    movement: bool = _field(
        True,
        "Mix in a linear model of movement, as much as it helps on animals it did not learn from.",
    )
    features: str = _field(
        "",
        "Mix in frozen features of an image network: that of mpar[features], or FILE.onnx.",
    )
    use_amp: bool = _field(
        True, "Mixed precision where it is faster: CUDA, and CPUs with bfloat16."
    )
    compile: bool = _field(
        False, "Compile the network with torch; for GPUs, no gain measured on CPUs."
    )
    val_fraction: float = _field(0.2, "Share of the animals for validation.", _TRUE_SHARE)
    test_fraction: float = _field(0.2, "Share of the animals for the test.", _SHARE)
    seed: int = _field(0, "Seed of all random choices.", _FROM_0)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_option(field.name, getattr(self, field.name))
        if self.model_type == NO_NETWORK and not (self.movement or self.features):
            raise ConfigError(
                "model_type: found none without movement and features, expected one of them; pass "
                "--features or --movement"
            )
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError(
                f"val_fraction, test_fraction: found {self.val_fraction} and "
                f"{self.test_fraction}, expected less than 1 together"
            )

    def learning_rate_at(self, epoch: float) -> float:
        """Return the learning rate after `epoch` epochs, which need not be a whole number.

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


def option_name(field_name: str) -> str:
    """Return the name of a field of `TrainConfig` as an option of mpar-train, without ``--``."""
    return _SHORT_NAMES.get(field_name, field_name).replace("_", "-")


def check_option(name: str, value: Any) -> None:
    """Raise ConfigError if a field of `TrainConfig` cannot have a value."""
    of_field = TrainConfig.__dataclass_fields__[name].metadata
    choices, within = of_field["choices"], of_field["range"]
    if name == "clip_length":
        check_clip_length(value)
    if choices and value not in choices:
        raise ConfigError(f"{name}: found {value!r}, expected one of {', '.join(choices)}")
    if within and not (isinstance(value, within.kind) and within.holds(value)):
        raise ConfigError(f"{name}: found {value}, expected {within.text}")


# "original" is the published recipe of the original project; "mpar" learns rare events faster
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
        movement=False,
        soft_labels=False,
    ),
}


def named_recipe(name: str, **options: Any) -> TrainConfig:
    """Return a recipe of `RECIPES` with some options changed.

    Raises
    ------
    ConfigError
        There is no such recipe or option, or a value is out of its range.
    """
    if name not in RECIPES:
        raise ConfigError(f"recipe: found {name!r}, expected one of {', '.join(RECIPES)}")
    return TrainConfig.from_dict(RECIPES[name].to_dict() | options)
