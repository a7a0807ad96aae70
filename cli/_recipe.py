"""The options of mpar-train that are a recipe's: what is not given is as --recipe has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def _option(*names: str, help: str, mpar: Any, original: Any, **kind: Any) -> Command:
    """Make an option without a default of its own; its help names those of both recipes."""
    ours, published = (f"{v:g}" if isinstance(v, float) else f"{v}" for v in (mpar, original))
    values = ours if ours == published else f"{ours}; original: {published}"
    return click.option(*names, help=f"{help}  [default: {values}]", **kind)


_OPTIONS = [
    click.option(
        "--recipe",
        "recipe_name",
        type=click.Choice(["mpar", "original"]),
        default="mpar",
        show_default=True,
        help="Where options that are not given come from; original: as published.",
    ),
    _option(
        "--model",
        "model_type",
        type=click.Choice(["standard", "light"]),
        help="About 3.0 or 0.6 million parameters.",
        mpar="standard",
        original="standard",
    ),
    _option("--clip-length", type=int, help="Frames seen, even, 8-32.", mpar=16, original=16),
    _option("--epochs", "num_epochs", type=int, help="At most so many.", mpar=30, original=100),
    _option("--batch-size", type=int, help="Windows a step.", mpar=4, original=32),
    _option(
        "--window",
        type=int,
        help="Consecutive frames learnt from one window; more share work. 1: clip by clip.",
        mpar=16,
        original=1,
    ),
    _option(
        "--sampling",
        type=click.Choice(["all", "balanced"]),
        help="An epoch is every frame, with a class-weighted loss; or each class equally often.",
        mpar="balanced",
        original="all",
    ),
    _option(
        "--optimizer",
        type=click.Choice(["adam", "muon"]),
        help="Adam; or Muon for convolutions and Adam for the rest.",
        mpar="muon",
        original="adam",
    ),
    _option("--learning-rate", type=float, help="Of the optimizer.", mpar=0.003, original=0.001),
    _option("--weight-decay", type=float, help="Of the optimizer.", mpar=1e-5, original=1e-5),
    _option(
        "--freeze-backbone-epochs",
        type=int,
        help="With --init: learn only the last layers first.",
        mpar=0,
        original=0,
    ),
    _option(
        "--restart-epochs",
        type=int,
        help="Period of the cosine schedule, T_0; 0: one fall over all epochs.",
        mpar=0,
        original=10,
    ),
    _option("--warmup-epochs", type=float, help="Rise before the schedule.", mpar=0.5, original=0),
    _option("--dropout", type=float, help="0 to below 1.", mpar=0.2, original=0.5),
    _option(
        "--centre-frames/--no-centre-frames",
        default=None,
        help="Subtract each frame's mean; half of the first filters begin with motion only.",
        mpar="on",
        original="off",
    ),
    _option(
        "--loss",
        type=click.Choice(["cross_entropy", "focal"]),
        help="What is minimised.",
        mpar="cross_entropy",
        original="cross_entropy",
    ),
    _option("--focal-gamma", type=float, help="Of the focal loss.", mpar=2.0, original=2.0),
    _option("--grad-clip", type=float, help="Largest gradient norm.", mpar=1.0, original=1.0),
    _option(
        "--ema-decay",
        type=float,
        help="Keep a moving average of the weights; 0: the last ones.",
        mpar=0.97,
        original=0,
    ),
    _option(
        "--patience",
        type=int,
        help="Epochs without a better one to stop: by macro-F1, if equal by loss.",
        mpar=30,
        original=15,
    ),
    _option(
        "--augment/--no-augment",
        default=None,
        help="Mirror, turn, relight, play slower or faster; left and right swap by the class "
        "map's mirrors.",
        mpar="on",
        original="off",
    ),
    _option(
        "--amp/--no-amp",
        "use_amp",
        default=None,
        help="Mixed precision where it is quicker: CUDA, and CPUs with bfloat16.",
        mpar="on",
        original="on",
    ),
    _option(
        "--compile/--no-compile",
        default=None,
        help="Let torch compile the network; meant for GPUs, no gain was seen on CPUs.",
        mpar="off",
        original="off",
    ),
    _option("--val-fraction", type=float, help="Share of the animals.", mpar=0.2, original=0.2),
    _option("--test-fraction", type=float, help="Share of the animals.", mpar=0.2, original=0.2),
    _option("--seed", type=int, help="Fixes everything random.", mpar=0, original=0),
]


def recipe_options(command: Command) -> Command:
    """Add all options of a recipe to a command, in their order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
