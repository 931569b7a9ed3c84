"""Granting and withdrawing rights on a real broker, by Kafka's own protocol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

from pipeline.broker.client import client_options, wait_for_broker
from pipeline.rights import Right
from pipeline.settings import KafkaSettings

_KINDS = {"topic": 2, "group": 3}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
_LITERAL, _ALLOW = 3, 3

_ENTRY = Array(
    ("resource_type", Int8),
    ("resource_name", String("utf-8")),
    ("pattern_type", Int8),
    ("principal", String("utf-8")),
    ("host", String("utf-8")),
    ("operation", Int8),
    ("permission", Int8),
)


class _Created(Response):
    API_KEY = 30
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(("error_code", Int16), ("error_message", String("utf-8")))),
    )


class _Create(RequestStruct):
    API_KEY = 30
    API_VERSION = 1
    RESPONSE_TYPE = _Created
    SCHEMA = Schema(("creations", _ENTRY))


class _Deleted(Response):
    API_KEY = 31
    API_VERSION = 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                (
                    "matching",
                    Array(
                        ("error_code", Int16),
                        ("error_message", String("utf-8")),
                        ("resource_type", Int8),
                        ("resource_name", String("utf-8")),
                        ("pattern_type", Int8),
                        ("principal", String("utf-8")),
                        ("host", String("utf-8")),
                        ("operation", Int8),
                        ("permission", Int8),
                    ),
                ),
            ),
        ),
    )


class _Delete(RequestStruct):
    API_KEY = 31
    API_VERSION = 1
    RESPONSE_TYPE = _Deleted
    SCHEMA = Schema(("filters", _ENTRY))


class _Grant(Request[_Create]):
    API_KEY = 30

    def __init__(self, entries: list[tuple[Any, ...]]) -> None:
        self._entries = entries

    def build(self, request_struct_class: type[_Create]) -> _Create:
        return request_struct_class(self._entries)


class _Withdraw(Request[_Delete]):
    API_KEY = 31

    def __init__(self, entries: list[tuple[Any, ...]]) -> None:
        self._entries = entries

    def build(self, request_struct_class: type[_Delete]) -> _Delete:
        return request_struct_class(self._entries)


async def grant(admin: KafkaSettings, user: str, rights: Iterable[Right]) -> None:
    """Allow a user what is listed."""
    await _send(admin, _Grant(_entries(user, rights)))


async def withdraw(admin: KafkaSettings, user: str, rights: Iterable[Right]) -> None:
    """Allow a user no longer what is listed."""
    await _send(admin, _Withdraw(_entries(user, rights)))


def _entries(user: str, rights: Iterable[Right]) -> list[tuple[Any, ...]]:
    return [
        (_KINDS[r.kind], r.name, _LITERAL, f"User:{user}", "*", _OPERATIONS[operation], _ALLOW)
        for r in rights
        for operation in r.operations
    ]


async def _send(admin: KafkaSettings, request: Any) -> None:
    await wait_for_broker(admin, say=lambda line: None, timeout=30)
    client: Any = AIOKafkaClient(**client_options(admin))
    try:
        await client.bootstrap()
        answer = await client.send(client.get_random_node(), request)
    finally:
        await client.close()
    for result in answer.to_object()["results"]:
        assert result["error_code"] == 0, result
