"""The recipe options of mpar-train; --recipe sets their defaults."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import click
from mpar_cli._options import checked

from mpar.learning.recipe import RECIPES, TrainConfig, check_option, option_name

Command = Callable[..., Any]
_TYPES = {"int": int, "float": float}


def _option(field: dataclasses.Field[Any]) -> Command:
    """Make an option for a field; its help lists the defaults of all recipes."""
    ours, *others = (_text(getattr(config, field.name)) for config in RECIPES.values())
    values = [
        ours,
        *(f"{k}: {v}" for k, v in zip([*RECIPES][1:], others, strict=True) if v != ours),
    ]
    kind: dict[str, Any] = {"help": f"{field.metadata['help']}  [default: {'; '.join(values)}]"}
    name = option_name(field.name)
    if field.type == "bool":
        return click.option(f"--{name}/--no-{name}", field.name, default=None, **kind)
    if field.name == "features":  # alone, it means the network of the extra
        kind |= {"is_flag": False, "flag_value": "lite0", "metavar": "[FILE.onnx]"}
        return click.option(f"--{name}", field.name, default=None, **kind)
    choices = field.metadata["choices"]
    kind["type"] = click.Choice(choices) if choices else _TYPES[str(field.type)]
    kind["callback"] = checked(functools.partial(check_option, field.name))
    return click.option(f"--{name}", field.name, **kind)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def recipe_options(command: Command) -> Command:
    """Add --recipe and an option for each field of `TrainConfig` to a command, in their order."""
    for field in reversed(dataclasses.fields(TrainConfig)):
        command = _option(field)(command)
    return click.option(
        "--recipe",
        "recipe_name",
        type=click.Choice([*RECIPES]),
        default="mpar",
        show_default=True,
        help="Defaults of the recipe; original: as published.",
    )(command)
