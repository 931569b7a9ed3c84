"""The page of all commands, from the commands' own declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from docs.generators.markdown import cell, table
from pipeline.cli.main import command_line

_HEAD: Final = """# Commands

Written by `make docs` from the commands themselves; `gapwatch COMMAND --help` says the same.

Results go to standard output, all else to standard error. Exit code 0: done. 1: what was asked
for did not come out well (`check`, `notify test`, a worker that crashed). 2: settings, arguments
or files cannot be used, and the message says which. `-` as a FILE is standard input.

"""


def page() -> str:
    """The page."""
    parts = [_HEAD]
    for path, command in walk(command_line()):
        parts.append(_command(path, command))
    return "".join(parts)


def walk(command: click.Command, path: str = "gapwatch") -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, as they are typed."""
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from walk(command.commands[name], f"{path} {name}")


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    parts = [f"## `{path}`\n"]
    usage = " ".join((path, *command.collect_usage_pieces(context)))
    parts.append(f"```text\n{usage}\n```\n")
    parts.append(_help(command))
    if options := [_option(each, context) for each in command.params if _shown(each)]:
        parts.append(table(("option", "default", "meaning"), options))
    return "\n".join(parts) + "\n"


def _shown(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and not parameter.hidden


def _help(command: click.Command) -> str:
    """Paragraphs of the help; what stands as it is (after `\\b`) as code."""
    parts = []
    for part in (command.help or "").split("\n\n"):
        lines = part.replace("\b", "").split("\n")
        if "\b" in part:
            parts.append("\n".join(("```text", *filter(None, map(str.strip, lines)), "```")))
        else:
            parts.append(" ".join(part.split()))
    return "\n\n".join(parts) + "\n"


def _option(option: click.Parameter, context: click.Context) -> tuple[str, str, str]:
    assert isinstance(option, click.Option)
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    kind = "" if option.is_flag else f" {cell(option.make_metavar(context))}"
    told = "must be given" if option.required else "–"
    if option.envvar:
        told = f"`${option.envvar}`"
    elif option.show_default and (default := option.get_default(context)) is not None:
        told = f"`{default}`"
    words = option.help or ""
    if option.multiple and "repeatable" not in words:
        words += " May be given several times."
    return names + kind, told, cell(words.strip())
