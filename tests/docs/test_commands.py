"""Every command of the documentation: run as it stands, or, where it says why not, looked at."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from docs.blocks import DIRECTIVES, Block, blocks, pages, read, without_blocks
from pipeline.broker.embedded import EmbeddedBroker
from pipeline.cli.main import command_line
from tests.conftest import REQUIRE_KAFKA
from tests.docs.terminal import ROOT, Terminal
from tests.kafka.security import Security
from tests.kafka.server import KafkaServer, KafkaUnavailableError

pytestmark = pytest.mark.timeout(900)  # the first test that runs follows all pages before its own

PAGES = [page for page in pages() if not page.startswith("reference/")]
KAFKA = "how-to/kafka.md"
"""The page that needs a cluster of its own."""

PROGRAMS = ("gapwatch", "make", "python", "docker", "kubectl", "pip")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def has_commands(page: str) -> bool:
    return any(
        block.commands and "not run" not in block.directives for block in blocks(page, read(page))
    )


FOLLOWED = [page for page in PAGES if page != KAFKA and has_commands(page)]


class Reader:
    """Follows the pages in their order, each once."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self._pages = list(FOLLOWED)

    def reach(self, page: str) -> None:
        """Follow all pages up to this one that are not followed yet."""
        while page in self._pages:
            self.terminal.follow(self._pages.pop(0))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, embedded: EmbeddedBroker) -> Iterator[Reader]:
    """A reader on a machine that has an embedded broker: `embedded` skips where there is none."""
    terminal = Terminal(tmp_path_factory.mktemp("docs"))
    yield Reader(terminal)
    terminal.close()


@pytest.mark.parametrize("page", FOLLOWED)
def test_it_comes_out_as_the_page_says(page: str, reader: Reader) -> None:
    reader.reach(page)


@pytest.mark.kafka
def test_so_does_the_page_about_a_real_kafka(tmp_path: Path) -> None:
    security = Security(tmp_path / "security", {"gapwatch": "a-password"})
    security.config["super.users"] += ";User:gapwatch"  # rights are the matter of other tests
    server = KafkaServer(tmp_path / "kafka", security=security)
    try:
        server.start()
    except KafkaUnavailableError as error:
        if os.environ.get(REQUIRE_KAFKA) == "1":
            raise
        pytest.skip(f"no Kafka: {error}")
    terminal = Terminal(tmp_path)
    try:
        terminal.connect(security)
        terminal.follow(KAFKA)
    finally:
        terminal.close()
        server.stop()


def every_block() -> Iterator[Block]:
    for page in pages():
        yield from blocks(page, read(page))
    yield from blocks("../README.md", README)


def test_what_is_not_run_says_why() -> None:
    for block in every_block():
        assert set(block.directives) <= set(DIRECTIVES), block.place
        assert len(block.directives.get("not run", "a reason of some words").split()) > 2, (
            block.place
        )


def test_commands_stand_in_blocks_that_are_run() -> None:
    for page in pages():
        for block in blocks(page, read(page)):
            if block.language not in ("sh", "console"):
                for line in block.text.splitlines():
                    assert not line.startswith(tuple(f"{name} " for name in PROGRAMS)) or (
                        page.startswith("reference/")
                    ), f"{block.place}: {line!r} stands in a block that is neither sh nor console"
        for line in without_blocks(read(page)).splitlines():
            assert not re.match(rf" {{4}}({'|'.join(PROGRAMS)}) ", line), (
                f"{page}: {line.strip()!r} is indented: make it a block of sh or console"
            )


def typed() -> Iterator[tuple[str, str]]:
    """Place and text of every command line, in blocks and in prose."""
    for block in every_block():
        readme = block.page.endswith("README.md")
        texts = [block.text] if readme else [command for command, _ in block.commands]
        for text in texts:
            for line in text.replace("\\\n", " ").splitlines():
                for part in re.split(r"\s*(?:\||&&|;|\$\()\s*", line.partition("  #")[0]):
                    yield block.place, part
    for page, text in [(page, read(page)) for page in pages()] + [("README.md", README)]:
        for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", without_blocks(text)):
            yield page, span


LOOKED_AT = sorted(
    {
        (place, line)
        for place, line in typed()
        if re.match(r"(\w+=\S+ )*(gapwatch|make|python -m) \S", line)
    }
)


@pytest.mark.parametrize(("place", "line"), LOOKED_AT, ids=lambda text: text)
def test_programs_and_options_exist(place: str, line: str) -> None:
    words = [word for word in shlex.split(line) if word not in ("…", "...")]
    while re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    if ">" in words:
        words = words[: words.index(">")]
    match words:
        case ["gapwatch", *arguments]:
            look_at(command_line(), arguments, place)
        case ["make", target, *_]:
            assert re.search(rf"^{re.escape(target)}:", Makefile, re.M), f"{place}: no {target}"
        case ["python", "-m", module, *arguments]:
            look_at_module(module, arguments, place)


Makefile = (ROOT / "Makefile").read_text(encoding="utf-8")


def look_at(command: click.Command, arguments: list[str], place: str) -> None:
    """Fail where a command or option is none, or a choice is not open."""
    context = click.Context(command, info_name=command.name, resilient_parsing=True)
    if not arguments or arguments[0] in ("COMMAND", "--help"):
        return
    try:
        values, rest, _ = command.make_parser(context).parse_args(list(arguments))
    except click.UsageError as error:
        pytest.fail(f"{place}: {command.name}: {error.format_message()}")
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if isinstance(parameter.type, click.Choice) and isinstance(value, str):
            assert value in parameter.type.choices, f"{place}: {value!r} is no choice"
    if isinstance(command, click.Group):
        words = rest
        if words and not words[0].isupper():
            inner = command.get_command(context, words[0])
            assert inner is not None, f"{place}: no command {words[0]!r}"
            look_at(inner, words[1:], place)


def look_at_module(module: str, arguments: list[str], place: str) -> None:
    """Fail where a module cannot be run, or an option is not named in it."""
    spec = find_spec(f"{module}.__main__") if _is_package(module) else find_spec(module)
    assert spec is not None and spec.origin is not None, f"{place}: no module {module}"
    text = Path(spec.origin).read_text(encoding="utf-8")
    text += (ROOT / "docs" / "generate.py").read_text(encoding="utf-8")
    for argument in arguments:
        if argument.startswith("--"):
            assert f'"{argument.partition("=")[0]}"' in text, f"{place}: {module} has no {argument}"


def _is_package(module: str) -> bool:
    spec = find_spec(module)
    assert spec is not None, f"no module {module}"
    return spec.submodule_search_locations is not None
