"""Asking the brokers what they let us do, before something in the middle of the work is denied.

Kafka tells it with a topic's metadata (version 8 on) and a group's description (KIP-430). A broker
that does not tell is believed to allow everything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IncompatibleBrokerVersion,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from pipeline.broker import BrokerAwayError, BrokerError
from pipeline.broker.client import client_options, is_momentary
from pipeline.rights import Operation, Right
from pipeline.settings import KafkaSettings, Settings

_BITS: Final[Mapping[Operation, int]] = {
    "Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10,
}  # fmt: skip
"""`AclOperation` codes; a bit each in what brokers answer."""

_PATIENCE: Final = 30.0
_MOMENTARY: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

_UNTOLD: Final = -(2**31)
"""The broker was not asked, or does not tell."""


class _MetadataResponse_v8(Response):  # noqa: N801 (aiokafka's way)
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequest_v8(RequestStruct):  # noqa: N801
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse_v8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _TopicRights(Request[_MetadataRequest_v8]):
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequest_v8]) -> _MetadataRequest_v8:
        return request_struct_class(self._topics, False, False, True)


class _DescribeGroups_v3(DescribeGroupsRequest_v3):  # noqa: N801
    RESPONSE_TYPE = DescribeGroupsResponse_v3  # which aiokafka's own does not name


class _GroupRights(Request[_DescribeGroups_v3]):
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_DescribeGroups_v3]) -> _DescribeGroups_v3:
        return request_struct_class([self._group], True)


async def require_rights(settings: Settings, needed: Iterable[Right]) -> None:
    """See to it that the brokers allow what is needed; topics that do not exist are left out.

    Where nobody signs in, nobody is asked for.

    Raises:
        BrokerError: Something is not allowed; names all of it and what to do.
    """
    if settings.kafka.security_protocol == "PLAINTEXT":
        return
    missing = await _missing(settings.kafka, list(needed))
    if missing:
        who = "the holder of kafka.ssl_certfile"
        if settings.kafka.security_protocol.startswith("SASL"):
            who = f"kafka.sasl_username {settings.kafka.sasl_username!r}"
        raise BrokerError(
            f"Kafka at {settings.kafka.bootstrap_servers} does not allow {who}: "
            f"{'; '.join(map(str, missing))}. Have it granted "
            "(docs/reference/kafka-rights.md has the commands), or sign in as somebody else"
        )


async def _missing(kafka: KafkaSettings, needed: list[Right]) -> list[Right]:
    client: Any = AIOKafkaClient(**client_options(kafka))
    try:
        await client.bootstrap()
        found = await _of_topics(client, [right.name for right in needed if right.kind == "topic"])
        for right in needed:
            if right.kind == "group":
                found[right.name] = await _of_group(client, right.name)
    except (IncompatibleBrokerVersion, NotImplementedError):
        return []
    except (KafkaError, TimeoutError, OSError) as error:
        kind = BrokerAwayError if is_momentary(error) else BrokerError
        raise kind(f"Kafka at {kafka.bootstrap_servers} cannot be asked: {error}") from error
    finally:
        await client.close()
    return [
        Right(right.kind, right.name, lacking)
        for right in needed
        if (lacking := tuple(op for op in right.operations if not _holds(found[right.name], op)))
    ]


def _holds(bits: int, operation: Operation) -> bool:
    return bits == _UNTOLD or bool(bits >> _BITS[operation] & 1)


async def _of_topics(client: Any, topics: list[str]) -> dict[str, int]:
    """What may be done with each topic, a bit an operation; with one that is not there, all."""
    answer = await client.send(client.get_random_node(), _TopicRights(topics))
    denied = TopicAuthorizationFailedError.errno
    told = {
        topic["topic"]: (topic["error_code"], topic["authorized_operations"])
        for topic in answer.to_object()["topics"]
    }
    return {
        name: 0 if code == denied else _UNTOLD if code else bits
        for name, (code, bits) in told.items()
    }


async def _of_group(client: Any, group: str) -> int:
    """What may be done with a group, a bit an operation.

    A cluster that has never had a group takes a moment to make room for one.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            node = await client.coordinator_lookup(CoordinationType.GROUP, group)
            await client.ready(node)
            answer = await client.send(node, _GroupRights(group))
            (described,) = answer.to_object()["groups"]
            if code := described["error_code"]:
                raise for_code(code)
            bits: int = described["authorized_operations"]
            return bits
        except GroupAuthorizationFailedError:
            return 0
        except _MOMENTARY:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)
