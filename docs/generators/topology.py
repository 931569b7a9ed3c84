"""Who reads and who writes which topic, found in the source of the code that does it.

`pipeline/app.py` says what agents read, the state they keep and what the live page follows. What an
agent writes is in its own module, where each topic it writes is named by `settings.topic("NAME")`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final, Literal

from pipeline import app, erasing, sending
from pipeline.records import RECORDS

LIVE_PAGE: Final = "live page"
RECEIVERS: Final = "receivers"

_BY_PEOPLE: Final = (Path(erasing.__file__),)
_WRITING: Final = ("_publish", "_confirmed", "write")
"""Functions that write to a topic they are given the name of."""

Kind = Literal["agent", "page", "outside"]


@dataclass(frozen=True, slots=True)
class Part:
    """Something that reads or writes topics.

    Attributes:
        reads, writes: Topics without prefix.
        table: Name of the state an agent keeps.
        tells: Name of the part it hands things to other than by a topic.
        what: What it is, in a few words.
    """

    name: str
    kind: Kind
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    table: str | None = None
    tells: str | None = None
    what: str = ""


def topology() -> list[Part]:
    """Every part, in the order of the flow."""
    tree = _tree(app)
    tables = dict(_tables(tree))
    follows = dict(_followers(tree))
    agents = []
    for name, topic in _agents(tree):
        writes = _named(_tree_of(Path(app.__file__).parent / "agents" / f"{name}.py"))
        agents.append(
            Part(
                name,
                "agent",
                (topic, *follows.get(name, ())),
                writes,
                tables.get(name),
                tells=None if writes else RECEIVERS,
            )
        )
    return [
        Part("producers", "outside", writes=_named(_tree(sending)), what="yours, or gapwatch send"),
        Part("people", "outside", writes=_ordered(), what="on the page, or gapwatch …"),
        *agents,
        Part(LIVE_PAGE, "page", follows[LIVE_PAGE], what="served by every worker"),
        Part(RECEIVERS, "outside", what="chat, webhooks, e-mail"),
    ]


def _tree(module: ModuleType) -> ast.Module:
    assert module.__file__ is not None
    return _tree_of(Path(module.__file__))


def _tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls of a function or method by one of these names, in the order they stand in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in names:
            yield node


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _named(tree: ast.AST) -> tuple[str, ...]:
    """Topics named by `settings.topic("NAME")`."""
    found = (_text(call.args[0]) for call in _calls(tree, "topic") if call.args)
    return tuple(dict.fromkeys(topic for topic in found if topic in RECORDS))


def _ordered() -> tuple[str, ...]:
    """Topics that people write to: by commands, and on the page."""
    folder = Path(app.__file__).parent
    found = (
        _text(argument)
        for path in sorted((*folder.glob("cli/*.py"), *folder.glob("web/*.py"), *_BY_PEOPLE))
        for call in _calls(_tree_of(path), *_WRITING)
        for argument in call.args
    )
    return tuple(dict.fromkeys(topic for topic in found if topic in RECORDS))


def _agents(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Name of each agent, and the topic it reads."""
    read = {
        _name(node.targets[0]): topics[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and (topics := _named(node.value))
    }
    for call in _calls(tree, "attach", "attach_in_two_steps"):
        name = _text(call.args[2])
        assert name is not None
        yield name, read[_name(call.args[1])]


def _tables(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each agent with the name of the state it keeps: `score = Scores(…)`, `score.table = …`."""
    modules = {
        alias.asname or alias.name: node.module.rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    variables: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        for target in node.targets:
            variables[_name(target)] = modules.get(_name(node.value.func), "")
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            (table,) = [_text(call.args[0]) for call in _calls(node, "_table")] or [None]
            if table is not None:
                yield variables[_name(node.targets[0].value)], table


def _followers(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Who follows compacted topics from their beginning, beside the agents' groups."""
    for call in _calls(tree, "Follower", "TopicFeed"):
        who = _text(call.args[0]) if call.args else None
        yield who or LIVE_PAGE, _named(call)
