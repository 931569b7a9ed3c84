"""The page of all topics: how they are made, who reads and writes them, and what they carry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from docs.generators.markdown import cell, table
from docs.generators.records import about, with_parts
from docs.generators.schema import resolved
from docs.generators.topology import Part, topology
from pipeline.records import RECORDS, json_schema
from pipeline.settings import Settings
from pipeline.topics import CHANGELOGS, TopicSpec, topic_specs

_HEAD: Final = """# Topics and schemas

Written by `make docs` from `pipeline/topics.py` and `pipeline/records.py`. Names begin with
`kafka.topic_prefix`; partitions and replication are those of the settings. `gapwatch topics create`
makes what is missing, a worker does so too, and neither changes what is there.

Values are JSON in UTF-8; times are RFC 3339 with a zone. Fields may be added in a later version, so
readers should ignore those they do not know; how versions change is in
[upgrading](../how-to/upgrading.md).

"""

_CHANGELOGS: Final = """## State

An agent's state is in a compacted topic of its own, named by the group. Its records are no
interface: they change between versions without notice. Partition *n* is kept with partition *n* of
the topic that the state is fed from.

"""


def page() -> str:
    """The page."""
    settings = Settings()
    specs = {spec.name: spec for spec in topic_specs(settings)}
    parts = topology()
    text = [_HEAD, _overview(settings, specs, parts)]
    text += [_topic(name, settings, specs) for name in RECORDS]
    rows = []
    for name in CHANGELOGS:
        keeper = next((part.name for part in parts if part.table == name), "–")
        rows.append((f"`GROUP-{name}-changelog`", keeper, f"`{CHANGELOGS[name]}`"))
    text += [_CHANGELOGS, table(("topic", "kept by", "fed from"), rows)]
    return "".join(text)


def _overview(settings: Settings, specs: Mapping[str, TopicSpec], parts: Iterable[Part]) -> str:
    rows = []
    for name, record in RECORDS.items():
        spec = specs[settings.topic(name)]
        writers = ", ".join(part.name for part in parts if name in part.writes)
        readers = ", ".join(part.name for part in parts if name in part.reads)
        rows.append(
            (
                f"[`{settings.topic(name)}`](#{name})",
                _key(record),
                writers or "–",
                readers or "for you",
                _kept(spec),
            )
        )
    return table(("topic", "key", "written by", "read by", "kept"), rows) + "\n"


def _key(record: type[msgspec.Struct]) -> str:
    found = re.search(r"Key(?: of its topic)?: (.+?)\.(\s|$)", record.__doc__ or "", re.S)
    return cell(found[1]) if found else "–"


def _kept(spec: TopicSpec) -> str:
    policy, hours = (
        spec.config["cleanup.policy"],
        int(spec.config.get("retention.ms", 0)) // 3_600_000,
    )
    if policy == "delete":
        return "`kafka.retention_hours`"
    return "the last of each key" + (f", for {hours // 24} days" if hours else "")


def _topic(name: str, settings: Settings, specs: Mapping[str, TopicSpec]) -> str:
    schema = json_schema(name)
    record = resolved(schema, schema["$defs"])
    config = specs[settings.topic(name)].config
    made_with = ", ".join(f"`{key}={value}`" for key, value in sorted(config.items()))
    return (
        f"## {name}\n\n{about(record)}\n\n[JSON Schema](../schemas/{name}.json). "
        f"Made with {made_with}.\n\n{with_parts(record, schema['$defs'])}\n"
    )
