"""The one picture of the flow, drawn from the topology: parts as boxes, topics as pills.

Layers from top to bottom; what skips layers passes between the others. Every box has its own
ground, and lines are of a middle grey, so it is legible on a light page and on a dark one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Final

from docs.generators.topology import Part, topology

_WIDTH: Final = 760
_LAYER: Final = 84
_MOST_APART: Final = 54.0
_MARGIN: Final = 14
_LINE: Final = "#808893"
_FACES: Final = {
    "topic": ("#e3ecfb", "#5b7fb8", "#12294a"),
    "agent": ("#1f4e8c", "#1f4e8c", "#ffffff"),
    "page": ("#1f4e8c", "#1f4e8c", "#ffffff"),
    "outside": ("#f5efe2", "#a8946a", "#3d3218"),
}
"""Ground, edge and words of each kind of box; contrast of words on ground is above 7."""


@dataclass(slots=True, eq=False)
class _Node:
    name: str
    kind: str
    note: str = ""
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    after: list[_Node] = field(default_factory=list)
    before: list[_Node] = field(default_factory=list)

    @property
    def height(self) -> float:
        return {"": 0.0, "topic": 30.0}.get(self.kind, 42.0)


def picture() -> str:
    """The SVG."""
    nodes = _nodes(topology())
    edges = [(node, after) for node in nodes for after in node.after]
    _layer(nodes)
    layers = _place(nodes)
    height = len(layers) * _LAYER - 24
    body = [_edge(edge) for edge in _paths(edges)]
    body += [_box(node) for layer in layers for node in layer if node.kind]
    title = "The flow: " + ", ".join(f"{a.name} to {b.name}" for a, b in edges)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="14">\n<title>{escape(title)}</title>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{_LINE}"/></marker></defs>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _nodes(parts: Iterable[Part]) -> list[_Node]:
    found: dict[str, _Node] = {}

    def topic(name: str) -> _Node:
        return found.setdefault(f"topic {name}", _Node(name, "topic"))

    parts = list(parts)
    for part in parts:
        note = f"keeps {part.table}" if part.table else part.what
        found[part.name] = _Node(part.name, part.kind, note)
    for part in parts:
        node = found[part.name]
        for read in part.reads:
            topic(read).after.append(node)
        node.after += [topic(written) for written in part.writes]
        if part.tells:
            node.after.append(found[part.tells])
    for node in found.values():
        for after in node.after:
            after.before.append(node)
    return list(found.values())


def _layer(nodes: Sequence[_Node]) -> None:
    """As far up as the flow allows; what only feeds something further down goes down to it."""
    for _ in nodes:
        for node in nodes:
            node.layer = max((before.layer + 1 for before in node.before), default=0)
    for _ in nodes:
        for node in nodes:
            if node.after:
                node.layer = min(after.layer for after in node.after) - 1


def _place(nodes: list[_Node]) -> list[list[_Node]]:
    """Give every node its place; a line that skips layers has an unseen node in each."""
    links = list(nodes)
    for node in nodes:
        for place, after in enumerate(node.after):
            if after.layer - node.layer > 1:
                node.after[place] = _bridge(links, node, after)
    layers: list[list[_Node]] = [[] for _ in range(max(node.layer for node in nodes) + 1)]
    for node in links:
        node.width = (
            10.0 if not node.kind else 26 + 7.6 * max(len(node.name), 0.86 * len(node.note))
        )
        layers[node.layer].append(node)
    for turn in range(24):
        down = turn % 2 == 0
        for layer in layers if down else layers[::-1]:
            layer.sort(key=lambda node: _middle(node.before if down else node.after, node.x))
            _spread(layer)
    for number, layer in enumerate(layers):
        for node in layer:
            node.y = _MARGIN + 21 + number * _LAYER
    return layers


def _bridge(links: list[_Node], node: _Node, after: _Node) -> _Node:
    after.before.remove(node)
    first = last = node
    for layer in range(node.layer + 1, after.layer):
        step = _Node(after.name, "", layer=layer, before=[last])
        if last is not node:
            last.after.append(step)
        else:
            first = step
        links.append(step)
        last = step
    last.after.append(after)
    after.before.append(last)
    return first


def _middle(others: Sequence[_Node], own: float) -> float:
    return sum(other.x for other in others) / len(others) if others else own


def _spread(layer: list[_Node]) -> None:
    """Keep the order; boxes evenly apart, and all of them in the middle."""
    free = _WIDTH - 2 * _MARGIN - sum(node.width for node in layer)
    gap = min(_MOST_APART, free / max(1, len(layer) - 1)) if len(layer) > 1 else 0.0
    assert gap >= 0, "the layer is wider than the picture"
    total = sum(node.width for node in layer) + gap * (len(layer) - 1)
    x = (_WIDTH - total) / 2
    for node in layer:
        node.x = x + node.width / 2
        x += node.width + gap


def _paths(edges: Iterable[tuple[_Node, _Node]]) -> list[list[_Node]]:
    """Each line as the nodes it passes, unseen ones included."""
    paths = []
    for start in dict.fromkeys(start for start, _ in edges):
        for step in start.after:
            path = [start, step]
            while not path[-1].kind:
                path.append(path[-1].after[0])
            paths.append(path)
    return paths


def _edge(path: Sequence[_Node]) -> str:
    first, last = path[0], path[-1]
    points = [(first.x, first.y + first.height / 2)]
    points += [(node.x, node.y) for node in path[1:-1]]
    points.append((last.x, last.y - last.height / 2))
    d = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (x1, y1), (x2, y2) in pairwise(points):
        bend = (y2 - y1) / 2
        d += f"C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
    return f'<path d="{d}" fill="none" stroke="{_LINE}" stroke-width="1.6" marker-end="url(#tip)"/>'


def _box(node: _Node) -> str:
    ground, edge, words = _FACES[node.kind]
    round_ = node.height / 2 if node.kind == "topic" else 6
    left, top = node.x - node.width / 2, node.y - node.height / 2
    dashes = ' stroke-dasharray="4 3"' if node.kind == "outside" else ""
    baseline = node.y + (-2 if node.note else 5)
    weight = "" if node.kind == "topic" else ' font-weight="600"'
    text = f'<text x="{node.x:.0f}" y="{baseline:.0f}"{weight}>{escape(node.name)}</text>'
    if node.note:
        text += (
            f'<text x="{node.x:.0f}" y="{node.y + 14:.0f}" font-size="12">'
            f"{escape(node.note)}</text>"
        )
    return (
        f'<g text-anchor="middle" fill="{words}"><rect x="{left:.0f}" y="{top:.0f}" '
        f'width="{node.width:.0f}" height="{node.height:.0f}" rx="{round_:.0f}" fill="{ground}" '
        f'stroke="{edge}" stroke-width="1.2"{dashes}/>{text}</g>'
    )
