"""The page of the rights that users need on a Kafka with an authorizer."""

from __future__ import annotations

from typing import Final

from docs.generators.markdown import table
from pipeline.rights import ROLES, Role, acl_commands, rights
from pipeline.settings import Settings

_HEAD: Final = """# Rights on Kafka

Written by `make docs` from `pipeline/rights.py`, for the topic prefix and the group `gapwatch`:
where yours are called otherwise, so are these. Each is needed and no other is: a test signs in to a
Kafka with an authorizer as each of these users, does all that they do, and finds in the
authorizer's log that nothing was denied and nothing granted in vain
(`tests/integration/test_security_kafka.py`).

Who may read or write may describe, too. Nobody but `topics` may create, and nobody may delete,
alter, or do anything to the cluster as a whole. What changes what workers rest on
(`gapwatch replay`, `gapwatch topics grow`, `gapwatch topics copy`) is for the cluster's
administrator.

A worker asks the brokers for its rights before it starts, and a command before it does anything:
what is missing is said in the words of this page.

"""

_TABLE: Final = """
`ingest` needs Write on the events topic; `topics` needs Create, Describe and DescribeConfigs on
every topic. The others:

"""

_COMMANDS: Final = """## Commands

With Apache Kafka's own tool, for users of the same names. `$KAFKA` is a broker, and
`admin.properties` says how the administrator signs in. For Strimzi, `k8s/kafka/users.yaml` grants
the same.

"""

_SHOWN: Final[tuple[Role, ...]] = ("worker", "sender", "reader", "desk", "eraser", "scaler")


def page() -> str:
    """The page."""
    settings = Settings()
    text = [
        _HEAD,
        table(("user", "for"), [(f"`{role}`", who) for role, who in ROLES.items()]),
        "\n",
    ]
    held = {
        role: {f"{right.kind} `{right.name}`": right.operations for right in rights(role, settings)}
        for role in ROLES
    }
    rows = [
        (
            name.removeprefix("topic "),
            *(" ".join(held[role].get(name, ())) or "–" for role in _SHOWN),
        )
        for name in {**held["topics"], **held["worker"]}
    ]
    text += [table(("", *(f"`{role}`" for role in _SHOWN)), rows), "\n", _COMMANDS]
    for role in ROLES:
        text.append(f"### {role}\n\n")
        text.append("<!-- not run: a test runs them on a Kafka of its own -->\n```sh\n")
        text += [f"{command}\n" for command in acl_commands(role, settings, user=role)]
        text.append("```\n\n")
    return "".join(text).rstrip() + "\n"
