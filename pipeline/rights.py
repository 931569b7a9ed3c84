"""What each kind of user must be allowed to do on a Kafka with an authorizer, and nothing more.

One table, from which come the rights of the Kubernetes manifests, those in the documentation, and
what a worker asks the brokers for before it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.settings import Settings
from pipeline.topics import CHANGELOGS, changelog_topic, topic_specs

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
"""As Kafka names them. Who may read or write may describe."""

Role = Literal["worker", "ingest", "sender", "reader", "desk", "eraser", "topics", "scaler"]

ROLES: Final[Mapping[Role, str]] = {
    "worker": "`gapwatch run`: classifies, scores, alerts, and serves the page",
    "ingest": "beside `worker`, where workers take events over HTTP",
    "sender": "`gapwatch send`, and any producer of events",
    "reader": "`gapwatch scores`, `alerts`, `silence list`; dashboards of your own",
    "desk": "`gapwatch silence`, `snooze`, `acknowledge`",
    "eraser": "`gapwatch erase`",
    "topics": "`gapwatch topics create`, `topics list`",
    "scaler": "KEDA, which asks how far the workers are behind",
}
"""Who they are."""

_GROUP: Final = "group"
_EVERY_TOPIC: Final = "*"

_READ: Final[tuple[Operation, ...]] = ("Read",)
_WRITE: Final[tuple[Operation, ...]] = ("Write",)
_BOTH: Final[tuple[Operation, ...]] = ("Read", "Write")

_GRANTED: Final[Mapping[Role, Mapping[str, tuple[Operation, ...]]]] = {
    "worker": {
        "events": _READ,
        "mentions": _BOTH,
        "rejected": _WRITE,
        "scores": _BOTH,
        "alerts": _BOTH,
        # Written when somebody silences or takes on an alert on the page.
        "silences": _BOTH,
        "acknowledgements": _BOTH,
        "erasures": _READ,
        "hours": _BOTH,
        "expectations": _BOTH,
        **dict.fromkeys(CHANGELOGS, _BOTH),
        _GROUP: _READ,
    },
    "ingest": {"events": _WRITE},
    "sender": {"events": _WRITE},
    "reader": {
        **dict.fromkeys(("scores", "alerts", "silences"), _READ),
        "deliveries": _READ,
    },
    "desk": {"alerts": _READ, "silences": _BOTH, "acknowledgements": _WRITE},
    "eraser": {"erasures": _BOTH, "alerts": _BOTH, "series": _READ, "deliveries": _READ},
    "topics": {_EVERY_TOPIC: ("Create", "Describe", "DescribeConfigs")},
    "scaler": {"events": ("Describe",), _GROUP: ("Describe",)},
}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What may be done with one topic or group.

    Attributes:
        name: Full name.
    """

    kind: Literal["topic", "group"]
    name: str
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        return f"{' and '.join(self.operations)} on {self.kind} {self.name}"


def rights(role: Role, settings: Settings) -> list[Right]:
    """What a user of this kind needs, in the order of the topics."""
    granted = _GRANTED[role]
    short = {settings.topic(name): name for name in granted}
    short |= {changelog_topic(settings, table): table for table in CHANGELOGS}
    found = []
    for spec in topic_specs(settings):
        operations = granted.get(short.get(spec.name, ""), granted.get(_EVERY_TOPIC))
        if operations:
            found.append(Right("topic", spec.name, operations))
    if _GROUP in granted:
        found.append(Right("group", settings.group, granted[_GROUP]))
    return found


def acl_commands(role: Role, settings: Settings, *, user: str) -> list[str]:
    """The `kafka-acls.sh` commands that grant it: one for all that have the same operations."""
    alike: dict[tuple[str, tuple[Operation, ...]], list[str]] = {}
    for right in rights(role, settings):
        alike.setdefault((right.kind, right.operations), []).append(right.name)
    return [
        " \\\n  ".join(
            (
                "kafka-acls.sh --bootstrap-server $KAFKA --command-config admin.properties --add",
                f"--allow-principal User:{user}",
                " ".join(f"--operation {operation}" for operation in operations),
                *(f"--{kind} {name}" for name in names),
            )
        )
        for (kind, operations), names in alike.items()
    ]
