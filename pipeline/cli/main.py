"""The command's frame: options all commands share, and how errors are told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from models.classifier import ModelError
from models.labelled import LabelledError
from pipeline import __version__
from pipeline.broker import BrokerError
from pipeline.settings import CONFIG_ENV, Settings, SettingsError, load_settings
from pipeline.sources.files import SourceError

_TOLD: Final = (SettingsError, BrokerError, ModelError, SourceError, LabelledError)
"""Errors whose message is all a user needs."""


class Command(click.Group):
    """A group that tells our own errors in one message, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours ends it with exit code 2."""
        try:
            return super().invoke(ctx)
        except _TOLD as error:
            click.secho(f"gapwatch: {error}", fg="red", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)


class Context:
    """What commands are given: settings, read when first asked for."""

    def __init__(self, config: Path | None) -> None:
        self.config = config
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The settings.

        Raises:
            SettingsError: They cannot be used.
        """
        if self._settings is None:
            self._settings = load_settings(self.config)
        return self._settings


def say(message: str) -> None:
    """Tell the user what is going on; results go to standard output, this does not."""
    click.echo(f"gapwatch: {message}", err=True)


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Settings, a TOML file. Default: the one named by {CONFIG_ENV}. "
    "GAPWATCH_* variables win over it.",
)
@click.version_option(__version__, prog_name="gapwatch")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Hear, within seconds, that what you deliver has stopped matching what you promised.

    Gapwatch reads social events from Kafka, labels each post, keeps rolling advocacy scores per
    brand and alerts when expectation-gap talk spikes.

    \b
    See it on a sample stream:      gapwatch demo
    Check settings and brokers:     gapwatch -c gapwatch.toml check
    Run a worker:                   gapwatch -c gapwatch.toml run
    """
    ctx.obj = Context(config)


def command_line() -> click.Group:
    """The `gapwatch` command with all its commands."""
    from pipeline.cli import backtest, data, erase, model, notify, silences, topics, work

    modules = (work, topics, data, backtest, silences, notify, erase, model)
    for command in (command for module in modules for command in module.COMMANDS):
        cli.add_command(command)
    return cli


def main() -> None:
    """Entry point of the `gapwatch` command."""
    command_line()()
