"""The picture of the flow is what a worker is made of."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from docs.generators.diagram import picture
from docs.generators.topology import LIVE_PAGE, RECEIVERS, topology
from models.null import NullClassifier
from pipeline.app import Worker
from pipeline.records import RECORDS
from pipeline.settings import Settings

SVG = "{http://www.w3.org/2000/svg}"
PARTS = {part.name: part for part in topology()}


def a_worker() -> Worker:
    return Worker(Settings(), NullClassifier())


def test_its_agents_read_what_a_worker_has_them_read() -> None:
    worker, prefix = a_worker(), Settings().topic("")
    agents = {name.rpartition(".")[2]: agent for name, agent in worker.app.agents.items()}
    drawn = {name for name, part in PARTS.items() if part.kind == "agent"}
    assert drawn == set(agents)
    for name, agent in agents.items():
        read = {topic.removeprefix(prefix) for topic in agent.channel.topics}
        assert read <= set(PARTS[name].reads)


def test_each_state_of_a_worker_has_its_keeper() -> None:
    kept = [part.table for part in PARTS.values() if part.table]
    assert sorted(kept) == sorted(a_worker().app.tables)


def test_every_topic_is_written_by_somebody() -> None:
    written = {topic for part in PARTS.values() for topic in part.writes}
    assert written == set(RECORDS)


def test_what_is_drawn_is_what_there_is() -> None:
    drawing = ElementTree.fromstring(picture())
    words = [text.text for text in drawing.iter(f"{SVG}text")]
    for name in (*PARTS, *RECORDS, LIVE_PAGE, RECEIVERS):
        assert words.count(name) == 1, name
    lines = {topic for part in PARTS.values() for topic in (*part.reads, *part.writes)}
    assert lines == set(RECORDS)
    edges = sum(len(part.reads) + len(part.writes) + bool(part.tells) for part in PARTS.values())
    assert len([each for each in drawing.iter(f"{SVG}path") if each.get("marker-end")]) == edges


def test_its_boxes_are_in_the_picture_and_apart() -> None:
    drawing = ElementTree.fromstring(picture())
    _, _, width, height = map(float, re.split(" ", drawing.attrib["viewBox"]))
    boxes = [
        tuple(float(each.attrib[name]) for name in ("x", "y", "width", "height"))
        for each in drawing.iter(f"{SVG}rect")
    ]
    for place, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for x2, y2, w2, h2 in boxes[:place]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
