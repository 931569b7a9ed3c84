"""Which addresses may be called, by whatever way they are written or resolved."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.receivers.guard import (
    PrivateAddressError,
    PublicResolver,
    is_private_literal,
    is_public,
)

PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # the metadata of a cloud machine
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_told_however_they_are_wrapped(address: str) -> None:
    assert not is_public(address)
    assert is_private_literal(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)
    assert not is_private_literal(address)


def test_a_name_is_no_literal() -> None:
    for name in ("hooks.example", "127.1", "0x7f000001", "2130706433", "localhost", ""):
        assert not is_private_literal(name)
        assert not is_public(name)


class Telling(AbstractResolver):
    """Answers with these addresses, one list a question."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found: list[Any] = [
            {"hostname": host, "host": each, "port": port, "family": family, "proto": 0, "flags": 0}
            for each in self.answers.pop(0)
        ]
        return found

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_name_that_means_a_private_address_is_refused() -> None:
    resolver = PublicResolver(Telling(["8.8.8.8"], ["10.0.0.1"], ["8.8.8.8", "::1"]))
    assert [each["host"] for each in await resolver.resolve("a.example")] == ["8.8.8.8"]
    for _ in range(2):  # the second time it means something else, the third time both
        with pytest.raises(PrivateAddressError):
            await resolver.resolve("a.example")
