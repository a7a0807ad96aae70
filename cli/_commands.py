"""What mpar-studio asks of the commands: whether an option can be used, and how labels are read."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from mpar.errors import ConfigError
from mpar.studio.study import Study

if TYPE_CHECKING:
    from mpar.cache.preprocess_config import PreprocessConfig
    from mpar.labels.classes import ClassMap
    from mpar.learning.recipe import TrainConfig


# where files of a study lie, and what is asked for each time
_OF_STUDY = ("output", "overwrite", "resume", "help")


class Commands:
    """The commands, as `mpar.studio.study.Commands` describes them."""

    def check_option(self, command: str, name: str, value: Any) -> None:
        """Let a command look at a value as study.json holds it; ConfigError if it refuses it."""
        main: click.Command = importlib.import_module(f"mpar_cli.{command}").main
        options = {opt: p for p in main.params for opt in (*p.opts, *p.secondary_opts)}
        option = options.get(f"--{name}")
        if not isinstance(option, click.Option):
            raise ConfigError(f"found {name!r}, expected an option of mpar-{command}; remove it")
        if name in _OF_STUDY:
            raise ConfigError(f"{name}: mpar-{command} takes it from the study; remove it")
        values = value if isinstance(value, list) else [value]
        if option.is_flag and value is not True:
            raise ConfigError(f"{name}: found {value!r}, expected true; remove or correct it")
        if isinstance(option.type, click.Path):
            return  # a disk that is not there now does not make a study unreadable
        if value is True and (option.is_flag or option.flag_value is not None):
            return  # alone, an option such as --features has a value of its own
        if isinstance(value, list) and not option.multiple:
            raise ConfigError(f"{name}: found {value!r}, expected one value")
        for one in values:
            if isinstance(one, bool) or not isinstance(one, str | int | float):
                raise ConfigError(f"{name}: found {one!r}, expected a text or a number")
        context = click.Context(main, info_name=f"mpar-{command}")
        try:
            option.process_value(context, [*map(str, values)] if option.multiple else str(value))
        except click.UsageError as error:
            text = error.message
            text = text if "found " in text else f"found {value!r}: {text}"
            raise ConfigError(f"{name}: {text}") from None

    def read_recipe(self, study: Study) -> TrainConfig:
        """Return with which recipe mpar-train trains on a study."""
        from mpar.learning.recipe import TrainConfig, named_recipe

        main: click.Command = importlib.import_module("mpar_cli.train").main
        context = click.Context(main)
        given = {}
        for name, value in study.options.get("train", {}).items():
            option = next(p for p in main.params if f"--{name}" in (*p.opts, *p.secondary_opts))
            assert option.name is not None
            is_on = f"--{name}" in option.opts
            given[option.name] = is_on if value is True else option.process_value(context, value)
        recipe = str(given.get("recipe_name", "mpar"))
        fields = TrainConfig.__dataclass_fields__
        return named_recipe(recipe, **{k: v for k, v in given.items() if k in fields})

    def read_labelling(self, study: Study) -> tuple[ClassMap, PreprocessConfig]:
        """Return with which classes and options mpar-preprocess reads a study."""
        from mpar_cli._preprocess import read_options

        main: click.Command = importlib.import_module("mpar_cli.preprocess").main
        try:
            arguments = [*study.arguments("preprocess"), "--quiet"]
            return read_options(main.make_context("mpar-preprocess", arguments).params)
        except click.UsageError as error:
            raise ConfigError(f"preprocess: {error.format_message()}") from None
